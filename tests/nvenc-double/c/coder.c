/* Bits: H.264 by openh264, the others from a file, or else units that only look like pictures. */
#include "double.h"

#include <wels/codec_api.h>

struct unit {
    const uint8_t *data;
    size_t size;
    bool key;
};

struct coder {
    struct coding coding;
    ISVCEncoder *openh264;
    uint8_t *file;
    struct unit *units;
    size_t count, next;
};

/* openh264 counts bits in an int, and has a limit of its own. */
static int within(uint32_t bitrate) { return bitrate > 100000000 ? 100000000 : (int)bitrate; }

static bool open_h264(struct coder *coder) {
    const struct coding *c = &coder->coding;
    if (WelsCreateSVCEncoder(&coder->openh264)) return false;
    ISVCEncoder *encoder = coder->openh264;
    SEncParamExt p;
    (*encoder)->GetDefaultParams(encoder, &p);
    p.iUsageType = CAMERA_VIDEO_REAL_TIME;
    p.iPicWidth = c->width;
    p.iPicHeight = c->height;
    p.fMaxFrameRate = (float)c->rate_num / (float)c->rate_den;
    p.iTargetBitrate = within(c->bitrate);
    p.iMaxBitrate = UNSPECIFIED_BIT_RATE;
    p.iRCMode = RC_BITRATE_MODE;
    p.bEnableFrameSkip = false;
    p.bEnableSceneChangeDetect = false;
    p.uiIntraPeriod = 0;
    p.eSpsPpsIdStrategy = CONSTANT_ID;
    p.iMultipleThreadIdc = 1;
    p.iSpatialLayerNum = 1;
    SSpatialLayerConfig *layer = &p.sSpatialLayers[0];
    layer->iVideoWidth = c->width;
    layer->iVideoHeight = c->height;
    layer->fFrameRate = p.fMaxFrameRate;
    layer->iSpatialBitrate = within(c->bitrate);
    layer->iMaxSpatialBitrate = UNSPECIFIED_BIT_RATE;
    if (c->slices > 1) {
        layer->sSliceArgument.uiSliceMode = SM_FIXEDSLCNUM_SLICE;
        layer->sSliceArgument.uiSliceNum = c->slices;
    }
    int quiet = WELS_LOG_QUIET;
    (*encoder)->SetOption(encoder, ENCODER_OPTION_TRACE_LEVEL, &quiet);
    return (*encoder)->InitializeExt(encoder, &p) == 0;
}

static void add(struct coder *coder, const uint8_t *data, size_t size, bool key) {
    coder->units = realloc(coder->units, (coder->count + 1) * sizeof *coder->units);
    coder->units[coder->count++] = (struct unit){data, size, key};
}

/* A picture of HEVC ends before the next parameter set, or slice that is the first of its picture. */
static void split_hevc(struct coder *coder, size_t size) {
    const uint8_t *d = coder->file;
    size_t begun = 0;
    bool slices = false, key = false;
    for (size_t i = 0; i + 5 < size; i++) {
        if (d[i] || d[i + 1] || d[i + 2] != 1) continue;
        int type = d[i + 3] >> 1 & 63;
        bool slice = type < 32;
        bool starts = slice ? d[i + 5] >> 7 : type >= 32 && type <= 35;
        size_t at = i > 0 && d[i - 1] == 0 ? i - 1 : i;
        if (starts && slices) {
            add(coder, d + begun, at - begun, key);
            begun = at;
            slices = key = false;
        }
        if (slice) slices = true;
        if (type >= 16 && type <= 21) key = true;
    }
    if (slices) add(coder, d + begun, size - begun, key);
}

/* Temporal units begin with an OBU of two octets; the first of a sequence holds its header. */
static void split_av1(struct coder *coder, size_t size) {
    const uint8_t *d = coder->file;
    size_t begun = 0, i = 0;
    bool key = false;
    while (i + 1 < size) {
        int type = d[i] >> 3 & 15;
        size_t header = d[i] & 4 ? 2 : 1, length = 0;
        for (int shift = 0; i + header < size; shift += 7) {
            uint8_t octet = d[i + header++];
            length |= (size_t)(octet & 127) << shift;
            if (octet < 128) break;
        }
        if (type == 2 && i > begun) {
            add(coder, d + begun, i - begun, key);
            begun = i;
            key = false;
        }
        if (type == 1) key = true;
        i += header + length;
    }
    if (size > begun) add(coder, d + begun, size - begun, key);
}

static void load(struct coder *coder, const char *path) {
    FILE *file = *path ? fopen(path, "rb") : NULL;
    if (!file) return;
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    coder->file = malloc(size);
    size = fread(coder->file, 1, size, file);
    fclose(file);
    if (coder->coding.codec == HEVC) split_hevc(coder, size);
    else split_av1(coder, size);
}

struct coder *coder_new(const struct coding *coding) {
    struct coder *coder = calloc(1, sizeof *coder);
    coder->coding = *coding;
    if (coding->codec != H264) load(coder, coding->codec == HEVC ? script.hevc : script.av1);
    else if (!open_h264(coder)) {
        coder_free(coder);
        return NULL;
    }
    return coder;
}

void coder_free(struct coder *coder) {
    if (!coder) return;
    if (coder->openh264) {
        (*coder->openh264)->Uninitialize(coder->openh264);
        WelsDestroySVCEncoder(coder->openh264);
    }
    free(coder->units);
    free(coder->file);
    free(coder);
}

void coder_bitrate(struct coder *coder, uint32_t bitrate) {
    if (!coder->openh264) return;
    SBitrateInfo info = {.iLayer = SPATIAL_LAYER_ALL, .iBitrate = within(bitrate)};
    (*coder->openh264)->SetOption(coder->openh264, ENCODER_OPTION_BITRATE, &info);
}

static struct bits encode_h264(struct coder *coder, const uint8_t *i420, bool key) {
    ISVCEncoder *encoder = coder->openh264;
    int width = coder->coding.width, height = coder->coding.height;
    int half_width = (width + 1) / 2, half_height = (height + 1) / 2;
    uint8_t *luma = (uint8_t *)i420;
    SSourcePicture picture = {
        .iColorFormat = videoFormatI420,
        .iStride = {width, half_width, half_width},
        .pData = {luma, luma + width * height, luma + width * height + half_width * half_height},
        .iPicWidth = width,
        .iPicHeight = height,
    };
    if (key) (*encoder)->ForceIntraFrame(encoder, true);
    SFrameBSInfo info = {0};
    struct bits bits = {0};
    if ((*encoder)->EncodeFrame(encoder, &picture, &info)) return bits;
    bits.data = malloc((size_t)info.iFrameSizeInBytes + 1);
    bits.key = info.eFrameType == videoFrameTypeIDR;
    for (int i = 0; i < info.iLayerNum; i++) {
        const SLayerBSInfo *layer = &info.sLayerInfo[i];
        size_t size = 0;
        for (int n = 0; n < layer->iNalCount; n++) size += (size_t)layer->pNalLengthInByte[n];
        memcpy(bits.data + bits.size, layer->pBsBuf, size);
        bits.size += size;
    }
    return bits;
}

static struct bits copy(const uint8_t *data, size_t size, bool key) {
    struct bits bits = {malloc(size), size, key};
    memcpy(bits.data, data, size);
    return bits;
}

/* Units with the right headers and nothing in them. */
static struct bits shape(enum codec codec, bool key) {
    static const uint8_t hevc_key[] = {0, 0, 0, 1, 0x40, 1, 1, 0, 0, 0, 1, 0x42, 1, 1, 0, 0, 0, 1, 0x44, 1, 1, 0, 0, 0, 1, 0x26, 1, 0x80, 0x55};
    static const uint8_t hevc_other[] = {0, 0, 0, 1, 0x02, 1, 0x80, 0x55};
    static const uint8_t av1_key[] = {0x12, 0, 0x0a, 1, 0x18, 0x32, 2, 0x10, 0x55};
    static const uint8_t av1_other[] = {0x12, 0, 0x32, 2, 0x30, 0x55};
    if (codec == HEVC) return key ? copy(hevc_key, sizeof hevc_key, true) : copy(hevc_other, sizeof hevc_other, false);
    return key ? copy(av1_key, sizeof av1_key, true) : copy(av1_other, sizeof av1_other, false);
}

struct bits coder_encode(struct coder *coder, const uint8_t *i420, bool key) {
    if (coder->openh264) return encode_h264(coder, i420, key);
    if (coder->count) {
        if (key) coder->next = 0;
        struct unit unit = coder->units[coder->next++ % coder->count];
        return copy(unit.data, unit.size, unit.key);
    }
    return shape(coder->coding.codec, key);
}

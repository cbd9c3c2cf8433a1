/* Configurations: the driver's presets, and what clients make of them. */
#include "config.h"

#include <stddef.h>

bool is_new(uint32_t api) { return ((api & 0xff) << 8 | (api >> 24 & 0xf)) >= NEW_API; }

bool right_version(uint32_t word, uint32_t api, int before, int now, bool outer_before, bool outer_now, const char *name) {
    bool new = is_new(api);
    uint32_t right = api | (uint32_t)(new ? now : before) << 16 | 7u << 28;
    if (new ? outer_now : outer_before) right |= 1u << 31;
    if (word == right) return true;
    violation("%s has version %08x instead of %08x", name, word, right);
    return false;
}

bool same_guid(GUID a, GUID b) { return !memcmp(&a, &b, sizeof a); }

GUID guid_of(enum codec codec) {
    return codec == H264 ? NV_ENC_CODEC_H264_GUID : codec == HEVC ? NV_ENC_CODEC_HEVC_GUID : NV_ENC_CODEC_AV1_GUID;
}

bool codec_of(GUID guid, enum codec *codec) {
    static const char *const names[] = {"h264", "hevc", "av1"};
    for (*codec = H264; *codec <= AV1; ++*codec)
        if (same_guid(guid, guid_of(*codec))) return strstr(script.codecs, names[*codec]);
    return false;
}

void fill_preset(NV_ENC_CONFIG *config, enum codec codec, int tuning) {
    bool low = tuning == NV_ENC_TUNING_INFO_LOW_LATENCY || tuning == NV_ENC_TUNING_INFO_ULTRA_LOW_LATENCY;
    config->profileGUID = NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID;
    config->gopLength = low ? NVENC_INFINITE_GOPLENGTH : 250;
    config->frameIntervalP = low ? 1 : 4;
    config->frameFieldMode = NV_ENC_PARAMS_FRAME_FIELD_MODE_FRAME;
    config->rcParams.rateControlMode = low ? NV_ENC_PARAMS_RC_CBR : NV_ENC_PARAMS_RC_VBR;
    config->rcParams.enableAQ = !low;
    config->rcParams.multiPass = low ? NV_ENC_TWO_PASS_QUARTER_RESOLUTION : NV_ENC_MULTI_PASS_DISABLED;
    if (codec == H264) {
        NV_ENC_CONFIG_H264 *c = &config->encodeCodecConfig.h264Config;
        c->idrPeriod = config->gopLength;
        c->chromaFormatIDC = 1;
        c->useBFramesAsRef = low ? NV_ENC_BFRAME_REF_MODE_DISABLED : NV_ENC_BFRAME_REF_MODE_MIDDLE;
    } else if (codec == HEVC) {
        NV_ENC_CONFIG_HEVC *c = &config->encodeCodecConfig.hevcConfig;
        c->idrPeriod = config->gopLength;
        c->chromaFormatIDC = 1;
        c->useBFramesAsRef = low ? NV_ENC_BFRAME_REF_MODE_DISABLED : NV_ENC_BFRAME_REF_MODE_MIDDLE;
        if (tuning == 5) HEVC_FILTER(c) = 4;
    } else {
        AV1(config)->idrPeriod = config->gopLength;
        AV1(config)->chromaFormatIDC = 1;
    }
}

uint32_t idr_period(NV_ENC_CONFIG *config, enum codec codec) {
    uint32_t period = codec == H264 ? config->encodeCodecConfig.h264Config.idrPeriod
                      : codec == HEVC ? config->encodeCodecConfig.hevcConfig.idrPeriod
                                      : AV1(config)->idrPeriod;
    return period ? period : config->gopLength;
}

uint32_t slice_count(NV_ENC_CONFIG *config, enum codec codec) {
    const NV_ENC_CONFIG_H264 *h264 = &config->encodeCodecConfig.h264Config;
    return codec == H264 && h264->sliceMode == 3 ? h264->sliceModeData : 1;
}

static const char *profile_name(GUID guid) {
    static const struct {
        const GUID *guid;
        const char *name;
    } names[] = {
        {&NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID, "auto"},     {&NV_ENC_H264_PROFILE_BASELINE_GUID, "baseline"},
        {&NV_ENC_H264_PROFILE_MAIN_GUID, "main"},            {&NV_ENC_H264_PROFILE_HIGH_GUID, "high"},
        {&NV_ENC_HEVC_PROFILE_MAIN_GUID, "hevc main"},       {&NV_ENC_HEVC_PROFILE_MAIN10_GUID, "hevc main10"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (same_guid(*names[i].guid, guid)) return names[i].name;
    return guid.Data1 == 0x5f2a39f5 ? "av1 main" : "unknown";
}

static int preset_number(GUID guid) {
    const GUID presets[] = {NV_ENC_PRESET_P1_GUID, NV_ENC_PRESET_P2_GUID, NV_ENC_PRESET_P3_GUID, NV_ENC_PRESET_P4_GUID,
                            NV_ENC_PRESET_P5_GUID, NV_ENC_PRESET_P6_GUID, NV_ENC_PRESET_P7_GUID};
    for (int i = 0; i < 7; i++)
        if (same_guid(presets[i], guid)) return i + 1;
    return 0;
}

struct fields {
    uint32_t on, period, count, recovery, single, idr, slice_mode, slices, repeat, b_as_reference, depth, entropy, filter;
    uint32_t primaries, transfer, matrix, full_range, described, columns, rows;
};

static struct fields codec_fields(NV_ENC_CONFIG *config, enum codec codec) {
    if (codec == H264) {
        NV_ENC_CONFIG_H264 *c = &config->encodeCodecConfig.h264Config;
        const NV_ENC_CONFIG_H264_VUI_PARAMETERS *v = &c->h264VUIParameters;
        return (struct fields){
            c->enableIntraRefresh, c->intraRefreshPeriod, c->intraRefreshCnt, c->outputRecoveryPointSEI, c->singleSliceIntraRefresh,
            c->idrPeriod, c->sliceMode, c->sliceModeData, c->repeatSPSPPS, c->useBFramesAsRef, H264_OUTPUT_DEPTH(c), c->entropyCodingMode, 0,
            v->colourPrimaries, v->transferCharacteristics, v->colourMatrix, v->videoFullRangeFlag, v->colourDescriptionPresentFlag, 0, 0};
    }
    if (codec == HEVC) {
        NV_ENC_CONFIG_HEVC *c = &config->encodeCodecConfig.hevcConfig;
        const NV_ENC_CONFIG_HEVC_VUI_PARAMETERS *v = &c->hevcVUIParameters;
        return (struct fields){
            c->enableIntraRefresh, c->intraRefreshPeriod, c->intraRefreshCnt, HEVC_RECOVERY(c), c->singleSliceIntraRefresh,
            c->idrPeriod, c->sliceMode, c->sliceModeData, c->repeatSPSPPS, c->useBFramesAsRef, HEVC_OUTPUT_DEPTH(c), 0, HEVC_FILTER(c),
            v->colourPrimaries, v->transferCharacteristics, v->colourMatrix, v->videoFullRangeFlag, v->colourDescriptionPresentFlag, 0, 0};
    }
    return (struct fields){
        AV1(config)->enableIntraRefresh, AV1(config)->intraRefreshPeriod, AV1(config)->intraRefreshCnt, 0, 0,
        AV1(config)->idrPeriod, 0, 0, AV1(config)->repeatSeqHdr, AV1(config)->useBFramesAsRef, AV1(config)->outputBitDepth, 0, 0,
        AV1(config)->colorPrimaries, AV1(config)->transferCharacteristics, AV1(config)->matrixCoefficients, AV1(config)->colorRange, 1,
        AV1(config)->numTileColumns, AV1(config)->numTileRows};
}

static bool zero(const void *from, size_t size) {
    const uint8_t *octet = from;
    while (size--)
        if (*octet++) return false;
    return true;
}

static void check_rules(const NV_ENC_INITIALIZE_PARAMS *init, const struct fields *f) {
    NV_ENC_CONFIG *config = init->encodeConfig;
    const NV_ENC_RC_PARAMS *rc = &config->rcParams;
    int b = config->frameIntervalP - 1;
    if (b > script.caps[NV_ENC_CAPS_NUM_MAX_BFRAMES]) violation("%d B-pictures in a row", b);
    if (config->gopLength < (uint32_t)config->frameIntervalP) violation("GOP of %u, interval of %d", config->gopLength, config->frameIntervalP);
    if (f->on && !script.caps[NV_ENC_CAPS_SUPPORT_INTRA_REFRESH]) violation("intra-refresh without the capability");
    if (f->on && config->gopLength != NVENC_INFINITE_GOPLENGTH) violation("intra-refresh in a GOP of %u", config->gopLength);
    if (f->on && b > 0) violation("intra-refresh with B-pictures");
    if (f->on && f->count >= f->period) violation("intra-refresh over %u of %u", f->count, f->period);
    if (rc->vbvBufferSize && !script.caps[NV_ENC_CAPS_SUPPORT_CUSTOM_VBV_BUF_SIZE]) violation("VBV without the capability");
    if (rc->enableLookahead && !script.caps[NV_ENC_CAPS_SUPPORT_LOOKAHEAD]) violation("lookahead without the capability");
    if (rc->enableTemporalAQ && !script.caps[NV_ENC_CAPS_SUPPORT_TEMPORAL_AQ]) violation("temporal AQ without the capability");
    if (rc->lookaheadDepth + b > 31) violation("lookahead of %u with %d B-pictures", rc->lookaheadDepth, b);
    if (f->filter && b < 4) violation("temporal filter with %d B-pictures", b);
    if (!init->enablePTD) violation("types of pictures are left to the client");
    if (!init->darWidth || !init->darHeight || !init->frameRateNum || !init->frameRateDen) violation("a shape or rate of zero");
    /* The first 1800 octets are in all versions, and nobody uses what follows this field. */
    size_t begun = offsetof(NV_ENC_INITIALIZE_PARAMS, bufferFormat) + sizeof init->bufferFormat;
    if (!zero((const uint8_t *)init + begun, 1800 - begun)) violation("NV_ENC_INITIALIZE_PARAMS: reserve is not zero");
    if (!zero(config->reserved, sizeof config->reserved) || !zero(config->reserved2, sizeof config->reserved2))
        violation("NV_ENC_CONFIG: reserve is not zero");
    /* The last three words are in reserve in all versions. */
    if (!zero((const uint8_t *)(rc + 1) - 12, 12)) violation("NV_ENC_RC_PARAMS: reserve is not zero");
}

void check_config(const char *call, const NV_ENC_INITIALIZE_PARAMS *init, enum codec codec, bool reset) {
    static const char *const names[] = {"h264", "hevc", "av1"};
    NV_ENC_CONFIG *config = init->encodeConfig;
    const NV_ENC_RC_PARAMS *rc = &config->rcParams;
    struct fields f = codec_fields(config, codec);
    report("\"call\":\"%s\",\"codec\":\"%s\",\"preset\":%d,\"tuning\":%d,\"width\":%u,\"height\":%u,\"max_width\":%u,\"max_height\":%u,"
           "\"dar\":[%u,%u],\"rate\":[%u,%u],\"reset\":%d,\"profile\":\"%s\",\"gop\":%u,\"interval\":%d,\"mode\":%d,\"average\":%u,"
           "\"maximum\":%u,\"vbv\":%u,\"vbv_initial\":%u,\"passes\":%d,\"lookahead\":%u,\"lookahead_on\":%u,\"aq\":%u,\"temporal_aq\":%u,"
           "\"zero_reorder\":%u,\"min_qp\":%u,\"max_qp\":%u,\"idr\":%u,\"refresh\":%u,\"refresh_period\":%u,\"refresh_count\":%u,"
           "\"recovery\":%u,\"single_slice\":%u,\"slice_mode\":%u,\"slices\":%u,\"repeat\":%u,\"b_as_reference\":%u,\"depth\":%u,"
           "\"entropy\":%u,\"filter\":%u,\"colours\":[%u,%u,%u],\"full_range\":%u,\"described\":%u,\"tiles\":[%u,%u]",
           call, names[codec], preset_number(init->presetGUID), (int)init->tuningInfo, init->encodeWidth, init->encodeHeight,
           init->maxEncodeWidth, init->maxEncodeHeight, init->darWidth, init->darHeight, init->frameRateNum, init->frameRateDen, reset,
           profile_name(config->profileGUID), config->gopLength, config->frameIntervalP, (int)rc->rateControlMode, rc->averageBitRate,
           rc->maxBitRate, rc->vbvBufferSize, rc->vbvInitialDelay, (int)rc->multiPass, rc->lookaheadDepth, rc->enableLookahead, rc->enableAQ,
           rc->enableTemporalAQ, rc->zeroReorderDelay, rc->enableMinQP, rc->enableMaxQP, f.idr, f.on, f.period, f.count, f.recovery, f.single,
           f.slice_mode, f.slices, f.repeat, f.b_as_reference, f.depth, f.entropy, f.filter, f.primaries, f.transfer, f.matrix, f.full_range,
           f.described, f.columns, f.rows);
    check_rules(init, &f);
}

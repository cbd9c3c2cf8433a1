/* libnvidia-encode: sessions whose rules are watched. */
#include "config.h"

#include <unistd.h>

struct input {
    struct input *next;
    uint32_t width, height, pitch;
    NV_ENC_BUFFER_FORMAT format;
    uint8_t *data;
    bool locked;
    int uncoded; /* pictures in it that are not coded yet */
};

struct output {
    struct output *next;
    struct bits bits;
    uint64_t timestamp;
    NV_ENC_PIC_TYPE type;
    bool taken, ready, locked;
};

struct picture {
    uint8_t *i420;
    struct input *input;
    uint64_t timestamp;
    bool key;
};

enum { ROOM = 64 };

struct queue {
    struct picture items[ROOM];
    int count;
};

struct session {
    const void *device;
    uint32_t api;
    bool alive, initialized;
    enum codec codec;
    struct coder *coder;
    struct coding coding;
    uint32_t max_width, max_height, idr_period, since_idr;
    int interval, lookahead;
    struct input *inputs;
    struct output *outputs;
    struct queue ahead, group;
    struct output *unbound[ROOM];
    int unbound_count;
    int produced;
    bool force_key;
};

static struct session sessions[64];
static int open_sessions, submitted;
static bool lost;

/* Questions may be asked from anywhere. */
static struct session *ask(void *handle, const char *call) {
    for (size_t i = 0; i < sizeof sessions / sizeof *sessions; i++) {
        if (&sessions[i] == handle && sessions[i].alive) return &sessions[i];
    }
    violation("%s on no session", call);
    return NULL;
}

static struct session *enter(void *handle, const char *call) {
    struct session *session = ask(handle, call);
    if (session && !context_is_current(session->device)) violation("%s outside the session's context", call);
    return session;
}

#define ENTER(call) \
    struct session *session = enter(handle, call); \
    if (!session) return NV_ENC_ERR_INVALID_ENCODERDEVICE
#define ASK(call) \
    struct session *session = ask(handle, call); \
    if (!session) return NV_ENC_ERR_INVALID_ENCODERDEVICE
#define VERSION(word, before, now, outer_before, outer_now, name) \
    if (!right_version(word, session->api, before, now, outer_before, outer_now, name)) return NV_ENC_ERR_INVALID_VERSION

static NVENCSTATUS open_session(NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS *params, void **handle) {
    *handle = NULL;
    uint32_t api = params->apiVersion;
    int major = api & 0xff, minor = api >> 24 & 0xf;
    report("\"call\":\"open\",\"api\":\"%d.%d\"", major, minor);
    if (major << 4 | minor && (major << 4 | minor) > (script.api_major << 4 | script.api_minor)) return NV_ENC_ERR_INVALID_VERSION;
    if (!right_version(params->version, api, 1, 1, false, false, "NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS")) return NV_ENC_ERR_INVALID_VERSION;
    if (params->deviceType != NV_ENC_DEVICE_TYPE_CUDA || !context_is_known(params->device)) return NV_ENC_ERR_INVALID_DEVICE;
    if (lost) return script.fail_status;
    if (open_sessions >= script.sessions) return NV_ENC_ERR_OUT_OF_MEMORY;
    for (size_t i = 0; i < sizeof sessions / sizeof *sessions; i++) {
        if (sessions[i].alive) continue;
        sessions[i] = (struct session){.device = params->device, .api = api, .alive = true};
        *handle = &sessions[i];
        open_sessions++;
        return script.open_status;
    }
    return NV_ENC_ERR_OUT_OF_MEMORY;
}

static NVENCSTATUS codec_count(void *handle, uint32_t *count) {
    ASK("NvEncGetEncodeGUIDCount");
    enum codec codec;
    *count = 0;
    for (int i = H264; i <= AV1; i++) *count += codec_of(guid_of(i), &codec);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS codecs(void *handle, GUID *guids, uint32_t room, uint32_t *count) {
    ASK("NvEncGetEncodeGUIDs");
    enum codec codec;
    *count = 0;
    for (int i = H264; i <= AV1; i++)
        if (codec_of(guid_of(i), &codec) && *count < room) guids[(*count)++] = guid_of(i);
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS caps(void *handle, GUID guid, NV_ENC_CAPS_PARAM *param, int *value) {
    ASK("NvEncGetEncodeCaps");
    VERSION(param->version, 1, 1, false, false, "NV_ENC_CAPS_PARAM");
    enum codec codec;
    if (!codec_of(guid, &codec)) return NV_ENC_ERR_UNSUPPORTED_PARAM;
    if ((unsigned)param->capsToQuery >= 64) return NV_ENC_ERR_INVALID_PARAM;
    *value = script.caps[param->capsToQuery];
    if (codec == H264 && param->capsToQuery == NV_ENC_CAPS_SUPPORT_10BIT_ENCODE) *value = 0;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS preset_config(void *handle, GUID guid, GUID preset, NV_ENC_TUNING_INFO tuning, NV_ENC_PRESET_CONFIG *answer) {
    ASK("NvEncGetEncodePresetConfigEx");
    VERSION(answer->version, 4, 5, true, true, "NV_ENC_PRESET_CONFIG");
    VERSION(answer->presetCfg.version, 7, 9, true, true, "NV_ENC_CONFIG");
    enum codec codec;
    if (!codec_of(guid, &codec)) return NV_ENC_ERR_UNSUPPORTED_PARAM;
    if ((int)tuning == 5 && (!script.uhq || codec == H264)) return NV_ENC_ERR_UNSUPPORTED_PARAM;
    fill_preset(&answer->presetCfg, codec, (int)tuning);
    return NV_ENC_SUCCESS;
}

static void adopt(struct session *session, const NV_ENC_INITIALIZE_PARAMS *init) {
    NV_ENC_CONFIG *config = init->encodeConfig;
    session->coding = (struct coding){
        .codec = session->codec,
        .width = (int)init->encodeWidth,
        .height = (int)init->encodeHeight,
        .rate_num = init->frameRateNum,
        .rate_den = init->frameRateDen ? init->frameRateDen : 1,
        .bitrate = config->rcParams.averageBitRate ? config->rcParams.averageBitRate : 2000000,
        .slices = slice_count(config, session->codec),
    };
    session->idr_period = idr_period(config, session->codec);
    session->interval = config->frameIntervalP > 1 ? config->frameIntervalP : 1;
    session->lookahead = config->rcParams.enableLookahead ? config->rcParams.lookaheadDepth : 0;
}

static NVENCSTATUS initialize(void *handle, NV_ENC_INITIALIZE_PARAMS *init) {
    ENTER("NvEncInitializeEncoder");
    VERSION(init->version, 5, 7, true, true, "NV_ENC_INITIALIZE_PARAMS");
    if (session->initialized) violation("NvEncInitializeEncoder twice");
    if (!init->encodeConfig) return NV_ENC_ERR_INVALID_PTR;
    VERSION(init->encodeConfig->version, 7, 9, true, true, "NV_ENC_CONFIG");
    if (!codec_of(init->encodeGUID, &session->codec)) return NV_ENC_ERR_UNSUPPORTED_PARAM;
    check_config("initialize", init, session->codec, false);
    if (script.initialize_status) return script.initialize_status;
    adopt(session, init);
    session->max_width = init->maxEncodeWidth ? init->maxEncodeWidth : init->encodeWidth;
    session->max_height = init->maxEncodeHeight ? init->maxEncodeHeight : init->encodeHeight;
    session->coder = coder_new(&session->coding);
    if (!session->coder) return NV_ENC_ERR_INVALID_PARAM;
    session->initialized = true;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS reconfigure(void *handle, NV_ENC_RECONFIGURE_PARAMS *params) {
    ENTER("NvEncReconfigureEncoder");
    VERSION(params->version, 1, 2, true, true, "NV_ENC_RECONFIGURE_PARAMS");
    const NV_ENC_INITIALIZE_PARAMS *init = &params->reInitEncodeParams;
    VERSION(init->version, 5, 7, true, true, "NV_ENC_INITIALIZE_PARAMS");
    if (!session->initialized) return NV_ENC_ERR_ENCODER_NOT_INITIALIZED;
    if (!init->encodeConfig) return NV_ENC_ERR_INVALID_PTR;
    uint32_t flags = RESET_FLAGS(params, session->api);
    bool reset = flags & 1, key = flags & 2;
    check_config("reconfigure", init, session->codec, reset);
    if (script.reconfigure_status) return script.reconfigure_status;
    struct coding before = session->coding;
    int interval = session->interval;
    if (init->encodeWidth > session->max_width || init->encodeHeight > session->max_height) return NV_ENC_ERR_INVALID_PARAM;
    bool resized = (int)init->encodeWidth != before.width || (int)init->encodeHeight != before.height;
    if (resized && !(reset && key)) violation("a change of size without reset and IDR");
    if (resized && (session->ahead.count || session->group.count)) violation("a change of size with pictures inside");
    adopt(session, init);
    if (session->interval != interval) violation("a change of the interval of P-pictures");
    if (resized) {
        coder_free(session->coder);
        session->coder = coder_new(&session->coding);
    } else if (before.bitrate != session->coding.bitrate) {
        coder_bitrate(session->coder, session->coding.bitrate);
    }
    if (key) session->force_key = true;
    return session->coder ? NV_ENC_SUCCESS : NV_ENC_ERR_INVALID_PARAM;
}

static NVENCSTATUS create_input(void *handle, NV_ENC_CREATE_INPUT_BUFFER *params) {
    ENTER("NvEncCreateInputBuffer");
    VERSION(params->version, 1, 2, false, false, "NV_ENC_CREATE_INPUT_BUFFER");
    if (!session->initialized) return NV_ENC_ERR_ENCODER_NOT_INITIALIZED;
    struct input *input = calloc(1, sizeof *input);
    *input = (struct input){.next = session->inputs, .width = params->width, .height = params->height, .format = params->bufferFmt};
    uint32_t octets = params->bufferFmt >= NV_ENC_BUFFER_FORMAT_ARGB ? 4 : params->bufferFmt == NV_ENC_BUFFER_FORMAT_YUV420_10BIT ? 2 : 1;
    /* Rows of drivers are longer than pictures. */
    input->pitch = (params->width * octets + 255) / 256 * 256;
    input->data = malloc((size_t)input->pitch * (params->height + (params->height + 1) / 2));
    session->inputs = input;
    params->inputBuffer = input;
    return NV_ENC_SUCCESS;
}

static struct input *find_input(const struct session *session, const void *handle) {
    for (struct input *input = session->inputs; input; input = input->next)
        if (input == handle) return input;
    violation("a handle is no input's");
    return NULL;
}

static struct output *find_output(const struct session *session, const void *handle) {
    for (struct output *output = session->outputs; output; output = output->next)
        if (output == handle) return output;
    violation("a handle is no output's");
    return NULL;
}

static NVENCSTATUS destroy_input(void *handle, NV_ENC_INPUT_PTR buffer) {
    ENTER("NvEncDestroyInputBuffer");
    for (struct input **place = &session->inputs; *place; place = &(*place)->next) {
        struct input *input = *place;
        if (input != buffer) continue;
        if (input->locked) violation("NvEncDestroyInputBuffer: locked");
        *place = input->next;
        free(input->data);
        free(input);
        return NV_ENC_SUCCESS;
    }
    violation("NvEncDestroyInputBuffer: not an input");
    return NV_ENC_ERR_INVALID_PARAM;
}

static NVENCSTATUS create_output(void *handle, NV_ENC_CREATE_BITSTREAM_BUFFER *params) {
    ENTER("NvEncCreateBitstreamBuffer");
    VERSION(params->version, 1, 1, false, false, "NV_ENC_CREATE_BITSTREAM_BUFFER");
    if (!session->initialized) return NV_ENC_ERR_ENCODER_NOT_INITIALIZED;
    struct output *output = calloc(1, sizeof *output);
    output->next = session->outputs;
    session->outputs = output;
    params->bitstreamBuffer = output;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy_output(void *handle, NV_ENC_OUTPUT_PTR buffer) {
    ENTER("NvEncDestroyBitstreamBuffer");
    for (struct output **place = &session->outputs; *place; place = &(*place)->next) {
        struct output *output = *place;
        if (output != buffer) continue;
        if (output->locked) violation("NvEncDestroyBitstreamBuffer: locked");
        *place = output->next;
        free(output->bits.data);
        free(output);
        return NV_ENC_SUCCESS;
    }
    violation("NvEncDestroyBitstreamBuffer: not an output");
    return NV_ENC_ERR_INVALID_PARAM;
}

static NVENCSTATUS lock_input(void *handle, NV_ENC_LOCK_INPUT_BUFFER *params) {
    ENTER("NvEncLockInputBuffer");
    VERSION(params->version, 1, 1, false, false, "NV_ENC_LOCK_INPUT_BUFFER");
    struct input *input = find_input(session, params->inputBuffer);
    if (!input) return NV_ENC_ERR_INVALID_PARAM;
    if (script.lock_busy > 0 && script.lock_busy--) return NV_ENC_ERR_LOCK_BUSY;
    if (input->locked) violation("NvEncLockInputBuffer: locked already");
    if (input->uncoded) violation("NvEncLockInputBuffer: its picture is not coded yet");
    input->locked = true;
    params->bufferDataPtr = input->data;
    params->pitch = input->pitch;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS unlock_input(void *handle, NV_ENC_INPUT_PTR buffer) {
    ENTER("NvEncUnlockInputBuffer");
    struct input *input = find_input(session, buffer);
    if (!input) return NV_ENC_ERR_INVALID_PARAM;
    if (!input->locked) violation("NvEncUnlockInputBuffer: not locked");
    input->locked = false;
    return NV_ENC_SUCCESS;
}

/* Of formats that tests do not look at, the luma is enough. */
static uint8_t *to_i420(const struct input *input, int width, int height) {
    int half_width = (width + 1) / 2, half_height = (height + 1) / 2;
    uint8_t *i420 = malloc((size_t)width * height + 2 * (size_t)half_width * half_height);
    uint8_t *first = i420 + width * height, *second = first + half_width * half_height;
    size_t pitch = input->pitch;
    const uint8_t *chroma = input->data + pitch * input->height;
    bool swapped = input->format == NV_ENC_BUFFER_FORMAT_YV12;
    int wide = input->format == NV_ENC_BUFFER_FORMAT_YUV420_10BIT ? 2 : 1;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) i420[y * width + x] = input->data[pitch * y + x * wide + wide - 1];
    for (int y = 0; y < half_height; y++)
        for (int x = 0; x < half_width; x++) {
            uint8_t a, b;
            if (input->format == NV_ENC_BUFFER_FORMAT_IYUV || swapped) {
                a = chroma[pitch / 2 * y + x];
                b = chroma[pitch / 2 * ((input->height + 1) / 2 + y) + x];
            } else {
                a = chroma[pitch * y + 2 * x * wide + wide - 1];
                b = chroma[pitch * y + (2 * x + 1) * wide + wide - 1];
            }
            first[y * half_width + x] = swapped ? b : a;
            second[y * half_width + x] = swapped ? a : b;
        }
    return i420;
}

static void code(struct session *session, struct picture picture, NV_ENC_PIC_TYPE type) {
    struct output *output = session->unbound[0];
    memmove(session->unbound, session->unbound + 1, --session->unbound_count * sizeof *session->unbound);
    free(output->bits.data);
    output->bits = coder_encode(session->coder, picture.i420, picture.key);
    output->timestamp = picture.timestamp;
    output->type = output->bits.key ? NV_ENC_PIC_TYPE_IDR : type;
    output->ready = true;
    picture.input->uncoded--;
    free(picture.i420);
    session->produced++;
}

/* The last of a group is coded first, the others between it and the one before. */
static void code_group(struct session *session) {
    struct queue *group = &session->group;
    if (!group->count) return;
    code(session, group->items[group->count - 1], NV_ENC_PIC_TYPE_P);
    for (int i = 0; i < group->count - 1; i++) code(session, group->items[i], NV_ENC_PIC_TYPE_B);
    group->count = 0;
}

static void arrange(struct session *session, struct picture picture) {
    bool due = session->idr_period != NVENC_INFINITE_GOPLENGTH && session->since_idr >= session->idr_period;
    if (session->since_idr == 0 || due || picture.key) {
        code_group(session);
        picture.key = true;
        code(session, picture, NV_ENC_PIC_TYPE_IDR);
        session->since_idr = 1;
        return;
    }
    session->since_idr++;
    session->group.items[session->group.count++] = picture;
    if (session->group.count == session->interval) code_group(session);
}

static void advance(struct session *session, int keep) {
    struct queue *ahead = &session->ahead;
    while (ahead->count > keep) {
        struct picture first = ahead->items[0];
        memmove(ahead->items, ahead->items + 1, --ahead->count * sizeof *ahead->items);
        arrange(session, first);
    }
}

static NVENCSTATUS take(struct session *session, const NV_ENC_PIC_PARAMS *params) {
    struct input *input = find_input(session, params->inputBuffer);
    struct output *output = find_output(session, params->outputBitstream);
    if (!input || !output) return NV_ENC_ERR_INVALID_PARAM;
    if (input->locked) violation("NvEncEncodePicture: the input is locked");
    if (output->taken) violation("NvEncEncodePicture: the output is not read yet");
    if ((int)params->inputWidth != session->coding.width || (int)params->inputHeight != session->coding.height)
        violation("NvEncEncodePicture: %u x %u", params->inputWidth, params->inputHeight);
    if (params->bufferFmt != input->format) violation("NvEncEncodePicture: format %x", params->bufferFmt);
    if (params->pictureStruct != NV_ENC_PIC_STRUCT_FRAME) violation("NvEncEncodePicture: not progressive");
    if (params->inputPitch && params->inputPitch != input->pitch) violation("NvEncEncodePicture: pitch %u", params->inputPitch);
    if (session->unbound_count == ROOM) return NV_ENC_ERR_NOT_ENOUGH_BUFFER;
    output->taken = true;
    output->ready = false;
    input->uncoded++;
    session->unbound[session->unbound_count++] = output;
    bool key = session->force_key || params->encodePicFlags & NV_ENC_PIC_FLAG_FORCEIDR;
    session->force_key = false;
    session->ahead.items[session->ahead.count++] = (struct picture){
        .i420 = to_i420(input, session->coding.width, session->coding.height),
        .input = input,
        .timestamp = params->inputTimeStamp,
        .key = key,
    };
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS encode(void *handle, NV_ENC_PIC_PARAMS *params) {
    ENTER("NvEncEncodePicture");
    VERSION(params->version, 4, 7, true, true, "NV_ENC_PIC_PARAMS");
    if (!session->initialized) return NV_ENC_ERR_ENCODER_NOT_INITIALIZED;
    report("\"call\":\"encode\",\"flags\":%u,\"timestamp\":%llu,\"format\":%u", params->encodePicFlags, (unsigned long long)params->inputTimeStamp,
           (unsigned)params->bufferFmt);
    if (lost || (script.fail_at >= 0 && submitted >= script.fail_at)) {
        lost = true;
        return script.fail_status;
    }
    if (script.busy > 0 && script.busy--) return NV_ENC_ERR_ENCODER_BUSY;
    if (script.slow_ms) usleep((useconds_t)script.slow_ms * 1000);
    session->produced = 0;
    if (params->encodePicFlags & NV_ENC_PIC_FLAG_EOS) {
        advance(session, 0);
        code_group(session);
        session->since_idr = 0;
        return NV_ENC_SUCCESS;
    }
    submitted++;
    NVENCSTATUS taken = take(session, params);
    if (taken) return taken;
    advance(session, session->lookahead);
    return session->produced ? NV_ENC_SUCCESS : NV_ENC_ERR_NEED_MORE_INPUT;
}

static NVENCSTATUS lock_output(void *handle, NV_ENC_LOCK_BITSTREAM *params) {
    ENTER("NvEncLockBitstream");
    VERSION(params->version, 1, 2, false, true, "NV_ENC_LOCK_BITSTREAM");
    struct output *output = find_output(session, params->outputBitstream);
    if (!output) return NV_ENC_ERR_INVALID_PARAM;
    if (lost) return script.fail_status;
    if (output->locked) violation("NvEncLockBitstream: locked already");
    if (!output->ready) {
        violation("NvEncLockBitstream: its bits have not come");
        return NV_ENC_ERR_INVALID_CALL;
    }
    output->locked = true;
    params->bitstreamBufferPtr = output->bits.data;
    params->bitstreamSizeInBytes = (uint32_t)output->bits.size;
    params->outputTimeStamp = output->timestamp;
    params->pictureType = output->type;
    params->pictureStruct = NV_ENC_PIC_STRUCT_FRAME;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS unlock_output(void *handle, NV_ENC_OUTPUT_PTR buffer) {
    ENTER("NvEncUnlockBitstream");
    struct output *output = find_output(session, buffer);
    if (!output) return NV_ENC_ERR_INVALID_PARAM;
    if (!output->locked) violation("NvEncUnlockBitstream: not locked");
    output->locked = output->taken = false;
    return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy(void *handle) {
    ENTER("NvEncDestroyEncoder");
    int inputs = 0, outputs = 0;
    for (const struct input *input = session->inputs; input; input = input->next) inputs++;
    for (const struct output *output = session->outputs; output; output = output->next) outputs++;
    if (inputs || outputs) violation("NvEncDestroyEncoder: %d inputs and %d outputs are left", inputs, outputs);
    report("\"call\":\"destroy\"");
    for (int i = 0; i < session->ahead.count; i++) free(session->ahead.items[i].i420);
    for (int i = 0; i < session->group.count; i++) free(session->group.items[i].i420);
    coder_free(session->coder);
    session->alive = false;
    open_sessions--;
    if (script.fail_once && lost) {
        lost = false;
        script.fail_at = -1;
    }
    return NV_ENC_SUCCESS;
}

static const char *last_error(void *handle) { return "said by the double"; }

static NVENCSTATUS streams(void *handle, NV_ENC_CUSTREAM_PTR in, NV_ENC_CUSTREAM_PTR out) { return NV_ENC_SUCCESS; }

/* One call at a time, as a card works. */
#define ONE_AT_A_TIME(name, parameters, arguments) \
    static NVENCSTATUS name##_alone parameters { \
        pthread_mutex_lock(&lock); \
        NVENCSTATUS status = name arguments; \
        pthread_mutex_unlock(&lock); \
        return status; \
    }
ONE_AT_A_TIME(open_session, (NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS * p, void **h), (p, h))
ONE_AT_A_TIME(codec_count, (void *h, uint32_t *n), (h, n))
ONE_AT_A_TIME(codecs, (void *h, GUID *g, uint32_t r, uint32_t *n), (h, g, r, n))
ONE_AT_A_TIME(caps, (void *h, GUID g, NV_ENC_CAPS_PARAM *p, int *v), (h, g, p, v))
ONE_AT_A_TIME(preset_config, (void *h, GUID c, GUID p, NV_ENC_TUNING_INFO t, NV_ENC_PRESET_CONFIG *a), (h, c, p, t, a))
ONE_AT_A_TIME(initialize, (void *h, NV_ENC_INITIALIZE_PARAMS *p), (h, p))
ONE_AT_A_TIME(reconfigure, (void *h, NV_ENC_RECONFIGURE_PARAMS *p), (h, p))
ONE_AT_A_TIME(create_input, (void *h, NV_ENC_CREATE_INPUT_BUFFER *p), (h, p))
ONE_AT_A_TIME(destroy_input, (void *h, NV_ENC_INPUT_PTR p), (h, p))
ONE_AT_A_TIME(create_output, (void *h, NV_ENC_CREATE_BITSTREAM_BUFFER *p), (h, p))
ONE_AT_A_TIME(destroy_output, (void *h, NV_ENC_OUTPUT_PTR p), (h, p))
ONE_AT_A_TIME(lock_input, (void *h, NV_ENC_LOCK_INPUT_BUFFER *p), (h, p))
ONE_AT_A_TIME(unlock_input, (void *h, NV_ENC_INPUT_PTR p), (h, p))
ONE_AT_A_TIME(encode, (void *h, NV_ENC_PIC_PARAMS *p), (h, p))
ONE_AT_A_TIME(lock_output, (void *h, NV_ENC_LOCK_BITSTREAM *p), (h, p))
ONE_AT_A_TIME(unlock_output, (void *h, NV_ENC_OUTPUT_PTR p), (h, p))
ONE_AT_A_TIME(destroy, (void *h), (h))

NVENCSTATUS NvEncodeAPIGetMaxSupportedVersion(uint32_t *version) {
    begin();
    *version = (uint32_t)(script.api_major << 4 | script.api_minor);
    return NV_ENC_SUCCESS;
}

NVENCSTATUS NvEncodeAPICreateInstance(NV_ENCODE_API_FUNCTION_LIST *list) {
    begin();
    uint32_t api = list->version & 0xff0000ff & ~(0xfu << 28);
    if (!right_version(list->version, api, 2, 2, false, false, "NV_ENCODE_API_FUNCTION_LIST")) return NV_ENC_ERR_INVALID_VERSION;
    list->nvEncOpenEncodeSessionEx = open_session_alone;
    list->nvEncGetEncodeGUIDCount = codec_count_alone;
    list->nvEncGetEncodeGUIDs = codecs_alone;
    list->nvEncGetEncodeCaps = caps_alone;
    list->nvEncGetEncodePresetConfigEx = preset_config_alone;
    list->nvEncInitializeEncoder = initialize_alone;
    list->nvEncReconfigureEncoder = reconfigure_alone;
    list->nvEncCreateInputBuffer = create_input_alone;
    list->nvEncDestroyInputBuffer = destroy_input_alone;
    list->nvEncCreateBitstreamBuffer = create_output_alone;
    list->nvEncDestroyBitstreamBuffer = destroy_output_alone;
    list->nvEncLockInputBuffer = lock_input_alone;
    list->nvEncUnlockInputBuffer = unlock_input_alone;
    list->nvEncEncodePicture = encode_alone;
    list->nvEncLockBitstream = lock_output_alone;
    list->nvEncUnlockBitstream = unlock_output_alone;
    list->nvEncDestroyEncoder = destroy_alone;
    list->nvEncGetLastErrorString = last_error;
    list->nvEncSetIOCudaStreams = streams;
    return NV_ENC_SUCCESS;
}

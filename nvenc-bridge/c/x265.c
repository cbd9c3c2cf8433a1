/* x265 behind shim.h. The options `preset` and `tune` are applied first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <x265.h>

#include "shim.h"

struct encoder {
    x265_encoder *x265;
    x265_param *param;
    x265_nal *units;
    uint32_t count;
    int64_t index;
    int key;
    int ended;
};

static const char *apply(x265_param *param, const struct shim_option *options, size_t count) {
    for (size_t n = 0; n < count; n++)
        if (strcmp(options[n].name, "preset") && strcmp(options[n].name, "tune") &&
            x265_param_parse(param, options[n].name, options[n].value))
            return options[n].name;
    return NULL;
}

static void close_(void *handle) {
    struct encoder *encoder = handle;
    if (encoder->x265)
        x265_encoder_close(encoder->x265);
    x265_param_free(encoder->param);
    free(encoder);
}

static void *open_(const struct shim_format *format, const struct shim_option *options, size_t count, char *refused,
                   size_t room) {
    const char *wrong = "memory";
    struct encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder || !(encoder->param = x265_param_alloc()))
        goto refuse;
    x265_param *param = encoder->param;
    wrong = "preset";
    if (x265_param_default_preset(param, shim_find(options, count, "preset"), shim_find(options, count, "tune")))
        goto refuse;
    param->sourceWidth = (int)format->width;
    param->sourceHeight = (int)format->height;
    param->internalCsp = X265_CSP_I420;
    param->fpsNum = format->pictures;
    param->fpsDenom = format->seconds;
    param->bAnnexB = 1;
    param->bRepeatHeaders = 1;
    param->bEmitInfoSEI = 0;
    param->logLevel = X265_LOG_NONE;
    wrong = apply(param, options, count);
    if (wrong)
        goto refuse;
    wrong = "the settings together";
    encoder->x265 = x265_encoder_open(param);
    if (!encoder->x265)
        goto refuse;
    return encoder;
refuse:
    snprintf(refused, room, "%s", wrong);
    if (encoder)
        close_(encoder);
    return NULL;
}

static int encode(struct encoder *encoder, x265_picture *in) {
    x265_picture out;
    x265_picture_init(encoder->param, &out);
    encoder->count = 0;
    int status = x265_encoder_encode(encoder->x265, &encoder->units, &encoder->count, in, &out);
    if (status <= 0)
        encoder->count = 0;
    encoder->index = out.pts;
    encoder->key = 0;
    for (uint32_t n = 0; n < encoder->count; n++) {
        uint32_t type = encoder->units[n].type;
        encoder->key |= type == NAL_UNIT_CODED_SLICE_IDR_W_RADL || type == NAL_UNIT_CODED_SLICE_IDR_N_LP;
    }
    return status;
}

static int send(void *handle, const struct shim_picture *picture) {
    struct encoder *encoder = handle;
    encoder->count = 0;
    if (!picture) {
        encoder->ended = 1;
        return 0;
    }
    x265_picture in;
    x265_picture_init(encoder->param, &in);
    in.pts = picture->index;
    in.bitDepth = 8;
    in.colorSpace = X265_CSP_I420;
    in.sliceType = picture->key ? X265_TYPE_IDR : X265_TYPE_AUTO;
    for (int n = 0; n < 3; n++) {
        in.planes[n] = (void *)picture->planes[n];
        in.stride[n] = n ? encoder->param->sourceWidth / 2 : encoder->param->sourceWidth;
    }
    return encode(encoder, &in);
}

static int receive(void *handle, struct shim_unit *unit) {
    struct encoder *encoder = handle;
    if (encoder->count == 0 && encoder->ended) {
        int status = encode(encoder, NULL);
        if (status <= 0)
            return status;
    }
    if (encoder->count == 0)
        return 0;
    size_t octets = 0;
    for (uint32_t n = 0; n < encoder->count; n++)
        octets += encoder->units[n].sizeBytes;
    /* All units of a picture lie one behind the other. */
    *unit = (struct shim_unit){encoder->units[0].payload, octets, encoder->index, encoder->key};
    encoder->count = 0;
    return 1;
}

static int change(void *handle, const struct shim_option *options, size_t count) {
    struct encoder *encoder = handle;
    if (apply(encoder->param, options, count))
        return -1;
    return x265_encoder_reconfig(encoder->x265, encoder->param);
}

const struct shim shim_x265 = {open_, send, receive, change, close_};

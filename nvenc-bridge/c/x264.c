/* x264 behind shim.h. The options `preset`, `tune` and `profile` are applied in x264's own order, the others between. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <x264.h>

#include "shim.h"

struct encoder {
    x264_t *x264;
    x264_param_t param;
    x264_nal_t *units;
    int octets;
    int64_t index;
    int key;
    int ended;
};

static int apart(const char *name) {
    return !strcmp(name, "preset") || !strcmp(name, "tune") || !strcmp(name, "profile");
}

static const char *apply(x264_param_t *param, const struct shim_option *options, size_t count) {
    for (size_t n = 0; n < count; n++)
        if (!apart(options[n].name) && x264_param_parse(param, options[n].name, options[n].value))
            return options[n].name;
    return NULL;
}

static void *open_(const struct shim_format *format, const struct shim_option *options, size_t count, char *refused,
                   size_t room) {
    struct encoder *encoder = calloc(1, sizeof *encoder);
    const char *profile = shim_find(options, count, "profile");
    const char *wrong = "memory";
    if (!encoder)
        goto refuse;
    x264_param_t *param = &encoder->param;
    wrong = "preset";
    if (x264_param_default_preset(param, shim_find(options, count, "preset"), shim_find(options, count, "tune")))
        goto refuse;
    param->i_width = (int)format->width;
    param->i_height = (int)format->height;
    param->i_csp = X264_CSP_I420;
    param->i_fps_num = param->i_timebase_den = format->pictures;
    param->i_fps_den = param->i_timebase_num = format->seconds;
    param->b_vfr_input = 0;
    param->b_annexb = 1;
    param->b_repeat_headers = 1;
    param->i_log_level = X264_LOG_NONE;
    wrong = apply(param, options, count);
    if (wrong)
        goto refuse;
    wrong = "profile";
    if (profile && x264_param_apply_profile(param, profile))
        goto refuse;
    wrong = "the settings together";
    encoder->x264 = x264_encoder_open(param);
    if (!encoder->x264)
        goto refuse;
    /* What it has made of them, for changes to start from. */
    x264_encoder_parameters(encoder->x264, param);
    return encoder;
refuse:
    snprintf(refused, room, "%s", wrong);
    free(encoder);
    return NULL;
}

static int encode(struct encoder *encoder, x264_picture_t *in) {
    x264_picture_t out;
    int count;
    encoder->octets = x264_encoder_encode(encoder->x264, &encoder->units, &count, in, &out);
    if (encoder->octets <= 0)
        return encoder->octets;
    encoder->index = out.i_pts;
    encoder->key = out.b_keyframe && out.i_type == X264_TYPE_IDR;
    return 1;
}

static int send(void *handle, const struct shim_picture *picture) {
    struct encoder *encoder = handle;
    encoder->octets = 0;
    if (!picture) {
        encoder->ended = 1;
        return 0;
    }
    x264_picture_t in;
    x264_picture_init(&in);
    in.i_type = picture->key ? X264_TYPE_IDR : X264_TYPE_AUTO;
    in.i_pts = picture->index;
    in.img.i_csp = X264_CSP_I420;
    in.img.i_plane = 3;
    for (int n = 0; n < 3; n++) {
        in.img.plane[n] = (uint8_t *)picture->planes[n];
        in.img.i_stride[n] = n ? encoder->param.i_width / 2 : encoder->param.i_width;
    }
    return encode(encoder, &in);
}

static int receive(void *handle, struct shim_unit *unit) {
    struct encoder *encoder = handle;
    while (encoder->octets == 0 && encoder->ended && x264_encoder_delayed_frames(encoder->x264) > 0) {
        int status = encode(encoder, NULL);
        if (status < 0)
            return status;
    }
    if (encoder->octets <= 0)
        return encoder->octets;
    /* All units of a picture lie one behind the other. */
    *unit = (struct shim_unit){encoder->units[0].p_payload, (size_t)encoder->octets, encoder->index, encoder->key};
    encoder->octets = 0;
    return 1;
}

static int change(void *handle, const struct shim_option *options, size_t count) {
    struct encoder *encoder = handle;
    x264_param_t param = encoder->param;
    if (apply(&param, options, count) || x264_encoder_reconfig(encoder->x264, &param) < 0)
        return -1;
    encoder->param = param;
    return 0;
}

static void close_(void *handle) {
    struct encoder *encoder = handle;
    x264_encoder_close(encoder->x264);
    free(encoder);
}

const struct shim shim_x264 = {open_, send, receive, change, close_};

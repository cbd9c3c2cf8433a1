/* SVT-AV1 behind shim.h. Its own lines on standard error end with SVT_LOG=-2 in the environment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <svt-av1/EbSvtAv1Enc.h>

#include "shim.h"

struct encoder {
    EbComponentType *svt;
    EbSvtAv1EncConfiguration config;
    EbBufferHeaderType *unit;
    int initialised;
    int ended;
    int done;
};

static void close_(void *handle) {
    struct encoder *encoder = handle;
    if (encoder->unit)
        svt_av1_enc_release_out_buffer(&encoder->unit);
    if (encoder->initialised)
        svt_av1_enc_deinit(encoder->svt);
    if (encoder->svt)
        svt_av1_enc_deinit_handle(encoder->svt);
    free(encoder);
}

static void *open_(const struct shim_format *format, const struct shim_option *options, size_t count, char *refused,
                   size_t room) {
    const char *wrong = "memory";
    struct encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder || svt_av1_enc_init_handle(&encoder->svt, NULL, &encoder->config) != EB_ErrorNone)
        goto refuse;
    encoder->config.source_width = format->width;
    encoder->config.source_height = format->height;
    encoder->config.frame_rate_numerator = format->pictures;
    encoder->config.frame_rate_denominator = format->seconds;
    encoder->config.encoder_color_format = EB_YUV420;
    encoder->config.encoder_bit_depth = EB_EIGHT_BIT;
    for (size_t n = 0; n < count; n++) {
        wrong = options[n].name;
        if (svt_av1_enc_parse_parameter(&encoder->config, options[n].name, options[n].value) != EB_ErrorNone)
            goto refuse;
    }
    wrong = "the settings together";
    if (svt_av1_enc_set_parameter(encoder->svt, &encoder->config) != EB_ErrorNone)
        goto refuse;
    if (svt_av1_enc_init(encoder->svt) != EB_ErrorNone)
        goto refuse;
    encoder->initialised = 1;
    return encoder;
refuse:
    snprintf(refused, room, "%s", wrong);
    if (encoder)
        close_(encoder);
    return NULL;
}

static int send(void *handle, const struct shim_picture *picture) {
    struct encoder *encoder = handle;
    EbBufferHeaderType header = {.size = sizeof header, .pic_type = EB_AV1_INVALID_PICTURE};
    EbSvtIOFormat planes = {0};
    if (!picture) {
        if (encoder->ended)
            return 0;
        encoder->ended = 1;
        header.flags = EB_BUFFERFLAG_EOS;
    } else {
        uint32_t width = encoder->config.source_width, height = encoder->config.source_height;
        planes.luma = (uint8_t *)picture->planes[0];
        planes.cb = (uint8_t *)picture->planes[1];
        planes.cr = (uint8_t *)picture->planes[2];
        planes.y_stride = planes.width = width;
        planes.cb_stride = planes.cr_stride = width / 2;
        planes.height = height;
        planes.color_fmt = EB_YUV420;
        planes.bit_depth = EB_EIGHT_BIT;
        header.p_buffer = (uint8_t *)&planes;
        header.n_filled_len = width * height * 3 / 2;
        header.pts = picture->index;
        header.pic_type = picture->key ? EB_AV1_KEY_PICTURE : EB_AV1_INVALID_PICTURE;
    }
    return svt_av1_enc_send_picture(encoder->svt, &header) == EB_ErrorNone ? 0 : -1;
}

static int receive(void *handle, struct shim_unit *unit) {
    struct encoder *encoder = handle;
    if (encoder->unit)
        svt_av1_enc_release_out_buffer(&encoder->unit);
    encoder->unit = NULL;
    if (encoder->done)
        return 0;
    EbErrorType status = svt_av1_enc_get_packet(encoder->svt, &encoder->unit, (uint8_t)encoder->ended);
    if (status == EB_NoErrorEmptyQueue)
        return 0;
    if (status != EB_ErrorNone)
        return -1;
    encoder->done = (encoder->unit->flags & EB_BUFFERFLAG_EOS) != 0;
    if (encoder->unit->n_filled_len == 0)
        return 0;
    *unit = (struct shim_unit){encoder->unit->p_buffer, encoder->unit->n_filled_len, encoder->unit->pts,
                               encoder->unit->pic_type == EB_AV1_KEY_PICTURE};
    return 1;
}

static int change(void *handle, const struct shim_option *options, size_t count) {
    (void)handle, (void)options, (void)count;
    return -1;
}

const struct shim shim_svtav1 = {open_, send, receive, change, close_};

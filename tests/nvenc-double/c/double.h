/* What the parts of the double share. */
#ifndef DOUBLE_H
#define DOUBLE_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nvEncodeAPI.h>

/* What the folder's file "script" asks for: a word and a number or text in each line. */
struct script {
    int cards;                 /* cards N */
    int api_major, api_minor;  /* api 13.0 */
    int open_status;           /* open_status N: answer to opening a session */
    int initialize_status;
    int reconfigure_status;
    int sessions;              /* sessions N: more than that are out of memory */
    char codecs[64];           /* codecs h264,hevc,av1 */
    bool uhq;                  /* uhq 0: the tuning is refused */
    int fail_at, fail_status;  /* fail_at N; fail_status N: from that picture on, each call fails */
    bool fail_once;            /* fail_once 1: until that session is destroyed */
    int busy;                  /* busy N: so many answers that the encoder is busy */
    int lock_busy;
    int slow_ms;               /* slow_ms N: each picture takes so long */
    int caps[64];              /* cap INDEX VALUE */
    char hevc[512], av1[512];  /* hevc FILE: bits to give out */
};

extern struct script script;
extern pthread_mutex_t lock;

/* report.c */
void begin(void);
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A rule of the interface that was broken; the tests want none. */
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* cuda.c */
bool context_is_current(const void *context);
bool context_is_known(const void *context);

/* coder.c: makes bits. */
enum codec { H264, HEVC, AV1 };
struct coder;
struct coding {
    enum codec codec;
    int width, height;
    uint32_t rate_num, rate_den, bitrate, slices;
};
struct bits {
    uint8_t *data;
    size_t size;
    bool key;
};
struct coder *coder_new(const struct coding *coding);
void coder_free(struct coder *coder);
void coder_bitrate(struct coder *coder, uint32_t bitrate);
/* `i420` is width × height and half of it twice. */
struct bits coder_encode(struct coder *coder, const uint8_t *i420, bool key);

#endif

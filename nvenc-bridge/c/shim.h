/* What the encoders in C look like from the other side. Each library's own structures stay in its own file, so that their
 * layout comes from its header and from nowhere else. */
#ifndef SHIM_H
#define SHIM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A setting of the library's, by its own name. */
struct shim_option {
    const char *name;
    const char *value;
};

/* The value of the option of this name, or NULL. */
static inline const char *shim_find(const struct shim_option *options, size_t count, const char *name) {
    for (size_t n = 0; n < count; n++)
        if (!strcmp(options[n].name, name))
            return options[n].value;
    return NULL;
}

struct shim_format {
    uint32_t width;
    uint32_t height;
    /* Pictures in so many seconds. */
    uint32_t pictures;
    uint32_t seconds;
};

/* Planes of 8-bit 4:2:0, rows without padding; they are read during the call alone. */
struct shim_picture {
    const uint8_t *planes[3];
    int64_t index;
    int32_t key;
};

/* Bits of one picture, kept until the next call. */
struct shim_unit {
    const uint8_t *data;
    size_t octets;
    int64_t index;
    int32_t key;
};

/* Functions of an encoder. Where one returns an int, it is negative after a failure. */
struct shim {
    /* Opens an encoder with these options, or returns NULL and names what was refused. */
    void *(*open)(const struct shim_format *, const struct shim_option *, size_t count, char *refused, size_t room);
    /* Hands in a picture, or NULL: there are no more. */
    int (*send)(void *, const struct shim_picture *);
    /* Gives the bits of a picture: 1, or 0 where there are none now. */
    int (*receive)(void *, struct shim_unit *);
    /* Changes options while it runs. */
    int (*change)(void *, const struct shim_option *, size_t count);
    void (*close)(void *);
};

#endif

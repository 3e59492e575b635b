/* The floor everybody stands on: units, ownership helpers. No I/O, no state. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_SEC INT64_C(1000000000)

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))

/* a − b, or 0 where b is larger: sizes and counters never wrap below zero. */
static inline uint64_t sub_floor(uint64_t a, uint64_t b) {
        return a > b ? a - b : 0;
}

static inline uint64_t permille_of(uint64_t bytes, uint64_t permille) {
        return bytes / 1000 * permille + bytes % 1000 * permille / 1000;
}

static inline void close_fd(int *fd) {
        if (*fd >= 0)
                (void)close(*fd);
        *fd = -1;
}

/* Hands an fd over: the caller owns what is returned, *fd is −1 afterwards. */
static inline int take_fd(int *fd) {
        int taken = *fd;

        *fd = -1;
        return taken;
}

static inline void free_ptr(void *p) {
        free(*(void **)p);
}

#define _cleanup_close_ __attribute__((cleanup(close_fd)))
#define _cleanup_free_ __attribute__((cleanup(free_ptr)))
#define _cleanup_(f) __attribute__((cleanup(f)))
#define take_ptr(p)                         \
        ({                                  \
                __typeof__(p) taken_ = (p); \
                (p) = NULL;                 \
                taken_;                     \
        })
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))

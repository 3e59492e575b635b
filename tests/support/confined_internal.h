/* Between the rooms of a confined world; nobody else includes this. */
#pragma once

#include "confined_world.h"

/* Ends the test when the world itself does not work. */
#define must(condition, what)                \
        do {                                 \
                if (!(condition))            \
                        world_abandon(what); \
        } while (0)
_Noreturn void world_abandon(const char *what);
int64_t world_now_ns(void);
/* A small file, read by path or fd without stdio or allocation; −errno. */
ssize_t small_read(const char *path, char *buf, size_t cap);
void small_write(const char *path, const char *text);

/* confined_kernel.c */
void world_kernel_init(void);
/* The number behind a key in the text of a cgroup file; 0 without it. */
uint64_t number_behind(const char *text, const char *key);

/* For tests of the configuration: what was said about a text, and what it became. */
#pragma once

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

/* What was said, one line each: "E file:line [section] key: what". */
struct heard {
        char text[16384];
        size_t n, errors, warnings;
};

static inline void hear(void *userdata, enum config_severity s, const char *file, unsigned line, const char *section,
                        const char *key, const char *what) {
        struct heard *h = userdata;
        size_t room = sizeof(h->text) - h->n;

        h->errors += s == CONFIG_ERROR;
        h->warnings += s == CONFIG_WARNING;
        h->n += MIN_OF((size_t)snprintf(h->text + h->n, room, "%c %s:%u [%s] %s: %s\n", s == CONFIG_ERROR ? 'E' : 'W',
                                        file ? file : "?", line, section ? section : "", key ? key : "", what),
                       room - 1);
}

static inline int parse(struct config *c, struct heard *h, const char *text) {
        memset(h, 0, sizeof(*h));
        return config_parse(c, "f", text, strlen(text), hear, h);
}

/* A text that is right: defaults plus this, without a word. */
static inline void parse_fine(struct config *c, const char *text) {
        struct heard h;

        config_defaults(c);
        ck_assert_msg(parse(c, &h, text) == 0, "%s: %s", text, h.text);
        ck_assert_str_eq(h.text, "");
}

/* A text with one mistake, and what is said about it. */
static inline void assert_refused(const char *text, const char *message) {
        struct config c;
        struct heard h;

        config_defaults(&c);
        ck_assert_msg(parse(&c, &h, text) == -EINVAL, "accepted: %s", text);
        ck_assert_msg(h.errors == 1 && h.warnings == 0, "%s", h.text);
        ck_assert_msg(strstr(h.text, message), "\"%s\" is not in \"%s\"", message, h.text);
        config_deinit(&c);
}

static inline void assert_warned(const char *text, const char *message) {
        struct config c;
        struct heard h;

        config_defaults(&c);
        ck_assert_msg(parse(&c, &h, text) == 0, "%s", h.text);
        ck_assert_uint_eq(h.warnings, 1);
        ck_assert_msg(strstr(h.text, message), "\"%s\" is not in \"%s\"", message, h.text);
        config_deinit(&c);
}

static inline void print_to(const struct config *c, char *buf, size_t cap) {
        FILE *f = fmemopen(buf, cap, "w");

        config_print(c, f);
        fclose(f);
        ck_assert_uint_lt(strlen(buf), cap - 1);
}

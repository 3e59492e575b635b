/* Text in fixed buffers: written without stdio or allocation, scanned without copying.
 * Everything a process can choose (comm, cgroup, exe) is hostile and passes text_escaped(). */
#pragma once

#include "base.h"

struct text {
        char *buf;  /* owned by the caller; always NUL-terminated */
        size_t cap; /* bytes, the terminator included; at least 1 */
        size_t len; /* bytes in use, without the terminator */
        bool cut;   /* something did not fit */
};

struct text text_on(char *buf, size_t cap);
void text_char(struct text *t, char c);
void text_str(struct text *t, const char *s);
void text_bytes(struct text *t, const char *s, size_t n);
void text_u64(struct text *t, uint64_t v);
void text_i64(struct text *t, int64_t v);
/* "1.5 GiB", "320 MiB", "12 KiB", "0 B": one decimal below 10, for people. */
void text_size(struct text *t, uint64_t bytes);
/* "12.3 s", "820 ms", "9.4 ms", "35 us". */
void text_duration(struct text *t, int64_t ns);
/* Printable ASCII and whole UTF-8 sequences as they are; everything else (controls, broken
 * UTF-8, backslash, double quote) as \xNN. */
void text_escaped(struct text *t, const char *s, size_t n);

/* A view of somebody else's bytes. Not terminated. */
struct view {
        const char *p;
        size_t n;
};

/* The next line of *rest (without its newline) in *ret_line; false at the end. */
bool view_line(struct view *rest, struct view *ret_line);
/* The next token separated by blanks or tabs. */
bool view_word(struct view *rest, struct view *ret_word);
bool view_starts(struct view v, const char *prefix);
bool view_equals(struct view v, const char *s);
/* Leading blanks skipped, then decimal digits; false when there are none or they overflow.
 * *rest moves behind the digits. */
bool view_u64(struct view *rest, uint64_t *ret);
bool view_i64(struct view *rest, int64_t *ret);
bool view_hex(struct view *rest, uint64_t *ret);

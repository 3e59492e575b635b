/* Everything that is said about a victim is put together here, and everything that /proc says
 * is taken apart here: at a moment when there is no memory for stdio to allocate, and from
 * bytes that the victim chose. In go bytes with a length; out comes text that fits or is
 * marked as cut. Nothing here reads behind a length, writes behind a capacity or treats what
 * it is given as a format. */
#include "text.h"

#include <string.h>

struct text text_on(char *buf, size_t cap) {
        buf[0] = '\0';
        return (struct text){.buf = buf, .cap = cap};
}

/* As one piece or not at all: half a number or half a UTF-8 sequence would be another. What
 * follows a cut is dropped too, or the text would have a hole in it. */
static void text_piece(struct text *t, const char *s, size_t n) {
        if (t->cut || n > t->cap - 1 - t->len) {
                t->cut = true;
                return;
        }
        memcpy(t->buf + t->len, s, n);
        t->len += n;
        t->buf[t->len] = '\0';
}

void text_char(struct text *t, char c) {
        text_piece(t, &c, 1);
}

void text_str(struct text *t, const char *s) {
        text_bytes(t, s, strlen(s));
}

void text_bytes(struct text *t, const char *s, size_t n) {
        size_t room = t->cut ? 0 : t->cap - 1 - t->len;

        if (n == 0)
                return;
        text_piece(t, s, MIN_OF(n, room));
        t->cut |= n > room;
}

static void text_digits(struct text *t, uint64_t v, bool negative) {
        char digits[21]; /* 20 digits and a sign */
        size_t at = sizeof(digits);

        do
                digits[--at] = (char)('0' + v % 10);
        while (v /= 10);
        if (negative)
                digits[--at] = '-';
        text_piece(t, digits + at, sizeof(digits) - at);
}

void text_u64(struct text *t, uint64_t v) {
        text_digits(t, v, false);
}

void text_i64(struct text *t, int64_t v) {
        text_digits(t, v < 0 ? -(uint64_t)v : (uint64_t)v, v < 0);
}

static void text_tenths(struct text *t, uint64_t tenths) {
        text_u64(t, tenths / 10);
        text_char(t, '.');
        text_u64(t, tenths % 10);
}

void text_size(struct text *t, uint64_t bytes) {
        static const char *const unit[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
        unsigned shift = 0;

        while (bytes >> shift >= 1024)
                shift += 10;
        /* Rounded down: never more than there is, and never "1024 MiB". */
        if (shift > 0 && bytes >> shift < 10)
                text_tenths(t, (bytes >> (shift - 10)) * 10 / 1024);
        else
                text_u64(t, bytes >> shift);
        text_str(t, unit[shift / 10]);
}

void text_duration(struct text *t, int64_t ns) {
        uint64_t left = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;

        if (ns < 0)
                text_char(t, '-');
        if (left >= (uint64_t)NS_PER_SEC) {
                text_tenths(t, left / (NS_PER_SEC / 10));
                text_str(t, " s");
        } else if (left >= (uint64_t)(10 * NS_PER_MS)) {
                text_u64(t, left / NS_PER_MS);
                text_str(t, " ms");
        } else if (left >= (uint64_t)NS_PER_MS) {
                text_tenths(t, left / (NS_PER_MS / 10));
                text_str(t, " ms");
        } else {
                text_u64(t, left / NS_PER_US);
                text_str(t, " us");
        }
}

/* Bytes of the well-formed UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates,
 * nothing above U+10FFFF), 0 where there is none. */
static size_t utf8_length(const unsigned char *s, size_t n, uint32_t *ret_code) {
        static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t len = s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf8 ? 4 : 0;
        uint32_t code;

        if (len == 0 || len > n)
                return 0;
        code = s[0] & (0xffu >> (len + 1));
        for (size_t i = 1; i < len; i++) {
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
                code = code << 6 | (s[i] & 0x3f);
        }
        if (code < smallest[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
                return 0;
        *ret_code = code;
        return len;
}

/* C1 controls move a terminal's cursor; line separators and direction marks forge a line. */
static bool is_control(uint32_t code) {
        return (code >= 0x80 && code <= 0x9f) || (code >= 0x200e && code <= 0x200f) ||
               (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

void text_escaped(struct text *t, const char *s, size_t n) {
        static const char hex[] = "0123456789abcdef";

        for (size_t i = 0, step; i < n; i += step) {
                const unsigned char *c = (const unsigned char *)s + i;
                uint32_t code = 0;

                step = utf8_length(c, n - i, &code);
                if (step > 0 && !is_control(code)) {
                        text_piece(t, s + i, step);
                        continue;
                }
                step = 1;
                if (*c >= 0x20 && *c < 0x7f && *c != '\\' && *c != '"')
                        text_piece(t, s + i, 1);
                else
                        text_piece(t, (const char[]){'\\', 'x', hex[*c >> 4], hex[*c & 15]}, 4);
        }
}

static struct view view_from(struct view v, size_t at) {
        return (struct view){.p = at > 0 ? v.p + at : v.p, .n = v.n - at};
}

bool view_line(struct view *rest, struct view *ret_line) {
        const char *end;
        size_t n;

        if (rest->n == 0)
                return false;
        end = memchr(rest->p, '\n', rest->n);
        n = end ? (size_t)(end - rest->p) : rest->n;
        *ret_line = (struct view){.p = rest->p, .n = n};
        *rest = view_from(*rest, n + (end != NULL));
        return true;
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static struct view skip_blanks(struct view v) {
        size_t at = 0;

        while (at < v.n && is_blank(v.p[at]))
                at++;
        return view_from(v, at);
}

bool view_word(struct view *rest, struct view *ret_word) {
        struct view v = skip_blanks(*rest);
        size_t n = 0;

        while (n < v.n && !is_blank(v.p[n]))
                n++;
        if (n == 0)
                return false;
        *ret_word = (struct view){.p = v.p, .n = n};
        *rest = view_from(v, n);
        return true;
}

bool view_starts(struct view v, const char *prefix) {
        size_t n = strlen(prefix);

        return n <= v.n && (n == 0 || memcmp(v.p, prefix, n) == 0);
}

bool view_equals(struct view v, const char *s) {
        return v.n == strlen(s) && view_starts(v, s);
}

static int digit_of(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

static bool scan_digits(struct view *rest, int base, uint64_t *ret) {
        uint64_t v = 0;
        size_t at = 0;

        for (; at < rest->n && digit_of(rest->p[at]) < base; at++)
                if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
                    __builtin_add_overflow(v, (uint64_t)digit_of(rest->p[at]), &v))
                        return false;
        if (at == 0)
                return false;
        *rest = view_from(*rest, at);
        *ret = v;
        return true;
}

static bool scan_number(struct view *rest, int base, uint64_t *ret) {
        struct view v = skip_blanks(*rest);

        if (!scan_digits(&v, base, ret))
                return false;
        *rest = v;
        return true;
}

bool view_u64(struct view *rest, uint64_t *ret) {
        return scan_number(rest, 10, ret);
}

bool view_hex(struct view *rest, uint64_t *ret) {
        return scan_number(rest, 16, ret);
}

bool view_i64(struct view *rest, int64_t *ret) {
        struct view v = skip_blanks(*rest);
        bool negative = v.n > 0 && v.p[0] == '-';
        uint64_t digits;

        if (negative)
                v = view_from(v, 1);
        if (!scan_digits(&v, 10, &digits) || digits > (uint64_t)INT64_MAX + negative)
                return false;
        *rest = v;
        *ret = negative ? (int64_t)-digits : (int64_t)digits;
        return true;
}

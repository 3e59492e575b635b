/* libinih on a leash.
 *
 * libinih delivers much that was not written: a long line arrives cut, text behind " ;" is
 * dropped, an indented line becomes another value of the key above it, "key: value" is a key,
 * and its handler has no line number. So it never sees the file: a first pass drops comments,
 * refuses every line that would be mangled, and hands over a clean text in which the nth call
 * of the handler belongs to a line number noted before. Nothing that was refused may reach
 * the sink as a key. */
#include "config_lines.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

/* Keys that no file can contain, for control characters are refused: one opens a section
 * (libinih as Debian builds it makes no call for a section as such), one marks a section
 * whose own line was refused. */
#define OPENING "\001"
#define BROKEN_SECTION "\002"

struct lines {
        const struct config_lines_sink *sink;
        FILE *clean;
        unsigned *number; /* of the nth call of the handler */
        size_t n_numbers, n_calls;
        int r; /* of the sink: the first that failed */
};

static int refuse(const struct lines *l, unsigned line, const char *why) {
        return l->sink->refused(l->sink->userdata, line, why);
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static struct view trimmed(struct view v) {
        while (v.n > 0 && is_blank(v.p[v.n - 1]))
                v.n--;
        return v;
}

/* Why libinih would not deliver this line as it is written, whatever it holds; NULL: it would. */
static const char *line_fault(struct view v) {
        if (v.n > CONFIG_LINE_MAX)
                return "line longer than 189 bytes";
        if (is_blank(v.p[0]))
                return "indented line (continuation lines are not supported)";
        for (size_t i = 0; i < v.n; i++) {
                if (v.p[i] == '\0')
                        return "NUL byte";
                if (((unsigned char)v.p[i] < ' ' && v.p[i] != '\t') || v.p[i] == '\177')
                        return "control character";
                if (v.p[i] == ';' && i > 0 && is_blank(v.p[i - 1]))
                        return "';' behind a blank (comments need a line of their own)";
        }
        return NULL;
}

static const char *section_fault(struct view v) {
        if (v.p[v.n - 1] != ']')
                return "section line without a closing ']' at its end";
        if (v.n - 2 > CONFIG_SECTION_MAX)
                return "section name longer than 48 bytes";
        if (memchr(v.p, ']', v.n - 1))
                return "']' in a section name";
        return NULL;
}

static const char *key_fault(struct view v) {
        size_t n = 0;

        while (n < v.n && v.p[n] != '=' && v.p[n] != ':')
                n++;
        if (n == v.n || v.p[n] != '=')
                return "not of the form KEY=VALUE";
        if (n == 0)
                return "no key before '='";
        return NULL;
}

/* First pass, one line; 0 or −errno of the sink. */
static int clean_line(struct lines *l, struct view v, unsigned line) {
        const char *fault;
        size_t start = 0;

        if (v.n > 0 && v.p[v.n - 1] == '\r')
                v.n--;
        v = trimmed(v);
        while (start < v.n && is_blank(v.p[start]))
                start++;
        if (start == v.n || v.p[start] == '#' || v.p[start] == ';')
                return 0;

        fault = line_fault(v);
        if (v.p[start] == '[') {
                if (!fault)
                        fault = section_fault(v);
                if (fault)
                        fprintf(l->clean, "[" BROKEN_SECTION "]\n");
                else {
                        fprintf(l->clean, "%.*s\n" OPENING "=\n", (int)v.n, v.p);
                        l->number[l->n_numbers++] = line;
                }
        } else {
                if (!fault)
                        fault = key_fault(v);
                if (!fault) {
                        fprintf(l->clean, "%.*s\n", (int)v.n, v.p);
                        l->number[l->n_numbers++] = line;
                }
        }
        return fault ? refuse(l, line, fault) : 0;
}

static int clean_lines(struct lines *l, const char *buf, size_t len) {
        struct view v;
        unsigned line = 0;

        if (len >= 3 && memcmp(buf, "\xEF\xBB\xBF", 3) == 0) /* a BOM, as editors of other systems leave it */
                buf += 3, len -= 3;
        while (len > 0) {
                const char *newline = memchr(buf, '\n', len);
                int r;

                v = (struct view){buf, newline ? (size_t)(newline - buf) : len};
                len -= v.n + (newline != NULL);
                buf += v.n + (newline != NULL);
                r = clean_line(l, v, ++line);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Second pass: libinih's handler, where 0 would be an error of this line. */
static int take_call(void *userdata, const char *section, const char *key, const char *value) {
        struct lines *l = userdata;
        unsigned line;

        if (l->n_calls >= l->n_numbers) {
                l->n_calls++;
                return 0;
        }
        line = l->number[l->n_calls++];
        if (l->r < 0 || strcmp(section, BROKEN_SECTION) == 0)
                return 1;
        if (strcmp(key, OPENING) == 0)
                l->r = l->sink->section(l->sink->userdata, line, section);
        else
                l->r = l->sink->key(l->sink->userdata, line, section, key, value);
        return 1;
}

static size_t count_lines(const char *buf, size_t len) {
        size_t n = 1;

        for (size_t i = 0; i < len; i++)
                n += buf[i] == '\n';
        return n;
}

int config_lines_read(const char *buf, size_t len, const struct config_lines_sink *sink) {
        _cleanup_free_ unsigned *number = NULL;
        _cleanup_free_ char *clean = NULL;
        struct lines l = {.sink = sink};
        size_t clean_len = 0;
        int r, parsed;

        number = calloc(count_lines(buf, len), sizeof(*number));
        l.number = number;
        l.clean = open_memstream(&clean, &clean_len);
        if (!number || !l.clean)
                r = -ENOMEM;
        else
                r = clean_lines(&l, buf, len);
        if (l.clean && fclose(l.clean) != 0 && r == 0)
                r = -ENOMEM;
        if (r < 0)
                return r;

        parsed = ini_parse_string(clean, take_call, &l);
        if (l.r < 0)
                return l.r;
        if (parsed < 0)
                return -ENOMEM;
        /* Cannot happen with the library this was written for: another build of it may differ. */
        if (parsed > 0 || l.n_calls != l.n_numbers)
                return refuse(&l, 0, "libinih read the file otherwise than expected");
        return 0;
}

/* Whatever bytes come in as a configuration file: an answer, never a crash; an error exactly
 * when one was told; and what is accepted prints as a text that is accepted and prints the
 * same. With -DWITH_LIBFUZZER -fsanitize=fuzzer a fuzzer; otherwise a test that replays the
 * files it is given, or without any goes through mutations of its own, the same every time. */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "config_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Seen by the debugger and by the exit code alike. */
static void require(bool holds, const char *what) {
        if (holds)
                return;
        fprintf(stderr, "%s\n", what);
        abort();
}

static void count_errors(void *userdata, enum config_severity s, const char *file, unsigned line, const char *section,
                         const char *key, const char *what) {
        size_t *errors = userdata;

        require(what && *what, "an empty message");
        *errors += s == CONFIG_ERROR;
}

/* glibc compiles a{9999}{9999} into gigabytes; who may write the file may stop the daemon. */
static bool has_bounds(const uint8_t *data, size_t len) {
        return memchr(data, '{', len) != NULL;
}

static void try_values(const char *s) {
        uint64_t bytes = 4711;
        uint32_t permille = 4711;
        int64_t ns = 4711;
        bool truth = true;

        require(config_parse_size(s, &bytes) == 0 ? bytes <= INT64_MAX : bytes == 4711, "size");
        require(config_parse_permille(s, &permille) == 0 ? permille <= 1000 : permille == 4711, "permille");
        require(config_parse_time(s, &ns) == 0 ? ns >= 0 : ns == 4711, "time");
        require(config_parse_bool(s, &truth) == 0 || truth, "bool");
}

static char *print(const struct config *c, size_t *ret_len) {
        char *text = NULL;
        FILE *f = open_memstream(&text, ret_len);

        require(f, "open_memstream");
        config_print(c, f);
        fclose(f);
        return text;
}

static void print_and_parse(const struct config *c) {
        size_t first_len, second_len, errors = 0;
        _cleanup_free_ char *first = print(c, &first_len), *second = NULL;
        struct config again;

        config_defaults(&again);
        require(config_parse(&again, "print", first, first_len, count_errors, &errors) == 0,
                "printed, and not accepted");
        second = print(&again, &second_len);
        require(first_len == second_len && memcmp(first, second, first_len) == 0, "printed differently");
        config_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
        _cleanup_free_ char *s = malloc(len + 1);
        struct config c;
        size_t errors = 0;
        int r;

        if (has_bounds(data, len))
                return 0;
        memcpy(s, data, len);
        s[len] = '\0';
        try_values(s);

        config_defaults(&c);
        r = config_parse(&c, "fuzz", s, len, count_errors, &errors);
        require(r == 0 || r == -EINVAL, "an unexpected answer");
        require((r < 0) == (errors > 0), "an error that was not told, or one that was forgotten");
        if (r == 0)
                print_and_parse(&c);
        config_deinit(&c);
        return 0;
}

#ifndef WITH_LIBFUZZER
#define MUTATIONS 20000

static const char *const seeds[] = {
        "[Pressure]\nKillLine=3.1%\nKillLineMin=32M\nStallFull=1min "
        "2s\nThrash=no\n[Kill]\nReapDelay=auto\nDeadline=5s\n",
        "[Rule one]\nComm=a*\nCommRegex=^(a|b)$\nUser=0\nAction=avoid\nAdjust=-17\n[Rule one]\nComm=\nComm=[x\n",
        "\xEF\xBB\xBF# c\r\n[Victim]\r\nOnlyCgroup=/a/b\r\nMinFree=1.5MiB\r\n\n[Log]\nTarget=stderr\nDryRunRepeat=\n",
        "25\xE2\x80\xB0",
        "1.5GiB",
        "1min 30s 200ms",
};

/* Words that get a mutation past the first check. */
static const char *const words[] = {
        "[Rule ", "[Kill]\n",      "]\n",          "=",    " ;", "\n",   "\n ",  "\r\n", "Comm=", "Action=never\n",
        "User=",  "CgroupRegex=(", "999999999999", "auto", "%",  "\001", "\002", "/../", "0"};

static uint64_t next_random(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

/* A few random edits: a byte, a word, a cut, a piece doubled. Returns the new length. */
static size_t mutate(uint8_t *buf, size_t len, size_t cap, uint64_t *state) {
        for (uint64_t n = next_random(state) % 6; n > 0; n--) {
                size_t at = len ? next_random(state) % len : 0;
                const char *word = words[next_random(state) % ELEMENTS(words)];
                size_t piece = next_random(state) % 220;

                piece = MIN_OF(piece, len - at);
                switch (next_random(state) % 4) {
                case 0:
                        if (len > 0)
                                buf[at] = (uint8_t)next_random(state);
                        break;
                case 1:
                        piece = MIN_OF(strlen(word), cap - len);
                        memmove(buf + at + piece, buf + at, len - at);
                        memcpy(buf + at, word, piece);
                        len += piece;
                        break;
                case 2:
                        memmove(buf + at, buf + at + piece, len - at - piece);
                        len -= piece;
                        break;
                default:
                        piece = MIN_OF(piece, cap - len);
                        memmove(buf + len, buf + at, piece);
                        len += piece;
                }
        }
        return len;
}

static void run_mutations(void) {
        uint64_t state = UINT64_C(0x9E3779B97F4A7C15);

        for (size_t i = 0; i < MUTATIONS; i++) {
                uint8_t buf[4096];
                const char *seed = seeds[next_random(&state) % ELEMENTS(seeds)];
                size_t len = strlen(seed);

                memcpy(buf, seed, len);
                len = mutate(buf, len, sizeof(buf), &state);
                LLVMFuzzerTestOneInput(buf, len);
        }
}

int main(int argc, char **argv) {
        if (argc < 2)
                run_mutations();
        for (int i = 1; i < argc; i++) {
                _cleanup_free_ char *buf = NULL;
                size_t len;

                require(config_file_read(argv[i], &buf, &len) == 0, "cannot read the file to replay");
                LLVMFuzzerTestOneInput((const uint8_t *)buf, len);
        }
        return 0;
}
#endif

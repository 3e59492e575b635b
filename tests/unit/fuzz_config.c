/* Whatever bytes come in as a configuration file: an answer, never a crash; an error exactly
 * when one was told; and what is accepted prints as a text that is accepted and prints the
 * same. */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "fuzz_replay.h"

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

const char *const fuzz_seeds[] = {
        "[Pressure]\nKillLine=3.1%\nKillLineMin=32M\nStallFull=2s\nThrash=no\n[Kill]\nReapDelay=auto\nDeadline=5s\n",
        "[Rule one]\nComm=a*\nCommRegex=^(a|b)$\nUser=0\nAction=avoid\nAdjust=-17\n[Rule one]\nComm=\nComm=[x\n",
        "\xEF\xBB\xBF# c\r\n[Victim]\r\nOnlyCgroup=/a/b\r\nMinFree=1.5MiB\r\n\n[Log]\nTarget=stderr\nDryRunRepeat=\n",
        "25\xE2\x80\xB0",
        "1.5GiB",
        "1min 30s 200ms",
};
const size_t fuzz_n_seeds = ELEMENTS(fuzz_seeds);

/* 100 bytes: two of them make a line too long. */
#define LONG_WORD "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

const char *const fuzz_words[] = {
        "[Rule ", "[Kill]\n",      "]\n",          "=",    " ;", "\n",   "\n ",  "\r\n", "Comm=", "Action=never\n",
        "User=",  "CgroupRegex=(", "999999999999", "auto", "%",  "\001", "\002", "/../", "0",     LONG_WORD};
const size_t fuzz_n_words = ELEMENTS(fuzz_words);

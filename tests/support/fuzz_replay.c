/* main() for a fuzz target that is built without libFuzzer. */
#include <stdio.h>
#include <string.h>

#include "fuzz_replay.h"

#define MUTATIONS 50000
#define INPUT_MAX (64 * KIB)

static uint64_t next_random(uint64_t *state) { /* xorshift64 */
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

static size_t insert(char *buf, size_t len, size_t at, const char *piece, size_t n) {
        if (len + n > INPUT_MAX)
                return len;
        memmove(buf + at + n, buf + at, len - at);
        memcpy(buf + at, piece, n);
        return len + n;
}

/* A byte changed, a word put in, the end cut off, a piece taken out or doubled. */
static size_t mutate(char *buf, size_t len, uint64_t *state) {
        size_t at = next_random(state) % (len + 1), wanted = next_random(state) % 40, n = MIN_OF(wanted, len - at);
        const char *word = fuzz_words[next_random(state) % fuzz_n_words];
        char piece[40];

        switch (next_random(state) % 6) {
        case 0:
                if (at < len)
                        buf[at] = (char)next_random(state);
                return len;
        case 1:
        case 2:
                return insert(buf, len, at, word, strlen(word));
        case 3:
                memcpy(piece, buf + at, n);
                return insert(buf, len, at, piece, n);
        case 4:
                memmove(buf + at, buf + at + n, len - at - n);
                return len - n;
        default:
                return next_random(state) % 8 ? len : at;
        }
}

static int replay(const char *path, char *buf) {
        FILE *f = fopen(path, "re");
        size_t len;

        if (!f) {
                perror(path);
                return 1;
        }
        len = fread(buf, 1, INPUT_MAX, f);
        fclose(f);
        return LLVMFuzzerTestOneInput((const uint8_t *)buf, len);
}

int main(int argc, char **argv) {
        _cleanup_free_ char *buf = malloc(INPUT_MAX);
        uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
        int failed = 0;

        if (!buf)
                return 1;
        for (int i = 1; i < argc; i++)
                failed |= replay(argv[i], buf);
        for (size_t i = 0; argc == 1 && i < MUTATIONS; i++) {
                const char *seed = fuzz_seeds[i % fuzz_n_seeds];
                size_t len = strlen(seed);

                memcpy(buf, seed, len);
                for (uint64_t n = next_random(&state) % 5; n > 0; n--)
                        len = mutate(buf, len, &state);
                failed |= LLVMFuzzerTestOneInput((const uint8_t *)buf, len);
        }
        return failed;
}

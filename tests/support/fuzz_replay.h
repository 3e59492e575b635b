/* A libFuzzer target as an ordinary test: linked with fuzz_replay.c it replays the files named
 * on the command line or, without any, goes through mutations of its seeds that are the same
 * every time. */
#pragma once

#include "base.h"

/* The target's part. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
extern const char *const fuzz_seeds[]; /* texts that are accepted */
extern const size_t fuzz_n_seeds;
extern const char *const fuzz_words[]; /* pieces that get a mutation past the first check */
extern const size_t fuzz_n_words;

#!/bin/sh
# Fuzzes the parsers of hostile text with libFuzzer under ASan and UBSan.
#
#   scripts/fuzz.sh [SECONDS each, default 60]
. "$(dirname "$0")/lib.sh"
seconds=${1-60}

# shellcheck disable=SC2086
need_packages $build_packages clang libclang-rt-14-dev
out=$top/build-fuzz
mkdir -p "$out"
sed 's/@VERSION@/fuzz/' "$top/src/version.h.in" >"$out/version.h"
sources=$(ls "$top"/src/*.c | grep -v '/oomreapd\.c$')
for name in process_parse sense config; do
        say "fuzzing $name for $seconds s"
        # shellcheck disable=SC2046,SC2086
        clang -std=gnu11 -D_GNU_SOURCE -DFUZZ -g -O1 -fsanitize=fuzzer,address,undefined -iquote "$top/src" -iquote "$out" \
                -iquote "$top/tests/support" $(pkg-config --cflags libsystemd inih libcgroup) \
                "$top/tests/unit/fuzz_$name.c" $sources -o "$out/fuzz_$name" \
                $(pkg-config --libs libsystemd inih libcgroup) -lpthread
        mkdir -p "$out/corpus_$name"
        (cd "$out" && "./fuzz_$name" -max_total_time="$seconds" -rss_limit_mb=1024 -max_len=16384 -print_final_stats=1 \
                "corpus_$name" 2>"fuzz_$name.log") || { tail -n 40 "$out/fuzz_$name.log"; die "fuzz_$name found something"; }
        grep -E 'number_of_executed_units|Done' "$out/fuzz_$name.log"
done

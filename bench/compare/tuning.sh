#!/bin/sh
# What docs/tuning.md is made of: one setting after another is varied, the others stay at their
# defaults, on the scenarios that could tell. One run each: kills and losses are counted, and
# these a busy host does not change; times are to be read with care.
#
#   bench/compare/tuning.sh BUILD-DIRECTORY [RESULTS-DIRECTORY]
#
# An hour under emulation. Each variant is a file; what is there already is not run again, and
# with another binary it is refused (65): variants of settings only, not of the daemon.
set -eu

if [ $# -lt 1 ] || [ ! -f "$1/build.ninja" ] || [ ! -x "$1/oomreapd" ]; then
        echo "usage: $0 BUILD-DIRECTORY [RESULTS-DIRECTORY]" >&2
        exit 64
fi
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
out=${2:-$build/tuning}
mkdir -p "$out"

same_binary() {
        binary=$(sha256sum <"$build/oomreapd")
        if [ ! -e "$out/made-of" ]; then
                for old in "$out"/*.json; do # not "result": that is the caller's
                        [ ! -e "$old" ] || { echo "$out has results, but not of what" >&2; exit 65; }
                done
                echo "$binary" >"$out/made-of"
        elif [ "$binary" != "$(cat "$out/made-of")" ]; then
                echo "$out has results of another binary: give another directory" >&2
                exit 65
        fi
}

# vary KEY "VALUES" SCENARIO...: a value may set further keys, after commas.
vary() {
        key=$1
        values=$2
        shift 2
        scenarios=
        for name in "$@"; do
                scenarios="$scenarios --scenario $name"
        done
        for value in $values; do
                result=$out/$key-$value.json
                same_binary
                [ ! -s "$result" ] || continue
                confs=
                for conf in $(echo "$key=$value" | tr , ' '); do
                        confs="$confs --conf $conf"
                done
                code=0
                # shellcheck disable=SC2086
                "$top/tests/vm/run" --keep-going --build "$build" --out "$result.part" $scenarios $confs || code=$?
                [ $code -le 1 ] && [ -s "$result.part" ] || exit $code
                same_binary # a build in the middle of it
                mv "$result.part" "$result"
        done
        echo "## $key"
        for value in $values; do
                set -- "$@" "$out/$key-$value.json"
        done
        while [ "${1%.json}" = "$1" ]; do
                shift
        done
        python3 "$top/bench/compare/report.py" --tuning "$@"
}

vary Pressure.KillAhead "0 50ms 100ms 200ms 400ms" fast-leak guest-512-fast compile-storm startup-tight
vary Pressure.KillLine "1%,Pressure.KillLineMin=10M 2.5% 5%,Pressure.KillLineMin=48M 10%,Pressure.KillLineMin=96M" \
        steady-leak many-hogs compile-storm startup-tight
vary Pressure.StallFull "2s 5s 10s" swap-thrash-zram swap-thrash-disk cache-thrash
vary Pressure.Stall "10% 25% 50%" swap-thrash-zram swap-thrash-disk cache-thrash
vary Pressure.SwapUsable "1% 5% 20% 50%" swap-leak incompressible-zram
vary Pressure.ThrashAvailable "2% 10% 60%" cache-thrash memory-high
vary Victim.MinFree "1M auto 64M" tmpfs-full many-hogs
vary Kill.OverrideAfter "100ms 300ms 1s 10s" mmap-lock-stuck

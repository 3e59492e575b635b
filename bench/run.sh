#!/bin/sh
# Runs every measurement and writes what was found as JSON. Fails when a bar is missed.
#
#   bench/run.sh [--short] BUILD-DIRECTORY [RESULT.json]
#
# As root: it makes cgroups, and reads other users' processes as the daemon does. Nobody but
# processes of its own is ever signalled. --short takes less than a minute and judges by fewer
# repetitions.
set -u

short=
if [ "${1:-}" = --short ]; then
        short=--short
        shift
fi
if [ $# -lt 1 ] || [ ! -x "$1/bench/bench_decision" ]; then
        echo "usage: $0 [--short] BUILD-DIRECTORY [RESULT.json] (built with bench)" >&2
        exit 64
fi
build=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)
result=${2:-$build/bench/results.json}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
status=0

# measure NAME COMMAND…: its JSON is kept, 2 is a missed bar, 77 is "not on this machine".
measure() {
        name=$1
        shift
        echo "== $name" >&2
        "$@" >"$work/$name.json"
        code=$?
        case $code in
        0) ;;
        2) [ $status -ne 0 ] || status=2 ;;
        77) rm -f "$work/$name.json" ;;
        *)
                echo "$name failed: $code" >&2
                rm -f "$work/$name.json"
                status=1
                ;;
        esac
}

measure decision "$build/bench/bench_decision" $short
measure release "$build/bench/bench_release" $short
measure idle "$source/bench/idle" "$build/oomreapd" "$build/bench" $short

{
        printf '{"commit": "%s", "dirty": %s,\n' \
                "$(git -C "$source" rev-parse --short HEAD 2>/dev/null || echo unknown)" \
                "$(git -C "$source" diff --quiet HEAD -- src bench 2>/dev/null && echo false || echo true)"
        printf ' "kernel": "%s", "cpu": "%s", "cpus": %s, "memory_kib": %s, "short": %s, "load_at_end": "%s",\n' \
                "$(uname -r)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
                "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)" \
                "$([ -n "$short" ] && echo true || echo false)" "$(cut -d' ' -f1 /proc/loadavg)"
        printf ' "benches": [\n'
        comma=
        for file in "$work"/*.json; do
                [ -f "$file" ] || continue
                printf '%s' "$comma"
                cat "$file"
                comma=,
        done
        printf ']}\n'
} >"$result"
echo "results: $result" >&2
exit $status

#!/bin/sh
# Everything in docs/vm-comparison.*: all subjects through the comparison's scenarios, three
# times, and the pages made of it.
#
#   bench/compare/compare.sh BUILD-DIRECTORY [RESULTS-DIRECTORY] [-- options of tests/vm/run]
#
# With --scenario or --set among the options these are run instead. DOCS=DIR: pages go there.
# It takes hours (software emulation). Each repetition is a file of its own: what is interrupted
# goes on with the repetition that is missing when the same command is given again.
set -eu

if [ $# -lt 1 ] || [ ! -f "$1/build.ninja" ]; then
        echo "usage: $0 BUILD-DIRECTORY [RESULTS-DIRECTORY] [-- options of tests/vm/run]" >&2
        exit 64
fi
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
shift
out=$build/compare
if [ $# -gt 0 ] && [ "$1" != -- ]; then
        out=$1
        shift
fi
if [ $# -gt 0 ]; then
        shift # the --
fi
repetitions=${REPETITIONS:-3}
case " $* " in
*" --scenario"* | *" --set"*) ;;
*) set -- --set compare "$@" ;;
esac
mkdir -p "$out"

subjects="--subject oomreapd --subject earlyoom --subject nohang"
subjects="$subjects --subject systemd-oomd --subject oomd --subject none"
n=1
while [ "$n" -le "$repetitions" ]; do
        result=$out/repetition-$n.json
        if [ ! -s "$result" ]; then
                # A missed bar (1) is what the page is there to tell; no result at all is not.
                code=0
                "$top/tests/vm/run" $subjects --keep-going --build "$build" \
                        --out "$result.part" "$@" || code=$?
                [ $code -le 1 ] && [ -s "$result.part" ] || exit $code
                mv "$result.part" "$result"
        fi
        # Who comes first meets a cold guest: the turns move on by two, so that in three
        # repetitions nobody is always early or late.
        first_two=${subjects%"${subjects#* * * * }"}
        subjects="${subjects#* * * * } ${first_two% }"
        n=$((n + 1))
done
exec python3 "$top/bench/compare/report.py" --docs "${DOCS:-$top/docs}" "$out"/repetition-*.json

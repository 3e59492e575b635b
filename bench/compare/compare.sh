#!/bin/sh
# Everything in docs/vm-comparison.*: all subjects through the comparison's scenarios, three
# times, and the pages made of it.
#
#   bench/compare/compare.sh BUILD-DIRECTORY [RESULTS-DIRECTORY] [-- options of tests/vm/run]
#
# With --scenario or --set among the options these are run instead. DOCS=DIR: pages go there.
# It takes hours (software emulation). Each repetition is a file of its own: what is interrupted
# goes on with the repetition that is missing when the same command is given again; with another
# binary or with other options it is refused, for one page tells of one of each.
#
# Exit status: 0; 1 when oomreapd missed a bar (the pages are written); 65 when results do not go
# together; else that of what failed.
set -eu

if [ $# -lt 1 ] || [ ! -f "$1/build.ninja" ] || [ ! -x "$1/oomreapd" ]; then
        echo "usage: $0 BUILD-DIRECTORY [RESULTS-DIRECTORY] [-- options of tests/vm/run]" >&2
        exit 64
fi
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
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
words="bench/compare/compare.sh BUILD-DIRECTORY${*:+ -- $*}"
[ "$repetitions" = 3 ] || words="REPETITIONS=$repetitions $words"
case " $* " in
*" --scenario"* | *" --set"*) ;;
*) set -- --set compare "$@" ;;
esac
mkdir -p "$out"

# What the repetitions in this directory are of; nothing rebuilds it on the way, and a build in
# between is found out before hours are spent on it.
same_made() {
        made="$(sha256sum <"$build/oomreapd") $*"
        if [ ! -e "$out/made-of" ]; then
                set -- "$out"/repetition-*.json
                if [ -e "$1" ]; then
                        echo "$out has results, but not of what: give another directory" >&2
                        exit 65
                fi
                echo "$made" >"$out/made-of"
        elif [ "$made" != "$(cat "$out/made-of")" ]; then
                echo "$out has results of another binary or with other options: give another directory" >&2
                exit 65
        fi
}

subjects="--subject oomreapd --subject earlyoom --subject nohang"
subjects="$subjects --subject systemd-oomd --subject oomd --subject none"
n=1
while [ "$n" -le "$repetitions" ]; do
        result=$out/repetition-$n.json
        same_made "$@"
        if [ ! -s "$result" ]; then
                # A missed bar (1) is what the page is there to tell; no result at all is not.
                code=0
                # shellcheck disable=SC2086
                "$top/tests/vm/run" $subjects --keep-going --build "$build" \
                        --out "$result.part" "$@" || code=$?
                [ $code -le 1 ] && [ -s "$result.part" ] || exit $code
                same_made "$@" # a build in the middle of it
                mv "$result.part" "$result"
        fi
        # Who comes first meets a cold guest: the turns move on by two, so that in three
        # repetitions nobody is always early or late.
        first_two=${subjects%"${subjects#* * * * }"}
        subjects="${subjects#* * * * } ${first_two% }"
        n=$((n + 1))
done
exec python3 "$here/report.py" --docs "${DOCS:-$top/docs}" \
        --command "$words" "$out"/repetition-*.json

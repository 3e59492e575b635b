#!/bin/sh
# Everything in docs/vm-comparison.*: all subjects through the comparison's scenarios, three
# times, and the pages made of it.
#
#   bench/compare/compare.sh BUILD-DIRECTORY [RESULTS-DIRECTORY] [-- options of tests/vm/run]
#
# With --scenario or --set among the options these are run instead. DOCS=DIR: pages go there.
# SUBJECTS="oomreapd earlyoom": these alone.
# It takes hours (software emulation). What is interrupted goes on after the last whole boot when
# the same command is given again; with another binary or with other options it is refused, for
# one page tells of one of each.
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
names=${SUBJECTS:-oomreapd earlyoom nohang systemd-oomd oomd none}
case " $names " in
*" oomreapd "*) ;;
*) echo "$0: SUBJECTS= without oomreapd has nothing to compare with" >&2; exit 64 ;;
esac
[ -z "${SUBJECTS-}" ] || words="SUBJECTS='$SUBJECTS' $words"
[ "$repetitions" = 3 ] || words="REPETITIONS=$repetitions $words"
case " $* " in
*" --scenario"* | *" --set"*) ;;
*) set -- --set compare "$@" ;;
esac
mkdir -p "$out"

# What the repetitions in this directory are of; nothing rebuilds it on the way, and a build in
# between is found out before hours are spent on it.
same_made() {
        made="$(sha256sum <"$build/oomreapd") ${SUBJECTS-} $*"
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

# The words, the first third of them at the end.
moved_on() {
        for _ in $(seq $((($# + 2) / 3))); do
                first=$1
                shift
                set -- "$@" "$first"
        done
        echo "$@"
}

n=1
while [ "$n" -le "$repetitions" ]; do
        result=$out/repetition-$n.json
        same_made "$@"
        if [ ! -s "$result" ]; then
                # A missed bar (1) is what the page is there to tell; no result at all is not.
                code=0
                # shellcheck disable=SC2046,SC2086
                "$top/tests/vm/run" $(printf -- '--subject %s ' $names) --keep-going --build "$build" \
                        --resume --out "$result.part" "$@" || code=$?
                [ $code -le 1 ] && [ -s "$result.part" ] || exit $code
                same_made "$@" # a build in the middle of it
                mv "$result.part" "$result"
        fi
        # Who comes first meets a cold guest: the turns move on by a third, so that in three
        # repetitions nobody is always early or late.
        # shellcheck disable=SC2086
        names=$(moved_on $names)
        n=$((n + 1))
done
exec python3 "$here/report.py" --docs "${DOCS:-$top/docs}" \
        --command "$words" "$out"/repetition-*.json

#!/bin/sh
# What is said agrees with what is there: options, exit statuses, journal fields, events and
# features with man/oomreapd.8, the rooms of src/ with HACKING.md, links with files; and both
# pages format without a warning.
#
#   tests/docs.sh OOMREAPD [SOURCE_ROOT]
set -eu
export LC_ALL=C

oomreapd=$1
root=${2:-${OOMREAPD_SOURCE_ROOT:-$(dirname "$0")/..}}
oomreapd=$(cd "$(dirname "$oomreapd")" && pwd)/$(basename "$oomreapd")
cd "$root"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=

complain() {
        echo "docs: $*"
        failed=1
}

# same WHAT LEAST WHERE_A WHERE_B: the words of files a and b are the same, and at least LEAST.
same() {
        sort -u "$work/a" >"$work/a.sorted"
        sort -u "$work/b" >"$work/b.sorted"
        for word in $(comm -23 "$work/a.sorted" "$work/b.sorted"); do
                complain "$1 $word is in $3, but not in $4"
        done
        for word in $(comm -13 "$work/a.sorted" "$work/b.sorted"); do
                complain "$1 $word is in $4, but not in $3"
        done
        [ "$(wc -l <"$work/a.sorted")" -ge "$2" ] || complain "fewer than $2 of these in $3: $1"
}

page=man/oomreapd.8

# items SECTION MACRO [SUBSECTION]: what stands behind MACRO in the .It lines of a section.
items() {
        awk -v section="$1" -v macro="$2" -v subsection="${3-}" '
                /^\.Sh / { inside = substr($0, 5) == section; below = "" }
                /^\.Ss / { below = substr($0, 5) }
                inside && below == subsection && /^\.It / {
                        on = 0
                        for (i = 2; i <= NF; i++)
                                if ($i ~ /^[A-Z][a-z]$/)
                                        on = $i == macro
                                else if ($i == ",")
                                        continue
                                else if (macro == "" ? i == 2 : on)
                                        print $i
                }' $page
}

"$oomreapd" --help >"$work/help" || complain "$oomreapd --help fails"

# Options: "-c" and "--config", as they are typed.
awk '/^ +-/ { for (i = 1; i <= 2; i++) if ($i ~ /^-/) { sub(/[,=].*/, "", $i); print $i } }' "$work/help" >"$work/a"
items OPTIONS Fl | sed 's/^/-/' >"$work/b"
same option 15 --help $page

# Exit statuses: of --help, "0 success; 1 failure; …"; those the unit does not restart after.
tr '\n' ' ' <"$work/help" | sed 's/.*Exit status: //' | tr ';' '\n' | awk '{ print $1 + 0 }' >"$work/a"
items "EXIT STATUS" "" >"$work/b"
same "exit status" 7 --help $page
for status in $(sed -n 's/^RestartPreventExitStatus=//p' systemd/oomreapd.service.in); do
        grep -qx "$status" "$work/b" || complain "the unit ends at exit status $status, which $page does not have"
done

# Journal fields, and the events.
grep -oE '"(OOMREAPD|OBJECT_SYSTEMD)_[A-Z0-9_]+"' src/event.c | tr -d '"' >"$work/a"
items JOURNAL Dv Fields >"$work/b"
same field 40 src/event.c $page
sed -n 's/^ *\[EVENT_[A-Z_]*\] = {"\([a-z-]*\)", "[0-9a-f]*"},$/\1/p' src/event.c | grep -v '^dry-run$' >"$work/a"
items JOURNAL Cm Events >"$work/b"
same event 14 src/event.c $page

# Features of --check.
grep -oE '\[FEATURE_[A-Z_]+\] = "[a-z-]+"' src/kernel_features.c |
        sed 's/.*"\(.*\)"/\1/' | grep -vxE 'unknown|works|degraded|missing' >"$work/a"
items CHECK Cm >"$work/b"
same feature 14 src/kernel_features.c $page

# Every message ID has its entry in the catalog.
grep -oE '"[0-9a-f]{32}"' src/event.c | tr -d '"' >"$work/a"
sed -n 's/^-- \([0-9a-f]*\)$/\1/p' systemd/oomreapd.catalog >"$work/b"
same "message ID" 15 src/event.c systemd/oomreapd.catalog

# Rooms of src/, by their names in the tree of HACKING.md.
ls src | sed -n 's/\.[ch]$//p' >"$work/a"
awk '/^## The tree/ { inside = 1; next } /^## / { inside = 0 } inside' HACKING.md |
        grep -oE '`[a-z0-9_]+(\.[ch])?`' | tr -d '`' | sed 's/\.[ch]$//' >"$work/all"
while read -r room; do
        grep -qx "$room" "$work/all" || complain "src/$room is not in the tree of HACKING.md"
done <"$work/a"
while read -r room; do
        [ -e "src/$room.c" ] || [ -e "src/$room.h" ] || complain "HACKING.md has a room $room, src/ has not"
done <"$work/all"

# Tests that HACKING.md names as keeping a fact of the kernel are there.
grep -oE '[a-z0-9_]+\.c: [a-z0-9_]+' HACKING.md | sort -u >"$work/tests" || true
[ -s "$work/tests" ] || complain "HACKING.md names no test"
while IFS=': ' read -r file test; do
        cat tests/*/"$file" 2>/dev/null | grep -q "START_TEST($test)" || complain "HACKING.md: there is no test $test in $file"
done <"$work/tests"

# Links to files of ours.
for file in README.md HACKING.md NEWS.md docs/*.md; do
        for link in $(grep -oE '\]\([^)#]+' "$file" | sed 's/^](//'); do
                case $link in
                *://*) continue ;;
                esac
                [ -e "$(dirname "$file")/$link" ] || complain "$file: there is no $link"
        done
done

if ! command -v man >/dev/null || ! command -v groff >/dev/null; then
        echo "docs: man or groff is not here, the pages' format is not checked"
else
        for file in man/oomreapd.8 man/oomreapd.conf.5; do
                man --warnings -E UTF-8 -l -Tutf8 -Z $file >/dev/null 2>"$work/warnings" || complain "$file cannot be formatted"
                [ ! -s "$work/warnings" ] || complain "$file: $(cat "$work/warnings")"
        done
fi

[ -z "$failed" ] || exit 1
echo "docs: all agree"

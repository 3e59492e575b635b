#!/bin/sh
# The real binary on kernels that lack a system call: a hog whose mm three others share dies
# with all of them, its neighbour lives, and the start says what is missing.
#
#   degraded.sh OOMREAPD HOG WITHOUT_CALL
set -eu
oomreapd=$1
hog=$2
without=$3

skip() {
        echo "skipped: $*"
        exit 77
}

[ "$(id -u)" = 0 ] || skip "needs root, for the cgroup"
if [ -d /sys/fs/cgroup/memory ]; then
        root=/sys/fs/cgroup/memory
elif [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        root=/sys/fs/cgroup
else
        skip "no cgroup hierarchy is mounted"
fi
name=oomreapd-degraded-$$
cgroup=$root/$name
mkdir "$cgroup" 2>/dev/null || skip "no cgroup can be made in $root"
work=$(mktemp -d)

end_all() {
        for pid in $(cat "$cgroup/cgroup.procs" 2>/dev/null); do
                kill -9 "$pid" 2>/dev/null || true
        done
}
clean_up() {
        end_all
        i=0
        while ! rmdir "$cgroup" 2>/dev/null && [ $i -lt 50 ]; do
                sleep 0.1
                i=$((i + 1))
        done
        rm -rf "$work"
}
trap clean_up EXIT INT TERM
printf '[Victim]\nOnlyCgroup=/%s\nMinFree=32M\n' "$name" >"$work/conf"

fail() {
        echo "without $calls: $*" >&2
        cat "$work/log" >&2
        exit 1
}

# those of the hog's group that hold memory still
members() {
        n=0
        for pid in $(cat "$cgroup/cgroup.procs"); do
                [ "$pid" = "$neighbour" ] || n=$((n + 1))
        done
        echo $n
}

for calls in process_mrelease kcmp pidfd_open process_mrelease,kcmp,pidfd_open; do
        "$hog" --cgroup "$cgroup" --size 128 --sharers 3 &
        "$hog" --cgroup "$cgroup" --size 8 &
        neighbour=$!
        i=0
        while [ "$(wc -l <"$cgroup/cgroup.procs")" -lt 5 ] || ! "$oomreapd" --config "$work/conf" --rank | grep -q '12[0-9] MiB.* 4  '; do
                i=$((i + 1))
                [ $i -lt 100 ] || fail "the hogs did not come up"
                sleep 0.1
        done
        code=0
        timeout 30 "$without" "$calls" "$oomreapd" --config "$work/conf" --force-level=kill --once --log-target=stderr \
                2>"$work/log" || code=$?
        [ $code = 0 ] || fail "exit status $code"
        for call in $(echo "$calls" | tr , ' '); do
                case $call in
                process_mrelease) word='mrelease: missing' ;;
                kcmp) word='kcmp: missing' ;;
                pidfd_open) word='pidfd: \(missing\|degraded\)' ;;
                esac
                grep -q "$word" "$work/log" || fail "the start does not say that $call is missing"
        done
        grep -q 'killed "hog"' "$work/log" || fail "no record of the kill"
        i=0
        while [ "$(members)" != 0 ]; do
                i=$((i + 1))
                [ $i -lt 50 ] || fail "$(members) of the hog's processes are left"
                sleep 0.1
        done
        kill -0 "$neighbour" 2>/dev/null || fail "the neighbour died"
        echo "without $calls: $(grep -o 'released.*' "$work/log" | head -n 1)"
        kill -9 "$neighbour"
        wait 2>/dev/null || true
done

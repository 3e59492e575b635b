#!/bin/sh
# The main job on real processes, without danger: a hog whose memory three other processes
# share is put into a cgroup, and oomreapd is let loose on that cgroup alone.
set -eu
build=$1

[ "$(id -u)" = 0 ] || { echo "demo: needs root, for the cgroup" >&2; exit 1; }

# v1's memory hierarchy where there is one, else v2.
if [ -d /sys/fs/cgroup/memory ]; then
        root=/sys/fs/cgroup/memory
elif [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        root=/sys/fs/cgroup
else
        echo "demo: no cgroup hierarchy is mounted" >&2
        exit 1
fi
name=oomreapd-demo-$$
cgroup=$root/$name
mkdir "$cgroup"
config=$(mktemp)

clean_up() {
        for pid in $(cat "$cgroup/cgroup.procs" 2>/dev/null); do
                kill -9 "$pid" 2>/dev/null || true
        done
        sleep 0.2
        rmdir "$cgroup" 2>/dev/null || true
        rm -f "$config"
}
trap clean_up EXIT INT TERM
# pid, resident memory and name of everybody in the cgroup
show() {
        for pid in $(cat "$cgroup/cgroup.procs"); do
                awk -v pid="$pid" '/^Name:/ { name = $2 } /^VmRSS:/ { rss = $2 }
                        END { printf "%8d %6d MiB  %s\n", pid, rss / 1024, name }' "/proc/$pid/status"
        done
}
printf '[Victim]\nOnlyCgroup=/%s\n' "$name" >"$config"

echo "== A hog of 512 MiB, whose memory three other processes share (clone(CLONE_VM)), and an innocent beside it, all in the cgroup /$name:"
"$build/tests/hog" --cgroup "$cgroup" --size 512 --sharers 3 &
"$build/tests/hog" --cgroup "$cgroup" --size 24 &
innocent=$!
i=0
while [ "$(wc -l <"$cgroup/cgroup.procs")" -lt 5 ] || ! "$build/oomreapd" --config "$config" --rank | grep -q '51[0-9] MiB'; do
        i=$((i + 1))
        [ $i -lt 100 ] || { echo "demo: the hogs did not come up" >&2; exit 1; }
        sleep 0.1
done
show

echo
echo "== What oomreapd --rank sees there:"
"$build/oomreapd" --config "$config" --rank

echo
echo "== oomreapd --force-level=kill --once, on that cgroup alone:"
"$build/oomreapd" --config "$config" --force-level=kill --once --log-target=stderr

echo
echo "== Left in the cgroup (the innocent is pid $innocent):"
show

#!/bin/sh
# The installed unit on a booted machine: Debian 12 with systemd in QEMU under software
# emulation. unit.sh BUILD-DIR; prints the guest's log, succeeds when the guest's checks did.
set -eu
build=$1
top=$(cd "$(dirname "$0")/../.." && pwd)
cache=${VM_CACHE:-$top/build-vm}

for tool in qemu-system-x86_64 mmdebstrap mke2fs; do
        command -v $tool >/dev/null || { echo "SKIP: $tool is missing"; exit 77; }
done
sh "$top/tests/vm/image.sh" "$cache"

work=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
tar -C "$work/root" -xf "$cache/root.tar"
DESTDIR="$work/root" meson install -C "$build" --no-rebuild >"$work/install.log"
install -m 755 "$build/tests/hog" "$work/root/usr/local/bin/hog"
install -m 755 "$top/tests/vm/guest-unit.sh" "$work/root/usr/local/bin/guest-test"
cat >"$work/root/etc/systemd/system/guest-test.service" <<'U'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/local/bin/guest-test
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
ExecStopPost=/usr/bin/systemctl --no-block --force poweroff
OOMScoreAdjust=-900
U
mkdir -p "$work/root/etc/systemd/system/multi-user.target.wants"
systemctl --root="$work/root" enable oomreapd.service >/dev/null 2>&1
ln -s /etc/systemd/system/guest-test.service "$work/root/etc/systemd/system/multi-user.target.wants/"
mke2fs -q -t ext4 -d "$work/root" "$work/root.img" 2G
timeout "${VM_TIMEOUT:-300}" qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -m 1024 -nographic -no-reboot -nodefaults \
        -kernel "$cache/vmlinuz" -initrd "$cache/initrd.img" \
        -append "root=/dev/vda rw console=ttyS0 quiet psi=1 oops=panic panic=-1" \
        -drive file="$work/root.img",format=raw,if=virtio,cache=unsafe \
        -serial file:"$work/console" -serial file:"$work/result" || echo "qemu ended with $?"
cat "$work/result"
grep -q '^ALL GOOD' "$work/result" || { tail -n 40 "$work/console"; exit 1; }

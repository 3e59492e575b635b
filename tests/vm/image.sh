#!/bin/sh
# Makes the root image of a Debian 12 with systemd, once; cached between runs. image.sh DIR
set -eu
dir=$1
packages=systemd,systemd-sysv,udev,dbus,linux-image-amd64,libinih1,libcgroup2,libsystemd0,procps,util-linux,kmod

mkdir -p "$dir"
[ -f "$dir/root.tar" ] && [ -f "$dir/vmlinuz" ] && exit 0
work=$(mktemp -d "$dir/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --variant=minbase --include="$packages" \
        --customize-hook='echo guest >"$1/etc/hostname"' \
        --customize-hook='chroot "$1" passwd -d root >/dev/null' \
        --customize-hook='rm -rf "$1/var/cache/apt" "$1/var/lib/apt/lists" "$1/usr/share/doc" "$1/usr/share/locale"' \
        --customize-hook='systemctl --root="$1" mask getty@tty1.service serial-getty@ttyS0.service apt-daily.timer >/dev/null 2>&1' \
        bookworm "$work/root.tar"
tar -C "$work" -xf "$work/root.tar" --wildcards './boot/vmlinuz-*' './boot/initrd.img-*'
mv "$work"/boot/vmlinuz-* "$dir/vmlinuz"
mv "$work"/boot/initrd.img-* "$dir/initrd.img"
mv "$work/root.tar" "$dir/root.tar"

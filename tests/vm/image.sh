#!/bin/sh
# Makes what a guest is booted from, once; kept in a cache between runs. image.sh CACHE THING...
#
#   base, full     root images of Debian 12 (ext4, raw): root-base.img, root-full.img; full has
#                  the other daemons, the servers and the compiler besides
#   6.1 6.12 sid   kernels of Debian 12, 13 and sid with an initramfs of our own and the few
#                  modules that guests need: kernel-NAME/{vmlinuz,initrd,modules/,version}
#   disks          frz.img, swap.img, slow.img: what is frozen, swapped to, read slowly
#   qemu           a QEMU newer than the suite's, where backports has one: qemu/run
set -eu
scripts=$(dirname "$0")/../../scripts
. "$scripts/lib.sh"
. "$scripts/vm-lib.sh"
cache=$1
shift
case $(dpkg --print-architecture 2>/dev/null) in
amd64) ;;
*) echo "SKIP: the guests are made of Debian's packages for amd64, on Debian, amd64"; exit 77 ;;
esac
[ "$(id -u)" = 0 ] || { echo "SKIP: making the guests' root images takes root"; exit 77; }
(need_packages mmdebstrap debian-archive-keyring e2fsprogs util-linux kmod cpio xz-utils gzip) ||
        { echo "SKIP: the images need packages that cannot be installed here"; exit 77; }
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# What a thing was made by; with another recipe it is made again. Newer packages alone are no
# reason: who wants them takes the cache away.
recipe=$(cat "$0" "$scripts/vm-lib.sh" | cksum)
made() {
        [ "$(cat "$cache/$1.recipe" 2>/dev/null)" = "$recipe" ]
}
note_made() {
        echo "$recipe" >"$cache/$1.recipe"
}

# Two runs beside each other must not make the same thing twice.
exec 9>"$cache/lock"
flock 9
work=$(mktemp -d "$cache/make.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

base_packages=systemd,systemd-sysv,udev,dbus,libpam-systemd,python3,libinih1,libcgroup2,libsystemd0,libproc2-0,procps,util-linux,kmod,e2fsprogs
full_packages=$base_packages,earlyoom,systemd-oomd,nohang,oomd,postgresql,redis-server,gcc,libc6-dev

# None of these is asked about by what runs in the guest; each costs seconds of its boot.
masked="getty@.service serial-getty@.service getty.target systemd-timesyncd.service e2scrub_reap.service
        e2scrub_all.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer man-db.timer
        logrotate.timer systemd-networkd-wait-online.service systemd-random-seed.service
        systemd-update-utmp.service systemd-update-utmp-runlevel.service"
# Installed to be measured; the runner starts what an entry wants.
stopped="earlyoom.service systemd-oomd.service systemd-oomd.socket nohang.service nohang-desktop.service oomd.service
        postgresql.service redis-server.service nftables.service"

# Removes everything of a root tree that only costs room, and silences what must not run by itself.
root_settle() {
        root=$1
        echo guest >"$root/etc/hostname"
        # Not the first boot: systemd would enable again what is disabled below.
        echo 6f6f6d7265617064766d677565737431 >"$root/etc/machine-id"
        # root has no password: a look into the guest needs none.
        sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
        echo 'vm:x:1000:1000::/home/vm:/bin/sh' >>"$root/etc/passwd"
        echo 'vm:x:1000:' >>"$root/etc/group"
        install -d -o 1000 -g 1000 "$root/home/vm"
        echo '/dev/vda / ext4 rw,noatime 0 0' >"$root/etc/fstab"
        for unit in $masked; do
                ln -sf /dev/null "$root/etc/systemd/system/$unit"
        done
        for unit in $stopped; do
                [ ! -e "$root/lib/systemd/system/$unit" ] || systemctl --root="$root" --quiet disable "$unit" 2>/dev/null || :
        done
        rm -rf "$root/var/cache/apt" "$root/var/lib/apt/lists" "$root/usr/share/doc" "$root/usr/share/locale" \
                "$root/usr/share/man"
        mkdir -p "$root/var/log/journal" "$root/opt/vm"
}

make_root() {
        name=$1
        packages=$2
        root=$work/root-$name
        suite=$(vm_guest_suite)
        mmdebstrap --quiet --variant=minbase --include="$packages" --aptopt='APT::Install-Recommends "false"' \
                "$suite" "$root" "deb [signed-by=$vm_keyring] $(vm_mirror) $suite main"
        root_settle "$root"
        mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -E lazy_itable_init=0 -d "$root" "$work/root.img" 4G >/dev/null
        mv "$work/root.img" "$cache/root-$name.img"
}

# The guests' userland is the same on every host and under every kernel.
vm_guest_suite() {
        echo bookworm
}

guest_modules="zram lz4 lz4hc lzo lzo-rle zstd 842 deflate zsmalloc fuse loop autofs4 configfs overlay binfmt_misc virtio_rng"
boot_modules="virtio_pci virtio_blk crc32c_generic ext4"

# Copies module files, unpacked, with what they need, in the order of loading; prints their paths.
modules_take() {
        tree=$1
        version=$2
        into=$3
        shift 3
        for module in "$@"; do
                modprobe -d "$tree" -S "$version" --show-depends "$module" 2>/dev/null || :
        done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
                name=${file#"$tree"}
                name=${name#/}
                name=${name#usr/}
                plain=${name%.xz}
                mkdir -p "$into/$(dirname "$plain")"
                case $file in
                *.xz) xz -dc "$file" >"$into/$plain" ;;
                *) cp "$file" "$into/$plain" ;;
                esac
                echo "$plain"
        done
}

# A shell script in an initramfs: Debian's own takes half a minute of a guest without hardware help.
make_initrd() {
        tree=$1
        version=$2
        to=$3
        init=$work/initrd
        rm -rf "$init"
        mkdir -p "$init/bin" "$init/dev" "$init/proc" "$init/sys" "$init/root"
        suite_open "$cache/apt-$(vm_guest_suite)" "$(vm_guest_suite)"
        [ -x "$work/busybox/bin/busybox" ] || suite_unpack "$work/busybox" busybox-static
        cp "$work/busybox/bin/busybox" "$init/bin/"
        # shellcheck disable=SC2086
        modules_take "$tree" "$version" "$init" $boot_modules >"$init/modules"
        cat >"$init/init" <<'I'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod /$module; done </modules
n=0
while [ ! -b /dev/vdb ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
mount -t ext4 -o rw,noatime /dev/vda /root
# What this run brings along: the project as installed, the workloads, the plan.
tar -C /root -xf /dev/vdb
umount /proc /sys
mount --move /dev /root/dev
exec switch_root /root /sbin/init
I
        chmod +x "$init/init"
        (cd "$init" && find . | LC_ALL=C sort | cpio --quiet -o -H newc) | gzip -1 >"$to"
}

make_kernel() {
        name=$1
        case $name in
        6.1) suite=bookworm ;;
        6.12) suite=trixie ;;
        sid) suite=sid ;;
        esac
        suite_open "$cache/apt-$suite" $suite
        # sid has split its packages into image, binary, modules and base; which of them there are is asked.
        packages=$(suite_apt cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
                --no-replaces --no-enhances linux-image-amd64 |
                sed -nE 's/^ *(PreDepends: |Depends: )?(linux-(image|binary|modules|base)-[0-9][^ ]*)$/\2/p' | sort -u |
                grep -v -- -unsigned || :)
        tree=$work/kernel
        rm -rf "$tree"
        # shellcheck disable=SC2086
        suite_unpack "$tree" $packages
        # Since trixie the modules are below /usr/lib; kmod here looks below /lib.
        [ -e "$tree/lib" ] || ln -s usr/lib "$tree/lib"
        version=$(basename "$(ls -d "$tree"/lib/modules/*)")
        depmod -b "$tree" "$version"
        out=$work/kernel-$name
        mkdir "$out"
        # shellcheck disable=SC2086
        modules_take "$tree" "$version" "$out/modules" $boot_modules $guest_modules >/dev/null
        for list in modules.order modules.builtin modules.builtin.modinfo; do
                cp "$tree/lib/modules/$version/$list" "$out/modules/lib/modules/$version/"
        done
        depmod -b "$out/modules" "$version"
        make_initrd "$tree" "$version" "$out/initrd"
        for file in "$tree/boot/vmlinuz-$version" "$tree/lib/modules/$version/vmlinuz"; do
                [ ! -e "$file" ] || cp "$file" "$out/vmlinuz"
        done
        echo "$version" >"$out/version"
        rm -rf "$cache/kernel-$name"
        mv "$out" "$cache/kernel-$name"
}

make_disks() {
        mke2fs -q -t ext4 "$work/frz.img" 256M >/dev/null
        truncate -s 1G "$work/swap.img"
        mkswap -q "$work/swap.img"
        mkdir "$work/slow"
        # Real blocks of noise: an extent never written is read without I/O.
        head -c 600M /dev/urandom >"$work/slow/data"
        mke2fs -q -t ext4 -m 0 -d "$work/slow" "$work/slow.img" 700M >/dev/null
        rm -r "$work/slow"
        mv "$work/frz.img" "$work/swap.img" "$work/slow.img" "$cache/"
}

# In a tree of its own, run by that tree's loader: nothing of this machine is replaced, and a
# QEMU that is installed is not asked for. 7.2, Debian 12's, hangs or corrupts a guest of kernel
# 6.12 now and then; backports has one that does not.
make_qemu() {
        tree=$work/qemu
        suite=$(vm_release)
        mirror=$(vm_mirror)
        set -- "deb [signed-by=$vm_keyring] $mirror $suite main"
        suite_open "$cache/apt-$suite-backports" "$suite-backports" || :
        [ ! -f "$suite_dir/fetched" ] || set -- "$@" "deb [signed-by=$vm_keyring] $mirror $suite-backports main"
        mmdebstrap --quiet --variant=extract --include=qemu-system-x86 --aptopt='APT::Install-Recommends "false"' \
                --aptopt="APT::Default-Release \"$suite-backports\"" "$suite" "$tree" "$@"
        rm -rf "$tree/dev" "$tree/var" "$tree/usr/share/doc" "$tree/usr/share/locale" "$tree/usr/share/man"
        cat >"$tree/run" <<'Q'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
lib=lib/x86_64-linux-gnu
QEMU_MODULE_DIR=$here/usr/$lib/qemu exec "$here/$lib/ld-linux-x86-64.so.2" --library-path "$here/$lib:$here/usr/$lib" \
        "$here/usr/bin/qemu-system-x86_64" -L "$here/usr/share/seabios" -L "$here/usr/share/qemu" "$@"
Q
        chmod +x "$tree/run"
        "$tree/run" --version >/dev/null || return 0
        mv "$tree" "$cache/qemu"
}

for thing in "$@"; do
        made "$thing" && continue
        case $thing in
        base) make_root base "$base_packages" ;;
        full) make_root full "$full_packages" ;;
        6.1 | 6.12 | sid) make_kernel "$thing" ;;
        disks) make_disks ;;
        qemu) [ -x "$cache/qemu/run" ] || make_qemu ;;
        *) die "'$thing' is nothing that can be made" ;;
        esac
        note_made "$thing"
done

# What run.sh and test.sh share: packages and builds. Sourced, not run.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
export LC_ALL=C

build_packages="gcc libc6-dev meson ninja-build pkg-config libsystemd-dev libinih-dev libcgroup-dev libproc2-dev libseccomp-dev check"
test_packages="python3 man-db groff procps earlyoom clang-format libglib2.0-dev dbus-daemon"

say() {
        printf '== %s\n' "$*"
}

die() {
        printf '%s: %s\n' "${0##*/}" "$*" >&2
        exit 1
}

as_root() {
        if [ "$(id -u)" = 0 ]; then
                "$@"
        else
                sudo "$@"
        fi
}

# Installs what is missing of the packages named; quiet when nothing is.
need_packages() {
        missing=
        for package in "$@"; do
                dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
        done
        [ -n "$missing" ] || return 0
        command -v apt-get >/dev/null || die "install these first:$missing"
        say "installing:$missing"
        as_root apt-get update -qq
        # earlyoom is measured against, not to be started: a package must not begin to kill here.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e $policy ]; then
                printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
                as_root chmod +x $policy
        else
                policy=
        fi
        # shellcheck disable=SC2086
        if as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
                code=0
        else
                code=$?
        fi
        [ -z "$policy" ] || as_root rm -f $policy
        [ $code = 0 ] || die "these could not be installed:$missing"
}

# build DIR [meson options]: configures once, builds.
build() {
        dir=$1
        shift
        [ -f "$dir/build.ninja" ] || meson setup "$dir" "$top" --prefix=/usr --sysconfdir=/etc "$@" >"$dir.log" 2>&1 ||
                { cat "$dir.log"; die "meson setup failed"; }
        ninja -C "$dir" >"$dir.log" 2>&1 || { tail -n 60 "$dir.log"; die "the build failed"; }
}

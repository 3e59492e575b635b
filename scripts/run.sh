#!/bin/sh
# Builds oomreapd and runs it in the foreground. Without arguments it watches this machine and
# kills nobody.
#
#   scripts/run.sh                 dry run: everything but the signal
#   scripts/run.sh --demo          the main job on real processes, confined in a cgroup
#   scripts/run.sh --live [ARG…]   for real, on the whole machine
#   scripts/run.sh -- ARG…         oomreapd with these arguments (--rank, --check, --help, …)
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2086
need_packages $build_packages
build "$top/build-run" --buildtype=debugoptimized
oomreapd=$top/build-run/oomreapd

case "${1-}" in
--demo)
        exec "$top/scripts/demo.sh" "$top/build-run"
        ;;
--live)
        shift
        say "oomreapd is live and protects the whole machine; it will kill when memory runs out. Ctrl-C ends it."
        exec "$oomreapd" --log-target=stderr "$@"
        ;;
--)
        shift
        exec "$oomreapd" "$@"
        ;;
'')
        say "Dry run: oomreapd watches the whole machine and says whom it would kill, but kills nobody."
        say "scripts/run.sh --demo shows a real kill without danger; --live is the real thing. Ctrl-C ends it."
        exec "$oomreapd" --dry-run --log-target=stderr
        ;;
*)
        die "'$1' is no option (--demo, --live, or -- and oomreapd's own)"
        ;;
esac

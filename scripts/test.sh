#!/bin/sh
# Builds and runs all tests: as built for use, under AddressSanitizer and UBSan, the threads
# under ThreadSanitizer, once for each system call that an older kernel lacks, and on a whole
# machine in QEMU.
#
#   scripts/test.sh                everything, with the short set on the machine in QEMU
#   scripts/test.sh --quick        the plain build alone
#   scripts/test.sh --vm           the short set alone
#   scripts/test.sh --vm-all       every scenario on the kernels of Debian 12, 13 and sid, alone
#
# Needs root for the tests that kill real processes in cgroups of their own; without it they
# are skipped and say so.
. "$(dirname "$0")/lib.sh"

natively=1 quick='' vm=short
case "${1-}" in
'') ;;
--quick) quick=1 vm='' ;;
--vm) natively='' ;;
--vm-all) natively='' vm=all ;;
*) die "'$1' is no option (--quick, --vm, --vm-all)" ;;
esac

# shellcheck disable=SC2086
need_packages $build_packages $test_packages

failed=
# suite NAME DIR [meson test options]
suite() {
        name=$1
        dir=$2
        shift 2
        say "tests: $name"
        if meson test -C "$dir" --no-rebuild --print-errorlogs --logbase "testlog-$(echo "$name" | tr ' ' '-')" "$@" >"$dir.test.log" 2>&1; then
                grep -E '^(Ok|Skipped):' "$dir.test.log" | tr '\n' ' '
                echo
                grep -E ' SKIP ' "$dir.test.log" || true
        else
                cat "$dir.test.log"
                failed="$failed; $name"
        fi
}

# machines SET [tests/vm/run options]: scenarios on booted machines; what it cannot run where
# there is no QEMU, or no Debian to make the images of, it skips and says so.
machines() {
        name=$1
        shift
        say "whole machines, the scenarios of the set '$name'"
        if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
                say "whole machines: skipped, making their images takes root"
                return
        fi
        code=0
        as_root "$top/tests/vm/run" --set "$name" --build "$top/build-test" --out "$top/build-test/vm-$name.json" "$@" || code=$?
        case $code in
        0) ;;
        77) say "whole machines: skipped, see above" ;;
        *) failed="$failed; whole machines" ;;
        esac
}

build "$top/build-test" --buildtype=debugoptimized -Dwerror=true
[ -z "$natively" ] || suite plain "$top/build-test"
if [ -n "$natively" ] && [ -z "$quick" ]; then
        ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
        export ASAN_OPTIONS UBSAN_OPTIONS
        build "$top/build-asan" --buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false
        suite sanitizers "$top/build-asan" --timeout-multiplier 4
        build "$top/build-tsan" --buildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false
        suite threads "$top/build-tsan" --timeout-multiplier 4 reap_queue kill_session journal notify_reclaim notify_kinds
        for call in process_mrelease kcmp pidfd_open; do
                suite "without $call" "$top/build-test" --timeout-multiplier 2 --wrapper "$top/build-test/tests/without_call $call"
        done
        build "$top/build-bench" --buildtype=release -Dtests=disabled
        say "benchmarks, the short form"
        # A shared machine has bad minutes: what is missed once is measured again.
        as_root "$top/bench/run.sh" --short "$top/build-bench" || as_root "$top/bench/run.sh" --short "$top/build-bench" ||
                failed="$failed; benchmarks"
fi
case $vm in
short) machines short ;;
all) machines all --kernel 6.1 --kernel 6.12 --kernel sid --keep-going ;;
esac
[ -z "$failed" ] || die "failed: ${failed#; }"
say "all tests passed"

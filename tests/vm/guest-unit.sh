#!/bin/sh
# Runs inside the guest: what an administrator would check of the installed unit, and one real
# exhaustion of the machine's memory.
unit=oomreapd.service
bad=0

check() {
        what=$1
        shift
        if "$@" >/tmp/check.out 2>&1; then
                echo "ok: $what"
        else
                bad=1
                echo "NOT OK: $what"
                tail -n 20 /tmp/check.out
        fi
}
says() {
        journalctl --sync
        journalctl -u $unit -o cat --no-pager | grep -q -- "$1"
}
field() {
        journalctl --sync
        journalctl -u $unit -o verbose --no-pager | grep -q -- "$1"
}

uname -r
check "the unit is active" systemctl is-active $unit
check "systemd-analyze finds the unit good" sh -c "systemd-analyze verify --man=no /usr/lib/systemd/system/$unit"
check "triggers have short windows" says "windows of 1 s"
check "nothing is missing but swap" sh -c "! journalctl -u $unit -o cat | grep -E 'missing|degraded|refused|locked' | grep -v '^.*swap'"
main=$(systemctl show -p MainPID --value $unit)
check "its oom_score_adj is -1000" sh -c "[ \$(cat /proc/$main/oom_score_adj) = -1000 ]"
check "it is not confined to a slice" sh -c "[ \"\$(systemctl show -p Slice --value $unit)\" = -.slice ]"
grep -E 'VmRSS|VmLck|RssAnon|Threads' /proc/$main/status
oomreapd --check
check "--check finds it a place to run" oomreapd --check
check "--check-config" oomreapd --check-config

mkdir -p /etc/oomreapd.conf.d
printf '[Kill]\nDeadline=never\n' >/etc/oomreapd.conf.d/90-bad.conf
check "a reload with a bad file fails visibly" sh -c "! systemctl reload $unit"
check "the bad file is named, with line and key" says '90-bad.conf:2'
kill -HUP $main
sleep 2
check "the running configuration stays" says 'the running configuration stays'
printf '[Kill]\nDeadline=9s\n' >/etc/oomreapd.conf.d/90-bad.conf
systemctl reload $unit
sleep 2
check "a good file is taken" says 'configuration reloaded'
check "it is still the same process" sh -c "[ \$(systemctl show -p MainPID --value $unit) = $main ]"

echo "-- a leak takes the whole machine's memory, three processes share its mm"
systemd-run --quiet --unit=leak.service -p MemorySwapMax=0 /usr/local/bin/hog --size 4096 --sharers 3
systemd-run --quiet --unit=innocent.service /usr/local/bin/hog --size 64
sleep 15
check "the leak is gone" sh -c '! systemctl is-active leak.service'
check "the innocent lives" systemctl is-active innocent.service
check "the kernel killed nobody" sh -c 'grep -q "^oom_kill 0" /proc/vmstat'
check "one kill was enough" sh -c "[ \$(journalctl -u $unit -o cat | grep -c '^killed') = 1 ]"
check "the record has its fields" field OOMREAPD_VICTIM_COMM=hog
check "the victim's unit is named" field OOMREAPD_VICTIM_UNIT=leak.service
check "journalctl -u VICTIM shows it" sh -c 'journalctl -u leak.service -o cat | grep -q killed'
check "the catalog explains it" sh -c "journalctl --update-catalog; journalctl -x -u $unit --no-pager | grep -q 'Defined-By\|^░░'"
journalctl -u $unit -o cat --no-pager
check "it survived" sh -c "[ \$(systemctl show -p MainPID --value $unit) = $main ]"
[ $bad = 0 ] && echo "ALL GOOD"

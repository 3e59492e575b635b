"""The installed unit: what an administrator would check of it, and one exhaustion of memory."""

import os
import signal

from registry import scenario
from system import run

UNIT = "oomreapd.service"
BAD_FILE = "/etc/oomreapd.conf.d/90-bad.conf"
MISSING = ("missing", "degraded", "refused", "locked")


def shown(unit, key):
    return run(["systemctl", "show", f"-p{key}", "--value", unit], check=False).strip()


def succeeds(*argv):
    return os.system(" ".join(argv) + " >/dev/null 2>&1") == 0


def log_of(unit, *how):
    """All that the journal shows for a unit since boot."""
    run(["journalctl", "--sync"], check=False)
    return run(["journalctl", "-b", "-u", unit, "--no-pager", *(how or ("-o", "cat"))],
               check=False)


def says(w, text):
    return w.until(lambda: text in log_of(UNIT), 5, 0.3)


def configure(text):
    os.makedirs(os.path.dirname(BAD_FILE), exist_ok=True)
    with open(BAD_FILE, "w", encoding="ascii") as file:
        file.write(text)


def forget_configuration():
    if os.path.exists(BAD_FILE):
        os.unlink(BAD_FILE)


def check_unit(w, pid):
    """Started, whole, and with the privileges it is meant to have."""
    w.expect(succeeds("systemctl", "is-active", UNIT), "the unit is active")
    w.expect(succeeds("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{UNIT}"),
             "systemd-analyze finds the unit good")
    w.expect(says(w, "windows of 1 s"), "triggers have short windows")
    lacking = [line for line in log_of(UNIT).splitlines()
               if any(word in line for word in MISSING) and "swap" not in line]
    w.expect(not lacking, "nothing is missing but swap")
    for line in lacking:
        w.note(line)
    with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
        w.expect(file.read().strip() == "-1000", "its oom_score_adj is -1000")
    w.expect(shown(UNIT, "Slice") == "-.slice", "it is not confined to a slice")
    w.expect(succeeds("oomreapd", "--check"), "--check finds it a place to run")
    w.expect(succeeds("oomreapd", "--check-config"), "--check-config")


def check_reload(w, pid):
    """A mistake in the configuration is told and changes nothing; a good file is taken."""
    w.defer(forget_configuration)
    configure("[Kill]\nDeadline=never\n")
    w.expect(not succeeds("systemctl", "reload", UNIT), "a reload with a bad file fails visibly")
    w.expect(says(w, "90-bad.conf:2"), "the bad file is named, with its line")
    os.kill(pid, signal.SIGHUP)
    w.expect(says(w, "the running configuration stays"), "the running configuration stays")
    configure("[Kill]\nDeadline=9s\n")
    run(["systemctl", "reload", UNIT], check=False)
    w.expect(says(w, "configuration reloaded"), "a good file is taken")
    w.expect(int(shown(UNIT, "MainPID")) == pid, "it is still the same process")


def check_record(w):
    """What the journal has of the kill, for who asks about the daemon and about the victim."""
    killed = [r for r in w.journal() if r.get("MESSAGE", "").startswith("killed")]
    w.expect(len(killed) == 1, "one kill was enough")
    record = killed[0] if killed else {}
    w.expect(record.get("OOMREAPD_VICTIM_COMM") == "vm_load", "the record has its fields")
    w.expect(record.get("OOMREAPD_VICTIM_UNIT") == "leak.service", "the victim's unit is named")
    w.expect("killed" in log_of("leak.service"), "journalctl -u VICTIM shows it")
    run(["journalctl", "--update-catalog"], check=False)
    explained = log_of(UNIT, "-x")
    w.expect("Defined-By" in explained or "░░" in explained, "the catalog explains it")


@scenario("installed-unit", sets=("short", "all"), need=1, oomreapd_only=True, timeout=120)
def installed_unit(w):
    """As shipped by `meson install`; a leak whose memory three others share takes it all."""
    pid = w.daemon_pid()
    check_unit(w, pid)
    check_reload(w, pid)
    leak = w.load("leak", "--rate", 150, "--sharers", 3, name="leak", role="hog",
                  unit="leak.service")
    innocent = w.load("hold", "--size", 64, name="innocent", unit="innocent.service")
    w.wait_dead(leak, timeout=40)
    w.wait_calm(1, 10)
    w.expect(not succeeds("systemctl", "is-active", "leak.service"), "the leak is gone")
    w.expect(innocent.alive(), "the innocent lives")
    w.expect(w.kernel_oom_kills() == 0, "the kernel killed nobody")
    check_record(w)
    w.expect(int(shown(UNIT, "MainPID")) == pid, "it survived")

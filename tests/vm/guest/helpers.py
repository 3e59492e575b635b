"""What several scenarios need: memory filled down to a mark, stall watched as a user feels it.

Read straight from /proc: a bar must not rest on the figures of the daemon that it judges.
"""

import os
import time

PROMISED_STALL_S = 5.0      # DESIGN section 5: so much stall above a quarter fills the bucket
STALL_SHARE = 0.25
STALL_GRACE_S = 3.0         # one late tick of a thrashing machine, the kill, our own sampling


def meminfo_mib(field):
    """A field of /proc/meminfo."""
    with open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    raise KeyError(field)


def available_mib():
    """MemAvailable."""
    return meminfo_mib("MemAvailable")


def vmstat(field):
    """A counter of /proc/vmstat, 0 where the kernel has none of that name."""
    with open("/proc/vmstat", encoding="ascii") as f:
        for line in f:
            name, value = line.split()
            if name == field:
                return int(value)
    return 0


def ballast(w, leave_mib, name="ballast", role="innocent"):
    """Somebody who takes memory until leave_mib are left, the last of it slowly (a fast fall
    is a scenario of its own), and then holds it."""
    size = int(available_mib() - leave_mib)
    if size < 1:
        w.note(f"no room for a ballast that leaves {leave_mib:.0f} MiB")
        return None
    start = max(size - int(w.total_mib * 0.2), 1)
    item = w.load("leak", "--start", str(start), "--rate", "30", "--hold-at", str(size),
                  name=name, role=role)
    if not await_true(w, lambda: not item.alive() or available_mib() < leave_mib + 8, 30):
        w.note(f"{name} left {available_mib():.0f} MiB")
    return item


def small_innocents(w, n=4, mib=4):
    """Innocents of whom each alone is not worth a kill."""
    return [
        w.load("hold", "--size", str(mib), name=f"small-{i}", role="innocent") for i in range(n)
    ]


def main_pid(unit):
    """The unit's main process, 0 where it has none."""
    out = os.popen(f"systemctl show -p MainPID --value {unit}").read().strip()
    return int(out or 0)


def await_true(w, holds, timeout, step=0.1):
    """Whether holds() came true in time."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if holds():
            return True
        w.sleep(step)
    return holds()


def stall_total_us():
    """(some, full) of /proc/pressure/memory, in microseconds since boot."""
    with open("/proc/pressure/memory", encoding="ascii") as f:
        some, full = (int(line.rsplit("total=", 1)[1]) for line in f)
    return some, full


class Stall:
    """The promise of DESIGN section 5, kept apart from the daemon: a leaky bucket of stall.

    All stalled fills it in 7 s, half in 20 s, under a quarter never does.
    """

    def __init__(self):
        self.bucket = 0.0
        self.full_at = None
        self.worst = 0.0        # of a second or more
        self._last = (time.monotonic(), *stall_total_us())
        self._second = self._last

    def poll(self):
        """Pours in what has passed since the last call; returns the share stalled."""
        now = (time.monotonic(), *stall_total_us())
        passed, share = self._share(self._last, now)
        self.bucket = max(0.0, self.bucket + (share - STALL_SHARE) * passed)
        if self.bucket >= PROMISED_STALL_S and self.full_at is None:
            self.full_at = now[0]
        self._last = now
        if now[0] - self._second[0] >= 1:
            self.worst = max(self.worst, self._share(self._second, now)[1])
            self._second = now
        return share

    @staticmethod
    def _share(before, now):
        passed = max(now[0] - before[0], 1e-6)
        full = (now[2] - before[2]) / 1e6
        some = (now[1] - before[1]) / 1e6
        return passed, min(max(full, some / 2) / passed, 1.0)

    def overdue(self):
        """A kill was due and has not come."""
        return self.full_at is not None and time.monotonic() - self.full_at > STALL_GRACE_S


def thrash_until_dead(w, hog, seconds, fill_s=40):
    """Lets a hog thrash until it is dead, a kill is overdue, or the time is over; what it
    takes to fill memory (seconds on a machine of its own) does not count.

    The bar: where the machine stood still for as long as the promise allows, the hog is dead;
    where it never did, the machine stayed usable and there was no reason to kill.
    """
    stall = Stall()
    await_true(w, lambda: stall.poll() > STALL_SHARE or available_mib() < w.total_mib / 10
               or not hog.alive(), fill_s, 0.25)
    started = time.monotonic()
    lowest = available_mib()
    while time.monotonic() - started < seconds and hog.alive() and not stall.overdue():
        w.sleep(0.25)
        stall.poll()
        lowest = min(lowest, available_mib())
    took = time.monotonic() - started
    w.note(
        f"thrashed {took:.1f} s, worst second stalled {stall.worst:.0%}, bucket "
        f"{stall.bucket:.1f} s, lowest MemAvailable {lowest:.0f} MiB, "
        f"direct scans {vmstat('pgscan_direct')}, hog {'alive' if hog.alive() else 'dead'}"
    )
    w.expect(
        not hog.alive() or stall.full_at is None,
        "the thrasher dies within the promised stall, or the machine never stood still",
    )
    return stall

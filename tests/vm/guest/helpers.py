"""What several scenarios need: memory filled down to a mark, stall watched as a user feels it.

Read straight from /proc: a bar must not rest on the figures of the daemon that it judges.
"""

import os
import time

PROMISED_STALL_S = 5.0      # DESIGN section 5: so much stall above a quarter fills the bucket
STALL_SHARE = 0.25
STILL_S = 15                # all stalled is promised to end in 7 s, half stalled in 20 s
STILL_HALF_STALLED_S = 40   # rather 40 than 50 % of it: the bucket takes longer
STILL_AT_A_DISK_S = 75      # twice the patience, after swapping out, and more than is needed
THRASHES = 500              # pages a second: 2 MiB of a disk that does 40


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


def disk_work():
    """Since boot: seconds in which all who had something to do waited for I/O; MiB that came in
    from swap, that went there, and that were read of anything."""
    with open("/proc/pressure/io", encoding="ascii") as f:
        waited = int(f.read().rsplit("total=", 1)[1]) / 1e6
    return waited, vmstat("pswpin") / 256, vmstat("pswpout") / 256, vmstat("pgpgin") / 1024


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


PROBE_FILE_MIB = 16
PROBE = """
import mmap, os, sys, time
memory = bytearray(32 << 20)
data = b""
if len(sys.argv) > 1:
    with open(sys.argv[1], "rb") as file:
        data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
step = 0
while True:
    began = time.monotonic()
    for page in range(step % 8 << 22, (step % 8 + 1) << 22, 4096):
        memory[page] = step & 255
    for page in range(0, len(data) // 8, 4096):
        data[step % 8 * (len(data) // 8) + page]
    pid = os.posix_spawn("/bin/ls", ["ls", "-l", "/etc"], {},
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", 1, 0)])
    os.waitpid(pid, 0)
    step += 1
    print("%.3f" % (time.monotonic() - began), flush=True)
    time.sleep(0.2)
"""
FILL_S = 30
CALM_STEPS = 10
STANDS_STILL = 10           # times slower than in calm


class Probe:
    """Somebody at work as people are: a program is started, memory is used that was left alone
    for some seconds, and so is a file on the disk that is fought for, where there is one. How
    much slower it gets says what thrashing costs, whatever the kernel's figures and the daemon's
    formulas make of it."""

    def __init__(self, w, directory=None):
        argv = ["/usr/bin/python3", "-c", PROBE]
        if directory:
            argv.append(f"{directory}/probe")
            with open(argv[-1], "wb") as file:
                file.write(os.urandom(PROBE_FILE_MIB << 20))
                os.fsync(file.fileno())
        self.item = w.spawn(argv, name="probe", role="innocent", steady=False)
        await_true(w, lambda: len(self.steps()) > CALM_STEPS, 20)
        self.calm_s = sorted(self.steps())[len(self.steps()) // 2]
        self.began, self.seen = time.monotonic(), len(self.steps())

    def steps(self):
        """The seconds that each step took."""
        return [float(line) for line in self.item.output().split("\n")[:-1]]

    def begin(self):
        """What came before does not count."""
        self.began, self.seen = time.monotonic(), len(self.steps())

    def still_s(self):
        """For how long a step took so much longer; the one under way counts as well."""
        steps = self.steps()[self.seen:]
        under_way = time.monotonic() - self.began - sum(steps) - 0.2 * len(steps)
        return sum(s for s in [*steps, under_way] if s > self.calm_s * STANDS_STILL)

    def slower(self):
        """How many times more a step took on average."""
        steps = self.steps()[self.seen:]
        passed = time.monotonic() - self.began - 0.2 * len(steps)
        return passed / max(len(steps), 1) / self.calm_s


def came_back():
    """Pages that were taken and had to be fetched again: of files, and from swap."""
    return sum(map(vmstat, ("workingset_refault_file", "workingset_refault_anon")))


def thrash_until_dead(w, make, seconds, still_s=STILL_S, thrashes=THRASHES, directory=None):
    """make(): what thrashes, the hog among it. Lets it until the hog is dead, or the time is
    over; what it takes to fill memory (seconds on a machine of its own) does not count.

    Two bars of our own, neither from a daemon's formula: it did thrash (so many pages a second
    were fetched again), and whoever stands still, by the probe's work, for still_s is rid of
    the hog. Where nobody died for less, the note says what that cost.
    """
    probe, stall = Probe(w, directory), Stall()
    hog = make()
    await_true(w, lambda: stall.poll() > STALL_SHARE or available_mib() < w.total_mib / 10
               or not hog.alive(), FILL_S, 0.25)
    probe.begin()
    started, fetched, lowest = time.monotonic(), came_back(), available_mib()
    while time.monotonic() - started < seconds and hog.alive() and probe.still_s() < still_s:
        w.sleep(0.25)
        stall.poll()
        lowest = min(lowest, available_mib())
    took, slower, still = time.monotonic() - started, probe.slower(), probe.still_s()
    rate = (came_back() - fetched) / max(took, 0.1)
    died = "hog dead" if not hog.alive() else f"no kill, probe slowed x{slower:.1f}"
    w.note(f"{died}: thrashed {took:.1f} s, {rate:.0f} pages a second fetched again, a probe of "
           f"{probe.calm_s * 1000:.0f} ms x{slower:.1f}, stood still {still:.1f} s; worst second "
           f"stalled {stall.worst:.0%}, bucket {stall.bucket:.1f} s, lowest MemAvailable "
           f"{lowest:.0f} MiB")
    w.expect(not hog.alive() or rate >= thrashes, "it did thrash")
    w.expect(not hog.alive() or still < still_s,
             f"nobody stands still for {still_s} s with the thrasher alive")
    return stall

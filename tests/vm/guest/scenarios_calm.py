"""Machines on which it only looks bad: nobody may die."""

import glob
import os
import shutil
import time

from helpers import Stall, available_mib, ballast
from registry import Skip, scenario

CALM_S = 60
LEAST_LEFT = 0.08           # of memory: briefly tight, but not short
TIGHT = 0.09                # below ThrashAvailable=, so that stall alone decides


@scenario("memory-high", sets=("all", "compare"), nobody=True, timeout=90)
def memory_high(w):
    """Two cgroups are throttled at their memory.high while the machine has memory to spare.

    One wants twice what it may have, the other reads files that do not fit into its share.
    System-wide PSI reads as if the whole machine stood still. Wrong would be to believe it:
    nobody but these two waits for anything, and they wait for their own limit.
    """
    w.innocents()
    data = w.mount("slow") + "/data"
    w.load("leak", "--rate", "40", "--hold-at", "160", name="wants-twice", role="never",
           cg={"memory.high": "80M"})
    w.load("fileread", "--file", data, "--threads", "2", name="reads", role="never",
           cg={"memory.high": "48M"})
    watch_stall(w, 25)
    w.expect(available_mib() > w.total_mib / 4, "the machine had memory to spare")


def watch_stall(w, seconds):
    """Lets time pass and notes how bad it looked."""
    stall, lowest = Stall(), available_mib()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        w.sleep(0.25)
        stall.poll()
        lowest = min(lowest, available_mib())
    w.note(f"worst second stalled {stall.worst:.0%}, bucket {stall.bucket:.1f} s"
           f"{' and was full' if stall.full_at else ''}, lowest MemAvailable {lowest:.0f} MiB "
           f"of {w.total_mib:.0f}")
    return lowest


@scenario("compile-storm", sets=("short", "all", "compare"), nobody=True, timeout=90)
def compile_storm(w):
    """Many short compilers on a machine that is nearly full: tight for moments, never short.

    Wrong would be to take the steep fall of each start for a leak. What it takes is given
    back within half a second, by itself.
    """
    w.innocents()
    ballast(w, w.total_mib * LEAST_LEFT + 100)
    w.load("storm", "--rate", "8", "--each", "24", "--ms", "400", "--max", "4",
           name="compilers", role="never")
    lowest = watch_stall(w, 20)
    w.expect(lowest < w.total_mib * 0.2, "memory did get tight")


CC_SOURCE = """#include <stdio.h>
#include <stdlib.h>
#define F(n) static int f##n(int x) { switch (x) { %s } return x * n; }
%s
int main(void) { return %s; }
"""


def compile_source(functions=40, cases=40):
    """A source that takes a compiler a good second under emulation, and some 40 MiB."""
    switch = " ".join(f"case {c}: printf(\"%d\", x + {c}); break;" for c in range(cases))
    define = "\n".join(f"F({n})" for n in range(functions))
    return CC_SOURCE % (switch, define, " + ".join(f"f{n}(1)" for n in range(functions)))


@scenario("compile-storm-cc", sets=("all", "compare"), nobody=True, timeout=90, image="full")
def compile_storm_cc(w):
    """The same with real compilers, four at a time on two processors.

    Wrong would be any kill: make reports a killed compiler as a broken build.
    """
    if not shutil.which("cc"):
        raise Skip("no compiler in the image")
    w.innocents()
    with open("/tmp/storm.c", "w", encoding="ascii") as f:
        f.write(compile_source())
    ballast(w, w.total_mib * LEAST_LEFT + 110)
    one = "while :; do cc -O1 -c /tmp/storm.c -o /dev/null || echo broken; echo built; done"
    storm = w.spawn(["/bin/sh", "-c", f"for i in 1 2 3 4; do ({one}) & done; wait"],
                    name="make", role="never", steady=False)
    watch_stall(w, 25)
    w.note(f"{storm.output().count('built')} compilers ran")
    w.expect("built" in storm.output(), "compilers did run")
    w.expect("broken" not in storm.output(), "no compiler was killed")


@scenario("startup-burst", sets=("short", "all", "compare"), nobody=True, timeout=80)
def startup_burst(w):
    """A large application starts: it takes most of memory as fast as it can, and stays.

    Wrong would be to extrapolate for long: for a moment this is what a 2 GB/s leak looks
    like. It leaves a little more than the quarter up to which DESIGN section 5 lets a fast
    fall move the kill line; one that leaves less, as fast, is taken for a leak.
    """
    w.innocents()
    size = int(available_mib() - w.total_mib * 0.27)
    w.load("leak", "--rate", "0", "--hold-at", str(size), name="application", role="never")
    watch_stall(w, 6)


@scenario("startup-tight", sets=("all", "compare"), nobody=True, timeout=80)
def startup_tight(w):
    """An application starts at an ordinary pace and stays, with 8 % of memory left.

    Wrong would be to kill: that is above every line, and it goes no further.
    """
    w.innocents()
    size = int(available_mib() - w.total_mib * LEAST_LEFT)
    app = w.load("leak", "--rate", "100", "--hold-at", str(size), name="application",
                 role="never")
    lowest = watch_stall(w, 10)
    w.expect(lowest < w.total_mib * 0.12 or not app.alive(), "the application did get large")


@scenario("calm-hour", sets=("all",), nobody=True, timeout=130, memory=4096)
def calm_hour(w):
    """An hour of ordinary life in a minute: small programs come and go, files are read.

    Wrong would be a kill, and just as much to keep the processor from sleeping: a daemon that
    is never needed must cost next to nothing.
    """
    w.innocents()
    life = ("while :; do cat /usr/lib/x86_64-linux-gnu/*.so.* >/dev/null; ls -lR /etc >/dev/null;"
            " sleep 2; done")
    w.spawn(["/bin/sh", "-c", life], name="life", role="never", steady=False)
    w.load("storm", "--rate", "2", "--each", "3", "--ms", "150", name="programs", role="never")
    w.sleep(3)
    before, began = switches(w), time.monotonic()
    w.sleep(CALM_S)
    passed = time.monotonic() - began
    if before is None:
        return
    rate = (switches(w) - before) / passed
    allowed = allowed_wakeups(w)
    w.note(f"{rate:.2f} wake-ups a second over {passed:.0f} s, {allowed:.2f} allowed")
    if w.subject == "oomreapd":
        w.expect(rate <= allowed, "no more wake-ups than the memory there is calls for")


def allowed_wakeups(w):
    """DESIGN section 2: half the time in which memory could be gone, at a GiB/s for each CPU;
    a quarter and one in five seconds more for what else there is to do."""
    room_mib = available_mib() - w.kill_line_mib
    tick_s = min(room_mib / 1024 / min(os.cpu_count(), 4) / 2, 5)
    return 1.25 / tick_s + 0.2


def switches(w):
    """Times that the daemon's threads went to sleep, which is how often they woke."""
    pid = w.daemon_pid()
    if not pid:
        return None
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(path, encoding="ascii", errors="replace") as f:
            total += sum(int(line.split()[1]) for line in f
                         if line.startswith("voluntary_ctxt_switches"))
    return total


class Bursts:
    """Stall in bursts that average below a quarter, with memory below ThrashAvailable=: what
    a daemon must bear for ever. A cgroup reads more files than it may keep, and is frozen
    four seconds out of five."""

    def __init__(self, w):
        self.w = w
        w.innocents()
        data = w.mount("slow") + "/data"
        self.reader = w.load("fileread", "--file", data, "--threads", "2", name="reads",
                             role="never", cg={"memory.high": "32M"})
        w.sleep(1)
        w.freeze(self.reader)
        ballast(w, w.total_mib * TIGHT)
        self.stall = Stall()

    def burst(self, during=None):
        """One second of stall, with something happening in the middle; four of rest."""
        self.w.thaw(self.reader)
        self.w.sleep(0.5)
        if during:
            during()
        self.w.sleep(0.5)
        self.stall.poll()
        self.w.freeze(self.reader)
        self.w.sleep(3.5)
        self.stall.poll()

    def note(self):
        self.w.note(f"bucket {self.stall.bucket:.1f} s, worst second stalled "
                    f"{self.stall.worst:.0%}, MemAvailable {available_mib():.0f} MiB")


@scenario("guest-paused", sets=("all"), nobody=True, timeout=120)
def guest_paused(w):
    """The whole guest stands still for 20 s in the middle of moderate pressure.

    Wrong would be to take the time that passed on the outside for stall, or a tick that
    comes late for one second's worth of it: nobody may die for a host's pause. (Under
    emulation the guest's monotonic clock stands still as well; the battery clock does not.)
    """
    bursts = Bursts(w)
    bursts.burst()
    paused = []
    bursts.burst(lambda: paused.append(w.ask_pause(20)))
    bursts.burst()
    bursts.note()
    w.expect(all(paused), "the guest was paused")


def suspended_s():
    """Time spent suspended since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def suspend(w, seconds):
    """Suspends to RAM, woken by the battery clock; returns for how long it slept. (From
    suspend to idle an emulated guest does not wake: its alarm goes through the HPET, which
    sleeps as well. And an alarm that comes before it is asleep wakes nobody: so not soon.)"""
    before = suspended_s()
    w.command(["rtcwake", "-m", "mem", "-s", str(seconds)], check=False, timeout=90)
    return suspended_s() - before


@scenario("clock-jump", sets=("all",), nobody=True, timeout=130)
def clock_jump(w):
    """The wall clock jumps by an hour, then the machine is suspended and resumes.

    Wrong would be to judge by a clock that people set (the first), or to take a resume, when
    everything is read back from disk at once, for thrashing (the second). A jump of REALTIME
    must change nothing; the suspend to RAM moves BOOTTIME against MONOTONIC as it does on
    any laptop.
    """
    bursts = Bursts(w)
    bursts.burst()

    def jump():
        now = time.clock_gettime(time.CLOCK_REALTIME)
        time.clock_settime(time.CLOCK_REALTIME, now + 3600)

    def jump_back():
        now = time.clock_gettime(time.CLOCK_REALTIME)
        time.clock_settime(time.CLOCK_REALTIME, now - 3600)

    w.defer(jump_back)
    bursts.burst(jump)
    if can_suspend():
        slept = suspend(w, 15)
        bursts.burst()
        bursts.burst()
        w.note(f"suspended for {slept:.1f} s by BOOTTIME - MONOTONIC")
        w.expect(slept > 1, "the machine was suspended")
        if w.subject == "oomreapd":
            w.expect(any("suspended" in r.get("OOMREAPD_NOTE", "") for r in w.journal()),
                     "the daemon noticed the resume")
    else:
        w.note("no suspend to RAM in this guest: only the wall clock was moved")
    bursts.note()


def can_suspend():
    try:
        with open("/sys/power/state", encoding="ascii") as f:
            return "mem" in f.read().split() and os.path.exists("/sys/class/rtc/rtc0/wakealarm")
    except OSError:
        return False

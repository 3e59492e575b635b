"""Machines on which it only looks bad: nobody may die."""

import glob
import os
import shutil
import time

from helpers import Stall, available_mib, ballast
from registry import scenario

NEARLY_FULL = 3.2           # seconds of stall; a kill is due at 5
CALM_S = 40                 # an hour's starts of programs in less than a minute
STARTS_PER_S = 25           # a thousand in all: an hour of a desktop and its cron jobs
WAKEUPS_PER_S = 2           # allowed on 4 GiB, however calm it could be
LEAST_LEFT = 0.08           # of memory: briefly tight, but not short
ROOMY = 0.15                # above the lines of all who are compared (10 % at most)
TIGHT = 0.09                # below ThrashAvailable=, so that stall alone decides


@scenario("memory-high", sets=("all", "compare"), nobody=True, timeout=90)
def memory_high(w):
    """Cgroups are throttled at their memory.high while the machine has memory to spare.

    Some want twice what they may have, one reads files that do not fit into its share.
    System-wide PSI reads as if the whole machine stood still. Wrong would be to believe it:
    nobody but these waits for anything, and they wait for their own limit. Or to take their
    reclaim for the machine's, as its counters do since 7.1.
    """
    w.innocents()
    data = w.mount("slow") + "/data"
    for n in range(3):
        w.load("leak", "--rate", "40", "--hold-at", "80", name=f"wants-twice-{n}", role="never",
               cg={"memory.high": "40M"})
    ballast(w, w.total_mib * 0.45)
    w.load("fileread", "--file", data, "--size", "64", "--threads", "4", name="reads", role="never",
           cg={"memory.high": "32M"})
    stall, _ = watch_stall(w, 35)
    w.expect(stall.full_at is not None, "the machine did look as if it stood still")
    w.expect(available_mib() > w.total_mib / 4, "the machine had memory to spare")


def watch_stall(w, seconds):
    """Lets time pass, notes how bad it looked; returns the stall and the lowest MemAvailable."""
    stall, lowest = Stall(), available_mib()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        w.sleep(0.25)
        stall.poll()
        lowest = min(lowest, available_mib())
    w.note(f"worst second stalled {stall.worst:.0%}, bucket {stall.bucket:.1f} s"
           f"{' and was full' if stall.full_at else ''}, lowest MemAvailable {lowest:.0f} MiB "
           f"of {w.total_mib:.0f}")
    return stall, lowest


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
    _, lowest = watch_stall(w, 12)
    w.expect(lowest < w.total_mib * 0.2, "memory did get tight")


CC_SOURCE = """#include <stdio.h>
#include <stdlib.h>
#define F(n) static int f##n(int x) { switch (x) { %s } return x * n; }
%s
int main(void) { return %s; }
"""


def compile_source(functions=6, cases=8):
    """A source that takes a compiler a second or two under emulation, and some 30 MiB."""
    switch = " ".join(f"case {c}: printf(\"%d\", x + {c}); break;" for c in range(cases))
    define = "\n".join(f"F({n})" for n in range(functions))
    return CC_SOURCE % (switch, define, " + ".join(f"f{n}(1)" for n in range(functions)))


@scenario("compile-storm-cc", sets=("all", "compare"), nobody=True, timeout=90, image="full")
def compile_storm_cc(w):
    """The same with real compilers, four at a time on two processors.

    Wrong would be any kill: make reports a killed compiler as a broken build.
    """
    if not shutil.which("cc"):
        raise RuntimeError("no compiler in the image")
    w.innocents()
    with open("/tmp/storm.c", "w", encoding="ascii") as f:
        f.write(compile_source())
    ballast(w, w.total_mib * LEAST_LEFT + 80)
    one = "while :; do cc -O1 -c /tmp/storm.c -o /dev/null || echo broken; echo built; done"
    storm = w.spawn(["/bin/sh", "-c", f"for i in 1 2 3 4; do ({one}) & done; wait"],
                    name="make", role="never", steady=False)
    _, lowest = watch_stall(w, 25)
    built = storm.output().count("built")
    w.note(f"{built} compilers ran")
    w.expect(built >= 20, "many compilers did run")
    w.expect(lowest < w.total_mib * 0.15, "memory did get tight")
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

    Wrong would be to kill: that is above our line, and it goes no further. (Below the 10 %
    at which others act by design.)
    """
    startup(w, LEAST_LEFT)


@scenario("startup-roomy", sets=("all", "compare"), nobody=True, timeout=80)
def startup_roomy(w):
    """The same with 15 % left, which is above everybody's line."""
    startup(w, ROOMY)


def startup(w, left):
    """An application takes all but so much of memory, at 100 MiB/s."""
    w.innocents()
    size = int(available_mib() - w.total_mib * left)
    app = w.load("leak", "--rate", "100", "--hold-at", str(size), name="application",
                 role="never")
    _, lowest = watch_stall(w, 10)
    w.expect(lowest < w.total_mib * (left + 0.04) or not app.alive(),
             "the application did get large")


@scenario("calm-hour", sets=("all", "compare"), nobody=True, timeout=110, memory=4096)
def calm_hour(w):
    """An hour's programs in less than a minute: a thousand come and go, files are read.

    Wrong would be a kill, and just as much to keep the processor from sleeping: a daemon that
    is never needed must cost next to nothing. Two wake-ups a second is what we allow for it on
    4 GiB, by choice; it is no figure of the daemon's own.
    """
    w.innocents()
    life = ("while :; do cat /usr/lib/x86_64-linux-gnu/*.so.* >/dev/null; ls -lR /etc >/dev/null;"
            " sleep 2; done")
    w.spawn(["/bin/sh", "-c", life], name="life", role="never", steady=False)
    w.load("storm", "--rate", STARTS_PER_S, "--each", "3", "--ms", "150", name="programs",
           role="never")
    w.sleep(3)
    before, processes, began = switches(w), processes_started(), time.monotonic()
    w.sleep(CALM_S)
    passed = time.monotonic() - began
    started = processes_started() - processes
    w.expect(started >= CALM_S * STARTS_PER_S / 2, "programs did start")
    if before is None:
        return
    rate = (switches(w) - before) / passed
    w.note(f"{rate:.2f} wake-ups a second over {passed:.0f} s, {started} programs started")
    if w.subject == "oomreapd":
        w.expect(rate <= WAKEUPS_PER_S, f"at most {WAKEUPS_PER_S} wake-ups a second")


def processes_started():
    """Since boot, threads too."""
    with open("/proc/stat", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("processes "))


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
    a daemon must bear for ever. A cgroup wants four times its memory.high, and is held up by the
    kernel for that: all stall, and on every kernel as much. (Whoever only reads more files than it
    may keep stalls for a tenth of the time on 6.1, and less on 7.2.)"""

    def __init__(self, w):
        self.w = w
        w.innocents()
        ballast(w, w.total_mib * TIGHT)
        self.held_up = None
        self.stall = Stall()

    def begin(self):
        self.held_up = self.w.load("leak", "--rate", "20", "--threads", "3", "--hold-at", "64",
                                   name="held-up", role="never", cg={"memory.high": "16M"})

    def end(self):
        """Frozen it would stall on until the kernel has held it up for long enough."""
        self.w.end(self.held_up)
        self.w.wait_dead(self.held_up)

    def burst(self, during=None):
        """One second of stall, with something happening in the middle; four of rest."""
        self.begin()
        self.w.sleep(0.5)
        if during:
            during()
        self.w.sleep(0.5)
        self.stall.poll()
        self.end()
        self.w.sleep(3.5)
        self.stall.poll()

    def fill(self, wanted=NEARLY_FULL, timeout=15):
        """Stall without rest until a kill is near by our own reckoning; it goes on."""
        self.begin()
        self.w.until(lambda: self.poured() >= wanted, timeout, 0.1)
        self.w.note(f"bucket {self.stall.bucket:.1f} s before it")
        self.w.expect(self.stall.bucket >= wanted, f"the bucket was at {wanted} s before it")

    def poured(self):
        self.stall.poll()
        return self.stall.bucket

    def rest(self, seconds=4):
        """No more of it; what has come in until now is counted."""
        self.end()
        self.stall.poll()
        self.w.sleep(seconds)
        self.stall.poll()

    def note(self):
        self.w.note(f"bucket {self.stall.bucket:.1f} s, worst second stalled "
                    f"{self.stall.worst:.0%}, MemAvailable {available_mib():.0f} MiB")


@scenario("guest-paused", sets=("all", "compare"), nobody=True, timeout=120)
def guest_paused(w):
    """The whole guest stands still, first for 10 s by its monitor, then for 20 s because its
    emulator does not run, in the middle of stall that is three fifths of a reason to kill.

    Wrong would be to take the time that passed on the outside for stall: nobody may die for
    a host's pause. By the monitor the guest's monotonic clock stands still as well, so that
    only the battery clock has moved; without it, 20 s are missing between two ticks, and the
    kernel may count them as stall of whoever was waiting just then. (On the kernels tried it
    did not, so this shows what a pause does, and not that the daemon's guard against one is
    needed: test_pressure_policy.c shows what that does.)
    """
    bursts = Bursts(w)
    bursts.burst(lambda: w.expect(w.ask_pause(10), "the guest was paused"))
    bursts.fill()
    w.expect(w.ask_freeze(20), "20 s were missing from the guest's monotonic clock")
    bursts.rest(5)
    bursts.note()


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
    bursts.fill()
    bursts.rest(0)
    slept = suspend(w, 15)
    bursts.burst()
    w.note(f"suspended for {slept:.1f} s by BOOTTIME - MONOTONIC")
    w.expect(slept > 1, "the machine was suspended")
    if w.subject == "oomreapd":
        w.expect(any("suspended" in r.get("OOMREAPD_NOTE", "") for r in w.journal()),
                 "the daemon noticed the resume")
    bursts.note()

"""Leaks: one program, or several, take the memory until there is none.

Each differs from the plain one in a single thing that has made killers fail: memory that other
processes share, that swap cannot take, a victim that cannot run or cannot exit, a crowd to
search through. Somebody must die in all of them, and it is always clear who.
"""

import math
import os
import time

from registry import PAST_DEADLINE_S, scenario
from system import cgroup_pids, read, write

EVERYWHERE = ("short", "all", "compare")
STEADY = 80  # MiB/s: slow enough for everybody to see it coming
FAST = 300   # MiB/s at its steepest; on a quiet host it is a GB/s, on a busy one not always 500


def leak(w, *args, rate=STEADY, **how):
    """The leak that is to die."""
    how = {"name": "leak", "role": "hog", **how}
    return w.load("leak", "--rate", rate, *args, **how)


def die_and_settle(w, *hogs, timeout=30):
    """Until they are dead and memory is back; the bars judge, so nothing is raised."""
    w.wait_dead(*hogs, timeout=timeout)
    w.wait_calm(1, 10)


def all_gone(w, hog):
    w.expect(w.until(lambda: not cgroup_pids(hog.cgroup), 5), f"nothing is left of {hog.name}")


def steepest_fall(samples, over_s=0.1):
    """The fastest fall within about so long, in MiB/s; samples: (seconds, MiB)."""
    steepest, first = 0.0, 0
    for at, mib in samples:
        while at - samples[first][0] > over_s:
            steepest = max(steepest, (samples[first][1] - mib) / (at - samples[first][0]))
            first += 1
    return steepest


def watch_fall(w, hog, timeout=30, at_least=0):
    """How fast it takes memory until it is dead, seen from outside."""
    samples = []

    def dead():
        samples.append((time.monotonic(), w.mem_available()))
        return not hog.alive()

    w.until(dead, timeout)
    rate = steepest_fall(samples)
    w.note(f"leaked at up to {rate:.0f} MiB/s")
    if at_least:
        w.expect(rate >= at_least, f"it leaked at {at_least} MiB/s or more")


@scenario("steady-leak", sets=EVERYWHERE, need=1, timeout=60)
def steady_leak(w):
    """The plain case: 80 MiB/s."""
    w.innocents()
    die_and_settle(w, leak(w))


@scenario("fast-leak", sets=EVERYWHERE, need=1, timeout=60)
def fast_leak(w):
    """As fast as the machine can: both CPUs do nothing but take memory, huge page by huge
    page, for small ones would cost an emulated machine a fault each."""
    w.innocents()
    hog = leak(w, "--threads", 2, "--huge", rate=0, wait=False)
    watch_fall(w, hog, at_least=FAST)
    die_and_settle(w, hog)


@scenario("shared-mm-leak", sets=EVERYWHERE, need=1, timeout=60)
def shared_mm_leak(w):
    """Three other processes share its memory: it comes back only when all four are dead."""
    w.innocents()
    hog = leak(w, "--sharers", 3)
    die_and_settle(w, hog)
    all_gone(w, hog)


@scenario("mlocked-leak", sets=("all", "compare"), need=1, timeout=60)
def mlocked_leak(w):
    """Its memory is locked, so that there is nothing to reclaim and everything to reap."""
    w.innocents()
    die_and_settle(w, leak(w, "--mlock"))


@scenario("vfork-leak", sets=EVERYWHERE, need=1, timeout=60)
def vfork_leak(w):
    """There is nearly always a child between vfork and exec: to kill only the parent frees
    nothing, and to score the child by its memory would count it twice."""
    w.innocents()
    hog = leak(w, "--vfork")
    die_and_settle(w, hog)
    all_gone(w, hog)


def tip_over(w, hog, done):
    """A small program takes the last of the memory, slowly; it must outlive the large one."""
    size = w.mem_available() + 20
    pusher = w.load("leak", "--rate", 20, "--hold-at", size, name="pusher", wait=False)
    w.until(done, 30, 0.02)
    w.wait_calm(1, 10)
    w.expect(pusher.alive(), "the small one that tipped it over lives")
    w.note(f"{hog.name} {'lives' if hog.alive() else 'is dead'}")


@scenario("throttled-leak", sets=("all", "compare"), need=1, timeout=80)
def throttled_leak(w):
    """It gets 1 % of a CPU from the moment before memory is short: by itself it would take
    seconds to exit."""
    w.innocents()
    hog = leak(w)
    w.wait_low(w.total_mib / 8)
    write(f"{hog.cgroup}/cpu.max", "1000 100000")
    w.expect(hog.alive(), "it was throttled before it died")
    tip_over(w, hog, lambda: w.mem_available() > w.total_mib / 5)


@scenario("frozen-leak", sets=("all", "compare"), need=1, timeout=80)
def frozen_leak(w):
    """A frozen cgroup holds nearly all memory, a small program asks for the rest: the frozen
    one has to die although it cannot run, not the one that can."""
    w.innocents()
    size = int(w.mem_available() - w.total_mib / 8)
    hog = leak(w, "--hold-at", size)
    w.until(lambda: not hog.alive() or hog.rss_mib() > size - 4, 30, 0.02)
    w.expect(hog.alive() and w.freeze(hog), "it was frozen before it died")
    tip_over(w, hog, lambda: not hog.alive())


@scenario("stuck-leak", sets=EVERYWHERE, need=1, timeout=80, calm_s=PAST_DEADLINE_S)
def stuck_leak(w):
    """One of its threads writes to a frozen file system and waits where no signal gets it: the
    process cannot exit, its memory comes back only to who takes it away."""
    w.innocents()
    where = w.mount("frz")
    hog = leak(w, "--stuck-write", f"{where}/stuck")
    w.fsfreeze(where)
    w.expect(w.until(lambda: stuck_threads(hog), 10, 0.02), "a thread is stuck")
    w.wait_back(30)


def stuck_threads(item):
    """Threads in uninterruptible sleep."""
    task = f"/proc/{item.pid}/task"
    try:
        states = [read(f"{task}/{tid}/stat").rpartition(")")[2][1:2] for tid in os.listdir(task)]
    except OSError:
        return 0
    return states.count("D")


def family(w, children):
    """A parent that only waits, and children that take all memory together."""
    w.innocents()
    item = w.load("family", "--children", children, "--each", w.total_mib * 2, "--rate",
                  STEADY / children, name="family", role="hog")
    w.until(lambda: len(cgroup_pids(item.cgroup)) <= 1, 60, 0.1)
    w.wait_calm(1, 10)


@scenario("family-leak", sets=("all", "compare"), need=1, timeout=100)
def family_leak(w):
    """Four children leak: each dies when it is the largest, their parent may live."""
    family(w, 4)


@scenario("family-small-leak", sets=("all", "compare"), need=1, timeout=100)
def family_small_leak(w):
    """Twelve children leak, and each is smaller than the largest innocent when memory is short:
    only together are they the largest."""
    family(w, 12)


@scenario("fork-bomb", sets=("all", "compare"), need=1, recover=False, timeout=90)
def fork_bomb(w):
    """Small processes that fork, and outlive whoever forked them: no single one is worth a
    kill, and each kill makes room for the next. Wrong would be to take an innocent because it
    is larger than each. (Bounded: 300 of them, half as many again as memory can hold, on half
    a CPU; hundreds that wake up to fork would take all of an emulated machine's, and it is
    memory that is to run out. And a bomb with a bound ends as soon as the rest of it fits: what
    is judged is that nobody else dies for it and that memory is back.)"""
    w.innocents()
    bomb = w.load("bomb", "--each", 3, "--rate", 40, "--max", 300, name="bomb", role="hog",
                  cg={"cpu.max": "50000 100000"})
    w.wait_low(timeout=20)
    most = len(cgroup_pids(bomb.cgroup))
    began = time.monotonic()
    w.wait_calm(2, 25)
    left = len(cgroup_pids(bomb.cgroup))
    w.note(f"{most} processes when memory was short, {left} of them in the end, "
           f"{time.monotonic() - began:.1f} s later; {w.mem_available():.0f} MiB available")
    w.expect(w.mem_available() > w.kill_line_mib, "memory is back")


@scenario("many-hogs", sets=("all", "compare"), recover=False, timeout=120, calm_s=0)
def many_hogs(w):
    """24 programs of one size want a quarter more than there is, then stop growing. As many
    have to die as do not fit above our kill line, and no more: a death was needless where the
    rest and one more still fit. (Who acts above that line kills more by design. And nobody here
    asks by its oom_score_adj to go before one of so few MiB: who does, is not wronged.)"""
    count, rate = 24, 2.5
    w.innocents((4, 12, 24), offered=False)
    each = int(w.mem_available() * 1.25 / count)
    empty = w.mem_available()
    hogs = [w.load("leak", "--rate", rate, "--hold-at", each, name=f"hog-{n}", role="either")
            for n in range(count)]
    expected = hogs_too_many(count, each + OF_ITS_OWN, empty, w.kill_line_mib)
    w.until(lambda: all(not h.alive() or h.rss_mib() > each - 1 for h in hogs), 60, 0.2)
    w.sleep(10)     # the rest may be within a breath of the line, and one more have to go for it
    dead = sum(not h.alive() for h in hogs)
    available = w.mem_available()
    w.need = dead - hogs_to_spare(each + OF_ITS_OWN, available, w.kill_line_mib)
    w.expect(available > w.kill_line_mib, "enough have died")
    w.note(f"{dead} of {count} hogs of {each} MiB died, {w.need} had to ({expected} by what was "
           f"available before them); {available:.0f} MiB available in the end, line "
           f"{w.kill_line_mib:.0f} MiB")


OF_ITS_OWN = 0.7  # MiB that a process costs besides what it asks for: page tables, stacks
BREATH = 12       # MiB that come and go with whatever the heartbeat and the harness start


def hogs_to_spare(each, available, line):
    """How many of the dead would still have fitted, by what is available without them."""
    return max(math.floor((available - line - BREATH) / each), 0)


def hogs_too_many(count, each, available, line):
    """How many of so many must go until the rest fit above the line."""
    return max(math.ceil(count - (available - line) / each), 0)


@scenario("idle-crowd-leak", sets=("all", "compare"), need=1, memory=2048, timeout=180)
def idle_crowd_leak(w):
    """3,000 processes that sleep, to be searched through while a leak eats the machine."""
    w.innocents()
    w.load("crowd", "--n", 3000, name="crowd", ready_timeout=90)
    die_and_settle(w, leak(w, rate=STEADY * 2), timeout=60)


@scenario("two-leaks", sets=EVERYWHERE, need=2, timeout=80)
def two_leaks(w):
    """The second one eats what the first kill gives back: two kills, one after the other."""
    w.innocents()
    hogs = [leak(w, rate=STEADY * 0.7, name=name) for name in ("leak-a", "leak-b")]
    die_and_settle(w, *hogs, timeout=40)


def at_size(memory, rate, *args):
    """The plain leak on a machine of another size."""

    def run(w):
        w.innocents()
        hog = leak(w, *args, rate=rate, wait=False)
        watch_fall(w, hog, 60, 0 if rate else FAST)
        die_and_settle(w, hog)

    run.__doc__ = f"A leak on {memory} MiB."
    return run


for _memory in (512, 4096):
    scenario(f"guest-{_memory}", sets=("all", "compare"), need=1, memory=_memory, timeout=120)(
        at_size(_memory, _memory // 12))
    scenario(f"guest-{_memory}-fast", sets=("all", "compare"), need=1, memory=_memory,
             timeout=120)(
        at_size(_memory, 0, "--threads", 2, "--huge"))


@scenario("user-leak", sets=("all", "compare"), need=1, back_within_ms=4000, timeout=60)
def user_leak(w):
    """A user's program is asked first, and goes."""
    w.innocents()
    hog = leak(w, rate=20, user_slice=True)
    die_and_settle(w, hog, timeout=60)
    if w.subject == "oomreapd":
        w.expect(hog.signal == 15, "SIGTERM was enough")


@scenario("user-leak-deaf", sets=("all", "compare"), need=1, back_within_ms=4000, timeout=60)
def user_leak_deaf(w):
    """It is asked first and does not listen: the same one gets SIGKILL, in time."""
    w.innocents()
    argv = ["/usr/bin/env", "--ignore-signal=TERM", "/usr/local/bin/vm_load", "leak",
            "--rate", "20"]
    hog = w.spawn(argv, name="leak", role="hog", ready="ready", user_slice=True)
    die_and_settle(w, hog, timeout=60)
    if w.subject == "oomreapd":
        w.expect(hog.signal == 9, "SIGKILL followed")
        asked = [r for r in w.journal() if "SIGTERM" in r.get("MESSAGE", "")]
        w.expect(asked, "it was asked before")

"""Machines on which the obvious kill frees nothing, cannot be made, or is not enough."""

import functools
import os
import signal
import time

from helpers import available_mib, await_true, main_pid, small_innocents
from registry import PAST_DEADLINE_S, scenario

NOBODY_S = 6
RISEN_MIB = 16              # more than what a shrinking cache gives


def fill_tmpfs(where, wanted_mib):
    """Fills a tmpfs until so much is available, then keeps it there; returns a function that
    corrects it by a MiB at most."""
    chunk = b"\xa5" * (1 << 20)
    file = open(f"{where}/filled", "wb", buffering=0)

    def correct():
        off = available_mib() - wanted_mib
        if off > 1:
            file.write(chunk)
        elif off < -1:
            file.truncate(max(file.tell() - (1 << 20), 0))
            file.seek(0, os.SEEK_END)
        return abs(off) <= 2

    return correct


@scenario("tmpfs-full", sets=("short", "all", "compare"), nobody=True, timeout=110,
          small_heartbeat=True)
def tmpfs_full_small(w):
    """Files in a tmpfs hold the memory, and nobody who could die holds any worth a death.

    Wrong would be a kill at all: it would free next to nothing, the memory would be as short
    as before, and the next one would die for it. What can be done is to say where it is.
    MemAvailable stays between 2 % (below it even little is taken) and the kill line.
    """
    small_innocents(w)
    tmpfs_full(w)


@scenario("tmpfs-full-innocent", sets=("all", "compare"), timeout=110, small_heartbeat=True)
def tmpfs_full_innocent(w):
    """The same beside a program of 48 MiB, five times what a kill must free at least.

    Whether it dies is policy and not judged: it is not to blame, but nobody else has anything to
    give back, and memory is below the line. Wrong would be that anybody smaller goes with it.
    """
    largest = w.load("hold", "--size", "48", name="largest", role="either")
    tmpfs_full(w, nobody_is_worth_it=False)
    w.note(f"the largest, who is not to blame, {'lives' if largest.alive() else 'died'}")


def tmpfs_full(w, nobody_is_worth_it=True):
    """Files take the memory until 93 % of the kill line are left, and keep it there."""
    where = "/run/vm/full"
    os.makedirs(where, exist_ok=True)
    w.command(["mount", "-t", "tmpfs", "-o", "size=95%,mode=1777", "tmpfs", where])
    w.defer(lambda: w.command(["umount", where]))
    size = int(available_mib() - 60)
    w.load("tmpfs", "--dir", where, "--size", str(size), name="filler", role="never")
    correct = fill_tmpfs(where, w.kill_line_mib * 0.93)
    there = await_true(w, correct, 40, 0.02)
    end = time.monotonic() + NOBODY_S
    lowest = available_mib()
    while time.monotonic() < end:
        correct()
        lowest = min(lowest, available_mib())
        w.sleep(0.05)
    w.expect(there and lowest < w.kill_line_mib, "memory fell below the kill line")
    w.note(f"lowest MemAvailable {lowest:.1f} MiB, kill line {w.kill_line_mib:.1f} MiB")
    os.unlink(f"{where}/filled")    # nobody corrects it from here on
    if w.subject == "oomreapd" and nobody_is_worth_it:
        said = [r for r in w.journal() if r.get("OOMREAPD_EVENT") == "nobody"]
        named = [r for r in said if where in r.get("OOMREAPD_NOTE", "")]
        w.expect(named, "the journal names the tmpfs that holds the memory")


@scenario("minus-1000-shared", sets=("all", "compare"), need=1, timeout=110)
def minus_1000_shared(w):
    """A leak shares its mm with a process at −1000, which makes both untouchable.

    Expected: nothing that has this mm gets a signal (a part of it could be killed, but would
    free nothing), the next best one dies for it, and its memory is enough, for this leak stops
    in time. One that does not stop ends with the kernel's "no killable processes", with or
    without a daemon: that is what −1000 asks for, so it is not tried here. The kernel copies
    a written adj to all who share the mm, so that both have it.
    """
    w.innocents((4, 12, 24))
    room = available_mib()
    second = int(room * 0.4)
    w.load("hold", "--size", str(second), "--huge", name="second-best", role="hog")
    leak = w.load("leak", "--rate", "60", "--sharers", "1", "--hold-at", str(int(room * 0.6 + 50)),
                  name="untouchable", role="never", adj=-1000)
    w.wait_back(timeout=60)
    w.sleep(2)
    adjs = {pid: adj_of(pid) for pid in leak.pids}
    w.note(f"oom_score_adj of who shares it: {sorted(adjs.values())}")
    w.expect(set(adjs.values()) == {"-1000"} and len(adjs) == 2, "both who share the mm live")


@scenario("minus-1000-vforked", sets=("all", "compare"), need=1, timeout=110)
def minus_1000_vforked(w):
    """The exception: a child between vfork and exec has a −1000 that its parent has not.

    Spawners set it for the program to come. Wrong would be to take the leak for untouchable
    because of it, and to kill others instead.
    """
    w.innocents()
    hog = w.load("leak", "--rate", "80", "--sharers", "1", "--sharer-adj", "-1000", name="leak",
                 role="hog")
    w.note(f"oom_score_adj of who shares it: {sorted(adj_of(pid) for pid in hog.pids)}")
    w.wait_dead(hog, timeout=60)


def adj_of(pid):
    try:
        with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return "gone"


def slow_core_pipe(w):
    """Cores go to a reader that takes 10 MiB/s, as one that compresses does."""
    with open("/proc/sys/kernel/core_pattern", encoding="ascii") as f:
        before = f.read()
    write("/proc/sys/kernel/core_pattern", "|/usr/local/bin/vm_load coresink --rate 10\n")
    w.defer(lambda: write("/proc/sys/kernel/core_pattern", before))


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


@scenario("coredump-hog", sets=("all", "compare"), need=1, timeout=110, calm_s=PAST_DEADLINE_S)
def coredump_hog(w):
    """The largest process has crashed and its core goes to a slow reader, memory and all.

    Wrong would be to wait for it because it is dying (it holds its memory for as long as the
    dump takes, 40 s here), or to kill somebody else in its place. SIGKILL ends a dump.
    """
    w.innocents()
    slow_core_pipe(w)
    room = available_mib()
    hog = w.load("leak", "--core", "--rate", "300", "--abort-at", str(int(room * 0.6)),
                 name="crashed", role="hog", ready=None)
    dumping = await_true(w, lambda: state_says(hog.pid, "CoreDumping:\t1"), 40)
    w.expect(dumping, "a core dump was in progress when memory ran out")
    w.load("leak", "--rate", "60", "--hold-at", str(int(available_mib() + 40)),
           name="grows-a-little", role="innocent")
    w.wait_dead(hog, timeout=60)


def state_says(pid, text):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
            return text in f.read()
    except OSError:
        return False


@scenario("memcg-oom-loop", sets=("short", "all", "compare"), need=1, timeout=110)
def memcg_oom_loop(w):
    """A container that OOM-loops in its own memory.max, beside a leak of the machine.

    Each kernel kill in there is a step of vmstat's oom_kill. Wrong would be to hold our fire
    for each as if the kernel had taken care of the machine: the leak would go on until it had.
    """
    w.innocents()
    loop = "while :; do /usr/local/bin/vm_load leak --rate 100 >/dev/null; sleep 0.2; done"
    box = w.spawn(["/bin/sh", "-c", loop], name="container", role="noise", steady=False,
                  cg={"memory.max": "40M", "memory.swap.max": "0"})
    w.forgive_memcg(box)
    before = memcg_kills(box)
    w.until(lambda: memcg_kills(box) - before >= 2, 30, 0.05)
    hog = w.load("leak", "--rate", "80", name="leak", role="hog")
    w.wait_dead(hog, timeout=60)
    killed = memcg_kills(box) - before
    w.note(f"the container's processes killed by the kernel: {killed}")
    w.expect(killed >= 3, "the container did loop")


def memcg_kills(item):
    try:
        with open(f"{item.cgroup}/memory.events", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("oom_kill "))
    except (OSError, StopIteration):
        return 0


@scenario("robust-mutex", sets=("all", "compare"), need=1, timeout=110)
def robust_mutex(w):
    """The victim holds a robust mutex in shared memory, for which an innocent waits.

    The exiting kernel walks the victim's list of such mutexes in the victim's own memory.
    Wrong would be to take that memory away first: the innocent would wait for ever.
    """
    w.innocents()
    room = available_mib()
    hog = w.load("robust", "--size", str(int(room * 0.6)), "--shm", "/vm-robust",
                 name="owner", role="hog")
    waiter = w.load("robust-wait", "--shm", "/vm-robust", name="waiter", role="innocent")
    w.sleep(0.5)
    w.expect("owner-died" not in waiter.output(), "the mutex was held before")
    w.load("leak", "--rate", "80", "--hold-at", str(int(available_mib() + 40)),
           name="grows-a-little", role="innocent")
    w.wait_dead(hog, timeout=60)
    w.expect(await_true(w, lambda: "owner-died" in waiter.output(), 3),
             "who waited for the victim's mutex got EOWNERDEAD")


@scenario("journald-stopped", sets=("short", "all", "compare"), need=1, timeout=110)
def journald_stopped(w):
    """journald stands still when memory runs out, and goes on afterwards.

    Wrong would be to wait for it with the kill, and to lose the record of what was done.
    """
    w.innocents()
    pid = main_pid("systemd-journald.service")
    go_on = functools.partial(os.kill, pid, signal.SIGCONT)
    w.defer(go_on)
    os.kill(pid, signal.SIGSTOP)
    hog = w.load("leak", "--rate", "80", name="leak", role="hog")
    w.wait_dead(hog, timeout=60)
    w.sleep(2)
    go_on()
    if w.subject == "oomreapd":
        w.expect(await_true(w, lambda: {"kill", "outcome"} <= told(w), 10, 0.5),
                 "kill and outcome reach the journal afterwards")


def told(w):
    return {r.get("OOMREAPD_EVENT") for r in w.journal()}


@scenario("mmap-lock-stuck", sets=("short", "all", "compare"), need=2, recover=False, timeout=110,
          calm_s=PAST_DEADLINE_S, unreleased_ok=True)
def mmap_lock_stuck(w):
    """The best victim's mmap_lock is held for writing by a thread that never comes back.

    It is a victim in good faith: nothing tells beforehand that its memory will not come back,
    neither by reaping nor by its exit. Wrong would be to wait out its deadline while a leak
    takes the rest, to have the worker that is stuck with it hold up the next one, or to kill
    an innocent. So two must die: this one and the leak, no more than a second after the line
    has been crossed with the first already hit.
    """
    w.innocents()
    room = available_mib()
    w.command(["modprobe", "fuse"], check=False)
    stuck = w.load("mmaplock", "--size", str(int(room * 0.6)), name="stuck", role="hog")
    leak = w.load("leak", "--rate", "60", name="leak", role="hog")
    started = time.monotonic()
    waited_ms = second_waits(w, stuck, leak, 40)
    back = w.wait_calm(1, 10)
    w.note(f"memory back {time.monotonic() - started:.1f} s after the leak began; the second "
           f"gave some of it {waited_ms:.0f} ms after the line was crossed again")
    w.expect(waited_ms < 1000, "memory rises within 1 s of the line's being crossed again")
    w.expect(back and not leak.alive(), "memory is back though the first victim keeps its own")


def second_waits(w, first, second, timeout):
    """For how many ms memory was below the line with the first victim hit, until the second
    gave some of its own: 0 when that was above the line. Of the first nothing but a pending
    SIGKILL is to be seen. The second is not looked at: who reads about a process that is on
    its way out may have to take down its memory for it."""
    lowest, crossed = float("inf"), None
    end = time.monotonic() + timeout
    while second.alive() and time.monotonic() < end:
        available = available_mib()
        lowest = min(lowest, available)
        if crossed is not None and available > lowest + RISEN_MIB:
            break
        if crossed is None and available < w.kill_line_mib and killed(first.pid):
            crossed, lowest = time.monotonic(), available
        w.sleep(0.01)
    else:
        if second.alive():
            return float("inf")
    return (time.monotonic() - crossed) * 1000 if crossed is not None else 0.0


def killed(pid):
    """Whether a thread of it has a SIGKILL that it has not acted on."""
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/status", encoding="ascii", errors="replace") as f:
                if any(line.startswith(("SigPnd:", "ShdPnd:")) and int(line.split()[1], 16) & 0x100
                       for line in f):
                    return True
    except OSError:
        pass
    return False

"""Machines that stand still with memory left over on paper: caches and swap that thrash."""

import time

from helpers import (PROMISED_STALL_S, STALL_SHARE, STILL_AT_A_DISK_S, STILL_HALF_STALLED_S,
                     available_mib, await_true, ballast, disk_work, meminfo_mib,
                     thrash_until_dead, vmstat)
from registry import scenario

SEEKS = 200                 # pages a second: what a disk of 300 seeks has to give


def multigen_lru():
    """Whether the kernel reclaims by generations (its stall for memory is another one)."""
    try:
        with open("/sys/kernel/mm/lru_gen/enabled", encoding="ascii") as f:
            return int(f.read(), 16) & 1 == 1
    except FileNotFoundError:
        return False


def swapped_mib():
    """What is in swap and nowhere else."""
    return meminfo_mib("SwapTotal") - meminfo_mib("SwapFree") - meminfo_mib("SwapCached")


def swap_out(w, item, mib):
    """As if others had needed its memory. The kernel may take less than it is told to."""
    want = swapped_mib() + mib

    def ask():
        try:
            with open(f"{item.cgroup}/memory.reclaim", "w", encoding="ascii") as f:
                f.write(f"{max(int(want - swapped_mib()), 1)}M")
        except OSError:
            pass
        return swapped_mib() > want - 10

    w.until(ask, 40, 0.5)


@scenario("cache-thrash", sets=("all", "compare"), recover=False, timeout=130)
def cache_thrash(w):
    """What is read over and over does not fit beside what is allocated.

    Wrong would be to look on: no allocation ever fails, so the kernel's OOM killer does not
    come, and the pages that everybody reads back count as available. The blocks are real and
    the disk seeks: a page of the probe's waits behind the reader's. Whose memory would end it is
    the other one, which grows slowly: no fast fall is to blame.
    """
    w.innocents()
    slow = w.mount("slow")
    room = int(available_mib())
    w.command(["dd", f"if={slow}/data", "of=/dev/null", "bs=1M", "count=140", "status=none"])
    w.load("fileread", "--file", f"{slow}/data", "--size", "140", "--random", "--threads", "32",
           name="reader", role="either")
    thrash_until_dead(w, lambda: w.load(
        "leak", "--start", str(room - 160), "--rate", "15", "--hold-at", str(room - 85),
        name="ballast", role="hog"), 60, STILL_HALF_STALLED_S, SEEKS, slow)


@scenario("swap-thrash-zram", sets=("all", "compare"), recover=False, timeout=110)
def swap_thrash_zram(w):
    """A working set larger than memory goes round and round through compressed swap.

    Wrong would be to wait until swap is full, which it never is: the set fits into memory and
    swap together, it is only that nobody gets to work any more.
    """
    w.innocents()
    w.swap("zram", 700)
    size = int(available_mib() + 250)
    thrash_until_dead(w, lambda: w.load("anonloop", "--size", str(size), "--entropy", "20",
                                        name="thrasher", role="hog", ready=None), 35)


@scenario("swap-thrash-disk", sets=("all", "compare"), recover=False, timeout=190)
def swap_thrash_disk(w):
    """A set that does not fit is used at random by many threads, and its swap is a disk that
    seeks: each page that comes back waits behind those of the others.

    Wrong would be, again, to trust that swap is half free; or to trust the kernel's figure of
    stall for memory, in which such pages are not, but with MGLRU.
    """
    w.innocents()
    w.swap("disk")
    size = int(available_mib() + 250)
    stall = thrash_until_dead(
        w, lambda: w.load("anonloop", "--size", str(size), "--threads", "24", "--random",
                          name="thrasher", role="hog", ready=None),
        90, STILL_AT_A_DISK_S, SEEKS)
    if not multigen_lru():
        w.expect(stall.full_at is None, "the kernel's stall for memory alone would not show it")


@scenario("swap-return", sets=("all", "compare"), nobody=True, timeout=170)
def swap_return(w):
    """Somebody who was swapped out is wanted again, and all of it comes back from that disk.

    Wrong would be to take it for thrashing: everybody waits for swap, and nothing but swap is
    read, below a tenth of memory available and for long, but it is more than twice the kill
    line, and nobody is swapped out for it. (With MGLRU the kernel calls all of it stall.)
    """
    w.innocents()
    w.swap("disk")
    sleeper = w.load("anonloop", "--size", "250", "--random", "--threads", "12", name="sleeper")
    w.freeze(sleeper)
    swap_out(w, sleeper, 230)
    w.expect(swapped_mib() > 200, "enough was swapped out")
    ballast(w, w.total_mib / 10)
    w.thaw(sleeper)
    w.expect(await_true(w, lambda: available_mib() < w.total_mib / 10, 40), "a tenth is left")
    began, before = time.monotonic(), disk_work()
    await_true(w, lambda: available_mib() < w.total_mib * 0.055, 60)
    took = time.monotonic() - began
    waited, swapped_in, swapped_out, read = (b - a for a, b in zip(before, disk_work()))
    w.note(f"{swapped_in:.0f} MiB came back from swap of {read:.0f} MiB read, {swapped_out:.0f} "
           f"MiB went there in {took:.0f} s, in {waited:.0f} s of which all waited; "
           f"{available_mib():.0f} MiB are left")
    w.expect(waited - took * STALL_SHARE > PROMISED_STALL_S, "it was waited for long enough")
    w.expect(swapped_in > 0.8 * read and swapped_out < swapped_in / 4, "it is a return")


@scenario("swap-leak", sets=("short", "all", "compare"), need=1, timeout=90)
def swap_leak(w):
    """A leak that fills swap before it fills memory for good.

    Wrong would be to kill while swap has plenty of room and the machine works, and to be late
    when it has not: the last pages go as fast as ever.
    """
    w.innocents()
    w.swap("zram", 256)
    hog = w.load("leak", "--rate", "60", "--entropy", "20", name="leak", role="hog")
    w.wait_dead(hog, timeout=60)
    w.note(f"pages swapped out since boot: {vmstat('pswpout')}")


@scenario("incompressible-zram", sets=("all", "compare"), need=1, timeout=110)
def incompressible_zram(w):
    """Random data sent to zram takes as much memory there as it had outside.

    Wrong would be to believe SwapFree: half of the swap is free and not a page of it can be
    had, so a daemon that waits for swap to fill meets the kernel's OOM killer first.
    """
    w.innocents()
    w.swap("zram", 700)
    size = int(available_mib() + 250)
    hog = w.load("anonloop", "--size", str(size), "--incompressible",
                 name="incompressible", role="hog", ready=None)
    w.wait_dead(hog, timeout=70)

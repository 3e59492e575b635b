"""Machines that stand still with memory left over on paper: caches and swap that thrash."""

import time

from helpers import (PROMISED_STALL_S, STALL_SHARE, STILL_AT_A_DISK_S, available_mib, await_true,
                     ballast, meminfo_mib, thrash_until_dead, vmstat, waited_for_disks_s)
from registry import scenario

SEEKS = 200                 # pages a second: what a disk of 300 seeks has to give


def swapped_mib():
    """What is in swap and nowhere else."""
    return meminfo_mib("SwapTotal") - meminfo_mib("SwapFree") - meminfo_mib("SwapCached")


@scenario("cache-thrash", sets=("all", "compare"), recover=False, timeout=110)
def cache_thrash(w):
    """What is read over and over does not fit beside what is allocated.

    Wrong would be to look on: no allocation ever fails, so the kernel's OOM killer does not
    come, and the pages that everybody reads back count as available. The blocks are real and
    the disk is slow: a page fault of the heartbeat waits behind the reader's. Whose memory
    would end it is the other one, which grows slowly: no fast fall is to blame.
    """
    w.innocents()
    data = w.mount("slow") + "/data"
    room = int(available_mib())
    w.load("fileread", "--file", data, "--size", "140", "--random", "--threads", "12",
           name="reader", role="either")
    thrash_until_dead(w, lambda: w.load(
        "leak", "--start", str(room - 160), "--rate", "15", "--hold-at", str(room - 85),
        name="ballast", role="hog"), 35)


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


@scenario("swap-thrash-disk", sets=("all", "compare"), recover=False, timeout=150)
def swap_thrash_disk(w):
    """A set that does not fit is used at random by many threads, and its swap is a disk that
    seeks: each page that comes back waits behind those of the others.

    Wrong would be, again, to trust that swap is half free; or to trust the kernel's figure of
    stall for memory, in which such pages are not (none of those who watch it sees this).
    """
    w.innocents()
    w.swap("disk")
    size = int(available_mib() + 250)
    thrash_until_dead(w, lambda: w.load("anonloop", "--size", str(size), "--threads", "24",
                                        "--random", name="thrasher", role="hog", ready=None),
                      60, STILL_AT_A_DISK_S, SEEKS)


@scenario("swap-return", sets=("all", "compare"), nobody=True, timeout=130)
def swap_return(w):
    """Somebody who was swapped out is wanted again, and all of it comes back from that disk.

    Wrong would be to take it for thrashing: everybody waits for swap, and nothing but swap is
    read, below a tenth of memory available and for half a minute, but it is more than twice the
    kill line, and nobody is swapped out for it.
    """
    w.innocents()
    w.swap("disk")
    sleeper = w.load("anonloop", "--size", "250", "--random", "--threads", "4", name="sleeper")
    w.freeze(sleeper)
    filler = w.load("leak", "--rate", "150", "--hold-at", str(int(available_mib() + 150)),
                    name="filler", role="noise")
    await_true(w, lambda: swapped_mib() > 120, 40)
    w.end(filler)
    w.wait_dead(filler)
    out = swapped_mib()
    ballast(w, w.total_mib * 0.09)
    w.thaw(sleeper)
    began, before, waited = time.monotonic(), vmstat("pswpin"), waited_for_disks_s()
    await_true(w, lambda: available_mib() < w.total_mib * 0.06, 40)
    took, waited = time.monotonic() - began, waited_for_disks_s() - waited
    w.note(f"{out:.0f} MiB were in swap; {(vmstat('pswpin') - before) / 256:.0f} MiB came back in "
           f"{took:.0f} s, in {waited:.0f} s of which all waited; {available_mib():.0f} MiB are left")
    w.expect(waited - took * STALL_SHARE > PROMISED_STALL_S, "it was waited for long enough")


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

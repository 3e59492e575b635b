"""Machines that stand still with memory left over on paper: caches and swap that thrash."""

from helpers import available_mib, thrash_until_dead, vmstat
from registry import scenario


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


@scenario("swap-thrash-disk", sets=("all", "compare"), recover=False, timeout=120)
def swap_thrash_disk(w):
    """The same on a disk, where each page that comes back waits for a block.

    Wrong would be, again, to trust that swap is half free.
    """
    w.innocents()
    w.swap("disk")
    size = int(available_mib() + 250)
    thrash_until_dead(w, lambda: w.load("anonloop", "--size", str(size), name="thrasher",
                                        role="hog", ready=None), 35)


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

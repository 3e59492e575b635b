"""Whoever can give memory back is asked before anybody is killed."""

from registry import scenario
from system import read
from world import LOAD
from helpers import available_mib

IDLE = "idle-cache"
LOW_MIB = 180


def asked(w):
    return [r for r in w.journal() if r.get("OOMREAPD_EVENT") == "asked"]


def tell(w):
    for record in asked(w):
        w.note(record.get("MESSAGE", ""))


def cache_beside_growth(w, *how, role):
    """A large cache, and somebody who needs a little more than what is left: slowly at the end,
    so that there is time to ask."""
    w.innocents()
    cache = w.load("offer", "--size", str(int(available_mib() * 0.6)), *how, name="cache", role=role)
    left = available_mib()
    w.load("leak", "--start", str(int(left - 130)), "--rate", "15", "--hold-at", str(int(left + 40)),
           name="grows-a-little", role="innocent")
    return cache


@scenario("cache-given", sets=("short", "all"), nobody=True, oomreapd_only=True, timeout=90)
def cache_given(w):
    """The application with the large cache gives it back at the warning.

    Wrong would be to kill it, as the largest, for memory that it can do without."""
    cache = cache_beside_growth(w, role="innocent")
    w.until(lambda: "given" in cache.output(), 40)
    w.sleep(6)
    w.expect("given" in cache.output(), "the cache was asked for, and given")
    w.expect(len(asked(w)) >= 1, "the journal tells of the round")
    tell(w)


@scenario("cache-given-late", sets=("all",), nobody=True, oomreapd_only=True, timeout=90)
def cache_given_late(w):
    """It gives it back only when somebody would have to die otherwise.

    Wrong would be not to ask once more before the kill, or not to call the kill off."""
    cache = cache_beside_growth(w, "--late", role="innocent")
    w.until(lambda: "given" in cache.output(), 40)
    w.sleep(6)
    w.expect("given" in cache.output(), "it was asked once more before a kill")
    # "put off" when the report came before the memory was read again.
    w.expect(any(word in r.get("MESSAGE", "") for r in asked(w) for word in ("called off", "put off")),
             "the kill was called off")
    tell(w)


@scenario("cache-kept", sets=("short", "all"), need=1, oomreapd_only=True, timeout=90)
def cache_kept(w):
    """It keeps what it has offered. The kill comes, and comes on time."""
    cache = cache_beside_growth(w, "--keep", role="hog")
    w.wait_dead(cache, timeout=50)
    w.expect(len(asked(w)) >= 1, "it was asked")
    tell(w)


@scenario("reclaim", sets=("all",), nobody=True, oomreapd_only=True, timeout=90,
          conf=(f"Notify.Reclaim=/system.slice/load.service/{IDLE}",))
def reclaim(w):
    """Memory that nobody uses is taken from a cgroup that the administrator has named.

    Wrong would be to kill while it can be had, to take our own writes' stall for thrashing, or to
    take what memory.low protects: the kernel does not keep it for the cgroup that is named."""
    w.innocents(sizes=(4, 12, 24, 48))
    w.swap("zram", 400)
    idle = w.load("hold", "--size", "250", name=IDLE, role="innocent",
                  cg={"memory.low": str(LOW_MIB << 20)})
    before = int(read(f"{LOAD}/{IDLE}/memory.current"))
    left = available_mib()
    w.load("leak", "--start", str(int(left - 150)), "--rate", "15", "--hold-at", str(int(left - 20)),
           name="grows-a-little", role="innocent")
    w.until(lambda: len(asked(w)) >= 1, 40)
    w.sleep(5)
    after = int(read(f"{LOAD}/{IDLE}/memory.current"))
    w.note(f"the idle cgroup: {before >> 20} MiB before, {after >> 20} MiB after")
    w.expect(len(asked(w)) >= 1, "there was a round")
    w.expect(before - after > 16 << 20, "it was reclaimed from")
    # A step takes some pages more than it is told to.
    w.expect(after >= LOW_MIB - 1 << 20, "what memory.low protects was left alone")
    w.expect(idle.alive(), "it is alive")
    tell(w)

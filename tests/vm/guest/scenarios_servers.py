"""Machines on which the largest process, as others count, is not the one that has to die."""

import glob
import os
import pwd
import shutil

from helpers import available_mib, await_true
from registry import scenario


@scenario("desktop-avoid", sets=("all", "compare"), need=1, timeout=110)
def desktop_avoid(w):
    """The largest process is the compositor, and the shipped rules ask to avoid it.

    Wrong would be to take the largest: the whole session goes with it, and the smaller hog
    frees enough.
    """
    w.innocents()
    size = int(available_mib() * 0.6)
    w.load("hold", "--size", str(size), "--huge", name="compositor", role="never",
           comm="gnome-shell", user_slice=True)
    hog = w.load("leak", "--rate", "80", name="leak", role="hog")
    w.wait_dead(hog, timeout=60)


@scenario("redis-cow", sets=("all", "compare"), need=1, timeout=110)
def redis_cow(w):
    """A database's three children write snapshots and share its memory, beside a leak that is
    larger than all of them together.

    Wrong would be to count the shared pages once for each: then the four are the largest by
    far, and the leak goes on while a database dies.
    """
    w.innocents()
    size = int(available_mib() * 0.28)
    w.load("cow", "--size", str(size), "--children", "3", "--dirty-rate", "2",
           name="database", role="innocent")
    hog = w.load("leak", "--rate", "80", name="leak", role="hog")
    w.wait_dead(hog, timeout=60)


@scenario("redis-bgsave", sets=("all", "compare"), need=1, timeout=150, image="full")
def redis_bgsave(w):
    """The same with a real server that saves in the background: there is one child at most, so
    that the two counted twice (0.76 of what there is) must be more than the leak gets (0.6).

    Wrong would be, besides, a snapshot that fails: whoever kills the child has not freed
    anything, for its pages are the parent's.
    """
    server = shutil.which("redis-server")
    if not server:
        raise RuntimeError("no redis-server in the image")
    w.innocents()
    items = int(available_mib() * 0.38 * 1024 / 1.2)
    redis = w.spawn([server, "--port", "0", "--unixsocket", "/run/vm/redis.sock", "--save", "",
                     "--dir", "/tmp", "--enable-debug-command", "local",
                     "--rdb-key-save-delay", "300"], name="database", role="innocent",
                    ready="eady to accept", steady=False)

    def ask(*words):
        return w.command(["redis-cli", "-s", "/run/vm/redis.sock", *words], check=False)

    ask("debug", "populate", str(items), "key", "1000")
    w.note(f"the server holds {redis.rss_mib():.0f} MiB; {ask('bgsave').strip()}")
    hog = w.load("leak", "--rate", "80", name="leak", role="hog")
    w.wait_dead(hog, timeout=60)
    w.expect("PONG" in ask("ping"), "the server answers")
    w.expect("rdb_bgsave_in_progress:1" in ask("info", "persistence"), "its snapshot goes on")


FILL = """create unlogged table filled (a text) with (fillfactor = 10);
insert into filled select repeat('x', 800) from generate_series(1, {rows});
select sum(length(a)) from filled;
"""


class Postgres:
    """A server of PostgreSQL whose shared buffers are full."""

    def __init__(self, w, buffers_mib):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        if not found:
            raise RuntimeError("no postgresql in the image")
        self.w, self.bin = w, os.path.dirname(found[-1])
        uid = pwd.getpwnam("postgres").pw_uid
        self.dir = "/var/tmp/vm-postgres"
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        psql = [f"{self.bin}/psql", "-h", "/run/vm-postgres", "-d", "postgres", "-qAt"]
        self.psql = [*as_postgres, *psql]
        shutil.rmtree(self.dir, ignore_errors=True)
        for where in (self.dir, "/run/vm-postgres"):
            os.makedirs(where, exist_ok=True)
            os.chown(where, uid, -1)
        w.command([*as_postgres, f"{self.bin}/initdb", "-D", self.dir, "--no-sync", "-A", "trust"],
                  timeout=120)
        self.server = w.spawn(
            [f"{self.bin}/postgres", "-D", self.dir, "-k", "/run/vm-postgres", "-h", "",
             "-c", f"shared_buffers={buffers_mib}MB", "-c", "huge_pages=off",
             "-c", "fsync=off", "-c", "max_wal_size=4GB", "-c", "autovacuum=off"],
            name="postgresql", role="innocent", user="postgres", steady=False)
        if not await_true(w, lambda: self.ask("select 1").strip() == "1", 30, 0.3):
            raise RuntimeError("postgresql does not answer: " + self.server.errors()[-300:])
        self.ask(FILL.format(rows=int(buffers_mib * 128 * 0.9)))
        self.client = w.spawn(
            [*psql, "-c", "set statement_timeout = 0",
             "-c", "select sum(length(a)) from filled", "-c", "select pg_sleep(600)"],
            name="client", role="innocent", user="postgres")

    def ask(self, sql):
        return self.w.command([*self.psql, "-c", sql], check=False)

    def crashed(self):
        """The server says so when it had to throw out all its clients."""
        return "terminated by signal 9" in self.server.errors()


@scenario("postgresql", sets=("all", "compare"), need=1, timeout=240, image="full")
def postgresql(w):
    """PostgreSQL's shared buffers are counted in every backend's RSS, and nobody's kill frees
    them; a leak beside it is smaller than they are.

    Wrong would be to take a backend for the largest: its death frees a few MiB, and the
    postmaster throws out all the others and recovers.
    """
    w.innocents((4, 12, 24))
    base = Postgres(w, int(available_mib() * 0.5))
    w.sleep(2)
    hog = w.load("leak", "--rate", "80", name="leak", role="hog")
    w.wait_dead(hog, timeout=60)
    w.expect(base.ask("select 1").strip() == "1", "the server answers")
    w.expect(not base.crashed() and base.client.alive(), "no backend was killed")

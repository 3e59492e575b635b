"""One item of a scenario: a program in a cgroup of its own, whose life is watched.

The root process is held by a pidfd from its start, so that a death is seen at once and by
nobody else's number; the exit status stays ours until the end.
"""

import os
import select
import subprocess
import threading
import time

from system import OUT_DIR, cgroup_pids, read

INNOCENT_ROLES = ("innocent", "never")
# The shell joins the cgroup, so that not a page of the program is charged elsewhere; the pid stays.
SHIM = 'echo 0 >"$1/cgroup.procs" && echo "$2" >/proc/self/oom_score_adj && shift 2 && exec "$@"'


class Item:
    """A running program: `pid` is its root process, `cgroup` the path of its cgroup."""

    def __init__(self, name, role, cgroup, steady=True):
        self.name = name
        self.role = role
        self.cgroup = cgroup
        self.steady = steady  # its number of processes does not change by itself
        self.ended = False    # by the scenario, so that its death is nobody's fault
        self.unit = None
        self.pid = None
        self.pids = []
        self.started_ns = None
        self.dead_ns = None
        self.signal = None
        self.exit_code = None
        self.pidfd = -1
        self.process = None
        self.out = f"{OUT_DIR}/{name}.out"

    def adopt(self, pid):
        """From here on `pid` is the root process."""
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.started_ns = time.monotonic_ns()

    def start(self, argv, adj=0, user=None, env=None):
        """Starts the program in the item's cgroup, which is there already."""
        if user is not None:
            argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv]
        with open(self.out, "wb") as out, open(f"{self.out}.err", "wb") as err:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", SHIM, "sh", self.cgroup, str(adj), *argv],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env={**os.environ, **(env or {})})
        self.adopt(self.process.pid)

    def output(self):
        return read(self.out)

    def errors(self):
        return read(f"{self.out}.err")

    def alive(self):
        return self.pid is not None and self.dead_ns is None and not self.see_death()

    def see_death(self):
        """Whether the root process is gone; how it went, where we are its parent."""
        if self.dead_ns is not None:
            return True
        if not select.select([self.pidfd], [], [], 0)[0]:
            return False
        self.take_status()
        self.dead_ns = time.monotonic_ns()
        return True

    def take_status(self):
        try:
            status = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if status and status.si_code == os.CLD_EXITED:
            self.exit_code = status.si_status
        elif status:
            self.signal = status.si_status

    def note_pids(self):
        """Called once it is ready: who belongs to it."""
        self.pids = cgroup_pids(self.cgroup)

    def lost(self):
        """Whether it has lost its root process, or one of those it had when it was ready."""
        if self.ended:
            return False
        if not self.alive():
            return True
        return self.steady and len(cgroup_pids(self.cgroup)) < len(self.pids)

    def rss_mib(self):
        """Anonymous memory of its root process."""
        for line in read(f"/proc/{self.pid}/status").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def close(self):
        self.see_death()
        if self.process:
            self.process.poll()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def as_measured(self):
        """What measures.py is told of it."""
        return {"name": self.name, "role": self.role, "pid": self.pid, "pids": self.pids,
                "cgroup": self.cgroup, "started_ns": self.started_ns, "dead_ns": self.dead_ns,
                "steady": self.steady}

    def as_result(self):
        return {"name": self.name, "role": self.role, "alive": self.alive(),
                "signal": self.signal, "exit": self.exit_code}


class Watcher(threading.Thread):
    """Stamps the deaths of items as they happen."""

    def __init__(self):
        super().__init__(daemon=True)
        self.poll = select.poll()
        self.items = {}
        self.lock = threading.Lock()
        self.ended = False
        self.start()

    def add(self, item):
        with self.lock:
            self.items[item.pidfd] = item
            self.poll.register(item.pidfd, select.POLLIN)

    def run(self):
        while not self.ended:
            for fd, _ in self.poll.poll(50):
                with self.lock:
                    item = self.items.pop(fd)
                    self.poll.unregister(fd)
                item.see_death()

    def end(self):
        self.ended = True
        self.join()

"""What scenarios are written with: the world of one entry, in which items live and die.

Everything that a scenario changes (cgroups, swap, mounts, frozen things) is entered here, so
that it is undone whatever became of the scenario. Waiting never outlasts the scenario's time.
"""

import os
import time

from item import INNOCENT_ROLES, Item, Watcher
from registry import Skip, scenario
from system import (MIB, OUT_DIR, Journal, KernelLog, System, meminfo, read, run, vmstat,
                    write)

__all__ = ["World", "ScenarioTimeout", "Skip", "scenario"]

CGROUPS = "/sys/fs/cgroup"
LOAD = "/sys/fs/cgroup/system.slice/load.service"
USER_LOAD = "/sys/fs/cgroup/user.slice/user-1000.slice/vmuser.service"
VM_LOAD = "/usr/local/bin/vm_load"
OFFERED = {12: 300}  # oom_score_adj of an innocent of that size: what users complain of first
CHANGING_KINDS = ("storm", "bomb")  # their processes come and go


class ScenarioTimeout(Exception):
    """The scenario's time is up."""


def start_delegated(unit, cgroup, slice_name):
    """A unit whose subtree is ours, where every item gets its cgroup. systemd-oomd is told to
    look after it; systemd itself must not stop it for a kill."""
    run(["systemctl", "reset-failed", unit], check=False)
    run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--slice={slice_name}",
         "-pDelegate=yes", "-pTasksMax=infinity", "-pOOMPolicy=continue", "-pLimitNPROC=infinity",
         "-pLimitMEMLOCK=infinity", "-pManagedOOMMemoryPressure=kill",
         "-pManagedOOMMemoryPressureLimit=50%", "-pManagedOOMSwap=kill", "-pTimeoutStopSec=20",
         "/bin/sh", "-c", f"mkdir {cgroup}/idle && echo 0 >{cgroup}/idle/cgroup.procs && "
         "exec sleep infinity"])
    for _ in range(250):
        if read(f"{cgroup}/idle/cgroup.procs").strip():
            break
        time.sleep(0.02)
    write(f"{cgroup}/cgroup.subtree_control", "+memory +cpu +pids")


class World(System):
    """The world of one entry. Every method that waits returns whether what it waited for has
    come, and raises (ScenarioTimeout) only when the scenario's whole time is up."""

    def __init__(self, subject="none", send=lambda line: None, timeout=60, need=None,
                 daemon_pid=lambda: None):
        self.subject = subject
        self.send = send
        self.need = need
        self.daemon_pid = daemon_pid
        self.items = []
        self.notes = []
        self.expected = {}
        self.deferred = []
        self.frozen = []
        self.forgiven = []
        self.user_slice = False
        self.watcher = Watcher()
        self.deadline = time.monotonic() + timeout
        self.kernel_log = KernelLog()
        self.journal_since = Journal()
        self.oom_kills_before = vmstat("oom_kill")
        memory = meminfo()
        self.total_mib = self.boot_mib = memory["MemTotal"] / MIB
        base = self.total_mib - memory.get("Hugetlb", 0) / MIB
        self.kill_line_mib = min(max(base * 0.025, 24), 300)

    # -- loads

    def load(self, kind, *args, name=None, **how):
        """Starts `vm_load KIND ARGS` and waits until it is ready; see spawn() for the rest."""
        how.setdefault("steady", kind not in CHANGING_KINDS and "--vfork" not in args)
        how.setdefault("ready", "ready")
        return self.spawn([VM_LOAD, kind, *map(str, args)], name=name or kind, **how)

    def spawn(self, argv, name, role="innocent", ready=None, wait=True, ready_timeout=60,
              steady=True, unit=None, user_slice=False, **how):
        """Starts a program as an item and returns it.

        role: hog (is to die), either (may die), innocent, never (must not), noise (nobody
        counts it); ready: a text of its output to wait for; unit: as a systemd unit of this
        name, not in load.service; user_slice: below user.slice; cg: {file: value} of its
        cgroup; adj, user, env; comm: the name it runs under; steady: the number of its
        processes does not change by itself.
        """
        name = self.free_name(name)
        item = Item(name, role, self.cgroup_path(name, unit, user_slice), steady)
        comm = how.pop("comm", None)
        if comm:
            argv = [self.renamed(argv[0], comm), *argv[1:]]
        if unit:
            self.start_unit(item, unit, argv, user_slice, **how)
        else:
            self.start_item(item, argv, **how)
        self.items.append(item)
        self.watcher.add(item)
        if wait and ready:
            self.wait_ready(item, ready, ready_timeout)
        item.note_pids()
        return item

    def free_name(self, name):
        taken = {item.name for item in self.items}
        numbered = (name if n == 1 else f"{name}-{n}" for n in range(1, 100000))
        return next(n for n in numbered if n not in taken)

    def cgroup_path(self, name, unit, user_slice):
        if unit:
            return f"{os.path.dirname(USER_LOAD if user_slice else LOAD)}/{unit}"
        if user_slice and not self.user_slice:
            self.user_slice = True
            start_delegated("vmuser.service", USER_LOAD, "user-1000.slice")
        return f"{USER_LOAD if user_slice else LOAD}/{name}"

    def renamed(self, program, comm):
        """A link of that name: what is exec'ed gives a process its comm."""
        link = f"{OUT_DIR}/bin/{comm}"
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(program, link)
        return link

    def start_item(self, item, argv, cg=None, adj=0, user=None, env=None):
        os.makedirs(item.cgroup, exist_ok=True)
        for file, value in (cg or {}).items():
            write(f"{item.cgroup}/{file}", value)
        item.start(argv, adj, user, env)

    def start_unit(self, item, unit, argv, user_slice, cg=None, adj=0, user=None, env=None):
        slice_name = "user-1000.slice" if user_slice else "system.slice"
        more = [f"-pUser={user}"] if user is not None else []
        more += [f"--setenv={key}={value}" for key, value in (env or {}).items()]
        run(["systemctl", "reset-failed", unit], check=False)
        item.unit = unit
        run(["systemd-run", "--quiet", f"--unit={unit}", f"--slice={slice_name}", *more,
             "-pOOMPolicy=continue", f"-pOOMScoreAdjust={adj}", "-pLimitMEMLOCK=infinity",
             "-pTasksMax=infinity", f"-pStandardOutput=file:{item.out}",
             f"-pStandardError=file:{item.out}.err", *argv])
        pid = int(run(["systemctl", "show", "-pMainPID", "--value", unit]).strip() or 0)
        if not pid:
            raise RuntimeError(f"{unit} did not start")
        item.adopt(pid)
        for file, value in (cg or {}).items():
            write(f"{item.cgroup}/{file}", value)

    def wait_ready(self, item, text="ready", timeout=60):
        self.until(lambda: text in item.output() or not item.alive(), timeout)
        if text in item.output():
            return True
        self.note(f"{item.name} did not get ready: {item.errors().strip()[-200:]}")
        return False

    def innocents(self, sizes=(4, 12, 24, 48, 96), scale=None, offered=True):
        """Programs of various sizes that have done nothing; one small one as browsers and
        session managers have them, with a positive oom_score_adj (unless not offered)."""
        if scale is None:
            scale = min(max(self.total_mib / 1000, 0.5), 4)
        return [self.load("hold", "--size", max(int(size * scale), 1), name=f"innocent-{size}",
                          adj=OFFERED.get(size, 0) if offered else 0) for size in sizes]

    def end(self, item):
        """The scenario itself ends an item; it counts for nobody."""
        item.ended = True
        write(f"{item.cgroup}/cgroup.kill", "1")

    def cgroup(self, item):
        return item.cgroup

    def freeze(self, item, timeout=10):
        write(f"{item.cgroup}/cgroup.freeze", "1")
        return self.until(lambda: "frozen 1" in read(f"{item.cgroup}/cgroup.events"), timeout)

    def thaw(self, item):
        write(f"{item.cgroup}/cgroup.freeze", "0")

    def kill_ns(self, item):
        """When it was seen dead (CLOCK_MONOTONIC); None while it lives."""
        return item.dead_ns

    # -- waiting

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if time.monotonic() >= self.deadline:
                raise ScenarioTimeout
            time.sleep(min(left, 0.5))

    def until(self, fn, timeout=30, every=0.005):
        """Waits until fn() is true; false when the timeout came first."""
        end = time.monotonic() + timeout
        while not fn():
            now = time.monotonic()
            if now >= self.deadline:
                raise ScenarioTimeout
            if now >= end:
                return False
            time.sleep(every)
        return True

    def wait_dead(self, *items, timeout=30):
        """Until the root processes of all these items are gone."""
        dead = self.until(lambda: not any(i.alive() for i in items), timeout, 0.02)
        if not dead:
            names = ", ".join(i.name for i in items if i.alive())
            self.note(f"still alive after {timeout} s: {names}")
        return dead

    def wait_low(self, mib=None, timeout=30):
        """Until MemAvailable is below so many MiB (default: a tenth of memory)."""
        low = mib if mib is not None else self.total_mib / 10
        return self.until(lambda: self.mem_available() < low, timeout)

    def wait_calm(self, seconds=2, timeout=30):
        """Until MemAvailable has been above a tenth of memory for so long."""
        since = [None]

        def calm():
            now = time.monotonic()
            if self.mem_available() < self.total_mib / 10:
                since[0] = None
                return False
            since[0] = since[0] or now
            return now - since[0] >= seconds

        return self.until(calm, timeout, 0.02)

    def wait_back(self, timeout=30):
        """Until memory was short, and has been back for a second."""
        end = time.monotonic() + timeout
        return self.wait_low(timeout=timeout) and self.wait_calm(1, end - time.monotonic())

    # -- what is to be told

    def note(self, text):
        self.notes.append(str(text))

    def expect(self, ok, text):
        """A bar of the scenario's own."""
        self.expected[text] = bool(ok) and self.expected.get(text, True)
        return bool(ok)

    def forgive_memcg(self, item):
        """Kernel kills for this item's own limit are in order; all others are not."""
        self.forgiven.append(item.cgroup)

    def forgives(self, item):
        return item.cgroup in self.forgiven

    def unforgiven(self):
        """The cgroups in which the kernel killed for a limit and should not have; the item of
        a role that nobody counts is forgiven only when the scenario says so."""
        inside = [f"{where.removeprefix(CGROUPS)}/" for where in self.forgiven]
        return [victim for victim in self.kernel_log.memcg_victims()
                if not f"{victim}/".startswith(tuple(inside))]

    def innocents_lost(self):
        """Names of those who should have lived and did not."""
        return [i.name for i in self.items if i.role in INNOCENT_ROLES and i.lost()]

    # -- the end

    def defer(self, fn):
        """fn() is called at clean-up, the last entered first."""
        self.deferred.append(fn)

    undo = defer

    def clean_up(self):
        """Undoes everything; what could not be undone is noted, and the rest goes on. Items go
        before their swap and file systems, and once more after, when nothing holds them."""
        for where in list(self.frozen):
            self.attempt(lambda w=where: self.fsthaw(w))
        cgroups = {item.cgroup for item in self.items}
        self.end_cgroups(cgroups, 10)
        for fn in reversed(self.deferred):
            self.attempt(fn)
        for name in self.end_cgroups(cgroups, 10):
            self.note(f"clean-up: {name} is not empty")
        self.watcher.end()
        for item in self.items:
            if item.unit:
                run(["systemctl", "stop", item.unit], check=False)
            item.close()
        self.kernel_log.close()

    def end_cgroups(self, cgroups, timeout):
        """Kills all that is in them; the names of those that do not get empty."""
        for cgroup in filter(os.path.isdir, cgroups):
            self.attempt(lambda c=cgroup: write(f"{c}/cgroup.kill", "1"))
            self.attempt(lambda c=cgroup: write(f"{c}/cgroup.freeze", "0"))
        end = time.monotonic() + timeout
        left = set(cgroups)
        while left and time.monotonic() < end:
            # Not cgroup.procs: it leaves out who is still on the way out, files and all.
            left = {c for c in left if "populated 1" in read(f"{c}/cgroup.events")}
            time.sleep(0.02)
        for cgroup in cgroups - left:
            self.remove(cgroup)
        return sorted(os.path.basename(c) for c in left)

    def remove(self, cgroup):
        for where, _, _ in os.walk(cgroup, topdown=False):
            try:
                os.rmdir(where)
            except OSError:
                pass

    def attempt(self, fn):
        try:
            fn()
        except Exception as error:  # pylint: disable=broad-except
            self.note(f"clean-up: {type(error).__name__}: {error}")

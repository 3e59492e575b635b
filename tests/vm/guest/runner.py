"""Runs inside the guest: entry after entry of the plan, one JSON line each on stdout.

An entry is one scenario with one daemon. Whatever goes wrong in it belongs into its result:
the runner itself must reach the end, and leave the machine to the next entry as it found it.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback

import measures as measuring
import scenarios
import subjects
import verdict
from item import Item
from system import OUT_DIR, read, run, write
from world import LOAD, ScenarioTimeout, Skip, World, start_delegated

PLAN = "/opt/vm/plan.json"
METER_DIR = "/run/meter"
HEARTBEAT = f"{LOAD}/heartbeat"
CORE_UNITS = ("systemd-journald.service", "systemd-udevd.service", "systemd-logind.service",
              "dbus.service")
GRACE_S = 15  # for a call that does not look at the scenario's time


def say(line):
    """To the host, at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def lock_memory():
    """The judge must not be paged out with the accused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(1) != 0:
        say({"log": f"memory is not locked: errno {ctypes.get_errno()}"})


def main_pids():
    text = run(["systemctl", "show", "-pMainPID", "--value", *CORE_UNITS], check=False)
    return dict(zip(CORE_UNITS, text.split()))


class Meter:
    """vm_meter for the length of one scenario, its heartbeat an item like the others."""

    def __init__(self, daemon_cgroup, daemon_pid, small_heartbeat=False):
        shutil.rmtree(METER_DIR, ignore_errors=True)
        os.makedirs(HEARTBEAT, exist_ok=True)
        watch = ["--watch-cgroup", daemon_cgroup] if daemon_cgroup else []
        watch += ["--watch-pid", str(daemon_pid)] if daemon_pid else []
        watch += ["--small-heartbeat"] if small_heartbeat else []
        self.process = subprocess.Popen(
            ["/usr/local/bin/vm_meter", "--dir", METER_DIR, "--heartbeat-cgroup", HEARTBEAT,
             *watch], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.expect(b"ready", 60)

    def expect(self, word, timeout):
        end = time.monotonic() + timeout
        got = b""
        while word not in got:
            left = max(end - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise RuntimeError(f"vm_meter did not say {word.decode()}")
            chunk = os.read(self.process.stdout.fileno(), 100)
            if not chunk:
                raise RuntimeError(f"vm_meter ended: {self.process.wait()}")
            got += chunk

    def heartbeat(self):
        item = Item("heartbeat", "innocent", HEARTBEAT)
        pids = read(f"{HEARTBEAT}/cgroup.procs").split()
        if not pids:
            raise RuntimeError("no heartbeat")
        item.adopt(int(pids[0]))
        item.note_pids()
        return item

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.expect(b"done", 60)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


class Entry:
    """One entry of the plan, from the start of its daemon to its result."""

    def __init__(self, plan):
        self.plan = plan
        self.scenario = scenarios.SCENARIOS[plan["scenario"]]
        self.subject = subjects.subject(plan["subject"], plan.get("conf") or [])
        self.timeout = plan.get("timeout_s") or self.scenario.timeout
        self.world = None
        self.meter = None
        self.pid = None
        self.seen = {}
        self.worn = False   # a service of the system died: nobody else is measured on this machine

    def result(self):
        """Runs it; everything there is to say of it."""
        told = {"id": self.plan["id"], "scenario": self.scenario.name,
                "subject": self.plan["subject"], "conf": self.plan.get("conf") or [],
                "nobody": self.scenario.nobody, "recover": self.scenario.recover,
                "release": os.uname().release}
        begun = time.monotonic()
        try:
            self.begin()
            self.run_scenario()
            self.look()
            told.update(self.judged())
        except (Skip, subjects.SubjectMissing) as why:
            told["skipped"] = str(why)
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc()
            told["error"] = f"{type(error).__name__}: {error}"
            told["bars"] = {"ran": False}
        finally:
            self.leave(told)
            told["took_s"] = round(time.monotonic() - begun, 1)
        return told

    def begin(self):
        os.makedirs(OUT_DIR, exist_ok=True)
        drop_caches()
        start_delegated("load.service", LOAD, "system.slice")
        self.subject.start()
        self.pid = self.subject.pid()
        self.world = World(self.plan["subject"], say, self.timeout, self.scenario.need,
                           self.subject.pid)
        self.meter = Meter(cgroup_of(self.pid), self.pid,
                           getattr(self.scenario, "small_heartbeat", False))
        self.world.items.append(self.meter.heartbeat())
        self.world.watcher.add(self.world.items[0])
        self.seen["core"] = main_pids()

    def run_scenario(self):
        """The scenario's own slips end it, but what was measured is still told."""
        world = self.world
        signal.signal(signal.SIGALRM, raise_timeout)
        signal.alarm(int(self.timeout + GRACE_S))
        world.deadline = time.monotonic() + self.timeout
        self.seen["ran"] = True
        try:
            self.scenario.run(world)
            world.deadline += self.scenario.calm_s + 1
            world.sleep(self.scenario.calm_s)
        except Skip:
            raise
        except ScenarioTimeout:
            world.note(f"the scenario took longer than its {self.timeout} s")
            self.seen["ran"] = False
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc()
            world.note(f"the scenario failed: {type(error).__name__}: {error}")
            self.seen["ran"] = False
        finally:
            signal.alarm(0)

    def look(self):
        """The end as it is, before the meter's own end or the clean-up changes it."""
        world = self.world
        core = main_pids()
        lost = [unit for unit, pid in self.seen["core"].items() if core.get(unit) != pid]
        self.worn = bool(lost)
        self.seen.update(
            subject=self.plan["subject"], need=world.need, expected=world.expected,
            available_mib=world.mem_available(), line_mib=world.kill_line_mib,
            lost=world.innocents_lost() + lost, kills=world.kernel_log.kills(),
            same=self.subject.active() and self.subject.pid() == self.pid,
            items=[item.as_result() for item in world.items])
        self.meter.stop()
        self.meter = None

    def judged(self):
        world = self.world
        journal = world.journal() if self.plan["subject"] == verdict.OURS else []
        items = [{**i.as_measured(), "forgiven": world.forgives(i)}
                 for i in world.items if not i.ended]
        try:
            measured = measuring.measures(METER_DIR, items, self.plan["subject"],
                                          journal=journal, subject_pid=self.pid, need=world.need)
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc()
            world.note(f"not measured: {type(error).__name__}: {error}")
            measured = {}
            self.seen["ran"] = False
        measured.setdefault("kernel_oom_kills", self.seen["kills"][0])
        self.seen["lost"] = sorted({*self.seen["lost"], *measured.get("innocents_lost_names", ())})
        measured["available_at_end_mib"] = round(self.seen["available_mib"], 1)
        measured["restarts"] = self.subject.restarts()
        self.seen["measures"] = measured
        bars = {"ran": self.seen["ran"], **verdict.bars(self.scenario, self.seen)}
        if self.seen["lost"]:
            world.note(f"lost: {', '.join(self.seen['lost'])}")
        return {"memtotal_mib": round(world.total_mib), "need": world.need, "measures": measured,
                "bars": bars, "items": self.seen["items"],
                "subject_version": self.subject.version(),
                "said": [m for m in (r.get("MESSAGE", "") for r in journal) if "[Rule " not in m]}

    def leave(self, told):
        """The machine as the next entry wants to find it."""
        if self.meter:
            self.meter.process.kill()
            self.meter.process.wait()
        if self.world:
            self.world.clean_up()
            told["notes"] = self.world.notes
        self.subject.stop()
        run(["systemctl", "stop", "load.service", "vmuser.service"], check=False)
        run(["systemctl", "reset-failed"], check=False)
        shutil.rmtree(OUT_DIR, ignore_errors=True)
        drop_caches()


def raise_timeout(_number, _frame):
    raise ScenarioTimeout


def warm_up():
    """The first to need memory would pay for a cold guest: translations of the emulator, pages
    the host has not given yet. So all memory is taken and given back before anybody, twice;
    returns at how many MiB/s the second time, None where that was not seen: it tells how fast the
    host was."""
    start_delegated("load.service", LOAD, "system.slice")
    world = World()
    try:
        return [given_back(world) for _ in range(2)][-1]
    finally:
        world.clean_up()
        run(["systemctl", "stop", "load.service"], check=False)


def given_back(world):
    """MiB/s at which the memory of a program comes back that is simply killed. In small pages, as
    the leaks have it: huge ones are given back in no time."""
    before = world.mem_available()
    hog = world.load("leak", "--rate", 1000, "--hold-at", int(before * 0.85), name="warm-up")
    world.until(lambda: world.mem_available() < world.total_mib * 0.2, 30)
    low, began = world.mem_available(), time.monotonic()
    enough = low + (before - low) * 0.9
    world.end(hog)
    back = world.until(lambda: world.mem_available() >= enough, 10)
    rate = (enough - low) / (time.monotonic() - began)
    world.wait_dead(hog, timeout=10)
    return round(rate) if back and enough > low else None


def drop_caches():
    os.sync()
    write("/proc/sys/vm/drop_caches", "3")


def cgroup_of(pid):
    """The directory of a process's cgroup, None for no process."""
    path = read(f"/proc/{pid}/cgroup").strip().rpartition("::")[2]
    return f"/sys/fs/cgroup{path}" if pid and path else None


def main(path=PLAN):
    with open(path, encoding="utf-8") as file:
        plan = json.load(file)
    lock_memory()
    os.makedirs(OUT_DIR, exist_ok=True)
    rate = None
    try:
        rate = warm_up()
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
    worn = False
    for entry in plan["entries"]:
        say({"begin": entry["id"]})
        worn = True
        try:
            turn = Entry(entry)
            result = turn.result()
            worn = turn.worn
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc()
            result = {"id": entry["id"], "error": f"{type(error).__name__}: {error}",
                      "bars": {"ran": False}}
        say({"result": {**result, "ends_mib_per_s": rate}})
        if worn:
            break
    say({"end": True, "worn": worn})


if __name__ == "__main__":
    main(*sys.argv[1:])

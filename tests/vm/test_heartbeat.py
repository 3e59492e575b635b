"""The heartbeat of vm_meter does what an interactive program does, and no more.

A heartbeat that only goes over hot memory looks well on a machine at a standstill: nothing of it
is ever reclaimed, and who allocates nothing never waits for reclaim. So the real one is run here
for some seconds and the kernel is asked what it did: fresh pages at each beat, programs started
and waited for, memory that can be taken away; and it stays a modest innocent that can be killed.

    test_heartbeat.py PATH-OF-VM_METER      (no root needed; 77 where there is no such program)
"""
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

METER = ""
RUN_S = 3
STOPPED_S = 0.4
FRESH_PAGES = 16
STAT = {"minflt": 7, "cminflt": 8}  # fields after the comm, see proc_pid_stat(5)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def status(pid):
    """/proc/PID/status as a dict. posix_spawn(3) blocks all signals for a moment, and the
    heartbeat is in it once a second: that moment is not taken for its life."""
    for _ in range(100):
        seen = dict(line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines())
        if int(seen["SigBlk"], 16) >> 32 == 0:
            break
        time.sleep(0.01)
    return seen


def kib(text):
    return int(text.split()[0])


def faults(pid):
    fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return {name: int(fields[at]) for name, at in STAT.items()}


class Run:
    """The meter for `seconds`, its heartbeat stopped for STOPPED_S at the end; what came of it."""

    def __init__(self, directory, seconds=RUN_S, options=()):
        self.seconds = seconds
        self.meter = subprocess.Popen(
            [METER, "--dir", f"{directory}/out", "--heartbeat-file", f"{directory}/pages",
             *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert self.meter.stdout.readline() == b"ready\n"
            self.watch()
        finally:
            self.meter.terminate()
            self.meter.stdout.read()
            self.meter.stdout.close()
            self.meter.wait()
        self.files = os.listdir(directory)
        self.meta = json.loads(read(f"{directory}/out/meta.json"))["heartbeat"]
        with open(f"{directory}/out/beats.csv", encoding="utf-8") as file:
            self.beats = [{k: int(v) for k, v in row.items()} for row in csv.DictReader(file)]

    def watch(self):
        pid = int(read(f"/proc/{self.meter.pid}/task/{self.meter.pid}/children").split()[0])
        self.before = faults(pid)
        time.sleep(self.seconds)
        self.after = faults(pid)
        self.status = status(pid)
        self.adj = int(read(f"/proc/{pid}/oom_score_adj"))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.2)


class Heartbeat(unittest.TestCase):
    """One run, looked at from several sides."""

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            cls.run_ = Run(directory)

    def grown(self, name):
        return self.run_.after[name] - self.run_.before[name]

    def test_is_of_modest_size(self):
        rss = kib(self.run_.status["VmRSS"])
        self.assertTrue(32 << 10 <= rss <= 40 << 10, rss)

    def test_can_be_swapped_out(self):
        self.assertEqual(kib(self.run_.status["VmLck"]), 0)

    def test_can_be_killed_as_anybody(self):
        self.assertEqual(self.run_.adj, 0)
        self.assertEqual(int(self.run_.status["SigBlk"], 16), 0)

    def test_takes_fresh_pages_at_each_beat(self):
        stop = self.run_.beats[0]["mono_ns"] + RUN_S * 10**9
        beats = sum(beat["mono_ns"] < stop for beat in self.run_.beats)
        self.assertGreaterEqual(self.grown("minflt"), FRESH_PAGES * beats * 0.8)

    def test_starts_programs_and_waits_for_them(self):
        self.assertGreater(self.grown("cminflt"), 0)
        self.assertEqual(self.run_.meta["refused"], 0)

    def test_a_stall_is_told_once(self):
        late = [beat for beat in self.run_.beats if beat["late_us"] >= STOPPED_S * 10**6 * 0.9]
        self.assertGreaterEqual(len(late), 1)
        for beat, after in zip(self.run_.beats, self.run_.beats[1:]):
            self.assertGreaterEqual(after["mono_ns"], beat["mono_ns"] + beat["late_us"] * 1000)

    def test_leaves_no_file(self):
        self.assertEqual(self.run_.files, ["out"])


class SmallHeartbeat(unittest.TestCase):
    """Where nobody may be worth a kill, the heartbeat may not be either: 8 MiB is the least that
    any machine's MinFree comes to."""

    def test_has_little_of_its_own(self):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            run = Run(directory, 0.5, ["--small-heartbeat"])
        self.assertLess(kib(run.status["RssAnon"]), 6 << 10)
        self.assertGreater(len(run.beats), 5)


if __name__ == "__main__":
    METER = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if not os.access(METER, os.X_OK):
        print("SKIP: no vm_meter was given")
        sys.exit(77)
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # the suite is run once without it; the meter's guests all have it
        print("SKIP: there is no pidfd_open, and vm_meter watches its heartbeat by one")
        sys.exit(77)
    unittest.main()

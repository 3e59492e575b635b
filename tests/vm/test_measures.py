#!/usr/bin/env python3
"""The definitions of guest/measures.py and guest/signals.py, held to dumps made by hand.

A comparison of daemons rests on these numbers, so each test is a run whose right answer can be
worked out on paper: 1000 MB of memory, a sample each 5 ms, times in ms since the start.
"""

import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest"))

import measures  # noqa: E402  pylint: disable=wrong-import-position
import signals  # noqa: E402  pylint: disable=wrong-import-position

TOTAL_KB = 1000 * 1024
START_MS = 1_000_000
RUNNER, METER, BEAT, DAEMON, WORKER = 100, 101, 102, 200, 201
HOG, INNOCENT, NOISE = 300, 400, 500
ITEMS = [{"name": "hog", "role": "hog", "pid": HOG},
         {"name": "good", "role": "innocent", "pid": INNOCENT},
         {"name": "box", "role": "noise", "pid": NOISE}]
TASKS = f"""1 1 0 systemd
{RUNNER} {RUNNER} 1 python3
{METER} {METER} {RUNNER} vm_meter
{BEAT} {BEAT} {METER} heartbeat
{DAEMON} {DAEMON} 1 oomreapd
{WORKER} {DAEMON} 1 reap (0) x
900 900 1 dbus-daemon
"""


class Run:
    """Writes a dump; `line(name, ms, …)` for events, `memory` a function of ms to MiB."""

    def __init__(self):
        self.trace = ["# tracer: nop\n"]
        self.log = ""
        self.samples = []
        self.beats = []
        self.meta = {"runner_pid": RUNNER, "meter_pid": METER, "mem_total_kb": TOTAL_KB,
                     "started_ns": START_MS * 10**6, "trace": True, "trace_lost": 0,
                     "log_lost": 0, "meter_cpu_ms": 1, "watch_pid": DAEMON,
                     "heartbeat": {"pid": BEAT, "alive": True},
                     "watch_before": {"seen": True, "cpu_us": 1000, "rss_kib": 900, "wakeups": 5,
                                      "rss_peak_kib": 950, "pids": [DAEMON]},
                     "watch_after": {"seen": True, "cpu_us": 8500, "rss_kib": 1000, "wakeups": 25,
                                     "rss_peak_kib": 2000, "pids": [DAEMON]}}
        for root in (HOG, INNOCENT, NOISE):
            self.born(1, RUNNER, root)

    def line(self, at_ms, tid, event, comm="<...>"):
        at_us = round((START_MS + at_ms) * 1000)
        self.trace.append(f"{comm:>16}-{tid:<7} [001] d..1. {at_us // 10**6:5}."
                          f"{at_us % 10**6:06}: {event}\n")

    def born(self, at_ms, creator, pid, flags="1200000"):
        self.line(at_ms, creator,
                  f"task_newtask: pid={pid} comm=x clone_flags={flags} oom_score_adj=0")

    def signal(self, at_ms, sender, pid, sig=9, code=0, res=0, comm="x"):
        self.line(at_ms, sender, f"signal_generate: sig={sig} errno=0 code={code} comm={comm} "
                                 f"pid={pid} grp=1 res={res}")

    def woken(self, at_ms, pid):
        self.line(at_ms, 0, f"sched_waking: comm=x pid={pid} prio=120 target_cpu=001", "<idle>")

    def exit(self, at_ms, pid):
        self.line(at_ms, pid, f"sched_process_exit: comm=x pid={pid} prio=120 group_dead=true")

    def mark(self, at_ms, tid, pid):
        self.line(at_ms, tid, f"mark_victim: pid={pid}")

    def memory(self, end_ms, avail, swap=lambda ms: 0, anon=0, swap_total=0, oom=lambda ms: 0,
               step=5):
        for at in range(0, end_ms + 1, step):
            self.samples.append(((START_MS + at) * 10**6, int(avail(at) * 1024), 0,
                                 int(swap(at) * 1024), at * 100, at * 50, oom(at),
                                 swap_total * 1024, anon * 1024))

    def beat(self, at_ms, late_ms):
        self.beats.append(((START_MS + at_ms) * 10**6, round(late_ms * 1000), 1))

    def measured(self, items=None, subject="oomreapd", **more):
        with tempfile.TemporaryDirectory() as directory:
            self._put(directory, "meta.json", json.dumps(self.meta))
            self._put(directory, "trace.txt", "".join(self.trace))
            self._put(directory, "tasks.txt", TASKS)
            self._put(directory, "kmsg.txt", self.log)
            self._csv(directory, "samples.csv", self.samples)
            self._csv(directory, "beats.csv", self.beats)
            return measures.measures(directory, items or ITEMS, subject, **more)

    def _csv(self, directory, name, rows):
        self._put(directory, name,
                  "header\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))

    @staticmethod
    def _put(directory, name, text):
        with open(os.path.join(directory, name), "w", encoding="utf-8", newline="\n") as file:
            file.write(text)


def leak(signal_ms, back_ms, floor=20, rest=500):
    """Falls from 500 MiB to `floor` until the signal, is back at `rest` from back_ms on."""
    def avail(at):
        if at >= back_ms:
            return rest
        return max(floor, 500 - (500 - floor) * at / signal_ms)
    return avail


class Senders(unittest.TestCase):
    """Who is told to have sent a signal, and what counts as a kill."""

    def setUp(self):
        self.run_ = Run()
        self.run_.memory(100, lambda at: 500)

    def by(self, **more):
        made = self.run_.measured(**more)
        return made, made["kills_by"]

    def test_a_worker_thread_of_the_daemon_is_the_daemon(self):
        self.run_.signal(50, WORKER, HOG)
        made, by = self.by()
        self.assertEqual(by, {"subject": 1, "other": 0, "kernel": 0})
        self.assertEqual(made["kills_made"], 1)
        self.assertEqual(made["innocents_lost"], 0)

    def test_a_thread_born_during_the_run_is_its_process(self):
        self.run_.born(10, DAEMON, 210, flags="3d0f00")
        self.run_.signal(50, 210, HOG)
        self.assertEqual(self.by()[1]["subject"], 1)

    def test_a_child_of_the_daemon_is_the_daemon(self):
        self.run_.born(10, WORKER, 220)
        self.run_.born(11, 220, 221)
        self.run_.signal(50, 221, HOG)
        self.assertEqual(self.by()[1]["subject"], 1)

    def test_the_daemon_is_known_by_its_pid_alone(self):
        del self.run_.meta["watch_before"], self.run_.meta["watch_after"]
        self.run_.signal(50, WORKER, HOG)
        self.assertEqual(self.by()[1]["subject"], 0)
        self.assertEqual(self.by(subject_pid=DAEMON)[1]["subject"], 1)

    def test_the_runner_and_its_helpers_kill_nobody(self):
        self.run_.born(10, RUNNER, 110)
        self.run_.signal(50, RUNNER, HOG)
        self.run_.signal(51, 110, INNOCENT)
        made, _ = self.by()
        self.assertEqual((made["kills_made"], made["innocents_lost"]), (0, 0))

    def test_an_abort_is_no_kill(self):
        self.run_.born(10, HOG, 310, flags="3d0f00")
        self.run_.signal(50, 310, HOG, sig=9, code=-6)
        self.assertEqual(self.by()[0]["kills_made"], 0)

    def test_the_daemon_may_end_its_own_children(self):
        self.run_.born(10, DAEMON, 220)
        self.run_.signal(50, WORKER, 220)
        self.assertEqual(self.by()[0]["innocents_lost"], 0)

    def test_an_item_started_by_vfork_is_a_process(self):
        self.run_.born(10, RUNNER, 600, flags="4111")
        self.run_.signal(50, WORKER, 600)
        made, _ = self.by(items=[{"name": "late", "role": "hog", "pid": 600}])
        self.assertEqual(made["items_hit"], ["late"])

    def test_each_sender_is_called_by_its_name(self):
        self.run_.born(2, HOG, 310)
        self.run_.born(2, HOG, 311, flags="3d0f00")
        for sender, target in ((311, HOG), (HOG, 310), (RUNNER, HOG), (HOG, INNOCENT), (900, HOG),
                               (1, 900)):
            self.run_.signal(50, sender, target)
        told = [text.split()[4] for text in self.by()[0]["signals"]]
        self.assertEqual(told, ["self", "item", "other"])  # housekeeping is not worth a line

    def test_a_family_quarrel_is_no_kill(self):
        self.run_.born(10, HOG, 310)
        self.run_.signal(50, HOG, 310)
        self.assertEqual(self.by()[0]["kills_made"], 0)

    def test_the_signal_of_a_dead_parent_is_no_kill(self):
        self.run_.born(10, DAEMON, 230)
        self.run_.exit(49, 230)
        self.run_.signal(50, 230, INNOCENT)
        made, by = self.by()
        self.assertEqual((by["subject"], made["innocents_lost"]), (0, 0))

    def test_a_pid_used_again_is_not_dead(self):
        self.run_.born(10, DAEMON, 230)
        self.run_.exit(20, 230)
        self.run_.born(30, DAEMON, 230)
        self.run_.signal(50, 230, HOG)
        self.assertEqual(self.by()[1]["subject"], 1)

    def test_pid_1_is_somebody_else_and_counts(self):
        self.run_.signal(50, 1, HOG, sig=15)
        made, by = self.by()
        self.assertEqual((by["other"], by["subject"], made["kills_made"]), (1, 0, 1))

    def test_a_kernel_kill_in_the_daemons_context_is_the_kernels(self):
        self.run_.signal(50, DAEMON, HOG, code=128)
        self.run_.mark(50.2, DAEMON, HOG)
        made, by = self.by()
        self.assertEqual((by["kernel"], made["kills_made"]), (1, 0))
        self.assertEqual(made["items_hit_by_kernel"], ["hog"])

    def test_a_kernel_kill_of_the_allocating_task_and_a_sharer(self):
        self.run_.signal(50, HOG, HOG, code=128)
        self.run_.mark(50.2, HOG, HOG)
        self.run_.signal(300, HOG, INNOCENT, code=128)
        made, by = self.by()
        self.assertEqual((by["kernel"], made["innocents_lost_names"]), (2, ["good"]))

    def test_a_kernel_signal_without_a_victim_is_no_oom_kill(self):
        self.run_.signal(50, 900, HOG, code=128)
        made, by = self.by()
        self.assertEqual((by["kernel"], made["kills_made"]), (0, 0))

    def test_an_oom_kill_of_another_time_explains_no_signal(self):
        self.run_.signal(50, 900, HOG, code=128)
        self.run_.mark(5000, 900, INNOCENT)
        self.assertEqual(self.by()[1]["kernel"], 0)

    def test_an_item_dies_once_however_many_processes_it_has(self):
        for child in (310, 311, 312):
            self.run_.born(10, HOG, child)
            self.run_.signal(50, WORKER, child)
        self.run_.signal(51, WORKER, HOG, sig=15)
        self.run_.signal(60, WORKER, HOG)
        made, _ = self.by(need=1)
        self.assertEqual((made["kills_made"], made["processes_signalled"]), (1, 4))
        self.assertEqual(made["needless_kills"], 0)

    def test_a_second_item_is_a_needless_kill(self):
        self.run_.signal(50, WORKER, HOG)
        self.run_.signal(60, WORKER, INNOCENT)
        made, _ = self.by(need=1)
        self.assertEqual((made["kills_made"], made["needless_kills"]), (2, 1))
        self.assertEqual(made["innocents_lost_names"], ["good"])

    def test_a_signal_to_the_dying_is_no_kill(self):
        self.run_.signal(50, WORKER, INNOCENT, res=1)
        self.assertEqual(self.by()[0]["kills_made"], 0)

    def test_noise_may_die(self):
        self.run_.signal(50, WORKER, NOISE)
        made, _ = self.by(need=0)
        self.assertEqual((made["kills_made"], made["innocents_lost"]), (0, 0))

    def test_a_system_service_is_an_innocent(self):
        self.run_.signal(50, WORKER, 900, comm="dbus-daemon")
        made, _ = self.by()
        self.assertEqual(made["innocents_lost_names"], ["outside:dbus-daemon"])

    def test_the_heartbeat_is_an_innocent(self):
        self.run_.signal(50, WORKER, BEAT)
        self.assertEqual(self.by()[0]["innocents_lost_names"], ["heartbeat"])

    def test_a_child_belongs_to_its_item_though_its_parent_is_gone(self):
        self.run_.born(10, INNOCENT, 410)
        self.run_.exit(20, INNOCENT)
        self.run_.born(30, 410, 411)
        self.run_.signal(50, WORKER, 411)
        self.assertEqual(self.by()[0]["items_hit"], ["good"])

    def test_a_comm_cannot_forge_an_event(self):
        forged = "a\n b-1 [0] pid=400 grp=1 res=0"
        self.run_.signal(50, WORKER, HOG, comm=forged)
        self.assertEqual(self.by()[0]["items_hit"], ["hog"])

    def test_a_comm_with_a_dash_and_a_space(self):
        self.run_.line(50, WORKER, "signal_generate: sig=9 errno=0 code=0 comm=(x y) pid=300 "
                                   "grp=1 res=0", comm="a-7 [1] b")
        self.assertEqual(self.by()[0]["items_hit"], ["hog"])

    def test_the_older_fork_event_will_do(self):
        self.run_.line(10, INNOCENT, "sched_process_fork: comm=x pid=400 child_comm=x "
                                     "child_pid=410")
        self.run_.signal(50, WORKER, 410)
        self.assertEqual(self.by()[0]["items_hit"], ["good"])


class KernelKills(unittest.TestCase):
    """The machine's OOM kills and those of memory cgroups."""

    def test_told_apart_by_the_log(self):
        run = Run()
        run.memory(100, lambda at: 500, oom=lambda at: 7 if at < 50 else 10)
        run.log = ("3,1,1,-;Memory cgroup out of memory: Killed process 500 (x) total-vm:1kB\n"
                   "3,2,1,-;Memory cgroup out of memory: Killed process 501 (x) total-vm:1kB\n"
                   "3,3,1,-;Out of memory: Killed process 300 (Memory cgroup out of) total\n")
        made = run.measured()
        self.assertEqual((made["kernel_oom_kills"], made["kernel_memcg_kills"]), (1, 2))

    def test_without_a_log_all_are_the_machines(self):
        run = Run()
        run.memory(100, lambda at: 500, oom=lambda at: at // 50)
        self.assertEqual(run.measured()["kernel_oom_kills"], 2)

    def test_a_memcg_kill_of_a_stranger_is_not_an_innocent_of_the_machine(self):
        run = Run()
        run.memory(100, lambda at: 500)
        run.signal(50, 900, 900, code=128)
        run.mark(50, 900, 900)
        self.assertEqual(run.measured()["innocents_lost"], 1)
        run.log = "3,1,1,-;Memory cgroup out of memory: Killed process 900 (x) total-vm:1kB\n"
        self.assertEqual(run.measured()["innocents_lost"], 0)


    def test_a_limit_that_nobody_meant_is_named(self):
        run = Run()
        run.memory(100, lambda at: 500)
        for victim in (NOISE, HOG, 777):
            run.signal(50, victim, victim, code=128)
            run.mark(50, victim, victim)
            run.log += f"3,1,1,-;Memory cgroup out of memory: Killed process {victim} (x) total\n"
        self.assertEqual(run.measured()["memcg_kills_unmeant"], ["box", "hog", "pid 777"])
        forgiven = [{**item, "forgiven": item["name"] in ("hog", "box")} for item in ITEMS]
        self.assertEqual(run.measured(items=forgiven)["memcg_kills_unmeant"], ["pid 777"])


class Memory(unittest.TestCase):
    """When memory was short, and when it was back."""

    def test_one_leak_one_kill(self):
        run = Run()
        run.memory(3000, leak(1000, 1040))
        run.signal(1000, WORKER, HOG)
        made = run.measured()
        self.assertEqual(made["signal_to_back_ms"], 40)
        self.assertEqual(made["signal_to_back_worst_ms"], 40)
        self.assertEqual(made["first_signal_by"], "subject")
        self.assertEqual(made["available_at_signal_mib"], 20)
        self.assertEqual(made["lowest_available_mib"], 20)
        # below 100 MiB from 400/480 of the second on (833.3 ms: sample 835), back at 1040
        self.assertEqual(made["low_to_back_ms"], 1040 - 835)
        self.assertEqual(made["low_to_signal_ms"], 1000 - 835)
        self.assertEqual(made["signal_to_recovered_ms"], 40)
        # below 25 MiB from 475/480 of the second on (989.6 ms: sample 990)
        self.assertEqual(made["under_line_ms"], 1040 - 990)
        self.assertTrue(made["recovered"])

    def test_half_of_what_comes_back_is_back(self):
        run = Run()
        run.memory(4000, lambda at: 20 if at < 1000 else min(420, 20 + (at - 1000) * 0.4))
        run.signal(1000, WORKER, HOG)
        self.assertEqual(run.measured()["signal_to_back_ms"], 500)

    def test_a_tenth_of_memory_is_the_same_for_a_large_victim(self):
        for gives_mib in (200, 400, 800):
            run = Run()
            run.memory(4000, lambda at, most=20 + gives_mib:
                       20 if at < 1000 else min(most, 20 + (at - 1000) * 0.4))
            run.signal(1000, WORKER, HOG)
            made = run.measured()
            self.assertEqual(made["signal_to_back_ms"], gives_mib / 2 / 0.4)
            self.assertEqual(made["acted_to_tenth_ms"], 250)

    def test_of_a_small_victim_half_is_enough(self):
        run = Run()
        run.memory(4000, lambda at: 20 if at < 1000 else min(100, 20 + (at - 1000) * 0.4))
        run.signal(1000, WORKER, HOG)
        self.assertEqual(run.measured()["acted_to_tenth_ms"], 100)

    def test_a_daemon_without_a_word_of_its_trigger_was_woken_for_it(self):
        run = Run()
        run.memory(3000, leak(1000, 1040))
        run.woken(900, DAEMON)
        run.woken(970, DAEMON)
        run.woken(990, WORKER)  # a helper
        run.woken(1010, DAEMON)
        run.signal(1000, DAEMON, HOG)
        made = run.measured(subject="earlyoom")
        self.assertEqual(made["victims"][0]["wake_to_signal_ms"], 30)
        self.assertEqual(made["acted_to_tenth_ms"], 70)
        made = run.measured(journal=[told(HOG, 1, 45)])
        self.assertEqual(made["acted_to_tenth_ms"], 85)

    def test_nobody_is_woken_for_a_kill_of_the_kernels(self):
        run = Run()
        run.memory(3000, leak(1000, 1040))
        run.woken(990, DAEMON)
        run.signal(1000, INNOCENT, HOG, code=0x80)
        run.mark(1000, INNOCENT, HOG)
        self.assertEqual(run.measured(subject="earlyoom")["acted_to_tenth_ms"], 40)

    def test_memory_that_falls_on_after_the_signal(self):
        run = Run()
        run.memory(4000, lambda at: 300 - at / 10 if at < 2000 else 180)
        run.signal(1000, WORKER, HOG, sig=15)
        made = run.measured()
        self.assertEqual(made["signal_to_back_ms"], 1000)  # back only to where the signal was

    def test_swap_given_back_counts(self):
        run = Run()
        run.memory(3000, lambda at: 50, swap=lambda at: 10 if at < 1100 else 400,
                   swap_total=400, anon=800)
        run.signal(1000, WORKER, HOG)
        self.assertEqual(run.measured()["signal_to_back_ms"], 100)

    def test_nothing_came_back(self):
        run = Run()
        run.memory(3000, lambda at: 20 + at % 8)
        run.signal(1000, WORKER, HOG)
        made = run.measured()
        self.assertIsNone(made["signal_to_back_ms"])
        self.assertIsNone(made["low_to_back_ms"])
        self.assertIsNone(made["signal_to_recovered_ms"])
        self.assertTrue(made["was_low"])
        self.assertFalse(made["recovered"])

    def test_an_innocent_first_takes_as_long_as_it_took(self):
        run = Run()
        run.memory(8000, leak(1000, 6030))
        run.signal(1000, WORKER, INNOCENT)
        run.signal(6000, WORKER, HOG)
        made = run.measured()
        self.assertEqual(made["signal_to_back_ms"], 5030)
        self.assertEqual([(one["item"], one["back_ms"]) for one in made["victims"]],
                         [("good", 5030), ("hog", 30)])

    def test_a_later_shortage_is_another_matter(self):
        run = Run()
        run.memory(9000, lambda at: 20 if at < 1040 else 400 if at < 5000 else
                   20 if at < 6000 else 900)
        run.signal(1000, WORKER, HOG)
        made = run.measured()
        self.assertEqual(made["signal_to_back_ms"], 40)
        self.assertEqual(made["signal_to_back_gap_ms"], 0)

    def test_the_hosts_part_is_told(self):
        run = Run()
        run.memory(2000, leak(1000, 1080))
        run.samples = [one for one in run.samples
                       if not (START_MS + 1010) * 10**6 < one[0] < (START_MS + 1060) * 10**6]
        run.signal(1000, WORKER, HOG)
        made = run.measured()
        self.assertEqual((made["signal_to_back_ms"], made["signal_to_back_gap_ms"]), (80, 50))
        self.assertEqual((made["sampler_gaps_ms"], made["paused_ms"]), (50, 0))

    def test_a_moment_of_relief_is_not_the_end_of_a_shortage(self):
        run = Run()
        run.memory(9000, lambda at: 20 if at < 1040 else 120 if at < 1900 else
                   20 if at < 6000 else 900)
        run.signal(1000, WORKER, HOG)
        self.assertEqual(run.measured()["signal_to_back_ms"], 5000)

    def test_a_second_shortage_is_not_yet_back_for_good(self):
        run = Run()
        run.memory(5000, lambda at: 50 if at < 1000 or 2000 <= at < 2500 else 500)
        self.assertEqual(run.measured()["low_to_back_ms"], 2500)

    def test_usable_swap_is_no_shortage(self):
        run = Run()
        run.memory(1000, lambda at: 20, swap=lambda at: 300, swap_total=400, anon=500)
        made = run.measured()
        self.assertFalse(made["was_low"])
        self.assertTrue(made["recovered"])
        self.assertEqual(made["under_line_ms"], 1000)

    def test_swap_that_nothing_can_go_to_is_not_usable(self):
        run = Run()
        run.memory(1000, lambda at: 20, swap=lambda at: 300, swap_total=400, anon=30)
        self.assertTrue(run.measured()["was_low"])

    def test_a_run_without_a_signal(self):
        run = Run()
        run.memory(1000, lambda at: 500)
        made = run.measured()
        self.assertIsNone(made["first_signal_ns"])
        self.assertEqual((made["kills_made"], made["victims"]), (0, []))
        self.assertEqual((made["psi_some_ms"], made["psi_full_ms"]), (100, 50))

    def test_without_a_daemon_the_kernels_kill_starts_the_clock(self):
        run = Run()
        run.memory(3000, leak(1000, 1200))
        run.signal(1000, HOG, HOG, code=128)
        run.mark(1000, HOG, HOG)
        made = run.measured(subject="none")
        self.assertEqual((made["signal_to_back_ms"], made["first_signal_by"]), (200, "kernel"))

    def test_a_victim_that_is_noise_starts_no_clock(self):
        run = Run()
        run.memory(3000, leak(1000, 1200))
        run.signal(500, NOISE, NOISE, code=128)
        run.mark(500, NOISE, NOISE)
        run.signal(1000, WORKER, HOG)
        self.assertEqual(run.measured()["signal_to_back_ms"], 200)


def told(pid, session, signal_ms, back_ms=1, outcome="released", expected_mib=None):
    """What the daemon says of one of its kills; it praises itself by default."""
    record = {"OOMREAPD_EVENT": "outcome", "OOMREAPD_SESSION_KIND": "kill",
              "OOMREAPD_DRY_RUN": "0", "OOMREAPD_OUTCOME": outcome,
              "OOMREAPD_SESSION": str(session), "OOMREAPD_VICTIM_PID": str(pid),
              "OOMREAPD_TRIGGER_TO_SIGNAL_USEC": str(signal_ms * 1000),
              "OOMREAPD_SIGNAL_TO_RELEASED_USEC": str(back_ms * 1000)}
    if expected_mib is not None:
        record["OOMREAPD_EXPECTED"] = str(expected_mib << 20)
    return record


class Recovery(unittest.TestCase):
    """From the trigger to memory back: told as far as the signal, measured from there."""

    def test_the_daemons_word_for_the_release_counts_for_nothing(self):
        run = Run()
        run.memory(3000, leak(1000, 1400))
        run.signal(1000, WORKER, HOG)
        made = run.measured(journal=[told(HOG, 1, 7)])
        self.assertEqual((made["trigger_to_back_ms"], made["trigger_to_back_told_ms"]), (407, 8))

    def test_each_process_of_an_item_is_a_kill_of_its_own(self):
        run = Run()
        run.born(10, HOG, 310)
        run.memory(6000, lambda at: 20 if at < 1040 else 200 if at < 2000 else
                   20 if at < 2300 else 700)
        run.signal(1000, WORKER, HOG)
        run.signal(2000, WORKER, 310)
        made = run.measured(journal=[told(HOG, 1, 5), told(310, 2, 6)])
        self.assertEqual([(one["pid"], one["back_ms"]) for one in made["victims"]],
                         [(HOG, 40), (310, 300)])
        self.assertEqual((made["kills_made"], made["trigger_to_back_ms"]), (1, 306))

    def test_sharers_die_with_the_one_it_was_for(self):
        run = Run()
        for child in (310, 311):
            run.born(10, HOG, child)
            run.signal(999.9 if child == 310 else 1500, WORKER, child)
        run.signal(1000, WORKER, HOG)
        run.memory(3000, leak(1000, 1600))
        made = run.measured(journal=[told(HOG, 1, 5)])
        self.assertEqual([(one["pid"], one["processes"], one["back_ms"])
                          for one in made["victims"]], [(HOG, 3, 600.1)])
        self.assertEqual(made["kills_untold"], 0)

    def test_another_daemons_volley_is_one_kill(self):
        run = Run()
        run.born(10, HOG, 310)
        run.signal(1000, WORKER, HOG)
        run.signal(1003, WORKER, 310)
        run.memory(3000, leak(1000, 1100))
        made = run.measured(subject="earlyoom")
        self.assertEqual(len(made["victims"]), 1)
        self.assertIsNone(made["trigger_to_back_ms"])

    def test_a_polite_kill_is_not_counted_twice(self):
        run = Run()
        run.signal(1000, WORKER, HOG, sig=15)
        run.signal(3000, WORKER, HOG)
        run.memory(6000, lambda at: 20 if at < 3100 else 500)
        made = run.measured(journal=[told(HOG, 1, 2010)])
        self.assertEqual(made["trigger_to_back_ms"], 2110)
        self.assertEqual(made["victims"][0]["back_ms"], 2100)

    def test_a_rise_that_comes_later_is_not_waited_for(self):
        run = Run()
        run.memory(8000, lambda at: 20 if at < 1050 else 120 if at < 5000 else 900)
        run.signal(1000, WORKER, HOG)
        self.assertEqual(run.measured(journal=[told(HOG, 1, 5, expected_mib=100)])
                         ["trigger_to_back_ms"], 55)
        self.assertEqual(run.measured(journal=[told(HOG, 1, 5)])["trigger_to_back_ms"], 4005)

    def test_a_kill_that_nobody_saw_give_anything(self):
        run = Run()
        run.memory(3000, lambda at: 20)
        run.signal(1000, WORKER, HOG)
        made = run.measured(journal=[told(HOG, 1, 5, expected_mib=300)])
        self.assertEqual((made["trigger_to_back_ms"], made["kills_unseen"]), (None, 1))
        made = run.measured(journal=[told(HOG, 1, 5, expected_mib=3)])
        self.assertEqual(made["kills_unseen"], 0)

    def test_a_stuck_victim_has_not_given_what_the_next_one_gave(self):
        run = Run()
        run.memory(6000, leak(1000, 2100))
        run.signal(1000, WORKER, INNOCENT)
        run.signal(2000, WORKER, HOG)
        made = run.measured(journal=[told(INNOCENT, 1, 5, outcome="timed-out"), told(HOG, 2, 9)])
        self.assertEqual([one["back_ms"] for one in made["victims"]], [None, 100])
        self.assertEqual((made["trigger_to_back_ms"], made["kills_not_released"]), (109, 1))

    def test_a_kill_without_an_account(self):
        run = Run()
        run.memory(3000, leak(1000, 1040))
        run.signal(1000, WORKER, HOG)
        made = run.measured(journal=[])
        self.assertEqual((made["trigger_to_back_ms"], made["kills_untold"]), (None, 1))

    def test_the_line_is_a_trigger_that_nobody_tells(self):
        run = Run()
        run.memory(5000, lambda at: 500 if at < 1000 else 20 if at < 1500 else 60)
        self.assertEqual(run.measured()["line_to_back_ms"], 500)
        run.signal(3000, WORKER, HOG)
        self.assertEqual(run.measured()["line_to_back_ms"], 2000)

    def test_with_swap_to_spare_the_line_is_none(self):
        run = Run()
        run.memory(2000, lambda at: 20 if at < 1000 else 300, swap=lambda at: 80, swap_total=1000,
                   anon=500)
        self.assertIsNone(run.measured()["line_to_back_ms"])

    def test_a_machine_that_stays_at_the_line(self):
        run = Run()
        run.memory(2000, lambda at: 20)
        self.assertIsNone(run.measured()["line_to_back_ms"])

    def test_a_gap_spoils_what_is_timed_and_nothing_else(self):
        for at, spoilt in ((100, 0), (1010, 250), (1700, 0)):
            run = Run()
            run.memory(3000, lambda ms: 300 if ms < 900 else 20 if ms < 1400 else 500)
            run.samples = [one for one in run.samples
                           if not (START_MS + at) * 10**6 < one[0] < (START_MS + at + 250) * 10**6]
            run.signal(1000, WORKER, HOG)
            self.assertEqual(run.measured()["spoilt_gap_ms"], spoilt)


class Stalls(unittest.TestCase):
    """What the heartbeat felt."""

    def test_worst_and_total(self):
        run = Run()
        run.memory(2000, lambda at: 500)
        for at, late in ((0, 0.5), (20, 150), (180, 99), (300, 400), (700, 1)):
            run.beat(at, late)
        made = run.measured()
        self.assertEqual(made["worst_stall_ms"], 400)
        self.assertEqual(made["stall_over_100ms_total_ms"], 550)
        self.assertEqual(made["stall_p99_ms"], 150)

    def test_what_the_start_cost_is_no_stall_of_the_shortage(self):
        run = Run()
        run.memory(6000, lambda at: 20 if 2000 <= at < 3000 else 500)
        for at, late in ((100, 300), (1900, 150), (2500, 40), (3500, 160), (4100, 500)):
            run.beat(at, late)
        made = run.measured()
        self.assertEqual((made["worst_stall_ms"], made["worst_stall_low_ms"]), (500, 160))

    def test_a_pause_of_the_machine_is_nobodys_stall(self):
        run = Run()
        run.memory(995, lambda at: 500)
        run.samples += [((START_MS + at) * 10**6, 500 * 1024, 0, 0, 0, 0, 0, 0, 0)
                        for at in range(20_995, 22_000, 5)]
        run.beat(980, 20_050)
        made = run.measured()
        self.assertEqual(made["worst_stall_ms"], 50)
        self.assertEqual(made["paused_ms"], 20_000)

    def test_gaps_of_the_sampler_are_taken_off_the_net_stall_alone(self):
        run = Run()
        run.memory(1000, lambda at: 500)
        run.samples = [one for one in run.samples
                       if not (START_MS + 500) * 10**6 < one[0] < (START_MS + 600) * 10**6]
        run.beat(480, 130)
        run.beat(700, 40)
        made = run.measured()
        self.assertEqual((made["worst_stall_ms"], made["worst_stall_net_ms"]), (130, 40))

    def test_no_heartbeat_no_claim(self):
        run = Run()
        run.memory(100, lambda at: 500)
        self.assertIsNone(run.measured()["worst_stall_ms"])


class Daemon(unittest.TestCase):
    """What the daemon costs and says."""

    OUTCOME = {"OOMREAPD_EVENT": "outcome", "OOMREAPD_SESSION_KIND": "kill",
               "OOMREAPD_DRY_RUN": "0", "OOMREAPD_OUTCOME": "released",
               "OOMREAPD_SESSION": "1", "OOMREAPD_VICTIM_PID": str(HOG),
               "OOMREAPD_TRIGGER_TO_SIGNAL_USEC": "3000",
               "OOMREAPD_SIGNAL_TO_RELEASED_USEC": "40000"}

    def setUp(self):
        self.run_ = Run()
        self.run_.memory(100, lambda at: 500)

    def test_cost(self):
        made = self.run_.measured()
        self.assertEqual((made["daemon_cpu_ms"], made["wakeups"]), (7.5, 20))
        self.assertEqual((made["daemon_rss_kib"], made["daemon_rss_peak_kib"]), (1000, 2000))
        self.assertTrue(made["daemon_same"])

    def test_a_restarted_daemon_has_no_differences(self):
        self.run_.meta["watch_after"]["pids"] = [999]
        made = self.run_.measured()
        self.assertFalse(made["daemon_same"])
        self.assertIsNone(made["daemon_cpu_ms"])

    def test_journal_worst_of_the_kills(self):
        slow = {**self.OUTCOME, "OOMREAPD_TRIGGER_TO_SIGNAL_USEC": "1000",
                "OOMREAPD_SIGNAL_TO_RELEASED_USEC": "90000", "OOMREAPD_SESSION": "2"}
        adopted = {**slow, "OOMREAPD_SESSION_KIND": "adoption", "OOMREAPD_SESSION": "3",
                   "OOMREAPD_SIGNAL_TO_RELEASED_USEC": "900000"}
        other = {**slow, "OOMREAPD_EVENT": "pressure",
                 "OOMREAPD_SIGNAL_TO_RELEASED_USEC": "9000000"}
        dry = {**slow, "OOMREAPD_DRY_RUN": "1", "OOMREAPD_SIGNAL_TO_RELEASED_USEC": "9000000"}
        made = self.run_.measured(journal=[self.OUTCOME, slow, adopted, other, dry])
        self.assertEqual((made["trigger_to_signal_ms"], made["trigger_to_back_told_ms"]), (3, 91))
        self.assertEqual(made["kills_not_released"], 0)

    def test_a_kill_that_gave_nothing_back_is_told(self):
        stuck = {**self.OUTCOME, "OOMREAPD_OUTCOME": "timed-out"}
        del stuck["OOMREAPD_SIGNAL_TO_RELEASED_USEC"]
        made = self.run_.measured(journal=[stuck])
        self.assertIsNone(made["trigger_to_back_told_ms"])
        self.assertEqual(made["kills_not_released"], 1)

    def test_a_kill_without_an_outcome_has_released_nothing(self):
        kill = {**self.OUTCOME, "OOMREAPD_EVENT": "kill"}
        del kill["OOMREAPD_OUTCOME"], kill["OOMREAPD_SIGNAL_TO_RELEASED_USEC"]
        self.assertEqual(self.run_.measured(journal=[kill])["kills_not_released"], 1)
        self.assertEqual(self.run_.measured(journal=[kill, self.OUTCOME])["kills_not_released"], 0)

    def test_a_cancelled_kill_has_hit_nobody(self):
        made = self.run_.measured(journal=[{**self.OUTCOME, "OOMREAPD_OUTCOME": "cancelled"}])
        self.assertEqual(made["kills_not_released"], 0)

    def test_only_our_own_daemon_is_asked(self):
        made = self.run_.measured(subject="earlyoom", journal=[self.OUTCOME])
        self.assertIsNone(made["trigger_to_back_ms"])


class Parts(unittest.TestCase):
    """Odd input."""

    def test_a_dump_that_is_not_there(self):
        with tempfile.TemporaryDirectory() as directory:
            made = measures.measures(directory, [], "none")
        self.assertFalse(made["traced"])
        self.assertIsNone(made["kernel_oom_kills"])

    def test_lost_events_are_told(self):
        run = Run()
        run.meta["trace_lost"] = 12
        self.assertEqual(run.measured()["trace_lost"], 12)

    def test_times_keep_their_microseconds(self):
        event = signals.parse_trace("  <...>-7 [000] .....  12.000345: mark_victim: pid=8\n")[0]
        self.assertEqual((event.ns, event.tid, event.pid), (12_000_345_000, 7, 8))


if __name__ == "__main__":
    unittest.main()

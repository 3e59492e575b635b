"""The host's side without a guest: how entries are spread over boots, and what becomes of what
a dead boot left out. A guest is a script here: what each boot says before it ends."""

import argparse
import importlib.machinery
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import time
import unittest
from contextlib import redirect_stdout
from types import SimpleNamespace
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("vm_run", os.path.join(HERE, "run"))
vm_run = importlib.util.module_from_spec(importlib.util.spec_from_loader("vm_run", loader))
loader.exec_module(vm_run)


def entry(name, subject="oomreapd"):
    return {"id": name, "scenario": name, "subject": subject, "conf": [], "timeout_s": 10,
            "kernel": "6.1", "memory_mib": 1024, "repetition": 1, "image": "base"}


def begin(name):
    return {"begin": name}


def result(name, **bars):
    return {"result": {"id": name, "bars": bars, "measures": {"kills_made": 1}}}


def spoilt(name, gap_ms=900, **bars):
    told = result(name, **bars)
    told["result"]["measures"]["spoilt_gap_ms"] = gap_ms
    return told


class FakeMachine:
    """Says its script's lines, then has ended, or says nothing any more."""

    def __init__(self, script, hangs=False, panics=False):
        self.script = list(script)
        self.hangs = hangs
        self.panics = panics
        self.paused = self.frozen = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def alive(self):
        return bool(self.script) or self.hangs

    def lines(self):
        return [self.script.pop(0)] if self.script else []

    def panicked(self):
        return self.panics

    def console_tail(self, lines=40):
        return ""

    def pause(self, seconds):
        self.paused += seconds

    def freeze(self, seconds):
        self.frozen += seconds


def run_boots(entries, machines, keep_going=True):
    """What a runner makes of these entries when its boots go like these machines."""
    arguments = argparse.Namespace(verbose=False, keep_going=keep_going, out=None)
    load = SimpleNamespace(write=mock.Mock())
    runner = vm_run.Runner(arguments, "/tmp", load)
    boot = {"kernel": "6.1", "memory_mib": 1024, "image": "base", "entries": entries}
    clock = iter(range(0, 10**9, 30))
    with mock.patch.object(vm_run.machine, "Machine", side_effect=machines), \
            mock.patch.object(time, "sleep"), \
            mock.patch.object(time, "monotonic", lambda: next(clock)), \
            redirect_stdout(io.StringIO()):
        runner.run_all([boot])
    planned = [[e["id"] for e in call.args[2]] for call in load.write.call_args_list]
    return {r["id"]: r for r in runner.results}, planned


class TestBoots(unittest.TestCase):

    def test_one_boot_is_enough_when_all_goes_well(self):
        got, planned = run_boots([entry("a"), entry("b")], [FakeMachine(
            [begin("a"), result("a"), begin("b"), result("b"), {"end": True}])])
        self.assertEqual(planned, [["a", "b"]])
        self.assertEqual([got["a"]["scenario"], got["b"]["memory_mib"]], ["a", 1024])

    def test_a_panic_costs_no_other_entry(self):
        got, planned = run_boots([entry("a"), entry("b"), entry("c")], [
            FakeMachine([begin("a"), result("a"), begin("b")], panics=True),
            FakeMachine([begin("b"), result("b"), begin("c"), result("c"), {"end": True}])])
        self.assertEqual(planned, [["a", "b", "c"], ["b", "c"]])
        self.assertFalse(any("died" in r for r in got.values()))

    def test_twice_dead_is_dead_and_the_rest_is_run(self):
        got, planned = run_boots([entry("a"), entry("b")], [
            FakeMachine([begin("a")], panics=True), FakeMachine([begin("a")], hangs=True),
            FakeMachine([begin("b"), result("b"), {"end": True}])])
        self.assertEqual(planned, [["a", "b"], ["a", "b"], ["b"]])
        self.assertEqual(got["a"]["died"], "hung")
        self.assertTrue(vm_run.summary.missed(got["a"]))
        self.assertNotIn("died", got["b"])

    def test_every_daemon_has_the_same_tries(self):
        for subject in ("oomreapd", "earlyoom", "none"):
            got, planned = run_boots([entry("a", subject), entry("b")], [
                FakeMachine([begin("a")]), FakeMachine([begin("a")], panics=True),
                FakeMachine([begin("b"), result("b"), {"end": True}])])
            self.assertEqual(planned, [["a", "b"], ["a", "b"], ["b"]])
            self.assertEqual((got["a"]["died"], got["a"]["earlier_deaths"]), ("panic", ["gone"]))
            self.assertEqual(vm_run.summary.missed(got["a"]), subject == "oomreapd")

    def test_a_death_that_was_not_repeated_is_told(self):
        got, _ = run_boots([entry("a")], [
            FakeMachine([begin("a")], hangs=True),
            FakeMachine([begin("a"), result("a", ran=True), {"end": True}])])
        self.assertEqual(got["a"]["earlier_deaths"], ["hung"])
        self.assertEqual(vm_run.summary.verdict(got["a"]), "ok; died before: hung")

    def test_a_machine_that_never_begins_is_not_tried_for_ever(self):
        got, planned = run_boots([entry("a"), entry("b"), entry("c")],
                                 [FakeMachine([]), FakeMachine([])])
        self.assertEqual(len(planned), 2)
        self.assertEqual([got[x]["died"] for x in "abc"], ["gone"] * 3)

    def test_a_worn_machine_is_replaced_and_nobody_blamed(self):
        got, planned = run_boots([entry("a"), entry("b"), entry("c")], [
            FakeMachine([begin("a"), result("a"), {"end": True, "worn": True}]),
            FakeMachine([begin("b"), result("b"), {"end": True, "worn": True}]),
            FakeMachine([begin("c"), result("c"), {"end": True}])])
        self.assertEqual(planned, [["a", "b", "c"], ["b", "c"], ["c"]])
        self.assertFalse(any("died" in r or "earlier_deaths" in r for r in got.values()))

    def test_a_machine_worn_from_the_beginning_is_not_tried_for_ever(self):
        got, _ = run_boots([entry("a")], [
            FakeMachine([{"end": True, "worn": True}]), FakeMachine([{"end": True, "worn": True}])])
        self.assertEqual(got["a"]["died"], "left out")

    def test_an_end_that_leaves_entries_out_is_no_success(self):
        got, _ = run_boots([entry("a")], [FakeMachine([{"end": True}]), FakeMachine([{"end": 1}])])
        self.assertEqual(got["a"]["died"], "left out")

    def test_a_pause_is_made_and_not_counted_as_a_hang(self):
        vm = FakeMachine([begin("a"), {"ask": "pause", "seconds": 20}, result("a"), {"end": True}])
        got, _ = run_boots([entry("a")], [vm])
        self.assertEqual(vm.paused, 20)
        self.assertNotIn("died", got["a"])

    def test_a_frozen_host_is_no_hang_and_spoils_nothing(self):
        vm = FakeMachine([begin("a"), {"ask": "freeze", "seconds": 20}, spoilt("a", 20_000),
                          begin("b"), result("b"), {"end": True}])
        got, planned = run_boots([entry("a"), entry("b")], [vm])
        self.assertEqual((vm.frozen, vm.paused, len(planned)), (20, 0, 1))
        self.assertNotIn("inconclusive", got["a"])

    def test_what_the_host_spoilt_is_run_again_once(self):
        for subject in ("oomreapd", "earlyoom"):
            got, planned = run_boots([entry("a", subject), entry("b")], [
                FakeMachine([begin("a"), spoilt("a", recovery_under_1s=False), begin("b"),
                             result("b"), {"end": True}]),
                FakeMachine([begin("a"), result("a", recovery_under_1s=True), {"end": True}])])
            self.assertEqual(planned, [["a", "b"], ["a"]])
            self.assertEqual(got["a"]["bars"], {"recovery_under_1s": True})
            self.assertIn("900 ms", got["a"]["run_again"])
            self.assertFalse(vm_run.summary.missed(got["a"]))

    def test_spoilt_twice_the_counts_are_judged_and_the_times_are_not(self):
        got, planned = run_boots([entry("a")], [
            FakeMachine([begin("a"), spoilt("a", recovery_under_1s=False), {"end": True}]),
            FakeMachine([begin("a"), spoilt("a", recovery_under_1s=False, no_innocent_lost=True),
                         {"end": True}])])
        self.assertEqual(len(planned), 2)
        self.assertIs(got["a"]["inconclusive"], True)
        self.assertEqual(got["a"]["bars"], {"no_innocent_lost": True})
        self.assertIn("inconclusive", vm_run.summary.verdict(got["a"]))
        self.assertFalse(vm_run.summary.missed(got["a"]))

    def test_an_innocent_lost_in_a_spoilt_run_stays_lost(self):
        got, _ = run_boots([entry("a")], [
            FakeMachine([begin("a"), spoilt("a", no_innocent_lost=False), {"end": True}]),
            FakeMachine([begin("a"), result("a", no_innocent_lost=True), {"end": True}])])
        self.assertEqual(got["a"]["earlier_missed"], ["no_innocent_lost"])
        self.assertTrue(vm_run.summary.missed(got["a"]))

    def test_what_is_to_be_run_again_outlives_a_dead_boot(self):
        got, planned = run_boots([entry("a"), entry("b")], [
            FakeMachine([begin("a"), spoilt("a"), begin("b")], panics=True),
            FakeMachine([begin("a"), result("a"), begin("b"), result("b"), {"end": True}])])
        self.assertEqual(planned, [["a", "b"], ["a", "b"]])
        self.assertEqual(got["b"]["earlier_deaths"], ["panic"])
        self.assertNotIn("earlier_deaths", got["a"])

    def test_a_strange_result_is_not_counted(self):
        got, _ = run_boots([entry("a")], [FakeMachine(
            [begin("a"), result("nonsense"), result("a", lost=False), {"end": True}])])
        self.assertEqual(list(got), ["a"])
        self.assertEqual(vm_run.summary.verdict(got["a"]), "MISSED: lost")


class TestSummary(unittest.TestCase):

    def test_a_daemon_that_is_not_there_has_not_passed(self):
        skipped = {"id": "a", "subject": "oomreapd", "skipped": "not in this image"}
        self.assertTrue(vm_run.summary.missed(skipped))
        self.assertTrue(vm_run.summary.missed({**skipped, "subject": "nohang", "image": "full"}))
        self.assertFalse(vm_run.summary.missed({**skipped, "subject": "nohang", "image": "base"}))

    def test_processes_stand_beside_items(self):
        told = {"id": "a", "subject": "none", "measures": {"kills_made": 1,
                                                           "processes_signalled": 4}}
        self.assertIn("kills 1, procs 4", vm_run.summary.line(told))


class TestFreeze(unittest.TestCase):

    def test_the_process_stands_still_and_goes_on(self):
        vm = object.__new__(vm_run.machine.Machine)
        with subprocess.Popen(["sleep", "60"]) as vm.qemu:
            def state():
                with open(f"/proc/{vm.qemu.pid}/stat", encoding="ascii") as f:
                    return f.read().rpartition(")")[2].split()[0]

            def until(*states):
                end = time.monotonic() + 10
                while state() not in states and time.monotonic() < end:
                    pass
                return state()

            seen = []
            with mock.patch.object(time, "sleep", lambda _: seen.append(until("T"))):
                vm.freeze(20)
            self.assertEqual(seen, ["T"])
            self.assertIn(until("S", "R"), ("S", "R"))
            vm.qemu.kill()


class TestBinary(unittest.TestCase):

    def test_it_is_known_by_its_bytes(self):
        load = object.__new__(vm_run.payload.Payload)
        load.files = {"etc/oomreapd": (b"conf", 0o644)}
        self.assertIsNone(load.binary())
        load.files["usr/sbin/oomreapd"] = (b"one", 0o755)
        one = load.binary()
        load.files["usr/sbin/oomreapd"] = (b"two", 0o755)
        self.assertEqual(len(one), 64)
        self.assertNotEqual(one, load.binary())


class TestPlan(unittest.TestCase):

    def plan(self, chosen, **wishes):
        arguments = argparse.Namespace(**{
            "kernel": ["6.1"], "subject": ["oomreapd"], "repeat": 1, "conf": [], "memory": None,
            **wishes})
        return vm_run.plan(arguments, chosen)

    def scenario(self, memory=1024, image="base", only=False):
        return SimpleNamespace(conf=(), memory=memory, image=image, oomreapd_only=only, timeout=30)

    def test_another_memory_size_is_another_boot(self):
        boots = self.plan({"a": self.scenario(), "b": self.scenario(memory=512),
                           "c": self.scenario()}, kernel=["6.1", "sid"])
        self.assertEqual([(b["kernel"], b["memory_mib"], len(b["entries"])) for b in boots],
                         [("6.1", 1024, 2), ("6.1", 512, 1), ("sid", 1024, 2), ("sid", 512, 1)])

    def test_only_what_needs_it_waits_for_the_full_image(self):
        boots = self.plan({"a": self.scenario(), "b": self.scenario(image="full")})
        self.assertEqual([b["image"] for b in boots], ["base", "full"])
        boots = self.plan({"a": self.scenario()}, subject=["oomreapd", "earlyoom"])
        self.assertEqual([b["image"] for b in boots], ["full"])

    def test_all_turns_at_a_scenario_are_in_one_boot(self):
        chosen = {f"s{n}": self.scenario() for n in range(20)}
        boots = self.plan(chosen, subject=list(vm_run.SUBJECTS), repeat=2)
        where = {}
        for number, boot in enumerate(boots):
            self.assertLessEqual(len(boot["entries"]), vm_run.PER_BOOT)
            for e in boot["entries"]:
                where.setdefault((e["scenario"], e["repetition"]), set()).add(number)
        self.assertEqual(len(where), 40)
        self.assertTrue(all(len(numbers) == 1 for numbers in where.values()))
        ids = [e["id"] for b in boots for e in b["entries"]]
        self.assertEqual(len(set(ids)), 20 * 2 * len(vm_run.SUBJECTS))

    def test_the_others_have_no_turn_at_what_is_ours_alone(self):
        boots = self.plan({"a": self.scenario(only=True)}, subject=["none", "oomreapd"])
        self.assertEqual([e["subject"] for e in boots[0]["entries"]], ["oomreapd"])
        self.assertEqual(self.plan({"a": self.scenario(only=True)}, subject=["none"]), [])


class TestResume(unittest.TestCase):

    def kept(self, binary="b"):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "out.json")
            self.assertEqual(vm_run.kept_results(path, "b"), [])
            with mock.patch.object(vm_run.machine, "qemu_version", lambda _: "10"):
                vm_run.write_out(path, [], directory, "a")
                vm_run.write_out(path, [{"id": "x", "kernel": "k"}], self.kernel_in(directory), "b")
            self.assertEqual(os.listdir(directory).count("out.json.new"), 0)
            return vm_run.kept_results(path, binary)

    def kernel_in(self, directory):
        os.makedirs(os.path.join(directory, "kernel-k"))
        with open(os.path.join(directory, "kernel-k", "version"), "w", encoding="ascii") as f:
            f.write("6\n")
        return directory

    def test_what_was_written_is_kept(self):
        self.assertEqual([r["id"] for r in self.kept()], ["x"])

    def test_nothing_of_another_daemon_is_kept(self):
        with self.assertRaises(SystemExit) as caught:
            self.kept("another")
        self.assertIn("another binary", str(caught.exception))

    def test_only_the_rest_is_run(self):
        boots = [{"entries": [entry("a"), entry("b")]}, {"entries": [entry("c")]}]
        self.assertEqual(vm_run.without(boots, []), boots)
        left = vm_run.without(boots, [{"id": "a"}, {"id": "c"}])
        self.assertEqual([[e["id"] for e in b["entries"]] for b in left], [["b"]])


if __name__ == "__main__":
    unittest.main()

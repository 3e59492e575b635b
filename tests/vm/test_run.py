"""The host's side without a guest: how entries are spread over boots, and what becomes of what
a dead boot left out. A guest is a script here: what each boot says before it ends."""

import argparse
import importlib.machinery
import importlib.util
import io
import os
import sys
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
            "kernel": "6.1", "memory_mib": 1024, "repetition": 1}


def begin(name):
    return {"begin": name}


def result(name, **bars):
    return {"result": {"id": name, "bars": bars, "measures": {"kills_made": 1}}}


class FakeMachine:
    """Says its script's lines, then has ended, or says nothing any more."""

    def __init__(self, script, hangs=False, panics=False):
        self.script = list(script)
        self.hangs = hangs
        self.panics = panics
        self.paused = 0

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

    def test_another_daemon_has_one_try(self):
        got, planned = run_boots([entry("a", "earlyoom"), entry("b")], [
            FakeMachine([begin("a")]), FakeMachine([begin("b"), result("b"), {"end": True}])])
        self.assertEqual(planned, [["a", "b"], ["b"]])
        self.assertEqual(got["a"]["died"], "gone")
        self.assertFalse(vm_run.summary.missed(got["a"]))

    def test_a_machine_that_never_begins_is_not_tried_for_ever(self):
        got, planned = run_boots([entry("a"), entry("b"), entry("c")],
                                 [FakeMachine([]), FakeMachine([])])
        self.assertEqual(len(planned), 2)
        self.assertEqual([got[x]["died"] for x in "abc"], ["gone"] * 3)

    def test_an_end_that_leaves_entries_out_is_no_success(self):
        got, _ = run_boots([entry("a")], [FakeMachine([{"end": True}]), FakeMachine([{"end": 1}])])
        self.assertEqual(got["a"]["died"], "left out")

    def test_a_pause_is_made_and_not_counted_as_a_hang(self):
        vm = FakeMachine([begin("a"), {"ask": "pause", "seconds": 20}, result("a"), {"end": True}])
        got, _ = run_boots([entry("a")], [vm])
        self.assertEqual(vm.paused, 20)
        self.assertNotIn("died", got["a"])

    def test_a_strange_result_is_not_counted(self):
        got, _ = run_boots([entry("a")], [FakeMachine(
            [begin("a"), result("nonsense"), result("a", lost=False), {"end": True}])])
        self.assertEqual(list(got), ["a"])
        self.assertEqual(vm_run.summary.verdict(got["a"]), "MISSED: lost")


class TestPlan(unittest.TestCase):

    def plan(self, chosen, **wishes):
        arguments = argparse.Namespace(**{
            "kernel": ["6.1"], "subject": ["oomreapd"], "repeat": 1, "conf": [], "memory": None,
            **wishes})
        return vm_run.plan(arguments, chosen)

    def scenario(self, memory=1024, image="base", only=False):
        return SimpleNamespace(memory=memory, image=image, oomreapd_only=only, timeout=30)

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


if __name__ == "__main__":
    unittest.main()

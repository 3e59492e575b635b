"""The bars and the list of scenarios, checked on the host: a bar that cannot be missed proves
nothing, and a scenario that cannot be listed is never run."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest"))

import verdict              # pylint: disable=wrong-import-position
from registry import Scenario, scenario  # pylint: disable=wrong-import-position
from scenarios import SCENARIOS  # pylint: disable=wrong-import-position

GOOD = {"kills_made": 1, "kernel_oom_kills": 0, "trigger_to_back_ms": 120.0, "traced": True,
        "trace_lost": 0, "log_lost": 0, "samples_full": False, "kills_not_released": 0,
        "kills_untold": 0, "kills_unseen": 0, "memcg_kills_unmeant": []}


def judged(scene=None, measures=None, **seen):
    """The bars of a good run of a scenario with one kill, but for what is given."""
    told = {"subject": "oomreapd", "need": 1, "measures": {**GOOD, **(measures or {})},
            "lost": [], "expected": {}, "same": True, "available_mib": 500, "line_mib": 25}
    return verdict.bars(Scenario("x", None, **(scene or {"need": 1})), {**told, **seen})


def missed(bars):
    return [name for name, met in bars.items() if not met]


class Bars(unittest.TestCase):
    """Each is met by a good run, and missed by the one fault it stands for."""

    def test_good(self):
        bars = judged()
        self.assertEqual(missed(bars), [])
        self.assertEqual(len(bars), 10)

    def test_each_fault_misses_its_bar(self):
        faults = (
            ("no_innocent_lost", {"lost": ["innocent-4"]}),
            ("survived", {"same": False}),
            ("no_kernel_oom_kill", {"measures": {"kernel_oom_kills": 1}}),
            ("no_needless_kill", {"measures": {"kills_made": 2}}),
            ("killed_enough", {"measures": {"kills_made": 0}}),
            ("recovered", {"available_mib": 20}),
            ("recovery_under_1s", {"measures": {"trigger_to_back_ms": 1000.0}}),
            ("recovery_under_1s", {"measures": {"kills_untold": 1}}),
            ("recovery_under_1s", {"measures": {"kills_unseen": 1}}),
            ("all_released", {"measures": {"kills_not_released": 1}}),
            ("all_released", {"measures": {"kills_not_released": None}}),
            ("no_memcg_kill", {"measures": {"memcg_kills_unmeant": ["innocent-4"]}}),
            ("measured", {"measures": {"traced": False}}),
            ("measured", {"measures": {"trace_lost": 1}}),
            ("measured", {"measures": {"log_lost": 1}}),
            ("measured", {"measures": {"samples_full": True}}),
            ("expected: x", {"expected": {"x": False}}),
        )
        for name, fault in faults:
            with self.subTest(name, fault=fault):
                self.assertEqual(missed(judged(**fault)), [name])

    def test_never_back_is_missed_only_by_the_daemon_under_test(self):
        never = {"trigger_to_back_ms": None}
        self.assertEqual(missed(judged(measures=never)), ["recovery_under_1s"])
        self.assertEqual(missed(judged(measures=never, subject="earlyoom")), [])

    def test_a_stuck_victim_may_keep_its_memory(self):
        stuck = {"kills_not_released": 1}
        self.assertEqual(missed(judged(measures=stuck)), ["all_released"])
        self.assertEqual(missed(judged({"need": 1, "unreleased_ok": True}, stuck)), [])
        self.assertEqual(missed(judged(measures=stuck, subject="nohang")), [])

    def test_nobody_may_die(self):
        bars = judged({"nobody": True}, {"kills_made": 1, "trigger_to_back_ms": None}, need=0)
        self.assertEqual(missed(bars), ["no_needless_kill"])
        self.assertNotIn("recovered", bars)

    def test_the_kernels_kills_may_be_in_order(self):
        two = {"kernel_oom_kills": 2}
        self.assertEqual(missed(judged({"need": 1, "kernel_kills": 2}, two)), [])
        self.assertEqual(missed(judged({"need": 1, "kernel_kills": None}, two)), [])

    def test_unmeasured_is_missed(self):
        bare = judged(measures={"kills_made": None, "kernel_oom_kills": None})
        self.assertEqual(missed(bare), ["no_kernel_oom_kill", "kills_counted"])

    def test_a_run_that_left_no_trace_proves_nothing(self):
        bars = verdict.bars(Scenario("x", None, nobody=True), {
            "subject": "oomreapd", "need": 0, "measures": {"kills_made": 0}, "lost": [],
            "expected": {}, "same": True, "available_mib": 500, "line_mib": 25})
        self.assertIn("measured", missed(bars))


class List(unittest.TestCase):
    """What the host reads before it boots anything."""

    def test_every_scenario_is_in_the_whole_set(self):
        for s in SCENARIOS.values():
            with self.subTest(s.name):
                self.assertIn("all", s.sets)
                self.assertTrue(s.run.__doc__, "says what it is for")
                self.assertLessEqual(set(s.sets), {"short", "all", "compare"})
                self.assertFalse(s.oomreapd_only and "compare" in s.sets)

    def test_a_slip_is_refused(self):
        with self.assertRaises(TypeError):
            Scenario("x", None, neeed=1)
        with self.assertRaises(ValueError):
            scenario("steady-leak")(None)


if __name__ == "__main__":
    unittest.main()

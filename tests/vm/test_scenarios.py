"""What scenarios judge with, checked on the host without a machine: an expectation that cannot
be missed, or a scenario that steps aside when its server is not there, proves nothing."""

import os
import sys
import unittest
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest"))

import helpers              # pylint: disable=wrong-import-position
import scenarios_hard       # pylint: disable=wrong-import-position
import scenarios_leaks      # pylint: disable=wrong-import-position
from registry import PAST_DEADLINE_S, Skip  # pylint: disable=wrong-import-position
from scenarios import SCENARIOS, in_set     # pylint: disable=wrong-import-position
from system import KernelLog, System        # pylint: disable=wrong-import-position
from world import CGROUPS, World            # pylint: disable=wrong-import-position

MEMCG = ("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
         "oom_memcg={0},task_memcg={0},task=vm_load,pid=612,uid=0")
GLOBAL = ("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,"
          "global_oom,task_memcg=/system.slice/a,task=vm_load,pid=613,uid=0")


def bare_world(**known):
    """A World that has only what is given: its making needs a guest."""
    world = World.__new__(World)
    world.__dict__.update(total_mib=1000, items=[], notes=[], expected={}, forgiven=[], **known)
    return world


class Sets(unittest.TestCase):
    """Which scenarios there are, and what is expected in them."""

    def test_families_are_run_and_compared(self):
        for name in ("family-leak", "family-small-leak", "fork-bomb", "guest-512", "user-leak"):
            self.assertEqual(set(SCENARIOS[name].sets), {"all", "compare"}, name)

    def test_short_is_of_the_base_image(self):
        self.assertEqual({s.image for s in in_set("short")}, {"base"})

    def test_stuck_victims_are_watched_past_their_deadline(self):
        for name in ("stuck-leak", "mmap-lock-stuck", "coredump-hog"):
            self.assertEqual(SCENARIOS[name].calm_s, PAST_DEADLINE_S, name)

    def test_only_a_held_lock_excuses_memory_that_stays(self):
        excused = [s.name for s in SCENARIOS.values() if s.unreleased_ok]
        self.assertEqual(excused, ["mmap-lock-stuck"])

    def test_a_missing_server_is_an_error(self):
        world = mock.MagicMock(total_mib=1000)
        for scene in SCENARIOS.values():
            if scene.image != "full":
                continue
            with self.subTest(scene.name), mock.patch("shutil.which", return_value=None), \
                    mock.patch("glob.glob", return_value=[]):
                with self.assertRaises(RuntimeError) as raised:
                    scene.run(world)
                self.assertNotIsInstance(raised.exception, Skip)


class Innocents(unittest.TestCase):
    """Those that a daemon must leave alone."""

    def test_one_small_one_is_offered_to_the_kernel(self):
        world, made = bare_world(), []
        world.load = lambda kind, *args, **how: made.append(how)
        world.innocents()
        self.assertEqual([how["adj"] for how in made], [0, 300, 0, 0, 0])


class Forgiven(unittest.TestCase):
    """Kills of the kernel for a cgroup's limit."""

    def world(self, *lines):
        log = KernelLog.__new__(KernelLog)
        log.update = lambda: list(lines)
        return bare_world(kernel_log=log)

    def test_only_the_forgiven_item(self):
        box, other = "/system.slice/load.service/box", "/system.slice/load.service/box-2"
        world = self.world(GLOBAL, MEMCG.format(box), MEMCG.format(other),
                           MEMCG.format(box + "/inner"))
        self.assertEqual(world.unforgiven(), [box, other, box + "/inner"])
        world.forgive_memcg(SimpleNamespace(cgroup=CGROUPS + box))
        self.assertEqual(world.unforgiven(), [other])
        self.assertTrue(world.forgives(SimpleNamespace(cgroup=CGROUPS + box, name="other")))
        self.assertFalse(world.forgives(SimpleNamespace(cgroup=CGROUPS + other, name="box")))


class Frozen(unittest.TestCase):
    """The emulator's stop is asked for, and believed only when the clock has jumped."""

    def ask(self, looks):
        world, sent = System(), []
        world.send = sent.append
        world.until = lambda fn, *_: any(fn() for _ in range(len(looks) - 1))
        with mock.patch("time.monotonic", side_effect=looks):
            jumped = world.ask_freeze(20)
        self.assertEqual(sent, [{"ask": "freeze", "seconds": 20}])
        return jumped

    def test_a_jump_is_seen(self):
        self.assertTrue(self.ask([0, 0.1, 20.3]))

    def test_time_that_passes_is_no_jump(self):
        self.assertFalse(self.ask([0, 5, 10, 15, 20, 25]))


class Hogs(unittest.TestCase):
    """How many must die is known before anybody does."""

    def test_too_many(self):
        self.assertEqual(scenarios_leaks.hogs_too_many(24, 10, 200, 20), 6)
        self.assertEqual(scenarios_leaks.hogs_too_many(24, 10, 201, 20), 6)
        self.assertEqual(scenarios_leaks.hogs_too_many(24, 10, 400, 20), 0)

    def test_to_spare(self):
        """The last death was needed where one more would be below the line."""
        self.assertEqual(scenarios_leaks.hogs_to_spare(40, 20, 24), 0)
        self.assertEqual(scenarios_leaks.hogs_to_spare(40, 75, 24), 0)
        self.assertEqual(scenarios_leaks.hogs_to_spare(40, 77, 24), 1)
        self.assertEqual(scenarios_leaks.hogs_to_spare(40, 117, 24), 2)

    def test_the_steepest_fall(self):
        samples = [(n / 100, 1000 - (0 if n < 50 else 6 * (n - 50))) for n in range(100)]
        self.assertAlmostEqual(scenarios_leaks.steepest_fall(samples), 600, delta=10)


class SecondVictim(unittest.TestCase):
    """How long the second one was waited for."""

    def waits(self, available, hit=True, dies_after=99):
        """Looks 100 ms apart at these figures."""
        looks, now = iter(range(1000)), [0.0]
        world = SimpleNamespace(kill_line_mib=25)
        world.sleep = lambda _: now.__setitem__(0, now[0] + 0.1)
        second = SimpleNamespace(alive=lambda: next(looks) < dies_after)
        with mock.patch.object(scenarios_hard, "killed", return_value=hit), \
                mock.patch.object(scenarios_hard, "available_mib", side_effect=available), \
                mock.patch("time.monotonic", side_effect=lambda: now[0]):
            return round(scenarios_hard.second_waits(world, SimpleNamespace(pid=1), second, 3), 3)

    def test_from_the_line(self):
        self.assertEqual(self.waits([40, 30, 20, 10, 5, 12, 40]), 400)

    def test_not_before_the_first_is_hit(self):
        self.assertEqual(self.waits([20, 10, 5, 40, 40], hit=False, dies_after=4), 0)

    def test_above_the_line(self):
        self.assertEqual(self.waits([40] * 5, dies_after=4), 0)

    def test_never(self):
        self.assertEqual(self.waits([20] * 50), float("inf"))


class AtWork(unittest.TestCase):
    """The probe's view of a machine that thrashes."""

    def probe(self, steps, passed):
        probe = helpers.Probe.__new__(helpers.Probe)
        probe.calm_s, probe.began, probe.seen = 0.1, 0, 2
        probe.item = SimpleNamespace(output=lambda: "".join(f"{s}\n" for s in [9, 9, *steps]))
        with mock.patch("time.monotonic", return_value=passed):
            return round(probe.still_s(), 3), round(probe.slower(), 2)

    def test_calm(self):
        self.assertEqual(self.probe([0.1] * 10, 3.0), (0, 1.0))

    def test_slow_steps_and_the_one_under_way(self):
        self.assertEqual(self.probe([0.1, 4.0, 0.9], 12.6), (11.0, 40.0))


if __name__ == "__main__":
    unittest.main()

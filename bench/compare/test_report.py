#!/usr/bin/env python3
"""What the pages may say: medians, noise, who is better, which bar was missed. No guest needed."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "tests", "vm", "guest")]
sys.dont_write_bytecode = True

import chart
import pages
import report
import results
import subjects


def entry(subject, back=20.0, run=1, scenario="leak", kernel="6.1", **more):
    """One result of a scenario in which one hog had to die, and did."""
    measures = {"kills_made": 1, "kernel_oom_kills": 0, "signal_to_back_ms": back,
                "worst_stall_ms": 100.0, "daemon_rss_kib": 4000}
    measures.update(more.pop("measures", {}))
    made = {"id": f"{kernel}/{scenario}/{subject}/{run}", "scenario": scenario, "subject": subject,
            "kernel": kernel, "memory_mib": 1024, "measures": measures, "bars": {"one kill": True},
            "notes": [], "need": 1, "items": [
                {"name": "hog", "role": "hog", "alive": False, "signal": 9},
                {"name": "small", "role": "innocent", "alive": True, "signal": None}]}
    made.update(more)
    return made


def groups_of(*entries):
    made = [results.Result(one) for one in results.settled(entries)]
    return results.grouped(made, "kernel", "scenario", "subject")


def three(subject, *backs, **more):
    return [entry(subject, back, run, **more) for run, back in enumerate(backs, 1)]


class Counting(unittest.TestCase):

    def test_a_dead_innocent_is_lost_and_a_dead_hog_is_not(self):
        one = entry("x")
        one["items"][1]["alive"] = False
        self.assertEqual(results.Result(one).measures["innocents_lost"], 1)
        self.assertEqual(results.Result(entry("x")).measures["innocents_lost"], 0)

    def test_what_must_never_die_counts_as_an_innocent(self):
        one = entry("x")
        one["items"][0]["role"] = "never"
        self.assertEqual(results.Result(one).measures["innocents_lost"], 1)

    def test_noise_and_either_may_die(self):
        for role in ("noise", "either"):
            one = entry("x")
            one["items"][0]["role"] = role
            self.assertEqual(results.Result(one).measures["innocents_lost"], 0)

    def test_whom_the_scenario_ended_or_who_lost_a_child_the_bar_knows(self):
        ended = entry("x", bars={"no_innocent_lost": True})
        ended["items"][1]["alive"] = False
        self.assertEqual(results.Result(ended).measures["innocents_lost"], 0)
        child = entry("x", bars={"no_innocent_lost": False}, notes=["lost: small, dbus.service"])
        self.assertEqual(results.Result(child).measures["innocents_lost"], 2)

    def test_a_kernel_goes_by_its_short_name_also_where_the_guest_died(self):
        died = {"id": "6.1/leak/oomreapd/1", "kernel": "6.1", "died": "hung"}
        lived = entry("oomreapd", run=2)
        lived["kernel"] = "6.1.0-41-amd64"
        self.assertEqual(list(groups_of(died, lived)), [("6.1", "leak", "oomreapd")])

    def test_a_runner_that_failed_is_no_result(self):
        group = groups_of(entry("oomreapd", error="OSError: x", bars={"ran": False}))
        self.assertEqual(group["6.1", "leak", "oomreapd"].results, [])
        self.assertEqual(list(group["6.1", "leak", "oomreapd"].missed), ["no result: OSError: x"])

    def test_kills_beyond_the_need_are_needless(self):
        one = results.Result(entry("x", measures={"kills_made": 3}))
        self.assertEqual(one.measures["needless_kills"], 2)

    def test_the_guests_own_count_stands(self):
        one = results.Result(entry("x", measures={"kills_made": 3, "needless_kills": 0}))
        self.assertEqual(one.measures["needless_kills"], 0)

    def test_a_guest_that_died_once_and_then_lived_counts_once(self):
        died = {"id": "6.1/leak/oomreapd/1", "died": "hung"}
        kept = results.settled([died, entry("oomreapd")])
        self.assertEqual([one.get("died") for one in kept], [None])

    def test_a_guest_that_died_twice_is_one_missed_bar(self):
        died = {"id": "6.1/leak/oomreapd/1", "died": "panic"}
        group = groups_of(died, dict(died))["6.1", "leak", "oomreapd"]
        self.assertEqual(group.missed, {"no result: panic": 1})
        self.assertFalse(group.clean)


class Medians(unittest.TestCase):

    def test_median_and_spread(self):
        series = results.Series([30, 10, 90])
        self.assertEqual((series.median, series.spread), (30, 80))

    def test_what_was_not_measured_is_left_out_but_told(self):
        series = results.Series([None, 10, 20])
        self.assertEqual((series.median, series.runs), (15, 3))
        self.assertIn("in 2 of 3", pages.ranged(series, chart.duration))

    def test_nothing_measured(self):
        self.assertIsNone(results.Series([None]).median)
        self.assertEqual(pages.ranged(results.Series([None]), chart.duration), "–")


class Better(unittest.TestCase):

    def found(self, *entries):
        return [(one["subject"], one["measure"]) for one in results.better(groups_of(*entries))]

    def test_a_difference_beyond_the_noise_is_told(self):
        found = self.found(*three("oomreapd", 100, 102, 104), *three("earlyoom", 50, 52, 54))
        self.assertEqual(found, [("earlyoom", "signal_to_back_ms")])

    def test_a_difference_within_either_spread_is_not(self):
        self.assertEqual(self.found(*three("oomreapd", 100, 102, 160),
                                    *three("earlyoom", 50, 52, 54)), [])
        self.assertEqual(self.found(*three("oomreapd", 100, 102, 104),
                                    *three("earlyoom", 10, 52, 104)), [])

    def test_a_difference_that_the_meter_cannot_tell_is_not(self):
        self.assertEqual(self.found(*three("oomreapd", 20, 20, 20), *three("none", 12, 12, 12)), [])

    def test_being_better_ourselves_is_not_told(self):
        self.assertEqual(self.found(*three("oomreapd", 10, 10, 10), *three("none", 90, 90, 90)), [])

    def test_every_needless_kill_counts(self):
        needless = entry("oomreapd", run=3, measures={"kills_made": 2})
        found = self.found(*three("oomreapd", 20, 20), needless, *three("nohang", 20, 20, 20))
        self.assertEqual(found, [("nohang", "needless_kills")])

    def test_no_daemon_is_not_praised_for_costing_nothing(self):
        self.assertEqual(self.found(*three("oomreapd", 20, 20, 20),
                                    *three("none", 20, 20, 20, measures={"daemon_rss_kib": 0})), [])

    def test_another_kernel_is_another_matter(self):
        self.assertEqual(self.found(*three("oomreapd", 90, 90, 90),
                                    *three("none", 9, 9, 9, kernel="6.12")), [])


class Pages(unittest.TestCase):

    def write(self, *words, entries):
        """report.py as it is called; returns (stdout, {file name: text})."""
        with tempfile.TemporaryDirectory() as place:
            source = os.path.join(place, "in.json")
            with open(source, "w", encoding="utf-8") as file:
                json.dump({"results": entries, "qemu": "10.0", "commit": "c0ffee"}, file)
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                self.assertEqual(report.main([*words, "--docs", place, source]), 0)
            texts = {}
            for name in os.listdir(place):
                with open(os.path.join(place, name), encoding="utf-8") as file:
                    texts[name] = file.read()
            return said.getvalue(), texts

    def test_the_page_says_who_is_better_and_at_what_price(self):
        kernel_killed = {"kernel_oom_kills": 1}
        _, texts = self.write(entries=three("oomreapd", 100, 100, 100) + three("nohang", 50, 50, 50)
                              + three("none", 9, 9, 9, measures=kernel_killed))
        page = texts["vm-comparison.md"]
        self.assertIn("**leak**, signal to memory back: none 9.0 ms (kernel OOM kills: 3); "
                      "nohang 50 ms; oomreapd 100 ms", page)
        bars = page.partition("## Bars missed")[2].partition("## Scenario by")[0]
        self.assertIn("signal to memory back 100 ms, nohang 50 ms", bars)
        self.assertNotIn("none", bars)
        self.assertIn("c0ffee", page)
        self.assertIn("QEMU 10.0", page)

    def test_no_missed_bar_is_said_too(self):
        _, texts = self.write(entries=three("oomreapd", 10, 10, 10) + three("none", 50, 50, 50))
        self.assertIn("- none", texts["vm-comparison.md"].partition("## Bars missed")[2])

    def test_a_missed_bar_of_the_scenario_is_on_both_pages(self):
        entries = three("oomreapd", 20, 20, bars={"one kill": False, "calm": True})
        for words, name in (((), "vm-comparison.md"), (("--matrix",), "vm-matrix.md")):
            _, texts = self.write(*words, entries=entries)
            self.assertIn("one kill (2 of 2 runs)", texts[name])
            self.assertNotIn("calm (", texts[name])

    def test_the_matrix_has_a_column_for_each_kernel_and_only_ours(self):
        _, texts = self.write("--matrix", entries=[
            entry("oomreapd"), entry("oomreapd", kernel="6.12", bars={"stall": False}),
            entry("earlyoom", kernel="7.0"), {"id": "6.1/tmpfs/oomreapd/1", "skipped": "no room"}])
        page = texts["vm-matrix.md"]
        self.assertIn("|  | 6.1 | 6.12 |", page)
        self.assertRegex(page, r"\| leak \| ok<br>.* \| \*\*missed\*\*: stall<br>.* \|")
        self.assertIn("| tmpfs | skipped |  |", page)

    def test_every_row_of_every_table_is_as_wide_as_its_head(self):
        entries = three("oomreapd", 20, None) + three("none", 9, 9, bars={"survived": False})
        entries += [{"id": "6.1/leak/oomd/1", "died": "hung"},
                    {"id": "6.1/leak/nohang/1", "skipped": "not in this image"}]
        said, texts = self.write("--tuning", entries=entries)
        texts["tuning"] = said
        for words in ((), ("--matrix",)):
            texts.update(self.write(*words, entries=entries)[1])
        for name in ("vm-comparison.md", "vm-matrix.md", "tuning"):
            width = None
            for line in texts[name].splitlines():
                bars = line.count("|") or None
                self.assertIn(width, (None, bars) if bars else (width,), f"{name}: {line}")
                width = bars

    def test_together_only_scenarios_are_compared_in_which_both_have_a_time(self):
        entries = [entry("oomreapd", 10), entry("nohang", 30),
                   entry("oomreapd", 10, scenario="tmpfs"), entry("nohang", None, scenario="tmpfs"),
                   entry("oomreapd", None, scenario="calm"), entry("nohang", 9, scenario="calm"),
                   {"id": "6.1/gone/nohang/1", "died": "hung"}]
        _, texts = self.write(entries=entries)
        row = next(line for line in texts["vm-comparison.md"].splitlines()
                   if line.startswith("| nohang | 4 |"))
        self.assertIn("| 1 | × 3 (1) | × 1 (3) | 100 ms | 3 of 4 |", row)

    def test_tuning_sets_variants_beside_each_other_and_the_comparison_leaves_them_out(self):
        tried = [entry("oomreapd", 77, conf=["Pressure.KillLine=4%"],
                       measures={"available_at_signal_mib": 40})]
        said, _ = self.write("--tuning", entries=three("oomreapd", 20, 20) + tried)
        self.assertIn("| defaults | 2 | 1 |", said)
        self.assertRegex(said, r"\| Pressure.KillLine=4% \| 1 \| .* 40 MiB ")
        _, texts = self.write(entries=three("oomreapd", 20, 20) + tried)
        self.assertNotIn("77", texts["vm-comparison.json"])

    def test_the_json_keeps_every_repetition(self):
        _, texts = self.write(entries=three("oomreapd", 11, 22, 44) + three("none", 9, 9, 9))
        group = json.loads(texts["vm-comparison.json"])["groups"][0]
        self.assertEqual(group["median"]["signal_to_back_ms"], 22)
        self.assertEqual([one["signal_to_back_ms"] for one in group["repetitions"]], [11, 22, 44])

    def test_the_picture_is_xml_and_shows_every_subject_and_what_went_wrong(self):
        lost = entry("nohang", scenario="<a&b>", measures={"recovered": False})
        lost["items"][1]["alive"] = False
        _, texts = self.write(entries=three("oomreapd", 20, 30, 40, scenario="<a&b>") + [lost])
        tree = ElementTree.fromstring(texts["vm-comparison.svg"])
        words = [node.text for node in tree.iter() if node.tag.endswith("}text")]
        for expected in ("<a&b>", "oomreapd", "nohang", "30 ms",
                         "1 innocent lost · 1 × never back"):
            self.assertIn(expected, words)

    def test_a_scale_is_logarithmic_and_ends_at_its_edges(self):
        self.assertEqual([chart.position(value, 100, 500) for value in (0, 1, 10, 1e5, 1e9)],
                         [100, 100, 200, 600, 600])


class Subjects(unittest.TestCase):

    def test_settings_become_a_file(self):
        self.assertEqual(subjects.conf_text(["Pressure.Stall=30%", "Rule a.b.Comm=x=y",
                                             "Pressure.KillLine=4%"]),
                         "[Pressure]\nStall=30%\nKillLine=4%\n\n[Rule a.b]\nComm=x=y\n")
        for bad in ("KillLine=4%", "Pressure.KillLine", ".KillLine=4%"):
            self.assertRaises(ValueError, subjects.conf_text, [bad])

    def test_an_unknown_rule_file_of_oomd_is_refused_rather_than_half_moved(self):
        self.assertRaises(subjects.SubjectFailed, subjects.meta_rules, '{"rulesets": []}')

    def test_every_subject_of_the_comparison_is_known_to_the_guest(self):
        self.assertEqual(sorted(results.ORDER), sorted(subjects.NAMES))
        self.assertEqual(sorted(chart.COLOURS), sorted(subjects.NAMES))


if __name__ == "__main__":
    unittest.main()

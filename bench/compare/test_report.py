#!/usr/bin/env python3
"""What the pages may say: medians, noise, who is better, which bar was missed. No guest needed."""

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "tests", "vm", "guest")]
sys.dont_write_bytecode = True

import chart
import layout
import pages
import report
import results
import subjects
import variants


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


    def test_memory_that_a_scenario_fills_for_good_did_come_back(self):
        full = entry("x", measures={"recovered": False})
        self.assertEqual(results.Result(full).measures["never_back"], 0)
        full["bars"] = {"recovered": False}
        self.assertEqual(results.Result(full).measures["never_back"], 1)

    def test_a_missed_bar_of_the_scenario_is_a_flaw(self):
        group = groups_of(entry("x", bars={"expected: it says why": False}))["6.1", "leak", "x"]
        self.assertFalse(group.clean)
        self.assertEqual(group.price, "missed: it says why")

    def test_a_scenario_that_did_not_run_is_no_result(self):
        group = groups_of(entry("x", bars={"ran": False}, notes=["no such file"]))
        self.assertEqual(list(group["6.1", "leak", "x"].missed), ["no result: no such file"])

    def test_an_inconclusive_run_keeps_its_counts_and_loses_its_times(self):
        spoilt = entry("x", 900, run=2, inconclusive=True, bars={"recovery_under_1s": False},
                       measures={"kills_made": 2, "daemon_cpu_ms": 5})
        group = groups_of(entry("x", 20), spoilt)["6.1", "leak", "x"]
        self.assertEqual(group.series("back_ms").values, [20])
        self.assertEqual(group.series("kills_made").values, [1, 2])
        self.assertEqual(group.series("daemon_cpu_ms").values, [5])
        self.assertEqual((group.inconclusive, group.missed), (1, {}))

    def test_files_that_do_not_say_are_inconclusive_by_the_gap_in_the_time(self):
        for gap, verdict in ((None, False), (20, False), (540, True)):
            one = results.Result(entry("x", measures={"signal_to_back_gap_ms": gap}))
            self.assertEqual(one.inconclusive, verdict)
        told = entry("x", measures={"signal_to_back_gap_ms": 540, "spoilt_gap_ms": 540})
        self.assertFalse(results.Result(told).inconclusive)     # it was the scenario's own wish
        told = entry("x", inconclusive=False, measures={"signal_to_back_gap_ms": 540})
        self.assertFalse(results.Result(told).inconclusive)

    def test_the_stall_is_told_without_gaps_only_where_these_are_large(self):
        for gaps, stall in ((20, 100), (400, 30)):
            one = results.Result(entry("x", measures={"sampler_gaps_ms": gaps,
                                                      "worst_stall_net_ms": 30}))
            self.assertEqual(one.measures["stall_ms"], stall)

    def test_a_death_before_the_try_that_lived_is_remembered(self):
        kept = results.settled([{"id": "6.1/leak/x/1", "died": "hung"}, entry("x")])
        self.assertEqual(results.Result(kept[0]).earlier_deaths, ["hung"])
        told = results.settled([entry("x", earlier_deaths=["panic"])])
        self.assertEqual(results.Result(told[0]).earlier_deaths, ["panic"])


    def test_what_a_spoilt_first_try_missed_is_missed(self):
        one = results.Result(entry("oomreapd", earlier_missed=["no_innocent_lost"]))
        self.assertEqual(one.missed, ["no_innocent_lost in a spoilt first try"])
        self.assertEqual(one.measures["innocents_lost"], 1)

    def test_to_be_skipped_is_to_miss_for_ours_alone(self):
        skipped = {"skipped": "not installed"}
        for who, missed in (("oomreapd", ["skipped: not installed"]), ("nohang", [])):
            one = results.Result({"id": f"6.1/leak/{who}/1", **skipped})
            self.assertEqual(one.missed, missed)

    def test_of_several_kills_the_worst_counts_for_everybody(self):
        one = results.Result(entry("nohang", 50, measures={"signal_to_back_worst_ms": 80}))
        self.assertEqual(one.measures["back_ms"], 80)


class Origin(unittest.TestCase):
    """Several files as one: their kernels together, their binaries never mixed."""

    def load(self, *files, mixed=False):
        with tempfile.TemporaryDirectory() as place:
            paths = []
            for number, about in enumerate(files):
                paths.append(os.path.join(place, f"{number}.json"))
                with open(paths[-1], "w", encoding="utf-8") as file:
                    json.dump({"results": [entry("oomreapd")], **about}, file)
            return results.load(paths, mixed)

    def test_different_binaries_are_refused_unless_asked_for(self):
        files = {"binary": "a" * 64}, {"binary": "b" * 64}
        self.assertRaises(results.Mixed, self.load, *files)
        _, about = self.load(*files, mixed=True)
        self.assertIn("a" * 16 + "`, `" + "b" * 16, pages.ways([], about, "x"))

    def test_how_fast_the_machine_itself_was_is_told(self):
        made = [results.Result(entry("x", run=run, ends_mib_per_s=rate))
                for run, rate in enumerate((500, None, 1900, 700))]
        self.assertIn("back at 500 … 1900 MiB/s", pages.ways(made, {}, "x"))
        self.assertIn("back at 700 MiB/s", pages.ways(made[3:], {}, "x"))
        self.assertNotIn("MiB/s", pages.ways(made[1:2], {}, "x"))

    def test_one_binary_of_two_commits_is_one(self):
        _, about = self.load({"binary": "a", "commit": "1", "kernels": {"6.1": "6.1.0-50"}},
                             {"binary": "a", "commit": "2", "kernels": {"6.12": "6.12.3"}})
        self.assertEqual(about, {"binary": "a", "commit": "1, 2",
                                 "kernels": {"6.1": "6.1.0-50", "6.12": "6.12.3"}})

    def test_files_that_do_not_name_their_binary_are_taken_and_told(self):
        _, about = self.load({}, {"binary": "a"})
        self.assertEqual(about["binary_unknown"], "1 of 2")

    def test_the_command_of_the_page_is_not_overwritten_by_the_files(self):
        made = pages.condensed([], {"command": "theirs", "commit": "x"}, "ours")
        self.assertEqual(made["command"], "ours")


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
        self.assertEqual(found, [("earlyoom", "back_ms")])

    def test_our_own_spread_is_no_excuse_but_the_others_is_noise(self):
        self.assertEqual(self.found(*three("oomreapd", 7, 400, 907),
                                    *three("earlyoom", 90, 100, 110)), [("earlyoom", "back_ms")])
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

    def test_ours_counts_from_the_trigger_and_never_less_than_the_meter_saw(self):
        told = {"trigger_to_back_ms": 90, "trigger_to_signal_ms": 20}
        self.assertEqual([results.Result(entry(who, back, measures=told)).measures["back_ms"]
                          for who, back in (("oomreapd", 50), ("oomreapd", 200), ("oomreapd", None),
                                            ("nohang", 50))], [90, 220, 90, 50])

    def beaten(self, *entries):
        return [(one["subject"], one["measure"], one["theirs"])
                for one in results.beaten(groups_of(*entries))]

    def test_one_repetition_that_was_bought_does_not_excuse_the_others(self):
        bought = entry("nohang", 5, run=3, measures={"kills_made": 2})
        self.assertEqual(self.beaten(*three("oomreapd", 100, 100, 100), *three("nohang", 50, 52),
                                     bought), [("nohang", "back_ms", 51)])
        self.assertEqual(self.beaten(*three("oomreapd", 100, 100, 100), bought), [])

    def test_the_bar_is_the_best_of_the_others(self):
        self.assertEqual(self.beaten(*three("oomreapd", 100, 100, 100), *three("oomd", 60, 60, 60),
                                     *three("nohang", 50, 50, 50)), [("nohang", "back_ms", 50)])


class Pages(unittest.TestCase):

    def write(self, *words, entries, status=None):
        """report.py as it is called; returns (stdout, {file name: text}). Prose is unfolded."""
        with tempfile.TemporaryDirectory() as place:
            source = os.path.join(place, "in.json")
            with open(source, "w", encoding="utf-8") as file:
                json.dump({"results": entries, "qemu": "10.0", "commit": "c0ffee"}, file)
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                code = report.main([*words, "--docs", place, source])
            self.assertIn(code, (0, 1) if status is None else (status,))
            texts = {}
            for name in os.listdir(place):
                with open(os.path.join(place, name), encoding="utf-8") as file:
                    texts[name] = re.sub(r"(?m)(?<=[^\n|])\n +(?=\S)", " ", file.read())
            return said.getvalue(), texts

    def test_the_page_says_who_is_better_and_at_what_price(self):
        kernel_killed = {"kernel_oom_kills": 1}
        _, texts = self.write(entries=three("oomreapd", 100, 100, 100) + three("nohang", 50, 50, 50)
                              + three("none", 9, 9, 9, measures=kernel_killed))
        page = texts["vm-comparison.md"]
        self.assertIn("**leak**, time to memory back: none 9.0 ms (kernel OOM kills: 3); "
                      "nohang 50 ms; oomreapd 100 ms", page)
        bars = page.partition("## Bars missed")[2].partition("## All")[0]
        # The kernel's kills are told; they do not take its time out of the comparison.
        self.assertIn("time to memory back 100 ms, none 9.0 ms (noise 10 ms; kernel OOM kills "
                      "with it: 3)", bars)
        self.assertIn("c0ffee", page)
        self.assertIn("QEMU 10.0", page)

    def test_no_missed_bar_is_said_too(self):
        _, texts = self.write(entries=three("oomreapd", 10, 10, 10) + three("none", 50, 50, 50))
        self.assertIn("- none", texts["vm-comparison.md"].partition("## Bars missed")[2])

    def test_a_missed_bar_of_the_scenario_is_on_both_pages(self):
        entries = three("oomreapd", 20, 20, bars={"one kill": False, "calm": True})
        for words, name, code in (((), "vm-comparison.md", 1),
                                  (("--matrix",), "vm-matrix.md", 0)):
            _, texts = self.write(*words, entries=entries, status=code)
            self.assertIn("one kill (2 of 2 runs)", texts[name])
            self.assertNotIn("calm (", texts[name])

    def test_the_matrix_has_a_column_for_each_kernel_and_only_ours(self):
        _, texts = self.write("--matrix", entries=[
            entry("oomreapd"), entry("oomreapd", kernel="6.12", bars={"stall": False}),
            entry("earlyoom", kernel="7.0"), {"id": "6.1/tmpfs/oomreapd/1", "skipped": "no room"}])
        page = texts["vm-matrix.md"]
        self.assertIn("|  | 6.1 | 6.12 |", page)
        self.assertIn("| leak | ok | **missed**: stall | 1 / – |", page)
        self.assertIn("| tmpfs | **skipped** |  |", page)
        self.assertNotIn("7.0", page)

    def test_the_matrix_tells_kernels_apart_only_where_they_differ(self):
        _, texts = self.write("--matrix", entries=[
            entry("oomreapd", measures={"trigger_to_back_ms": 30, "processes_signalled": 4}),
            entry("oomreapd", kernel="6.12",
                  measures={"trigger_to_back_ms": 70, "processes_signalled": 4})])
        self.assertIn("| ok | ok | 1 / 4 | 0 | 0 | – | 30 ms<br>70 ms | – |", texts["vm-matrix.md"])

    def test_the_matrix_has_who_runs_with_settings_of_its_own_and_no_variants(self):
        known = results.known_scenarios()
        own = list(known["reclaim"].conf)
        self.assertTrue(own)
        _, texts = self.write("--matrix", entries=[
            entry("oomreapd", scenario="reclaim", conf=own),
            entry("oomreapd", scenario="steady-leak", conf=own)])
        self.assertIn("| reclaim | ok |", texts["vm-matrix.md"])
        self.assertNotIn("| steady-leak |", texts["vm-matrix.md"])

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
        self.assertIn("| defaults | 2 | 1 / – |", said)
        self.assertRegex(said, r"\| KillLine 4% \| 1 \| .* 40 MiB ")
        _, texts = self.write(entries=three("oomreapd", 20, 20) + tried)
        self.assertNotIn("77", texts["vm-comparison.json"])

    def test_variants_are_in_the_order_of_their_values(self):
        confs = [["K.Line=10%", "K.Min=96M"], ["K.Line=2.5%"], ["K.Line=auto"],
                 ["K.Line=5%", "K.Min=48M"], []]
        self.assertEqual([variants.label(conf, {"K.Line": "2.5%"})
                          for conf in sorted(confs, key=variants.in_turn)],
                         ["defaults", "Line 2.5% (default)", "Line 5%, Min 48M",
                          "Line 10%, Min 96M", "Line auto"])
        self.assertLess(variants.size("50ms"), variants.size("0.1s"))

    def test_the_page_opens_with_what_speaks_for_and_against(self):
        lost = entry("nohang", 50, scenario="steady-leak", bars={"no_innocent_lost": False})
        _, texts = self.write(entries=[entry("oomreapd", 100, scenario="steady-leak"), lost,
                                       entry("none", 60, scenario="steady-leak",
                                             measures={"kernel_oom_kills": 1})], status=1)
        page = texts["vm-comparison.md"]
        for told in ("**1 scenario** run: steady-leak.", "not run: ",
                     "**Innocents lost**: nohang 1 (steady-leak). None: oomreapd, none.",
                     "killer**: none 1 (steady-leak). None: oomreapd, nohang.",
                     "**Where oomreapd is worse** than at least one other: time to memory back in "
                     "steady-leak", "**Bars missed by oomreapd**: 1, listed below"):
            self.assertIn(told, page.partition("The same scenarios")[0])

    def test_whose_own_line_is_higher_acts_by_design(self):
        at = {"available_at_signal_mib": 78, "mem_total_mib": 960, "needless_kills": 1}
        _, texts = self.write(entries=[entry("oomreapd"), entry("earlyoom", measures=at)])
        self.assertIn("*earlyoom* acts above oomreapd's line (24 MiB) by design: its own is",
                      texts["vm-comparison.md"].replace("\n", " "))

    def test_what_the_machine_beneath_has_spoilt_is_listed(self):
        entries = [entry("oomreapd", earlier_deaths=["hung"]),
                   entry("nohang", inconclusive=True)]
        for words, name in (((), "vm-comparison.md"), (("--matrix",), "vm-matrix.md")):
            _, texts = self.write(*words, entries=entries)
            self.assertIn("leak, oomreapd: the guest died (hung) and was run again", texts[name])
        self.assertIn("| nohang (1 inconclusive) |", self.write(entries=entries)[1][
            "vm-comparison.md"])

    def test_prose_is_folded_and_tables_are_not(self):
        page = layout.folded("- " + "word " * 60 + "\n|" + "x" * 200 + "|\n")
        self.assertEqual(max(len(line) for line in page.splitlines() if line[0] != "|"), 96)
        self.assertIn("\n  word", page)
        self.assertIn("|" + "x" * 200 + "|", page)

    def test_the_json_keeps_every_repetition(self):
        _, texts = self.write(entries=three("oomreapd", 11, 22, 44) + three("none", 9, 9, 9))
        group = json.loads(texts["vm-comparison.json"])["groups"][0]
        self.assertEqual(group["median"]["signal_to_back_ms"], 22)
        self.assertEqual([one["signal_to_back_ms"] for one in group["repetitions"]], [11, 22, 44])

    def test_the_picture_is_xml_and_shows_every_subject_and_what_went_wrong(self):
        lost = entry("nohang", scenario="<a&b>", bars={"recovered": False})
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

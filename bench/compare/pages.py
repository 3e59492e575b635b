"""The comparison's page and its JSON.

Pure layout: what is better, missed or needless was decided in results.py. Every page says how
it is made again, of which commit it tells and when it was made.
"""

import statistics

from chart import duration
from layout import (bold, counts, folded, mib, number, plain_line_mib, ranged, spoilt_section,
                    stalls, table, ways)
from opening import in_short
from results import (BACK, COUNTS, MEASURES, OURS, STALL, about_subject, beaten, better, grouped,
                     in_order)

# Below this share of memory they act by their own defaults, where no swap is left.
THRESHOLDS = {"earlyoom": 0.10, "nohang": 0.05}

KEPT = ("kills_made", "processes_signalled", "innocents_lost", "needless_kills",
        "kernel_oom_kills", "never_back",
        "trigger_to_signal_ms", "to_signal_ms", "trigger_to_back_ms", "signal_to_back_ms", "worst_stall_ms",
        "available_at_signal_mib", "lowest_available_mib",
        "signal_to_back_gap_ms", "signal_to_recovered_ms", "worst_stall_net_ms",
        "worst_stall_low_ms", "sampler_gaps_ms",
        *(measure.key for measure in MEASURES))


def scenario_table(groups, kernel, scenario):
    """One scenario, one row for each subject."""
    rows = []
    for subject in in_order([s for k, name, s in groups if (k, name) == (kernel, scenario)]):
        group = groups[kernel, scenario, subject]
        if not group.results:
            gone = {f"no result: {one.died}" if one.died else f"skipped: {one.skipped}"
                    for one in group.all}
            rows.append([subject, "; ".join(sorted(gone)), *["–"] * 15])
            continue
        lost, needless, by_kernel, never, gone = (group.series(key) for key, _ in COUNTS)
        rows.append([
            subject + (f" (**lost in {gone.total}**)" if gone.total else "")
            + (f" ({group.inconclusive} inconclusive)" if group.inconclusive else ""),
            kills(group), bold(counts(needless), needless.total),
            bold(counts(lost), lost.total),
            bold(counts(by_kernel), by_kernel.total),
            ranged(group.series(BACK.key), duration),
            ranged(group.series("to_signal_ms"), duration),
            bold("never", True) if never.total == len(group.results)
            else ranged(group.series("signal_to_back_ms"), duration)
            + (f", **never in {never.total}**" if never.total else ""),
            ranged(group.series("line_to_back_ms"), duration),
            ranged(group.series("low_to_back_ms"), duration),
            stalls(group),
            ranged(group.series("available_at_signal_mib"), mib),
            ranged(group.series("lowest_available_mib"), mib),
            ranged(group.series("daemon_cpu_ms"), duration),
            ranged(group.series("daemon_rss_kib"), lambda kib: f"{kib / 1024:.1f} MiB"),
            ranged(group.series("wakeups"), number),
            ranged(group.series("sampler_gaps_ms"), duration)])
    told = by_design(groups, kernel, scenario)
    return table(["", "kills / processes", "needless", "innocents lost", "kernel OOM kills",
                  "memory back", "trigger → signal", "signal → half back", "line → back", "10 % → back", "worst stall",
                  "available at the signal", "lowest available", "CPU", "RSS", "wake-ups",
                  "host's gaps"], rows) + ("\n" + told if told else "")


def kills(group):
    """Victims, and the processes that were signalled for them: 1 / 4."""
    return f"{counts(group.series('kills_made'))} / {counts(group.series('processes_signalled'))}"


def by_design(groups, kernel, scenario):
    """Who acted above oomreapd's line but below his own: two defaults that differ, and what one
    loses by it is no fault of the way in which he kills."""
    lines = []
    for (where, name, subject), group in groups.items():
        share, line = THRESHOLDS.get(subject), plain_line_mib(group)
        at, total = (group.series(key).median
                     for key in ("available_at_signal_mib", "mem_total_mib"))
        spoilt = any(group.series(key).total for key in ("innocents_lost", "needless_kills"))
        if (where, name) == (kernel, scenario) and share and line and at is not None \
                and spoilt and line * 1.25 < at <= total * share * 1.05:
            lines.append(f"*{subject}* acts above oomreapd's line ({line:.0f} MiB) by design: its "
                         f"own is {share * 100:.0f} % of memory, and {at:.0f} MiB "
                         f"({at / total * 100:.1f} %) were left at its first signal.\n")
    return "\n".join(lines)


def summary_table(results, groups):
    """Each subject over all scenarios of all kernels."""
    rows = []
    for subject in in_order({one.subject for one in results}):
        mine = {key[:2]: group for key, group in groups.items()
                if key[2] == subject and (group.results or group.died)}
        sums = [sum(group.series(key).total for group in mine.values()) for key, _ in COUNTS]
        stalls = [group.series(STALL.key).median for group in mine.values()]
        rows.append([
            subject, sum(len(group.all) for group in mine.values()),
            *(bold(number(total), total) for total in sums),
            sum(group.died for group in mine.values()),
            ratio(groups, mine, BACK.key), ratio(groups, mine, STALL.key),
            duration(max((one for one in stalls if one is not None), default=None)),
            f"{sum(1 for group in mine.values() if group.clean)} of {len(mine)}"])
    return table(["", "runs", *(title for _, title in COUNTS), "no result",
                  "memory back", "worst stall", "worst stall of all",
                  "scenarios without a flaw"], rows)


def ratio(groups, mine, key):
    """A subject's times as multiples of oomreapd's: the median over the scenarios in which both
    have one. Not everybody kills everywhere, so medians of the times themselves would be of
    different things."""
    shares = []
    for (kernel, scenario), group in mine.items():
        ours = groups.get((kernel, scenario, OURS))
        pair = [one.series(key).median for one in (group, ours) if one]
        if len(pair) == 2 and all(pair):
            shares.append(pair[0] / pair[1])
    return f"× {statistics.median(shares):.2g} ({len(shares)})" if shares else "–"


def shown_as(unit):
    """How a figure of this unit is written."""
    if unit == "ms":
        return duration
    return lambda value: f"{number(value)} {unit}".rstrip()


def better_lines(found):
    """One line for each scenario and measure, the best first."""
    lines = {}
    for one in found:
        show = shown_as(one["unit"])
        told = f"{one['subject']} {show(one['theirs'])}"
        told += f" ({one['price']})" if one["price"] else ""
        key = (one["kernel"], one["scenario"], one["title"], show(one["ours"]))
        lines.setdefault(key, []).append((one["theirs"], told))
    return [f"- {kernel}, **{scenario}**, {title}: " + "; ".join(
        told for _, told in sorted(others)) + f"; oomreapd {ours}"
            for (kernel, scenario, title, ours), others in lines.items()]


def better_section(found):
    """Where another one is better, the judged apart from patience and cost."""
    heads = (
        (("judged", "other"), "In brackets: what else is to be known of that subject there. Of "
         "kills and innocents every single one counts (averages per run); of times, what exceeds "
         "the noise: the other's spread, and never less than what the meter can tell."),
        (("patience",), "Sooner, by acting while more memory is left. This is the price of using "
         "memory down to the line; *available at the signal*, below, stands beside it."))
    parts = []
    for kinds, told in heads:
        lines = better_lines([one for one in found if one["kind"] in kinds])
        parts.append(told + "\n\n" + ("\n".join(lines) if lines else "- nowhere") + "\n")
    return "\n".join(parts + ["Cheaper:\n", "\n".join(cheaper_lines(found)) + "\n"])


def cheaper_lines(found):
    """What a daemon costs is much the same everywhere: one line for each, not each scenario."""
    lists = {}
    for one in found:
        if one["kind"] == "cost":
            lists.setdefault((one["title"], one["unit"], one["subject"]), []).append(one)
    lines = []
    for (title, unit, subject), ones in lists.items():
        theirs, ours = (statistics.median(one[who] for one in ones) for who in ("theirs", "ours"))
        show = shown_as(unit)
        lines.append(f"- {title}: {subject} {show(theirs)}, oomreapd {show(ours)} "
                     f"(in {len(ones)} scenario{'s' if len(ones) > 1 else ''}; medians of these)")
    return sorted(lines) or ["- nowhere"]


def missed_lines(groups, lost_to=()):
    """oomreapd's own bars, and those that only the comparison can judge."""
    lines = []
    for key, group in groups.items():
        if key[-1] == OURS or len(key) == 2:
            lines += [f"- {', '.join(key[:2])}: {name} ({times} of {len(group.all)} runs)"
                      for name, times in group.missed.items()]
    for one in lost_to:
        by_kernel = one["kernel_oom_kills"]
        lines.append(f"- {one['kernel']}, {one['scenario']}: {one['title']} "
                     f"{duration(one['ours'])}, {one['subject']} {duration(one['theirs'])} "
                     f"(noise {duration(one['noise'])}"
                     + (f"; kernel OOM kills with it: {by_kernel})" if by_kernel else ")"))
    return lines or ["- none"]


def comparison(results, about, command, image):
    """docs/vm-comparison.md."""
    groups = grouped(results, "kernel", "scenario", "subject")
    found, missed = list(better(groups)), missed_lines(groups, beaten(groups))
    versions = [f"{name} {about_subject(results, name)}".strip()
                for name in in_order({one.subject for one in results})]
    parts = [
        "# Side by side on whole machines\n", in_short(results, groups, found, missed),
        "The same scenarios with oomreapd, with the others and with no daemon, each on a booted "
        "Debian 12 in a virtual machine whose memory really runs out. The others are Debian 12's "
        "packages (earlyoom 1.7, systemd 252, nohang 0.2, oomd 0.5), older than what their "
        "projects ship today: a newer earlyoom calls process_mrelease, too. What is measured and "
        "with which settings each runs is in [bench/compare](../bench/compare/README.md); figures "
        "without rounding, of all repetitions, in [vm-comparison.json](vm-comparison.json).\n",
        ways(results, about, command),
        "Subjects: " + ", ".join(versions) + ".\n",
        f"![Time to memory back and worst stall, by scenario]({image})\n",
        "## Bars missed by oomreapd\n",
        "Its own bars in each scenario; and no other may be better in the time to memory back or "
        "in the worst stall, by more than the noise, in repetitions in which it lost no innocent, "
        "made no needless kill, brought the memory back and lived.\n",
        "\n".join(missed) + "\n",
        "## All scenarios together\n", summary_table(results, groups),
        swap_words(results),
        "*memory back* and *worst stall* are multiples of oomreapd's: the median over the "
        "scenarios (their number in brackets) in which both were measured. *memory back*: from "
        "the trigger (the others tell none: from when they were last woken before the signal, "
        "which favours them) until a tenth of all memory was back. Where several were killed it "
        "is the worst. "
        "*without a flaw*: nobody lost, no bar of the scenario missed.\n",
        "## Where another one is better\n", better_section(found),
        spoilt_section(results),
        "## Scenario by scenario\n",
        "Medians, in brackets the least and the largest. A dash: not measured, or did not happen. "
        "*kills / processes*: victims, and the processes signalled for them. "
        "*available at the signal* is MemAvailable when the first signal was sent: less is more "
        "patient. *net*: the host's gaps were large (more than 100 ms in a run), so the stall is "
        "told without the part in which even a realtime thread did not run.\n"]
    for kernel, scenario in dict.fromkeys(key[:2] for key in groups):
        parts.append(f"### {scenario} ({kernel})\n\n" + scenario_table(groups, kernel, scenario))
    return folded("\n".join(parts))


def swap_words(results):
    """Two of the others are made for machines with swap, and for shortages that last."""
    swap = [name for name in dict.fromkeys(one.scenario for one in results)
            if "swap" in name or "zram" in name]
    return ("systemd-oomd and Meta's oomd are made for machines with swap, and wait for 20 to 60 s "
            "of pressure: where memory is gone in a few seconds without swap, they come too late "
            "by design, and the kernel acts in their place. With swap here: "
            + (", ".join(swap) or "none of the scenarios that were run") + ".\n")


def condensed(results, about, command):
    """docs/vm-comparison.json: medians, and every repetition that they are made of."""
    groups = grouped(results, "kernel", "scenario", "subject")
    told = []
    for (kernel, scenario, subject), group in groups.items():
        medians = {key: group.series(key).median for key in KEPT}
        told.append({
            "kernel": kernel, "scenario": scenario, "subject": subject,
            "median": {key: value for key, value in medians.items() if value is not None},
            "repetitions": [repetition(one) for one in group.all]})
    return {**about, "command": command,
            "versions": {name: about_subject(results, name)
                         for name in in_order({one.subject for one in results})},
            "bars_missed": [line.removeprefix("- ") for line in missed_lines(groups, beaten(groups))
                            if line != "- none"],
            "better_than_oomreapd": list(better(groups)), "groups": told}


def repetition(one):
    kept = {key: one.measures[key] for key in KEPT if one.measures.get(key) is not None}
    for name, value in (("missed", one.missed), ("died", one.died), ("skipped", one.skipped),
                        ("notes", one.notes), ("inconclusive", one.inconclusive),
                        ("earlier_deaths", one.earlier_deaths), ("run_again", one.run_again)):
        if value:
            kept[name] = value
    return kept

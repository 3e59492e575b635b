"""The pages made of results: the comparison, the matrix of kernels, the table for tuning.

Pure layout: what is better, missed or needless was decided in results.py. Every page says how
it is made again, of which commit it tells and when it was made.
"""

import re
import statistics

from chart import duration
from results import BACK, COUNTS, MEASURES, OURS, STALL, about_subject, better, grouped, in_order

KEPT = ("kills_made", "innocents_lost", "needless_kills", "kernel_oom_kills", "never_back",
        "trigger_to_back_ms", "available_at_signal_mib", "lowest_available_mib",
        "signal_to_back_gap_ms", "signal_to_recovered_ms", "worst_stall_net_ms",
        "worst_stall_low_ms", "sampler_gaps_ms",
        *(measure.key for measure in MEASURES))


def table(head, rows):
    """First column to the left, the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def ranged(series, show):
    """Median, and from where to where: 12 ms (8–31); – where nothing was measured."""
    if series.median is None:
        return "–"
    told = show(series.median)
    if series.spread and show(min(series.values)) != show(max(series.values)):
        told += f" ({show(min(series.values))} … {show(max(series.values))})"
    if len(series.values) < series.runs:
        told += f" in {len(series.values)} of {series.runs}"
    return told


def number(value):
    return "–" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def mib(value):
    return f"{value:.0f} MiB"


def counts(series):
    """The count of each run, when they differ: 0, 1, 0."""
    if not series.values:
        return "–"
    if not series.spread:
        return number(series.values[0])
    return ", ".join(number(value) for value in series.values)


def bold(told, bad):
    return f"**{told}**" if bad else told


def ways(results, about, command):
    """How, of what and when: the lines that make a figure worth repeating."""
    known = about.get("kernels", {})
    kernels = ", ".join(known.get(name, name) for name in dict.fromkeys(
        one.kernel for one in results))
    qemu = re.search(r"\d+(\.\d+)+", about.get("qemu", ""))
    sizes = ", ".join(f"{size} MiB" for size in sorted({one.memory_mib for one in results
                                                        if one.memory_mib}))
    runs = max((len(group.all) for group in grouped(
        results, "kernel", "scenario", "subject", "conf").values()), default=0)
    lines = [f"Made again by `{command}`. Kernel {kernels}; guests of {sizes or 'unknown size'} "
             f"and 2 CPUs under QEMU {qemu[0] if qemu else '(version not recorded)'}, software "
             f"emulation; {runs} repetition{'s' if runs != 1 else ''}; commit "
             f"{about.get('commit', 'not recorded')}; {about.get('date', 'date not recorded')}."]
    if runs == 1:
        lines.append("A single run has no spread: small differences mean nothing.")
    return "\n".join(lines) + "\n"


def scenario_table(groups, kernel, scenario):
    """One scenario, one row for each subject."""
    rows = []
    for subject in in_order([s for k, name, s in groups if (k, name) == (kernel, scenario)]):
        group = groups[kernel, scenario, subject]
        if not group.results:
            gone = {f"no result: {one.died}" if one.died else f"skipped: {one.skipped}"
                    for one in group.all}
            rows.append([subject, "; ".join(sorted(gone)), *["–"] * 12])
            continue
        lost, needless, by_kernel, never, gone = (group.series(key) for key, _ in COUNTS)
        rows.append([
            subject + (f" (**lost in {gone.total}**)" if gone.total else ""),
            counts(group.series("kills_made")), bold(counts(needless), needless.total),
            bold(counts(lost), lost.total),
            bold(counts(by_kernel), by_kernel.total),
            bold("never", True) if never.total == len(group.results)
            else ranged(group.series(BACK.key), duration)
            + (f", **never in {never.total}**" if never.total else ""),
            ranged(group.series("low_to_back_ms"), duration),
            ranged(group.series(STALL.key), duration),
            ranged(group.series("available_at_signal_mib"), mib),
            ranged(group.series("lowest_available_mib"), mib),
            ranged(group.series("daemon_cpu_ms"), duration),
            ranged(group.series("daemon_rss_kib"), lambda kib: f"{kib / 1024:.1f} MiB"),
            ranged(group.series("wakeups"), number),
            ranged(group.series("sampler_gaps_ms"), duration)])
    return table(["", "kills", "needless", "innocents lost", "kernel OOM kills",
                  "signal → back", "10 % → back", "worst stall", "available at the signal",
                  "lowest available", "CPU", "RSS", "wake-ups", "host's gaps"], rows)


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
                  "signal → back", "worst stall", "worst stall of all",
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
         "the noise: the larger spread of the two, and never less than what the meter can tell."),
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


def missed_lines(groups, found):
    """oomreapd's own bars, and those that only the comparison can judge."""
    lines = []
    for key, group in groups.items():
        if key[-1] == OURS or len(key) == 2:
            lines += [f"- {', '.join(key[:2])}: {name} ({times} of {len(group.all)} runs)"
                      for name, times in group.missed.items()]
    for one in found:
        if one["measure"] in (BACK.key, STALL.key) and not one["price"]:
            lines.append(f"- {one['kernel']}, {one['scenario']}: {one['title']} "
                         f"{duration(one['ours'])}, {one['subject']} {duration(one['theirs'])} "
                         f"(noise {duration(one['noise'])})")
    return lines or ["- none"]


def comparison(results, about, command, image):
    """docs/vm-comparison.md."""
    groups = grouped(results, "kernel", "scenario", "subject")
    found = list(better(groups))
    versions = [f"{name} {about_subject(results, name)}".strip()
                for name in in_order({one.subject for one in results})]
    parts = [
        "# Side by side on whole machines\n",
        "The same scenarios with oomreapd, with the others and with no daemon, each on a booted "
        "Debian 12 in a virtual machine whose memory really runs out. What is measured and with "
        "which settings each runs is in [bench/compare](../bench/compare/README.md); figures "
        "without rounding, of all repetitions, in [vm-comparison.json](vm-comparison.json).\n",
        ways(results, about, command),
        "Subjects: " + ", ".join(versions) + ".\n",
        f"![Signal to memory back and worst stall, by scenario]({image})\n",
        "## All scenarios together\n", summary_table(results, groups),
        "*signal → back* and *worst stall* are multiples of oomreapd's: the median over the "
        "scenarios (their number in brackets) in which both were measured.\n",
        "## Where another one is better\n", better_section(found),
        "## Bars missed by oomreapd\n",
        "Its own bars in each scenario; and no daemon that went through the scenario without a "
        "flaw may be better in the time from signal to memory back or in the worst stall, by more "
        "than the noise.\n",
        "\n".join(missed_lines(groups, found)) + "\n",
        "## Scenario by scenario\n",
        "Medians, in brackets the least and the largest. A dash: not measured, or did not happen. "
        "*available at the signal* is MemAvailable when the first signal was sent: less is more "
        "patient.\n"]
    for kernel, scenario in dict.fromkeys(key[:2] for key in groups):
        parts.append(f"### {scenario} ({kernel})\n\n" + scenario_table(groups, kernel, scenario))
    return "\n".join(parts)


def cell(group):
    """One scenario on one kernel: its verdict, and the two times that matter most."""
    if not group:
        return ""
    if not group.results:
        return "**no result**" if group.died else "skipped"
    verdict = "**missed**: " + ", ".join(group.missed) if group.missed else "ok"
    times = [duration(series.median) for series in (
        group.series("trigger_to_back_ms"), group.series(STALL.key))]
    return f"{verdict}<br>{times[0]} / {times[1]}"


def matrix(results, about, command):
    """docs/vm-matrix.md: oomreapd alone, on every kernel."""
    ours = [one for one in results if one.subject == OURS and not one.conf]
    groups = grouped(ours, "kernel", "scenario")
    kernels = list(dict.fromkeys(one.kernel for one in ours))
    scenarios = list(dict.fromkeys(one.scenario for one in ours))
    rows = [[name, *(cell(groups.get((kernel, name))) for kernel in kernels)]
            for name in scenarios]
    parts = [
        "# Scenarios on real kernels\n",
        "Each scenario on a booted machine with the installed unit, on each kernel; the userland "
        "is Debian 12 everywhere. `ok`: every bar was met. The figures: trigger to memory back / "
        "worst stall of the heartbeat, medians.\n",
        ways(ours, about, command), table(["", *kernels], rows),
        "## Bars missed\n", "\n".join(missed_lines(groups, [])) + "\n", "## Measures\n"]
    for kernel in kernels:
        parts.append(f"### {kernel}\n\n" + matrix_measures(groups, kernel))
    return "\n".join(parts)


def matrix_measures(groups, kernel):
    rows = []
    for (where, name), group in groups.items():
        if where == kernel and group.results:
            rows.append([
                name, counts(group.series("kills_made")), counts(group.series("innocents_lost")),
                counts(group.series("kernel_oom_kills")),
                ranged(group.series("trigger_to_back_ms"), duration),
                ranged(group.series(BACK.key), duration), ranged(group.series(STALL.key), duration),
                ranged(group.series("available_at_signal_mib"), mib),
                ranged(group.series("lowest_available_mib"), mib),
                ranged(group.series("daemon_cpu_ms"), duration),
                ranged(group.series("daemon_rss_kib"), lambda kib: f"{kib / 1024:.1f} MiB")])
    return table(["", "kills", "innocents lost", "kernel OOM kills", "trigger → back",
                  "signal → back", "worst stall", "available at the signal", "lowest available",
                  "CPU", "RSS"], rows)


def tuning(results):
    """oomreapd's variants beside each other, to standard output."""
    groups = grouped([one for one in results if one.subject == OURS],
                     "kernel", "scenario", "conf")
    parts = []
    for kernel, scenario in dict.fromkeys(key[:2] for key in groups):
        rows = []
        for key, group in groups.items():
            if key[:2] != (kernel, scenario):
                continue
            rows.append([
                ", ".join(key[2]) or "defaults", len(group.all),
                *(counts(group.series(name)) for name in (
                    "kills_made", "needless_kills", "innocents_lost", "kernel_oom_kills")),
                ranged(group.series("trigger_to_back_ms"), duration),
                ranged(group.series("low_to_back_ms"), duration),
                ranged(group.series("available_at_signal_mib"), mib),
                ranged(group.series(STALL.key), duration), ", ".join(group.missed) or "–"])
        parts.append(f"### {scenario} ({kernel})\n\n" + table(
            ["", "runs", "kills", "needless", "innocents lost", "kernel OOM kills",
             "trigger → back", "10 % → back", "available at the kill", "worst stall",
             "bars missed"], rows))
    return "\n".join(parts)


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
    return {"command": command, **about,
            "versions": {name: about_subject(results, name)
                         for name in in_order({one.subject for one in results})},
            "better_than_oomreapd": list(better(groups)), "groups": told}


def repetition(one):
    kept = {key: one.measures[key] for key in KEPT if one.measures.get(key) is not None}
    for name, value in (("missed", one.missed), ("died", one.died), ("skipped", one.skipped),
                        ("notes", one.notes)):
        if value:
            kept[name] = value
    return kept

"""oomreapd alone: the matrix of kernels, and its settings beside each other for tuning."""

import os
import re

from chart import duration
from layout import (at_signal, bold, counts, folded, mib, ranged, spoilt_section, stalls, table,
                    ways)
from pages import kills, missed_lines
from results import HERE, OURS, STALL, grouped, is_variant, scenario_set

DEFAULTS = os.path.join(HERE, "..", "..", "conf", "oomreapd.conf")
UNITS = {"ms": 1e-3, "us": 1e-6, "s": 1, "min": 60, "h": 3600, "%": 1e-2, "K": 2**10, "M": 2**20,
         "G": 2**30, "T": 2**40}
FIGURES = (
    ("kills / processes", kills),
    ("innocents lost", lambda group: lost(group, "innocents_lost")),
    ("kernel OOM kills", lambda group: lost(group, "kernel_oom_kills")),
    ("available at the kill", at_signal),
    ("trigger → back", lambda group: ranged(group.series("trigger_to_back_ms"), duration)),
    ("line → back", lambda group: ranged(group.series("line_to_back_ms"), duration)),
    ("worst stall", stalls),
    ("CPU", lambda group: ranged(group.series("daemon_cpu_ms"), duration)),
    ("RSS", lambda group: ranged(group.series("daemon_rss_kib"),
                                 lambda kib: f"{kib / 1024:.1f} MiB")),
)


def lost(group, key):
    series = group.series(key)
    return bold(counts(series), series.total)


def matrix(results, about, command):
    """docs/vm-matrix.md: a row for each scenario, the kernels within its cells."""
    ours = [one for one in results if one.subject == OURS and not is_variant(one)]
    groups = grouped(ours, "kernel", "scenario")
    kernels = list(dict.fromkeys(one.kernel for one in ours))
    scenarios = list(dict.fromkeys(one.scenario for one in ours))
    rows = [[name, *(verdict(groups.get((kernel, name))) for kernel in kernels),
             *(on_each([groups.get((kernel, name)) for kernel in kernels], show)
               for _, show in FIGURES)]
            for name in scenarios]
    missed = missed_lines(groups)
    return folded("\n".join([
        "# Scenarios on real kernels\n", matrix_opening(groups, kernels, scenarios),
        "Each scenario on a booted machine with the installed unit, on each kernel; the userland "
        "is Debian 12 everywhere. `ok`: every bar was met. Where kernels differ, a cell has a "
        f"line for each ({', '.join(kernels)}). *kills / processes*: victims, and the processes "
        "signalled for them. *available at the kill*: beside it the kill line without haste, "
        "2.5 % within 24 … 300 MiB; a fast fall moves it up. *trigger → back*: of several kills, "
        "the worst. *line → back*: from the first sample below that line until memory is above "
        "it for good. *net*: the host's gaps were large, and are taken off the stall.\n",
        ways(ours, about, command), table(["", *kernels, *(head for head, _ in FIGURES)], rows),
        "## Bars missed\n", "\n".join(missed) + "\n", spoilt_section(ours)]))


def matrix_opening(groups, kernels, scenarios):
    """How many of how many, for each kernel, and what of the set was not run."""
    lines = []
    for kernel in kernels:
        here = [group for (where, _), group in groups.items() if where == kernel]
        good = sum(1 for group in here if group.results and not group.missed)
        bad = [name for (where, name), group in groups.items()
               if where == kernel and group.missed]
        sums = [sum(group.series(key).total for group in here)
                for key in ("innocents_lost", "needless_kills", "kernel_oom_kills")]
        lines.append(f"- **{kernel}**: {good} of {len(here)} scenarios met every bar; innocents "
                     f"lost {sums[0]}, needless kills {sums[1]}, kernel OOM kills {sums[2]}."
                     + (f" Missed in: {', '.join(bad)}." if bad else ""))
    left = [name for name in scenario_set("all") if name not in scenarios]
    if left:
        lines.append(f"- Not run: {', '.join(left)}.")
    return "\n".join(lines) + "\n"


def verdict(group):
    if not group:
        return ""
    if not group.results:
        return "**no result**" if group.died else "**skipped**"
    told = "**missed**: " + ", ".join(group.missed) if group.missed else "ok"
    return told + (f"<br>{group.inconclusive} inconclusive" if group.inconclusive else "")


def on_each(groups, show):
    """One figure on all kernels; once where it is the same everywhere."""
    told = [show(group) if group and group.results else "–" for group in groups]
    return told[0] if len(set(told)) == 1 else "<br>".join(told)


def defaults():
    """{"Pressure.KillAhead": "100ms"} of the commented defaults, for the mark beside a value."""
    found, section = {}, ""
    try:
        with open(DEFAULTS, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in lines:
        head = re.fullmatch(r"\[(\w+)\]", line)
        pair = re.fullmatch(r"#(\w+)=(\S+)", line)
        if head:
            section = head[1]
        elif pair:
            found.setdefault(f"{section}.{pair[1]}", pair[2])
    return found


def size(value):
    """A setting's value as a number, to sort by: 50ms before 0.1s, 24M before 1G, words last."""
    parts = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*([A-Za-z%]*)", value)
    if not parts or parts[2] and parts[2] not in UNITS:
        return (1, 0, value)
    return (0, float(parts[1]) * UNITS.get(parts[2], 1), value)


def split(conf):
    """[("Pressure.KillLine", "1%"), …]"""
    return [tuple(one.partition("=")[::2]) for one in conf]


def in_turn(conf):
    """Variants of the same keys stay together, by value; the defaults come first."""
    return [(key, size(value)) for key, value in split(conf)]


def label(conf, known):
    """As one would say it: KillLine 1%, KillLineMin 10M."""
    told = [f"{key.rpartition('.')[2]} {value}" + (" (default)" if known.get(key) == value else "")
            for key, value in split(conf)]
    return ", ".join(told) or "defaults"


def tuning(results):
    """The variants beside each other, a table for each scenario, to standard output."""
    groups = grouped([one for one in results if one.subject == OURS],
                     "kernel", "scenario", "conf")
    known, parts = defaults(), []
    for kernel, scenario in dict.fromkeys(key[:2] for key in groups):
        variants = sorted((key[2] for key in groups if key[:2] == (kernel, scenario)), key=in_turn)
        rows = [variant(label(conf, known), groups[kernel, scenario, conf]) for conf in variants]
        parts.append(f"### {scenario} ({kernel})\n\n" + table(
            ["", "runs", "kills / processes", "needless", "innocents lost", "kernel OOM kills",
             "trigger → back", "10 % → back", "available at the kill", "lowest available",
             "worst stall", "bars missed"], rows))
    return "\n".join(parts)


def variant(name, group):
    if not group.results:
        return [name, len(group.all), *["–"] * 9, ", ".join(group.missed) or "skipped"]
    return [
        name + (f" ({group.inconclusive} inconclusive)" if group.inconclusive else ""),
        len(group.all), kills(group), *(lost(group, key) for key in (
            "needless_kills", "innocents_lost", "kernel_oom_kills")),
        ranged(group.series("trigger_to_back_ms"), duration),
        ranged(group.series("low_to_back_ms"), duration),
        ranged(group.series("available_at_signal_mib"), mib),
        ranged(group.series("lowest_available_mib"), mib),
        stalls(group), ", ".join(group.missed) or "–"]

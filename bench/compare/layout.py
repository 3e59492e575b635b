"""What all pages are laid out with: tables, figures with their range, folded prose, origin."""

import re
import statistics
import textwrap

from chart import duration
from results import BACK, STALL, grouped

WIDTH = 100


def folded(page):
    """Prose within the width; tables, headings and pictures stay as they are."""
    lines = []
    for line in page.splitlines():
        if len(line) <= WIDTH or line.startswith(("|", "#", "!")):
            lines.append(line)
        else:
            lines += textwrap.wrap(line, WIDTH, subsequent_indent="  " * line.startswith("- "),
                                   break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).rstrip() + "\n"


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
             f"{about.get('commit', 'not recorded')}, {binary(about)}; "
             f"{about.get('date', 'date not recorded')}."]
    rates = sorted({one.ends_mib_per_s for one in results if one.ends_mib_per_s})
    if rates:
        lines.append("A program that is simply killed gave its memory back at "
                     f"{' … '.join(str(rate) for rate in dict.fromkeys((rates[0], rates[-1])))} "
                     "MiB/s in these guests: so fast was the host.")
    if runs == 1:
        lines.append("A single run has no spread: small differences mean nothing.")
    return "\n".join(lines) + "\n"


def binary(about):
    """Of which binary the figures are, as far as the files tell."""
    told = [f"binary (SHA-256) `{'`, `'.join(one[:16] for one in about['binary'].split(', '))}`"] \
        if about.get("binary") else []
    if about.get("binary_unknown"):
        files = f" in {about['binary_unknown']} files" if told else ""
        told.append("binary not recorded" + files)
    return ", ".join(told) or "binary not recorded"


def spoilt_lines(results):
    """Runs that the host or the emulator spoilt: what was run again, what is not counted."""
    lines = []
    for key, group in grouped(results, "kernel", "scenario", "subject", "conf").items():
        name = ", ".join([*key[:3], *key[3]])
        deaths = [str(death.get("died", death) if isinstance(death, dict) else death)
                  for one in group.all for death in one.earlier_deaths]
        if deaths:
            lines.append(f"- {name}: the guest died ({', '.join(deaths)}) and was run again")
        lines += [f"- {name}: run again, {one.run_again}" for one in group.all if one.run_again]
        if group.inconclusive:
            lines.append(f"- {name}: inconclusive, {group.inconclusive} of {len(group.all)} runs")
    return lines or ["- none"]


def spoilt_section(results):
    return ("## Runs spoilt by the machine beneath\n\nWhere the host left the guest without a "
            "processor between the signal and the memory's return, the run is inconclusive: its "
            "times are left out, its counts stand. A guest that hung or panicked is run again; "
            "that it did is said here.\n\n" + "\n".join(spoilt_lines(results)) + "\n")


def stalls(group):
    """The worst stall, and whether the host's gaps had to be taken off."""
    net = any(one.net_stall for one in group.results if not one.inconclusive)
    return ranged(group.series(STALL.key), duration) + (" net" if net else "")


def plain_line_mib(group):
    """oomreapd's kill line where memory does not fall: 2.5 % within 24 … 300 MiB."""
    total = group.series("mem_total_mib").median
    return None if total is None else min(max(total * 0.025, 24), 300)


def at_signal(group):
    """MemAvailable at the first signal, beside the line that it would be at without haste."""
    told = ranged(group.series("available_at_signal_mib"), mib)
    line = plain_line_mib(group)
    return told if told == "–" or line is None else f"{told} (line {line:.0f})"

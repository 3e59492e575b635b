"""The comparison as a picture: an SVG written by hand, so that no library is needed.

Per scenario one row for each daemon, with two bars on logarithmic scales (signal to memory
back, ours counted from the trigger; worst stall of the heartbeat), whiskers from the least to
the largest repetition, and in words what no time can make good: lost innocents, kernel OOM
kills, memory that never came back.
It brings its own background, so that it can be read on a light page and on a dark one.
"""

import math
from html import escape

from results import BACK, COUNTS, STALL, in_order

ROW = 17
HEAD = 26
WIDTH = 1180
NAME_X = 118
PANELS = ((130, 290, BACK), (478, 290, STALL))      # left edge, width, measure
NOTES = ("oomreapd's from its trigger", "")         # what is to be known of a panel
MARK_X = 836
TOP = 92
DECADES = (1, 100000)
TICKS = ((1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s"), (10000, "10 s"),
         (100000, "100 s"))
COLOURS = {"oomreapd": "#1f77d0", "earlyoom": "#e08a1e", "nohang": "#8a63c9",
           "systemd-oomd": "#2a9d6f", "oomd": "#c2577c", "none": "#8a8f98"}
STYLE = """
.back{fill:#fff}.band{fill:#f3f5f8}.text{fill:#1d2430}.soft{fill:#667080}.grid{stroke:#d5dae2}
.whisker{stroke:#1d2430}.bad{fill:#c62828}
@media (prefers-color-scheme:dark){.back{fill:#12161d}.band{fill:#1a202a}.text{fill:#e6eaf0}
.soft{fill:#98a3b3}.grid{stroke:#343d4b}.whisker{stroke:#e6eaf0}.bad{fill:#ff7b72}}
text{font:12px system-ui,"DejaVu Sans",sans-serif}.title{font-size:17px;font-weight:600}
.scenario{font-weight:600;font-size:13px}.small{font-size:11px}.mine{font-weight:600}
"""


def duration(milliseconds):
    """As short as it can be read: 8.3 ms, 340 ms, 2.1 s."""
    if milliseconds is None:
        return "–"
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.{1 if milliseconds < 99950 else 0}f} s"


def position(milliseconds, left, width):
    """Where on a panel's logarithmic scale; what lies outside is drawn at its edge."""
    low, high = (math.log10(end) for end in DECADES)
    at = (math.log10(max(milliseconds, DECADES[0])) - low) / (high - low)
    return round(left + width * min(at, 1), 1)


def text(x, y, words, style="text", anchor="start"):
    return f'<text x="{x}" y="{y}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1, y1, x2, y2, style):
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{style}"/>'


def rect(x, y, width, height, more):
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" {more}/>'


def bar(series, y, left, width, colour):
    """One measure of one daemon, with its value; a dash where there is none."""
    if series.median is None:
        return [text(left + 4, y + 12, "–", "soft small")]
    end = position(series.median, left, width)
    least, most = (position(pick(series.values), left, width) for pick in (min, max))
    parts = [rect(left, y + 3, max(2, round(end - left, 1)), ROW - 6, f'rx="2" fill="{colour}"')]
    if most - least > 1:
        parts += [line(least, y + 8.5, most, y + 8.5, "whisker"),
                  line(least, y + 5.5, least, y + 11.5, "whisker"),
                  line(most, y + 5.5, most, y + 11.5, "whisker")]
    return parts + [text(max(end, most) + 5, y + 12.5, duration(series.median), "soft small")]


def marks(group):
    """The words at the end of a row: counts over all repetitions."""
    said = []
    for key, _ in COUNTS:
        total = group.series(key).total
        if total:
            one, many = {"innocents_lost": ("innocent lost", "innocents lost"),
                         "needless_kills": ("needless kill", "needless kills"),
                         "kernel_oom_kills": ("kernel OOM kill", "kernel OOM kills"),
                         "never_back": ("× never back", "× never back"),
                         "daemon_lost": ("× daemon lost", "× daemon lost")}[key]
            said.append(f"{total} {one if total == 1 else many}")
    if group.inconclusive:
        said.append(f"{group.inconclusive} × inconclusive")
    if group.died:
        said.append(f"{group.died} × no result")
    return " · ".join(said)


def row(subject, group, y):
    colour = COLOURS.get(subject, "#8a8f98")
    mine = " mine" if subject == "oomreapd" else ""
    parts = [text(NAME_X, y + 12.5, subject, "text" + mine, "end")]
    for left, width, measure in PANELS:
        parts += bar(group.series(measure.key), y, left, width, colour)
    said = marks(group)
    return parts + ([f'<circle cx="{MARK_X - 9}" cy="{y + 8.5}" r="4" class="bad"/>',
                     text(MARK_X, y + 12.5, said, "bad small")] if said else [])


def head(title, height):
    parts = [rect(0, 0, WIDTH, height, 'rx="8" class="back"'), text(20, 30, title, "text title")]
    for (left, width, measure), note in zip(PANELS, NOTES):
        parts += [text(left, 58, measure.title, "text mine"),
                  text(left + width, 58, note, "soft small", "end")]
        for value, label in TICKS:
            x = position(value, left, width)
            parts += [line(x, TOP - 8, x, height - 14, "grid"),
                      text(x, TOP - 13, label, "soft small", "middle")]
    return parts + [
        text(MARK_X, 58, "what went wrong, over all runs", "text mine"),
        text(WIDTH - 20, 30, "shorter is better; logarithmic; bar: median, whisker: all runs",
             "soft small", "end")]


def chart(groups, title):
    """groups: {(scenario, subject): Group} of one kernel; returns the SVG's text."""
    scenarios = list(dict.fromkeys(scenario for scenario, _ in groups))
    height = TOP + 20 + sum(
        HEAD + ROW * sum(1 for name, _ in groups if name == scenario) for scenario in scenarios)
    bands, rows, y = [], [], TOP
    for number, scenario in enumerate(scenarios):
        subjects = in_order([subject for name, subject in groups if name == scenario])
        if number % 2 == 0:
            bands.append(rect(8, y, WIDTH - 16, HEAD + ROW * len(subjects), 'rx="4" class="band"'))
        rows.append(text(20, y + 17, scenario, "text scenario"))
        y += HEAD - 3
        for subject in subjects:
            rows += row(subject, groups[scenario, subject], y)
            y += ROW
        y += 3
    first, *rest = head(title, height)
    parts = [first, *bands, *rest, *rows]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img"><title>{escape(title)}</title>'
            f'<style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n")

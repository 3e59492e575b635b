"""Results of tests/vm/run as figures that can be compared.

One room for what is counted and how: what a lost innocent is, which repetitions make a median,
how large a difference must be before it is more than noise. The pages and the chart only lay
out what is decided here.
"""

import json
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = "oomreapd"
ORDER = (OURS, "earlyoom", "nohang", "systemd-oomd", "oomd", "none")


class Measure:
    """A figure of which less is better. floor: the finest difference the meter can tell."""

    def __init__(self, key, title, unit, floor, kind="judged"):
        self.key = key
        self.title = title
        self.unit = unit
        self.floor = floor
        self.kind = kind     # judged: a bar; patience: sooner means killing earlier; cost


# Both are made in Result: ours counts from the trigger, and a host's gap is nobody's stall.
BACK = Measure("back_ms", "time to memory back", "ms", 10)
STALL = Measure("stall_ms", "worst stall of the heartbeat", "ms", 20)
GAPS_LARGE_MS = 100      # of the host, in one run: more, and the stall is told without them
GAP_SPOILS_MS = 200      # of the host, between signal and memory back: that time means nothing
MEASURES = (
    BACK,
    STALL,
    Measure("stall_over_100ms_total_ms", "stalls over 100 ms, total", "ms", 100, "other"),
    Measure("line_to_back_ms", "from oomreapd's plain kill line to memory back", "ms", 20,
            "patience"),
    Measure("low_to_back_ms", "from 10 % available to memory back", "ms", 20, "patience"),
    Measure("under_line_ms", "time below 2.5 % available", "ms", 20, "patience"),
    Measure("daemon_cpu_ms", "the daemon's CPU time", "ms", 10, "cost"),
    Measure("daemon_rss_kib", "the daemon's memory", "KiB", 256, "cost"),
    Measure("wakeups", "wake-ups", "", 10, "cost"),
)
COUNTS = (
    ("innocents_lost", "innocents lost"),
    ("needless_kills", "needless kills"),
    ("kernel_oom_kills", "kernel OOM kills"),
    ("never_back", "memory never back"),
    ("daemon_lost", "daemon lost"),
)
# Which bar says the same as a count: what else was missed is to be told beside the counts.
COUNTED_BARS = {"no_innocent_lost": "innocents_lost", "no_needless_kill": "needless_kills",
                "no_kernel_oom_kill": "kernel_oom_kills", "recovered": "never_back",
                "survived": "daemon_lost"}
# What no good time makes up for. A kill by the kernel is not among it: it is told, but a daemon
# that is slower than the kernel is slow.
SPOILERS = ("innocents_lost", "needless_kills", "never_back", "daemon_lost")


class Mixed(Exception):
    """The files tell of different binaries, which cannot be one comparison."""


def load(paths, mixed=False):
    """All results of some files, and what the files say about how they were made."""
    results, told = [], []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            read = json.load(file)
        entries = read if isinstance(read, list) else read["results"]
        told.append((path, {} if isinstance(read, list) else read))
        results += [Result(entry) for entry in settled(entries)]
    binaries = {}
    for path, read in told:
        if read.get("binary"):
            binaries.setdefault(read["binary"], []).append(os.path.basename(path))
    if len(binaries) > 1 and not mixed:
        raise Mixed("the files are of different binaries of oomreapd: " + "; ".join(
            f"{binary[:12]} ({', '.join(names)})" for binary, names in binaries.items()))
    return results, merged([read for _, read in told])


def merged(files):
    """What several files say of themselves, each differing word once."""
    about = {}
    for read in files:
        for key, value in read.items():
            if key == "kernels":
                about.setdefault(key, {}).update(value)
            elif key != "results" and value not in about.setdefault(key, []):
                about[key].append(value)
    told = {key: value if key == "kernels" else value[0] if len(value) == 1
            else ", ".join(map(str, value)) for key, value in about.items()}
    if isinstance(about.get("command"), list) and len(about["command"]) > 1:
        del told["command"]      # none of them makes the page again
    unknown = sum(1 for read in files if not read.get("binary"))
    if unknown:
        told["binary_unknown"] = f"{unknown} of {len(files)}"
    return told


def scenario_set(name):
    """The scenarios of a set, in their order; empty where the harness is not at hand."""
    return [one for one, made in known_scenarios().items() if name in made.sets]


def is_variant(one):
    """Whether it ran with other settings than the scenario itself has."""
    made = known_scenarios().get(one.scenario)
    return one.conf != (tuple(made.conf) if made else ())


def known_scenarios():
    """The harness's own list; empty where that is not at hand."""
    place = os.path.join(HERE, "..", "..", "tests", "vm", "guest")
    sys.path.insert(0, place)
    try:
        import scenarios
        return scenarios.SCENARIOS
    except (ImportError, AttributeError):
        return {}
    finally:
        sys.path.remove(place)


def settled(entries):
    """An entry whose guest died counts only when no other try of it lived, and then once."""
    alive = {entry["id"] for entry in entries if not entry.get("died")}
    deaths = {}
    for entry in entries:
        if entry.get("died"):
            deaths.setdefault(entry["id"], []).append(entry["died"])
    kept, seen = [], set()
    for entry in entries:
        if not entry.get("died"):
            # Whoever has not recorded them by himself: the tries that did not live.
            kept.append({"earlier_deaths": deaths.get(entry["id"], []), **entry})
        elif entry["id"] not in alive | seen:
            seen.add(entry["id"])
            kept.append(entry)
    return kept


class Result:
    """One entry: one scenario with one subject, once."""

    def __init__(self, entry):
        # The id has the kernel's short name; "kernel" is uname's, or that when the guest died.
        self.kernel, self.scenario, self.subject = entry["id"].split("/")[:3]
        self.release = entry.get("kernel") or self.kernel
        self.conf = tuple(entry.get("conf") or ())
        self.version = entry.get("subject_version") or ""
        self.memory_mib = entry.get("memory_mib")
        self.bars = entry.get("bars") or {}
        self.notes = entry.get("notes") or []
        self.died = entry.get("died") or entry.get("error")
        if self.bars.get("ran") is False:
            self.died = self.died or "; ".join(self.notes) or "the scenario did not run"
        self.earlier_deaths = list(entry.get("earlier_deaths") or [])
        self.earlier_missed = list(entry.get("earlier_missed") or [])
        self.run_again = entry.get("run_again")
        self.skipped = entry.get("skipped")
        self.need = entry.get("need")
        self.ends_mib_per_s = entry.get("ends_mib_per_s")
        self.items = entry.get("items") or []
        self.measures = dict(entry.get("measures") or {})
        self.inconclusive = entry.get("inconclusive")
        if self.inconclusive is None and "spoilt_gap_ms" not in self.measures:
            # Of before the harness judged it by itself.
            gap = self.measures.get("signal_to_back_gap_ms")
            self.inconclusive = gap is not None and gap > GAP_SPOILS_MS
        if not (self.died or self.skipped):
            self._count()

    def _count(self):
        """Fills in what follows from items and bars; what the guest has counted stays."""
        have = self.measures
        have["innocents_lost"] = max(have.get("innocents_lost") or 0, self._lost())
        have.setdefault("kernel_oom_kills", 0)
        if have.get("needless_kills") is None and self.need is not None:
            have["needless_kills"] = max(0, have.get("kills_made", 0) - self.need)
        # Not the measure of that name: a scenario that fills memory for good ends below 10 %.
        have["never_back"] = int(self.bars.get("recovered") is False)
        have["daemon_lost"] = int(self.bars.get("survived") is False)
        for bar, key in COUNTED_BARS.items():
            if bar in self.earlier_missed:      # how many, the first try has taken with it
                have[key] = max(have.get(key) or 0, 1)
        have[BACK.key] = self._back()
        have["to_signal_ms"] = self._to_signal()
        have[STALL.key] = have.get("worst_stall_ms")
        if self.net_stall:
            have[STALL.key] = have["worst_stall_net_ms"]

    @property
    def net_stall(self):
        """Whether the host's gaps were so large that the stall is told without them."""
        have = self.measures
        return (have.get("sampler_gaps_ms") or 0) > GAPS_LARGE_MS \
            and have.get("worst_stall_net_ms") is not None

    def _back(self):
        """From the trigger until a tenth of memory was back, as the meter has it. Results of before
        there was that: half of what came back; ours from the trigger, but never less than the meter
        saw since the first signal; the others' from the signal. Of several kills, the worst."""
        have = self.measures
        if have.get("acted_to_tenth_ms") is not None:
            return have["acted_to_tenth_ms"]
        first, worst = have.get("signal_to_back_ms"), have.get("signal_to_back_worst_ms")
        if self.subject != OURS or have.get("trigger_to_back_ms") is None:
            return max((one for one in (first, worst) if one is not None), default=None)
        return max(have["trigger_to_back_ms"],
                   (have.get("trigger_to_signal_ms") or 0) + (first or 0))

    def _to_signal(self):
        """Ours from the trigger, as it tells; the others' from when they were woken for it. Of
        several kills, the worst."""
        key = "trigger_to_signal_ms" if self.subject == OURS else "wake_to_signal_ms"
        return max((one[key] for one in self.measures.get("victims") or ()
                    if one.get(key) is not None), default=None)

    def _lost(self):
        """The bar knows more than the items: who was ended on purpose, or has lost a child, or
        was a service of the system."""
        told = self.bars.get("no_innocent_lost")
        dead = sum(1 for item in self.items
                   if item.get("role") in ("innocent", "never") and not item.get("alive", True))
        named = [note.count(",") + 1 for note in self.notes if note.startswith("lost: ")]
        if told is None:
            return dead
        return 0 if told else max([dead, 1, *named])

    @property
    def missed(self):
        """Names of the bars that were not met; an entry that brought no result met none. A first
        try that the host has spoilt stands for what it missed in counts."""
        if self.died:
            return [f"no result: {self.died}"]
        if self.skipped:
            return [f"skipped: {self.skipped}"] if self.subject == OURS else []
        return [name for name, met in self.bars.items() if met is False
                and not (self.inconclusive and name.startswith("recovery_under"))
                ] + [f"{name} in a spoilt first try" for name in self.earlier_missed]


class Series:
    """One measure over the repetitions. Spread is the largest less the smallest."""

    def __init__(self, values):
        self.values = [value for value in values if value is not None]
        self.runs = len(values)

    @property
    def median(self):
        return statistics.median(self.values) if self.values else None

    @property
    def spread(self):
        return max(self.values) - min(self.values) if self.values else None

    @property
    def total(self):
        return sum(self.values)


class Group:
    """The repetitions of one scenario with one subject (and one configuration)."""

    def __init__(self, results):
        self.all = results
        self.results = [one for one in results if not (one.died or one.skipped)]
        self.died = sum(1 for one in results if one.died)

    def series(self, key):
        """Times of an inconclusive run are left out; what was counted in it stands."""
        timed = key.endswith("_ms") and key != "daemon_cpu_ms"
        return Series([None if timed and one.inconclusive else one.measures.get(key)
                       for one in self.results])

    @property
    def fair(self):
        """The repetitions whose times another one has to bear comparison with."""
        return Group([one for one in self.results
                      if not any(one.measures.get(key) for key in SPOILERS)])

    @property
    def inconclusive(self):
        return sum(1 for one in self.results if one.inconclusive)

    def per_run(self, key):
        """Average count; None when there is nothing to count in."""
        series = self.series(key)
        return series.total / len(series.values) if series.values else None

    @property
    def missed(self):
        """Bars missed with how often: {"one kill": 2}."""
        counted = {}
        for one in self.all:
            for name in one.missed:
                counted[name] = counted.get(name, 0) + 1
        return counted

    @property
    def clean(self):
        """Nobody died who should not have, the memory came back and no bar of the scenario's
        own was missed, in all repetitions."""
        return not self.missed and not any(
            one.measures.get(key) for one in self.results for key, _ in COUNTS)

    @property
    def price(self):
        """What is to be known beside a good time: "2 innocents lost"."""
        told = [f"{title}: {self.series(key).total}"
                for key, title in COUNTS if self.series(key).total]
        other = [name for name in self.missed
                 if name not in COUNTED_BARS and not name.startswith("no result")]
        if other:
            told.append("missed: " + ", ".join(name.removeprefix("expected: ") for name in other))
        return ", ".join(told + ([f"no result: {self.died}"] if self.died else []))


def grouped(results, *fields):
    """{(value of field, …): Group}, in the order in which they first appear."""
    lists = {}
    for one in results:
        lists.setdefault(tuple(getattr(one, field) for field in fields), []).append(one)
    return {key: Group(some) for key, some in lists.items()}


def in_order(names):
    """Subjects as the pages list them: ours, the others, nobody."""
    known = [name for name in ORDER if name in names]
    return known + sorted(set(names) - set(known))


def noise(measure, theirs):
    """A difference of medians below this tells nothing. Only the other's spread: were ours in it,
    a daemon that is slow now and then would be within its own noise."""
    return max(theirs.spread, measure.floor)


def beaten(groups):
    """The bar that only the comparison can judge: no other is better in the two judged times by
    more than the noise, in the repetitions in which it spoilt nothing. The best one for each."""
    for (kernel, scenario, subject), ours in groups.items():
        if subject != OURS:
            continue
        for measure in (BACK, STALL):
            mine, best = ours.series(measure.key), None
            for (where, name, other), group in groups.items():
                theirs = group.fair.series(measure.key)
                if (where, name) != (kernel, scenario) or other == OURS \
                        or None in (theirs.median, mine.median) \
                        or mine.median - theirs.median <= noise(measure, theirs):
                    continue
                if best is None or theirs.median < best["theirs"]:
                    best = {"kernel": kernel, "scenario": scenario, "subject": other,
                            "measure": measure.key, "title": measure.title,
                            "theirs": theirs.median, "ours": mine.median,
                            "noise": noise(measure, theirs),
                            "kernel_oom_kills": group.fair.series("kernel_oom_kills").total}
            if best:
                yield best


def better(groups):
    """Wherever another's median is better than ours by more than the noise.

    groups: {(kernel, scenario, subject): Group}. Yields dictionaries, ready for the page and the
    JSON; counts are compared by their sums, where every single one matters.
    """
    for (kernel, scenario, subject), other in groups.items():
        ours = groups.get((kernel, scenario, OURS))
        if subject == OURS or not ours:
            continue
        found = {"kernel": kernel, "scenario": scenario, "subject": subject, "price": other.price}
        for key, title in COUNTS:
            mine, theirs = ours.per_run(key), other.per_run(key)
            if mine is not None and theirs is not None and theirs < mine:
                yield dict(found, measure=key, title=title, unit="", kind="judged",
                           theirs=round(theirs, 2), ours=round(mine, 2), noise=0)
        for measure in MEASURES:
            if measure.kind == "cost" and subject == "none":
                continue
            mine, theirs = ours.series(measure.key), other.series(measure.key)
            if mine.median is None or theirs.median is None:
                continue
            least = noise(measure, theirs)
            if mine.median - theirs.median > least:
                yield dict(found, measure=measure.key, title=measure.title, unit=measure.unit,
                           kind=measure.kind, theirs=theirs.median, ours=mine.median,
                           noise=least)


def about_subject(results, subject):
    """Its version, as the guest told it."""
    told = {one.version for one in results if one.subject == subject and one.version}
    return ", ".join(sorted(told))

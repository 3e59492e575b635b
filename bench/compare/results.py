"""Results of tests/vm/run as figures that can be compared.

One room for what is counted and how: what a lost innocent is, which repetitions make a median,
how large a difference must be before it is more than noise. The pages and the chart only lay
out what is decided here.
"""

import json
import statistics

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


BACK = Measure("signal_to_back_ms", "signal to memory back", "ms", 10)
STALL = Measure("worst_stall_ms", "worst stall of the heartbeat", "ms", 20)
MEASURES = (
    BACK,
    STALL,
    Measure("stall_over_100ms_total_ms", "stalls over 100 ms, total", "ms", 100, "other"),
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


def load(paths):
    """All results of some files, and what the files say about how they were made."""
    results, about = [], {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            read = json.load(file)
        entries = read if isinstance(read, list) else read["results"]
        if isinstance(read, dict):
            about.update({key: value for key, value in read.items() if key != "results"})
        results += [Result(entry) for entry in settled(entries)]
    return results, about


def settled(entries):
    """An entry whose guest died counts only when no other try of it lived, and then once."""
    alive = {entry["id"] for entry in entries if not entry.get("died")}
    kept, seen = [], set()
    for entry in entries:
        if not entry.get("died"):
            kept.append(entry)
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
        self.skipped = entry.get("skipped")
        self.need = entry.get("need")
        self.items = entry.get("items") or []
        self.measures = dict(entry.get("measures") or {})
        if not (self.died or self.skipped):
            self._count()

    def _count(self):
        """Fills in what follows from items and bars; what the guest has counted stays."""
        have = self.measures
        have["innocents_lost"] = max(have.get("innocents_lost") or 0, self._lost())
        have.setdefault("kernel_oom_kills", 0)
        if have.get("needless_kills") is None and self.need is not None:
            have["needless_kills"] = max(0, have.get("kills_made", 0) - self.need)
        have["never_back"] = int(False in (have.get("recovered"), self.bars.get("recovered")))
        have["daemon_lost"] = int(self.bars.get("survived") is False)

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
        """Names of the bars that were not met; an entry that brought no result met none."""
        if self.died:
            return [f"no result: {self.died}"]
        return [name for name, met in self.bars.items() if met is False]


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
        return Series([one.measures.get(key) for one in self.results])

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
        """Nobody died who should not have, and the memory came back, in all repetitions."""
        return not self.died and not any(
            one.measures.get(key) for one in self.results for key, _ in COUNTS)

    @property
    def price(self):
        """What is to be known beside a good time: "2 innocents lost"."""
        told = [f"{title}: {self.series(key).total}"
                for key, title in COUNTS if self.series(key).total]
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


def noise(measure, one, other):
    """A difference of medians below this tells nothing."""
    return max(one.spread, other.spread, measure.floor)


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
            least = noise(measure, mine, theirs)
            if mine.median - theirs.median > least:
                yield dict(found, measure=measure.key, title=measure.title, unit=measure.unit,
                           kind=measure.kind, theirs=theirs.median, ours=mine.median,
                           noise=least)


def about_subject(results, subject):
    """Its version, as the guest told it."""
    told = {one.version for one in results if one.subject == subject and one.version}
    return ", ".join(sorted(told))

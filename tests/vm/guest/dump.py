"""A meter's directory as values: what was sampled, felt, traced and logged.

Reads files and gives them shape; what they mean is for measures.py and signals.py to say.
"""

import bisect
import csv
import json
import os
from collections import namedtuple

import signals

Sample = namedtuple("Sample", "ns avail free swapfree some full oom swaptotal anon")  # in kB, us
Beat = namedtuple("Beat", "ns late_ns")


class Dump:
    """What a meter left behind; a file that is missing counts as empty."""

    def __init__(self, directory):
        self.directory = directory
        self.meta = json.loads(self._text("meta.json") or "{}")
        self.samples = [Sample(*map(int, row)) for row in self._rows("samples.csv")]
        self.beats = [Beat(int(row[0]), int(row[1]) * 1000) for row in self._rows("beats.csv")]
        self.events = signals.parse_trace(self._text("trace.txt"))
        self.tasks = signals.parse_tasks(self._text("tasks.txt"))
        self.machine_kills, self.memcg_kills = signals.kernel_log_kills(self._text("kmsg.txt"))
        self.total_kb = self.meta.get("mem_total_kb", 0)
        self._times = [sample.ns for sample in self.samples]

    def _text(self, name):
        try:
            with open(os.path.join(self.directory, name), encoding="utf-8",
                      errors="replace", newline="\n") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def _rows(self, name):
        return list(csv.reader(self._text(name).splitlines()[1:]))

    def at(self, ns):
        """The last sample taken at or before `ns`, else the first there is."""
        return self.samples[max(bisect.bisect_right(self._times, ns) - 1, 0)]

    def between(self, start_ns, end_ns):
        """The samples after `start_ns`, up to `end_ns`."""
        return self.samples[bisect.bisect_right(self._times, start_ns):
                            bisect.bisect_right(self._times, end_ns)]

    def gaps(self, least_ns):
        """Where the sampler did not run for at least so long: (from, to), in order."""
        return [(a.ns, b.ns) for a, b in pairs(self.samples) if b.ns - a.ns >= least_ns]


def ms(ns):
    return None if ns is None else round(ns / 1e6, 1)


def mib(kb):
    return round(kb / 1024, 1)


def pairs(samples):
    return zip(samples, samples[1:])


def overlap(gaps, start_ns, end_ns):
    """How much of a time lies in `gaps`, which are in order and do not overlap."""
    first = bisect.bisect_right(gaps, (start_ns, start_ns))
    total = 0
    for a, b in gaps[max(first - 1, 0):]:
        if a >= end_ns:
            break
        total += max(0, min(b, end_ns) - max(a, start_ns))
    return total

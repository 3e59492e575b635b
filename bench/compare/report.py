#!/usr/bin/env python3
"""Turns results of tests/vm/run into the pages in docs/.

    report.py RESULTS.json...             docs/vm-comparison.md, .json and .svg
    report.py --matrix RESULTS.json...    docs/vm-matrix.md
    report.py --tuning RESULTS.json...    variants of oomreapd's settings, as a table on stdout

Several files count as repetitions of the same, or bring a kernel each; files of different
binaries are refused. --docs DIR writes elsewhere. Exit status: 0; 1 when the comparison's page
tells of a bar that oomreapd has missed; 65 when the files cannot be put together.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys

import chart
import pages
import results
import variants

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMPARISON = "bench/compare/compare.sh BUILD-DIRECTORY"
MATRIX = "scripts/test.sh --vm-all"


def arguments(words):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--matrix", action="store_true", help="scenario × kernel, oomreapd alone")
    mode.add_argument("--tuning", action="store_true", help="oomreapd's settings side by side")
    parser.add_argument("--docs", default=os.path.join(TOP, "docs"), metavar="DIR")
    parser.add_argument("--mixed", action="store_true",
                        help="put files of different binaries together all the same, and say so")
    parser.add_argument("--command", help="the command line that the page names")
    parser.add_argument("files", nargs="+", metavar="RESULTS.json")
    return parser.parse_args(words)


def complete(about):
    """Commit and date, where the results do not tell: those of now."""
    made = dict(about)
    if "commit" not in made:
        told = subprocess.run(["git", "-C", TOP, "rev-parse", "--short", "HEAD"], text=True,
                              capture_output=True, check=False).stdout.strip()
        made["commit"] = told or "not recorded"
    made.setdefault("date", datetime.date.today().isoformat())
    return made


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    print(path)


def write_comparison(directory, entries, about, command):
    """The page, its picture (of each kernel one, the first bears the plain name) and the JSON."""
    kernels = list(dict.fromkeys(one.kernel for one in entries))
    for kernel in kernels:
        groups = results.grouped([one for one in entries if one.kernel == kernel],
                                 "scenario", "subject")
        name = "vm-comparison.svg" if kernel == kernels[0] else f"vm-comparison-{kernel}.svg"
        write(directory, name, chart.chart(groups, f"Out of memory, side by side (Linux {kernel})"))
    write(directory, "vm-comparison.md",
          pages.comparison(entries, about, command, "vm-comparison.svg"))
    told = pages.condensed(entries, about, command)
    write(directory, "vm-comparison.json", json.dumps(told, indent=1) + "\n")
    return int(bool(told["bars_missed"]))


def main(words):
    options = arguments(words)
    try:
        entries, about = results.load(options.files, options.mixed)
    except results.Mixed as error:
        print(error, file=sys.stderr)
        return 65
    if not entries:
        print("no results in " + ", ".join(options.files), file=sys.stderr)
        return 65
    about = complete(about)
    if options.tuning:
        print(variants.tuning(entries))
    elif options.matrix:
        write(options.docs, "vm-matrix.md",
              variants.matrix(entries, about, options.command or about.get("command", MATRIX)))
    else:
        entries = [one for one in entries if not one.conf]
        return write_comparison(options.docs, entries, about, options.command or COMPARISON)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

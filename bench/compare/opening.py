"""The page's first lines: who lost innocents, who needed the kernel, where oomreapd is worse.

Somebody who reads no further has to have read what speaks against oomreapd as well.
"""

from results import COUNTS, OURS, in_order, scenario_set

LOSSES = {
    "innocents_lost": "**Innocents lost**",
    "needless_kills": "**Kills that were not needed**",
    "kernel_oom_kills": "**Needed the kernel's OOM killer**",
    "never_back": "**Memory not back at the end**",
    "daemon_lost": "**The daemon did not survive**",
}


def in_short(results, groups, found, missed):
    """The summary as a list; missed: the lines of the bars that oomreapd missed."""
    lines = [scenarios_line(results)]
    lines += [loss_line(results, groups, key) for key, _ in COUNTS]
    dead = no_result(groups)
    if dead:
        lines.append("**No result** (the guest or the harness failed, or what was wanted was not "
                     "to be had): " + "; ".join(dead) + ".")
    lines += [worse_line(results, found), missed_line(missed)]
    return "\n".join("- " + line for line in lines) + "\n"


def scenarios_line(results):
    """Which of the set were run: a comparison may be of a few only."""
    run = list(dict.fromkeys(one.scenario for one in results))
    known = scenario_set("compare")
    inside = [name for name in run if name in known]
    told = f"**{len(run)} scenario{'s' * (len(run) != 1)}** run: {', '.join(run)}."
    if known:
        left = [name for name in known if name not in run]
        told += f" Of the {len(known)} of the set `compare` that is {len(inside)}"
        told += f"; not run: {', '.join(left)}." if left else "."
    return told


def loss_line(results, groups, key):
    """Of one count: each subject's sum over all runs, and in which scenarios."""
    lost, spared = [], []
    for subject in in_order({one.subject for one in results}):
        total, where = 0, []
        for (_, scenario, other), group in groups.items():
            here = group.series(key).total if other == subject else 0
            total += here
            if here and scenario not in where:
                where.append(scenario)
        if total:
            lost.append(f"{subject} {total} ({some(where)})")
        else:
            spared.append(subject)
    if not lost:
        return f"{LOSSES[key]}: nobody."
    return f"{LOSSES[key]}: " + "; ".join(lost) + (
        f". None: {', '.join(spared)}." if spared else ".")


def some(names, most=6):
    """The first few; the tables below have them all."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def no_result(groups):
    told = {}
    for (_, scenario, subject), group in groups.items():
        if group.died or any(one.skipped for one in group.all):
            told.setdefault(subject, []).append(scenario)
    return [f"{subject} in {', '.join(told[subject])}" for subject in in_order(told)]


def worse_line(results, found):
    """Judged differences, by measure; at what price the other has it stands further down."""
    where, free = {}, set()
    for one in found:
        if one["kind"] == "judged":
            where.setdefault(one["title"], {}).setdefault(one["scenario"], []).append(one)
            if not one["price"]:
                free.add((one["title"], one["scenario"]))
    if len({one.subject for one in results}) < 2:
        return f"**Where {OURS} is worse**: nobody else was run."
    if not where:
        return (f"**Where {OURS} is worse**: in none of the judged measures. It acts later than "
                "some, by design, and what it costs is told below.")
    told = []
    for title, scenarios in where.items():
        names = [name + (" †" if (title, name) in free else "") for name in scenarios]
        told.append(f"{title} in {', '.join(names)}")
    return (f"**Where {OURS} is worse** than at least one other: " + "; ".join(told) + ". (†: than "
            "one that paid no other price there; who, and by how much, is told below.)")


def missed_line(missed):
    if missed == ["- none"]:
        return f"**Bars missed by {OURS}**: none."
    return f"**Bars missed by {OURS}**: {len(missed)}, listed below."

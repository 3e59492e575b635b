"""From what the meter saw to the numbers that daemons are compared by.

In: a meter's directory, the scenario's items, for oomreapd its journal records. Out: a dict of
plain values (times in ms, memory in MiB; None: not to be told from what was seen). Pure but for
reading the files; runs on the host as in the guest. Every definition stands at the function that
computes it, together with what it cannot tell. Nothing but trigger_to_* depends on a daemon's
own words, and nothing here judges: bars are made elsewhere. Times to recovery: recovery.py.
"""

import signals
import told
from dump import Dump, mib, ms, overlap, pairs
from recovery import (GAP_NS, LINE_PERMILLE, SHORTAGES_APART_NS, is_low, times_to_back)

PAUSE_NS = 500_000_000     # a gap of the sampler so long: the whole machine stood still
LONG_STALL_MS = 100
SIGNALS_KEPT = 40


def measures(directory, items, subject, journal=None, subject_pid=None, subject_pids=(),
             need=None, **_):
    """All measures of one entry. `items`: dicts with name, role, pid, and pids where known."""
    dump = Dump(directory)
    items = with_heartbeat(items, dump)
    fired = signals.shots(dump.events, dump.tasks,
                          roots_of(dump, items, [subject_pid, *subject_pids]))
    hits = [shot for shot in fired if is_hit(shot)]
    made = {"subject": subject}
    made.update(trust(dump))
    made.update(kills(hits, items, need))
    made.update(kernel_kills(dump))
    made["memcg_kills_unmeant"] = unmeant_memcg_kills(fired, items, dump)
    made.update(lost_innocents(hits, items, dump))
    account = told.account(journal) if subject == "oomreapd" and journal is not None else None
    made.update(told.own_figures(account))
    if dump.samples:
        made.update(memory_levels(dump))
        made.update(pressure(dump))
        made.update(times_to_back(dump, hits, items, account))
    made.update(stalls(dump))
    made.update(daemon_cost(dump))
    made["signals"] = [shot_text(shot, dump) for shot in fired
                       if is_of_interest(shot)][:SIGNALS_KEPT]
    return made


def with_heartbeat(items, dump):
    """The items, the meter's heartbeat among them as an innocent."""
    beat = dump.meta.get("heartbeat")
    rest = [item for item in items if item["name"] != "heartbeat" or item.get("pid")]
    if not beat or any(item["name"] == "heartbeat" for item in rest):
        return rest
    return rest + [{"name": "heartbeat", "role": "innocent", "pid": beat["pid"]}]


def roots_of(dump, items, subject_pids):
    """pid → what it and its descendants belong to. Items are the runner's children, so are
    perhaps the daemon's: the nearest root wins, see signals.Ancestry."""
    roots = {}
    for key in ("runner_pid", "meter_pid"):
        if dump.meta.get(key):
            roots[dump.meta[key]] = ("runner",)
    for item in items:
        for pid in [item.get("pid"), *(item.get("pids") or ())]:
            if pid:
                roots[pid] = ("item", item["name"])
    watched = [pid for when in ("watch_before", "watch_after")
               for pid in dump.meta.get(when, {}).get("pids", ())]
    for pid in [*subject_pids, *watched]:
        if pid:
            roots[pid] = ("subject",)
    return roots


def is_hit(shot):
    """A signal that took (or asked for) a life: SIGKILL or SIGTERM, taken by a process that was
    not dying yet, sent by the daemon under test, by somebody else, or by the kernel's OOM killer.
    A process's own abort, signals within an item, of its dying parent (PDEATHSIG) and of the test
    itself are none. It cannot tell whether a SIGTERM was obeyed."""
    return shot.fresh and shot.by in ("subject", "other", "kernel")


def is_of_interest(shot):
    """Not the housekeeping of an item, of the test, or of services among themselves."""
    return (shot.by in ("subject", "kernel")
            or bool(shot.item) and shot.by not in ("runner", "own"))


def trust(dump):
    """How far the rest can be believed. trace_lost: events overwritten (counts are lower bounds);
    log_lost likewise; samples_full: the end of the run was not sampled. The sampler has a realtime
    priority and locked memory, so where it came 20 ms late or more, its CPU did not run it: most
    likely the host was busy, or the kernel held the CPU (which it seldom does for so long).
    sampler_gaps_ms: all such time; paused_ms: that in gaps of 500 ms and more, in which the machine
    as a whole is taken to have stood still. An entry whose gaps are many says little about times,
    and as much as any about kills."""
    meta = dump.meta
    return {"traced": bool(meta.get("trace")) and bool(dump.events),
            "trace_lost": meta.get("trace_lost", 0), "log_lost": meta.get("log_lost", 0),
            "samples_full": bool(meta.get("samples_full")),
            "sampler_gaps_ms": ms(sum(end - start for start, end in dump.gaps(GAP_NS))),
            "paused_ms": ms(sum(end - start for start, end in dump.gaps(PAUSE_NS))),
            "sampler_worst_gap_ms": ms(max((b.ns - a.ns for a, b in pairs(dump.samples)),
                                           default=0)),
            "meter_cpu_ms": meta.get("meter_cpu_ms")}


def kills(hits, items, need):
    """kills_made: distinct items of which a process was hit by userland (the daemon under test,
    or others such as PID 1), however many processes the item has and however many signals they
    got; items whose role is noise are left out. kills_by tells them apart; processes_signalled
    counts the processes. items_hit_by_kernel: the same for the kernel's OOM killer, machine's and
    memcg's alike. needless_kills: those beyond `need` (None where that is not known).
    A kill of an item that would have died anyhow counts; an item that ends for want of a sibling
    that was killed does not."""
    noise = {item["name"] for item in items if item.get("role") == "noise"}
    hits = [shot for shot in hits if shot.item and shot.item not in noise]
    by = {who: sorted({shot.item for shot in hits if shot.by == who})
          for who in ("subject", "other", "kernel")}
    mine = [shot for shot in hits if shot.by != "kernel"]
    made = len({shot.item for shot in mine})
    return {"kills_made": made,
            "kills_by": {who: len(names) for who, names in by.items()},
            "items_hit": sorted({shot.item for shot in mine}),
            "items_hit_by_kernel": by["kernel"],
            "processes_signalled": len({shot.target for shot in mine}),
            "needless_kills": None if need is None else max(0, made - need)}


def kernel_kills(dump):
    """kernel_oom_kills: processes killed by the machine's OOM killer; kernel_memcg_kills: by that
    of a memory cgroup. Their sum is the step of vmstat's oom_kill, which is exact and knows no
    kinds; memcg kills are those that the kernel's log names, the rest is the machine's. Where
    parts of the log were lost (log_lost), memcg kills may pass for the machine's. A task that was
    dying already and only got leave to use the reserves is no kill."""
    if not dump.samples:
        return {"kernel_oom_kills": None, "kernel_memcg_kills": None}
    step = dump.samples[-1].oom - dump.samples[0].oom
    memcg = min(step, len(dump.memcg_kills))
    return {"kernel_oom_kills": step - memcg, "kernel_memcg_kills": memcg}


def unmeant_memcg_kills(fired, items, dump):
    """memcg_kills_unmeant: items (or processes of none) that a memory cgroup's OOM killer has hit
    though no item's own limit was to do so: not forgiven by the scenario."""
    meant = {item["name"] for item in items if item.get("forgiven")}
    owner = {pid: item["name"] for item in items
             for pid in [item.get("pid"), *(item.get("pids") or ())]}
    owner.update({shot.target: shot.item for shot in fired if shot.by == "kernel" and shot.item})
    return sorted({owner.get(pid, f"pid {pid}") for pid in dump.memcg_kills} - meant)


def lost_innocents(hits, items, dump):
    """innocents_lost: items whose role is innocent or never, of which a process was hit by the
    daemon, by others or by the kernel, and processes of no item at all (system services) hit by
    the daemon or by the machine's OOM killer. The heartbeat is one of the items. It does not see
    an innocent that died of something else (a lost peer, SIGBUS): the runner does, by its status.
    """
    roles = {item["name"]: item.get("role") for item in items}
    names = {shot.item for shot in hits if roles.get(shot.item) in ("innocent", "never")}
    memcg = set(dump.memcg_kills)
    names |= {f"outside:{shot.target_comm}" for shot in hits
              if not shot.item and shot.by in ("subject", "kernel") and shot.target not in memcg}
    return {"innocents_lost": len(names), "innocents_lost_names": sorted(names)}


def memory_levels(dump):
    """lowest_available_mib: the least MemAvailable of all samples (a dip shorter than the sampling
    interval may be missed). under_line_ms: time with MemAvailable below 2.5 % of MemTotal, whatever
    the swap; each sample stands for the time until the next. low_to_back_ms: from the first sample
    that is low (is_low) to the first after the last low one: the whole of a shortage, a daemon's
    patience and further shortages of the same run included. None where it never was low or stayed
    so. recovered: no sample of the last 500 ms was low; true where it never was."""
    total, samples = dump.total_kb, dump.samples
    low = [i for i, sample in enumerate(samples) if is_low(sample, total)]
    end_ns = samples[-1].ns
    back = low and low[-1] + 1 < len(samples)
    under = sum(b.ns - a.ns for a, b in pairs(samples)
                if a.avail * 1000 < total * LINE_PERMILLE)
    return {"mem_total_mib": mib(total),
            "lowest_available_mib": mib(min(sample.avail for sample in samples)),
            "under_line_ms": ms(under),
            "was_low": bool(low),
            "low_to_back_ms": ms(samples[low[-1] + 1].ns - samples[low[0]].ns) if back else None,
            "recovered": not any(samples[i].ns > end_ns - PAUSE_NS for i in low),
            "available_at_end_mib": mib(samples[-1].avail)}


def pressure(dump):
    """Memory stall of the machine by PSI's totals over the whole run; a cgroup held at its own
    memory.high is in it."""
    first, last = dump.samples[0], dump.samples[-1]
    return {"psi_some_ms": round((last.some - first.some) / 1e3, 1),
            "psi_full_ms": round((last.full - first.full) / 1e3, 1)}


def stalls(dump):
    """How late the heartbeat was done with its 20 ms beat (wake-up, hot, fresh and cold memory of
    its own, a file, once a second a program), less the time in which the machine as a whole stood
    still (paused_ms).
    worst_stall_ms, stall_p99_ms; stall_over_100ms_total_ms: the sum of all latenesses above
    100 ms; beats that a late one overran are in it, not beside it. worst_stall_net_ms: less all
    gaps of the sampler (see trust): what is left is hardly the host's doing; it flatters where one
    CPU was held up and the heartbeat had the other. worst_stall_low_ms: like worst_stall_ms, of the
    beats between the first low sample and 1 s after the last, so that what the scenario's own start
    cost is not in it; None where it was never low. A beat that was never done is as late as the
    end of the run. heartbeat_refused: fresh pages and programs that were not to be had. None
    without a heartbeat. A busy CPU delays it as much as memory does: compare
    with a calm run of the same guest."""
    if not dump.beats:
        return dict.fromkeys(("worst_stall_ms", "worst_stall_net_ms", "worst_stall_low_ms",
                              "stall_p99_ms", "stall_over_100ms_total_ms", "heartbeat_refused",
                              "heartbeat_alive"))
    late = lateness(dump, dump.beats, PAUSE_NS)
    low = [sample.ns for sample in dump.samples if is_low(sample, dump.total_kb)]
    short = [beat for beat in dump.beats if low and beat.ns + beat.late_ns >= low[0]
             and beat.ns <= low[-1] + SHORTAGES_APART_NS]
    return {"worst_stall_ms": late[-1],
            "worst_stall_net_ms": lateness(dump, dump.beats, GAP_NS)[-1],
            "worst_stall_low_ms": max(lateness(dump, short, PAUSE_NS), default=None),
            "stall_p99_ms": late[(len(late) - 1) * 99 // 100],
            "stall_over_100ms_total_ms": round(sum(x for x in late if x > LONG_STALL_MS), 1),
            "heartbeat_refused": dump.meta.get("heartbeat", {}).get("refused"),
            "heartbeat_alive": dump.meta.get("heartbeat", {}).get("alive")}


def lateness(dump, beats, least_ns):
    """Of `beats` in ms, sorted, less what lies in the sampler's gaps of at least `least_ns`."""
    gaps = dump.gaps(least_ns)
    return sorted(ms(beat.late_ns - overlap(gaps, beat.ns, beat.ns + beat.late_ns))
                  for beat in beats)


def daemon_cost(dump):
    """Of the watched cgroup, from the meter's start to its end: daemon_cpu_ms (all that ever ran
    in it, threads and children that are gone included), daemon_rss_kib and daemon_rss_peak_kib
    (sums of VmRSS and VmHWM of its processes at the end: what they share is counted twice),
    wakeups (voluntary context switches of its threads; those of a child that came and went are
    not seen). daemon_same: its processes are those of the start. None where nothing was watched;
    cpu and wakeups are None too where it was restarted, its counters having begun anew."""
    before, after = dump.meta.get("watch_before"), dump.meta.get("watch_after")
    made = dict.fromkeys(("daemon_cpu_ms", "daemon_rss_kib", "daemon_rss_peak_kib", "wakeups",
                          "daemon_same"))
    if not before or not after or not before["seen"] or not after["seen"]:
        return made
    made.update(daemon_rss_kib=after["rss_kib"], daemon_rss_peak_kib=after["rss_peak_kib"],
                daemon_same=set(before["pids"]) <= set(after["pids"]))
    if made["daemon_same"]:
        made["wakeups"] = after["wakeups"] - before["wakeups"]
        if before["cpu_us"] >= 0:
            made["daemon_cpu_ms"] = round((after["cpu_us"] - before["cpu_us"]) / 1e3, 1)
    return made


def shot_text(shot, dump):
    """For people: when, what, by whom, to whom."""
    name = {signals.SIGKILL: "KILL", signals.SIGTERM: "TERM"}[shot.sig]
    since = ms(shot.ns - dump.meta.get("started_ns", 0))
    taken = "" if shot.fresh else " (already dying, or ignored)"
    return (f"{since} ms {name} by {shot.by} {shot.sender_comm}/{shot.sender} to "
            f"{shot.target_comm}/{shot.target} of {shot.item or 'no item'}{taken}")

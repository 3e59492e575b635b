"""When memory was short, who was shot for it, and when memory was back: from samples and shots.

Times in, times out; every definition stands at the function that computes it, together with
what it cannot tell. A daemon's words are used for one thing alone: how long before a signal its
own trigger was.
"""

from collections import namedtuple

from dump import mib, ms, overlap, pairs
from told import RELEASED

LOW_PERMILLE = 100         # MemAvailable below a tenth of MemTotal
LOW_SWAP_PERMILLE = 100    # and usable swap at most a tenth of all swap
LINE_PERMILLE = 25         # the kill line of oomreapd's defaults,
LINE_KB = (24 * 1024, 300 * 1024)  # within these,
LINE_SWAP_PERMILLE = 50    # and its swap line
RUN_WINDOW_NS = 30_000_000_000     # what comes back later has another cause
SHORTAGES_APART_NS = 1_000_000_000
VICTIM_WINDOW_NS = 10_000_000_000
VOLLEY_NS = 20_000_000     # who is shot so soon after another of the same item is shot with it
NOISE_KB = 8 * 1024
GAP_NS = 20_000_000        # no sample for so long: something kept the CPU from the sampler


def is_low(sample, total_kb):
    """Short of memory: MemAvailable below 10 % of MemTotal, and usable swap at most 10 % of all
    swap (or none there). Usable is SwapFree, but no more than there is anonymous memory on the
    LRUs to be put there. It cannot know that zram's free slots need memory themselves, or that a
    swap device is too slow to be of use."""
    return (sample.avail * 1000 < total_kb * LOW_PERMILLE
            and swap_is_gone(sample, LOW_SWAP_PERMILLE))


def is_under_line(sample, total_kb):
    """At the plain kill line: MemAvailable below 2.5 % of MemTotal (24 MiB at least, 300 MiB at
    most) and usable swap at most 5 % of all swap; whoever the daemon, and however it is set."""
    least, most = LINE_KB
    line_kb = min(max(total_kb * LINE_PERMILLE // 1000, least), most)
    return sample.avail < line_kb and swap_is_gone(sample, LINE_SWAP_PERMILLE)


def swap_is_gone(sample, permille):
    return min(sample.swapfree, sample.anon) * 1000 <= sample.swaptotal * permille


def noise_kb(dump):
    """A rise that is smaller says nothing."""
    return max(NOISE_KB, dump.total_kb // 100)


Gain = namedtuple("Gain", "ns kb tenth_ns")


def gain_back(dump, start_ns, end_ns, held_kb=None):
    """Gain(ns, kb) of memory coming back after `start_ns`: when MemAvailable + SwapFree had risen
    by half of its greatest rise before `end_ns`, counted from the low point before that rise; where
    it is known that the victim held less (`held_kb`), by half of that, from the lowest so far.
    None where the rise is less than 1 % of MemTotal (at least 8 MiB): not to be told from noise.
    tenth_ns: when as much as a tenth of MemTotal was back, or ns where that is sooner: whoever lets
    a leak grow further has more to wait for, so times of different daemons are only of the same
    thing up to an amount that is the same. Pages in per-CPU lists are not in MemAvailable yet, so
    it may come some ms late; a rise does not say whose memory it was; and what somebody else takes
    at the same time is not seen."""
    window = [(sample.ns, sample.avail + sample.swapfree)
              for sample in [dump.at(start_ns), *dump.between(start_ns, end_ns)]]
    low_at = rise = rise_from = 0
    for i, (_, kb) in enumerate(window):
        if kb < window[low_at][1]:
            low_at = i
        if kb - window[low_at][1] > rise:
            rise, rise_from = kb - window[low_at][1], low_at
    if rise < noise_kb(dump):
        return None
    if held_kb is not None and held_kb < rise:
        ns = first_rise(window, max(held_kb / 2, noise_kb(dump)))
    else:
        half = window[rise_from][1] + rise / 2
        ns = next(ns for ns, kb in window[rise_from:] if kb >= half)
    ns = max(ns, start_ns)
    tenth_kb = dump.total_kb * LOW_PERMILLE // 1000
    tenth_ns = first_rise(window, tenth_kb) if tenth_kb <= rise else ns
    return Gain(ns, rise, min(max(tenth_ns, start_ns), ns))


def first_rise(window, kb_enough):
    """When it had risen by so much from the lowest so far."""
    lowest = window[0][1]
    for ns, kb in window:
        lowest = min(lowest, kb)
        if kb - lowest >= kb_enough:
            return ns
    raise ValueError("it never rose so much")


def times_to_back(dump, hits, items, account=None):
    """Of the first hit of all on an item that is not noise (its sender: first_signal_by; a kill of
    the kernel's counts here too, so that a run without a daemon can be compared):
    first_signal_ns; available_at_signal_mib and swap_free_at_signal_mib from the last sample
    before it; low_to_signal_ms from the first low sample, negative where it was not low yet;
    signal_to_back_ms until half of all that came back was back (gain_back) within 30 s and before
    the next shortage (low again after a second of not being low), whoever gave it: shooting an
    innocent first and the leak 5 s later takes 5 s. A SIGTERM starts the clock, so its grace is in
    it. signal_to_back_gap_ms: the part of it in which the sampler could not run (see trust): so
    much of it may be the host's doing. signal_to_recovered_ms: until no sample is low any more for
    good; None where it stayed low. victims: the same for each kill, see victim().
    signal_to_back_worst_ms is the worst of these. line_to_back_ms, a trigger that depends on no
    daemon's word: from the first sample at the plain kill line (is_under_line) until memory was
    above it for good after the last kill; None where it never was there, or stayed.
    spoilt_gap_ms: see spoilt_gap()."""
    noise = {item["name"] for item in items if item.get("role") == "noise"}
    hits = [shot for shot in hits if shot.item and shot.item not in noise]
    victims = all_victims(dump, volleys(hits, account), account)
    made = {"victims": victims,
            "signal_to_back_worst_ms": max((one["back_ms"] for one in victims
                                            if one["back_ms"] is not None), default=None),
            "line_to_back_ms": line_to_back(dump, hits[-1].ns if hits else 0),
            "spoilt_gap_ms": spoilt_gap(dump, victims)}
    made.update(trigger_to_back(dump, victims, account))
    made["acted_to_tenth_ms"] = acted_to_tenth(victims)
    made.update(of_first_signal(dump, hits[0] if hits else None))
    return made


def of_first_signal(dump, shot):
    """See times_to_back."""
    if shot is None:
        return dict.fromkeys(
            ("first_signal_ns", "first_signal_by", "available_at_signal_mib",
             "swap_free_at_signal_mib", "low_to_signal_ms", "signal_to_back_ms",
             "signal_to_back_gap_ms", "signal_to_recovered_ms"))
    before = dump.at(shot.ns)
    low = [sample.ns for sample in dump.samples if is_low(sample, dump.total_kb)]
    after = [sample.ns for sample in dump.samples if low and sample.ns > low[-1]]
    back = gain_back(dump, shot.ns, shortage_end(dump, shot.ns))
    return {"first_signal_ns": shot.ns,
            "first_signal_by": shot.by,
            "available_at_signal_mib": mib(before.avail),
            "swap_free_at_signal_mib": mib(before.swapfree),
            "low_to_signal_ms": ms(shot.ns - low[0]) if low else None,
            "signal_to_back_ms": ms(back.ns - shot.ns) if back else None,
            "signal_to_back_gap_ms": ms(overlap(dump.gaps(GAP_NS), shot.ns, back.ns))
                                     if back else None,
            "signal_to_recovered_ms": ms(max(0, after[0] - shot.ns)) if after else None}


def shortage_end(dump, start_ns):
    """When the first shortage after `start_ns` was over and another one began, see
    times_to_back; 30 s at most."""
    end_ns = start_ns + RUN_WINDOW_NS
    last_low = None
    for sample in dump.between(start_ns, end_ns):
        if not is_low(sample, dump.total_kb):
            continue
        if last_low is not None and sample.ns - last_low > SHORTAGES_APART_NS:
            return sample.ns - 1
        last_low = sample.ns
    return end_ns


def line_to_back(dump, last_kill_ns):
    """See times_to_back."""
    under = [i for i, sample in enumerate(dump.samples) if is_under_line(sample, dump.total_kb)]
    if not under:
        return None
    after = [sample.ns for sample in dump.samples[under[-1] + 1:] if sample.ns >= last_kill_ns]
    return ms(after[0] - dump.samples[under[0]].ns) if after else None


def spoilt_gap(dump, victims):
    """The longest time without a sample, of those beside a low sample or between a kill and its
    memory's return: where it is long, the host did not run the guest, and what was timed says
    nothing. It cannot tell a guest's kernel that holds a CPU for so long from the host."""
    timed = [(one["ns"], one["ns"] + one["back_ms"] * 1e6) for one in victims
             if one["back_ms"] is not None]
    return ms(max((b.ns - a.ns for a, b in pairs(dump.samples)
                   if b.ns - a.ns >= GAP_NS
                   and (is_low(a, dump.total_kb) or is_low(b, dump.total_kb)
                        or any(a.ns < end and start < b.ns for start, end in timed))),
                  default=0))


def volleys(hits, account):
    """Kills, each a list of hits: one process's, and those of others shot with it (sharers of its
    memory, 20 ms apart at most, of the same item). A process named as a victim by the daemon
    begins a kill of its own however soon it comes; one that it shot without a name for it belongs
    to its last kill of that item (found late)."""
    leaders = {kill.pid for kill in account or ()}
    made, seen = [], {}
    for shot in hits:
        known = seen.get(shot.target)
        if known is not None:      # asked first, or shot twice
            known.append(shot)
            continue
        last = next((kill for kill in reversed(made)
                     if (kill[0].item, kill[0].by) == (shot.item, shot.by)), None)
        leads = shot.target in leaders and shot.by == "subject"
        joins = last and (shot.ns - last[-1].ns <= VOLLEY_NS or account and not leads)
        if joins and not (leads and any(one.target in leaders for one in last)):
            last.append(shot)
            seen[shot.target] = last
        else:
            made.append([shot])
            seen[shot.target] = made[-1]
    return made


def all_victims(dump, kills, account):
    """See victim()."""
    by_pid = {kill.pid: kill for kill in account or ()}
    made = []
    for i, kill in enumerate(kills):
        said = next((by_pid[shot.target] for shot in kill if shot.target in by_pid), None) \
            if kill[0].by == "subject" else None
        starts = [other[0].ns for other in kills[i + 1:]]
        made.append(victim(dump, kill, said, starts))
    return made


def victim(dump, kill, said, later):
    """One kill: from its first hit until half of what it gave was back (gain_back), before the
    next kill. Where no rise was seen by then, what the next one gave counts, and so on, for 10 s:
    the shortage was not over. None too for one that by the daemon's own account has given nothing.
    pid is the process it was for; signal_to_back_ms from its last hit (behind a SIGTERM's grace);
    signal_to_tenth_ms, until a tenth of MemTotal was back (gain_back): from its last hit where the
    daemon tells how long before that its trigger was, else from the first."""
    pid = said.pid if said else kill[0].target
    limit = kill[0].ns + VICTIM_WINDOW_NS
    back = None
    if said is None or said.outcome in RELEASED:
        for end_ns in sorted({min(ns, limit) for ns in [*later, limit]}):
            back = back or gain_back(dump, kill[0].ns, end_ns, said.expected_kb if said else None)
    signal_ns = max(shot.ns for shot in kill if shot.target == pid)
    return {"item": kill[0].item, "pid": pid, "by": kill[0].by, "signal": kill[0].sig,
            "ns": kill[0].ns, "processes": len({shot.target for shot in kill}),
            "available_mib": mib(dump.at(kill[0].ns).avail),
            "back_ms": ms(back.ns - kill[0].ns) if back else None,
            "signal_to_back_ms": ms(max(back.ns - signal_ns, 0)) if back else None,
            "signal_to_tenth_ms": ms(max(back.tenth_ns - (signal_ns if said else kill[0].ns), 0))
                                  if back else None,
            "gain_mib": mib(back.kb) if back else None,
            "wake_to_signal_ms": wake_to_signal(dump, kill),
            "trigger_to_signal_ms": ms(said.to_signal_ns) if said else None,
            "expected_mib": mib(said.expected_kb) if said and said.expected_kb else None,
            "released": said.outcome in RELEASED if said else None}


def trigger_to_back(dump, victims, account):
    """trigger_to_back_ms: from the daemon's own trigger (nobody else knows it) to the signal as
    it told, and from there to memory back as it was measured; of each kill, the worst.
    kills_untold: kills of its that it gives no account of. kills_unseen: kills of what it called
    released and large enough to be seen, of which nothing was seen. None with other daemons."""
    if account is None:
        return dict.fromkeys(("trigger_to_back_ms", "kills_untold", "kills_unseen"))
    mine = [one for one in victims if one["by"] == "subject"]
    timed = [one["trigger_to_signal_ms"] + one["signal_to_back_ms"] for one in mine
             if None not in (one["trigger_to_signal_ms"], one["signal_to_back_ms"])]
    seeable_mib = 2 * noise_kb(dump) / 1024
    unseen = [one for one in mine if one["released"] and one["back_ms"] is None
              and (one["expected_mib"] or seeable_mib) >= seeable_mib]
    return {"trigger_to_back_ms": round(max(timed), 1) if timed else None,
            "kills_untold": sum(one["trigger_to_signal_ms"] is None for one in mine),
            "kills_unseen": len(unseen)}


def wake_to_signal(dump, kill):
    """From the last time before its first hit that the daemon's main process was woken: somebody
    who looks at memory every so often has not looked before that. It is the least that lies
    between a daemon's trigger and its signal: whoever sleeps on the way (for a page, a lock, a
    helper) was woken later than that. None where it was not the daemon, or no waking was seen."""
    if kill[0].by != "subject":
        return None
    woken = [event.ns for event in dump.events if event.kind == "sched_waking"
             and event.pid == dump.meta.get("watch_pid") and event.ns <= kill[0].ns]
    return ms(kill[0].ns - woken[-1]) if woken else None


def acted_to_tenth(victims):
    """acted_to_tenth_ms, the time by which daemons are compared: from the trigger as the daemon
    tells it, or where it does not from when it was last woken before the signal (wake_to_signal,
    the least that it can be), until a tenth of MemTotal was back (gain_back); of each kill, the
    worst. A kill of the kernel's begins with its signal."""
    timed = [one["signal_to_tenth_ms"] + (first_known(one, "trigger_to_signal_ms",
                                                      "wake_to_signal_ms") or 0)
             for one in victims if one["signal_to_tenth_ms"] is not None]
    return round(max(timed), 1) if timed else None


def first_known(one, *keys):
    return next((one[key] for key in keys if one[key] is not None), None)

"""A run's results as a reader in a hurry wants them: a line each, a table at the end."""

COLUMNS = (
    ("kills", "kills_made", "{:.0f}"),
    ("procs", "processes_signalled", "{:.0f}"),
    ("lost", "innocents_lost", "{:.0f}"),
    ("kernel", "kernel_oom_kills", "{:.0f}"),
    ("avail@kill", "available_at_signal_mib", "{:.0f}"),
    ("lowest", "lowest_available_mib", "{:.0f}"),
    ("trigger→back", "trigger_to_back_ms", "{:.0f}"),
    ("signal→back", "signal_to_back_ms", "{:.0f}"),
    ("low→back", "low_to_back_ms", "{:.0f}"),
    ("line→back", "line_to_back_ms", "{:.0f}"),
    ("stall", "worst_stall_ms", "{:.0f}"),
    ("cpu", "daemon_cpu_ms", "{:.0f}"),
    ("rss", "daemon_rss_kib", "{:.0f}"),
    ("gaps", "sampler_gaps_ms", "{:.0f}"),
)


TIME_BAR = "recovery_under_"     # verdict.py's, the bars that are about time
SPOILT_GAP_MS = 200


def missed_bars(result):
    """Names of the bars that were not met."""
    return [name for name, met in (result.get("bars") or {}).items() if met is False]


def missed(result):
    """Whether an entry fails the run. The others are measured, not judged; but a hole in a
    comparison for want of what the full image is made to have is a fault of ours, and a daemon
    that could not be had has proved nothing."""
    ours = result.get("subject") == "oomreapd"
    if result.get("skipped"):
        return ours or result.get("image") == "full"
    return ours and bool(result.get("died") or result.get("error") or missed_bars(result)
                         or result.get("earlier_missed"))


def spoilt_by_ms(result):
    """How long the host kept the guest from running while something was timed, 0 where it does
    not matter: the same for every subject, whatever it made of it."""
    gap = (result.get("measures") or {}).get("spoilt_gap_ms") or 0
    return gap if gap > SPOILT_GAP_MS and not result.get("stopped_on_wish") else 0


def run_again(result, first):
    """Marks the result of an entry that has been run twice, the first time spoilt by the host:
    spoilt again, its times are not judged. What the first missed in counts it has missed."""
    result["run_again"] = f"the host held the guest up for {spoilt_by_ms(first):.0f} ms"
    counted = [name for name in missed_bars(first) if not name.startswith(TIME_BAR)]
    if counted or first.get("error"):
        result["earlier_missed"] = counted or ["ran"]
    if spoilt_by_ms(result):
        result["inconclusive"] = True
        result["bars"] = {name: met for name, met in (result.get("bars") or {}).items()
                          if not name.startswith(TIME_BAR)}
    return result


def verdict(result):
    """One word or two, and what happened before."""
    return plain_verdict(result) + "".join(f"; {text}" for text in earlier(result))


def plain_verdict(result):
    if result.get("skipped"):
        return f"{'SKIPPED' if missed(result) else 'skipped'}: {result['skipped']}"
    if result.get("died"):
        return f"DIED: {result['died']}"
    if result.get("error"):
        return f"ERROR: {result['error']}"
    bars = missed_bars(result)
    if not bars:
        return "inconclusive: counts are ok" if result.get("inconclusive") else "ok"
    word = "MISSED" if result.get("subject") == "oomreapd" else "misses"
    return f"{word}: {', '.join(bars)}{' (times inconclusive)' * bool(result.get('inconclusive'))}"


def earlier(result):
    """What came before this result."""
    if result.get("earlier_deaths"):
        yield f"died before: {', '.join(result['earlier_deaths'])}"
    if result.get("run_again"):
        yield f"run again: {result['run_again']}"
    if result.get("earlier_missed"):
        yield f"missed before: {', '.join(result['earlier_missed'])}"


def cells(result):
    """The measures of the table, - for what does not apply."""
    measures = result.get("measures") or {}
    for _, key, form in COLUMNS:
        value = measures.get(key)
        yield form.format(value) if isinstance(value, (int, float)) else "-"


def line(result):
    """One entry, as it ends."""
    measures = result.get("measures") or {}
    parts = [f"{label} {cell}" for (label, _, _), cell in zip(COLUMNS[:11], cells(result))
             if cell != "-"]
    text = f"{result['id']:48} {verdict(result)}"
    if measures:
        text += f"  ({', '.join(parts)})"
    for note in result.get("notes") or []:
        text += f"\n      {note}"
    if missed(result):
        text += "".join(f"\n      | {said}" for said in (result.get("said") or [])[-8:])
        lost = measures.get("innocents_lost_names")
        text += f"\n      lost: {', '.join(lost)}" if lost else ""
    return text


def table(results):
    """All entries, the columns aligned. Times in ms, memory in MiB (rss in KiB); kills: items,
    procs: their processes; trigger→back: the worst of all kills, signal→back: of the first;
    line→back: from the plain kill line, whoever the daemon; gaps: how long not even a realtime
    thread of the guest ran, which is the host's doing."""
    head = ["entry", *(label for label, _, _ in COLUMNS), "verdict"]
    rows = [head] + [[r["id"], *cells(r), verdict(r)] for r in results]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
    text = []
    for row in rows:
        numbers = " ".join(f"{cell:>{width}}" for cell, width in zip(row[1:-1], widths[1:]))
        text.append(f"{row[0]:<{widths[0]}} {numbers}  {row[-1]}")
    return "\n".join(text)

"""A run's results as a reader in a hurry wants them: a line each, a table at the end."""

COLUMNS = (
    ("kills", "kills_made", "{:.0f}"),
    ("lost", "innocents_lost", "{:.0f}"),
    ("kernel", "kernel_oom_kills", "{:.0f}"),
    ("avail@kill", "available_at_signal_mib", "{:.0f}"),
    ("lowest", "lowest_available_mib", "{:.0f}"),
    ("trigger→back", "trigger_to_back_ms", "{:.0f}"),
    ("signal→back", "signal_to_back_ms", "{:.0f}"),
    ("low→back", "low_to_back_ms", "{:.0f}"),
    ("stall", "worst_stall_ms", "{:.0f}"),
    ("cpu", "daemon_cpu_ms", "{:.0f}"),
    ("rss", "daemon_rss_kib", "{:.0f}"),
    ("gaps", "sampler_gaps_ms", "{:.0f}"),
)


def missed_bars(result):
    """Names of the bars that were not met."""
    return [name for name, met in (result.get("bars") or {}).items() if met is False]


def missed(result):
    """Whether an entry fails the run. The others are measured, not judged."""
    if result.get("subject") != "oomreapd":
        return False
    return bool(result.get("died") or result.get("error") or missed_bars(result))


def verdict(result):
    """One word or two."""
    if result.get("skipped"):
        return f"skipped: {result['skipped']}"
    if result.get("died"):
        return f"DIED: {result['died']}"
    if result.get("error"):
        return f"ERROR: {result['error']}"
    bars = missed_bars(result)
    if not bars:
        return "ok"
    word = "MISSED" if result.get("subject") == "oomreapd" else "misses"
    return f"{word}: {', '.join(bars)}"


def cells(result):
    """The measures of the table, - for what does not apply."""
    measures = result.get("measures") or {}
    for _, key, form in COLUMNS:
        value = measures.get(key)
        yield form.format(value) if isinstance(value, (int, float)) else "-"


def line(result):
    """One entry, as it ends."""
    measures = result.get("measures") or {}
    parts = [f"{label} {cell}" for (label, _, _), cell in zip(COLUMNS[:9], cells(result))
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
    """All entries, the columns aligned. Times in ms, memory in MiB (rss in KiB); gaps: how long
    not even a realtime thread of the guest ran, which is the host's doing."""
    head = ["entry", *(label for label, _, _ in COLUMNS), "verdict"]
    rows = [head] + [[r["id"], *cells(r), verdict(r)] for r in results]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
    text = []
    for row in rows:
        numbers = " ".join(f"{cell:>{width}}" for cell, width in zip(row[1:-1], widths[1:]))
        text.append(f"{row[0]:<{widths[0]}} {numbers}  {row[-1]}")
    return "\n".join(text)

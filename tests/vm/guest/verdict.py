"""From what was measured to bars: what a daemon promises, met or missed. Pure, runs anywhere.

`measured` says whether the counts can be believed at all: without a trace nobody was seen to
die. `recovered` is a low bar, MemAvailable above the plain kill line at the end; what it took
is in recovery_under_*, the only bars that are about time.

A bar that nothing was measured for is missed, not met, where the daemon under test is ours;
for the others it is left out: they make no such promise.
"""

OURS = "oomreapd"
TIME_BAR = "recovery_under_"


def bars(scenario, seen):
    """`seen`: subject, need, measures, lost (names), expected (the scenario's own bars), same
    (the daemon is the process it was), available_mib and line_mib at the end."""
    made = {
        "no_innocent_lost": not seen["lost"],
        "survived": seen["same"],
        "measured": is_measured(seen["measures"]),
    }
    made.update(kernel_bars(scenario, seen["measures"]))
    made.update(kill_bars(seen["need"], seen["measures"]))
    if scenario.recover:
        made["recovered"] = seen["available_mib"] > seen["line_mib"]
        made.update(speed_bars(seen["subject"], seen["measures"], scenario.back_within_ms))
    made.update(release_bars(seen["subject"], seen["measures"],
                             scenario.unreleased_ok))
    made.update({f"expected: {text}": ok for text, ok in seen["expected"].items()})
    return made


def is_measured(measures):
    """Events were traced, and none of what counts was lost."""
    return bool(measures.get("traced")) and not any(
        measures.get(key) for key in ("trace_lost", "log_lost", "samples_full"))


def kernel_bars(scenario, measures):
    """A memory cgroup's own OOM kills are in order only where the scenario meant them."""
    if scenario.kernel_kills is None:
        return {}
    kills = measures.get("kernel_oom_kills")
    return {"no_kernel_oom_kill": kills is not None and kills <= scenario.kernel_kills,
            "no_memcg_kill": not measures.get("memcg_kills_unmeant")}


def kill_bars(need, measures):
    """Kills are counted in items: however many processes one has, it dies once."""
    if need is None:
        return {}
    if measures.get("kills_made") is None:
        return {"kills_counted": False}
    judged = {"no_needless_kill": measures["kills_made"] <= need}
    if need:
        judged["killed_enough"] = measures["kills_made"] >= need
    return judged


def speed_bars(subject, measures, limit_ms):
    """From the trigger to memory back, each kill for itself; a kill of which nothing came back
    to be seen is none within the limit."""
    name = f"{TIME_BAR}{limit_ms // 1000}s"
    back_ms = measures.get("trigger_to_back_ms")
    if back_ms is None:
        return {name: False} if subject == OURS else {}
    in_full = not measures.get("kills_untold") and not measures.get("kills_unseen")
    return {name: in_full and back_ms < limit_ms}


def release_bars(subject, measures, unreleased_ok):
    """Every kill has given its memory back, where no scenario has made a victim stuck."""
    if subject != OURS or unreleased_ok:
        return {}
    return {"all_released": measures.get("kills_not_released") == 0}

"""From what was measured to bars: what a daemon promises, met or missed. Pure, runs anywhere.

A bar that nothing was measured for is missed, not met, where the daemon under test is ours;
for the others it is left out: they make no such promise.
"""

OURS = "oomreapd"


def bars(scenario, seen):
    """`seen`: subject, need, measures, lost (names), expected (the scenario's own bars), same
    (the daemon is the process it was), available_mib and line_mib at the end."""
    made = {
        "no_innocent_lost": not seen["lost"],
        "survived": seen["same"],
    }
    made.update(kernel_bars(scenario, seen["measures"]))
    made.update(kill_bars(seen["need"], seen["measures"]))
    if scenario.recover:
        made["recovered"] = seen["available_mib"] > seen["line_mib"]
        made.update(speed_bars(seen["subject"], seen["measures"], scenario.back_within_ms))
    made.update({f"expected: {text}": ok for text, ok in seen["expected"].items()})
    return made


def kernel_bars(scenario, measures):
    if scenario.kernel_kills is None:
        return {}
    kills = measures.get("kernel_oom_kills")
    return {"no_kernel_oom_kill": kills is not None and kills <= scenario.kernel_kills}


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
    name = f"recovery_under_{limit_ms // 1000}s"
    back_ms = measures.get("trigger_to_back_ms")
    if back_ms is None:
        return {name: False} if subject == OURS else {}
    return {name: back_ms < limit_ms}

"""oomreapd's own account of its kills, from its journal records.

A bar takes from it only what nobody else can know: when the daemon judged memory short, and
which process a kill was for. Whether and when memory was back is measured (recovery.py).
"""

from collections import namedtuple

from dump import ms

RELEASED = ("released", "released-absorbed")

# outcome: None where none was told by the end of the run
Kill = namedtuple("Kill", "pid to_signal_ns back_ns expected_kb outcome")


def account(journal):
    """Its kills in order: adoptions, dry runs and cancelled ones (which hit nobody) left out."""
    records = {}
    for at, record in enumerate(journal):
        if (record.get("OOMREAPD_EVENT") in ("kill", "outcome")
                and record.get("OOMREAPD_SESSION_KIND") == "kill"
                and str(record.get("OOMREAPD_DRY_RUN", "0")) == "0"):
            records.setdefault(record.get("OOMREAPD_SESSION", f"record {at}"), {}).update(record)
    kills = [kill_of(record) for record in records.values()]
    return [kill for kill in kills if kill.outcome != "cancelled"]


def kill_of(record):
    """A session's records, laid over each other."""
    expected = record.get("OOMREAPD_EXPECTED")
    return Kill(int(record.get("OOMREAPD_VICTIM_PID", 0)),
                usec(record, "OOMREAPD_TRIGGER_TO_SIGNAL_USEC"),
                usec(record, "OOMREAPD_SIGNAL_TO_RELEASED_USEC"),
                int(expected) // 1024 if expected is not None else None,
                record.get("OOMREAPD_OUTCOME"))


def own_figures(kills):
    """trigger_to_signal_ms, from the tick that judged memory short enough to the last signal
    sent; trigger_to_back_told_ms, to the release as the daemon itself measured it; each the worst
    of the run. kills_not_released: kills that ended otherwise (timed out, escaped, failed), or had
    not ended when the run had. The trigger is its own judgement: line_to_back_ms has one that is
    not. None where the daemon is another."""
    if kills is None:
        return dict.fromkeys(("trigger_to_signal_ms", "trigger_to_back_told_ms",
                              "kills_not_released"))
    whole = [kill.to_signal_ns + kill.back_ns for kill in kills
             if kill.to_signal_ns is not None and kill.back_ns is not None]
    return {"trigger_to_signal_ms": ms(max((kill.to_signal_ns for kill in kills
                                            if kill.to_signal_ns is not None), default=None)),
            "trigger_to_back_told_ms": ms(max(whole, default=None)),
            "kills_not_released": sum(kill.outcome not in RELEASED for kill in kills)}


def usec(record, field):
    """A duration field in ns, None where it is not there: the daemon leaves out what was not."""
    return int(record[field]) * 1000 if field in record else None

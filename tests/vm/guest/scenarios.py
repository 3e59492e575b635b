"""All scenarios: importing this module enters every one of them.

Runs on the host too (to list them), so nothing is done at import.
"""

from registry import SCENARIOS, Scenario, scenario

import scenarios_unit
import scenarios_leaks
import scenarios_swap
import scenarios_hard
import scenarios_calm
import scenarios_servers
import scenarios_notify

__all__ = ["SCENARIOS", "Scenario", "in_set", "scenario"]

MODULES = (scenarios_unit, scenarios_leaks, scenarios_swap, scenarios_hard, scenarios_calm,
           scenarios_servers, scenarios_notify)


def in_set(name):
    """The scenarios of a set (short, all, compare), in the order they were entered."""
    return [s for s in SCENARIOS.values() if name in s.sets]

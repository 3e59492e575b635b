"""The list of scenarios.

Kept apart from what runs them, so that the host can read names, sets and memory sizes without
a guest. Nothing happens at import but that scenarios enter themselves here.
"""

SCENARIOS = {}

DEFAULTS = {
    "sets": ("all",),
    "need": None,           # items that must die, and no more; None: w.need, or not judged
    "recover": None,        # a kill can free the memory; default: whenever somebody must die
    "back_within_ms": 1000,  # of the trigger; longer only where a victim is asked first
    "nobody": False,        # nobody may die
    "kernel_kills": 0,      # kills of the kernel's own that are in order; None: any number
    "oomreapd_only": False,
    "conf": (),             # SECTION.KEY=VALUE lines of its own, before those of the command line
    "memory": 1024,         # MiB of the guest
    "timeout": 60,          # seconds
    "calm_s": 2,            # quiet seconds that still count, after the scenario
    "unreleased_ok": False,  # a kill may end without the memory's coming back
    "small_heartbeat": False,  # not worth a kill either, but it feels no swap
    "image": "base",        # "full" where it needs PostgreSQL, gcc and the like
}
PAST_DEADLINE_S = 12        # calm_s where a victim is stuck: what happens when its 10 s are over


class Skip(Exception):
    """Raised by a scenario that cannot be had here; its text says why. Not for what our own
    images are made with: where that is missing, something is wrong."""


class Scenario:
    """One scenario: what it does, and what is to be expected of a daemon in it."""

    def __init__(self, name, run, **expected):
        unknown = set(expected) - set(DEFAULTS)
        if unknown:
            raise TypeError(f"scenario {name}: unknown keyword {', '.join(sorted(unknown))}")
        self.name = name
        self.run = run
        self.__dict__.update({**DEFAULTS, **expected})
        if self.nobody:
            self.need = 0
        if self.recover is None:
            self.recover = bool(self.need)


def scenario(name, **expected):
    """Enters the function under it as a scenario; the keywords are those of DEFAULTS."""

    def enter(run):
        if name in SCENARIOS:
            raise ValueError(f"two scenarios are called {name}")
        SCENARIOS[name] = Scenario(name, run, **expected)
        return run

    return enter

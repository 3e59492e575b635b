"""Who signalled whom: from the kernel's trace to shots with a sender, a target and a reason.

The trace knows the thread that sent a signal and the task it was sent to, and nothing of items,
daemons or runners. Those are found by ancestry: a process belongs to the nearest of its ancestors
that is a root of something. Pure: text in, plain values out.
"""

import re
from collections import namedtuple

SIGKILL, SIGTERM = 9, 15
SI_KERNEL = 0x80
SENT_BY_CALL = (0, -1, -6)  # SI_USER, SI_QUEUE, SI_TKILL: kill, pidfd_send_signal, tgkill
CLONE_THREAD = 0x10000
OOM_CONTEXT_NS = 2_000_000_000  # a victim's signal and its mark_victim: reports lie between

HEADER = re.compile(
    r"^ *(.+)-(\d+) +\[\d+\] +\S+ +(\d+)\.(\d{6}): "
    r"(signal_generate|task_newtask|sched_process_fork|sched_process_exit|"
    r"sched_waking|mark_victim): ", re.M)
BODIES = {
    "signal_generate": re.compile(
        r"sig=(?P<sig>\d+) errno=-?\d+ code=(?P<code>-?\d+) comm=(?P<comm>.*) "
        r"pid=(?P<pid>\d+) grp=\d+ res=(?P<res>\d+)", re.S),
    "task_newtask": re.compile(
        r"pid=(?P<pid>\d+) comm=(?P<comm>.*) clone_flags=(?P<flags>[0-9a-f]+) oom", re.S),
    "sched_process_fork": re.compile(
        r"comm=.* pid=\d+ child_comm=(?P<comm>.*) child_pid=(?P<pid>\d+)", re.S),
    "sched_process_exit": re.compile(r"comm=(?P<comm>.*) pid=(?P<pid>\d+) prio=", re.S),
    "sched_waking": re.compile(r"comm=(?P<comm>.*) pid=(?P<pid>\d+) prio=", re.S),
    "mark_victim": re.compile(r"pid=(?P<pid>\d+)"),
}

Event = namedtuple("Event", "ns tid comm kind pid fields")
Task = namedtuple("Task", "tgid ppid comm")
# by: subject | other | kernel, or what is nobody's kill: self | own | item | parent | runner |
# kernel-other. fresh: the target was alive and not being killed yet (the kernel took the signal).
Shot = namedtuple("Shot", "ns sig by sender sender_comm target target_comm item fresh")


def parse_trace(text):
    """Events in the order of time. A comm may hold anything, newlines too: what lies between one
    header and the next is one event, and an event that still makes no sense is left out."""
    heads = list(HEADER.finditer(text))
    events = []
    for i, head in enumerate(heads):
        end = heads[i + 1].start() if i + 1 < len(heads) else len(text)
        body = BODIES[head[5]].match(text[head.end():end])
        if body:
            fields = body.groupdict()
            ns = int(head[3]) * 1_000_000_000 + int(head[4]) * 1000
            events.append(Event(ns, int(head[2]), head[1], head[5], int(fields["pid"]), fields))
    return sorted(events, key=lambda event: event.ns)


def parse_tasks(text):
    """tasks.txt: the threads alive when the trace began, by tid."""
    tasks = {}
    for line in text.splitlines():
        tid, tgid, ppid, comm = line.split(" ", 3)
        tasks[int(tid)] = Task(int(tgid), int(ppid), comm)
    return tasks


class Ancestry:
    """Which process a thread is of, and to what a process belongs, at the moment asked for.

    `roots`: pid → label. A number that is used again gets the new task's label, because events
    are told in the order of time; only a root's own number is trusted for the whole run.
    """

    def __init__(self, tasks, roots):
        self.tgid = {tid: task.tgid for tid, task in tasks.items()}
        self.comm = {tid: task.comm for tid, task in tasks.items()}
        self.roots = roots
        self.label = {}
        self.exited = set()
        for task in tasks.values():
            self.label[task.tgid] = self._nearest(tasks, task.tgid)

    def _nearest(self, tasks, pid):
        for _ in range(64):
            if pid in self.roots:
                return self.roots[pid]
            if pid not in tasks:
                return None
            pid = tasks[pid].ppid
        return None

    def born(self, event):
        creator = self.tgid.get(event.tid, event.tid)
        is_thread = int(event.fields.get("flags") or "0", 16) & CLONE_THREAD
        process = creator if is_thread else event.pid
        self.tgid[event.pid] = process
        self.comm[event.pid] = event.fields["comm"]
        self.exited.discard(event.pid)
        if not is_thread:
            self.label[event.pid] = self.roots.get(event.pid, self.of(creator))

    def ended(self, event):
        self.exited.add(event.pid)
        self.comm[event.pid] = event.fields["comm"]

    def process(self, tid):
        return self.tgid.get(tid, tid)

    def of(self, tid):
        process = self.process(tid)
        return self.label.get(process, self.roots.get(process))


def oom_contexts(events):
    """When each thread was in the kernel's OOM killer: tid → times of its mark_victim."""
    contexts = {}
    for event in events:
        if event.kind == "mark_victim":
            contexts.setdefault(event.tid, []).append(event.ns)
    return contexts


def sender_class(event, kin, contexts):
    """By whom a signal was sent, told from the sender and the code, in this order:

    kernel: SIGKILL with SI_KERNEL from a thread that marks an OOM victim within 2 s (the OOM
    killer signals in the context of whoever allocates, which may be the victim itself or the
    daemon; sharers of the mm get theirs without a mark of their own). parent: the sender had
    exited already, so it is a PDEATHSIG. self: sender and target are one process (abort, raise).
    subject: sent by the daemon under test or its children, not to themselves. own: within one
    item. kernel-other: no system call sent it. runner: of the test's own. item: one item to
    another. other: all the rest, PID 1 for instance.
    It cannot tell a kill that the daemon asked another process to make: that is `other`.
    """
    code, sig = int(event.fields["code"]), int(event.fields["sig"])
    sender, target = kin.of(event.tid), kin.of(event.pid)
    if code == SI_KERNEL and sig == SIGKILL and any(
            abs(ns - event.ns) <= OOM_CONTEXT_NS for ns in contexts.get(event.tid, ())):
        return "kernel"
    if event.tid in kin.exited:
        return "parent"
    if kin.process(event.tid) == kin.process(event.pid):
        return "self"
    if sender is not None and sender == target:
        return "own"
    if code not in SENT_BY_CALL:
        return "kernel-other"
    if sender == ("subject",):
        return "subject"
    if sender == ("runner",):
        return "runner"
    return "item" if sender else "other"


def shots(events, tasks, roots):
    """All SIGKILL and SIGTERM sent, in order. `fresh` is the kernel's own word (res=0): a signal
    to a process that is dying already, or ignores it, is none."""
    kin = Ancestry(tasks, roots)
    contexts = oom_contexts(events)
    fired = []
    for event in events:
        if event.kind in ("task_newtask", "sched_process_fork"):
            kin.born(event)
        elif event.kind == "sched_process_exit":
            kin.ended(event)
        elif event.kind == "signal_generate" and int(event.fields["sig"]) in (SIGKILL, SIGTERM):
            fired.append(shot(event, kin, sender_class(event, kin, contexts)))
    return fired


def shot(event, kin, by):
    label = kin.of(event.pid)
    comm = event.comm if "<...>" not in event.comm else kin.comm.get(event.tid, "?")
    return Shot(event.ns, int(event.fields["sig"]), by, kin.process(event.tid), comm,
                kin.process(event.pid), event.fields["comm"],
                label[1] if label and label[0] == "item" else None, event.fields["res"] == "0")


LOG_KILL = re.compile(r"(Memory cgroup out of memory|Out of memory)[^:]*: Killed process (\d+)")


def kernel_log_kills(text):
    """The kernel's own list of its OOM kills: (of the machine, of memory cgroups), pids each.
    Complete only where the meter lost none of the log."""
    machine, memcg = [], []
    for kind, pid in LOG_KILL.findall(text):
        (memcg if kind.startswith("Memory") else machine).append(int(pid))
    return machine, memcg

"""Who looks after the machine's memory while a scenario runs: starts, watches and stops it.

A comparison is only worth something when everybody runs as its packager meant it to: each
subject is the unit of its Debian package with the settings it ships. Where those do nothing for
the place in which the loads live (load.service), they are moved there, number by number
unchanged; bench/compare/README.md says what was moved and why.

Nothing here judges or measures memory, and nothing may stay running after stop(): two daemons
at once would answer for each other.
"""

import glob
import os
import re
import subprocess
import time

CGROUP_ROOT = "/sys/fs/cgroup"
LOADS = "system.slice/load.service"
OOMREAPD_CONF = "/etc/oomreapd.conf.d/50-test.conf"
META_RULES = "/run/oomd-vm.json"
META_DROP_IN = "/run/systemd/system/oomd.service.d/50-vm.conf"

# A daemon counts as ready when it did next to nothing for this long: an interpreter that still
# loads its modules, or a rehearsal, must neither be measured nor race with the scenario.
QUIET_S = 1.0
QUIET_SHARE = 0.10


class SubjectError(Exception):
    """It cannot be had."""


class SubjectMissing(SubjectError):
    """The image does not have it: the entry is skipped, it is not a missed bar."""


class SubjectFailed(SubjectError):
    """It is there, but did not start or did not get ready."""


def _run(*words, timeout=60):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, check=False)


def _read(path):
    """A file's text, or "" when it or its process is gone: ends race with every look."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _write(path, text):
    """Says whether the file had to change, so that systemd reloads only when it must."""
    if _read(path) == text:
        return False
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def _figure(text, pattern):
    found = re.search(pattern, text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def conf_text(conf_lines):
    """'Section.Key=value' lines as a file's text; a section's name may itself have dots."""
    sections = {}
    for line in conf_lines:
        path, equals, value = line.partition("=")
        section, dot, key = path.rpartition(".")
        if not (equals and dot and section and key):
            raise ValueError(f"not Section.Key=value: {line!r}")
        sections.setdefault(section, []).append(f"{key}={value}")
    return "\n".join(f"[{name}]\n" + "\n".join(keys) + "\n" for name, keys in sections.items())


def meta_rules(shipped):
    """Debian's rule file with its user session moved to where the loads live.

    Its numbers stay. The shipped candidates include system.slice/*, and so load.service as one
    piece; here each item in it stands for a service or session of its own.
    """
    loads = shipped.replace('"cgroup": "user.slice"', f'"cgroup": "{LOADS}"')
    moved = re.sub(r'"cgroup": "user\.slice/[^"]*"', f'"cgroup": "{LOADS}/*"', loads)
    if moved.count(f'"{LOADS}"') != 2 or moved.count(f'"{LOADS}/*"') != 2:
        raise SubjectFailed("the shipped oomd.json is not the one that is known here")
    return moved


class Subject:
    """No daemon at all; and what all the daemons have in common."""

    name = "none"
    unit = None
    also = ()            # further units that go with it
    package = None
    program = None

    def __init__(self, conf_lines=()):
        self.conf_lines = list(conf_lines)
        self._cgroup = None
        self._base = (0, 0)

    def start(self, timeout=30):
        """Everybody else is stopped; this one is configured, started and waited for."""
        if not self.present():
            raise SubjectMissing(f"{self.name} is not in this image")
        _run("systemctl", "stop", *self._all_units())
        self.configure()
        if not self.unit:
            return
        _run("systemctl", "reset-failed", self.unit, *self.also)
        done = _run("systemctl", "start", *self.also, self.unit)
        if done.returncode != 0:
            raise SubjectFailed(f"{self.name} did not start: {done.stdout}{self._last_words()}")
        self.ready(timeout)

    def present(self):
        return not self.program or os.path.exists(self.program)

    def configure(self):
        """Whatever must be written before the start. conf_lines are oomreapd's alone."""

    def ready(self, timeout=30):
        """Waits until it has done its start-up work; figures count from here on."""
        if not self.unit:
            return
        end = time.monotonic() + timeout
        quiet_since, before = None, None
        while time.monotonic() < end:
            now, used = time.monotonic(), self._usage_us()
            calm = before and self._settled() and \
                used - before[1] < QUIET_SHARE * 1e6 * (now - before[0])
            if not calm:
                quiet_since = now
            elif now - quiet_since >= QUIET_S:
                self._base = (used, self._switches())
                return
            before = (now, used)
            time.sleep(0.2)
        raise SubjectFailed(f"{self.name} was not ready after {timeout} s: {self._last_words()}")

    def pids(self):
        """All processes of the unit: the main one and its helpers."""
        path = self._cgroup_path()
        found = []
        for procs in [path + "/cgroup.procs"] + glob.glob(path + "/*/cgroup.procs") if path else []:
            found += [int(pid) for pid in _read(procs).split()]
        return found

    def pid(self):
        """The main one, as systemd has it; None when it does not run."""
        return int(self._shown("MainPID") or 0) or None

    def active(self):
        """Nobody is always there."""
        return not self.unit or self._shown("ActiveState") == "active"

    def cpu_ms(self):
        """Processor time since ready(), with that of threads and helpers that have ended."""
        used = self._usage_us()
        return round((used - self._base[0] if used >= self._base[0] else used) / 1000, 3)

    def rss_kib(self):
        return sum(_figure(_read(f"/proc/{pid}/status"), r"^VmRSS:\s+(\d+)") for pid in self.pids())

    def wakeups(self):
        """Voluntary context switches since ready(): each is a sleep that ended."""
        made = self._switches()
        return made - self._base[1] if made >= self._base[1] else made

    def restarts(self):
        """How often systemd had to start it again: a daemon that died on duty."""
        return int(self._shown("NRestarts") or 0)

    def stop(self):
        """Never raises, also after a failed start. The caller has ended the shortage before."""
        self._cgroup = None
        try:
            if self.unit:
                _run("systemctl", "stop", self.unit, *self.also, timeout=120)
        except (OSError, subprocess.TimeoutExpired):
            pass    # the next start stops it again, and says so when it cannot

    def version(self):
        if not self.package:
            return ""
        return _run("dpkg-query", "-W", "-f", "${Version}", self.package).stdout.strip()

    def _cgroup_path(self):
        """Asked of systemd once: when memory is short only files are read."""
        if self.unit and not self._cgroup:
            shown = self._shown("ControlGroup")
            self._cgroup = CGROUP_ROOT + shown if shown else None
        return self._cgroup

    def _settled(self):
        """All threads sleep, and the main process is the daemon, not yet systemd's fork."""
        states = []
        for pid in self.pids():
            if _read(f"/proc/{pid}/comm").startswith("("):
                return False
            for stat in glob.glob(f"/proc/{pid}/task/*/stat"):
                states.append(_read(stat).rpartition(")")[2].strip()[:1])
        return bool(states) and all(state == "S" for state in states)

    def _usage_us(self):
        path = self._cgroup_path()
        return _figure(_read(path + "/cpu.stat"), r"^usage_usec (\d+)") if path else 0

    def _switches(self):
        files = [file for pid in self.pids() for file in glob.glob(f"/proc/{pid}/task/*/status")]
        return sum(_figure(_read(file), r"^voluntary_ctxt_switches:\s+(\d+)") for file in files)

    def _shown(self, name):
        if not self.unit:
            return ""
        return _run("systemctl", "show", "-p", name, "--value", self.unit).stdout.strip()

    def _last_words(self):
        return _run("journalctl", "-u", self.unit, "-n", "5", "-o", "cat", "--no-pager").stdout

    @staticmethod
    def _all_units():
        return [unit for kind in SUBJECTS.values() if kind.unit
                for unit in (kind.unit, *kind.also)] + ["nohang.service"]


class Oomreapd(Subject):
    """The project's own, installed from its own `meson install`."""

    name = "oomreapd"
    unit = "oomreapd.service"

    def present(self):
        return self._shown("LoadState") == "loaded"

    def configure(self):
        """Without lines the file must be gone: the entry before may have left one."""
        if self.conf_lines:
            _write(OOMREAPD_CONF, conf_text(self.conf_lines))
        elif os.path.exists(OOMREAPD_CONF):
            os.unlink(OOMREAPD_CONF)

    def version(self):
        return _run("oomreapd", "--version").stdout.partition("\n")[0].split()[-1]


class Earlyoom(Subject):
    """Debian's defaults: SIGTERM at 10 % of memory and swap, SIGKILL at half of that."""

    name = "earlyoom"
    unit = "earlyoom.service"
    package = "earlyoom"
    program = "/usr/bin/earlyoom"


class SystemdOomd(Subject):
    """Debian's defaults, which are Fedora's; load.service itself plays user@.service's part."""

    name = "systemd-oomd"
    unit = "systemd-oomd.service"
    also = ("systemd-oomd.socket",)
    package = "systemd-oomd"
    program = "/lib/systemd/systemd-oomd"


class Nohang(Subject):
    """The desktop unit, which its documentation starts: the other one never looks at PSI."""

    name = "nohang"
    unit = "nohang-desktop.service"
    package = "nohang"
    program = "/usr/sbin/nohang"


class MetaOomd(Subject):
    """Debian's rule file, moved; and its own mount point, which the package has for cgroup v1."""

    name = "oomd"
    unit = "oomd.service"
    package = "oomd"
    program = "/usr/bin/oomd"

    def configure(self):
        rules = meta_rules(_read("/etc/oomd/oomd.json"))
        options = f"--interval 1 --config {META_RULES} --cgroup-fs {CGROUP_ROOT}"
        unit = f'[Service]\nEnvironmentFile=\nEnvironment="DAEMON_OPTS={options}"\n'
        _write(META_RULES, rules)
        if _write(META_DROP_IN, unit):
            _run("systemctl", "daemon-reload")


SUBJECTS = {kind.name: kind
            for kind in (Subject, Oomreapd, Earlyoom, SystemdOomd, Nohang, MetaOomd)}


NAMES = tuple(SUBJECTS)


def subject(name, conf_lines=()):
    """A fresh one; KeyError for a name that nobody has."""
    return SUBJECTS[name](conf_lines)

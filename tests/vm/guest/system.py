"""The guest's machine as scenarios and the runner see it: memory, swap, disks, kernel log.

What is changed here is entered with defer(), so that it is undone at the end of the entry.
"""

import json
import os
import re
import subprocess
import time

MIB = 1024 * 1024
OUT_DIR = "/run/vm"
SWAP_DISK = "/dev/disk/by-id/virtio-swap"
UNIT = "oomreapd.service"
MEMCG_KILL = re.compile(r"oom-kill:constraint=CONSTRAINT_MEMCG\b.*\btask_memcg=([^,]+)")


def read(path, default=""):
    """A small file, or the default where it is gone or refuses."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return default


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(str(text))


def run(argv, check=True, timeout=60):
    """A command of the runner's own; its output."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout, check=False)
    text = done.stdout.decode(errors="replace")
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.returncode}: {text.strip()[-400:]}")
    return text


def meminfo():
    """/proc/meminfo in bytes."""
    fields = (line.split() for line in read("/proc/meminfo").splitlines())
    return {f[0].rstrip(":"): int(f[1]) * (1024 if len(f) > 2 else 1) for f in fields}


def vmstat(name):
    found = re.search(rf"^{name} (\d+)$", read("/proc/vmstat"), re.M)
    return int(found[1]) if found else 0


def cgroup_pids(cgroup):
    """All processes of a cgroup and what is below it."""
    found = []
    for where, _, files in os.walk(cgroup):
        if "cgroup.procs" in files:
            found += [int(pid) for pid in read(f"{where}/cgroup.procs").split()]
    return sorted(found)


class KernelLog:
    """What the kernel says from now on: only its log tells a kill for a cgroup's limit from
    one for the whole machine."""

    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)
        self.lines = []

    def update(self):
        while True:
            try:
                record = os.read(self.fd, 8192)
            except BlockingIOError:
                return self.lines
            except BrokenPipeError:  # some were overwritten
                self.lines.append("(lost)")
                continue
            text = record.decode(errors="replace").partition(";")[2]
            self.lines.append(text.partition("\n")[0])

    def kills(self):
        """(for the machine, for a cgroup): the kernel's own kills, process by process."""
        killed = [line for line in self.update() if "Killed process" in line]
        for_cgroup = [line for line in killed if line.startswith("Memory cgroup out of memory")]
        return len(killed) - len(for_cgroup), len(for_cgroup)

    def memcg_victims(self):
        """The cgroups of processes killed for a cgroup's own limit."""
        found = (MEMCG_KILL.search(line) for line in self.update())
        return [match[1] for match in found if match]

    def close(self):
        os.close(self.fd)


class Journal:
    """A unit's records since this was made."""

    def __init__(self):
        text = run(["journalctl", "-n", "0", "--show-cursor"], check=False)
        found = re.search(r"-- cursor: (\S+)", text)
        self.since = [f"--after-cursor={found[1]}"] if found else []

    def records(self, unit=UNIT):
        run(["journalctl", "--sync"], check=False)
        text = run(["journalctl", "-o", "json", "--no-pager", "-u", unit, *self.since],
                   check=False)
        records = []
        for line in text.splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
        return records


class System:
    """The part of a World that has to do with the machine."""

    def mem_available(self):
        """In MiB."""
        return meminfo()["MemAvailable"] / MIB

    def psi(self):
        """Totals of /proc/pressure/memory in µs, by `some` and `full`."""
        found = re.findall(r"^(some|full) .*total=(\d+)", read("/proc/pressure/memory"), re.M)
        return {kind: int(total) for kind, total in found}

    def command(self, argv, check=True, timeout=60):
        """A helper outside the items; its output."""
        return run(argv, check, timeout)

    def swap(self, kind, mib=None, algorithm=None):
        """Swap on zram (of this size, else half of memory) or on the throttled disk."""
        if kind == "zram":
            device = self.make_zram(mib or int(self.total_mib / 2), algorithm)
        else:
            device = SWAP_DISK
        run(["mkswap", device])
        run(["swapon", "--priority", "100" if kind == "zram" else "10", device])
        self.defer(lambda: run(["swapoff", device], timeout=120))
        return device

    def make_zram(self, mib, algorithm):
        run(["modprobe", "zram"])
        device = "/sys/block/zram0"
        if not self.until(lambda: os.path.exists(device), 5):
            raise RuntimeError("no zram device")
        self.defer(lambda: write(f"{device}/reset", "1"))
        if algorithm:
            write(f"{device}/comp_algorithm", algorithm)
        write(f"{device}/disksize", f"{mib}M")
        self.until(lambda: os.path.exists("/dev/zram0"), 5)
        return "/dev/zram0"

    def mount(self, disk):
        """Mounts one of the further disks (frz, slow); the directory."""
        where = f"{OUT_DIR}/{disk}"
        os.makedirs(where, exist_ok=True)
        run(["mount", f"/dev/disk/by-id/virtio-{disk}", where])
        self.defer(lambda: self.unmount(where))
        return where

    def unmount(self, where):
        """The last file is closed a moment after its process looks gone."""
        end = time.monotonic() + 10
        while os.system(f"umount {where} 2>/dev/null") != 0:
            if time.monotonic() > end:
                raise RuntimeError(f"{where} is busy")
            time.sleep(0.2)

    def fsfreeze(self, where):
        """Writers into it are stuck in D from here on."""
        self.frozen.append(where)
        run(["fsfreeze", "--freeze", where])

    def fsthaw(self, where):
        if where in self.frozen:
            self.frozen.remove(where)
            run(["fsfreeze", "--unfreeze", where])

    def ask_pause(self, seconds=20):
        """Has the host stop the whole guest. The guest's clock stands still meanwhile; only
        the battery clock goes on, and by it we see that it has happened."""

        def ahead():
            return int(read("/sys/class/rtc/rtc0/since_epoch", "0")) - time.time()

        before = ahead()
        self.send({"ask": "pause", "seconds": seconds})
        return self.until(lambda: ahead() - before > seconds * 0.6, 30, 0.2)

    def ask_freeze(self, seconds=20):
        """Has the host stop the emulator itself, as a busy host does with a process. Here the
        guest's clock runs on: all of it is missing between two looks; true when it was."""
        self.send({"ask": "freeze", "seconds": seconds})
        last = [time.monotonic()]

        def jumped():
            before, last[0] = last[0], time.monotonic()
            return last[0] - before > seconds * 0.6

        return self.until(jumped, seconds + 30, 0.05)

    def kernel_oom_kills(self):
        """Processes the kernel has killed itself since the scenario began, memcg ones too."""
        return vmstat("oom_kill") - self.oom_kills_before

    def journal(self, unit=UNIT):
        """Records since the scenario began, as dicts of their fields: those of the daemon
        itself, or all that `journalctl -u` shows for another unit."""
        records = self.journal_since.records(unit)
        return [r for r in records if unit != UNIT or r.get("_SYSTEMD_UNIT") == unit]

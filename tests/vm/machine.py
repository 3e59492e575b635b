"""One guest: QEMU under software emulation, booted, listened to, paused, ended.

A guest speaks in lines of JSON on its second serial port; the first has the kernel's console
and the runner's stderr. Every disk is a throw-away copy, so that nothing outlives the run.
"""

import ctypes
import json
import mmap
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1
SLOW_BYTES_PER_S = 40 << 20     # a tired disk: a thrash must hurt, and end within a minute
SWAP_BYTES_PER_S = 40 << 20
SEEKS_PER_S = 300               # what is wanted at random does not come at 40 MiB/s

# No KVM is asked for: machines that build have none, and the bars are met without.
# rdrand: or the guest waits for entropy. The mitigations cost an emulated guest half its speed.
# The watchdog of clocks finds TSC unstable where CPUs are emulated, and every look at the clock
# would become an exit; and a guest of a busy host measures its frequency wrong, by factors, with
# which PSI and all times would be wrong: it is told (an emulated TSC runs as this machine's).
ACCEL = "tcg,thread=multi"
CPU = "qemu64,+rdrand"
# An OOM report on an emulated serial port would hold a CPU for long in what is measured.
CMDLINE = ("console=ttyS0 quiet loglevel=3 psi=1 oops=panic panic=-1 mitigations=off tsc=reliable "
           "random.trust_cpu=on systemd.show_status=no tsc_early_khz={khz}")


class Machine:
    """A booted guest and the directory of its own in which it keeps what it writes."""

    def __init__(self, cache, kernel, image, memory_mib, payload):
        self.work = tempfile.mkdtemp(prefix="vm-", dir=cache)
        self.console = os.path.join(self.work, "console")
        self.results = os.path.join(self.work, "results")
        self.lines_read = 0
        self.partial = b""
        here, there = socket.socketpair()
        here.settimeout(60)
        self.qmp = here.makefile("rw", encoding="utf-8")
        self.monitor_ready = False
        tree = os.path.join(cache, f"kernel-{kernel}")
        argv = [qemu_path(cache), "-accel", os.environ.get("VM_ACCEL", ACCEL), "-cpu",
                os.environ.get("VM_CPU", CPU), "-smp", "2", "-m", str(memory_mib), "-nographic",
                "-nodefaults", "-no-user-config", "-no-reboot",
                "-kernel", f"{tree}/vmlinuz", "-initrd", f"{tree}/initrd", "-append",
                CMDLINE.format(khz=tsc_khz()),
                "-serial", f"file:{self.console}", "-serial", f"file:{self.results}",
                "-chardev", f"socket,id=qmp,fd={there.fileno()}", "-mon", "qmp,mode=control"]
        argv += disk("root", os.path.join(cache, f"root-{image}.img"))
        argv += disk("payload", payload)
        argv += disk("frz", os.path.join(cache, "frz.img"))
        argv += disk("swap", os.path.join(cache, "swap.img"), SWAP_BYTES_PER_S, SEEKS_PER_S)
        argv += disk("slow", os.path.join(cache, "slow.img"), SLOW_BYTES_PER_S, SEEKS_PER_S)
        with open(os.path.join(self.work, "qemu.log"), "wb") as log:
            # Throw-away copies go where TMPDIR says.
            self.qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         pass_fds=[there.fileno()], preexec_fn=die_with_parent,
                                         env={**os.environ, "TMPDIR": self.work})
        there.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def alive(self):
        """Whether QEMU still runs."""
        return self.qemu.poll() is None

    def lines(self):
        """The JSON objects that have come since the last call, and texts of what is none."""
        try:
            with open(self.results, "rb") as f:
                f.seek(self.lines_read)
                new = f.read()
        except FileNotFoundError:
            return []
        self.lines_read += len(new)
        *whole, self.partial = (self.partial + new).split(b"\n")
        return [parse(line) for line in whole if line.strip()]

    def command(self, name, **arguments):
        """One command of QEMU's monitor, answered."""
        if not self.monitor_ready:
            self.monitor_ready = True
            self.qmp.readline()
            self.command("qmp_capabilities")
        self.qmp.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.qmp.flush()
        while True:
            answer = json.loads(self.qmp.readline() or '{"error": "QEMU has gone"}')
            if "event" not in answer:
                return answer

    def pause(self, seconds):
        """The whole machine stands still, as under a busy host or a snapshot."""
        self.command("stop")
        time.sleep(seconds)
        self.command("cont")

    def freeze(self, seconds):
        """Stops QEMU itself, as a host does that has no time for it: other than in a pause, the
        guest's clock has jumped when it goes on."""
        self.qemu.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self.qemu.send_signal(signal.SIGCONT)

    def console_tail(self, lines=40):
        """The end of what the kernel said, and QEMU itself."""
        text = ""
        for name in ("qemu.log", "console"):
            try:
                with open(os.path.join(self.work, name), encoding="utf-8", errors="replace") as f:
                    text += "".join(f.readlines()[-lines:])
            except FileNotFoundError:
                pass
        return text.replace("\r", "")

    def panicked(self):
        """Whether the guest's end was the kernel's."""
        return "Kernel panic" in self.console_tail(400)

    def close(self):
        """Ends QEMU and takes its directory away."""
        if self.alive():
            self.qemu.kill()
        self.qemu.wait()
        self.qmp.close()
        shutil.rmtree(self.work, ignore_errors=True)


def die_with_parent():
    """A run that is killed must not leave a guest behind that eats the machine."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def tsc_khz():
    """The frequency of this machine's time stamp counter."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3")     # rdtsc; shl; or; ret
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    ticks, began = rdtsc(), time.monotonic_ns()
    time.sleep(0.2)
    return (rdtsc() - ticks) * 1_000_000 // (time.monotonic_ns() - began)


def qemu_path(cache):
    """The QEMU in the cache, where backports had a better one, or the system's."""
    own = os.path.join(cache, "qemu", "run")
    return own if os.path.exists(own) else shutil.which("qemu-system-x86_64")


def qemu_version(cache):
    """What QEMU calls itself, None when it cannot be run."""
    try:
        done = subprocess.run([qemu_path(cache) or "", "--version"], capture_output=True,
                              text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.splitlines()[0]


def disk(serial, path, bytes_per_s=0, iops=0):
    """Arguments of one virtio disk; in the guest it is /dev/disk/by-id/virtio-SERIAL."""
    drive = f"file={path},format=raw,if=none,id={serial},snapshot=on,cache=unsafe"
    if bytes_per_s:
        drive += f",throttling.bps-total={bytes_per_s}"
    if iops:
        drive += f",throttling.iops-total={iops}"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive={serial},serial={serial}"]


def parse(line):
    """A guest's line; what is no JSON is handed on as a log text."""
    text = line.decode(errors="replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"log": text}

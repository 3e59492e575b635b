"""One guest: QEMU under software emulation, booted, listened to, paused, ended.

A guest speaks in lines of JSON on its second serial port; the first has the kernel's console
and the runner's stderr. Every disk is a throw-away copy, so that nothing outlives the run.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

SLOW_BYTES_PER_S = 40 << 20     # a tired disk: a thrash must hurt, and end within a minute
SWAP_BYTES_PER_S = 40 << 20

# No KVM is asked for: machines that build have none, and the bars are met without.
# rdrand: or the guest waits for entropy. The mitigations cost an emulated guest half its speed.
# The watchdog of clocks finds TSC unstable where CPUs are emulated, and every look at the clock
# would become an exit.
ACCEL = "tcg,thread=multi"
CPU = "qemu64,+rdrand"
CMDLINE = ("console=ttyS0 quiet psi=1 oops=panic panic=-1 mitigations=off tsc=reliable "
           "random.trust_cpu=on systemd.show_status=no")


class Machine:
    """A booted guest and the directory of its own in which it keeps what it writes."""

    def __init__(self, cache, kernel, image, memory_mib, payload):
        self.work = tempfile.mkdtemp(prefix="vm-")
        self.console = os.path.join(self.work, "console")
        self.results = os.path.join(self.work, "results")
        self.lines_read = 0
        self.partial = b""
        self.qmp = None
        tree = os.path.join(cache, f"kernel-{kernel}")
        argv = [qemu_path(cache), "-accel", os.environ.get("VM_ACCEL", ACCEL), "-cpu",
                os.environ.get("VM_CPU", CPU), "-smp", "2", "-m", str(memory_mib), "-nographic",
                "-nodefaults", "-no-user-config", "-no-reboot",
                "-kernel", f"{tree}/vmlinuz", "-initrd", f"{tree}/initrd", "-append", CMDLINE,
                "-serial", f"file:{self.console}", "-serial", f"file:{self.results}",
                "-qmp", f"unix:{self.work}/qmp,server=on,wait=off"]
        argv += disk("root", os.path.join(cache, f"root-{image}.img"))
        argv += disk("payload", payload)
        argv += disk("frz", os.path.join(cache, "frz.img"))
        argv += disk("swap", os.path.join(cache, "swap.img"), SWAP_BYTES_PER_S)
        argv += disk("slow", os.path.join(cache, "slow.img"), SLOW_BYTES_PER_S)
        self.booted = time.monotonic()
        with open(os.path.join(self.work, "qemu.log"), "wb") as log:
            # Throw-away copies go where TMPDIR says.
            self.qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env={**os.environ, "TMPDIR": self.work})

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
        if self.qmp is None:
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(30)
            link.connect(os.path.join(self.work, "qmp"))
            self.qmp = link.makefile("rw", encoding="utf-8")
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
        shutil.rmtree(self.work, ignore_errors=True)


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


def disk(serial, path, bytes_per_s=0):
    """Arguments of one virtio disk; in the guest it is /dev/disk/by-id/virtio-SERIAL."""
    drive = f"file={path},format=raw,if=none,id={serial},snapshot=on,cache=unsafe"
    if bytes_per_s:
        drive += f",throttling.bps-total={bytes_per_s}"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive={serial},serial={serial}"]


def parse(line):
    """A guest's line; what is no JSON is handed on as a log text."""
    text = line.decode(errors="replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"log": text}

"""What a boot brings along: the project as `meson install` leaves it, the workloads, the
runner with its plan, the kernel's modules. A tar on a raw disk that the initramfs unpacks over
the root before systemd starts, so that one root image serves every build."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

# Not in load.service and never a victim: what watches must outlive what it watches.
GUEST_UNIT = """\
[Unit]
Description=What this boot is for
After=multi-user.target
[Service]
Type=simple
WorkingDirectory=/opt/vm
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/bin/python3 /opt/vm/runner.py
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS0
OOMScoreAdjust=-1000
ManagedOOMPreference=omit
LimitMEMLOCK=infinity
TasksMax=infinity
ExecStopPost=/usr/bin/systemctl --no-block --force --force poweroff
"""

# `run --exec FILE`: a look into the guest without scenarios.
EXEC_RUNNER = """\
import json, subprocess
done = subprocess.Popen(["/bin/sh", "/opt/vm/exec"], stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT, text=True, errors="replace")
for line in done.stdout:
    print(json.dumps({"log": line.rstrip()}), flush=True)
print(json.dumps({"end": True, "code": done.wait()}), flush=True)
"""


class Payload:
    """Everything but the plan, gathered once; written out once for each boot."""

    def __init__(self, build, binaries, script=None):
        self.files = {}     # path in the guest → (bytes or path here, mode)
        self.links = {}
        self.script = script
        self.take_install(build)
        for name in ("vm_load", "vm_meter"):
            for directory in binaries:
                path = os.path.join(directory, name)
                if os.path.exists(path):
                    self.files[f"usr/local/bin/{name}"] = (path, 0o755)
                    break
        guest = os.path.join(HERE, "guest")
        for name in sorted(os.listdir(guest)):
            if name.endswith(".py"):
                self.files[f"opt/vm/{name}"] = (os.path.join(guest, name), 0o644)
        self.take_unit()

    def take_install(self, build):
        """The project's own installation."""
        with tempfile.TemporaryDirectory() as tree:
            subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet"],
                           env={**os.environ, "DESTDIR": tree}, check=True,
                           stdout=subprocess.DEVNULL)
            self.take_tree(tree)

    def take_tree(self, tree):
        """All files of a directory; /lib is a link to usr/lib in the guest."""
        for directory, _, names in os.walk(tree):
            for name in names:
                path = os.path.join(directory, name)
                inside = os.path.relpath(path, tree)
                if inside.startswith("lib/"):
                    inside = "usr/" + inside
                if os.path.islink(path):
                    self.links[inside] = os.readlink(path)
                else:
                    with open(path, "rb") as f:
                        self.files[inside] = (f.read(), os.stat(path).st_mode & 0o777)

    def binary(self):
        """What the daemon that is measured is known by: a build directory may be older than the
        sources beside it."""
        for path, (content, _) in self.files.items():
            if os.path.basename(path) == "oomreapd" and os.path.dirname(path).endswith("bin"):
                return hashlib.sha256(content).hexdigest()
        return None

    def take_unit(self):
        """The unit that runs it all, wanted by the normal target."""
        units = "etc/systemd/system"
        self.files[f"{units}/vm-guest.service"] = (GUEST_UNIT.encode(), 0o644)
        self.links[f"{units}/multi-user.target.wants/vm-guest.service"] = "../vm-guest.service"
        if self.script:
            self.files["opt/vm/runner.py"] = (EXEC_RUNNER.encode(), 0o644)
            self.files["opt/vm/exec"] = (self.script, 0o755)

    def write(self, path, modules, entries):
        """The disk of one boot."""
        plan = json.dumps({"entries": entries}).encode()
        files = {**self.files, "opt/vm/plan.json": (plan, 0o644)}
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, (content, mode) in files.items():
                add_file(tar, name, content, mode)
            for name, target in self.links.items():
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, target
                tar.addfile(info)
            tar.add(os.path.join(modules, "lib/modules"), "usr/lib/modules")
        # busybox's tar reads on to the end of the device: what is not there is zeros.
        with open(path, "r+b") as f:
            f.truncate((os.path.getsize(path) + 4095) // 4096 * 4096)


def add_file(tar, name, content, mode):
    """One file, root's own, whoever owns it here."""
    if isinstance(content, str):
        with open(content, "rb") as f:
            content = f.read()
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))

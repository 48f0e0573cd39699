"""One virtual machine: firmware, TPM, disk, cables, and what an operator does to a real one.

Everything of it lies in one folder; sockets are named relative to that, because the path of one
holds 107 bytes.  Software emulation only: where hardware help is there it may hang the guest.
"""
import base64
import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import tempfile
import time

import image
from image import run
from process import Process

OVMF = "/usr/share/OVMF"
FIRMWARE = {"ovmf": ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
            "secure-boot": ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.snakeoil.fd")}
PORTS = (7833, 7835, 7836)
# What the console says, and how far the machine is then; the last is what is waited for.
PHASES = (("linux", r"^init kernel="), ("node", r"^start node="),
          ("master", r"^bootstrap "), ("enrolled", r"^enrol .*decision=ok"),
          ("unlocked", r"^unlock .*decision=ok"))
DONE = {"master", "enrolled", "unlocked"}
# Our programs', /init's, the firmware's and the kernel's.
COMPLAINTS = r"reason=|^smalltown-|BdsDxe: failed|Kernel panic"


class MachineError(Exception):
    """A sentence for whoever sits before it."""


class Machine:
    """spec: what the cluster's file says of it."""

    def __init__(self, folder, spec, leash=False):
        self.folder, self.spec, self.leash = folder, spec, leash
        self.name, self.address = spec["name"], spec["address"]
        self.disk, self.console = self / "disk.img", self / "console.log"
        self.qemu, self.tpm = Process(folder, "qemu"), Process(folder, "swtpm")

    def __truediv__(self, name):
        return os.path.join(self.folder, name)

    # --- made once ----------------------------------------------------------------------------

    def make(self, uki, files, tpm_config, sizes=None):
        self.must_be_off()
        sizes = {"data": self.spec["data"] * image.MIB, **(sizes or {})}
        image.make_disk(self.disk, uki, f"{self.spec['seed']}/{self.name}", files, sizes)
        self.make_tpm(tpm_config)
        self.use_image(uki)
        if self.spec["firmware"] != "direct":
            shutil.copy(os.path.join(OVMF, FIRMWARE[self.spec["firmware"]][1]), self / "vars.fd")

    def make_tpm(self, config):
        shutil.rmtree(self / "tpm", ignore_errors=True)
        os.mkdir(self / "tpm")
        run("swtpm_setup", "--tpm2", "--tpmstate", self / "tpm", "--config", config,
            "--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--pcr-banks", "sha256")

    def use_image(self, uki):
        """Of a machine that is off: from its next power on it boots this one."""
        self.must_be_off()
        if self.spec["firmware"] == "direct":
            for name in ("linux", "initrd", "cmdline"):
                image.write(self / name, image.section(uki, "." + name))
        else:
            self.esp().put(image.BOOT_PATH, image.read(uki))

    def esp(self):
        """The files of its ESP, while it is off."""
        self.must_be_off()
        return image.Esp(self.disk)

    def renumber(self, address, masters, node):
        """It is elsewhere, and so are the masters.  As a person does it with the disk of a machine
        that is off: what lies on the ESP, and nothing else; node is smalltown-node."""
        esp, conf, enrolment = self.esp(), "EFI/smalltown/machine.conf", "EFI/smalltown/enrolment.pb"
        esp.put(conf, esp.get(conf).replace(self.address.encode(), address.encode()))
        with tempfile.TemporaryDirectory() as mounted:
            os.makedirs(os.path.join(mounted, os.path.dirname(enrolment)))
            image.write(os.path.join(mounted, enrolment), esp.get(enrolment))
            run(node, "masters", "--esp", mounted,
                *(word for master in masters for word in ("--master", master)))
            esp.put(enrolment, image.read(os.path.join(mounted, enrolment)))
        self.address = self.spec["address"] = address

    # --- power --------------------------------------------------------------------------------

    def is_on(self):
        return self.qemu.pid() is not None

    def must_be_off(self):
        if self.is_on():
            raise MachineError(f"{self.name} is on: `power-cut {self.name}` first")

    def power_on(self, clock=None):
        """clock: `1970-01-02`, the time that it believes in; else the host's."""
        if self.is_on():
            return
        for name in ("tpm.sock", "monitor", "shell"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self / name)
        self.tpm.end()
        self.tpm.start(["swtpm", "socket", "--tpm2", "--tpmstate", "dir=tpm", "--ctrl",
                        "type=unixio,path=tpm.sock", "--terminate"], self.leash)
        deadline = time.monotonic() + 30
        while not os.path.exists(self / "tpm.sock"):
            if time.monotonic() > deadline or not self.tpm.pid():
                raise MachineError(f"{self.name}: swtpm: {self.tpm.last_words()}")
            time.sleep(0.01)
        with open(self.console, "ab") as file:
            file.write(b"\n")
        self.note(began=os.path.getsize(self.console), at=time.time(), frozen=False)
        self.qemu.start(self.command(clock), self.leash)

    def command(self, clock=None):
        spec = self.spec
        words = ["qemu-system-x86_64", "-name", self.name, "-nodefaults", "-no-user-config",
                 "-display", "none", "-accel", "tcg", "-cpu", "max", "-smp", "1",
                 "-m", str(spec["memory"]), "-rtc", f"base={clock or 'utc'}",
                 "-qmp", "unix:monitor,server=on,wait=off",
                 "-chardev", "file,id=console,path=console.log,append=on", "-serial",
                 "chardev:console",
                 # A flush that waits for the host's disk would outlive no more power cuts.
                 "-drive", "id=disk,file=disk.img,format=raw,if=none,cache=unsafe",
                 "-device", "virtio-blk-pci,drive=disk,bootindex=1", "-boot", "strict=on",
                 "-chardev", "socket,id=tpm,path=tpm.sock", "-tpmdev",
                 "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm",
                 "-device", "virtio-rng-pci",
                 "-netdev", "stream,id=cluster,server=off,addr.type=unix,addr.path=net",
                 "-device", f"virtio-net-pci,netdev=cluster,mac={spec['mac']},romfile=",
                 "-chardev", "socket,id=shell,path=shell,server=on,wait=off",
                 "-device", "virtio-serial-pci", "-device",
                 "virtserialport,chardev=shell,name=smalltown.shell"]
        return words + self.cable_to_host() + self.firmware()

    def cable_to_host(self):
        if not self.spec.get("host_address"):
            return []
        forwards = "".join(f",hostfwd=tcp:{self.spec['host_address']}:{port}-{self.address}:{port}"
                           for port in PORTS)
        return ["-netdev", f"user,id=host,restrict=on,ipv6=off{forwards}",
                "-device", "virtio-net-pci,netdev=host,romfile="]

    def firmware(self):
        kind = self.spec["firmware"]
        if kind == "direct":
            command_line = image.read(self / "cmdline").rstrip(b"\0").decode()
            return ["-machine", "q35", "-kernel", "linux", "-initrd", "initrd",
                    "-append", command_line]
        code = os.path.join(OVMF, FIRMWARE[kind][0])
        secure = "on" if kind == "secure-boot" else "off"
        return ["-machine", f"q35,smm={secure}",
                "-global", f"driver=cfi.pflash01,property=secure,value={secure}",
                "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
                "-drive", "if=pflash,format=raw,unit=1,file=vars.fd"]

    def power_cut(self):
        """Between two instructions; the TPM loses its power with the rest."""
        self.qemu.end(sign=9)
        self.tpm.end(sign=9)

    # --- what is done to a machine that is on -------------------------------------------------

    def connect(self, name, timeout):
        """To a socket of its QEMU; by way of its folder, whose path may be long."""
        if not self.is_on():
            raise MachineError(f"{self.name} is off")
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(timeout)
        folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY)
        try:
            client.connect(f"/proc/self/fd/{folder}/{name}")
        except OSError:
            client.close()
            raise
        finally:
            os.close(folder)
        return client

    def monitor(self, command):
        with self.connect("monitor", 30) as client:
            lines = client.makefile("rw", encoding="utf-8")
            lines.readline()
            for word in ("qmp_capabilities", command):
                lines.write(json.dumps({"execute": word}) + "\n")
                lines.flush()
                answer = {}
                while not {"return", "error"} & answer.keys():
                    answer = json.loads(lines.readline())
            if "error" in answer:
                raise MachineError(f"{self.name}: {answer['error']['desc']}")

    def freeze(self):
        self.monitor("stop")
        self.note(frozen=True)

    def thaw(self):
        self.monitor("cont")
        self.note(frozen=False)

    def cut(self):
        with open(self / "cut", "w", encoding="ascii"):
            pass

    def join_side(self, side):
        """Reaches only machines of the same one."""
        image.write(self / "side", side.encode())

    def heal(self):
        for name in ("cut", "side"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self / name)

    def cable(self):
        """What is wrong with it: `cut`, `side NAME`, or nothing."""
        if os.path.exists(self / "cut"):
            return "cut"
        try:
            return "side " + image.read(self / "side").decode()
        except image.ImageError:
            return "-"

    def execute(self, command, timeout=60):
        """(status, output, error) of a command that its shell runs, through the door of --shell."""
        number = str(time.monotonic_ns())
        with open(self / "shell.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self.connect("shell", timeout) as client:
                client.sendall(f"{number} {base64.b64encode(command.encode()).decode()}\n".encode())
                return self._answer(client, number)

    def _answer(self, client, number):
        received = b""
        head = re.compile(rb"= %s (\d+) (\d+) (\d+)\n" % number.encode())
        try:
            while True:
                received += client.recv(1 << 16)
                match = head.search(received)
                if match:
                    status, out, err = map(int, match.groups())
                    body = received[match.end():]
                    if len(body) >= out + err:
                        return status, body[:out], body[out:out + err]
        except TimeoutError:
            raise MachineError(f"{self.name}: its shell does not answer: is it up, and was the "
                               "image built with --shell?") from None

    def must(self, command, timeout=60):
        """What a command printed that has to succeed."""
        status, out, err = self.execute(command, timeout)
        if status:
            raise MachineError(f"{self.name}: `{command}` ended with {status}: "
                               f"{err.decode(errors='replace').strip()}")
        return out

    def put(self, path, content):
        """A file in the running machine, in one step."""
        encoded = base64.b64encode(content).decode()
        self.must(f"echo {encoded} | base64 -d >'{path}.new' && mv '{path}.new' '{path}' && sync")

    # --- what is known of it ------------------------------------------------------------------

    def note(self, **facts):
        known = {**self.noted(), **facts}
        image.write(self / "noted.json", json.dumps(known).encode())

    def noted(self):
        try:
            return json.loads(image.read(self / "noted.json"))
        except (image.ImageError, ValueError):
            return {}

    def log(self, everything=False):
        """Of its console, since it was last powered on."""
        try:
            with open(self.console, encoding="utf-8", errors="replace", newline="") as file:
                text = file.read() if everything else file.read()[self.noted().get("began", 0):]
        except FileNotFoundError:
            return ""
        return text.replace("\r", "")

    def said(self):
        """The same, with sentences that were broken for a screen in one line again."""
        return self.log().replace("\n  ", " ")

    def phase(self):
        """How far it is in this boot."""
        if not self.is_on():
            return "off"
        text, reached = self.said(), "firmware"
        text = text[max(0, text.rfind("\ninit kernel=")):]  # it may have rebooted by itself
        for name, pattern in PHASES:
            if re.search(pattern, text, re.M):
                reached = name
        return reached

    def complaint(self):
        """The last sentence in which it said why it does not go on."""
        if not self.is_on():
            return self.qemu.last_words()
        lines = [line for line in self.said().split("\n") if re.search(COMPLAINTS, line)]
        return lines[-1] if lines else ""

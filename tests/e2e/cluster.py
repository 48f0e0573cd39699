"""Real programs in folders of a test's own: masters, nodes, TPMs, an administrator.

Whatever is started here ends with the test, by its process id, and by the kernel if the test
dies first.  Every cluster lives on loopback addresses of its own, because ports never vary, so
tests may run in parallel.
"""
import atexit
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAMS = os.environ.get("ST_PROGRAMS", os.path.join(SOURCE, "build", "dev"))
NMS = os.path.join(PROGRAMS, "nms", "smalltown-nms")
NODE = os.path.join(PROGRAMS, "node", "smalltown-node")
STCTL = os.path.join(PROGRAMS, "tools", "stctl")

PORT_NODE_MANAGEMENT, PORT_NODE, PORT_CLUSTER_MANAGEMENT = 7833, 7835, 7836

# A sanitizer's report ends a program with this, so that it is never taken for a refusal.
SANITIZER_EXIT = 86
# smalltown-nms(8): its folder is no member's, and a supervisor does not try again.
WRONG_STATE = 4
ENVIRONMENT = {
    # As a unit starts them: what our programs want to be there they put there themselves.
    **{name: value for name, value in os.environ.items() if name != "TSS2_LOG"},
    "ASAN_OPTIONS": f"exitcode={SANITIZER_EXIT}",
    # In quotes: a path may hold a space or a colon.
    "LSAN_OPTIONS": f"exitcode={SANITIZER_EXIT}:print_suppressions=0:suppressions="
                    f'"{os.path.join(SOURCE, "tests", "grpc.supp")}"',
    "UBSAN_OPTIONS": "print_stacktrace=1",
}

_hosts = itertools.count(1)


def fresh_address():
    """A loopback address that no other test process uses now."""
    pid = os.getpid()
    return f"127.{64 + (pid >> 8 & 63)}.{pid & 255}.{next(_hosts)}"


class Folder:
    """Temporary, short (a socket's path holds 107 bytes); kept where ST_KEEP is set."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="st-e2e-", dir="/tmp")
        atexit.register(self.remove)

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def remove(self):
        if not os.environ.get("ST_KEEP"):
            shutil.rmtree(self.path, ignore_errors=True)


class Program:
    """One process that writes a log, and can be stopped in all the ways there are."""

    def __init__(self, log):
        self.log_path, self.process = log, None

    def spawn(self, argv, wrapper=(), env=None):
        assert not self.running(), f"{argv[0]} runs already"
        with open(self.log_path, "ab") as log:
            # The kernel ends it with us.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *wrapper, *argv], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**ENVIRONMENT, **(env or {})})
        atexit.register(self.kill)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9: nothing is written, nobody is told."""
        if self.running():
            self.process.kill()
        return self.wait()

    def terminate(self):
        """SIGTERM; its exit status, which must not be a sanitizer's."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout=60):
        if self.process is None:
            return None
        status = self.process.wait(timeout)
        if status == SANITIZER_EXIT or "Sanitizer" in self.log():
            raise AssertionError(f"a sanitizer spoke:\n{self.log()}")
        return status

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def expect(self, pattern, since=0, timeout=60):
        """Waits for a line of the log, from a character on; the match."""
        def found():
            match = re.compile(pattern, re.M).search(self.log(), since)
            if not match and not self.running():
                raise AssertionError(f"ended before {pattern!r}:\n{self.log()}")
            return match
        return until(found, timeout, lambda: f"{pattern!r} in\n{self.log()}")


def until(check, timeout=60, what="", pause=0.02):
    """The first true value of check(), or the test fails."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(pause)


def accepts(address, port):
    try:
        socket.create_connection((address, port), 1).close()
        return True
    except OSError:
        return False


def listens(path):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


class Admin:
    """An administrator: a key and a configuration of his own, and stctl."""

    def __init__(self, folder, name="admin"):
        self.config = folder / f"{name}-config"
        self.folder = folder
        self.call("keygen", "--name", name)
        self.cert = os.path.join(self.config, "smalltown", "admin.pem")
        self.key = os.path.join(self.config, "smalltown", "admin-key.pem")

    def run(self, *words, stdin=None):
        """stctl; the finished process."""
        done = subprocess.run([STCTL, *words], env={**ENVIRONMENT, "XDG_CONFIG_HOME": self.config},
                              input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120, cwd=self.folder.path)
        assert done.returncode != SANITIZER_EXIT and "Sanitizer" not in done.stderr, done.stderr
        return done

    def call(self, *words):
        """stctl, which must succeed; what it printed."""
        done = self.run(*words)
        assert done.returncode == 0, f"stctl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def ask(self, *words):
        """stctl -o json, which must succeed; the answer."""
        return json.loads(self.call(*words, "-o", "json"))

    def use(self, master, name="town"):
        self.call("context", "add", name, "--address", master.address, "--masters-cert",
                  master.masters_pem, "--fingerprint", master.fingerprint)

    def enrolment(self, name, path, **options):
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        self.call("enrolment", "create", name, "--out", path, *words)
        return path

    def nodes(self):
        """{id: node} as the cluster lists them."""
        return {node["node_id"]: node for node in self.ask("node", "list")}


class Master(Program):
    """smalltown-nms with a data folder and an address of its own."""

    def __init__(self, folder, *admins, name="town", address=None, policy=None):
        super().__init__(folder / f"{name}.log")
        self.folder, self.name = folder, name
        self.address = address or fresh_address()
        self.data = folder / f"{name}-data"
        words = [word for admin in admins for word in ("--admin-cert", admin.cert)]
        words += ["--policy", policy] if policy else []
        done = subprocess.run([NMS, "init", "--data", self.data, "--name", name, "--address",
                               self.address, *words], env=ENVIRONMENT, capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        self.fingerprint = re.search(r"(?:[0-9a-fA-F]{2}:?){32}", done.stdout).group()
        self.masters_pem = os.path.join(self.data, "masters.pem")

    def start(self, **how):
        """Returns when both ports answer."""
        since = len(self.log())
        self.spawn([NMS, "run", "--data", self.data], **how)
        def ready():
            if not self.running():
                raise AssertionError(f"smalltown-nms ended:\n{self.log()[since:]}")
            return accepts(self.address, PORT_NODE_MANAGEMENT) and \
                accepts(self.address, PORT_CLUSTER_MANAGEMENT)
        until(ready, 30, lambda: f"smalltown-nms serves:\n{self.log()[since:]}")
        return self

    def start_leading(self, admin):
        """Returns when an administrator's call succeeds."""
        self.start()
        until(lambda: admin.run("status").returncode == 0, 30,
              lambda: f"a leader:\n{self.log()}", 0.1)
        return self


class Vendor:
    """Who makes TPMs and signs their EK certificates."""

    def __init__(self, folder, name="vendor"):
        self.folder = folder / name
        os.mkdir(self.folder)
        self.ca = os.path.join(self.folder, "issuercert.pem")  # made with its first TPM
        self.config = self._write("setup.conf", f"""\
create_certs_tool = swtpm_localca
create_certs_tool_config = {self.folder}/localca.conf
create_certs_tool_options = {self.folder}/localca.options
active_pcr_banks = sha256
""")
        self._write("localca.conf", "".join(f"{key} = {self.folder}/{name}\n" for key, name in (
            ("statedir", ""), ("signingkey", "signkey.pem"), ("issuercert", "issuercert.pem"),
            ("certserial", "certserial"))))
        self._write("localca.options", "--platform-manufacturer Smalltown\n"
                    "--platform-version 1\n--platform-model test\n")

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Swtpm(Program):
    """A TPM 2.0, and the firmware that measures into it at each power-on (image None: one that
    does not)."""

    def __init__(self, folder, vendor=None, name="tpm"):
        super().__init__(folder / f"{name}.log")
        self.state, self.name = folder / name, name
        self.socket = os.path.join(self.state, "s")
        self.tcti = f"swtpm:path={self.socket}"
        os.mkdir(self.state)
        argv = ["swtpm_setup", "--tpm2", "--tpmstate", self.state, "--pcr-banks", "sha256"]
        if vendor:
            argv += ["--config", vendor.config, "--create-ek-cert", "--create-platform-cert",
                     "--lock-nvram"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _switch_on(self, flags):
        for path in (self.socket, self.socket + ".ctrl"):
            if os.path.exists(path):
                os.unlink(path)
        self.spawn(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.state}", "--server",
                    f"type=unixio,path={self.socket}", "--ctrl",
                    f"type=unixio,path={self.socket}.ctrl", "--flags", flags])
        until(lambda: listens(self.socket), 30, "swtpm listens", 0.005)

    def power_on(self, image="image 1", kernel=None):
        self._switch_on("not-need-init,startup-clear")
        if image is None:
            return self
        # PCR 0-7 as firmware leaves them, 11 as a unified kernel image does; another kernel
        # shows in 4 and 11 alone.
        booted = {pcr: image for pcr in (*range(8), 9, 11)}
        booted.update({4: kernel or image, 11: kernel or image})
        banks = [f"{pcr}:sha256={hashlib.sha256(f'{what} {pcr}'.encode()).hexdigest()}"
                 for pcr, what in booted.items()]
        self.tool("tpm2_pcrextend", *banks)
        return self

    def power_cycle(self, image="image 1", kernel=None):
        self.kill()
        return self.power_on(image, kernel)

    def suspend(self):
        """To sleep and awake again, as a kernel and a firmware do it: PCRs stay."""
        self.tool("tpm2_shutdown")
        self.kill()
        self._switch_on("not-need-init")
        self.tool("tpm2_startup")

    def tool(self, *argv, cwd=None):
        """One of tpm2-tools; what it printed."""
        done = subprocess.run(argv, env={**os.environ, "TPM2TOOLS_TCTI": self.tcti}, cwd=cwd,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout


class Node(Program):
    """smalltown-node on a machine of its own: ESP, TPM, data volume, address; and a folder where
    it may become a master."""

    def __init__(self, folder, vendor=None, name="node", ak=None, recovery_key="none",
                 master=False):
        super().__init__(folder / f"{name}.log")
        self.name, self.ak, self.recovery_key = name, ak, recovery_key
        self.master_data = folder / f"{name}-master" if master else None
        self.address = fresh_address()
        self.esp = folder / f"{name}-esp"
        self.volume = folder / f"{name}.img"
        self.config = os.path.join(self.esp, "EFI", "smalltown", "enrolment.pb")
        os.makedirs(os.path.dirname(self.config))
        with open(self.volume, "wb") as image:
            image.truncate(64 << 20)
        self.tpm = Swtpm(folder, vendor, f"{name}-tpm").power_on()

    def start(self, *more, **how):
        words = ["--ak", self.ak, *more] if self.ak else [*more]
        if self.recovery_key:
            words += ["--recovery-key", self.recovery_key]
        if self.master_data:
            words += ["--master-data", self.master_data]
            path = os.path.dirname(NMS) + ":" + os.environ["PATH"]
            how = {"env": {"PATH": path}, **how}
        self.spawn([NODE, "run", "--esp", self.esp, "--tpm", self.tpm.tcti, "--address",
                    self.address, "--data-volume", self.volume, "--encryption", "xts", *words],
                   **how)
        return self

    def reboot(self, image="image 1", **how):
        """A power cut, and on again."""
        self.kill()
        self.tpm.power_cycle(image)
        return self.start(**how)

    def boot_files(self):
        return sorted(os.listdir(os.path.dirname(self.config)))

    def unlocked(self):
        """It serves its port, which it does only with an open disk."""
        return accepts(self.address, PORT_NODE)


class ClusterTest(unittest.TestCase):
    """One master and one administrator for each test class."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.vendor = Vendor(cls.folder)
        cls.admin = Admin(cls.folder)
        cls.master = Master(cls.folder, cls.admin).start()
        cls.admin.use(cls.master)
        until(lambda: cls.admin.run("status").returncode == 0, 30, "a leader", 0.1)

    @classmethod
    def tearDownClass(cls):
        cls.master.terminate()
        cls.folder.remove()

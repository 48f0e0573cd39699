"""tools/quickstart as a person uses it: once, twice, beside itself, after a crash, interrupted."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(SOURCE, "tests", "e2e"))
from cluster import fresh_address, until

QUICKSTART = os.path.join(SOURCE, "tools", "quickstart")
LAST_LINE = "ok: 1 master, 1 node, unlocked after reboot"


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="st quick ")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        # Longer than a socket's path may be.
        self.state = os.path.join(self.folder, "it's a state " + "x" * 100)
        self.addCleanup(self.run_it, "stop")
        self.env = {**os.environ, "SMALLTOWN_STATE": self.state,
                    "SMALLTOWN_ADDRESS": fresh_address(),
                    "SMALLTOWN_NODE_ADDRESS": fresh_address()}

    def run_it(self, *words, env=None):
        return subprocess.run([QUICKSTART, *words], env=env or self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=900, check=False)

    def succeeds(self, *words):
        done = self.run_it(*words)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def fails(self, *words, env=None):
        """One clear sentence on stderr; the sentence."""
        done = self.run_it(*words, env=env)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stderr, r"\Aquickstart: .*\n\Z")
        return done.stderr

    def processes(self):
        """Those that work in this state folder."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/cwd").startswith(self.state):
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def pid_of(self, name):
        with open(os.path.join(self.state, name + ".pid"), encoding="ascii") as file:
            return int(file.read().split()[0])

    def test_once_and_once_more(self):
        for _ in range(2):
            out = self.succeeds("--once")
            self.assertEqual(out.splitlines()[-1], LAST_LINE)
            self.assertRegex(out, r"(?m)^smalltown-[0-9a-f]{32} +worker ")
            for step in ("packages", "build", "master", "node", "enrolled", "adopted", "rebooted",
                         "unlocked"):
                self.assertRegex(out, rf"(?m)^ +\d+\.\d s  {step} ")
            self.assertFalse(os.path.exists(self.state))
            self.assertEqual(self.processes(), [])

    def test_the_master_is_left_running_and_can_be_talked_to_and_stopped(self):
        out = self.succeeds()
        command = re.search(r"^  (.*) node list$", out, re.M).group(1)
        listed = subprocess.run(["bash", "-c", command + " node list"], capture_output=True,
                                text=True, check=True).stdout
        self.assertRegex(listed, r"(?m)^smalltown-[0-9a-f]{32} +worker ")
        self.assertEqual(self.processes(), [self.pid_of("master")])

        again = self.succeeds()
        self.assertIn("is running already", again)
        self.assertIn("`./tools/quickstart stop` ends it", again)
        self.assertEqual(self.processes(), [self.pid_of("master")])
        done = self.run_it("--once")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("is running already", done.stdout)

        elsewhere = {**self.env, "SMALLTOWN_STATE": os.path.join(self.folder, "elsewhere")}
        sentence = self.fails("--once", env=elsewhere)
        self.assertIn(f"port 7833 of {self.env['SMALLTOWN_ADDRESS']} is in use", sentence)

        self.assertIn("is ended", self.succeeds("stop"))
        self.assertEqual(self.processes(), [])
        self.assertFalse(os.path.exists(self.state))
        self.assertIn("No quickstart is running", self.succeeds("stop"))

    def test_what_a_crash_left_is_removed(self):
        self.succeeds()
        os.kill(self.pid_of("master"), signal.SIGKILL)
        until(lambda: not self.processes(), 10)
        out = self.succeeds("--once")
        self.assertIn("An earlier quickstart did not end properly", out)
        self.assertEqual(out.splitlines()[-1], LAST_LINE)

    def test_a_killed_quickstart_leaves_processes_that_the_next_one_ends(self):
        process = self.begin("--once")
        process.kill()
        process.communicate()
        until(lambda: self.processes() != [], 10)
        self.assertEqual(self.succeeds("--once").splitlines()[-1], LAST_LINE)
        self.assertEqual(self.processes(), [])

    def begin(self, *words):
        """Started like a terminal would, as far as its master."""
        process = subprocess.Popen([QUICKSTART, *words], env=self.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True)
        for line in process.stdout:
            if " master " in line:
                return process
        raise AssertionError(process.communicate())

    def test_interrupted_it_ends_what_it_started(self):
        process = self.begin()
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(self.processes(), [])
        self.assertEqual(self.succeeds("--once").splitlines()[-1], LAST_LINE)

    def test_two_at_once(self):
        process = self.begin("--once")
        sentence = self.fails("--once")
        self.assertIn("another quickstart is at work", sentence)
        self.assertIn("at work", self.fails("stop"))
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, err), (0, ""))
        self.assertEqual(out.splitlines()[-1], LAST_LINE)

    def test_a_port_of_somebody_else(self):
        with socket.create_server((self.env["SMALLTOWN_NODE_ADDRESS"], 7835)):
            sentence = self.fails("--once")
        self.assertIn(f"port 7835 of {self.env['SMALLTOWN_NODE_ADDRESS']} is in use", sentence)

    def test_a_folder_of_somebody_else_is_not_touched(self):
        os.mkdir(self.state)
        precious = os.path.join(self.state, "precious")
        with open(precious, "w", encoding="ascii") as file:
            file.write("x")
        self.assertIn("holds something else", self.fails("--once"))
        self.succeeds("stop")
        self.assertEqual(os.listdir(self.state), ["precious"])

    def test_an_address_that_is_not_this_machines(self):
        for name in ("SMALLTOWN_ADDRESS", "SMALLTOWN_NODE_ADDRESS"):
            sentence = self.fails("--once", env={**self.env, name: "192.0.2.1"})
            self.assertIn("192.0.2.1 is no address of this machine", sentence)
            self.assertIn(name, sentence)
            self.assertEqual(self.processes(), [])
        sentence = self.fails("--once", env={**self.env, "SMALLTOWN_ADDRESS": "here"})
        self.assertIn('"here" is not an IP address', sentence)

    def test_three_masters_of_which_one_dies(self):
        sentence = self.fails("--once", "--masters", "3")
        self.assertIn("names 1 addresses, for 3", sentence)
        addresses = ",".join(fresh_address() for _ in range(3))
        self.env["SMALLTOWN_ADDRESS"] = addresses
        out = self.succeeds("--masters", "3")
        for step in ("masters", "killed", "unlocked", "back"):
            self.assertRegex(out, rf"(?m)^ +\d+\.\d s  {step} ")
        self.assertEqual(len(re.findall(r"(?m)^ +\d+\.\d s  unlocked ", out)), 2)
        self.assertEqual(sorted(self.processes()),
                         sorted(map(self.pid_of, ("master", "master2", "master3"))))
        command = re.search(r"^  (.*) status$", out, re.M).group(1)
        status = subprocess.run(["bash", "-c", command + " status"], capture_output=True, text=True,
                                check=True).stdout
        self.assertRegex(status, r"(?m)^masters +3, of which 1 may fail$")
        self.succeeds("stop")
        self.assertEqual(self.processes(), [])

    def test_a_slip(self):
        for words in (["--twice"], ["--once", "--once"], ["stop", "now"], ["STOP"], ["--masters"],
                      ["--masters", "2"], ["--masters", "x"]):
            done = self.run_it(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertRegex(done.stderr, r"\Aquickstart: .*: tools/quickstart \[.*\n\Z")

    def test_help_is_for_a_terminal_of_80_columns(self):
        for words in (["--help"], ["-h"]):
            out = self.succeeds(*words)
            for word in ("--once", "stop", "SMALLTOWN_STATE"):
                self.assertIn(word, out)
            self.assertLessEqual(max(map(len, out.splitlines())), 80)
        self.assertFalse(os.path.exists(self.state))


class Packages(unittest.TestCase):
    """tools/packages on a machine that lacks some, by a dpkg-query and apt-get of the test's."""

    def machine(self, apt):
        folder = tempfile.mkdtemp(prefix="st-apt-")
        self.addCleanup(shutil.rmtree, folder)
        self.log = os.path.join(folder, "log")
        scripts = {"dpkg-query": f'for last; do :; done\n'
                                 f'[ "$last" = swtpm -a ! -e {folder}/there ] || printf installed\n',
                   "sudo": '[ "$1" = -n ] && shift\n[ "$1" = -- ] && shift\nexec "$@"\n',
                   "apt-get": f'echo "$@" >>{self.log}\n{apt.format(folder=folder)}\n'}
        for name, text in scripts.items():
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                file.write("#!/bin/sh\n" + text)
            os.chmod(os.path.join(folder, name), 0o755)
        return {**os.environ, "PATH": folder + ":" + os.environ["PATH"]}

    def install(self, env):
        return subprocess.run([os.path.join(SOURCE, "tools", "packages"), "install", "run"], env=env,
                              capture_output=True, text=True, check=False)

    def test_only_what_is_missing_is_installed(self):
        done = self.install(self.machine('case "$*" in *install*) touch {folder}/there ;; esac'))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(self.log, encoding="ascii") as file:
            self.assertRegex(file.read(), r"install --no-install-recommends swtpm\n\Z")

    def test_without_a_network_the_missing_ones_are_named(self):
        done = self.install(self.machine("exit 100"))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\AThese packages are missing .* network .*: swtpm\n\Z")

    def test_without_apt_the_missing_ones_are_named(self):
        env = self.machine("exit 100")
        folder = os.path.dirname(self.log)
        os.unlink(os.path.join(folder, "apt-get"))
        for name in ("bash", "id", "env"):
            os.symlink(shutil.which(name), os.path.join(folder, name))
        done = self.install({**env, "PATH": folder})
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\AThese Debian packages .* no apt-get: swtpm\n\Z")
        # Quickstart says the same and does nothing else.
        done = subprocess.run([QUICKSTART, "--once"], env={
            **env, "PATH": folder + ":" + self.tools_without_apt(),
            "SMALLTOWN_STATE": os.path.join(folder, "state")},
            capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\AThese Debian packages .* no apt-get: swtpm\n\Z")
        self.assertFalse(os.path.exists(os.path.join(folder, "state")))

    def tools_without_apt(self):
        """A folder with what a shell script needs."""
        folder = tempfile.mkdtemp(prefix="st-tools-")
        self.addCleanup(shutil.rmtree, folder)
        for name in ("cat", "dirname", "mkdir", "sed", "awk", "grep", "flock", "find", "rm"):
            os.symlink(shutil.which(name), os.path.join(folder, name))
        return folder

    def test_nothing_is_asked_of_apt_where_nothing_is_missing(self):
        env = self.machine("touch {folder}/there; exit 100")
        open(os.path.join(os.path.dirname(self.log), "there"), "w", encoding="ascii").close()
        self.assertEqual(self.install(env).returncode, 0)
        self.assertFalse(os.path.exists(self.log))


if __name__ == "__main__":
    unittest.main()

"""Clusters of virtual machines for tests; all that they are made of ends with the test."""
import atexit
import concurrent.futures
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(SOURCE, "tools", "vm"))
import image
import town

TOOL = os.path.join(SOURCE, "tools", "vm-cluster")
PROGRAMS = os.environ.get("ST_RELEASE", os.path.join(SOURCE, "build", "release"))
MAPPED, DATA = "/dev/mapper/smalltown-data", "/dev/vda3"
until = town.until


class News(town.Silence):
    """For whoever reads the log of a failed test."""

    def step(self, name, words):
        print(f"{name}: {words}", flush=True)

    def phase(self, machine, phase, seconds):
        print(f"{machine.name}: {phase} after {seconds:.1f} s", flush=True)

    def says(self, machine, sentence):
        print(f"{machine.name}: {sentence}", flush=True)


def make(**wishes):
    """A town that is up; kept where ST_KEEP is set.  Its disks are small, as wiping takes long."""
    state = tempfile.mkdtemp(prefix="st-vm-", dir="/tmp")
    atexit.register(end, state)
    return town.up(town.Wishes(programs=PROGRAMS, data=40, **wishes), state, News(), leash=True)


# Its threads stay to the end: the kernel ends a machine on a leash with the thread that started it.
_pool = concurrent.futures.ThreadPoolExecutor()


def make_all(*all_wishes):
    """At the same time."""
    return list(_pool.map(lambda wishes: make(**wishes), all_wishes))


def end(state):
    if os.path.exists(os.path.join(state, "cluster.json")):
        town.Town(state).down()
    if not os.environ.get("ST_KEEP"):
        shutil.rmtree(state, ignore_errors=True)


class Load:
    """Writes to a town, several at a time; `acknowledged` has those that were answered OK."""

    def __init__(self, here, writers=3):
        self.here, self.acknowledged, self.over = here, [], threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(number,))
                        for number in range(writers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def write(self, writer):
        for number in itertools.count():
            if self.over.is_set():
                return
            name = f"load-{writer}-{number}"
            done = self.here.stctl("enrolment", "create", name, "--out", self.here / name,
                                   check=False)
            if done.returncode == 0:
                self.acknowledged.append(name)

    def goes_on(self, writes=10):
        wanted = len(self.acknowledged) + writes
        until(lambda: len(self.acknowledged) >= wanted, f"{writes} more writes", 180)


def tool(here, *words):
    """tools/vm-cluster on it; the finished process."""
    return subprocess.run([TOOL, "--state", here.state, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=600, check=False)


def reboot(here, *machines, wanted=("unlocked",), clock=None):
    """All of them lose their power first."""
    for machine in machines:
        machine.power_cut()
    here.power_on(machines, clock)
    here.wait(machines, wanted)


def says(machine, pattern, patience=300):
    """Waits for a line of its console in this boot; the match."""
    return until(lambda: town.re.search(pattern, machine.said(), town.re.M),
                      lambda: f"{machine.name}: {pattern!r} in\n{machine.log()}", patience)


def connected(here):
    """Addresses of the masters that vote and are in touch."""
    listed = here.stctl("master", "list", "-o", "json", check=False)
    masters = [] if listed.returncode else json.loads(listed.stdout)
    return {m["address"] for m in masters if m["connected"] and m["state"] == "voter"}


def until_connected(here, machines):
    """These masters, and no others."""
    until(lambda: connected(here) == {machine.address for machine in machines},
          lambda: here.stctl("master", "list", check=False).stdout)


def enrolments(here, context="vm"):
    """Names of those that a context lists; None where nobody answers now."""
    done = here.stctl("enrolment", "list", "-o", "json", "--context", context, check=False)
    return None if done.returncode else {each["name"] for each in json.loads(done.stdout)}


def opened_first(machine):
    """Its control volume, before it was a node that asks for its own disk."""
    before = machine.said().split("\nstart ")[0]
    return bool(town.re.search("^control volume=.* decision=ok$", before, town.re.M))


def is_mapped(machine, volume="data"):
    return machine.execute(f"test -e /dev/mapper/smalltown-{volume}")[0] == 0


def until_mounted(machine):
    until(lambda: "init mounted=/data" in machine.log(), machine.log)


def remake(here, machine, name, conf=b"", sizes=None, recovery=True):
    """A new machine in its place, blank, with a TPM and an enrolment of its own."""
    machine.power_cut()
    files = {"machine.conf": town.machine_conf(machine.spec) + conf,
             "enrolment.pb": town.new_enrolment(here, name, recovery=recovery)}
    machine.make(here / "smalltown.efi", files, here / "vendor/setup.conf", sizes)


def adopt(here, machine, role="worker"):
    """Of one that has just enrolled; its node's id."""
    node = here.nodes()[machine.name]["node_id"]
    until(lambda: not here.stctl("node", "adopt", node, "--role", role, check=False).returncode,
          machine.log, pause=1)
    return node


def _place(machine, name):
    table = json.loads(image.run("sfdisk", "-J", machine.disk))["partitiontable"]["partitions"]
    found = next(partition for partition in table if partition["name"] == f"smalltown-{name}")
    return found["start"] * image.SECTOR, found["size"] * image.SECTOR


def volume(machine, name="data"):
    """The bytes of its data partition, or another, as they lie on its disk now."""
    start, size = _place(machine, name)
    with open(machine.disk, "rb") as disk:
        disk.seek(start)
        return disk.read(size)


def hides(machine, words, name="data"):
    """The volume is LUKS, and what lies on it is not to be read there."""
    content = volume(machine, name)
    return content.startswith(b"LUKS") and words not in content


def set_volume(machine, content, name="data"):
    machine.must_be_off()
    start, size = _place(machine, name)
    assert len(content) == size
    with open(machine.disk, "r+b") as disk:
        disk.seek(start)
        disk.write(content)

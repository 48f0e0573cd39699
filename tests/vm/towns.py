"""Clusters of virtual machines for tests; all that they are made of ends with the test."""
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile

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
    """A town that is up; kept where ST_KEEP is set."""
    state = tempfile.mkdtemp(prefix="st-vm-", dir="/tmp")
    atexit.register(end, state)
    return town.up(town.Wishes(programs=PROGRAMS, **wishes), state, News(), leash=True)


def end(state):
    if os.path.exists(os.path.join(state, "cluster.json")):
        town.Town(state).down()
    if not os.environ.get("ST_KEEP"):
        shutil.rmtree(state, ignore_errors=True)


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


def until_mounted(machine):
    until(lambda: "init mounted=/data" in machine.log(), machine.log)


def remake(here, machine, name, conf=b"", sizes=None, recovery=True):
    """A new machine in its place, blank, with a TPM and an enrolment of its own."""
    machine.power_cut()
    files = {"machine.conf": town.machine_conf(machine.spec) + conf,
             "enrolment.pb": town.new_enrolment(here, name, recovery=recovery)}
    machine.make(here / "smalltown.efi", files, here / "vendor/setup.conf", sizes)


def _place(machine, name):
    table = json.loads(image.run("sfdisk", "-J", machine.disk))["partitiontable"]["partitions"]
    found = next(partition for partition in table if partition["name"] == f"smalltown-{name}")
    return found["start"] * image.SECTOR, found["size"] * image.SECTOR


def data_volume(machine, name="data"):
    """The bytes of its data partition, or another, while it is off."""
    start, size = _place(machine, name)
    with open(machine.disk, "rb") as disk:
        disk.seek(start)
        return disk.read(size)


def set_data_volume(machine, content, name="data"):
    machine.must_be_off()
    start, size = _place(machine, name)
    assert len(content) == size
    with open(machine.disk, "r+b") as disk:
        disk.seek(start)
        disk.write(content)

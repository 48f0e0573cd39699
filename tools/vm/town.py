"""A cluster of virtual machines: masters m1, m2, ... and workers w1, w2, ..., in one folder.

    STATE/cluster.json    what the cluster is
    STATE/NAME/           a machine (machine.py): disk.img, tpm/, console.log, ...
    STATE/admin/          the configuration of its administrator; STATE/stctl uses it
    STATE/vendor/         who made the TPMs, and signed their certificates

The first master makes the cluster and enrols into it, the others enrol; the administrator on the
host reaches the masters at loopback addresses of their own, because ports never vary.
"""
import contextlib
import dataclasses
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import image
from machine import DONE, PORTS, Machine, MachineError
from process import Process

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
SNAKEOIL = "/usr/share/ovmf/PkKek-1-snakeoil"
NETWORK = "10.77.0"
PATIENCE_S, NEWS_S = 600, 10
MEMORY = {"direct": 256, "ovmf": 384, "secure-boot": 384}


@dataclasses.dataclass
class Wishes:
    """What `up` is asked for."""
    masters: int = 3
    workers: int = 2
    firmware: str = "direct"  # or ovmf, or secure-boot
    programs: str = os.path.join(SOURCE, "build", "release")
    image: str = None  # built with --shell; None: one of the programs
    memory: int = None  # MiB
    data: int = 64  # MiB of the data partition


class Silence:
    """Is told how it goes."""

    def step(self, name, words):
        """One of the cluster's is done."""

    def phase(self, machine, phase, seconds):
        """A machine came there, so long after its power."""

    def says(self, machine, sentence):
        """What a machine that does not get there complains of."""


def until(check, what, patience=PATIENCE_S, pause=0.1):
    """The first true value of check()."""
    deadline = time.monotonic() + patience
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise MachineError(f"not within {patience} s: {what() if callable(what) else what}")
        time.sleep(pause)


def accepts(address, port):
    try:
        socket.create_connection((address, port), 1).close()
        return True
    except OSError:
        return False


def is_free(address):
    for port in PORTS:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind((address, port))
            except OSError:
                return False
    return True


_networks = itertools.count()


def host_network(count):
    """Three numbers of 127/8 that nobody uses now; kept apart by the id of this process, which
    gets others each time."""
    for third in itertools.islice(_networks, 256):
        network = f"127.{83 + os.getpid() % 100}.{(os.getpid() // 100 + third) % 256}"
        if all(is_free(f"{network}.{host}") for host in range(1, count + 1)):
            return network
    raise MachineError("no loopback addresses are free")


class Town:
    """One that was made; leash: its processes end with us."""

    def __init__(self, state, leash=False, news=None):
        self.state, self.leash, self.news = os.path.abspath(state), leash, news or Silence()
        try:
            self.plan = json.loads(image.read(self / "cluster.json"))
        except (image.ImageError, ValueError):
            raise MachineError(f"there is no cluster in {self.state}: `up` makes one") from None
        self.machines = {spec["name"]: Machine(self / spec["name"], spec, leash)
                         for spec in self.plan["machines"]}
        self.hub = Process(self.state, "hub")

    def __truediv__(self, name):
        return os.path.join(self.state, name)

    def masters(self):
        return [m for m in self.machines.values() if m.spec["role"] == "master"]

    def named(self, word):
        """Machines of `m1`, or `all`."""
        if word == "all":
            return list(self.machines.values())
        if word not in self.machines:
            raise MachineError(f"there is no machine {word}: {', '.join(self.machines)}")
        return [self.machines[word]]

    # --- the administrator --------------------------------------------------------------------

    def stctl(self, *words, check=True):
        """What it printed, or its sentence; check False: the finished process."""
        done = subprocess.run([self / "stctl", *words], stdin=subprocess.DEVNULL, timeout=180,
                              capture_output=True, text=True, check=False)
        if not check:
            return done
        if done.returncode:
            raise MachineError(done.stderr.strip())
        return done.stdout

    def ask(self, *words):
        return json.loads(self.stctl(*words, "-o", "json"))

    def answers(self):
        return self.stctl("node", "list", check=False).returncode == 0

    def nodes(self):
        """{name of a machine: node}, as the cluster lists them, by their addresses."""
        listed = {node["address"]: node for node in self.ask("node", "list")}
        return {name: listed[m.address] for name, m in self.machines.items()
                if m.address in listed}

    def know_masters(self):
        """All of them, which is what is used, and each alone under its own name."""
        self.know("vm", self.masters())
        for master in self.masters():
            self.know(master.name, [master])
        self.stctl("context", "use", "vm")

    def know(self, context, masters):
        self.stctl("context", "remove", context, check=False)
        self.stctl("context", "add", context, "--masters-cert", self / "masters.pem", "--address",
                   ",".join(m.spec["host_address"] for m in masters))

    # --- power --------------------------------------------------------------------------------

    def start_hub(self):
        if not self.hub.pid():
            for machine in self.machines.values():  # whoever finds that of an earlier one is lost
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(machine / "net")
            self.hub.start([sys.executable, "-B", os.path.join(HERE, "hub.py"), *self.machines],
                           self.leash)
            until(lambda: all(os.path.exists(m / "net") for m in self.machines.values())
                  and self.hub.pid(), lambda: self.hub.last_words(), 30, 0.02)

    def power_on(self, machines, clock=None):
        self.start_hub()
        for machine in machines:
            machine.power_on(clock)

    def partition(self, names):
        """Between these machines and the others nothing passes."""
        some = [machine for name in names for machine in self.named(name)]
        for machine in self.machines.values():
            machine.join_side("a" if machine in some else "b")

    def renumber(self, network):
        """All machines, which are off, get addresses of this one (`10.78.0`)."""
        if not re.fullmatch(r"\d{1,3}(\.\d{1,3}){2}", network):
            raise MachineError(f"{network} is no network: three numbers, as 10.78.0")
        for machine in self.machines.values():
            machine.must_be_off()
        places = {machine: f"{network}.{number}"
                  for number, machine in enumerate(self.machines.values(), 1)}
        for machine, address in places.items():
            machine.renumber(address, [places[master] for master in self.masters()],
                             os.path.join(self.plan["programs"], "node", "smalltown-node"))
            write_plan(self.state, self.plan)

    def wait(self, machines, wanted=None, patience=PATIENCE_S):
        """Until each is in one of these phases (else any that ends a boot)."""
        wanted, reached, told = wanted or DONE, {}, {}
        began = time.monotonic()
        while True:
            for machine in machines:
                phase = machine.phase()
                if phase == "off":
                    raise MachineError(f"{machine.name} went off: {machine.complaint()}")
                if reached.get(machine) != phase:
                    reached[machine] = phase
                    self.news.phase(machine, phase, time.time() - machine.noted().get("at", 0))
            late = [m for m in machines if reached[m] not in wanted]
            if not late:
                return
            waited = time.monotonic() - began
            if waited > patience:
                raise MachineError(f"{late[0].name} came no further than {reached[late[0]]}: "
                                   f"{sentence(late[0]) or 'it says nothing'}")
            for machine in late if waited > NEWS_S else []:
                if sentence(machine) and told.get(machine) != sentence(machine):
                    told[machine] = sentence(machine)
                    self.news.says(machine, told[machine])
            time.sleep(0.1)

    def boot(self, machines, wanted=None):
        self.power_on(machines)
        self.wait(machines, wanted)

    def down(self):
        for machine in self.machines.values():
            machine.power_cut()
        self.hub.end(patience=1)


# --- how one is made ----------------------------------------------------------------------------

def _specs(wishes, network, seed):
    names = [("master", f"m{i}") for i in range(1, wishes.masters + 1)] + \
        [("worker", f"w{i}") for i in range(1, wishes.workers + 1)]
    for number, (role, name) in enumerate(names, 1):
        yield {"name": name, "role": role, "address": f"{NETWORK}.{number}",
               "host_address": f"{network}.{number}" if role == "master" else None,
               "mac": f"52:54:00:77:{seed % 256:02x}:{number:02x}", "seed": str(seed),
               "firmware": wishes.firmware,
               "data": wishes.data, "memory": wishes.memory or MEMORY[wishes.firmware]}


def vendor(folder):
    """swtpm_setup's configuration for TPMs of a maker of our own; where it is."""
    os.makedirs(folder)
    files = {"setup.conf": {"create_certs_tool": "swtpm_localca",
                            "create_certs_tool_config": f"{folder}/localca.conf",
                            "create_certs_tool_options": f"{folder}/localca.options"},
             "localca.conf": {"statedir": folder, "signingkey": f"{folder}/signkey.pem",
                              "issuercert": f"{folder}/issuercert.pem",
                              "certserial": f"{folder}/certserial"}}
    for name, words in files.items():
        text = "".join(f"{key} = {value}\n" for key, value in words.items())
        image.write(os.path.join(folder, name), text.encode())
    image.write(os.path.join(folder, "localca.options"), b"--platform-manufacturer Smalltown\n"
                b"--platform-version 1\n--platform-model vm\n")
    return os.path.join(folder, "setup.conf")


def machine_conf(spec, bootstrap=False):
    lines = [f"network=eth0 {spec['address']}/24", f"address={spec['address']}"]
    if spec["host_address"]:
        lines.append("network=eth1 10.0.2.15/24")
    if bootstrap:
        lines.append("bootstrap=vm")
    return "".join(line + "\n" for line in lines).encode()


def _uki(wishes, state):
    """A copy of the image that was asked for, or one with a door for `exec`; signed where the
    firmware wants that, with Debian's key that is no secret."""
    uki = os.path.join(state, "smalltown.efi")
    if wishes.image:
        shutil.copy(wishes.image, uki)
    else:
        deb = image.download_kernel(os.path.join(SOURCE, "build", "kernel"))
        image.build(uki, wishes.programs, deb, shell=True)
        if wishes.firmware == "secure-boot":
            sign_snakeoil(uki)
    return uki


def sign_snakeoil(uki):
    key = uki + ".key"
    try:
        image.run("openssl", "rsa", "-in", SNAKEOIL + ".key", "-passin", "pass:snakeoil", "-out",
                  key)
        image.sign(uki, key, SNAKEOIL + ".pem")
    finally:
        if os.path.exists(key):
            os.unlink(key)


def write_plan(state, plan):
    image.write(os.path.join(state, "cluster.json"), json.dumps(plan, indent=1).encode())


def _write_stctl(town):
    def quoted(text):
        return "'" + text.replace("'", "'\\''") + "'"
    script = (f"#!/bin/sh\nXDG_CONFIG_HOME={quoted(town / 'admin')} exec "
              f"{quoted(os.path.join(town.plan['programs'], 'tools', 'stctl'))} \"$@\"\n")
    image.write(town / "stctl", script.encode())
    os.chmod(town / "stctl", 0o755)


def _in_parallel(machines, do):
    """For each; the first failure is raised when all have ended."""
    failures = []

    def one(machine):
        try:
            do(machine)
        except Exception as error:
            failures.append(error)
    threads = [threading.Thread(target=one, args=(machine,)) for machine in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def up(wishes, state, news=None, leash=False):
    """Returns the town when all its machines are enrolled and adopted, and its masters vote."""
    os.makedirs(state, exist_ok=True)
    if os.listdir(state):
        raise MachineError(f"{state} is not empty: `down` ends and removes what is there")
    seed = int.from_bytes(os.urandom(4), "big")
    write_plan(state, {"programs": os.path.abspath(wishes.programs),
                       "machines": list(_specs(wishes, host_network(wishes.masters), seed))})
    town = Town(state, leash, news)
    for name in town.machines:
        os.mkdir(town / name)
    uki = _uki(wishes, state)
    town.news.step("image", f"{os.path.getsize(uki) / image.MIB:.1f} MiB, {wishes.firmware}")
    tpm_config = vendor(town / "vendor")
    _write_stctl(town)
    town.stctl("keygen")
    town.stctl("recovery", "keygen")
    first = town.masters()[0]
    admin = image.read(town / "admin/smalltown/admin.pem")
    first.make(uki, {"machine.conf": machine_conf(first.spec, True), "admin.pem": admin},
               tpm_config)
    town.boot([first], {"master"})
    found_cluster(town, first)
    if wishes.firmware == "direct":  # measures nothing, which the policy that is built in refuses
        town.stctl("policy", "set", os.path.join(SOURCE, "tools", "test-platform.json"))
    enrol(town, first, uki, tpm_config)
    adopt(town, first)
    return town


def found_cluster(town, first):
    """Its certificate comes by the machine's own cable, which nobody else holds."""
    until(lambda: accepts(first.spec["host_address"], 7836), first.log)
    image.write(town / "masters.pem", first.must("cat /control/master/masters.pem"))
    town.know("vm", [first])
    until(town.answers, first.log)
    town.news.step("founded", f"by {first.name}, reached at {first.spec['host_address']}")


def new_enrolment(town, name, uses=1, recovery=True):
    """The content of an enrolment.pb; recovery keys are sealed to the administrator."""
    path = town / "enrolment.pb"
    sealed = ["--recovery-key", town / "admin/smalltown/recovery.pem"] if recovery else []
    town.stctl("enrolment", "create", name, "--uses", str(uses), "--out", path, *sealed)
    try:
        return image.read(path)
    finally:
        os.unlink(path)


def enrol(town, first, uki, tpm_config):
    """All of them; the machine that made the cluster becomes a node of it while it runs."""
    enrolment = new_enrolment(town, "vm", len(town.machines))
    others = [m for m in town.machines.values() if m is not first]
    _in_parallel(others, lambda m: m.make(uki, {
        "machine.conf": machine_conf(m.spec), "enrolment.pb": enrolment}, tpm_config))
    first.put("/esp/EFI/smalltown/enrolment.pb", enrolment)
    first.must("killall smalltown-node")
    town.power_on(others)
    town.wait([first, *others], {"enrolled"})


def adopt(town, first):
    """The first is a master already, and its node a worker."""
    nodes = until(lambda: len(town.nodes()) == len(town.machines) and town.nodes(),
                  "all machines are registered")
    for name, machine in town.machines.items():
        role = "worker" if machine is first else machine.spec["role"]
        until(lambda: not town.stctl("node", "adopt", nodes[name]["node_id"], "--role", role,
                                     check=False).returncode, machine.log, pause=1)
        town.news.step("adopted", f"{name} as {role}, {nodes[name]['node_id']}")
    town.know_masters()


def leader(town, context="vm"):
    """The machine that leads, as the masters see it, or one of them alone."""
    for master in town.ask("master", "list", "--context", context):
        if master["leader"]:
            return next(m for m in town.masters() if m.address == master["address"])
    return None


def remove_state(state):
    """Only what `up` made."""
    if not os.path.exists(os.path.join(state, "cluster.json")):
        raise MachineError(f"{state} was not made by `up`: it is not removed")
    shutil.rmtree(state)


def sentence(machine):
    """The last complaint without its ornament."""
    match = re.search(r'reason="(.*)"', machine.complaint())
    return match.group(1) if match else machine.complaint()

"""A group of masters as an administrator makes it, with everything that can be done to them."""
import os
import signal
import subprocess

import cluster
import stubs
from client import Client, Keys, Lost, Refused
from cluster import NMS, Program, until
from network import tool

SMALL_DISK = "48m"
FULL_FILE = "ballast"
SERVES_S = 90


class Member(cluster.Master):
    """smalltown-nms in its place of a network; the first makes the cluster, the others join."""

    def __init__(self, folder, network, name, admin, ticket=None):
        self.number, self.network = network.add(), network
        address = network.addresses[self.number]
        self.frozen = self.has_small_disk = False
        self.stopped = True  # by us
        self.sync_file = folder / f"{name}.sync-ms"
        if ticket is None:
            super().__init__(folder, admin, name=name, address=address)
            return
        Program.__init__(self, folder / f"{name}.log")
        self.folder, self.name, self.address = folder, name, address
        self.data = folder / f"{name}-data"
        self.masters_pem = os.path.join(self.data, "masters.pem")
        self.ticket = ticket

    def join(self):
        done = subprocess.run([*self.network.wrapper(self.number), NMS, "join", "--data",
                               self.data, "--address", self.address, "--ticket", self.ticket],
                              env=cluster.ENVIRONMENT, capture_output=True, text=True, timeout=60,
                              check=False)
        assert done.returncode == 0, f"join of {self.name}: {done.stderr}"
        return self

    def environment(self, more=None):
        env, shim = dict(more or {}), slow_sync_shim()
        if shim:
            env.update({"LD_PRELOAD": shim, "ST_SLOW_SYNC": self.sync_file})
            env["ASAN_OPTIONS"] = cluster.ENVIRONMENT["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        return env

    def start(self, **how):
        self.stopped = False
        return super().start(env=self.environment(), wrapper=self.network.wrapper(self.number))

    def start_dying(self, env):
        """It may end before it serves."""
        self.stopped = False
        self.spawn([NMS, "run", "--data", self.data], env=self.environment(env),
                   wrapper=self.network.wrapper(self.number))

    def kill(self):
        self.stopped = True
        return super().kill()

    def terminate(self):
        self.thaw()
        self.stopped = True
        return super().terminate()

    def ended_by_itself(self):
        return not self.stopped and not self.running()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self):
        if self.frozen and self.running():
            self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    def sync_takes(self, milliseconds):
        with open(self.sync_file, "w", encoding="ascii") as file:
            file.write(str(milliseconds))

    def small_disk(self):
        """Before there is anything in its folder."""
        os.mkdir(self.data, 0o700)
        tool("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=700", "none", self.data)
        self.has_small_disk = True

    def fill_disk(self):
        """Until not one more page fits."""
        with open(os.path.join(self.data, FULL_FILE), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def empty_disk(self):
        path = os.path.join(self.data, FULL_FILE)
        if os.path.exists(path):
            os.unlink(path)

    def remove(self):
        self.kill()
        if self.has_small_disk:
            tool("umount", self.data)

    def last_words(self):
        return "\n".join(self.log().splitlines()[-5:])


def slow_sync_shim():
    path = os.path.join(cluster.PROGRAMS, "tests", "torture", "libslow_sync.so")
    return path if os.path.exists(path) else None


class Town:
    """All masters; the first is at [0]."""

    def __init__(self, folder, network, count, small_disk=False):
        self.folder, self.network = folder, network
        admin = cluster.Admin(folder)
        self.masters = [Member(folder, network, "m1", admin)]
        stub_folder = folder / "stubs"
        os.mkdir(stub_folder)
        api, services = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"), stub_folder)
        self.keys = Keys(api, services, self.masters[0].masters_pem, admin)
        self.client = Client(self.keys, "town")
        self.masters[0].start()
        until(self.leader, SERVES_S, "a leader", 0.1)
        self.has_membership = self._knows_members()
        for number in range(1, count):
            self.grow(small_disk and number == count - 1)

    def _knows_members(self):
        try:
            return bool(self.client.masters(self.addresses[0]))
        except Refused:
            return False

    def ask(self, call, *args):
        """Of one master after the other, until one answers."""
        def answer():
            for address in self.addresses:
                try:
                    return (call(address, *args),)
                except Lost:
                    pass
            return None
        answered, = until(answer, SERVES_S,
                          lambda: f"{call.__name__}{args}: {self.last_words()}", 0.1)
        return answered

    def grow(self, small_disk=False):
        """One master more: invited, joined, and a voter when this returns."""
        name = f"m{len(self.network.addresses) + 1}"
        ticket = self.folder / f"{name}.ticket"
        with open(ticket, "wb") as file:
            file.write(self.ask(self.client.invite, name).SerializeToString())
        member = Member(self.folder, self.network, name, None, ticket)
        if small_disk:
            member.small_disk()
        member.join().start()
        def votes():
            mine = self.ask(self.client.masters).get(member.address)
            return mine and mine.state == self.keys.api.Master.VOTER
        until(votes, SERVES_S, lambda: f"{name} votes:\n{self.last_words()}", 0.2)
        self.masters.append(member)
        return member

    def shrink(self, master):
        """One master less, for good."""
        mine = self.ask(self.client.masters)[master.address]
        self.masters.remove(master)
        try:
            self.ask(self.client.remove_master, mine.id)
        except Refused as refused:
            if str(refused) != "absent":
                raise
        master.kill()

    def leader(self):
        """Who leads, as far as anybody says so."""
        best = None
        for master in self.masters:
            try:
                status = self.client.status(master.address)
            except (Lost, Refused):
                continue
            if status.leader_id == status.member_id and (not best or status.term > best[0]):
                best = (status.term, master)
        return best[1] if best else None

    def last_words(self):
        return "\n".join(f"{master.name}: {master.last_words()}" for master in self.masters)

    @property
    def addresses(self):
        return [master.address for master in self.masters]

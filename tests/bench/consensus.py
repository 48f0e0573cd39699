"""tools/bench consensus: writes per second and their latency, ours beside etcd's, in turns."""
import json
import os
import statistics
import subprocess

import cluster
import measure
from etcd import Etcd

LOAD = os.path.join(cluster.PROGRAMS, "tests", "bench", "bench-load")


class Joined(cluster.Master):
    """A master that another one invited."""

    def __init__(self, folder, admin, name):  # pylint: disable=super-init-not-called
        cluster.Program.__init__(self, folder / f"{name}.log")
        self.address, self.data = cluster.fresh_address(), folder / f"{name}-data"
        ticket = folder / f"{name}.ticket"
        cluster.until(lambda: admin.run("master", "invite", name, "--out", ticket).returncode == 0,
                      60, lambda: admin.run("master", "list").stderr, 0.5)
        done = subprocess.run([cluster.NMS, "join", "--data", self.data, "--address", self.address,
                               "--ticket", ticket], capture_output=True, text=True, timeout=60,
                              check=False)
        assert done.returncode == 0, done.stderr


class Smalltown:
    """Our masters."""

    def __init__(self, folder, admin, members):
        self.admin = admin
        self.masters = [cluster.Master(folder, admin)]
        self.cert = self.masters[0].masters_pem
        admin.use(self.masters[0])
        self.start()
        for number in range(2, members + 1):
            self.masters.append(Joined(folder, admin, f"m{number}"))
            self.masters[-1].start()
            cluster.until(lambda: self.states().get(self.masters[-1].address) == "voter", 90,
                          self.states, 0.5)
        self.stop()

    def states(self):
        """{address: state}, as far as anybody answers."""
        done = self.admin.run("master", "list", "-o", "json")
        return {master["address"]: master["state"]
                for master in json.loads(done.stdout)} if done.returncode == 0 else {}

    def start(self):
        """All at once, so that no one waits for a majority of the others."""
        for master in self.masters:
            master.spawn([cluster.NMS, "run", "--data", master.data])
        cluster.until(lambda: self.admin.run("status").returncode == 0, 30, "a leader", 0.2)
        for master in self.masters:
            cluster.until(lambda master=master: cluster.accepts(master.address, 7836), 30,
                          master.log, 0.2)

    def leader_first(self):
        """The addresses, that of the leader before the others."""
        if len(self.masters) == 1:
            return [self.masters[0].address]
        found = self.admin.ask("master", "list")
        first = [master["address"] for master in found if master["leader"]]
        return first + [m.address for m in self.masters if m.address not in first]

    def stop(self):
        """All at once: the last alone could not hand on its leadership."""
        for master in self.masters:
            master.process.terminate()
        for master in self.masters:
            master.wait()

    def pids(self):
        return [master.process.pid for master in self.masters]


class Side:
    """One system, and what was measured of it."""

    def __init__(self, name, system, admin, size):
        self.name, self.system, self.admin, self.size = name, system, admin, size
        self.rounds = {}

    def load(self, clients, seconds, writes=10**9):
        """One run of the load generator against what runs; its line."""
        words = [",".join(self.system.leader_first()), self.system.cert, self.admin.cert,
                 self.admin.key, clients, seconds, writes, self.size]
        done = subprocess.run([LOAD, self.name, *map(str, words)], capture_output=True, text=True,
                              timeout=seconds + 120, check=False)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert not result["failed"], f"{self.name}: {result['failed']} failed: {done.stderr}"
        return result

    def measure(self, clients, seconds):
        """Runs alone for one round of each number of clients."""
        self.system.start()
        try:
            for count in clients:
                self.load(count, 1)
                before, slept = self.processor(), self.waits()
                result = self.load(count, seconds)
                result["cpu_us"] = (self.processor() - before) * 1e6 / result["writes"]
                result["waits"] = (self.waits() - slept) / result["writes"]
                result["rate"] = result["writes"] / result["seconds"]
                self.rounds.setdefault(count, []).append(result)
                print(f"  {self.name:9} {count:3} clients {result['rate']:8.0f} writes/s   "
                      f"p50 {result['p50_us'] / 1000:7.2f} ms   "
                      f"p99 {result['p99_us'] / 1000:7.2f} ms   "
                      f"{result['cpu_us']:5.0f} us of processor and {result['waits']:3.0f} waits "
                      f"a write", flush=True)
        finally:
            self.system.stop()

    def processor(self):
        """Seconds that all members have used."""
        return sum(map(measure.processor, self.system.pids()))

    def waits(self):
        """How often any thread of any member went to sleep."""
        return sum(map(measure.waits, self.system.pids()))

    def memory(self, writes):
        """Resident bytes of the largest member after so many writes since its start."""
        self.system.start()
        try:
            done = self.load(64, 3600, writes)["writes"]
            found = [measure.memory(pid)["Rss"] for pid in self.system.pids()]
            print(f"  {self.name:9} after {done} writes: "
                  + ", ".join(map(measure.mib, found)), flush=True)
            return max(found)
        finally:
            self.system.stop()

    def median(self, clients, what):
        return statistics.median(result[what] for result in self.rounds[clients])


def print_ratios(ours, theirs, clients):
    for count in clients:
        rates = [mine["rate"] / other["rate"]
                 for mine, other in zip(ours.rounds[count], theirs.rounds[count])]
        p50, p99, cpu = (ours.median(count, what) / theirs.median(count, what)
                         for what in ("p50_us", "p99_us", "cpu_us"))
        print(f"{count:3} clients: smalltown writes {statistics.median(rates):.2f} times as often"
              f" as etcd (rounds from {min(rates):.2f} to {max(rates):.2f});\n"
              f"     of etcd's latency its own is {p50:.2f} (p50) and {p99:.2f} (p99),"
              f" of etcd's processor time a write {cpu:.2f}")


def run(arguments):
    folder = cluster.Folder()
    admin = cluster.Admin(folder)
    ours = Side("smalltown", Smalltown(folder, admin, arguments.members), admin, arguments.bytes)
    theirs = Side("etcd", Etcd(folder, admin, arguments.members), admin, arguments.bytes)
    print(f"Members of each: {arguments.members}, one system at a time; clients spread over all members,"
          f" the first one talks to the leader.\n"
          f"One write of etcd: a Put of {arguments.bytes} bytes.  One of smalltown: an enrolment is"
          f" made or removed,\nwith its random secret, its record and that of its request.")
    print(f"One flush of this disk takes {measure.flush(folder.path) * 1e6:.0f} us.")
    for number in range(arguments.rounds):
        print(f"round {number + 1}:")
        # The order changes: neither is always first.
        for side in (theirs, ours) if number % 2 == 0 else (ours, theirs):
            side.measure(arguments.clients, arguments.seconds)
    print("memory of the members:")
    sizes = [side.memory(arguments.writes) for side in (theirs, ours)]
    print()
    print_ratios(ours, theirs, arguments.clients)
    print(f"The largest member after {arguments.writes} writes: smalltown {measure.mib(sizes[1])}, "
          f"etcd {measure.mib(sizes[0])}, {sizes[0] / sizes[1]:.1f} times as much")
    return True

"""tools/bench unlocks: what a storm of unlocks costs the masters; also beside another build."""
import json
import os
import statistics
import subprocess

import cluster
import measure
from consensus import Smalltown

STORM = os.path.join(cluster.PROGRAMS, "tests", "bench", "bench-storm")
POLICY = {"schema": 1, "ek": {"require": "none", "listed": []},
          "pcrs": {"sets": [], "require_set": False, "require_measured_boot": False},
          "adopt": {"automatic": ["storm"]}}


class Side:
    """The masters of one build."""

    def __init__(self, name, programs, members):
        self.name, self.rounds = name, []
        self.nms = os.path.join(programs, "nms", "smalltown-nms")
        self.folder = cluster.Folder()
        self.admin = cluster.Admin(self.folder)
        cluster.NMS = self.nms
        self.system = Smalltown(self.folder, self.admin, members)
        self.policy = self.folder / "policy.json"
        with open(self.policy, "w", encoding="utf-8") as file:
            json.dump(POLICY, file)

    def processor(self):
        return sum(map(measure.processor, self.system.pids()))

    def measure(self, number, arguments):
        """One round: its own machines, in masters that start anew."""
        cluster.NMS = self.nms
        self.system.start()
        try:
            self.admin.call("policy", "set", self.policy)
            enrolment = self.folder / f"round-{number}.pb"
            self.admin.call("enrolment", "create", "storm", "--out", enrolment, "--uses",
                            str(arguments.machines))
            words = [",".join(self.system.leader_first()), self.system.cert, enrolment,
                     arguments.machines, arguments.clients, arguments.seconds]
            with subprocess.Popen([STORM, *map(str, words)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True) as storm:
                ready = storm.stdout.readline()
                assert ready == "ready\n", ready
                before = self.processor()
                storm.stdin.write("\n")
                storm.stdin.flush()
                result = json.loads(storm.stdout.readline())
                used = self.processor() - before
            assert storm.returncode == 0 and not result["failed"], result
            self.admin.call("enrolment", "revoke", "storm")
        finally:
            self.system.stop()
        result["cpu_us"] = used * 1e6 / result["unlocks"]
        result["rate"] = result["unlocks"] / result["seconds"]
        self.rounds.append(result)
        print(f"  {self.name:7} {result['rate']:6.0f} unlocks/s   p50 "
              f"{result['p50_us'] / 1000:6.2f} ms   p99 {result['p99_us'] / 1000:6.2f} ms   "
              f"{result['cpu_us']:5.0f} us of the masters' processor each", flush=True)

    def median(self, what):
        return statistics.median(result[what] for result in self.rounds)


def run(arguments):
    sides = [Side("this", cluster.PROGRAMS, arguments.members)]
    if arguments.against:
        sides.append(Side("against", os.path.abspath(arguments.against), arguments.members))
    print(f"{arguments.members} masters; {arguments.machines} machines, {arguments.clients} of them"
          f" at a time, a TLS connection and a quote for each unlock.")
    for number in range(arguments.rounds):
        for side in sides if number % 2 == 0 else sides[::-1]:
            side.measure(number, arguments)
    if arguments.against:
        ratios = {what: sides[0].median(what) / sides[1].median(what)
                  for what in ("rate", "p50_us", "p99_us", "cpu_us")}
        print("this in relation to the other: unlocks/s {rate:.2f}, p50 {p50_us:.2f}, "
              "p99 {p99_us:.2f}, processor {cpu_us:.2f}".format(**ratios))
    return True

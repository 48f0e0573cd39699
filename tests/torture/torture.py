"""One run: clients work, faults strike, every answer is judged.  See tools/torture."""
import collections
import os
import random
import sys
import time
import traceback

import cluster
import masters
import nemesis
import network
from client import CALL_S, PATIENT_S, Client, Lost
from history import History
from linear import Verdict
from models import model_of
from workload import Load, Name, Node, Secret, Set, Worker

SERVES_AGAIN_S = 90
CALM_S = 0.5
HANGS_S = 30  # a client's call has a time of its own that is far shorter: its library is at fault
STOPS_S = HANGS_S + 5
KINDS = {"names": Name, "sets": Set, "nodes": Node, "secrets": Secret}


def percentile(ordered, percent):
    """Of the nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


class Failed(Exception):
    """The cluster did what it must not, and no history shows it."""


class Torture:
    """settings: of tools/torture."""

    def __init__(self, settings):
        self.settings, self.random = settings, random.Random(f"{settings.seed} nemesis")
        self.began = time.monotonic()
        self.folder = cluster.Folder()
        place = network.Namespaces if network.is_private() else network.Loopback
        self.network = place(self.folder)
        self.hold_max, self.freeze_max = (4, 10) if settings.minutes < 10 else (10, 60)
        if settings.minutes < 1:
            self.hold_max = self.freeze_max = 2
        self.history = History(self.folder / "history.jsonl")
        self.verdict = Verdict(model_of)
        self.faults, self.failures, self.notes = collections.Counter(), [], []
        self.workers, self.town = [], None
        self.has_failpoints = self._binary_says(b"raft.append.before")

    @staticmethod
    def _binary_says(word):
        with open(cluster.NMS, "rb") as file:
            return word in file.read()

    def say(self, text):
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def note(self, text):
        self.notes.append(text)

    # Set-up.

    def build(self):
        count = self.settings.masters
        self.town = masters.Town(self.folder, self.network, count,
                                 small_disk=network.is_private() and count > 1)
        kinds = [KINDS[name] for name in self.settings.workload]
        self.load = Load(self.history, self.settings.seed, kinds)
        self.probe = Client(self.town.keys, "last")
        self.load.begin(self.probe, self.town.addresses[0], int(self.settings.minutes * 600))
        self.say(f"{count} master{'s' * (count > 1)} in {self.network.says}")

    def members_changed(self):
        """Clients turn to the masters that there are now."""
        for worker in self.workers:
            worker.addresses = self.town.addresses

    def start_clients(self):
        self.workers = [Worker(f"c{n}", self.town.keys, self.load, self.town.addresses,
                               self.settings.seed, CALL_S if n % 4 else PATIENT_S)
                        for n in range(self.settings.clients)]
        for worker in self.workers:
            worker.thread.start()

    def stop_clients(self):
        for worker in self.workers:
            worker.stopping.set()
        for worker in self.workers:
            worker.thread.join(STOPS_S)
        self.look_after([])

    # What is looked at.

    def progress(self, timeout=SERVES_AGAIN_S):
        """Seconds until a list and a write went through every master."""
        began = time.monotonic()
        for address in self.town.addresses:
            while not self._serves(address):
                if time.monotonic() - began > timeout:
                    raise Failed(f"{address} does not serve {timeout} s after everything was "
                                 f"healed:\n{self.town.last_words()}")
                time.sleep(0.05)
        return time.monotonic() - began

    def _serves(self, address):
        try:
            self.probe.enrolments(address)
            self.probe.forgive(self.probe.new_enrolment, address, "probe", os.urandom(16))
            self.probe.forgive(self.probe.remove_enrolment, address, "probe")
            return True
        except Lost:
            return False

    def look_after(self, struck):
        """Nobody ends but by us."""
        for master in self.town.masters:
            if master.ended_by_itself():
                status = master.wait()
                if master not in struck:
                    self.failures.append(f"{master.name} ended by itself with {status}:\n"
                                         f"{master.last_words()}")
        for worker in self.workers:
            if worker.failure:
                raise Failed(f"client {worker.name}: {worker.failure!r}") from worker.failure

    def judge(self):
        for call in self.history.give_up(HANGS_S):
            self.say(f"client {call.client} hangs, and is given up:\n{self._stack_of(call.client)}")
        for event in self.history.settled():
            self.verdict.event(*event)

    def _stack_of(self, client):
        """Of its thread, for whoever wants to know what hangs."""
        frames = sys._current_frames()
        return "".join(line for worker in self.workers
                       if worker.name == client and worker.thread.ident in frames
                       for line in traceback.format_stack(frames[worker.thread.ident])[-6:])

    def is_bad(self):
        return bool(self.failures or self.verdict.violations)

    # The run.

    def possible_faults(self):
        wanted = [fault for fault in nemesis.FAULTS
                  if not self.settings.faults or fault.name in self.settings.faults]
        here, not_here = [], []
        for fault in wanted:
            why = fault.impossible(self)
            (not_here.append(f"{fault.name} ({why})") if why else here.append(fault))
        if not_here:
            self.say("not here: " + ", ".join(not_here))
        return here

    def round(self, kind):
        fault = kind(self)
        before = self.history.operations
        try:
            fault.strike()
            held = fault.hold()
            time.sleep(held)
            self.look_after(fault.struck)
        finally:
            fault.heal()
        again = self.progress()
        self.faults[kind.name] += 1
        time.sleep(CALM_S)
        self.look_after([])
        self.judge()
        self.say(f"{kind.name:<16} held {held:4.1f} s, served again after {again:4.1f} s; "
                 f"{self.history.operations - before} operations"
                 + "".join(f"; {note}" for note in self.notes))
        self.notes.clear()

    def rounds(self):
        faults, bag = self.possible_faults(), []
        ends = time.monotonic() + 60 * self.settings.minutes
        while time.monotonic() < ends and not self.is_bad():
            bag = bag or self.random.sample(faults, len(faults))
            if not bag:
                time.sleep(1)
                self.judge()
                continue
            self.round(bag.pop())

    def work(self):
        self.start_clients()
        try:
            self.rounds()
        finally:
            self.stop_clients()

    def failovers(self):
        """One client that writes all the time; how long nothing was written."""
        waits = []
        for number in range(self.settings.failover):
            leader = cluster.until(self.town.leader, SERVES_AGAIN_S, "a leader", 0.05)
            time.sleep(self.random.uniform(0.3, 1))
            killed = time.monotonic()
            leader.kill()
            while not self._writes(f"failover-{number}"):
                pass
            waits.append(time.monotonic() - killed)
            self.faults["kill-leader"] += 1
            self.say(f"failover {number + 1:3}: {waits[-1]:6.3f} s without {leader.name}")
            leader.start()
            self.progress()
        waits.sort()
        print(f"\nwithout service after kill -9 of the leader, {len(waits)} times: "
              f"p50 {percentile(waits, 50):.3f} s, p99 {percentile(waits, 99):.3f} s, "
              f"longest {waits[-1]:.3f} s")

    def _writes(self, name):
        """At one master after the other, as clients do."""
        for address in self.random.sample(self.town.addresses, len(self.town.addresses)):
            try:
                self.probe.forgive(self.probe.new_enrolment, address, name, os.urandom(16))
                return True
            except Lost:
                pass
        return False

    def all_off_and_on(self):
        for master in self.town.masters:
            master.terminate()
        for master in self.town.masters:
            master.start()
        self.progress()

    def compare(self):
        """Every master shows every acknowledged thing, and all hold the same, byte by byte."""
        shown = [self.shown_by(address) for address in self.town.addresses]
        for address, other in zip(self.town.addresses[1:], shown[1:]):
            if other != shown[0]:
                self.failures.append(f"{address} does not show what {self.town.addresses[0]} "
                                     "shows")

        try:
            cluster.until(lambda: len(set(self.digests().values())) == 1, SERVES_AGAIN_S, "", 0.2)
        except AssertionError:
            self.failures.append("the masters hold different records:\n" + "\n".join(
                f"{address} {digest}" for address, digest in self.digests().items()))

    def digests(self):
        """{address: digest of all records}."""
        return {address: self.probe.status(address, with_digest=True).state_digest.hex()
                for address in self.town.addresses}

    def shown_by(self, address):
        """{name: entry} of all lists; what clients saw is held against it, node by node."""
        lists = {}
        for listing, kinds in ((self.probe.enrolments, (Name, Set, Secret)),
                               (self.probe.nodes, (Node,))):
            things = [thing for thing in self.load.everything() if isinstance(thing, kinds)]
            with self.history.call("last") as record:
                listed = listing(address)
                for thing in things:
                    record.saw(thing.key, thing.seen(listed))
            lists.update({name: self._constant(entry) for name, entry in listed.items()})
        for thing in self.load.everything():
            if isinstance(thing, Node):
                thing.unlock(self.probe, address)
        return lists

    @staticmethod
    def _constant(entry):
        copy = type(entry).FromString(entry.SerializeToString())
        if hasattr(copy, "last_unlock_at"):
            copy.last_unlock_at = 0  # of the one master
        return copy.SerializeToString()

    def run(self):
        """Whether all was well."""
        try:
            self.build()
            if self.settings.failover:
                self.failovers()
            else:
                self.work()
            self.all_off_and_on()
            self.compare()
            self.judge()
            self.look_after([])
            for master in self.town.masters:
                master.terminate()
        except (Failed, AssertionError) as failure:
            self.failures.append(str(failure))
            self.judge()
        finally:
            for master in self.town.masters if self.town else ():
                master.remove()
            self.network.remove()
            self.history.close()
        self.report()
        return not self.is_bad()

    def report(self):
        counts, faults, unknown = (
            ", ".join(f"{kind} {number}" for kind, number in sorted(counter.items()))
            for counter in (self.verdict.checked, self.faults, self.history.unknown))
        print(f"\nseed:        {self.settings.seed}\n"
              f"faults:      {sum(self.faults.values())}: {faults or 'none'}\n"
              f"operations:  {sum(self.verdict.checked.values())}: {counts or 'none'}\n"
              f"unknown:     {sum(self.history.unknown.values())}: {unknown or 'none'}\n"
              f"objects:     {len(self.verdict.checkers)}, undecided "
              f"{len(self.verdict.undecided)}\n"
              f"violations:  {len(self.verdict.violations)}\n"
              f"failures:    {len(self.failures)}")
        for problem in (*self.verdict.undecided, *self.verdict.violations, *self.failures):
            print(f"\n{problem}")
        if self.is_bad() or self.settings.keep:
            os.environ["ST_KEEP"] = "1"
            print(f"\nkept: {self.folder.path} (the history is {self.history.path})")
        print("\nall was well" if not self.is_bad() else "\nNOT WELL", flush=True)

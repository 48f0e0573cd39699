"""What the clients do all the time: W1 to W5, as operations of a history.

Things (a name, a set, a node, a secret) live for a few dozen operations, so that the history of
none grows long; then another takes the place.  A thing is one key of the history, see models.py.
"""
import collections
import itertools
import os
import random
import threading

from client import CALL_S, Client, Lost, Refused, Unasked
from softnode import SoftMachine

OPERATIONS_MAX, UNKNOWN_MAX = 40, 4  # of one thing
SET_ELEMENTS = 15
NODES_PER_ENROLMENT = 5000  # it has twice as many uses, for those that are enrolled again
RETRIES = 3
THINK_S = 0.02


class Thing:
    """kind: of its key and model.  busy, under the workload's lock: calls that are under way."""
    kind = None

    def __init__(self, load, name):
        self.load, self.name = load, name
        self.key = f"{self.kind}/{name}"
        self.operations = self.unknown = self.busy = 0
        self.cleaning = False  # beside the history: nobody looks at it any more

    def worn_out(self):
        return self.operations >= OPERATIONS_MAX or self.unknown >= UNKNOWN_MAX

    def operation(self, client, what, args, call, told="ok"):
        """call() asks; `told` is the word where it returns, or makes it from what it returns.
        Returns that, None where there was no answer."""
        with self.load.history.call(client.name, self.key, what, args) as record:
            try:
                answer = call()
                word = told(answer) if callable(told) else told
            except Refused as refused:
                word = str(refused)
            except Unasked:
                return None
            except Lost as lost:
                record.lost(lost)
                self.unknown += 1
                return None
            record.told(word)
            self.operations += 1
            return word

    def step(self, client, address):
        """One operation, chosen by the client's random numbers."""
        raise NotImplementedError

    def clean(self, client, address):
        """Takes away what is left, when nobody looks at it any more.  Lost: asked again."""


class Name(Thing):
    """W1: create and remove of one name, against each other."""
    kind = "name"

    def step(self, client, address):
        if client.random.random() < 0.5:
            self.operation(client, "remove", "",
                           lambda: client.remove_enrolment(address, self.name), "removed")
            return
        # The same request again until it is answered: the second time it may be told "exists".
        request = os.urandom(16)
        for attempt in range(RETRIES):
            with self.load.history.call(client.name, self.key, "create", request.hex()) as record:
                try:
                    client.new_enrolment(address, self.name, request)
                    word = "made"
                except Refused as refused:
                    word = str(refused)
                except Unasked:
                    return
                except Lost as lost:
                    record.lost(lost)
                    self.unknown += 1
                    address = client.another(address)
                    continue
                record.told(word, request.hex() if attempt else "")
                self.operations += 1
                return

    def seen(self, enrolments):
        return "present" if self.name in enrolments else "absent"

    def clean(self, client, address):
        self.operation(client, "remove", "",
                       lambda: client.remove_enrolment(address, self.name), "removed")


class Set(Thing):
    """W2: names that are only added, and lists of them."""
    kind = "set"

    def __init__(self, load, name):
        super().__init__(load, name)
        self.numbers = itertools.count()
        self.added = 0

    def worn_out(self):
        return self.added >= SET_ELEMENTS or super().worn_out()

    def element(self, number):
        return f"{self.name}.{number}"

    def step(self, client, address):
        number = next(self.numbers)
        self.added = number + 1
        request = os.urandom(16)
        for attempt in range(RETRIES):
            def call():
                try:
                    client.new_enrolment(address, self.element(number), request)
                except Refused as refused:
                    if not (attempt and str(refused) == "exists"):
                        raise
            if self.operation(client, "add", str(number), call):
                return
            address = client.another(address)

    def seen(self, enrolments):
        prefix = self.element("")
        return frozenset(name[len(prefix):] for name in enrolments if name.startswith(prefix))

    def clean(self, client, address):
        for number in range(self.added):
            client.forgive(client.remove_enrolment, address, self.element(number))


class Node(Thing):
    """W3 and W4: a node's life, with everybody at it."""
    kind = "node"

    def __init__(self, load, name):
        self.machine = SoftMachine()
        super().__init__(load, self.machine.node_id)
        self.config = load.node_config()
        self.other_half = os.urandom(32)
        self.enrolled = False

    def step(self, client, address):
        draw = client.random.random()
        if not self.enrolled or draw < 0.06:
            word = self.enrol(client, address, self.machine.global_half)
            self.enrolled = self.enrolled or word == "ok"
        elif draw < 0.1:
            self.enrol(client, address, self.other_half)
        elif draw < 0.25:
            self.operation(client, "adopt", "", lambda: client.adopt(address, self.name))
        elif draw < 0.3:
            self.remove(client, address)
        else:
            self.unlock(client, address)

    def enrol(self, client, address, half):
        return self.operation(client, "enrol", half.hex(),
                              lambda: client.enrol(address, self.machine, self.config, half))

    def unlock(self, client, address):
        self.operation(client, "unlock", "", lambda: client.unlock(address, self.machine),
                       lambda half: half)

    def remove(self, client, address):
        self.operation(client, "remove", "", lambda: client.remove_node(address, self.name))

    def seen(self, nodes):
        if self.name not in nodes:
            return "absent"
        return "adopted" if nodes[self.name].state else "registered"

    def clean(self, client, address):
        self.remove(client, address)
        self.unlock(client, address)


class Secret(Thing):
    """W5: more nodes than uses."""
    kind = "secret"

    def __init__(self, load, name):
        super().__init__(load, name)
        self.config, self.making = None, threading.Lock()
        self.uses = load.random.randrange(1, 5)
        self.machines = [SoftMachine() for _ in range(self.uses + 2)]

    def step(self, client, address):
        if self.config:
            machine = client.random.choice(self.machines)
            self.operation(client, "enrol", machine.node_id,
                           lambda: client.enrol(address, machine, self.config,
                                                machine.global_half))
        elif self.making.acquire(blocking=False):
            # Its secret is shown once: of a lost answer nothing can follow.
            self.operation(client, "create", self.uses, lambda: self.create(client, address),
                           "made")
            if not self.config:
                self.operations = OPERATIONS_MAX

    def create(self, client, address):
        self.config = client.new_enrolment(address, self.name, os.urandom(16), self.uses)

    def seen(self, enrolments):
        return enrolments[self.name].uses_left if self.name in enrolments else "absent"

    def clean(self, client, address):
        for machine in self.machines:
            client.forgive(client.remove_node, address, machine.node_id)
        client.forgive(client.remove_enrolment, address, self.name)


class Load:
    """All things, and who may touch them when."""
    # How many at a time, and their share of the work.
    proportions = {Name: (6, 0.3), Set: (2, 0.15), Node: (5, 0.4), Secret: (2, 0.15)}

    def __init__(self, history, seed, kinds):
        self.kinds = {kind: self.proportions[kind] for kind in kinds}
        self.history, self.random = history, random.Random(f"{seed} load")
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.configs, self.nodes = [], itertools.count()
        self.active, self.worn, self.kept = {}, collections.deque(), []

    def begin(self, client, address, nodes):
        """`nodes`: how many may come."""
        for number in range(1 + nodes // NODES_PER_ENROLMENT):
            self.configs.append(client.new_enrolment(address, f"nodes-{number}", os.urandom(16),
                                                     2 * NODES_PER_ENROLMENT))
        for kind, (count, _) in self.kinds.items():
            self.active[kind] = [self.fresh(kind) for _ in range(count)]

    def fresh(self, kind):
        return kind(self, f"{kind.kind}-{next(self.numbers)}")

    def node_config(self):
        return self.configs[next(self.nodes) // NODES_PER_ENROLMENT % len(self.configs)]

    def take(self, rng):
        """A thing to work on, or one that is to be cleaned up; whether it is that."""
        with self.lock:
            self.worn.rotate()
            if len(self.worn) > 0 and self.worn[0].busy == 0 and rng.random() < 0.2:
                thing = self.worn.popleft()
                thing.busy += 1
                thing.cleaning = isinstance(thing, (Set, Secret))
                return thing, True
            kinds = list(self.kinds)
            kind, = rng.choices(kinds, [self.kinds[k][1] for k in kinds])
            thing = rng.choice(self.active[kind])
            thing.busy += 1
            return thing, False

    def give_back(self, things):
        with self.lock:
            for thing in things:
                thing.busy -= 1
                if thing.worn_out() and thing in self.active[type(thing)]:
                    self.active[type(thing)].remove(thing)
                    self.active[type(thing)].append(self.fresh(type(thing)))
                    self.worn.append(thing)

    def cleaned(self, thing, done):
        with self.lock:
            thing.busy -= 1
            if not done:
                self.worn.append(thing)
            elif not thing.cleaning:
                self.kept.append(thing)

    def take_all(self, *kinds):
        """Every thing of these kinds that is worked on now, for a list that shows it."""
        with self.lock:
            things = [thing for kind in kinds for thing in self.active.get(kind, ())]
            for thing in things:
                thing.busy += 1
            return things

    def everything(self):
        """Whatever the cluster still has to know, at the end, and nobody takes away unseen."""
        return [thing for things in (*self.active.values(), self.worn, self.kept)
                for thing in things if not thing.cleaning]


class Worker(Client):
    """One client at work, in a thread of its own."""

    def __init__(self, name, keys, load, addresses, seed, call_s=CALL_S):
        super().__init__(keys, name, call_s)
        self.load, self.addresses = load, addresses
        self.random = random.Random(f"{seed} {name}")
        self.failure = None
        self.successes = collections.Counter()  # by address
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def another(self, address):
        return self.random.choice([a for a in self.addresses if a != address] or [address])

    def _run(self):
        try:
            while not self.stopping.is_set():
                self.once(self.random.choice(self.addresses))
                self.stopping.wait(self.random.uniform(0, THINK_S))
        except BaseException as failure:  # pylint: disable=broad-except
            self.failure = failure
            raise
        finally:
            self.close()

    def once(self, address):
        draw = self.random.random()
        if draw < 0.12:
            self.look(address, self.enrolments, self.load.take_all(Name, Set, Secret))
        elif draw < 0.2:
            self.look(address, self.nodes, self.load.take_all(Node))
        else:
            self.work(address)

    def work(self, address):
        thing, worn = self.load.take(self.random)
        if not worn:
            try:
                thing.step(self, address)
            finally:
                self.load.give_back([thing])
            return
        done = False
        try:
            thing.clean(self, address)
            done = True
        except Lost:
            pass
        finally:
            self.load.cleaned(thing, done)

    def look(self, address, listing, things):
        """One list is a read of everything in it."""
        try:
            with self.load.history.call(self.name) as record:
                try:
                    listed = listing(address)
                except Lost:
                    return False
                for thing in things:
                    record.saw(thing.key, thing.seen(listed))
                self.successes[address] += 1
                return True
        finally:
            self.load.give_back(things)

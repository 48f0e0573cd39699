"""What clients asked of a cluster, when, and what they were told.

An operation is on one key.  One that did not return was asked for and is open for ever: it may
take effect at any later time, or never.
"""
import collections
import heapq
import json
import threading
import time


class Operation:
    """what(args) by a client on a key; times in ns of one clock; result None: not known."""
    __slots__ = ("client", "key", "what", "args", "invoked", "returned", "result")

    def __init__(self, client, key, what, args, invoked, returned=None, result=None):
        self.client, self.key, self.what, self.args = client, key, what, args
        self.invoked, self.returned, self.result = invoked, returned, result

    @property
    def unknown(self):
        return self.returned is None

    def as_json(self):
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, default=sorted)

    @classmethod
    def from_json(cls, line):
        fields = json.loads(line)
        if isinstance(fields["result"], list):
            fields["result"] = frozenset(fields["result"])
        return cls(**fields)

    def __str__(self):
        ends = "?" if self.unknown else f"{self.returned / 1e9:.6f}"
        told = "unknown" if self.unknown else self.result
        if isinstance(told, frozenset):
            told = "{" + " ".join(sorted(told)) + "}"
        return f"{self.invoked / 1e9:.6f}..{ends} {self.client} {self.what}({self.args}) = {told}"


class Call:
    """Something that a client waits for now.  It ends as one operation, the one that it began as;
    or, without one, as what was seen of many keys."""

    def __init__(self, history, client, operation):
        self.history, self.client, self.operation = history, client, operation
        self.invoked = time.monotonic_ns()

    def told(self, result, args=None):
        """It returned, and this is the answer.  (args: others than it began with.)"""
        key, what, begun_with = self.operation
        self._add(key, what, begun_with if args is None else args, time.monotonic_ns(), result)

    def lost(self, why):
        """Nobody knows whether it had an effect.  (One that has none needs no word.)"""
        self._add(*self.operation, why=why)

    def saw(self, key, result):
        """The call is a read of this key, too."""
        self._add(key, "read", "", time.monotonic_ns(), result)

    def _add(self, key, what, args, returned=None, result=None, why=None):
        self.history.add(self, Operation(self.client, key, what, args, self.invoked, returned,
                                         result), why)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.history.ended(self)


class History:
    """Collected from many threads, written to a file, handed on in the order of time."""

    def __init__(self, path=None):
        self.path, self.operations = path, 0
        self.unknown = collections.Counter()  # by the first word of why
        self._lock = threading.Lock()
        self._open = set()
        self._waiting = []
        self._file = open(path, "w", encoding="utf-8") if path else None

    def call(self, client, *operation):
        """operation: key, what, args."""
        with self._lock:
            call = Call(self, client, operation)
            self._open.add(call)
            return call

    def ended(self, call):
        with self._lock:
            self._open.discard(call)

    def add(self, call, operation, why=None):
        with self._lock:
            if call not in self._open:
                return  # nobody waited so long
            self.operations += 1
            if operation.unknown:
                self.unknown[str(why).split(":", maxsplit=1)[0]] += 1
            for event in events_of(operation, self.operations):
                heapq.heappush(self._waiting, event)
            if self._file:
                self._file.write(operation.as_json() + "\n")

    def give_up(self, seconds):
        """Calls that are open for longer count as never answered, whatever comes of them; those."""
        with self._lock:
            limit = time.monotonic_ns() - seconds * 1_000_000_000
            old = [call for call in self._open if call.invoked < limit]
        for call in old:
            if call.operation:
                call.lost("given up")
            self.ended(call)
        return old

    def settled(self):
        """The events before the oldest call that is still open, in order, each once."""
        with self._lock:
            horizon = min((call.invoked for call in self._open), default=time.monotonic_ns())
            while self._waiting and self._waiting[0][0] < horizon:
                _, returns, _, operation = heapq.heappop(self._waiting)
                yield returns, operation

    def close(self):
        if self._file:
            self._file.close()


def events_of(operation, number):
    """(time, whether it returns, number, operation): at one time invocations come first, so that
    what may have been at once counts as at once."""
    yield operation.invoked, False, number, operation
    if not operation.unknown:
        yield operation.returned, True, number, operation


def events(operations):
    """(whether it returns, operation) of a whole history in the order of time."""
    unsorted = [event for number, operation in enumerate(operations)
                for event in events_of(operation, number)]
    return [(returns, operation) for _, returns, _, operation in sorted(unsorted)]


def read(path):
    with open(path, encoding="utf-8") as file:
        return [Operation.from_json(line) for line in file]

"""Whether a history can be explained: some order of the operations, each of them at one moment
between its invocation and its return, in which the model gives every answer that was given.

The search is Wing and Gong's with what Lowe added ("Testing for linearizability", 2017): an
operation takes its place in the order no earlier than somebody's return demands it, and places
that were reached before are not searched again.  Objects are independent of each other, so each
key is a history of its own.
"""
from history import events

PLACES_MAX = 100_000  # of one object at one return; then nobody can say


class Violation(Exception):
    """No order explains an answer."""

    def __init__(self, operation, recent):
        self.operation = operation
        lines = "".join(f"\n    {other}" for other in recent)
        super().__init__(f"{operation.key}: no order explains\n  {operation}\n"
                         f"  after{lines or ' nothing'}")


class Undecided(Exception):
    """Too many orders to look at."""


class Checker:
    """One object, told about events in the order of time.

    A place is (state, operations that took effect and did not return yet)."""

    def __init__(self, model):
        self.model = model
        self.open = {}  # operation -> None, in order of invocation
        self.places = {(model.initial, frozenset())}
        self.recent = []

    def event(self, returns, operation):
        if returns:
            self._returned(operation)
        elif not (operation.unknown and operation.what in self.model.reads):
            self.open[operation] = None
            self.places = {self._settle(place) for place in self.places}

    def _settle(self, place):
        """With every open operation that fits here and cannot change anything anywhere: for such
        a one no later moment can be better than now."""
        state, taken = place
        fits = [operation for operation in self.open
                if operation not in taken and self._only_looks(operation)
                and self.model.step(state, operation) == (state,)]
        return state, taken.union(fits) if fits else taken

    def _only_looks(self, operation):
        return not operation.unknown and (operation.what in self.model.reads
                                          or operation.result in self.model.idle)

    def _choices(self, place):
        """Places one operation further."""
        state, taken = place
        tried = set()
        for operation in self.open:
            if operation in taken:
                continue
            if operation.unknown:
                # Of equal ones without an answer the first does for all.
                alike = (operation.what, operation.args)
                if alike in tried:
                    continue
                tried.add(alike)
            for after in self.model.step(state, operation):
                if after != state or not operation.unknown:
                    yield self._settle((after, taken | {operation}))

    def _returned(self, operation):
        """Keeps the places in which it took effect by now."""
        explained, seen, waiting = set(), set(self.places), list(self.places)
        while waiting:
            state, taken = place = waiting.pop()
            if operation in taken:
                explained.add((state, taken - {operation}))
                continue
            for further in self._choices(place):
                if further not in seen:
                    seen.add(further)
                    waiting.append(further)
            if len(seen) > PLACES_MAX:
                raise Undecided(f"{operation.key}: more than {PLACES_MAX} orders")
        if not explained:
            raise Violation(operation, self.recent)
        self.places = explained
        del self.open[operation]
        self.recent = [*self.recent[-19:], operation]


class Verdict:
    """All objects of a history, and what was found."""

    def __init__(self, model_of):
        self.model_of = model_of
        self.checkers = {}
        self.violations, self.undecided = [], []
        self.checked = {}  # "model what" -> how many operations with an answer

    def event(self, returns, operation):
        key = operation.key
        if key not in self.checkers:
            self.checkers[key] = Checker(self.model_of(key))
        checker = self.checkers[key]
        if checker is None:
            return
        try:
            checker.event(returns, operation)
        except Violation as violation:
            self.violations.append(violation)
            self.checkers[key] = None
        except Undecided as undecided:
            self.undecided.append(undecided)
            self.checkers[key] = None
        if returns:
            kind = f"{key.split('/')[0]} {operation.what}"
            self.checked[kind] = self.checked.get(kind, 0) + 1


def check(operations, model_of):
    """The verdict on a whole history."""
    verdict = Verdict(model_of)
    for returns, operation in events(operations):
        verdict.event(returns, operation)
    return verdict

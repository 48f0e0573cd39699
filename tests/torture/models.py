"""What each object of a cluster must look like from outside, one at a time.

A model is its initial state, the words that only read, the answers that say that nothing was
changed, and step(state, operation): a tuple of the state that follows where the operation gives
its answer, () where it cannot give that one.  An operation without an answer may have had any.
The words are those of workload.py.
"""


class Name:
    """W1.  An enrolment's name: create is compare-and-set of absent to present, remove the way
    back.  A create that repeats a request id changes nothing and is told that it exists, because
    the secret of then is not kept.  Of a request that was answered at once nobody hears again:
    its id is left out ("")."""
    initial = (False, frozenset())  # whether it exists, request ids that were carried out
    reads, idle = ("read",), ("exists", "absent")

    def step(self, state, operation):
        exists, ran = state
        if operation.what == "create":
            return self._create(exists, ran, operation)
        if operation.what == "remove":
            if operation.unknown:
                return ((False, ran),)
            return ((False, ran),) if operation.result == ("removed" if exists else "absent") \
                else ()
        return (state,) if operation.result == ("present" if exists else "absent") else ()

    @staticmethod
    def _create(exists, ran, operation):
        request = operation.args
        told = "exists" if exists or request in ran else "made"
        if not operation.unknown and operation.result != told:
            return ()
        if request in ran:
            return ((exists, ran),)
        return ((True, ran | {request} if request else ran),)


class Set:
    """W2.  Enrolments that are only added, and lists of all of them at once."""
    initial = frozenset()
    reads, idle = ("read",), ()

    def step(self, state, operation):
        if operation.what == "add":
            return (state | {operation.args},) if operation.unknown or operation.result == "ok" \
                else ()
        return (state,) if operation.result == state else ()


class Node:
    """W3 and W4.  From its enrolment to its removal a node has one global half for ever; nobody
    else gets its place; after the removal nothing unlocks it."""
    initial = None  # or (global half, whether adopted)
    reads, idle = ("read", "unlock"), ("exists", "absent")

    def step(self, state, operation):
        after, told = getattr(self, "_" + operation.what)(state, operation.args)
        return (after,) if operation.unknown or operation.result == told else ()

    @staticmethod
    def _enrol(state, half):
        if state is None:
            return (half, False), "ok"
        return state, "ok" if state[0] == half else "exists"

    @staticmethod
    def _adopt(state, _):
        return (state, "absent") if state is None else ((state[0], True), "ok")

    @staticmethod
    def _remove(state, _):
        return None, "absent" if state is None else "ok"

    @staticmethod
    def _unlock(state, _):
        if state is None:
            return state, "refused"
        half, adopted = state
        return state, half if adopted else "not adopted"

    @staticmethod
    def _read(state, _):
        if state is None:
            return state, "absent"
        return state, "adopted" if state[1] else "registered"


class Secret:
    """W5.  A secret that k nodes may enrol with.  A node that asks again is told the same and
    uses nothing up; these nodes are never removed."""
    initial = None  # or (uses left, the nodes that came with it)
    reads, idle = ("read",), ("exists", "refused")

    def step(self, state, operation):
        if operation.what == "create":
            after, told = ((operation.args, frozenset()), "made") if state is None \
                else (state, "exists")
        elif state is None:
            after, told = None, "absent" if operation.what == "read" else "refused"
        elif operation.what == "read":
            after, told = state, state[0]
        else:
            after, told = self._enrol(*state, operation.args)
        return (after,) if operation.unknown or operation.result == told else ()

    @staticmethod
    def _enrol(left, nodes, node):
        if node in nodes:
            return (left, nodes), "ok"
        if left == 0:
            return (left, nodes), "refused"
        return (left - 1, nodes | {node}), "ok"


MODELS = {"name": Name(), "set": Set(), "node": Node(), "secret": Secret()}


def model_of(key):
    """Keys are kind/name."""
    return MODELS[key.split("/")[0]]

"""The checker is told clean histories, histories with one planted fault, and random ones that are
judged a second time by trying every order."""
import itertools
import os
import random
import tempfile
import threading
import unittest

import history
import linear
import models
from history import Operation

A, B = "a" * 64, "b" * 64


def op(span, what, args="", result=None, key=None, client="c"):
    """span: (invoked, returned), or (invoked,) of one without an answer."""
    return Operation(client, key, what, args, span[0], span[1] if len(span) > 1 else None, result)


class Histories(unittest.TestCase):
    def judge(self, kind, *operations):
        for operation in operations:
            operation.key = kind + "/x"
        verdict = linear.check(operations, models.model_of)
        self.assertEqual(verdict.undecided, [])
        return verdict

    def clean(self, kind, *operations):
        self.assertEqual([str(v) for v in self.judge(kind, *operations).violations], [])

    def faulty(self, kind, wrong, *operations):
        """The one violation is at the answer of `wrong`."""
        violations = self.judge(kind, wrong, *operations).violations
        self.assertEqual([v.operation for v in violations], [wrong])


class Names(Histories):
    def test_one_after_the_other(self):
        self.clean("name", op((1, 2), "create", "", "made"), op((3, 4), "read", "", "present"),
                   op((5, 6), "create", "", "exists"), op((7, 8), "remove", "", "removed"),
                   op((9, 10), "remove", "", "absent"), op((11, 12), "read", "", "absent"))

    def test_a_stale_read(self):
        self.faulty("name", op((5, 6), "read", "", "present"),
                    op((1, 2), "create", "", "made"), op((3, 4), "remove", "", "removed"))

    def test_a_read_beside_a_write_may_see_either(self):
        for seen in ("present", "absent"):
            self.clean("name", op((1, 4), "create", "", "made"), op((2, 3), "read", "", seen))

    def test_reads_that_go_back_in_time_beside_a_write(self):
        self.faulty("name", op((4, 5), "read", "", "absent"),
                    op((1, 6), "create", "", "made"), op((2, 3), "read", "", "present"))

    def test_a_lost_write(self):
        self.faulty("name", op((3, 4), "read", "", "absent"), op((1, 2), "create", "", "made"))

    def test_a_lost_removal(self):
        self.faulty("name", op((5, 6), "create", "", "exists"),
                    op((1, 2), "create", "", "made"), op((3, 4), "remove", "", "removed"))

    def test_two_winners(self):
        self.faulty("name", op((1, 5), "create", "", "made"), op((2, 4), "create", "", "made"))

    def test_an_unknown_write_may_come_late_or_never(self):
        self.clean("name", op((1,), "create", "r1"), op((2, 3), "read", "", "absent"),
                   op((4, 5), "read", "", "absent"), op((6, 7), "read", "", "present"))
        self.clean("name", op((1,), "create", "r1"), op((2, 3), "read", "", "absent"),
                   op((6, 7), "create", "", "made"))

    def test_an_unknown_write_comes_once(self):
        self.faulty("name", op((8, 9), "read", "", "present"),
                    op((1,), "create", "r1"), op((2, 3), "read", "", "present"),
                    op((4, 5), "remove", "", "removed"), op((6, 7), "read", "", "absent"))

    def test_an_unknown_write_does_not_come_before_it_was_asked_for(self):
        self.faulty("name", op((1, 2), "read", "", "present"), op((3,), "create", "r1"))

    def test_a_repeated_request_is_told_that_it_exists(self):
        self.clean("name", op((1,), "create", "r1"), op((2, 3), "create", "r1", "exists"),
                   op((4, 5), "read", "", "present"))
        self.clean("name", op((1,), "create", "r1"), op((2, 3), "create", "r1", "made"),
                   op((4, 5), "read", "", "present"))

    def test_a_request_that_is_carried_out_twice(self):
        self.faulty("name", op((6, 7), "create", "r1", "made"),
                    op((1,), "create", "r1"), op((2, 3), "read", "", "present"),
                    op((4, 5), "remove", "", "removed"))

    def test_many_unknown_writes_are_decided(self):
        unknown = [op((n,), what, f"r{n}" if what == "create" else "")
                   for n in range(1, 8) for what in ("create", "remove")]
        self.clean("name", *unknown, op((30, 31), "read", "", "present"),
                   op((32, 33), "read", "", "absent"))


class Sets(Histories):
    def test_lists_grow(self):
        self.clean("set", op((1, 5), "add", "x", "ok"), op((1, 5), "add", "y", "ok"),
                   op((2, 3), "read", "", frozenset("y")), op((6, 7), "read", "", frozenset("xy")))

    def test_a_lost_write(self):
        self.faulty("set", op((5, 6), "read", "", frozenset("y")),
                    op((1, 2), "add", "x", "ok"), op((3, 4), "add", "y", "ok"))

    def test_two_lists_that_were_never_both_true(self):
        self.faulty("set", op((2, 4), "read", "", frozenset("y")),
                    op((1, 9), "add", "x", "ok"), op((1, 9), "add", "y", "ok"),
                    op((2, 3), "read", "", frozenset("x")))

    def test_something_that_nobody_added(self):
        self.faulty("set", op((2, 3), "read", "", frozenset("z")), op((1, 9), "add", "x", "ok"))


class Nodes(Histories):
    life = (op((1, 2), "enrol", A, "ok"), op((3, 4), "adopt", "", "ok"))

    def test_a_life(self):
        self.clean("node", op((0, 1), "unlock", "", "refused"), *self.life,
                   op((2, 3), "unlock", "", "not adopted"), op((5, 6), "unlock", "", A),
                   op((7, 8), "enrol", A, "ok"), op((9, 10), "enrol", B, "exists"),
                   op((11, 12), "unlock", "", A), op((13, 14), "remove", "", "ok"),
                   op((15, 16), "unlock", "", "refused"), op((17, 18), "adopt", "", "absent"))

    def test_another_half(self):
        self.faulty("node", op((7, 8), "unlock", "", B), *self.life,
                    op((5, 6), "enrol", B, "exists"))

    def test_another_half_is_accepted(self):
        self.faulty("node", op((7, 8), "enrol", B, "ok"), *self.life)

    def test_an_enrolment_that_was_acknowledged_and_is_gone(self):
        self.faulty("node", op((7, 8), "unlock", "", "refused"), *self.life)

    def test_an_unlock_after_the_removal(self):
        self.faulty("node", op((7, 8), "unlock", "", A), *self.life,
                    op((5, 6), "remove", "", "ok"))

    def test_an_unlock_beside_the_removal(self):
        for told in (A, "refused"):
            self.clean("node", *self.life, op((5, 8), "remove", "", "ok"),
                       op((6, 7), "unlock", "", told))

    def test_an_unlock_after_one_that_saw_the_removal(self):
        self.faulty("node", op((8, 9), "unlock", "", A), *self.life, op((5,), "remove", ""),
                    op((6, 7), "unlock", "", "refused"))

    def test_an_unlock_while_a_removal_is_unknown(self):
        self.clean("node", *self.life, op((5,), "remove", ""), op((6, 7), "unlock", "", A),
                   op((8, 9), "unlock", "", "refused"))


class Secrets(Histories):
    made = op((1, 2), "create", 2, "made")

    def test_as_often_as_it_says(self):
        self.clean("secret", self.made, op((3, 9), "enrol", "m", "ok"),
                   op((3, 9), "enrol", "n", "ok"), op((3, 9), "enrol", "o", "refused"),
                   op((10, 11), "enrol", "m", "ok"), op((12, 13), "read", "", 0))

    def test_used_once_more(self):
        self.faulty("secret", op((7, 8), "enrol", "o", "ok"), self.made,
                    op((3, 4), "enrol", "m", "ok"), op((5, 6), "enrol", "n", "ok"))

    def test_a_retry_uses_nothing_up(self):
        self.clean("secret", self.made, op((3,), "enrol", "m"), op((5, 6), "enrol", "m", "ok"),
                   op((7, 8), "read", "", 1))

    def test_one_node_uses_it_twice(self):
        self.faulty("secret", op((7, 8), "read", "", 0), self.made, op((3,), "enrol", "m"),
                    op((5, 6), "enrol", "m", "ok"))

    def test_refused_though_uses_are_left(self):
        self.faulty("secret", op((5, 6), "enrol", "n", "refused"), self.made,
                    op((3, 4), "enrol", "m", "ok"))

    def test_a_use_that_came_back(self):
        self.faulty("secret", op((5, 6), "read", "", 2), self.made, op((3, 4), "enrol", "m", "ok"))


WORDS = {
    "name": (("create", ("", "r1"), ("made", "exists")), ("remove", ("",), ("removed", "absent")),
             ("read", ("",), ("present", "absent"))),
    "set": (("add", ("x", "y"), ("ok",)),
            ("read", ("",), (frozenset(), frozenset("x"), frozenset("xy")))),
    "node": (("enrol", (A, B), ("ok", "exists")), ("adopt", ("",), ("ok", "absent")),
             ("remove", ("",), ("ok", "absent")),
             ("unlock", ("",), (A, B, "refused", "not adopted")),
             ("read", ("",), ("absent", "registered", "adopted"))),
    "secret": (("create", (1,), ("made", "exists")), ("enrol", ("m", "n"), ("ok", "refused")),
               ("read", ("",), (0, 1, "absent"))),
}


def every_order(model, operations):
    """The same question without any cleverness."""
    told = [o for o in operations if not o.unknown]
    rest = [o for o in operations if o.unknown]
    return any(explains(model, order)
               for count in range(len(rest) + 1)
               for some in itertools.combinations(rest, count)
               for order in itertools.permutations([*told, *some]))


def explains(model, order):
    for later in range(len(order)):
        if any(not order[later].unknown and order[later].returned < earlier.invoked
               for earlier in order[:later]):
            return False
    states = {model.initial}
    for operation in order:
        states = {after for state in states for after in model.step(state, operation)}
    return bool(states)


class Simulated:
    """Clients of one object that really is one: each call takes effect at one moment within."""

    def __init__(self, seed, kind, clients=5, calls=200):
        self.random, self.kind = random.Random(f"{seed} {kind}"), kind
        self.model, self.state = models.MODELS[kind], models.MODELS[kind].initial
        self.operations, self.again = [], ""
        calls = [self._call(n) for n in range(calls)]
        free = [0] * clients
        for what, args, lost in calls:
            client = min(range(clients), key=free.__getitem__)
            begins = free[client] + self.random.randrange(1, 20)
            acts = begins + self.random.randrange(1, 20)
            ends = acts + self.random.randrange(1, 20)
            free[client] = ends
            self.operations.append((acts, op((begins,) if lost else (begins, ends), what, args,
                                             key=kind + "/x", client=f"c{client}")))
        for _, operation in sorted(self.operations, key=lambda timed: timed[0]):
            self._act(operation)
        self.operations = [operation for _, operation in self.operations]

    def _call(self, number):
        what, args, _ = self.random.choice(WORDS[self.kind])
        args, lost = self.random.choice(args), self.random.random() < 0.03
        if what == "create" and self.kind == "name":
            self.again = f"r{number}" if lost else self.again
            args = self.again if lost or self.random.random() < 0.2 else ""
        return what, args, lost

    def _act(self, operation):
        if operation.unknown and self.random.random() < 0.5:
            return
        results = next(results for what, _, results in WORDS[self.kind] if what == operation.what)
        for result in (*results, self.state):
            probe = op((0, 1), operation.what, operation.args, result)
            after = self.model.step(self.state, probe)
            if after:
                self.state, = after
                if not operation.unknown:
                    operation.result = result
                return
        raise AssertionError(f"no answer to {operation} in {self.state}")


class Random(unittest.TestCase):
    def test_small_histories_are_judged_as_by_trying_every_order(self):
        verdicts = []
        for seed in range(3000):
            draw = random.Random(seed)
            kind = draw.choice(sorted(WORDS))
            operations = []
            for _ in range(draw.randrange(2, 7)):
                what, args, results = draw.choice(WORDS[kind])
                begins, ends = sorted(draw.sample(range(12), 2))
                span = (begins,) if draw.random() < 0.25 else (begins, ends)
                operations.append(op(span, what, draw.choice(args), key=kind + "/x",
                                     result=draw.choice(results) if len(span) == 2 else None))
            expected = every_order(models.MODELS[kind], operations)
            verdict = linear.check(operations, models.model_of)
            self.assertEqual(not verdict.violations, expected,
                             f"seed {seed}\n" + "\n".join(map(str, operations)))
            verdicts.append(expected)
        self.assertGreater(verdicts.count(True), 100)
        self.assertGreater(verdicts.count(False), 100)

    def test_long_clean_histories_are_clean(self):
        for seed, kind in itertools.product(range(8), WORDS):
            simulated = Simulated(seed, kind)
            verdict = linear.check(simulated.operations, models.model_of)
            self.assertEqual([str(v) for v in verdict.violations + verdict.undecided], [],
                             f"seed {seed} {kind}")
            self.assertGreater(sum(verdict.checked.values()), 150)

    def test_a_read_of_long_ago_in_a_long_history_is_found(self):
        for seed in range(20):
            operations = Simulated(seed, "name", clients=3).operations
            last = max(o.returned or 0 for o in operations)
            for moment, (what, told) in enumerate((
                    ("remove", None), ("create", "made"), ("remove", "removed")), 1):
                if told:
                    operations.append(op((last + 20 * moment, last + 20 * moment + 10), what,
                                         "late" if what == "create" else "", told, "name/x"))
            # Whatever is still open may bring it back once each; they all came before the end.
            opens = sum(o.unknown for o in operations)
            for turn in range(opens + 1):
                at = last + 1000 + 100 * turn
                operations += [op((at, at + 1), "read", "", "present", "name/x"),
                               op((at + 2, at + 3), "remove", "", "removed", "name/x")]
            self.assertEqual(len(linear.check(operations, models.model_of).violations), 1,
                             f"seed {seed}")


class Recording(unittest.TestCase):
    def test_what_is_written_is_read_back_and_judged_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "history.jsonl")
            recorder = history.History(path)
            with recorder.call("c1", "name/x", "create", "r1") as call:
                call.told("made", "")
            with recorder.call("c1", "name/x", "remove", "") as call:
                call.lost("UNAVAILABLE: no leader")
            with recorder.call("c2") as call:
                call.saw("set/y", frozenset("pq"))
            with recorder.call("c2", "name/x", "create", "") as call:
                call.told("made")
            recorder.close()
            operations = history.read(path)
            self.assertEqual([o.as_json() for o in operations],
                             [o.as_json() for _, o in recorder.settled() if _ or o.unknown])
            violations = linear.check(operations, models.model_of).violations
            self.assertEqual([v.operation.key for v in violations], ["set/y"])
            self.assertEqual((recorder.operations, recorder.unknown),
                             (4, {"UNAVAILABLE": 1}))

    def test_nothing_is_handed_on_that_an_open_call_may_come_before(self):
        recorder = history.History()
        waiting = recorder.call("slow")
        with recorder.call("fast", "name/x", "create", "") as call:
            call.told("made")
        self.assertEqual(list(recorder.settled()), [])
        with waiting:
            waiting.saw("name/x", "absent")
        self.assertEqual([(returns, o.client) for returns, o in recorder.settled()],
                         [(False, "slow"), (False, "fast"), (True, "fast"), (True, "slow")])
        self.assertEqual(list(recorder.settled()), [])

    def test_a_call_that_hangs_is_an_operation_without_an_answer(self):
        recorder = history.History()
        hangs = recorder.call("c1", "name/x", "create", "r1")
        with recorder.call("c2", "name/x", "read", "") as call:
            call.told("present")
        self.assertEqual(recorder.give_up(60), [])
        self.assertEqual(list(recorder.settled()), [])
        self.assertEqual(recorder.give_up(0), [hangs])
        with hangs:
            hangs.told("exists")
        told = [(returns, o.client, o.result) for returns, o in recorder.settled()]
        self.assertEqual(told, [(False, "c1", None), (False, "c2", "present"),
                                (True, "c2", "present")])

    def test_many_threads(self):
        recorder = history.History()
        def client(name):
            for _ in range(200):
                with recorder.call(name, "name/x", "create", "") as call:
                    call.told("made")
        threads = [threading.Thread(target=client, args=(f"c{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        settled = list(recorder.settled())
        self.assertEqual(len(settled), 1600)
        times = [o.returned if returns else o.invoked for returns, o in settled]
        self.assertEqual(times, sorted(times))


if __name__ == "__main__":
    unittest.main()

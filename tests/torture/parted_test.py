"""A master that is cut off, and an old leader that wakes up, know nothing for certain, and say so:
neither an old yes nor an old no.  (N43)"""
import contextlib
import os
import unittest
from concurrent.futures import ThreadPoolExecutor

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import cluster
import masters
import network
from client import PATIENT_S, Client, Lost, Refused
from softnode import SoftMachine


@unittest.skipUnless(network.is_private(), "no namespaces here: nothing can be cut")
class Parted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cluster.Folder()
        cls.network = network.Namespaces(cls.folder)
        cls.town = masters.Town(cls.folder, cls.network, 3)
        cls.client = Client(cls.town.keys, "c")
        cls.config = cls.asked(cls.client.new_enrolment, "many", os.urandom(16), 100)

    @classmethod
    def tearDownClass(cls):
        for master in cls.town.masters:
            master.terminate()
        cls.network.remove()

    @classmethod
    def asked(cls, call, *args, of=None):
        """Of one that answers (all of them, or these)."""
        def answer():
            for master in of or cls.town.masters:
                with contextlib.suppress(Lost):
                    return [call(master.address, *args)]
            return None
        return cluster.until(answer, 60, f"{call.__name__}{args}", 0.05)[0]

    def adopted(self, of=None):
        machine = SoftMachine()
        self.asked(self.client.enrol, machine, self.config, machine.global_half, of=of)
        self.asked(self.client.adopt, machine.node_id, of=of)
        return machine

    def follower(self):
        leader = cluster.until(self.town.leader, 60, "a leader", 0.1)
        return next(master for master in self.town.masters if master is not leader)

    def knows_nothing(self, master, *calls):
        """Says so in the end to whoever waits for it, and neither yes nor no before.
        calls: (method of a client, arguments...)."""
        def told(call):
            method, *args = call
            client = Client(self.town.keys, "patient", PATIENT_S)
            try:
                return repr(method(client, master.address, *args))
            except (Refused, Lost) as told:
                return str(told)
            finally:
                client.close()
        with ThreadPoolExecutor(len(calls)) as at_once:
            for call, answer in zip(calls, at_once.map(told, calls)):
                self.assertTrue(answer.startswith("UNAVAILABLE"), f"{call}: {answer}")

    @contextlib.contextmanager
    def cut_off(self, master):
        others = [other for other in self.town.masters if other is not master]
        self.network.part([master.number], [other.number for other in others])
        try:
            yield others
        finally:
            self.network.heal()

    def test_N43_a_master_alone_releases_no_key_and_refuses_none(self):
        known, gone = self.adopted(), self.adopted()
        alone = self.follower()
        with self.cut_off(alone) as others:
            unknown = self.adopted(of=others)
            self.asked(self.client.remove_node, gone.node_id, of=others)
            self.knows_nothing(alone, *((Client.unlock, machine)
                                        for machine in (known, gone, unknown)))
        self.assertEqual(self.asked(self.client.unlock, unknown, of=[alone]),
                         unknown.global_half.hex())
        with self.assertRaises(Refused):
            self.asked(self.client.unlock, gone, of=[alone])

    def test_N43_a_master_alone_lists_nothing(self):
        alone = self.follower()
        with self.cut_off(alone) as others:
            self.asked(self.client.new_enrolment, "newer", os.urandom(16), of=others)
            self.knows_nothing(alone, (Client.enrolments,), (Client.nodes,))
        self.assertIn("newer", self.asked(self.client.enrolments, of=[alone]))

    def test_N43_a_master_alone_enrols_nobody_and_refuses_nobody(self):
        alone, machine = self.follower(), SoftMachine()
        with self.cut_off(alone) as others:
            config = self.asked(self.client.new_enrolment, "elsewhere", os.urandom(16), of=others)
            self.knows_nothing(alone, (Client.enrol, machine, config, machine.global_half))
            self.assertNotIn(machine.node_id, self.asked(self.client.nodes, of=others))
        self.asked(self.client.enrol, machine, config, machine.global_half, of=[alone])

    def test_N43_a_master_alone_refuses_no_ticket(self):
        alone, key = self.follower(), Ed25519PrivateKey.generate()
        with self.cut_off(alone) as others:
            ticket = self.asked(self.client.invite, "m4", of=others)
            self.knows_nothing(alone, (Client.join, ticket, key, "10.7.8.99"))
        self.asked(self.client.join, ticket, key, "10.7.8.99", of=[alone])
        joined = self.asked(self.client.masters)["10.7.8.99"]
        self.asked(self.client.remove_master, joined.id)

    def test_N43_a_leader_alone_gives_up_what_it_knew(self):
        known, gone = self.adopted(), self.adopted()
        alone = cluster.until(self.town.leader, 60, "a leader", 0.1)
        with self.cut_off(alone) as others:
            self.asked(self.client.remove_node, gone.node_id, of=others)
            self.knows_nothing(alone, (Client.unlock, gone), (Client.unlock, known))

    def test_N43_a_leader_that_slept_releases_no_key_of_a_node_that_was_removed_meanwhile(self):
        gone = self.adopted()
        sleeper = cluster.until(self.town.leader, 60, "a leader", 0.1)
        others = [other for other in self.town.masters if other is not sleeper]
        sleeper.freeze()
        try:
            self.asked(self.client.remove_node, gone.node_id, of=others)
        finally:
            sleeper.thaw()
        with self.assertRaises((Refused, Lost)):
            self.client.unlock(sleeper.address, gone)


if __name__ == "__main__":
    network.enter()
    unittest.main()

"""kill -9 at any moment: a node is enrolled exactly if it was told OK, and nothing is lost.

The moments are chosen by a seed that is printed: ST_SEED repeats a run.
"""
import os
import random
import time
import unittest

import grpc

import cluster
import peer
import stubs

SEED = int(os.environ.get("ST_SEED", "0")) or random.randrange(1, 1 << 32)
USES = 1000


class Kill(cluster.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        print(f"ST_SEED={SEED}", flush=True)
        folder = cls.folder / "stubs"
        os.mkdir(folder)
        cls.api, cls.services = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"),
                                           folder)
        with open(cls.master.masters_pem, "rb") as file:
            cls.masters_pem = file.read()
        cls.admin.enrolment("many", cls.folder / "many.pb", uses=USES)
        with open(cls.folder / "many.pb", "rb") as file:
            cls.config = cls.api.EnrolmentConfig.FromString(file.read())

    def setUp(self):
        self.random = random.Random(f"{SEED} {self.id()}")
        if not self.master.running():
            self.master.start_leading(self.admin)

    def uses_left(self):
        return next(e["uses_left"] for e in self.admin.ask("enrolment", "list")
                    if e["name"] == "many")

    def new_node(self, name):
        node = cluster.Node(self.folder, self.vendor, name)
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        with open(node.config, "wb") as file:
            file.write(self.config.SerializeToString())
        return node

    def own_id(self, node):
        """What the machine believes: its id once it was told OK, else None."""
        with open(node.config, "rb") as file:
            config = self.api.EnrolmentConfig.FromString(file.read())
        self.assertNotEqual(bool(config.node_id), bool(config.enrolment_secret))
        return config.node_id or None

    def records_of(self, node):
        return [i for i, n in self.admin.nodes().items() if n["address"] == node.address]

    def ends_enrolled(self, node, uses_before):
        """One record, one use, the same keys; and it unlocks."""
        node_id = cluster.until(lambda: self.own_id(node), 90, node.log)
        self.assertEqual(self.records_of(node), [node_id])
        self.assertEqual(self.uses_left(), uses_before - 1)
        self.admin.call("node", "adopt", node_id)
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        node.kill()

    def duration_of_an_enrolment(self):
        node = self.new_node(f"measured-{self.random.randrange(1 << 32)}")
        began = time.monotonic()
        node.start()
        cluster.until(lambda: self.own_id(node), 60, node.log, 0.005)
        node.kill()
        return time.monotonic() - began

    def test_N32_the_master_at_random_moments_of_a_real_nodes_enrolment(self):
        lasts = self.duration_of_an_enrolment()
        for turn in range(5):
            uses = self.uses_left()
            node = self.new_node(f"master-{turn}").start()
            time.sleep(self.random.uniform(0.4, 1.4) * lasts)
            self.master.kill()
            time.sleep(0.3)  # what the node was told, it has written down by now
            told = self.own_id(node)
            print(f"turn {turn}: told {bool(told)}", flush=True)
            self.master.start_leading(self.admin)
            if told:
                self.assertEqual(self.records_of(node), [told], "told OK and not enrolled")
            self.ends_enrolled(node, uses)

    def test_the_node_at_random_moments_of_its_enrolment(self):
        lasts = self.duration_of_an_enrolment()
        for turn in range(3):
            uses = self.uses_left()
            node = self.new_node(f"node-{turn}")
            for _ in range(4):
                node.start()
                time.sleep(self.random.uniform(0.05, 1.1) * lasts)
                node.kill()
            node.start()
            self.ends_enrolled(node, uses)

    def test_the_node_at_random_moments_of_its_unlock(self):
        node = self.new_node("unlocking").start()
        node_id = cluster.until(lambda: self.own_id(node), 60, node.log)
        self.admin.call("node", "adopt", node_id)
        began = time.monotonic()
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        lasts = time.monotonic() - began
        for _ in range(6):
            node.reboot()
            time.sleep(self.random.uniform(0.05, 1.1) * lasts)
            node.kill()
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)

    def enrol_up_to(self, machine, stage):
        """A stream of the peer's, killed at its stage; whether it was told OK."""
        machine.masters_cert = self.config.masters_cert
        channel = peer.channel_to(self.master.address, cluster.PORT_NODE_MANAGEMENT,
                                  self.masters_pem)
        try:
            stub = self.services.NodeManagementServiceStub(channel)
            stream = peer.Stream(stub.NewTPM2NodeRegister, 20).send(machine.register(self.api))
            request = stream.receive().attest_request
            proof, info = machine.attest(self.api, request), machine.info(self.api, self.config)
            if stage == "challenged":
                self.master.kill()
            stream.send(proof)
            if stage == "proven":
                time.sleep(self.random.uniform(0, 0.02))
                self.master.kill()
            stream.send(info).half_close()
            if stage == "asked":
                time.sleep(self.random.uniform(0, 0.006))
                self.master.kill()
            told = stream.finish()[0] == grpc.StatusCode.OK
            if stage == "told":
                self.master.kill()
            return told
        finally:
            channel.close()

    def test_N32_the_master_at_each_stage_of_a_stream(self):
        tpm = cluster.Swtpm(self.folder, self.vendor, "tpm-peer").power_on()
        self.addCleanup(tpm.kill)
        outcomes = []
        for stage in ("challenged", "proven", *["asked"] * 12, *["told"] * 3):
            uses = self.uses_left()
            machine = peer.Machine(tpm)
            told = self.enrol_up_to(machine, stage)
            self.master.start_leading(self.admin)
            listed = machine.node_id in self.admin.nodes()
            outcomes.append((stage, told, listed))
            self.assertTrue(listed or not told, f"{outcomes[-1]}: told OK and not enrolled")
            if stage in ("challenged", "proven"):
                self.assertFalse(listed)
            if stage == "told":
                self.assertTrue(told)
            # Not told is asked again with the same keys, and then it is told.
            if not told:
                self.assertTrue(self.enrol_up_to(machine, None))
            self.assertIn(machine.node_id, self.admin.nodes())
            self.assertEqual(self.uses_left(), uses - 1)
            self.admin.call("node", "adopt", machine.node_id)
            channel = peer.channel_to(self.master.address, cluster.PORT_NODE_MANAGEMENT,
                                      self.masters_pem)
            stub = self.services.NodeManagementServiceStub(channel)
            half, _ = peer.unlock(self.api, stub, machine)
            channel.close()
            self.assertEqual(half, machine.global_half)
            self.admin.call("node", "remove", machine.node_id, "--yes")
        print(outcomes, flush=True)


if __name__ == "__main__":
    unittest.main()

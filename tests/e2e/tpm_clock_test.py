"""A TPM that comes back as it was: a snapshot of a virtual machine, a quote of before a suspend."""
import os
import shutil
import unittest

import grpc

import cluster
import peer
import stubs

WENT_BACK = "its TPM went back: 2 resets fewer than when it was last accepted"


class TpmClockTest(cluster.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.folder / "stubs"
        os.mkdir(folder)
        cls.api, services = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"), folder)
        with open(cls.master.masters_pem, "rb") as pem:
            cls.channel = peer.channel_to(cls.master.address, cluster.PORT_NODE_MANAGEMENT,
                                          pem.read())
        cls.stub = services.NodeManagementServiceStub(cls.channel)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        super().tearDownClass()

    def settle(self, name):
        node = cluster.Node(self.folder, self.vendor, name)
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        self.admin.enrolment(name, node.config)
        node.start()
        cluster.until(node.unlocked, 60, node.log)
        node_id = next(n["node_id"] for n in self.admin.nodes().values()
                       if n["address"] == node.address)
        self.admin.call("node", "adopt", node_id)
        return node, node_id

    def test_N15_four_power_cuts_in_a_row_and_it_unlocks(self):
        node, _ = self.settle("cuts")
        for _ in range(4):
            node.reboot()
            cluster.until(node.unlocked, 60, node.log)

    def test_N15_a_machine_that_is_restored_from_a_snapshot_waits_for_a_yes(self):
        node, node_id = self.settle("restored")
        chip = os.path.join(node.tpm.state, "tpm2-00.permall")
        snapshot = self.folder / "snapshot"
        node.kill()
        node.tpm.kill()
        shutil.copy(chip, snapshot)
        node.tpm.power_on()
        for _ in range(2):
            node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        node.kill()
        node.tpm.kill()
        shutil.copy(snapshot, chip)
        since = len(self.master.log())
        node.tpm.power_on()
        node.start()
        self.master.expect(rf"^unlock node={node_id} .*decision=PERMISSION_DENIED "
                           rf"reason=\"{WENT_BACK}\"$", since)
        self.master.expect(rf"^refused-boot node={node_id} .*reason=\"{WENT_BACK}\"", since)
        self.assertFalse(node.unlocked())
        self.assertNotIn("went back", node.log())
        shown = self.admin.call("node", "pcrs", node_id, "--diff")
        self.assertIn(WENT_BACK + "\n", shown)
        self.assertIn(f"    stctl node approve {node_id}\n", shown)
        self.assertEqual(self.admin.ask("node", "pcrs", node_id, "--diff")["why"], WENT_BACK)
        self.admin.call("node", "approve", node_id, "--yes")
        cluster.until(node.unlocked, 60, node.log)  # it was asking all the time
        self.assertNotIn("went back", self.admin.call("node", "pcrs", node_id, "--diff"))
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)

    def is_refused_after(self, machine, change):
        """A quote, then the change and an unlock, and then that quote is presented."""
        Code = grpc.StatusCode
        code = Code.DEADLINE_EXCEEDED
        while code == Code.DEADLINE_EXCEEDED:  # a first message has ten seconds
            before = peer.Stream(self.stub.TPM2Unlock)
            old = machine.unlock(self.api, before.receive().unlock_init.nonce)
            change()
            half, status = peer.unlock(self.api, self.stub, machine)
            self.assertEqual((half, status[0]), (machine.global_half, Code.OK))
            code, word = before.send(old).finish()
        self.assertEqual((code, word), (Code.PERMISSION_DENIED, "refused"))

    def test_N49_after_a_suspend_an_attestation_of_before_it_is_refused(self):
        self.admin.enrolment("sleeper", self.folder / "sleeper.pb")
        with open(self.folder / "sleeper.pb", "rb") as config:
            enrolment = self.api.EnrolmentConfig.FromString(config.read())
        tpm = cluster.Swtpm(self.folder, self.vendor, "sleeper-tpm").power_on()
        self.addCleanup(tpm.kill)
        machine = peer.Machine(tpm)
        self.assertEqual(peer.enrol(self.api, self.stub, machine, enrolment)[0],
                         grpc.StatusCode.OK)
        self.admin.call("node", "adopt", machine.node_id)
        since = len(self.master.log())
        self.is_refused_after(machine, tpm.suspend)
        self.master.expect("the same reset, and 1 resumes fewer", since)
        self.is_refused_after(machine, lambda: None)  # overtaken, without a suspend
        half, _ = peer.unlock(self.api, self.stub, machine)
        self.assertEqual(half, machine.global_half)


if __name__ == "__main__":
    unittest.main()

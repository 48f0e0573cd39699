"""The life of a node with the real programs: it comes, is let in, restarts, and goes."""
import os
import time
import unittest

import cluster


class Life(cluster.ClusterTest):
    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1][5:45]

    def node(self, name=None, enrolment=None, ak=None, **options):
        """A node with an enrolment on its ESP, not started."""
        node = cluster.Node(self.folder, self.vendor, name or self.name, ak)
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        self.admin.enrolment(enrolment or self.name, node.config, **options)
        return node

    def record_of(self, node):
        """What the cluster lists for this machine, or None."""
        found = [n for n in self.admin.nodes().values() if n["address"] == node.address]
        self.assertLessEqual(len(found), 1, "one record for one machine")
        return found[0] if found else None

    def enrolled(self, node):
        """Waits until the machine itself knows that it is enrolled; its record."""
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        cluster.until(lambda: "pending" not in node.boot_files(), 10, node.log)
        return self.record_of(node)

    def unlocks(self, node, within=60):
        cluster.until(node.unlocked, within, node.log)
        node_id = self.record_of(node)["node_id"]
        cluster.until(lambda: self.admin.ask("node", "show", node_id)["last_unlock_at"], 10, node.log)

    def stays_refused(self, node, word, seconds=3):
        """The machine asks and is refused, and does not unlock."""
        self.master.expect(word, len(self.master.log()))
        time.sleep(seconds)
        self.assertFalse(node.unlocked())

    def life(self, ak):
        node = self.node(ak=ak)
        with open(node.config, "rb") as file:
            secret = file.read()[2:34]  # the first field
        node.start()
        record = self.enrolled(node)
        self.assertEqual(record["state"], "registered")
        self.assertEqual(record["enrolment"], self.name)
        self.assertEqual(record["last_unlock_at"], None)
        with open(node.config, "rb") as file:
            config = file.read()
        self.assertIn(record["node_id"].encode(), config)
        self.assertNotIn(secret, config)
        listed = self.admin.call("node", "list", "--state", "registered")
        self.assertIn(record["node_id"], listed)

        self.admin.call("node", "adopt", record["node_id"][:20])
        self.assertEqual(self.record_of(node)["state"], "worker")
        node.reboot()
        self.unlocks(node)
        self.assertEqual(node.terminate(), 0)
        return node, record["node_id"]

    def test_a_node_enrols_is_adopted_restarts_and_unlocks(self):
        node, _ = self.life(None)
        # Power cuts are no attacks: nothing locks after four of them.
        for _ in range(4):
            node.reboot()
            node.kill()
        node.reboot()
        self.unlocks(node)

    def test_a_node_with_an_rsa_ak_does_the_same(self):
        self.life("rsa")

    def test_a_registered_node_is_not_trusted(self):
        node = self.node().start()
        self.enrolled(node)
        node.reboot()
        self.stays_refused(node, r"^unlock .*decision=(FAILED_PRECONDITION|PERMISSION_DENIED)")
        self.admin.call("node", "adopt", self.record_of(node)["node_id"])
        self.unlocks(node)

    def test_the_master_restarts_in_between(self):
        node = self.node().start()
        record = self.enrolled(node)
        self.assertEqual(self.master.terminate(), 0)
        self.master.start_leading(self.admin)
        self.assertEqual(self.record_of(node)["node_id"], record["node_id"])
        self.admin.call("node", "adopt", record["node_id"])
        self.master.kill()
        since = len(node.log())
        node.reboot()
        node.expect(r"^unlock decision=retry code=UNAVAILABLE", since)
        self.assertFalse(node.unlocked())
        self.master.start_leading(self.admin)
        self.unlocks(node)

    def test_N40_a_removed_node_is_refused(self):
        node, node_id = self.life(None)
        self.admin.call("node", "remove", node_id, "--yes")
        self.assertEqual(self.admin.run("node", "show", node_id).returncode, 3)
        self.assertEqual(self.admin.run("node", "adopt", node_id).returncode, 3)
        self.assertIsNone(self.record_of(node))
        files = node.boot_files()
        node.reboot()
        self.stays_refused(node, rf"^unlock node={node_id} .*decision=PERMISSION_DENIED")
        self.assertEqual(node.boot_files(), files, "a refused node touches nothing")

    def test_a_changed_boot_chain_unseals_nothing(self):
        node, node_id = self.life(None)
        since = len(self.master.log())
        node.reboot(image="another image")
        # No policy names a PCR, so the master gives its half; the TPM keeps the other one.
        self.master.expect(rf"^unlock node={node_id} .*decision=OK$", since)
        self.assertEqual(node.wait(), 1)
        self.assertRegex(node.log(), "the TPM keeps .* nor approved since")
        self.assertFalse(node.unlocked())
        node.reboot()
        self.unlocks(node)

    def refused_at_enrolment(self, node):
        """N34: it keeps its secret and is not enrolled."""
        with open(node.config, "rb") as file:
            config = file.read()
        node.start()
        self.stays_refused(node, r"^enrol .*decision=PERMISSION_DENIED", 2)
        self.assertIsNone(self.record_of(node))
        with open(node.config, "rb") as file:
            self.assertEqual(file.read(), config)
        self.assertNotIn("identity", node.boot_files())

    def test_N31_N34_a_revoked_enrolment(self):
        node = self.node()
        self.admin.call("enrolment", "revoke", self.name)
        self.assertNotIn(self.name, [e["name"] for e in self.admin.ask("enrolment", "list")])
        self.refused_at_enrolment(node)

    def test_N31_N34_an_expired_enrolment(self):
        node = self.node(expires="1s")
        time.sleep(2.1)
        self.refused_at_enrolment(node)

    def test_N31_N34_an_enrolment_that_is_used_up(self):
        first = self.node(uses=1).start()
        self.enrolled(first)
        second = cluster.Node(self.folder, self.vendor, self.name + "-2")
        self.addCleanup(second.tpm.kill)
        self.addCleanup(second.kill)
        third = self.node(self.name + "-3", self.name + "-3")
        with open(third.config, "rb") as file:
            good = file.read()
        # The first one's secret is gone from its ESP: make one more file for one use, use it
        # twice.
        for node in (second, third):
            with open(node.config, "wb") as file:
                file.write(good)
        second.start()
        self.enrolled(second)
        self.refused_at_enrolment(third)

    def test_N34_a_refused_node_enrols_once_it_is_given_a_good_file(self):
        node = self.node()
        self.admin.call("enrolment", "revoke", self.name)
        self.refused_at_enrolment(node)
        node.kill()
        os.unlink(node.config)
        self.admin.enrolment(self.name + "-again", node.config)
        node.reboot()
        self.assertEqual(self.enrolled(node)["state"], "registered")


if __name__ == "__main__":
    unittest.main()

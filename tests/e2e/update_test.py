"""The way through an update: a machine whose image is another one, and its own half."""
import json
import unittest

import cluster


class UpdateTest(cluster.ClusterTest):
    def setUp(self):
        self.set_policy()
        name = self.id().rsplit(".", 1)[1][5:45].strip("_")
        self.node = cluster.Node(self.folder, self.vendor, name)
        self.addCleanup(self.node.tpm.kill)
        self.addCleanup(self.node.kill)
        self.admin.enrolment(name, self.node.config)
        self.node.start()
        cluster.until(self.node.unlocked, 60, self.node.log)
        self.node_id = next(n["node_id"] for n in self.admin.nodes().values()
                            if n["address"] == self.node.address)
        self.admin.call("node", "adopt", self.node_id)

    def set_policy(self):
        """The one that is built in."""
        path = self.folder / "policy.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"schema": 1, "ek": {"require": "none", "listed": []},
                       "pcrs": {"sets": [], "require_set": False, "require_measured_boot": False},
                       "adopt": {"automatic": []}}, file)
        self.admin.call("policy", "set", path)

    def capture(self, name, *how):
        self.admin.call("policy", "capture", self.node_id, "--name", name, "--pcrs", "4,7,11", *how)

    def unlocks(self, approved):
        cluster.until(self.node.unlocked, 60, self.node.log)
        self.master.expect(rf"^unlock node={self.node_id} .*approved={approved} decision=OK$",
                           self.since)

    def boots(self, image):
        self.since = len(self.master.log())
        self.node.reboot(image)

    def is_refused_by_the_masters(self):
        self.master.expect(rf"^unlock node={self.node_id} .*decision=PERMISSION_DENIED "
                           r"reason=\"PCR .*differ", self.since)
        self.assertTrue(self.node.running(), self.node.log())

    def is_refused_by_its_TPM(self):
        self.assertEqual(self.node.wait(), 1)
        self.assertRegex(self.node.log(), "nor approved since; boot what was there before, or, "
                         f"where you changed it, `stctl policy capture {self.node_id} ")

    def test_a_new_image_unlocks_once_it_is_good_for_the_cluster(self):
        self.capture("image-1")
        self.boots("image 1")
        self.unlocks("yes")
        self.boots("image 2")
        self.is_refused_by_the_masters()
        self.capture("image-2", "--refused")
        self.unlocks("yes")  # it was asking all the time
        self.boots("image 3")
        self.is_refused_by_the_masters()
        self.boots("image 1")
        self.unlocks("yes")
        # The two that were approved are known to the machine by now, whatever the policy says.
        self.set_policy()
        self.boots("image 2")
        self.unlocks("no-set")
        self.boots("image 3")
        self.is_refused_by_its_TPM()

    def test_N12_a_window_carries_a_machine_over_and_nobody_says_yes(self):
        self.capture("image-1")
        self.boots("image 1")
        self.unlocks("yes")
        self.boots("image 2")
        self.is_refused_by_the_masters()
        diff = self.admin.ask("node", "pcrs", self.node_id, "--diff")["differs"]
        self.assertEqual([(d["pcr"], d["set"]) for d in diff],
                         [(4, "image-1"), (7, "image-1"), (11, "image-1")])
        self.admin.call("policy", "window", "open", "--for", "1h", "--nodes", self.node_id)
        self.unlocks("yes")  # it was asking all the time
        self.boots("image 3")
        self.is_refused_by_the_masters()  # once is once
        self.admin.call("policy", "window", "close")
        self.boots("image 2")
        self.unlocks("yes")
        self.boots("image 3")
        self.is_refused_by_the_masters()
        self.admin.call("node", "approve", self.node_id, "--yes")
        self.unlocks("yes")
        # Who let what in is told, once; what was refused was kept by nobody's order.
        words = ("refused-boot", "open-window", "capture-boot", "close-window", "approve-boot")
        rows = [json.loads(line) for line in self.admin.call(
            "audit", "tail", "-n", "1000", "-ojson", "--node", self.node_id).splitlines()]
        self.assertEqual([(row["what"], row["admin"] is not None) for row in rows
                          if row["what"] in words],
                         [("refused-boot", False), ("open-window", True), ("capture-boot", True),
                          ("refused-boot", False), ("approve-boot", True)])

    def test_a_policy_that_looks_at_nothing_approves_nothing(self):
        self.boots("image 2")
        self.is_refused_by_its_TPM()
        self.boots("image 1")
        self.unlocks("no-set")
        self.boots("image 2")
        self.is_refused_by_its_TPM()
        self.capture("image-2")  # what it says itself
        self.boots("image 2")
        self.unlocks("yes")

    def test_a_renewed_authority_is_taken_over_at_the_next_unlock(self):
        self.capture("image-1")
        self.boots("image 1")
        self.unlocks("yes")
        for times in (2, 3):  # the first one was at the enrolment
            self.admin.call("authority", "renew")
            self.boots("image 1")
            self.unlocks("yes")
            self.assertEqual(self.node.log().count("\nseal node="), times)
        self.boots("image 2")
        self.is_refused_by_the_masters()
        self.capture("image-2", "--refused")
        self.unlocks("yes")


if __name__ == "__main__":
    unittest.main()

"""The masters are elsewhere: nodes that run hear of it, and those that do not are known."""
import os
import unittest

import cluster
import masters_test
import stubs


class Addresses(masters_test.Masters):
    """Each test has masters and a worker with a TPM, whose file it can read."""

    def setUp(self):
        super().setUp()
        folder = self.folder / "stubs"
        os.mkdir(folder)
        self.api, _ = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"), folder)
        self.vendor = cluster.Vendor(self.folder)

    def worker(self, name):
        """One that runs with an open disk, and its id."""
        node = cluster.Node(self.folder, self.vendor, name)
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        self.admin.enrolment(name, node.config)
        node.start()
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        node_id = next(i for i, n in self.admin.nodes().items() if n["address"] == node.address)
        self.admin.call("node", "adopt", node_id)
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        return node, node_id

    def config(self, node):
        with open(node.config, "rb") as file:
            return self.api.EnrolmentConfig.FromString(file.read())

    def addresses(self, node):
        return {".".join(str(byte) for byte in ip) for ip in self.config(node).master_ips}

    def until_it_has(self, node, *masters):
        there = {master.address for master in masters}
        cluster.until(lambda: self.addresses(node) == there, 60,
                      lambda: f"{self.addresses(node)} and not {there}:\n{node.log()}", 0.1)

    def until_all_know(self):
        cluster.until(lambda: self.admin.ask("status")["outdated"] == 0, 60,
                      lambda: self.admin.call("node", "list"), 0.1)

    def id_of(self, master):
        return next(i for i, m in masters_test.masters(self.admin).items()
                    if m["address"] == master.address)

    def replace(self, old, name, others):
        """A host in the place of another one; both as an operator does it."""
        host = masters_test.Joined(self.folder, self.admin, name).start()
        self.addCleanup(host.terminate)
        cluster.until(lambda: any(m["address"] == host.address and m["state"] == "voter"
                                  for m in masters_test.masters(self.admin).values()),
                      60, lambda: self.admin.call("master", "list"), 0.1)
        self.know(old, host, *others)
        self.until_connected(self.admin, len(others) + 2)
        self.admin.call("master", "remove", str(self.id_of(old)), "--yes")
        self.know(host, *others)
        self.assertEqual(old.wait(), cluster.WRONG_STATE)
        return host

    def test_a_worker_that_runs_follows_masters_of_whom_none_stays(self):
        masters = [self.first, *self.grow("second", "third")]
        originals = [master.address for master in masters]
        node, node_id = self.worker("node")
        self.until_it_has(node, *masters)
        process, before = node.process, self.config(node)
        for number in range(3):
            old = masters.pop(0)
            masters.append(self.replace(old, f"new-{number}", masters))
            self.until_it_has(node, *masters)
        self.assertFalse(self.addresses(node) & set(originals))
        self.until_all_know()
        self.assertNotIn("not heard", self.admin.call("node", "list"))
        # It is the same process, and nothing of the file is other than the list.
        self.assertIs(node.process, process)
        self.assertTrue(node.running())
        after = self.config(node)
        self.assertGreater(after.masters_number, before.masters_number)
        for config in (before, after):
            del config.master_ips[:]
            config.masters_number = 0
        self.assertEqual(after, before)
        # What is measured was not touched: the disk opens, by masters that it never asked.
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        self.assertFalse(self.admin.ask("node", "show", node_id)["outdated"])

    def test_a_worker_that_was_off_is_named_and_hears_of_it_at_its_unlock(self):
        node, node_id = self.worker("node")
        other, _ = self.worker("other")
        node.kill()
        second, = self.grow("second")
        self.until_it_has(other, self.first, second)
        cluster.until(lambda: self.admin.ask("status")["outdated"] == 1, 60,
                      lambda: self.admin.call("node", "list"), 0.1)
        self.assertIn("1 node has not heard yet", self.admin.call("status"))
        listed = self.admin.call("node", "list")
        self.assertIn("1 has not heard yet where the masters are now:\n  " + node_id, listed)
        self.assertIn("not heard yet", self.admin.call("node", "show", node_id))
        self.assertEqual(self.addresses(node), {self.first.address})
        # Another leader knows as well who is left.
        for master in (self.first, second):
            self.assertEqual(master.terminate(), 0)
            master.start()
        cluster.until(lambda: self.admin.run("node", "list").returncode == 0, 60,
                      self.first.log, 0.1)
        self.assertEqual(self.admin.ask("status")["outdated"], 1)
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        self.until_it_has(node, self.first, second)
        self.until_all_know()
        self.assertEqual(other.log().count("\nmasters "), 1, other.log())  # told once


# The tests of the base class are its own.
for test in [n for n in dir(masters_test.Masters) if n.startswith("test")]:
    setattr(Addresses, test, None)

if __name__ == "__main__":
    unittest.main()

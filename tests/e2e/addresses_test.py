"""The masters are elsewhere: nodes that run hear of it, and those that do not are known."""
import json
import os
import subprocess
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

    def worker(self, name, **how):
        """One that runs with an open disk, and its id."""
        node = cluster.Node(self.folder, self.vendor, name, **how)
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


    def run_at(self, master, *words):
        master.spawn([cluster.NMS, "run", "--data", master.data, *words])

    def until_recorded(self, *masters):
        """Each where it is, and in touch with who is asked."""
        there = {master.address for master in masters}
        def all_there():
            done = self.admin.run("master", "list", "-o", "json")
            return done.returncode == 0 and \
                {m["address"] for m in json.loads(done.stdout) if m["connected"]} == there
        cluster.until(all_there, 60, lambda: "\n".join(
            (self.admin.run("master", "list").stdout, *(m.log() for m in masters))), 0.1)

    def move(self, master, *words):
        return subprocess.run([cluster.NMS, "move", "--data", master.data, *words],
                              env=cluster.ENVIRONMENT, capture_output=True, text=True,
                              timeout=60, check=False)

    def test_a_renumbered_cluster_comes_back(self):
        masters = [self.first, *self.grow("second", "third")]
        node, node_id = self.worker("node")
        self.until_it_has(node, *masters)
        before = self.config(node)
        done = self.move(masters[0], "--member", "1=127.0.0.1")
        self.assertEqual(done.returncode, 1, done.stdout)  # it runs
        for program in (node, *masters):
            program.terminate()
        node.tpm.kill()
        olds = [master.address for master in masters]
        for program in (node, *masters):
            program.address = cluster.fresh_address()
        words = [word for number, master in enumerate(masters, 1)
                 for word in ("--member", f"{number}={master.address}")]
        for master in masters:
            shown = self.move(master)
            self.assertIn("nothing was changed", shown.stdout)
            self.assertIn(f"master 3  {olds[2]}", shown.stdout)
            done = self.move(master, *words)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"master 3  {olds[2]} -> {masters[2].address}", done.stdout)
        for master in masters:
            master.start()
        self.know(*masters)
        self.until_recorded(*masters)
        # What a person told is forgotten where the records say it.
        cluster.until(lambda: all("->" not in self.admin.run("status").stdout and
                                  old.encode() not in self.member_file(master)
                                  for master, old in zip(masters, olds)), 60, "", 0.1)
        # The node has old addresses only, and is told one by a person.
        node.tpm.power_on()
        node.start()
        node.expect("^unlock.*decision=retry|UNAVAILABLE")
        refused = self.point(node, masters[1].address)
        self.assertEqual(refused.returncode, 1, refused.stdout)  # it runs
        node.kill()
        pointed = self.point(node, masters[1].address)
        self.assertEqual(pointed.returncode, 0, pointed.stderr)
        for old in olds:
            self.assertIn(old, pointed.stdout.splitlines()[0])
        self.assertEqual(pointed.stdout.splitlines()[1],
                         f"the masters are: {masters[1].address}")
        self.assertEqual(self.addresses(node), {masters[1].address})
        node.start()
        cluster.until(node.unlocked, 60, node.log)
        self.until_it_has(node, *masters)
        after = self.config(node)
        self.assertGreater(after.masters_number, before.masters_number)
        for config in (before, after):
            del config.master_ips[:]
            config.masters_number = 0
        self.assertEqual(after, before)
        self.until_all_know()
        # From now on nobody needs what was told: all off and on.
        for master in masters:
            self.assertEqual(master.terminate(), 0)
        for master in masters:
            master.start()
        self.until_recorded(*masters)

    def test_masters_whose_folders_nobody_reaches_are_told_by_their_enrolments(self):
        nodes = []
        for name in ("second", "third"):
            node, node_id = self.worker(name, master=True)
            self.admin.call("node", "adopt", node_id, "--role", "master")
            nodes.append(node)
        masters = [self.first, *nodes]
        self.until_recorded(*masters)
        worker, _ = self.worker("worker")
        for program in (worker, *masters):
            program.kill()
        # The network is another one.  What a person says is the same on each machine: all
        # addresses, whose they are he need not know; one of them is wrong.
        for program in (worker, *masters):
            program.address = cluster.fresh_address()
        told = [cluster.fresh_address(), *(master.address for master in reversed(masters))]
        for node in (worker, *nodes):
            self.assertEqual(self.point(node, *told).returncode, 0)
        self.run_at(self.first, "--address", self.first.address)  # it is found, and finds nobody
        for node in (worker, *nodes):
            node.reboot()
        self.know(*masters)
        self.until_recorded(*masters)
        for node in (worker, *nodes):
            cluster.until(node.unlocked, 60, node.log)
            self.until_it_has(node, *masters)
        self.until_all_know()
        # A list that is wrong, or old, takes nobody anywhere: the records are newer.
        second, wrong = nodes[0], cluster.fresh_address()
        second.kill()
        self.assertEqual(self.point(second, wrong).returncode, 0)
        second.reboot()
        self.until_recorded(*masters)
        cluster.until(second.unlocked, 60, second.log)
        self.until_it_has(second, *masters)
        self.until_it_has(worker, *masters)

    def member_file(self, master):
        with open(os.path.join(master.data, "member.pb"), "rb") as file:
            return file.read()

    def point(self, node, *addresses):
        words = [word for address in addresses for word in ("--master", address)]
        return subprocess.run([cluster.NODE, "masters", "--esp", node.esp, *words],
                              env=cluster.ENVIRONMENT, capture_output=True, text=True,
                              timeout=60, check=False)

    def test_a_master_that_comes_back_elsewhere_is_found_and_nodes_are_told(self):
        masters = [self.first, *self.grow("second", "third")]
        node, _ = self.worker("node")
        self.until_it_has(node, *masters)
        process = node.process
        for moving in masters:  # the one that leads among them
            self.assertEqual(moving.terminate(), 0)
            moving.address = cluster.fresh_address()
            self.run_at(moving, "--address", moving.address)
            self.know(*masters)
            self.until_recorded(*masters)
            self.until_it_has(node, *masters)
        self.until_all_know()
        self.assertIs(node.process, process)
        self.assertTrue(node.running())
        # One takes the address of another, who is off and cannot say where it is: the
        # masters go on, and the record waits.
        one, other, third = masters
        self.assertEqual(one.terminate(), 0)
        self.assertEqual(other.terminate(), 0)
        taken, since = other.address, len(third.log())
        one.address, other.address = taken, cluster.fresh_address()
        self.run_at(one, "--address", one.address)
        cluster.until(lambda: "step=move decision=wait" in
                      third.log()[since:] + one.log(), 60, third.log, 0.1)
        self.run_at(other, "--address", other.address)
        self.know(*masters)
        self.until_recorded(*masters)
        self.until_it_has(node, *masters)
        # It stays there without being told again, and the others find it though the group
        # was made with the addresses of before.
        for master in masters:
            self.assertEqual(master.terminate(), 0)
        for master in masters:
            master.start()
        self.until_recorded(*masters)


# The tests of the base class are its own.
for test in [n for n in dir(masters_test.Masters) if n.startswith("test")]:
    setattr(Addresses, test, None)

if __name__ == "__main__":
    unittest.main()

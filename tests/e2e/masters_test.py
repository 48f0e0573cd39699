"""Masters come and go: the programs as an operator uses them, and each of them may die."""
import os
import re
import subprocess
import time
import unittest

import cluster

VOTER = "voter"
# A machine that has the package smalltown-node alone.
WITHOUT_NMS = {"env": {"PATH": "/usr/bin"}}


class Joined(cluster.Program):
    """A host that became a master by a ticket."""

    def __init__(self, folder, admin, name):
        super().__init__(folder / f"{name}.log")
        self.name, self.address = name, cluster.fresh_address()
        self.data, self.ticket = folder / f"{name}-data", folder / f"{name}.pb"
        admin.call("master", "invite", name, "--out", self.ticket)
        done = self.join()
        assert done.returncode == 0, done.stderr

    def join(self):
        return subprocess.run([cluster.NMS, "join", "--data", self.data, "--address", self.address,
                               "--ticket", self.ticket], env=cluster.ENVIRONMENT,
                              capture_output=True, text=True, timeout=60, check=False)

    def start(self):
        self.spawn([cluster.NMS, "run", "--data", self.data])
        return self


def masters(admin):
    """{id: master} as one of them sees them."""
    return {master["member_id"]: master for master in admin.ask("master", "list")}


def until_voters(admin, *ids):
    def all_vote():
        done = admin.run("master", "list", "-o", "json")
        return done.returncode == 0 and {id for id, m in masters(admin).items()
                                         if m["state"] == VOTER} == set(ids)
    cluster.until(all_vote, 60, lambda: admin.run("master", "list").stdout, 0.1)


class Masters(unittest.TestCase):
    def setUp(self):
        self.folder = cluster.Folder()
        self.addCleanup(self.folder.remove)
        self.admin = cluster.Admin(self.folder)
        self.first = cluster.Master(self.folder, self.admin).start()
        self.addCleanup(self.first.terminate)
        self.admin.use(self.first)
        cluster.until(lambda: self.admin.run("status").returncode == 0, 30, "a leader", 0.1)

    def grow(self, *names):
        """Hosts that vote; the administrator knows them all."""
        hosts = []
        for name in names:
            host = Joined(self.folder, self.admin, name).start()
            self.addCleanup(host.terminate)
            hosts.append(host)
            until_voters(self.admin, *range(1, len(hosts) + 2))
        self.know(self.first, *hosts)
        for master in (self.first, *hosts):
            self.until_connected(self.only(master), len(hosts) + 1)
        return hosts

    def until_connected(self, admin, count):
        cluster.until(
            lambda: [m["connected"] for m in masters(admin).values()].count(True) == count, 30,
            lambda: admin.run("master", "list").stdout, 0.1)

    def know(self, *masters_now):
        self.admin.call("context", "remove", "town")
        self.admin.call("context", "add", "town", "--address",
                        ",".join(master.address for master in masters_now), "--masters-cert",
                        self.first.masters_pem)

    def only(self, master):
        """An administrator who asks this one only."""
        admin = cluster.Admin.__new__(cluster.Admin)
        admin.__dict__.update(self.admin.__dict__)
        admin.config = self.folder / f"only-{master.name}"
        if not os.path.exists(admin.config):
            admin.call("context", "add", "town", "--address", master.address, "--masters-cert",
                       self.first.masters_pem, "--cert", admin.cert, "--key", admin.key)
        return admin

    def test_three_masters_answer_every_call_and_outlive_each_other(self):
        second, third = self.grow("second", "third")
        status = self.admin.ask("status")
        self.assertEqual(status["members"], 3)
        self.assertEqual(sorted(m["state"] for m in status["masters"]),
                         ["follower", "follower", "leader"])
        for number, master in enumerate((self.first, second, third)):
            admin = self.only(master)
            admin.enrolment(f"by-{number}", self.folder / f"by-{number}.pb")
            self.assertEqual(len(admin.ask("enrolment", "list")), number + 1)
        # The one that leads dies: a call that is made at once is answered by the others.
        leader = next(m for m in masters(self.admin).values() if m["leader"])
        by_address = {m.address: m for m in (self.first, second, third)}
        dead = by_address.pop(leader["address"])
        dead.kill()
        left = list(by_address.values())
        self.only(left[0]).enrolment("without", self.folder / "without.pb")
        self.assertEqual(len(self.only(left[1]).ask("enrolment", "list")), 4)
        dead.start()
        cluster.until(lambda: self.only(dead).run("enrolment", "list").returncode == 0, 30,
                      dead.log, 0.1)
        self.assertEqual(len(self.only(dead).ask("enrolment", "list")), 4)

    def test_a_master_that_stops_costs_the_others_no_election_and_comes_back(self):
        second, third = self.grow("second", "third")
        for master in (self.first, second, third):
            self.assertEqual(master.terminate(), 0)
            name = f"while-{master.address}"
            self.admin.enrolment(name.replace(":", "-"), self.folder / f"{name}.pb")
            master.start()
            cluster.until(lambda: self.only(master).run("node", "list").returncode == 0, 30,
                          master.log, 0.1)

    def test_masters_are_removed_also_the_one_that_leads(self):
        second, third = self.grow("second", "third")
        leader = next(m for m in masters(self.admin).values() if m["leader"])
        self.admin.call("master", "remove", str(leader["member_id"]), "--yes")
        left = [m for m in (self.first, second, third) if m.address != leader["address"]]
        self.know(*left)
        self.assertEqual(len(masters(self.admin)), 2)
        # The certificate of who was removed opens nothing: it is told so, and ends.
        gone = next(m for m in (self.first, second, third) if m.address == leader["address"])
        self.assertEqual(gone.wait(), cluster.WRONG_STATE)
        self.assertIn("it was removed from the group", gone.log())
        done = self.admin.run("master", "remove", str(leader["member_id"]), "--yes")
        self.assertEqual(done.returncode, 3, done.stderr)
        # One of two dies: the other cannot be removed without it, nor decide anything.
        left[1].kill()
        alone = self.only(left[0])
        self.until_connected(alone, 1)
        own = next(i for i, m in masters(alone).items() if m["address"] == left[0].address)
        done = alone.run("master", "remove", str(own), "--yes")
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn("no majority", done.stderr)
        self.assertEqual(alone.run("enrolment", "create", "x", "--timeout", "30s").returncode, 5)
        left[0].expect(r"^leader member=none connected=1 of=2 reason=\"no majority.*; "
                       rf"{re.escape(left[1].address)}:7834 \(member \d\): connection refused\"")
        left[1].start()
        cluster.until(lambda: alone.run("enrolment", "list").returncode == 0, 30, left[0].log, 0.1)

    def test_what_is_intended_survives_the_death_of_whoever_leads(self):
        by_address = {m.address: m for m in (self.first, *self.grow("second", "third"))}

        def leader_of_the_three():
            leader = next((m for m in masters(self.admin).values() if m["leader"]), None)
            if leader and leader["address"] == host.address:  # let another one lead
                host.kill()
                host.start()
            return leader and by_address.get(leader["address"])

        def kill_the_leader(after):
            leader = cluster.until(leader_of_the_three, 60, lambda: masters(self.admin), 0.5)
            time.sleep(after)
            leader.kill()
            return leader
        for number, after in enumerate((0, 0.02, 0.1, 0.3)):
            host = Joined(self.folder, self.admin, f"host-{number}").start()
            self.addCleanup(host.terminate)
            dead = kill_the_leader(after)
            until_voters(self.admin, 1, 2, 3, number + 4)
            dead.start()
            cluster.until(lambda: self.only(dead).run("node", "list").returncode == 0, 30,
                          dead.log, 0.1)
            self.until_connected(self.admin, 4)
            removal = subprocess.Popen(
                [cluster.STCTL, "master", "remove", str(number + 4), "--yes"],
                env={**cluster.ENVIRONMENT, "XDG_CONFIG_HOME": self.admin.config},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            dead = kill_the_leader(after)
            removal.wait(90)
            if removal.returncode != 0:  # the one that was asked died: nobody knows
                self.assertIn(self.admin.run("master", "remove", str(number + 4), "--yes",
                                             "--force").returncode, (0, 3))
            until_voters(self.admin, 1, 2, 3)
            dead.start()
            cluster.until(lambda: self.only(dead).run("node", "list").returncode == 0, 30,
                          dead.log, 0.1)
            self.assertEqual(set(masters(self.only(dead))), {1, 2, 3})
            host.terminate()
        self.assertEqual([m["state"] for m in masters(self.admin).values()], [VOTER] * 3)

    def test_a_ticket_is_good_once_and_for_one_host(self):
        host = Joined(self.folder, self.admin, "host")
        self.assertEqual(host.join().returncode, 0)  # the same once more
        thief = Joined.__new__(Joined)
        thief.__dict__.update(host.__dict__)
        thief.data, thief.address = self.folder / "thief-data", cluster.fresh_address()
        done = thief.join()
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(set(masters(self.admin)), {1, 2})

    def test_a_new_master_that_dies_while_it_joins_is_carried_on(self):
        host = Joined(self.folder, self.admin, "host")
        self.addCleanup(host.terminate)
        for _ in range(3):
            host.start()
            host.expect(r"^(joining|listening)", len(host.log()) - 1 if host.log() else 0)
            host.kill()
        self.first.kill()
        self.first.start()
        host.start()
        until_voters(self.admin, 1, 2)


class NodeMasters(Masters):
    """Machines with a TPM; only what is theirs."""

    def setUp(self):
        super().setUp()
        self.vendor = cluster.Vendor(self.folder)

    def machine(self, name):
        node = cluster.Node(self.folder, self.vendor, name, master=True)
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        return node

    def node(self, name, **how):
        node = self.machine(name)
        self.admin.enrolment(name, node.config)
        node.start(**how)
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        node_id = next(i for i, n in self.admin.nodes().items() if n["address"] == node.address)
        self.admin.call("node", "adopt", node_id)
        node.reboot(**how)
        cluster.until(node.unlocked, 60, node.log)
        return node, node_id

    def test_a_node_becomes_a_master_and_is_removed_as_both(self):
        node, node_id = self.node("one")
        self.admin.call("node", "adopt", node_id, "--role", "master")
        shown = self.admin.ask("node", "show", node_id)
        self.assertEqual((shown["state"], shown["member_id"], shown["synced"]), ("master", 2, True))
        self.assertEqual(self.admin.ask("status")["members"], 2)
        # Power cut: its master is there again before its disk is open.
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        self.admin.call("node", "remove", node_id, "--yes")
        self.assertEqual(set(masters(self.admin)), {1})
        self.assertEqual(self.admin.nodes(), {})

    def test_a_master_is_taken_back_from_a_node_that_unlocks_and_may_be_one_again(self):
        node, node_id = self.node("one")
        self.admin.call("node", "adopt", node_id, "--role", "master")
        listed = self.admin.call("master", "list")
        self.assertRegex(listed, rf"(?m)^1 .* {re.escape(self.first.address)} +host +-$")
        self.assertRegex(listed, rf"(?m)^2 .* {re.escape(node.address)} +node +{node_id}$")
        self.admin.call("master", "remove", "2", "--yes")
        self.assertEqual(set(masters(self.admin)), {1})
        self.assertEqual(self.admin.nodes()[node_id]["state"], "worker")
        node.expect("it was removed from the group")
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        # In the folder of the one before; the second time while that may still run.
        for number in (3, 4):
            self.admin.call("node", "adopt", node_id, "--role", "master")
            until_voters(self.admin, 1, number)
            if number == 3:
                self.admin.call("master", "remove", "3", "--yes")
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        cluster.until(lambda: masters(self.admin)[4]["connected"], 60, node.log, 0.1)

    def test_a_node_that_is_off_is_carried_on_when_it_comes_back(self):
        node, node_id = self.node("one")
        node.kill()
        done = self.admin.run("node", "adopt", node_id, "--role", "master", "--timeout", "2s")
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertEqual(masters(self.admin)[2]["state"], "joining")
        self.first.kill()
        self.first.start()
        node.tpm.power_cycle()
        node.start()
        until_voters(self.admin, 1, 2)
        self.assertEqual(re.findall(r"step=(\S+) decision=OK", self.first.log())[-1], "vote")

    def test_a_worker_without_smalltown_nms_opens_its_disk_and_is_no_master_until_it_has_it(self):
        node, node_id = self.node("one", **WITHOUT_NMS)
        self.assertEqual(len(re.findall("^master decision=none reason=.*smalltown-nms", node.log(),
                                        re.M)), 2)  # of two starts
        self.admin.run("node", "adopt", node_id, "--role", "master", "--timeout", "2s")
        self.first.expect("step=hand-over decision=FAILED_PRECONDITION "
                          'reason="this node cannot become a master: smalltown-nms is not')
        node.expect("^join .*decision=FAILED_PRECONDITION .*smalltown-nms is not")
        node.reboot()
        until_voters(self.admin, 1, 2)

    def test_a_machine_that_is_to_be_a_master_is_not_less_without_smalltown_nms(self):
        node, member = self.machine("one"), self.folder / "one-master/member.pb"
        control = self.folder / "control.img"

        def refused(says, *words):
            node.start(*words, **WITHOUT_NMS)
            self.assertEqual(node.wait(), 1)
            last = node.log().splitlines()[-1]
            self.assertIn(says, last)
            self.assertIn("smalltown-nms", last)
            self.assertIn("install it", last)
        refused("--bootstrap", "--bootstrap", "town")
        refused("--control-volume", "--control-volume", control)
        os.mkdir(node.master_data)
        with open(member, "wb"):
            pass
        refused(member)
        os.unlink(member)
        node.start(**WITHOUT_NMS)  # goes on, to the next thing that is missing
        self.assertEqual(node.wait(), 1)
        self.assertIn("there is no EFI/smalltown/enrolment.pb", node.log())


# The tests of the base class are its own.
for test in [n for n in dir(Masters) if n.startswith("test")]:
    setattr(NodeMasters, test, None)

if __name__ == "__main__":
    unittest.main()

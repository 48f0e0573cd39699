"""Three masters and two workers that boot: power and cables, as they fail.

One cluster for all tests, made before the first; each leaves it whole.  Nothing here ever shuts
down: every reboot is a power cut.  Which case of a cluster's life is where:

    enrolment of 3 masters + 2 workers      Machines.test_all_are_enrolled...
    rolling reboot, no loss                 Machines.test_each_reboots_in_turn...
    leader power-cut under load             Machines.test_when_the_leader_loses...
    partition into halves, and heal         Machines.test_the_smaller_half...
    one master's cable                      Machines.test_a_master_whose_cable...
    a frozen master                         Machines.test_a_frozen_master...
    cold start at once and renumbered, in   ColdStart.test_power_that_fails_four_times... (also the
    any order, one master missing; four     TPM's dictionary attack lockout, of masters as well)
    cuts in a row
    cold start after a removal              Removal.test_after_a_master_was_removed...
    disks, TPMs, clocks, removed nodes      disks_test.py
    images, Secure Boot, update windows     measured_test.py (of a master)
"""
import json
import os
import unittest

import towns
from town import MachineError, leader, until


def setUpModule():
    global here
    here = towns.make(masters=3, workers=2)
    unittest.addModuleCleanup(towns.end, here.state)


class Whole(unittest.TestCase):
    """After each test all machines have power and cables, and all masters vote."""

    def setUp(self):
        self.all = list(here.machines.values())
        self.m1, self.m2, self.m3, self.w1, self.w2 = self.all

    def tearDown(self):
        for machine in self.all:
            machine.heal()
            if machine.noted().get("frozen") and machine.is_on():
                machine.thaw()
        here.boot([machine for machine in self.all if not machine.is_on()])
        self.until_whole()

    def until_whole(self):
        """All masters vote and are in touch."""
        towns.until_connected(here, here.masters())

    def leader(self, context="vm"):
        """None where there is none now."""
        try:
            return leader(here, context)
        except MachineError:
            return None

    def remember(self, name, context="vm"):
        """Something that the cluster has acknowledged."""
        until(lambda: not here.stctl("enrolment", "create", name, "--context", context, "--out",
                                     os.path.join(here.state, name),
                                     check=False).returncode, f"enrolment {name}", pause=0.5)

    def remembers(self, *names):
        """Each master, asked alone, as soon as it answers."""
        for master in here.masters():
            listed = until(lambda: towns.enrolments(here, master.name), master.log, pause=0.5)
            self.assertLessEqual(set(names), listed, master.name)


class Machines(Whole):
    @classmethod
    def setUpClass(cls):
        """A node learns of the other masters when it unlocks, which after ColdStart all have."""
        late = [m for m in here.machines.values() if m.phase() == "enrolled"]
        if late:
            towns.reboot(here, *late)

    def test_all_are_enrolled_and_the_host_sees_it(self):
        status = here.ask("status")
        self.assertEqual((status["members"], status["nodes"], status["waiting"]), (3, 5, 0))
        self.assertEqual(sorted(m["state"] for m in status["masters"]),
                         ["follower", "follower", "leader"])
        self.assertEqual({name: node["state"] for name, node in here.nodes().items()},
                         {"m1": "worker", "m2": "master", "m3": "master", "w1": "worker",
                          "w2": "worker"})

    def test_each_reboots_in_turn_and_nothing_is_lost(self):
        with towns.Load(here, writers=1) as load:
            for machine in self.all:
                towns.until_mounted(machine)
                machine.must(f"echo mark of {machine.name} >/data/mark && sync")
                towns.reboot(here, machine)
                self.until_whole()
                towns.until_mounted(machine)
                self.assertEqual(machine.must("cat /data/mark"),
                                 f"mark of {machine.name}\n".encode())
                self.assertTrue(towns.hides(machine, b"mark of"))
                load.goes_on(3)
        self.remembers(*load.acknowledged)

    def test_when_the_leader_loses_its_power_under_load_nothing_acknowledged_is_lost(self):
        with towns.Load(here) as load:
            load.goes_on()
            dead = self.leader()
            dead.power_cut()
            load.goes_on()
            towns.reboot(here, self.w2)
            self.assertFalse(dead.is_on())
            here.boot([dead])
            self.until_whole()
            load.goes_on()
        self.remembers(*load.acknowledged)

    def test_the_smaller_half_of_a_partition_releases_no_key(self):
        alone = self.leader()
        others = [master for master in here.masters() if master is not alone]
        here.partition([alone.name, "w1"])
        until(lambda: self.leader(others[0].name) in others, "another leads", pause=0.5)
        self.remember("while-halved", others[0].name)
        for worker in (self.w1, self.w2):
            worker.power_cut()
        here.power_on([self.w1, self.w2])
        here.wait([self.w2], {"unlocked"})
        towns.says(self.w1, r"^unlock decision=retry ")
        self.assertFalse(towns.is_mapped(self.w1))
        self.assertNotEqual(here.stctl("enrolment", "list", "--context", alone.name,
                                       check=False).returncode, 0)
        for _ in range(3):
            here.stctl("enrolment", "list")  # whichever master it asks first
        for machine in self.all:
            machine.heal()
        here.wait([self.w1], {"unlocked"})
        self.until_whole()
        self.remembers("while-halved")

    def test_a_master_whose_cable_is_cut_leads_no_more_and_comes_back(self):
        alone = self.leader()
        alone.cut()
        until(lambda: self.leader() not in (None, alone), "another leads", pause=0.5)
        self.remember("while-one-is-cut-off")
        alone.heal()
        self.until_whole()
        self.remembers("while-one-is-cut-off")

    def test_a_frozen_master_holds_up_nobody(self):
        self.m2.freeze()
        towns.reboot(here, self.w2)
        self.m2.thaw()


class ColdStart(Whole):
    """All are off; nobody but themselves helps them."""

    def at_once_and_renumbered(self):
        here.renumber("10.78.0")
        self.assertEqual(self.w2.address, "10.78.0.5")
        here.boot(self.all, {"unlocked"})
        self.until_whole()
        until(lambda: self.places() == {machine.address for machine in self.all},
              lambda: here.stctl("node", "list", check=False).stdout)
        self.assertEqual([m["address"] for m in here.ask("master", "list")],
                         [master.address for master in here.masters()])

    def places(self):
        """Of all nodes, by the records, that all of them heard of."""
        listed = here.stctl("node", "list", "-o", "json", check=False)
        nodes = [] if listed.returncode else json.loads(listed.stdout)
        return {node["address"] for node in nodes if not node["outdated"]}

    def workers_first_and_masters_backwards(self):
        here.power_on([self.w1, self.w2, self.m3])
        # One master alone releases nothing; workers wait for it.
        towns.says(self.w1, r"^unlock decision=retry .*(no majority|no answer|no leader)")
        self.assertNotIn("unlocked", (self.w1.phase(), self.w2.phase(), self.m3.phase()))
        here.power_on([self.m2])
        here.wait([self.w1, self.w2, self.m3, self.m2], {"unlocked"})
        here.boot([self.m1], {"unlocked"})

    def one_after_the_other(self):
        for machine in self.all[1:]:
            here.power_on([machine])
            towns.says(machine, "^start ")
        here.boot([self.m1], {"unlocked"})
        here.wait(self.all, {"unlocked"})

    def without_a_master(self):
        here.boot([self.w2, self.m1, self.m3, self.w1], {"unlocked"})
        self.assertFalse(self.m2.is_on())

    def test_power_that_fails_four_times_in_a_row_and_comes_back_in_any_order(self):
        """More than three would lock a TPM whose objects count power cuts."""
        ways = (self.at_once_and_renumbered, self.workers_first_and_masters_backwards,
                self.one_after_the_other, self.without_a_master)
        for way in ways:
            with self.subTest(way.__name__):
                self.remember(way.__name__)
                for machine in self.all:
                    machine.power_cut()
                way()
                for worker in (self.w1, self.w2):
                    self.assertTrue(towns.is_mapped(worker))
                for master in here.masters():
                    if master.is_on():
                        self.assertTrue(towns.opened_first(master), master.log())
        here.boot([self.m2], {"unlocked"})
        self.until_whole()
        self.remembers(*(way.__name__ for way in ways))


class Commands(unittest.TestCase):
    """What a person types."""

    def says(self, *words, code=0):
        done = towns.tool(here, *words)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def test_the_status_shows_power_and_cables(self):
        self.says("partition", "w1", "w2")
        self.says("cut", "w1")
        self.says("freeze", "w2")
        status = self.says("status")
        self.says("heal", "all")
        self.says("thaw", "w2")
        self.assertRegex(status, r"(?m)^w1 +on +cut ")
        self.assertRegex(status, r"(?m)^w2 +frozen +side a ")
        self.assertRegex(status, r"(?m)^m1 +on +side b +(unlocked|enrolled) ")
        self.assertIn("masters     3, of which 1 may fail", status)
        self.assertRegex(self.says("status"), r"(?m)^w2 +on +- ")

    def test_commands_run_in_a_machine_and_their_status_is_handed_on(self):
        self.assertEqual(self.says("exec", "w1", "echo", "$((6 * 7))"), "42\n")
        self.assertEqual(self.says("exec", "w1", "echo no >&2; exit 5", code=5), "no\n")
        self.assertRegex(self.says("stctl", "node", "list"), r"(?m)^smalltown-[0-9a-f]{32} ")
        self.assertRegex(self.says("logs", "w1"), r"(?m)^init kernel=")

    def test_what_cannot_be_done_is_one_sentence(self):
        for verb in ("exec", "partition"):
            self.assertEqual(self.says(verb, "w9", *["true"] * (verb == "exec"), code=1),
                             "vm-cluster: there is no machine w9: m1, m2, m3, w1, w2\n")
        self.assertIn("power-cut w1` first", self.says("replace-image", "w1", "/dev/null", code=1))
        self.assertIn("power-cut m1` first", self.says("renumber", "10.79.0", code=1))
        self.assertIn("is no network", self.says("renumber", "10.79.0.1", code=1))
        self.assertIn("is not empty", self.says("up", "--programs", towns.PROGRAMS, code=1))

    def test_power_is_cut_and_comes_back(self):
        self.says("power-cut", "w1")
        self.assertRegex(self.says("status"), r"(?m)^w1 +off ")
        self.assertIn("w1 is off", self.says("exec", "w1", "true", code=1))
        self.assertRegex(self.says("power-on", "w1"), r"w1 +power .*smalltown-node .*disk open")


class Removal(Whole):
    """The last one: costs a master, and puts another in its place."""

    def test_after_a_master_was_removed_the_others_start_cold_and_it_does_not(self):
        here.stctl("node", "remove", here.nodes()["m3"]["node_id"], "--yes")
        self.remember("after-the-removal")
        for machine in self.all:
            machine.power_cut()
        here.power_on(self.all)
        here.wait([self.m1, self.m2, self.w1, self.w2], {"unlocked"})
        towns.says(self.m3, r"^unlock decision=retry .*PERMISSION_DENIED")
        self.assertFalse(towns.is_mapped(self.m3))
        self.assertEqual(here.ask("status")["members"], 2)
        towns.remake(here, self.m3, "in-its-place")
        here.boot([self.m3], {"enrolled"})
        towns.adopt(here, self.m3, "master")
        self.until_whole()
        self.remembers("after-the-removal")


if __name__ == "__main__":
    unittest.main()

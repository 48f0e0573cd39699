"""Three masters and two workers that boot: power, cables, clocks and disks, as they fail.

One cluster for all tests, made before the first; each leaves it whole.
"""
import os
import re
import unittest

import towns
from town import leader, until
from towns import image


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
        def whole():
            listed = here.stctl("master", "list", "-o", "json", check=False)
            masters = [] if listed.returncode else towns.town.json.loads(listed.stdout)
            return len(masters) == 3 and all(m["connected"] and m["state"] == "voter"
                                             for m in masters)
        until(whole, lambda: here.stctl("master", "list", check=False).stdout)

    def remember(self, name):
        """Something that the cluster has acknowledged."""
        until(lambda: not here.stctl("enrolment", "create", name, "--out",
                                     os.path.join(here.state, name),
                                     check=False).returncode, f"enrolment {name}", pause=0.5)

    def remembered(self):
        return {enrolment["name"] for enrolment in here.ask("enrolment", "list")}

    def masters_say(self, pattern):
        def said():
            return "".join(machine.said() for machine in (self.m1, self.m2, self.m3))
        until(lambda: re.search(pattern, said(), re.M), lambda: f"{pattern!r} in\n{said()}", 60)

    def swap(self, one, two):
        """Their disks change places."""
        one.power_cut()
        two.power_cut()
        os.rename(one.disk, one.disk + ".away")
        os.rename(two.disk, one.disk)
        os.rename(one.disk + ".away", two.disk)

    def is_mapped(self, machine):
        return machine.execute(f"test -e {towns.MAPPED}")[0] == 0


class Machines(Whole):
    def test_all_are_enrolled_and_the_host_sees_it(self):
        status = here.ask("status")
        self.assertEqual((status["members"], status["nodes"], status["waiting"]), (3, 5, 0))
        self.assertEqual(sorted(m["state"] for m in status["masters"]),
                         ["follower", "follower", "leader"])
        self.assertEqual({name: node["state"] for name, node in here.nodes().items()},
                         {"m1": "worker", "m2": "master", "m3": "master", "w1": "worker",
                          "w2": "worker"})

    def test_each_reboots_in_turn_and_nothing_is_lost(self):
        for machine in self.all:
            towns.until_mounted(machine)
            machine.must(f"echo mark of {machine.name} >/data/mark && sync")
        for machine in self.all:
            self.remember(f"before-{machine.name}")
            towns.reboot(here, machine)
            self.until_whole()
            towns.until_mounted(machine)
            self.assertEqual(machine.must("cat /data/mark"), f"mark of {machine.name}\n".encode())
            self.assertEqual(machine.execute(f"grep -q 'mark of' {towns.DATA}")[0], 1)
            self.assertLessEqual({f"before-{m.name}" for m in self.all[:self.all.index(machine)]},
                                 self.remembered())

    def test_all_lose_their_power_at_once_and_come_back(self):
        self.remember("before-the-cut")
        towns.reboot(here, *self.all)
        self.until_whole()
        self.assertIn("before-the-cut", self.remembered())

    def test_a_cold_start_needs_two_masters_in_any_order_and_not_the_third(self):
        for machine in self.all:
            machine.power_cut()
        here.power_on([self.w1, self.m3])
        # One master alone releases nothing; its worker waits for it.
        towns.says(self.w1, r"^unlock decision=retry .*(no majority|no answer|no leader)")
        self.assertNotEqual(self.w1.phase(), "unlocked")
        here.power_on([self.m2])
        here.wait([self.w1, self.m3, self.m2], {"unlocked"})
        self.assertFalse(self.m1.is_on())

    def test_four_power_cuts_in_a_row_do_not_lock_the_tpm(self):
        for _ in range(4):
            self.w1.power_cut()
            here.boot([self.w1], {"unlocked"})

    def test_when_the_leader_loses_its_power_the_others_go_on(self):
        dead = leader(here)
        dead.power_cut()
        self.remember("without-a-leader")
        towns.reboot(here, self.w2)
        self.assertFalse(dead.is_on())

    def test_a_master_whose_cable_is_cut_releases_no_key_and_comes_back(self):
        alone = leader(here)
        alone.cut()
        until(lambda: leader(here) not in (None, alone), "another leads", pause=0.5)
        self.remember("while-one-is-cut-off")
        alone.heal()
        self.until_whole()
        self.assertIn("while-one-is-cut-off", self.remembered())

    def test_a_node_without_a_network_waits_and_says_so_until_it_is_healed(self):
        self.w1.cut()
        self.w1.power_cut()
        here.power_on([self.w1])
        towns.says(self.w1, r"^unlock decision=retry .*no answer")
        self.w1.heal()
        here.wait([self.w1], {"unlocked"})

    def test_a_frozen_master_holds_up_nobody(self):
        self.m2.freeze()
        towns.reboot(here, self.w2)
        self.m2.thaw()

    def test_a_node_whose_clock_is_in_1970_unlocks(self):
        towns.reboot(here, self.w1, clock="1970-01-02")
        self.assertEqual(self.w1.must("date +%Y").strip(), b"1970")

    def test_a_disk_in_another_machine_opens_nothing(self):
        """Disks of two machines change places; each has its own TPM still."""
        node = here.nodes()["w1"]["node_id"]
        self.swap(self.w1, self.w2)
        try:
            here.power_on([self.w2])
            towns.says(self.w2, rf"^start node={node}")
            towns.says(self.w2, r"^unlock decision=retry .*this is not its TPM")
            self.assertFalse(self.is_mapped(self.w2))
            self.masters_say(rf'^unlock node={node} .*reason="the quote is not signed by this')
        finally:
            self.swap(self.w1, self.w2)

    def test_a_sector_that_somebody_changed_is_a_read_error(self):
        self.assertEqual(self.w1.execute(f"cat {towns.MAPPED} >/dev/null")[0], 0)
        self.w1.power_cut()
        before = towns.data_volume(self.w1)
        place = len(before) * 2 // 3
        altered = bytes(byte ^ 1 for byte in before[place:place + 4096])
        towns.set_data_volume(self.w1, before[:place] + altered + before[place + 4096:])
        try:
            here.boot([self.w1], {"unlocked"})
            status, _, error = self.w1.execute(f"cat {towns.MAPPED} >/dev/null")
            self.assertEqual(status, 1)
            self.assertRegex(error, b"Input/output error")
        finally:
            self.w1.power_cut()
            towns.set_data_volume(self.w1, before)

    def test_a_data_volume_of_another_node_is_refused_before_it_is_opened(self):
        for machine in (self.w1, self.w2):
            machine.power_cut()
        before = towns.data_volume(self.w2)
        towns.set_data_volume(self.w2, towns.data_volume(self.w1))
        try:
            here.power_on([self.w2])
            towns.says(self.w2, r"the data volume belongs to another node")
            self.assertFalse(self.is_mapped(self.w2))
        finally:
            self.w2.power_cut()
            towns.set_data_volume(self.w2, before)


class Commands(unittest.TestCase):
    """What a person types."""

    def says(self, *words, code=0):
        done = towns.tool(here, *words)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def test_the_status_shows_power_and_cables(self):
        self.says("cut", "w1")
        self.says("freeze", "w2")
        status = self.says("status")
        self.says("heal", "w1")
        self.says("thaw", "w2")
        self.assertRegex(status, r"(?m)^w1 +on +cut ")
        self.assertRegex(status, r"(?m)^w2 +frozen +- ")
        self.assertRegex(status, r"(?m)^m1 +on +- +(unlocked|enrolled) ")
        self.assertIn("masters     3, of which 1 may fail", status)

    def test_commands_run_in_a_machine_and_their_status_is_handed_on(self):
        self.assertEqual(self.says("exec", "w1", "echo", "$((6 * 7))"), "42\n")
        self.assertEqual(self.says("exec", "w1", "echo no >&2; exit 5", code=5), "no\n")
        self.assertRegex(self.says("stctl", "node", "list"), r"(?m)^smalltown-[0-9a-f]{32} ")
        self.assertRegex(self.says("logs", "w1"), r"(?m)^init kernel=")

    def test_what_cannot_be_done_is_one_sentence(self):
        self.assertEqual(self.says("exec", "w9", "true", code=1),
                         "vm-cluster: there is no machine w9: m1, m2, m3, w1, w2\n")
        self.assertIn("power-cut w1` first", self.says("replace-image", "w1", "/dev/null", code=1))
        self.assertIn("is not empty", self.says("up", "--programs", towns.PROGRAMS, code=1))

    def test_power_is_cut_and_comes_back(self):
        self.says("power-cut", "w1")
        self.assertRegex(self.says("status"), r"(?m)^w1 +off ")
        self.assertIn("w1 is off", self.says("exec", "w1", "true", code=1))
        self.assertRegex(self.says("power-on", "w1"), r"w1 +power .*smalltown-node .*disk open")


class Removal(Whole):
    """Costs a node, again and again: a machine in its place."""

    def test_1_a_node_that_was_removed_asks_again_and_is_refused(self):
        node = self.remove()
        self.w2.power_cut()
        here.power_on([self.w2])
        towns.says(self.w2, r"^unlock decision=retry .*PERMISSION_DENIED")
        self.masters_say(rf'^unlock node={node} .*reason="')

    def test_2_a_wipe_that_loses_its_power_begins_anew(self):
        """A big volume, so that there is time for it."""
        towns.remake(here, self.w2, "wiped", sizes={"data": 256 * image.MIB})
        here.power_on([self.w2])
        wiping = "test -e /dev/mapper/smalltown-format"
        until(lambda: self.w2.phase() == "node" and self.w2.execute(wiping)[0] == 0,
              self.w2.log, pause=0)
        self.w2.power_cut()
        self.assertIn(b'"state":"formatting"', towns.data_volume(self.w2)[:1 << 20])
        here.boot([self.w2], {"enrolled"})
        self.assertIn(b'"state":"enrolled"', self.w2.must(f"head -c 1048576 {towns.DATA}"))
        self.masters_say(r"^enrol .*decision=OK")

    def test_3_without_a_recovery_key_nothing_is_formatted_unless_it_says_so(self):
        self.remove()
        towns.remake(here, self.w2, "keyless", recovery=False)
        here.power_on([self.w2])
        towns.says(self.w2, r"nobody would have a recovery key")
        self.assertEqual(self.w2.must(f"tr -d '\\0' <{towns.DATA} | wc -c").strip(), b"0")

    def test_4_a_volume_without_authentication_needs_no_wipe(self):
        towns.remake(here, self.w2, "xts", conf=b"encryption=xts\r\nrecovery-key=none\r\n",
                     recovery=False)
        here.boot([self.w2], {"enrolled"})
        towns.until_mounted(self.w2)
        names = self.w2.must("ls /dev/mapper").decode().split()
        self.assertEqual(names, ["control", "smalltown-data"])

    def remove(self):
        node = here.nodes()["w2"]["node_id"]
        here.stctl("node", "remove", node, "--yes")
        return node


if __name__ == "__main__":
    unittest.main()

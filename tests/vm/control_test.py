"""Three masters whose records are encrypted: they come back by themselves, and only theirs do.

One cluster for all tests, made before the first; each leaves it whole.
"""
import unittest

import towns

CONTROL, MAPPED = "/dev/vda2", "/dev/mapper/smalltown-control"
OPENED = rf"^control volume={CONTROL} decision=ok$"
SHUT = rf"^control volume={CONTROL} decision=shut reason="


def setUpModule():
    global here
    here = towns.make(masters=3, workers=0)
    unittest.addModuleCleanup(towns.end, here.state)


class Control(unittest.TestCase):
    def setUp(self):
        self.m1, self.m2, self.m3 = self.all = list(here.machines.values())

    def tearDown(self):
        here.boot([machine for machine in self.all if not machine.is_on()])
        towns.until_connected(here, self.all)

    def test_what_a_master_keeps_is_encrypted_and_a_node_sees_it(self):
        for machine in self.all:
            self.assertIn(MAPPED.encode(), machine.must("grep /control/master /proc/mounts"))
            self.assertIn(b"member.pb", machine.must("ls /control/master"))
            self.assertEqual(machine.must("head -c 4 " + CONTROL), b"LUKS")
            for volume, status in ((MAPPED, 0), (CONTROL, 1)):
                found = machine.execute(f"grep -q 'BEGIN CERTIFICATE' {volume}", timeout=600)
                self.assertEqual(found[0], status, volume)

    def test_all_lose_their_power_at_once_and_come_back_by_themselves(self):
        here.stctl("enrolment", "create", "before-the-cut", "--out", here / "before.pb")
        towns.reboot(here, *self.all)
        towns.until_connected(here, self.all)
        for machine in self.all:
            self.assertTrue(towns.opened_first(machine), machine.log())
        self.assertIn("before-the-cut", {e["name"] for e in here.ask("enrolment", "list")})

    def test_two_of_three_come_back_by_themselves(self):
        for machine in self.all:
            machine.power_cut()
        here.boot([self.m3, self.m1], {"unlocked"})
        self.assertFalse(self.m2.is_on())
        self.assertTrue(towns.opened_first(self.m1), self.m1.log())

    def test_N48_the_control_volume_of_another_master_is_refused_and_it_is_said(self):
        for machine in self.all:
            machine.power_cut()
        before = towns.data_volume(self.m1, "control")
        towns.set_data_volume(self.m1, towns.data_volume(self.m2, "control"), "control")
        try:
            here.power_on(self.all)
            here.wait([self.m2, self.m3], {"unlocked"})
            towns.says(self.m1, SHUT + '".* is not the one that this machine made')
            self.assertNotEqual(self.m1.execute("test -e " + MAPPED)[0], 0)
            towns.until_connected(here, [self.m2, self.m3])
            here.wait([self.m1], {"unlocked"})  # it is a node still
        finally:
            self.m1.power_cut()
            towns.set_data_volume(self.m1, before, "control")

    def test_a_volume_that_the_tpm_does_not_open_opens_once_the_data_volume_is(self):
        self.m1.must("rm /esp/EFI/smalltown/control && sync")
        towns.reboot(here, self.m1)
        towns.says(self.m1, SHUT + '"EFI/smalltown/control is gone')
        towns.says(self.m1, OPENED)
        towns.until_connected(here, self.all)
        towns.reboot(here, self.m1)
        self.assertTrue(towns.opened_first(self.m1), self.m1.log())


if __name__ == "__main__":
    unittest.main()

"""Three masters whose records are encrypted: what becomes of a volume that the TPM does not open.

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
            machine.must("grep 'BEGIN CERTIFICATE' /control/master/masters.pem")
            self.assertTrue(towns.hides(machine, b"BEGIN CERTIFICATE", "control"))

    def test_N48_the_control_volume_of_another_master_is_refused_and_it_is_said(self):
        self.m1.power_cut()
        before = towns.volume(self.m1, "control")
        towns.set_volume(self.m1, towns.volume(self.m2, "control"), "control")
        try:
            here.power_on([self.m1])
            towns.says(self.m1, SHUT + '".* is not the one that this machine made')
            self.assertNotEqual(self.m1.execute("test -e " + MAPPED)[0], 0)
            here.wait([self.m1], {"unlocked"})  # it is a node still
        finally:
            self.m1.power_cut()
            towns.set_volume(self.m1, before, "control")

    def test_a_volume_that_the_tpm_does_not_open_opens_once_the_data_volume_is(self):
        self.m1.must("rm /esp/EFI/smalltown/control && sync")
        towns.reboot(here, self.m1)
        towns.says(self.m1, SHUT + '"EFI/smalltown/control is gone')
        towns.says(self.m1, OPENED)
        towns.until_connected(here, self.all)
        towns.reboot(here, self.m1)
        self.assertTrue(towns.opened_first(self.m1), self.m1.log())


class MajorityLost(unittest.TestCase):
    """The last one: two of the three are never seen again."""

    def test_one_whose_records_are_encrypted_goes_on_alone(self):
        m1, m2, m3 = here.machines.values()
        here.stctl("enrolment", "create", "kept", "--out", here / "kept.pb")
        towns.until(lambda: "kept" in (towns.enrolments(here, "m1") or ()), "m1 has it", pause=0.5)
        for lost in (m2, m3):
            lost.power_cut()
        # /init waits before it starts one again that was killed.
        m1.execute("killall -9 smalltown-node smalltown-nms")
        m1.must("smalltown-nms recover --data /control/master --yes", 180)
        m1.execute("killall sleep")
        towns.until_connected(here, [m1])
        towns.reboot(here, m1)
        self.assertTrue(towns.opened_first(m1), m1.log())
        self.assertIn("kept", towns.until(lambda: towns.enrolments(here, "m1"), m1.log, pause=0.5))


if __name__ == "__main__":
    unittest.main()

"""One master and one worker that boot, and lose their power: what every change is tried with."""
import unittest

import towns


class Short(unittest.TestCase):
    def test_both_enrol_and_open_their_disks_again_after_a_power_cut(self):
        here = towns.make(masters=1, workers=1)
        self.addCleanup(towns.end, here.state)
        m1, w1 = here.machines.values()
        towns.until_mounted(w1)
        w1.must("echo mark of w1 >/data/mark && sync")
        node = here.nodes()["w1"]["node_id"]
        self.assertRegex(w1.said(), rf"(?m)^recovery-key volume={towns.DATA} node={node} "
                         "to=administrator$")
        towns.reboot(here, m1, w1)
        towns.until_mounted(w1)
        self.assertEqual(w1.must("cat /data/mark"), b"mark of w1\n")
        self.assertTrue(towns.hides(w1, b"mark of"))
        self.keeps_what_it_wrote(w1)

    def keeps_what_it_wrote(self, machine):
        """Of an ESP as a distribution mounts it, which is not /init's way; the lock of the other
        is the daemon's."""
        other = "/esp/other/EFI/smalltown"
        machine.must("mount -o remount,async /esp && ! grep -q ' /esp .*sync' /proc/mounts && "
                     f"mkdir -p {other} && cp /esp/EFI/smalltown/enrolment.pb {other} && sync && "
                     "smalltown-node masters --esp /esp/other --master 192.0.2.77")
        wanted = machine.must(f"cat {other}/enrolment.pb")
        machine.power_cut()
        self.assertEqual(machine.esp().get("other/EFI/smalltown/enrolment.pb"), wanted)


if __name__ == "__main__":
    unittest.main()

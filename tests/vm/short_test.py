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


if __name__ == "__main__":
    unittest.main()

"""Three masters under load and faults: nothing that any of them acknowledged is lost."""
import unittest

import run


class ThreeMasters(unittest.TestCase):
    def torture(self, *faults):
        report = run.torture(self, "--masters", "3", "--faults", ",".join(faults))
        self.assertTrue(set(report.counts("faults")) & set(faults))
        return report

    def test_the_leader_is_killed(self):
        self.torture("kill-leader")

    def test_all_are_off_and_on_again(self):
        self.torture("kill-all")

    def test_one_is_frozen(self):
        self.torture("freeze-one", "freeze-leader")

    def test_they_are_parted(self):
        report = self.torture("part-one", "part-leader", "part-one-way", "unplug")
        if "namespaces" not in report.text.split("masters in")[1].splitlines()[0]:
            self.skipTest("no namespaces here: nothing was parted")

    def test_they_are_restarted_one_after_the_other(self):
        self.torture("rolling-restart")


if __name__ == "__main__":
    unittest.main()

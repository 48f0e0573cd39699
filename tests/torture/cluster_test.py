"""Three masters under load and faults: nothing that any of them acknowledged is lost."""
import unittest

import run


class ThreeMasters(unittest.TestCase):
    def torture(self, *faults):
        report = run.torture(self, "--masters", "3", "--faults", ",".join(faults))
        if not report.counts("faults") and "not here: " in report.text:
            self.skipTest("nothing of that can be done here")
        self.assertTrue(set(report.counts("faults")) & set(faults))

    def test_the_leader_is_killed(self):
        self.torture("kill-leader")

    def test_all_are_off_and_on_again(self):
        self.torture("kill-all")

    def test_one_is_frozen(self):
        self.torture("freeze-one", "freeze-leader")

    def test_they_are_parted(self):
        self.torture("part-one", "part-leader", "part-one-way", "unplug")

    def test_they_end_between_the_steps_of_a_write(self):
        self.torture("failpoint", "failed-commit")

    def test_a_disk_is_full_or_slow(self):
        self.torture("disk-full", "slow-disk")

    def test_one_is_replaced(self):
        self.torture("replace-member")

    def test_they_are_restarted_one_after_the_other(self):
        self.torture("rolling-restart")


if __name__ == "__main__":
    unittest.main()

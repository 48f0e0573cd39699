"""One master that is killed, frozen and restarted under load: nothing it acknowledged is lost."""
import unittest

import run


class OneMaster(unittest.TestCase):
    def test_killed_at_any_moment(self):
        report = run.torture(self, "--masters", "1", "--faults",
                             "kill-one,kill-again,freeze-one,rolling-restart")
        self.assertGreater(sum(report.counts("faults").values()), 2)

    def test_killed_between_the_steps_of_a_write(self):
        report = run.torture(self, "--masters", "1", "--faults",
                             "failpoint,failed-commit,slow-disk")
        self.assertGreater(sum(report.counts("faults").values()), 0)


if __name__ == "__main__":
    unittest.main()

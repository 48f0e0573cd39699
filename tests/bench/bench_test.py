"""What tools/bench measures with does what its numbers are said to be of."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import cluster  # pylint: disable=wrong-import-position

FILL = os.path.join(cluster.PROGRAMS, "tests", "bench", "bench-fill")
LOAD = os.path.join(cluster.PROGRAMS, "tests", "bench", "bench-load")


def call(*argv):
    return subprocess.run([str(word) for word in argv], env=cluster.ENVIRONMENT,
                          capture_output=True, text=True, timeout=120, check=False)


class Bench(cluster.ClusterTest):
    def load(self, admin, clients, writes):
        return call(LOAD, "smalltown", self.master.address, self.master.masters_pem, admin.cert,
                    admin.key, clients, 60, writes, 0)

    def test_each_write_that_is_counted_was_made(self):
        done = self.load(self.admin, 1, 5)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual((result["writes"], result["failed"]), (5, 0))
        self.assertLessEqual(result["p50_us"], result["p99_us"])
        # Made, removed, made, removed, made.
        self.assertEqual(len(self.admin.ask("enrolment", "list")), 1)

    def test_writes_are_those_of_all_clients(self):
        result = json.loads(self.load(self.admin, 7, 40).stdout)
        self.assertEqual((result["writes"], result["failed"]), (40, 0))

    def test_who_may_not_write_measures_nothing(self):
        done = self.load(cluster.Admin(self.folder, "stranger"), 1, 5)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("not an administrator", done.stderr)

    def test_a_filled_master_has_so_many_nodes(self):
        admin = cluster.Admin(self.folder, "of-full")
        full = cluster.Master(self.folder, admin, name="full")
        done = call(FILL, full.data, 20)
        self.assertEqual(done.returncode, 0, done.stderr)
        admin.use(full)
        full.start_leading(admin)
        self.assertEqual(len(admin.nodes()), 20)
        done = call(FILL, full.data, 20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another smalltown-nms", done.stderr)
        full.terminate()


if __name__ == "__main__":
    unittest.main(argv=sys.argv)

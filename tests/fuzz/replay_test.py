"""That the replay of a corpus is red where one of its inputs does harm, and says which."""
import os
import subprocess
import sys
import tempfile
import unittest

PLANTED = sys.argv[1]


class Replay(unittest.TestCase):
    def replay(self, **inputs):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in inputs.items():
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(content)
            return subprocess.run([PLANTED, folder], capture_output=True, text=True,
                                  check=False)

    def test_inputs_that_do_no_harm_are_green_and_counted(self):
        done = self.replay(a=b"", b=b"harmless", c=b"\0" * 1000)
        self.assertEqual((done.returncode, done.stdout), (0, "3 inputs\n"), done.stderr)

    def test_a_read_behind_the_end_is_red_and_names_the_input(self):
        done = self.replay(a=b"harmless", b=b"read", c=b"harmless")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("heap-buffer-overflow", done.stderr)
        self.assertIn("/b\n", done.stderr)
        self.assertNotIn("/c\n", done.stderr)

    def test_a_leak_is_red(self):
        done = self.replay(a=b"leak")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("LeakSanitizer", done.stderr)

    def test_a_promise_that_is_not_kept_is_red(self):
        done = self.replay(a=b"false")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("does not hold", done.stderr)

    def test_a_folder_without_inputs_is_red(self):
        self.assertEqual(self.replay().returncode, 1)

    def test_a_folder_that_is_not_there_is_red(self):
        done = subprocess.run([PLANTED, "/nowhere"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

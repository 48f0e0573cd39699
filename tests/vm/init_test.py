"""tools/vm/init: a volume that holds anything, or cannot be read, is not given a file system.

The function of the script itself, in the shell that a machine has, with the real mke2fs.
"""
import os
import re
import subprocess
import tempfile
import unittest

INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "vm", "init")
MIB = 1 << 20
SAY = 'say() { echo "init $*"; }\n'


def function(name):
    with open(INIT, encoding="ascii") as file:
        return re.search(rf"^{name}\(\) {{\n.*?^}}\n", file.read(), re.M | re.S).group()


def content_of(file):
    with open(file.name, "rb") as again:
        return again.read()


class MakeFs(unittest.TestCase):
    def make_fs(self, path):
        """What it said."""
        done = subprocess.run(["busybox", "sh", "-c", SAY + function("make_fs") + 'make_fs "$1"',
                               "sh", path], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, check=False)
        return done.stdout

    def volume(self, content):
        file = tempfile.NamedTemporaryFile(prefix="st-volume-")
        self.addCleanup(file.close)
        file.write(content)
        file.flush()
        return file

    def test_a_blank_volume_becomes_ext4(self):
        for size in (8 * MIB, 8 * MIB + 4096):
            file = self.volume(bytes(size))
            self.assertEqual(self.make_fs(file.name), "")
            self.assertEqual(content_of(file)[1080:1082], b"\x53\xef")

    def test_what_is_made_is_not_made_again(self):
        file = self.volume(bytes(8 * MIB))
        self.make_fs(file.name)
        before = content_of(file)
        self.assertEqual(self.make_fs(file.name), "")
        self.assertEqual(content_of(file), before)

    def test_a_byte_in_the_first_MiB_is_data(self):
        for place in (0, 1, 511, 4096, MIB - 1):
            content = bytearray(8 * MIB)
            content[place] = 1
            file = self.volume(content)
            self.assertEqual(self.make_fs(file.name), "", place)
            self.assertEqual(content_of(file), content, place)

    def test_what_ends_within_the_first_MiB_is_left_alone(self):
        file = self.volume(bytes(MIB - 1))
        self.assertEqual(self.make_fs(file.name), "")
        self.assertEqual(content_of(file), bytes(MIB - 1))

    def test_what_cannot_be_read_is_not_formatted(self):
        """Nothing lies at address 0 of a process: that is EIO, as a changed sector is."""
        with open("/proc/self/mem", "rb") as memory, self.assertRaisesRegex(OSError, "Errno 5"):
            memory.read(1)
        for path in ("/proc/self/mem", "/nowhere"):
            self.assertEqual(self.make_fs(path),
                             'init reason="the data volume cannot be read: it is not formatted"\n')


if __name__ == "__main__":
    unittest.main()

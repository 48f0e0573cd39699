"""tools/image: the same inputs give the same bytes, and a disk is what a machine looks for."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(SOURCE, "tools", "vm"))
import image

TOOL = os.path.join(SOURCE, "tools", "image")
PROGRAMS = os.environ.get("ST_RELEASE", os.path.join(SOURCE, "build", "release"))
DATA_TYPE = "9EEEC464-6885-414A-B278-4305C51F7966"


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="st image ")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.kernel = image.download_kernel(os.path.join(SOURCE, "build", "kernel"))
        cls.first = cls.path("first")
        cls.done = cls.build(cls.first)
        assert cls.done.returncode == 0, cls.done.stderr

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def run_it(cls, *words, **how):
        return subprocess.run([TOOL, *words], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=300, check=False, **how)

    @classmethod
    def build(cls, out, *words, programs=PROGRAMS, **how):
        return cls.run_it("build", "--out", out, "--programs", programs, "--kernel", cls.kernel,
                          *words, **how)

    def fails(self, pattern, *words):
        """With one sentence."""
        done = self.run_it(*words)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stderr, r"\Aimage: [^\n]*" + pattern + r"[^\n]*\n\Z")

    def test_the_same_inputs_give_the_same_bytes(self):
        """Later, elsewhere, with programs that were copied, in another place of the world."""
        programs, again = self.path("programs"), self.path("elsewhere/again")
        for name in ("node/smalltown-node", "nms/smalltown-nms"):
            os.makedirs(os.path.dirname(os.path.join(programs, name)))
            shutil.copy(os.path.join(PROGRAMS, name), os.path.join(programs, name))
        began = int(time.time())
        while int(time.time()) == began:  # a stamp of whole seconds would show
            time.sleep(0.05)
        done = self.build(again, programs=programs, umask=0o077, cwd="/",
                          env={**os.environ, "TZ": "Pacific/Auckland", "LC_ALL": "C.UTF-8"})
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("smalltown.efi", "disk.img"):
            self.assertEqual(digest(os.path.join(self.first, name)),
                             digest(os.path.join(again, name)), name)

    def test_another_command_line_and_the_door_for_tests_make_another_image(self):
        other, digests = self.path("other"), {digest(os.path.join(self.first, "smalltown.efi"))}
        for words in (["--command-line", "quiet"], ["--shell"]):
            self.assertEqual(self.build(other, *words).returncode, 0)
            digests.add(digest(os.path.join(other, "smalltown.efi")))
        self.assertEqual(len(digests), 3)
        self.assertIn(b"smalltown.shell", self.unpacked(other))
        self.assertNotIn(b"smalltown.shell", self.unpacked(self.first))

    def unpacked(self, folder):
        packed = image.section(os.path.join(folder, "smalltown.efi"), ".initrd")
        return image.run("zstd", "-d", "-q", "-c", stdin=packed)

    def test_a_disk_has_three_partitions_and_ids_of_its_own(self):
        def table(seed):
            out = self.path(f"{seed}.img")
            done = self.run_it("disk", "--image", os.path.join(self.first, "smalltown.efi"),
                               "--out", out, "--seed", seed, "--data-size", "40M")
            self.assertEqual(done.returncode, 0, done.stderr)
            return out, json.loads(image.run("sfdisk", "-J", out))["partitiontable"]
        (path, one), (_, two) = table("m1"), table("m2")
        names = [partition["name"] for partition in one["partitions"]]
        self.assertEqual(names, ["smalltown-esp", "smalltown-control", "smalltown-data"])
        data = one["partitions"][2]
        self.assertEqual((data["type"], data["size"]), (DATA_TYPE, 40 << 11))
        with open(path, "rb") as disk:
            disk.seek(data["start"] * 512)
            self.assertEqual(disk.read(data["size"] * 512).count(0), data["size"] * 512)
        ids = [table["id"] for table in (one, two)] + \
            [p["uuid"] for table in (one, two) for p in table["partitions"]]
        self.assertEqual(len(set(ids)), 8)

    def test_files_come_onto_the_esp_and_back(self):
        conf, disk = self.path("machine.conf"), self.path("files.img")
        image.write(conf, b"address=192.0.2.7\n")
        uki = os.path.join(self.first, "smalltown.efi")
        done = self.run_it("disk", "--image", uki, "--out", disk, "--file", conf)
        self.assertEqual(done.returncode, 0, done.stderr)
        esp = image.Esp(disk)
        self.assertEqual(esp.get("EFI/smalltown/machine.conf"), b"address=192.0.2.7\n")
        self.assertEqual(esp.get(image.BOOT_PATH), image.read(uki))
        esp.put("EFI/smalltown/machine.conf", b"other")
        esp.put("EFI/smalltown/enrolment.pb", b"\0\1")
        self.assertEqual(esp.names("EFI/smalltown"), ["enrolment.pb", "machine.conf"])
        self.assertEqual(esp.get("EFI/smalltown/machine.conf"), b"other")

    def test_a_failure_is_one_sentence_and_leaves_what_was_there(self):
        before = digest(os.path.join(self.first, "disk.img"))
        self.fails("is not built", "build", "--out", self.first, "--programs", self.folder,
                   "--kernel", self.kernel)
        self.fails("dpkg-deb", "build", "--out", self.first, "--programs", PROGRAMS, "--kernel", TOOL)
        self.fails("no module nonsense", "build", "--out", self.first, "--programs", PROGRAMS,
                   "--kernel", self.kernel, "--module", "nonsense")
        self.fails("No such file", "disk", "--image", self.path("none"), "--out", self.path("x.img"))
        self.assertEqual(digest(os.path.join(self.first, "disk.img")), before)
        with self.assertRaisesRegex(image.ImageError, "no unified kernel image"):
            image.section(image.STUB, ".linux")


if __name__ == "__main__":
    unittest.main()

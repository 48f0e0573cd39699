"""Machines whose firmware measures what it boots: another image opens no disk.

Boots are slow here, so the tests of a class go on from each other, in the order of their numbers;
and the machine that is updated is a master, which has both volumes.
"""
import base64
import struct
import unittest

import towns
from town import sign_snakeoil
from towns import image


def setUpModule():
    global measured, secure
    measured, secure = towns.make_all({"masters": 3, "workers": 0, "firmware": "ovmf"},
                                      {"masters": 1, "workers": 0, "firmware": "secure-boot"})
    for here in (measured, secure):
        unittest.addModuleCleanup(towns.end, here.state)


def pcrs(machine, *numbers):
    files = " ".join(f"/sys/class/tpm/tpm0/pcr-sha256/{number}" for number in numbers)
    return machine.must(f"cat {files}").decode().split()


EFI_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"


def set_variables(machine, *named):
    """What `efibootmgr` does: (name, bytes) each."""
    machine.must("mount -o remount,rw /sys/firmware/efi/efivars")
    for name, value in named:
        content = base64.b64encode(struct.pack("<I", 7) + value).decode()
        machine.must(f"echo {content} | base64 -d >/sys/firmware/efi/efivars/{name}-{EFI_GLOBAL}")


def load_option(path, argument=""):
    """Of a file of the ESP (UEFI 3.1.3, 10.3.5.4)."""
    def utf16(text):
        return text.encode("utf-16-le") + b"\0\0"

    file = utf16(path)
    where = struct.pack("<BBH", 4, 4, 4 + len(file)) + file + struct.pack("<BBH", 0x7f, 0xff, 4)
    return (struct.pack("<IH", 1, len(where)) + utf16("ours") + where +
            (utf16(argument) if argument else b""))


def boot_once(machine, path, command_line):
    """The firmware starts this file the next time, and gives it a command line."""
    set_variables(machine, ("Boot00AA", load_option(path, command_line)),
                  ("BootNext", struct.pack("<H", 0xaa)))


def driver():
    """A driver for the firmware that does nothing: PE32+ with one section, whose code returns 0
    (EFI_SUCCESS)."""
    code, at, page = b"\x31\xc0\xc3", 0x1000, 0x200
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 0xf0, 0x22)
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII", 0x20b, 0, 0, page, 0, 0, at, at, 0, at, page,
        0, 0, 0, 0, 0, 0, 0, 2 * at, page, 0, 11, 0, 0, 0, 0, 0, 0, 16) + bytes(16 * 8)
    section = struct.pack("<8sIIIIIIHHI", b".text", len(code), at, page, page, 0, 0, 0, 0,
                          0x60000020)
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + coff + optional + section
    return head.ljust(page, b"\0") + code.ljust(page, b"\0")


def altered(here, old, new):
    """The image of a town with these bytes for others, at one place; where it is."""
    content = image.read(here / "smalltown.efi")
    assert len(old) == len(new) and content.count(old) == 1, content.count(old)
    path = here / "altered.efi"
    image.write(path, content.replace(old, new))
    return path


class Booted(unittest.TestCase):
    def boots(self, machine, uki):
        """With another image, without waiting for what becomes of it."""
        machine.power_cut()
        machine.use_image(uki)
        self.here.power_on([machine])

    def keeps(self, machine, file):
        towns.says(machine, f"the TPM keeps .*/{file} to itself: firmware, boot loader, kernel")

    def opens_nothing(self, machine, *files):
        for file in files:
            self.keeps(machine, file)
        for volume in ("data", "control"):
            self.assertFalse(towns.is_mapped(machine, volume), volume)

    def unlocks(self, machine):
        self.here.wait([machine], {"unlocked"})
        self.assertTrue(towns.is_mapped(machine))


class Measured(Booted):
    """OVMF without Secure Boot: anything boots, and is seen."""

    @classmethod
    def setUpClass(cls):
        cls.here = measured
        cls.m1, cls.m2, cls.m3 = measured.machines.values()

    def one_other_byte(self):
        return altered(self.here, b'NAME="Smalltown"', b'NAME="SmalltowN"')

    def another_command_line(self):
        return altered(self.here, b"panic=30", b"panic=31")

    def test_1_machines_with_one_image_measure_the_same_in_each_boot(self):
        before = pcrs(self.m3, 2, 4, 7, 9, 11)
        for other in (self.m1, self.m2):
            self.assertEqual(pcrs(other, 2, 4, 7, 9, 11), before)
        towns.reboot(self.here, self.m3)
        self.assertEqual(pcrs(self.m3, 2, 4, 7, 9, 11), before)
        self.assertTrue(towns.opened_first(self.m3), self.m3.log())
        self.assertNotIn("0" * 64, before)
        self.assertEqual(pcrs(self.m3, 13, 14), ["0" * 64] * 2)

    def test_2_an_image_with_one_other_byte_opens_nothing(self):
        before = pcrs(self.m3, 4, 11)
        self.boots(self.m3, self.one_other_byte())
        towns.says(self.m3, "^start ")
        for one, other in zip(pcrs(self.m3, 4, 11), before):
            self.assertNotEqual(one, other)
        self.opens_nothing(self.m3, "control", "sealed")

    def test_3_another_command_line_opens_nothing(self):
        self.boots(self.m3, self.another_command_line())
        self.opens_nothing(self.m3, "control", "sealed")

    def test_4_our_own_image_with_a_command_line_of_the_firmware_opens_nothing(self):
        self.boots(self.m3, self.here / "smalltown.efi")
        self.unlocks(self.m3)
        before = pcrs(self.m3, 4, 11)
        line = self.m3.must("cat /proc/cmdline").decode().strip() + " more"
        boot_once(self.m3, "\\EFI\\BOOT\\BOOTX64.EFI", line)
        self.m3.power_cut()
        self.here.power_on([self.m3])
        towns.says(self.m3, "PCR 12 holds the measurement of something else")
        self.assertEqual(self.m3.must("cat /proc/cmdline").decode().strip(), line)
        self.assertEqual(pcrs(self.m3, 4, 11), before)
        self.opens_nothing(self.m3, "control")

    def test_5_a_driver_before_our_own_image_opens_nothing(self):
        self.boots(self.m3, self.here / "smalltown.efi")
        self.unlocks(self.m3)
        before = pcrs(self.m3, 4, 7, 9, 11)
        drivers = pcrs(self.m3, 2)
        set_variables(self.m3, ("Driver00AA", load_option("\\EFI\\smalltown\\driver.efi")),
                      ("DriverOrder", struct.pack("<H", 0xaa)))
        self.m3.power_cut()
        self.m3.esp().put("EFI/smalltown/driver.efi", driver())
        self.here.power_on([self.m3])
        towns.says(self.m3, "^start ")
        for name in ("DriverOrder", "Driver00AA"):
            self.m3.must("mount -o remount,rw /sys/firmware/efi/efivars; "
                         f"rm /sys/firmware/efi/efivars/{name}-{EFI_GLOBAL}")
        self.assertEqual(pcrs(self.m3, 4, 7, 9, 11), before)
        self.assertNotEqual(pcrs(self.m3, 2), drivers)
        self.opens_nothing(self.m3, "control", "sealed")

    def serves(self):
        """All masters vote, and the one that is updated answers."""
        towns.until_connected(self.here, self.here.masters())
        towns.until(lambda: not self.here.stctl("node", "list", "--context", "m3",
                                                check=False).returncode, self.m3.log)

    def test_6_an_update_window_carries_a_master_over_and_a_third_image_is_refused(self):
        node = self.here.nodes()["m3"]["node_id"]
        self.boots(self.m3, self.here / "smalltown.efi")
        self.unlocks(self.m3)
        self.serves()
        self.here.stctl("policy", "capture", node, "--name", "first-image")
        self.here.stctl("policy", "window", "open", "--for", "2h", "--nodes", node)
        # Its records open behind the data volume, by what the others approve; from then on
        # before anybody is asked.
        self.boots(self.m3, self.one_other_byte())
        self.keeps(self.m3, "control")
        self.unlocks(self.m3)
        self.serves()
        self.assertFalse(towns.opened_first(self.m3), self.m3.log())
        self.here.stctl("policy", "window", "close")
        towns.reboot(self.here, self.m3)
        self.assertTrue(towns.opened_first(self.m3), self.m3.log())
        self.serves()
        self.boots(self.m3, self.another_command_line())
        towns.says(self.m3, r"^unlock decision=retry .*PERMISSION_DENIED")
        self.opens_nothing(self.m3, "control")
        diff = self.here.ask("node", "pcrs", node, "--diff")["differs"]
        self.assertEqual({(d["pcr"], d["set"]) for d in diff if d["set"] == "first-image"},
                         {(4, "first-image"), (11, "first-image")})
        self.assertRegex(self.here.stctl("node", "pcrs", node, "--diff"), r"(?m)^11 ")


class SecureBoot(Booted):
    """OVMF that boots what Debian's snakeoil key signed, and nothing else."""

    @classmethod
    def setUpClass(cls):
        cls.here = secure
        cls.m1, = secure.machines.values()

    def test_1_an_image_that_nobody_signed_is_not_booted(self):
        self.boots(self.m1, altered(self.here, b"panic=30", b"panic=31"))
        towns.says(self.m1, r"BdsDxe: failed to load .*Access Denied")
        self.assertEqual(self.m1.phase(), "firmware")

    def test_2_another_image_that_is_signed_boots_and_opens_nothing(self):
        other = altered(self.here, b"panic=30", b"panic=31")
        image.run("sbattach", "--remove", other)
        sign_snakeoil(other)
        self.boots(self.m1, other)
        self.opens_nothing(self.m1, "control")

    def test_3_the_image_that_enrolled_opens_the_disk_again(self):
        self.boots(self.m1, self.here / "smalltown.efi")
        self.unlocks(self.m1)


if __name__ == "__main__":
    unittest.main()

"""Machines whose firmware measures what it boots: another image opens no disk."""
import os
import unittest

import towns
from town import sign_snakeoil
from towns import image


def pcrs(machine, *numbers):
    files = " ".join(f"/sys/class/tpm/tpm0/pcr-sha256/{number}" for number in numbers)
    return machine.must(f"cat {files}").decode().split()


def altered(here, old, new):
    """The image of a town with these bytes for others, at one place; where it is."""
    content = image.read(os.path.join(here.state, "smalltown.efi"))
    assert len(old) == len(new) and content.count(old) == 1, content.count(old)
    path = os.path.join(here.state, "altered.efi")
    image.write(path, content.replace(old, new))
    return path


class Booted(unittest.TestCase):
    def boots(self, machine, uki):
        """With another image, without waiting for what becomes of it."""
        machine.power_cut()
        machine.use_image(uki)
        self.here.power_on([machine])

    def opens_nothing(self, machine):
        """And opens its disk again once the image is the old one."""
        towns.says(machine, r"the TPM keeps .*sealed to itself: firmware, boot loader, kernel")
        self.assertNotEqual(machine.execute(f"test -e {towns.MAPPED}")[0], 0)
        self.comes_back(machine)

    def comes_back(self, machine):
        self.boots(machine, os.path.join(self.here.state, "smalltown.efi"))
        self.here.wait([machine], {"unlocked"})


class Measured(Booted):
    """OVMF without Secure Boot: anything boots, and is seen."""

    @classmethod
    def setUpClass(cls):
        cls.here = towns.make(masters=1, workers=1, firmware="ovmf")
        cls.addClassCleanup(towns.end, cls.here.state)
        cls.m1, cls.w1 = cls.here.machines.values()

    def test_machines_with_one_image_measure_the_same_in_each_boot(self):
        before = pcrs(self.w1, 4, 7, 11)
        self.assertEqual(pcrs(self.m1, 4, 7, 11), before)
        towns.reboot(self.here, self.w1)
        self.assertEqual(pcrs(self.w1, 4, 7, 11), before)
        self.assertNotIn("0" * 64, before)
        self.assertEqual(pcrs(self.w1, 13, 14), ["0" * 64] * 2)

    def test_an_image_with_one_other_byte_opens_nothing(self):
        before = pcrs(self.w1, 4, 11)
        self.boots(self.w1, altered(self.here, b'NAME="Smalltown"', b'NAME="SmalltowN"'))
        towns.says(self.w1, "^start ")
        for one, other in zip(pcrs(self.w1, 4, 11), before):
            self.assertNotEqual(one, other)
        self.opens_nothing(self.w1)

    def test_another_command_line_opens_nothing(self):
        self.boots(self.w1, altered(self.here, b"panic=30", b"panic=31"))
        self.opens_nothing(self.w1)


class SecureBoot(Booted):
    """OVMF that boots what Debian's snakeoil key signed, and nothing else."""

    @classmethod
    def setUpClass(cls):
        cls.here = towns.make(masters=1, workers=0, firmware="secure-boot")
        cls.addClassCleanup(towns.end, cls.here.state)
        cls.m1, = cls.here.machines.values()

    def test_an_image_that_nobody_signed_is_not_booted(self):
        self.boots(self.m1, altered(self.here, b"panic=30", b"panic=31"))
        towns.says(self.m1, r"BdsDxe: failed to load .*Access Denied")
        self.assertEqual(self.m1.phase(), "firmware")
        self.comes_back(self.m1)

    def test_another_image_that_is_signed_boots_and_opens_nothing(self):
        other = altered(self.here, b"panic=30", b"panic=31")
        image.run("sbattach", "--remove", other)
        sign_snakeoil(other)
        self.boots(self.m1, other)
        self.opens_nothing(self.m1)


if __name__ == "__main__":
    unittest.main()

"""Disks, TPMs and clocks of single machines, as they fail and as somebody changes them.

One master and two workers for all tests; each test powers on what it needs.  Those of Replaced end
a node, and put a new machine in its place.
"""
import json
import os
import re
import unittest

import towns
from towns import image, until


def setUpModule():
    global here, m1, w1, w2
    here = towns.make(masters=1, workers=2)
    unittest.addModuleCleanup(towns.end, here.state)
    m1, w1, w2 = here.machines.values()


class Case(unittest.TestCase):
    def decided(self, node, code, reason):
        """What an operator sees of it."""
        def last():
            lines = here.stctl("audit", "tail", "-n", "1", "-ojson", "--node", node)
            return json.loads(lines.splitlines()[-1])
        until(lambda: last()["decision"] == code and re.search(reason, last()["reason"] or ""),
              lambda: str(last()), 60, 0.5)

    def opens_nothing(self, machine, pattern):
        towns.says(machine, pattern)
        self.assertFalse(towns.is_mapped(machine))


class Kept(Case):
    """Whatever is done here is taken back, and the machine is what it was."""

    def swap(self, name):
        """These files of both workers change places, which are off then."""
        w1.power_cut()
        w2.power_cut()
        for old, new in ((w1 / name, w1 / "away"), (w2 / name, w1 / name),
                         (w1 / "away", w2 / name)):
            os.rename(old, new)

    def test_a_node_whose_clock_is_in_1970_waits_for_its_network_and_unlocks(self):
        w1.power_cut()
        w1.cut()
        here.power_on([w1], clock="1970-01-02")
        towns.says(w1, r"^unlock decision=retry .*no answer")
        w1.heal()
        here.wait([w1], {"unlocked"})
        self.assertEqual(w1.must("date +%Y").strip(), b"1970")

    def test_a_disk_in_another_machine_opens_nothing(self):
        """Disks of two machines change places; each has its own TPM still."""
        node = here.nodes()["w1"]["node_id"]
        self.swap("disk.img")
        try:
            here.power_on([w2])
            towns.says(w2, rf"^start node={node}")
            self.opens_nothing(w2, r"^unlock decision=retry .*the TPM is another")
            self.decided(node, "PERMISSION_DENIED", "the quote is not signed by this")
        finally:
            self.swap("disk.img")

    def test_a_sector_that_somebody_changed_is_a_read_error(self):
        if not w1.is_on():
            here.boot([w1], {"unlocked"})
        self.assertEqual(w1.execute(f"cat {towns.MAPPED} >/dev/null")[0], 0)
        w1.power_cut()
        before = towns.volume(w1)
        place = len(before) * 2 // 3
        altered = bytes(byte ^ 1 for byte in before[place:place + 4096])
        towns.set_volume(w1, before[:place] + altered + before[place + 4096:])
        try:
            here.boot([w1], {"unlocked"})
            status, _, error = w1.execute(f"cat {towns.MAPPED} >/dev/null")
            self.assertEqual(status, 1)
            self.assertRegex(error, b"Input/output error")
        finally:
            w1.power_cut()
            towns.set_volume(w1, before)

    def test_a_data_volume_of_another_node_is_refused_before_it_is_opened(self):
        w1.power_cut()
        w2.power_cut()
        before = towns.volume(w2)
        towns.set_volume(w2, towns.volume(w1))
        try:
            here.power_on([w2])
            self.opens_nothing(w2, r"the data volume belongs to another node")
        finally:
            w2.power_cut()
            towns.set_volume(w2, before)


class Replaced(Case):
    """In the order of their numbers."""

    def remove(self, machine):
        node = here.nodes()[machine.name]["node_id"]
        here.stctl("node", "remove", node, "--yes")
        return node

    def recovers(self, machine, key, says):
        """Somebody types this key; /init may just be trying the daemon again."""
        command = f"echo {key} | smalltown-node recover --esp /esp --tpm device:/dev/tpmrm0 " \
            f"--data-volume {towns.DATA} 2>&1"
        heard = []

        def tried():
            heard[:] = [machine.execute(command, 180)[1]]
            return says in heard[0]
        until(tried, lambda: f"{says} in {heard}", 180, 1)

    def test_1_a_machine_with_another_TPM_opens_nothing_until_it_is_recovered(self):
        """Its disk is the same, its TPM was replaced: no thief, but the masters cannot know."""
        if not w1.is_on():
            here.boot([w1], {"unlocked"})
        towns.until_mounted(w1)
        w1.must("echo mark of w1 >/data/mark && sync")
        node = here.nodes()["w1"]["node_id"]
        w1.power_cut()
        w1.make_tpm(here / "vendor/setup.conf")
        here.power_on([w1])
        self.opens_nothing(w1, r"^unlock decision=retry .*the TPM is another")
        self.decided(node, "PERMISSION_DENIED", "the quote is not signed by this")
        key = here.ask("node", "recovery-key", node, "--key",
                       here / "admin/smalltown/recovery-key.pem")["recovery_key"]
        self.remove(w1)
        w1.power_cut()
        w1.esp().put("EFI/smalltown/enrolment.pb", towns.town.new_enrolment(here, "recovered"))
        here.power_on([w1])
        towns.says(w1, "^smalltown-node: enrolment.pb has a secret but this machine has")
        slip = key[:15] + ("7" if key[15] != "7" else "8") + key[16:]
        self.recovers(w1, slip, b"group 3 is mistyped")
        self.recovers(w1, key, b"with all that is on it")
        w1.execute("killall sleep")  # /init waits before it starts the daemon again
        here.wait([w1], {"enrolled"})
        towns.until_mounted(w1)
        self.assertNotEqual(towns.adopt(here, w1), node)
        towns.reboot(here, w1)
        towns.until_mounted(w1)
        self.assertEqual(w1.must("cat /data/mark"), b"mark of w1\n")
        self.assertEqual(w1.execute(f"cat {towns.MAPPED} >/dev/null")[0], 0)

    def test_2_a_node_that_was_removed_asks_again_and_is_refused(self):
        node = self.remove(w2)
        w2.power_cut()
        here.power_on([w2])
        self.opens_nothing(w2, r"^unlock decision=retry .*PERMISSION_DENIED")
        self.decided(node, "PERMISSION_DENIED", "no node has this id")

    def test_3_a_wipe_that_loses_its_power_begins_anew(self):
        """A big volume, so that there is time for it."""
        towns.remake(here, w2, "wiped", sizes={"data": 256 * image.MIB})
        here.power_on([w2])
        wiping = "test -e /dev/mapper/smalltown-format"
        until(lambda: w2.phase() == "node" and w2.execute(wiping)[0] == 0, w2.log, pause=0)
        w2.power_cut()
        self.assertIn(b'"state":"formatting"', towns.volume(w2)[:1 << 20])
        here.boot([w2], {"enrolled"})
        self.assertIn(b'"state":"enrolled"', w2.must(f"head -c 1048576 {towns.DATA}"))

    def test_4_without_a_recovery_key_nothing_is_formatted_unless_it_says_so(self):
        self.remove(w2)
        towns.remake(here, w2, "keyless", recovery=False)
        here.power_on([w2])
        towns.says(w2, r"nobody would have a recovery key")
        self.assertEqual(w2.must(f"tr -d '\\0' <{towns.DATA} | wc -c").strip(), b"0")

    def test_5_a_volume_without_authentication_needs_no_wipe(self):
        towns.remake(here, w2, "xts", conf=b"encryption=xts\r\nrecovery-key=none\r\n",
                     recovery=False)
        here.boot([w2], {"enrolled"})
        towns.until_mounted(w2)
        names = w2.must("ls /dev/mapper").decode().split()
        self.assertEqual(names, ["control", "smalltown-data"])


if __name__ == "__main__":
    unittest.main()

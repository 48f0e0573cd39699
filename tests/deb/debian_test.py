"""A Debian machine with our packages: its disks open, and are mounted, by themselves.

What is done to it is what docs/deploy.md says; the master is a process of this host.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import debian
import packages
from debian import machine, town
from packages import PROGRAMS, SOURCE, run

FSTAB = """PARTLABEL=root / ext4 defaults 0 1
PARTLABEL=smalltown-esp /boot/efi vfat umask=0077 0 2
/dev/mapper/smalltown-data /srv ext4 {waits} 0 2
"""
WAITS = "_netdev,nofail,x-systemd.device-timeout=infinity,x-systemd.after=smalltown-node.service"
NODE_CONF = f"""NODE_ADDRESS={debian.GUEST}
NODE_VOLUME=/dev/disk/by-partlabel/smalltown-data
NODE_ESP=/boot/efi
NODE_UKI=EFI/BOOT/BOOTX64.EFI
NODE_OPTIONS=--control-volume=/dev/disk/by-partlabel/smalltown-control
"""
NETWORK = f"[Match]\nMACAddress={debian.MAC}\n[Network]\nAddress={debian.GUEST}/24\n"
# For software emulation on a busy host: none of these is what is tried here.
SLOW = ("[Manager]\nDefaultDeviceTimeoutSec=900\nDefaultTimeoutStartSec=900\n"
        "DefaultTimeoutStopSec=900\n")
# Of zstd, which takes 20 s here at its usual level 9.
QUICK = "COMPRESSLEVEL=1\n"
DOOR = """[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/local/sbin/door
[Install]
WantedBy=sysinit.target
"""
PREPARE = """
systemd-machine-id-setup
mkdir -p /boot/efi/EFI /vault
smalltown-uki
systemctl enable smalltown-node systemd-networkd systemd-networkd-wait-online door
"""
# A volume of crypttab; its passphrase is derived quickly, that is all that is not the guide's.
VAULT = f"""set -e
printf passphrase >/run/passphrase
quick='--pbkdf pbkdf2 --pbkdf-force-iterations 1000'
cryptsetup luksFormat -q $quick --key-file /run/passphrase /dev/disk/by-partlabel/vault
smalltown-node crypttab-key vault >/run/key
cryptsetup luksAddKey -q $quick --key-file /run/passphrase /dev/disk/by-partlabel/vault /run/key
rm /run/key
echo 'vault PARTLABEL=vault /run/smalltown/crypttab luks,_netdev,nofail' >>/etc/crypttab
echo '/dev/mapper/vault /vault ext4 {WAITS} 0 2' >>/etc/fstab
systemctl enable remote-cryptsetup.target
systemctl daemon-reload
systemctl start systemd-cryptsetup@vault
mkfs.ext4 -q /dev/mapper/vault
systemctl start vault.mount
"""

# A master of another cluster, whose address is not there yet.
VILLAGE = f"""set -e
chmod 644 /var/tmp/admin.pem
runuser -u smalltown -- smalltown-nms init --data /var/lib/smalltown --name village \
    --address {debian.GUEST_MASTER} --admin-cert /var/tmp/admin.pem
systemctl enable --now smalltown-nms
"""
ADDRESS = f"""
echo Address={debian.GUEST_MASTER}/24 >>/etc/systemd/network/cluster.network
systemctl restart systemd-networkd
"""

RECOVER = """set -e
systemctl stop smalltown-crypttab.socket smalltown-node
mount /dev/mapper/smalltown-control /mnt
smalltown-nms recover --data /mnt
smalltown-nms recover --data /mnt --yes
umount /mnt
systemctl start --no-block smalltown-node
"""

# The sole master booted an image that nobody is left to approve of; {key} is typed.
OPEN = """set -e
systemctl stop smalltown-crypttab.socket smalltown-node
echo {key} | smalltown-node recover --esp /boot/efi --tpm device:/dev/tpmrm0 \\
    --data-volume /dev/disk/by-partlabel/smalltown-data \\
    --control-volume /dev/disk/by-partlabel/smalltown-control
systemctl start --no-block smalltown-node
"""


def files():
    with open(os.path.join(SOURCE, "tools", "vm", "shell"), encoding="utf-8") as shell:
        door = shell.read()
    return {
        "/etc/fstab": (FSTAB.format(waits=WAITS), 0o644),
        "/etc/hostname": ("debian\n", 0o644),
        "/etc/initramfs-tools/conf.d/quick": (QUICK, 0o644),
        "/etc/kernel/cmdline": ("root=PARTLABEL=root ro console=ttyS0,115200 norandmaps\n", 0o644),
        "/etc/smalltown/node.conf": (NODE_CONF, 0o644),
        "/etc/systemd/network/cluster.network": (NETWORK, 0o644),
        "/etc/systemd/system.conf.d/slow.conf": (SLOW, 0o644),
        "/etc/systemd/system/door.service": (DOOR, 0o644),
        "/usr/local/sbin/door": (door, 0o755),
    }


class Master:
    """One, and its administrator."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        self.nms = os.path.join(PROGRAMS, "nms", "smalltown-nms")
        self.stctl("keygen")
        self.stctl("recovery", "keygen")
        run(self.nms, "init", "--data", self / "master", "--name", "town", "--address",
            debian.HOST, "--admin-cert", self / "smalltown/admin.pem")
        self.stctl("context", "add", "town", "--address", debian.HOST, "--masters-cert",
                   self / "master/masters.pem")
        self.start()

    def __truediv__(self, name):
        return os.path.join(self.folder, name)

    def start(self):
        with open(self / "master.log", "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self.nms, "run", "--data", self / "master"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        town.until(lambda: self.stctl("status", check=False).returncode == 0, "it serves")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def stctl(self, *words, **options):
        return run(os.path.join(PROGRAMS, "tools", "stctl"), *words,
                   env={**os.environ, "XDG_CONFIG_HOME": self.folder}, **options)

    def enrolment(self):
        self.stctl("enrolment", "create", "rack1", "--out", self / "enrolment.pb",
                   "--recovery-key", self / "smalltown/recovery.pem")
        return machine.image.read(self / "enrolment.pb")

    def node(self):
        """The id of the only one, once it is there."""
        return town.until(lambda: [line.split()[0] for line in
                                   self.stctl("node", "list").splitlines()[1:]],
                          lambda: self.stctl("audit", "tail"))[0]


def setUpModule():
    global master, box
    if os.geteuid():
        raise unittest.SkipTest("only root installs packages")
    folder = tempfile.mkdtemp(prefix="st-debian-", dir="/tmp")
    unittest.addModuleCleanup(shutil.rmtree, folder)
    made = packages.make(os.path.join(folder, "packages"))
    debian.fetched(made)  # while there is a way to a mirror
    debian.network()
    master = Master(folder)
    unittest.addModuleCleanup(lambda: master.stop())
    os.mkdir(os.path.join(folder, "box"))
    box = debian.Debian(os.path.join(folder, "box"), leash=True)
    unittest.addModuleCleanup(box.power_cut)
    box.make_debian(made, files(), PREPARE, town.vendor(os.path.join(folder, "vendor")))
    box.power_on()
    until_up()


def boot_id():
    return box.execute("cat /proc/sys/kernel/random/boot_id", 30)[1].decode()


def until_up(but=""):
    """Its door is open, in another boot than this one."""
    def other_boot():
        try:
            return boot_id() not in ("", but)
        except (machine.MachineError, OSError):
            return False
    town.until(other_boot, box.log, 1500, 1)


def said(command, timeout=600):
    return box.must(command, timeout).decode().strip()


def reboot():
    """As an operator does, with everything shut down."""
    boot = boot_id()
    box.execute("systemctl reboot --no-block")
    until_up(but=boot)


def show(unit, name):
    return said(f"systemctl show -P {name} {unit}")


def until_active(unit):
    until_shows(unit, "ActiveState", r"^active$")


def until_shows(unit, name, pattern):
    town.until(lambda: re.search(pattern, show(unit, name)),
               lambda: f"{unit}: {show(unit, name)}\n" +
               said("journalctl -b --no-pager -o short-monotonic | tail -n 100"), 1500, 1)


def until_village(*words):
    """What stctl printed of the master that is a process of that machine."""
    def answer():
        done = master.stctl(*words, "--context", "village", check=False)
        return done.returncode == 0 and done.stdout
    return town.until(answer, lambda: said("journalctl -b --no-pager -u smalltown-nms"), 1500, 1)


def until_both_vote():
    def connected():
        listed = master.stctl("master", "list", "-o", "json", check=False)
        return listed.returncode == 0 and {m["address"] for m in json.loads(listed.stdout)
                                           if m["connected"] and m["state"] == "voter"}
    town.until(lambda: connected() == {debian.HOST, debian.GUEST},
               lambda: said("journalctl -b --no-pager -u smalltown-node | tail -n 100"), 1500, 1)


def mounts():
    return said("findmnt -no SOURCE /srv; findmnt -no SOURCE /vault || true")


class Debian(unittest.TestCase):
    """Each goes on with the machine as the one before left it."""

    def test_1_it_says_what_is_missing_and_enrols_once_that_is_there(self):
        until_shows("smalltown-node", "StatusText", "copy the file that `stctl enrolment create`")
        said("mkdir -p /boot/efi/EFI/smalltown")
        box.put("/boot/efi/EFI/smalltown/enrolment.pb", master.enrolment())
        said("systemctl restart --no-block smalltown-node")
        master.stctl("node", "adopt", master.node())
        until_active("smalltown-node")
        said("mkfs.ext4 -q /dev/mapper/smalltown-data")
        until_active("srv.mount")
        said("echo mark of srv >/srv/mark")

    def test_2_a_volume_of_crypttab_is_given_its_key(self):
        said(VAULT)
        said("echo mark of vault >/vault/mark")

    def test_3_after_a_reboot_it_waits_for_the_masters_then_both_are_mounted(self):
        master.stop()
        reboot()
        until_shows("smalltown-node", "StatusText", "unlock: ")
        print(said("systemctl status --no-pager -n 0 smalltown-node || true"), flush=True)
        self.assertEqual(show("smalltown-node", "ActiveState"), "activating")
        self.assertEqual(mounts(), "")
        master.start()
        until_active("srv.mount")
        until_active("vault.mount")
        measured, asked = (int(show(unit, name)) for unit, name in
                           (("systemd-pcrphase", "ActiveEnterTimestampMonotonic"),
                            ("smalltown-node", "ExecMainStartTimestampMonotonic")))
        self.assertTrue(0 < measured <= asked, (measured, asked))
        self.assertEqual(said("cat /srv/mark /vault/mark"), "mark of srv\nmark of vault")

    def test_4_the_shutdown_before_that_unmounted_first_and_closed_everything(self):
        order = said("journalctl -b -1 --no-pager -o cat _PID=1")
        unmounted = max(order.rindex("Unmounted srv.mount"), order.rindex("Unmounted vault.mount"))
        self.assertLess(unmounted, order.rindex("Stopped smalltown-node.service"))
        self.assertLess(order.rindex("Unmounted vault.mount"),
                        order.rindex("Stopped systemd-cryptsetup@vault.service"))
        self.assertIn("All DM devices detached", box.log())
        self.assertNotRegex(said("journalctl -b --no-pager -o cat"),
                            "recovering journal|recovery complete")

    def test_5_a_master_serves_as_soon_as_its_address_is_there(self):
        box.put("/var/tmp/admin.pem", machine.image.read(master / "smalltown/admin.pem"))
        said(VILLAGE)
        until_shows("smalltown-nms", "NRestarts", "[1-9]")
        # A machine that is not emulated would be at systemd's limit after five seconds.
        self.assertEqual(show("smalltown-nms", "StartLimitIntervalUSec"), "0")
        self.assertRegex(said("journalctl -b --no-pager -o cat -u smalltown-nms"),
                         f"cannot listen on {debian.GUEST_MASTER}")
        said(ADDRESS)
        with open(master / "village.pem", "wb") as file:
            file.write(box.must("cat /var/lib/smalltown/masters.pem"))
        master.stctl("context", "add", "village", "--address", debian.GUEST_MASTER,
                     "--masters-cert", master / "village.pem")
        until_village("status")
        master.stctl("enrolment", "create", "mark", "--out", master / "mark.pb",
                     "--context", "village")

    def test_6_another_command_line_comes_through_a_window(self):
        master.stctl("policy", "capture", master.node(), "--name", "first")
        said("sed -i 's/$/ quiet/' /etc/kernel/cmdline && update-initramfs -u 2>&1", 1500)
        reboot()
        until_shows("smalltown-node", "StatusText", "unlock: ")
        self.assertEqual(mounts(), "")
        self.assertIn("mark", until_village("enrolment", "list"))  # waits for no disk
        master.stctl("policy", "window", "open", "--for", "1h")
        until_active("srv.mount")
        until_active("vault.mount")
        self.assertIn("quiet", said("cat /proc/cmdline"))

    def test_7_a_node_that_is_a_master_comes_back_with_its_records_encrypted(self):
        said("systemctl disable --now smalltown-nms")
        master.stctl("node", "adopt", master.node(), "--role", "master", "--timeout", "10m")
        until_both_vote()
        self.assertEqual(said("head -c 4 /dev/disk/by-partlabel/smalltown-control"), "LUKS")
        reboot()
        until_active("srv.mount")  # one of two is no majority: without its own it gets no key
        until_both_vote()
        self.assertIn("control volume=/dev/disk/by-partlabel/smalltown-control decision=ok",
                      said("journalctl -b --no-pager -o cat -u smalltown-node"))

    def test_8_where_the_other_master_is_lost_for_good_it_goes_on_alone(self):
        master.stop()
        print(said(RECOVER), flush=True)
        master.stctl("context", "add", "alone", "--address", debian.GUEST, "--masters-cert",
                     master / "master/masters.pem")
        town.until(lambda: master.stctl("node", "list", "--context", "alone",
                                        check=False).returncode == 0,
                   lambda: said("journalctl -b --no-pager -u smalltown-node | tail -n 100"), 600, 1)
        until_active("smalltown-node")
        self.assertEqual(said("cat /srv/mark"), "mark of srv")

    def test_9_a_sole_master_with_another_kernel_opens_by_the_recovery_key(self):
        booted = said("sha256sum </boot/efi/EFI/BOOT/BOOTX64.EFI")
        said("sed -i 's/$/ loglevel=5/' /etc/kernel/cmdline && update-initramfs -u 2>&1", 1500)
        said("sed -i 's/$/ nosplash/' /etc/kernel/cmdline && smalltown-uki", 1500)
        self.assertEqual(said("sha256sum </boot/efi/EFI/BOOT/BOOTX64.EFI.old"), booted)
        reboot()
        until_shows("smalltown-node", "StatusText", "unlock: ")
        self.assertIn("decision=shut", said("journalctl -b --no-pager -o cat -u smalltown-node"))
        with open(master / "token.json", "wb") as file:
            file.write(box.must("cryptsetup token export --token-id 1 --json-file /run/token.json "
                                "/dev/disk/by-partlabel/smalltown-data; cat /run/token.json"))
        opened = json.loads(master.stctl("recovery", "open", master / "token.json", "--key",
                                         master / "smalltown/recovery-key.pem", "-o", "json"))
        print(said(OPEN.format(key=opened["recovery_key"])), flush=True)
        # That of test_6 let this node in once.
        town.until(lambda: master.stctl("policy", "window", "close", "--context", "alone",
                                        check=False).returncode == 0,
                   lambda: said("journalctl -b --no-pager -u smalltown-node | tail -n 100"), 600, 1)
        master.stctl("policy", "window", "open", "--for", "1h", "--context", "alone")
        until_active("srv.mount")
        self.assertEqual(said("cat /srv/mark"), "mark of srv")


if __name__ == "__main__":
    unittest.main()

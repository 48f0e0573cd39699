"""What is in the packages, and what becomes of a machine that installs and purges them.

They are installed over a copy of this machine, whose changes are kept in memory and forgotten.
"""
import os
import re
import shutil
import tempfile
import unittest

import packages
from packages import run

# What COPY needs of the kernel, and a container may not have.
MOUNTS = """
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" none "$1/root"
mount -t proc none "$1/root/proc"
"""
# A root directory over this machine's own; $1 is where, $2 what runs there.
COPY = "set -e" + MOUNTS + """\
mount --bind /dev "$1/root/dev"
mount -t tmpfs none "$1/root/run"
mkdir "$1/root/run/packages"
cp "$1.packages"/*.deb "$1/root/run/packages"
exec chroot "$1/root" sh -exc "$2"
"""
DOCUMENTS = {"CHANGELOG.md", "SECURITY.md",
             *(name for name in os.listdir(os.path.join(packages.SOURCE, "docs"))
               if name.endswith(".md"))}
# What smalltown-uki reads, and what an operator does; `image` tells which command lines there are then.
UKI = """
set +x
mkdir -p /efi/EFI /etc/kernel
echo kernel >/boot/vmlinuz-1
echo initrd >/boot/initrd.img-1
uki=/efi/EFI/Linux/smalltown.efi
image() {
    echo "line=$1" >/etc/kernel/cmdline
    smalltown-uki 1 >/dev/null
    echo "is $(grep -ao 'line=[a-z]*' $uki), old $(grep -ao 'line=[a-z]*' $uki.old)"
}
boot() {
    find /run -mindepth 1 -delete
    : >/run/opened
}
boot_shut() {
    boot
    rm /run/opened
}
# No systemd runs here, to say that the disk of this boot is open.
cat >/usr/local/bin/systemctl <<'end'
#!/bin/sh
[ "$*" = "-q is-active smalltown-node" ] && [ -e /run/opened ]
end
chmod +x /usr/local/bin/systemctl
PATH=/usr/local/bin:$PATH
"""
EXPOSED_MOST = {"smalltown-nms.service": 1.5, "smalltown-node.service": 3.5}


def setUpModule():
    global folder, made
    if os.geteuid():
        raise unittest.SkipTest("only root installs packages")
    folder = tempfile.mkdtemp(prefix="st-deb-")
    unittest.addModuleCleanup(shutil.rmtree, folder)
    made = packages.make(os.path.join(folder, "root.packages"))


def files_of(package):
    """{path: (mode, owner)}"""
    found = {}
    for line in run("dpkg-deb", "-c", made[package]).splitlines():
        mode, owner, _, _, _, path = line.split(None, 5)
        if not path.endswith("/"):
            found[path.removeprefix(".")] = (mode, owner)
    return found


def installed(commands):
    """What these printed in a copy of this machine that has just installed the packages."""
    root = os.path.join(folder, "root")
    os.makedirs(root, exist_ok=True)
    install = "dpkg -i /run/packages/*.deb >/run/said 2>&1 || { cat /run/said; exit 1; }; "
    return run("unshare", "-m", "sh", "-c", COPY, "sh", root, install + commands,
               env={**os.environ, "LC_ALL": "C"})


class Packages(unittest.TestCase):
    def test_there_are_three_and_each_has_its_program_manual_and_unit(self):
        self.assertEqual(sorted(made), sorted(packages.NAMES))
        doc = {f"/usr/share/doc/{name}/{file}" for name in packages.NAMES
               for file in ("copyright", "changelog.gz", *DOCUMENTS)}
        self.assertEqual(set(files_of("smalltown-nms")) - doc, {
            "/usr/share/doc/smalltown-nms/test-platform.json",
            "/usr/sbin/smalltown-nms", "/usr/share/man/man8/smalltown-nms.8.gz",
            "/usr/lib/systemd/system/smalltown-nms.service",
            "/usr/lib/sysusers.d/smalltown-nms.conf"})
        self.assertEqual(set(files_of("smalltown-node")) - doc, {
            "/usr/sbin/smalltown-node", "/usr/share/man/man8/smalltown-node.8.gz",
            "/usr/sbin/smalltown-uki", "/usr/share/man/man8/smalltown-uki.8.gz",
            "/usr/lib/systemd/system/smalltown-node.service",
            "/usr/lib/systemd/system/smalltown-crypttab.socket", "/etc/smalltown/node.conf",
            "/etc/initramfs/post-update.d/smalltown-node"})
        self.assertEqual(set(files_of("stctl")) - doc, {
            "/usr/share/doc/stctl/test-platform.json",
            "/usr/bin/stctl", "/usr/share/man/man1/stctl.1.gz",
            "/usr/share/bash-completion/completions/stctl"})

    def test_where_a_help_sends_its_reader_there_is_the_document(self):
        for package, words in (("stctl", ("tools/stctl", "policy", "show", "--help")),
                               ("smalltown-nms", ("nms/smalltown-nms", "--help"))):
            said = run(os.path.join(packages.PROGRAMS, words[0]), *words[1:])
            where = re.search(r"/usr/share/doc/[a-z-]+", said)[0]
            self.assertIn("policy.md", said)
            self.assertIn(f"{where}/policy.md", files_of(package))

    def test_all_is_roots_and_nobody_else_writes_it(self):
        for package in packages.NAMES:
            for path, (mode, owner) in files_of(package).items():
                program = "bin/" in path or "post-update.d/" in path
                self.assertEqual((mode, owner), ("-rwxr-xr-x" if program else "-rw-r--r--",
                                                 "root/root"), path)

    def test_the_same_programs_give_the_same_bytes(self):
        again = packages.make(os.path.join(folder, "again"))
        for name, path in made.items():
            with open(path, "rb") as one, open(again[name], "rb") as other:
                self.assertEqual(one.read(), other.read(), name)

    def test_they_depend_on_the_libraries_they_load(self):
        depends = {name: run("dpkg-deb", "-f", path, "Depends") for name, path in made.items()}
        self.assertIn("libtss2-tcti-device0", depends["smalltown-node"])
        self.assertRegex(depends["smalltown-node"], r"libcryptsetup12 \(>= ")
        self.assertRegex(depends["smalltown-nms"], r"libraft2 \(>= .*")
        self.assertRegex(depends["stctl"], r"libgrpc29 \(>= ")

    def test_lintian_has_nothing_to_say(self):
        self.assertEqual(run("lintian", "--fail-on", "none", "--allow-root", *made.values()), "")

    def test_without_programs_it_says_what_to_build(self):
        done = run(os.path.join(packages.SOURCE, "tools", "deb"), "--programs", folder,
                   check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not built", done.stdout)


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = os.path.join(folder, "mounts")
        os.mkdir(place)
        done = run("unshare", "-m", "sh", "-ec", MOUNTS, "sh", place, check=False)
        if done.returncode:
            raise unittest.SkipTest(f"nothing can be installed here: {done.stdout.strip()}")

    def test_the_programs_run_and_no_unit_does(self):
        said = installed("smalltown-nms --version; smalltown-node --version; stctl --version; "
                         "systemctl is-enabled smalltown-nms smalltown-node || true; "
                         "ls /etc/systemd/system/*.wants | grep -c smalltown || true")
        for name in packages.NAMES:
            self.assertRegex(said, rf"(?m)^{name} \d+\.\d+\.\d+$")
        self.assertEqual(said.count("\ndisabled"), 2, said)

    def test_the_master_has_a_user_and_a_folder_of_its_own(self):
        said = installed("stat -c '%U %G %a' /var/lib/smalltown; getent passwd smalltown; "
                         "runuser -u smalltown -- smalltown-nms init --data /var/lib/smalltown "
                         "--name try --address 127.0.0.1")
        self.assertIn("\nsmalltown smalltown 700\n", said)
        self.assertRegex(said, r"smalltown:.*:/var/lib/smalltown:/usr/sbin/nologin")

    def test_systemd_understands_the_units_and_grants_them_little(self):
        units = " ".join(EXPOSED_MOST)
        said = installed(f"cd /usr/lib/systemd/system; systemd-analyze verify --man=no {units} "
                         "smalltown-crypttab.socket; "
                         f"for unit in {units}; do systemd-analyze security --offline=yes $unit "
                         "| tail -n 1; done")
        self.assertNotRegex(said, r"(?i)smalltown-\w+\.service:\d")
        for unit, most in EXPOSED_MOST.items():
            exposed = float(said.split(f"exposure level for {unit}: ")[1].split()[0])
            print(f"{unit}: exposure {exposed}", flush=True)
            self.assertLessEqual(exposed, most)

    def test_a_configuration_stays_over_an_upgrade_and_a_cluster_over_a_purge(self):
        said = installed("echo NODE_ADDRESS=192.0.2.7 >>/etc/smalltown/node.conf; "
                         "echo mine >/var/lib/smalltown/member.pb; "
                         "dpkg -i /run/packages/*.deb; tail -n 1 /etc/smalltown/node.conf; "
                         f"dpkg --purge {' '.join(packages.NAMES)}; "
                         "cat /var/lib/smalltown/member.pb; ls /etc/smalltown 2>&1 || true")
        self.assertIn("\nNODE_ADDRESS=192.0.2.7\n", said)
        self.assertIn("\nmine\n", said)
        self.assertIn("cannot access '/etc/smalltown'", said)

    def test_what_was_booted_is_kept_however_often_the_image_is_made_anew(self):
        said = installed(UKI + "boot; image a; boot; image b; image c; image b; image a; image d; "
                         "boot; image e; mv $uki.old $uki; image f; "
                         "boot; sleep 1; image f; image g")
        self.assertEqual(re.findall("is line=(.*), old (?:line=)?(.*)", said), [
            ("a", ""), ("b", "a"), ("c", "a"), ("b", "a"), ("a", "a"), ("d", "a"),
            ("e", "d"), ("f", "d"), ("f", "d"), ("g", "f")])

    def test_what_opened_the_disk_is_kept_when_what_was_booted_did_not(self):
        said = installed(UKI + "boot_shut; image a; image b; boot; image c; boot_shut; image d; "
                         "boot_shut; image e; : >/run/opened; image f; "
                         "boot_shut; mv $uki.old $uki; image g; boot; image h")
        self.assertEqual(re.findall("is line=(.*), old (?:line=)?(.*)", said), [
            ("a", ""), ("b", "a"), ("c", "b"), ("d", "b"), ("e", "b"), ("f", "b"), ("g", "b"),
            ("h", "g")])


if __name__ == "__main__":
    unittest.main()

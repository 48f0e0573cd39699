"""A Debian machine: installed from Debian's packages and ours, with firmware and a TPM.

What is Debian's is fetched once and kept in build/debian; what is done to it afterwards is what
docs/deploy.md tells an operator to do.  Needs root: owners of files, a network of its own.
"""
import ctypes
import hashlib
import os
import shutil
import sys
import tempfile

import packages
from packages import SOURCE, run

sys.path.insert(0, os.path.join(SOURCE, "tools", "vm"))
import image
import machine
import town

SUITE = "bookworm"
PACKAGES = ("systemd-sysv", "udev", "kmod", "iproute2", "e2fsprogs", "dosfstools", "zstd",
            "cryptsetup-bin", "initramfs-tools", "linux-image-cloud-amd64", "linux-base",
            "systemd-boot-efi", "binutils")
# A small initramfs: software emulation unpacks it slowly.
HOOK = r"""
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools/hooks"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/small"
cat >"$1/etc/initramfs-tools/hooks/disk" <<'END'
#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk ext4
END
chmod +x "$1/etc/initramfs-tools/hooks/disk"
"""
MIB = 1 << 20
ESP_TYPE, LINUX_TYPE = image.TYPES["esp"], "0fc63daf-8483-4772-8e79-3d69d8477de4"
PARTITIONS = {"smalltown-esp": (192 * MIB, ESP_TYPE), "root": (1024 * MIB, LINUX_TYPE),
              "smalltown-control": (image.SIZES["control"], image.TYPES["control"]),
              "smalltown-data": (64 * MIB, image.TYPES["data"]),
              "vault": (48 * MIB, LINUX_TYPE)}
# GUEST is the node; a master on the same machine has an address of its own.
HOST, GUEST, GUEST_MASTER = "10.77.0.1", "10.77.0.2", "10.77.0.3"
MAC = "52:54:00:77:00:02"
TAP = "st0"
CLONE_NEWNET = 0x40000000


# --- the network --------------------------------------------------------------------------------

def network():
    """From here on this process and its children have a network of their own: a cable."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    lay_cable()


def lay_cable():
    run("ip", "link", "set", "lo", "up")
    run("ip", "tuntap", "add", TAP, "mode", "tap")
    run("ip", "address", "add", f"{HOST}/24", "dev", TAP)
    run("ip", "link", "set", TAP, "up")


class Debian(machine.Machine):
    """One that hangs on that cable."""

    def __init__(self, folder, leash=False):
        super().__init__(folder, {"name": "debian", "address": GUEST, "mac": MAC,
                                  "firmware": "ovmf", "memory": 640}, leash)

    def command(self, clock=None):
        """What QEMU translated it keeps by address: a library that each process has at another one
        is translated for each, until a byte that is written to such a page costs it 40 ms.  So
        little is kept, and the kernel's command line says norandmaps."""
        tap = f"tap,id=cluster,ifname={TAP},script=no,downscript=no"
        return [tap if word.startswith("stream,id=cluster,") else
                "tcg,tb-size=128" if word == "tcg" else word for word in super().command(clock)]

    def make_debian(self, made, files, commands, tpm_config):
        """Packages and files are installed, then these commands run there."""
        with tempfile.TemporaryDirectory(prefix="st-debian-", dir="/tmp") as folder:
            root = os.path.join(folder, "root")
            install(root, made, files)
            chroot(root, "sh", "-exc", commands)
            lay(self.disk, root)
        self.make_tpm(tpm_config)
        _, variables = machine.FIRMWARE["ovmf"]
        shutil.copy(os.path.join(machine.OVMF, variables), self / "vars.fd")


# --- what is installed --------------------------------------------------------------------------

def fetched(made):
    """The tar of a Debian with all that our packages depend on, but not with them."""
    needed = set(PACKAGES)
    for path in made.values():
        depends = run("dpkg-deb", "-f", path, "Depends")
        needed |= {word.split()[0] for word in depends.split(",")}
    names = ",".join(sorted(needed))
    folder = os.path.join(SOURCE, "build", "debian")
    key = hashlib.sha256((SUITE + names + HOOK).encode()).hexdigest()[:16]
    path = os.path.join(folder, f"{key}.tar")
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        run("mmdebstrap", "--variant=minbase", f"--essential-hook={HOOK}",
            f"--include={names}", SUITE, path + ".new.tar")
        os.rename(path + ".new.tar", path)
    return path


def write(root, path, text, mode=0o644):
    path = os.path.join(root, path.lstrip("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def chroot(root, *argv):
    return run("chroot", root, *argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                                           "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"})


def install(root, made, files):
    """A Debian in this folder, with these files and our packages."""
    os.makedirs(root)
    run("tar", "-xf", fetched(made), "-C", root, "--numeric-owner")
    for path, (text, mode) in files.items():
        write(root, path, text, mode)
    for name in made:
        shutil.copy(made[name], os.path.join(root, "root"))
    chroot(root, "sh", "-c", "dpkg -i --force-confold /root/*.deb && rm /root/*.deb")


def lay(disk, root):
    """A disk with that Debian on it; what is in its /boot/efi is on the ESP."""
    table, starts, at = "label: gpt\nfirst-lba: 2048\n", {}, MIB
    for name, (size, kind) in PARTITIONS.items():
        table += f"start={at // 512}, size={size // 512}, type={kind}, name={name}\n"
        starts[name] = at
        at += size
    with open(disk, "wb") as file:
        file.truncate(at + MIB)
    image.run("sfdisk", "-q", "--no-reread", disk, stdin=table.encode())
    esp = image.Esp(disk, starts["smalltown-esp"])
    esp.format(PARTITIONS["smalltown-esp"][0], 0x5350)
    mounted = os.path.join(root, "boot", "efi")
    for folder, _, names in os.walk(mounted):
        for name in names:
            path = os.path.join(folder, name)
            esp.put(os.path.relpath(path, mounted), image.read(path))
    shutil.rmtree(mounted)
    os.mkdir(mounted)
    run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, "-E",
        f"offset={starts['root']}", disk, f"{PARTITIONS['root'][0] // 1024}k")

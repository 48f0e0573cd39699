"""What a machine boots, made without root: a unified kernel image, and a disk that holds it.

The same inputs give the same bytes: every time is SOURCE_DATE_EPOCH (or the first day of FAT),
every list is sorted, every number that would be random comes from a word, the seed.
"""
import collections
import os
import re
import tempfile
import uuid

import initramfs
from initramfs import ImageError, read, run

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
KERNEL = "linux-image-cloud-amd64"
COMMAND_LINE = "console=tty0 console=ttyS0,115200 quiet panic=30"
SECTOR, MIB, PAGE = 512, 1 << 20, 4096
NAMESPACE = uuid.UUID("d2a1a7a6-2ad5-4a7b-9a8e-8b2f54c4ff2e")
TYPES = {"esp": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
         "control": "3ee5b1a5-3f6b-4d0a-8a7e-6a1d0d1a9c55",
         "data": "9eeec464-6885-414a-b278-4305c51f7966"}
SIZES = {"esp": 96 * MIB, "control": 80 * MIB, "data": 64 * MIB}
BOOT_PATH = "EFI/BOOT/BOOTX64.EFI"

Kernel = collections.namedtuple("Kernel", "release vmlinuz modules builtin")


def epoch():
    """Seconds; FAT knows nothing before 1980."""
    return max(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), 315532800)


def write(path, content):
    """In one step: who reads it never sees half."""
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(path) or ".", delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


# --- the kernel -------------------------------------------------------------------------------

def download_kernel(folder):
    """Debian's package of it, which is only unpacked; the newest that apt knows of."""
    depends = run("apt-cache", "depends", KERNEL).decode()
    match = re.search(r"Depends: (linux-image-\S+)", depends)
    if not match:
        raise ImageError(f"apt knows no {KERNEL}: `apt-get update`, or name one with --kernel")
    name = match.group(1)
    policy = run("apt-cache", "policy", name).decode()
    version = re.search(r"Candidate: (\S+)", policy).group(1).replace(":", "%3a")
    path = os.path.join(folder, f"{name}_{version}_amd64.deb")
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            run("sh", "-c", 'cd "$0" && apt-get -q download "$1"', fresh, name)
            os.replace(os.path.join(fresh, os.listdir(fresh)[0]), path)
    return path


def unpack_kernel(deb, folder):
    run("dpkg-deb", "-x", deb, folder)
    images = [name for name in os.listdir(os.path.join(folder, "boot"))
              if name.startswith("vmlinuz-")]
    if len(images) != 1:
        raise ImageError(f"{deb} has {len(images)} kernels")
    release = images[0].removeprefix("vmlinuz-")
    modules = os.path.join(folder, "lib", "modules", release)
    listed = read(os.path.join(modules, "modules.builtin")).decode().split()
    builtin = {os.path.basename(path).removesuffix(".ko").replace("-", "_") for path in listed}
    return Kernel(release, os.path.join(folder, "boot", images[0]), modules, builtin)


# --- the unified kernel image -----------------------------------------------------------------

def stub_end(stub):
    """The first address behind the stub's own sections."""
    sections = re.findall(r"^ +\d+ \.\S+ +(\w+) +(\w+)", run("objdump", "-h", stub).decode(), re.M)
    return max(int(size, 16) + int(address, 16) for size, address in sections)


def without_time(image):
    """objcopy stamps the time into the header, and a sum over it that no firmware reads."""
    out = bytearray(image)
    header = int.from_bytes(out[0x3c:0x40], "little")
    for field in (header + 8, header + 24 + 64):
        out[field:field + 4] = bytes(4)
    return bytes(out)


def join_sections(sections, folder, out):
    """systemd's stub with these behind it: what it measures into PCR 11 and starts."""
    address = stub_end(STUB)
    words = []
    for name, content in sections:
        address = -(-address // PAGE) * PAGE
        path = os.path.join(folder, "section" + name)
        with open(path, "wb") as file:
            file.write(content)
        words += ["--add-section", f"{name}={path}", "--change-section-vma", f"{name}={address:#x}"]
        address += len(content)
    run("objcopy", *words, STUB, out)


def section(uki, name):
    """One of them again: `.linux`, `.initrd`, `.cmdline`."""
    line = re.search(rf"^ +\d+ {re.escape(name)} +(\w+) +\w+ +\w+ +(\w+)",
                     run("objdump", "-h", uki).decode(), re.M)
    if not line:
        raise ImageError(f"{uki} is no unified kernel image: it has no section {name}")
    size, offset = (int(field, 16) for field in line.groups())
    return read(uki)[offset:offset + size]


def sign(image, key, certificate):
    """For Secure Boot.  A signature holds the time at which it was made."""
    run("sbsign", "--key", key, "--cert", certificate, "--output", image, image)


def build(out, programs, deb, command_line=COMMAND_LINE, shell=False, more_modules=()):
    """out: smalltown.efi; returns (part, bytes) for whoever wants to know what is big."""
    with tempfile.TemporaryDirectory(prefix="st-image-") as folder:
        kernel = unpack_kernel(deb, os.path.join(folder, "kernel"))
        tree = initramfs.build(kernel, programs, folder, shell, more_modules)
        archive = tree.cpio(epoch())
        packed = run("zstd", *initramfs.ZSTD, stdin=archive)
        node = os.path.join(programs, initramfs.DAEMONS[0])
        version = run(node, "--version").decode().split()[-1]
        release = f'NAME="Smalltown"\nID=smalltown\nVERSION_ID="{version}"\n'
        vmlinuz = read(kernel.vmlinuz)
        made = os.path.join(folder, "smalltown.efi")
        join_sections(((".osrel", release.encode()), (".cmdline", command_line.encode() + b"\0"),
                       (".uname", kernel.release.encode() + b"\0"), (".linux", vmlinuz),
                       (".initrd", packed)), folder, made)
        write(out, without_time(read(made)))
        return (("kernel", len(vmlinuz)), ("initramfs", len(packed)),
                ("unpacked", len(archive)), ("image", os.path.getsize(out)))


# --- the disk ---------------------------------------------------------------------------------

def _named(seed, word):
    return uuid.uuid5(NAMESPACE, f"{seed}/{word}")


def partition(disk, seed, sizes):
    """Returns where each partition begins, in bytes."""
    table = [f"label: gpt\nlabel-id: {_named(seed, 'disk')}\nfirst-lba: 2048\n"]
    starts, at = {}, MIB
    for name, size in sizes.items():
        table.append(f"start={at // SECTOR}, size={size // SECTOR}, type={TYPES[name]}, "
                     f"uuid={_named(seed, name)}, name=smalltown-{name}\n")
        starts[name] = at
        at += size
    with open(disk, "wb") as file:
        file.truncate(at + MIB)
    run("sfdisk", "-q", "--no-reread", disk, stdin="".join(table).encode())
    return starts


class Esp:
    """The files of an EFI system partition inside a disk image, that of a machine that is off."""

    def __init__(self, disk, start=MIB):
        self.at = f"{disk}@@{start}"
        self.env = {"SOURCE_DATE_EPOCH": str(epoch()), "MTOOLS_SKIP_CHECK": "1"}

    def format(self, size, serial):
        run("mformat", "-i", self.at, "-F", "-T", str(size // SECTOR), "-N", f"{serial:08x}",
            "-v", "SMALLTOWN", "::", env=self.env)

    def put(self, path, content):
        """Replaces it; path as `EFI/smalltown/x`."""
        folder = os.path.dirname(path)
        parts = folder.split("/")
        for i in range(len(parts)):
            self._folder("/".join(parts[:i + 1]))
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            os.utime(file.name, (epoch(), epoch()))
            run("mcopy", "-o", "-m", "-i", self.at, file.name, f"::{path}", env=self.env)

    def _folder(self, path):
        try:
            run("mdir", "-b", "-i", self.at, f"::{path}", env=self.env)
        except ImageError:
            run("mmd", "-i", self.at, f"::{path}", env=self.env)

    def get(self, path):
        with tempfile.TemporaryDirectory() as folder:
            run("mcopy", "-n", "-i", self.at, f"::{path}", f"{folder}/x", env=self.env)
            return read(f"{folder}/x")

    def names(self, path):
        listed = run("mdir", "-b", "-i", self.at, f"::{path}", env=self.env).decode().split("\n")
        return sorted(os.path.basename(name.rstrip("/")) for name in listed if name)


def make_disk(out, uki, seed="smalltown", files=None, sizes=None):
    """A whole disk: the image, these files of EFI/smalltown/, and two volumes that are blank."""
    sizes = {**SIZES, **(sizes or {})}
    made = f"{out}.new"
    starts = partition(made, seed, sizes)
    esp = Esp(made, starts["esp"])
    esp.format(sizes["esp"], _named(seed, "fat").int & 0xffffffff)
    esp.put(BOOT_PATH, read(uki))
    for name, content in sorted((files or {}).items()):
        esp.put(f"EFI/smalltown/{name}", content)
    os.replace(made, out)

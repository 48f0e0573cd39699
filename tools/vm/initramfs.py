"""The initramfs of a machine: busybox, the daemons with their libraries, the kernel's modules.

Written here to the byte, because cpio(1) knows of no fixed times, and because a machine needs
/dev/console, which nobody but root can make.
"""
import os
import re
import stat
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
DAEMONS = ("node/smalltown-node", "nms/smalltown-nms")
# What is loaded by name at run time, and so is no word of ldd's.
LOADED = ("libtss2-tcti-device.so.0", "libgcc_s.so.1")
TOOLS = ("/sbin/mke2fs",)
BUSYBOX = "/bin/busybox"
ZSTD = ("-q", "-12", "-T1", "-c", "-")
# In this order, each behind those that it needs.
MODULES = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio-rng", "nvme",
    "vfat", "nls_cp437", "nls_ascii", "efivarfs",
    "dm-mod", "dm-crypt", "dm-integrity",
    # What dm-crypt asks for by the name of a cipher, and libcryptsetup through AF_ALG.
    "aesni-intel", "xts", "ecb", "cbc", "ctr", "gcm", "ghash-generic", "authenc", "essiv",
    "algif_skcipher", "algif_aead",
)
FOLDERS = ("dev", "proc", "sys", "run", "tmp", "esp", "control", "data")


class ImageError(Exception):
    """A sentence for whoever builds."""


def run(*argv, stdin=None, env=None):
    """What it printed; its own words where it failed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False,
                              env={**os.environ, "PATH": path, "LC_ALL": "C", "TZ": "UTC",
                                   **(env or {})})
    except FileNotFoundError:
        raise ImageError(f"{argv[0]} is missing: `tools/packages install vm`") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise ImageError(f"{os.path.basename(argv[0])}: {said}")
    return done.stdout


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from None


class Tree:
    """Files by their path, owned by root; as a cpio archive of the kind "newc"."""

    def __init__(self):
        self.entries = {}  # path: (mode, content, device)

    def folder(self, path):
        while path and path not in self.entries:
            self.entries[path] = (stat.S_IFDIR | 0o755, b"", (0, 0))
            path = os.path.dirname(path)

    def _put(self, path, mode, content, device=(0, 0)):
        path = path.lstrip("/")
        self.folder(os.path.dirname(path))
        self.entries[path] = (mode, content, device)

    def file(self, path, content, mode=0o644):
        self._put(path, stat.S_IFREG | mode, content)

    def link(self, path, target):
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path, major, minor):
        self._put(path, stat.S_IFCHR | 0o600, b"", (major, minor))

    def cpio(self, epoch):
        out, links = bytearray(), 1
        for inode, path in enumerate(sorted(self.entries), 1):
            mode, content, (major, minor) = self.entries[path]
            _append(out, inode, mode, links, epoch, content, major, minor, path)
        _append(out, 0, 0, links, 0, b"", 0, 0, "TRAILER!!!")
        return bytes(out) + bytes(-len(out) % 512)


def _append(out, inode, mode, links, epoch, content, major, minor, path):
    name = path.encode() + b"\0"
    fields = (inode, mode, 0, 0, links, epoch, len(content), 0, 0, major, minor, len(name), 0)
    out += b"070701" + b"".join(b"%08x" % field for field in fields) + name
    out += bytes(-len(out) % 4)
    out += content
    out += bytes(-len(out) % 4)


def libraries(programs):
    """Where each library is that one of them needs, and the loader."""
    found = set()
    for program in programs:
        for line in run("ldd", program).decode().splitlines():
            if "not found" in line:
                raise ImageError(f"{program}: {line.strip()}")
            match = re.search(r"(/\S+) \(0x", line)
            if match:
                found.add(match.group(1))
    return found


def loaded_libraries(found):
    """Those of LOADED, which lie beside the others."""
    folder = next(os.path.dirname(path) for path in found if "libtss2-tctildr" in path)
    for name in LOADED:
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            raise ImageError(f"{name} is missing: `tools/packages install run`")
        yield path


def _module_name(path):
    return os.path.basename(path).removesuffix(".ko").replace("-", "_")


def modules(folder, builtin, names):
    """Paths of these modules and of all that they need, in the order of their loading."""
    found = {_module_name(name): os.path.join(where, name)
             for where, _, files in os.walk(folder) for name in files if name.endswith(".ko")}
    order = []

    def need(name):
        name = name.replace("-", "_")
        if name in builtin or found.get(name) in order:
            return
        if name not in found:
            raise ImageError(f"the kernel has no module {name}")
        needed = run("modinfo", "-F", "depends", found[name]).decode().strip()
        for other in filter(None, needed.split(",")):
            need(other)
        order.append(found[name])

    for name in names:
        need(name)
    return order


def stripped(program, folder):
    out = os.path.join(folder, os.path.basename(program))
    run("strip", "-o", out, program)
    return read(out)


def add_modules(tree, kernel, names):
    order = modules(kernel.modules, kernel.builtin, names)
    for path in order:
        tree.file(f"lib/modules/{os.path.basename(path)}", read(path))
    listed = "".join(os.path.basename(path) + "\n" for path in order)
    tree.file("lib/modules/order", listed.encode())


def add_programs(tree, programs, folder):
    """programs: the build tree. Libraries stay where the loader looks for them."""
    daemons = [os.path.join(programs, name) for name in DAEMONS]
    for path in daemons:
        if not os.path.exists(path):
            raise ImageError(f"{path} is not built: `cmake --preset release && cmake --build "
                             "--preset release`")
        tree.file(f"sbin/{os.path.basename(path)}", stripped(path, folder), 0o755)
    for path in TOOLS:
        tree.file(path, read(os.path.realpath(path)), 0o755)
    found = libraries([*daemons, *TOOLS])
    loaded = list(loaded_libraries(found))
    for path in found | set(loaded) | libraries(loaded):
        tree.file(path, read(path), 0o755)


def add_busybox(tree):
    if not os.path.exists(BUSYBOX) or b".interp" in run("objdump", "-h", BUSYBOX):
        raise ImageError("busybox-static is missing: `tools/packages install vm`")
    tree.file("bin/busybox", read(BUSYBOX), 0o755)
    for name in run(BUSYBOX, "--list").decode().split():
        if name != "busybox":
            tree.link(f"bin/{name}", "busybox")


def build(kernel, programs, folder, shell=False, more_modules=()):
    """The tree of everything that is in memory when /init begins."""
    tree = Tree()
    for name in FOLDERS:
        tree.folder(name)
    tree.character_device("dev/console", 5, 1)
    tree.file("init", read(os.path.join(HERE, "init")), 0o755)
    if shell:
        tree.file("shell", read(os.path.join(HERE, "shell")), 0o755)
    add_busybox(tree)
    add_modules(tree, kernel, (*MODULES, *more_modules))
    add_programs(tree, programs, folder)
    return tree

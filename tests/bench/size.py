"""tools/bench size: what an initramfs grows by, with Smalltown and with clevis.

Clevis and all that it depends on are downloaded and unpacked, never installed; its own hook for
initramfs-tools then copies what it wants, in a root of its own.  Of both sides only programs, their
libraries and scripts are counted: no kernel modules.
"""
import glob
import os
import shutil
import subprocess
import tempfile

import image
import initramfs
import town

PACKAGES = ("clevis-initramfs", "clevis-tpm2", "cryptsetup-bin", "bash", "dash", "mawk",
            "coreutils", "libc-bin", "sed")
HOOK = "/usr/share/initramfs-tools/hooks/clevis"
MERGED = ("bin", "sbin", "lib", "lib64")
# As mkinitramfs calls a hook; there is no kernel of this version, so modules are not looked for.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DESTDIR": "/out", "verbose": "n",
               "version": "none", "CONFDIR": "/etc/initramfs-tools"}


def download(folder):
    """The packages and all that they depend on, also what is installed here."""
    os.makedirs(os.path.join(folder, "partial"), exist_ok=True)
    with tempfile.NamedTemporaryFile() as status:
        initramfs.run("apt-get", "-q", "-y", "-o", f"Dir::State::status={status.name}",
                      "-o", f"Dir::Cache::archives={folder}", "-o", "Debug::NoLocking=1",
                      "-o", "APT::Sandbox::User=", "--no-install-recommends", "--download-only",
                      "install", *PACKAGES)
    return sorted(glob.glob(os.path.join(folder, "*.deb")))


def unpack(debs, root):
    for name in MERGED:
        os.makedirs(os.path.join(root, "usr", name))
        os.symlink(f"usr/{name}", os.path.join(root, name))
    os.mkdir(os.path.join(root, "dev"))
    for deb in debs:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar:
            subprocess.run(["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", root],
                           stdin=tar.stdout, check=True)
        assert tar.returncode == 0, deb
    image.write(os.path.join(root, "dev/null"), b"")  # a file will do
    # What the scripts of packages would have made.
    for name, target in (("sh", "dash"), ("awk", "mawk")):
        if not os.path.lexists(os.path.join(root, "usr/bin", name)):
            os.symlink(target, os.path.join(root, "usr/bin", name))


def in_root(root, script):
    """Runs it in there, as nobody in particular."""
    os.makedirs(os.path.join(root, "out"))
    done = subprocess.run(["unshare", "--map-root-user", "--root", root, "/usr/bin/bash", "-ec",
                           script], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def files_of(folder):
    """{path: content} of what a hook copied; links are small, and left out."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if not os.path.islink(path):
                found[os.path.relpath(path, folder)] = initramfs.read(path)
    return found


def clevis(root):
    in_root(root, HOOK)
    return files_of(os.path.join(root, "out"))


def cryptsetup(root):
    """What clevis calls, and a disk needs in any case."""
    shutil.rmtree(os.path.join(root, "out"))
    in_root(root, ". /usr/share/initramfs-tools/hook-functions; copy_exec /sbin/cryptsetup")
    return files_of(os.path.join(root, "out"))


def ours(programs, daemons, folder):
    found = {}
    for name in daemons:
        path = os.path.join(programs, name)
        found[f"usr/sbin/{os.path.basename(name)}"] = initramfs.stripped(path, folder)
        needed = initramfs.libraries([path])
        if name == initramfs.DAEMONS[0]:
            loaded = list(initramfs.loaded_libraries(needed))
            needed |= set(loaded) | initramfs.libraries(loaded)
        for library in map(os.path.realpath, needed):
            at = library.lstrip("/")
            found[at if at.startswith("usr/") else "usr/" + at] = initramfs.read(library)
    return found


def packed(files):
    """Bytes of these as an initramfs, compressed as tools/image does it."""
    tree = initramfs.Tree()
    for path, content in files.items():
        tree.file(path, content, 0o755)
    return len(initramfs.run("zstd", *initramfs.ZSTD, stdin=tree.cpio(image.epoch())))


def show(name, files, there):
    more = {path: content for path, content in files.items()
            if os.path.basename(path) not in there}
    print(f"  {name:34} {len(files):3} files {sum(map(len, files.values())) / image.MIB:5.1f} MiB, "
          f"compressed {packed(files) / image.MIB:4.1f}; beside cryptsetup {len(more):3} files, "
          f"compressed {packed(more) / image.MIB:4.1f}", flush=True)


def run(_):
    programs = os.environ["ST_PROGRAMS"]
    debs = download(os.path.join(town.SOURCE, "build", "clevis"))
    with tempfile.TemporaryDirectory(prefix="st-bench-") as folder:
        root = os.path.join(folder, "root")
        unpack(debs, root)
        theirs = clevis(root)
        there = cryptsetup(root)
        names = {os.path.basename(path) for path in there}
        print("What an initramfs grows by:")
        show("cryptsetup", there, names)
        show("clevis, with cryptsetup", {**there, **theirs}, names)
        show("smalltown-node", ours(programs, initramfs.DAEMONS[:1], folder), names)
        show("smalltown-node, smalltown-nms", ours(programs, initramfs.DAEMONS, folder), names)
    return True

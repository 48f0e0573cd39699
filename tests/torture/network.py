"""Where the masters live: loopback addresses, or namespaces whose cables can be cut.

The namespaces hang on a bridge inside a network namespace of the whole program's own (tools/torture
enters it), so that nothing is left of them when it ends, however it ends.
"""
import json
import os
import subprocess
import sys

import cluster

PRIVATE = "ST_TORTURE_PRIVATE"  # set in the environment where we are in namespaces of our own
NOWHERE = "02:00:00:00:00:ff"  # a hardware address that nobody has


def tool(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def enter():
    """This program again, in network and mount namespaces of its own; returns where that cannot
    be, or where it is there already."""
    if is_private():
        return
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *rights, "--net", "--mount", "--propagation", "private"]
    try:
        subprocess.run([*words, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True,
                       check=True)
        subprocess.run(["ip", "-V"], capture_output=True, check=True)
    except (subprocess.CalledProcessError, OSError):
        return
    os.execvpe(words[0], [*words, sys.executable, "-B", *sys.argv], {**os.environ, PRIVATE: "1"})


def is_private():
    return os.environ.get(PRIVATE) == "1"


class Loopback:
    """Addresses of 127/8: nothing can be cut."""
    can_cut = can_delay = False
    says = "loopback, without partitions (they need root, or user namespaces)"

    def __init__(self, _folder):
        self.addresses = []

    def add(self):
        """One more master's place; its number."""
        self.addresses.append(cluster.fresh_address())
        return len(self.addresses) - 1

    def wrapper(self, _number):
        """In front of a command that is to run there."""
        return ()

    def heal(self):
        pass

    def remove(self):
        pass


class Namespaces:
    """A network namespace for each master, a bridge with everybody on it, us included."""
    can_cut = True

    def __init__(self, folder):
        self.folder, self.addresses, self._hardware = folder, [], []
        self._down, self._cut, self._slow = set(), set(), set()
        tool("ip", "link", "set", "lo", "up")
        tool("ip", "link", "add", "town", "type", "bridge")
        tool("ip", "address", "add", "10.7.8.254/24", "dev", "town")
        tool("ip", "link", "set", "town", "up")
        self.can_delay = self._has_netem()
        self.says = "network namespaces on a bridge of their own" + \
            ("" if self.can_delay else ", without delay and loss (this kernel has no netem)")

    @staticmethod
    def _has_netem():
        try:
            tool("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
            tool("tc", "qdisc", "del", "dev", "lo", "root")
            return True
        except (RuntimeError, OSError):
            return False

    def _path(self, number):
        return self.folder / f"net-{number}"

    def wrapper(self, number):
        return ("nsenter", f"--net={self._path(number)}")

    def _inside(self, number, *argv):
        return tool(*self.wrapper(number), *argv)

    def add(self):
        number, path = len(self.addresses), self._path(len(self.addresses))
        with open(path, "w", encoding="utf-8"):
            pass
        tool("unshare", f"--net={path}", "true")
        tool("ip", "link", "add", f"m{number}", "type", "veth", "peer", "name", "eth0", "netns",
             path)
        tool("ip", "link", "set", f"m{number}", "master", "town", "up")
        address = f"10.7.8.{number + 1}"
        self._inside(number, "ip", "link", "set", "lo", "up")
        self._inside(number, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        self._inside(number, "ip", "link", "set", "eth0", "up")
        link, = json.loads(self._inside(number, "ip", "-json", "link", "show", "eth0"))
        self.addresses.append(address)
        self._hardware.append(link["address"])
        return number

    def cut(self, sender, receiver):
        """What the one sends to the other is lost, without a word to either."""
        self._inside(sender, "ip", "neighbour", "replace", self.addresses[receiver], "lladdr",
                     NOWHERE, "nud", "permanent", "dev", "eth0")
        self._cut.add((sender, receiver))

    def part(self, some, others):
        """In both directions; clients reach everybody."""
        for one in some:
            for other in others:
                self.cut(one, other)
                self.cut(other, one)

    def unplug(self, number):
        """From the others and from the clients."""
        tool("ip", "link", "set", f"m{number}", "down")
        self._down.add(number)

    def slow(self, number, *netem):
        self._inside(number, "tc", "qdisc", "add", "dev", "eth0", "root", "netem", *netem)
        self._slow.add(number)

    def heal(self):
        for sender, receiver in self._cut:
            self._inside(sender, "ip", "neighbour", "replace", self.addresses[receiver], "lladdr",
                         self._hardware[receiver], "nud", "reachable", "dev", "eth0")
        for number in self._down:
            tool("ip", "link", "set", f"m{number}", "up")
        for number in self._slow:
            self._inside(number, "tc", "qdisc", "del", "dev", "eth0", "root")
        self._cut, self._down, self._slow = set(), set(), set()

    def remove(self):
        for number in range(len(self.addresses)):
            tool("umount", self._path(number))

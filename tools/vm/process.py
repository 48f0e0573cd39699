"""Processes that outlive the command that started them: known by their id and the time at which
they began, so that no other that was given the same number is ever ended."""
import os
import signal
import subprocess
import time


def _began(pid):
    """In clock ticks since the boot of this host; None for one that is gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


class Process:
    """One program in a folder; its number is in NAME.pid there, what it says in NAME.log."""
    children = {}  # of this process, which has to take their status

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.file = os.path.join(folder, name + ".pid")
        self.log = os.path.join(folder, name + ".log")

    def start(self, argv, leash=False):
        """leash: the kernel ends it with us."""
        if leash:
            argv = ["setpriv", "--pdeathsig", "KILL", *argv]
        with open(self.log, "ab") as log:
            child = subprocess.Popen(argv, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                     stderr=log, start_new_session=True)
        self.children[child.pid] = child
        with open(self.file, "w", encoding="ascii") as file:
            file.write(f"{child.pid} {_began(child.pid)}\n")

    def pid(self):
        """None where it does not run."""
        try:
            with open(self.file, encoding="ascii") as file:
                pid, began = file.read().split()
        except (OSError, ValueError):
            return None
        return int(pid) if _began(pid) == began else None

    def end(self, sign=signal.SIGTERM, patience=5):
        """Asks, then insists; returns when it is gone."""
        deadline = time.monotonic() + patience
        pid = self.pid()
        while pid and self.pid() == pid:
            try:
                os.kill(pid, sign)
            except ProcessLookupError:
                break
            if time.monotonic() > deadline:
                sign = signal.SIGKILL
            time.sleep(0.02)
        child = self.children.pop(pid, None)
        if child:
            child.wait()

    def last_words(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                lines = file.read().split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

"""tools/bench picture: a cluster that loses all power and comes back, as README.md shows it.

What stands there is what the commands printed in a run that was just made.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TOOL = os.path.join(ROOT, "tools", "vm-cluster")
README = os.path.join(ROOT, "README.md")
BEGIN, END = "<!-- written by tools/bench picture -->\n", "<!-- until here -->\n"
COLUMNS = 80
SHOWN = ("power-cut all", "power-on", "status")


def command(state, *words):
    done = subprocess.run([TOOL, "--state", state, *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


def drawn(state):
    """The commands, and what they print on a terminal so wide."""
    lines = []
    for words in SHOWN:
        _, said = command(state, *words.split())
        lines += [f"$ tools/vm-cluster {words}", *said.splitlines(), ""]
    for line in lines:
        if ROOT in line or state in line:
            raise SystemExit(f"bench: this is no line for README.md: {line}")
    return "\n".join(line[:COLUMNS - 1] for line in lines).rstrip("\n")


def put(text, picture):
    """README.md with this in its place."""
    begin, end = re.escape(BEGIN), re.escape(END)
    block = f"```\n{picture}\n```\n"
    changed, count = re.subn(f"(?s)(?<={begin}).*(?={end})", lambda _: block, text)
    if count != 1:
        raise SystemExit(f"bench: README.md has {count} places for the picture")
    return changed


def must(state, *words):
    status, said = command(state, *words)
    if status:
        sys.exit(f"bench: vm-cluster {words[0]}: {said}")


def of_a_new_one():
    folder = tempfile.mkdtemp(prefix="st-bench-", dir="/tmp")
    state = os.path.join(folder, "town")
    try:
        must(state, "up", "--programs", os.environ["ST_PROGRAMS"])
        return drawn(state)
    finally:
        command(state, "down")
        shutil.rmtree(folder, ignore_errors=True)


def run(arguments):
    if arguments.state:
        must(arguments.state, "power-on")
    picture = drawn(arguments.state) if arguments.state else of_a_new_one()
    print(picture)
    with open(README, encoding="utf-8") as file:
        text = file.read()
    with open(README, "w", encoding="utf-8") as file:
        file.write(put(text, picture))
    return True

"""The packages that tools/deb makes of the release build, for the tests here."""
import os
import subprocess

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAMS = os.environ.get("ST_RELEASE", os.path.join(SOURCE, "build", "release"))
NAMES = ("smalltown-nms", "smalltown-node", "stctl")


def run(*argv, check=True, **options):
    """What it printed, with what it complained of."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **options)
    if check and done.returncode:
        raise AssertionError(f"{argv}: status {done.returncode}\n{done.stdout}")
    return done.stdout if check else done


def make(folder):
    """{name: path of its package}"""
    said = run(os.path.join(SOURCE, "tools", "deb"), "--programs", PROGRAMS, "--out", folder)
    paths = [line for line in said.splitlines() if line.endswith(".deb")]
    return {os.path.basename(path).split("_")[0]: path for path in paths}

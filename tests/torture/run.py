"""tools/torture for tests: a short run, and its report taken apart."""
import os
import re
import subprocess
import sys

import cluster

TORTURE = os.path.join(cluster.SOURCE, "tools", "torture")
SEED = os.environ.get("ST_SEED")
OPERATIONS = {"names": ("create", "remove", "read"), "sets": ("add", "read"),
             "nodes": ("enrol", "adopt", "remove", "unlock", "read"),
             "secrets": ("create", "enrol", "read")}


class Report:
    """What a run printed at its end."""

    def __init__(self, text):
        self.text = text

    def line(self, word):
        return re.search(rf"^{word}: +(.*)$", self.text, re.M).group(1)

    def counts(self, word):
        """{kind: number} of a line like `faults:  3: kill-one 2, kill-all 1`."""
        return {kind: int(number)
                for kind, number in re.findall(r"([a-z][a-z -]*) (\d+)", self.line(word))}


def torture(test, *words, seconds=20):
    """Runs it; the report of one that ended well, and that did what it says."""
    seed = ("--seed", SEED) if SEED else ()
    done = subprocess.run([sys.executable, "-B", TORTURE, "--build", cluster.PROGRAMS, *seed,
                           "--minutes", str(seconds / 60), "--clients", "8", *words],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
                          check=False)
    print(done.stdout, flush=True)
    test.assertEqual(done.returncode, 0)
    report = Report(done.stdout)
    test.assertEqual(report.line("violations"), "0")
    for workload, words_of_it in OPERATIONS.items():
        for word in words_of_it:
            kind = f"{workload[:-1]} {word}"
            test.assertIn(kind, report.counts("operations"))
    return report

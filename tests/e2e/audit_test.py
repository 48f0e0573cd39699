"""What three masters decided is one story, told by whichever of them are there."""
import json
import os
import subprocess
import unittest

import cluster
import masters_test

OPEN = {"schema": 1, "ek": {"require": "none", "listed": []}, "adopt": {"automatic": []},
        "pcrs": {"sets": [], "require_set": False, "require_measured_boot": False}}


class Audit(masters_test.Masters):
    def setUp(self):
        super().setUp()
        self.vendor = cluster.Vendor(self.folder)

    def audit(self, *words, admin=None):
        done = (admin or self.admin).run("audit", "tail", "-n", "1000", "-ojson", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def told(self, what, decision="OK", **more):
        """Waits until a line says this; the last one that does."""
        def found():
            rows = [row for row in self.audit() if row["what"] == what and
                    row["decision"] == decision and
                    all(row[key] == value for key, value in more.items())]
            return rows[-1] if rows else None
        return cluster.until(found, 60, lambda: json.dumps(self.audit()[-20:], indent=1), 0.2)

    def set_policy(self, **ek):
        path = self.folder / "policy.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**OPEN, "ek": {**OPEN["ek"], **ek}}, file)
        self.admin.call("policy", "set", path)

    def node(self, name):
        node = cluster.Node(self.folder, self.vendor, name)
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        self.admin.enrolment(name, node.config)
        return node.start()

    def enrolled(self, node):
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        return next(i for i, n in self.admin.nodes().items() if n["address"] == node.address)

    def test_the_life_of_a_node_and_of_three_masters_is_told_in_order(self):
        second, third = self.grow("second", "third")
        self.set_policy(require="listed", listed=["00" * 32])
        node = self.node("one")
        # All that an operator needs to let this chip in is in the line that refuses it.
        refused = self.told("enrol", "PERMISSION_DENIED", policy=1)
        self.assertIn("not the one of this TPM", refused["reason"])
        self.set_policy(require="listed", listed=[refused["ek_sha256"]])
        node_id = self.enrolled(node)
        self.only(second).call("node", "adopt", node_id)
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        self.only(third).call("node", "remove", node_id, "--yes")
        node.reboot()
        self.told("unlock", "PERMISSION_DENIED", subject=node_id)
        self.admin.call("enrolment", "revoke", "one")

        rows = self.audit()
        self.assertEqual([row["time"] for row in rows], sorted(row["time"] for row in rows))
        self.assertEqual({row["master"] for row in rows}, {1, 2, 3})
        story = [(row["what"], row["decision"]) for row in rows if row["what"] not in
                 ("login", "master", "unlock")]
        at = 0
        for step in (("invite-master", "OK"), ("join", "OK"), ("invite-master", "OK"),
                     ("join", "OK"), ("set-policy", "OK"), ("new-enrolment", "OK"),
                     ("enrol", "PERMISSION_DENIED"), ("set-policy", "OK"), ("enrol", "OK"),
                     ("adopt", "OK"), ("remove", "OK"), ("remove-enrolment", "OK")):
            self.assertIn(step, story[at:], story)
            at = story.index(step, at) + 1
        by_what = {row["what"]: row for row in rows if row["decision"] == "OK"}
        self.assertEqual((by_what["adopt"]["master"], by_what["remove"]["master"]), (2, 3))
        self.assertEqual(by_what["unlock"]["ek_sha256"], refused["ek_sha256"])
        self.assertEqual([(row["member_id"], row["step"]) for row in rows
                          if row["what"] == "master" and row["step"] == "vote"],
                         [(2, "vote"), (3, "vote")])
        own = self.audit("--node", node_id)
        self.assertEqual({row["subject"] for row in own}, {node_id})
        # For people, at 80 columns; a node's id stands on the line that says what became of it.
        told = self.admin.call("audit", "tail", "-n", "1000")
        self.assertLessEqual(max(len(line) for line in told.splitlines()
                                 if not line.startswith("    ")), 80)
        self.assertIn(f" 2 adopt ok {node_id}\n", told)
        # No master has a file that others may read, nor a secret in one.
        for master in (self.first, second, third):
            folder = os.path.join(master.data, "audit")
            self.assertTrue(os.listdir(folder))
            for name in os.listdir(folder):
                self.assertEqual(os.stat(os.path.join(folder, name)).st_mode & 0o777, 0o600)

    def test_a_master_that_is_down_is_named_and_told_of_when_it_is_back(self):
        second, third = self.grow("second", "third")
        tail = subprocess.Popen([cluster.STCTL, "audit", "tail", "-f", "-n", "1", "-ojson"],
                                env={**cluster.ENVIRONMENT, "XDG_CONFIG_HOME": self.admin.config},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for cleanup in (tail.stderr.close, tail.stdout.close, tail.wait, tail.kill):
            self.addCleanup(cleanup)

        def follow(what, subject):
            while True:
                row = json.loads(tail.stdout.readline())
                if (row["what"], row["subject"]) == (what, subject):
                    return row["master"]
        json.loads(tail.stdout.readline())
        third.kill()
        self.assertIn(f"master {third.address} does not answer", tail.stderr.readline())
        done = self.admin.run("audit", "tail")
        self.assertEqual(done.returncode, 0)
        self.assertIn(f"master {third.address} does not answer", done.stderr)
        self.only(second).enrolment("without", self.folder / "without.pb")
        self.assertEqual(follow("new-enrolment", "without"), 2)
        third.start()
        self.assertIn(f"master {third.address} answers again", tail.stderr.readline())
        cluster.until(lambda: self.only(third).run("node", "list").returncode == 0, 30,
                      third.log, 0.1)
        self.only(third).enrolment("again", self.folder / "again.pb")
        self.assertEqual(follow("new-enrolment", "again"), 3)
        # Without a majority nothing is decided, and what was can still be read.
        second.kill()
        third.kill()
        left = self.only(self.first)
        self.assertNotEqual(left.run("enrolment", "list", "--timeout", "2s").returncode, 0)
        self.assertIn("join", [row["what"] for row in self.audit(admin=left)])
        self.assertEqual(tail.poll(), None)


# The tests of the base class are its own.
for test in [n for n in dir(masters_test.Masters) if n.startswith("test")]:
    setattr(Audit, test, None)

if __name__ == "__main__":
    unittest.main()

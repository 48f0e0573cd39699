"""The day on which a TPM is gone: what the administrator has, and what the machine needs."""
import json
import os
import pty
import re
import select
import subprocess
import unittest

import cluster


def spoil(path, change):
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(change(content))


class Recovery(cluster.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = cls.folder / "keys"
        cls.admin.call("recovery", "keygen", "--out", cls.keys)
        cls.private = os.path.join(cls.keys, "recovery-key.pem")
        cls.public = os.path.join(cls.keys, "recovery.pem")

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1][5:45]

    def node(self, *words):
        node = cluster.Node(self.folder, self.vendor, self.name, recovery_key=None)
        self.addCleanup(lambda: node.tpm.kill())
        self.addCleanup(node.kill)
        self.admin.call("enrolment", "create", self.name, "--out", node.config, *words)
        return node

    def record(self, node):
        found = [n for n in self.admin.nodes().values() if n["address"] == node.address]
        return found[-1] if found else None

    def let_in(self, node):
        """Enrolled, adopted, unlocked after a reboot; its id."""
        cluster.until(lambda: "identity" in node.boot_files() and
                      "pending" not in node.boot_files(), 60, node.log)
        node_id = self.record(node)["node_id"]
        self.admin.call("node", "adopt", node_id)
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        return node_id

    def key_of(self, node_id):
        return self.admin.ask("node", "recovery-key", node_id, "--key", self.private)["recovery_key"]

    def opens(self, node, key):
        """By cryptsetup alone, as in any rescue system."""
        done = subprocess.run(["cryptsetup", "open", "--test-passphrase", "--key-file", "-",
                               node.volume], input=key, text=True, capture_output=True,
                              timeout=60, check=False)
        return done.returncode == 0

    def volume_key(self, node, key):
        """What the data is encrypted with, whatever becomes of the keys that open it."""
        path = self.folder / f"{self.name}.volume-key"
        subprocess.run(["cryptsetup", "luksDump", "-q", "--dump-volume-key", "--key-file", "-",
                        "--volume-key-file", path, node.volume], input=key, text=True,
                       capture_output=True, timeout=60, check=True)
        with open(path, "rb") as file:
            content = file.read()
        os.unlink(path)
        return content

    def recover(self, node, *lines):
        """smalltown-node recover, with a person before a terminal; status and what he saw."""
        argv = [cluster.NODE, "recover", "--esp", node.esp, "--tpm", node.tpm.tcti,
                "--data-volume", node.volume]
        here, there = pty.openpty()
        with subprocess.Popen(argv, stdin=there, stdout=there, stderr=there,
                              env=cluster.ENVIRONMENT) as process:
            os.close(there)
            seen = ""
            for line in lines:
                seen += self.read_to(here, "Recovery key (it is not shown): ")
                os.write(here, line.encode() + b"\n")
            seen += self.read_to(here, None)
            status = process.wait(60)
        os.close(here)
        self.assertNotEqual(status, cluster.SANITIZER_EXIT, seen)
        return status, seen

    @staticmethod
    def read_to(terminal, end):
        seen = ""
        while end is None or not seen.endswith(end):
            if not select.select([terminal], [], [], 60)[0]:
                raise AssertionError(f"nothing more than {seen!r}")
            try:
                seen += os.read(terminal, 4096).decode()
            except OSError:  # its other end is closed
                break
        return seen

    def test_a_machine_with_a_new_tpm_has_its_data_again(self):
        node = self.node("--recovery-key", self.public).start()
        node_id = self.let_in(node)
        key = self.key_of(node_id)
        self.assertRegex(key, r"^([0-9A-Z]{6}-){7}[0-9A-Z]{6}$")
        self.assertTrue(self.opens(node, key))
        self.assertIn(key, self.admin.call("node", "recovery-key", node_id, "--key", self.private))
        with open(node.volume, "rb") as volume:
            volume.seek(-4096, os.SEEK_END)
            data = volume.read()
        node.kill()
        node.tpm.kill()
        self.admin.call("node", "remove", node_id, "--yes")
        self.assertEqual(self.admin.run("node", "recovery-key", node_id, "--key",
                                        self.private).returncode, 3)

        node.tpm = cluster.Swtpm(self.folder, self.vendor, f"{self.name}-tpm2").power_on()
        os.unlink(node.config)
        self.admin.call("enrolment", "create", self.name + "-2", "--out", node.config,
                        "--recovery-key", self.public)
        node.start()
        self.assertEqual(node.wait(), 1, node.log())
        # A slip of the finger, then in small letters without dashes.
        slip = key[:15] + ("7" if key[15] != "7" else "8") + key[16:]
        status, seen = self.recover(node, slip, key.lower().replace("-", " "))
        self.assertEqual(status, 0, seen)
        self.assertIn(f"is the data volume of {node_id}", seen)
        self.assertIn(f"`stctl node recovery-key {node_id} --key FILE`", seen)
        self.assertIn("group 3 is mistyped", seen)
        with open(self.public, encoding="ascii") as file:
            self.assertIn(file.read().split("\n")[1], seen.partition("Recovery key")[0])
        masters = next(c for c in self.admin.ask("context", "list") if c["current"])
        self.assertIn(masters["fingerprint"], seen.partition("Recovery key")[0])
        self.assertNotIn(key[:13], seen, "it is not echoed")
        self.assertNotIn(key[:6].lower(), seen)
        status, seen = self.recover(node, key)  # once more does no harm
        self.assertEqual(status, 0, seen)
        node.start()
        new_id = self.let_in(node)
        self.assertNotEqual(new_id, node_id)
        self.assertEqual(self.key_of(new_id), key)
        with open(node.volume, "rb") as volume:
            volume.seek(-4096, os.SEEK_END)
            self.assertEqual(volume.read(), data)

    def test_a_key_of_a_node_that_is_gone_lies_in_the_header(self):
        node = self.node("--recovery-key", self.public).start()
        node_id = self.let_in(node)
        key = self.key_of(node_id)
        self.admin.call("node", "remove", node_id, "--yes")
        token = self.folder / "token.json"
        subprocess.run(["cryptsetup", "token", "export", "--token-id", "1", "--json-file", token,
                        node.volume], check=True, timeout=60)
        shown = self.admin.ask("recovery", "open", token, "--key", self.private)
        self.assertEqual((shown["node_id"], shown["recovery_key"]), (node_id, key))
        with open(token, encoding="utf-8") as file:
            content = json.load(file)
        content["sealed"] = content["sealed"][:-1] + ("0" if content["sealed"][-1] != "0" else "1")
        with open(token, "w", encoding="utf-8") as file:
            json.dump(content, file)
        self.assertNotEqual(self.admin.run("recovery", "open", token, "--key",
                                           self.private).returncode, 0)

    def test_N47_only_the_owner_of_the_key_sees_it(self):
        node = self.node("--recovery-key", self.public).start()
        node_id = self.let_in(node)
        key = self.key_of(node_id)
        other = self.folder / "other"
        self.admin.call("recovery", "keygen", "--out", other)
        done = self.admin.run("node", "recovery-key", node_id, "--key",
                              os.path.join(other, "recovery-key.pem"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("sealed to another key", done.stderr)
        self.assertEqual(os.stat(self.private).st_mode & 0o777, 0o600)
        for log in (node.log(), self.master.log()):
            self.assertNotIn(key, log)
        self.assertRegex(self.master.log(), rf"(?m)^recovery-key node={node_id} .*decision=OK")

    def refused(self, node):
        self.master.expect(r"^enrol .*decision=PERMISSION_DENIED", len(self.master.log()))
        self.assertIsNone(self.record(node))

    def test_N30_an_attacker_who_writes_to_the_ESP_gets_no_key(self):
        his = self.folder / "his"
        self.admin.call("recovery", "keygen", "--out", his)
        raw = {path: subprocess.run(["openssl", "pkey", "-pubin", "-in", path, "-outform", "DER"],
                                    capture_output=True, check=True, timeout=60).stdout[-32:]
               for path in (self.public, os.path.join(his, "recovery.pem"))}
        node = self.node("--recovery-key", self.public)
        spoil(node.config, lambda content: content.replace(*raw.values()))
        node.start()
        self.refused(node)
        # He takes the disk out, brings it back, and leaves nothing behind.
        node.kill()
        token = self.folder / "his.json"
        subprocess.run(["cryptsetup", "token", "export", "--token-id", "1", "--json-file", token,
                        node.volume], check=True, timeout=60)
        key = self.admin.ask("recovery", "open", token, "--key",
                             os.path.join(his, "recovery-key.pem"))["recovery_key"]
        known = self.volume_key(node, key)
        spoil(node.config, lambda content: content.replace(*reversed(raw.values())))
        node.reboot()
        node_id = self.let_in(node)
        self.assertFalse(self.opens(node, key))
        self.assertNotEqual(self.volume_key(node, self.key_of(node_id)), known)

    def test_N30_nor_does_one_who_takes_the_key_out(self):
        node = self.node("--recovery-key", self.public)
        # Field 60, 32 bytes.
        spoil(node.config, lambda content: re.sub(rb"\xe2\x03\x20.{32}", b"", content, flags=re.S))
        node.start()
        self.assertEqual(node.wait(), 1)
        self.assertIn("nobody would have a recovery key", node.log())
        node.recovery_key = "none"
        node.start()
        self.refused(node)

    def test_what_is_no_recovery_key_is_said(self):
        for path in (self.private, self.admin.cert, "/nowhere", "/dev/null"):
            done = self.admin.run("enrolment", "create", "never", "--recovery-key", path)
            self.assertNotEqual(done.returncode, 0, path)
        self.assertNotIn("never", [e["name"] for e in self.admin.ask("enrolment", "list")])
        self.assertNotEqual(self.admin.run("recovery", "keygen", "--out", self.keys).returncode, 0)
        node = self.node().start()
        self.assertEqual(node.wait(), 1)
        node.recovery_key = "none"
        node.start()
        node_id = self.let_in(node)
        done = self.admin.run("node", "recovery-key", node_id, "--key", self.private)
        self.assertEqual(done.returncode, 3)
        self.assertIn("the masters have no recovery key", done.stderr)
        done = self.admin.run("node", "recovery-key", node_id)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()

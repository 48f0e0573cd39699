"""A machine without a battery: its clock says 1970, or anything, and it enrols and unlocks."""
import datetime
import os
import shutil
import ssl
import subprocess
import time
import unittest

import cluster
import peer

# LD_PRELOAD takes a space for the end of a name.
SHIMS = cluster.Folder()
SHIM = shutil.copy(os.environ["ST_CLOCK_1970"], SHIMS / "clock_1970.so")
BACK_THEN = {"LD_PRELOAD": SHIM,
             "ASAN_OPTIONS": cluster.ENVIRONMENT["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}
BEFORE = {**BACK_THEN, "ST_CLOCK_SAYS": "-864000"}
AFTER = {**BACK_THEN, "ST_CLOCK_SAYS": "253402387200"}


class Clock(cluster.ClusterTest):
    def year(self, env):
        return subprocess.run(["date", "-u", "+%Y"], env={**os.environ, **env},
                              capture_output=True, text=True, check=True).stdout.strip()

    def preloaded(self, process):
        with open(f"/proc/{process.process.pid}/maps", encoding="utf-8") as maps:
            return os.path.basename(SHIM) in maps.read()

    def node_with_a_file(self, name):
        node = cluster.Node(self.folder, self.vendor, name)
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        self.admin.enrolment(name, node.config)
        return node

    def enrols_and_unlocks(self, name, clock):
        node = self.node_with_a_file(name)
        node.start(env=clock)
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        self.assertTrue(self.preloaded(node))
        node_id = next(i for i, n in self.admin.nodes().items() if n["address"] == node.address)
        self.admin.call("node", "adopt", node_id)
        node.reboot(env=clock)
        cluster.until(node.unlocked, 60, node.log)
        self.assertTrue(self.preloaded(node))
        return node

    def test_the_shim_works(self):
        self.assertEqual(self.year(BACK_THEN), "1970")
        self.assertEqual(self.year(BEFORE), "1969")
        self.assertEqual(self.year(AFTER), "10000")
        self.assertNotIn(self.year({}), ("1970", "1969", "10000"))

    def test_a_node_enrols_and_unlocks_in_1970(self):
        self.enrols_and_unlocks("node", BACK_THEN)

    def test_a_node_looks_at_no_date_of_any_certificate(self):
        # All of them begin in 1970: who compared dates would pass there, and not here.
        self.enrols_and_unlocks("before", BEFORE)
        self.enrols_and_unlocks("after", AFTER)

    def administrator_of_today(self):
        """One whose certificate began yesterday and ends tomorrow."""
        admin = cluster.Admin(self.folder, "today")
        key, day = peer.ed25519.Ed25519PrivateKey.generate(), datetime.timedelta(days=1)
        now = datetime.datetime.utcnow()
        cert = peer.self_signed(key, "today", begins=now - day, ends=now + day)
        for path, content in ((admin.key, peer.pem_of_key(key)),
                              (admin.cert, ssl.DER_cert_to_PEM_cert(cert).encode())):
            with open(path, "wb") as file:
                file.write(content)
        return admin

    def test_N50_an_administrator_is_heard_while_his_certificate_lasts(self):
        admin = self.administrator_of_today()
        master = cluster.Master(self.folder, admin, name="dated")
        self.addCleanup(master.kill)
        admin.use(master)
        master.start_leading(admin)
        for days, status in ((2, 4), (-2, 4), (0, 0)):
            self.assertEqual(master.terminate(), 0)
            then = int(time.time()) + days * 86400
            master.start(env={**BACK_THEN, "ST_CLOCK_SAYS": str(then)})
            self.assertTrue(self.preloaded(master))
            done = cluster.until(lambda: (d := admin.run("status")).returncode != 5 and d, 30,
                                 master.log, 0.1)
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)

    def test_so_it_does_with_a_master_in_1970(self):
        self.restart_the_master(env=BACK_THEN)
        self.assertTrue(self.preloaded(self.master))
        self.enrols_and_unlocks("both", BACK_THEN)

    def restart_the_master(self, **how):
        self.assertEqual(self.master.terminate(), 0)
        self.master.start(**how)
        cluster.until(lambda: self.admin.run("status").returncode == 0, 30, self.master.log, 0.1)

    def test_N31_a_master_in_1970_believes_no_secret_of_today(self):
        # It cannot know that none of them has expired. Disks are opened all the same.
        known = self.enrols_and_unlocks("known", BACK_THEN)
        node, host = self.node_with_a_file("late"), cluster.Program(self.folder / "host.log")
        self.addCleanup(host.kill)
        ticket = self.folder / "ticket.pb"
        self.admin.call("master", "invite", "host", "--out", ticket)
        self.restart_the_master(env=BACK_THEN)
        self.assertTrue(self.preloaded(self.master))
        since = len(self.master.log())
        node.start()
        node.expect("enrol .*this master's clock is behind, or .* was ahead")
        host.spawn([cluster.NMS, "join", "--data", self.folder / "host", "--ticket", ticket,
                    "--address", cluster.fresh_address()])
        host.expect("join .*that was asked is behind, or .* was ahead")
        for what in ("enrolment late", "ticket host"):
            self.master.expect(f"UNAVAILABLE.*{what} was made [0-9]+ s from now", since)
        known.reboot()
        cluster.until(known.unlocked, 60, known.log)
        self.assertNotIn("identity", node.boot_files())
        self.restart_the_master()
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        self.assertEqual(host.wait(), 0, host.log())


if __name__ == "__main__":
    unittest.main()

"""What the policy says is what happens: real TPMs of two vendors, and of none."""
import hashlib
import json
import os
import subprocess
import unittest

import cluster
import peer
import stubs

Code = peer.grpc.StatusCode
NO_PCRS = {"sets": [], "require_set": False, "require_measured_boot": False}


class PolicyTest(cluster.ClusterTest):
    """Each test begins with the policy that is built in."""

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1][5:45].strip("_")
        self.addCleanup(self.set_policy)

    def set_policy(self, require="none", listed=(), pcrs=NO_PCRS, automatic=()):
        path = self.folder / "policy.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"schema": 1, "ek": {"require": require, "listed": list(listed)},
                       "pcrs": pcrs, "adopt": {"automatic": list(automatic)}}, file)
        self.admin.call("policy", "set", path)

    def node(self, vendor, name=None):
        """A machine with an enrolment on its ESP, started."""
        name = name or self.name
        node = cluster.Node(self.folder, vendor, name)
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        self.admin.enrolment(name, node.config)
        return node.start()

    def record_of(self, node):
        """What the cluster lists for this machine, or None."""
        return next((n for n in self.admin.nodes().values() if n["address"] == node.address), None)

    def enrolled(self, node):
        """Waits until the machine knows that it is enrolled; its record."""
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        cluster.until(lambda: "pending" not in node.boot_files(), 10, node.log)
        return self.record_of(node)

    def is_refused(self, node, why):
        """It asks and is refused for this, which only the master's log says."""
        self.master.expect(rf"^enrol .*decision=PERMISSION_DENIED reason=\"[^\"]*{why}",
                           len(self.master.log()))
        self.assertIsNone(self.record_of(node))
        self.assertNotIn("identity", node.boot_files())
        self.assertNotIn(why, node.log())

    def unlocks(self, node):
        cluster.until(node.unlocked, 60, node.log)


class Unmeasured(PolicyTest):
    """A machine whose firmware leaves PCR 0 to 7 as they were reset, in a new cluster."""

    def enrols_in_a_cluster_of_its_own(self, policy=None):
        admin = cluster.Admin(self.folder, f"of-{self.name}")
        town = cluster.Master(self.folder, admin, name=f"t-{self.name}", policy=policy).start()
        self.addCleanup(town.terminate)
        admin.use(town)
        node = cluster.Node(self.folder, self.vendor, self.name)
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        node.tpm.power_cycle(None)
        admin.enrolment(self.name, node.config)
        node.start()
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        return admin, node

    def test_N11_the_policy_that_is_built_in_does_not_adopt_it(self):
        admin, node = self.enrols_in_a_cluster_of_its_own()
        done = admin.run("node", "adopt", *admin.nodes())
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn("nothing measured this boot", done.stderr)

    def test_N11_the_policy_of_a_test_platform_does(self):
        platform = os.path.join(cluster.SOURCE, "tools", "test-platform.json")
        admin, node = self.enrols_in_a_cluster_of_its_own(platform)
        first = json.loads(admin.call("policy", "show", "-o", "json"))
        self.assertEqual((first["version"], first["policy"]["pcrs"]), (1, NO_PCRS))
        admin.call("node", "adopt", *admin.nodes())
        self.unlocks(node)

    def test_N57_a_cluster_does_not_begin_with_a_policy_that_is_none(self):
        data, bad = self.folder / "not-made", self.folder / "bad.json"
        with open(bad, "w", encoding="utf-8") as file:
            file.write('{"schema": 1, "ek": {"require": "all", "listed": []}}')
        for policy, says in ((bad, "bad.json: pcrs: is missing"), ("/none.json", "/none.json")):
            done = subprocess.run([cluster.NMS, "init", "--data", data, "--name", "not-made",
                                   "--address", "127.0.0.1", "--policy", policy],
                                  env=cluster.ENVIRONMENT, capture_output=True, text=True,
                                  timeout=60, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(says, done.stderr)
            self.assertFalse(os.path.exists(data))


class Evidence(PolicyTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.foreign = cluster.Vendor(cls.folder, "foreign")
        cls.admin.call("policy", "ca", "add", cls.make_ca(cls.vendor))

    @classmethod
    def make_ca(cls, vendor):
        """Its CA is there with its first TPM."""
        if not os.path.exists(vendor.ca):
            cluster.Swtpm(cls.folder, vendor, f"first-{os.path.basename(vendor.folder)}")
        return vendor.ca

    def test_N24_a_TPM_of_a_CA_that_was_added(self):
        self.set_policy("chain")
        node = self.node(self.vendor)
        record = self.enrolled(node)
        self.assertEqual(record["evidence"], "chain")
        self.admin.call("node", "adopt", record["node_id"])
        node.reboot()
        self.unlocks(node)

    def test_N24_a_TPM_of_a_foreign_CA(self):
        self.set_policy("chain")
        node = self.node(self.foreign)
        self.is_refused(node, "leads to no CA")
        # It asks for ever: once its certificate is enough, it is in.
        self.set_policy("certificate")
        record = self.enrolled(node)
        self.assertEqual(record["evidence"], "certificate")
        # To be adopted it needs what the policy wants by then.
        self.set_policy("chain")
        done = self.admin.run("node", "adopt", record["node_id"])
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn("leads to no CA", done.stderr)
        added = self.admin.ask("policy", "ca", "add", self.make_ca(self.foreign))
        self.admin.call("node", "adopt", record["node_id"])
        self.assertEqual(self.record_of(node)["evidence"], "chain")
        node.reboot()
        self.unlocks(node)
        # A CA that goes takes nobody's disk, and lets in nobody any more.
        for ca in added:
            self.admin.call("policy", "ca", "remove", ca["sha256"])
        node.reboot()
        self.unlocks(node)
        self.is_refused(self.node(self.foreign, self.name + "-2"), "leads to no CA")

    def test_N24_a_TPM_without_a_certificate(self):
        self.set_policy("certificate")
        node = self.node(None)
        self.is_refused(node, "wants an EK certificate")
        self.set_policy("chain")
        self.is_refused(node, "wants an EK certificate")
        self.set_policy("listed", ["00" * 32])
        self.is_refused(node, "not the one of this TPM")
        # Whatever is required: this very chip is welcome.
        self.set_policy("chain", [self.ek_of(node.tpm)])
        self.assertEqual(self.enrolled(node)["evidence"], "listed")

    def ek_of(self, tpm):
        tpm.tool("tpm2_createek", "-G", "rsa", "-c", "ek.ctx", "-f", "der", "-u", "ek.der",
                 cwd=tpm.state)
        tpm.tool("tpm2_flushcontext", "-t")
        tpm.tool("tpm2_readpublic", "-c", "ek.ctx", "-f", "der", "-o", "ek.der", cwd=tpm.state)
        with open(os.path.join(tpm.state, "ek.der"), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()


class PeerTest(PolicyTest):
    """Machines that are driven from here."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.folder / "stubs"
        os.mkdir(folder)
        cls.api, cls.services = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"),
                                           folder)
        cls.connect()

    @classmethod
    def connect(cls):
        with open(cls.master.masters_pem, "rb") as file:
            cls.channel = peer.channel_to(cls.master.address, cluster.PORT_NODE_MANAGEMENT,
                                          file.read())
        cls.stub = cls.services.NodeManagementServiceStub(cls.channel)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        super().tearDownClass()

    def config(self, name, **options):
        """An enrolment."""
        with open(self.admin.enrolment(name, self.folder / f"{name}.pb", **options), "rb") as file:
            return self.api.EnrolmentConfig.FromString(file.read())


class Relay(PeerTest):
    """Somebody with a good TPM of a good vendor, and keys of his own in another one."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.good = cluster.Swtpm(cls.folder, cls.vendor, "good").power_on()
        cls.own = cluster.Swtpm(cls.folder, None, "own").power_on()
        cls.admin.call("policy", "ca", "add", cls.vendor.ca)

    @classmethod
    def tearDownClass(cls):
        cls.good.kill()
        cls.own.kill()
        super().tearDownClass()

    def test_N27_an_AK_of_another_TPM(self):
        self.set_policy("chain")
        config = self.config("relay")
        good, own = peer.Machine(self.good), peer.Machine(self.own)
        stream = peer.Stream(self.stub.NewTPM2NodeRegister)
        stream.send(self.api.TPM2FlowRequest(register=self.api.TPM2RegisterRequest(
            ak_public=own.ak_public, ek_pubkey=good.ek_pubkey, ek_cert=good.ek_cert)))
        request = stream.receive().attest_request
        # Neither TPM opens a challenge that was made for the one's EK and the other's AK.
        for machine in (good, own):
            with self.assertRaises(AssertionError):
                machine.activate(request.ak_challenge, request.ak_challenge_secret)
        quote, signature, pcrs = own.quote(request.quote_nonce)
        since = len(self.master.log())
        stream.send(self.api.TPM2FlowRequest(attest_response=self.api.TPM2AttestResponse(
            quote=quote, quote_signature=signature, pcrs=pcrs,
            ak_challenge_solution=os.urandom(32))), own.info(self.api, config))
        self.assertEqual(stream.finish(), (Code.PERMISSION_DENIED, "refused"))
        self.master.expect(r"^enrol .*this AK is not in the TPM of this EK", since)
        self.assertEqual(self.admin.nodes(), {})
        # The good TPM with its own AK is welcome; the other one has nothing to show.
        self.assertEqual(peer.enrol(self.api, self.stub, own, config)[0], Code.PERMISSION_DENIED)
        self.assertEqual(peer.enrol(self.api, self.stub, good, config)[0], Code.OK)
        self.assertEqual(self.admin.nodes()[good.node_id]["evidence"], "chain")


class Update(PeerTest):
    """A new kernel, on two machines that are nodes under a policy for the old one."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tpms = [cluster.Swtpm(cls.folder, None, f"tpm{i}").power_on() for i in range(2)]
        cls.first, cls.second = (peer.Machine(tpm, "ecc") for tpm in cls.tpms)

    @classmethod
    def tearDownClass(cls):
        for tpm in cls.tpms:
            tpm.kill()
        super().tearDownClass()

    def boot(self, machine, kernel):
        """An orderly reboot: a power cut counts against an AK that is not noDA."""
        machine.tpm.tool("tpm2_shutdown", "--clear")
        machine.tpm.power_cycle(kernel=kernel)

    def unlocks(self, machine):
        """Whether it is given its own half; else what the master's log says of it."""
        since = len(self.master.log())
        half, status = peer.unlock(self.api, self.stub, machine)
        if half is not None:
            self.assertEqual((half, status[0]), (machine.global_half, Code.OK))
            return True
        self.assertEqual(status, (Code.PERMISSION_DENIED, "refused"))
        return self.master.expect(
            rf'^unlock node={machine.node_id} .*reason="(.*)"$', since).group(1)

    def settle(self):
        config = self.config("rack", uses=2)
        for machine in (self.first, self.second):
            self.assertEqual(peer.enrol(self.api, self.stub, machine, config)[0], Code.OK)
            self.admin.call("node", "adopt", machine.node_id)
        self.admin.call("policy", "capture", self.first.node_id, "--name", "kernel-6.1", "--all")

    def window(self):
        return self.admin.ask("status")["window"]

    def test_N12_a_kernel_update(self):
        first, second = self.first, self.second
        self.settle()
        self.assertEqual((self.unlocks(first), self.unlocks(second)), (True, True))

        # The new kernel is refused, and the operator sees in what it differs: at any time.
        self.boot(first, "kernel 6.2")
        self.assertEqual(self.unlocks(first), "PCR 4, 11 differ from set kernel-6.1")
        self.channel.close()
        self.master.kill()
        self.master.start_leading(self.admin)
        self.connect()
        diff = self.admin.ask("node", "pcrs", first.node_id, "--diff")
        self.assertEqual([(d["pcr"], d["set"]) for d in diff["differs"]],
                         [(4, "kernel-6.1"), (11, "kernel-6.1")])
        self.assertEqual(diff["boot"], "refused")
        self.assertRegex(self.admin.call("node", "pcrs", first.node_id, "--diff"),
                         rf"(?m)^11 +{diff['differs'][1]['booted'][:16]} +[0-9a-f]{{16}} +kernel-6.1$")

        # The window lets it in, and the other machine; nobody has to say yes.
        self.admin.call("policy", "window", "open", "--for", "1h", "--nodes",
                        f"{first.node_id},{second.node_id}")
        self.assertIs(self.unlocks(first), True)
        self.boot(second, "kernel 6.2")
        self.assertIs(self.unlocks(second), True)
        self.assertIn(", 2 nodes, 2 let in", self.admin.call("status"))
        captured = self.admin.ask("policy", "captured", "list")
        self.assertEqual([sorted(c["nodes"]) for c in captured],
                         [sorted([first.node_id, second.node_id])])
        self.assertEqual(list(captured[0]["values"]), ["2", "4", "11"])

        # It lets in each once, and nobody after its end.
        self.boot(first, "kernel 6.3")
        self.assertIn("came through the open window already", self.unlocks(first))
        self.admin.call("policy", "window", "close")
        self.assertIsNone(self.window())
        self.assertIn("differ from set kernel-6.1", self.unlocks(first))
        self.boot(second, "kernel 6.3")
        self.assertIn("differ from set kernel-6.1", self.unlocks(second))
        for kernel in ("kernel 6.2", None):
            self.boot(first, kernel)
            self.assertIs(self.unlocks(first), True)

        # Nor after the end that it came to by itself.
        self.admin.call("policy", "window", "open", "--for", "1s")
        cluster.until(lambda: self.window() is None, 60, "the window closes")
        self.assertNotIn("window", self.unlocks(second))

        # What was refused, and is looked at, is approved for that machine alone.
        diff = self.admin.ask("node", "pcrs", second.node_id, "--diff")
        self.assertEqual({d["set"] for d in diff["differs"]},
                         {"kernel-6.1", "captured-" + captured[0]["sha256"][:16]})
        self.assertEqual(self.admin.run("node", "approve", second.node_id).returncode, 2)
        self.admin.call("node", "approve", second.node_id, "--yes")
        self.assertIs(self.unlocks(second), True)
        self.boot(first, "kernel 6.3")
        self.assertIsNot(self.unlocks(first), True)

        # And what should not have been let in is taken back.
        self.admin.call("policy", "captured", "remove", captured[0]["sha256"])
        self.boot(first, "kernel 6.2")
        self.assertIsNot(self.unlocks(first), True)


if __name__ == "__main__":
    unittest.main()

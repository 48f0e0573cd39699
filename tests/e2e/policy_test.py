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


class Relay(PolicyTest):
    """Somebody with a good TPM of a good vendor, and keys of his own in another one."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.folder / "stubs"
        os.mkdir(folder)
        cls.api, services = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"), folder)
        with open(cls.master.masters_pem, "rb") as file:
            cls.channel = peer.channel_to(cls.master.address, cluster.PORT_NODE_MANAGEMENT,
                                          file.read())
        cls.stub = services.NodeManagementServiceStub(cls.channel)
        cls.good = cluster.Swtpm(cls.folder, cls.vendor, "good").power_on()
        cls.own = cluster.Swtpm(cls.folder, None, "own").power_on()
        cls.admin.call("policy", "ca", "add", cls.vendor.ca)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.good.kill()
        cls.own.kill()
        super().tearDownClass()

    def test_N27_an_AK_of_another_TPM(self):
        self.set_policy("chain")
        self.admin.enrolment(self.name, self.folder / "relay.pb")
        with open(self.folder / "relay.pb", "rb") as file:
            config = self.api.EnrolmentConfig.FromString(file.read())
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


if __name__ == "__main__":
    unittest.main()

"""A stranger's node, made from the contract alone, enrols with a real master and unlocks."""
import os
import unittest

import grpc

import cluster
import peer
import stubs

HERE = os.path.dirname(os.path.abspath(__file__))


class Wire(cluster.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.folder / "stubs"
        os.mkdir(folder)
        cls.api, services = stubs.load(os.path.join(HERE, "contract.proto"), folder)
        with open(cls.master.masters_pem, "rb") as file:
            cls.masters_pem = file.read()
        cls.channel = peer.channel_to(cls.master.address, cluster.PORT_NODE_MANAGEMENT,
                                      cls.masters_pem)
        cls.stub = services.NodeManagementServiceStub(cls.channel)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        super().tearDownClass()

    def config(self, name, **options):
        path = self.admin.enrolment(name, self.folder / f"{name}.pb", **options)
        with open(path, "rb") as file:
            return self.api.EnrolmentConfig.FromString(file.read())

    def enrols_and_unlocks(self, ak):
        tpm = cluster.Swtpm(self.folder, self.vendor, f"tpm-{ak}").power_on()
        machine = peer.Machine(tpm, ak)
        self.assertTrue(machine.ek_cert, "swtpm has an EK certificate")
        config = self.config(f"wire-{ak}")
        self.assertEqual(len(config.master_ips), 1)
        self.assertEqual(config.node_id, "")

        self.assertEqual(peer.enrol(self.api, self.stub, machine, config),
                         (grpc.StatusCode.OK, ""))
        node = self.admin.nodes()[machine.node_id]
        self.assertEqual((node["state"], node["address"], node["enrolment"]),
                         ("registered", "127.0.0.7", f"wire-{ak}"))
        self.assertEqual(node["id_cert_sha256"], peer.fingerprint(machine.id_cert))
        self.assertEqual(node["ek_sha256"], peer.fingerprint(machine.ek_pubkey))

        half, (code, _) = peer.unlock(self.api, self.stub, machine)
        self.assertIsNone(half, "registered is not trusted")
        self.assertNotEqual(code, grpc.StatusCode.OK)

        self.admin.call("node", "adopt", machine.node_id)
        tpm.power_cycle()
        half, status = peer.unlock(self.api, self.stub, machine)
        self.assertEqual(status, (grpc.StatusCode.OK, ""))
        self.assertEqual(half, machine.global_half)

        # The same node with the same keys asking again was only not told.
        self.assertEqual(peer.enrol(self.api, self.stub, machine, config)[0],
                         grpc.StatusCode.OK)
        self.assertEqual(self.admin.nodes()[machine.node_id]["state"], "worker")

    def test_with_an_rsa_ek_and_an_rsa_ak(self):
        self.enrols_and_unlocks("rsa")

    def test_with_an_rsa_ek_and_an_ecc_ak(self):
        self.enrols_and_unlocks("ecc")

    def test_without_an_ek_certificate(self):
        tpm = cluster.Swtpm(self.folder, None, "tpm-bare").power_on()
        machine = peer.Machine(tpm)
        self.assertEqual(machine.ek_cert, b"")
        self.assertEqual(peer.enrol(self.api, self.stub, machine, self.config("bare"))[0],
                         grpc.StatusCode.OK)


if __name__ == "__main__":
    unittest.main()

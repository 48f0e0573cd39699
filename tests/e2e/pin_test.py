"""N51: whoever is not exactly the pinned master is left before a byte is said to him."""
import os
import socket
import ssl
import threading
import time
import unittest

import cluster
import peer
import stubs
from cluster import PORT_CLUSTER_MANAGEMENT, PORT_NODE_MANAGEMENT


class Impostor:
    """A TLS server on one port that counts what it is told after the handshake."""

    def __init__(self, folder, address, port, key_pem, cert_der):
        paths = folder / f"impostor-{port}.key", folder / f"impostor-{port}.pem"
        for path, content in zip(paths, (key_pem, ssl.DER_cert_to_PEM_cert(cert_der).encode())):
            with open(path, "wb") as file:
                file.write(content)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(paths[1], paths[0])
        self.context.set_alpn_protocols(["h2"])
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.connections, self.said = 0, b""
        self.socket = socket.create_server((address, port), reuse_port=False)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            plain.settimeout(5)
            try:
                self.connections += 1
                with self.context.wrap_socket(plain, server_side=True) as tls:
                    # The server's first frame, as a real one: then the client would speak.
                    tls.sendall(b"\0\0\0\4\0\0\0\0\0")
                    self.said += tls.recv(4096)
            except (ssl.SSLError, OSError):
                pass
            finally:
                plain.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Pin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cluster.Folder()
        stub_folder = cls.folder / "stubs"
        os.mkdir(stub_folder)
        cls.api, _ = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"), stub_folder)
        cls.key = peer.ed25519.Ed25519PrivateKey.generate()
        cls.pinned = peer.self_signed(cls.key, "smalltown-master")
        other = peer.ed25519.Ed25519PrivateKey.generate()
        # The same key in another DER: another serial number's worth of difference is enough.
        extension = peer.x509.SubjectAlternativeName([peer.x509.DNSName("smalltown-master")])
        cls.impostors = {
            "another valid certificate": (other, peer.self_signed(other, "smalltown-master")),
            "the same key and another DER":
                (cls.key, peer.self_signed(cls.key, "smalltown-master", [extension])),
        }

    @classmethod
    def tearDownClass(cls):
        cls.folder.remove()

    def impostor(self, address, port, key, cert):
        server = Impostor(self.folder, address, port, peer.pem_of_key(key), cert)
        self.addCleanup(server.close)
        return server

    def test_the_test_would_hear_a_client_that_believes(self):
        address = cluster.fresh_address()
        server = self.impostor(address, PORT_CLUSTER_MANAGEMENT, self.key, self.pinned)
        admin = self.administrator("believer", address)
        admin.run("status", "--timeout", "3s")
        self.assertTrue(server.said.startswith(b"PRI * HTTP/2.0"), server.said)

    def administrator(self, name, address):
        admin = cluster.Admin(self.folder, name)
        pem = self.folder / "pinned.pem"
        with open(pem, "w", encoding="ascii") as file:
            file.write(ssl.DER_cert_to_PEM_cert(self.pinned))
        admin.call("context", "add", "town", "--address", address, "--masters-cert", pem)
        return admin

    def test_N51_the_administrators_tool_leaves(self):
        for number, (what, (key, cert)) in enumerate(self.impostors.items()):
            with self.subTest(what):
                address = cluster.fresh_address()
                server = self.impostor(address, PORT_CLUSTER_MANAGEMENT, key, cert)
                done = self.administrator(f"admin-{number}", address).run("node", "list")
                self.assertEqual(done.returncode, 5, done.stderr)
                self.assertIn(f"{address}:7836", done.stderr)
                self.assertIn("another", done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1)
                self.assertGreater(server.connections, 0)
                self.assertEqual(server.said, b"")

    def test_N51_the_node_leaves(self):
        vendor = cluster.Vendor(self.folder)
        for number, (what, (key, cert)) in enumerate(self.impostors.items()):
            with self.subTest(what):
                address = cluster.fresh_address()
                server = self.impostor(address, PORT_NODE_MANAGEMENT, key, cert)
                node = cluster.Node(self.folder, vendor, f"node-{number}")
                self.addCleanup(node.tpm.kill)
                self.addCleanup(node.kill)
                with open(node.config, "wb") as file:
                    file.write(self.api.EnrolmentConfig(
                        enrolment_secret=os.urandom(32), masters_cert=self.pinned,
                        master_ips=[socket.inet_aton(address)]).SerializeToString())
                node.start()
                cluster.until(lambda: server.connections >= 2, 60, node.log)
                time.sleep(0.5)
                self.assertEqual(server.said, b"")
                self.assertTrue(node.running())
                self.assertNotIn("identity", node.boot_files())


if __name__ == "__main__":
    unittest.main()

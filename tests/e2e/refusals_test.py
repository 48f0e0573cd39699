"""Strangers on the wire: every line of docs/refusals.md that one can try from outside."""
import os
import socket
import ssl
import subprocess
import threading
import unittest

import grpc
from cryptography import x509

import cluster
import peer
import stubs
from cluster import PORT_CLUSTER_MANAGEMENT, PORT_NODE, PORT_NODE_MANAGEMENT

Code = grpc.StatusCode
REGISTER = "/api.NodeManagementService/NewTPM2NodeRegister"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
UNLOCK = "/api.NodeManagementService/TPM2Unlock"


class Refusals(cluster.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.folder / "stubs"
        os.mkdir(folder)
        cls.api, cls.services = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"),
                                           folder)
        with open(cls.master.masters_pem, "rb") as file:
            cls.masters_pem = file.read()
        cls.channel = cls.connect(PORT_NODE_MANAGEMENT)
        cls.stub = cls.services.NodeManagementServiceStub(cls.channel)
        cls.admin.enrolment("peers", cls.folder / "peers.pb", uses=100)
        with open(cls.folder / "peers.pb", "rb") as file:
            cls.config = cls.api.EnrolmentConfig.FromString(file.read())
        cls.tpm = cluster.Swtpm(cls.folder, cls.vendor, "tpm-peer").power_on()
        cls.machine = peer.Machine(cls.tpm)
        assert peer.enrol(cls.api, cls.stub, cls.machine, cls.config)[0] == Code.OK
        cls.admin.call("node", "adopt", cls.machine.node_id)
        # Somebody who is nobody, and asks as if he were.
        cls.other_tpm = cluster.Swtpm(cls.folder, cls.vendor, "tpm-other").power_on()
        cls.stranger = peer.Machine(cls.other_tpm)
        cls.stranger.masters_cert = cls.config.masters_cert

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.tpm.kill()
        cls.other_tpm.kill()
        super().tearDownClass()

    @classmethod
    def connect(cls, port, key=None, cert=None, address=None):
        return peer.channel_to(address or cls.master.address, port, cls.masters_pem, key, cert)

    def tearDown(self):
        # Whatever was tried: the master lives, knows one node, and serves it.
        self.assertTrue(self.master.running())
        self.assertEqual(list(self.admin.nodes()), [self.machine.node_id])
        half, status = peer.unlock(self.api, self.stub, self.machine)
        self.assertEqual((half, status[0]), (self.machine.global_half, Code.OK))

    def raw(self, path, *messages, channel=None):
        """Sends bytes as they are, half-closes; the status code, and the details."""
        call = (channel or self.channel).stream_stream(
            path, request_serializer=lambda b: b, response_deserializer=lambda b: b)
        call = call(iter(messages), timeout=20)
        try:
            for _ in call:
                pass
        except grpc.RpcError:
            pass
        return call.code(), call.details()

    def refused(self, stream, *codes):
        code, details = stream.finish()
        self.assertIn(code, codes, details)
        return details

    def events(self, since):
        """The lines of the master's log from a character on: each is one event of ours."""
        lines = self.master.log()[since:].splitlines()
        for line in lines:
            self.assertRegex(line, r"^[a-z-]+ ", "a line of the log is one event")
        return lines

    def registering(self):
        return peer.Stream(self.stub.NewTPM2NodeRegister)

    # --- enrolment ---------------------------------------------------------------------------

    def test_N33_stages_out_of_order_or_repeated(self):
        register = self.stranger.register(self.api)
        info = self.stranger.info(self.api, self.config)
        proof = self.api.TPM2FlowRequest(attest_response=self.api.TPM2AttestResponse(
            quote=b"q", quote_signature=b"s", ak_challenge_solution=bytes(32),
            pcrs=[bytes(32)] * 16))
        for messages in ([info], [proof], [register, register], [register, info], [info, register]):
            call = self.stub.NewTPM2NodeRegister(iter(messages), timeout=20)
            with self.assertRaises(grpc.RpcError):
                list(call)
            self.assertEqual(call.code(), Code.INVALID_ARGUMENT, messages)
        stream = self.registering().send(register)
        request = stream.receive().attest_request
        proof = self.stranger.attest(self.api, request)
        stream.send(proof, proof)
        self.refused(stream, Code.INVALID_ARGUMENT)

    def test_N33_a_stream_that_ends_after_each_stage(self):
        def half_closed(*stages):
            stream = self.registering()
            request = None
            for stage in stages:
                stream.send(stage(request))
                if request is None:
                    request = stream.receive().attest_request
            return stream
        register = lambda _: self.stranger.register(self.api)
        attest = lambda request: self.stranger.attest(self.api, request)
        for stages in ([], [register], [register, attest]):
            self.refused(half_closed(*stages), Code.INVALID_ARGUMENT, Code.CANCELLED)
            half_closed(*stages).cancel()

    def test_N33_no_stage_unknown_fields_and_too_much(self):
        self.assertEqual(self.raw(REGISTER, b"")[0], Code.INVALID_ARGUMENT)
        self.assertEqual(self.raw(REGISTER, b"\xff" * 40)[0], Code.INVALID_ARGUMENT)
        only_unknown = b"\xfa\x3f\x03abc"  # field 1023
        self.assertEqual(self.raw(REGISTER, only_unknown)[0], Code.INVALID_ARGUMENT)
        self.assertEqual(self.raw(UNLOCK, only_unknown)[0], Code.INVALID_ARGUMENT)
        huge = self.api.TPM2FlowRequest(register=self.api.TPM2RegisterRequest(
            ak_public=bytes(10 << 20))).SerializeToString()
        self.assertIn(self.raw(REGISTER, huge)[0],
                      (Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT, Code.CANCELLED))

    def test_N22_keys_that_are_none(self):
        good = self.stranger.register(self.api)
        for field, values in (("ek_pubkey", (b"", b"garbage", bytes(1 << 16))),
                              ("ak_public", (b"", b"garbage", bytes(1 << 16)))):
            for value in values:
                request = self.api.TPM2FlowRequest()
                request.CopyFrom(good)
                setattr(request.register, field, value)
                self.refused(self.registering().send(request), Code.INVALID_ARGUMENT)

    def test_N23_a_certificate_of_another_key(self):
        request = self.stranger.register(self.api)
        request.register.ek_cert = self.machine.ek_cert
        self.refused(self.registering().send(request), Code.PERMISSION_DENIED)

    def test_N26_a_wrong_solution_of_the_challenge(self):
        for solution in (bytes(32), bytes(31), b""):
            stream = self.registering().send(self.stranger.register(self.api))
            request = stream.receive().attest_request
            stream.send(self.stranger.attest(self.api, request, ak_challenge_solution=solution))
            self.refused(stream, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT)

    def test_N26_the_solution_of_another_stream(self):
        first, second = (self.registering().send(self.stranger.register(self.api))
                         for _ in range(2))
        one, two = (stream.receive().attest_request for stream in (first, second))
        solution = self.stranger.activate(one.ak_challenge, one.ak_challenge_secret)
        second.send(self.stranger.attest(self.api, two, ak_challenge_solution=solution))
        self.refused(second, Code.PERMISSION_DENIED)
        first.cancel()

    def test_N03_N04_a_quote_over_another_nonce(self):
        first, second = (self.registering().send(self.stranger.register(self.api))
                         for _ in range(2))
        one, two = (stream.receive().attest_request for stream in (first, second))
        self.assertNotEqual(one.quote_nonce, two.quote_nonce)
        second.send(self.stranger.attest(self.api, two, nonce=one.quote_nonce))
        self.refused(second, Code.PERMISSION_DENIED)
        first.cancel()

    def test_N30_what_a_new_node_says_of_itself(self):
        cases = {
            "a 9-byte address": ({"ip": bytes(9)}, Code.INVALID_ARGUMENT),
            "a half of 31 bytes": ({"global_unlock_key": bytes(range(31))}, Code.INVALID_ARGUMENT),
            "a half of zeros": ({"global_unlock_key": bytes(32)}, Code.INVALID_ARGUMENT),
            "no certificate": ({"id_cert": b""}, Code.INVALID_ARGUMENT),
            "garbage": ({"id_cert": b"\x30\x03\x02\x01\x01"}, Code.INVALID_ARGUMENT),
            "a wrong proof": ({"id_proof": bytes(64)}, Code.PERMISSION_DENIED),
        }
        for what, (fields, code) in cases.items():
            with self.subTest(what):
                self.assertEqual(peer.enrol(self.api, self.stub, self.stranger, self.config,
                                            **fields)[0], code)

    def test_N31_a_secret_that_is_not_good(self):
        for secret in (b"", b"x", bytes(32), self.config.enrolment_secret[:-1],
                       self.config.enrolment_secret + b"x"):
            config = self.api.EnrolmentConfig()
            config.CopyFrom(self.config)
            config.enrolment_secret = secret
            code, _ = peer.enrol(self.api, self.stub, self.stranger, config)
            self.assertIn(code, (Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT), secret)

    def test_N29_the_chip_of_a_node_under_a_new_id(self):
        again = peer.Machine.__new__(peer.Machine)
        again.__dict__.update(self.machine.__dict__)
        again.key = type(self.machine.key).generate()
        again.id_cert, again.node_id = peer.self_signed(again.key), peer.node_id_of(again.key)
        self.assertEqual(peer.enrol(self.api, self.stub, again, self.config)[0],
                         Code.ALREADY_EXISTS)

    def test_N29_the_id_of_a_node_with_another_chip(self):
        self.assertEqual(peer.enrol(self.api, self.stub, self.stranger, self.config,
                                    id_cert=self.machine.id_cert)[0], Code.ALREADY_EXISTS)

    # --- unlock ------------------------------------------------------------------------------

    def test_N35_names_that_are_none(self):
        ids = (b"", b"/", b"..", b"../../etc/passwd", b"a\nunlock node=x decision=OK",
               b"smalltown-" + b"a" * 32 + b"\0", b"smalltown-" + b"A" * 32, b"x" * 10000,
               b"\xc3\x28", b"\xff\xfe")
        since = len(self.master.log())
        for node_id in ids:
            request = bytes([0x22]) + varint(len(node_id)) + node_id
            message = b"\x0a" + varint(len(request)) + request
            self.assertEqual(self.raw(UNLOCK, message)[0], Code.INVALID_ARGUMENT, node_id)
        for line in self.events(since):
            self.assertNotRegex(line, r"^unlock node=x")

    def test_N35_evidence_that_libtss2_would_write_to_stderr_about(self):
        of_too_many_banks = b"\xffTCG\x80\x18" + bytes(2 + 2 + 17 + 8) + b"\xff" * 4 + bytes(99)
        since = len(self.master.log())
        for ak_public in (b"garbage", of_too_many_banks):
            request = self.stranger.register(self.api)
            request.register.ak_public = ak_public
            self.refused(self.registering().send(request), Code.INVALID_ARGUMENT)
        for fields in ({"quote": b"garbage"}, {"quote": of_too_many_banks},
                       {"quote_signature": of_too_many_banks}):
            self.assertIsNone(peer.unlock(self.api, self.stub, self.machine, **fields)[0], fields)
        self.assertGreaterEqual(len(self.events(since)), 5)

    def test_N41_N42_another_nodes_id_an_unknown_id_and_a_bad_quote_look_alike(self):
        def status(**instead):
            stream = peer.Stream(self.stub.TPM2Unlock)
            nonce = stream.receive().unlock_init.nonce
            machine = instead.pop("machine", self.machine)
            stream.send(machine.unlock(self.api, instead.pop("nonce", nonce), **instead))
            code, details = stream.finish()
            trailers = sorted((t.key, t.value) for t in stream.call.trailing_metadata())
            return code, details, trailers
        unknown = status(machine=self.stranger)
        bad_quote = status(nonce=bytes(32))
        others_id = status(machine=self.stranger, node_id=self.machine.node_id)
        bad_signature = status(quote_signature=bytes(256))
        self.assertEqual(unknown[0], Code.PERMISSION_DENIED)
        self.assertEqual(unknown, bad_quote)
        self.assertEqual(unknown, others_id)
        self.assertEqual(unknown, bad_signature)

    def test_N48_a_quote_for_a_thief_is_relayed_to_the_masters(self):
        """He puts an enrolment.pb with his own certificate onto the machine's ESP, boots its good
        image, and hands it the masters' nonce: all in the quote fits but PCR 12."""
        thief = type(self.machine.key).generate()
        self.tpm.power_cycle()
        self.machine.masters_cert = peer.self_signed(thief, "smalltown-master")
        since = len(self.master.log())
        half, status = peer.unlock(self.api, self.stub, self.machine)
        self.assertEqual((half, status), (None, (Code.PERMISSION_DENIED, "refused")))
        self.master.expect(rf'^unlock node={self.machine.node_id} .*decision=PERMISSION_DENIED '
                           r'reason="PCR 12 is of another enrolment.pb', since)
        self.assertEqual(self.admin.ask("node", "pcrs", self.machine.node_id, "--diff")["boot"],
                         "accepted")
        # Nothing in this boot makes it good again; in the next one it is as ever.
        self.machine.masters_cert = self.config.masters_cert
        self.assertIsNone(peer.unlock(self.api, self.stub, self.machine)[0])
        self.tpm.power_cycle()

    def test_N04_a_quote_cannot_be_used_twice(self):
        first = peer.Stream(self.stub.TPM2Unlock)
        answer = self.machine.unlock(self.api, first.receive().unlock_init.nonce)
        first.send(answer)
        self.assertEqual(first.receive().unlock_response.global_unlock_key,
                         self.machine.global_half)
        self.assertEqual(first.finish()[0], Code.OK)
        second = peer.Stream(self.stub.TPM2Unlock)
        second.receive()
        self.refused(second.send(answer), Code.PERMISSION_DENIED)

    def test_N07_a_quote_over_other_pcrs(self):
        for pcrs in ("sha256:16", "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14"):
            stream = peer.Stream(self.stub.TPM2Unlock)
            nonce = stream.receive().unlock_init.nonce
            quote, signature, values = self.machine.quote(nonce, pcrs)
            stream.send(self.machine.unlock(self.api, nonce, quote=quote, pcrs=values,
                                            quote_signature=signature))
            self.refused(stream, Code.PERMISSION_DENIED)

    def test_N09_lists_of_pcrs_that_are_none(self):
        stream = peer.Stream(self.stub.TPM2Unlock)
        nonce = stream.receive().unlock_init.nonce
        pcrs = self.machine.quote(nonce)[2]
        whole = b"".join(pcrs)
        lists = (pcrs[:15], pcrs + [bytes(32)], [whole], pcrs[:15] + [pcrs[15] + b"\0"],
                 [whole[i:i + 16] for i in range(0, 512, 16)], [b""] * 16,
                 [whole[:31], whole[31:64], *pcrs[2:]])
        stream.cancel()
        for given in lists:
            stream = peer.Stream(self.stub.TPM2Unlock)
            nonce = stream.receive().unlock_init.nonce
            stream.send(self.machine.unlock(self.api, nonce, pcrs=given))
            self.refused(stream, Code.INVALID_ARGUMENT)

    def test_N10_a_permuted_list_of_pcrs(self):
        stream = peer.Stream(self.stub.TPM2Unlock)
        nonce = stream.receive().unlock_init.nonce
        pcrs = self.machine.quote(nonce)[2]
        stream.send(self.machine.unlock(self.api, nonce, pcrs=pcrs[1:] + pcrs[:1]))
        self.refused(stream, Code.PERMISSION_DENIED)

    def test_N44_streams_that_say_nothing_hold_up_nobody(self):
        channels = [self.connect(PORT_NODE_MANAGEMENT) for _ in range(4)]
        end = threading.Event()
        def silence():
            end.wait(60)
            yield from ()
        calls = [self.services.NodeManagementServiceStub(channels[i % 4]).TPM2Unlock(
            silence(), timeout=60) for i in range(200)]
        for call in calls[:100]:
            next(call)
        half, _ = peer.unlock(self.api, self.stub, self.machine)
        self.assertEqual(half, self.machine.global_half)
        self.assertTrue(any(call.is_active() for call in calls), "they were there meanwhile")
        end.set()
        for call in calls:
            call.cancel()
        for channel in channels:
            channel.close()

    # --- administrators ----------------------------------------------------------------------

    def methods(self):
        """(service, method) of every method in the schema."""
        for service in self.api.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield service.name, method.name

    def everywhere(self, port, key=None, cert=None, address=None):
        """{method: status code} of every method of the schema at this port."""
        with self.connect(port, key, cert, address) as channel:
            return {method: self.raw(f"/api.{service}/{method}", b"", channel=channel)[0]
                    for service, method in self.methods()}

    def pair(self, *extensions):
        key = peer.ed25519.Ed25519PrivateKey.generate()
        der = peer.self_signed(key, "admin", extensions)
        return peer.pem_of_key(key), ssl.DER_cert_to_PEM_cert(der).encode()

    def listed_pair(self):
        with open(self.admin.key, "rb") as key, open(self.admin.cert, "rb") as cert:
            return key.read(), cert.read()

    def test_N50_no_certificate_opens_nothing_for_administrators(self):
        self.assertEqual(set(self.everywhere(PORT_CLUSTER_MANAGEMENT).values()),
                         {Code.UNAVAILABLE})

    def test_N50_a_certificate_that_is_not_listed_opens_nothing(self):
        server_only = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
        node = (peer.pem_of_key(self.machine.key),
                ssl.DER_cert_to_PEM_cert(self.machine.id_cert).encode())
        for key, cert in (self.pair(), self.pair(server_only), node):
            codes = self.everywhere(PORT_CLUSTER_MANAGEMENT, key, cert)
            for service, method in self.methods():
                allowed = {Code.UNAUTHENTICATED, Code.PERMISSION_DENIED}
                if service != "ClusterManagement":
                    allowed.add(Code.UNIMPLEMENTED)  # not of this port, for anybody
                self.assertIn(codes[method], allowed, method)
            with self.connect(PORT_CLUSTER_MANAGEMENT, key, cert) as channel:
                self.assertIn(self.raw(REFLECTION, b"", channel=channel)[0],
                              {Code.UNAUTHENTICATED, Code.PERMISSION_DENIED})

    def test_N50_every_method_of_the_administrators_is_known_to_their_port_only(self):
        codes = self.everywhere(PORT_CLUSTER_MANAGEMENT, *self.listed_pair())
        for service, method in self.methods():
            if service == "ClusterManagement":
                self.assertNotIn(codes[method], (Code.UNIMPLEMENTED, Code.PERMISSION_DENIED,
                                                 Code.UNAUTHENTICATED), method)
            else:
                self.assertIn(codes[method], (Code.UNIMPLEMENTED, Code.PERMISSION_DENIED), method)
        with self.connect(PORT_CLUSTER_MANAGEMENT, *self.listed_pair()) as channel:
            list_services = b"\x3a\x00"
            self.assertEqual(self.raw(REFLECTION, list_services, channel=channel)[0], Code.OK)
        self.assertEqual(self.raw(REFLECTION, b"")[0], Code.UNIMPLEMENTED)
        codes = self.everywhere(PORT_NODE_MANAGEMENT, *self.listed_pair())
        for service, method in self.methods():
            if service != "NodeManagementService":
                self.assertEqual(codes[method], Code.UNIMPLEMENTED, method)

    def test_N50_a_nodes_port_is_for_the_masters_only(self):
        node = cluster.Node(self.folder, self.vendor, "served")
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        self.admin.enrolment("served", node.config)
        node.start()
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        node_id = next(i for i, n in self.admin.nodes().items() if n["address"] == node.address)
        self.admin.call("node", "adopt", node_id)
        node.reboot()
        cluster.until(node.unlocked, 60, node.log)
        self.admin.call("node", "remove", node_id, "--yes")
        served = self.certificate_of(node.address)
        for key, cert in ((None, None), self.pair(), self.listed_pair()):
            with grpc.secure_channel(
                    f"{node.address}:{PORT_NODE}", grpc.ssl_channel_credentials(served, key, cert),
                    (("grpc.ssl_target_name_override", "smalltown-node"),
                     ("grpc.enable_http_proxy", 0))) as channel:
                for service, method in self.methods():
                    code = self.raw(f"/api.{service}/{method}", b"", channel=channel)[0]
                    self.assertIn(code, (Code.UNAVAILABLE, Code.PERMISSION_DENIED,
                                         Code.UNAUTHENTICATED), method)
        self.assertIn("no TLS", self.old_tls(node.address, PORT_NODE))

    def certificate_of(self, address):
        """The PEM that a server presents, whatever it thinks of us."""
        done = subprocess.run(["openssl", "s_client", "-connect", f"{address}:{PORT_NODE}", "-alpn",
                               "h2"], input="", capture_output=True, text=True, timeout=20,
                              check=False)
        begin = done.stdout.index("-----BEGIN CERTIFICATE-----")
        end = done.stdout.index("-----END CERTIFICATE-----") + 26
        return done.stdout[begin:end].encode()

    def old_tls(self, address, port):
        """What becomes of a client that speaks no TLS 1.3."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.set_alpn_protocols(["h2"])
        context.load_cert_chain(self.admin.cert, self.admin.key)
        with socket.create_connection((address, port), 10) as plain:
            try:
                with context.wrap_socket(plain) as tls:
                    return f"it speaks {tls.version()}"
            except (ssl.SSLError, ConnectionError) as error:
                return f"no TLS: {error}"

    def test_N50_TLS_1_2_is_refused(self):
        for port in (PORT_NODE_MANAGEMENT, PORT_CLUSTER_MANAGEMENT):
            self.assertIn("no TLS", self.old_tls(self.master.address, port))

    def test_the_lists_show_no_secret(self):
        with self.connect(PORT_CLUSTER_MANAGEMENT, *self.listed_pair()) as channel:
            stub = self.services.ClusterManagementStub(channel)
            for node in stub.ListNodes(self.api.ListNodesRequest()).nodes:
                self.assertEqual(node.global_unlock_key, b"")
            for listed in stub.ListEnrolmentConfigs(
                    self.api.ListEnrolmentConfigsRequest()).enrolment_config:
                self.assertEqual(listed.enrolment_secret, b"")


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


if __name__ == "__main__":
    unittest.main()

"""A node that shares no line of code with ours: tpm2-tools, python-cryptography and grpcio.

It speaks the contract's schema, or ours where a test gives it that.
"""
import datetime
import hashlib
import os
import struct

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from cluster import PORT_NODE_MANAGEMENT

EK, AK = "0x81010021", "0x81010022"  # 0x81010001 and so on are the vendor's
EK_CERT_NV = "0x01c00002"
ALL_PCRS = "sha256:" + ",".join(str(pcr) for pcr in range(16))
CONFIG_PCR, CONFIG_LABEL = 12, b"smalltown enrolment config v1"
FOR_EVER = datetime.datetime(9999, 12, 31, 23, 59, 59)


def self_signed(key, name="peer", extensions=(), begins=datetime.datetime(1970, 1, 1),
                ends=FOR_EVER):
    """An Ed25519 certificate in DER, as long as time."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 7,
                                      begins, ends)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, None).public_bytes(serialization.Encoding.DER)


def pem_of_key(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def node_id_of(key):
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return "smalltown-" + raw[:16].hex()


def channel_to(address, port, root_pem, key_pem=None, cert_pem=None, options=()):
    """A stock gRPC channel: masters.pem is the root, the name in it is overridden."""
    return grpc.secure_channel(
        f"{address}:{port}",
        grpc.ssl_channel_credentials(root_pem, key_pem, cert_pem),
        (("grpc.ssl_target_name_override", "smalltown-master"),
         ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1),
         *options))


def config_digest(masters_cert):
    """What PCR 12 is extended by."""
    return hashlib.sha256(CONFIG_LABEL + masters_cert).digest()


class Machine:
    """A TPM as tpm2-tools drive it, and an id key."""

    masters_cert = b""  # of its enrolment.pb: who asks measures it, once in each boot

    def __init__(self, tpm, ak="rsa"):
        self.tpm, self.ak, self.folder = tpm, ak, tpm.state
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.id_cert = self_signed(self.key)
        self.node_id = node_id_of(self.key)
        self.global_half = os.urandom(32)
        self._make_keys()

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _tool(self, *argv):
        return self.tpm.tool(*argv, cwd=self.folder)

    def _read(self, name):
        with open(self._path(name), "rb") as file:
            return file.read()

    def _write(self, name, content):
        with open(self._path(name), "wb") as file:
            file.write(content)

    def _make_keys(self):
        scheme = {"rsa": ["-G", "rsa", "-s", "rsassa"], "ecc": ["-G", "ecc", "-s", "ecdsa"]}
        persistent = self._tool("tpm2_getcap", "handles-persistent").lower()
        for handle in (EK, AK):
            if handle in persistent:
                self._tool("tpm2_evictcontrol", "-C", "o", "-c", handle)
        self._tool("tpm2_createek", "-G", "rsa", "-c", EK)
        self._tool("tpm2_flushcontext", "-t")
        self._tool("tpm2_readpublic", "-c", EK, "-f", "der", "-o", "ek.der")
        self._tool("tpm2_createak", "-C", EK, "-c", "ak.ctx", *scheme[self.ak], "-g", "sha256",
                   "-f", "tss", "-u", "ak.pub")
        self._tool("tpm2_flushcontext", "-t")
        self._tool("tpm2_evictcontrol", "-C", "o", "-c", "ak.ctx", AK)
        self._tool("tpm2_flushcontext", "-t")
        self.ek_pubkey = self._read("ek.der")
        self.ak_public = self._read("ak.pub")[2:]  # TPM2B_PUBLIC without its size
        self.ek_cert = b""
        if EK_CERT_NV[3:] in self._tool("tpm2_getcap", "handles-nv-index").lower():
            self._tool("tpm2_nvread", EK_CERT_NV, "-o", "ek.crt")
            self.ek_cert = self._read("ek.crt")

    def activate(self, credential, secret):
        """TPM2_ActivateCredential; the 32 bytes."""
        self._write("cred", struct.pack(">II", 0xBADCC0DE, 1)
                    + struct.pack(">H", len(credential)) + credential
                    + struct.pack(">H", len(secret)) + secret)
        self._tool("tpm2_startauthsession", "--policy-session", "-S", "session")
        self._tool("tpm2_policysecret", "-S", "session", "-c", "e")
        self._tool("tpm2_activatecredential", "-c", AK, "-C", EK, "-i", "cred", "-o", "solution",
                   "-P", "session:session")
        self._tool("tpm2_flushcontext", "session")
        return self._read("solution")

    def measure(self):
        """The enrolment, unless this boot did; nothing where it has none."""
        self._tool("tpm2_pcrread", f"sha256:{CONFIG_PCR}", "-o", "pcr")
        if self.masters_cert and not any(self._read("pcr")):
            digest = config_digest(self.masters_cert).hex()
            self._tool("tpm2_pcrextend", f"{CONFIG_PCR}:sha256={digest}")

    def quote(self, nonce, pcrs=ALL_PCRS):
        """(TPMS_ATTEST, signature as the contract wants it, 16 PCRs)."""
        self.measure()
        shape = "plain" if self.ak == "rsa" else "tss"
        self._tool("tpm2_quote", "-c", AK, "-l", pcrs, "-q", nonce.hex(), "-g", "sha256", "-m",
                   "quote", "-s", "signature", "-f", shape)
        self._tool("tpm2_pcrread", ALL_PCRS, "-o", "pcrs")
        pcr = self._read("pcrs")
        return (self._read("quote"), self._read("signature"),
                [pcr[i:i + 32] for i in range(0, 512, 32)])

    # The three messages of an enrolment and the one of an unlock.

    def register(self, api):
        return api.TPM2FlowRequest(register=api.TPM2RegisterRequest(
            ak_public=self.ak_public, ek_pubkey=self.ek_pubkey, ek_cert=self.ek_cert))

    def attest(self, api, request, **instead):
        quote, signature, pcrs = self.quote(instead.pop("nonce", request.quote_nonce))
        solution = self.activate(request.ak_challenge, request.ak_challenge_secret)
        fields = {"quote": quote, "quote_signature": signature, "pcrs": pcrs,
                  "ak_challenge_solution": solution, **instead}
        return api.TPM2FlowRequest(attest_response=api.TPM2AttestResponse(**fields))

    def info(self, api, config, ip=b"\x7f\0\0\x07", **instead):
        fields = {"enrolment_config": config, "ip": ip, "id_cert": self.id_cert,
                  "global_unlock_key": self.global_half, **instead}
        return api.TPM2FlowRequest(new_node_info=api.NewNodeInfo(**fields))

    def unlock(self, api, nonce, **instead):
        quote, signature, pcrs = self.quote(nonce)
        fields = {"node_id": self.node_id, "quote": quote, "quote_signature": signature,
                  "pcrs": pcrs, **instead}
        return api.TPM2UnlockFlowRequeset(unlock_request=api.TPM2UnlockRequest(**fields))


class Stream:
    """One bidirectional call, message by message, from one thread."""

    def __init__(self, method, timeout=30):
        self._queue, self._closed = [], False
        import threading
        self._change = threading.Condition()
        self.call = method(self._requests(), timeout=timeout)

    def _requests(self):
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                message = self._queue.pop(0)
            yield message

    def send(self, *messages):
        with self._change:
            self._queue.extend(messages)
            self._change.notify()
        return self

    def half_close(self):
        with self._change:
            self._closed = True
            self._change.notify()
        return self

    def receive(self):
        return next(self.call)

    def finish(self):
        """Half-closes; (code, details) of the status, and no message before it."""
        self.half_close()
        try:
            for message in self.call:
                raise AssertionError(f"a message instead of the status: {message}")
        except grpc.RpcError:
            pass
        return self.call.code(), self.call.details()

    def cancel(self):
        self.call.cancel()
        self.half_close()


def enrol(api, stub, machine, config, **info):
    """The whole flow; the status."""
    machine.masters_cert = config.masters_cert
    stream = Stream(stub.NewTPM2NodeRegister).send(machine.register(api))
    request = stream.receive().attest_request
    stream.send(machine.attest(api, request), machine.info(api, config, **info))
    return stream.finish()


def unlock(api, stub, machine, **instead):
    """The whole flow; (global half or None, status)."""
    stream = Stream(stub.TPM2Unlock)
    nonce = stream.receive().unlock_init.nonce
    stream.send(machine.unlock(api, nonce, **instead))
    try:
        half = stream.receive().unlock_response.global_unlock_key
    except grpc.RpcError:
        half = None
    return half, stream.finish()


def fingerprint(der):
    return hashlib.sha256(der).hexdigest()

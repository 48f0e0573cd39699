"""A node whose TPM is a few keys in memory: as fast as load needs it, and the same bytes.

A master judges bytes only.  What a chip would refuse to sign, this one signs; that is the business
of tests/tpm, where the same bytes are forged in C.
"""
import hashlib
import hmac
import os
import struct

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import peer

ID_PROOF_LABEL = b"smalltown enrolment v1"
P256, SHA256, ECDSA, NULL = 0x0003, 0x000B, 0x0018, 0x0010
# fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign
AK_ATTRIBUTES = 0x00050472
PCRS = [hashlib.sha256(f"image 1 {pcr}".encode()).digest() for pcr in range(16)]


def tpm2b(content):
    return struct.pack(">H", len(content)) + content


def split_tpm2b(content):
    """(the first TPM2B's content, what comes behind it)."""
    size, = struct.unpack_from(">H", content)
    return content[2:2 + size], content[2 + size:]


def coordinate(number):
    return number.to_bytes(32, "big")


def kdfa(key, label, context, length):
    """Part 1, 11.4.10.2, for no more than one SHA-256."""
    message = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", 8 * length)
    return hmac.digest(key, message, "sha256")[:length]


class SoftMachine(peer.Machine):
    """peer.Machine, whose EK and AK are ours (both P-256, as on a chip of today)."""

    def __init__(self):  # pylint: disable=super-init-not-called
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.id_cert = peer.self_signed(self.key)
        self.node_id = peer.node_id_of(self.key)
        self.global_half = os.urandom(32)
        self.ek = ec.generate_private_key(ec.SECP256R1())
        self.ek_pubkey = self.ek.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.ek_cert = b""
        self.ak_key = ec.generate_private_key(ec.SECP256R1())
        point = self.ak_key.public_key().public_numbers()
        self.ak_public = struct.pack(">HHIHHHHHH", 0x0023, SHA256, AK_ATTRIBUTES, 0, NULL, ECDSA,
                                     SHA256, P256, NULL) \
            + tpm2b(coordinate(point.x)) + tpm2b(coordinate(point.y))
        self.ak_name = struct.pack(">H", SHA256) + hashlib.sha256(self.ak_public).digest()

    def activate(self, credential, secret):
        """Part 1, 24, backwards: KDFe over the shared point, then HMAC and AES-CFB."""
        x, rest = split_tpm2b(secret)
        y, _ = split_tpm2b(rest)
        theirs = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"),
                                               ec.SECP256R1()).public_key()
        shared = self.ek.exchange(ec.ECDH(), theirs)
        ours = coordinate(self.ek.public_key().public_numbers().x)
        seed = hashlib.sha256(struct.pack(">I", 1) + shared + b"IDENTITY\0" + x + ours).digest()
        integrity, sealed = split_tpm2b(credential)
        expected = hmac.digest(kdfa(seed, b"INTEGRITY", b"", 32), sealed + self.ak_name, "sha256")
        assert hmac.compare_digest(integrity, expected), "a challenge for another TPM"
        key = kdfa(seed, b"STORAGE", self.ak_name, 16)
        plain = Cipher(algorithms.AES(key), modes.CFB(bytes(16))).decryptor().update(sealed)
        return split_tpm2b(plain)[0]

    def quote(self, nonce, pcrs=None):
        pcrs = pcrs or self.measured()
        attest = struct.pack(">IH", 0xFF544347, 0x8018) + tpm2b(self.ak_name) + tpm2b(nonce) \
            + struct.pack(">QIIBQ", 123456, 7, 2, 1, 0x2019102300163636) \
            + struct.pack(">IHB", 1, SHA256, 3) + b"\xff\xff\0" \
            + tpm2b(hashlib.sha256(b"".join(pcrs)).digest())
        r, s = utils.decode_dss_signature(self.ak_key.sign(attest, ec.ECDSA(hashes.SHA256())))
        signature = struct.pack(">HH", ECDSA, SHA256) + tpm2b(coordinate(r)) + tpm2b(coordinate(s))
        return attest, signature, pcrs

    def measured(self):
        """PCRS, and 12 as a node leaves it before it asks."""
        pcrs = list(PCRS)
        pcrs[peer.CONFIG_PCR] = hashlib.sha256(
            bytes(32) + peer.config_digest(self.masters_cert)).digest()
        return pcrs

    def proof(self, nonce):
        """That it holds the key of its id_cert."""
        return self.key.sign(ID_PROOF_LABEL + nonce)

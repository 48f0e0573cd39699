"""Strangers who open streams and say nothing: HTTP/2 by hand, thousands of them from one thread.

grpcio can neither choose the address that it comes from nor hold so many cheaply.  Only what
such a stranger needs is here: frames are written, and counted when they come back.
"""
import selectors
import socket
import ssl
import struct
import time

STREAMS = 128  # of one connection; the servers allow no more
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field, name and value in plain or the name from the static table (RFC 7541)."""
    name = name if isinstance(name, bytes) else b"\0" + bytes([len(name)]) + name.encode()
    return name + bytes([len(value)]) + value.encode()


def headers(path):
    """A gRPC call of this path: POST, https."""
    return b"\x83\x87" + literal(b"\x04", path) + literal(b"\x01", "smalltown-master") \
        + literal(b"\x0f\x10", "application/grpc") + literal("te", "trailers")


class Guest:
    """One connection, from an address of one's choice."""

    def __init__(self, address, port, source="127.0.0.1"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection((address, port), 30, (source, 0))
        self.socket = context.wrap_socket(plain, server_hostname="smalltown-master")
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        self.opened, self.buffer = 0, b""
        self.answered, self.ended = set(), set()  # streams

    def open(self, path, count):
        assert self.opened + count <= STREAMS
        block = headers(path)
        first, self.opened = self.opened, self.opened + count
        self.socket.sendall(b"".join(frame(HEADERS, END_HEADERS, 2 * number + 1, block)
                                     for number in range(first, self.opened)))

    def _take(self, kind, flags, stream):
        if kind == GOAWAY:
            raise AssertionError("the server ends the connection")
        if kind == DATA:
            self.answered.add(stream)
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self.ended.add(stream)

    def read(self):
        """What has come; pings are answered."""
        received = self.socket.recv(1 << 16)
        if not received:
            raise AssertionError("the server closed the connection")
        self.buffer += received
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
            if len(self.buffer) < 9 + length:
                break
            if kind == PING and not flags:
                self.socket.sendall(frame(PING, 1, 0, self.buffer[9:9 + length]))
            self._take(kind, flags, stream)
            self.buffer = self.buffer[9 + length:]

    def close(self):
        self.socket.close()


class Crowd:
    """As many streams as one likes, spread over networks."""

    def __init__(self, address, port):
        self.address, self.port, self.guests = address, port, []

    def open(self, path, count, sources):
        for source in sources:
            left = count // len(sources)
            while left:
                guest = Guest(self.address, self.port, source)
                guest.open(path, min(left, STREAMS))
                left -= min(left, STREAMS)
                self.guests.append(guest)
        return self

    def count(self, what):
        return sum(len(getattr(guest, what)) for guest in self.guests)

    def read_until(self, enough, timeout=60):
        """Reads from all of them until enough() is true."""
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            for guest in self.guests:
                selector.register(guest.socket, selectors.EVENT_READ, guest)
            while not enough():
                assert time.monotonic() < deadline, \
                    f"{self.count('answered')} answered, {self.count('ended')} ended"
                for key, _ in selector.select(1):
                    key.data.read()
                    while key.data.socket.pending():
                        key.data.read()
        return self

    def close(self):
        for guest in self.guests:
            guest.close()

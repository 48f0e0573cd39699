#!/usr/bin/python3 -B
"""The switch between the machines of a cluster: hub.py NAME..., in the cluster's folder.

Each machine is a QEMU that connects to NAME/net and sends frames with four bytes of length before
each.  While there is a file NAME/cut its cable is cut, in both directions; frames pass between
machines whose files NAME/side say the same, or are not there.  A machine that takes nothing (it is
frozen, or slow) loses frames, and holds up nobody else.
"""
import os
import selectors
import socket
import sys
import time

FRAME_MAX, WAITING_MAX, LOOK_S = 1 << 16, 1 << 20, 0.05


class Port:
    """One cable."""

    def __init__(self, name):
        self.name, self.connection = name, None
        self.received, self.waiting = bytearray(), bytearray()
        self.cut, self.side = False, b""
        path = os.path.join(name, "net")
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.listener.setblocking(False)

    def look(self):
        self.cut = os.path.exists(os.path.join(self.name, "cut"))
        try:
            with open(os.path.join(self.name, "side"), "rb") as file:
                self.side = file.read()
        except FileNotFoundError:
            self.side = b""

    def reaches(self, other):
        return not self.cut and not other.cut and self.side == other.side

    def frames(self):
        """Takes the whole ones out of what was received."""
        while len(self.received) >= 4:
            size = int.from_bytes(self.received[:4], "big")
            if size > FRAME_MAX:
                raise ConnectionError("no frame")
            if len(self.received) < 4 + size:
                return
            frame = bytes(self.received[:4 + size])
            del self.received[:4 + size]
            yield frame


class Hub:
    def __init__(self, names):
        self.ports = [Port(name) for name in names]
        self.where = {}  # hardware address: port
        self.selector = selectors.DefaultSelector()
        self.looked = 0.0
        for port in self.ports:
            self.selector.register(port.listener, selectors.EVENT_READ, port)

    def look_for_cuts(self):
        now = time.monotonic()
        if now - self.looked > LOOK_S:
            self.looked = now
            for port in self.ports:
                port.look()

    def connect(self, port):
        connection, _ = port.listener.accept()
        self.disconnect(port)
        connection.setblocking(False)
        port.connection = connection
        self.selector.register(connection, selectors.EVENT_READ, port)

    def disconnect(self, port):
        if port.connection:
            self.selector.unregister(port.connection)
            port.connection.close()
        port.connection = None
        port.received.clear()
        port.waiting.clear()

    def send(self, port, frame):
        if not port.connection or len(port.waiting) + len(frame) > WAITING_MAX:
            return
        port.waiting += frame
        self.flush(port)

    def flush(self, port):
        try:
            if port.waiting:
                del port.waiting[:port.connection.send(port.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self.disconnect(port)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if port.waiting else 0)
        self.selector.modify(port.connection, events, port)

    def receive(self, port):
        try:
            received = port.connection.recv(1 << 18)
            if not received:
                raise ConnectionError("gone")
            port.received += received
            for frame in port.frames():
                self.switch(port, frame)
        except BlockingIOError:
            pass
        except OSError:
            self.disconnect(port)

    def switch(self, port, frame):
        to, sender = frame[4:10], frame[10:16]
        self.where[sender] = port
        known = self.where.get(to)
        for other in [known] if known else self.ports:
            if other is not port and port.reaches(other):
                self.send(other, frame)

    def run(self):
        while True:
            for key, events in self.selector.select():
                self.look_for_cuts()
                port = key.data
                if key.fileobj is port.listener:
                    self.connect(port)
                elif key.fileobj is port.connection and events & selectors.EVENT_READ:
                    self.receive(port)
                if key.fileobj is port.connection and events & selectors.EVENT_WRITE:
                    self.flush(port)


if __name__ == "__main__":
    Hub(sys.argv[1:]).run()

"""Thousands of strangers before a master, and storms of good nodes: who is served meanwhile."""
import os
import re
import resource
import socket
import sys
import threading
import time
import unittest

import grpc

import cluster
import crowd
import peer
import stubs
from cluster import PORT_NODE_MANAGEMENT

sys.path.insert(0, os.path.join(cluster.SOURCE, "tests", "torture"))
import softnode  # pylint: disable=wrong-import-position

Code = grpc.StatusCode
REGISTER = "/api.NodeManagementService/NewTPM2NodeRegister"
UNLOCK = "/api.NodeManagementService/TPM2Unlock"
UNLOCKS, REGISTERS, NETWORK = 4096, 1024, 512  # nms/nms.h, proto/rpc_server.c
CONNECTIONS = 4096  # proto/rpc_accept.c
MIB = 1 << 20
STORM = 40


def is_open(connection):
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


class Crowds(cluster.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        folder = cls.folder / "stubs"
        os.mkdir(folder)
        cls.api, cls.services = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"),
                                           folder)
        with open(cls.master.masters_pem, "rb") as file:
            cls.masters_pem = file.read()
        cls.admin.enrolment("peers", cls.folder / "peers.pb", uses=100)
        with open(cls.folder / "peers.pb", "rb") as file:
            cls.config = cls.api.EnrolmentConfig.FromString(file.read())
        channel, stub = cls.stub()
        cls.machines = [softnode.SoftMachine() for _ in range(STORM)]
        for machine in cls.machines:
            assert peer.enrol(cls.api, stub, machine, cls.config)[0] == Code.OK
            cls.admin.call("node", "adopt", machine.node_id)
        channel.close()

    @classmethod
    def stub(cls):
        channel = peer.channel_to(cls.master.address, PORT_NODE_MANAGEMENT, cls.masters_pem)
        return channel, cls.services.NodeManagementServiceStub(channel)

    def crowd(self):
        strangers = crowd.Crowd(self.master.address, PORT_NODE_MANAGEMENT)
        self.addCleanup(strangers.close)
        return strangers

    def resident(self):
        with open(f"/proc/{self.master.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024

    def unlock(self, machine):
        """(its half or None, the hint in ms); on a connection of its own."""
        channel, stub = self.stub()
        call = peer.Stream(stub.TPM2Unlock)
        try:
            nonce = call.receive().unlock_init.nonce
            call.send(machine.unlock(self.api, nonce))
            half = call.receive().unlock_response.global_unlock_key
            self.assertEqual(call.finish()[0], Code.OK)
            return half, 0
        except grpc.RpcError as refusal:
            self.assertEqual(refusal.code(), Code.RESOURCE_EXHAUSTED, refusal)
            trailers = dict(refusal.trailing_metadata())
            self.assertEqual(trailers["smalltown-reason"], "busy")
            return None, int(trailers["smalltown-retry-ms"])
        finally:
            call.cancel()
            channel.close()

    def test_N44_five_thousand_silent_streams_keep_no_good_node_out(self):
        machine = self.machines[0]
        networks = [f"127.9.8.{host}" for host in range(1, 11)]
        before = self.resident()
        self.unlock(machine)
        strangers = self.crowd().open(UNLOCK, 5000, networks)
        strangers.read_until(lambda: len(strangers.guests) and
                             strangers.count("answered") >= UNLOCKS)
        enrolling = self.crowd().open(REGISTER, REGISTERS,
                                      [f"127.9.9.{host}" for host in range(1, 5)])
        began = time.monotonic()
        half, _ = self.unlock(machine)
        took = time.monotonic() - began
        full = self.resident()
        print(f"\n  5,000 silent unlocks: {len(strangers.guests)} connections, resident "
              f"{before / MIB:.0f} -> {full / MIB:.0f} MiB, "
              f"a good node's unlock took {took:.2f} s", flush=True)
        self.assertEqual(half, machine.global_half)
        self.assertGreaterEqual(5000 - strangers.count("ended"), 2000, "they were there meanwhile")
        self.assertLess(full - before, 512 * MIB)
        # Whoever says nothing is gone soon, and not because the connection was lost.
        strangers.read_until(lambda: strangers.count("ended") == 5000)
        enrolling.read_until(lambda: enrolling.count("ended") == REGISTERS)

    def test_N45_forty_networks_leave_room_for_administrators_and_nodes(self):
        machine = self.machines[0]
        held = []
        for number in range(CONNECTIONS + 400):
            held.append(socket.create_connection((self.master.address, PORT_NODE_MANAGEMENT), 30,
                                                 (f"127.9.7.{1 + number % 40}", 0)))
            self.addCleanup(held[-1].close)
        half, _ = self.unlock(machine)
        nodes = self.admin.nodes()
        left = sum(is_open(connection) for connection in held)
        print(f"\n  {left} connections without a hello from 40 networks", flush=True)
        self.assertEqual(half, machine.global_half)
        self.assertIn(machine.node_id, nodes)
        self.assertGreater(left, CONNECTIONS // 2, "they were there meanwhile")
        self.assertLess(left, CONNECTIONS - 400, "not all of them were let in")

    def test_N46_a_storm_from_a_crowded_network_is_served_to_the_last(self):
        strangers = self.crowd().open(UNLOCK, NETWORK, ["127.0.0.1"])
        strangers.read_until(lambda: strangers.count("answered") == NETWORK)
        halves, refused = {}, []

        def ask_until_answered(machine):
            for _ in range(100):
                half, hint = self.unlock(machine)
                if half:
                    halves[machine.node_id] = half
                    return
                refused.append(hint)
                time.sleep(hint / 1000)
        nodes = [threading.Thread(target=ask_until_answered, args=(machine,))
                 for machine in self.machines]
        for node in nodes:
            node.start()
        for node in nodes:
            node.join()
        self.assertEqual(halves, {m.node_id: m.global_half for m in self.machines})
        self.assertGreater(len(refused), STORM // 2)
        self.assertGreater(len(set(refused)), len(refused) // 4, "hints are spread")

    def test_N46_a_node_that_is_told_to_come_back_comes_back(self):
        node = cluster.Node(self.folder, self.vendor)
        self.admin.enrolment("node", node.config)
        node.start()
        node_id = cluster.until(lambda: set(self.admin.nodes()) -
                                {machine.node_id for machine in self.machines}, 60, node.log)
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        self.admin.call("node", "adopt", *node_id)
        node.kill()
        strangers = self.crowd().open(UNLOCK, NETWORK, ["127.0.0.1"])
        strangers.read_until(lambda: strangers.count("answered") == NETWORK)
        since = len(node.log())
        node.reboot()
        node.expect(r"^unlock decision=retry .*the masters are busy", since)
        cluster.until(node.unlocked, 60, node.log)
        node.terminate()
        node.tpm.kill()


if __name__ == "__main__":
    unittest.main()

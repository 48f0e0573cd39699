"""One client of all masters: what it is told, or that it was not told."""
import queue
import socket
import time

import grpc
from cryptography.hazmat.primitives import serialization

import cluster
import peer

# What a master says only about a call that it decided.  Any other end leaves it open.
DECIDED = {
    grpc.StatusCode.OK: "ok",
    grpc.StatusCode.ALREADY_EXISTS: "exists",
    grpc.StatusCode.NOT_FOUND: "absent",
    grpc.StatusCode.PERMISSION_DENIED: "refused",
    grpc.StatusCode.FAILED_PRECONDITION: "not adopted",
    grpc.StatusCode.INVALID_ARGUMENT: "malformed",
    grpc.StatusCode.UNAUTHENTICATED: "nobody",
    grpc.StatusCode.UNIMPLEMENTED: "unimplemented",
}
RECONNECTING = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 300),
                ("grpc.min_reconnect_backoff_ms", 2000))
JOIN_LABEL = b"smalltown member v1"
FAMILY = {4: socket.AF_INET, 16: socket.AF_INET6}
POLL_S = 0.3  # grpcio looks after a connection that much longer than anybody wants it to
# Most clients give up before a master does (NMS_COMMIT_MS), some hear what it says then.
PATIENT_S = 12
CALL_S, CONNECT_S, SILENCE_S = 5, 2, 0.1


class Lost(Exception):
    """Whether the call had an effect is not known."""


class Unasked(Lost):
    """It ended before anything was asked for: there was no effect."""


class Refused(Exception):
    """The call was decided, and this word is the answer."""


def judged(error):
    """The exception of ours for one of gRPC's."""
    word = DECIDED.get(error.code())
    return Refused(word) if word else Lost(f"{error.code().name}: {error.details()}")


def connects(channel):
    """Whether it is connected within CONNECT_S; at once where nobody listens."""
    states = queue.SimpleQueue()
    channel.subscribe(states.put, try_to_connect=True)
    deadline = time.monotonic() + CONNECT_S
    try:
        while True:
            state = states.get(timeout=max(0, deadline - time.monotonic()))
            if state is grpc.ChannelConnectivity.READY:
                return True
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                return False
    except queue.Empty:
        return False
    finally:
        channel.unsubscribe(states.put)


class Keys:
    """What a client needs to know of the cluster and of itself."""

    def __init__(self, api, services, masters_pem, admin):
        self.api, self.services = api, services
        with open(masters_pem, "rb") as file:
            self.masters_pem = file.read()
        with open(admin.key, "rb") as file:
            self.admin_key = file.read()
        with open(admin.cert, "rb") as file:
            self.admin_cert = file.read()


class Client:
    """For one thread.  Connections are kept, and given up where they answer nothing.  call_s: how
    long it waits for an answer."""

    def __init__(self, keys, name, call_s=CALL_S):
        self.keys, self.api, self.name, self.call_s = keys, keys.api, name, call_s
        self._channels, self._proven = {}, set()
        self._silent = {}  # until when a place that did not answer is left alone

    def close(self):
        time.sleep(POLL_S)
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        self._proven.clear()

    def _channel(self, address, port):
        """One that is connected, or Unasked: what was never sent needs no place in a history."""
        keys, place = self.keys, (address, port)
        if time.monotonic() < self._silent.get(place, 0):
            raise Unasked(f"{address} did not answer a moment ago")
        if place not in self._channels:
            own = (keys.admin_key, keys.admin_cert) if port == cluster.PORT_CLUSTER_MANAGEMENT \
                else (None, None)
            self._channels[place] = peer.channel_to(address, port, keys.masters_pem, *own,
                                                    RECONNECTING)
        if place not in self._proven:
            if not connects(self._channels[place]):
                self._silent[place] = time.monotonic() + SILENCE_S
                raise Unasked(f"{address} does not answer")
            self._proven.add(place)
        return self._channels[place]

    def _after(self, address, port, code):
        """A connection over which something was lost is looked at before it is used again."""
        if code in DECIDED:
            return
        self._proven.discard((address, port))
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            self._channels.pop((address, port)).close()

    # What is asked of 7836.

    def new_enrolment(self, address, name, request_id, uses=1):
        request = self.api.NewEnrolmentConfigRequest(name=name, request_id=request_id, uses=uses)
        return self.admin(address, "NewEnrolmentConfig", request).enrolment_config

    def remove_enrolment(self, address, name):
        request = self.api.RemoveEnrolmentConfigRequest(name=name)
        self.admin(address, "RemoveEnrolmentConfig", request)

    def adopt(self, address, node_id):
        self.admin(address, "AddNode", self.api.AddNodeRequest(node_id=node_id))

    def remove_node(self, address, node_id):
        self.admin(address, "RemoveNode", self.api.RemoveNodeRequest(node_id=node_id))

    def enrolments(self, address):
        listed = self.admin(address, "ListEnrolmentConfigs", self.api.ListEnrolmentConfigsRequest())
        return {config.name: config for config in listed.enrolment_config}

    def nodes(self, address):
        listed = self.admin(address, "ListNodes", self.api.ListNodesRequest())
        return {node.node_id: node for node in listed.nodes}

    def masters(self, address):
        listed = self.admin(address, "ListMasters", self.api.ListMastersRequest())
        return {socket.inet_ntop(FAMILY[len(m.address)], m.address): m for m in listed.masters}

    def invite(self, address, name):
        return self.admin(address, "InviteMaster", self.api.InviteMasterRequest(name=name)).ticket

    def remove_master(self, address, member_id):
        """It may take as long as the master lets it."""
        request = self.api.RemoveMasterRequest(id=member_id, force=True)
        self.admin(address, "RemoveMaster", request, 60)

    def status(self, address, with_digest=False):
        return self.admin(address, "GetStatus",
                          self.api.GetStatusRequest(with_digest=with_digest), 2)

    @staticmethod
    def forgive(call, *args):
        """Whether it is there or not: Lost goes on."""
        try:
            call(*args)
        except Refused:
            pass

    def admin(self, address, method, request, timeout=None):
        """A unary call to 7836; its answer, Refused or Lost."""
        port = cluster.PORT_CLUSTER_MANAGEMENT
        stub = self.keys.services.ClusterManagementStub(self._channel(address, port))
        try:
            return getattr(stub, method)(request, timeout=timeout or self.call_s)
        except grpc.RpcError as error:
            self._after(address, port, error.code())
            raise judged(error) from None

    def join(self, address, ticket, key, own_address):
        """As a host without a TPM asks, once; its certificates."""
        public = key.public_key().public_bytes(serialization.Encoding.Raw,
                                               serialization.PublicFormat.Raw)
        request = self.api.JoinMastersRequest(
            secret=ticket.secret, address=socket.inet_aton(own_address), public_key=public,
            proof=key.sign(JOIN_LABEL + ticket.secret))
        stub = self._stranger(address)
        try:
            return stub.JoinMasters(request, timeout=self.call_s).certs
        except grpc.RpcError as error:
            self._after(address, cluster.PORT_NODE_MANAGEMENT, error.code())
            raise judged(error) from None

    def _stranger(self, address):
        channel = self._channel(address, cluster.PORT_NODE_MANAGEMENT)
        return self.keys.services.NodeManagementServiceStub(channel)

    def enrol(self, address, machine, config, half):
        """The whole flow; returns where it is committed.  Unasked where it did not get to that."""
        asked, machine.masters_cert = False, config.masters_cert
        stream = peer.Stream(self._stranger(address).NewTPM2NodeRegister, self.call_s)
        try:
            stream.send(machine.register(self.api))
            request = stream.receive().attest_request
            proof = machine.attest(self.api, request)
            info = machine.info(self.api, config, global_unlock_key=half,
                                id_proof=machine.proof(request.quote_nonce))
            asked = True
            stream.send(proof, info)
            code, details = stream.finish()
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
        finally:
            stream.cancel()
        self._after(address, cluster.PORT_NODE_MANAGEMENT, code)
        if code in DECIDED and code != grpc.StatusCode.OK:
            raise Refused(DECIDED[code])
        if code != grpc.StatusCode.OK:
            raise (Lost if asked else Unasked)(f"{code.name}: {details}")

    def unlock(self, address, machine):
        """The whole flow; the global half in hex.  Who has the half was told, whatever comes
        behind it."""
        stream = peer.Stream(self._stranger(address).TPM2Unlock, self.call_s)
        try:
            nonce = stream.receive().unlock_init.nonce
            stream.send(machine.unlock(self.api, nonce))
            return stream.receive().unlock_response.global_unlock_key.hex()
        except grpc.RpcError as error:
            self._after(address, cluster.PORT_NODE_MANAGEMENT, error.code())
            raise judged(error) from None
        finally:
            stream.cancel()

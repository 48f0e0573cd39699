"""etcd as Debian has it: as many members as asked for, TLS with certificates everywhere."""
import json
import os
import subprocess

import cluster

CLIENT_PORT, PEER_PORT = 2379, 2380


def make_certificate(folder, addresses):
    """One Ed25519 certificate for all members, self-signed, as our masters have; its files."""
    key, cert = folder / "etcd-key.pem", folder / "etcd.pem"
    # A member looks at where another one calls from, too: on loopback that is 127.0.0.1.
    names = ",".join(f"IP:{address}" for address in [*addresses, "127.0.0.1"])
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-noenc", "-keyout", key, "-out", cert,
         "-subj", "/CN=etcd", "-days", "3650", "-addext", f"subjectAltName={names}",
         "-addext", "extendedKeyUsage=serverAuth,clientAuth"],
        check=True, capture_output=True)
    return key, cert


class Etcd:
    """A whole cluster."""

    def __init__(self, folder, admin, members):
        self.addresses = [cluster.fresh_address() for _ in range(members)]
        self.key, self.cert = make_certificate(folder, self.addresses)
        self.folder = folder
        self.trusted = folder / "etcd-trusted.pem"
        with open(self.trusted, "w", encoding="ascii") as out:
            for name in (self.cert, admin.cert):
                with open(name, encoding="ascii") as text:
                    out.write(text.read())
        self.members = [cluster.Program(folder / f"etcd-{number}.log")
                        for number in range(members)]

    def start(self):
        """Every member; returns when all are healthy."""
        group = ",".join(f"m{number}=https://{address}:{PEER_PORT}"
                         for number, address in enumerate(self.addresses))
        for number, (address, member) in enumerate(zip(self.addresses, self.members)):
            client, peer = f"https://{address}:{CLIENT_PORT}", f"https://{address}:{PEER_PORT}"
            member.spawn([
                "etcd", "--name", f"m{number}", "--data-dir", self.folder / f"etcd-{number}",
                "--initial-cluster", group, "--initial-cluster-state", "new",
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--cert-file", self.cert, "--key-file", self.key, "--client-cert-auth",
                "--trusted-ca-file", self.trusted,
                "--peer-cert-file", self.cert, "--peer-key-file", self.key,
                "--peer-client-cert-auth", "--peer-trusted-ca-file", self.trusted,
                # Our client asks a silent server early whether it is alive.
                "--grpc-keepalive-min-time", "0s",
                # The gateway would be a client of its own, and is not used.
                "--enable-grpc-gateway=false", "--logger", "zap"])
        cluster.until(self.healthy, 60, self.members[0].log, 0.2)

    def control(self, *words):
        """etcdctl; what it printed, or None."""
        endpoints = ",".join(f"https://{address}:{CLIENT_PORT}" for address in self.addresses)
        done = subprocess.run(
            ["etcdctl", "--endpoints", endpoints, "--cert", self.cert, "--key", self.key,
             "--cacert", self.cert, "-w", "json", *words],
            env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, timeout=60,
            check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def healthy(self):
        said = self.control("endpoint", "health")
        return said and all(one["health"] for one in said)

    def leader_first(self):
        """The addresses, that of the leader before the others."""
        def leads(endpoint):
            status = endpoint["Status"]
            return status["header"]["member_id"] == status["leader"]
        status = cluster.until(lambda: self.control("endpoint", "status"), 30, "etcd's status", 0.5)
        first = [one["Endpoint"].split("//")[1].rsplit(":", 1)[0] for one in status if leads(one)]
        return first + [address for address in self.addresses if address not in first]

    def stop(self):
        for member in self.members:
            member.process.terminate()
        for member in self.members:
            member.wait()

    def pids(self):
        return [member.process.pid for member in self.members]

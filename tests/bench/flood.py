"""tools/bench flood: what strangers cost a master who begin handshakes again and again."""
import concurrent.futures
import socket
import ssl
import time

import cluster
import measure

PORTS = (7834, 7833)
STRANGER = "127.9.8.1"
WORKERS = 16
TICK_S = 0.01


def first_of_tls():
    """What a client says first, as bytes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    sent = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="smalltown-master").do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    raise AssertionError("a handshake of one side")


def begin(address, port, hello):
    """One handshake, left after the first byte of the answer; whether there was one."""
    try:
        with socket.create_connection((address, port), 30, (STRANGER, 0)) as connection:
            connection.sendall(hello)
            return len(connection.recv(1))
    except ConnectionError:
        return 0


def begin_often(address, port, rate, seconds):
    """So many handshakes in each second; how many there were, and how many were answered."""
    hello, began = first_of_tls(), time.monotonic()

    def work(_):
        count = answered = 0
        while (passed := time.monotonic() - began) < seconds:
            if count < passed * rate / WORKERS:
                answered += begin(address, port, hello)
                count += 1
            else:
                time.sleep(TICK_S)
        return count, answered
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        ends = list(pool.map(work, range(WORKERS)))
    return [sum(column) for column in zip(*ends)]


def used(master, work):
    """Seconds of processor time in each second of work(), and what that returns."""
    began, before = time.monotonic(), measure.processor(master.process.pid)
    result = work()
    return (measure.processor(master.process.pid) - before) / (time.monotonic() - began), result


def run(arguments):
    folder = cluster.Folder()
    master = cluster.Master(folder, cluster.Admin(folder)).start()
    master.expect(r"leader member=1")
    idle, _ = used(master, lambda: time.sleep(arguments.seconds))
    print(f"idle: {idle:.3f} of a core", flush=True)
    for port in PORTS:
        share, (count, answered) = used(master, lambda port=port: begin_often(
            master.address, port, arguments.rate, arguments.seconds))
        print(f"port {port}, {count / arguments.seconds:.0f} handshakes a second, "
              f"{answered / arguments.seconds:.0f} answered: {share - idle:.3f} of a core, "
              f"{(share - idle) * arguments.seconds / count * 1e6:.0f} us each", flush=True)
    master.terminate()
    return True

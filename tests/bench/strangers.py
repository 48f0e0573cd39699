"""tools/bench strangers: what a master pays for those who come and say nothing."""
import socket
import time

import cluster
import crowd
import measure

UNLOCK = "/api.NodeManagementService/TPM2Unlock"
NETWORKS = [f"127.9.8.{host}" for host in range(1, 17)]
LIMIT = 512 * measure.MIB
SETTLE_S = 2


def resident(master):
    time.sleep(SETTLE_S)
    return measure.memory(master.process.pid)["Rss"]


def cost(master, what, count, come):
    """Prints what each of so many is in bytes; what they hold open, and the sum."""
    before = resident(master)
    held = come(count)
    after = resident(master)
    print(f"  {count} {what}: {(after - before) / count / 1000:.1f} kB each, "
          f"resident {measure.mib(after)}", flush=True)
    return held, after


def streams(master):
    def come(count):
        strangers = crowd.Crowd(master.address, cluster.PORT_NODE_MANAGEMENT)
        strangers.open(UNLOCK, count, NETWORKS)
        return strangers.read_until(lambda: strangers.count("answered") == count)
    return come


def one_each(master):
    def come(count):
        strangers = crowd.Crowd(master.address, cluster.PORT_NODE_MANAGEMENT)
        for number in range(count):
            strangers.open(UNLOCK, 1, [NETWORKS[number % len(NETWORKS)]])
        return strangers
    return come


def without_hello(master):
    class Held(list):
        def close(self):
            for connection in self:
                connection.close()
    return lambda count: Held(
        socket.create_connection((master.address, cluster.PORT_NODE_MANAGEMENT), 30,
                                 (NETWORKS[number % len(NETWORKS)], 0))
        for number in range(count))


def run(arguments):
    """Whether a fresh master stays under the limit each time."""
    good = True
    shared = arguments.streams - arguments.streams % len(NETWORKS)
    for what, count, come in (("silent streams on shared connections", shared, streams),
                              ("silent streams on connections of their own", 400, one_each),
                              ("connections without a hello", 2000, without_hello)):
        folder = cluster.Folder()
        master = cluster.Master(folder, cluster.Admin(folder)).start()
        held, after = cost(master, what, count, come(master))
        good = measure.judge(f"smalltown-nms with {count} {what}", after, LIMIT) and good
        held.close()
        master.terminate()
    return good

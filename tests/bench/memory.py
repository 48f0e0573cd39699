"""tools/bench memory: a master with many records and nothing to do, a node while it unlocks."""
import os
import re
import subprocess
import time

import cluster
import measure

MASTER_LIMIT = 48 * measure.MIB
NODE_LIMIT = 24 * measure.MIB
TRIMMED_S = 130  # once a minute an idle server looks whether the last time is a minute ago
FILL = os.path.join(cluster.PROGRAMS, "tests", "bench", "bench-fill")


def settle(pid, seconds):
    """Until it has used next to no processor time for so long."""
    before = measure.processor(pid)
    for _ in range(60):
        time.sleep(seconds)
        now = measure.processor(pid)
        if now - before <= 0.02:
            return
        before = now
    raise AssertionError(f"process {pid} does not come to rest")


def show(name, found):
    print(f"  {name}: resident {measure.mib(found['Rss'])} "
          f"(anonymous {measure.mib(found['RssAnon'])}, files {measure.mib(found['RssFile'])}), "
          f"peak {measure.mib(found['VmHWM'])}", flush=True)


def master(folder, nodes):
    """Resident bytes of an idle master with so many records."""
    print(f"A master with {nodes} node records, idle:", flush=True)
    admin = cluster.Admin(folder, "admin-of-full")
    full = cluster.Master(folder, admin, name="full")
    done = subprocess.run([FILL, full.data, str(nodes)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    print(f"  {done.stdout.strip()}")
    admin.use(full)
    full.start_leading(admin)
    status = admin.ask("status")
    assert status["nodes"] == nodes, status
    settle(full.process.pid, 2)
    found = measure.memory(full.process.pid)
    show("idle", found)
    after_lists(full, admin, nodes)
    full.terminate()
    return found["Rss"]


def after_lists(full, admin, nodes):
    """What is left of a list of all nodes: the master gives memory back once a minute."""
    for _ in range(3):
        assert len(admin.nodes()) == nodes
    show("listed 3 times", measure.memory(full.process.pid))
    time.sleep(TRIMMED_S)
    show(f"{TRIMMED_S} s later", measure.memory(full.process.pid))


def node(folder, unlocks):
    """The most that a node ever had resident, over so many reboots with their unlocks."""
    print(f"A node that enrols, then unlocks {unlocks} times:", flush=True)
    admin = cluster.Admin(folder, "admin-of-town")
    town = cluster.Master(folder, admin, name="town")
    admin.use(town)
    town.start_leading(admin)
    machine = cluster.Node(folder, cluster.Vendor(folder))
    admin.enrolment("bench", machine.config)
    machine.start()
    cluster.until(lambda: "identity" in machine.boot_files() and admin.nodes(), 120,
                  machine.log)
    show("enrolled", measure.memory(machine.process.pid))
    admin.call("node", "adopt", *admin.nodes())
    peaks = []
    for number in range(unlocks):
        machine.reboot()
        cluster.until(machine.unlocked, 60, machine.log)
        found = measure.memory(machine.process.pid)
        show(f"unlock {number + 1}", found)
        peaks.append(max(found["VmHWM"], found["Rss"]))
    machine.kill()
    machine.tpm.kill()
    town.terminate()
    return max(peaks)


def run(arguments):
    """Whether both stay under their limits."""
    folder = cluster.Folder()
    idle = master(folder, arguments.nodes)
    peak = node(folder, arguments.unlocks)
    print()
    good = measure.judge(f"smalltown-nms, idle with {arguments.nodes} records, Rss of smaps_rollup",
                         idle, MASTER_LIMIT)
    return measure.judge(f"smalltown-node, highest VmHWM of {arguments.unlocks} unlocks",
                         peak, NODE_LIMIT) and good

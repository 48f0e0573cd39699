"""tools/bench machines: where the time of a boot goes, from power to an open disk.

The machines boot an image whose kernel traces itself from its start: programs that begin, commands
that go to the TPM, and what comes and goes on the connection to a master.  That is the kernel's
clock; what a machine says on its console is heard by the host within some milliseconds.
"""
import os
import re
import shutil
import statistics
import tempfile
import time

import image
import town

PORT = 7833
TRACE = (" trace_buf_size=4M kprobe_event=p:tpm_begins,tpm_transmit;r:tpm_ends,tpm_transmit"
         " trace_event=sched:sched_process_exec,sock:inet_sock_set_state,tcp:tcp_rcv_space_adjust")
TRACING = "/sys/kernel/tracing"
PHASES = ("firmware", "kernel", "initramfs", "our start", "TPM", "network", "open", "mount")
OURS = ("our start", "TPM", "network", "open")
EVENT = re.compile(r"^ *.+-\d+ +\[\d+\] \S+ +(?P<at>[\d.]+): (?P<name>\w+): (?P<rest>.*)$", re.M)


def events(trace):
    """(seconds of the kernel's clock, name, rest) of each line."""
    return [(float(match["at"]), match["name"], match["rest"]) for match in EVENT.finditer(trace)]


def tpm_time(found, begin, end):
    """How long commands were under way between these two."""
    total, began = 0.0, None
    for at, name, _ in found:
        if name == "tpm_begins":
            began = at
        elif name == "tpm_ends" and began is not None:
            total += max(0.0, min(at, end) - max(began, begin))
            began = None
    return total


def times(found, name, word):
    """When what is called `name` had this word."""
    return [at for at, kind, rest in found if kind == name and word in rest.split()]


def node_began(found):
    return min(times(found, "sched_process_exec", "filename=/sbin/smalltown-node"))


def tpm_commands(found, opened):
    """How many ended in our part of a boot, those of the kernel's resource manager included."""
    began = node_began(found)
    return sum(name == "tpm_ends" and began < at <= opened for at, name, _ in found)


def phases(found, power, opened, mounted):
    """Seconds of each of PHASES.

    All in the kernel's clock: power (before its zero), and when the console said that the disk is
    open, and mounted.
    """
    init = min(times(found, "sched_process_exec", "filename=/init"))
    ours = node_began(found)
    asked = min(times(found, "inet_sock_set_state", f"dport={PORT}"))
    answered = max(at for at in times(found, "tcp_rcv_space_adjust", f"dport={PORT}")
                   if at < opened)
    tpm = {part: tpm_time(found, *part) for part in
           ((ours, asked), (asked, answered), (answered, opened))}
    spans = {part: part[1] - part[0] - tpm[part] for part in tpm}
    return dict(zip(PHASES, (-power, init, ours - init, spans[ours, asked], sum(tpm.values()),
                             spans[asked, answered], spans[answered, opened], mounted - opened)))


# --- one boot ---------------------------------------------------------------------------------

def heard(machine, pattern, patience=900):
    """The host's time at which a line of this boot was there."""
    town.until(lambda: re.search(pattern, machine.said(), re.M), machine.log, patience, 0.005)
    return time.time()


def clock(machine):
    """The host's time when the kernel's clock began, by the quickest of some tries."""
    mark = f"mount -t tracefs none {TRACING} 2>/dev/null; echo now >{TRACING}/trace_marker"
    tries = []
    for _ in range(9):
        before = time.time()
        machine.must(mark)
        tries.append((time.time() - before, (time.time() + before) / 2))
    trace = machine.must(f"cat {TRACING}/trace").decode()
    marks = [float(at) for at in re.findall(r"([\d.]+): tracing_mark_write: now", trace)]
    (_, host), guest = min(zip(tries, marks))
    return host - guest, trace


def boot(here, machine):
    machine.power_cut()
    here.power_on([machine])
    opened = heard(machine, r"^unlock .*decision=ok")
    mounted = heard(machine, r"^init mounted=/data")
    zero, trace = clock(machine)
    found = events(trace)
    return (phases(found, machine.noted()["at"] - zero, opened - zero, mounted - zero),
            tpm_commands(found, opened - zero))


# --- all of them ------------------------------------------------------------------------------

def cold_start(here):
    """Seconds from the first one's power to the last open disk, and how many of them passed since
    the last of them ran smalltown-node."""
    machines = list(here.machines.values())
    for machine in machines:
        machine.power_cut()
    began = time.time()
    here.power_on(machines)
    waiting = {machine: [r"^start node=", r"^unlock .*decision=ok"] for machine in machines}
    started = ended = began
    while any(waiting.values()):
        for machine, patterns in waiting.items():
            if patterns and re.search(patterns[0], machine.said(), re.M):
                patterns.pop(0)
                ended = time.time()
                started = ended if len(patterns) == 1 else started
        if time.time() - began > 1800:
            raise town.MachineError("not within half an hour")
        time.sleep(0.01)
    return ended - began, ended - started


def told(values):
    """The median, and the least and the most."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def show_boots(firmware, boots):
    rounds = [found for found, _ in boots]
    print(f"One worker, {firmware}, from power to an open disk: median of {len(rounds)} (least to "
          "most), seconds")
    for phase in PHASES:
        values = [found[phase] for found in rounds]
        print(f"  {phase:10} {told(values)}{'  ours' if phase in OURS else ''}")
    whole = [sum(found.values()) - found["mount"] for found in rounds]
    ours = [sum(found[phase] for phase in OURS) for found in rounds]
    print(f"  {'disk open':10} {told(whole)}, of which ours {told(ours)}, "
          f"{100 * statistics.median(o / w for o, w in zip(ours, whole)):.0f} %")
    print(f"  commands to the TPM: {statistics.median(count for _, count in boots):.0f}",
          flush=True)


def measure_firmware(firmware, programs, asked):
    state = tempfile.mkdtemp(prefix="st-bench-", dir="/tmp")
    here = None
    try:
        uki = os.path.join(state, "traced.efi")
        deb = image.download_kernel(os.path.join(town.SOURCE, "build", "kernel"))
        image.build(uki, programs, deb, image.COMMAND_LINE + TRACE, shell=True)
        here = town.up(town.Wishes(asked.masters, asked.workers, firmware, programs, uki),
                       os.path.join(state, "town"), leash=True)
        worker, rounds = here.machines["w1"], range(asked.rounds)
        show_boots(firmware, [boot(here, worker) for _ in rounds])
        starts = [cold_start(here) for _ in rounds]
        print(f"All {len(here.machines)} machines, {firmware}, from power to the last open disk: "
              f"{told([whole for whole, _ in starts])} s, of which after the last one's "
              f"smalltown-node began {told([ours for _, ours in starts])} s", flush=True)
    finally:
        if here:
            here.down()
        shutil.rmtree(state)


def run(arguments):
    for firmware in arguments.firmware:
        measure_firmware(firmware, os.environ["ST_PROGRAMS"], arguments)
    return True

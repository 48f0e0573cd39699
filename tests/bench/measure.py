"""What the kernel says of a process, and numbers as a person reads them."""

import os
import time

MIB = 1 << 20


def memory(pid):
    """Bytes that are resident now, by kind, and at most since the program began."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        fields = dict(line.split(":", 1) for line in status)
    found = {name: int(fields[name].split()[0]) * 1024
             for name in ("VmRSS", "RssAnon", "RssFile", "RssShmem", "VmHWM")}
    # Exact, where the counters of `status` may lag; the kernel shows it to root.
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith(("Rss:", "Pss:")):
                    found[line[:3]] = int(line.split()[1]) * 1024
    except PermissionError:
        found["Rss"] = found["VmRSS"]
    return found


def processor(pid):
    """Seconds of processor time used since the program began."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waits(pid):
    """How often its threads have gone to sleep for something since the program began."""
    count = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii",
                  errors="replace") as status:
            count += sum(int(line.split()[1]) for line in status
                         if line.startswith("voluntary_ctxt_switches"))
    return count


def flush(folder, times=300):
    """Seconds that 4 KiB into a file that is long enough take until they are on disk."""
    path = os.path.join(folder, "flush")
    page = os.urandom(4096)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, page * times)
        os.fsync(file)
        began = time.monotonic()
        for number in range(times):
            os.pwrite(file, page, number * len(page))
            os.fdatasync(file)
        return (time.monotonic() - began) / times
    finally:
        os.close(file)
        os.unlink(path)


def mib(size):
    return f"{size / MIB:.1f} MiB"


def judge(what, size, limit):
    """Prints a number beside its limit; whether it is under."""
    good = size < limit
    print(f"{what}: {mib(size)}, {'under' if good else 'NOT under'} {mib(limit)}")
    return good

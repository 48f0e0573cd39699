"""Everything that is done to the masters while clients work, one fault at a time.

A fault says whether it is possible here, strikes, and is healed; both by a random number
generator that the run's seed made.
"""
import time

from masters import slow_sync_shim

FAILPOINTS = ("raft.term.after", "raft.vote.after", "raft.append.before", "raft.append.after",
              "raft.apply.command", "raft.apply.before", "raft.apply.after",
              "raft.snapshot.before", "raft.snapshot.after", "store.begin", "store.commit.before",
              "store.commit.after")
DIES_S = 6  # a failpoint that was not passed by then counts as no fault


class Fault:
    """struck: the masters that may end by themselves now."""
    name, masters_needed = None, 1

    def __init__(self, torture):
        self.torture, self.town, self.random = torture, torture.town, torture.random
        self.struck = []

    @classmethod
    def impossible(cls, torture):
        """Why it cannot be done here; None where it can."""
        if len(torture.town.masters) < cls.masters_needed:
            return f"needs {cls.masters_needed} masters"
        return None

    def strike(self):
        raise NotImplementedError

    def hold(self):
        """How long it lasts, after the strike."""
        return self.random.uniform(0.5, self.torture.hold_max)

    def heal(self):
        """Everybody runs again when this returns."""
        self.town.network.heal()
        for master in self.town.masters:
            master.thaw()
            if not master.running():
                master.start()

    def any(self):
        return self.random.choice(self.town.masters)

    def leader(self):
        return self.town.leader() or self.any()

    def others(self, master):
        return [other for other in self.town.masters if other is not master]


class KillOne(Fault):
    name = "kill-one"

    def strike(self):
        self.any().kill()


class KillLeader(Fault):
    name, masters_needed = "kill-leader", 2

    def strike(self):
        self.leader().kill()


class KillAll(Fault):
    name = "kill-all"

    def strike(self):
        for master in self.random.sample(self.town.masters, len(self.town.masters)):
            master.kill()
            time.sleep(self.random.choice((0, 0, 0.05, 0.3)))

    def hold(self):
        return self.random.uniform(0, 1)


class KillAgain(Fault):
    """Soon after each start."""
    name = "kill-again"

    def strike(self):
        master = self.any()
        for _ in range(3):
            master.kill()
            master.start()
            time.sleep(self.random.uniform(0, 1))
        master.kill()


class Freeze(Fault):
    name = "freeze-one"

    def strike(self):
        self.any().freeze()

    def hold(self):
        return self.random.uniform(1, self.torture.freeze_max)


class FreezeLeader(Freeze):
    name, masters_needed = "freeze-leader", 2

    def strike(self):
        self.leader().freeze()


class Part(Fault):
    """Masters from masters; clients reach both sides."""
    name, masters_needed = "part-one", 2

    @classmethod
    def impossible(cls, torture):
        if not torture.town.network.can_cut:
            return "needs namespaces"
        return super().impossible(torture)

    def strike(self):
        self.separate(self.any())

    def separate(self, master):
        self.town.network.part([master.number], [other.number for other in self.others(master)])


class PartLeader(Part):
    name = "part-leader"

    def strike(self):
        self.separate(self.leader())


class PartHalves(Part):
    name, masters_needed = "part-halves", 4

    def strike(self):
        numbers = [master.number for master in self.town.masters]
        self.random.shuffle(numbers)
        half = len(numbers) // 2
        self.town.network.part(numbers[:half], numbers[half:])


class PartOneWay(Part):
    name = "part-one-way"

    def strike(self):
        master = self.random.choice((self.leader(), self.any()))
        for other in self.others(master):
            if self.random.random() < 0.7:
                ends = [master.number, other.number]
                self.random.shuffle(ends)
                self.town.network.cut(*ends)


class PartRing(Part):
    """Everybody sees a majority, and each another one."""
    name, masters_needed = "part-ring", 5

    def strike(self):
        numbers = [master.number for master in self.town.masters]
        self.random.shuffle(numbers)
        for at, number in enumerate(numbers):
            self.town.network.part([number], [numbers[(at + 2) % len(numbers)]])


class Unplug(Part):
    """From clients, too."""
    name, masters_needed = "unplug", 1

    def strike(self):
        self.town.network.unplug(self.random.choice((self.leader(), self.any())).number)


class Delay(Fault):
    name = "delay"
    netem = ("delay", "80ms", "40ms")

    @classmethod
    def impossible(cls, torture):
        if not torture.town.network.can_delay:
            return "needs netem"
        return super().impossible(torture)

    def strike(self):
        for master in self.town.masters:
            if self.random.random() < 0.7:
                self.town.network.slow(master.number, *self.netem)


class Loss(Delay):
    name, netem = "loss", ("loss", "15%")


class DiskFull(Fault):
    """The last master ends, and goes on where there is room again."""
    name = "disk-full"

    @classmethod
    def impossible(cls, torture):
        if not any(master.has_small_disk for master in torture.town.masters):
            return "needs namespaces and several masters"
        return super().impossible(torture)

    def victim(self):
        return next(m for m in self.town.masters if m.has_small_disk)

    def strike(self):
        self.struck.append(self.victim())
        self.victim().fill_disk()

    def heal(self):
        if not self.victim().running():
            self.torture.note(f"{self.victim().name} ended")
        self.victim().empty_disk()
        super().heal()


class SlowDisk(Fault):
    name = "slow-disk"

    @classmethod
    def impossible(cls, torture):
        return None if slow_sync_shim() else "needs tests/torture/libslow_sync.so"

    def strike(self):
        for master in self.town.masters:
            if self.random.random() < 0.5:
                master.sync_takes(self.random.choice((20, 100, 500, 2000)))

    def heal(self):
        for master in self.town.masters:
            master.sync_takes(0)
        super().heal()


class Failpoint(Fault):
    """Ends between two steps of a write."""
    name = "failpoint"

    @classmethod
    def impossible(cls, torture):
        return None if torture.has_failpoints else "needs a build with ST_FAILPOINTS"

    def strike(self):
        self.ends_at(f"{self.random.choice(FAILPOINTS)}:{self.random.choice((1, 2, 3, 10, 50))}:kill")

    def ends_at(self, point):
        master = self.any()
        self.struck.append(master)
        master.kill()
        master.start_dying({"ST_FAILPOINT": point})
        deadline = time.monotonic() + DIES_S
        while master.running() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.torture.note(f"{master.name} " + ("did not come to" if master.running() else "ended at")
                          + f" {point}")
        master.kill()


class FailedCommit(Failpoint):
    """A write that fails, from then on: the process must end and acknowledge nothing more."""
    name = "failed-commit"

    def strike(self):
        self.ends_at(f"store.commit.error:{self.random.choice((1, 5, 30, 100))}:fail")


class Restart(Fault):
    """One after the other, as for an update."""
    name = "rolling-restart"

    def strike(self):
        for master in self.random.sample(self.town.masters, len(self.town.masters)):
            status = master.terminate()
            if status:
                raise AssertionError(f"{master.name} ended with {status} after SIGTERM:\n"
                                     f"{master.last_words()}")
            master.start()
            self.torture.progress(60)

    def hold(self):
        return 0


class Replace(Fault):
    """A member is removed for good, and a new one takes its place."""
    name, masters_needed = "replace-member", 3

    @classmethod
    def impossible(cls, torture):
        if not torture.town.has_membership:
            return "needs masters that come and go"
        return super().impossible(torture)

    def strike(self):
        candidates = [m for m in self.town.masters[1:] if not m.has_small_disk]
        master = self.random.choice(candidates or self.town.masters[1:])
        if self.random.random() < 0.5:
            master.kill()
        self.town.shrink(master)
        self.torture.members_changed()
        self.town.grow()
        self.torture.members_changed()

    def hold(self):
        return 0


FAULTS = (KillOne, KillLeader, KillAll, KillAgain, Freeze, FreezeLeader, Part, PartLeader,
          PartHalves, PartOneWay, PartRing, Unplug, Delay, Loss, DiskFull, SlowDisk, Failpoint,
          FailedCommit, Restart, Replace)

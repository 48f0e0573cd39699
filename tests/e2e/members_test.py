"""Three masters: what they refuse to whoever comes back, and what one alone tells nobody."""
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import unittest

import cluster
import masters_test
import stubs

sys.path.append(os.path.join(cluster.SOURCE, "tests", "torture"))
from client import Client, Keys, Lost, Refused, Unasked
from softnode import SoftMachine

USES, PATIENCE_S = 1000, 25
# An enrolment's way through a master: not in its log, on its disk, about to be, and applied.
DEATHS = ("raft.append.before:4:kill", "raft.append.after:4:kill", "store.commit.before:12:kill",
          "raft.apply.before:5:kill", "raft.apply.after:5:kill")


def has_failpoints():
    with open(cluster.NMS, "rb") as program:
        return b"raft.append.before" in program.read()


class Members(masters_test.Masters):
    """Each test has three masters that vote, and clients who know whom they ask."""

    def setUp(self):
        super().setUp()
        self.second, self.third = self.grow("second", "third")
        self.masters = [self.first, self.second, self.third]
        stub_folder = self.folder / "stubs"
        os.mkdir(stub_folder)
        api, services = stubs.load(os.path.join(cluster.SOURCE, "proto", "api.proto"), stub_folder)
        keys = Keys(api, services, self.first.masters_pem, self.admin)
        self.client, self.patient = Client(keys, "c"), Client(keys, "p", PATIENCE_S)
        for client in (self.client, self.patient):
            self.addCleanup(client.close)
        self.config = self.asked(self.client.new_enrolment, "many", os.urandom(16), USES)

    def asked(self, call, *args, of=None):
        """Of one that answers (all of them, or these)."""
        def answer():
            for master in of or self.masters:
                with contextlib.suppress(Lost):
                    return [call(master.address, *args)]
            return None
        return cluster.until(answer, 60, f"{call.__name__}{args}", 0.05)[0]

    def adopted(self):
        machine = SoftMachine()
        self.asked(self.client.enrol, machine, self.config, machine.global_half)
        self.asked(self.client.adopt, machine.node_id)
        return machine

    def leader(self):
        """As somebody sees it who runs."""
        def leading():
            for master in self.masters:
                with contextlib.suppress(Lost, Refused):
                    status = self.client.status(master.address)
                    if status.leader_id == status.member_id:
                        return master
            return None
        return cluster.until(leading, 60, "a leader", 0.1)

    def others(self, *these):
        return [master for master in self.masters if master not in these]

    @contextlib.contextmanager
    def frozen(self, *masters):
        for master in masters:
            master.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for master in masters:
                master.process.send_signal(signal.SIGCONT)

    def until_it_answers(self, master):
        cluster.until(lambda: self.only(master).run("enrolment", "list").returncode == 0, 60,
                      master.log, 0.1)


class Alone(Members):
    """A minority, and a leader that was one."""

    def test_N43_one_of_three_releases_no_key_and_says_why(self):
        machine, alone, since = self.adopted(), self.third, len(self.third.log())
        with self.frozen(self.first, self.second):
            # Its last word comes when it has looked for the others for a while.
            with self.assertRaisesRegex(Lost, "UNAVAILABLE: no-quorum"):
                self.patient.unlock(alone.address, machine)
            done = self.only(alone).run("node", "list")
            self.assertEqual((done.returncode, done.stdout), (5, ""), done.stderr)
            self.assertIn(f"master {alone.address}: no leader", done.stderr)
            self.assertIn("start the masters that are down", done.stderr)
            alone.expect(r"^leader member=none .*no majority.*it decides nothing", since)
        self.assertEqual(self.asked(self.client.unlock, machine, of=[alone]),
                         machine.global_half.hex())

    def test_N43_a_leader_that_slept_through_a_removal_releases_no_key(self):
        gone, stays, sleeper = self.adopted(), self.adopted(), self.leader()
        with self.frozen(sleeper):
            self.asked(self.client.remove_node, gone.node_id, of=self.others(sleeper))
        with self.assertRaises((Lost, Refused)):
            self.client.unlock(sleeper.address, gone)
        self.assertEqual(self.asked(self.client.unlock, stays, of=[sleeper]),
                         stays.global_half.hex())
        with self.assertRaises(Refused):
            self.client.unlock(sleeper.address, gone)

    def test_N40_a_removal_that_costs_the_majority_is_refused(self):
        leader = self.leader()
        dead, alive = self.others(leader)
        dead.kill()
        self.until_connected(self.only(leader), 2)
        ids = {m["address"]: i for i, m in masters_test.masters(self.only(leader)).items()}
        done = self.only(leader).run("master", "remove", str(ids[alive.address]), "--yes")
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn("say --force", done.stderr)
        self.assertEqual(set(masters_test.masters(self.only(leader))), {1, 2, 3})
        # The one that is dead costs nothing.
        self.only(leader).call("master", "remove", str(ids[dead.address]), "--yes")
        self.assertEqual(len(masters_test.masters(self.only(leader))), 2)


class ComeBack(Members):
    """Folders and members that were, or ought to be, gone."""

    def refused(self, master, pattern):
        """It ends by itself; the others go on without it."""
        since = len(master.log())
        master.spawn([cluster.NMS, "run", "--data", master.data])
        self.assertEqual(master.wait(), cluster.WRONG_STATE)
        self.assertRegex(master.log()[since:], pattern)
        self.admin.enrolment(f"without-{since}", self.folder / f"{since}.pb")

    def put_in_place(self, master, folder):
        shutil.rmtree(master.data)
        shutil.copytree(folder, master.data)

    def test_N53_an_older_copy_of_a_folder_is_refused_and_the_newest_is_not(self):
        older, newest = self.folder / "older", self.folder / "newest"
        self.assertEqual(self.third.terminate(), 0)
        shutil.copytree(self.third.data, older)
        self.third.start()
        self.until_it_answers(self.third)
        self.assertEqual(self.third.terminate(), 0)
        shutil.copytree(self.third.data, newest)
        self.put_in_place(self.third, older)
        self.refused(self.third, r'(?m)^fatal reason="member \d refuses this one: '
                                 r".*start its newest folder")
        self.put_in_place(self.third, newest)
        self.third.start()
        self.until_it_answers(self.third)

    def test_N53_a_wiped_folder_under_an_old_id_is_refused(self):
        host, as_joined = masters_test.Joined(self.folder, self.admin, "host"), self.folder / "as"
        shutil.copytree(host.data, as_joined)
        host.start()
        self.addCleanup(host.terminate)
        masters_test.until_voters(self.admin, 1, 2, 3, 4)
        self.assertEqual(host.terminate(), 0)
        os.unlink(os.path.join(host.data, "store.mdb"))
        self.refused(host, r"store\.mdb is gone, .*`stctl master remove 4`")
        # Before it had begun: nothing in this folder says that it has forgotten.
        self.put_in_place(host, as_joined)
        self.refused(host, r'(?m)^fatal reason="member \d refuses this one: .*under an old id')
        # The way back that it is told of.
        self.admin.call("master", "remove", "4", "--yes")
        shutil.rmtree(host.data)
        anew = masters_test.Joined(self.folder, self.admin, "anew").start()
        self.addCleanup(anew.terminate)
        masters_test.until_voters(self.admin, 1, 2, 3, 5)

    def test_N53_a_removed_master_is_none_whatever_it_does(self):
        self.only(self.first).call("master", "remove", "3", "--yes")
        self.assertEqual(self.third.wait(), cluster.WRONG_STATE)
        for _ in range(2):
            self.refused(self.third, r'(?m)^fatal reason="member \d refuses this one: '
                                     r".*it was removed from the group")
        # A context that still has it learns better.
        status = self.admin.call("status")
        self.assertRegex(status, r"(?m)^masters +2, of which 0 may fail$")
        self.assertIn(f"{self.third.address} does not answer, and all masters are elsewhere", status)
        self.admin.call("context", "update")
        self.assertEqual([m["address"] for m in self.admin.ask("status")["masters"]],
                         [self.first.address, self.second.address])
        # Nor does its ticket open the door again.
        again = subprocess.run([cluster.NMS, "join", "--data", self.folder / "again", "--address",
                                self.third.address, "--ticket", self.third.ticket],
                               env=cluster.ENVIRONMENT, capture_output=True, text=True,
                               timeout=120, check=False)
        self.assertEqual(again.returncode, 1, again.stderr)
        self.assertIn("another host used it", again.stderr)

    def test_a_second_process_on_a_folder_is_refused_and_the_first_goes_on(self):
        done = subprocess.run([cluster.NMS, "run", "--data", self.third.data],
                              env=cluster.ENVIRONMENT, capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"another smalltown-nms (pid {self.third.process.pid})", done.stderr)
        self.until_it_answers(self.third)


class Recovery(Members):
    """Most masters are lost for good."""

    def recover(self, master, *words, **env):
        done = subprocess.run([cluster.NMS, "recover", "--data", master.data, *words],
                              env={**cluster.ENVIRONMENT, **env}, capture_output=True, text=True,
                              timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_N43_the_folder_of_one_of_three_goes_on_alone_and_the_others_are_none(self):
        before = self.adopted()
        self.assertRegex(self.recover(self.first)[1], r"another smalltown-nms \(pid \d+\)")
        for master in self.masters:
            self.assertEqual(master.terminate(), 0)
        status, text = self.recover(self.first)
        self.assertEqual(status, 0, text)
        self.assertIn(f"is of master 1 of cluster {self.first.name}, nodes: 1", text)
        self.assertRegex(text, rf"(?m)^master 2  {self.second.address}  is none any more$")
        self.assertIn("nothing was changed", text)
        # One that is there is no reason to give it up, though it alone has no majority.
        self.third.spawn([cluster.NMS, "run", "--data", self.third.data])
        cluster.until(lambda: cluster.accepts(self.third.address, 7834), 60, self.third.log)
        status, text = self.recover(self.first, "--yes")
        self.assertEqual(status, 1, text)
        self.assertIn(f"master 3 answers at {self.third.address}:7834", text)
        self.assertEqual(self.third.terminate(), 0)

        for _ in range(2):
            status, text = self.recover(self.first, "--yes")
            self.assertEqual(status, 0, text)
        with open(os.path.join(self.first.data, "audit", "changes.log"), encoding="ascii") as file:
            self.assertEqual(file.read().count(" recover member=1 policy=0 decision=OK\n"), 2)
        self.first.start()
        self.know(self.first)
        self.assertEqual(self.asked(self.client.unlock, before, of=[self.first]),
                         before.global_half.hex())
        self.admin.enrolment("afterwards", self.folder / "afterwards.pb")
        cluster.until(lambda: set(masters_test.masters(self.admin)) == {1}, 60,
                      lambda: self.admin.call("master", "list"))
        # Who was given up hears of it from the one that went on.
        self.third.spawn([cluster.NMS, "run", "--data", self.third.data])
        self.assertEqual(self.third.wait(), cluster.WRONG_STATE)
        self.assertIn("it was removed from the group", self.third.log())
        # And the cluster grows again.
        anew = masters_test.Joined(self.folder, self.admin, "anew").start()
        self.addCleanup(anew.terminate)
        new_id, = set(masters_test.masters(self.admin)) - {1}
        masters_test.until_voters(self.admin, 1, new_id)

    def test_N53_who_came_after_the_end_of_the_folder_is_none_and_nobody_is_taken_for_it(self):
        self.assertEqual(self.first.terminate(), 0)
        self.know(self.second, self.third)
        fourth = masters_test.Joined(self.folder, self.admin, "fourth").start()
        self.addCleanup(fourth.terminate)
        masters_test.until_voters(self.admin, 1, 2, 3, 4)
        for master in (self.second, self.third, fourth):
            master.kill()
        status, text = self.recover(self.first, "--yes")
        self.assertEqual(status, 0, text)
        self.assertNotIn("master 4", text)
        self.first.start()
        self.know(self.first)
        fourth.spawn([cluster.NMS, "run", "--data", fourth.data])
        self.assertEqual(fourth.wait(), cluster.WRONG_STATE)
        self.assertIn("it was removed from the group", fourth.log())
        anew = masters_test.Joined(self.folder, self.admin, "anew").start()
        self.addCleanup(anew.terminate)
        new_id, = set(masters_test.masters(self.admin)) - {1}
        self.assertGreater(new_id, 4)
        masters_test.until_voters(self.admin, 1, new_id)

    @unittest.skipUnless(has_failpoints(), "needs a build with ST_FAILPOINTS")
    def test_N43_where_a_recovery_died_nobody_runs_before_it_is_finished(self):
        before = self.folder / "before"
        for master in self.masters:
            self.assertEqual(master.terminate(), 0)
        shutil.copytree(self.first.data, before)
        begun = 0
        for commit in itertools.count(1):
            shutil.rmtree(self.first.data)
            shutil.copytree(before, self.first.data)
            status, text = self.recover(self.first, "--yes",
                                        ST_FAILPOINT=f"store.commit.before:{commit}:kill")
            self.assertEqual(status, -signal.SIGKILL, text)
            if "was cut off in this folder" not in self.recover(self.first)[1]:
                if not begun:
                    continue
                break  # it died when all was done
            begun += 1
            self.first.spawn([cluster.NMS, "run", "--data", self.first.data])
            self.assertEqual(self.first.wait(), cluster.WRONG_STATE, self.first.log())
            self.assertIn("was cut off in this folder", self.first.log())
            done, again = self.recover(self.first, "--yes")
            self.assertEqual(done, 0, again)
        self.assertGreater(begun, 2)
        self.first.start()
        self.know(self.first)
        cluster.until(lambda: set(masters_test.masters(self.admin)) == {1}, 60,
                      lambda: self.admin.call("master", "list"))

    def test_a_folder_that_was_refused_as_an_older_copy_goes_on_where_no_other_is_left(self):
        older = self.folder / "older"
        self.assertEqual(self.third.terminate(), 0)
        shutil.copytree(self.third.data, older)
        self.third.start()
        self.until_it_answers(self.third)
        self.assertEqual(self.third.terminate(), 0)
        shutil.rmtree(self.third.data)
        shutil.copytree(older, self.third.data)
        self.third.spawn([cluster.NMS, "run", "--data", self.third.data])
        self.assertEqual(self.third.wait(), cluster.WRONG_STATE)
        self.first.kill()
        self.second.kill()
        status, text = self.recover(self.third, "--yes")
        self.assertEqual(status, 0, text)
        self.third.start()
        self.know(self.third)
        self.admin.enrolment("afterwards", self.folder / "afterwards.pb")


class Deaths(Members):
    """Masters that end while they write."""

    def try_to_enrol(self, machine):
        """Whether it was told OK, by any of them; None where nobody heard it."""
        told = None
        for master in self.masters:
            try:
                self.client.enrol(master.address, machine, self.config, machine.global_half)
                return True
            except Unasked:
                pass
            except Lost:
                told = False
        return told

    def restart(self, **env):
        for master in self.masters:
            master.kill()
        for master in self.masters:
            master.spawn([cluster.NMS, "run", "--data", master.data], env=env)

    @unittest.skipUnless(has_failpoints(), "needs a build with ST_FAILPOINTS")
    def test_N32_the_masters_die_between_the_check_and_the_commit_of_an_enrolment(self):
        machines = []
        for death in DEATHS:
            self.restart(ST_FAILPOINT=death)
            told = {}
            def enrol_another(told=told):
                machine = SoftMachine()
                was_told = self.try_to_enrol(machine)
                if was_told is not None:
                    told[machine] = was_told
                return not all(master.running() for master in self.masters)
            cluster.until(enrol_another, 60, f"nobody came to {death}")
            self.restart()
            known = self.asked(self.client.nodes)
            print(death, [(was_told, m.node_id in known) for m, was_told in told.items()])
            for machine, was_told in told.items():
                self.assertTrue(machine.node_id in known or not was_told, "told OK and not there")
                # Whoever was not told asks again, and is the same node.
                self.asked(self.client.enrol, machine, self.config, machine.global_half)
            machines += told
        ids = [node["node_id"] for node in self.admin.ask("node", "list")]
        self.assertEqual(sorted(ids), sorted(machine.node_id for machine in machines))
        self.assertEqual(self.asked(self.client.enrolments)["many"].uses_left,
                         USES - len(machines))
        for machine in machines[:2] + machines[-2:]:
            self.asked(self.client.adopt, machine.node_id)
            self.assertEqual(self.asked(self.client.unlock, machine), machine.global_half.hex())


class Machines(Members):
    """A machine with a TPM, and three masters that die one after the other."""

    def test_each_of_three_masters_may_die_and_a_node_unlocks(self):
        node = cluster.Node(self.folder, cluster.Vendor(self.folder), "node")
        self.addCleanup(node.tpm.kill)
        self.addCleanup(node.kill)
        self.only(self.second).enrolment("rack", node.config)
        node.start()
        cluster.until(lambda: "identity" in node.boot_files(), 60, node.log)
        node_id, = self.only(self.third).nodes()
        self.only(self.third).call("node", "adopt", node_id)
        for dead in self.masters:
            dead.kill()
            node.reboot()
            cluster.until(node.unlocked, 60, node.log)
            dead.start()
            self.until_it_answers(dead)
        # One alone opens nothing, and the machine says so; it waits for a second one.
        self.second.kill()
        self.third.kill()
        since = len(node.log())
        node.reboot()
        node.expect(r"^unlock decision=retry .*the masters have no majority", since)
        self.assertFalse(node.unlocked())
        self.second.start()
        cluster.until(node.unlocked, 60, node.log)


# The tests of the base class are its own.
for test in [n for n in dir(masters_test.Masters) if n.startswith("test")]:
    setattr(Members, test, None)

if __name__ == "__main__":
    unittest.main()

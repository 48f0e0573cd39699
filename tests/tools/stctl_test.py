"""stctl from outside: its words, its exit statuses, and what it makes of a master's answers."""
import concurrent.futures
import hashlib
import json
import os
import pty
import re
import select
import socket
import ssl
import stat
import subprocess
import sys
import time
import unittest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(SOURCE, "tests", "e2e"))
import grpc

import cluster
import peer
import stubs

MASTER_KEY = peer.ed25519.Ed25519PrivateKey.generate()
MASTERS_CERT = peer.self_signed(MASTER_KEY, "smalltown-master")
SECRET = b"an enrolment secret of 32 bytes!"
NODES = ["smalltown-" + digits for digits in ("aaaa0000" * 4, "aaaa1111" * 4, "bbbb0000" * 4)]


class CommandLine(unittest.TestCase):
    def setUp(self):
        self.folder = cluster.Folder()
        self.addCleanup(self.folder.remove)

    def run_it(self, *words, **env):
        return subprocess.run([cluster.STCTL, *words], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, cwd=self.folder.path, check=False, env={
                                  **cluster.ENVIRONMENT, "XDG_CONFIG_HOME": self.folder.path,
                                  **env})

    def fails(self, status, *words, **env):
        """One sentence on stderr, nothing on stdout; the sentence."""
        done = self.run_it(*words, **env)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Astctl: [^\n]+\n\Z")
        return done.stderr

    def masters_pem(self):
        path = self.folder / "masters.pem"
        with open(path, "w", encoding="ascii") as file:
            file.write(ssl.DER_cert_to_PEM_cert(MASTERS_CERT))
        return path

    def context(self, name="town", address="127.0.0.9", *more):
        return "context", "add", name, "--address", address, "--masters-cert", \
            self.masters_pem(), *more

    def verbs(self):
        """Every "noun verb" that the help lists."""
        lines = [line.split()[1:] for line in self.run_it("--help").stdout.splitlines()
                 if line.startswith("  stctl ")]
        return [tuple(words[:1 if words[0] in ("keygen", "status") else
                            3 if words[1] in ("ca", "window", "captured") else 2])
                for words in lines]

    def test_there_is_help_at_each_level(self):
        self.assertEqual(len(self.verbs()), 42)
        for verb in self.verbs():
            done = self.run_it(*verb, "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("usage: stctl " + " ".join(verb), done.stdout)
            noun = self.run_it(verb[0], "-h")
            self.assertEqual(noun.returncode, 0)
            self.assertEqual([line for line in (done.stdout + noun.stdout).splitlines()
                              if len(line) > 80], [])
        self.assertLessEqual(max(map(len, self.run_it("-h").stdout.splitlines())), 80)
        self.assertEqual(self.run_it().returncode, 2)
        self.assertRegex(self.run_it("--version").stdout, r"\Astctl \d+\.\d+\.\d+\n\Z")

    def test_the_manual_and_the_completion_know_every_verb_and_option(self):
        with open(os.path.join(SOURCE, "tools", "stctl.1"), encoding="ascii") as file:
            manual = file.read().replace("\\-", "-")
        for verb in self.verbs():
            self.assertIn(" ".join(verb), re.sub(r"\\f.|^\.B ", "", manual, flags=re.M))
            options = set(re.findall(r"--[a-z-]+", self.run_it(*verb, "--help").stdout))
            for option in options:
                self.assertIn(option, manual)
            words = ["stctl", *verb, *([""] if verb == ("keygen",) or verb == ("status",) else []),
                     "--"]
            words = [word for word in words if word]
            self.assertEqual(self.complete(words) - {"--admin-cert"}, options - {"--admin-cert"},
                             verb)
            self.assertIn(verb[0], self.complete(["stctl", ""]))
            if len(verb) == 3:
                self.assertIn(verb[2], self.complete(["stctl", *verb[:2], ""]))
            if len(verb) > 1:
                self.assertIn(verb[1], self.complete(["stctl", verb[0], ""]))

    def complete(self, words):
        script = f"""
            _init_completion() {{ cur=${{COMP_WORDS[COMP_CWORD]}}; words=("${{COMP_WORDS[@]}}")
                cword=$COMP_CWORD; prev=${{COMP_WORDS[COMP_CWORD-1]}}; }}
            . '{SOURCE}/tools/stctl.bash'
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            _stctl
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True,
                              text=True, check=True)
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split())

    def test_a_typo_is_answered_with_a_guess(self):
        for words, guess in ((["nod", "list"], "'node'"), (["node", "lst"], "'list'"),
                             (["enrolment", "crate", "x"], "'create'"),
                             (["enrollment", "list"], "'enrolment'"),
                             (["node", "list", "--stat", "x"], "'--state'"),
                             (["node", "list", "--timout=3s"], "'--timeout'")):
            self.assertIn(f"did you mean {guess}?", self.fails(2, *words))

    def test_half_a_name_asks_for_the_other_half(self):
        self.assertIn("what about the policy window? (`stctl policy --help`)",
                      self.fails(2, "policy", "window"))
        self.assertIn("no 'window opne' for a policy, did you mean 'window open'?",
                      self.fails(2, "policy", "window", "opne"))

    def test_a_command_line_that_is_wrong(self):
        for words in (["node"], ["node", "show"], ["node", "show", "a", "b"], ["node", "list", "x"],
                      ["x"] * 9, ["node", "list", "--yes"], ["node", "list", "-o", "yaml"],
                      ["node", "list", "--timeout", "soon"], ["node", "list", "--context"],
                      ["node", "list", "--state", "wroker"], ["node", "list", "--context", "a/b"],
                      ["node", "adopt", "aaaa", "--role", "registered"],
                      ["node", "adopt", "aaa"], ["node", "remove", "zzzz", "--yes=1"],
                      ["enrolment", "create", "a b"], ["enrolment", "create", "a", "--uses", "0"],
                      ["enrolment", "create", "a", "--expires", "1"], ["keygen", "--name", "../x"],
                      ["context", "add", "town"], ["--", "--help"], ["master", "invite"],
                      ["master", "invite", "a/b"], ["master", "invite", "a", "--expires", "1"],
                      ["master", "remove", "0", "--yes"], ["master", "remove", "b", "--yes"],
                      ["master", "list", "--force"], ["policy"], ["policy", "ca"],
                      ["policy", "ca", "add"], ["policy", "ca", "add", "a", "b"],
                      ["policy", "ca", "list", "x"], ["policy", "ca", "remove", "abc"],
                      ["policy", "ca", "remove", "g" * 64], ["policy", "set"],
                      ["policy", "show", "--at", "x"], ["policy", "capture", "aaaa0"],
                      ["policy", "capture", "aaaa0", "--name", "a/b"],
                      ["policy", "capture", "aaaa0", "--name", "a", "--pcrs", ""],
                      ["policy", "capture", "aaaa0", "--name", "a", "--pcrs", "4,"],
                      ["policy", "capture", "aaaa0", "--name", "a", "--pcrs", "16"],
                      ["policy", "capture", "aaaa0", "--name", "a", "--pcrs", "4;11"],
                      ["node", "pcrs", "aaaa0", "--all"], ["node", "approve"],
                      ["policy", "window"], ["policy", "window", "open"],
                      ["policy", "window", "open", "--for", "500ms"],
                      ["policy", "window", "open", "--for", "2"],
                      ["policy", "window", "close", "now"], ["policy", "captured"],
                      ["policy", "captured", "remove", "abcdef0"],
                      ["policy", "captured", "remove", "g" * 64],
                      ["audit"], ["audit", "tail", "x"],
                      ["audit", "tail", "-n", "0"], ["audit", "tail", "-n", "1001"],
                      ["audit", "tail", "--node", "aaa"], ["audit", "tail", "--follow=1"]):
            self.fails(2, *words)

    def test_no_more_uses_are_asked_for_than_a_master_allows(self):
        self.assertIn("from 1 to 10000,", self.fails(2, "enrolment", "create", "a", "--uses", "10001"))

    def test_what_must_be_given_is_said_before_and_after(self):
        for verb, needed in (("context add", ("--address", "--masters-cert")),
                             ("node recovery-key", ("--key",)), ("recovery open", ("--key",)),
                             ("policy capture", ("--name",)), ("policy window open", ("--for",))):
            argument = [] if verb.endswith("open") and verb != "recovery open" else ["aaaa0"]
            usage = self.run_it(*verb.split(), "--help").stdout.splitlines()[0]
            for option in needed:
                self.assertRegex(usage, rf"stctl {verb}.* {option} [A-Z].* \[OPTION")
                given = [word for other in needed if other != option for word in (other, "x")]
                self.assertIn(f"stctl {verb} needs {option}",
                              self.fails(2, *verb.split(), *argument, *given))

    def test_options_may_stand_anywhere(self):
        for words in (["-ojson", "context", "list"], ["context", "-o", "json", "list"],
                      ["context", "list", "--output=json"]):
            done = self.run_it(*words)
            self.assertEqual((done.returncode, done.stdout), (0, "[]\n"), done.stderr)

    def test_N55_a_recovery_key_of_the_administrator_is_private_and_stays(self):
        self.run_it("recovery", "keygen", "--out", self.folder.path)
        key = os.path.join(self.folder.path, "recovery-key.pem")
        self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)
        with open(key, encoding="ascii") as file:
            made = file.read()
        said = self.fails(6, "recovery", "keygen", "--out", self.folder.path)
        self.assertNotIn(made.splitlines()[1], said)
        with open(key, encoding="ascii") as file:
            self.assertEqual(file.read(), made)

    def test_N55_keygen_makes_a_private_key_and_overwrites_nothing(self):
        out = self.run_it("keygen").stdout
        self.assertIn("--admin-cert", out)
        key, cert = (self.folder / f"smalltown/{name}" for name in ("admin-key.pem", "admin.pem"))
        self.assertEqual(stat.S_IMODE(os.stat(key).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(key)).st_mode), 0o700)
        shown = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-text"],
                               capture_output=True, text=True, check=True).stdout
        self.assertIn("ED25519", shown)
        self.assertIn("Dec 31 23:59:59 9999 GMT", shown)
        of_key = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], capture_output=True,
                                check=True).stdout
        of_cert = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-pubkey"],
                                 capture_output=True, check=True).stdout
        self.assertEqual(of_key, of_cert)
        with open(key, "rb") as file:
            before = file.read()
        self.assertIn("not overwritten", self.fails(6, "keygen"))
        os.unlink(cert)
        self.fails(6, "keygen")
        with open(key, "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(self.run_it("keygen", "--out", "a/b", "--name", "x").returncode, 0)
        self.assertEqual(sorted(os.listdir(self.folder / "a/b")), ["admin-key.pem", "admin.pem"])

    def test_without_a_home_it_says_so(self):
        self.assertIn("HOME", self.fails(6, "keygen", HOME="", XDG_CONFIG_HOME=""))

    def test_contexts_are_added_used_listed_and_removed(self):
        self.assertIn("keygen", self.fails(3, *self.context()))
        self.run_it("keygen")
        fingerprint = peer.fingerprint(MASTERS_CERT)
        out = self.run_it(*self.context()).stdout
        self.assertIn(fingerprint, out)
        self.assertIn("compare it", out)
        self.fails(6, *self.context())
        colons = ":".join(re.findall("..", fingerprint)).upper()
        done = self.run_it(*self.context("village", "192.0.2.1,2001:db8::1", "--fingerprint",
                                         colons))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("compare it", done.stdout)

        listed = {c["name"]: c for c in json.loads(self.run_it("context", "list", "-ojson").stdout)}
        self.assertEqual(listed["village"]["addresses"], ["192.0.2.1", "2001:db8::1"])
        self.assertEqual([c["current"] for c in listed.values()], [True, False])
        self.assertEqual(listed["town"]["fingerprint"], fingerprint)
        self.assertTrue(os.path.isabs(listed["town"]["key"]))
        self.run_it("context", "use", "village")
        self.assertRegex(self.run_it("context", "list").stdout, r"(?m)^\* +village ")
        self.fails(3, "context", "use", "hamlet")
        self.fails(3, "context", "remove", "hamlet")
        self.assertIn("none is in use", self.run_it("context", "remove", "village").stdout)
        self.assertIn("no cluster is in use", self.fails(3, "node", "list"))
        self.assertIn("127.0.0.9:7836", self.fails(5, "node", "list", "--context", "town"))
        self.assertEqual(self.complete_contexts(), {"town"})

    def complete_contexts(self):
        path = os.path.dirname(cluster.STCTL) + ":" + os.environ["PATH"]
        os.environ["PATH"], before = path, os.environ["PATH"]
        os.environ["XDG_CONFIG_HOME"] = self.folder.path
        try:
            return self.complete(["stctl", "context", "use", ""])
        finally:
            os.environ["PATH"] = before
            del os.environ["XDG_CONFIG_HOME"]

    def test_a_context_that_cannot_be_right_is_not_added(self):
        self.run_it("keygen")
        self.run_it("keygen", "--out", "other")
        bad = "0" * 64
        for status, words in (
                (2, self.context("town", "127.0.0.9", "--fingerprint", bad)),
                (2, self.context("town", "127.0.0.9:7836")), (2, self.context("town", "localhost")),
                (2, self.context("to/wn")),
                (2, self.context("town", "127.0.0.9", "--key", "other/admin-key.pem")),
                (2, self.context("town", "127.0.0.9", "--cert", "smalltown/admin-key.pem")),
                (3, self.context("town", "127.0.0.9", "--cert", "nowhere"))):
            self.fails(status, *words)
        self.fails(3, "context", "add", "town", "--address", "127.0.0.9", "--masters-cert", "none")
        self.assertEqual(self.run_it("context", "list", "-ojson").stdout, "[]\n")

    def test_a_damaged_file_of_contexts_is_named(self):
        os.mkdir(self.folder / "smalltown")
        path = self.folder / "smalltown/contexts.json"
        for text in ("", "{", "[]", '{"contexts": []}', '{"current": "a", "contexts": {"a": {}}}',
                     '{"current": "a", "contexts": {"a": {"addresses": ["x"], "masters_cert": "x", '
                     '"cert": "x", "key": "x"}}}', "[" * 100000):
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            self.assertIn(f"{path} is damaged", self.fails(1, "node", "list"))


class FakeMaster:
    """Answers as it is told; the real one is in tests/e2e."""

    def __init__(self, api, services, admin_pem, address):
        self.api, self.failure, self.pause, self.asked = api, None, 0, []
        self.ip = socket.inet_aton(address)
        self.in_touch = True  # with the leader
        self.masters_cert, self.name = MASTERS_CERT, "town"
        # As patient with a client that asks whether it lives as the real one is.
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=(
            ("grpc.http2.min_ping_interval_without_data_ms", 300),))
        services.add_ClusterManagementServicer_to_server(self, self.server)
        credentials = grpc.ssl_server_credentials(
            [(peer.pem_of_key(MASTER_KEY), ssl.DER_cert_to_PEM_cert(MASTERS_CERT).encode())],
            admin_pem, True)
        assert self.server.add_secure_port(f"{address}:7836", credentials)
        self.server.start()

    def _heard(self, request, context):
        self.asked.append(request)
        time.sleep(self.pause)
        if self.failure:
            code, reason, details = self.failure
            context.set_trailing_metadata(
                () if reason is None else
                (("smalltown-reason", "busy"), ("smalltown-retry-ms", "900"))
                if reason == "busy-for-now" else (("smalltown-reason", reason),))
            context.abort(code, details)

    def ListNodes(self, request, context):
        self._heard(request, context)
        states = [0, 2, 1]
        return self.api.ListNodesResponse(nodes=[self.api.Node(
            node_id=node_id, state=state, address=b"\x7f\0\0" + bytes([state + 1]),
            enrolment="rack1", enrolled_at=1700000000, last_unlock_at=1700000060 if state else 0,
            id_cert=b"id", global_unlock_key=b"", name="m\x1b[2J",
            tpm2=self.api.NodeTPM2(ek_pubkey=b"ek", ak_pub=b"ak"))
            for node_id, state in zip(NODES, states)])

    def AddNode(self, request, context):
        self._heard(request, context)
        return self.api.AddNodeResponse()

    def RemoveNode(self, request, context):
        self._heard(request, context)
        return request

    sealed = b""  # what it answers for a recovery key

    def NewEnrolmentConfig(self, request, context):
        self._heard(request, context)
        return self.api.NewEnrolmentConfigResponse(enrolment_config=self.api.EnrolmentConfig(
            enrolment_secret=SECRET, masters_cert=self.masters_cert,
            master_ips=[b"\x7f\0\0\x01"], name=request.name, uses_left=request.uses or 1,
            expires_at=int(time.time()) + (request.expires_in_s or 86400)))

    def ListEnrolmentConfigs(self, request, context):
        self._heard(request, context)
        return self.api.ListEnrolmentConfigsResponse(enrolment_config=[
            self.api.EnrolmentConfig(name="rack1", uses_left=3, expires_at=int(time.time()) + 7200),
            self.api.EnrolmentConfig(name="old", uses_left=1, expires_at=1700000000)])

    def RemoveEnrolmentConfig(self, request, context):
        self._heard(request, context)
        return self.api.RemoveEnrolmentConfigResponse()

    def InviteMaster(self, request, context):
        self._heard(request, context)
        return self.api.InviteMasterResponse(ticket=self.ticket())

    def ticket(self):
        return self.api.MasterTicket(secret=SECRET, masters_cert=self.masters_cert,
                                     master_ips=[b"\x7f\0\0\x01"], cluster=self.name)

    def ListInvitations(self, request, context):
        self._heard(request, context)
        now = int(time.time())
        return self.api.ListInvitationsResponse(invitations=[
            self.api.Invitation(name="host", created_at=now - 120, expires_at=now + 7290),
            self.api.Invitation(name="late", created_at=now - 7200, expires_at=now - 3600)])

    def RevokeInvitation(self, request, context):
        self._heard(request, context)
        return self.api.RevokeInvitationResponse()

    def ListMasters(self, request, context):
        self._heard(request, context)
        Master = self.api.Master
        first = Master(id=1, address=self.ip, state=Master.VOTER, leader=True,
                       connected=self.in_touch)
        return self.api.ListMastersResponse(masters=[first] if self.alone else [
            first,
            Master(id=3, address=self.neighbour(3), state=Master.JOINING, name="b\x1b[2J"),
            Master(id=12, address=self.neighbour(12), state=Master.LEAVING, name=NODES[2],
                   node_id=NODES[2], connected=True)])

    def neighbour(self, number):
        """Where nobody listens."""
        return self.ip[:3] + bytes([200 + number])

    def RemoveMaster(self, request, context):
        self._heard(request, context)
        return self.api.RemoveMasterResponse()

    def GetStatus(self, request, context):
        self._heard(request, context)
        return self.api.GetStatusResponse(cluster=self.name, version="0.2.0", member_id=1,
                                          window=self.window, leader_id=self.leader, term=3, commit_index=9,
                                          applied_index=9, members=1, nodes=3, waiting=1,
                                          enrolments=1, role="admin",
                                          seal_authority=self.authority,
                                          seal_authority_since=1700000000)

    def RenewAuthority(self, request, context):
        self._heard(request, context)
        if request.expected != self.authority:
            context.abort(grpc.StatusCode.ABORTED, "the authority was renewed a moment ago")
        self.authority = bytes([len(self.asked)]) * 64
        return self.api.RenewAuthorityResponse(authority=self.authority)

    authority = b""

    leader = 1
    alone = False  # there are no others

    policy = json.dumps({"schema": 1, "ek": {"require": "none", "listed": []},
                         "pcrs": {"sets": [], "require_set": False,
                                  "require_measured_boot": False},
                         "adopt": {"automatic": []}})
    version, adopt, unlock, ca = 0, "", "", b""
    accepted = refused = captured = audit = ()
    member_id = 1
    accepted_at = refused_at = 0
    quicker = False
    window = None

    def GetPolicy(self, request, context):
        self._heard(request, context)
        return self.api.GetPolicyResponse(window=self.window, policy=self.api.PolicyVersion(
            version=self.version, changed_at=1700000000, changed_by=b"\xab" * 32,
            text=self.policy))

    def SetPolicy(self, request, context):
        self._heard(request, context)
        self.version += self.quicker  # another administrator
        if request.expected_version != self.version:
            context.abort(grpc.StatusCode.ABORTED, "the policy is another version by now")
        self.policy, self.version = request.text, self.version + 1
        return self.api.SetPolicyResponse(version=self.version)

    def TestPolicy(self, request, context):
        self._heard(request, context)
        return self.api.TestPolicyResponse(adopt=self.adopt, unlock=self.unlock,
                                           evidence_now=self.api.Node.CHAIN)

    def ListPolicyHistory(self, request, context):
        self._heard(request, context)
        return self.api.ListPolicyHistoryResponse(versions=[self.api.PolicyVersion(
            version=version, changed_at=1700000000, changed_by=b"\xab" * 32)
            for version in (2, 1)])

    def AddEkCa(self, request, context):
        self._heard(request, context)
        self.ca = request.cert
        return self.api.AddEkCaResponse(ca=self.api.EkCa(name="a ven\x1b[2Jdor"))

    def ListEkCas(self, request, context):
        self._heard(request, context)
        return self.api.ListEkCasResponse(cas=[self.api.EkCa(
            sha256=b"\xcd" * 32, name="a ven\x1b[2Jdor", added_at=1700000000)])

    def RemoveEkCa(self, request, context):
        self._heard(request, context)
        return self.api.RemoveEkCaResponse()

    def ListAdministrators(self, request, context):
        self._heard(request, context)
        return self.api.ListAdministratorsResponse(administrators=self.administrators)

    def AddAdministrator(self, request, context):
        self._heard(request, context)
        return self.api.AddAdministratorResponse(administrator=self.api.Administrator(
            sha256=hashlib.sha256(request.cert).digest(), name="a \x1b[2Jlice", role=request.role))

    def RemoveAdministrator(self, request, context):
        self._heard(request, context)
        return self.api.RemoveAdministratorResponse()

    def GetNodePcrs(self, request, context):
        self._heard(request, context)
        return self.api.GetNodePcrsResponse(
            enrolled=pcrs(0), accepted=self.accepted, accepted_at=self.accepted_at,
            refused=self.refused, refused_at=self.refused_at, captured=self.captured)

    def OpenWindow(self, request, context):
        self._heard(request, context)
        now = int(time.time())
        self.window = self.api.Window(opened_at=now, closes_at=now + request.seconds,
                                      opened_by=b"\xab" * 32, node_ids=request.node_ids)
        return self.api.OpenWindowResponse(window=self.window)

    def CloseWindow(self, request, context):
        self._heard(request, context)
        self.window = None
        return self.api.CloseWindowResponse()

    def ApproveBoot(self, request, context):
        self._heard(request, context)
        return self.api.ApproveBootResponse()

    def captured_set(self, byte, **fields):
        return self.api.CapturedSet(sha256=bytes([byte]) * 32, pcrs=[2, 4, 11],
                                    values=[pcrs(byte)[n] for n in (2, 4, 11)], made_at=1700000000,
                                    made_by=b"\xab" * 32, **fields)

    def ListCapturedSets(self, request, context):
        self._heard(request, context)
        return self.api.ListCapturedSetsResponse(sets=[
            self.captured_set(0x11, node_ids=NODES), self.captured_set(0x22, approved=True)])

    def RemoveCapturedSet(self, request, context):
        self._heard(request, context)
        return self.api.RemoveCapturedSetResponse()

    def ListAudit(self, request, context):
        self._heard(request, context)
        lines = [line for line in self.audit if line.number > request.after]
        lines = lines[:request.lines] if request.after else lines[-request.lines:]
        return self.api.ListAuditResponse(lines=lines, member_id=self.member_id,
                                          next=lines[-1].number if lines else request.after,
                                          more=bool(request.after and lines and
                                                    lines[-1].number < self.audit[-1].number))

    def FetchRecoveryKey(self, request, context):
        self._heard(request, context)
        return self.api.FetchRecoveryKeyResponse(sealed=self.sealed)


def pcrs(byte):
    """PCR i is all `byte` but for its last, which is i."""
    return [bytes([byte]) * 31 + bytes([i]) for i in range(16)]


class Answers(CommandLine):
    """What it makes of a master's answers."""

    @classmethod
    def setUpClass(cls):
        cls.stub_folder = cluster.Folder()
        cls.api, cls.services = stubs.load(os.path.join(SOURCE, "proto", "api.proto"),
                                           cls.stub_folder.path)

    @classmethod
    def tearDownClass(cls):
        cls.stub_folder.remove()

    def setUp(self):
        super().setUp()
        self.run_it("keygen")
        self.address = cluster.fresh_address()
        with open(self.folder / "smalltown/admin.pem", "rb") as file:
            self.master = FakeMaster(self.api, self.services, file.read(), self.address)
        self.addCleanup(self.master.server.stop, None)
        self.run_it(*self.context("town", self.address))

    def succeeds(self, *words):
        done = self.run_it(*words)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stderr)
        return done.stdout

    def test_nodes_are_listed_for_people_and_for_programs(self):
        out = self.succeeds("node", "list")
        self.assertRegex(out, r"\ANODE +STATE +AGE +ADDRESS\n")
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        self.assertRegex(out, rf"(?m)^{NODES[1]}  worker +\d+d +127\.0\.0\.3$")
        self.assertEqual(len(self.succeeds("node", "list", "--state", "master").splitlines()), 2)
        nodes = json.loads(self.succeeds("node", "list", "-o", "json"))
        self.assertEqual([n["state"] for n in nodes], ["registered", "worker", "master"])
        self.assertEqual(nodes[1]["enrolled_at"], "2023-11-14T22:13:20Z")
        self.assertEqual(nodes[0]["last_unlock_at"], None)
        self.assertEqual(nodes[0]["ek_sha256"], peer.fingerprint(b"ek"))

    def test_N35_what_a_master_says_cannot_steer_the_terminal(self):
        self.master.name = "to\x1b[2Jwn"
        self.master.failure = None
        for words in (["status"], ["node", "show", "bbbb"]):
            self.assertNotRegex(self.succeeds(*words), r"[\x00-\x09\x0b-\x1f]")
        self.master.failure = (grpc.StatusCode.INTERNAL, None, "a\x1b[2Jb")
        self.assertNotIn("\x1b", self.fails(1, "node", "list"))

    def test_a_node_is_found_by_the_beginning_of_its_id(self):
        for typed in ("bbbb", "smalltown-bbbb", "BBBB0", NODES[2]):
            self.assertIn(NODES[2], self.succeeds("node", "show", typed))
        self.assertIn("give more digits", self.fails(2, "node", "show", "aaaa"))
        self.assertIn("stctl node list", self.fails(3, "node", "show", "cccc"))
        self.assertIn(NODES[0], self.succeeds("node", "adopt", "aaaa0"))
        self.assertEqual(self.master.asked[-1],
                         self.api.AddNodeRequest(node_id=NODES[0], role=self.api.Node.WORKER))
        self.succeeds("node", "adopt", "aaaa0", "--role", "master")
        self.assertEqual(self.master.asked[-1].role, self.api.Node.MASTER)

    def test_a_recovery_key_is_that_of_the_node_that_was_asked_for(self):
        self.succeeds("recovery", "keygen", "--out", self.folder.path)
        words = ["node", "recovery-key", "bbbb", "--key", self.folder / "recovery-key.pem"]
        self.assertIn("the masters have no recovery key", self.fails(3, *words))
        place = b"smalltown recovery v1\n%s4c1b3f1e-7a52-4c63-9f3b-0123456789ab"
        self.master.sealed = place % NODES[0].encode() + b"k" * 135
        self.assertIn("no recovery key of this node", self.fails(1, *words))
        self.master.sealed = place % NODES[2].encode() + b"k" * 135
        self.assertIn("sealed to another key", self.fails(6, *words))
        self.assertEqual(self.master.asked[-1],
                         self.api.FetchRecoveryKeyRequest(node_id=NODES[2]))
        for key in ("/nowhere", os.path.join(self.folder.path, "recovery.pem")):
            self.assertNotEqual(self.run_it(*words[:-1], key).returncode, 0)

    def test_an_enrolment_without_the_recovery_key_that_was_asked_for_is_not_written(self):
        self.succeeds("recovery", "keygen", "--out", self.folder.path)
        path = os.path.join(self.folder.path, "new.pb")
        said = self.fails(1, "enrolment", "create", "rack9", "--out", path, "--recovery-key",
                          os.path.join(self.folder.path, "recovery.pem"))
        self.assertIn("knows nothing of recovery keys", said)
        self.assertFalse(os.path.exists(path))
        self.assertEqual(len(self.master.asked[-1].recovery_key), 32)

    def removals(self):
        return [r.node_id for r in self.master.asked if isinstance(r, self.api.RemoveNodeRequest)]

    def test_a_removal_wants_a_yes(self):
        self.assertIn("--yes", self.fails(2, "node", "remove", "bbbb"))
        self.assertEqual(self.removals(), [])
        self.assertEqual(self.on_a_terminal("no\n"), 1)
        self.assertEqual(self.on_a_terminal("y\n"), 1)
        self.assertEqual(self.on_a_terminal(""), 1)
        self.assertEqual(self.removals(), [])
        self.assertEqual(self.on_a_terminal("yes\n", shows="recovery-key"), 0)
        self.assertEqual(self.removals(), [NODES[2]])
        self.succeeds("node", "remove", "aaaa0", "--yes")
        self.assertEqual(self.removals(), [NODES[2], NODES[0]])

    def on_a_terminal(self, answer, verb="remove", shows=""):
        """`node remove bbbb` with a person who types; the exit status."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [cluster.STCTL, "node", verb, "bbbb"], stdin=slave, stdout=slave, stderr=slave,
            env={**cluster.ENVIRONMENT, "XDG_CONFIG_HOME": self.folder.path})
        os.close(slave)
        said = b""
        while b"[yes/no]" not in said:
            self.assertTrue(select.select([master], [], [], 20)[0], said)
            said += os.read(master, 1000)
        self.assertIn(NODES[2].encode(), said)
        self.assertIn(shows.encode(), said)
        os.write(master, answer.encode() or b"\x04")
        status = process.wait(20)
        os.close(master)
        return status

    def test_an_enrolment_is_a_private_file_and_its_secret_is_not_shown(self):
        out = self.succeeds("enrolment", "create", "rack1", "--uses", "3", "--expires", "2h")
        self.assertIn("EFI/smalltown/enrolment.pb", out)
        asked = self.master.asked[-1]
        self.assertEqual((asked.uses, asked.expires_in_s, len(asked.request_id)), (3, 7200, 16))
        path = self.folder / "enrolment.pb"
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, "rb") as file:
            packed = file.read()
        self.assertEqual(self.api.EnrolmentConfig.FromString(packed), self.api.EnrolmentConfig(
            enrolment_secret=SECRET, masters_cert=MASTERS_CERT, master_ips=[b"\x7f\0\0\x01"]))
        shown = self.succeeds("enrolment", "create", "rack2", "--out", "two.pb", "-o", "json")
        self.assertEqual(json.loads(shown)["file"], "two.pb")
        for text in (out, shown):
            self.assertNotIn(SECRET.decode(), text)
            self.assertNotIn(SECRET.hex(), text)

    def test_no_secret_is_made_that_has_nowhere_to_go(self):
        open(self.folder / "enrolment.pb", "w", encoding="ascii").close()
        self.assertIn("not overwritten", self.fails(6, "enrolment", "create", "x"))
        self.fails(6, "enrolment", "create", "x", "--out", "no/such/folder")
        self.assertEqual(self.master.asked, [])

    def test_an_enrolment_of_another_cluster_is_not_written(self):
        self.master.masters_cert = peer.self_signed(MASTER_KEY, "other")
        sentence = self.fails(1, "enrolment", "create", "rack1")
        self.assertIn("stctl enrolment revoke rack1", sentence)
        self.assertNotIn("enrolment.pb", os.listdir(self.folder.path))

    def test_enrolments_are_listed_and_revoked(self):
        out = self.succeeds("enrolment", "list")
        self.assertRegex(out, r"(?m)^3 +(119m|2h) +rack1$")
        self.assertRegex(out, r"(?m)^1 +expired +old$")
        self.assertEqual(json.loads(self.succeeds("enrolment", "list", "-ojson"))[0]["uses_left"], 3)
        self.succeeds("enrolment", "revoke", "rack1")
        self.assertEqual(self.master.asked[-1].name, "rack1")

    def test_a_ticket_is_a_private_file_and_its_secret_is_not_shown(self):
        out = self.succeeds("master", "invite", "host", "--expires", "2h")
        self.assertIn("smalltown-nms join", out)
        asked = self.master.asked[-1]
        self.assertEqual((asked.name, asked.expires_in_s, len(asked.request_id)), ("host", 7200, 16))
        path = self.folder / "ticket.pb"
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, "rb") as file:
            self.assertEqual(self.api.MasterTicket.FromString(file.read()), self.master.ticket())
        shown = self.succeeds("master", "invite", "two", "--out", "two.pb", "-o", "json")
        self.assertEqual(json.loads(shown), {"name": "two", "file": "two.pb"})
        for text in (out, shown):
            self.assertNotIn(SECRET.decode(), text)
            self.assertNotIn(SECRET.hex(), text)
        asked = len(self.master.asked)
        self.assertIn("not overwritten", self.fails(6, "master", "invite", "x"))
        self.assertEqual(len(self.master.asked), asked)
        self.master.masters_cert = peer.self_signed(MASTER_KEY, "other")
        self.assertIn("stctl master uninvite x",
                      self.fails(1, "master", "invite", "x", "--out", "x.pb"))
        self.assertNotIn("x.pb", os.listdir(self.folder.path))

    def test_invitations_are_listed_and_revoked(self):
        self.assertRegex(self.succeeds("master", "invitations"), r"(?m)^2m +(121m|2h) +host$")
        self.assertRegex(self.succeeds("master", "invitations"), r"(?m)^2h +expired +late$")
        listed = json.loads(self.succeeds("master", "invitations", "-ojson"))
        self.assertEqual([one["name"] for one in listed], ["host", "late"])
        self.assertIn("opens nothing", self.succeeds("master", "uninvite", "host"))
        self.assertEqual(self.master.asked[-1].name, "host")
        self.fails(2, "master", "uninvite", "a/b")
        self.assertEqual(self.master.asked[-1].name, "host")

    def test_masters_are_listed_and_removed(self):
        out = self.succeeds("master", "list")
        self.assertRegex(out, r"\AID +STATE +CONNECTED +ADDRESS +KIND +NAME\n")
        self.assertRegex(out, rf"(?m)^1 +leader +yes +{re.escape(self.address)} +host +-$")
        self.assertRegex(out, r"(?m)^3 +joining +no +127\.[0-9.]+\.203 +host +b\?\[2J$")
        self.assertRegex(out, rf"(?m)^12 +leaving +yes +127\.[0-9.]+\.212 +node +{NODES[2]}$")
        masters = json.loads(self.succeeds("master", "list", "-o", "json"))
        self.assertEqual([m["state"] for m in masters], ["voter", "joining", "leaving"])
        self.assertEqual([m["leader"] for m in masters], [True, False, False])
        self.assertEqual(masters[2]["node_id"], NODES[2])
        asked = len(self.master.asked)
        self.assertIn("--yes", self.fails(2, "master", "remove", "3"))
        self.assertEqual(len(self.master.asked), asked)
        self.succeeds("master", "remove", "3", "--yes")
        self.assertEqual(self.master.asked[-1], self.api.RemoveMasterRequest(id=3))
        self.assertEqual(json.loads(self.succeeds("master", "remove", "12", "--yes", "--force", "-o",
                                                  "json")), {"removed": 12})
        self.assertEqual(self.master.asked[-1], self.api.RemoveMasterRequest(id=12, force=True))
        self.succeeds("node", "remove", "bbbb", "--yes", "--force")
        self.assertTrue(self.master.asked[-1].force)

    def document(self):
        return json.loads(self.master.policy)

    def write(self, name, text):
        with open(self.folder / name, "w", encoding="utf-8") as file:
            file.write(text)
        return name

    def test_a_policy_is_shown_set_and_listed(self):
        shown = self.succeeds("policy", "show")
        self.assertEqual(json.loads(shown), self.document())
        whole = json.loads(self.succeeds("policy", "show", "-o", "json"))
        self.assertEqual((whole["version"], whole["policy"], whole["changed_by"]),
                         (0, self.document(), "ab" * 32))
        self.succeeds("policy", "show", "--at", "7")
        self.assertEqual(self.master.asked[-1].version, 7)
        text = shown.replace('"none"', '"chain"')
        self.assertIn("version 1", self.succeeds("policy", "set", self.write("p.json", text)))
        self.assertEqual(self.master.policy, text)
        self.fails(1, "policy", "set", "p.json", "--expect", "0")
        self.assertEqual(json.loads(self.succeeds("policy", "set", "p.json", "--expect", "1", "-o",
                                                  "json")), {"version": 2})
        self.fails(3, "policy", "set", "nowhere.json")
        self.fails(2, "policy", "set", self.write("huge.json", " " * 70000))
        self.assertRegex(self.succeeds("policy", "history"), r"(?m)^2 +2023-11-14T22:13:20Z +abab")
        self.assertEqual([v["version"] for v in json.loads(
            self.succeeds("policy", "history", "-o", "json"))], [2, 1])

    def test_a_policy_is_edited_and_a_refused_text_is_kept(self):
        drafts = self.folder / "drafts"
        os.mkdir(drafts)
        env = {"TMPDIR": str(drafts), "VISUAL": "sed -i s/none/chain/"}
        done = self.run_it("policy", "edit", **env)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.document()["ek"]["require"], "chain")
        self.assertEqual(os.listdir(drafts), [])
        self.assertIn("nothing was changed", self.fails(1, "policy", "edit", **env))
        self.fails(1, "policy", "edit", **{**env, "VISUAL": "false"})
        self.assertEqual((os.listdir(drafts), self.master.version), ([], 1))
        # Another administrator is quicker than the editor.
        self.master.quicker = True
        sentence = self.fails(1, "policy", "edit", **{**env, "VISUAL": "sed -i s/chain/none/"})
        kept = os.listdir(drafts)
        self.assertEqual(len(kept), 1)
        self.assertIn(kept[0], sentence)
        with open(os.path.join(drafts, kept[0]), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["ek"]["require"], "none")

    def test_a_policy_is_tested_on_a_node(self):
        self.assertIn("chain", self.succeeds("policy", "test", "bbbb"))
        self.assertEqual(self.master.asked[-1].text, "")
        self.succeeds("policy", "test", "bbbb", "--file", self.write("p.json", "{}"))
        self.assertEqual(self.master.asked[-1].text, "{}")
        self.master.unlock = "PCR 4 differs from set s1"
        for words in (["policy", "test", "bbbb"], ["policy", "test", "bbbb", "-o", "json"]):
            done = self.run_it(*words)
            self.assertEqual(done.returncode, 6)
            self.assertIn("PCR 4 differs", done.stdout)
            self.assertIn("would not be given its key", done.stderr)
        self.succeeds("policy", "test", "aaaa0")  # it waits, and may be adopted
        self.assertRegex(self.succeeds("policy", "test", "aaaa0"), r"(?m)^boot +of its enrolment$")
        self.assertEqual(list(self.master.asked[-1].pcrs), list(pcrs(0)))
        self.master.accepted, self.master.accepted_at = pcrs(0x11), 1700000000
        self.assertRegex(self.succeeds("policy", "test", "aaaa0"),
                         r"(?m)^boot +accepted at 2023-11-14T22:13:20Z$")
        self.assertEqual(list(self.master.asked[-1].pcrs), list(pcrs(0x11)))
        self.master.refused, self.master.refused_at = pcrs(0x22), 1700000001
        tested = json.loads(self.succeeds("policy", "test", "aaaa0", "-ojson"))
        self.assertEqual((tested["boot"], tested["boot_at"]), ("refused", "2023-11-14T22:13:21Z"))
        self.assertEqual(list(self.master.asked[-1].pcrs), list(pcrs(0x22)))
        self.master.adopt = "no chain"
        self.assertIn("adopted: no chain", self.run_it("policy", "test", "aaaa0").stderr)

    def test_what_a_node_booted_is_shown_and_captured(self):
        out = self.succeeds("node", "pcrs", "bbbb")
        self.assertRegex(out, r"\APCR +ENROLLED +ACCEPTED +REFUSED\n0 +0{16} +- +-\n")
        self.assertIn("no set", self.succeeds("node", "pcrs", "bbbb", "--diff"))
        self.fails(3, "policy", "capture", "bbbb", "--name", "s0", "--refused")
        self.assertIn("set s0 is PCR 0 of the boot of its enrolment\n", self.succeeds(
            "policy", "capture", "bbbb", "--name", "s0", "--pcrs", "0"))
        self.assertEqual(self.document()["pcrs"]["sets"], [
            {"name": "s0", "nodes": [NODES[2]], "values": {"0": ["00" * 32]}}])
        self.master.accepted, self.master.accepted_at = pcrs(0x11), 1700000000
        out = self.succeeds("policy", "capture", "bbbb", "--name", "s1", "--all")
        self.assertIn("set s1 is PCR 2,4,11 of the boot accepted at 2023-11-14T22:13:20Z\n", out)
        self.assertIn("capture one node of each\nkind", out)
        self.assertEqual(self.document()["pcrs"]["sets"][1], {
            "name": "s1", "nodes": ["*"],
            "values": {"2": ["11" * 31 + "02"], "4": ["11" * 31 + "04"], "11": ["11" * 31 + "0b"]}})
        self.fails(6, "policy", "capture", "bbbb", "--name", "s1")
        self.assertIn("0  ", self.succeeds("node", "pcrs", "bbbb", "--diff"))
        self.master.refused, self.master.refused_at = pcrs(0x22), 1700000001
        diff = json.loads(self.succeeds("node", "pcrs", "bbbb", "--diff", "-o", "json"))
        self.assertEqual((diff["boot"], diff["sets"]), ("refused", 2))
        self.assertEqual([(d["set"], d["pcr"], d["booted"]) for d in diff["differs"]], [
            ("s0", 0, "22" * 31 + "00"), ("s1", 2, "22" * 31 + "02"),
            ("s1", 4, "22" * 31 + "04"), ("s1", 11, "22" * 31 + "0b")])
        self.assertRegex(self.succeeds("node", "pcrs", "aaaa0", "--diff"),
                         r"(?m)^11 +2{16} +1{16} +s1$")
        whole = json.loads(self.succeeds("node", "pcrs", "bbbb", "-o", "json"))
        self.assertEqual(whole["refused"][15], "22" * 31 + "0f")
        self.succeeds("policy", "capture", "bbbb", "--name", "s2", "--refused")
        self.assertEqual(self.document()["pcrs"]["sets"][2]["nodes"], [NODES[2]])
        out = self.succeeds("node", "pcrs", "bbbb", "--diff")
        self.assertNotRegex(out, r"(?m)s2$")
        self.assertIn("It is in the set s2", out)

    def test_the_newest_boot_that_any_master_saw_counts(self):
        address = cluster.fresh_address()
        with open(self.folder / "smalltown/admin.pem", "rb") as file:
            other = FakeMaster(self.api, self.services, file.read(), address)
        self.addCleanup(other.server.stop, None)
        self.run_it("context", "remove", "town")
        silent = cluster.fresh_address()
        self.run_it(*self.context("town", f"{self.address},{address},{silent}"))
        other.accepted, other.accepted_at = pcrs(0x22), 1700000002
        self.master.accepted, self.master.accepted_at = pcrs(0x11), 1700000001
        for master in (self.master, other):
            master.refused, master.refused_at = pcrs(0x33), 1700000000
        whole = json.loads(self.run_it("node", "pcrs", "bbbb", "-o", "json").stdout)
        self.assertEqual((whole["refused"][0][:2], whole["accepted"][0][:2]), ("33", "22"))
        # The silent one may have seen a newer.
        for words in (["node", "pcrs", "bbbb"], ["policy", "test", "bbbb"],
                      ["policy", "capture", "bbbb", "--name", "s0"]):
            done = self.run_it(*words)
            self.assertEqual((done.returncode, done.stderr), (
                0, f"stctl: master {silent} does not answer: what it saw last is not known\n"))
        done = self.run_it("policy", "capture", "bbbb", "--name", "s1", "--refused")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_window_is_opened_shown_and_closed(self):
        out = self.succeeds("policy", "window", "open", "--for", "2h")
        self.assertRegex(out, r"\Awindow open until 20[-0-9]+T[0-9:]+Z \((2h|\d+m)\), every node, "
                              r"0 let in\n")
        self.assertEqual((self.master.asked[-1].seconds, list(self.master.asked[-1].node_ids)),
                         (7200, []))
        self.assertRegex(self.succeeds("status"), r"(?m)^window +open until .*, every node, 0 let in$")
        self.assertEqual(json.loads(self.succeeds("status", "-o", "json"))["window"]["nodes"], [])
        done = self.run_it("policy", "show")
        self.assertEqual(json.loads(done.stdout), self.document())
        self.assertIn("window open until", done.stderr)
        self.succeeds("policy", "window", "open", "--for", "90s", "--nodes", "bbbb,aaaa0")
        self.assertEqual(list(self.master.asked[-1].node_ids), [NODES[2], NODES[0]])
        out = self.succeeds("status")
        self.assertIn(", 2 nodes, ", out)
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        self.fails(3, "policy", "window", "open", "--for", "90s", "--nodes", "bbbb,cccc")
        self.succeeds("policy", "window", "close")
        self.assertNotIn("window", self.succeeds("status"))
        self.assertIsNone(json.loads(self.succeeds("policy", "show", "-o", "json"))["window"])

    def test_an_approval_shows_what_it_is_of_and_wants_a_yes(self):
        self.assertIn("no boot", self.fails(3, "node", "approve", "bbbb", "--yes"))
        self.succeeds("policy", "capture", "bbbb", "--name", "s1")
        self.master.refused, self.master.refused_at = pcrs(0x22), 1700000001
        asked = len(self.master.asked)
        self.assertIn("--yes", self.fails(2, "node", "approve", "bbbb"))
        self.assertEqual(self.on_a_terminal("no\n", "approve", "22" * 8), 1)
        self.assertNotIn("ApproveBootRequest",
                         [type(request).__name__ for request in self.master.asked[asked:]])
        self.assertEqual(self.on_a_terminal("yes\n", "approve", "22" * 8), 0)
        self.assertEqual((self.master.asked[-1].node_id, list(self.master.asked[-1].pcrs)),
                         (NODES[2], pcrs(0x22)))
        out = self.succeeds("node", "approve", "bbbb", "--yes")
        self.assertRegex(out, r"(?m)^11 +2{16} +0{16} +s1$")
        self.assertIn("may boot this from now on", out)
        self.assertEqual(json.loads(self.succeeds("node", "approve", "bbbb", "--yes", "-o",
                                                  "json"))["approved"], NODES[2])

    def test_what_was_let_in_is_listed_compared_and_removed(self):
        out = self.succeeds("policy", "captured", "list")
        self.assertRegex(out, r"(?m)^captured-1{16} +2,4,11 +3 +\d+d +window abab")
        self.assertRegex(out, r"(?m)^captured-2{16} +2,4,11 +0 +\d+d +approved abab")
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        whole = json.loads(self.succeeds("policy", "captured", "list", "-o", "json"))
        self.assertEqual((whole[0]["nodes"], whole[0]["values"]["4"], whole[1]["approved"]),
                         (NODES, "11" * 31 + "04", True))
        self.succeeds("policy", "capture", "bbbb", "--name", "s1")
        self.master.captured = [self.master.captured_set(0x11)]
        self.master.refused, self.master.refused_at = pcrs(0x22), 1700000001
        out = self.succeeds("node", "pcrs", "bbbb", "--diff")
        self.assertRegex(out, r"(?m)^4 +2{16} +1{16} +captured-1{16}$")
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        self.master.captured = [self.master.captured_set(0x22)]
        self.assertIn("in the set captured-2222222222222222: this boot is good",
                      self.succeeds("node", "pcrs", "bbbb", "--diff"))
        # The policy asks for more by now than what was let in.
        self.succeeds("policy", "capture", "bbbb", "--name", "s2", "--pcrs", "7")
        out = self.succeeds("node", "pcrs", "bbbb", "--diff")
        self.assertRegex(out, r"(?m)^7 +2{16} +- +captured-2{16}$")
        self.assertNotIn("is good", out)
        for name in ("captured-11111111", "1" * 64):
            self.succeeds("policy", "captured", "remove", name)
            self.assertEqual(self.master.asked[-1].sha256, b"\x11" * 32)
        self.fails(3, "policy", "captured", "remove", "33333333")

    def test_CAs_are_added_listed_and_removed(self):
        der = MASTERS_CERT
        with open(self.folder / "ca.der", "wb") as file:
            file.write(der)
        self.assertIn(peer.fingerprint(der), self.succeeds("policy", "ca", "add", "ca.der"))
        self.assertEqual(self.master.ca, der)
        os.mkdir(self.folder / "cas")
        self.write("cas/a.pem", ssl.DER_cert_to_PEM_cert(der) * 2)
        self.write("cas/.hidden", "nothing")
        added = json.loads(self.succeeds("policy", "ca", "add", "cas", "-o", "json"))
        self.assertEqual([ca["file"] for ca in added], ["cas/a.pem"] * 2)
        self.write("cas/b.pem", "-----BEGIN CERTIFICATE-----\nx\n")
        done = self.run_it("policy", "ca", "add", "cas")  # what is there by then is told
        self.assertEqual((done.returncode, len(done.stdout.splitlines())), (2, 2))
        self.assertIn("cas/b.pem", done.stderr)
        self.fails(3, "policy", "ca", "add", "nowhere")
        self.assertRegex(self.succeeds("policy", "ca", "list"), r"(?m)^(cd){32} +a ven\?\[2Jdor$")
        self.succeeds("policy", "ca", "remove", "CD" * 32)
        self.assertEqual(self.master.asked[-1].sha256, b"\xcd" * 32)

    def test_administrators_come_and_go(self):
        with open(self.folder / "smalltown/admin.pem", encoding="ascii") as file:
            own = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).digest()
        self.master.administrators = [
            self.master.api.Administrator(sha256=own, name="me", role="admin", added_at=1700000000),
            self.master.api.Administrator(sha256=b"\xab" * 32, name="b\x1b[2Job", role="viewer",
                                          added_at=1700000000, added_by=own),
            self.master.api.Administrator(sha256=b"\xab" * 31 + b"\0", role="admin")]
        listed = self.succeeds("admin", "list")
        self.assertRegex(listed, rf"(?m)^{own.hex()[:16]} +admin +[0-9]+d +- +me \(you\)$")
        self.assertRegex(listed, rf"(?m)^(ab){{8}} +viewer +[0-9]+d +{own.hex()[:16]} +b\?\[2Job$")
        self.assertEqual([admin["sha256"] for admin in json.loads(self.succeeds(
            "admin", "list", "-o", "json"))][1:], ["ab" * 32, "ab" * 31 + "00"])
        self.succeeds("keygen", "--out", "bob", "--name", "bob")
        with open(self.folder / "bob/admin.pem", encoding="ascii") as file:
            der = ssl.PEM_cert_to_DER_cert(file.read())
        said = self.succeeds("admin", "add", "bob/admin.pem", "--role", "viewer")
        self.assertEqual(said, f"a ?[2Jlice ({hashlib.sha256(der).hexdigest()[:16]}) may look from now on\n")
        self.assertEqual((self.master.asked[-1].cert, self.master.asked[-1].role), (der, "viewer"))
        self.assertIn("may do everything", self.succeeds("admin", "add", "bob/admin.pem"))
        self.fails(2, "admin", "add", "bob/admin.pem", "--role", "worker")
        self.fails(2, "admin", "add", "bob/admin-key.pem")
        self.fails(3, "admin", "add", "nowhere")
        self.assertIn("--yes", self.fails(2, "admin", "remove", own.hex()))
        self.assertIn("that is you", self.fails(2, "admin", "remove", own.hex()))
        self.assertIn("more digits", self.fails(2, "admin", "remove", "abab", "--yes"))
        self.assertIn("admin list", self.fails(3, "admin", "remove", "1234", "--yes"))
        self.assertIn("admin list", self.fails(2, "admin", "remove", "bob", "--yes"))
        self.assertEqual(self.succeeds("admin", "remove", "AB" * 32, "--yes"),
                         "b?[2Job (abababababababab) is heard no more\n")
        self.assertEqual(self.master.asked[-1].sha256, b"\xab" * 32)

    def test_a_master_that_comes_or_goes_is_waited_for(self):
        self.master.pause = 13  # longer than any other call may take
        self.succeeds("master", "remove", "3", "--yes")
        self.master.failure = (grpc.StatusCode.UNAVAILABLE, "recorded", "this is recorded: catching up")
        self.master.pause = 0
        self.assertIn("recorded", self.fails(5, "master", "remove", "3", "--yes"))

    def second_master(self):
        """In the context, too; and its address."""
        address = cluster.fresh_address()
        with open(self.folder / "smalltown/admin.pem", "rb") as file:
            other = FakeMaster(self.api, self.services, file.read(), address)
        self.addCleanup(other.server.stop, None)
        self.run_it("context", "remove", "town")
        self.run_it(*self.context("town", f"{self.address},{address}"))
        return other, address

    def test_another_master_is_asked_where_one_does_not_hear_the_end(self):
        other, _ = self.second_master()
        self.master.failure = (grpc.StatusCode.UNAVAILABLE, "recorded", "I am leaving")
        for _ in range(6):  # the addresses are tried in any order
            self.succeeds("master", "remove", "3", "--yes")
        self.assertGreaterEqual(len(other.asked), 6)
        other.failure = (grpc.StatusCode.NOT_FOUND, "not-found", "no such master")
        for _ in range(6):
            asked = len(self.master.asked)
            done = self.run_it("master", "remove", "3", "--yes")
            # Not found is an end only for whoever heard that it had begun.
            began = len(self.master.asked) > asked
            self.assertEqual(done.returncode, 0 if began else 3, done.stderr)
        # A connection that ended, maybe because the others cut the removed one off.
        self.master.failure = (grpc.StatusCode.UNAVAILABLE, None, "socket closed")
        other.failure = None
        for _ in range(6):
            self.succeeds("master", "remove", "3", "--yes")
        # Where nothing is said to be recorded, nothing is claimed.
        self.master.failure = other.failure = (grpc.StatusCode.UNAVAILABLE, "no-quorum", "none")
        self.fails(5, "master", "remove", "3", "--yes")

    def test_another_master_is_asked_where_one_has_no_leader(self):
        other, address = self.second_master()
        self.master.failure = (grpc.StatusCode.UNAVAILABLE, "no-leader", "no leader was found")
        for _ in range(64):  # the addresses are tried in any order
            self.assertIn(NODES[0], self.succeeds("node", "list"))
            if self.master.asked:
                break
        self.assertGreaterEqual(len(self.master.asked), 1)
        # The one that did it is asked again: what follows does not wait a second time.
        asked = len(self.master.asked)
        self.succeeds("node", "adopt", NODES[0][10:16])
        self.assertLessEqual(len(self.master.asked), asked + 1)
        other.failure = (grpc.StatusCode.NOT_FOUND, "not-found", "no such enrolment")
        self.assertIn(address, self.fails(3, "enrolment", "revoke", "x"))
        # What may have been done at the other one is not asked a third time.
        other.failure = (grpc.StatusCode.UNAVAILABLE, "no-quorum", "not known")
        self.assertIn("not known", self.fails(5, "enrolment", "revoke", "x"))
        other.failure = self.master.failure
        self.assertIn("no leader was found", self.fails(5, "enrolment", "revoke", "x"))
        other.server.stop(None).wait()
        self.assertIn("no leader was found", self.fails(5, "enrolment", "revoke", "x"))

    def test_each_failure_has_its_exit_status_and_what_to_do(self):
        Code = grpc.StatusCode
        for code, reason, status, advice in (
                (Code.NOT_FOUND, "not-found", 3, ""),
                (Code.PERMISSION_DENIED, "role", 4, "whose role is admin"),
                (Code.UNAUTHENTICATED, None, 4, "stctl admin add"),
                (Code.UNAVAILABLE, "no-quorum", 5, "stctl status"),
                (Code.UNAVAILABLE, "no-leader", 5, "stctl status"),
                (Code.RESOURCE_EXHAUSTED, "busy-for-now", 5, "in a moment"),
                (Code.RESOURCE_EXHAUSTED, "busy", 6, ""),  # full: nobody says when to come again
                (Code.INTERNAL, None, 1, "whose log says more"),
                (Code.ALREADY_EXISTS, "exists", 6, ""),
                (Code.FAILED_PRECONDITION, None, 6, ""),
                (Code.UNIMPLEMENTED, None, 1, "cannot do this yet"),
                (Code.INVALID_ARGUMENT, "malformed", 2, "")):
            self.master.failure = (code, reason, "what happened")
            sentence = self.fails(status, "enrolment", "revoke", "x")
            self.assertIn("what happened", sentence)
            self.assertIn(self.address, sentence)
            self.assertIn(advice, sentence)
            self.assertEqual("a moment" in sentence, advice == "in a moment")
        self.master.failure = (Code.UNAVAILABLE, None, "socket closed")
        self.assertRegex(self.fails(5, "enrolment", "revoke", "x"),
                         f"the connection to {re.escape(self.address)}:7836 was lost[^$]*"
                         "may have been done")

    def test_a_master_that_does_not_answer_costs_the_timeout(self):
        self.master.pause = 5  # and then it would answer
        self.assertIn("--timeout", self.fails(5, "node", "list", "--timeout", "500ms"))
        self.assertIn("may have been done", self.fails(5, "enrolment", "revoke", "rack1",
                                                       "--timeout", "500ms"))

    def test_what_is_wrong_here_is_in_no_log_elsewhere(self):
        os.symlink("round", self.folder / "round")
        sentence = self.fails(1, "context", "add", "two", "--address", self.address,
                              "--masters-cert", "round")
        self.assertIn("cannot", sentence)
        self.assertNotIn("log", sentence)

    def test_the_status_of_each_master_of_the_context(self):
        dead = cluster.fresh_address()
        self.run_it("context", "remove", "town")
        self.run_it(*self.context("town", f"{dead},{self.address}"))
        out = self.succeeds("status")
        self.assertRegex(out, rf"(?m)^1 +{re.escape(self.address)} +leader ")
        # It may be another address of one of those that are down.
        self.assertRegex(out, rf"(?m)^- +{re.escape(dead)} +unreachable ")
        self.assertNotIn("is no master", out)
        self.assertIn("stctl context update", out)
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        status = json.loads(self.succeeds("status", "-o", "json"))
        self.assertEqual((status["nodes"], status["waiting"], status["leader"]), (3, 1, True))
        # The last two are in no context: this master has told of them.
        self.assertEqual([(m["member_id"], m["reachable"], m["in_context"])
                          for m in status["masters"]],
                         [(0, False, True), (1, True, True), (3, False, False), (12, False, False)])
        self.master.leader = 0
        done = self.run_it("status")
        self.assertEqual(done.returncode, 5)
        self.assertIn("no leader", done.stdout)
        self.assertIn("no leader", done.stderr)

    def test_an_authority_is_made_and_renewed(self):
        self.master.authority = b""
        self.assertRegex(self.succeeds("status"), r"(?m)^authority +none.*stctl authority renew")
        self.assertIn("The cluster has an authority.", self.succeeds("authority", "renew"))
        first = self.master.authority
        self.assertEqual(len(first), 64)
        self.assertRegex(self.succeeds("status"), r"(?m)^authority +since 2023-11-14T22:13:20Z$")
        self.assertIn("the one before still counts", self.succeeds("authority", "renew"))
        self.assertNotEqual(self.master.authority, first)
        self.assertEqual(json.loads(self.succeeds("authority", "renew", "-o", "json")),
                         {"first": False})

    def test_an_address_that_is_silent_while_all_masters_answer_is_none_of_them(self):
        """A master that moved may have been there: nothing is to be wiped."""
        dead = cluster.fresh_address()
        self.run_it("context", "remove", "town")
        self.run_it(*self.context("town", f"{dead},{self.address}"))
        self.master.alone = True
        out = self.succeeds("status")
        self.assertRegex(out, rf"(?m)^- +{re.escape(dead)} +unreachable ")
        self.assertIn(f"{dead} does not answer, and all masters are elsewhere.\n"
                      "The context is not up to date: `stctl context update`.", out)
        self.assertNotIn("wipe", out)

    def test_a_master_that_is_asked_at_another_address_is_the_one_that_it_says(self):
        """Behind a port that is forwarded."""
        self.master.alone, self.master.ip = True, self.master.neighbour(1)
        out = self.succeeds("status")
        self.assertRegex(out, rf"(?m)^1 +{re.escape(self.address)} +leader ")
        self.assertRegex(out, r"(?m)^masters +1, of which 0 may fail$")
        self.assertNotIn(socket.inet_ntoa(self.master.ip), out)
        self.assertNotIn("stctl context update", out)

    def test_the_status_says_how_many_masters_may_fail(self):
        """Voters are 1 and 12, of which 12 is leaving and does not answer."""
        self.assertRegex(self.succeeds("status"), r"(?m)^masters +2, of which 1 answer.*no majority$")

    def test_a_status_that_nobody_answers_says_so(self):
        self.master.server.stop(None).wait()
        self.run_it(*self.context("two", f"{self.address},{cluster.fresh_address()}"))
        self.assertIn("not one of its 2 masters answers",
                      self.fails(5, "status", "--context", "two"))

    def test_a_context_learns_where_the_masters_are(self):
        dead = cluster.fresh_address()
        self.run_it(*self.context("two", f"{dead},{self.address}"))
        joining = socket.inet_ntoa(self.master.neighbour(3))
        out = self.succeeds("context", "update", "--context", "two")
        self.assertIn(f"{self.address},{joining}\n", out)
        self.assertIn("as before", self.succeeds("context", "update", "--context", "two"))
        self.assertEqual(json.loads(self.succeeds("context", "update", "-ojson")),
                         {"name": "town", "addresses": [self.address, joining], "changed": True})
        listed = {c["name"]: c for c in json.loads(self.succeeds("context", "list", "-ojson"))}
        self.assertEqual(listed["two"]["addresses"], [self.address, joining])
        self.assertEqual(listed["two"]["fingerprint"], peer.fingerprint(MASTERS_CERT))
        self.assertTrue(listed["town"]["current"])

    def test_a_context_does_not_learn_from_a_master_that_is_cut_off(self):
        """It may have been removed: what it lists is old.  But those may know more."""
        self.master.in_touch = False
        before = self.succeeds("context", "list", "-ojson")
        self.assertIn("in touch with a leader", self.fails(5, "context", "update"))
        self.assertEqual(self.succeeds("context", "list", "-ojson"), before)
        address = socket.inet_ntoa(self.master.neighbour(3))
        with open(self.folder / "smalltown/admin.pem", "rb") as file:
            other = FakeMaster(self.api, self.services, file.read(), address)
        self.addCleanup(other.server.stop, None)
        self.assertIn(f": {address}\n", self.succeeds("context", "update"))

    def other_master(self):
        address = cluster.fresh_address()
        with open(self.folder / "smalltown/admin.pem", "rb") as file:
            other = FakeMaster(self.api, self.services, file.read(), address)
        self.addCleanup(other.server.stop, None)
        self.run_it("context", "remove", "town")
        self.run_it(*self.context("town", f"{self.address},{address}"))
        other.member_id = 2
        return other, address

    def audit_line(self, second, number, what="unlock", decision="OK", **more):
        return self.api.AuditLine(time_ms=1700000000000 + 1000 * second, number=number, what=what,
                                  decision=decision, subject=NODES[2], policy=3, **more)

    def test_the_audit_of_all_masters_is_one_in_the_order_of_time(self):
        other, _ = self.other_master()
        self.master.audit = [self.audit_line(second, 100 + second) for second in (1, 4, 5)]
        other.audit = [self.audit_line(second, 500 + second, approved="no-set")
                       for second in (0, 2, 6)]
        out = self.succeeds("audit", "tail").splitlines()
        self.assertEqual([line.split()[1] for line in out], ["2", "1", "2", "1", "1", "2"])
        self.assertEqual(out[0], f"2023-11-14T22:13:20Z 2 unlock ok {NODES[2]}")
        self.assertEqual(out[-2:], self.succeeds("audit", "tail", "-n", "2").splitlines())
        self.succeeds("audit", "tail", "--node", "BBBB")
        self.assertEqual(self.master.asked[-1].node_id, "smalltown-bbbb")
        rows = [json.loads(line) for line in self.succeeds("audit", "tail", "-ojson").splitlines()]
        self.assertEqual([row["master"] for row in rows], [2, 1, 2, 1, 1, 2])
        self.assertEqual(rows[0], {
            "time": "2023-11-14T22:13:20.000Z", "master": 2, "number": 500, "what": "unlock",
            "subject": NODES[2], "member_id": None, "admin": None, "peer": None,
            "ek_sha256": None, "policy": 3, "more": 0, "step": None, "approved": "no-set",
            "decision": "OK", "reason": None})

    def test_a_clock_that_was_set_back_does_not_turn_a_masters_story_round(self):
        other, _ = self.other_master()
        self.master.audit = [self.audit_line(second, 100 + i) for i, second in enumerate((5, 1, 6))]
        other.audit = [self.audit_line(second, 500 + second) for second in (2, 7)]
        rows = [json.loads(line) for line in self.succeeds("audit", "tail", "-ojson").splitlines()]
        self.assertEqual([row["number"] for row in rows], [502, 100, 101, 102, 507])

    def test_a_refusal_is_told_with_all_that_an_operator_needs_in_80_columns(self):
        self.master.audit = [
            self.audit_line(0, 1, "enrol", "PERMISSION_DENIED", peer="127.0.0.9:4711",
                            ek_sha256=bytes(range(32)), reason="the policy does not list this EK"),
            self.audit_line(1, 2, "unlock", "PERMISSION_DENIED", peer="127.0.0.9", more=1204,
                            reason="no node has this id"),
            self.audit_line(2, 3, "remove", admin="0123456789abcdef", peer="127.0.0.1:9"),
            self.api.AuditLine(number=4, what="master", step="vote", member=3, decision="OK"),
            self.audit_line(3, 5, "unlock", "UNAVAILABLE", reason="a majority is missing"),
            self.audit_line(4, 6, "login", admin="0123456789abcdef", peer="127.0.0.1:9"),
            self.audit_line(5, 7, "login", admin="0123456789abcdef", peer="127.0.0.1", more=3),
            self.audit_line(6, 8, "capture-boot", admin="0123456789abcdef", peer="127.0.0.9:4711",
                            ek_sha256=bytes(range(32)), reason="PCR 4 differs from set s1"),
            self.api.AuditLine(number=9, what="open-window", step="7200s", subject="all",
                               decision="OK", admin="0123456789abcdef", peer="127.0.0.1:9")]
        out = self.succeeds("audit", "tail")
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        self.assertEqual(out, f"""\
2023-11-14T22:13:20Z 1 enrol refused {NODES[2]}
    PERMISSION_DENIED: the policy does not list this EK
    EK {bytes(range(32)).hex()}
    from 127.0.0.9:4711, policy 3
2023-11-14T22:13:21Z 1 unlock refused {NODES[2]}
    PERMISSION_DENIED: no node has this id
    and 1204 more like it from 127.0.0.9, policy 3
2023-11-14T22:13:22Z 1 remove ok {NODES[2]}
    by admin 0123456789abcdef from 127.0.0.1:9, policy 3
1970-01-01T00:00:00Z 1 master vote ok (master 3)
2023-11-14T22:13:23Z 1 unlock failed {NODES[2]}
    UNAVAILABLE: a majority is missing
2023-11-14T22:13:24Z 1 login ok 0123456789abcdef from 127.0.0.1:9
2023-11-14T22:13:25Z 1 login ok {NODES[2]}
    by admin 0123456789abcdef and 3 more like it from 127.0.0.1, policy 3
2023-11-14T22:13:26Z 1 capture-boot ok
    {NODES[2]}
    PCR 4 differs from set s1
    EK {bytes(range(32)).hex()}
    by admin 0123456789abcdef from 127.0.0.9:4711, policy 3
1970-01-01T00:00:00Z 1 open-window 7200s ok all
    by admin 0123456789abcdef from 127.0.0.1:9, policy 0
""")

    def test_a_master_that_does_not_answer_is_named_and_the_others_are_heard(self):
        other, address = self.other_master()
        self.master.audit = [self.audit_line(0, 1)]
        other.failure = (grpc.StatusCode.UNIMPLEMENTED, None, "no such method")
        done = self.run_it("audit", "tail")
        self.assertEqual((done.returncode, done.stdout.count("unlock ok")), (0, 1))
        self.assertRegex(done.stderr, rf"\Astctl: master {address} does not answer, and its lines "
                                      rf"are missing: .*no such method\n\Z")
        other.server.stop(None).wait()
        self.assertIn(address, self.run_it("audit", "tail", "--timeout", "2s").stderr)
        self.master.failure = (grpc.StatusCode.UNAUTHENTICATED, "refused", "not you")
        self.assertIn("not one of its 2 masters answers", self.fails(4, "audit", "tail",
                                                                     "--timeout", "2s"))

    def test_who_follows_is_told_what_comes_once_also_over_an_outage(self):
        other, address = self.other_master()
        self.master.audit = [self.audit_line(0, 1)]
        other.audit = [self.audit_line(1, 7)]
        tail = subprocess.Popen([cluster.STCTL, "audit", "tail", "-f", "-ojson"], text=True, env={
            **cluster.ENVIRONMENT, "XDG_CONFIG_HOME": self.folder.path},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(tail.stderr.close)
        self.addCleanup(tail.stdout.close)
        self.addCleanup(tail.wait)
        self.addCleanup(tail.kill)

        def numbers(count):
            return [json.loads(tail.stdout.readline())["number"] for _ in range(count)]
        self.assertEqual(numbers(2), [1, 7])
        self.master.audit = self.master.audit + [self.audit_line(2, 2)]
        self.assertEqual(numbers(1), [2])
        other.failure = (grpc.StatusCode.UNAVAILABLE, None, "away")
        self.assertIn(f"master {address} does not answer", tail.stderr.readline())
        other.audit = other.audit + [self.audit_line(3, number) for number in range(8, 2000)]
        self.master.audit = self.master.audit + [self.audit_line(3, 3)]
        self.assertEqual(numbers(1), [3])
        other.failure = None
        self.assertEqual(numbers(1992), list(range(8, 2000)))
        self.assertEqual(tail.stderr.readline(), f"stctl: master {address} answers again\n")

    def test_N35_the_audit_cannot_steer_the_terminal(self):
        self.master.audit = [self.api.AuditLine(number=1, what="a\x1b[2Jb", subject="c\nd",
                                                decision="\x1b", reason="e\tf", peer="g\rh",
                                                admin="\u009b")]
        out = self.succeeds("audit", "tail")
        self.assertNotRegex(out, r"[^\n -~]")
        self.assertEqual(len(out.splitlines()), 3)
        self.assertEqual(len(self.succeeds("audit", "tail", "-ojson").splitlines()), 1)

    def said_to_a_person(self, status, *words):
        """The lines on his terminal."""
        master, slave = pty.openpty()
        process = subprocess.Popen([cluster.STCTL, *words], stdin=slave, stdout=slave, stderr=slave,
                                   env={**cluster.ENVIRONMENT, "XDG_CONFIG_HOME": self.folder.path})
        os.close(slave)
        self.assertEqual(process.wait(60), status)
        said = os.read(master, 4096).decode().split("\r\n")
        os.close(master)
        return said

    def test_a_person_who_waits_is_told_for_what_and_how_long(self):
        self.master.pause = 2
        said = self.said_to_a_person(0, "enrolment", "list")
        self.assertEqual(said[0], "waiting up to 12 s: no master has answered yet ...")
        said = self.said_to_a_person(0, "master", "remove", "3", "--yes")
        self.assertRegex(said[0], r"\Awaiting up to 60 s: .*agree")
        self.assertNotIn("waiting", self.succeeds("enrolment", "list"))
        other, address = self.second_master()
        self.master.pause, other.pause = 0, 1.5
        said = self.said_to_a_person(0, "node", "pcrs", NODES[2][10:])
        self.assertIn(f"waiting up to 2 s: asking {address}, too ...", said)

    def test_a_failure_is_broken_between_words_on_a_terminal(self):
        self.master.failure = (grpc.StatusCode.FAILED_PRECONDITION, None, "what happened " * 20)
        said = self.said_to_a_person(6, "node", "list")
        self.assertGreater(len(said), 4)
        self.assertLessEqual(max(map(len, said)), 80)
        self.assertEqual("".join(line.replace("  ", " ", 1) for line in said).count("what happened"),
                         20)

    def test_a_wrong_administrator_is_told_so(self):
        self.run_it("keygen", "--out", "other")
        self.run_it(*self.context("other", self.address, "--cert", "other/admin.pem", "--key",
                                  "other/admin-key.pem"))
        self.fails(5, "node", "list", "--context", "other", "--timeout", "3s")


# The tests of the base class are its own.
for name in [n for n in dir(CommandLine) if n.startswith("test")]:
    setattr(Answers, name, None)

if __name__ == "__main__":
    unittest.main()

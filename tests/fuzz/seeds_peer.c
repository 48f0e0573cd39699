/* What an honest member sends, and what it writes into the log. */
#include "tests/fuzz/seeds.h"

#include "nms/state.pb-c.h"
#include "raft/forward.pb-c.h"
#include "raft/peer.pb-c.h"

#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FROM = 2
};

/* ---- frames ---- */

struct frame_seed {
    const char *name;
    Peer__Frame frame;
};

static const uint8_t snapshot[] = "stsn\1\0\0\0\2\0\0\0\0\0\0\0" /* two records */
                                  "\1\0\0\0\0\0\0\0a"
                                  "\2\0\0\0\3\0\0\0bbccc";

static struct raft_buffer
configuration(void)
{
    struct raft_configuration members;
    struct raft_buffer bytes;
    raft_configuration_init(&members);
    assert_int_equal(raft_configuration_add(&members, 1, "192.0.2.1:7834", RAFT_VOTER),
                     0);
    assert_int_equal(raft_configuration_add(&members, 2, "192.0.2.2:7834", RAFT_VOTER),
                     0);
    assert_int_equal(
        raft_configuration_add(&members, 3, "[2001:db8::3]:7834", RAFT_SPARE), 0);
    assert_int_equal(raft_configuration_encode(&members, &bytes), 0);
    raft_configuration_close(&members);
    return bytes;
}

static void
one_frame(const struct frame_seed *seed)
{
    seed_message(&seed->frame.base);
    seed_write("frame", seed->name);
}

/* As mesh_frame.h has it on the line: u32 length, frame. */
static void
on_the_line(const struct frame_seed *seed)
{
    const size_t len = peer__frame__get_packed_size(&seed->frame);
    for (int shift = 0; shift < 32; shift += 8)
        seed_byte((uint8_t)(len >> shift));
    seed_message(&seed->frame.base);
}

#define FRAME(name, kind, field, value)                                                  \
    {                                                                                    \
#field,                                                                          \
        {                                                                                \
            .base = PROTOBUF_C_MESSAGE_INIT(&peer__frame__descriptor),                   \
            .kind_case = PEER__FRAME__KIND_##kind, .field = value                        \
        }                                                                                \
    }

static void
frames(void)
{
    static uint64_t terms[] = {3, 4, 4};
    static uint32_t lens[] = {3, 0, 2};
    static uint8_t types[] = {RAFT_COMMAND, RAFT_BARRIER, RAFT_COMMAND};
    const struct raft_buffer conf = configuration();
    Peer__Hello hello = PEER__HELLO__INIT;
    hello.format = 1;
    hello.id = FROM;
    hello.boot = 1;
    hello.address = seed_lend("192.0.2.2:7834", 14);
    hello.nonce = seed_lend("a nonce of 16 b.", 16);
    Peer__Refusal refusal = PEER__REFUSAL__INIT;
    refusal.code = 7;
    refusal.reason = 2;
    refusal.text = seed_lend("because", 7);
    Peer__RequestVote vote = PEER__REQUEST_VOTE__INIT;
    vote.term = 4;
    vote.candidate = FROM;
    vote.last_index = 9;
    vote.last_term = 3;
    vote.pre_vote = true;
    Peer__RequestVoteResult voted = PEER__REQUEST_VOTE_RESULT__INIT;
    voted.term = 4;
    voted.granted = true;
    Peer__AppendEntries append = PEER__APPEND_ENTRIES__INIT;
    append.term = 4;
    append.prev_index = 9;
    append.prev_term = 3;
    append.commit = 8;
    append.n_entry_term = append.n_entry_len = 3;
    append.entry_term = terms;
    append.entry_len = lens;
    append.entry_type = seed_lend(types, 3);
    append.data = seed_lend("abcde", 5);
    Peer__AppendEntries change = append;
    uint32_t conf_len = (uint32_t)conf.len;
    uint8_t conf_type = RAFT_CHANGE;
    change.n_entry_term = change.n_entry_len = 1;
    change.entry_len = &conf_len;
    change.entry_type = seed_lend(&conf_type, 1);
    change.data = seed_lend(conf.base, conf.len);
    Peer__AppendEntriesResult appended = PEER__APPEND_ENTRIES_RESULT__INIT;
    appended.term = 4;
    appended.last_index = 12;
    Peer__TimeoutNow now = PEER__TIMEOUT_NOW__INIT;
    now.term = 4;
    now.last_index = 12;
    now.last_term = 4;
    Peer__Snapshot begin = PEER__SNAPSHOT__INIT;
    begin.term = 4;
    begin.last_index = 12;
    begin.last_term = 4;
    begin.configuration_index = 1;
    begin.configuration = seed_lend(conf.base, conf.len);
    begin.size = sizeof(snapshot) - 1;
    Peer__Chunk chunk = PEER__CHUNK__INIT, rest = PEER__CHUNK__INIT;
    chunk.data = seed_lend(snapshot, 20);
    rest.offset = 20;
    rest.data = seed_lend(snapshot + 20, sizeof(snapshot) - 1 - 20);
    const struct frame_seed all[] = {
        FRAME("hello", HELLO, hello, &hello),
        FRAME("request_vote", REQUEST_VOTE, request_vote, &vote),
        FRAME("request_vote_result", REQUEST_VOTE_RESULT, request_vote_result, &voted),
        FRAME("append_entries", APPEND_ENTRIES, append_entries, &append),
        FRAME("append_entries_result", APPEND_ENTRIES_RESULT, append_entries_result,
              &appended),
        FRAME("timeout_now", TIMEOUT_NOW, timeout_now, &now),
        FRAME("snapshot", SNAPSHOT, snapshot, &begin),
        FRAME("chunk", CHUNK, chunk, &chunk),
        FRAME("change", APPEND_ENTRIES, append_entries, &change),
        FRAME("chunk2", CHUNK, chunk, &rest),
        FRAME("note", NOTE, note, seed_lend("a note", 6)),
        FRAME("refusal", REFUSAL, refusal, &refusal),
    };
    const size_t count = sizeof(all) / sizeof(*all);
    for (size_t i = 0; i < count; i++)
        one_frame(&all[i]);
    seed_byte(255);
    for (size_t i = 0; i < count; i++)
        on_the_line(&all[i]);
    seed_write("peer", "all");
    seed_bytes(conf.base, conf.len);
    seed_write("conf", "three");
    raft_free(conf.base);
    seed_bytes(snapshot, sizeof(snapshot) - 1);
    seed_write("snapshot", "two");
}

/* ---- notes ---- */

static void
ask(uint64_t number, bool barrier)
{
    Forward__Ask what = FORWARD__ASK__INIT;
    Forward__Note note = FORWARD__NOTE__INIT;
    what.number = number;
    what.timeout_ms = 1000;
    what.barrier = barrier;
    if (!barrier)
        what.command = seed_lend("a command", 9);
    note.what_case = FORWARD__NOTE__WHAT_ASK;
    note.ask = &what;
    seed_message_piece(&note.base);
}

static void
answer(uint64_t number, uint32_t code, uint64_t index)
{
    Forward__Answer what = FORWARD__ANSWER__INIT;
    Forward__Note note = FORWARD__NOTE__INIT;
    what.number = number;
    what.code = code;
    what.text = (char *)(code ? "because" : "");
    what.index = index;
    what.result = seed_lend("a result", 8);
    note.what_case = FORWARD__NOTE__WHAT_ANSWER;
    note.answer = &what;
    seed_message_piece(&note.base);
}

static void
notes(void)
{
    seed_byte(1);
    ask(1, false);
    ask(2, true);
    seed_write("note", "asks");
    seed_byte(0);
    answer(1, 0, 9);
    answer(2, 9, 0); /* FAILED_PRECONDITION: it leads no more */
    answer(3, 0, 11);
    answer(4, 14, 0);
    ask(1, true);
    seed_write("note", "answers");
    seed_bytes("\1\2\0\0\0\3\0\0\0one\3\0\0\0two", 5 + 7 + 7);
    seed_write("entry", "two");
}

/* ---- commands, and the records that come of them ---- */

static void
command(State__Command__ChangeCase kind, void *change, uint8_t id)
{
    uint8_t request_id[16];
    State__Command command = STATE__COMMAND__INIT;
    memset(request_id, id, sizeof(request_id));
    command.request_id = seed_lend(request_id, sizeof(request_id));
    command.time = 1600000010;
    command.change_case = kind;
    command.found = change;
    seed_message_piece(&command.base);
}

static void
record(const char *key, const ProtobufCMessage *value)
{
    seed_piece(key, strlen(key));
    seed_message_piece(value);
}

static void
state(void)
{
    char id[] = "smalltown-07000000000000000000000000000000"; /* of tests/nms/log.h's 7 */
    uint8_t hash[32] = {0x51}, ticket_hash[32] = {0x71}, key[32] = {9};
    State__Node node = STATE__NODE__INIT;
    node.node_id = (char *)"smalltown-09000000000000000000000000000000";
    node.id_cert = seed_lend("a certificate", 13);
    node.global_unlock_key = seed_lend(key, sizeof(key));
    node.address = seed_lend("\xc0\x00\x02\x09", 4);
    node.ak_public = seed_lend("an AK", 5);
    node.ek_pubkey = seed_lend("an EK", 5);
    node.secret_hash = seed_lend(hash, sizeof(hash));
    State__Enrol enrol = STATE__ENROL__INIT;
    enrol.node = &node;
    State__Adopt adopt = STATE__ADOPT__INIT;
    adopt.node_id = id;
    adopt.role = STATE__ROLE__WORKER;
    State__RemoveNode remove_node = STATE__REMOVE_NODE__INIT;
    remove_node.node_id = id;
    State__Enrolment enrolment = STATE__ENROLMENT__INIT;
    enrolment.name = (char *)"another";
    enrolment.secret_hash = seed_lend(key, sizeof(key));
    enrolment.uses_left = 1;
    enrolment.expires_at = 1600001000;
    State__NewEnrolment new_enrolment = STATE__NEW_ENROLMENT__INIT;
    new_enrolment.enrolment = &enrolment;
    State__RemoveEnrolment remove_enrolment = STATE__REMOVE_ENROLMENT__INIT;
    remove_enrolment.name = (char *)"some";
    State__Member member = STATE__MEMBER__INIT;
    member.id = 2;
    member.address = seed_lend("\xc0\x00\x02\x02", 4);
    member.cert = seed_lend("a certificate", 13);
    member.public_key = seed_lend(key, sizeof(key));
    State__JoinMaster join = STATE__JOIN_MASTER__INIT;
    join.secret_hash = seed_lend(ticket_hash, sizeof(ticket_hash));
    join.member = &member;
    State__Member adopted = STATE__MEMBER__INIT;
    adopted.id = 3;
    adopted.cert = member.cert;
    adopted.key = seed_lend("a key", 5);
    State__AdoptMaster adopt_master = STATE__ADOPT_MASTER__INIT;
    adopt_master.node_id = id;
    adopt_master.member = &adopted;
    State__MemberPhase phase = STATE__MEMBER_PHASE__INIT;
    phase.id = 2;
    phase.from = STATE__PHASE__JOINING;
    phase.to = STATE__PHASE__CATCHING_UP;
    State__RemoveMaster remove_master = STATE__REMOVE_MASTER__INIT;
    remove_master.id = 2;
    State__MemberGone gone = STATE__MEMBER_GONE__INIT;
    gone.id = 2;
    gone.crl = seed_lend("a list", 6);
    gone.crl_number = 2;
    State__Ticket ticket = STATE__TICKET__INIT;
    ticket.name = (char *)"other";
    ticket.secret_hash = seed_lend(key, sizeof(key));
    ticket.expires_at = 1600001000;
    State__InviteMaster invite = STATE__INVITE_MASTER__INIT;
    invite.ticket = &ticket;

    command(STATE__COMMAND__CHANGE_ENROL, &enrol, 1);
    command(STATE__COMMAND__CHANGE_ADOPT, &adopt, 2);
    command(STATE__COMMAND__CHANGE_NEW_ENROLMENT, &new_enrolment, 3);
    command(STATE__COMMAND__CHANGE_REMOVE_ENROLMENT, &remove_enrolment, 4);
    command(STATE__COMMAND__CHANGE_REMOVE_NODE, &remove_node, 5);
    command(STATE__COMMAND__CHANGE_REMOVE_NODE, &remove_node, 5);
    seed_write("command", "nodes");
    command(STATE__COMMAND__CHANGE_INVITE_MASTER, &invite, 1);
    command(STATE__COMMAND__CHANGE_JOIN_MASTER, &join, 2);
    command(STATE__COMMAND__CHANGE_MEMBER_PHASE, &phase, 3);
    command(STATE__COMMAND__CHANGE_ADOPT_MASTER, &adopt_master, 4);
    command(STATE__COMMAND__CHANGE_REMOVE_MASTER, &remove_master, 5);
    command(STATE__COMMAND__CHANGE_MEMBER_GONE, &gone, 6);
    seed_write("command", "masters");

    State__Cluster cluster = STATE__CLUSTER__INIT;
    cluster.name = (char *)"home";
    cluster.masters_seed = seed_lend(key, sizeof(key));
    cluster.masters_cert = member.cert;
    cluster.crl_number = 1;
    State__Result result = STATE__RESULT__INIT;
    result.text = (char *)"because";
    State__Request request = STATE__REQUEST__INIT;
    request.request_id = seed_lend(key, 16);
    request.result = &result;
    State__Admin admin = STATE__ADMIN__INIT;
    uint8_t fingerprint[32];
    char admin_key[80] = "admin/";
    memset(fingerprint, 0xab, sizeof(fingerprint));
    for (int i = 0; i < 32; i++)
        strcat(admin_key, "ab");
    admin.fingerprint = seed_lend(fingerprint, sizeof(fingerprint));
    admin.role = STATE__ADMIN_ROLE__ADMIN;
    record("cluster", &cluster.base);
    record("member/2", &member.base);
    record(admin_key, &admin.base);
    record("enrolment/another", &enrolment.base);
    record("ticket/other", &ticket.base);
    record("node/smalltown-09000000000000000000000000000000", &node.base);
    record("request/0000000000000001", &request.base);
    seed_write("records", "all");
}

/* More of them than a group can have. */
static void
many_members(void)
{
    char key[32];
    State__Member member = STATE__MEMBER__INIT;
    member.address = seed_lend("\xc0\x00\x02\x02", 4);
    member.cert = seed_lend("a certificate", 13);
    member.name = (char *)"a name";
    for (member.id = 1; member.id < 13; member.id++) {
        snprintf(key, sizeof(key), "member/%llu", (unsigned long long)member.id);
        record(key, &member.base);
    }
    seed_write("records", "many");
}

void
seeds_peer(void)
{
    frames();
    notes();
    state();
    many_members();
}

/* What an honest member sends. */
#include "tests/fuzz/seeds.h"

#include "raft/forward.pb-c.h"
#include "raft/peer.pb-c.h"

#include <raft.h>
#include <string.h>

enum {
    FROM = 2
};

/* ---- frames ---- */

#define BYTES(text)                                                                      \
    {                                                                                    \
        sizeof(text) - 1, (uint8_t *)(text)                                              \
    }
#define OF(type) .base = PROTOBUF_C_MESSAGE_INIT(&peer__##type##__descriptor)

/* Two records, in two parts. */
#define PART_1 "stsn\1\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0"
#define PART_2 "\0\0\0\0a\2\0\0\0\3\0\0\0bbccc"
static const char snapshot[] = PART_1 PART_2;

static uint64_t terms[] = {3, 4, 4};
static uint32_t lens[] = {3, 0, 2}, conf_len;
static Peer__Hello hello = {OF(hello),
                            .format = 1,
                            .id = FROM,
                            .boot = 1,
                            .address = BYTES("192.0.2.2:7834"),
                            .nonce = BYTES("a nonce of 16 b.")};
static Peer__Refusal refusal = {OF(refusal), .code = 7, .reason = 2,
                                .text = BYTES("because")};
static Peer__RequestVote vote = {OF(request_vote), .term = 4,      .candidate = FROM,
                                 .last_index = 9,  .last_term = 3, .pre_vote = true};
static Peer__RequestVoteResult voted = {OF(request_vote_result), .term = 4,
                                        .granted = true};
static Peer__AppendEntries append = {OF(append_entries),    .term = 4,
                                     .prev_index = 9,       .prev_term = 3,
                                     .commit = 8,           .n_entry_term = 3,
                                     .entry_term = terms,   .n_entry_len = 3,
                                     .entry_len = lens,     .entry_type = BYTES("\1\2\1"),
                                     .data = BYTES("abcde")};
static Peer__AppendEntries change = {OF(append_entries),       .term = 4,
                                     .prev_index = 12,         .prev_term = 3,
                                     .n_entry_term = 1,        .entry_term = terms,
                                     .n_entry_len = 1,         .entry_len = &conf_len,
                                     .entry_type = BYTES("\3")};
static Peer__AppendEntriesResult appended = {OF(append_entries_result), .term = 4,
                                             .last_index = 12};
static Peer__TimeoutNow now = {OF(timeout_now), .term = 4, .last_index = 12,
                               .last_term = 4};
static Peer__Snapshot begin = {OF(snapshot),
                               .term = 4,
                               .last_index = 12,
                               .last_term = 4,
                               .configuration_index = 1,
                               .size = sizeof(snapshot) - 1};
static Peer__Chunk part1 = {OF(chunk), .data = BYTES(PART_1)};
static Peer__Chunk part2 = {OF(chunk), .offset = sizeof(PART_1) - 1,
                            .data = BYTES(PART_2)};

/* In an order in which a connection takes them all. */
static const struct frame_seed {
    const char *name;
    Peer__Frame__KindCase kind;
    void *message;
} frames[] = {
    {"hello", PEER__FRAME__KIND_HELLO, &hello},
    {"request_vote", PEER__FRAME__KIND_REQUEST_VOTE, &vote},
    {"request_vote_result", PEER__FRAME__KIND_REQUEST_VOTE_RESULT, &voted},
    {"append_entries", PEER__FRAME__KIND_APPEND_ENTRIES, &append},
    {"append_entries_result", PEER__FRAME__KIND_APPEND_ENTRIES_RESULT, &appended},
    {"timeout_now", PEER__FRAME__KIND_TIMEOUT_NOW, &now},
    {"snapshot", PEER__FRAME__KIND_SNAPSHOT, &begin},
    {"chunk1", PEER__FRAME__KIND_CHUNK, &part1},
    {"change", PEER__FRAME__KIND_APPEND_ENTRIES, &change},
    {"chunk2", PEER__FRAME__KIND_CHUNK, &part2},
    {"note", PEER__FRAME__KIND_NOTE, NULL},
    {"refusal", PEER__FRAME__KIND_REFUSAL, &refusal},
};

static Peer__Frame
frame_of(const struct frame_seed *seed)
{
    Peer__Frame frame = PEER__FRAME__INIT;
    frame.kind_case = seed->kind;
    if (seed->message)
        frame.hello = seed->message;
    else
        frame.note = seed_lend("a note", 6);
    return frame;
}

static struct raft_buffer
configuration(void)
{
    struct raft_configuration members;
    struct raft_buffer bytes;
    raft_configuration_init(&members);
    for (raft_id id = 1; id <= 3; id++) {
        char address[] = "192.0.2.0:7834";
        address[8] = (char)('0' + id);
        assert_int_equal(raft_configuration_add(&members, id, address,
                                                id == 3 ? RAFT_SPARE : RAFT_VOTER),
                         0);
    }
    assert_int_equal(raft_configuration_encode(&members, &bytes), 0);
    raft_configuration_close(&members);
    return bytes;
}

/* As mesh_frame.h has it on the line: u32 length, frame. */
static void
on_the_line(const struct frame_seed *seed)
{
    const Peer__Frame frame = frame_of(seed);
    const size_t len = peer__frame__get_packed_size(&frame);
    for (int shift = 0; shift < 32; shift += 8)
        seed_byte((uint8_t)(len >> shift));
    seed_message(&frame.base);
}

static void
each_frame(void)
{
    const size_t count = sizeof(frames) / sizeof(*frames);
    for (size_t i = 0; i < count; i++) {
        const Peer__Frame frame = frame_of(&frames[i]);
        seed_message(&frame.base);
        seed_write("frame", frames[i].name);
    }
    seed_byte(255);
    for (size_t i = 0; i < count; i++)
        on_the_line(&frames[i]);
    seed_write("peer", "all");
}

static void
all_frames(void)
{
    const struct raft_buffer conf = configuration();
    conf_len = (uint32_t)conf.len;
    change.data = begin.configuration = seed_lend(conf.base, conf.len);
    each_frame();
    seed_bytes(conf.base, conf.len);
    seed_write("conf", "three");
    seed_bytes(snapshot, sizeof(snapshot) - 1);
    seed_write("snapshot", "two");
    raft_free(conf.base);
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

void
seeds_peer(void)
{
    all_frames();
    notes();
}

/* Frames of the peer link as bytes: what another member may send, and nothing else. */
#include "raft/mesh_frame.h"
#include "raft/peer.pb-c.h"
#include "tests/cmocka.h"

#include <stdlib.h>
#include <string.h>

enum {
    FROM = 2,
    BYTES = 64 * 1024
};

/* ---- how much is allocated ---- */

static size_t allocated;

static void *
counting_malloc(void *data, size_t size)
{
    (void)data;
    allocated += size;
    return malloc(size);
}

static void
counting_free(void *data, void *memory)
{
    (void)data;
    free(memory);
}

static void *
counting_calloc(void *data, size_t count, size_t size)
{
    (void)data;
    allocated += count * size;
    return calloc(count, size);
}

static void *
counting_realloc(void *data, void *memory, size_t size)
{
    (void)data;
    allocated += size;
    return realloc(memory, size);
}

static void *
no_aligned(void *data, size_t alignment, size_t size)
{
    (void)data;
    return aligned_alloc(alignment, size);
}

static void
no_aligned_free(void *data, size_t alignment, void *memory)
{
    (void)data;
    (void)alignment;
    free(memory);
}

static struct raft_heap counting = {
    NULL,       counting_malloc, counting_free, counting_calloc, counting_realloc,
    no_aligned, no_aligned_free};

static int
count_heap(void **state)
{
    (void)state;
    raft_heap_set(&counting);
    return 0;
}

/* ---- one frame ---- */

static enum st_code
unpack(const void *bytes, size_t len)
{
    struct st_err err = {0};
    struct mesh_frame frame;
    allocated = 0;
    /* A copy, so that ASan sees who reads on. */
    void *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    if (len)
        memcpy(copy, bytes, len);
    enum st_code code = mesh_frame_unpack(copy, len, FROM, &frame, &err);
    if (code == ST_OK)
        mesh_frame_free(&frame);
    free(copy);
    assert_true(allocated <= 8 * len + 2048);
    return code;
}

static enum st_code
unpack_frame(Peer__Frame__KindCase kind, void *message)
{
    static uint8_t bytes[16 * BYTES];
    Peer__Frame frame = PEER__FRAME__INIT;
    frame.kind_case = kind;
    frame.hello = message;
    assert_in_range(peer__frame__get_packed_size(&frame), 1, sizeof(bytes));
    return unpack(bytes, peer__frame__pack(&frame, bytes));
}

#define TAKEN(kind, message)                                                             \
    assert_code(unpack_frame(PEER__FRAME__KIND_##kind, message), ST_OK)
#define REFUSED(kind, message)                                                           \
    assert_code(unpack_frame(PEER__FRAME__KIND_##kind, message), ST_INVALID_ARGUMENT)
#define DENIED(kind, message)                                                            \
    assert_code(unpack_frame(PEER__FRAME__KIND_##kind, message), ST_PERMISSION_DENIED)

#define AND(change, check)                                                               \
    do {                                                                                 \
        __typeof__(good) message = good;                                                 \
        change;                                                                          \
        check;                                                                           \
    } while (0)

static uint8_t nonce[MESH_NONCE_LEN + 1];

static ProtobufCBinaryData
binary(const void *bytes, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)bytes};
}

static void
N54_a_hello_names_the_member_of_the_certificate(void **state)
{
    (void)state;
    Peer__Hello good = PEER__HELLO__INIT;
    good.format = MESH_FORMAT;
    good.id = FROM;
    good.address = binary("127.0.0.1:7834", 14);
    good.boot = 1;
    good.nonce = binary(nonce, MESH_NONCE_LEN);
    char long_address[REPLICA_ADDRESS_MAX];
    memset(long_address, 'a', sizeof(long_address));
    TAKEN(HELLO, &good);
    AND(message.id = 3, DENIED(HELLO, &message));
    AND(message.id = 0, DENIED(HELLO, &message));
    AND(message.nonce.len--, REFUSED(HELLO, &message));
    AND(message.nonce.len++, REFUSED(HELLO, &message));
    AND(message.address.len = 0, REFUSED(HELLO, &message));
    AND(message.address = binary(long_address, sizeof(long_address)),
        REFUSED(HELLO, &message));
    AND(message.address = binary(long_address, sizeof(long_address) - 1),
        TAKEN(HELLO, &message));
    AND(message.address = binary("a\nb", 3), REFUSED(HELLO, &message));
    AND(message.address = binary("a\0b", 3), REFUSED(HELLO, &message));
    AND(message.address = binary("a\xff", 2), REFUSED(HELLO, &message));
    good.format = MESH_FORMAT + 1;
    assert_code(unpack_frame(PEER__FRAME__KIND_HELLO, &good), ST_UNIMPLEMENTED);
}

static void
a_refusal_is_one_printable_sentence_with_a_known_code(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'x', sizeof(text));
    memcpy(text, "a\n\xffz\0", 5);
    Peer__Refusal refusal = PEER__REFUSAL__INIT;
    refusal.code = 77;
    refusal.reason = 99;
    refusal.text = binary(text, sizeof(text));
    Peer__Frame frame = PEER__FRAME__INIT;
    frame.kind_case = PEER__FRAME__KIND_REFUSAL;
    frame.refusal = &refusal;
    uint8_t bytes[1024];
    struct mesh_frame out;
    struct st_err err = {0};
    assert_ok(
        mesh_frame_unpack(bytes, peer__frame__pack(&frame, bytes), FROM, &out, &err));
    assert_int_equal(out.kind, MESH_REFUSAL);
    assert_code(out.refusal.code, ST_UNKNOWN);
    assert_int_equal(out.refusal.reason, ST_REASON_NONE);
    assert_memory_equal(out.refusal.text, "a??z?x", 6);
    assert_int_equal(strlen(out.refusal.text), sizeof(out.refusal.text) - 1);
    mesh_frame_free(&out);
}

static void
N54_a_vote_is_asked_for_oneself_with_a_term_and_an_index_that_agree(void **state)
{
    (void)state;
    Peer__RequestVote good = PEER__REQUEST_VOTE__INIT;
    good.term = 5;
    good.candidate = FROM;
    good.last_index = 9;
    good.last_term = 5;
    TAKEN(REQUEST_VOTE, &good);
    AND(message.last_index = message.last_term = 0, TAKEN(REQUEST_VOTE, &message));
    AND(message.candidate = 3, DENIED(REQUEST_VOTE, &message));
    AND(message.term = 0, REFUSED(REQUEST_VOTE, &message));
    AND(message.last_term = 0, REFUSED(REQUEST_VOTE, &message));
    AND(message.last_index = 0, REFUSED(REQUEST_VOTE, &message));
    AND(message.last_term = 6, REFUSED(REQUEST_VOTE, &message));
    AND(message.last_index = UINT64_MAX, REFUSED(REQUEST_VOTE, &message));

    Peer__RequestVoteResult result = PEER__REQUEST_VOTE_RESULT__INIT;
    REFUSED(REQUEST_VOTE_RESULT, &result);
    result.term = 1;
    TAKEN(REQUEST_VOTE_RESULT, &result);
    result.pre_vote = 3;
    REFUSED(REQUEST_VOTE_RESULT, &result);
}

static void
N54_a_result_or_an_order_without_sense_is_refused(void **state)
{
    (void)state;
    {
        Peer__AppendEntriesResult good = PEER__APPEND_ENTRIES_RESULT__INIT;
        good.term = 1;
        TAKEN(APPEND_ENTRIES_RESULT, &good);
        AND(message.term = 0, REFUSED(APPEND_ENTRIES_RESULT, &message));
        AND(message.rejected = UINT64_MAX, REFUSED(APPEND_ENTRIES_RESULT, &message));
        AND(message.last_index = UINT64_MAX, REFUSED(APPEND_ENTRIES_RESULT, &message));
    }
    Peer__TimeoutNow good = PEER__TIMEOUT_NOW__INIT;
    good.term = 4;
    good.last_index = 2;
    good.last_term = 4;
    TAKEN(TIMEOUT_NOW, &good);
    AND(message.term = 0, REFUSED(TIMEOUT_NOW, &message));
    AND(message.last_term = 5, REFUSED(TIMEOUT_NOW, &message));
    AND(message.last_index = 0, REFUSED(TIMEOUT_NOW, &message));
}

/* ---- entries ---- */

static struct raft_buffer
configuration_bytes(unsigned members)
{
    struct raft_configuration configuration;
    struct raft_buffer bytes;
    raft_configuration_init(&configuration);
    for (unsigned i = 1; i <= members; i++) {
        char address[24];
        snprintf(address, sizeof(address), "127.0.0.%u:7834", i);
        assert_int_equal(raft_configuration_add(&configuration, i, address, RAFT_VOTER),
                         0);
    }
    assert_int_equal(raft_configuration_encode(&configuration, &bytes), 0);
    raft_configuration_close(&configuration);
    return bytes;
}

static void
N54_counts_terms_types_and_lengths_of_entries_agree(void **state)
{
    (void)state;
    uint64_t terms[] = {2, 2, 3}, falling[] = {2, 3, 2}, older[] = {1, 2, 3},
             later[] = {2, 2, 5}, none[] = {0, 0, 0};
    uint32_t lens[] = {1, 0, 4}, huge[] = {UINT32_MAX, 0, 6};
    uint8_t types[] = {RAFT_COMMAND, RAFT_BARRIER, RAFT_COMMAND},
            zero[] = {0, RAFT_BARRIER, RAFT_COMMAND}, four[] = {1, 2, 4};
    Peer__AppendEntries good = PEER__APPEND_ENTRIES__INIT;
    good.term = 4;
    good.prev_index = 7;
    good.prev_term = 2;
    good.n_entry_term = good.n_entry_len = 3;
    good.entry_term = terms;
    good.entry_len = lens;
    good.entry_type = binary(types, 3);
    good.data = binary("abcde", 5);
    TAKEN(APPEND_ENTRIES, &good);
    AND(message.term = 0, REFUSED(APPEND_ENTRIES, &message));
    AND(message.term = 2, REFUSED(APPEND_ENTRIES, &message));
    AND(message.prev_index = 0, REFUSED(APPEND_ENTRIES, &message));
    AND(message.prev_term = 0, REFUSED(APPEND_ENTRIES, &message));
    AND(message.prev_index = UINT64_MAX, REFUSED(APPEND_ENTRIES, &message));
    AND(message.commit = UINT64_MAX, REFUSED(APPEND_ENTRIES, &message));
    AND(message.n_entry_term = 2, REFUSED(APPEND_ENTRIES, &message));
    AND(message.n_entry_len = 2, REFUSED(APPEND_ENTRIES, &message));
    AND(message.n_entry_len = 0, REFUSED(APPEND_ENTRIES, &message));
    AND(message.entry_type.len = 2, REFUSED(APPEND_ENTRIES, &message));
    AND(message.data.len = 4, REFUSED(APPEND_ENTRIES, &message));
    AND(message.data.len = 0, REFUSED(APPEND_ENTRIES, &message));
    AND(message.entry_term = falling, REFUSED(APPEND_ENTRIES, &message));
    AND(message.entry_term = older, REFUSED(APPEND_ENTRIES, &message));
    AND(message.entry_term = later, REFUSED(APPEND_ENTRIES, &message));
    AND((message.prev_index = message.prev_term = 0, message.entry_term = none),
        REFUSED(APPEND_ENTRIES, &message));
    AND(message.entry_len = huge, REFUSED(APPEND_ENTRIES, &message));
    AND(message.entry_type.data = zero, REFUSED(APPEND_ENTRIES, &message));
    AND(message.entry_type.data = four, REFUSED(APPEND_ENTRIES, &message));
}

static void
N54_more_entries_than_one_message_holds_are_refused(void **state)
{
    (void)state;
    static uint64_t terms[MESH_ENTRIES_MAX + 1];
    static uint32_t lens[MESH_ENTRIES_MAX + 1];
    static uint8_t types[MESH_ENTRIES_MAX + 1];
    for (unsigned i = 0; i <= MESH_ENTRIES_MAX; i++) {
        terms[i] = 1;
        types[i] = RAFT_COMMAND;
    }
    Peer__AppendEntries message = PEER__APPEND_ENTRIES__INIT;
    message.term = 1;
    message.n_entry_term = message.n_entry_len = MESH_ENTRIES_MAX;
    message.entry_term = terms;
    message.entry_len = lens;
    message.entry_type = binary(types, MESH_ENTRIES_MAX);
    TAKEN(APPEND_ENTRIES, &message);
    message.n_entry_term = message.n_entry_len = message.entry_type.len =
        MESH_ENTRIES_MAX + 1;
    REFUSED(APPEND_ENTRIES, &message);
}

static void
N54_a_change_of_the_members_decodes_or_is_refused(void **state)
{
    (void)state;
    struct raft_buffer bytes = configuration_bytes(3), empty = configuration_bytes(0),
                       many = configuration_bytes(200);
    uint64_t term = 1;
    uint32_t len = (uint32_t)bytes.len;
    uint8_t type = RAFT_CHANGE;
    Peer__AppendEntries good = PEER__APPEND_ENTRIES__INIT;
    good.term = 1;
    good.n_entry_term = good.n_entry_len = 1;
    good.entry_term = &term;
    good.entry_len = &len;
    good.entry_type = binary(&type, 1);
    good.data = binary(bytes.base, bytes.len);
    TAKEN(APPEND_ENTRIES, &good);
    uint32_t shorter = 8, none = 0, empty_len = (uint32_t)empty.len,
             many_len = (uint32_t)many.len;
    AND((message.entry_len = &shorter, message.data.len = 8),
        REFUSED(APPEND_ENTRIES, &message));
    AND((message.entry_len = &none, message.data.len = 0),
        REFUSED(APPEND_ENTRIES, &message));
    AND((message.entry_len = &empty_len, message.data = binary(empty.base, empty.len)),
        REFUSED(APPEND_ENTRIES, &message));
    assert_true(many.len > MESH_CONFIGURATION_MAX);
    AND((message.entry_len = &many_len, message.data = binary(many.base, many.len)),
        REFUSED(APPEND_ENTRIES, &message));
    raft_free(bytes.base);
    raft_free(empty.base);
    raft_free(many.base);
}

/* ---- snapshots and notes ---- */

static void
N54_a_snapshot_announces_a_size_and_members_that_can_be(void **state)
{
    (void)state;
    struct raft_buffer bytes = configuration_bytes(3), empty = configuration_bytes(0);
    Peer__Snapshot good = PEER__SNAPSHOT__INIT;
    good.term = 3;
    good.last_index = 9;
    good.last_term = 2;
    good.configuration_index = 4;
    good.configuration = binary(bytes.base, bytes.len);
    good.size = 16;
    TAKEN(SNAPSHOT, &good);
    AND(message.size = MESH_SNAPSHOT_MAX, TAKEN(SNAPSHOT, &message));
    AND(message.size = (uint64_t)MESH_SNAPSHOT_MAX + 1, REFUSED(SNAPSHOT, &message));
    AND(message.size = UINT64_MAX, REFUSED(SNAPSHOT, &message));
    AND(message.size = 15, REFUSED(SNAPSHOT, &message));
    AND(message.term = 0, REFUSED(SNAPSHOT, &message));
    AND(message.last_term = 0, REFUSED(SNAPSHOT, &message));
    AND(message.last_index = message.last_term = 0, REFUSED(SNAPSHOT, &message));
    AND(message.configuration_index = 0, REFUSED(SNAPSHOT, &message));
    AND(message.configuration_index = 10, REFUSED(SNAPSHOT, &message));
    AND(message.configuration.len = 9, REFUSED(SNAPSHOT, &message));
    AND(message.configuration.len = 0, REFUSED(SNAPSHOT, &message));
    AND(message.configuration = binary(empty.base, empty.len),
        REFUSED(SNAPSHOT, &message));
    raft_free(bytes.base);
    raft_free(empty.base);
}

static void
N54_a_part_or_a_note_is_bounded(void **state)
{
    (void)state;
    static uint8_t bytes[MESH_NOTE_MAX + 1];
    Peer__Chunk chunk = PEER__CHUNK__INIT;
    REFUSED(CHUNK, &chunk);
    chunk.data = binary(bytes, MESH_CHUNK_MAX);
    TAKEN(CHUNK, &chunk);
    chunk.data.len++;
    REFUSED(CHUNK, &chunk);

    for (size_t len = MESH_NOTE_MAX; len <= MESH_NOTE_MAX + 1; len++) {
        struct mesh_item *item = mesh_frame_note(bytes, len);
        uint8_t *frame = malloc(len + 64);
        assert_true(item && frame);
        size_t size = mesh_frame_copy(item, frame, len + 64);
        assert_code(unpack(frame + MESH_LENGTH_LEN, size - MESH_LENGTH_LEN),
                    len == MESH_NOTE_MAX ? ST_OK : ST_INVALID_ARGUMENT);
        free(frame);
        free(item);
    }
}

/* ---- bytes that are no frame ---- */

static void
N54_what_is_not_exactly_one_known_field_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"", 0},
        {"\x52", 1},                                      /* a note without a length */
        {"\x52\x02x", 3},                                 /* one byte less */
        {"\x52\x01xy", 4},                                /* one more */
        {"\x52\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10}, /* 2^63 */
        {"\x52\xff\xff\xff\xff\x0f", 6},                  /* 2^32 - 1 */
        {"\x50\x01", 2},                                  /* a number in its place */
        {"\x7a\x01x", 3},                                 /* field 15 */
        {"\x02\x01x", 3},                                 /* field 0 */
        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8},          /* a tag without an end */
        {"\x1a\x02\xff\xff", 4},                          /* no RequestVote */
        {"\x1a\x09\x09\1\0\0\0\0\0\0", 10},               /* cut within a field */
        {"\x22\x0c\x09\1\0\0\0\0\0\0\0\x78\1\x10", 14},   /* cut after an unknown one */
        {"\x22\x0b\x09\1\0\0\0\0\0\0\0\x78\1", 13},       /* an unknown field */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_code(unpack(cases[i].bytes, cases[i].len), ST_INVALID_ARGUMENT);
    assert_code(unpack("\x52\x01x", 3), ST_OK);
    assert_code(unpack("\x22\x09\x09\1\0\0\0\0\0\0\0", 11), ST_OK);
}

/* protobuf-c takes 40 bytes for a field of two. */
static void
N54_many_small_fields_do_not_unpack_to_much_memory(void **state)
{
    (void)state;
    enum {
        N = 200 * 1000
    };
    uint8_t *bytes = malloc(8 + 2 * N);
    assert_non_null(bytes);
    static const uint8_t tags[] = {0x32 /* entry_type */, 0x78 /* unknown */};
    for (size_t t = 0; t < sizeof(tags); t++) {
        size_t at = 0;
        bytes[at++] = 0x2a;
        for (uint32_t left = 2 * N; left; left >>= 7)
            bytes[at++] = (uint8_t)(left | (left >= 0x80 ? 0x80 : 0));
        for (unsigned i = 0; i < N; i++) {
            bytes[at++] = tags[t];
            bytes[at++] = 0;
        }
        assert_code(unpack(bytes, at), ST_INVALID_ARGUMENT);
        assert_true(allocated < 2 * at);
    }
    free(bytes);
}

/* Whatever a byte becomes, the answer is one of these, and nothing is read or freed that
 * is not there. */
static void
N54_a_frame_that_is_cut_or_flipped_anywhere_does_no_harm(void **state)
{
    (void)state;
    struct raft_buffer bytes = configuration_bytes(3);
    struct raft_entry entries[] = {
        {.term = 2, .type = RAFT_CHANGE, .buf = bytes},
        {.term = 2, .type = RAFT_COMMAND, .buf = {(void *)"abc", 3}}};
    struct raft_message message = {
        .type = RAFT_IO_APPEND_ENTRIES,
        .append_entries = {.term = 2, .entries = entries, .n_entries = 2}};
    uint8_t frame[512], changed[512];
    struct mesh_item *item = mesh_frame_message(&message);
    assert_non_null(item);
    size_t len = mesh_frame_copy(item, frame, sizeof(frame)) - MESH_LENGTH_LEN;
    free(item);
    memmove(frame, frame + MESH_LENGTH_LEN, len);
    assert_code(unpack(frame, len), ST_OK);
    unsigned taken = 0;
    for (size_t i = 0; i < len; i++) {
        assert_code(unpack(frame, i), ST_INVALID_ARGUMENT);
        for (int bit = 0; bit < 8; bit++) {
            memcpy(changed, frame, len);
            changed[i] ^= (uint8_t)(1 << bit);
            taken += unpack(changed, len) == ST_OK;
        }
    }
    assert_in_range(taken, 1, 8 * len - 1);
    raft_free(bytes.base);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N54_a_hello_names_the_member_of_the_certificate),
        cmocka_unit_test(a_refusal_is_one_printable_sentence_with_a_known_code),
        cmocka_unit_test(
            N54_a_vote_is_asked_for_oneself_with_a_term_and_an_index_that_agree),
        cmocka_unit_test(N54_a_result_or_an_order_without_sense_is_refused),
        cmocka_unit_test(N54_counts_terms_types_and_lengths_of_entries_agree),
        cmocka_unit_test(N54_more_entries_than_one_message_holds_are_refused),
        cmocka_unit_test(N54_a_change_of_the_members_decodes_or_is_refused),
        cmocka_unit_test(N54_a_snapshot_announces_a_size_and_members_that_can_be),
        cmocka_unit_test(N54_a_part_or_a_note_is_bounded),
        cmocka_unit_test(N54_what_is_not_exactly_one_known_field_is_refused),
        cmocka_unit_test(N54_many_small_fields_do_not_unpack_to_much_memory),
        cmocka_unit_test(N54_a_frame_that_is_cut_or_flipped_anywhere_does_no_harm),
    };
    return cmocka_run_group_tests(tests, count_heap, NULL);
}

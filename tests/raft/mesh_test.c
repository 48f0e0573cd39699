/* The peer link between members: what is sent arrives, whoever comes back is found, and
 * whoever is revoked is not spoken to. */
#include "tests/cmocka.h"
#include "tests/raft/net.h"

#include <stdlib.h>
#include <string.h>

static struct raft_message
heartbeat(void)
{
    return (struct raft_message){
        .type = RAFT_IO_APPEND_ENTRIES,
        .append_entries = {
            .term = 3, .prev_log_index = 7, .prev_log_term = 2, .leader_commit = 6}};
}

static void
every_small_message_arrives_as_it_was_sent(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    net_connect(net);
    const struct raft_message sent[] = {
        {.type = RAFT_IO_REQUEST_VOTE,
         .request_vote = {.term = 1ull << 40,
                          .candidate_id = 1,
                          .last_log_index = 9,
                          .last_log_term = 4,
                          .disrupt_leader = true,
                          .pre_vote = false}},
        {.type = RAFT_IO_REQUEST_VOTE,
         .request_vote = {.term = 1, .candidate_id = 1, .pre_vote = true}},
        {.type = RAFT_IO_REQUEST_VOTE_RESULT,
         .request_vote_result = {.term = 5,
                                 .vote_granted = true,
                                 .pre_vote = raft_tribool_false}},
        {.type = RAFT_IO_APPEND_ENTRIES_RESULT,
         .append_entries_result = {.term = 6, .rejected = 7, .last_log_index = 8}},
        {.type = RAFT_IO_TIMEOUT_NOW,
         .timeout_now = {.term = 6, .last_log_index = 9, .last_log_term = 5}},
    };
    const unsigned count = sizeof(sent) / sizeof(*sent);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(net_send(a, 2, sent[i]), 0);
    NET_UNTIL(net, b->message_count == count && net->sent == count);
    for (unsigned i = 0; i < count; i++) {
        struct raft_message got = b->messages[i], want = sent[i];
        assert_int_equal(got.type, want.type);
        switch (want.type) {
        case RAFT_IO_REQUEST_VOTE:
            assert_int_equal(got.request_vote.term, want.request_vote.term);
            assert_int_equal(got.request_vote.candidate_id, 1);
            assert_int_equal(got.request_vote.last_log_index,
                             want.request_vote.last_log_index);
            assert_int_equal(got.request_vote.last_log_term,
                             want.request_vote.last_log_term);
            assert_int_equal(got.request_vote.disrupt_leader,
                             want.request_vote.disrupt_leader);
            assert_int_equal(got.request_vote.pre_vote, want.request_vote.pre_vote);
            break;
        case RAFT_IO_REQUEST_VOTE_RESULT:
            assert_int_equal(got.request_vote_result.term, 5);
            assert_true(got.request_vote_result.vote_granted);
            assert_int_equal(got.request_vote_result.pre_vote, raft_tribool_false);
            break;
        case RAFT_IO_APPEND_ENTRIES_RESULT:
            assert_int_equal(got.append_entries_result.term, 6);
            assert_int_equal(got.append_entries_result.rejected, 7);
            assert_int_equal(got.append_entries_result.last_log_index, 8);
            break;
        default:
            assert_int_equal(got.timeout_now.term, 6);
            assert_int_equal(got.timeout_now.last_log_index, 9);
            assert_int_equal(got.timeout_now.last_log_term, 5);
        }
    }
    net_end(net);
}

/* ---- entries ---- */

/* As libraft has them: a buffer each, which stays until the callback. */
static struct raft_entry *
entries_new(unsigned n, size_t len)
{
    struct raft_entry *entries = calloc(n, sizeof(*entries));
    assert_non_null(entries);
    for (unsigned i = 0; i < n; i++) {
        entries[i] = (struct raft_entry){.term = i < n / 2 ? 2 : 3,
                                         .type = i % 3 ? RAFT_COMMAND : RAFT_BARRIER,
                                         .buf = {len ? malloc(len) : NULL, len}};
        if (len)
            memset(entries[i].buf.base, (int)(i + 1), len);
    }
    return entries;
}

static void
entries_free(struct raft_entry *entries, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(entries[i].buf.base);
    free(entries);
}

static struct raft_message
append(struct raft_entry *entries, unsigned n)
{
    struct raft_message message = heartbeat();
    message.append_entries.leader_commit = 1000;
    message.append_entries.entries = entries;
    message.append_entries.n_entries = n;
    return message;
}

static void
assert_entries(const struct raft_message *message, const struct raft_entry *entries,
               unsigned n)
{
    const struct raft_append_entries *got = &message->append_entries;
    assert_int_equal(message->type, RAFT_IO_APPEND_ENTRIES);
    assert_int_equal(got->term, 3);
    assert_int_equal(got->prev_log_index, 7);
    assert_int_equal(got->prev_log_term, 2);
    assert_int_equal(got->n_entries, n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(got->entries[i].term, entries[i].term);
        assert_int_equal(got->entries[i].type, entries[i].type);
        assert_int_equal(got->entries[i].buf.len, entries[i].buf.len);
        if (entries[i].buf.len)
            assert_memory_equal(got->entries[i].buf.base, entries[i].buf.base,
                                entries[i].buf.len);
        assert_non_null(got->entries[i].batch);
        assert_ptr_equal(got->entries[i].batch, got->entries[0].batch);
    }
}

static void
entries_arrive_in_one_batch(void **state)
{
    (void)state;
    static const struct {
        unsigned n;
        size_t len;
    } cases[] = {{1, 1}, {1, 0}, {5, 0}, {3, 333}, {500, 100}, {2, 300 * 1024}};
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    net_connect(net);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        unsigned before = net->sent;
        struct raft_entry *entries = entries_new(cases[i].n, cases[i].len);
        assert_int_equal(net_send(a, 2, append(entries, cases[i].n)), 0);
        NET_UNTIL(net, b->message_count == 1 && net->sent == before + 1);
        assert_entries(&b->messages[0], entries, cases[i].n);
        assert_int_equal(b->messages[0].append_entries.leader_commit, 1000);
        net_forget(b);
        entries_free(entries, cases[i].n);
    }
    net_end(net);
}

/* libraft puts its whole log into one message. */
static void
too_many_entries_are_cut_and_commit_nothing_of_the_rest(void **state)
{
    (void)state;
    enum {
        N = 40,
        LEN = 100 * 1024
    };
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    net_connect(net);
    struct raft_entry *entries = entries_new(N, LEN);
    assert_int_equal(net_send(a, 2, append(entries, N)), 0);
    NET_UNTIL(net, b->message_count == 1 && net->sent == 1);
    assert_entries(&b->messages[0], entries, 10);
    assert_int_equal(b->messages[0].append_entries.leader_commit, 7 + 10);
    entries_free(entries, N);
    net_end(net);
}

static void
a_message_that_fits_no_frame_has_no_connection(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    net_connect(net);
    struct raft_entry *entries = entries_new(1, MESH_FRAME_MAX);
    assert_int_equal(net_send(&net->members[0], 2, append(entries, 1)),
                     RAFT_NOCONNECTION);
    entries_free(entries, 1);
    net_end(net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_small_message_arrives_as_it_was_sent),
        cmocka_unit_test(entries_arrive_in_one_batch),
        cmocka_unit_test(too_many_entries_are_cut_and_commit_nothing_of_the_rest),
        cmocka_unit_test(a_message_that_fits_no_frame_has_no_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

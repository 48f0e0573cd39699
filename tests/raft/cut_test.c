/* libraft, whose AppendEntries have no limit, over a link that sends the first entries
 * only: everything arrives in the end, and nothing is committed that was not compared. */
#include "raft/mesh_wire.h"
#include "tests/cmocka.h"
#include "tests/raft/cluster.h"

#include <string.h>

enum {
    CUT = 3,
    VALUES = 60,
};

static struct cluster *cluster;
static int (*inner_send)(struct raft_io *, struct raft_io_send *,
                         const struct raft_message *, raft_io_send_cb);
static unsigned cuts;

static int
cut_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message,
         raft_io_send_cb cb)
{
    struct raft_message copy = *message;
    if (message->type == RAFT_IO_APPEND_ENTRIES) {
        copy.append_entries = mesh_entries_cut(&message->append_entries, CUT);
        cuts += copy.append_entries.n_entries < message->append_entries.n_entries;
    }
    return inner_send(io, req, &copy, cb);
}

static bool
all_applied(unsigned members, raft_index index)
{
    for (unsigned i = 0; i < members; i++)
        if (raft_last_applied(cluster_member(cluster, i)) < index)
            return false;
    return true;
}

static void
a_follower_that_is_far_behind_catches_up_by_and_by(void **state)
{
    (void)state;
    cluster = cluster_begin(3, 3, true);
    cuts = 0;
    inner_send = cluster->taps[0].send;
    for (unsigned i = 0; i < 3; i++)
        cluster->taps[i].send = cut_send;
    struct raft_fixture *fixture = &cluster->fixture;
    assert_int_equal(raft_fixture_start(fixture), 0);
    assert_true(raft_fixture_step_until_has_leader(fixture, 20000));
    unsigned leader = raft_fixture_leader_index(fixture), behind = (leader + 1) % 3,
             third = (leader + 2) % 3;
    raft_fixture_saturate(fixture, leader, behind);
    raft_fixture_saturate(fixture, behind, leader);
    raft_fixture_saturate(fixture, third, behind);
    raft_fixture_saturate(fixture, behind, third);
    for (uint64_t value = 1; value <= VALUES; value++) {
        if (!cluster_propose(cluster, leader, value))
            break;
        raft_fixture_step_until_elapsed(fixture, 40);
    }
    raft_index last = raft_last_index(cluster_member(cluster, leader));
    assert_true(last > VALUES);
    assert_true(raft_last_applied(cluster_member(cluster, leader)) > VALUES);
    raft_fixture_desaturate(fixture, leader, behind);
    raft_fixture_desaturate(fixture, behind, leader);
    raft_fixture_desaturate(fixture, third, behind);
    raft_fixture_desaturate(fixture, behind, third);
    for (unsigned i = 0; i < 20000 && !all_applied(3, last); i++)
        raft_fixture_step(fixture);
    assert_true(all_applied(3, last));
    assert_in_range(cuts, VALUES / CUT / 2, 10 * VALUES);
    assert_int_equal(cluster->contradictions, 0);
    cluster_end(cluster);
}

/* Of the leader's log: the entry of the group, then two of term 1 and four of term 2. */
static struct raft_entry
entry_of_leader(unsigned i, uint64_t *value)
{
    *value = 100 + i;
    return (struct raft_entry){
        .term = i < 3 ? 1 : 2, .type = RAFT_COMMAND, .buf = {value, sizeof(*value)}};
}

static void
what_was_cut_off_is_not_committed_by_the_follower(void **state)
{
    (void)state;
    enum {
        N = 6
    };
    cluster = cluster_begin(3, 3, true);
    for (uint64_t i = 1; i <= N; i++) /* from the third on they are not the leader's */
        cluster_add_entry(cluster, 0, 1, 100 + i);
    assert_int_equal(raft_fixture_start(&cluster->fixture), 0);
    struct raft_entry entries[N];
    uint64_t values[N];
    for (unsigned i = 0; i < N; i++)
        entries[i] = entry_of_leader(i + 1, &values[i]);
    struct raft_append_entries all = {.term = 3,
                                      .prev_log_index = 1,
                                      .prev_log_term = 1,
                                      .leader_commit = 1 + N,
                                      .entries = entries,
                                      .n_entries = N};
    struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES,
                                   .append_entries = mesh_entries_cut(&all, 2)};
    assert_int_equal(message.append_entries.n_entries, 2);
    uint8_t *batch = raft_malloc(2 * sizeof(uint64_t));
    struct raft_entry *sent = raft_calloc(2, sizeof(*sent));
    assert_true(batch && sent);
    for (unsigned i = 0; i < 2; i++) {
        sent[i] = entries[i];
        sent[i].batch = batch;
        sent[i].buf.base = batch + i * sizeof(uint64_t);
        memcpy(sent[i].buf.base, &values[i], sizeof(uint64_t));
    }
    message.append_entries.entries = sent;
    cluster_deliver(cluster, 1, 0, message);
    struct raft *follower = cluster_member(cluster, 0);
    assert_int_equal(follower->commit_index, 3);
    assert_int_equal(cluster_term_at(cluster, 0, 7), 1);
    cluster_end(cluster);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_that_is_far_behind_catches_up_by_and_by),
        cmocka_unit_test(what_was_cut_off_is_not_committed_by_the_follower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

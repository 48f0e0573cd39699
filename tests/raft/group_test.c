/* Several members: what one says, all say. */
#include "tests/cmocka.h"
#include "tests/raft/group.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int
set_up(void **state)
{
    struct group *group = malloc(sizeof(*group));
    group_init(group, 3);
    *state = group;
    return 0;
}

static int
tear_down(void **state)
{
    group_end(*state);
    free(*state);
    return 0;
}

static void
assert_counter_everywhere(struct group *group, const char *name, uint64_t value)
{
    for (uint64_t id = 1; id <= group->count; id++)
        if (group_of(group, id)->replica)
            assert_int_equal(group_read(group, id, name), value);
}

static uint64_t
another_than(const struct group *group, uint64_t id)
{
    return id % group->count + 1;
}

static void
every_member_takes_proposals_and_reads(void **state)
{
    struct group *group = *state;
    group_form(group);
    for (uint64_t round = 0; round < 20; round++)
        for (uint64_t id = 1; id <= 3; id++)
            assert_int_equal(group_propose(group, id, "a"), 3 * round + id);
    assert_counter_everywhere(group, "a", 60);
}

static void
what_was_acknowledged_through_one_is_read_through_any(void **state)
{
    struct group *group = *state;
    group_form(group);
    for (uint64_t i = 0; i < 60; i++) {
        group_propose(group, i % 3 + 1, "a");
        assert_int_equal(group_read(group, (i + 1 + i / 3 % 2) % 3 + 1, "a"), i + 1);
    }
}

static void
a_proposal_is_applied_here_when_it_is_answered(void **state)
{
    struct group *group = *state;
    group_form(group);
    for (uint64_t i = 0; i < 60; i++) {
        struct group_member *m = group_of(group, i % 3 + 1);
        group_propose(group, m->id, "a");
        assert_int_equal(counters_get(&m->counters, "a"), i + 1);
    }
}

struct stream {
    struct group *group;
    uint64_t id;
    unsigned count;
};

static void *
propose_many(void *arg)
{
    const struct stream *stream = arg;
    for (unsigned i = 0; i < stream->count; i++)
        group_propose(stream->group, stream->id, "a");
    return NULL;
}

static void
many_threads_through_all_members_count_once_each(void **state)
{
    enum {
        THREADS = 9,
        EACH = 100
    };
    struct group *group = *state;
    struct stream streams[THREADS];
    pthread_t threads[THREADS];
    group_form(group);
    for (int i = 0; i < THREADS; i++) {
        streams[i] = (struct stream){group, (uint64_t)i % 3 + 1, EACH};
        assert_int_equal(pthread_create(&threads[i], NULL, propose_many, &streams[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_counter_everywhere(group, "a", THREADS * EACH);
}

static void
a_minority_says_that_it_cannot(void **state)
{
    struct group *group = *state;
    struct replica_result result;
    struct st_err err = {0};
    group_form(group);
    group_propose(group, 1, "a");
    uint64_t leader = group_leader(group);
    uint64_t left = another_than(group, leader);
    group_close(group, leader);
    group_close(group, another_than(group, left) == leader ? another_than(group, leader)
                                                           : another_than(group, left));
    for (uint64_t id = 1; id <= 3; id++) {
        struct replica *replica = group_of(group, id)->replica;
        if (!replica)
            continue;
        assert_code(replica_propose_wait(replica, "a", 1, 1500, &result, &err),
                    ST_UNAVAILABLE);
        /* By now it knows that it leads no more, and hands nothing to anybody. */
        assert_code(replica_barrier_wait(replica, 1500, &err), ST_UNAVAILABLE);
        assert_code(replica_propose_wait(replica, "a", 1, 1500, &result, &err),
                    ST_UNAVAILABLE);
        assert_int_equal(err.reason, ST_REASON_NO_LEADER);
    }
}

static void
another_leads_when_the_leader_is_gone(void **state)
{
    struct group *group = *state;
    struct st_err err = {0};
    group_form(group);
    group_propose(group, 1, "a");
    for (int round = 0; round < 3; round++) {
        uint64_t old = group_leader(group);
        group_close(group, old);
        assert_true(group_leader(group) != old);
        group_propose(group, another_than(group, old), "b");
        assert_ok(group_open(group, old, REPLICA_OPEN, &err));
        assert_int_equal(group_read(group, old, "a"), 1);
        assert_true(group_read(group, old, "b") >= (uint64_t)round + 1);
    }
}

/* A busy machine may be too slow for one: then nothing has changed. */
static void
hand_over(struct group *group, uint64_t from, uint64_t to)
{
    struct st_err err = {0};
    for (int i = 0; i < 20; i++) {
        enum st_code code =
            replica_transfer_wait(group_of(group, from)->replica, to, 10000, &err);
        if (!code)
            return;
        assert_int_equal(code, ST_UNAVAILABLE);
    }
    fail_msg("%s", err.text);
}

static void
leadership_is_handed_over(void **state)
{
    struct group *group = *state;
    group_form(group);
    for (int round = 0; round < 4; round++) {
        uint64_t old = group_leader(group), next = another_than(group, old);
        hand_over(group, old, next);
        group_propose(group, old, "a");
        assert_true(group_leader(group) != old);
    }
}

static void
who_does_not_lead_has_nothing_to_hand_over(void **state)
{
    struct group *group = *state;
    struct st_err err = {0};
    assert_ok(group_open(group, 3, REPLICA_JOIN, &err));
    assert_ok(replica_transfer_wait(group_of(group, 3)->replica, 0, 1000, &err));
}

static void
proposals_wait_while_leadership_is_handed_over(void **state)
{
    struct group *group = *state;
    struct st_err err = {0};
    struct stream stream = {group, 2, 200};
    pthread_t thread;
    group_form(group);
    assert_int_equal(pthread_create(&thread, NULL, propose_many, &stream), 0);
    for (int round = 0; round < 5; round++) {
        uint64_t old = group_leader(group);
        if (replica_transfer_wait(group_of(group, old)->replica, 0, 10000, &err))
            assert_int_equal(err.code, ST_UNAVAILABLE);
    }
    pthread_join(thread, NULL);
    assert_true(group_read(group, 1, "a") >= 200);
}

/* More entries than the log keeps, so that only the records themselves help. */
static void
a_member_that_was_away_catches_up_by_a_snapshot(void **state)
{
    struct group *group = *state;
    struct st_err err = {0};
    group_form(group);
    group_propose(group, 1, "before");
    uint64_t away = another_than(group, group_leader(group));
    uint64_t stays = another_than(group, away);
    group_close(group, away);
    for (int i = 0; i < 2600; i++)
        group_propose(group, stays, "a");
    assert_ok(group_open(group, away, REPLICA_OPEN, &err));
    assert_int_equal(group_read(group, away, "a"), 2600);
    assert_int_equal(group_read(group, away, "before"), 1);
    assert_true(group_of(group, away)->counters.loaded > 0);
    group_close(group, away);
    assert_ok(group_open(group, away, REPLICA_OPEN, &err));
    assert_int_equal(group_propose(group, away, "a"), 2601);
}

static void
a_removed_member_has_no_say(void **state)
{
    struct group *group = *state;
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct replica_result result;
    struct st_err err = {0};
    group_form(group);
    uint64_t out = another_than(group, group_leader(group));
    group_step(group, REPLICA_STEP_REMOVE, out);
    group_step(group, REPLICA_STEP_REMOVE, out); /* as if its answer had been lost */
    assert_int_equal(
        replica_members(group_of(group, group_leader(group))->replica, members), 2);
    assert_code(
        replica_propose_wait(group_of(group, out)->replica, "a", 1, 1000, &result, &err),
        ST_UNAVAILABLE);
    group_propose(group, group_leader(group), "a");
}

static void
dismiss(struct group *group, uint64_t out)
{
    struct st_err err = {0};
    group_step(group, REPLICA_STEP_REMOVE, out);
    group_revoke(group, out);
    for (uint64_t id = 1; id <= group->count; id++)
        if (id != out)
            assert_ok(replica_set_crl(group_of(group, id)->replica, group->list.der,
                                      group->list.len, &err));
}

static void
N53_a_member_whose_certificate_is_revoked_is_told_and_ends(void **state)
{
    struct group *group = *state;
    group_form(group);
    uint64_t out = another_than(group, group_leader(group));
    dismiss(group, out);
    assert_non_null(strstr(group_await_fatal(), "it was removed from the group"));
    group_of(group, out)->replica = NULL; /* stands still */
    group_propose(group, group_leader(group), "a");
}

static void
N53_one_that_was_away_meanwhile_is_told_when_it_comes(void **state)
{
    struct group *group = *state;
    struct st_err err = {0};
    group_form(group);
    uint64_t out = another_than(group, group_leader(group));
    struct cert before = group->list;
    group_close(group, out);
    dismiss(group, out);
    struct cert newest = group->list;
    group->list = before; /* all that it knows */
    assert_ok(group_open(group, out, REPLICA_OPEN, &err));
    group->list = newest;
    assert_non_null(strstr(group_await_fatal(), "it was removed from the group"));
    group_of(group, out)->replica = NULL; /* stands still */
}

static void
the_leader_can_be_removed(void **state)
{
    struct group *group = *state;
    group_form(group);
    uint64_t out = group_leader(group);
    struct st_err err = {0};
    enum st_code code = replica_step_wait(group_of(group, out)->replica,
                                          REPLICA_STEP_REMOVE, out, NULL, 10000, &err);
    assert_true(code == ST_OK || code == ST_UNAVAILABLE);
    group_close(group, out);
    group_step(group, REPLICA_STEP_REMOVE, out);
    group_propose(group, another_than(group, out), "a");
}

static void
the_only_voter_cannot_be_removed(void **state)
{
    struct group *group = *state;
    struct st_err err = {0};
    assert_ok(group_open(group, 1, REPLICA_BOOTSTRAP, &err));
    group_propose(group, 1, "a");
    assert_code(replica_step_wait(group_of(group, 1)->replica, REPLICA_STEP_REMOVE, 1,
                                  NULL, 1000, &err),
                ST_FAILED_PRECONDITION);
}

static void
why_a_member_is_not_there_is_known(void **state)
{
    struct group *group = *state;
    struct replica_member members[REPLICA_MEMBERS_MAX];
    const char *address = group_of(group, 2)->address;
    bool known = false;
    group_form(group);
    group_close(group, 2);
    for (int i = 0; i < 12000 && !known; i++) {
        assert_int_equal(replica_members(group_of(group, 1)->replica, members), 3);
        known = strncmp(members[1].trouble, address, strlen(address)) == 0;
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    assert_non_null(strstr(members[1].trouble, " (member 2): connection refused"));
    assert_string_equal(members[0].trouble, "");
}

static void
members_know_of_each_other(void **state)
{
    struct group *group = *state;
    struct replica_member members[REPLICA_MEMBERS_MAX];
    group_form(group);
    group_propose(group, 3, "a");
    for (uint64_t id = 1; id <= 3; id++) {
        unsigned connected = 0;
        for (int i = 0; i < 12000 && connected < 3; i++) {
            assert_int_equal(replica_members(group_of(group, id)->replica, members), 3);
            connected = 0;
            for (int j = 0; j < 3; j++)
                connected += members[j].connected;
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        assert_int_equal(connected, 3);
        for (uint64_t j = 0; j < 3; j++) {
            assert_int_equal(members[j].id, j + 1);
            assert_int_equal(members[j].role, REPLICA_VOTER);
            assert_string_equal(members[j].address, group_of(group, j + 1)->address);
        }
    }
}

static void
close_but(struct group *group, uint64_t id)
{
    for (uint64_t other = 1; other <= group->count; other++)
        if (other != id)
            group_close(group, other);
}

static void
open_all(struct group *group)
{
    struct st_err err = {0};
    for (uint64_t id = 1; id <= group->count; id++)
        if (!group_of(group, id)->replica)
            assert_ok(group_open(group, id, REPLICA_OPEN, &err));
}

static void
await_settled(struct group *group, uint64_t id, unsigned count)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct replica_status status;
    while (replica_group(group_of(group, id)->replica, members, &status) != count ||
           status.changing)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* A removal that one member alone has in its log: that one.  A busy machine may be so
 * slow that it leads no more when it is asked. */
static uint64_t
begin_a_change_that_nobody_hears_of(struct group *group)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct st_err err = {0};
    for (int i = 0; i < 20; i++) {
        uint64_t leader = group_leader(group);
        struct replica *replica = group_of(group, leader)->replica;
        await_settled(group, leader, 3);
        close_but(group, leader);
        assert_true(replica_step_wait(replica, REPLICA_STEP_REMOVE,
                                      another_than(group, leader), NULL, 1000, &err));
        if (replica_members(replica, members) == 2)
            return leader;
        open_all(group);
    }
    fail_msg("%s", err.text);
    return 0;
}

/* Whoever acts on it acts on what may be taken back: it is seen as such. */
static void
a_change_that_nobody_agreed_to_is_seen_as_under_way(void **state)
{
    struct group *group = *state;
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct replica_status status;
    struct st_err err = {0};
    group_form(group);
    uint64_t alone = begin_a_change_that_nobody_hears_of(group);
    assert_int_equal(replica_group(group_of(group, alone)->replica, members, &status), 2);
    assert_true(status.changing);
    /* Also by its next life. */
    group_close(group, alone);
    assert_ok(group_open(group, alone, REPLICA_OPEN, &err));
    assert_int_equal(replica_group(group_of(group, alone)->replica, members, &status), 2);
    assert_true(status.changing);
    /* The others go on without it, and it hears that it was nothing. */
    group_close(group, alone);
    for (uint64_t id = 1; id <= 3; id++)
        if (id != alone)
            assert_ok(group_open(group, id, REPLICA_OPEN, &err));
    group_propose(group, another_than(group, alone), "a");
    assert_ok(group_open(group, alone, REPLICA_OPEN, &err));
    for (uint64_t id = 1; id <= 3; id++)
        await_settled(group, id, 3);
}

/* Where each is now; a group has no records that would say it. */
static void
tell_places(struct group *group)
{
    struct replica_place places[GROUP_MAX] = {0};
    for (uint64_t id = 1; id <= group->count; id++) {
        places[id - 1].id = id;
        memcpy(places[id - 1].address, group_of(group, id)->address, REPLICA_ADDRESS_MAX);
    }
    for (uint64_t id = 1; id <= group->count; id++)
        replica_set_places(group_of(group, id)->replica, places, group->count);
}

/* Members 1 and 2 are a group, and 1 has moved to where 3 would have been. */
static void
form_and_move_the_first(struct group *group)
{
    struct group_member *first = group_of(group, 1), *third = group_of(group, 3);
    char vacated[REPLICA_ADDRESS_MAX];
    struct st_err err = {0};
    group->count = 2;
    group_form(group);
    group->count = 3;
    group_close(group, 1);
    memcpy(vacated, first->address, sizeof(vacated));
    memcpy(first->address, third->address, sizeof(vacated));
    memcpy(third->address, vacated, sizeof(vacated));
    assert_ok(group_open(group, 1, REPLICA_OPEN, &err));
}

/* The group keeps for ever where a member joined, and libraft wants no two at one
 * address. */
static void
a_member_joins_where_another_one_joined_that_has_moved(void **state)
{
    struct group *group = *state;
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct st_err err = {0};
    form_and_move_the_first(group);
    assert_ok(group_open(group, 3, REPLICA_JOIN, &err));
    tell_places(group);
    group_step(group, REPLICA_STEP_ADD, 3);
    group_step(group, REPLICA_STEP_ADD, 3); /* as if its answer had been lost */
    group_step(group, REPLICA_STEP_PROMOTE, 3);
    for (uint64_t id = 1; id <= 3; id++)
        group_propose(group, id, "a");
    /* The same from their disks; and by a leader that came later. */
    for (uint64_t id = 1; id <= 3; id++)
        group_close(group, id);
    for (uint64_t id = 1; id <= 3; id++)
        assert_ok(group_open(group, id, REPLICA_OPEN, &err));
    tell_places(group);
    for (uint64_t id = 1; id <= 3; id++)
        assert_true(group_propose(group, id, "a") > 3);
    assert_int_equal(replica_members(group_of(group, 3)->replica, members), 3);
    assert_int_equal(members[2].role, REPLICA_VOTER);
    assert_string_equal(members[2].says, group_of(group, 3)->address);
    /* It leaves nothing that would be in the way of the next one. */
    group_step(group, REPLICA_STEP_REMOVE, 3);
    group_step(group, REPLICA_STEP_REMOVE, 1);
    group_propose(group, 2, "a");
}

static void
a_folder_is_joined_with_once(void **state)
{
    struct group *group = *state;
    struct st_err err = {0};
    assert_ok(group_open(group, 2, REPLICA_JOIN, &err));
    group_close(group, 2);
    assert_code(group_open(group, 2, REPLICA_JOIN, &err), ST_ALREADY_EXISTS);
    assert_ok(group_open(group, 2, REPLICA_OPEN, &err));
    assert_code(group_open(group, 3, REPLICA_OPEN, &err), ST_NOT_FOUND);
}

static void
copy_folder(const char *from, const char *to)
{
    char command[200];
    snprintf(command, sizeof(command), "rm -rf %s && cp -a %s %s", to, from, to);
    assert_int_equal(system(command), 0);
}

/* A group, and one of it whose folder has forgotten what it acknowledged after a copy was
 * made.  It does not run. */
static uint64_t
form_with_an_older_folder(struct group *group)
{
    char copy[60];
    struct st_err err = {0};
    group_form(group);
    uint64_t old = another_than(group, group_leader(group));
    struct group_member *m = group_of(group, old);
    snprintf(copy, sizeof(copy), "%s.copy", m->dir);
    group_close(group, old);
    copy_folder(m->dir, copy);
    assert_ok(group_open(group, old, REPLICA_OPEN, &err));
    group_propose(group, old, "a");
    group_close(group, old);
    copy_folder(copy, m->dir);
    copy_folder("/dev/null", copy);
    assert_int_equal(unlink(copy), 0);
    return old;
}

static void
assert_is_refused(struct group *group, uint64_t old)
{
    struct st_err err = {0};
    assert_ok(group_open(group, old, REPLICA_OPEN, &err));
    const char *sentence = group_await_fatal();
    assert_non_null(strstr(sentence, "refuses this one"));
    assert_non_null(strstr(sentence, "an older one"));
    group_of(group, old)->replica = NULL; /* stands still */
    group_propose(group, another_than(group, old), "a");
}

static void
N53_an_older_folder_is_refused_and_not_started_again(void **state)
{
    struct group *group = *state;
    char copy[60];
    struct st_err err = {0};
    uint64_t old = form_with_an_older_folder(group);
    struct group_member *m = group_of(group, old);
    assert_is_refused(group, old);

    /* Started again it would come with a number that nobody has seen. */
    snprintf(copy, sizeof(copy), "%s.copy", m->dir);
    copy_folder(m->dir, copy);
    copy_folder(copy, m->dir);
    for (int i = 0; i < 3; i++)
        assert_code(group_open(group, old, REPLICA_OPEN, &err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "refused this folder as an older one"));
    copy_folder("/dev/null", copy);
    assert_int_equal(unlink(copy), 0);
}

/* As where its address comes late, and it is started every second until then. */
static void
N53_starts_that_fail_do_not_take_an_older_folder_past_the_others(void **state)
{
    struct group *group = *state;
    struct st_err err = {0};
    uint64_t old = form_with_an_older_folder(group);
    struct group_member *m = group_of(group, old);
    char address[REPLICA_ADDRESS_MAX];
    memcpy(address, m->address, sizeof(address));
    strcpy(m->address, "192.0.2.1:7834");
    for (int i = 0; i < 3; i++)
        assert_code(group_open(group, old, REPLICA_OPEN, &err), ST_UNAVAILABLE);
    memcpy(m->address, address, sizeof(address));
    assert_is_refused(group, old);
}

static void
N53_starts_that_nobody_hears_do_not_take_an_older_folder_past_the_others(void **state)
{
    struct group *group = *state;
    struct st_err err = {0};
    uint64_t old = form_with_an_older_folder(group);
    for (uint64_t id = 1; id <= group->count; id++)
        group_close(group, id);
    for (int i = 0; i < 3; i++) {
        assert_ok(group_open(group, old, REPLICA_OPEN, &err));
        assert_code(replica_barrier_wait(group_of(group, old)->replica, 500, &err),
                    ST_UNAVAILABLE);
        group_close(group, old);
    }
    for (uint64_t id = 1; id <= group->count; id++)
        if (id != old)
            assert_ok(group_open(group, id, REPLICA_OPEN, &err));
    group_leader(group);
    assert_is_refused(group, old);
}

/* The others are lost for good, the folder that they refused goes on alone. */
static void
N53_a_copy_of_before_a_recovery_is_refused_after_it(void **state)
{
    struct group *group = *state;
    char backup[60], anew[60];
    struct st_err err = {0};
    group->count = 2;
    const uint64_t old = form_with_an_older_folder(group);
    const uint64_t lost = another_than(group, old);
    group->count = 3;
    struct group_member *m = group_of(group, old);
    snprintf(backup, sizeof(backup), "%s.backup", m->dir);
    snprintf(anew, sizeof(anew), "%s.anew", m->dir);
    copy_folder(m->dir, backup);
    assert_ok(group_open(group, old, REPLICA_OPEN, &err));
    assert_non_null(strstr(group_await_fatal(), "refuses this one"));
    m->replica = NULL; /* stands still, with the files and the port that it has open */
    snprintf(m->address, sizeof(m->address), "127.66.%d.%d:7834", getpid() >> 8 & 255,
             getpid() & 255);
    group_close(group, lost);
    copy_folder(m->dir, anew);
    copy_folder(anew, m->dir);

    assert_ok(group_open(group, old, REPLICA_RECOVER, &err));
    group_close(group, old);
    assert_ok(group_open(group, old, REPLICA_OPEN, &err));
    assert_ok(group_open(group, 3, REPLICA_JOIN, &err));
    group_step(group, REPLICA_STEP_ADD, 3);
    group_step(group, REPLICA_STEP_PROMOTE, 3);
    group_propose(group, old, "a");
    group_close(group, old);
    copy_folder(backup, m->dir);
    assert_ok(group_open(group, old, REPLICA_OPEN, &err));
    assert_non_null(strstr(group_await_fatal(), "an older one"));
    m->replica = NULL;
    for (size_t i = 0; i < 2; i++) {
        copy_folder("/dev/null", i ? anew : backup);
        assert_int_equal(unlink(i ? anew : backup), 0);
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_member_takes_proposals_and_reads),
        TEST(what_was_acknowledged_through_one_is_read_through_any),
        TEST(a_proposal_is_applied_here_when_it_is_answered),
        TEST(many_threads_through_all_members_count_once_each),
        TEST(a_minority_says_that_it_cannot),
        TEST(another_leads_when_the_leader_is_gone),
        TEST(leadership_is_handed_over),
        TEST(who_does_not_lead_has_nothing_to_hand_over),
        TEST(proposals_wait_while_leadership_is_handed_over),
        TEST(a_member_that_was_away_catches_up_by_a_snapshot),
        TEST(a_removed_member_has_no_say),
        TEST(the_leader_can_be_removed),
        TEST(the_only_voter_cannot_be_removed),
        TEST(why_a_member_is_not_there_is_known),
        TEST(members_know_of_each_other),
        TEST(a_member_joins_where_another_one_joined_that_has_moved),
        TEST(a_change_that_nobody_agreed_to_is_seen_as_under_way),
        TEST(a_folder_is_joined_with_once),
        TEST(N53_an_older_folder_is_refused_and_not_started_again),
        TEST(N53_starts_that_fail_do_not_take_an_older_folder_past_the_others),
        TEST(N53_starts_that_nobody_hears_do_not_take_an_older_folder_past_the_others),
        TEST(N53_a_copy_of_before_a_recovery_is_refused_after_it),
        TEST(N53_a_member_whose_certificate_is_revoked_is_told_and_ends),
        TEST(N53_one_that_was_away_meanwhile_is_told_when_it_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

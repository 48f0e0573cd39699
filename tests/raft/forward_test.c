/* What a member asks of its leader, where the leader is somebody who says what he likes.
 *
 * Member 2 is real.  Member 1 is the stranger: it leads in term 1, and both have a vote.
 */
#include "tests/cmocka.h"
#include "tests/raft/authority.h"
#include "tests/raft/counter.h"
#include "tests/raft/stranger.h"

#include "proto/scope.h"
#include "raft/forward.pb-c.h"
#include "raft/peer.pb-c.h"

#include <dirent.h>
#include <pthread.h>
#include <raft.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LEADER = 1,
    MEMBER = 2,
    FRAME_ROOM = 128 * 1024,
    PATIENCE_MS = 20000,
    CONFIGURED = 1, /* the index of the configuration */
};

struct scene {
    char dir[40];
    char address[REPLICA_ADDRESS_MAX];
    struct authority authority;
    struct issued leader, member;
    struct cert list;
    struct counters counters;
    struct replica *replica;
    struct stranger *stranger;
    uint64_t last; /* index of the leader's log */
    uint8_t frame[FRAME_ROOM];
};

static sem_t ended; /* a member has said that it must end, and stands still for ever */
static char said_last[512];

static void
on_fatal(const char *sentence)
{
    snprintf(said_last, sizeof(said_last), "%s", sentence);
    sem_post(&ended);
    for (;;)
        pause();
}

/* ---- the member ---- */

static void
start(struct scene *scene, enum replica_begin begin)
{
    struct st_err err = {0};
    const struct replica_credentials credentials =
        authority_credentials(&scene->authority, &scene->member, &scene->list);
    const struct replica_config config = {
        .dir = scene->dir,
        .id = MEMBER,
        .address = scene->address,
        .begin = begin,
        .credentials = &credentials,
        .machine = counters_machine(&scene->counters),
        .fatal = on_fatal,
    };
    assert_ok(replica_open(&config, &scene->replica, &err));
}

/* Nothing is in the folder any more. */
static void
scene_empty(const struct scene *scene)
{
    char path[400];
    DIR *dir = opendir(scene->dir);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        snprintf(path, sizeof(path), "%s/%s", scene->dir, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    closedir(dir);
}

static int
set_up(void **state)
{
    static unsigned hosts;
    struct scene *scene = calloc(1, sizeof(*scene));
    strcpy(scene->dir, "/tmp/smalltown-test-XXXXXX");
    assert_non_null(mkdtemp(scene->dir));
    snprintf(scene->address, sizeof(scene->address), "127.%d.%d.%u:7834",
             128 + (getpid() >> 8 & 63), getpid() & 255, ++hosts);
    authority_new(&scene->authority);
    authority_issue(&scene->authority, LEADER, 2, "serverAuth,clientAuth",
                    &scene->leader);
    authority_issue(&scene->authority, MEMBER, 3, "serverAuth,clientAuth",
                    &scene->member);
    authority_list(&scene->authority, 1, NULL, 0, &scene->list);
    counters_init(&scene->counters);
    start(scene, REPLICA_JOIN);
    *state = scene;
    return 0;
}

static int
tear_down(void **state)
{
    struct scene *scene = *state;
    replica_close(scene->replica);
    stranger_end(scene->stranger);
    counters_free(&scene->counters);
    scene_empty(scene);
    rmdir(scene->dir);
    free(scene);
    return 0;
}

/* ---- the leader ---- */

static void
send_frame(struct scene *scene, const Peer__Frame *frame)
{
    size_t len = peer__frame__get_packed_size(frame);
    uint8_t *bytes = malloc(len);
    peer__frame__pack(frame, bytes);
    assert_true(stranger_send(scene->stranger, bytes, len));
    free(bytes);
}

static void
append(struct scene *scene, Peer__AppendEntries *entries, uint64_t commit)
{
    entries->term = 1;
    entries->prev_index = scene->last;
    entries->prev_term = scene->last > 0;
    entries->commit = commit;
    Peer__Frame frame = PEER__FRAME__INIT;
    frame.kind_case = PEER__FRAME__KIND_APPEND_ENTRIES;
    frame.append_entries = entries;
    send_frame(scene, &frame);
    scene->last += entries->n_entry_term;
}

static void
append_one(struct scene *scene, uint8_t type, struct raft_buffer bytes)
{
    Peer__AppendEntries entries = PEER__APPEND_ENTRIES__INIT;
    uint64_t term = 1;
    uint32_t len = (uint32_t)bytes.len;
    entries.n_entry_term = entries.n_entry_len = 1;
    entries.entry_term = &term;
    entries.entry_len = &len;
    entries.entry_type = (ProtobufCBinaryData){1, &type};
    entries.data = (ProtobufCBinaryData){bytes.len, bytes.base};
    append(scene, &entries, scene->last);
}

static void
heartbeat(struct scene *scene, uint64_t commit)
{
    Peer__AppendEntries nothing = PEER__APPEND_ENTRIES__INIT;
    append(scene, &nothing, commit);
}

static void
append_group(struct scene *scene)
{
    struct raft_configuration group;
    struct raft_buffer bytes;
    raft_configuration_init(&group);
    assert_int_equal(raft_configuration_add(&group, LEADER, "127.0.0.1:1", RAFT_VOTER),
                     0);
    assert_int_equal(raft_configuration_add(&group, MEMBER, scene->address, RAFT_VOTER),
                     0);
    assert_int_equal(raft_configuration_encode(&group, &bytes), 0);
    append_one(scene, RAFT_CHANGE, bytes);
    raft_configuration_close(&group);
    raft_free(bytes.base);
}

/* One command that counts `name`. */
static void
append_command(struct scene *scene, const char *name)
{
    uint8_t entry[64] = {1, 1, 0, 0, 0, (uint8_t)strlen(name)};
    memcpy(entry + 9, name, strlen(name));
    append_one(scene, RAFT_COMMAND,
               (struct raft_buffer){.base = entry, .len = 9 + strlen(name)});
}

static void
meet_as(struct scene *scene, uint64_t id, const struct issued *issued)
{
    const struct stranger_config config = {.address = scene->address, .issued = issued};
    stranger_end(scene->stranger);
    scene->stranger = stranger_connect(&config);
    assert_non_null(scene->stranger);
    assert_true(stranger_shake(scene->stranger));
    assert_true(stranger_greet(scene->stranger, id, 1));
}

static void
meet(struct scene *scene)
{
    meet_as(scene, LEADER, &scene->leader);
}

/* From now on member 2 follows member 1. */
static void
lead(struct scene *scene)
{
    meet(scene);
    append_group(scene);
    heartbeat(scene, CONFIGURED);
}

/* The next note; owned by the caller. */
static Forward__Note *
next_note(struct scene *scene)
{
    for (time_t until = time(NULL) + PATIENCE_MS / 1000; time(NULL) < until;) {
        int len = stranger_read(scene->stranger, scene->frame, sizeof(scene->frame));
        assert_true(len > 0);
        Peer__Frame *frame = peer__frame__unpack(NULL, (size_t)len, scene->frame);
        assert_non_null(frame);
        Forward__Note *note = NULL;
        if (frame->kind_case == PEER__FRAME__KIND_NOTE)
            note = forward__note__unpack(NULL, frame->note.len, frame->note.data);
        peer__frame__free_unpacked(frame, NULL);
        if (note)
            return note;
        heartbeat(scene, CONFIGURED);
    }
    fail_msg("no note comes");
    return NULL;
}

/* The number of the next Ask, and what it asks for. */
static uint64_t
await_ask(struct scene *scene, const char *command)
{
    Forward__Note *note = next_note(scene);
    assert_int_equal(note->what_case, FORWARD__NOTE__WHAT_ASK);
    assert_int_equal(note->ask->barrier, command == NULL);
    if (command) {
        assert_int_equal(note->ask->command.len, strlen(command));
        assert_memory_equal(note->ask->command.data, command, strlen(command));
    }
    uint64_t number = note->ask->number;
    forward__note__free_unpacked(note, NULL);
    return number;
}

struct said {
    enum st_code code;
    uint64_t index;
    const char *result;
};

static void
answer(struct scene *scene, uint64_t number, struct said said)
{
    uint8_t bytes[512];
    Forward__Answer what = FORWARD__ANSWER__INIT;
    what.number = number;
    what.code = said.code;
    what.text = (char *)"said by the test";
    what.index = said.index;
    if (said.result)
        what.result = (ProtobufCBinaryData){strlen(said.result), (uint8_t *)said.result};
    Forward__Note note = FORWARD__NOTE__INIT;
    note.what_case = FORWARD__NOTE__WHAT_ANSWER;
    note.answer = &what;
    Peer__Frame frame = PEER__FRAME__INIT;
    frame.kind_case = PEER__FRAME__KIND_NOTE;
    frame.note = (ProtobufCBinaryData){forward__note__pack(&note, bytes), bytes};
    send_frame(scene, &frame);
}

/* ---- who proposes ---- */

struct outcome {
    pthread_mutex_t lock;
    unsigned count; /* of calls */
    struct st_err err;
    char result[64];
    uint64_t seen; /* of the counter "a" when it was called */
    struct scene *scene;
};

static void
done(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct outcome *outcome = arg;
    pthread_mutex_lock(&outcome->lock);
    outcome->count++;
    outcome->err = *err;
    if (result)
        snprintf(outcome->result, sizeof(outcome->result), "%.*s", (int)result->len,
                 (const char *)result->bytes);
    outcome->seen = counters_get(&outcome->scene->counters, "a");
    pthread_mutex_unlock(&outcome->lock);
}

static struct outcome
outcome_of(struct scene *scene)
{
    return (struct outcome){.lock = PTHREAD_MUTEX_INITIALIZER, .scene = scene};
}

static unsigned
calls(struct outcome *outcome)
{
    pthread_mutex_lock(&outcome->lock);
    unsigned count = outcome->count;
    pthread_mutex_unlock(&outcome->lock);
    return count;
}

static void
await(struct scene *scene, struct outcome *outcome, uint64_t commit)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000000};
    for (int i = 0; i < PATIENCE_MS / 10 && !calls(outcome); i++) {
        if (commit)
            heartbeat(scene, commit);
        nanosleep(&pause, NULL);
    }
    assert_int_equal(calls(outcome), 1);
}

static void
propose(struct scene *scene, const char *command, struct outcome *outcome)
{
    replica_propose(scene->replica, command, strlen(command), PATIENCE_MS, done, outcome);
}

/* ---- the tests ---- */

static void
a_proposal_has_the_answer_of_the_leader(void **state)
{
    struct scene *scene = *state;
    struct outcome outcome = outcome_of(scene);
    lead(scene);
    propose(scene, "a", &outcome);
    uint64_t number = await_ask(scene, "a");
    append_command(scene, "a");
    answer(scene, number, (struct said){.index = scene->last, .result = "1"});
    await(scene, &outcome, scene->last);
    assert_int_equal(outcome.err.code, ST_OK);
    assert_string_equal(outcome.result, "1");
    assert_int_equal(outcome.seen, 1);
}

/* The leader says that it is committed; here it is not yet. */
static void
a_barrier_waits_until_its_index_is_applied_here(void **state)
{
    struct scene *scene = *state;
    struct outcome outcome = outcome_of(scene);
    lead(scene);
    replica_barrier(scene->replica, PATIENCE_MS, done, &outcome);
    uint64_t number = await_ask(scene, NULL);
    append_command(scene, "a");
    answer(scene, number, (struct said){.index = scene->last});
    for (int i = 0; i < 20; i++)
        heartbeat(scene, CONFIGURED);
    struct outcome other = outcome_of(scene); /* what was sent before it was read */
    propose(scene, "b", &other);
    number = await_ask(scene, "b");
    assert_int_equal(calls(&outcome), 0);
    await(scene, &outcome, scene->last);
    assert_int_equal(outcome.err.code, ST_OK);
    assert_int_equal(outcome.seen, 1);
    answer(scene, number, (struct said){.code = ST_UNAVAILABLE});
    await(scene, &other, 0);
    assert_int_equal(other.err.code, ST_UNAVAILABLE);
}

/* It was asked by the process before this one, and its answer is another one's. */
static void
an_answer_of_an_earlier_life_is_not_taken(void **state)
{
    struct scene *scene = *state;
    struct outcome first = outcome_of(scene), second = outcome_of(scene);
    lead(scene);
    propose(scene, "first", &first);
    uint64_t before = await_ask(scene, "first");
    replica_close(scene->replica);
    assert_int_equal(first.count, 1);
    assert_int_equal(first.err.code, ST_UNAVAILABLE);

    start(scene, REPLICA_OPEN);
    meet(scene);
    heartbeat(scene, CONFIGURED);
    propose(scene, "second", &second);
    uint64_t after = await_ask(scene, "second");
    answer(scene, before, (struct said){.index = CONFIGURED, .result = "of the first"});
    answer(scene, after, (struct said){.index = CONFIGURED, .result = "of the second"});
    await(scene, &second, CONFIGURED);
    assert_string_equal(second.result, "of the second");
}

static void
an_answer_that_comes_twice_is_taken_once(void **state)
{
    struct scene *scene = *state;
    struct outcome first = outcome_of(scene), second = outcome_of(scene);
    lead(scene);
    propose(scene, "a", &first);
    uint64_t number = await_ask(scene, "a");
    answer(scene, number, (struct said){.index = scene->last + 1, .result = "1"});
    answer(scene, number, (struct said){.code = ST_INTERNAL});
    append_command(scene, "a");
    await(scene, &first, scene->last);
    assert_string_equal(first.result, "1");
    answer(scene, number, (struct said){.index = scene->last, .result = "late"});
    propose(scene, "b", &second);
    number = await_ask(scene, "b");
    answer(scene, number, (struct said){.index = scene->last, .result = "2"});
    await(scene, &second, 0);
    assert_string_equal(second.result, "2");
    assert_int_equal(calls(&first), 1);
}

static void
who_does_not_lead_is_asked_again(void **state)
{
    struct scene *scene = *state;
    struct outcome outcome = outcome_of(scene);
    lead(scene);
    propose(scene, "a", &outcome);
    for (int i = 0; i < 3; i++) {
        uint64_t number = await_ask(scene, "a");
        answer(scene, number, (struct said){.code = ST_FAILED_PRECONDITION});
    }
    uint64_t number = await_ask(scene, "a");
    assert_int_equal(calls(&outcome), 0);
    answer(scene, number, (struct said){.index = CONFIGURED, .result = "1"});
    await(scene, &outcome, 0);
    assert_string_equal(outcome.result, "1");
}

/* A proposal may have been committed; a barrier changes nothing. */
static void
a_leader_that_goes_away_leaves_a_proposal_unknown_and_a_barrier_waiting(void **state)
{
    struct scene *scene = *state;
    struct outcome proposal = outcome_of(scene), barrier = outcome_of(scene);
    lead(scene);
    propose(scene, "a", &proposal);
    await_ask(scene, "a");
    replica_barrier(scene->replica, PATIENCE_MS, done, &barrier);
    await_ask(scene, NULL);
    stranger_end(scene->stranger);
    scene->stranger = NULL;
    await(scene, &proposal, 0);
    assert_int_equal(proposal.err.code, ST_UNAVAILABLE);
    assert_int_equal(calls(&barrier), 0);
    meet(scene);
    heartbeat(scene, CONFIGURED);
    uint64_t number = await_ask(scene, NULL);
    answer(scene, number, (struct said){.index = CONFIGURED});
    await(scene, &barrier, 0);
    assert_int_equal(barrier.err.code, ST_OK);
}

/* It is connected all the time, and what went over the old connection is lost. */
static void
a_leader_that_connects_anew_is_asked_again(void **state)
{
    struct scene *scene = *state;
    struct outcome proposal = outcome_of(scene), barrier = outcome_of(scene);
    lead(scene);
    propose(scene, "a", &proposal);
    await_ask(scene, "a");
    replica_barrier(scene->replica, 2 * PATIENCE_MS, done, &barrier);
    await_ask(scene, NULL);
    struct stranger *old = TAKE(scene->stranger);
    meet(scene);
    heartbeat(scene, CONFIGURED);
    uint64_t number = await_ask(scene, NULL);
    answer(scene, number, (struct said){.index = CONFIGURED});
    await(scene, &barrier, 0);
    assert_int_equal(barrier.err.code, ST_OK);
    assert_int_equal(calls(&proposal), 1);
    assert_int_equal(proposal.err.code, ST_UNAVAILABLE);
    stranger_end(old);
}

/* ---- member 2 leads ---- */

/* As if it had been sent something. */
static void
acknowledge(struct scene *scene, uint64_t term, uint64_t index)
{
    Peer__AppendEntriesResult result = PEER__APPEND_ENTRIES_RESULT__INIT;
    result.term = term;
    result.last_index = index;
    Peer__Frame frame = PEER__FRAME__INIT;
    frame.kind_case = PEER__FRAME__KIND_APPEND_ENTRIES_RESULT;
    frame.append_entries_result = &result;
    send_frame(scene, &frame);
}

static void
await_answers(struct scene *scene, uint64_t id)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000000};
    struct replica_member members[REPLICA_MEMBERS_MAX];
    for (int i = 0; i < PATIENCE_MS / 10; i++, nanosleep(&pause, NULL)) {
        const unsigned count = replica_members(scene->replica, members);
        for (unsigned at = 0; at < count; at++)
            if (members[at].id == id && members[at].answers)
                return;
    }
    fail_msg("member %d does not answer", (int)id);
}

static void
lead_alone(struct scene *scene)
{
    struct st_err err = {0};
    replica_close(scene->replica);
    scene_empty(scene);
    start(scene, REPLICA_BOOTSTRAP);
    assert_ok(replica_barrier_wait(scene->replica, PATIENCE_MS, &err));
}

/* Those who come and go while one leads, and those who were never added. */
static void
the_last_of_many_members_is_known_to_answer(void **state)
{
    struct scene *scene = *state;
    struct replica_status status;
    struct st_err err = {0};
    struct issued issued;
    lead_alone(scene);
    replica_status(scene->replica, &status);
    for (uint64_t id = 3; id < 3 + 2 * REPLICA_MEMBERS_MAX; id++) {
        const bool member = id % 2;
        authority_issue(&scene->authority, id, id + 1, "serverAuth,clientAuth", &issued);
        if (member)
            assert_ok(replica_step_wait(scene->replica, REPLICA_STEP_ADD, id,
                                        "127.0.0.1:1", PATIENCE_MS, &err));
        meet_as(scene, id, &issued);
        acknowledge(scene, status.term, CONFIGURED);
        if (!member)
            continue;
        await_answers(scene, id);
        assert_ok(replica_step_wait(scene->replica, REPLICA_STEP_REMOVE, id, NULL,
                                    PATIENCE_MS, &err));
    }
}

static atomic_bool starving;

static void *
starving_malloc(void *data, size_t size)
{
    (void)data;
    return starving ? NULL : malloc(size);
}

static void
heap_free(void *data, void *memory)
{
    (void)data;
    free(memory);
}

static void *
heap_calloc(void *data, size_t count, size_t size)
{
    (void)data;
    return calloc(count, size);
}

static void *
heap_realloc(void *data, void *memory, size_t size)
{
    (void)data;
    return realloc(memory, size);
}

static struct raft_heap heap = {.malloc = starving_malloc,
                                .free = heap_free,
                                .calloc = heap_calloc,
                                .realloc = heap_realloc};

static void
ignore(void *arg, const struct st_err *err, const struct replica_result *result)
{
    (void)arg;
    (void)err;
    (void)result;
}

static void
await_end(struct scene *scene)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    assert_int_equal(sem_timedwait(&ended, &until), 0);
    scene->replica = NULL; /* stands still */
}

/* libraft would keep a change that it says it did not begin. */
static void
a_promotion_without_memory_is_the_end(void **state)
{
    struct scene *scene = *state;
    struct replica_status status;
    struct st_err err = {0};
    lead_alone(scene);
    assert_ok(replica_step_wait(scene->replica, REPLICA_STEP_ADD, LEADER, "127.0.0.1:1",
                                PATIENCE_MS, &err));
    assert_ok(replica_propose_wait(scene->replica, "a", 1, PATIENCE_MS, NULL, &err));
    replica_status(scene->replica, &status);
    meet(scene);
    acknowledge(scene, status.term, status.commit_index);
    await_answers(scene, LEADER);
    starving = true;
    replica_step(scene->replica, REPLICA_STEP_PROMOTE, LEADER, NULL, PATIENCE_MS, ignore,
                 NULL);
    await_end(scene);
    starving = false;
}

/* They are two groups, where one of them went on alone. */
static void
another_one_that_leads_in_its_term_is_the_end(void **state)
{
    struct scene *scene = *state;
    struct replica_status status;
    lead_alone(scene);
    replica_status(scene->replica, &status);
    meet(scene);
    Peer__AppendEntries nothing = PEER__APPEND_ENTRIES__INIT;
    nothing.term = status.term;
    nothing.prev_index = status.commit_index + 1000;
    nothing.prev_term = status.term;
    Peer__Frame frame = PEER__FRAME__INIT;
    frame.kind_case = PEER__FRAME__KIND_APPEND_ENTRIES;
    frame.append_entries = &nothing;
    send_frame(scene, &frame);
    await_end(scene);
    assert_non_null(strstr(said_last, "member 1 leads in term"));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_proposal_has_the_answer_of_the_leader),
        TEST(a_barrier_waits_until_its_index_is_applied_here),
        TEST(an_answer_of_an_earlier_life_is_not_taken),
        TEST(an_answer_that_comes_twice_is_taken_once),
        TEST(who_does_not_lead_is_asked_again),
        TEST(a_leader_that_goes_away_leaves_a_proposal_unknown_and_a_barrier_waiting),
        TEST(a_leader_that_connects_anew_is_asked_again),
        TEST(the_last_of_many_members_is_known_to_answer),
        TEST(a_promotion_without_memory_is_the_end),
        TEST(another_one_that_leads_in_its_term_is_the_end),
    };
    raft_heap_set(&heap);
    sem_init(&ended, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

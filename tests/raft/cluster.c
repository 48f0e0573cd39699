#include "tests/raft/cluster.h"

#include "tests/cmocka.h"

#include <stdlib.h>
#include <string.h>

static struct cluster *current; /* a raft_io of the simulator knows no pointer of ours */

static int
machine_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct cluster_machine *machine = fsm->data;
    struct cluster *c = machine->cluster;
    raft_index index = raft_last_applied(cluster_member(c, machine->member)) + 1;
    uint64_t value;
    assert_int_equal(buf->len, sizeof(value));
    memcpy(&value, buf->base, sizeof(value));
    *result = NULL;
    if (index >= CLUSTER_INDEX_MAX)
        return 0;
    if (c->applied[index] && c->applied[index] != value)
        c->contradictions++;
    c->applied[index] = value;
    return 0;
}

static int
machine_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
    (void)fsm;
    *bufs = raft_calloc(1, sizeof(**bufs));
    (*bufs)[0] = (struct raft_buffer){raft_calloc(1, 8), 8};
    *n = 1;
    return 0;
}

static int
machine_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    (void)fsm;
    raft_free(buf->base);
    return 0;
}

static struct cluster_tap *
tap_of(struct raft_io *io)
{
    for (unsigned i = 0; i < RAFT_FIXTURE_MAX_SERVERS; i++)
        if (current->taps[i].io == io)
            return &current->taps[i];
    fail();
    return NULL;
}

static int
tapped_send(struct raft_io *io, struct raft_io_send *req,
            const struct raft_message *message, raft_io_send_cb cb)
{
    struct cluster_tap *tap = tap_of(io);
    if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT) {
        tap->results++;
        tap->result = message->append_entries_result;
        tap->to = message->server_id;
    }
    if (message->type == RAFT_IO_REQUEST_VOTE_RESULT)
        tap->vote = message->request_vote_result;
    return tap->send(io, req, message, cb);
}

static int
tapped_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct cluster_tap *tap = tap_of(io);
    tap->recv = recv;
    return tap->start(io, ms, tick, recv);
}

static void
add_member(struct cluster *c, unsigned i)
{
    c->machines[i] = (struct cluster_machine){c, i};
    c->fsms[i] = (struct raft_fsm){.version = 1,
                                   .data = &c->machines[i],
                                   .apply = machine_apply,
                                   .snapshot = machine_snapshot,
                                   .restore = machine_restore};
    assert_int_equal(raft_fixture_grow(&c->fixture, &c->fsms[i]), 0);
    struct raft *raft = cluster_member(c, i);
    struct raft_io *io = raft->io;
    c->taps[i] = (struct cluster_tap){.io = io, .send = io->send, .start = io->start};
    io->send = tapped_send;
    io->start = tapped_start;
    if (!c->cured)
        return;
    cure_init(&c->cures[i], io, NULL, NULL);
    c->cures[i].face.data = raft;
    raft->io = &c->cures[i].face;
}

struct cluster *
cluster_begin(unsigned members, unsigned voters, bool cured)
{
    struct cluster *c = calloc(1, sizeof(*c));
    struct raft_configuration group;
    assert_non_null(c);
    current = c;
    c->cured = cured;
    assert_int_equal(raft_fixture_initialize(&c->fixture), 0);
    for (unsigned i = 0; i < members; i++)
        add_member(c, i);
    assert_int_equal(raft_fixture_configuration(&c->fixture, voters, &group), 0);
    assert_int_equal(raft_fixture_bootstrap(&c->fixture, &group), 0);
    raft_configuration_close(&group);
    return c;
}

void
cluster_end(struct cluster *c)
{
    raft_fixture_close(&c->fixture);
    for (unsigned i = 0; c->cured && i < RAFT_FIXTURE_MAX_SERVERS; i++)
        cure_free(&c->cures[i]);
    free(c);
}

struct raft *
cluster_member(struct cluster *c, unsigned i)
{
    return raft_fixture_get(&c->fixture, i);
}

void
cluster_add_entry(struct cluster *c, unsigned member, raft_term term, uint64_t value)
{
    struct raft_entry entry = {.term = term, .type = RAFT_COMMAND};
    entry.buf = (struct raft_buffer){raft_malloc(sizeof(value)), sizeof(value)};
    memcpy(entry.buf.base, &value, sizeof(value));
    raft_fixture_add_entry(&c->fixture, member, &entry);
}

struct raft_entry *
cluster_entry(raft_term term, unsigned short type, const void *bytes, size_t len)
{
    struct raft_entry *entry = raft_calloc(1, sizeof(*entry));
    assert_non_null(entry);
    entry->term = term;
    entry->type = type;
    entry->batch = raft_malloc(len);
    entry->buf = (struct raft_buffer){entry->batch, len};
    memcpy(entry->batch, bytes, len);
    return entry;
}

static struct raft_buffer
group_bytes(struct cluster *c, unsigned voters)
{
    struct raft_configuration group;
    struct raft_buffer bytes;
    raft_configuration_init(&group);
    for (unsigned i = 0; i < c->fixture.n; i++)
        assert_int_equal(
            raft_configuration_add(&group, cluster_member(c, i)->id,
                                   cluster_member(c, i)->address,
                                   voters >> i & 1 ? RAFT_VOTER : RAFT_STANDBY),
            0);
    assert_int_equal(raft_configuration_encode(&group, &bytes), 0);
    raft_configuration_close(&group);
    return bytes;
}

void
cluster_add_change(struct cluster *c, unsigned member, raft_term term, unsigned voters)
{
    struct raft_entry entry = {
        .term = term, .type = RAFT_CHANGE, .buf = group_bytes(c, voters)};
    raft_fixture_add_entry(&c->fixture, member, &entry);
}

struct raft_entry *
cluster_change(struct cluster *c, raft_term term, unsigned voters)
{
    struct raft_buffer bytes = group_bytes(c, voters);
    struct raft_entry *entry = cluster_entry(term, RAFT_CHANGE, bytes.base, bytes.len);
    raft_free(bytes.base);
    return entry;
}

struct raft_message
cluster_append(raft_term term, raft_index prev, raft_term prev_term,
               struct raft_entry *entries, unsigned n)
{
    return (struct raft_message){.type = RAFT_IO_APPEND_ENTRIES,
                                 .append_entries = {.term = term,
                                                    .prev_log_index = prev,
                                                    .prev_log_term = prev_term,
                                                    .leader_commit = 1,
                                                    .entries = entries,
                                                    .n_entries = n}};
}

void
cluster_isolate(struct cluster *c, unsigned member)
{
    for (unsigned other = 0; other < c->fixture.n; other++) {
        if (other == member)
            continue;
        raft_fixture_saturate(&c->fixture, member, other);
        raft_fixture_saturate(&c->fixture, other, member);
    }
}

void
cluster_deliver(struct cluster *c, unsigned from, unsigned to,
                struct raft_message message)
{
    message.server_id = cluster_member(c, from)->id;
    message.server_address = cluster_member(c, from)->address;
    c->taps[to].recv(c->taps[to].io, &message);
}

static void
forget(struct raft_apply *req, int status, void *result)
{
    (void)status;
    (void)result;
    free(req);
}

bool
cluster_propose(struct cluster *c, unsigned member, uint64_t value)
{
    struct raft_apply *req = calloc(1, sizeof(*req));
    struct raft_buffer buf = {raft_malloc(sizeof(value)), sizeof(value)};
    memcpy(buf.base, &value, sizeof(value));
    if (raft_apply(cluster_member(c, member), req, &buf, 1, forget) == 0)
        return true;
    raft_free(buf.base);
    free(req);
    return false;
}

raft_term
cluster_term_at(struct cluster *c, unsigned member, raft_index index)
{
    const struct raft_log *log = &cluster_member(c, member)->log;
    size_t count = log->size ? (log->back + log->size - log->front) % log->size : 0;
    if (index <= log->offset || index > log->offset + count)
        return 0;
    return log->entries[(log->front + (index - log->offset - 1)) % log->size].term;
}

bool
cluster_commits_alone(struct cluster *c)
{
    for (unsigned i = 0; i < c->fixture.n; i++) {
        struct raft *leader = cluster_member(c, i);
        raft_term term = cluster_term_at(c, i, leader->commit_index);
        unsigned voters = 0, have = 0;
        if (leader->state != RAFT_LEADER || term != leader->current_term)
            continue;
        for (unsigned j = 0; j < leader->configuration.n; j++) {
            if (leader->configuration.servers[j].role != RAFT_VOTER)
                continue;
            unsigned member = (unsigned)leader->configuration.servers[j].id - 1;
            voters++;
            have += cluster_term_at(c, member, leader->commit_index) == term;
        }
        if (have <= voters / 2)
            return true;
    }
    return false;
}

bool
cluster_commits_by_counting(struct cluster *c, raft_index from)
{
    for (unsigned i = 0; i < c->fixture.n; i++) {
        struct raft *leader = cluster_member(c, i);
        if (leader->state == RAFT_LEADER && leader->commit_index > from &&
            cluster_term_at(c, i, leader->commit_index) != leader->current_term)
            return true;
    }
    return false;
}

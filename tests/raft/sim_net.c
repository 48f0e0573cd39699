/* The half of a raft_io that sends. */
#include "tests/raft/sim.h"

#include <stdlib.h>
#include <string.h>

/* ---- letters ---- */

static void *
copy_of(const void *bytes, size_t len)
{
    void *copy = raft_malloc(len + 1);
    if (!copy)
        abort();
    memcpy(copy, bytes, len);
    return copy;
}

/* All of one message in one batch, as a frame is received. */
static void
copy_entries(struct raft_append_entries *args, const struct raft_append_entries *from)
{
    size_t len = 0;
    args->entries = NULL;
    if (!from->n_entries)
        return;
    for (unsigned i = 0; i < from->n_entries; i++)
        len += from->entries[i].buf.len;
    uint8_t *batch = raft_malloc(len + 1), *at = batch;
    args->entries = raft_calloc(from->n_entries, sizeof(*args->entries));
    if (!batch || !args->entries)
        abort();
    for (unsigned i = 0; i < from->n_entries; i++) {
        const struct raft_entry *entry = &from->entries[i];
        args->entries[i] =
            (struct raft_entry){entry->term, entry->type, {at, entry->buf.len}, batch};
        memcpy(at, entry->buf.base, entry->buf.len);
        at += entry->buf.len;
    }
}

static void
copy_configuration(struct raft_configuration *to, const struct raft_configuration *from)
{
    raft_configuration_init(to);
    for (unsigned i = 0; i < from->n; i++)
        if (raft_configuration_add(to, from->servers[i].id, from->servers[i].address,
                                   from->servers[i].role))
            abort();
}

static struct sim_letter *
write_letter(unsigned from, unsigned to, const struct raft_message *message)
{
    struct sim_letter *letter = calloc(1, sizeof(*letter));
    if (!letter)
        abort();
    letter->from = from;
    letter->to = to;
    letter->message = *message;
    if (message->type == RAFT_IO_APPEND_ENTRIES)
        copy_entries(&letter->message.append_entries, &message->append_entries);
    if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
        const struct raft_install_snapshot *args = &message->install_snapshot;
        copy_configuration(&letter->message.install_snapshot.conf, &args->conf);
        letter->message.install_snapshot.data.base =
            copy_of(args->data.base, args->data.len);
    }
    return letter;
}

void
sim_letter_free(struct sim_letter *letter)
{
    if (!letter)
        return;
    struct raft_message *message = &letter->message;
    if (message->type == RAFT_IO_APPEND_ENTRIES && message->append_entries.entries) {
        raft_free(message->append_entries.entries[0].batch);
        raft_free(message->append_entries.entries);
    }
    if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
        raft_configuration_close(&message->install_snapshot.conf);
        raft_free(message->install_snapshot.data.base);
    }
    free(letter);
}

static void
trace_letter(const struct sim_member *member, const struct raft_message *message)
{
    const struct raft_append_entries *args = &message->append_entries;
    const struct raft_append_entries_result *result = &message->append_entries_result;
    const struct raft_request_vote *vote = &message->request_vote;
    const struct raft_request_vote_result *voted = &message->request_vote_result;
    switch (message->type) {
    case RAFT_IO_APPEND_ENTRIES:
        sim_trace(member->sim, member, "<- %llu append t%llu %llu/%llu +%u commit %llu",
                  message->server_id, args->term, args->prev_log_index,
                  args->prev_log_term, args->n_entries, args->leader_commit);
        break;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        sim_trace(member->sim, member, "<- %llu appended t%llu last %llu rejected %llu",
                  message->server_id, result->term, result->last_log_index,
                  result->rejected);
        break;
    case RAFT_IO_REQUEST_VOTE:
        sim_trace(member->sim, member, "<- %llu %svote? t%llu last %llu/%llu%s",
                  message->server_id, vote->pre_vote ? "pre" : "", vote->term,
                  vote->last_log_index, vote->last_log_term,
                  vote->disrupt_leader ? " disrupt" : "");
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        sim_trace(member->sim, member, "<- %llu %s t%llu", message->server_id,
                  voted->vote_granted ? "yes" : "no", voted->term);
        break;
    default:
        sim_trace(member->sim, member, "<- %llu %s", message->server_id,
                  message->type == RAFT_IO_TIMEOUT_NOW ? "timeout now" : "snapshot");
        break;
    }
}

void
sim_net_arrive(struct sim_member *member, struct sim_letter *letter)
{
    struct sim *sim = member->sim;
    if (sim->cut[letter->from][letter->to]) {
        sim_letter_free(letter);
        return;
    }
    struct raft_message *message = &letter->message;
    message->server_id = sim->members[letter->from].id;
    message->server_address = sim->members[letter->from].address;
    if (sim->trace)
        trace_letter(member, message);
    member->recv(&member->io, message); /* which owns what hangs from it */
    free(letter);
}

/* ---- raft_io ---- */

static void
post(struct sim *sim, unsigned from, unsigned to, const struct raft_message *message)
{
    raft_time when = sim->now + 1 + sim_pick(sim, sim->delay_ms);
    if (sim_chance(sim, 2)) /* one that took another way */
        when += sim_pick(sim, 40 * sim->delay_ms);
    sim_push(sim, (struct sim_event){.when = when,
                                     .kind = SIM_ARRIVAL,
                                     .member = to,
                                     .letter = write_letter(from, to, message)});
}

static void
note_sent(struct sim_member *member, struct raft_io_send *req, int status)
{
    struct sim *sim = member->sim;
    struct sim_sent *sent = calloc(1, sizeof(*sent));
    if (!sent)
        abort();
    sent->req = req;
    sent->status = status;
    sent->when = sim->now + sim_pick(sim, 3);
    for (struct sim_sent *other = member->sents; other; other = other->next)
        if (sent->when < other->when)
            sent->when = other->when;
    *member->last_sent = sent;
    member->last_sent = &sent->next;
    sim_push(sim, (struct sim_event){.when = sent->when,
                                     .kind = SIM_SENT,
                                     .member = (unsigned)member->id - 1,
                                     .life = member->life});
}

static int
io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message,
        raft_io_send_cb cb)
{
    struct sim_member *member = io->impl;
    struct sim *sim = member->sim;
    unsigned from = (unsigned)member->id - 1, to = (unsigned)message->server_id - 1;
    bool cut = message->server_id == 0 || to >= SIM_MEMBERS_MAX || sim->cut[from][to];
    req->cb = cb;
    if (!member->up || (cut && sim_chance(sim, 30)))
        return RAFT_NOCONNECTION;
    if (cb)
        note_sent(member, req, cut && sim_chance(sim, 30) ? RAFT_NOCONNECTION : 0);
    if (cut || sim_chance(sim, sim->loss_percent))
        return 0;
    post(sim, from, to, message);
    if (sim_chance(sim, sim->twice_percent))
        post(sim, from, to, message);
    return 0;
}

static struct sim_sent *
take(struct sim_member *member)
{
    struct sim_sent *sent = member->sents;
    member->sents = sent->next;
    if (!member->sents)
        member->last_sent = &member->sents;
    return sent;
}

void
sim_net_sent(struct sim_member *member)
{
    struct sim_sent *sent = take(member);
    sent->req->cb(sent->req, sent->status);
    free(sent);
}

void
sim_net_close(struct sim_member *member)
{
    while (member->sents) {
        struct sim_sent *sent = take(member);
        sent->req->cb(sent->req, RAFT_CANCELED);
        free(sent);
    }
}

void
sim_net_init(struct sim_member *member)
{
    member->sents = NULL;
    member->last_sent = &member->sents;
    member->io.send = io_send;
}

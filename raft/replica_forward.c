/* Proposals and barriers from member to member.
 *
 *   asker                                     leader
 *     Ask: number, command or barrier ─────────>  waits, flies, is applied
 *     <─── AppendEntries up to index, empty ────  so that the asker need not wait for the
 *                                                 next heartbeat to apply it
 *     <──────────── Answer: number, index ──────
 *     answers once it has applied index itself
 *
 * An asker whose leader goes away asks the next one for a barrier, and says UNAVAILABLE
 * of a proposal: it may have been committed.
 */
#include "raft/replica_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    ASK_AGAIN_MS = HEARTBEAT_MS, /* after a leader that says it is none */
};

static bool
send_note(struct replica *replica, uint64_t to, const Forward__Note *note)
{
    size_t len = forward__note__get_packed_size(note);
    if (!replica->mesh || len > MESH_NOTE_MAX)
        return false;
    uint8_t *bytes = malloc(len);
    if (!bytes)
        io_die_of_memory(&replica->io);
    forward__note__pack(note, bytes);
    bool sent = mesh_note(replica->mesh, to, bytes, len);
    explicit_bzero(bytes, len);
    free(bytes);
    return sent;
}

/* ---- who asks ---- */

static void
asked_free(struct asked *asked)
{
    if (asked->answer)
        forward__answer__free_unpacked(asked->answer, &secret_allocator);
    free(asked);
}

/* Puts it behind the others; the requests are moved into it. */
static void
asked_add(struct replica *replica, uint64_t to, struct mesh_ways ways,
          struct request_list *requests)
{
    struct asked *asked = calloc(1, sizeof(*asked));
    if (!asked)
        io_die_of_memory(&replica->io);
    asked->number = ++replica->last_number;
    asked->to = to;
    asked->ways = ways;
    replica_list_init(&asked->requests);
    replica_list_append(&asked->requests, requests);
    *replica->asked_last = asked;
    replica->asked_last = &asked->next;
}

static uint32_t
time_left(const struct request *request)
{
    uint64_t now = replica_now();
    return request->deadline > now ? (uint32_t)(request->deadline - now) : 0;
}

/* False where nothing could be sent: the requests are left alone. */
static bool
ask(struct replica *replica, uint64_t leader, struct request_list *requests)
{
    const struct request *first = requests->first;
    const struct mesh_ways ways = mesh_ways(replica->mesh, leader);
    uint32_t timeout = 0;
    for (const struct request *r = first; r; r = r->next)
        if (time_left(r) > timeout)
            timeout = time_left(r);
    Forward__Ask what = FORWARD__ASK__INIT;
    what.number = replica->last_number + 1;
    what.timeout_ms = timeout;
    what.barrier = first->kind == REQUEST_BARRIER;
    what.command = (ProtobufCBinaryData){first->len, (uint8_t *)first->command};
    Forward__Note note = FORWARD__NOTE__INIT;
    note.what_case = FORWARD__NOTE__WHAT_ASK;
    note.ask = &what;
    if (!send_note(replica, leader, &note))
        return false;
    asked_add(replica, leader, ways, requests);
    return true;
}

/* A request of another member is his to take elsewhere. */
static void
refuse_others(struct replica *replica)
{
    struct request_list ours;
    struct request *request;
    struct st_err err = {0};
    replica_list_init(&ours);
    (void)st_fail(&err, ST_FAILED_PRECONDITION, "this member does not lead");
    while ((request = replica_list_pop(&replica->waiting))) {
        if (request->from)
            replica_request_end(request, &err, NULL);
        else
            replica_list_push(&ours, request);
    }
    replica_list_append(&replica->waiting, &ours);
}

void
replica_ask_leader(struct replica *replica)
{
    raft_id leader;
    const char *address;
    struct request_list barriers, one, stay;
    struct request *request;
    refuse_others(replica);
    raft_leader(&replica->raft, &leader, &address);
    if (!replica->mesh || !leader || !mesh_connected(replica->mesh, leader) ||
        !replica->waiting.first || replica_now() < replica->ask_after)
        return;
    replica_list_init(&barriers);
    replica_list_init(&one);
    replica_list_init(&stay);
    while ((request = replica_list_pop(&replica->waiting))) {
        if (request->kind == REQUEST_BARRIER) {
            replica_list_push(&barriers, request);
            continue;
        }
        replica_list_push(&one, request);
        if (!ask(replica, leader, &one))
            replica_list_append(&stay, &one);
    }
    if (barriers.first && !ask(replica, leader, &barriers))
        replica_list_append(&stay, &barriers);
    replica_list_append(&replica->waiting, &stay);
}

/* Nobody can say whether the question or the answer was on it. */
static bool
way_is_gone(const struct replica *replica, const struct asked *asked)
{
    const struct mesh_ways now = mesh_ways(replica->mesh, asked->to),
                           *then = &asked->ways;
    return (then->dialled && now.dialled != then->dialled) ||
           (then->accepted && now.accepted != then->accepted);
}

/* What becomes of it where the leader is gone, or never was one. */
static void
asked_lost(struct replica *replica, struct asked *asked, bool was_proposed)
{
    struct st_err err = {0};
    replica_unavailable(&err, "the leader went away, and the outcome is not known");
    if (was_proposed && asked->requests.first->kind == REQUEST_PROPOSE)
        replica_list_fail(&asked->requests, &err);
    else
        replica_list_append(&replica->waiting, &asked->requests);
}

static void
asked_finish(struct replica *replica, struct asked *asked)
{
    const Forward__Answer *answer = asked->answer;
    struct st_err err = {0};
    struct request *request;
    enum st_code code =
        answer->code > ST_UNAUTHENTICATED ? ST_UNKNOWN : (enum st_code)answer->code;
    if (code) {
        (void)st_fail_for(&err, code, ST_REASON_NO_QUORUM, "%s", answer->text);
        replica_list_fail(&asked->requests, &err);
        return;
    }
    replica->result->len = answer->result.len;
    if (answer->result.len)
        memcpy(replica->result->bytes, answer->result.data, answer->result.len);
    while ((request = replica_list_pop(&asked->requests)))
        replica_request_end(request, &err,
                            request->kind == REQUEST_PROPOSE ? replica->result : NULL);
}

/* True where nothing more is to be waited for. */
static bool
asked_settle(struct replica *replica, struct asked *asked, raft_id leader)
{
    const Forward__Answer *answer = asked->answer;
    struct st_err err = {0};
    if (answer && answer->code == ST_FAILED_PRECONDITION) {
        replica->ask_after = replica_now() + ASK_AGAIN_MS;
        asked_lost(replica, asked, false);
        return true;
    }
    if (answer && (answer->code || answer->index <= replica->raft.last_applied)) {
        asked_finish(replica, asked);
        return true;
    }
    /* An answered one needs nobody any more but its index. */
    if (!answer && (asked->to != leader || way_is_gone(replica, asked))) {
        asked_lost(replica, asked, true);
        return true;
    }
    replica_unavailable(
        &err, "the leader did not answer in time, and the outcome is not known");
    return !replica_list_give_up(&asked->requests, replica_now(), &err);
}

static void
asked_each(struct replica *replica,
           bool (*ended)(struct replica *replica, struct asked *asked, void *arg),
           void *arg)
{
    struct asked **at = &replica->asked;
    while (*at) {
        struct asked *asked = *at;
        if (!ended(replica, asked, arg)) {
            at = &asked->next;
            continue;
        }
        *at = asked->next;
        const struct st_err none = {0}; /* the ones given up */
        replica_list_fail(&asked->requests, &none);
        asked_free(asked);
    }
    replica->asked_last = at;
}

static bool
settle_one(struct replica *replica, struct asked *asked, void *arg)
{
    return asked_settle(replica, asked, *(const raft_id *)arg);
}

void
replica_settle_asked(struct replica *replica)
{
    raft_id leader;
    const char *address;
    if (!replica->asked)
        return;
    raft_leader(&replica->raft, &leader, &address);
    asked_each(replica, settle_one, &leader);
}

static bool
fail_one(struct replica *replica, struct asked *asked, void *arg)
{
    (void)replica;
    replica_list_fail(&asked->requests, arg);
    return true;
}

void
replica_fail_asked(struct replica *replica, const struct st_err *err)
{
    struct st_err copy = *err;
    asked_each(replica, fail_one, &copy);
}

/* An answer to nothing is one that came too late. */
static void
on_answer(struct replica *replica, uint64_t from, Forward__Note *note)
{
    for (struct asked *asked = replica->asked; asked; asked = asked->next) {
        if (asked->number != note->answer->number || asked->to != from || asked->answer ||
            note->answer->result.len > REPLICA_RESULT_MAX)
            continue;
        asked->answer = TAKE(note->answer);
        note->what_case = FORWARD__NOTE__WHAT__NOT_SET;
        return;
    }
}

/* ---- who is asked ---- */

struct question {
    struct replica *replica;
    uint64_t from;
    uint64_t number;
};

/* NULL: of no member.  There are as many places as members; that of one that was removed
 * is taken over. */
static struct peer *
peer_of(struct replica *replica, uint64_t id)
{
    struct peer *free_place = NULL;
    if (!replica_server(&replica->raft, id))
        return NULL;
    if (replica->peers_term != replica->raft.current_term) {
        replica->peers_term = replica->raft.current_term;
        memset(replica->peers, 0, sizeof(replica->peers));
    }
    for (int i = 0; i < PEERS_MAX; i++) {
        if (replica->peers[i].id == id)
            return &replica->peers[i];
        if (!replica_server(&replica->raft, replica->peers[i].id))
            free_place = &replica->peers[i];
    }
    if (free_place)
        *free_place = (struct peer){.id = id};
    return free_place;
}

/* index is applied here in the term that we lead in, and stored there in it: an empty
 * AppendEntries behind it, as a heartbeat might be. */
static void
tell_commit(struct replica *replica, uint64_t to, uint64_t index)
{
    const struct raft *raft = &replica->raft;
    const struct raft_server *server = replica_server(raft, to);
    struct raft_io_send no_callback = {0};
    if (!server)
        return;
    const struct raft_message message = {
        .type = RAFT_IO_APPEND_ENTRIES,
        .server_id = to,
        .server_address = server->address,
        .append_entries = {.term = raft->current_term,
                           .prev_log_index = index,
                           .prev_log_term = raft->current_term,
                           .leader_commit = index},
    };
    replica->io.link.send(replica->io.link.self, &no_callback, &message);
}

static void
tell_commit_when_stored(struct replica *replica, uint64_t to)
{
    struct peer *peer = peer_of(replica, to);
    if (!peer || raft_state(&replica->raft) != RAFT_LEADER ||
        replica->answering_term != replica->raft.current_term)
        return;
    if (peer->stored >= replica->answering)
        tell_commit(replica, to, replica->answering);
    else
        peer->owed = replica->answering;
}

static void
send_answer(struct replica *replica, uint64_t to, uint64_t number,
            const struct st_err *err, const struct replica_result *result)
{
    Forward__Answer answer = FORWARD__ANSWER__INIT;
    answer.number = number;
    answer.code = err->code;
    answer.text = (char *)err->text;
    answer.index = err->code ? 0 : replica->answering;
    if (!err->code && result)
        answer.result = (ProtobufCBinaryData){result->len, (uint8_t *)result->bytes};
    Forward__Note note = FORWARD__NOTE__INIT;
    note.what_case = FORWARD__NOTE__WHAT_ANSWER;
    note.answer = &answer;
    send_note(replica, to, &note); /* where it is lost, he asks again or gives up */
}

static void
question_done(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct question question = *(struct question *)arg;
    free(arg);
    if (!err->code)
        tell_commit_when_stored(question.replica, question.from);
    send_answer(question.replica, question.from, question.number, err, result);
}

static void
on_ask(struct replica *replica, uint64_t from, const Forward__Ask *ask)
{
    struct st_err err = {0};
    if (raft_state(&replica->raft) != RAFT_LEADER || replica->ending ||
        !replica_server(&replica->raft, from) || ask->command.len > REPLICA_COMMAND_MAX) {
        if (st_fail(&err, ST_FAILED_PRECONDITION, "this member does not lead"))
            send_answer(replica, from, ask->number, &err, NULL);
        return;
    }
    struct question *question = malloc(sizeof(*question));
    struct request *request = replica_request_new(
        ask->barrier ? REQUEST_BARRIER : REQUEST_PROPOSE, ask->command.data,
        ask->command.len, ask->timeout_ms, question_done, question);
    if (!question || !request)
        io_die_of_memory(&replica->io);
    *question = (struct question){replica, from, ask->number};
    request->from = from;
    replica_list_push(&replica->waiting, request);
}

/* ---- what the mesh brings ---- */

void
replica_on_note(void *arg, uint64_t from, const void *bytes, size_t len)
{
    struct replica *replica = arg;
    Forward__Note *note = forward__note__unpack(&secret_allocator, len, bytes);
    if (!note)
        return;
    switch (note->what_case) {
    case FORWARD__NOTE__WHAT_ASK:
        on_ask(replica, from, note->ask);
        break;
    case FORWARD__NOTE__WHAT_ANSWER:
        on_answer(replica, from, note);
        break;
    case FORWARD__NOTE__WHAT__NOT_SET:
    case _FORWARD__NOTE__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    forward__note__free_unpacked(note, &secret_allocator);
    replica_pump(replica);
}

/* Before libraft sees it: who is alive, and how far. */
static void
hear(struct replica *replica, uint64_t from, const struct raft_message *message)
{
    const struct raft *raft = &replica->raft;
    const struct raft_append_entries_result *result = &message->append_entries_result;
    struct peer *peer = peer_of(replica, from);
    if (!peer || message->type != RAFT_IO_APPEND_ENTRIES_RESULT ||
        raft_state(&replica->raft) != RAFT_LEADER || result->term != raft->current_term)
        return;
    peer->heard = replica_now();
    if (result->rejected == 0 && result->last_log_index > peer->stored)
        peer->stored = result->last_log_index;
}

void
replica_on_message(void *arg, uint64_t from, struct raft_message *message)
{
    struct replica *replica = arg;
    hear(replica, from, message);
    io_receive(&replica->io, message);
    struct peer *peer = peer_of(replica, from);
    if (!peer || !peer->owed || peer->stored < peer->owed ||
        raft_state(&replica->raft) != RAFT_LEADER)
        return;
    tell_commit(replica, from, peer->owed);
    peer->owed = 0;
}

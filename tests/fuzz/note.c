/* Notes of another member: proposals and barriers that it forwards, and answers to what
 * was forwarded to it.  First byte: whether this member leads; then one piece for each
 * note.
 *
 * What replica_forward.c stands on (libraft, the mesh, the pump) is here. */
#include "raft/replica_internal.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum {
    OTHER = 2,
    ASKED = 3
};

static unsigned answered, asked_for;

/* ---- below ---- */

bool
mesh_connected(const struct mesh *mesh, uint64_t id)
{
    (void)mesh;
    return id == OTHER;
}

struct mesh_ways
mesh_ways(const struct mesh *mesh, uint64_t id)
{
    (void)mesh;
    return (struct mesh_ways){id == OTHER ? 1 : 0, 0};
}

/* What is sent can be read. */
bool
mesh_note(struct mesh *mesh, uint64_t to, const void *bytes, size_t len)
{
    (void)mesh;
    FUZZ_HOLDS(to == OTHER && len <= MESH_NOTE_MAX);
    Forward__Note *note = forward__note__unpack(NULL, len, bytes);
    FUZZ_HOLDS(note);
    forward__note__free_unpacked(note, NULL);
    return true;
}

void
io_die_of_memory(struct io *io)
{
    (void)io;
    abort();
}

void
io_receive(struct io *io, struct raft_message *message)
{
    (void)io;
    (void)message;
}

const struct raft_server *
replica_server(const struct raft *raft, uint64_t id)
{
    static struct raft_server other = {.id = OTHER, .address = (char *)"192.0.2.2:7834"};
    (void)raft;
    return id == OTHER ? &other : NULL;
}

static int
no_link(void *self, struct raft_io_send *req, const struct raft_message *message)
{
    (void)self;
    (void)req;
    FUZZ_HOLDS(message->server_id == OTHER);
    return 0;
}

/* As the real one; a request that is carried out is answered at once. */
void
replica_pump(struct replica *replica)
{
    const struct st_err ok = {0};
    struct request *request;
    replica_settle_asked(replica);
    if (raft_state(&replica->raft) != RAFT_LEADER) {
        replica_ask_leader(replica);
        return;
    }
    while ((request = replica_list_pop(&replica->waiting))) {
        FUZZ_HOLDS(request->len <= REPLICA_COMMAND_MAX && request->from == OTHER);
        replica->result->len = request->len < 100 ? request->len : 100;
        memcpy(replica->result->bytes, request->command, replica->result->len);
        replica_request_end(request, &ok, replica->result);
    }
}

/* ---- who waits ---- */

static void
done(void *arg, const struct st_err *err, const struct replica_result *result)
{
    (void)arg;
    FUZZ_HOLDS(err->code || !result || result->len <= REPLICA_RESULT_MAX);
    answered++;
}

static void
wait_for_leader(struct replica *replica)
{
    for (int i = 0; i < ASKED; i++) {
        struct request *request =
            replica_request_new(i == 0 ? REQUEST_BARRIER : REQUEST_PROPOSE, "command", 7,
                                1000000, done, NULL);
        FUZZ_HOLDS(request);
        replica_list_push(&replica->waiting, request);
    }
    asked_for = ASKED;
}

static void
begin(struct replica *replica, bool leads)
{
    static struct replica_result result;
    memset(replica, 0, sizeof(*replica));
    replica_list_init(&replica->waiting);
    replica->asked_last = &replica->asked;
    replica->mesh = (struct mesh *)replica; /* one that is only compared with NULL */
    replica->result = &result;
    replica->io.link.send = no_link;
    replica->raft.current_term = 5;
    replica->raft.last_applied = 10;
    replica->answering = 10;
    replica->answering_term = 5;
    replica->raft.state = leads ? RAFT_LEADER : RAFT_FOLLOWER;
    answered = asked_for = 0;
    if (leads)
        return;
    replica->raft.follower_state.current_leader.id = OTHER;
    replica->raft.follower_state.current_leader.address = (char *)"192.0.2.2:7834";
    wait_for_leader(replica);
    replica_pump(replica);
}

/* Everybody who waited was told something, once. */
static void
end(struct replica *replica)
{
    struct st_err err = {0};
    (void)!st_fail(&err, ST_UNAVAILABLE, "the end");
    replica_fail_asked(replica, &err);
    replica_list_fail(&replica->waiting, &err);
    FUZZ_HOLDS(answered == asked_for);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct replica replica;
    struct fuzz_input input = {bytes, len};
    begin(&replica, fuzz_take_byte(&input) & 1);
    while (input.left > 0) {
        FUZZ_PIECE note = fuzz_take(&input);
        replica_on_note(&replica, OTHER, note.bytes, note.len);
    }
    end(&replica);
    return 0;
}

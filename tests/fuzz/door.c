#include "tests/fuzz/door.h"

#include "proto/event.h"
#include "proto/rpc_wire.h"
#include "raft/replica.h"

#include <stdarg.h>
#include <string.h>
#include <sys/random.h>

/* ---- randomness and the log ---- */

static unsigned randoms;

ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags);
ssize_t
__wrap_getrandom(void *out, size_t len, unsigned flags)
{
    (void)flags;
    memset(out, (int)(randoms++ & 0xff), len);
    return (ssize_t)len;
}

/* The line is made, and goes nowhere. */
void
event(const char *word, const char *format, ...)
{
    char line[1000];
    va_list args;
    FUZZ_HOLDS(*word);
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
}

/* ---- the replica ---- */

void
replica_change_put(struct replica_change *change, const void *key, size_t key_len,
                   const void *value, size_t len)
{
    (void)change;
    (void)key;
    (void)value;
    FUZZ_HOLDS(key_len > 0 && key_len <= REPLICA_KEY_MAX && len > 0);
}

void
replica_change_delete(struct replica_change *change, const void *key, size_t key_len)
{
    (void)change;
    (void)key;
    FUZZ_HOLDS(key_len > 0);
}

static void
apply(struct door *door, const void *command, size_t len, struct replica_result *out)
{
    out->len = 0;
    door->machine.apply(door->machine.self, ++door->index, command, len, NULL, out);
}

/* What was asked and is not answered yet. */
struct question {
    struct fuzz_piece command;
    bool is_barrier;
    replica_done done;
    void *arg;
};
enum {
    QUESTIONS_MAX = 4
};
static struct question questions[QUESTIONS_MAX];
static size_t question_count;

static void
ask(struct question question)
{
    FUZZ_HOLDS(question_count < QUESTIONS_MAX);
    questions[question_count++] = question;
}

void
replica_propose(struct replica *replica, const void *command, size_t len,
                uint32_t timeout_ms, replica_done done, void *arg)
{
    (void)replica;
    FUZZ_HOLDS(len > 0 && len <= REPLICA_COMMAND_MAX && timeout_ms > 0);
    struct question question = {{malloc(len), len}, false, done, arg};
    FUZZ_HOLDS(question.command.bytes);
    memcpy(question.command.bytes, command, len);
    ask(question);
}

void
replica_barrier(struct replica *replica, uint32_t timeout_ms, replica_done done,
                void *arg)
{
    (void)replica;
    FUZZ_HOLDS(timeout_ms > 0);
    ask((struct question){{NULL, 0}, true, done, arg});
}

/* Answers, and what is asked from inside an answer, too. */
static void
settle(struct door *door)
{
    static struct replica_result result;
    const struct st_err ok = {0};
    while (question_count > 0) {
        const struct question question = questions[--question_count];
        FUZZ_PIECE command = question.command;
        if (!question.is_barrier)
            apply(door, command.bytes, command.len, &result);
        question.done(question.arg, &ok, question.is_barrier ? NULL : &result);
    }
}

/* Flows never wait. */
enum st_code
replica_propose_wait(struct replica *replica, const void *command, size_t len,
                     uint32_t timeout_ms, struct replica_result *result,
                     struct st_err *err)
{
    (void)replica;
    (void)command;
    (void)len;
    (void)timeout_ms;
    (void)result;
    (void)err;
    abort();
}

/* ---- a call ---- */

struct rpc_call {
    struct door *door;
    const struct rpc_method *method;
    void *state;
    unsigned held;
    bool finished;
};

void *
rpc_call_context(const struct rpc_call *call)
{
    return &call->door->nms;
}

void *
rpc_call_state(struct rpc_call *call)
{
    return call->state;
}

const char *
rpc_call_peer(const struct rpc_call *call)
{
    (void)call;
    return "192.0.2.9:40000";
}

struct rpc_call *
rpc_call_hold(struct rpc_call *call)
{
    call->held++;
    return call;
}

void
rpc_call_release(struct rpc_call *call)
{
    FUZZ_HOLDS(call->held > 0);
    call->held--;
}

/* There is no crowd. */
void
rpc_call_vouch(struct rpc_call *call)
{
    (void)call;
}

/* Packed, so that every byte of it is read. */
void
rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    const size_t len = protobuf_c_message_get_packed_size(message);
    FUZZ_PIECE packed = {malloc(len ? len : 1), len};
    FUZZ_HOLDS(packed.bytes && message->descriptor == call->method->out);
    FUZZ_HOLDS(protobuf_c_message_pack(message, packed.bytes) == len);
}

void
rpc_call_finish(struct rpc_call *call, const struct st_err *err)
{
    /* A stranger is told a code and one word. */
    FUZZ_HOLDS(!err || !err->code || !strchr(err->text, ' '));
    call->finished = true;
}

void
rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
    rpc_call_send(call, message);
    rpc_call_finish(call, NULL);
}

static void
call_begin(struct rpc_call *call, struct door *door, const struct rpc_method *method)
{
    *call = (struct rpc_call){.door = door, .method = method};
    call->state = calloc(1, method->state_size ? method->state_size : 1);
    FUZZ_HOLDS(call->state);
    method->handle(call, RPC_OPEN, NULL);
}

/* What does not unpack ends a call before its handler hears of it. */
static void
call_message(struct rpc_call *call, const struct fuzz_piece *bytes)
{
    const ProtobufCMessageDescriptor *type = call->method->in;
    ProtobufCMessage *message = NULL;
    if (call->finished)
        return;
    if (!rpc_text_check(type, bytes->bytes, bytes->len, NULL))
        message =
            protobuf_c_message_unpack(type, &secret_allocator, bytes->len, bytes->bytes);
    if (!message) {
        call->finished = true;
        return;
    }
    call->method->handle(call, RPC_MESSAGE, message);
    protobuf_c_message_free_unpacked(message, &secret_allocator);
}

/* The client may be gone before the replica answers: whoever holds the call may go on
 * with it. */
static void
call_end(struct rpc_call *call, bool said_all)
{
    if (said_all && !call->finished)
        call->method->handle(call, RPC_HALF_CLOSED, NULL);
    call->method->handle(call, RPC_DONE, NULL);
    settle(call->door);
    FUZZ_HOLDS(call->held == 0);
    FUZZ_HOLDS(call->finished || !said_all || !call->method->streaming);
    if (call->method->wipe)
        call->method->wipe(call->state);
    free(call->state);
}

void
door_run(struct door *door, const struct rpc_method *method, bool late,
         struct fuzz_input *input)
{
    struct rpc_call call;
    call_begin(&call, door, method);
    while (input->left > 0) {
        FUZZ_PIECE message = fuzz_take(input);
        if (message.len > 0) {
            call_message(&call, &message);
            if (!late)
                settle(door);
            if (method->streaming)
                continue;
        }
        call_end(&call, true);
        call_begin(&call, door, method);
    }
    call_end(&call, false);
}

/* ---- the cluster ---- */

enum st_code
door_apply(struct door *door, State__Command *command, struct st_err *err)
{
    static struct replica_result result;
    uint8_t id[REQUEST_ID_LEN] = {0xff}, packed[8192];
    memcpy(id + 1, &door->index, sizeof(door->index));
    command->request_id = (ProtobufCBinaryData){sizeof(id), id};
    command->time = nms_now();
    FUZZ_HOLDS(state__command__get_packed_size(command) <= sizeof(packed));
    apply(door, packed, state__command__pack(command, packed), &result);
    return state_result(&result, err);
}

void
door_open(struct door *door)
{
    static struct cert masters;
    struct st_err err = {0};
    memset(door, 0, sizeof(*door));
    struct secret *seed = &door->nms.masters_seed;
    seed->len = ED25519_SEED_LEN;
    memset(seed->bytes, FUZZ_SEED, seed->len);
    if (masters.len == 0)
        FUZZ_HOLDS(!cert_self_sign(seed, DOOR_MASTERS, &masters, &err));
    door->nms.masters_cert = masters;
    FUZZ_HOLDS(!state_new(&door->nms.state, &err));
    door->machine = state_machine(door->nms.state);
    door->machine.reset(door->machine.self);
    door_found(door);
    randoms = DOOR_FIRST_RANDOM;
}

void
door_close(struct door *door)
{
    state_free(door->nms.state);
}

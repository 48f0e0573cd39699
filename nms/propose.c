/* Proposals and barriers, asked again while nobody leads.  Between two leaders every
 * master says UNAVAILABLE for a moment; whoever waits here does not hear of it, as long
 * as the moment ends within NMS_COMMIT_MS.  A proposal keeps its request id, so that the
 * second one changes nothing where the first one arrived after all.  Where nothing can
 * have been done the failure says so (ST_REASON_NO_LEADER). */
#include "nms/later.h"
#include "nms/nms.h"
#include "proto/clock.h"
#include "proto/secret.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PAUSE_MS = 125, /* give or take half */
};

int64_t
nms_now(void)
{
    return (int64_t)time(NULL);
}

struct asking {
    struct nms *nms;
    nms_done done;
    void *arg;
    int64_t until_ms;
    struct later_call again;
    struct st_err said; /* why it is asked again */
    bool maybe_done;    /* the outcome of a try is not known */
    size_t len;
    uint8_t *packed; /* from secret_allocator; NULL: a barrier */
};

static void ask(struct asking *asking);

static void
asking_end(struct asking *asking, const struct st_err *err)
{
    const struct asking ended = *asking;
    const struct st_err outcome = *err; /* maybe asking->said */
    secret_allocator.free(NULL, asking->packed);
    free(asking);
    ended.done(ended.arg, &outcome);
}

static void
ask_again(void *arg, bool stopping)
{
    struct asking *asking = arg;
    if (stopping)
        asking_end(asking, &asking->said);
    else
        ask(asking);
}

/* Of several tries the one counts whose outcome is not known.  What only reads changes
 * nothing. */
static void
note_failure(struct asking *asking, const struct st_err *err)
{
    if (!asking->maybe_done)
        asking->said = *err;
    if (!asking->packed)
        asking->said.reason = ST_REASON_NO_LEADER;
    else if (err->reason != ST_REASON_NO_LEADER)
        asking->maybe_done = true;
}

static void
answered(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct asking *asking = arg;
    struct st_err outcome = *err;
    const uint32_t pause = later_jitter(PAUSE_MS);
    if (err->code == ST_UNAVAILABLE) {
        note_failure(asking, err);
        if (clock_ms() + pause < asking->until_ms &&
            later_in(asking->nms->later, pause, &asking->again, ask_again, asking))
            return;
        outcome = asking->said;
    }
    if (!err->code && asking->packed && !state_result(result, &outcome))
        outcome.code = ST_OK;
    asking_end(asking, &outcome);
}

static void
ask(struct asking *asking)
{
    struct replica *replica = asking->nms->replica;
    const int64_t left = asking->until_ms - clock_ms();
    const uint32_t timeout_ms = left > 1 ? (uint32_t)left : 1;
    if (asking->packed)
        replica_propose(replica, asking->packed, asking->len, timeout_ms, answered,
                        asking);
    else
        replica_barrier(replica, timeout_ms, answered, asking);
}

static struct asking *
asking_new(struct nms *nms, nms_done done, void *arg)
{
    struct asking *asking = calloc(1, sizeof(*asking));
    if (!asking)
        return NULL;
    asking->nms = nms;
    asking->done = done;
    asking->arg = arg;
    asking->until_ms = clock_ms() + NMS_COMMIT_MS;
    return asking;
}

/* Request id and time, then the bytes; ST_RESOURCE_EXHAUSTED where there is no room for
 * them. */
static enum st_code
command_pack(State__Command *command, uint8_t **out, size_t *out_len, struct st_err *err)
{
    SECRET request_id = {0};
    enum st_code code;
    if (command->request_id.len == 0) {
        if ((code = secret_random(&request_id, REQUEST_ID_LEN, err)))
            return code;
        command->request_id.data = request_id.bytes;
        command->request_id.len = REQUEST_ID_LEN;
    }
    command->time = nms_now();
    const size_t len = state__command__get_packed_size(command);
    uint8_t *packed =
        len <= REPLICA_COMMAND_MAX ? secret_allocator.alloc(NULL, len) : NULL;
    if (packed)
        state__command__pack(command, packed);
    if (request_id.len > 0)
        command->request_id.len = 0; /* what it pointed to ends here */
    if (!packed)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                           "no room for a command of %zu bytes", len);
    *out = packed;
    *out_len = len;
    return ST_OK;
}

void
nms_propose(struct nms *nms, State__Command *command, nms_done done, void *arg)
{
    struct st_err err = {0};
    struct asking *asking = asking_new(nms, done, arg);
    if (!asking) {
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory for a command");
        done(arg, &err);
    } else if (command_pack(command, &asking->packed, &asking->len, &err)) {
        asking_end(asking, &err);
    } else {
        ask(asking);
    }
}

enum st_code
nms_propose_wait(struct nms *nms, State__Command *command, uint32_t timeout_ms,
                 struct st_err *err)
{
    struct replica_result result;
    uint8_t *packed;
    size_t len;
    enum st_code code = command_pack(command, &packed, &len, err);
    if (code)
        return code;
    code = replica_propose_wait(nms->replica, packed, len, timeout_ms, &result, err);
    secret_allocator.free(NULL, packed);
    return code ? code : state_result(&result, err);
}

void
nms_barrier(struct nms *nms, nms_done done, void *arg)
{
    struct st_err err = {0};
    struct asking *asking = asking_new(nms, done, arg);
    if (asking) {
        ask(asking);
    } else {
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory for a question");
        done(arg, &err);
    }
}

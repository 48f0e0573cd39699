#include "nms/nms.h"
#include "proto/secret.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t
nms_now(void)
{
    return (int64_t)time(NULL);
}

struct proposal {
    nms_done done;
    void *arg;
};

static void
proposed(void *arg, const struct st_err *err, const struct replica_result *result)
{
    struct proposal proposal = *(struct proposal *)arg;
    struct st_err outcome = *err;
    free(arg);
    if (!err->code && !state_result(result, &outcome))
        outcome.code = ST_OK;
    proposal.done(proposal.arg, &outcome);
}

void
nms_propose(struct nms *nms, State__Command *command, nms_done done, void *arg)
{
    SECRET request_id = {0};
    struct st_err err = {0};
    if (command->request_id.len == 0) {
        if (secret_random(&request_id, REQUEST_ID_LEN, &err)) {
            done(arg, &err);
            return;
        }
        command->request_id.data = request_id.bytes;
        command->request_id.len = REQUEST_ID_LEN;
    }
    command->time = nms_now();

    const size_t len = state__command__get_packed_size(command);
    struct proposal *proposal = malloc(sizeof(*proposal));
    uint8_t *packed = secret_allocator.alloc(NULL, len);
    if (!proposal || !packed || len > REPLICA_COMMAND_MAX) {
        free(proposal);
        free(packed);
        (void)st_fail_for(&err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                          "no room for a command of %zu bytes", len);
        done(arg, &err);
        return;
    }
    *proposal = (struct proposal){done, arg};
    state__command__pack(command, packed);
    replica_propose(nms->replica, packed, len, NMS_COMMIT_MS, proposed, proposal);
    secret_allocator.free(NULL, packed);
}

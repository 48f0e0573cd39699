#include "nms/nms.h"

/* One word for each code that a flow on 7833 may end with. */
static enum st_reason
reason_of(const struct st_err *err)
{
    switch (err->code) {
    case ST_INVALID_ARGUMENT:
        return ST_REASON_MALFORMED;
    case ST_PERMISSION_DENIED:
        return ST_REASON_REFUSED;
    case ST_ALREADY_EXISTS:
        return ST_REASON_EXISTS;
    case ST_RESOURCE_EXHAUSTED:
        return ST_REASON_BUSY;
    case ST_UNAVAILABLE:
        return err->reason == ST_REASON_CLOCK ? err->reason : ST_REASON_NO_QUORUM;
    case ST_FAILED_PRECONDITION:
        return err->reason;
    default:
        return ST_REASON_NONE;
    }
}

void
stranger_finish(struct rpc_call *call, const struct st_err *err)
{
    struct st_err told = {0};
    if (!err->code) {
        rpc_call_finish(call, NULL);
        return;
    }
    const enum st_reason reason = reason_of(err);
    const char *word = st_reason_word(reason);
    (void)st_fail_for(&told, err->code, reason, "%s", *word ? word : "failed");
    if (err->code == ST_UNAVAILABLE || err->code == ST_RESOURCE_EXHAUSTED)
        told.retry_ms = NMS_RETRY_MS;
    rpc_call_finish(call, &told);
}

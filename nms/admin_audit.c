/* ListAudit: what this master decided, from its own disk. */
#include "nms/admin_pending.h"
#include "proto/scope.h"

#include <stdlib.h>
#include <string.h>

static void
line_fill(Api__AuditLine *out, struct audit_line *line)
{
    api__audit_line__init(out);
    out->number = line->number;
    out->time_ms = line->time_ms;
    out->what = line->what;
    out->subject = line->subject;
    out->member = line->member;
    out->admin = line->admin;
    out->peer = line->peer;
    if (line->has_ek)
        out->ek_sha256 = (ProtobufCBinaryData){SHA256_LEN, line->ek};
    out->policy = line->policy;
    out->more = line->more;
    out->step = line->step;
    out->approved = line->approved;
    out->decision = (char *)st_code_name(line->decision);
    out->reason = line->reason;
}

static void
lines_send(const struct admin_pending *pending, const struct audit_answer *answer)
{
    const size_t count = answer->count;
    AUTO(st_freep) Api__AuditLine *lines = calloc(count + 1, sizeof(*lines));
    AUTO(st_freep) Api__AuditLine **list = calloc(count + 1, sizeof(*list));
    Api__ListAuditResponse response = API__LIST_AUDIT_RESPONSE__INIT;
    struct st_err err = {0};
    if (!lines || !list) {
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory for the audit");
        rpc_call_finish(pending->call, &err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        line_fill(&lines[i], &answer->lines[i]);
        list[i] = &lines[i];
    }
    response.lines = list;
    response.n_lines = count;
    response.next = answer->next;
    response.more = answer->more;
    response.member_id = pending->nms->member_id;
    rpc_call_reply(pending->call, &response.base);
}

static void
read_done(void *arg, const struct audit_answer *answer, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    if (err->code)
        rpc_call_finish(pending->call, err);
    else
        lines_send(pending, answer);
}

void
admin_handle_list_audit(struct rpc_call *call, enum rpc_event what,
                        const ProtobufCMessage *message)
{
    const Api__ListAuditRequest *request = (const Api__ListAuditRequest *)message;
    struct audit_query query = {.after = 0};
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (strlen(request->node_id) >= sizeof(query.node)) {
        (void)st_fail_for(&err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                          "that is too long for a node's id");
        rpc_call_finish(call, &err);
        return;
    }
    strcpy(query.node, request->node_id);
    query.after = request->after;
    query.lines = request->lines;
    struct admin_pending *pending = admin_pending_new(call, "");
    if (pending)
        audit_read(pending->nms->audit, &query, read_done, pending);
}

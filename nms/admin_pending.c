/* A call of an administrator that waits: for a commit, a barrier, a master. */
#include "nms/admin_pending.h"
#include "proto/cert.h"
#include "proto/mutant.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct admin_pending *
admin_pending_new(struct rpc_call *call, const char *name)
{
    size_t len;
    struct admin_pending *pending = calloc(1, sizeof(*pending));
    if (!pending) {
        struct st_err err = {0};
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory");
        rpc_call_finish(call, &err);
        return NULL;
    }
    pending->nms = rpc_call_context(call);
    pending->call = rpc_call_hold(call);
    strncpy(pending->name, name, sizeof(pending->name) - 1);
    const void *cert = rpc_call_client_cert(call, &len);
    cert_fingerprint(cert, len, pending->fingerprint);
    return pending;
}

void
admin_pending_free(struct admin_pending *pending)
{
    secret_wipe(&pending->secret);
    rpc_call_release(pending->call);
    free(pending->text);
    free(pending);
}

struct admin_pending *
admin_pending_node(struct rpc_call *call, const char *node_id)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    struct admin_pending *pending = admin_pending_new(call, node_id);
    if (!pending || state_node(pending->nms->state, node_id, &node, NULL))
        return pending;
    pending->has_ek = true;
    sha256_of(node->ek_pubkey.data, node->ek_pubkey.len, pending->ek);
    return pending;
}

struct admin_pending *
admin_pending_named(struct rpc_call *call, const char *what, const char *name)
{
    struct st_err err = {0};
    if (!name_check(what, name, &err))
        return admin_pending_new(call, name);
    rpc_call_finish(call, &err);
    return NULL;
}

struct admin_pending *
admin_pending_digest(struct rpc_call *call, const uint8_t sha256[SHA256_LEN])
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(sha256, hex);
    hex[32] = 0;
    struct admin_pending *pending = admin_pending_new(call, hex);
    if (pending)
        memcpy(pending->sha256, sha256, SHA256_LEN);
    return pending;
}

void
admin_propose(struct admin_pending *pending, State__Command *command, nms_done done)
{
    command->by = (ProtobufCBinaryData){SHA256_LEN, pending->fingerprint};
    nms_propose(pending->nms, command, done, pending);
}

static void
barrier_passed(void *arg, const struct st_err *barrier)
{
    struct admin_pending *pending = arg;
    struct st_err why = {0};
    const bool lost = !barrier->code && admin_call_check(pending->call, &why);
    pending->heard(pending, REFUSES(0x5004, lost) ? &why : barrier);
}

void
admin_barrier(struct admin_pending *pending, nms_done done)
{
    pending->heard = done;
    nms_barrier(pending->nms, barrier_passed, pending);
}

void
admin_say(const struct admin_pending *pending, const char *word, const struct st_err *err)
{
    struct audit_line line;
    audit_line_fill(&line, word, pending->name, rpc_call_peer(pending->call), err);
    audit_line_admin(&line, pending->fingerprint);
    snprintf(line.step, sizeof(line.step), "%s", pending->step);
    line.has_ek = pending->has_ek;
    memcpy(line.ek, pending->ek, SHA256_LEN);
    nms_decided(pending->nms, AUDIT_CHANGE, &line);
}

void
admin_answer(const struct admin_pending *pending, const char *word,
             const struct st_err *err, const ProtobufCMessage *response)
{
    admin_say(pending, word, err);
    if (err->code)
        rpc_call_finish(pending->call, err);
    else
        rpc_call_reply(pending->call, response);
}

void
admin_list(struct rpc_call *call, enum rpc_event what, nms_done done)
{
    if (what != RPC_MESSAGE)
        return;
    struct admin_pending *pending = admin_pending_new(call, "");
    if (pending)
        admin_barrier(pending, done);
}

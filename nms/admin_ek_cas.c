/* AddEkCa, ListEkCas, RemoveEkCa. */
#include "nms/admin_pending.h"
#include "proto/scope.h"

#include <stdlib.h>
#include <string.h>

static void
added(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    Api__AddEkCaResponse response = API__ADD_EK_CA_RESPONSE__INIT;
    Api__EkCa ca = API__EK_CA__INIT;
    ca.sha256 = (ProtobufCBinaryData){SHA256_LEN, pending->sha256};
    ca.name = pending->text;
    response.ca = &ca;
    admin_answer(pending, "add-ek-ca", err, &response.base);
}

void
admin_handle_add_ek_ca(struct rpc_call *call, enum rpc_event what,
                       const ProtobufCMessage *message)
{
    const Api__AddEkCaRequest *request = (const Api__AddEkCaRequest *)message;
    uint8_t sha256[SHA256_LEN];
    char name[TPM_CA_NAME_MAX];
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (tpm_ek_ca_check(request->cert.data, request->cert.len, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    cert_fingerprint(request->cert.data, request->cert.len, sha256);
    tpm_ek_ca_name(request->cert.data, request->cert.len, name);
    struct admin_pending *pending = admin_pending_digest(call, sha256);
    if (!pending)
        return;
    pending->text = strdup(name); /* without memory it has no name */
    State__EkCa ca = STATE__EK_CA__INIT;
    ca.cert = request->cert;
    State__AddEkCa add_ek_ca = STATE__ADD_EK_CA__INIT;
    add_ek_ca.ca = &ca;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_ADD_EK_CA;
    command.add_ek_ca = &add_ek_ca;
    admin_propose(pending, &command, added);
}

static void
removed(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    const Api__RemoveEkCaResponse response = API__REMOVE_EK_CA_RESPONSE__INIT;
    admin_answer(pending, "remove-ek-ca", err, &response.base);
}

void
admin_handle_remove_ek_ca(struct rpc_call *call, enum rpc_event what,
                          const ProtobufCMessage *message)
{
    const Api__RemoveEkCaRequest *request = (const Api__RemoveEkCaRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (request->sha256.len != SHA256_LEN) {
        (void)st_fail_for(&err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                          "a CA is named by the SHA-256 of its certificate");
        rpc_call_finish(call, &err);
        return;
    }
    struct admin_pending *pending = admin_pending_digest(call, request->sha256.data);
    if (!pending)
        return;
    State__RemoveEkCa remove_ek_ca = STATE__REMOVE_EK_CA__INIT;
    remove_ek_ca.sha256 = request->sha256;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_EK_CA;
    command.remove_ek_ca = &remove_ek_ca;
    admin_propose(pending, &command, removed);
}

struct ca_row {
    Api__EkCa message;
    uint8_t sha256[SHA256_LEN];
    char name[TPM_CA_NAME_MAX];
};
struct ca_list {
    struct ca_row rows[STATE_EK_CAS_MAX];
    Api__EkCa *list[STATE_EK_CAS_MAX];
    size_t count;
};

static enum st_code
ca_list_add(void *arg, const State__EkCa *ca, struct st_err *err)
{
    (void)err;
    struct ca_list *list = arg;
    if (list->count == STATE_EK_CAS_MAX)
        return ST_OK;
    struct ca_row *row = &list->rows[list->count];
    api__ek_ca__init(&row->message);
    cert_fingerprint(ca->cert.data, ca->cert.len, row->sha256);
    tpm_ek_ca_name(ca->cert.data, ca->cert.len, row->name);
    row->message.sha256 = (ProtobufCBinaryData){SHA256_LEN, row->sha256};
    row->message.name = row->name;
    row->message.added_at = ca->added_at;
    list->list[list->count++] = &row->message;
    return ST_OK;
}

static void
list_barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(st_freep) struct ca_list *list = calloc(1, sizeof(*list));
    struct st_err err = *barrier;
    if (!err.code && !list)
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory for the list");
    if (err.code || state_each_ek_ca(pending->nms->state, ca_list_add, list, &err)) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    Api__ListEkCasResponse response = API__LIST_EK_CAS_RESPONSE__INIT;
    response.cas = list->list;
    response.n_cas = list->count;
    rpc_call_reply(pending->call, &response.base);
}

void
admin_handle_list_ek_cas(struct rpc_call *call, enum rpc_event what,
                         const ProtobufCMessage *message)
{
    (void)message;
    admin_list(call, what, list_barrier_passed);
}

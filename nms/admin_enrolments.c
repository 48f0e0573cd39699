/* NewEnrolmentConfig, ListEnrolmentConfigs, RemoveEnrolmentConfig. */
#include "nms/admin_pending.h"
#include "nms/digest.h"
#include "nms/members.h"
#include "proto/grow.h"
#include "proto/secret.h"

#include <stdlib.h>
#include <string.h>

enum {
    ENROLMENT_SECRET_LEN = 32,
    ENROLMENT_EXPIRES_DEFAULT_S = 24 * 3600,
};

static void
new_send(struct admin_pending *pending)
{
    struct nms *nms = pending->nms;
    struct st_address masters[REPLICA_MEMBERS_MAX];
    ProtobufCBinaryData ips[REPLICA_MEMBERS_MAX];
    Api__EnrolmentConfig config = API__ENROLMENT_CONFIG__INIT;
    config.enrolment_secret.data = pending->secret.bytes;
    config.enrolment_secret.len = pending->secret.len;
    config.masters_cert.data = nms->masters_cert.der;
    config.masters_cert.len = nms->masters_cert.len;
    config.name = pending->name;
    config.uses_left = pending->uses;
    config.expires_at = pending->expires_at;
    config.recovery_key.data = pending->recovery_key;
    config.recovery_key.len = pending->recovery_key_len;
    config.master_ips = ips;
    config.n_master_ips = members_ips(nms->state, masters, ips, &config.masters_number);

    Api__NewEnrolmentConfigResponse response = API__NEW_ENROLMENT_CONFIG_RESPONSE__INIT;
    response.enrolment_config = &config;
    rpc_call_reply(pending->call, &response.base);
}

static void
made(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    admin_say(pending, "new-enrolment", err);
    if (err->code)
        rpc_call_finish(pending->call, err);
    else
        new_send(pending);
}

static enum st_code
malformed(struct st_err *err, const char *what)
{
    return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED, "%s", what);
}

static enum st_code
new_check(const Api__NewEnrolmentConfigRequest *request, struct st_err *err)
{
    if (request->uses > ENROLMENT_USES_MAX)
        return malformed(err, "an enrolment has at most 10000 uses");
    if (request->expires_in_s > ENROLMENT_EXPIRES_MAX_S)
        return malformed(err, "an enrolment lasts a year at most");
    if (request->request_id.len != 0 && request->request_id.len != REQUEST_ID_LEN)
        return malformed(err, "a request id has 16 bytes");
    if (request->recovery_key.len != 0 && request->recovery_key.len != HPKE_KEY_LEN)
        return malformed(err, "a recovery_key has 32 bytes");
    return name_check("an enrolment", request->name, err);
}

static enum st_code
new_fill(struct admin_pending *pending, const Api__NewEnrolmentConfigRequest *request,
         struct st_err *err)
{
    const uint64_t lasts =
        request->expires_in_s ? request->expires_in_s : ENROLMENT_EXPIRES_DEFAULT_S;
    enum st_code code = secret_random(&pending->secret, ENROLMENT_SECRET_LEN, err);
    if (code)
        return code;
    pending->uses = request->uses ? request->uses : 1;
    pending->expires_at = nms_now() + (int64_t)lasts;
    pending->recovery_key_len = request->recovery_key.len;
    if (pending->recovery_key_len)
        memcpy(pending->recovery_key, request->recovery_key.data, HPKE_KEY_LEN);
    return digest_enrolment_secret(pending->secret.bytes, pending->secret.len,
                                   pending->secret_hash, err);
}

static void
new_propose(struct admin_pending *pending, const Api__NewEnrolmentConfigRequest *request)
{
    State__Enrolment enrolment = STATE__ENROLMENT__INIT;
    enrolment.name = pending->name;
    enrolment.secret_hash.data = pending->secret_hash;
    enrolment.secret_hash.len = SHA256_LEN;
    enrolment.uses_left = pending->uses;
    enrolment.expires_at = pending->expires_at;
    enrolment.recovery_key.data = pending->recovery_key;
    enrolment.recovery_key.len = pending->recovery_key_len;
    State__NewEnrolment new_enrolment = STATE__NEW_ENROLMENT__INIT;
    new_enrolment.enrolment = &enrolment;
    State__Command command = STATE__COMMAND__INIT;
    command.request_id = request->request_id;
    command.change_case = pending->recovery_key_len
                              ? STATE__COMMAND__CHANGE_NEW_RECOVERABLE_ENROLMENT
                              : STATE__COMMAND__CHANGE_NEW_ENROLMENT;
    command.new_enrolment = &new_enrolment; /* the same place for both */
    admin_propose(pending, &command, made);
}

void
admin_handle_new_enrolment(struct rpc_call *call, enum rpc_event what,
                           const ProtobufCMessage *message)
{
    const Api__NewEnrolmentConfigRequest *request =
        (const Api__NewEnrolmentConfigRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (new_check(request, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    AUTO(admin_pending_freep)
    struct admin_pending *pending = admin_pending_new(call, request->name);
    if (!pending)
        return;
    if (new_fill(pending, request, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    new_propose(TAKE(pending), request);
}

static void
removed(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    const Api__RemoveEnrolmentConfigResponse response =
        API__REMOVE_ENROLMENT_CONFIG_RESPONSE__INIT;
    admin_answer(pending, "remove-enrolment", err, &response.base);
}

void
admin_handle_remove_enrolment(struct rpc_call *call, enum rpc_event what,
                              const ProtobufCMessage *message)
{
    const Api__RemoveEnrolmentConfigRequest *request =
        (const Api__RemoveEnrolmentConfigRequest *)message;
    if (what != RPC_MESSAGE)
        return;
    struct admin_pending *pending =
        admin_pending_named(call, "an enrolment", request->name);
    if (!pending)
        return;
    State__RemoveEnrolment remove_enrolment = STATE__REMOVE_ENROLMENT__INIT;
    remove_enrolment.name = request->name;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_ENROLMENT;
    command.remove_enrolment = &remove_enrolment;
    admin_propose(pending, &command, removed);
}

struct enrolment_list {
    Api__EnrolmentConfig **configs;
    size_t count, room;
};

static void
enrolment_list_free(struct enrolment_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->configs[i]->name);
        free(list->configs[i]);
    }
    free(list->configs);
}

static enum st_code
enrolment_list_add(void *arg, const State__Enrolment *enrolment, struct st_err *err)
{
    struct enrolment_list *list = arg;
    Api__EnrolmentConfig **configs =
        st_grow(list->configs, list->count, &list->room, sizeof(Api__EnrolmentConfig *));
    if (!configs)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the list");
    list->configs = configs;
    AUTO(st_freep) Api__EnrolmentConfig *config = malloc(sizeof(*config));
    AUTO(st_freep) char *name = strdup(enrolment->name);
    if (!config || !name)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the list");
    api__enrolment_config__init(config);
    config->name = TAKE(name);
    config->uses_left = enrolment->uses_left;
    config->expires_at = enrolment->expires_at;
    list->configs[list->count++] = TAKE(config);
    return ST_OK;
}

static void
list_barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(enrolment_list_free) struct enrolment_list list = {0};
    struct st_err err = *barrier;
    if (err.code ||
        state_each_enrolment(pending->nms->state, enrolment_list_add, &list, &err)) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    Api__ListEnrolmentConfigsResponse response =
        API__LIST_ENROLMENT_CONFIGS_RESPONSE__INIT;
    response.enrolment_config = list.configs;
    response.n_enrolment_config = list.count;
    rpc_call_reply(pending->call, &response.base);
}

void
admin_handle_list_enrolments(struct rpc_call *call, enum rpc_event what,
                             const ProtobufCMessage *message)
{
    (void)message;
    admin_list(call, what, list_barrier_passed);
}

/* ListAdministrators, AddAdministrator, RemoveAdministrator. */
#include "nms/admin_pending.h"
#include "nms/ca.h"
#include "proto/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the contract calls them. */
static const char *const roles[] = {
    [STATE__ADMIN_ROLE__NOBODY] = "",
    [STATE__ADMIN_ROLE__VIEWER] = "viewer",
    [STATE__ADMIN_ROLE__ADMIN] = "admin",
};

const char *
admin_role_name(State__AdminRole role)
{
    return (unsigned)role < sizeof(roles) / sizeof(*roles) ? roles[role] : "";
}

static enum st_code
role_of_name(const char *name, State__AdminRole *out, struct st_err *err)
{
    *out = !strcmp(name, roles[STATE__ADMIN_ROLE__ADMIN])    ? STATE__ADMIN_ROLE__ADMIN
           : !strcmp(name, roles[STATE__ADMIN_ROLE__VIEWER]) ? STATE__ADMIN_ROLE__VIEWER
                                                             : STATE__ADMIN_ROLE__NOBODY;
    if (*out == STATE__ADMIN_ROLE__NOBODY)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "an administrator's role is admin or viewer");
    return ST_OK;
}

static void
added(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    Api__AddAdministratorResponse response = API__ADD_ADMINISTRATOR_RESPONSE__INIT;
    Api__Administrator administrator = API__ADMINISTRATOR__INIT;
    administrator.sha256 = (ProtobufCBinaryData){SHA256_LEN, pending->sha256};
    administrator.name = pending->text;
    administrator.role = pending->step;
    response.administrator = &administrator;
    admin_answer(pending, "add-administrator", err, &response.base);
}

void
admin_handle_add_administrator(struct rpc_call *call, enum rpc_event what,
                               const ProtobufCMessage *message)
{
    const Api__AddAdministratorRequest *request =
        (const Api__AddAdministratorRequest *)message;
    State__Admin admin = STATE__ADMIN__INIT;
    uint8_t sha256[SHA256_LEN];
    char name[TPM_CA_NAME_MAX];
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (ca_client_check(request->cert.data, request->cert.len, nms_now(), &err) ||
        role_of_name(request->role, &admin.role, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    cert_fingerprint(request->cert.data, request->cert.len, sha256);
    tpm_ek_ca_name(request->cert.data, request->cert.len, name);
    struct admin_pending *pending = admin_pending_digest(call, sha256);
    if (!pending)
        return;
    pending->text = strdup(name); /* without memory he has no name */
    snprintf(pending->step, sizeof(pending->step), "%s", admin_role_name(admin.role));
    admin.fingerprint = (ProtobufCBinaryData){SHA256_LEN, sha256};
    admin.name = name;
    State__AddAdmin add_admin = STATE__ADD_ADMIN__INIT;
    add_admin.admin = &admin;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_ADD_ADMIN;
    command.add_admin = &add_admin;
    admin_propose(pending, &command, added);
}

static void
removed(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    const Api__RemoveAdministratorResponse response =
        API__REMOVE_ADMINISTRATOR_RESPONSE__INIT;
    admin_answer(pending, "remove-administrator", err, &response.base);
}

void
admin_handle_remove_administrator(struct rpc_call *call, enum rpc_event what,
                                  const ProtobufCMessage *message)
{
    const Api__RemoveAdministratorRequest *request =
        (const Api__RemoveAdministratorRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (request->sha256.len != SHA256_LEN) {
        (void)st_fail_for(&err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                          "an administrator is named by the SHA-256 of his certificate");
        rpc_call_finish(call, &err);
        return;
    }
    struct admin_pending *pending = admin_pending_digest(call, request->sha256.data);
    if (!pending)
        return;
    State__RemoveAdmin remove_admin = STATE__REMOVE_ADMIN__INIT;
    remove_admin.fingerprint = request->sha256;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_ADMIN;
    command.remove_admin = &remove_admin;
    admin_propose(pending, &command, removed);
}

struct admin_row {
    Api__Administrator message;
    uint8_t sha256[SHA256_LEN], added_by[SHA256_LEN];
    char name[STATE_ADMIN_NAME_MAX];
};
struct admin_rows {
    struct admin_row rows[STATE_ADMINS_MAX];
    Api__Administrator *list[STATE_ADMINS_MAX];
    size_t count;
};

static enum st_code
row_add(void *arg, const State__Admin *admin, struct st_err *err)
{
    (void)err;
    struct admin_rows *rows = arg;
    if (rows->count == STATE_ADMINS_MAX)
        return ST_OK;
    struct admin_row *row = &rows->rows[rows->count];
    api__administrator__init(&row->message);
    memcpy(row->sha256, admin->fingerprint.data, SHA256_LEN);
    row->message.sha256 = (ProtobufCBinaryData){SHA256_LEN, row->sha256};
    snprintf(row->name, sizeof(row->name), "%s", admin->name);
    row->message.name = row->name;
    row->message.role = (char *)admin_role_name(admin->role);
    row->message.added_at = admin->added_at;
    if (admin->added_by.len == SHA256_LEN) {
        memcpy(row->added_by, admin->added_by.data, SHA256_LEN);
        row->message.added_by = (ProtobufCBinaryData){SHA256_LEN, row->added_by};
    }
    rows->list[rows->count++] = &row->message;
    return ST_OK;
}

static void
list_barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    AUTO(st_freep) struct admin_rows *rows = calloc(1, sizeof(*rows));
    struct st_err err = *barrier;
    if (!err.code && !rows)
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory for the list");
    if (err.code || state_each_admin(pending->nms->state, row_add, rows, &err)) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    Api__ListAdministratorsResponse response = API__LIST_ADMINISTRATORS_RESPONSE__INIT;
    response.administrators = rows->list;
    response.n_administrators = rows->count;
    rpc_call_reply(pending->call, &response.base);
}

void
admin_handle_list_administrators(struct rpc_call *call, enum rpc_event what,
                                 const ProtobufCMessage *message)
{
    (void)message;
    admin_list(call, what, list_barrier_passed);
}

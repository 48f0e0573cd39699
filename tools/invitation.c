/* stctl master invite, invitations, uninvite: hosts that come without a TPM. */
#include "tools/connect.h"
#include "tools/keep.h"
#include "tools/table.h"
#include "tools/text.h"

#include <string.h>
#include <time.h>

enum {
    REQUEST_ID_LEN = 16,
};

static enum st_code
make_request(const struct invocation *in, Api__InviteMasterRequest *out,
             struct secret *request_id, struct st_err *err)
{
    const char *expires = in->options[OPTION_EXPIRES];
    uint64_t ms = 0;
    enum st_code code = name_check("a master", in->argument, err);
    if (!code && expires)
        code = text_duration("--expires", expires, &ms, err);
    if (!code)
        code = secret_random(request_id, REQUEST_ID_LEN, err);
    if (code)
        return code;
    out->name = (char *)in->argument;
    out->expires_in_s = (ms + 999) / 1000;
    out->request_id.data = request_id->bytes;
    out->request_id.len = request_id->len;
    return ST_OK;
}

static enum st_code
write_ticket(const struct connection *connection, const Api__MasterTicket *made,
             const char *path, struct st_err *err)
{
    const struct cert *masters = &connection->context.masters;
    if (!made || made->secret.len == 0 || made->n_master_ips == 0 ||
        made->masters_cert.len != masters->len ||
        memcmp(made->masters_cert.data, masters->der, masters->len) != 0)
        return st_fail(err, ST_INTERNAL, "the answer is no ticket of this cluster");
    return keep_write(path, &made->base, err);
}

enum st_code
stctl_master_invite(const struct invocation *in, struct st_err *err)
{
    const char *path = in->options[OPTION_OUT] ? in->options[OPTION_OUT] : "ticket.pb";
    Api__InviteMasterRequest request = API__INVITE_MASTER_REQUEST__INIT;
    SECRET request_id = {0};
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code = make_request(in, &request, &request_id, err);
    if (!code)
        code = keep_check(path, err);
    if (!code)
        code = connect_open(in, &connection, err);
    if (!code)
        code = connect_call(&connection, "InviteMaster", &request.base,
                            &api__invite_master_response__descriptor, &answer, err);
    if (code)
        return code;
    code = write_ticket(&connection, ((Api__InviteMasterResponse *)answer)->ticket, path,
                        err);
    if (code)
        return st_wrap(err, "`stctl master uninvite %s`, its secret is lost",
                       in->argument);
    if (in->json)
        return json_print(json_pack("{s:s, s:s}", "name", in->argument, "file", path),
                          err);
    printf(
        "%s: a ticket for the master %s\n\n"
        "It holds a secret.  On the host, once:\n"
        "  smalltown-nms join --data DIR --ticket %s --address IP\n"
        "Then `stctl master list` shows it; `stctl context update` learns its address.\n",
        path, in->argument, path);
    return ST_OK;
}

static json_t *
as_json(const Api__Invitation *invitation)
{
    return json_pack("{s:s, s:o, s:o}", "name", invitation->name, "created_at",
                     json_time(invitation->created_at), "expires_at",
                     json_time(invitation->expires_at));
}

static void
add_row(struct table *table, const Api__Invitation *invitation)
{
    char made[TEXT_AGE_MAX], expires[TEXT_AGE_MAX];
    const int64_t now = time(NULL);
    text_age(invitation->created_at, now, made);
    text_expires(now, invitation->expires_at, expires);
    table_row(table, (const char *[]){made, expires, invitation->name});
}

enum st_code
stctl_master_invitations(const struct invocation *in, struct st_err *err)
{
    const Api__ListInvitationsRequest request = API__LIST_INVITATIONS_REQUEST__INIT;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code =
        connect_once(in, "ListInvitations", &request.base,
                     &api__list_invitations_response__descriptor, &answer, err);
    if (code)
        return code;
    const Api__ListInvitationsResponse *list = (const void *)answer;
    AUTO(json_freep) json_t *json = json_array();
    AUTO(table_freep)
    struct table *table = table_new(3, (const char *[]){"AGE", "EXPIRES", "NAME"});
    for (size_t i = 0; i < list->n_invitations; i++) {
        json_array_append_new(json, as_json(list->invitations[i]));
        add_row(table, list->invitations[i]);
    }
    if (in->json)
        return json_print(TAKE(json), err);
    table_print(table, stdout, table_width(stdout));
    return ST_OK;
}

enum st_code
stctl_master_uninvite(const struct invocation *in, struct st_err *err)
{
    Api__RevokeInvitationRequest request = API__REVOKE_INVITATION_REQUEST__INIT;
    request.name = (char *)in->argument;
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code = name_check("a master", in->argument, err);
    if (!code)
        code = connect_once(in, "RevokeInvitation", &request.base,
                            &api__revoke_invitation_response__descriptor, &answer, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s}", "revoked", in->argument), err);
    printf("the invitation of %s is revoked: its ticket opens nothing any more\n",
           in->argument);
    return ST_OK;
}

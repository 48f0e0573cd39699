/* InviteMaster, ListInvitations, RevokeInvitation. */
#include "nms/admin_pending.h"
#include "nms/digest.h"
#include "nms/members.h"

#include <string.h>

enum {
    TICKET_EXPIRES_DEFAULT_S = 3600,
};

static void
ticket_send(struct admin_pending *pending)
{
    struct nms *nms = pending->nms;
    struct st_address masters[REPLICA_MEMBERS_MAX];
    ProtobufCBinaryData ips[REPLICA_MEMBERS_MAX];
    Api__MasterTicket ticket = API__MASTER_TICKET__INIT;
    ticket.secret.data = pending->secret.bytes;
    ticket.secret.len = pending->secret.len;
    ticket.masters_cert.data = nms->masters_cert.der;
    ticket.masters_cert.len = nms->masters_cert.len;
    ticket.master_ips = ips;
    ticket.n_master_ips = members_ips(nms->state, masters, ips, NULL);
    ticket.cluster = nms->cluster;
    Api__InviteMasterResponse response = API__INVITE_MASTER_RESPONSE__INIT;
    response.ticket = &ticket;
    rpc_call_reply(pending->call, &response.base);
}

static void
invited(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    admin_say(pending, "invite-master", err);
    if (err->code)
        rpc_call_finish(pending->call, err);
    else
        ticket_send(pending);
}

static enum st_code
invite_check(const Api__InviteMasterRequest *request, struct st_err *err)
{
    if (request->expires_in_s > TICKET_EXPIRES_MAX_S)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "an invitation lasts a week at most");
    if (request->request_id.len != 0 && request->request_id.len != REQUEST_ID_LEN)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "a request id has 16 bytes");
    return name_check("a master", request->name, err);
}

static enum st_code
invite_fill(struct admin_pending *pending, const Api__InviteMasterRequest *request,
            struct st_err *err)
{
    const uint64_t lasts =
        request->expires_in_s ? request->expires_in_s : TICKET_EXPIRES_DEFAULT_S;
    enum st_code code = secret_random(&pending->secret, TICKET_SECRET_LEN, err);
    if (code)
        return code;
    pending->expires_at = nms_now() + (int64_t)lasts;
    return digest_ticket_secret(pending->secret.bytes, pending->secret.len,
                                pending->secret_hash, err);
}

static void
invite_propose(struct admin_pending *pending, const Api__InviteMasterRequest *request)
{
    State__Ticket ticket = STATE__TICKET__INIT;
    ticket.name = pending->name;
    ticket.secret_hash.data = pending->secret_hash;
    ticket.secret_hash.len = SHA256_LEN;
    ticket.expires_at = pending->expires_at;
    State__InviteMaster invite_master = STATE__INVITE_MASTER__INIT;
    invite_master.ticket = &ticket;
    State__Command command = STATE__COMMAND__INIT;
    command.request_id = request->request_id;
    command.change_case = STATE__COMMAND__CHANGE_INVITE_MASTER;
    command.invite_master = &invite_master;
    admin_propose(pending, &command, invited);
}

void
admin_handle_invite_master(struct rpc_call *call, enum rpc_event what,
                           const ProtobufCMessage *message)
{
    const Api__InviteMasterRequest *request = (const Api__InviteMasterRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (invite_check(request, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    AUTO(admin_pending_freep)
    struct admin_pending *pending = admin_pending_new(call, request->name);
    if (!pending)
        return;
    if (invite_fill(pending, request, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    invite_propose(TAKE(pending), request);
}

struct invitation_list {
    size_t count;
    Api__Invitation *at[STATE_TICKETS_MAX], room[STATE_TICKETS_MAX];
    char names[STATE_TICKETS_MAX][NAME_MAX_LEN + 1];
};

/* Expired ones, too: they are dropped when the next one comes.  Until then it would be
 * one master's clock that says so, and another's may be behind. */
static enum st_code
invitation_list_add(void *arg, const State__Ticket *ticket, struct st_err *err)
{
    struct invitation_list *list = arg;
    if (list->count == STATE_TICKETS_MAX || strlen(ticket->name) > NAME_MAX_LEN)
        return st_fail(err, ST_DATA_LOSS, "the invitations are out of their bounds");
    Api__Invitation *invitation = list->at[list->count] = &list->room[list->count];
    api__invitation__init(invitation);
    invitation->name = strcpy(list->names[list->count++], ticket->name);
    invitation->created_at = ticket->created_at;
    invitation->expires_at = ticket->expires_at;
    return ST_OK;
}

static void
list_barrier_passed(void *arg, const struct st_err *barrier)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    struct invitation_list list = {0};
    struct st_err err = *barrier;
    if (err.code ||
        state_each_ticket(pending->nms->state, invitation_list_add, &list, &err)) {
        rpc_call_finish(pending->call, &err);
        return;
    }
    Api__ListInvitationsResponse response = API__LIST_INVITATIONS_RESPONSE__INIT;
    response.invitations = list.at;
    response.n_invitations = list.count;
    rpc_call_reply(pending->call, &response.base);
}

void
admin_handle_list_invitations(struct rpc_call *call, enum rpc_event what,
                              const ProtobufCMessage *message)
{
    (void)message;
    admin_list(call, what, list_barrier_passed);
}

static void
revoked(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    const Api__RevokeInvitationResponse response = API__REVOKE_INVITATION_RESPONSE__INIT;
    admin_answer(pending, "revoke-invitation", err, &response.base);
}

void
admin_handle_revoke_invitation(struct rpc_call *call, enum rpc_event what,
                               const ProtobufCMessage *message)
{
    const Api__RevokeInvitationRequest *request =
        (const Api__RevokeInvitationRequest *)message;
    if (what != RPC_MESSAGE)
        return;
    struct admin_pending *pending = admin_pending_named(call, "a master", request->name);
    if (!pending)
        return;
    State__RevokeTicket revoke_ticket = STATE__REVOKE_TICKET__INIT;
    revoke_ticket.name = request->name;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REVOKE_TICKET;
    command.revoke_ticket = &revoke_ticket;
    admin_propose(pending, &command, revoked);
}

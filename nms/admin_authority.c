/* RenewAuthority. */
#include "nms/admin_pending.h"
#include "proto/scope.h"

static void
renewed(void *arg, const struct st_err *err)
{
    AUTO(admin_pending_freep) struct admin_pending *pending = arg;
    Api__RenewAuthorityResponse response = API__RENEW_AUTHORITY_RESPONSE__INIT;
    response.authority =
        (ProtobufCBinaryData){sizeof(pending->authority), pending->authority};
    admin_answer(pending, "renew-authority", err, &response.base);
}

static void
propose(struct admin_pending *pending, const ProtobufCBinaryData *expected)
{
    State__SealAuthority authority = STATE__SEAL_AUTHORITY__INIT;
    State__RenewAuthority renew_authority = STATE__RENEW_AUTHORITY__INIT;
    State__Command command = STATE__COMMAND__INIT;
    authority.point =
        (ProtobufCBinaryData){sizeof(pending->authority), pending->authority};
    authority.key = (ProtobufCBinaryData){pending->secret.len, pending->secret.bytes};
    authority.made_at = nms_now();
    renew_authority.expected = *expected;
    renew_authority.authority = &authority;
    command.change_case = STATE__COMMAND__CHANGE_RENEW_AUTHORITY;
    command.renew_authority = &renew_authority;
    admin_propose(pending, &command, renewed);
}

void
admin_handle_renew_authority(struct rpc_call *call, enum rpc_event what,
                             const ProtobufCMessage *message)
{
    const Api__RenewAuthorityRequest *request =
        (const Api__RenewAuthorityRequest *)message;
    struct st_err err = {0};
    if (what != RPC_MESSAGE)
        return;
    if (request->expected.len != 0 && request->expected.len != TPM_AUTHORITY_LEN) {
        (void)st_fail_for(&err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                          "an authority has 64 bytes");
        rpc_call_finish(call, &err);
        return;
    }
    AUTO(admin_pending_freep) struct admin_pending *pending = admin_pending_new(call, "");
    if (!pending)
        return;
    if (tpm_authority_make(&pending->secret, pending->authority, &err)) {
        rpc_call_finish(call, &err);
        return;
    }
    propose(TAKE(pending), &request->expected);
}

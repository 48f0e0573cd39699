#include "nms/admin.h"
#include "nms/ca.h"
#include "proto/mutant.h"

#include <stdatomic.h>
#include <string.h>

#define MANAGEMENT "/api.ClusterManagement/"
#define METHOD_WITHIN(ms, name, in_type, out_type, handler)                              \
    {                                                                                    \
        .path = MANAGEMENT name, .in = &api__##in_type##__descriptor,                    \
        .out = &api__##out_type##__descriptor, .deadline_ms = ms,                        \
        .first_ms = NMS_FIRST_MS, .handle = admin_handle_##handler                       \
    }
#define METHOD(name, in_type, out_type, handler)                                         \
    METHOD_WITHIN(NMS_ADMIN_MS, name, in_type, out_type, handler)
/* It waits until a master has come, or has gone. */
#define MASTER_METHOD(name, in_type, out_type, handler)                                  \
    METHOD_WITHIN(NMS_MASTER_MS, name, in_type, out_type, handler)

const struct rpc_method admin_methods[] = {
    MASTER_METHOD("AddNode", add_node_request, add_node_response, add_node),
    /* The answer's type is the contract's. */
    MASTER_METHOD("RemoveNode", remove_node_request, remove_node_request, remove_node),
    METHOD("ListNodes", list_nodes_request, list_nodes_response, list_nodes),
    METHOD("NewEnrolmentConfig", new_enrolment_config_request,
           new_enrolment_config_response, new_enrolment),
    METHOD("ListEnrolmentConfigs", list_enrolment_configs_request,
           list_enrolment_configs_response, list_enrolments),
    METHOD("RemoveEnrolmentConfig", remove_enrolment_config_request,
           remove_enrolment_config_response, remove_enrolment),
    METHOD("InviteMaster", invite_master_request, invite_master_response, invite_master),
    METHOD("ListInvitations", list_invitations_request, list_invitations_response,
           list_invitations),
    METHOD("RevokeInvitation", revoke_invitation_request, revoke_invitation_response,
           revoke_invitation),
    METHOD("ListMasters", list_masters_request, list_masters_response, list_masters),
    MASTER_METHOD("RemoveMaster", remove_master_request, remove_master_response,
                  remove_master),
    METHOD("GetPolicy", get_policy_request, get_policy_response, get_policy),
    METHOD("SetPolicy", set_policy_request, set_policy_response, set_policy),
    METHOD("TestPolicy", test_policy_request, test_policy_response, test_policy),
    METHOD("ListPolicyHistory", list_policy_history_request, list_policy_history_response,
           list_policy_history),
    METHOD("AddEkCa", add_ek_ca_request, add_ek_ca_response, add_ek_ca),
    METHOD("ListEkCas", list_ek_cas_request, list_ek_cas_response, list_ek_cas),
    METHOD("RemoveEkCa", remove_ek_ca_request, remove_ek_ca_response, remove_ek_ca),
    METHOD("GetNodePcrs", get_node_pcrs_request, get_node_pcrs_response, get_node_pcrs),
    METHOD("RenewAuthority", renew_authority_request, renew_authority_response,
           renew_authority),
    METHOD("OpenWindow", open_window_request, open_window_response, open_window),
    METHOD("CloseWindow", close_window_request, close_window_response, close_window),
    METHOD("ApproveBoot", approve_boot_request, approve_boot_response, approve_boot),
    METHOD("ListCapturedSets", list_captured_sets_request, list_captured_sets_response,
           list_captured_sets),
    METHOD("RemoveCapturedSet", remove_captured_set_request, remove_captured_set_response,
           remove_captured_set),
    METHOD("FetchRecoveryKey", fetch_recovery_key_request, fetch_recovery_key_response,
           fetch_recovery_key),
    METHOD("ListAdministrators", list_administrators_request,
           list_administrators_response, list_administrators),
    METHOD("AddAdministrator", add_administrator_request, add_administrator_response,
           add_administrator),
    METHOD("RemoveAdministrator", remove_administrator_request,
           remove_administrator_response, remove_administrator),
    METHOD("GetStatus", get_status_request, get_status_response, status),
    METHOD("ListAudit", list_audit_request, list_audit_response, list_audit),
};
const size_t admin_method_count = sizeof(admin_methods) / sizeof(*admin_methods);

static const struct {
    const char *path;
    State__AdminRole least;
} roles[] = {
    {MANAGEMENT "AddNode", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "RemoveNode", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "ListNodes", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "NewEnrolmentConfig", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "ListEnrolmentConfigs", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "RemoveEnrolmentConfig", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "InviteMaster", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "ListInvitations", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "RevokeInvitation", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "ListMasters", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "RemoveMaster", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "GetPolicy", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "SetPolicy", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "TestPolicy", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "ListPolicyHistory", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "AddEkCa", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "ListEkCas", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "RemoveEkCa", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "GetNodePcrs", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "RenewAuthority", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "OpenWindow", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "CloseWindow", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "ApproveBoot", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "ListCapturedSets", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "RemoveCapturedSet", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "FetchRecoveryKey", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "ListAdministrators", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "AddAdministrator", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "RemoveAdministrator", STATE__ADMIN_ROLE__ADMIN},
    {MANAGEMENT "GetStatus", STATE__ADMIN_ROLE__VIEWER},
    {MANAGEMENT "ListAudit", STATE__ADMIN_ROLE__VIEWER},
    {"/grpc.health.v1.Health/Check", STATE__ADMIN_ROLE__VIEWER},
    {"/grpc.health.v1.Health/Watch", STATE__ADMIN_ROLE__VIEWER},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     STATE__ADMIN_ROLE__VIEWER},
};

State__AdminRole
admin_least_role(const char *path)
{
    for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
        if (strcmp(path, roles[i].path) == 0)
            return roles[i].least;
    return STATE__ADMIN_ROLE__NOBODY;
}

static State__AdminRole
role_of_cert(struct nms *nms, const void *cert, size_t len)
{
    uint8_t fingerprint[SHA256_LEN];
    if (len == 0)
        return STATE__ADMIN_ROLE__NOBODY;
    cert_fingerprint(cert, len, fingerprint);
    return state_admin_role(nms->state, fingerprint);
}

State__AdminRole
admin_role_of(const struct rpc_call *call)
{
    size_t len;
    const void *cert = rpc_call_client_cert(call, &len);
    return role_of_cert(rpc_call_context(call), cert, len);
}

/* 0 is no hash: it is that of an empty place. */
static uint64_t
hash_of(const uint8_t fingerprint[SHA256_LEN], const char *peer)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (size_t i = 0; i < SHA256_LEN; i++)
        hash = (hash ^ fingerprint[i]) * 0x100000001b3;
    for (; *peer; peer++)
        hash = (hash ^ (uint8_t)*peer) * 0x100000001b3;
    return hash ? hash : 1;
}

/* The peer's port is the connection's.  Where two connections share a place both are
 * new again and again, which is a line too many. */
static bool
is_new_connection(struct nms *nms, const uint8_t fingerprint[SHA256_LEN],
                  const char *peer)
{
    const uint64_t hash = hash_of(fingerprint, peer);
    return atomic_exchange(&nms->logins[hash % NMS_LOGINS], hash) != hash;
}

/* A call that is allowed is a line where it is the first of its connection, one that is
 * not is always one. */
static void
say_call(struct nms *nms, enum audit_kind kind, const char *path, const char *peer,
         const void *cert, size_t cert_len, const struct st_err *err)
{
    struct audit_line line;
    uint8_t fingerprint[SHA256_LEN];
    if (cert_len > 0)
        cert_fingerprint(cert, cert_len, fingerprint);
    if (!err->code && !is_new_connection(nms, fingerprint, peer))
        return;
    const char *method = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    audit_line_fill(&line, err->code ? "call" : "login", method, peer, err);
    if (cert_len > 0)
        audit_line_admin(&line, fingerprint);
    nms_decided(nms, kind, &line);
}

static enum st_code
call_check(State__AdminRole role, const char *path, const void *client_cert,
           size_t client_cert_len, struct st_err *err)
{
    if (REFUSES(0x50a, role == STATE__ADMIN_ROLE__NOBODY))
        return st_fail_for(err, ST_UNAUTHENTICATED, ST_REASON_REFUSED,
                           "this certificate is not an administrator's here");
    struct st_err why = {0};
    if (ca_client_check(client_cert, client_cert_len, nms_now(), &why))
        return st_fail_for(err, ST_UNAUTHENTICATED, ST_REASON_REFUSED, "%s", why.text);
    const State__AdminRole least = admin_least_role(path);
    if (REFUSES(0x50b, least == STATE__ADMIN_ROLE__NOBODY || role < least))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_ROLE,
                           "your role does not allow this");
    return ST_OK;
}

enum st_code
admin_admit(void *context, const char *path, const char *peer, const void *client_cert,
            size_t client_cert_len, bool *out_vouch, struct st_err *err)
{
    const State__AdminRole role = role_of_cert(context, client_cert, client_cert_len);
    enum st_code code = call_check(role, path, client_cert, client_cert_len, err);
    const struct st_err ok = {0};
    const bool looks_on = strncmp(path, MANAGEMENT, strlen(MANAGEMENT)) != 0;
    /* Whoever only looks makes room for who may do something. */
    *out_vouch = !REFUSES(0x4606, role != STATE__ADMIN_ROLE__ADMIN || looks_on);
    say_call(context, role == STATE__ADMIN_ROLE__NOBODY ? AUDIT_STRANGER : AUDIT_LOGIN,
             path, peer, client_cert, client_cert_len, code ? err : &ok);
    return code;
}

enum st_code
admin_call_check(const struct rpc_call *call, struct st_err *err)
{
    size_t len;
    const void *cert = rpc_call_client_cert(call, &len);
    return call_check(admin_role_of(call), rpc_call_path(call), cert, len, err);
}

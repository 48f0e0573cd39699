/* admin.h - ClusterManagement on 7836: who may call what, and the methods.
 *
 * The certificate of the caller is compared as a whole (SHA-256 of its DER) with the
 * administrators in the records; nothing else about it gives a right.  What is not in the
 * table of methods is refused.
 */
#ifndef NMS_ADMIN_H
#define NMS_ADMIN_H

#include "nms/nms.h"

#include <stddef.h>

/* rpc_server_config.admit; context is struct nms. */
enum st_code admin_admit(void *context, const char *path, const char *peer,
                         const void *client_cert, size_t client_cert_len, bool *out_vouch,
                         struct st_err *err);

/* The least role that may call this method; ..NOBODY for one that nobody may call. */
State__AdminRole admin_least_role(const char *path);

/* What admin_admit() said of this call when it came, once more: by the records and the
 * clock as they are now.  ST_UNAUTHENTICATED, ST_PERMISSION_DENIED. */
enum st_code admin_call_check(const struct rpc_call *call, struct st_err *err);

/* The role of who makes this call. */
State__AdminRole admin_role_of(const struct rpc_call *call);
/* "admin", "viewer", "". */
const char *admin_role_name(State__AdminRole role);

extern const struct rpc_method admin_methods[];
extern const size_t admin_method_count;

/* The handlers of the methods, admin_*.c. */
void admin_handle_add_node(struct rpc_call *call, enum rpc_event what,
                           const ProtobufCMessage *message);
void admin_handle_remove_node(struct rpc_call *call, enum rpc_event what,
                              const ProtobufCMessage *message);
void admin_handle_list_nodes(struct rpc_call *call, enum rpc_event what,
                             const ProtobufCMessage *message);
void admin_handle_new_enrolment(struct rpc_call *call, enum rpc_event what,
                                const ProtobufCMessage *message);
void admin_handle_list_enrolments(struct rpc_call *call, enum rpc_event what,
                                  const ProtobufCMessage *message);
void admin_handle_remove_enrolment(struct rpc_call *call, enum rpc_event what,
                                   const ProtobufCMessage *message);
void admin_handle_invite_master(struct rpc_call *call, enum rpc_event what,
                                const ProtobufCMessage *message);
void admin_handle_list_invitations(struct rpc_call *call, enum rpc_event what,
                                   const ProtobufCMessage *message);
void admin_handle_revoke_invitation(struct rpc_call *call, enum rpc_event what,
                                    const ProtobufCMessage *message);
void admin_handle_list_masters(struct rpc_call *call, enum rpc_event what,
                               const ProtobufCMessage *message);
void admin_handle_remove_master(struct rpc_call *call, enum rpc_event what,
                                const ProtobufCMessage *message);
void admin_handle_get_policy(struct rpc_call *call, enum rpc_event what,
                             const ProtobufCMessage *message);
void admin_handle_set_policy(struct rpc_call *call, enum rpc_event what,
                             const ProtobufCMessage *message);
void admin_handle_test_policy(struct rpc_call *call, enum rpc_event what,
                              const ProtobufCMessage *message);
void admin_handle_list_policy_history(struct rpc_call *call, enum rpc_event what,
                                      const ProtobufCMessage *message);
void admin_handle_add_ek_ca(struct rpc_call *call, enum rpc_event what,
                            const ProtobufCMessage *message);
void admin_handle_list_ek_cas(struct rpc_call *call, enum rpc_event what,
                              const ProtobufCMessage *message);
void admin_handle_remove_ek_ca(struct rpc_call *call, enum rpc_event what,
                               const ProtobufCMessage *message);
void admin_handle_get_node_pcrs(struct rpc_call *call, enum rpc_event what,
                                const ProtobufCMessage *message);
void admin_handle_renew_authority(struct rpc_call *call, enum rpc_event what,
                                  const ProtobufCMessage *message);
void admin_handle_open_window(struct rpc_call *call, enum rpc_event what,
                              const ProtobufCMessage *message);
void admin_handle_close_window(struct rpc_call *call, enum rpc_event what,
                               const ProtobufCMessage *message);
void admin_handle_approve_boot(struct rpc_call *call, enum rpc_event what,
                               const ProtobufCMessage *message);
void admin_handle_list_captured_sets(struct rpc_call *call, enum rpc_event what,
                                     const ProtobufCMessage *message);
void admin_handle_remove_captured_set(struct rpc_call *call, enum rpc_event what,
                                      const ProtobufCMessage *message);
void admin_handle_fetch_recovery_key(struct rpc_call *call, enum rpc_event what,
                                     const ProtobufCMessage *message);
void admin_handle_list_administrators(struct rpc_call *call, enum rpc_event what,
                                      const ProtobufCMessage *message);
void admin_handle_add_administrator(struct rpc_call *call, enum rpc_event what,
                                    const ProtobufCMessage *message);
void admin_handle_remove_administrator(struct rpc_call *call, enum rpc_event what,
                                       const ProtobufCMessage *message);
void admin_handle_status(struct rpc_call *call, enum rpc_event what,
                         const ProtobufCMessage *message);
void admin_handle_list_audit(struct rpc_call *call, enum rpc_event what,
                             const ProtobufCMessage *message);

#endif

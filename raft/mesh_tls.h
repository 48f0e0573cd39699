/* mesh_tls.h - TLS 1.3 for the peer link, by wolfSSL, over bytes: no socket here.
 *
 * Both ends show a certificate of the same authority that is not on its newest list.
 * There are no tickets and there is no session cache: a resumed session would have
 * forgotten to look at the list.  A list gets fresh contexts, because wolfSSL keeps what
 * it once loaded.
 */
#ifndef RAFT_MESH_TLS_H
#define RAFT_MESH_TLS_H

#include "raft/mesh_x509.h"

struct mesh_tls;

/* Owns; copies what it needs.  ST_INVALID_ARGUMENT where the key, the certificate, the
 * id, the authority and the list do not fit together. */
enum st_code mesh_tls_new(const struct replica_credentials *credentials, uint64_t id,
                          struct mesh_tls **out, struct st_err *err);
void mesh_tls_free(struct mesh_tls *tls);

/* Any thread.  ST_FAILED_PRECONDITION where its number is not above the current one. */
enum st_code mesh_tls_set_crl(struct mesh_tls *tls, const void *crl, size_t len,
                              struct st_err *err);
/* Whether the newest list names this member. */
bool mesh_tls_revoked(struct mesh_tls *tls, const struct mesh_member *member);

/* ---- one connection ---- */

enum {
    MESH_RECORD_MAX = 16 * 1024,   /* bytes that become one record */
    MESH_CIPHER_MAX = 1024 * 1024, /* bytes that wait in `out` at most */
};

/* What a member is told, by PERMISSION_DENIED, whose certificate is on the list. */
extern const char mesh_removed[];

struct mesh_session {
    void *ssl;
    const uint8_t *in; /* arrived, not yet taken; lent by the caller */
    size_t in_len;
    uint8_t *out; /* malloc'ed: to be sent; the caller takes it and puts NULL */
    size_t out_len, out_room;
    bool dismissed; /* the other side says that our certificate is revoked */
};

enum mesh_step {
    MESH_DONE,
    MESH_WANT, /* more has to arrive */
    MESH_FAILED,
};

/* The session stays where it is until it is ended. */
enum st_code mesh_session_begin(struct mesh_session *session, struct mesh_tls *tls,
                                bool dialled, struct st_err *err);
void mesh_session_end(struct mesh_session *session);

enum mesh_step mesh_session_handshake(struct mesh_session *session, struct st_err *err);
/* After the handshake: who it is.  ST_PERMISSION_DENIED. */
enum st_code mesh_session_peer(struct mesh_session *session, struct mesh_tls *tls,
                               struct mesh_member *out, struct st_err *err);
/* At most len bytes, at least one where it is done. */
enum mesh_step mesh_session_read(struct mesh_session *session, void *out, size_t len,
                                 size_t *out_len, struct st_err *err);
/* All of it, at most MESH_RECORD_MAX, to `out`. */
enum st_code mesh_session_write(struct mesh_session *session, const void *bytes,
                                size_t len, struct st_err *err);

#endif

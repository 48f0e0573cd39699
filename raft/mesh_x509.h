/* mesh_x509.h - what the certificates and the lists of the consensus authority say
 * (nms/ca.h issues them): who a member is, and who is none any more.
 *
 * RFC 5280; DER read strictly, nothing but what the authority writes.  Any thread.
 */
#ifndef RAFT_MESH_X509_H
#define RAFT_MESH_X509_H

#include "proto/der.h"
#include "proto/err.h"
#include "proto/ident.h"
#include "raft/replica.h"

enum {
    MESH_SERIAL_MAX = 20,       /* bytes, RFC 5280 4.1.2.2 */
    MESH_CRL_MAX = 1024 * 1024, /* bytes of a list */
};

struct mesh_authority {
    uint8_t public_key[ED25519_PUBLIC_LEN];
    struct der name; /* lent by the certificate */
};
/* ST_INVALID_ARGUMENT for what is no self-signed Ed25519 certificate. */
enum st_code mesh_authority_read(const void *der, size_t len, struct mesh_authority *out,
                                 struct st_err *err);

struct mesh_member {
    uint64_t id; /* of CN "smalltown-member-<id>"; not 0 */
    uint8_t serial[MESH_SERIAL_MAX];
    uint8_t serial_len;
    uint8_t public_key[ED25519_PUBLIC_LEN];
};
/* ST_INVALID_ARGUMENT.  The signature is checked where authority is given. */
enum st_code mesh_member_read(const void *der, size_t len,
                              const struct mesh_authority *authority,
                              struct mesh_member *out, struct st_err *err);

/* A list whose signature has been checked, with a copy of its bytes. */
struct mesh_crl {
    uint64_t number; /* 5.2.3 */
    struct der revoked;
    size_t len;
    uint8_t der[];
};
/* Owns: ended with free().  ST_INVALID_ARGUMENT where it is no list, or not of this
 * authority; ST_RESOURCE_EXHAUSTED. */
enum st_code mesh_crl_read(const void *der, size_t len,
                           const struct mesh_authority *authority, struct mesh_crl **out,
                           struct st_err *err);
bool mesh_crl_names(const struct mesh_crl *crl, const struct mesh_member *member);

#endif

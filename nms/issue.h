/* issue.h - certificates for masters that come, from the authority in the records.
 *
 * Every function here may be called from any thread.
 */
#ifndef NMS_ISSUE_H
#define NMS_ISSUE_H

#include "nms/ca.h"
#include "nms/state.h"

enum {
    ISSUE_TRIES_MAX = 10, /* of one master, where others come at the same time */
};

void ca_wipe(struct ca *ca);

/* The authority; wiped by the caller with ca_wipe().  ST_DATA_LOSS. */
enum st_code issue_ca(const State__Cluster *cluster, struct ca *out, struct st_err *err);

/* The serial number of a member's certificate: the CA's own is 1. */
static inline uint64_t
issue_serial(uint64_t member_id)
{
    return member_id + 1;
}

/* Whoever comes next, as far as this master knows. */
struct issued {
    uint64_t id;
    struct cert cert;
    struct secret key; /* PKCS#8; empty where the key was made elsewhere */
};
void issued_wipe(struct issued *issued);

/* With a fresh key, or (public_key not NULL) for that of ED25519_PUBLIC_LEN bytes. */
enum st_code issue_next(struct state *state, const uint8_t *public_key,
                        struct issued *out, struct st_err *err);

#endif

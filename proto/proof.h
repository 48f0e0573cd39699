/* proof.h - what a newcomer signs, to show that it holds the key that it names.
 *
 *     a node (new_node_info.id_proof; by the key of its id_cert)
 *         "smalltown enrolment v1" (22) | quote_nonce (32)
 *     a host with a ticket (JoinMastersRequest.proof; by public_key)
 *         "smalltown member v1" (19) | the ticket's secret (32)
 *
 * Neither label has its NUL in the message, and neither begins another one: what was
 * signed for one purpose means nothing for another.  May be called from any thread.
 */
#ifndef PROTO_PROOF_H
#define PROTO_PROOF_H

#include "proto/ident.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PROOF_NODE_LABEL "smalltown enrolment v1"
#define PROOF_MASTER_LABEL "smalltown member v1"

enum {
    PROOF_NODE_LABEL_LEN = sizeof(PROOF_NODE_LABEL) - 1,
    PROOF_NODE_LEN = PROOF_NODE_LABEL_LEN + NONCE_LEN,
    PROOF_MASTER_LABEL_LEN = sizeof(PROOF_MASTER_LABEL) - 1,
};

static inline void
proof_of_node(const uint8_t nonce[NONCE_LEN], uint8_t out[PROOF_NODE_LEN])
{
    memcpy(out, PROOF_NODE_LABEL, PROOF_NODE_LABEL_LEN);
    memcpy(out + PROOF_NODE_LABEL_LEN, nonce, NONCE_LEN);
}

/* `out` holds PROOF_MASTER_LABEL_LEN + len; the caller wipes it.  A secret of another
 * length than ours is no ticket's, which the records say. */
static inline void
proof_of_master(const void *secret, size_t len, uint8_t *out)
{
    memcpy(out, PROOF_MASTER_LABEL, PROOF_MASTER_LABEL_LEN);
    memcpy(out + PROOF_MASTER_LABEL_LEN, secret, len);
}

#endif

/* register_internal.h - what the proof of an enrolment (register.c) and what becomes of
 * it (register_commit.c) share: the state of the call, which belongs to the server's
 * threads.
 */
#ifndef NMS_REGISTER_INTERNAL_H
#define NMS_REGISTER_INTERNAL_H

#include "nms/nms.h"
#include "tpm/judge.h"

enum enrol_stage {
    ENROL_REGISTER = 0,
    ENROL_PROOF,
    ENROL_INFO,
    ENROL_COMMIT,
    ENROL_ENDED,
};

struct enrolling {
    enum enrol_stage stage;
    struct tpm_ak ak;
    struct tpm_ek ek;
    uint8_t *ek_cert; /* malloc'ed; NULL: none */
    size_t ek_cert_len;
    uint8_t *ek_chain; /* malloc'ed, one after the other; NULL: none */
    ProtobufCBinaryData ek_chain_certs[TPM_EK_CHAIN_CERTS]; /* in it */
    size_t ek_chain_count;
    struct secret credential; /* the challenge's answer */
    struct tpm_pcrs pcrs;     /* as quoted */
    struct tpm_clock clock;
    uint8_t nonce[NONCE_LEN];
};

/* new_node_info of a machine that has proven itself.  Where it is ST_OK the commit
 * answers the call.  out_id is the node's, once that is known. */
enum st_code register_commit(struct rpc_call *call, const Api__NewNodeInfo *info,
                             char out_id[NODE_ID_LEN + 1], struct st_err *err);

#endif

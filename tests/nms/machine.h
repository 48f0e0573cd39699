/* machine.h - a machine that wants to be a node, with a TPM in software: an EK (P-256)
 * that opens challenges, an AK that signs quotes, and the other end of both flows.
 *
 * Every message can be tampered with before it is sent.  Everything here fails the
 * running test where it cannot do its work; what a master answers is returned.
 */
#ifndef TESTS_NMS_MACHINE_H
#define TESTS_NMS_MACHINE_H

#include "proto/api.pb-c.h"
#include "proto/rpc_client.h"
#include "tests/cmocka.h"
#include "tests/tpm/judge_forge.h"

#define ENROL_PATH "/api.NodeManagementService/NewTPM2NodeRegister"
#define UNLOCK_PATH "/api.NodeManagementService/TPM2Unlock"

enum {
    MACHINE_TIMEOUT_MS = 20000
};

struct machine_ek;

struct machine {
    struct machine_ek *ek;
    struct forge_ak *ak;
    struct forge_bytes ek_spki, ak_public;
    uint8_t ak_name[TPM_NAME_LEN];
    struct tpm_pcrs pcrs;
    struct tpm_clock clock; /* that it quotes */
    struct secret id_seed, global_key;
    struct cert id_cert;
    char id[NODE_ID_LEN + 1];
    uint8_t ip[16];
    size_t ip_len;
    bool proves_id; /* sends id_proof */

    /* Of the stream that runs. */
    uint8_t nonce[NONCE_LEN];
    struct secret solution;
    struct forge_bytes quote, signature;
    ProtobufCBinaryData pcr_items[64]; /* the first 16 are set */
    uint8_t proof[ED25519_SIGNATURE_LEN];
};

void machine_make(struct machine *machine, enum forge_kind ak);
/* Another id key and global half, the same TPM. */
void machine_rename(struct machine *machine);
void machine_free(struct machine *machine);

/* PCR 12, as a node leaves it before it asks: another boot, and this certificate. */
void machine_measure(struct machine *machine, const struct cert *masters);
/* The same boot, after its key was released. */
void machine_cap(struct machine *machine);

/* Quote and signature over `nonce`, as they are sent. */
void machine_quote(struct machine *machine, const uint8_t nonce[NONCE_LEN]);

/* What opens the challenge; fails the test where it was made for another AK or EK. */
void machine_solve(struct machine *machine, const Api__TPM2AttestRequest *request);

typedef void (*machine_tamper)(struct machine *machine, Api__TPM2FlowRequest *request);
/* A whole NewTPM2NodeRegister; its final status.  Measures the certificate in `config`
 * where nothing was measured yet. */
enum st_code machine_enrol(struct machine *machine, struct rpc_channel *channel,
                           const Api__EnrolmentConfig *config, machine_tamper tamper,
                           struct st_err *err);
/* Its messages, one by one; tampered with before they leave. */
enum st_code machine_send_register(struct machine *machine, struct rpc_stream *stream,
                                   machine_tamper tamper, struct st_err *err);
enum st_code machine_take_challenge(struct machine *machine, struct rpc_stream *stream,
                                    struct st_err *err);
enum st_code machine_send_proof(struct machine *machine, struct rpc_stream *stream,
                                machine_tamper tamper, struct st_err *err);
enum st_code machine_send_info(struct machine *machine, struct rpc_stream *stream,
                               const Api__EnrolmentConfig *config, machine_tamper tamper,
                               struct st_err *err);

typedef void (*machine_unlock_tamper)(struct machine *machine,
                                      Api__TPM2UnlockRequest *request);
/* A whole TPM2Unlock: *out is the answer, freed by api__tpm2_unlock_response__free...
 * through machine_answer_free(). */
enum st_code machine_unlock(struct machine *machine, struct rpc_channel *channel,
                            machine_unlock_tamper tamper,
                            Api__TPM2UnlockFlowResponse **out, struct st_err *err);
/* As a stranger is: with one word, and nothing else. */
void machine_is_refused(struct machine *machine, struct rpc_channel *channel);
void machine_answer_free(Api__TPM2UnlockFlowResponse *answer);

#endif

/* TPM2Unlock, the node's end:
 *
 *   1 measure the config into PCR 12 (once per boot)
 *   2 <- unlock_init: a nonce; the master speaks first
 *   3 -> unlock_request: node id, a quote over the nonce, the PCRs
 *   4 <- unlock_response: the global half, where the masters are, what else the local
 *        half may open under; status OK
 *   5 unseal the local half; disk key = local half XOR global half
 *   6 decrypt `identity`, open the volume
 *   7 seal the local half under the cluster's authority, keep its approval (half.h);
 *     do the same for a control volume, and open it where the TPM did not (control.h)
 *   8 cap PCR 12: nothing later in this boot can ask again
 *
 * From 4 on the key is out: whatever fails then, save the TPM's connection, ends in 8,
 * and whoever stops the daemon waits for that (stop.h).
 */
#include "node/unlock.h"

#include "node/approvals.h"
#include "node/control.h"
#include "node/disk.h"
#include "node/half.h"
#include "node/masters.h"
#include "node/measure.h"
#include "node/retry.h"
#include "node/stop.h"
#include "node/talk.h"
#include "proto/api.pb-c.h"
#include "proto/event.h"
#include "proto/mutant.h"

#include <stdio.h>
#include <string.h>

#define PATH "/api.NodeManagementService/TPM2Unlock"

/* What a master answers. */
struct answer {
    struct secret half;         /* the global one */
    struct node_config masters; /* where they are now; address_count 0: nothing that can
                                 * be used */
    struct approvals said;
};

static void
answer_wipe(struct answer *answer)
{
    explicit_bzero(answer, sizeof(*answer));
}
#define ANSWER __attribute__((cleanup(answer_wipe))) struct answer

static enum st_code
receive_nonce(struct talk *talk, uint8_t out[NONCE_LEN], struct st_err *err)
{
    TALK_MESSAGE *message = NULL;
    enum st_code code =
        talk_receive(talk, &api__tpm2_unlock_flow_response__descriptor, &message, err);
    if (code)
        return code;
    const Api__TPM2UnlockFlowResponse *flow =
        (const Api__TPM2UnlockFlowResponse *)message;
    if (flow->stage_case != API__TPM2_UNLOCK_FLOW_RESPONSE__STAGE_UNLOCK_INIT)
        return st_fail(err, ST_INTERNAL, "the master sent no unlock_init");
    const ProtobufCBinaryData *nonce = &flow->unlock_init->nonce;
    if (REFUSES(0x33e, nonce->len != NONCE_LEN))
        return st_fail(err, ST_INTERNAL, "the master sent a nonce of %zu bytes",
                       nonce->len);
    memset(out, 0, NONCE_LEN);
    if (nonce->len)
        memcpy(out, nonce->data, nonce->len < NONCE_LEN ? nonce->len : NONCE_LEN);
    return ST_OK;
}

static enum st_code
send_quote(const struct node *node, struct tpm *tpm, const uint8_t nonce[NONCE_LEN],
           struct talk *talk, struct st_err *err)
{
    struct tpm_quote quote;
    ProtobufCBinaryData pcrs[TPM_PCR_COUNT];
    enum st_code code = tpm_quote(tpm, node->ak, nonce, &quote, err);
    if (code)
        return code;
    talk_pcrs(&quote.pcrs, pcrs);
    Api__TPM2UnlockRequest request = API__TPM2_UNLOCK_REQUEST__INIT;
    request.node_id = (char *)node->config.node_id;
    request.address =
        (ProtobufCBinaryData){node->address.len, (uint8_t *)node->address.bytes};
    request.n_pcrs = TPM_PCR_COUNT;
    request.pcrs = pcrs;
    request.quote = (ProtobufCBinaryData){quote.quote_len, quote.quote};
    request.quote_signature = (ProtobufCBinaryData){quote.signature_len, quote.signature};
    Api__TPM2UnlockFlowRequeset flow = API__TPM2_UNLOCK_FLOW_REQUESET__INIT;
    flow.stage_case = API__TPM2_UNLOCK_FLOW_REQUESET__STAGE_UNLOCK_REQUEST;
    flow.unlock_request = &request;
    return talk_send(talk, &flow.base, err);
}

static enum st_code
receive_answer(struct talk *talk, struct answer *out, struct st_err *err)
{
    TALK_MESSAGE *message = NULL;
    enum st_code code =
        talk_receive(talk, &api__tpm2_unlock_flow_response__descriptor, &message, err);
    if (code)
        return code;
    const Api__TPM2UnlockFlowResponse *flow =
        (const Api__TPM2UnlockFlowResponse *)message;
    if (flow->stage_case != API__TPM2_UNLOCK_FLOW_RESPONSE__STAGE_UNLOCK_RESPONSE)
        return st_fail(err, ST_INTERNAL, "the master sent no unlock_response");
    const Api__TPM2UnlockResponse *response = flow->unlock_response;
    if (response->global_unlock_key.len != UNLOCK_KEY_LEN)
        return st_fail(err, ST_INTERNAL, "the master sent a key of %zu bytes",
                       response->global_unlock_key.len);
    /* Addresses that cannot be used cost nothing: the old ones stay. */
    (void)!config_addresses(response->master_ips, response->n_master_ips,
                            response->masters_number, &out->masters, NULL);
    approvals_take(response, &out->said);
    return secret_set(&out->half, response->global_unlock_key.data, UNLOCK_KEY_LEN, err);
}

/* One talk with a master.  The TPM's PCR 12 is measured already. */
static enum st_code
ask(const struct node *node, struct tpm *tpm, struct answer *out, struct st_err *err)
{
    TALK talk = {0};
    ANSWER answer = {0};
    uint8_t nonce[NONCE_LEN];
    struct tpm_ak ak;
    enum st_code code;
    /* A chip may need a second for its key: before the master's clock runs. */
    if ((code = tpm_ak_read(tpm, node->ak, &ak, err)) ||
        (code = talk_open(node, PATH, &talk, err)) ||
        (code = receive_nonce(&talk, nonce, err)) ||
        (code = send_quote(node, tpm, nonce, &talk, err)) ||
        (code = receive_answer(&talk, &answer, err)) ||
        (code = rpc_stream_finish(talk.stream, err)))
        return code;
    *out = answer;
    return ST_OK;
}

/* The masters gave their half and its own TPM keeps the other: where no policy names a
 * boot, they approve none, and a window lets nothing in. */
static void
advise(const char *node_id, struct st_err *err)
{
    size_t used = strlen(err->text);
    snprintf(
        err->text + used, sizeof(err->text) - used,
        "; boot what was there before, or, where you changed it, `stctl policy capture "
        "%s --name NEW`, then reboot",
        node_id);
}

static enum st_code
open_all(struct node *node, struct tpm *tpm, const struct answer *answer,
         struct identity *out, bool *out_mapped, struct st_err *err)
{
    const char *node_id = node->config.node_id;
    SECRET local_half = {0}, disk_key = {0};
    IDENTITY identity = {0};
    enum st_code code = half_open(node, tpm, ESP_SEALED, &answer->said, &local_half, err);
    if (code == ST_PERMISSION_DENIED && err)
        advise(node_id, err);
    if (code)
        return code;
    secret_xor(&local_half, &answer->half, &disk_key);
    if ((code = identity_read(node->esp, &disk_key, node_id, &identity, err)))
        return code;
    if (node->volume &&
        ((code = disk_check_key(node->volume, &disk_key, err)) ||
         (code = disk_set_enrolled(node->volume, node_id, err)) ||
         (code = disk_map(node->volume, DISK_MAPPING, &disk_key, out_mapped, err))))
        return code;
    half_follow(node, tpm, ESP_SEALED, &local_half, &answer->said);
    control_follow(node, tpm, &disk_key, &answer->said);
    if (node->crypttab)
        node->crypttab->disk_key = disk_key;
    *out = identity;
    return ST_OK;
}

/* Not worth failing for. */
static void
follow_masters(struct node *node, const struct node_config *masters)
{
    struct st_err err = {0};
    if (masters->address_count && masters_keep(node, masters, &err))
        event("warning", "reason=\"%s\"", err.text);
}

/* What one attempt came to. */
enum outcome {
    DONE,
    AGAIN,
    NEVER
};

static enum outcome
use_answer(struct node *node, struct tpm *tpm, const struct answer *answer,
           struct identity *out, struct st_err *err)
{
    struct st_err uncapped = {0};
    bool mapped = false;
    enum st_code code = open_all(node, tpm, answer, out, &mapped, err);
    if (code == ST_UNAVAILABLE)
        return AGAIN;
    if (measure_cap(tpm, &node->config.masters, &uncapped)) {
        if (!code && err)
            *err = uncapped;
        return !code && uncapped.code == ST_UNAVAILABLE ? AGAIN : NEVER;
    }
    if (code)
        return NEVER;
    follow_masters(node, &answer->masters);
    event("unlock", "node=%s decision=ok volume=%s", node->config.node_id,
          !node->volume ? "none"
          : mapped      ? "/dev/mapper/" DISK_MAPPING
                        : "\"verified, not mapped: this kernel has no device-mapper\"");
    return DONE;
}

static enum outcome
attempt(struct node *node, struct identity *out, bool *out_known, struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    ANSWER answer = {0};
    enum measure_state state;
    enum outcome outcome;
    enum st_code code;
    if ((code = tpm_open(node->tcti, &tpm, err)) ||
        (code = measure_config(tpm, &node->config.masters, &state, err)))
        return code == ST_UNAVAILABLE ? AGAIN : NEVER;
    if (REFUSES(0x48a, state == MEASURE_CAPPED)) {
        *out_known = false;
        if (node->volume && disk_is_mapped(DISK_MAPPING))
            return DONE;
        (void)st_fail(err, ST_FAILED_PRECONDITION,
                      "this boot's disk key was released already and is given out only "
                      "once: reboot; where that is not the cure, the log says above what "
                      "went wrong");
        return NEVER;
    }
    if (ask(node, tpm, &answer, err))
        return AGAIN;
    *out_known = true;
    stop_hold(true);
    outcome = use_answer(node, tpm, &answer, out, err);
    stop_hold(false);
    return outcome;
}

enum st_code
unlock_run(struct node *node, struct identity *out, bool *out_identity_known,
           struct st_err *err)
{
    struct retry retry = {.first_ms = node->retry_first_ms, .max_ms = node->retry_max_ms};
    for (;;) {
        struct st_err failure = {0};
        switch (attempt(node, out, out_identity_known, &failure)) {
        case DONE:
            return ST_OK;
        case NEVER:
            if (err)
                *err = failure;
            return failure.code;
        case AGAIN:
            break;
        }
        talk_explain(node, false, &failure);
        if (!retry_wait(&retry, "unlock", &failure))
            return st_fail(err, ST_CANCELLED, "told to stop");
    }
}

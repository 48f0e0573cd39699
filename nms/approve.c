#include "nms/approve.h"

#include "proto/event.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <string.h>

bool
approve_authority(struct nms *nms, uint8_t out[TPM_AUTHORITY_LEN], int64_t *out_made_at)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    if (state_cluster(nms->state, &cluster, NULL) || !cluster->seal_authority)
        return false;
    memcpy(out, cluster->seal_authority->point.data, TPM_AUTHORITY_LEN);
    if (out_made_at)
        *out_made_at = cluster->seal_authority->made_at;
    return true;
}

bool
approve_may(struct nms *nms, const char *node_id, const struct tpm_pcrs *pcrs)
{
    return !REFUSES(0x1201, !state_vouches_for_boot(nms->state, node_id, pcrs));
}

static enum st_code
make_one(const State__SealAuthority *by, const char *node_id, const struct tpm_pcrs *pcrs,
         struct tpm_approval *out, struct st_err *err)
{
    struct tpm_authority authority;
    SECRET key = {0};
    enum st_code code;
    if ((code = secret_set(&key, by->key.data, by->key.len, err)) ||
        (code = tpm_authority_for(by->point.data, node_id, &authority, err)))
        return code;
    return tpm_approve(&key, &authority, pcrs, out, err);
}

void
approve_make(struct nms *nms, const char *node_id, const struct tpm_pcrs *pcrs,
             struct approving *out)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    struct st_err err = {0};
    out->count = 0;
    out->why = "no-authority";
    if (state_cluster(nms->state, &cluster, NULL))
        return;
    const State__SealAuthority *by[] = {cluster->seal_authority,
                                        cluster->seal_authority_before};
    for (size_t i = 0; i < 2 && by[i]; i++) {
        if (make_one(by[i], node_id, pcrs, &out->made[out->count], &err)) {
            event("warning", "node=%s reason=\"no approval: %s\"", node_id, err.text);
            out->why = "failed";
            return;
        }
        out->count++;
        out->why = "yes";
    }
}

static void
put_one(const struct tpm_approval *made, Api__SealApproval *out)
{
    api__seal_approval__init(out);
    out->authority = (ProtobufCBinaryData){sizeof(made->point), (uint8_t *)made->point};
    out->policy = (ProtobufCBinaryData){sizeof(made->policy), (uint8_t *)made->policy};
    out->signature =
        (ProtobufCBinaryData){sizeof(made->signature), (uint8_t *)made->signature};
}

void
approve_put(struct approving *approving, Api__TPM2UnlockResponse *response)
{
    if (approving->has_authority)
        response->seal_authority =
            (ProtobufCBinaryData){TPM_AUTHORITY_LEN, approving->authority};
    for (size_t i = 0; i < approving->count; i++) {
        put_one(&approving->made[i], &approving->messages[i]);
        approving->list[i] = &approving->messages[i];
    }
    response->seal_approvals = approving->list;
    response->n_seal_approvals = approving->count;
}

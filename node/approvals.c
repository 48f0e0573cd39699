#include "node/approvals.h"

#include <string.h>

static_assert(sizeof(struct tpm_approval) == 160, "it is its own encoding");

void
approvals_take_authority(const ProtobufCBinaryData *wire, struct approvals *out)
{
    memset(out, 0, sizeof(*out));
    if (wire->len != TPM_AUTHORITY_LEN || tpm_authority_check(wire->data, NULL))
        return;
    memcpy(out->authority, wire->data, TPM_AUTHORITY_LEN);
    out->has_authority = true;
}

static bool
take_one(const Api__SealApproval *wire, struct tpm_approval *out)
{
    if (wire->authority.len != sizeof(out->point) ||
        wire->policy.len != sizeof(out->policy) ||
        wire->signature.len != sizeof(out->signature))
        return false;
    memcpy(out->point, wire->authority.data, sizeof(out->point));
    memcpy(out->policy, wire->policy.data, sizeof(out->policy));
    memcpy(out->signature, wire->signature.data, sizeof(out->signature));
    return true;
}

void
approvals_take(const Api__TPM2UnlockResponse *response, struct approvals *out)
{
    approvals_take_authority(&response->seal_authority, out);
    for (size_t i = 0; i < response->n_seal_approvals && out->count < APPROVALS_MAX; i++)
        if (take_one(response->seal_approvals[i], &out->at[out->count]))
            out->count++;
}

const struct tpm_approval *
approvals_by(const struct approvals *approvals, const struct tpm_authority *authority)
{
    for (size_t i = 0; i < approvals->count; i++)
        if (!memcmp(approvals->at[i].point, authority->point, TPM_AUTHORITY_LEN))
            return &approvals->at[i];
    return NULL;
}

enum st_code
approvals_read(const struct esp *esp, struct approvals *out, struct st_err *err)
{
    uint8_t content[ESP_CONTENT_MAX];
    struct approvals kept = {0};
    size_t len = 0;
    enum st_code code = esp_read(esp, ESP_APPROVALS, content, &len, err);
    if (code && code != ST_NOT_FOUND)
        return code;
    if (len % sizeof(*kept.at) || len > APPROVALS_KEPT * sizeof(*kept.at))
        return st_fail(err, ST_DATA_LOSS, "%s holds %zu bytes",
                       esp_path(esp, ESP_APPROVALS), len);
    memcpy(kept.at, content, len);
    kept.count = len / sizeof(*kept.at);
    *out = kept;
    return ST_OK;
}

/* Of the same boot; two signatures over it differ. */
static bool
is_same(const struct tpm_approval *a, const struct tpm_approval *b)
{
    return !memcmp(a->point, b->point, sizeof(a->point)) &&
           !memcmp(a->policy, b->policy, sizeof(a->policy));
}

bool
approvals_first_is(const struct esp *esp, const struct tpm_approval *approval)
{
    struct approvals kept = {0};
    return !approvals_read(esp, &kept, NULL) && kept.count &&
           is_same(&kept.at[0], approval);
}

enum st_code
approvals_keep(const struct esp *esp, const struct tpm_approval *approval,
               struct st_err *err)
{
    struct approvals kept = {0};
    struct tpm_approval next[APPROVALS_KEPT] = {*approval};
    size_t count = 1;
    (void)approvals_read(esp, &kept, NULL); /* a damaged file is written anew */
    for (size_t i = 0; i < kept.count && count < APPROVALS_KEPT; i++)
        if (!is_same(&kept.at[i], approval))
            next[count++] = kept.at[i];
    return esp_write(esp, ESP_APPROVALS, next, count * sizeof(*next), err);
}

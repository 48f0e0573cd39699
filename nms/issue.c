#include "nms/issue.h"

#include <string.h>

void
ca_wipe(struct ca *ca)
{
    secret_wipe(&ca->key);
}

void
issued_wipe(struct issued *issued)
{
    secret_wipe(&issued->key);
}

enum st_code
issue_ca(const State__Cluster *cluster, struct ca *out, struct st_err *err)
{
    if (cluster->ca_cert.len > sizeof(out->cert.der))
        return st_fail(err, ST_DATA_LOSS, "the consensus CA's certificate has %zu bytes",
                       cluster->ca_cert.len);
    memcpy(out->cert.der, cluster->ca_cert.data, cluster->ca_cert.len);
    out->cert.len = cluster->ca_cert.len;
    return secret_set(&out->key, cluster->ca_key.data, cluster->ca_key.len, err);
}

enum st_code
issue_next(struct state *state, const uint8_t *public_key, struct issued *out,
           struct st_err *err)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    AUTO(ca_wipe) struct ca ca = {0};
    AUTO(issued_wipe) struct issued issued = {0};
    enum st_code code;
    if ((code = state_cluster(state, &cluster, err)) ||
        (code = issue_ca(cluster, &ca, err)))
        return code;
    issued.id = state_next_member(cluster);
    const uint64_t serial = issue_serial(issued.id);
    if (public_key)
        code = ca_certify_member(&ca, issued.id, serial, public_key, &issued.cert, err);
    else
        code = ca_issue_member(&ca, issued.id, serial, &issued.cert, &issued.key, err);
    if (!code)
        *out = issued;
    return code;
}

#include "nms/nms.h"
#include "nms/admin.h"
#include "nms/await.h"
#include "nms/begin.h"
#include "nms/carrier.h"
#include "nms/later.h"
#include "nms/tell.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

AUTO_DEFINE(struct nms *, nms_stopp, nms_stop)

/* What the doors need of the cluster's record.  Right after init it may still be in the
 * log only: then it is there once the replica has caught up. */
static enum st_code
cluster_learn(struct nms *nms, struct st_err *err)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    enum st_code code;
    if (state_cluster(nms->state, &cluster, NULL)) {
        if ((code = replica_barrier_wait(nms->replica, NMS_COMMIT_MS, err)))
            return code;
        if (state_cluster(nms->state, &cluster, NULL))
            return begin_unfinished(err);
    }
    if (cluster->masters_cert.len > sizeof(nms->masters_cert.der))
        return st_fail(err, ST_DATA_LOSS, "the masters' certificate has %zu bytes",
                       cluster->masters_cert.len);
    memcpy(nms->masters_cert.der, cluster->masters_cert.data, cluster->masters_cert.len);
    nms->masters_cert.len = cluster->masters_cert.len;
    strncpy(nms->cluster, cluster->name, sizeof(nms->cluster) - 1);
    return secret_set(&nms->masters_seed, cluster->masters_seed.data,
                      cluster->masters_seed.len, err);
}

static enum st_code
nodes_serve(struct nms *nms, uint16_t port, struct st_err *err)
{
    nms->node_methods[0] = register_method;
    nms->node_methods[1] = unlock_method;
    nms->node_methods[2] = join_masters_method;
    const struct rpc_server_config config = {
        .addresses = &nms->address,
        .address_count = 1,
        .port = port,
        .cert = &nms->masters_cert,
        .seed = &nms->masters_seed,
        .methods = nms->node_methods,
        .method_count = 3,
        .context = nms,
    };
    return rpc_server_start(&config, &nms->nodes, err);
}

static enum st_code
admins_serve(struct nms *nms, uint16_t port, struct st_err *err)
{
    const struct rpc_server_config config = {
        .addresses = &nms->address,
        .address_count = 1,
        .port = port,
        .cert = &nms->masters_cert,
        .seed = &nms->masters_seed,
        .want_client_cert = true,
        .admit = admin_admit,
        .methods = admin_methods,
        .method_count = admin_method_count,
        .context = nms,
        .max_calls = 256,
        .reflection = true,
    };
    return rpc_server_start(&config, &nms->admins, err);
}

static enum st_code
nms_open(struct nms *nms, const struct nms_config *config, struct self *self, bool moved,
         struct st_err *err)
{
    enum st_code code;
    nms->address = self->address;
    nms->member_id = self->id;
    if (snprintf(nms->dir, sizeof(nms->dir), "%s", config->dir) >= (int)sizeof(nms->dir))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the path of the data folder is too long");
    if ((code = audit_start(nms->dir, &nms->audit, err)) ||
        (code = state_new(&nms->state, err)) || (code = later_start(&nms->later, err)) ||
        (code = awaits_new(&nms->awaits, err)) ||
        (code = begin_replica(nms, config, self, err)) ||
        (moved && (code = self_write(config->dir, self, err))) ||
        (code = cluster_learn(nms, err)) ||
        (code = begin_complete(nms, config, self, err)) ||
        (code = masters_pem_write(config->dir, nms->masters_cert.der,
                                  nms->masters_cert.len, err)) ||
        (code = nodes_serve(nms, config->node_port, err)) ||
        (code = admins_serve(nms, config->admin_port, err)) ||
        (code = carrier_start(nms->carrier, err)))
        return code;
    return tell_start(nms->tell, err);
}

/* What is to be done first about a folder without a member. */
static enum st_code
nothing_here(const char *dir, struct st_err *err)
{
    AUTO(self_wipep) struct self begun = {0};
    const bool joining = self_begun_read(dir, &begun, NULL) == ST_OK;
    return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                       joining ? "the join of %s has no answer yet: run the same `join` "
                                 "again, or one with another ticket"
                               : "%s holds no master: make a new cluster with `init`, or "
                                 "come to one with `join`",
                       dir);
}

/* Alone in its group, and its records may not say so: nobody would revoke the others. */
static enum st_code
half_recovered(const char *dir, struct st_err *err)
{
    return st_fail(err, ST_FAILED_PRECONDITION,
                   "`recover` was cut off in this folder: say `smalltown-nms recover "
                   "--data %s --yes` again, it finishes",
                   dir);
}

enum st_code
nms_start(const struct nms_config *config, struct nms **out, struct st_err *err)
{
    AUTO(self_wipep) struct self self = {0};
    enum st_code code;
    if ((code = self_read(config->dir, &self, err)))
        return code == ST_NOT_FOUND ? nothing_here(config->dir, err) : code;
    if (REFUSES(0x4302, self.recovering))
        return half_recovered(config->dir, err);
    const bool moved =
        config->address.len > 0 && !address_equal(&config->address, &self.address);
    if (moved)
        self.address = config->address;
    AUTO(nms_stopp) struct nms *nms = calloc(1, sizeof(*nms));
    if (!nms)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory");
    if ((code = nms_open(nms, config, &self, moved, err)))
        return code;
    secret_trim_process(); /* loading took more than is kept */
    *out = TAKE(nms);
    return ST_OK;
}

/* First the doors, so that nobody new waits for the replica; then who works with it;
 * then the replica, whose last callbacks still decide, and let go of calls; then the
 * audit of that; then the doors' memory. */
void
nms_stop(struct nms *nms)
{
    if (!nms)
        return;
    if (nms->admins)
        rpc_server_stop(nms->admins, NMS_STOP_GRACE_MS);
    if (nms->nodes)
        rpc_server_stop(nms->nodes, NMS_STOP_GRACE_MS);
    if (nms->carrier)
        carrier_stop(nms->carrier);
    if (nms->tell)
        tell_stop(nms->tell);
    if (nms->later)
        later_stop(nms->later);
    begin_undo(nms);
    if (nms->audit)
        audit_stop(nms->audit);
    rpc_server_free(nms->nodes);
    rpc_server_free(nms->admins);
    awaits_free(nms->awaits);
    later_free(nms->later);
    carrier_free(nms->carrier);
    tell_free(nms->tell);
    state_free(nms->state);
    audit_free(nms->audit);
    secret_wipe(&nms->masters_seed);
    free(nms);
}

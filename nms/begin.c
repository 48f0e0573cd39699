#include "nms/begin.h"
#include "nms/await.h"
#include "nms/carrier.h"
#include "nms/tell.h"
#include "proto/event.h"
#include "proto/scope.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    JOIN_POLL_MS = 100,
    JOIN_SAY_POLLS = 300, /* one line in half a minute */
};

/* Leadership, members, or how far one of them is. */
static void
moved(void *arg)
{
    struct nms *nms = arg;
    carrier_wake(nms->carrier);
    tell_wake(nms->tell);
}

/* At 7834 there is nothing for them. */
static void
turned_away(uint64_t count, const char *last)
{
    event("strangers", "port=%d decision=close count=%llu last=%s", PORT_CONSENSUS,
          (unsigned long long)count, last);
}

/* Their records, or the list of revoked certificates. */
static void
members_changed(void *arg)
{
    moved(arg);
    awaits_check(arg);
}

enum st_code
begin_unfinished(struct st_err *err)
{
    return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                       "init did not finish here: run it again");
}

/* init makes the store, and then a group in it: before that nothing was promised. */
static enum st_code
explain_no_group(const char *dir, uint64_t id, struct st_err *err)
{
    char store[PATH_MAX];
    const int len = snprintf(store, sizeof(store), "%s/store.mdb", dir);
    if (id == FIRST_MEMBER && len < PATH_MAX && access(store, F_OK) == 0)
        return begin_unfinished(err);
    return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                       "%s is gone, so member %" PRIu64 " forgot what it promised: "
                       "bring back the folder as it was last, or remove the member "
                       "(`stctl master remove %" PRIu64
                       "`) and the folder, and join anew (a node: `stctl node adopt "
                       "--role master`)",
                       store, id, id);
}

static enum st_code
replica_begin(struct nms *nms, const struct nms_config *config, const struct self *self,
              enum replica_begin begin, struct st_err *err)
{
    char address[ADDRESS_TEXT_MAX];
    address_format_port(&self->address, PORT_CONSENSUS, address);
    const struct replica_credentials credentials = {
        .ca = self->ca.der,
        .ca_len = self->ca.len,
        .crl = self->crl.der,
        .crl_len = self->crl.len,
        .cert = self->cert.der,
        .cert_len = self->cert.len,
        .key = &self->key,
    };
    const struct replica_config replica = {
        .dir = config->dir,
        .id = self->id,
        .address = address,
        .begin = begin,
        .credentials = self->ca.len > 0 ? &credentials : NULL,
        .machine = state_machine(nms->state),
        .moved = moved,
        .moved_arg = nms,
        .fatal = config->fatal,
        .refused = config->refused,
        .turned_away = turned_away,
    };
    enum st_code code = replica_open(&replica, &nms->replica, err);
    if (code == ST_NOT_FOUND)
        return explain_no_group(config->dir, self->id, err);
    if (!code)
        carrier_tell_places(nms->carrier);
    return code;
}

/* A member that joins begins with nothing, unless it did so before and was interrupted.
 */
static enum st_code
replica_join(struct nms *nms, const struct nms_config *config, const struct self *self,
             struct st_err *err)
{
    enum st_code code = replica_begin(nms, config, self, REPLICA_JOIN, err);
    if (code == ST_ALREADY_EXISTS)
        return replica_begin(nms, config, self, REPLICA_OPEN, err);
    return code;
}

/* Its last callbacks may ask it for more. */
static void
end_replica(struct nms *nms)
{
    replica_close(nms->replica);
    nms->replica = NULL;
}

/* A folder of 0.1 knows the authority from the records only.  It had one member, so
 * nobody needs to be spoken to before they are read. */
enum st_code
begin_complete(struct nms *nms, const struct nms_config *config, struct self *self,
               struct st_err *err)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    enum st_code code;
    if (self->ca.len > 0)
        return ST_OK;
    if ((code = state_cluster(nms->state, &cluster, err)))
        return code;
    if (cluster->ca_cert.len > sizeof(self->ca.der) ||
        cluster->crl.len > sizeof(self->crl.der))
        return st_fail(err, ST_DATA_LOSS, "the authority in the records is too large");
    memcpy(self->ca.der, cluster->ca_cert.data, cluster->ca_cert.len);
    self->ca.len = cluster->ca_cert.len;
    memcpy(self->crl.der, cluster->crl.data, cluster->crl.len);
    self->crl.len = cluster->crl.len;
    if ((code = self_write(config->dir, self, err)))
        return code;
    end_replica(nms);
    return replica_begin(nms, config, self, REPLICA_OPEN, err);
}

/* Its own record is among the last things that it is sent. */
static bool
has_joined(struct nms *nms)
{
    AUTO(state_member_freep) State__Member *member = NULL;
    return !state_member(nms->state, nms->member_id, &member, NULL);
}

static enum st_code
join_wait(struct nms *nms, const struct nms_config *config, struct self *self,
          struct st_err *err)
{
    const struct timespec pause = {0, JOIN_POLL_MS * 1000000L};
    for (unsigned polls = 0; !has_joined(nms); polls++) {
        if (config->stopping && config->stopping())
            return st_fail(err, ST_CANCELLED, "stopped before it was sent the state");
        if (polls % JOIN_SAY_POLLS == 0)
            event("joining",
                  "member=%llu decision=wait reason=\"no leader sent it the "
                  "state yet\" hint=\"is port 7834 open between the "
                  "masters?\"",
                  (unsigned long long)nms->member_id);
        nanosleep(&pause, NULL);
    }
    self->joining = false;
    return self_write(config->dir, self, err);
}

enum st_code
begin_replica(struct nms *nms, const struct nms_config *config, struct self *self,
              struct st_err *err)
{
    enum st_code code;
    uint64_t crl_number = 0;
    if (self->crl.len > 0 &&
        (code = ca_crl_number(self->crl.der, self->crl.len, &crl_number, err)))
        return st_wrap(err, "member.pb");
    if ((code = carrier_new(nms, config, self, crl_number, &nms->carrier, err)) ||
        (code = tell_new(nms, &nms->tell, err)))
        return code;
    state_watch_members(nms->state, members_changed, nms);
    if (self->joining)
        return (code = replica_join(nms, config, self, err))
                   ? code
                   : join_wait(nms, config, self, err);
    return replica_begin(nms, config, self, REPLICA_OPEN, err);
}

/* A master that stops in good order costs the others no election. */
void
begin_undo(struct nms *nms)
{
    struct replica_status status;
    if (!nms->replica)
        return;
    replica_status(nms->replica, &status);
    if (status.members > 1)
        (void)!replica_transfer_wait(nms->replica, 0, NMS_STOP_GRACE_MS, NULL);
    end_replica(nms);
}

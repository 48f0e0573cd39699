/* stctl status: every master is asked at once, each by a thread and a channel of its own,
 * so that one that is frozen costs no more than one call.  The masters of the context
 * first, then those that they know of besides. */
#include "tools/status.h"

#include <string.h>

static void *
ask(void *argument)
{
    struct status_master *master = argument;
    const Api__GetStatusRequest request = API__GET_STATUS_REQUEST__INIT;
    AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
    enum st_code code =
        connect_to(master->connection, master->index, &channel, &master->err);
    if (!code)
        code = rpc_unary(channel, "/api.ClusterManagement/GetStatus", &request.base,
                         &api__get_status_response__descriptor,
                         master->connection->timeout_ms, &master->answer, &master->err);
    if (code)
        master->answer = NULL;
    return NULL;
}

/* All addresses from this one on. */
static void
ask_all(struct status *status, size_t first)
{
    const size_t count = status->connection.context.address_count;
    struct status_master *masters = status->masters;
    for (size_t i = first; i < count; i++) {
        masters[i] =
            (struct status_master){.connection = &status->connection, .index = i};
        masters[i].started =
            pthread_create(&masters[i].thread, NULL, ask, &masters[i]) == 0;
    }
    for (size_t i = first; i < count; i++)
        if (masters[i].started)
            pthread_join(masters[i].thread, NULL);
        else
            ask(&masters[i]);
}

/* The answer that knows most: of a master that leads, or sees who does, else of any. */
static const struct status_master *
best_of(const struct status *status)
{
    const struct status_master *best = &status->masters[0];
    for (size_t i = 0; i < status->connection.context.address_count; i++) {
        const struct status_master *master = &status->masters[i];
        const Api__GetStatusResponse *answer = status_answer(master);
        if (!answer)
            continue;
        if (answer->leader_id && answer->leader_id == answer->member_id)
            return master;
        if (!best->answer || (answer->leader_id && !status_answer(best)->leader_id))
            best = master;
    }
    return best;
}

bool
status_is_at(const Api__Master *master, const struct st_address *address)
{
    return master->address.len == address->len &&
           !memcmp(master->address.data, address->bytes, address->len);
}

bool
status_has_answered(const struct status *status, const Api__Master *master)
{
    for (size_t i = 0; i < status->connection.context.address_count; i++) {
        const Api__GetStatusResponse *answer = status_answer(&status->masters[i]);
        if (answer && answer->member_id == master->id)
            return true;
    }
    return false;
}

/* Adds those whom the best one knows of, and the context does not. */
static void
learn_others(struct status *status)
{
    const Api__ListMastersRequest request = API__LIST_MASTERS_REQUEST__INIT;
    struct context *context = &status->connection.context;
    AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
    struct st_address address;
    if (connect_to(&status->connection, status->best->index, &channel, NULL) ||
        rpc_unary(channel, "/api.ClusterManagement/ListMasters", &request.base,
                  &api__list_masters_response__descriptor, status->connection.timeout_ms,
                  &status->list, NULL))
        return;
    const Api__ListMastersResponse *list = (const void *)status->list;
    for (size_t i = 0; i < list->n_masters; i++)
        if (!status_has_answered(status, list->masters[i]) &&
            !address_unpack(&list->masters[i]->address, &address, NULL) &&
            context->address_count < ADDRESSES_MAX &&
            !config_has_address(context, &address))
            context->addresses[context->address_count++] = address;
}

/* Twice where one of the others knows more: a master that was removed remembers those
 * that removed it. */
static void
ask_everybody(struct status *status)
{
    const struct status_master *before = NULL;
    size_t asked = 0;
    for (int round = 0; round < 2; round++) {
        ask_all(status, asked);
        asked = status->connection.context.address_count;
        status->best = best_of(status);
        if (!status->best->answer || status->best == before)
            return;
        before = status->best;
        if (status->list)
            connect_answer_free(TAKE(status->list));
        learn_others(status);
    }
    ask_all(status, asked);
}

static enum st_code
report(const struct invocation *in, const struct status *status, struct st_err *err)
{
    const struct status_master *best = status->best;
    const char *name = status->connection.context.name;
    if (!best->answer) {
        *err = best->err;
        return status->known > 1
                   ? st_wrap(err, "cluster %s: not one of its %zu masters answers", name,
                             status->known)
                   : st_wrap(err, "cluster %s", name);
    }
    enum st_code code = ST_OK;
    if (in->json)
        code = status_print_json(status, err);
    else
        status_print(status);
    if (!code && status_answer(best)->leader_id == 0)
        return st_fail_for(err, ST_UNAVAILABLE, ST_REASON_NO_QUORUM,
                           "cluster %s has no leader", name);
    return code;
}

enum st_code
stctl_status(const struct invocation *in, struct st_err *err)
{
    struct status status = {0};
    enum st_code code = connect_prepare(in, &status.connection, err);
    if (!code) {
        connect_briefly(in, &status.connection);
        status.known = status.connection.context.address_count;
        ask_everybody(&status);
        code = report(in, &status, err);
    }
    for (size_t i = 0; i < ADDRESSES_MAX; i++)
        if (status.masters[i].answer)
            connect_answer_free(status.masters[i].answer);
    if (status.list)
        connect_answer_free(status.list);
    connect_close(&status.connection);
    return code;
}

/* stctl status: every master is asked at once, each by a thread and a channel of its own,
 * so that one that is frozen costs no more than one call. */
#include "tools/connect.h"
#include "tools/table.h"
#include "tools/text.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

struct master {
    const struct connection *connection;
    size_t index;
    pthread_t thread;
    bool started;
    /* Written by the thread, read after it was joined. */
    ProtobufCMessage *answer;
    struct st_err err;
};

static void *
ask(void *argument)
{
    struct master *master = argument;
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

static void
ask_all(const struct connection *connection, struct master *masters)
{
    size_t count = connection->context.address_count;
    for (size_t i = 0; i < count; i++) {
        masters[i] = (struct master){.connection = connection, .index = i};
        masters[i].started =
            pthread_create(&masters[i].thread, NULL, ask, &masters[i]) == 0;
    }
    for (size_t i = 0; i < count; i++)
        if (masters[i].started)
            pthread_join(masters[i].thread, NULL);
        else
            ask(&masters[i]);
}

static const Api__GetStatusResponse *
status_of(const struct master *master)
{
    return (const void *)master->answer;
}

static const char *
state_of(const struct master *master)
{
    const Api__GetStatusResponse *status = status_of(master);
    if (status)
        return status->leader_id == 0                   ? "no leader"
               : status->leader_id == status->member_id ? "leader"
                                                        : "follower";
    if (master->err.reason == ST_REASON_OTHER_SERVER)
        return "other cluster";
    if (master->err.reason == ST_REASON_UNREACHABLE)
        return "unreachable";
    return "refuses";
}

/* The answer that knows most: of a master that sees a leader, else of any. */
static const struct master *
best_of(const struct master *masters, size_t count)
{
    const struct master *best = &masters[0];
    for (size_t i = 0; i < count; i++) {
        const Api__GetStatusResponse *status = status_of(&masters[i]);
        if (status && status->leader_id)
            return &masters[i];
        if (status && !best->answer)
            best = &masters[i];
    }
    return best;
}

static json_t *
masters_json(const struct context *context, const struct master *masters)
{
    json_t *list = json_array();
    for (size_t i = 0; i < context->address_count; i++) {
        char address[ADDRESS_TEXT_MAX];
        const Api__GetStatusResponse *status = status_of(&masters[i]);
        address_format(&context->addresses[i], address);
        json_t *one =
            json_pack("{s:s, s:s, s:b}", "address", address, "state",
                      state_of(&masters[i]), "reachable", masters[i].answer != NULL);
        if (status)
            json_object_update_new(
                one,
                json_pack("{s:I, s:I, s:I, s:I, s:s}", "member_id",
                          (json_int_t)status->member_id, "term", (json_int_t)status->term,
                          "commit_index", (json_int_t)status->commit_index,
                          "applied_index", (json_int_t)status->applied_index, "version",
                          status->version));
        else
            json_object_set_new(one, "error", json_string(masters[i].err.text));
        json_array_append_new(list, one);
    }
    return list;
}

static enum st_code
print_json(const struct context *context, const struct master *masters,
           const struct master *best, struct st_err *err)
{
    const Api__GetStatusResponse *status = status_of(best);
    return json_print(
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:b, s:o}", "context",
                  context->name, "cluster", status->cluster, "role", status->role,
                  "members", (int)status->members, "nodes", (int)status->nodes, "waiting",
                  (int)status->waiting, "enrolments", (int)status->enrolments, "leader",
                  status->leader_id != 0, "masters", masters_json(context, masters)),
        err);
}

static void
print_table(const struct context *context, const struct master *masters,
            const struct master *best)
{
    const Api__GetStatusResponse *status = status_of(best);
    AUTO(st_freep) char *cluster = text_printable(status->cluster);
    AUTO(st_freep) char *role = text_printable(status->role);
    printf("cluster     %s\nyour role   %s\nnodes       %u, %u of them not adopted\n"
           "enrolments  %u can be used\nmembers     %u\n\n",
           cluster, role, status->nodes, status->waiting, status->enrolments,
           status->members);
    AUTO(table_freep)
    struct table *table =
        table_new(5, (const char *[]){"MASTER", "STATE", "TERM", "APPLIED", "VERSION"});
    for (size_t i = 0; i < context->address_count; i++) {
        char address[ADDRESS_TEXT_MAX], term[24] = "-", applied[24] = "-";
        status = status_of(&masters[i]);
        address_format(&context->addresses[i], address);
        if (status) {
            snprintf(term, sizeof(term), "%" PRIu64, status->term);
            snprintf(applied, sizeof(applied), "%" PRIu64, status->applied_index);
        }
        table_row(table, (const char *[]){address, state_of(&masters[i]), term, applied,
                                          status ? status->version : "-"});
    }
    table_print(table, stdout, table_width(stdout));
}

static enum st_code
report(const struct invocation *in, const struct context *context,
       const struct master *masters, struct st_err *err)
{
    const struct master *best = best_of(masters, context->address_count);
    if (!best->answer) {
        *err = best->err;
        return st_wrap(err, "cluster %s", context->name);
    }
    enum st_code code = ST_OK;
    if (in->json)
        code = print_json(context, masters, best, err);
    else
        print_table(context, masters, best);
    if (!code && status_of(best)->leader_id == 0)
        return st_fail_for(err, ST_UNAVAILABLE, ST_REASON_NO_QUORUM,
                           "cluster %s has no leader", context->name);
    return code;
}

enum st_code
stctl_status(const struct invocation *in, struct st_err *err)
{
    CONNECTION connection = {0};
    struct master masters[ADDRESSES_MAX];
    enum st_code code = connect_prepare(in, &connection, err);
    if (code)
        return code;
    ask_all(&connection, masters);
    code = report(in, &connection.context, masters, err);
    for (size_t i = 0; i < connection.context.address_count; i++)
        if (masters[i].answer)
            connect_answer_free(masters[i].answer);
    return code;
}

/* stctl audit: every master is asked at once, each by a thread and a channel of its own;
 * who follows asks again and again for what came since. */
#include "tools/audit.h"

#include "proto/ident.h"
#include "proto/say.h"
#include "tools/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LINES_DEFAULT = 20,
    POLL_MS = 1000,
    SILENT_MS = 1000, /* for a master that did not answer the last time */
};

struct tail {
    struct connection connection;
    struct audit_master masters[ADDRESSES_MAX];
    size_t count;
    uint32_t lines;
    char node[NODE_ID_LEN + 1];
    bool json;
};

static void *
ask(void *argument)
{
    struct audit_master *master = argument;
    const uint32_t patience = master->connection->timeout_ms;
    enum st_code code = ST_OK;
    ProtobufCMessage *answer = NULL;
    master->err = (struct st_err){0};
    if (!master->channel)
        code =
            connect_to(master->connection, master->index, &master->channel, &master->err);
    if (!code)
        code = rpc_unary(master->channel, "/api.ClusterManagement/ListAudit",
                         &master->request.base, &api__list_audit_response__descriptor,
                         master->silent && patience > SILENT_MS ? SILENT_MS : patience,
                         &answer, &master->err);
    master->answer = code ? NULL : (Api__ListAuditResponse *)answer;
    return NULL;
}

static void
ask_all(struct tail *tail)
{
    struct audit_master *masters = tail->masters;
    for (size_t i = 0; i < tail->count; i++)
        masters[i].started =
            pthread_create(&masters[i].thread, NULL, ask, &masters[i]) == 0;
    for (size_t i = 0; i < tail->count; i++)
        if (masters[i].started)
            pthread_join(masters[i].thread, NULL);
        else
            ask(&masters[i]);
}

static void
say_master(const struct audit_master *master, const char *what, const char *why)
{
    char where[ADDRESS_TEXT_MAX], text[sizeof(master->err.text) + 120];
    address_format(&master->connection->context.addresses[master->index], where);
    snprintf(text, sizeof(text), "master %s %s%s%s", where, what, *why ? ": " : "", why);
    say_failed("stctl", text);
}

/* Once when it falls silent, once when it is back. */
static void
say_changes(struct tail *tail)
{
    for (size_t i = 0; i < tail->count; i++) {
        struct audit_master *master = &tail->masters[i];
        const bool silent = !master->answer;
        if (silent && !master->silent)
            say_master(master, "does not answer, and its lines are missing",
                       master->err.text);
        else if (!silent && master->silent)
            say_master(master, "answers again", "");
        master->silent = silent;
    }
}

static enum st_code
print_rows(const struct tail *tail, const struct audit_row *rows, size_t count,
           struct st_err *err)
{
    enum st_code code = ST_OK;
    for (size_t i = 0; !code && i < count; i++)
        if (tail->json)
            code = audit_print_json(&rows[i], err);
        else
            audit_print(&rows[i]);
    if (!code && fflush(stdout))
        return st_fail(err, ST_INTERNAL, "the answer cannot be written to stdout");
    return code;
}

/* At most so many of the last ones. */
static enum st_code
print_last(struct tail *tail, size_t most, struct st_err *err)
{
    AUTO(st_freep) struct audit_row *rows = NULL;
    const size_t count = audit_merge(tail->masters, tail->count, &rows);
    const size_t first = count > most ? count - most : 0;
    return print_rows(tail, rows + first, count - first, err);
}

/* From where the answers end; whether one of them has more already. */
static bool
move_on(struct tail *tail)
{
    bool more = false;
    for (size_t i = 0; i < tail->count; i++) {
        struct audit_master *master = &tail->masters[i];
        if (!master->answer)
            continue;
        master->request.after = master->answer->next;
        master->request.lines = AUDIT_LINES_MAX;
        more |= master->answer->more;
        connect_answer_free(&master->answer->base);
        master->answer = NULL;
    }
    return more;
}

static enum st_code
follow(struct tail *tail, struct st_err *err)
{
    const struct timespec pause = {POLL_MS / 1000, POLL_MS % 1000 * 1000000L};
    for (bool more = move_on(tail);; more = move_on(tail)) {
        if (!more)
            nanosleep(&pause, NULL);
        ask_all(tail);
        say_changes(tail);
        enum st_code code = print_last(tail, SIZE_MAX, err);
        if (code)
            return code;
    }
}

static enum st_code
nobody_answers(const struct tail *tail, struct st_err *err)
{
    const char *name = tail->connection.context.name;
    *err = tail->masters[0].err;
    return tail->count > 1
               ? st_wrap(err, "cluster %s: not one of its %zu masters answers", name,
                         tail->count)
               : st_wrap(err, "cluster %s", name);
}

static enum st_code
run(struct tail *tail, bool following, struct st_err *err)
{
    size_t answers = 0;
    ask_all(tail);
    for (size_t i = 0; i < tail->count; i++)
        answers += tail->masters[i].answer != NULL;
    if (answers == 0)
        return nobody_answers(tail, err);
    enum st_code code = print_last(tail, tail->lines, err);
    if (code)
        return code;
    say_changes(tail);
    return following ? follow(tail, err) : ST_OK;
}

static enum st_code
options_read(const struct invocation *in, struct tail *out, struct st_err *err)
{
    const char *lines = in->options[OPTION_LINES], *node = in->options[OPTION_NODE];
    enum st_code code = ST_OK;
    out->json = in->json;
    out->lines = LINES_DEFAULT;
    if (lines)
        code = text_count("--lines", lines, AUDIT_LINES_MAX, &out->lines, err);
    if (!code && node)
        code = text_node_prefix(node, out->node, err);
    return code;
}

static void
masters_fill(struct tail *tail)
{
    tail->count = tail->connection.context.address_count;
    for (size_t i = 0; i < tail->count; i++) {
        struct audit_master *master = &tail->masters[i];
        master->connection = &tail->connection;
        master->index = i;
        api__list_audit_request__init(&master->request);
        master->request.lines = tail->lines;
        master->request.node_id = tail->node;
    }
}

enum st_code
stctl_audit_tail(const struct invocation *in, struct st_err *err)
{
    struct tail tail = {0};
    enum st_code code = options_read(in, &tail, err);
    if (!code)
        code = connect_prepare(in, &tail.connection, err);
    if (!code) {
        connect_briefly(in, &tail.connection);
        masters_fill(&tail);
        code = run(&tail, in->options[OPTION_FOLLOW], err);
    }
    for (size_t i = 0; i < tail.count; i++) {
        if (tail.masters[i].answer)
            connect_answer_free(&tail.masters[i].answer->base);
        rpc_channel_close(tail.masters[i].channel);
    }
    connect_close(&tail.connection);
    return code;
}

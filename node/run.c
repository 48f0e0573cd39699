#include "node/run.h"

#include "node/disk.h"
#include "node/enrol.h"
#include "node/facts.h"
#include "node/join.h"
#include "node/retry.h"
#include "node/stop.h"
#include "node/unlock.h"
#include "proto/event.h"
#include "proto/scope.h"

#include <string.h>

static void
log_library(const char *line)
{
    event("grpc", "%s", line);
}

/* The address may come up after the volume is open: that is tried again too. */
static enum st_code
serve(const struct node *node, const struct identity *identity, struct st_err *err)
{
    struct retry retry = {.first_ms = node->retry_first_ms, .max_ms = node->retry_max_ms};
    struct rpc_server *server = NULL;
    char where[ADDRESS_TEXT_MAX];
    struct st_err failure = {0};
    while (join_start(node, identity, &server, &failure)) {
        if (!retry_wait(&retry, "serve", &failure))
            return st_fail(err, ST_CANCELLED, "told to stop");
        failure = (struct st_err){0};
    }
    address_format_port(&node->address, rpc_server_port(server), where);
    event("serve", "address=%s node=%s", where, identity->node_id);
    stop_wait(UINT32_MAX);
    join_stop(server);
    return ST_OK;
}

/* gRPC is not there yet when a child may have to be started: only these rows need it. */
static enum st_code
be_node(struct node *node, const struct facts *facts, enum start_row row,
        struct st_err *err)
{
    IDENTITY identity = {0};
    bool known = true;
    rpc_init(log_library);
    enum st_code code = row == START_UNLOCK
                            ? unlock_run(node, &identity, &known, err)
                            : enrol_run(node, facts, row == START_RESUME, &identity, err);
    if (!code && known)
        code = serve(node, &identity, err);
    else if (!code) {
        event("unlock",
              "decision=already volume=/dev/mapper/" DISK_MAPPING
              " reason=\"opened earlier in this boot; port %d is served after "
              "the next reboot\"",
              node->node_port);
        stop_wait(UINT32_MAX);
    }
    rpc_shutdown();
    return code;
}

static enum st_code
refuse(const struct facts *facts, const char *sentence, struct st_err *err)
{
    if (facts->why.code)
        return st_fail(err, ST_FAILED_PRECONDITION, "%s (%s)", sentence, facts->why.text);
    return st_fail(err, ST_FAILED_PRECONDITION, "%s", sentence);
}

/* What a start after the last durable step but one finds. */
static enum st_code
clear_pending(const struct node *node, const struct facts *facts, struct st_err *err)
{
    if (facts->start.pending == START_FILE_ABSENT)
        return ST_OK;
    return esp_erase(node->esp, ESP_PENDING, err);
}

static enum st_code
do_row(struct node *node, const struct supervise *bootstrap, struct st_err *err)
{
    struct facts facts;
    enum st_code code;
    facts_observe(node, bootstrap != NULL, &facts);
    struct start_verdict verdict = start_decide(&facts.start);
    if (verdict.row == START_REFUSE)
        return refuse(&facts, verdict.sentence, err);
    event("start", "node=%s row=\"%s\"",
          *node->config.node_id ? node->config.node_id : "-", verdict.sentence);
    switch (verdict.row) {
    case START_BOOTSTRAP:
        return supervise_run(bootstrap, err);
    case START_UNLOCK:
        if ((code = clear_pending(node, &facts, err)))
            return code;
        return be_node(node, &facts, verdict.row, err);
    case START_ENROL:
    case START_RESUME:
        return be_node(node, &facts, verdict.row, err);
    case START_REFUSE:
        break;
    }
    return st_fail(err, ST_INTERNAL, "no such row");
}

enum st_code
run_node(struct node *node, const char *esp, const struct supervise *bootstrap,
         struct st_err *err)
{
    enum st_code code = esp_open(esp, &node->esp, err);
    if (code)
        return code;
    code = do_row(node, bootstrap, err);
    esp_close(TAKE(node->esp));
    config_wipe(&node->config);
    return code == ST_CANCELLED && stop_asked() ? ST_OK : code;
}

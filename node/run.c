#include "node/run.h"

#include "node/control.h"
#include "node/disk.h"
#include "node/enrol.h"
#include "node/facts.h"
#include "node/notify.h"
#include "node/retry.h"
#include "node/service.h"
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

static void
tell_open(const struct node *node)
{
    notify_ready("%s", !node->volume ? "unlocked; there is no data volume"
                       : disk_is_mapped(DISK_MAPPING)
                           ? "/dev/mapper/" DISK_MAPPING " is open"
                           : "unlocked; this kernel has no device-mapper");
}

/* The disk is open, and PCR 12 capped: systemd goes on, and crypttab's volumes are given
 * their keys, or told that they get none in this boot. */
static enum st_code
open_further(const struct node *node, struct st_err *err)
{
    tell_open(node);
    return node->crypttab ? crypttab_serve(node->crypttab, err) : ST_OK;
}

/* The address may come up after the volume is open: that is tried again too. */
static enum st_code
serve(struct node *node, const struct identity *identity, struct st_err *err)
{
    struct retry retry = {.first_ms = node->retry_first_ms, .max_ms = node->retry_max_ms};
    struct service *service = NULL;
    char where[ADDRESS_TEXT_MAX];
    struct st_err failure = {0};
    while (service_start(node, identity, &service, &failure)) {
        if (!retry_wait(&retry, "serve", &failure))
            return st_fail(err, ST_CANCELLED, "told to stop");
        failure = (struct st_err){0};
    }
    address_format_port(&node->address, service_port(service), where);
    tell_open(node);
    event("serve", "address=%s node=%s", where, identity->node_id);
    service_wait(service);
    service_stop(service);
    return ST_OK;
}

/* gRPC is not there yet when a child may have to be started: only these rows need it. */
static enum st_code
be_node(struct node *node, const struct facts *facts, enum start_row row,
        struct st_err *err)
{
    IDENTITY identity = {0};
    bool known = true;
    if (!node->rpc_begun)
        rpc_init(log_library);
    node->rpc_begun = true;
    enum st_code code = row == START_UNLOCK
                            ? unlock_run(node, &identity, &known, err)
                            : enrol_run(node, facts, row == START_RESUME, &identity, err);
    if (!code)
        code = open_further(node, err);
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
make_cluster(const struct node *node, const struct bootstrap *bootstrap,
             struct st_err *err)
{
    enum st_code code;
    if (node->control_state == CONTROL_IS_PLAIN)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "%s has what is left of a cluster in the clear: no other is made "
                       "there; remove it",
                       node->control_folder);
    if ((code = control_make(node, err)) || (code = bootstrap_cluster(bootstrap, err)))
        return code;
    if (node->control)
        event("warning", "reason=\"until this machine has enrolled nothing but its TPM "
                         "opens the control volume\"");
    return ST_OK;
}

/* From here on the master is the keeper's; this process has nothing else to do. */
static enum st_code
be_first_master(const struct node *node, const struct bootstrap *bootstrap,
                struct st_err *err)
{
    if (node->control_state == CONTROL_IS_SHUT)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the control volume of this machine does not open: no cluster is "
                       "made beside it");
    enum st_code code = control_check_new(node, err);
    if (!code && !bootstrap_done(bootstrap))
        code = make_cluster(node, bootstrap, err);
    if (code)
        return code;
    keeper_look(node->keeper);
    notify_ready("first master of %s; this machine is no node yet", bootstrap->name);
    stop_wait(UINT32_MAX);
    return ST_OK;
}

static enum st_code
do_row(struct node *node, const struct bootstrap *bootstrap, struct st_err *err)
{
    struct facts facts;
    enum st_code code;
    facts_observe(node, bootstrap != NULL, &facts);
    struct start_verdict verdict = start_decide(&facts.start);
    if (verdict.row != START_BOOTSTRAP && node->control_state != CONTROL_IS_SHUT)
        keeper_look(node->keeper);
    if (verdict.row == START_REFUSE)
        return refuse(&facts, verdict.sentence, err);
    event("start", "node=%s row=\"%s\"",
          *node->config.node_id ? node->config.node_id : "-", verdict.sentence);
    notify_status("%s", verdict.sentence);
    switch (verdict.row) {
    case START_BOOTSTRAP:
        return be_first_master(node, bootstrap, err);
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

static enum st_code
look_and_do(struct node *node, const char *esp, const struct bootstrap *bootstrap,
            struct st_err *err)
{
    enum st_code code = esp_open(esp, &node->esp, err);
    if (code)
        return code;
    if (!(code = control_open(node, err)))
        code = do_row(node, bootstrap, err);
    esp_close(TAKE(node->esp));
    config_wipe(&node->config);
    if (code && node->crypttab)
        secret_wipe(&node->crypttab->disk_key);
    return code;
}

/* An init that did not get to its end left a member's file, too; and what lies where a
 * control volume belongs that does not open is not its. */
static bool
is_master(const struct node *node, const struct bootstrap *bootstrap)
{
    return node->control_state != CONTROL_IS_SHUT && keeper_has_master(node->keeper) &&
           (!bootstrap || bootstrap_done(bootstrap));
}

/* A master answers the other machines, whatever became of this one as a node: with a
 * master beside it, the node is tried again and does not end. */
static enum st_code
do_until_stopped(struct node *node, const char *esp, const struct bootstrap *bootstrap,
                 struct st_err *err)
{
    struct retry retry = {.first_ms = node->retry_first_ms, .max_ms = node->retry_max_ms};
    for (;;) {
        struct st_err failure = {0};
        enum st_code code = look_and_do(node, esp, bootstrap, &failure);
        if (code && code != ST_CANCELLED && stop_asked()) /* so are its children */
            event("warning", "reason=\"while it was told to stop: %s\"", failure.text);
        if (!code || stop_asked())
            return ST_OK;
        if (!is_master(node, bootstrap)) {
            *err = failure;
            return code;
        }
        if (!retry_wait(&retry, "node", &failure))
            return ST_OK;
    }
}

enum st_code
run_node(struct node *node, const char *esp, const struct bootstrap *bootstrap,
         struct st_err *err)
{
    if (!node->control && is_master(node, bootstrap))
        keeper_look(node->keeper);
    enum st_code code = do_until_stopped(node, esp, bootstrap, err);
    secret_wipe(&node->control_second);
    if (node->rpc_begun)
        rpc_shutdown();
    if (!code && node->keeper && keeper_gone(node->keeper))
        code = st_fail(err, ST_INTERNAL, "the process that runs the master ended");
    return code;
}

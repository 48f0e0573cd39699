#include "tools/connect.h"
#include "proto/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    PATIENT_MS = 60000,
    BRIEF_MS = 5000,
    PATIENCE_S = 1, /* after which a person wonders */
};

enum st_code
connect_prepare(const struct invocation *in, struct connection *out, struct st_err *err)
{
    *out = (struct connection){.timeout_ms = in->timeout_ms};
    AUTO(json_freep) json_t *config = NULL;
    enum st_code code = config_read(&config, err);
    if (code)
        return code;
    const char *name = in->options[OPTION_CONTEXT];
    if (!name)
        name = config_current(config);
    if (!name)
        return st_fail(err, ST_NOT_FOUND,
                       "no cluster is in use: `stctl context add` one, or `use` it");
    code = config_find(config, name, &out->context, err);
    if (!code)
        code = config_credentials(&out->context, &out->cert, &out->seed, err);
    return code ? st_wrap(err, "context %s", name) : ST_OK;
}

static enum st_code
open_channel(const struct connection *connection, size_t first, size_t count,
             struct rpc_channel **out, struct st_err *err)
{
    const struct rpc_channel_config config = {
        .addresses = connection->context.addresses + first,
        .address_count = count,
        .port = PORT_CLUSTER_MANAGEMENT,
        .server_cert = connection->context.masters.der,
        .server_cert_len = connection->context.masters.len,
        .cert = &connection->cert,
        .seed = &connection->seed,
    };
    return rpc_channel_open(&config, out, err);
}

enum st_code
connect_open(const struct invocation *in, struct connection *out, struct st_err *err)
{
    enum st_code code = connect_prepare(in, out, err);
    if (code)
        return code;
    return open_channel(out, 0, out->context.address_count, &out->channel, err);
}

enum st_code
connect_to(const struct connection *connection, size_t master, struct rpc_channel **out,
           struct st_err *err)
{
    return open_channel(connection, master, 1, out, err);
}

void
connect_close(struct connection *connection)
{
    rpc_channel_close(connection->channel);
    connection->channel = NULL;
    secret_wipe(&connection->seed);
}

/* What a person reads who has waited for a moment; in a signal's handler. */
static char waiting[120];

static void
say_waiting(int signal)
{
    (void)signal;
    (void)!write(STDERR_FILENO, waiting, strlen(waiting));
}

static void
begin_waiting(const struct connection *connection)
{
    const struct sigaction action = {.sa_handler = say_waiting, .sa_flags = SA_RESTART};
    if (!isatty(STDERR_FILENO))
        return;
    snprintf(waiting, sizeof(waiting), "waiting up to %u s: %s ...\n",
             connection->timeout_ms / 1000,
             connection->why ? connection->why : "no master has answered yet");
    sigaction(SIGALRM, &action, NULL);
    alarm(PATIENCE_S);
}

/* Who asks for something else changes something. */
static bool
only_asks(const char *method)
{
    static const char *const words[] = {"Get", "List", "Test", "Fetch"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (!strncmp(method, words[i], strlen(words[i])))
            return true;
    return false;
}

static enum st_code
call(const struct connection *connection, struct rpc_channel *channel, const char *method,
     const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
     ProtobufCMessage **out, struct st_err *err)
{
    char path[80], where[ADDRESS_TEXT_MAX];
    snprintf(path, sizeof(path), "/api.ClusterManagement/%s", method);
    begin_waiting(connection);
    enum st_code code =
        rpc_unary(channel, path, request, answer, connection->timeout_ms, out, err);
    alarm(0);
    if (!code)
        return ST_OK;
    if (code == ST_DEADLINE_EXCEEDED && !only_asks(method))
        err->reason = ST_REASON_LOST;
    /* Where nobody answered the sentence says already who. */
    if (err->reason == ST_REASON_UNREACHABLE || err->reason == ST_REASON_LOST ||
        err->reason == ST_REASON_OTHER_SERVER || code == ST_DEADLINE_EXCEEDED)
        return st_wrap(err, "cluster %s", connection->context.name);
    address_format(rpc_channel_address(channel), where);
    return st_wrap(err, "cluster %s, master %s%s", connection->context.name, where,
                   code == ST_INTERNAL ? ", whose log says more" : "");
}

static bool
did_nothing(const struct st_err *err)
{
    return err->reason == ST_REASON_NO_LEADER || err->reason == ST_REASON_UNREACHABLE ||
           err->reason == ST_REASON_OTHER_SERVER;
}

/* A moment at least, so that those who were not asked can answer. */
static uint32_t
what_is_left(int64_t until, uint32_t timeout_ms)
{
    const int64_t left = until - clock_ms();
    if (left >= CONNECT_ONE_MS)
        return (uint32_t)left;
    return timeout_ms < CONNECT_ONE_MS ? timeout_ms : CONNECT_ONE_MS;
}

/* After a master that found no leader: one that is not cut off from the others knows
 * better.  It stays the one that is asked.  err stays where nobody does. */
static enum st_code
call_others(struct connection *connection, const char *method,
            const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
            ProtobufCMessage **out, struct st_err *err)
{
    const struct st_address asked = *rpc_channel_address(connection->channel);
    for (size_t i = 0; i < connection->context.address_count; i++) {
        AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
        struct st_err other = {0};
        if (address_equal(&asked, &connection->context.addresses[i]) ||
            connect_to(connection, i, &channel, &other))
            continue;
        enum st_code code =
            call(connection, channel, method, request, answer, out, &other);
        if (code && did_nothing(&other))
            continue;
        rpc_channel_close(connection->channel);
        connection->channel = TAKE(channel);
        if (code)
            *err = other;
        return code;
    }
    return err->code;
}

enum st_code
connect_call(struct connection *connection, const char *method,
             const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
             ProtobufCMessage **out, struct st_err *err)
{
    const uint32_t timeout_ms = connection->timeout_ms;
    const char *const why = connection->why;
    const int64_t until = clock_ms() + timeout_ms;
    enum st_code code =
        call(connection, connection->channel, method, request, answer, out, err);
    if (!code || err->reason != ST_REASON_NO_LEADER)
        return code;
    connection->timeout_ms = what_is_left(until, timeout_ms);
    connection->why = "a master found no leader, asking another";
    code = call_others(connection, method, request, answer, out, err);
    connection->timeout_ms = timeout_ms;
    connection->why = why;
    return code;
}

enum st_code
connect_once(const struct invocation *in, const char *method,
             const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
             ProtobufCMessage **out, struct st_err *err)
{
    CONNECTION connection = {0};
    enum st_code code = connect_open(in, &connection, err);
    return code ? code : connect_call(&connection, method, request, answer, out, err);
}

enum st_code
connect_call_one(const struct connection *connection, size_t master, const char *method,
                 const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *answer, ProtobufCMessage **out,
                 struct st_err *err)
{
    AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
    struct connection short_one = *connection;
    char address[ADDRESS_TEXT_MAX], why[ADDRESS_TEXT_MAX + 16];
    address_format(&connection->context.addresses[master], address);
    snprintf(why, sizeof(why), "asking %s, too", address);
    short_one.why = why;
    if (short_one.timeout_ms > CONNECT_ONE_MS)
        short_one.timeout_ms = CONNECT_ONE_MS;
    enum st_code code = connect_to(connection, master, &channel, err);
    if (!code)
        code = call(&short_one, channel, method, request, answer, out, err);
    secret_wipe(&short_one.seed);
    return code;
}

void
connect_patiently(const struct invocation *in, struct connection *connection,
                  const char *why)
{
    connection->why = why;
    if (!in->options[OPTION_TIMEOUT])
        connection->timeout_ms = PATIENT_MS;
}

void
connect_briefly(const struct invocation *in, struct connection *connection)
{
    if (!in->options[OPTION_TIMEOUT])
        connection->timeout_ms = BRIEF_MS;
}

enum st_code
connect_insist(struct connection *connection, const char *method,
               const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
               ProtobufCMessage **out, struct st_err *err)
{
    enum st_code code = connect_call(connection, method, request, answer, out, err);
    if (!code || (err->reason != ST_REASON_RECORDED && err->reason != ST_REASON_LOST))
        return code;
    for (size_t i = 0; i < connection->context.address_count; i++) {
        AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
        struct st_err other = {0};
        if (connect_to(connection, i, &channel, &other))
            continue;
        code = call(connection, channel, method, request, answer, out, &other);
        if (!code || code == ST_NOT_FOUND)
            return ST_OK;
    }
    return err->code;
}

void
connect_answer_free(ProtobufCMessage *answer)
{
    protobuf_c_message_free_unpacked(answer, &secret_allocator);
}

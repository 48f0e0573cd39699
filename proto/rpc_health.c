/* grpc.health.v1: SERVING until the server drains. */
#include "proto/rpc_internal.h"

#include "proto/health.pb-c.h"

enum {
    CHECK_MS = 10 * 1000,
    WATCH_MS = 10 * 60 * 1000, /* then the watcher asks again */
    FIRST_MS = 10 * 1000,
    CALLS_MAX = 256,
};

static void
send_status(struct rpc_call *call,
            Grpc__Health__V1__HealthCheckResponse__ServingStatus is)
{
    Grpc__Health__V1__HealthCheckResponse answer =
        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    answer.status = is;
    rpc_call_send(call, &answer.base);
}

static bool
serving(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool is = server->phase == SERVER_RUNNING;
    pthread_mutex_unlock(&server->lock);
    return is;
}

static bool
known(const struct rpc_call *call, const ProtobufCMessage *message)
{
    const char *service =
        ((const Grpc__Health__V1__HealthCheckRequest *)message)->service;
    return !*service || rpc_service_known(call->server, service);
}

static void
check(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    static const struct st_err unknown = {
        .code = ST_NOT_FOUND, .reason = ST_REASON_NOT_FOUND, .text = "no such service"};
    if (event != RPC_MESSAGE)
        return;
    if (!known(call, message)) {
        rpc_call_finish(call, &unknown);
        return;
    }
    send_status(
        call, serving(call->server)
                  ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                  : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
    rpc_call_finish(call, NULL);
}

static void
end_watch(struct rpc_call *call)
{
    static const struct st_err down = {.code = ST_UNAVAILABLE, .text = "shutting down"};
    send_status(call,
                GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
    rpc_call_finish(call, &down);
}

static void
watch(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    if (event != RPC_MESSAGE)
        return;
    /* A drain that begins after this look finds the call in the list. */
    if (!serving(call->server))
        end_watch(call);
    else if (known(call, message))
        send_status(call,
                    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    else
        send_status(
            call,
            GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN);
}

const struct rpc_method rpc_health_methods[2] = {
    {.path = "/grpc.health.v1.Health/Check",
     .in = &grpc__health__v1__health_check_request__descriptor,
     .out = &grpc__health__v1__health_check_response__descriptor,
     .deadline_ms = CHECK_MS,
     .max_calls = CALLS_MAX,
     .handle = check},
    {.path = "/grpc.health.v1.Health/Watch",
     .in = &grpc__health__v1__health_check_request__descriptor,
     .out = &grpc__health__v1__health_check_response__descriptor,
     .streaming = true,
     .deadline_ms = WATCH_MS,
     .first_ms = FIRST_MS,
     .max_calls = CALLS_MAX,
     .handle = watch},
};

void
rpc_health_drain(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    for (struct rpc_call *call = server->calls; call; call = call->next) {
        pthread_mutex_lock(&call->lock);
        bool watches = call->method == &rpc_health_methods[1];
        pthread_mutex_unlock(&call->lock);
        if (watches)
            end_watch(call);
    }
    pthread_mutex_unlock(&server->lock);
}

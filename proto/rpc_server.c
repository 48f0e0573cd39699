/* A port: its threads, its list of calls, and its end. */
#include "proto/rpc_internal.h"

#include "proto/clock.h"
#include "proto/rpc_accept.h"
#include "proto/scope.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DEFAULT_MAX_MESSAGE = 256 * 1024,
    DEFAULT_MAX_CALLS = 8192,
    DEFAULT_MAX_CALLS_PER_NETWORK = 512,
    DEFAULT_MAX_STREAMS = 128,
    MAX_METADATA = 8 * 1024,
    BUFFERS_MAX = 256 * 1024 * 1024, /* of half-received messages; then streams are cut */
    HANDSHAKE_MS = 10000,
    IDLE_MS = 30000,
    PING_INTERVAL_MS = 300,
    TRIM_MS = 60000,
};

static const struct rpc_method *
find_in(const struct rpc_method *methods, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(methods[i].path, path))
            return &methods[i];
    return NULL;
}

const struct rpc_method *
rpc_method_find(const struct rpc_server *server, const char *path)
{
    const struct rpc_method *found = find_in(server->methods, server->method_count, path);
    if (!found)
        found = find_in(rpc_health_methods, 2, path);
    if (!found && server->reflection)
        found = find_in(rpc_reflection_methods, 1, path);
    return found;
}

static bool
service_in(const struct rpc_method *methods, size_t count, const char *service)
{
    size_t len = strlen(service);
    for (size_t i = 0; i < count; i++)
        if (!strncmp(methods[i].path + 1, service, len) &&
            methods[i].path[1 + len] == '/')
            return true;
    return false;
}

bool
rpc_service_known(const struct rpc_server *server, const char *service)
{
    return service_in(server->methods, server->method_count, service) ||
           service_in(rpc_health_methods, 2, service) ||
           (server->reflection && service_in(rpc_reflection_methods, 1, service));
}

AUTO_DEFINE(struct rpc_server *, server_freep, rpc_server_free)

static void accept_complete(struct rpc_tag *tag, bool ok);

static void
accept_next(struct rpc_accept *accept)
{
    struct rpc_server *server = accept->server;
    grpc_call_details_init(&accept->details);
    grpc_metadata_array_init(&accept->metadata);
    accept->call = NULL;
    accept->tag.complete = accept_complete;
    HANDED_TO_GRPC(&accept->tag);
    grpc_server_request_call(server->grpc, &accept->call, &accept->details,
                             &accept->metadata, server->queue, server->queue,
                             &accept->tag);
}

static void
accept_complete(struct rpc_tag *tag, bool ok)
{
    struct rpc_accept *accept = TAG_OWNER(tag, struct rpc_accept, tag);
    if (ok)
        rpc_call_begin(accept);
    grpc_call_details_destroy(&accept->details);
    grpc_metadata_array_destroy(&accept->metadata);
    if (ok) /* else the server shuts down */
        accept_next(accept);
}

/* A thousand connections leave 100 MB behind when they are gone, in pieces that the C
 * library returns only when asked. */
static void
trim(int64_t now)
{
    static _Atomic int64_t next;
    int64_t due = atomic_load(&next);
    if (now >= due && atomic_compare_exchange_strong(&next, &due, now + TRIM_MS))
        secret_trim_process();
}

/* gRPC's C interface has no alarms: whoever comes by looks after the deadlines. */
static gpr_timespec
sweep(struct rpc_server *server)
{
    static const struct st_err late = {.code = ST_DEADLINE_EXCEEDED,
                                       .text = "took too long"};
    int64_t now = clock_ms();
    pthread_mutex_lock(&server->lock);
    bool idle = !server->calls;
    if (now >= server->next_sweep) {
        server->next_sweep = now + SWEEP_MS;
        for (struct rpc_call *call = server->calls; call; call = call->next)
            if (now >= call->deadline)
                rpc_call_expire(call, now, &late);
    }
    pthread_mutex_unlock(&server->lock);
    trim(now);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(idle ? TRIM_MS : SWEEP_MS, GPR_TIMESPAN));
}

static void *
serve(void *argument)
{
    struct rpc_server *server = argument;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(server->queue, sweep(server), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            struct rpc_tag *tag = event.tag;
            TAKEN_FROM_GRPC(tag);
            tag->complete(tag, event.success != 0);
        }
    }
}

static grpc_server *
make_server(const struct rpc_server_config *config)
{
    uint32_t streams = config->max_streams_per_connection;
    size_t message = config->max_message;
    struct {
        const char *key;
        int value;
    } limits[] = {
        {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
         (int)(message ? message : DEFAULT_MAX_MESSAGE)},
        {GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)(streams ? streams : DEFAULT_MAX_STREAMS)},
        {GRPC_ARG_MAX_METADATA_SIZE, MAX_METADATA},
        {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS},
        {GRPC_ARG_MAX_CONNECTION_IDLE_MS, IDLE_MS},
        {GRPC_ARG_ALLOW_REUSEPORT, 0},
        /* Our clients ask often whether a master is frozen. */
        {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_INTERVAL_MS},
        /* 1 KiB of gzip must not become 1 MiB here. */
        {GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0},
        {GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1},
        {GRPC_ARG_ENABLE_CHANNELZ, 0},
    };
    enum {
        COUNT = sizeof(limits) / sizeof(*limits)
    };
    grpc_resource_quota *quota = grpc_resource_quota_create("smalltown");
    grpc_resource_quota_resize(quota, BUFFERS_MAX);
    grpc_arg args[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++)
        args[i] = (grpc_arg){.type = GRPC_ARG_INTEGER,
                             .key = (char *)limits[i].key,
                             .value.integer = limits[i].value};
    args[COUNT] = (grpc_arg){
        .type = GRPC_ARG_POINTER,
        .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
        .value.pointer = {.p = quota, .vtable = grpc_resource_quota_arg_vtable()}};
    const grpc_channel_args all = {COUNT + 1, args};
    grpc_server *server = grpc_server_create(&all, NULL);
    grpc_resource_quota_unref(quota);
    return server;
}

/* gRPC does not say why it could not listen: the kernel is asked again. */
static enum st_code
why_not(const struct st_address *address, uint16_t port, const char *text,
        struct st_err *err)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    bool six = address->len == 16;
    int one = 1, problem = 0;
    memcpy(six ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr, address->bytes,
           address->len);
    int probe = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        problem = errno;
    else {
        setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(probe, six ? (void *)&v6 : (void *)&v4, six ? sizeof(v6) : sizeof(v4)) ||
            listen(probe, 1))
            problem = errno;
        close(probe);
    }
    if (problem == EADDRINUSE)
        return st_fail(err, ST_UNAVAILABLE, "%s is in use by another program", text);
    return st_fail(err, ST_UNAVAILABLE, "cannot listen on %s: %s", text,
                   problem ? strerror(problem) : "gRPC refused");
}

static enum st_code
listen_on(struct rpc_server *server, const struct rpc_server_config *config,
          struct st_err *err)
{
    grpc_server_credentials *credentials = rpc_tls_server(config, err);
    enum st_code code = credentials ? ST_OK : err ? err->code : ST_INTERNAL;
    server->port = config->port;
    for (size_t i = 0; !code && i < config->address_count; i++) {
        char text[ADDRESS_TEXT_MAX];
        address_format_port(&config->addresses[i], server->port, text);
        int port = grpc_server_add_http2_port(server->grpc, text, credentials);
        if (port <= 0)
            code = why_not(&config->addresses[i], server->port, text, err);
        else
            rpc_accept_guard(server->port = (uint16_t)port);
    }
    if (credentials)
        grpc_server_credentials_release(credentials);
    return code;
}

static struct rpc_server *
server_new(const struct rpc_server_config *config)
{
    struct rpc_server *server = calloc(1, sizeof(*server));
    if (!server)
        return NULL;
    server->methods = config->methods;
    server->method_count = config->method_count;
    server->reflection = config->reflection;
    server->context = config->context;
    server->admit = config->admit;
    server->want_client_cert = config->want_client_cert;
    server->max_calls = config->max_calls ? config->max_calls : DEFAULT_MAX_CALLS;
    server->max_calls_per_network = config->max_calls_per_network
                                        ? config->max_calls_per_network
                                        : DEFAULT_MAX_CALLS_PER_NETWORK;
    (void)!getrandom(&server->network_seed, sizeof(server->network_seed), GRND_NONBLOCK);
    server->network_seed |= 1;
    server->rooms = rpc_rooms_new(server);
    if (!server->rooms) {
        free(server);
        return NULL;
    }
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    server->grpc = make_server(config);
    server->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->grpc, server->queue, NULL);
    return server;
}

enum st_code
rpc_server_start(const struct rpc_server_config *config, struct rpc_server **out,
                 struct st_err *err)
{
    AUTO(server_freep) struct rpc_server *server = server_new(config);
    if (!server)
        return st_fail(err, ST_INTERNAL, "out of memory");
    enum st_code code = listen_on(server, config, err);
    if (code)
        return code;
    grpc_server_start(server->grpc);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = cores < 1                    ? 1
                    : cores > SERVER_THREADS_MAX ? SERVER_THREADS_MAX
                                                 : (size_t)cores;
    for (size_t i = 0; i < 2 * wanted; i++) {
        server->accepts[i].server = server;
        accept_next(&server->accepts[i]);
    }
    for (; server->thread_count < wanted; server->thread_count++) {
        int problem =
            pthread_create(&server->threads[server->thread_count], NULL, serve, server);
        if (problem)
            return st_fail(err, ST_INTERNAL, "cannot start a thread: %s",
                           strerror(problem));
    }
    *out = TAKE(server);
    return ST_OK;
}

uint16_t
rpc_server_port(const struct rpc_server *server)
{
    return server->port;
}

/* The end of a port, in order: nothing new, grace, UNAVAILABLE, cut, joined. */
#include "proto/rpc_internal.h"
#include "proto/clock.h"

#include <stdlib.h>
#include <time.h>

enum {
    CUT_MS = 1000, /* for UNAVAILABLE to reach the clients */
};

/* Until every call is done or the time is up. */
static bool
wait_for_calls(struct rpc_server *server, uint32_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&server->lock);
    while (server->calls)
        if (pthread_cond_clockwait(&server->changed, &server->lock, CLOCK_MONOTONIC,
                                   &until))
            break;
    bool done = !server->calls;
    pthread_mutex_unlock(&server->lock);
    return done;
}

static void
end_calls(struct rpc_server *server)
{
    static const struct st_err down = {.code = ST_UNAVAILABLE, .text = "shutting down"};
    pthread_mutex_lock(&server->lock);
    for (struct rpc_call *call = server->calls; call; call = call->next)
        rpc_call_expire(call, clock_ms(), &down);
    pthread_mutex_unlock(&server->lock);
}

/* True for the one who shall stop the server; the others wait until it is stopped. */
static bool
begin_stop(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool first = server->phase == SERVER_RUNNING;
    if (first)
        server->phase = SERVER_DRAINING;
    while (!first && server->phase != SERVER_STOPPED)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
    return first;
}

static void
end_stop(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->phase = SERVER_STOPPED;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void
join(struct rpc_server *server)
{
    grpc_completion_queue_shutdown(server->queue);
    for (size_t i = 0; i < server->thread_count; i++)
        pthread_join(server->threads[i], NULL);
    if (server->thread_count)
        return;
    while (grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                      NULL)
               .type != GRPC_QUEUE_SHUTDOWN)
        continue;
}

void
rpc_server_stop(struct rpc_server *server, uint32_t grace_ms)
{
    if (!begin_stop(server))
        return;
    grpc_completion_queue *own = grpc_completion_queue_create_for_pluck(NULL);
    grpc_server_shutdown_and_notify(server->grpc, own, server);
    rpc_health_drain(server);
    if (!wait_for_calls(server, grace_ms)) {
        end_calls(server);
        wait_for_calls(server, CUT_MS);
    }
    grpc_server_cancel_all_calls(server->grpc);
    grpc_completion_queue_pluck(own, server, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    wait_for_calls(server, UINT32_MAX);
    join(server);
    grpc_completion_queue_shutdown(own);
    grpc_completion_queue_destroy(own);
    end_stop(server);
}

void
rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    rpc_server_stop(server, 0);
    grpc_server_destroy(server->grpc);
    grpc_completion_queue_destroy(server->queue);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server->rooms);
    free(server);
}

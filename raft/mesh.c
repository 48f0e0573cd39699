#include "raft/mesh_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "192.0.2.1:7834" or "[2001:db8::1]:7834" */
enum st_code
mesh_place(const char *address, struct sockaddr_storage *out, struct st_err *err)
{
    char host[REPLICA_ADDRESS_MAX];
    const char *colon = strrchr(address, ':');
    bool brackets = address[0] == '[';
    struct sockaddr_storage place = {0};
    char *end;
    if (!colon || colon == address || strlen(address) >= sizeof(host))
        return st_fail(err, ST_INVALID_ARGUMENT, "\"%s\" is no address with a port",
                       address);
    size_t len = (size_t)(colon - address) - 2 * brackets;
    snprintf(host, sizeof(host), "%.*s", (int)len, address + brackets);
    long port = strtol(colon + 1, &end, 10);
    bool good = colon[1] >= '0' && colon[1] <= '9' && !*end && port > 0 && port < 65536 &&
                (!brackets || colon[-1] == ']');
    if (!good || (brackets ? uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)&place)
                           : uv_ip4_addr(host, (int)port, (struct sockaddr_in *)&place)))
        return st_fail(err, ST_INVALID_ARGUMENT, "\"%s\" is no address with a port",
                       address);
    *out = place;
    return ST_OK;
}

/* ---- the end ---- */

void
mesh_handle_closed(struct mesh *mesh)
{
    if (--mesh->handles == 0 && mesh->closing)
        mesh->closed(mesh->closed_arg);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    mesh_handle_closed(handle->data);
}

void
mesh_close(struct mesh *mesh, void (*closed)(void *arg), void *arg)
{
    struct st_err err = {0};
    mesh->closing = true;
    mesh->closed = closed;
    mesh->closed_arg = arg;
    mesh_peer_forget_all(mesh);
    if (st_fail(&err, ST_CANCELLED, "this member ends"))
        for (struct mesh_conn *conn = mesh->conns; conn; conn = conn->next)
            mesh_conn_close(conn, &err);
    uv_close((uv_handle_t *)&mesh->listener, on_handle_closed);
    uv_close((uv_handle_t *)&mesh->listed, on_handle_closed);
    uv_close((uv_handle_t *)&mesh->watch, on_handle_closed);
    uv_close((uv_handle_t *)&mesh->dial, on_handle_closed);
}

void
mesh_free(struct mesh *mesh)
{
    if (!mesh)
        return;
    mesh_tls_free(mesh->tls);
    free(mesh->read);
    free(mesh);
}
AUTO_DEFINE(struct mesh *, mesh_freep, mesh_free)

/* ---- the beginning ---- */

static void
on_connection(uv_stream_t *listener, int status)
{
    struct mesh *mesh = listener->data;
    if (status == 0 && !mesh->closing)
        mesh_accept(mesh);
}

static void
on_listed(uv_async_t *handle)
{
    mesh_conn_judge(handle->data);
}

static void
on_watch(uv_timer_t *timer)
{
    struct mesh *mesh = timer->data;
    mesh_conn_watch(mesh);
    mesh_say_turned_away(mesh);
    if (mesh->unaccepted)
        mesh_accept(mesh);
}

static enum st_code
listen_on(struct mesh *mesh, const struct sockaddr_storage *place, struct st_err *err)
{
    int status = uv_tcp_bind(&mesh->listener, (const struct sockaddr *)place, 0);
    if (!status)
        status = uv_listen((uv_stream_t *)&mesh->listener, 128, on_connection);
    if (status == UV_EADDRNOTAVAIL)
        return st_fail(err, ST_UNAVAILABLE,
                       "cannot listen on %s: this machine does not have the address",
                       mesh->address);
    return status ? st_fail(err, ST_UNAVAILABLE, "cannot listen on %s: %s", mesh->address,
                            uv_strerror(status))
                  : ST_OK;
}

static enum st_code
begin_handles(struct mesh *mesh, struct st_err *err)
{
    if (uv_async_init(mesh->loop, &mesh->listed, on_listed))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "cannot start the loop");
    uv_timer_init(mesh->loop, &mesh->watch);
    uv_timer_init(mesh->loop, &mesh->dial);
    uv_tcp_init(mesh->loop, &mesh->listener);
    mesh->listed.data = mesh->watch.data = mesh->dial.data = mesh->listener.data = mesh;
    mesh->handles = 4;
    uv_timer_start(&mesh->watch, on_watch, MESH_WATCH_MS, MESH_WATCH_MS);
    return ST_OK;
}

static void
nothing(void *arg)
{
    (void)arg;
}

enum st_code
mesh_open(const struct mesh_config *config, struct mesh **out, struct st_err *err)
{
    struct sockaddr_storage place;
    enum st_code code = mesh_place(config->address, &place, err);
    if (code)
        return code;
    AUTO(mesh_freep) struct mesh *mesh = calloc(1, sizeof(*mesh));
    if (!mesh || !(mesh->read = malloc(MESH_READ_MAX)))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    mesh->loop = config->loop;
    mesh->config = *config;
    mesh->config.credentials = NULL;
    mesh->gate.burst = MESH_STRANGER_BURST;
    mesh->gate.refill_ms = MESH_STRANGER_REFILL_MS;
    snprintf(mesh->address, sizeof(mesh->address), "%s", config->address);
    mesh->config.address = mesh->address;
    if ((code = mesh_tls_new(config->credentials, config->id, &mesh->tls, err)) ||
        (code = begin_handles(mesh, err)))
        return code;
    if ((code = listen_on(mesh, &place, err))) {
        mesh_close(mesh, nothing, NULL);
        while (mesh->handles)
            uv_run(mesh->loop, UV_RUN_ONCE);
        return code;
    }
    *out = TAKE(mesh);
    return ST_OK;
}

/* ---- what goes over it ---- */

bool
mesh_connected(const struct mesh *mesh, uint64_t id)
{
    return mesh_conn_to(mesh, id) != NULL;
}

static int
link_send(void *self, struct raft_io_send *req, const struct raft_message *message)
{
    struct mesh *mesh = self;
    struct mesh_conn *conn = mesh_conn_to(mesh, message->server_id);
    return conn ? mesh_send_message(conn, req, message) : RAFT_NOCONNECTION;
}

struct link
mesh_link(struct mesh *mesh)
{
    return (struct link){.self = mesh, .send = link_send};
}

bool
mesh_note(struct mesh *mesh, uint64_t to, const void *bytes, size_t len)
{
    struct mesh_conn *conn = mesh_conn_to(mesh, to);
    return conn && mesh_send_note(conn, bytes, len);
}

const struct st_err *
mesh_trouble(const struct mesh *mesh)
{
    return &mesh->trouble;
}

enum st_code
mesh_set_crl(struct mesh *mesh, const void *crl, size_t len, struct st_err *err)
{
    enum st_code code = mesh_tls_set_crl(mesh->tls, crl, len, err);
    if (!code)
        uv_async_send(&mesh->listed);
    return code;
}

#include "raft/mesh_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Half of it at least: two who lost each other do not dial in step for ever. */
static unsigned
jitter(unsigned ms)
{
    uint32_t number = 0;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) < 0)
        return ms;
    return ms / 2 + number % (ms / 2 + 1);
}

static void on_dial(uv_timer_t *timer);

/* Dials whose time has come, and sets the timer for the next. */
static void
dial_due(struct mesh *mesh)
{
    uint64_t now = uv_now(mesh->loop), next = UINT64_MAX;
    if (mesh->closing)
        return;
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next) {
        if (!peer->conn && peer->due <= now)
            mesh_conn_dial(mesh, peer);
        if (!peer->conn && peer->due < next)
            next = peer->due;
    }
    if (next != UINT64_MAX)
        uv_timer_start(&mesh->dial, on_dial, next > now ? next - now : 1, 0);
}

static void
on_dial(uv_timer_t *timer)
{
    dial_due(timer->data);
}

void
mesh_peer_lost(struct mesh_peer *peer)
{
    uv_timer_t *timer = &peer->mesh->dial;
    unsigned delay = peer->delay ? peer->delay * 2 : MESH_REDIAL_MIN_MS;
    peer->conn = NULL;
    peer->delay = delay > MESH_REDIAL_MAX_MS ? MESH_REDIAL_MAX_MS : delay;
    delay = jitter(peer->delay);
    peer->due = uv_now(peer->mesh->loop) + delay;
    if (!peer->mesh->closing &&
        (!uv_is_active((const uv_handle_t *)timer) || uv_timer_get_due_in(timer) > delay))
        uv_timer_start(timer, on_dial, delay, 0);
}

struct mesh_peer *
mesh_peer_find(const struct mesh *mesh, uint64_t id)
{
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        if (peer->id == id)
            return peer;
    return NULL;
}

const char *
mesh_trouble_with(const struct mesh *mesh, uint64_t id)
{
    const struct mesh_peer *peer = mesh_peer_find(mesh, id);
    return peer ? peer->trouble : "";
}

void
mesh_peer_heard(struct mesh *mesh, uint64_t id)
{
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        if (peer->id == id && !peer->conn)
            peer->due = 0;
    dial_due(mesh);
}

/* ---- who is followed ---- */

static void
let_go(struct mesh_peer *peer)
{
    struct st_err err = {0};
    struct mesh_conn *conn = peer->conn;
    if (conn && st_fail(&err, ST_CANCELLED, "member %llu is not followed any more",
                        (unsigned long long)peer->id)) {
        conn->peer = NULL;
        mesh_conn_close(conn, &err);
    }
    free(peer);
}

void
mesh_peer_forget_all(struct mesh *mesh)
{
    while (mesh->peers) {
        struct mesh_peer *peer = mesh->peers;
        mesh->peers = peer->next;
        let_go(peer);
    }
}

static void
let_go_unwanted(struct mesh *mesh)
{
    struct mesh_peer **at = &mesh->peers;
    while (*at) {
        struct mesh_peer *peer = *at;
        if (peer->wanted) {
            at = &peer->next;
            continue;
        }
        *at = peer->next;
        let_go(peer);
    }
}

static struct mesh_peer *
find(struct mesh *mesh, const struct raft_server *server)
{
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        if (peer->id == server->id && strcmp(peer->address, server->address) == 0)
            return peer;
    return NULL;
}

/* One whose address nobody can dial is not followed: it may be another member's, of a
 * later release. Without memory the next call tries again. */
static struct mesh_peer *
add(struct mesh *mesh, const struct raft_server *server)
{
    struct mesh_peer *peer = calloc(1, sizeof(*peer));
    struct sockaddr_storage place;
    if (!peer || mesh_place(server->address, &place, &mesh->trouble)) {
        free(peer);
        return NULL;
    }
    peer->mesh = mesh;
    peer->id = server->id;
    snprintf(peer->address, sizeof(peer->address), "%s", server->address);
    peer->next = mesh->peers;
    mesh->peers = peer;
    return peer;
}

void
mesh_follow(struct mesh *mesh, const struct raft_configuration *members)
{
    if (mesh->closing)
        return;
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        peer->wanted = false;
    bool added = false;
    for (unsigned i = 0; i < members->n; i++) {
        const struct raft_server *server = &members->servers[i];
        if (server->id == mesh->config.id)
            continue;
        struct mesh_peer *peer = find(mesh, server);
        if (!peer && (peer = add(mesh, server)))
            added = true;
        if (peer)
            peer->wanted = true;
    }
    let_go_unwanted(mesh);
    if (added)
        dial_due(mesh);
}

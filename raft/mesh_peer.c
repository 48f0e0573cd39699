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
void
mesh_peer_dial_due(struct mesh *mesh)
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
    mesh_peer_dial_due(timer->data);
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

void
mesh_peer_heard(struct mesh *mesh, uint64_t id)
{
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        if (peer->id == id && !peer->conn)
            peer->due = 0;
    mesh_peer_dial_due(mesh);
}

/* ---- where it is ---- */

void
mesh_peer_says(struct mesh *mesh, uint64_t id, const char *address)
{
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        if (peer->id == id && strcmp(peer->says, address) != 0) {
            snprintf(peer->says, sizeof(peer->says), "%s", address);
            peer->turn = 0;
        }
}

const char *
mesh_says(const struct mesh *mesh, uint64_t id)
{
    for (const struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        if (peer->id == id)
            return peer->says;
    return "";
}

enum {
    PLACES_MAX = 1 + REPLICA_PLACES_MAX + 1
};

/* Each once, the likeliest first.  Lent until anything is told. */
static unsigned
places_of(const struct mesh_peer *peer, const char *out[PLACES_MAX])
{
    const struct mesh *mesh = peer->mesh;
    const char *all[PLACES_MAX] = {peer->says};
    unsigned n = 1, count = 0;
    for (unsigned i = 0; i < mesh->place_count; i++)
        if (mesh->places[i].id == peer->id)
            all[n++] = mesh->places[i].address;
    all[n++] = peer->address;
    for (unsigned i = 0; i < n; i++) {
        unsigned j = 0;
        while (j < count && strcmp(out[j], all[i]) != 0)
            j++;
        if (j == count && *all[i])
            out[count++] = all[i];
    }
    return count;
}

bool
mesh_peer_place(struct mesh_peer *peer, struct sockaddr_storage *out)
{
    const char *places[PLACES_MAX];
    const unsigned count = places_of(peer, places);
    for (unsigned i = 0; i < count; i++) {
        const char *place = places[peer->turn++ % count];
        if (mesh_place(place, out, &peer->mesh->trouble))
            continue;
        snprintf(peer->dialled, sizeof(peer->dialled), "%s", place);
        return true;
    }
    return false;
}

void
mesh_set_places(struct mesh *mesh, const struct replica_place *places, unsigned count)
{
    if (count > REPLICA_PLACES_MAX)
        count = REPLICA_PLACES_MAX;
    if (count == mesh->place_count &&
        memcmp(mesh->places, places, count * sizeof(*places)) == 0)
        return; /* it is told often */
    mesh->place_count = count;
    memcpy(mesh->places, places, mesh->place_count * sizeof(*places));
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        peer->turn = 0;
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
        mesh_peer_dial_due(mesh);
}

/* ---- who is no stranger ---- */

void
mesh_peer_seen(struct mesh *mesh, uint64_t id, const struct st_address *source)
{
    for (struct mesh_peer *peer = mesh->peers; peer; peer = peer->next)
        if (peer->id == id)
            peer->seen = *source;
}

static bool
names(const char *place, const struct st_address *source)
{
    struct sockaddr_storage name;
    struct st_address address;
    if (mesh_place(place, &name, NULL))
        return false;
    address_of_socket(&name, &address);
    return address_equal(&address, source);
}

bool
mesh_peer_is_at(const struct mesh *mesh, const struct st_address *source)
{
    const char *places[PLACES_MAX];
    for (const struct mesh_peer *peer = mesh->peers; peer; peer = peer->next) {
        if (address_equal(&peer->seen, source))
            return true;
        const unsigned count = places_of(peer, places);
        for (unsigned i = 0; i < count; i++)
            if (names(places[i], source))
                return true;
    }
    return false;
}

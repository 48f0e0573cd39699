#include "proto/mutant.h"
#include "raft/mesh_internal.h"

static bool
unknown(const struct mesh_conn *conn)
{
    return !conn->dialled && conn->state < MESH_UP;
}

static bool
same_crowd(const struct mesh_conn *a, const struct mesh_conn *b)
{
    return a->of_member == b->of_member &&
           address_network(&a->source) == address_network(&b->source);
}

/* Whoever says nothing makes place for who comes: a member is known after some
 * milliseconds. One that comes from its own address makes place for its own kind only. */
static void
bound_unknown(struct mesh_conn *fresh)
{
    struct mesh_conn *oldest = NULL, *oldest_of_source = NULL;
    unsigned all = 0, of_source = 0;
    for (struct mesh_conn *conn = fresh->mesh->conns; conn; conn = conn->next) {
        if (!unknown(conn))
            continue;
        if (!conn->of_member) {
            oldest = conn; /* the newest is the first */
            all++;
        }
        if (same_crowd(conn, fresh)) {
            oldest_of_source = conn;
            of_source++;
        }
    }
    if (REFUSES(0x45b, of_source > MESH_UNKNOWN_SOURCE_MAX))
        mesh_conn_close_for(oldest_of_source, ST_RESOURCE_EXHAUSTED,
                            "too many of one network");
    else if (REFUSES(0x45c, all > MESH_UNKNOWN_MAX))
        mesh_conn_close_for(oldest, ST_RESOURCE_EXHAUSTED, "too many connections");
}

/* What TLS costs is not spent on a stranger who comes too often. */
static bool
is_let_in(struct mesh_conn *conn)
{
    struct mesh *mesh = conn->mesh;
    conn->of_member = mesh_peer_is_at(mesh, &conn->source);
    if (conn->of_member ||
        !REFUSES(0x45d, !gate_pass(&mesh->gate, address_network(&conn->source),
                                   uv_now(mesh->loop))))
        return true;
    mesh->turned_away = conn->source;
    return false;
}

void
mesh_say_turned_away(struct mesh *mesh)
{
    char last[ADDRESS_TEXT_MAX];
    const uint64_t count = gate_say(&mesh->gate, uv_now(mesh->loop));
    if (!count)
        return;
    address_format(&mesh->turned_away, last);
    mesh->config.turned_away(mesh->config.arg, count, last);
}

void
mesh_accept(struct mesh *mesh)
{
    struct mesh_conn *conn = mesh_conn_new(mesh, false);
    struct sockaddr_storage name;
    int len = sizeof(name);
    mesh->unaccepted = conn == NULL;
    if (!conn)
        return; /* libuv listens on when it is accepted: on_watch() tries again */
    conn->state = MESH_SHAKING;
    if (uv_accept((uv_stream_t *)&mesh->listener, (uv_stream_t *)&conn->tcp) ||
        uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&name, &len)) {
        mesh_conn_close_for(conn, ST_UNAVAILABLE, "cannot accept");
        return;
    }
    address_of_socket(&name, &conn->source);
    if (!is_let_in(conn)) {
        mesh_conn_close_for(conn, ST_RESOURCE_EXHAUSTED, "strangers come too often");
        return;
    }
    bound_unknown(conn);
    mesh_conn_begin(conn);
}

#include "proto/mutant.h"
#include "raft/mesh_internal.h"

#include <netinet/in.h>
#include <string.h>

static bool
same_source(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

static bool
unknown(const struct mesh_conn *conn)
{
    return !conn->dialled && conn->state < MESH_UP;
}

/* Whoever says nothing makes place for who comes: a member is known after some
 * milliseconds. */
static void
bound_unknown(struct mesh_conn *fresh)
{
    struct mesh_conn *oldest = NULL, *oldest_of_source = NULL;
    unsigned all = 0, of_source = 0;
    for (struct mesh_conn *conn = fresh->mesh->conns; conn; conn = conn->next) {
        if (!unknown(conn))
            continue;
        oldest = conn; /* the newest is the first */
        all++;
        if (same_source(&conn->source, &fresh->source)) {
            oldest_of_source = conn;
            of_source++;
        }
    }
    if (REFUSES(0x45b, of_source > MESH_UNKNOWN_SOURCE_MAX))
        mesh_conn_close_for(oldest_of_source, ST_RESOURCE_EXHAUSTED,
                            "too many of one address");
    else if (REFUSES(0x45c, all > MESH_UNKNOWN_MAX))
        mesh_conn_close_for(oldest, ST_RESOURCE_EXHAUSTED, "too many connections");
}

void
mesh_accept(struct mesh *mesh)
{
    struct mesh_conn *conn = mesh_conn_new(mesh, false);
    int len = sizeof(conn->source);
    mesh->unaccepted = conn == NULL;
    if (!conn)
        return; /* libuv listens on when it is accepted: on_watch() tries again */
    conn->state = MESH_SHAKING;
    if (uv_accept((uv_stream_t *)&mesh->listener, (uv_stream_t *)&conn->tcp) ||
        uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&conn->source, &len)) {
        mesh_conn_close_for(conn, ST_UNAVAILABLE, "cannot accept");
        return;
    }
    bound_unknown(conn);
    mesh_conn_begin(conn);
}

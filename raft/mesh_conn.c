#include "proto/mutant.h"
#include "raft/mesh_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void
conn_free(struct mesh_conn *conn)
{
    mesh_incoming_forget(&conn->incoming);
    mesh_session_end(&conn->session);
    free(conn->body);
    free(conn);
}

/* ---- the end ---- */

static void
unlink_conn(struct mesh_conn *conn)
{
    struct mesh_conn **at = &conn->mesh->conns;
    while (*at != conn)
        at = &(*at)->next;
    *at = conn->next;
}

static void
on_closed(uv_handle_t *handle)
{
    struct mesh_conn *conn = handle->data;
    struct mesh *mesh = conn->mesh;
    bool was_up = conn->hello.id != 0;
    unlink_conn(conn);
    mesh_send_end(conn);
    conn_free(conn);
    if (was_up && !mesh->closing)
        mesh->config.changed(mesh->config.arg);
    mesh_handle_closed(mesh);
}

/* Whose words they are: of a certificate, of whom we dialled, or of an address. */
static void
note_trouble(struct mesh_conn *conn, const struct st_err *why)
{
    struct st_err *trouble = &conn->mesh->trouble;
    char host[ADDRESS_TEXT_MAX];
    *trouble = *why;
    if (conn->member.id)
        (void)!st_wrap(trouble, "member %llu", (unsigned long long)conn->member.id);
    else if (conn->peer)
        (void)!st_wrap(trouble, "%s (member %llu)", conn->peer->dialled,
                       (unsigned long long)conn->peer->id);
    else if (conn->source.len) {
        address_format(&conn->source, host);
        (void)!st_wrap(trouble, "%s", host);
    }
    struct mesh_peer *peer =
        conn->peer ? conn->peer : mesh_peer_find(conn->mesh, conn->member.id);
    if (peer)
        snprintf(peer->trouble, sizeof(peer->trouble), "%.*s", REPLICA_TROUBLE_MAX - 1,
                 trouble->text);
}

void
mesh_conn_close(struct mesh_conn *conn, const struct st_err *why)
{
    if (conn->state == MESH_CLOSING)
        return;
    if (conn->state != MESH_LEAVING)
        note_trouble(conn, why);
    struct mesh_peer *peer = TAKE(conn->peer);
    conn->state = MESH_CLOSING;
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    if (peer)
        mesh_peer_lost(peer);
}

void
mesh_conn_close_for(struct mesh_conn *conn, enum st_code code, const char *text)
{
    struct st_err err = {0};
    (void)!st_fail(&err, code, "%s", text);
    mesh_conn_close(conn, &err);
}

void
mesh_conn_refuse(struct mesh_conn *conn, const struct st_err *why)
{
    if (conn->state >= MESH_LEAVING)
        return;
    struct mesh_item *item = mesh_frame_refusal(why);
    if (!item) {
        mesh_conn_close(conn, why);
        return;
    }
    note_trouble(conn, why);
    conn->state = MESH_LEAVING;
    conn->since = uv_now(conn->mesh->loop);
    mesh_send_item(conn, item);
}

static void
on_shutdown(uv_shutdown_t *request, int status)
{
    struct mesh_conn *conn = request->data;
    if (status)
        mesh_conn_close_for(conn, ST_UNAVAILABLE, uv_strerror(status));
}

/* Were it closed now, what the other one sent meanwhile would make the kernel throw the
 * reason away. It closes when it has read that. */
void
mesh_conn_leave(struct mesh_conn *conn)
{
    if (conn->state != MESH_LEAVING || !mesh_send_empty(conn))
        return;
    conn->shutdown.data = conn;
    if (uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown))
        mesh_conn_close_for(conn, ST_UNAVAILABLE, "shutdown");
}

/* ---- reading ---- */

static void
on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    struct mesh_conn *conn = handle->data;
    (void)size;
    *out = uv_buf_init((char *)conn->mesh->read, MESH_READ_MAX);
}

static void
on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct mesh_conn *conn = stream->data;
    if (len < 0) {
        mesh_conn_close_for(conn, ST_UNAVAILABLE,
                            len == UV_EOF ? "the other side closed"
                                          : uv_strerror((int)len));
        return;
    }
    if (conn->state >= MESH_LEAVING)
        return;
    conn->session.in = (const uint8_t *)bytes->base;
    conn->session.in_len = (size_t)len;
    mesh_receive(conn);
    conn->session.in_len = 0;
}

/* ---- the beginning ---- */

/* A peer that is gone without a word is noticed by what is not acknowledged; what waits
 * in the kernel is kept short, so that a heartbeat is not behind a snapshot. */
static void
tune(struct mesh_conn *conn)
{
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 2},
        {IPPROTO_TCP, TCP_KEEPINTVL, 1},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, MESH_STALL_MS},
        {IPPROTO_TCP, TCP_NOTSENT_LOWAT, MESH_WRITE_MAX},
    };
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)&conn->tcp, &fd))
        return;
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                   sizeof(options[i].value));
}

struct mesh_conn *
mesh_conn_new(struct mesh *mesh, bool dialled)
{
    struct mesh_conn *conn = calloc(1, sizeof(*conn));
    if (!conn)
        return NULL;
    if (uv_tcp_init(mesh->loop, &conn->tcp)) {
        conn_free(conn);
        return NULL;
    }
    conn->mesh = mesh;
    conn->number = ++mesh->last_number;
    conn->dialled = dialled;
    conn->tcp.data = conn;
    conn->since = uv_now(mesh->loop);
    mesh_items_init(&conn->waiting);
    mesh_items_init(&conn->sent);
    conn->next = mesh->conns;
    mesh->conns = conn;
    mesh->handles++;
    return conn;
}

void
mesh_conn_begin(struct mesh_conn *conn)
{
    struct st_err err = {0};
    tune(conn);
    conn->state = MESH_SHAKING;
    if (mesh_session_begin(&conn->session, conn->mesh->tls, conn->dialled, &err))
        mesh_conn_close(conn, &err);
    else if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read))
        mesh_conn_close_for(conn, ST_UNAVAILABLE, "cannot read");
    else
        mesh_receive(conn);
}

static void
on_connected(uv_connect_t *connect, int status)
{
    struct mesh_conn *conn = connect->data;
    if (status)
        mesh_conn_close_for(conn, ST_UNAVAILABLE, uv_strerror(status));
    else if (conn->state == MESH_CONNECTING)
        mesh_conn_begin(conn);
}

void
mesh_conn_dial(struct mesh *mesh, struct mesh_peer *peer)
{
    struct sockaddr_storage place;
    struct mesh_conn *conn =
        mesh_peer_place(peer, &place) ? mesh_conn_new(mesh, true) : NULL;
    if (!conn) {
        mesh_peer_lost(peer);
        return;
    }
    conn->state = MESH_CONNECTING;
    conn->peer = peer;
    peer->conn = conn;
    conn->connect.data = conn;
    int status = uv_tcp_connect(&conn->connect, &conn->tcp,
                                (const struct sockaddr *)&place, on_connected);
    if (status)
        mesh_conn_close_for(conn, ST_UNAVAILABLE, uv_strerror(status));
}

/* ---- those that live ---- */

struct mesh_conn *
mesh_conn_to(const struct mesh *mesh, uint64_t id)
{
    struct mesh_conn *found = NULL;
    for (struct mesh_conn *conn = mesh->conns; conn; conn = conn->next)
        if (conn->state == MESH_UP && conn->member.id == id && (!found || conn->dialled))
            found = conn;
    return found;
}

struct mesh_ways
mesh_ways(const struct mesh *mesh, uint64_t id)
{
    struct mesh_ways ways = {0};
    for (struct mesh_conn *conn = mesh->conns; conn; conn = conn->next)
        if (conn->state == MESH_UP && conn->member.id == id)
            *(conn->dialled ? &ways.dialled : &ways.accepted) = conn->number;
    return ways;
}

/* A peer that has started again may be here before its old connection is known to be
 * dead. */
void
mesh_conn_up(struct mesh_conn *conn)
{
    struct mesh *mesh = conn->mesh;
    for (struct mesh_conn *other = mesh->conns; other; other = other->next)
        if (other != conn && other->state == MESH_UP && other->dialled == conn->dialled &&
            other->member.id == conn->member.id)
            mesh_conn_close_for(other, ST_ABORTED, "it is connected anew");
    if (!conn->dialled)
        mesh_peer_seen(mesh, conn->member.id, &conn->source);
    conn->state = MESH_UP;
    if (conn->peer)
        conn->peer->delay = conn->peer->turn = 0;
    else
        mesh_peer_heard(mesh, conn->member.id);
    mesh->config.changed(mesh->config.arg);
}

static void
watch(struct mesh_conn *conn, uint64_t now)
{
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp);
    if (left != conn->wire_left)
        conn->moved = now;
    conn->wire_left = left;
    if (conn->state == MESH_CONNECTING && now - conn->since > MESH_CONNECT_MS)
        mesh_conn_close_for(conn, ST_DEADLINE_EXCEEDED, "no connection in time");
    else if (conn->state < MESH_UP &&
             now - conn->since > (conn->dialled ? MESH_DIAL_MS : MESH_GREET_MS))
        mesh_conn_close_for(conn, ST_DEADLINE_EXCEEDED, "no Hello in time");
    else if (conn->state == MESH_LEAVING && now - conn->since > MESH_LEAVE_MS)
        mesh_conn_close_for(conn, ST_DEADLINE_EXCEEDED, "it does not leave");
    else if (conn->wire && now - conn->moved > MESH_STALL_MS)
        mesh_conn_close_for(conn, ST_DEADLINE_EXCEEDED, "it does not read");
}

void
mesh_conn_watch(struct mesh *mesh)
{
    uint64_t now = uv_now(mesh->loop);
    for (struct mesh_conn *conn = mesh->conns; conn; conn = conn->next)
        if (conn->state != MESH_CLOSING)
            watch(conn, now);
}

/* Whoever was removed hears of it: he would look for the others for ever. */
static void
dismiss(struct mesh_conn *conn)
{
    struct st_err why = {0};
    (void)st_fail(&why, ST_PERMISSION_DENIED, "%s", mesh_removed);
    if (conn->state == MESH_UP)
        mesh_conn_refuse(conn, &why);
    else
        mesh_conn_close(conn, &why);
}

void
mesh_conn_judge(struct mesh *mesh)
{
    for (struct mesh_conn *conn = mesh->conns; conn; conn = conn->next)
        if (conn->member.id &&
            REFUSES(0x5345, mesh_tls_revoked(mesh->tls, &conn->member)))
            dismiss(conn);
}

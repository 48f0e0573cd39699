#include "raft/mesh_internal.h"

#include <stdlib.h>

void
mesh_items_init(struct mesh_items *items)
{
    *items = (struct mesh_items){.last = &items->first};
}

static void
items_push(struct mesh_items *items, struct mesh_item *item)
{
    item->next = NULL;
    *items->last = item;
    items->last = &item->next;
    items->size += item->size;
}

static struct mesh_item *
items_pop(struct mesh_items *items)
{
    struct mesh_item *item = items->first;
    if (!item)
        return NULL;
    items->first = item->next;
    if (!items->first)
        items->last = &items->first;
    items->size -= item->size;
    return item;
}

static void
item_end(struct mesh_item *item, int status)
{
    struct raft_io_send *req = item->req;
    free(item);
    if (req)
        req->cb(req, status);
}

static void
items_end(struct mesh_items *items, int status)
{
    struct mesh_item *item;
    while ((item = items_pop(items)))
        item_end(item, status);
}

/* ---- one write at a time: what comes meanwhile leaves together in the next ---- */

static struct mesh_item *
next_item(struct mesh_conn *conn, bool *failed)
{
    if (!conn->item)
        conn->item = items_pop(&conn->waiting);
    if (!conn->item)
        conn->item = mesh_snapshot_next(conn, failed);
    return conn->item;
}

/* Fills one record; how many bytes. */
static size_t
fill(struct mesh_conn *conn, uint8_t record[MESH_RECORD_MAX], bool *failed)
{
    size_t len = 0;
    while (len < MESH_RECORD_MAX && next_item(conn, failed)) {
        len += mesh_frame_copy(conn->item, record + len, MESH_RECORD_MAX - len);
        if (conn->item->at == conn->item->count)
            items_push(&conn->sent, TAKE(conn->item));
    }
    return len;
}

static enum st_code
encrypt(struct mesh_conn *conn, struct st_err *err)
{
    uint8_t record[MESH_RECORD_MAX];
    while (conn->session.out_len < MESH_WRITE_MAX) {
        bool failed = false;
        size_t len = fill(conn, record, &failed);
        if (failed)
            return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory for a snapshot");
        if (!len)
            return ST_OK;
        enum st_code code = mesh_session_write(&conn->session, record, len, err);
        if (code)
            return code;
    }
    return ST_OK;
}

/* A large buffer is kept while there is more to write. */
static void
give_back(struct mesh_conn *conn)
{
    uint8_t *wire = TAKE(conn->wire);
    bool keep = conn->wire_room <= MESH_READ_MAX || !mesh_send_empty(conn);
    if (conn->session.out || !keep) {
        free(wire);
        return;
    }
    conn->session.out = wire;
    conn->session.out_room = conn->wire_room;
}

static void
on_written(uv_write_t *write, int status)
{
    struct mesh_conn *conn = write->data;
    give_back(conn);
    if (status) {
        struct st_err err = {0};
        (void)!st_fail(&err, ST_UNAVAILABLE, "write: %s", uv_strerror(status));
        mesh_conn_close(conn, &err);
        return;
    }
    struct mesh_item *sent = conn->sent.first;
    mesh_items_init(&conn->sent);
    mesh_send_flush(conn); /* before the callbacks, which may take their time */
    while (sent) {
        struct mesh_item *next = sent->next;
        item_end(sent, 0);
        sent = next;
    }
    mesh_conn_leave(conn);
}

static enum st_code
write_out(struct mesh_conn *conn, struct st_err *err)
{
    struct mesh_session *session = &conn->session;
    conn->wire_room = session->out_room;
    conn->wire_left = session->out_len;
    conn->moved = uv_now(conn->mesh->loop);
    uv_buf_t bytes = uv_buf_init((char *)session->out, (unsigned)session->out_len);
    conn->wire = TAKE(session->out);
    session->out_len = session->out_room = 0;
    conn->write.data = conn;
    int status = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &bytes, 1, on_written);
    if (!status)
        return ST_OK;
    free(TAKE(conn->wire));
    return st_fail(err, ST_UNAVAILABLE, "write: %s", uv_strerror(status));
}

void
mesh_send_flush(struct mesh_conn *conn)
{
    struct st_err err = {0};
    if (conn->wire || conn->state < MESH_SHAKING || conn->state == MESH_CLOSING)
        return;
    bool secure = conn->state > MESH_SHAKING;
    enum st_code code = secure ? encrypt(conn, &err) : ST_OK;
    if (!code && conn->session.out_len)
        code = write_out(conn, &err);
    if (code)
        mesh_conn_close(conn, &err);
}

bool
mesh_send_empty(const struct mesh_conn *conn)
{
    return !conn->wire && !conn->item && !conn->waiting.first && !conn->snapshots;
}

/* ---- what is sent ---- */

void
mesh_send_item(struct mesh_conn *conn, struct mesh_item *item)
{
    items_push(&conn->waiting, item);
    mesh_send_flush(conn);
}

static bool
has_room(const struct mesh_conn *conn, const struct mesh_item *item)
{
    return conn->waiting.size + conn->sent.size + item->size <= MESH_WAITING_MAX;
}

int
mesh_send_message(struct mesh_conn *conn, struct raft_io_send *req,
                  const struct raft_message *message)
{
    if (message->type == RAFT_IO_INSTALL_SNAPSHOT)
        return mesh_snapshot_send(conn, req, &message->install_snapshot);
    struct mesh_item *item = mesh_frame_message(message);
    if (!item || !has_room(conn, item)) {
        free(item);
        return RAFT_NOCONNECTION;
    }
    item->req = req->cb ? req : NULL;
    mesh_send_item(conn, item);
    return 0;
}

bool
mesh_send_note(struct mesh_conn *conn, const void *bytes, size_t len)
{
    struct mesh_item *item = len <= MESH_NOTE_MAX ? mesh_frame_note(bytes, len) : NULL;
    if (!item || !has_room(conn, item)) {
        free(item);
        return false;
    }
    mesh_send_item(conn, item);
    return true;
}

void
mesh_send_end(struct mesh_conn *conn)
{
    if (conn->item)
        items_push(&conn->sent, TAKE(conn->item));
    while (conn->snapshots) {
        struct mesh_outgoing *outgoing = conn->snapshots;
        struct raft_io_send *req = outgoing->req;
        conn->snapshots = outgoing->next;
        free(outgoing->head);
        free(outgoing);
        if (req)
            req->cb(req, RAFT_NOCONNECTION);
    }
    items_end(&conn->sent, RAFT_NOCONNECTION);
    items_end(&conn->waiting, RAFT_NOCONNECTION);
    free(TAKE(conn->wire));
}

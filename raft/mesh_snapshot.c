#include "proto/mutant.h"
#include "raft/mesh_internal.h"
#include "raft/snapshot.h"

#include <stdlib.h>
#include <string.h>

/* ---- out ---- */

/* libraft sends a new one when it has waited for the answer to the last one for too long.
 * The one under way is finished, for else none would ever be on a slow line; of those
 * that wait behind it the newest stays.  The one that makes room is called back as if it
 * had left, because libraft would begin yet another on any other word. */
static void
make_room(struct mesh_conn *conn)
{
    struct mesh_outgoing *waiting = conn->snapshots ? conn->snapshots->next : NULL;
    if (!waiting)
        return;
    struct mesh_item *done = waiting->head;
    done->count = 1;
    done->pieces[0].len = 0;
    done->req = waiting->req;
    conn->snapshots->next = NULL;
    free(waiting);
    mesh_send_item(conn, done);
}

int
mesh_snapshot_send(struct mesh_conn *conn, struct raft_io_send *req,
                   const struct raft_install_snapshot *args)
{
    struct mesh_outgoing *outgoing = calloc(1, sizeof(*outgoing));
    struct mesh_item *head = outgoing ? mesh_frame_snapshot(args) : NULL;
    if (!head) {
        free(outgoing);
        return RAFT_NOCONNECTION;
    }
    *outgoing = (struct mesh_outgoing){
        .head = head, .req = req->cb ? req : NULL, .data = args->data};
    make_room(conn);
    struct mesh_outgoing **end = &conn->snapshots;
    while (*end)
        end = &(*end)->next;
    *end = outgoing;
    mesh_send_flush(conn);
    return 0;
}

struct mesh_item *
mesh_snapshot_next(struct mesh_conn *conn, bool *out_failed)
{
    struct mesh_outgoing *outgoing = conn->snapshots;
    if (!outgoing)
        return NULL;
    if (outgoing->head)
        return TAKE(outgoing->head);
    size_t len = outgoing->data.len - outgoing->offset;
    if (len > MESH_CHUNK_MAX)
        len = MESH_CHUNK_MAX;
    struct mesh_item *item = mesh_frame_chunk(&outgoing->data, outgoing->offset, len);
    if (!item) {
        *out_failed = true;
        return NULL;
    }
    outgoing->offset += len;
    if (outgoing->offset == outgoing->data.len) {
        item->req = outgoing->req;
        conn->snapshots = outgoing->next;
        free(outgoing);
    }
    return item;
}

/* ---- in ---- */

void
mesh_incoming_forget(struct mesh_incoming *incoming)
{
    if (incoming->message.type) {
        raft_configuration_close(&incoming->message.install_snapshot.conf);
        raft_free(incoming->message.install_snapshot.data.base);
    }
    *incoming = (struct mesh_incoming){0};
}

void
mesh_snapshot_begin(struct mesh_conn *conn, struct mesh_frame *frame)
{
    mesh_incoming_forget(&conn->incoming);
    conn->incoming.message = frame->message;
    frame->message.type = 0;
}

/* Memory follows what arrived, not what was announced. */
static bool
grow(struct mesh_incoming *incoming, size_t more)
{
    struct raft_buffer *data = &incoming->message.install_snapshot.data;
    size_t room = incoming->room ? incoming->room : MESH_CHUNK_MAX;
    while (room < incoming->len + more)
        room *= 2;
    if (room > data->len)
        room = data->len;
    if (room == incoming->room)
        return true;
    void *base = raft_realloc(data->base, room);
    if (!base)
        return false;
    data->base = base;
    incoming->room = room;
    return true;
}

static enum st_code
deliver(struct mesh_conn *conn, struct st_err *err)
{
    struct raft_message message = conn->incoming.message;
    const struct raft_buffer *data = &message.install_snapshot.data;
    struct st_err why = {0};
    if (REFUSES(0x548, snapshot_check(data->base, data->len, &why)))
        return st_fail(err, ST_INVALID_ARGUMENT, "a malformed snapshot: %s", why.text);
    conn->incoming = (struct mesh_incoming){0};
    message.server_address = conn->hello.address;
    conn->mesh->config.receive(conn->mesh->config.arg, conn->member.id, &message);
    return ST_OK;
}

enum st_code
mesh_snapshot_chunk(struct mesh_conn *conn, const struct mesh_frame *frame,
                    struct st_err *err)
{
    struct mesh_incoming *incoming = &conn->incoming;
    const struct raft_buffer *data = &incoming->message.install_snapshot.data;
    if (REFUSES(0x549, !incoming->message.type || frame->data.offset != incoming->len ||
                           frame->data.len > data->len - incoming->len))
        return st_fail(err, ST_INVALID_ARGUMENT, "a part of a snapshot that is not next");
    if (!grow(incoming, frame->data.len))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory for a snapshot");
    memcpy((uint8_t *)data->base + incoming->len, frame->data.bytes, frame->data.len);
    incoming->len += frame->data.len;
    return incoming->len == data->len ? deliver(conn, err) : ST_OK;
}

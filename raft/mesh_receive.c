#include "proto/mutant.h"
#include "raft/mesh_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    BODY_MIN = 4096,
    BODY_KEPT_MAX = 64 * 1024, /* a larger one is not kept for the next frame */
};

/* ---- Hello ---- */

static void
say_hello(struct mesh_conn *conn)
{
    struct mesh *mesh = conn->mesh;
    struct mesh_hello hello = {.id = mesh->config.id,
                               .boot = mesh->config.boot,
                               .nonce = mesh->config.boot_nonce};
    memcpy(hello.address, mesh->address, sizeof(hello.address));
    struct mesh_item *item = mesh_frame_hello(&hello);
    struct st_err err = {0};
    enum st_code code = item ? mesh->config.announce(mesh->config.arg, &err)
                             : st_fail(&err, ST_RESOURCE_EXHAUSTED, "out of memory");
    if (REFUSES(0x53d, code)) {
        free(item);
        mesh_conn_close(conn, &err);
        return;
    }
    mesh_send_item(conn, item);
}

/* The one who was dialled says Hello when it took the other's, so that who dialled knows
 * that it may speak. */
static void
take_hello(struct mesh_conn *conn, const struct mesh_hello *hello)
{
    struct mesh *mesh = conn->mesh;
    struct st_err why = {0};
    if (mesh->config.admit(mesh->config.arg, hello->id, hello->address, hello->boot,
                           hello->nonce, &why)) {
        mesh_conn_refuse(conn, &why);
        return;
    }
    conn->hello = *hello;
    conn->hello.nonce = NULL;
    mesh_peer_says(mesh, hello->id, hello->address);
    if (conn->state == MESH_GREETING && !conn->dialled)
        say_hello(conn);
    if (conn->state == MESH_GREETING)
        mesh_conn_up(conn);
}

static enum st_code
take_refusal(struct mesh_conn *conn, const struct st_err *refusal, struct st_err *err)
{
    struct mesh *mesh = conn->mesh;
    mesh->config.refused(mesh->config.arg, conn->member.id, refusal);
    *err = *refusal;
    return st_wrap(err, "member %llu refused us", (unsigned long long)conn->member.id);
}

/* ---- frames ---- */

static enum st_code
unexpected(struct st_err *err, const char *what)
{
    return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED, "%s", what);
}

static void
take_message(struct mesh_conn *conn, struct mesh_frame *frame)
{
    struct mesh *mesh = conn->mesh;
    struct raft_message message = frame->message;
    frame->message.type = 0;
    message.server_address = conn->hello.address;
    mesh->config.receive(mesh->config.arg, conn->member.id, &message);
}

static enum st_code
take_frame(struct mesh_conn *conn, struct mesh_frame *frame, struct st_err *err)
{
    struct mesh *mesh = conn->mesh;
    if (frame->kind == MESH_REFUSAL)
        return take_refusal(conn, &frame->refusal, err);
    if (REFUSES(0x540, conn->state == MESH_GREETING && frame->kind != MESH_HELLO))
        return unexpected(err, "a message before Hello");
    switch (frame->kind) {
    case MESH_HELLO:
        if (REFUSES(0x5401, conn->state == MESH_UP))
            return unexpected(err, "Hello twice");
        take_hello(conn, &frame->hello);
        return ST_OK;
    case MESH_MESSAGE:
        take_message(conn, frame);
        return ST_OK;
    case MESH_SNAPSHOT:
        mesh_snapshot_begin(conn, frame);
        return ST_OK;
    case MESH_CHUNK:
        return mesh_snapshot_chunk(conn, frame, err);
    case MESH_NOTE:
        mesh->config.note(mesh->config.arg, conn->member.id, frame->data.bytes,
                          frame->data.len);
        return ST_OK;
    case MESH_REFUSAL:
        break;
    }
    return ST_OK;
}

static enum st_code
take_body(struct mesh_conn *conn, struct st_err *err)
{
    struct mesh_frame frame;
    enum st_code code = mesh_frame_unpack(conn->body, conn->have - MESH_LENGTH_LEN,
                                          conn->member.id, &frame, err);
    if (code)
        return code;
    code = take_frame(conn, &frame, err);
    mesh_frame_free(&frame);
    conn->have = 0;
    if (conn->body_room > BODY_KEPT_MAX) {
        free(TAKE(conn->body));
        conn->body_room = 0;
    }
    return code;
}

/* ---- bytes ---- */

static size_t
body_len(const struct mesh_conn *conn)
{
    size_t len = 0;
    for (int i = MESH_LENGTH_LEN; i-- > 0;)
        len = len << 8 | conn->length[i];
    return len;
}

/* Room for the next bytes of the body: as much again as has arrived. */
static enum st_code
make_room(struct mesh_conn *conn, size_t len, struct st_err *err)
{
    size_t got = conn->have - MESH_LENGTH_LEN;
    if (got < conn->body_room)
        return ST_OK;
    size_t room = got ? got * 2 : BODY_MIN;
    if (room > len && got)
        room = len;
    uint8_t *body = realloc(conn->body, room);
    if (!body)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory for a frame");
    conn->body = body;
    conn->body_room = room;
    return ST_OK;
}

static enum st_code
length_check(const struct mesh_conn *conn, size_t len, struct st_err *err)
{
    size_t most = conn->state == MESH_UP ? MESH_FRAME_MAX : MESH_FIRST_MAX;
    if (REFUSES(0x5402, len < 1 || len > most))
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "a frame of %zu bytes", len);
    return ST_OK;
}

/* Reads on with the length or with the body; MESH_DONE where something came. */
static enum mesh_step
read_on(struct mesh_conn *conn, struct st_err *err)
{
    size_t got = 0;
    enum mesh_step step;
    if (conn->have < MESH_LENGTH_LEN) {
        step = mesh_session_read(&conn->session, conn->length + conn->have,
                                 MESH_LENGTH_LEN - conn->have, &got, err);
        if (step != MESH_DONE)
            return step;
        conn->have += got;
        bool whole = conn->have == MESH_LENGTH_LEN;
        return whole && length_check(conn, body_len(conn), err) ? MESH_FAILED : MESH_DONE;
    }
    size_t len = body_len(conn), at = conn->have - MESH_LENGTH_LEN;
    if (make_room(conn, len, err))
        return MESH_FAILED;
    size_t room = conn->body_room < len ? conn->body_room - at : len - at;
    step = mesh_session_read(&conn->session, conn->body + at, room, &got, err);
    if (step != MESH_DONE)
        return step;
    conn->have += got;
    return at + got == len && take_body(conn, err) ? MESH_FAILED : MESH_DONE;
}

/* ---- the handshake ---- */

static enum st_code
secured(struct mesh_conn *conn, struct st_err *err)
{
    struct mesh *mesh = conn->mesh;
    struct mesh_member member;
    enum st_code code = mesh_session_peer(&conn->session, mesh->tls, &member, err);
    if (code)
        return code;
    if (REFUSES(0x5403, conn->dialled && conn->peer && member.id != conn->peer->id))
        return st_fail(err, ST_PERMISSION_DENIED, "member %llu is at the address of %llu",
                       (unsigned long long)member.id, (unsigned long long)conn->peer->id);
    if (REFUSES(0x5404, member.id == mesh->config.id))
        return st_fail(err, ST_PERMISSION_DENIED, "another one has our certificate");
    conn->member = member;
    conn->state = MESH_GREETING;
    if (conn->dialled)
        say_hello(conn);
    return ST_OK;
}

static enum mesh_step
step_on(struct mesh_conn *conn, struct st_err *err)
{
    if (conn->state != MESH_SHAKING)
        return read_on(conn, err);
    enum mesh_step step = mesh_session_handshake(&conn->session, err);
    return step == MESH_DONE && secured(conn, err) ? MESH_FAILED : step;
}

void
mesh_receive(struct mesh_conn *conn)
{
    struct st_err err = {0};
    enum mesh_step step = MESH_DONE;
    while (step == MESH_DONE && conn->state < MESH_LEAVING)
        step = step_on(conn, &err);
    if (conn->state >= MESH_LEAVING)
        return;
    mesh_send_flush(conn);
    /* Only of a member whose certificate we have seen: anybody may dial us and say it. */
    if (conn->session.dismissed && conn->dialled && conn->state == MESH_GREETING)
        conn->mesh->config.refused(conn->mesh->config.arg, conn->member.id, &err);
    if (step == MESH_FAILED)
        mesh_conn_close(conn, &err);
}

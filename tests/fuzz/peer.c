/* A connection of the peer link after its handshake: Hello, messages, a snapshot in
 * parts.  First byte: how many bytes TLS gives at once; then all that the other sends.
 *
 * What is below (TLS) and beside mesh_receive.c (sending, closing) is here. */
#include "raft/mesh_internal.h"
#include "raft/snapshot.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum {
    FROM = 2
};

static struct fuzz_input arriving;
static size_t at_once;

/* ---- below ---- */

enum mesh_step
mesh_session_handshake(struct mesh_session *session, struct st_err *err)
{
    (void)session;
    (void)err;
    abort(); /* it is over */
}

enum st_code
mesh_session_peer(struct mesh_session *session, struct mesh_tls *tls,
                  struct mesh_member *out, struct st_err *err)
{
    (void)session;
    (void)tls;
    (void)out;
    (void)err;
    abort();
}

enum mesh_step
mesh_session_read(struct mesh_session *session, void *out, size_t len, size_t *out_len,
                  struct st_err *err)
{
    (void)session;
    (void)err;
    size_t n = arriving.left < at_once ? arriving.left : at_once;
    n = n < len ? n : len;
    if (n == 0)
        return MESH_WANT;
    memcpy(out, arriving.at, n);
    arriving.at += n;
    arriving.left -= n;
    *out_len = n;
    return MESH_DONE;
}

/* ---- beside ---- */

void
mesh_send_item(struct mesh_conn *conn, struct mesh_item *item)
{
    (void)conn;
    free(item);
}

void
mesh_send_flush(struct mesh_conn *conn)
{
    (void)conn;
}

void
mesh_conn_close(struct mesh_conn *conn, const struct st_err *why)
{
    FUZZ_HOLDS(why->code && *why->text);
    conn->state = MESH_CLOSING;
}

void
mesh_conn_refuse(struct mesh_conn *conn, const struct st_err *why)
{
    (void)why;
    conn->state = MESH_LEAVING;
}

void
mesh_conn_up(struct mesh_conn *conn)
{
    conn->state = MESH_UP;
}

void
mesh_peer_says(struct mesh *mesh, uint64_t id, const char *address)
{
    (void)mesh;
    FUZZ_HOLDS(id == FROM && *address && strlen(address) < REPLICA_ADDRESS_MAX);
}

/* ---- above ---- */

static enum st_code
announce(void *arg, struct st_err *err)
{
    (void)arg;
    (void)err;
    return ST_OK;
}

static enum st_code
admit(void *arg, uint64_t from, const char *address, uint64_t boot,
      const uint8_t nonce[MESH_NONCE_LEN], struct st_err *why)
{
    (void)arg;
    (void)nonce;
    FUZZ_HOLDS(from == FROM && *address);
    return boot ? ST_OK : st_fail(why, ST_FAILED_PRECONDITION, "an old start");
}

static void
refused(void *arg, uint64_t by, const struct st_err *why)
{
    (void)arg;
    FUZZ_HOLDS(by == FROM && why->code);
}

/* Lets go of what libraft would take, and reads it all before. */
static void
receive(void *arg, uint64_t from, struct raft_message *message)
{
    (void)arg;
    FUZZ_HOLDS(from == FROM && message->type && *message->server_address);
    if (message->type == RAFT_IO_INSTALL_SNAPSHOT)
        FUZZ_HOLDS(!snapshot_check(message->install_snapshot.data.base,
                                   message->install_snapshot.data.len, NULL));
    struct mesh_frame frame = {.kind = MESH_MESSAGE, .message = *message};
    mesh_frame_free(&frame);
}

static void
note(void *arg, uint64_t from, const void *bytes, size_t len)
{
    (void)arg;
    (void)bytes;
    FUZZ_HOLDS(from == FROM && len <= MESH_NOTE_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct mesh mesh = {.config = {.id = 1,
                                   .boot = 1,
                                   .announce = announce,
                                   .admit = admit,
                                   .refused = refused,
                                   .receive = receive,
                                   .note = note},
                        .address = "192.0.2.1:7834"};
    struct mesh_conn conn = {.mesh = &mesh, .state = MESH_GREETING, .member.id = FROM};
    arriving = (struct fuzz_input){bytes, len};
    at_once = (size_t)fuzz_take_byte(&arriving) * 16 + 1;
    mesh_receive(&conn);
    mesh_incoming_forget(&conn.incoming);
    free(conn.body);
    return 0;
}

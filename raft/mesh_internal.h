/* mesh_internal.h - the inside of the peer link, for mesh*.c alone.
 *
 *   peer   a member that we dial, and when we dial it next
 *   conn   one connection, dialled or accepted, and what waits to go over it
 *
 * A connection goes through its states in order and may leave from any of them:
 *
 *   CONNECTING  TCP, of one that we dialled
 *   SHAKING     TLS
 *   GREETING    waits for the other's Hello
 *   UP          messages
 *   LEAVING     was told why it is not spoken to, and is to have read it before we close
 *   CLOSING     libuv lets go of it; nothing may be done with it any more
 *
 * Loop thread only, and nothing here calls back from inside a call of replica's but
 * receive(), note(), admit() and refused(), which only come from what was read.
 */
#ifndef RAFT_MESH_INTERNAL_H
#define RAFT_MESH_INTERNAL_H

#include "proto/address.h"
#include "proto/gate.h"
#include "proto/scope.h"
#include "raft/mesh_frame.h"
#include "raft/mesh_tls.h"

enum {
    MESH_CONNECT_MS = 1500, /* one lost packet may be sent again */
    MESH_GREET_MS = 5000,   /* from TCP's first packet to Hello */
    MESH_DIAL_MS = 2000,    /* the same, where we dialled: we can dial again */
    MESH_STALL_MS = 2000,   /* a write that does not move at all */
    MESH_LEAVE_MS = 1000,
    MESH_WATCH_MS = 500,
    MESH_REDIAL_MIN_MS = 50,
    MESH_REDIAL_MAX_MS = 1000,
    MESH_UNKNOWN_MAX = 64,         /* accepted connections that have not said Hello ... */
    MESH_UNKNOWN_SOURCE_MAX = 16,  /* ... and of one network */
    MESH_STRANGER_BURST = 32,      /* handshakes of a network of strangers at once ... */
    MESH_STRANGER_REFILL_MS = 500, /* ... and one more in so long (proto/gate.h) */
    MESH_READ_MAX = 64 * 1024,     /* bytes of one read */
    MESH_WRITE_MAX = 256 * 1024,   /* bytes of one write, about */
};

enum mesh_state {
    MESH_CONNECTING,
    MESH_SHAKING,
    MESH_GREETING,
    MESH_UP,
    MESH_LEAVING,
    MESH_CLOSING,
};

struct mesh_items {
    struct mesh_item *first, **last;
    size_t size;
};

/* A snapshot that leaves in chunks.  The bytes are libraft's until req is called back. */
struct mesh_outgoing {
    struct mesh_outgoing *next;
    struct mesh_item *head; /* NULL: it has left */
    struct raft_io_send *req;
    struct raft_buffer data;
    size_t offset;
};

/* A snapshot that arrives in chunks; data.len is what it will be. */
struct mesh_incoming {
    struct raft_message message; /* type 0: none */
    size_t len, room;
};

struct mesh_conn {
    struct mesh_conn *next;
    struct mesh *mesh;
    uint64_t number;        /* of all that ever were */
    struct mesh_peer *peer; /* whom we dialled; NULL where accepted, or let go of */
    enum mesh_state state;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    struct st_address source; /* of one that was accepted */
    bool of_member;           /* it comes from an address of a member */
    uint64_t since;           /* uv_now() of the beginning, or of leaving */

    struct mesh_session session;
    struct mesh_member member; /* from GREETING on */
    struct mesh_hello hello;   /* from UP on */
    bool dialled;

    /* What is read. */
    uint8_t length[MESH_LENGTH_LEN];
    uint8_t *body;
    size_t have, body_room; /* have counts the length's bytes, too */
    struct mesh_incoming incoming;

    /* What is written: from `waiting` or a chunk to `item`, to `sent` when it is all in
     * the session's out, which becomes `wire`. */
    struct mesh_items waiting, sent;
    struct mesh_outgoing *snapshots;
    struct mesh_item *item;
    uv_write_t write;
    uint8_t *wire; /* NULL: no write under way */
    size_t wire_room, wire_left;
    uint64_t moved; /* uv_now() when wire_left last changed */
};

struct mesh_peer {
    struct mesh_peer *next;
    struct mesh *mesh;
    struct st_address seen; /* where it last showed its certificate from */
    uint64_t id;
    char address[REPLICA_ADDRESS_MAX]; /* of the group */
    char says[REPLICA_ADDRESS_MAX];    /* its own word, that is newer; "": none yet */
    char dialled[REPLICA_ADDRESS_MAX]; /* the last one */
    char trouble[REPLICA_TROUBLE_MAX]; /* mesh_trouble_with() */
    struct mesh_conn *conn;            /* NULL: dialled again at `due` */
    uint64_t due;
    unsigned delay;
    unsigned turn; /* which of its places is next */
    bool wanted;   /* while mesh_follow() compares */
};

struct mesh {
    uv_loop_t *loop;
    struct mesh_config config;
    char address[REPLICA_ADDRESS_MAX];
    struct mesh_tls *tls;
    uv_tcp_t listener;
    uv_async_t listed; /* a list of revoked certificates has come */
    uv_timer_t watch, dial;
    struct mesh_conn *conns;
    uint64_t last_number;
    struct gate gate;              /* for strangers */
    struct st_address turned_away; /* the last one */
    struct mesh_peer *peers;
    struct replica_place places[REPLICA_PLACES_MAX];
    unsigned place_count;
    struct st_err trouble;
    bool unaccepted;  /* somebody waits to be accepted, for there was no memory */
    unsigned handles; /* open ones, with those of connections */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    uint8_t *read; /* MESH_READ_MAX; what is read is used up before the next read */
};

/* mesh.c */
enum st_code mesh_place(const char *address, struct sockaddr_storage *out,
                        struct st_err *err);
void mesh_handle_closed(struct mesh *mesh);

/* mesh_conn.c */
void mesh_conn_dial(struct mesh *mesh, struct mesh_peer *peer);
/* Not yet of a socket; NULL without memory. */
struct mesh_conn *mesh_conn_new(struct mesh *mesh, bool dialled);
/* It has a socket: TLS begins. */
void mesh_conn_begin(struct mesh_conn *conn);
/* `why` becomes mesh_trouble(), with the name of who it was, and mesh_trouble_with() a
 * member; later calls change nothing. */
void mesh_conn_close(struct mesh_conn *conn, const struct st_err *why);
void mesh_conn_close_for(struct mesh_conn *conn, enum st_code code, const char *text);
/* Tells the other side, too. */
void mesh_conn_refuse(struct mesh_conn *conn, const struct st_err *why);
/* Where it is leaving and has said why: no more is written. */
void mesh_conn_leave(struct mesh_conn *conn);
/* Deadlines. */
void mesh_conn_watch(struct mesh *mesh);
/* Ends those whose certificates the newest list names. */
void mesh_conn_judge(struct mesh *mesh);
/* The one to send to this member over, or NULL. */
struct mesh_conn *mesh_conn_to(const struct mesh *mesh, uint64_t id);
/* Handshake and Hello are over. */
void mesh_conn_up(struct mesh_conn *conn);

/* mesh_accept.c */
void mesh_accept(struct mesh *mesh);
/* Tells config.turned_away() what there is to tell. */
void mesh_say_turned_away(struct mesh *mesh);

/* mesh_receive.c: takes all that is in the session. */
void mesh_receive(struct mesh_conn *conn);

/* mesh_send.c */
void mesh_items_init(struct mesh_items *items);
/* Takes item. */
void mesh_send_item(struct mesh_conn *conn, struct mesh_item *item);
int mesh_send_message(struct mesh_conn *conn, struct raft_io_send *req,
                      const struct raft_message *message);
bool mesh_send_note(struct mesh_conn *conn, const void *bytes, size_t len);
/* Writes what is there. */
void mesh_send_flush(struct mesh_conn *conn);
bool mesh_send_empty(const struct mesh_conn *conn);
/* Calls back whatever did not leave. */
void mesh_send_end(struct mesh_conn *conn);

/* mesh_snapshot.c */
int mesh_snapshot_send(struct mesh_conn *conn, struct raft_io_send *req,
                       const struct raft_install_snapshot *args);
/* The next frame of a snapshot, or NULL: none waits, or there is no memory. */
struct mesh_item *mesh_snapshot_next(struct mesh_conn *conn, bool *out_failed);
/* Takes what the frame holds for libraft. */
void mesh_snapshot_begin(struct mesh_conn *conn, struct mesh_frame *frame);
enum st_code mesh_snapshot_chunk(struct mesh_conn *conn, const struct mesh_frame *frame,
                                 struct st_err *err);
void mesh_incoming_forget(struct mesh_incoming *incoming);

/* mesh_peer.c */
/* Its connection is gone, or was never there. */
void mesh_peer_lost(struct mesh_peer *peer);
/* Its member is there: it says so itself. */
void mesh_peer_heard(struct mesh *mesh, uint64_t id);
void mesh_peer_forget_all(struct mesh *mesh);
/* One that is followed; NULL. */
struct mesh_peer *mesh_peer_find(const struct mesh *mesh, uint64_t id);

/* mesh_place.c */
/* Its certificate was seen, and its Hello taken. */
void mesh_peer_says(struct mesh *mesh, uint64_t id, const char *address);
/* Where to dial it now, and the next time elsewhere.  False where nobody can. */
bool mesh_peer_place(struct mesh_peer *peer, struct sockaddr_storage *out);
/* It came from there, and its certificate is good. */
void mesh_peer_seen(struct mesh *mesh, uint64_t id, const struct st_address *source);
/* Whether a member that is followed is, may be, or last came from there. */
bool mesh_peer_is_at(const struct mesh *mesh, const struct st_address *source);

#endif

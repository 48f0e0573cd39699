/* mesh.h - the connections of this member to the others, port 7834.
 *
 * TLS 1.3 by wolfSSL over libuv's TCP, both ends with a certificate of the consensus
 * authority.  Every member dials every other.  A message goes over the connection that we
 * dialled, or, where there is none, over one that the other member dialled: a member that
 * joins knows nobody yet.  Where a member is, is found out by trying: what counts is its
 * certificate.  Frames are length-prefixed peer.proto messages, bounded and
 * checked to the last byte before anybody sees them.
 *
 * The first frame each way is Hello: who speaks, where it listens, and which start of it
 * this is (`boot`).  A member whose folder is an older one starts with a number that its
 * peers have seen; they refuse it, and say why.  So nobody may hear of a start before it
 * is on disk: announce().
 *
 * Loop thread only, but mesh_set_crl().  That thread has SIGPIPE blocked or ignored.
 */
#ifndef RAFT_MESH_H
#define RAFT_MESH_H

#include "raft/link.h"
#include "raft/replica.h"

#include <uv.h>

enum {
    MESH_FRAME_MAX = 8 * 1024 * 1024,    /* bytes on the wire after the length */
    MESH_WAITING_MAX = 16 * 1024 * 1024, /* bytes that wait for one peer, then
                                            RAFT_NOCONNECTION */
    MESH_NOTE_MAX = 512 * 1024,
    MESH_SNAPSHOT_MAX = 512 * 1024 * 1024, /* goes in chunks, between other messages */
    MESH_NONCE_LEN = 16,
};

struct mesh;

struct mesh_config {
    uv_loop_t *loop;
    uint64_t id;         /* the one that the certificate names */
    const char *address; /* "192.0.2.1:7834", where it listens */
    const struct replica_credentials *credentials;
    /* This start of this member: a number greater than that of every start before, and 16
     * random bytes. */
    uint64_t boot;
    uint8_t boot_nonce[MESH_NONCE_LEN];
    void *arg;
    /* Our Hello is about to leave: when it returns, this start is one that will never
     * come again.  A failure closes the connection, and nothing was said. */
    enum st_code (*announce)(void *arg, struct st_err *err);
    /* Another member's Hello.  A failure closes the connection, and `why` is told to the
     * other side.  Its address is its own word. */
    enum st_code (*admit)(void *arg, uint64_t from, const char *address, uint64_t boot,
                          const uint8_t nonce[MESH_NONCE_LEN], struct st_err *why);
    /* A member closed the connection on our Hello. */
    void (*refused)(void *arg, uint64_t by, const struct st_err *why);
    /* From the member that the certificate names.  Takes what libraft takes (io.h). */
    void (*receive)(void *arg, uint64_t from, struct raft_message *message);
    /* Bytes of replica's own, lent until return. */
    void (*note)(void *arg, uint64_t from, const void *bytes, size_t len);
    /* Strangers come more often than their networks may: so many were closed unheard
     * since it was said last, the last one from there.  Once a minute at most. */
    void (*turned_away)(void *arg, uint64_t count, const char *last);
    /* A connection came or went. */
    void (*changed)(void *arg);
};

/* Listens when it returns; where it fails, it may have run the loop.  ST_UNAVAILABLE
 * where the address is in use or not of this machine; ST_INVALID_ARGUMENT for credentials
 * that do not fit together. */
enum st_code mesh_open(const struct mesh_config *config, struct mesh **out,
                       struct st_err *err);
/* closed() runs later, on the loop, when nothing is left; every pending send has called
 * back by then.  Then mesh_free(). */
void mesh_close(struct mesh *mesh, void (*closed)(void *arg), void *arg);
void mesh_free(struct mesh *mesh);

/* Whom it is to be connected with: dials who is new, again and again with backoff, and
 * lets go of who is missing.  May be called as often as libraft's configuration might
 * have changed; it compares.  (An accepted connection is judged by its certificate alone:
 * a member that joins does not know the others yet.) */
void mesh_follow(struct mesh *mesh, const struct raft_configuration *members);
/* replica_set_places(). */
void mesh_set_places(struct mesh *mesh, const struct replica_place *places,
                     unsigned count);
/* An address in the group that says nothing of where a member is: nobody dials it. */
void mesh_nowhere(uint64_t id, char out[REPLICA_ADDRESS_MAX]);
/* Where a member that is followed said last that it listens; "" where it never did. */
const char *mesh_says(const struct mesh *mesh, uint64_t id);
bool mesh_connected(const struct mesh *mesh, uint64_t id);
/* The connections with a member, each by a number that no other one has; 0: none.  What
 * was sent while they were there may be lost, or its answer, once one of them is gone. */
struct mesh_ways {
    uint64_t dialled, accepted;
};
struct mesh_ways mesh_ways(const struct mesh *mesh, uint64_t id);
/* Why the last connection ended that did, a stranger's too; code ST_OK where none has. */
const struct st_err *mesh_trouble(const struct mesh *mesh);
/* The same of a member that is followed, whom we dialled or who showed its certificate:
 * a sentence for the log; "" where none has. */
const char *mesh_trouble_with(const struct mesh *mesh, uint64_t id);

/* For io_init().  An AppendEntries of more than about 1 MiB, or 4096 entries, goes with
 * its first entries only (and a commit index that ends with them): libraft finds out from
 * the next heartbeat.  While a snapshot is on its way to a member, a second one waits; a
 * third takes its place, and the second calls back as if it had left. */
struct link mesh_link(struct mesh *mesh);
/* False where there is no connection to `to`, or too much waits for it. */
bool mesh_note(struct mesh *mesh, uint64_t to, const void *bytes, size_t len);

/* replica_set_crl(); any thread. */
enum st_code mesh_set_crl(struct mesh *mesh, const void *crl, size_t len,
                          struct st_err *err);

#endif

/* mesh.h - the connections of this member to the others, port 7834.
 *
 * TLS 1.3 by wolfSSL over libuv's TCP, both ends with a certificate of the consensus
 * authority.  Every member dials every other: what it sends goes over the connection it
 * dialled, what arrives on an accepted one is only read.  Frames are length-prefixed
 * peer.proto messages, bounded and checked to the last byte before anybody sees them.
 *
 * Loop thread only, but mesh_set_crl().
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
    MESH_NOTE_MAX = 128 * 1024,
};

struct mesh;

struct mesh_config {
    uv_loop_t *loop;
    uint64_t id;
    const char *address; /* "192.0.2.1:7834", where it listens */
    const struct replica_credentials *credentials;
    void *arg;
    /* From the member that the certificate names.  Takes what libraft takes (io.h). */
    void (*receive)(void *arg, uint64_t from, struct raft_message *message);
    /* Bytes of replica's own, lent until return. */
    void (*note)(void *arg, uint64_t from, const void *bytes, size_t len);
    /* A connection came or went. */
    void (*changed)(void *arg);
};

/* Listens when it returns.  ST_UNAVAILABLE where the address is in use or not of this
 * machine; ST_INVALID_ARGUMENT for credentials that do not fit together. */
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
bool mesh_connected(const struct mesh *mesh, uint64_t id);

/* For io_init(). */
struct link mesh_link(struct mesh *mesh);
/* False where there is no connection to `to`, or too much waits for it. */
bool mesh_note(struct mesh *mesh, uint64_t to, const void *bytes, size_t len);

/* replica_set_crl(); any thread. */
enum st_code mesh_set_crl(struct mesh *mesh, const void *crl, size_t len,
                          struct st_err *err);

#endif

/* mesh_frame.h - messages of the peer link as bytes (peer.proto), and back.
 *
 * What comes back has been checked to the last byte: libraft is compiled without its
 * assertions and believes everything.  No socket, no clock; loop thread, or any for
 * mesh_frame_unpack().
 */
#ifndef RAFT_MESH_FRAME_H
#define RAFT_MESH_FRAME_H

#include "proto/err.h"
#include "raft/mesh.h"

#include <raft.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MESH_LENGTH_LEN = 4,           /* before each frame */
    MESH_FIRST_MAX = 1024,         /* bytes of a Hello or of a Refusal */
    MESH_CONFIGURATION_MAX = 4096, /* bytes of one (raft/conf.h) */
    MESH_ENTRIES_MAX = 4096,       /* in one AppendEntries ... */
    MESH_APPEND_MAX = 1024 * 1024, /* ... or bytes in it, but always one entry */
    MESH_CHUNK_MAX = 256 * 1024,   /* bytes of a snapshot in one frame */
    MESH_FORMAT = 1,
};

/* ---- out ---- */

/* One frame that waits or is being written, with its length before it.  Pieces after the
 * first are borrowed of whoever sends (the bytes of entries, of a snapshot). */
struct mesh_item {
    struct mesh_item *next;
    struct raft_io_send *req; /* to be called back, or NULL */
    size_t size;              /* of memory and of borrowed bytes */
    unsigned count;           /* of pieces ... */
    unsigned at;              /* ... the one that is being copied out, and how much is */
    size_t offset;
    struct raft_buffer pieces[];
};

struct mesh_hello {
    uint64_t id, boot;
    const uint8_t *nonce; /* MESH_NONCE_LEN */
    char address[REPLICA_ADDRESS_MAX];
};

/* Owns: ended with free().  NULL without memory, or where it does not fit into a frame.
 * An AppendEntries of more than MESH_APPEND_MAX bytes is packed with its first entries
 * only and with a commit index that says nothing about the others: libraft finds out and
 * sends what is missing. */
struct mesh_item *mesh_frame_message(const struct raft_message *message);
struct mesh_item *mesh_frame_snapshot(const struct raft_install_snapshot *args);
struct mesh_item *mesh_frame_chunk(const struct raft_buffer *data, size_t offset,
                                   size_t len);
struct mesh_item *mesh_frame_note(const void *bytes, size_t len); /* copied */
struct mesh_item *mesh_frame_hello(const struct mesh_hello *hello);
struct mesh_item *mesh_frame_refusal(const struct st_err *why);

/* Moves the next bytes of item, at most `room`; how many.  0: it is all out. */
size_t mesh_frame_copy(struct mesh_item *item, uint8_t *out, size_t room);

/* ---- in ---- */

enum mesh_frame_kind {
    MESH_HELLO,
    MESH_REFUSAL,
    MESH_MESSAGE,
    MESH_SNAPSHOT, /* begins; args.data.len is what will come, its base NULL */
    MESH_CHUNK,
    MESH_NOTE,
};

/* Pointers are lent by `owner`, but what libraft takes of a message: entries with their
 * batch, and the configuration of a snapshot. */
struct mesh_frame {
    enum mesh_frame_kind kind;
    union {
        struct mesh_hello hello;
        struct st_err refusal;
        struct raft_message message; /* MESH_MESSAGE, MESH_SNAPSHOT; without address */
        struct {
            const uint8_t *bytes;
            size_t len;
            uint64_t offset; /* MESH_CHUNK */
        } data;
    };
    void *owner;
};

/* One frame without its length, of the member that the certificate names.
 * ST_INVALID_ARGUMENT; ST_RESOURCE_EXHAUSTED. */
enum st_code mesh_frame_unpack(const void *bytes, size_t len, uint64_t from,
                               struct mesh_frame *out, struct st_err *err);
/* What libraft was not given goes as well: where it was, message.type is 0. */
void mesh_frame_free(struct mesh_frame *frame);

#endif

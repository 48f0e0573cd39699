/* mesh_wire.h - between the files that know peer.proto: mesh_pack.c, mesh_unpack.c and
 * mesh_entries.c. */
#ifndef RAFT_MESH_WIRE_H
#define RAFT_MESH_WIRE_H

#include "raft/mesh_frame.h"
#include "raft/peer.pb-c.h"

/* Beyond it sums might wrap. */
#define MESH_INDEX_MAX (1ull << 62)

/* ---- out ---- */

/* A frame with `message` in this field of Frame.  The last field of the message, number
 * `last`, has `len` bytes that are not packed here: the caller has them borrowed, in at
 * most `pieces`. */
struct mesh_item *mesh_frame_of(unsigned field, const ProtobufCMessage *message,
                                unsigned last, size_t len, unsigned pieces);
void mesh_frame_borrow(struct mesh_item *item, const void *bytes, size_t len);

/* AppendEntries as it goes into one frame: at most `most` entries and MESH_APPEND_MAX
 * bytes of them, but one.  Where some are left out, the commit index ends with the
 * others: as if the leader's log did. */
struct raft_append_entries mesh_entries_cut(const struct raft_append_entries *args,
                                            unsigned most);
struct mesh_item *mesh_entries_pack(const struct raft_append_entries *all);

/* ---- in ---- */

enum st_code mesh_malformed(struct st_err *err, const char *what);
/* The term of a message, and an index in a log with its own term. */
bool mesh_term_and_index(uint64_t term, uint64_t index, uint64_t index_term);
/* At least one member; *out is ended in any case. */
bool mesh_configuration_decode(const void *bytes, size_t len,
                               struct raft_configuration *out);

/* AppendEntries; its data become libraft's. */
enum st_code mesh_entries_take(Peer__AppendEntries *args, struct raft_message *message,
                               struct st_err *err);

#endif

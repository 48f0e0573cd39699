/* snapshot.h - all records of one moment as bytes, for a member that is too far behind.
 *
 *   "stsn" | u32 1 | u64 count | count times: u32 key_len, u32 value_len, key, value
 *
 * Little-endian.  Any thread.
 */
#ifndef RAFT_SNAPSHOT_H
#define RAFT_SNAPSHOT_H

#include "store/store.h"

/* Well formed to the last byte; before libraft sees one of a stranger. ST_DATA_LOSS. */
enum st_code snapshot_check(const void *bytes, size_t len, struct st_err *err);

/* Every record of a checked snapshot into batch. */
void snapshot_put_records(const void *bytes, size_t len, struct store_batch *batch);

/* The records now, from one short read transaction; *out is malloc'ed (libraft frees it).
 * moment->configuration points into *out_configuration, malloc'ed. */
enum st_code snapshot_take(struct store *store, uint8_t **out, size_t *out_len,
                           struct store_moment *moment, void **out_configuration,
                           struct st_err *err);

#endif

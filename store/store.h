/* store.h - the records of this master on disk: one LMDB environment, dir/store.mdb.
 *
 * It holds the log of the consensus group, the hard state (term, vote), the
 * configurations by index, and the state records with the index they belong to.  What
 * the numbers and bytes mean is the business of raft/.
 *
 * Everything that changes goes through batches, which one writer thread commits in the
 * order of their submission, several in one transaction where they queue.  A batch is
 * whole on disk or not there.  Every entry and record carries a checksum over its place
 * and content: what was torn or flipped is ST_DATA_LOSS, with its name.
 *
 * After the first failed write nothing is written any more and no `done` is called:
 * config.failed says so, and the process has to end.
 *
 * Functions may be called from any thread unless it says otherwise.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "proto/err.h"
#include "proto/scope.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum {
    STORE_FORMAT = 1,    /* written into every store; a later one is refused */
    STORE_KEY_MAX = 200, /* bytes in a record's key; at least 1 */
    STORE_VALUE_MAX = 16 * 1024 * 1024,
    STORE_NONCE_LEN = 16,
};

struct store_config {
    const char *dir; /* made (0700) where `create` is set */
    bool create;     /* an empty store where there is none */
    size_t map_size; /* bytes the store may grow to; 0: 16 GiB, sparse */
    /* A write failed.  Once, on the writer thread. */
    void (*failed)(void *arg, const struct st_err *err);
    void *arg;
};

/* ST_NOT_FOUND without `create` where dir has no store; ST_UNAVAILABLE where another
 * process has it; ST_FAILED_PRECONDITION for a later format; ST_DATA_LOSS. */
enum st_code store_open(const struct store_config *config, struct store **out,
                        struct st_err *err);
/* Owns: what was submitted is written and its `done` called first.  NULL is fine. */
void store_close(struct store *store);
AUTO_DEFINE(struct store *, store_closep, store_close)

/* Removes a store that nobody needs any more; none is fine.  ST_UNAVAILABLE where another
 * process has it. */
enum st_code store_erase(const char *dir, struct st_err *err);

/* Gives the memory of pages read so far back.  Nothing may be reading or writing. */
enum st_code store_relax(struct store *store, struct st_err *err);

/* ---- writing ---- */

/* Changes that become durable together, in the order of the calls.  Of one thread at a
 * time.  Without memory a batch turns bad, and its write fails. */
struct store_batch;
struct store_batch *store_batch_new(void); /* NULL without memory */
void store_batch_free(struct store_batch *batch);
bool store_batch_empty(const struct store_batch *batch);

void store_put_member(struct store_batch *batch, uint64_t member);
void store_put_hard(struct store_batch *batch, uint64_t term, uint64_t vote);
/* Which start of another member was the last that this one has seen; of its own, the last
 * that others may have heard of. */
struct store_boot {
    uint64_t number;
    uint8_t nonce[STORE_NONCE_LEN];
};
void store_put_boot(struct store_batch *batch, uint64_t member,
                    const struct store_boot *boot);
/* Index follows the last.  Borrows bytes until the batch is done or freed. */
void store_append(struct store_batch *batch, uint64_t index, uint64_t term, uint16_t type,
                  const void *bytes, size_t len);
/* Removes all entries and configurations from index on. */
void store_cut_tail(struct store_batch *batch, uint64_t index);
/* Removes all entries before index, and all configurations but the newest at or before
 * it and those after. */
void store_cut_head(struct store_batch *batch, uint64_t index);
/* Copies bytes. */
void store_put_configuration(struct store_batch *batch, uint64_t index, const void *bytes,
                             size_t len);
/* Of the state: key and value are copied. */
void store_put_record(struct store_batch *batch, const void *key, size_t key_len,
                      const void *value, size_t value_len);
void store_delete_record(struct store_batch *batch, const void *key, size_t key_len);
/* No entry, configuration or record any more; the log goes on behind (index, term), which
 * is applied. */
void store_replace(struct store_batch *batch, uint64_t index, uint64_t term);
/* The records are as of index now. */
void store_put_applied(struct store_batch *batch, uint64_t index);

/* Takes the batch; done (may be NULL) is called on the writer thread once it is on disk,
 * then the batch is freed. */
void store_submit(struct store *store, struct store_batch *batch, void (*done)(void *arg),
                  void *arg);
/* Takes the batch; it is on disk when this returns. */
enum st_code store_write(struct store *store, struct store_batch *batch,
                         struct st_err *err);

/* ---- reading: short transactions of their own ---- */

struct store_head {
    uint64_t member;     /* 0: nothing was ever written */
    uint64_t term, vote; /* hard state */
    uint64_t applied;    /* index the records are as of */
    uint64_t base_term; /* of the entry at base_index, which the log goes on behind; 0, */
    uint64_t base_index;  /* 0 where the log begins at 1 */
    uint64_t first, last; /* of the log; empty: last is first - 1 */
};
enum st_code store_head(struct store *store, struct store_head *out, struct st_err *err);

/* Zeros where none was seen. */
enum st_code store_boot(struct store *store, uint64_t member, struct store_boot *out,
                        struct st_err *err);

struct store_entry {
    uint64_t index, term;
    uint16_t type;
    const void *bytes; /* lent until the visitor returns */
    size_t len;
};
/* All entries from first to last; a missing one is ST_DATA_LOSS.  A visitor that fails
 * ends it with its code. */
enum st_code store_each_entry(struct store *store, uint64_t first, uint64_t last,
                              enum st_code (*visit)(void *arg,
                                                    const struct store_entry *entry,
                                                    struct st_err *err),
                              void *arg, struct st_err *err);

typedef enum st_code (*store_visit_record)(void *arg, const void *key, size_t key_len,
                                           const void *value, size_t value_len,
                                           struct st_err *err);
/* All records in key order; ST_DATA_LOSS also where one is missing. */
enum st_code store_each_record(struct store *store, store_visit_record visit, void *arg,
                               struct st_err *err);

/* One moment of it all, for a snapshot: applied index, its term, the configuration at
 * it, and every record, from one read transaction.  `moment` is called first. */
struct store_moment {
    uint64_t index, term;
    uint64_t configuration_index;
    const void *configuration; /* lent until the call returns */
    size_t configuration_len;
    uint64_t count; /* records that follow */
};
enum st_code
store_each_of_moment(struct store *store,
                     enum st_code (*moment)(void *arg, const struct store_moment *moment,
                                            struct st_err *err),
                     store_visit_record visit, void *arg, struct st_err *err);

#endif

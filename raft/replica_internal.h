/* replica_internal.h - the inside of one member, for replica*.c alone.
 *
 * Proposals and barriers come in through `inbox` from any thread; the loop thread moves
 * them to `waiting`.  One log entry is under way at a time, the flight: all commands that
 * waited when it left, and all barriers, which its applying answers as well.  So one
 * flush of the disk serves everybody who came during the flush before.
 *
 *   entry   u8 1 | u32 count | count times: u32 len, command      (little-endian)
 */
#ifndef RAFT_REPLICA_INTERNAL_H
#define RAFT_REPLICA_INTERNAL_H

#include "raft/cure.h"
#include "raft/io.h"
#include "raft/replica.h"

enum {
    ENTRY_FORMAT = 1,
    ENTRY_HEAD = 1 + 4,
    ENTRY_MAX = 256 * 1024, /* bytes of commands in one entry, beyond the first */
    POSITION_BITS = 12,     /* of a command's index: its position in the entry */
    ENTRY_COMMANDS_MAX = 1 << POSITION_BITS,
    LOG_BYTES_MAX = 4 * 1024 * 1024, /* then the log is compacted ... */
    LOG_ENTRIES_MAX = 1024,          /* ... or then, and at most so much stays */
};

struct request {
    struct request *next;
    replica_done done;
    void *arg;
    uint64_t deadline; /* uv_hrtime() in ms */
    bool barrier;
    bool refused; /* too large; the command is not kept */
    size_t len;
    uint8_t command[];
};

struct request_list {
    struct request *first, **last;
};

struct flight {
    bool under_way;
    bool is_barrier;
    union {
        struct raft_apply apply;
        struct raft_barrier barrier;
    };
    struct request_list proposals; /* a request that timed out has no `done` any more */
    struct request_list barriers;
};

struct replica_change {
    struct store_batch *batch;
};

struct replica {
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t thread;
    struct store *store;
    struct raft_io inner;
    struct io io;
    struct cure cure;
    struct raft_fsm fsm;
    struct raft raft;
    struct replica_machine machine;
    void (*fatal)(const char *sentence);
    struct st_err start_err; /* why the records could not be loaded */

    /* Of the loop thread. */
    struct request_list waiting;
    struct flight flight;
    struct replica_result *result;
    size_t log_bytes; /* in entries since the last compaction */
    bool started;
    bool ending;

    pthread_mutex_t lock; /* guards what follows */
    struct request_list inbox;
    bool close;
    struct replica_status status;
};

void replica_list_init(struct request_list *list);
void replica_list_push(struct request_list *list, struct request *request);
struct request *replica_list_pop(struct request_list *list);
/* Calls back and frees. */
void replica_request_end(struct request *request, const struct st_err *err,
                         const struct replica_result *result);
void replica_list_fail(struct request_list *list, const struct st_err *err);

void replica_die(void *arg, const struct st_err *err) __attribute__((noreturn));

/* replica_machine.c */
void replica_machine_init(struct replica *replica);
/* Commands of `proposals` as one entry; raft_malloc'ed. */
int replica_encode(const struct request_list *proposals, struct raft_buffer *out);

/* replica_propose.c: after anything that may let requests go on. */
void replica_pump(struct replica *replica);

#endif

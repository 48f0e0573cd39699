/* replica_internal.h - the inside of one member, for replica*.c alone.
 *
 * Proposals and barriers come in through `inbox` from any thread; the loop thread moves
 * them to `waiting`.  On the member that leads, one log entry is under way at a time, the
 * flight: all commands that waited when it left, and all barriers, which its applying
 * answers as well.  So one flush of the disk serves everybody who came during the flush
 * before.  On any other member they are asked of the leader (`asked`), and answered once
 * this member has applied what the leader says.
 *
 *   entry   u8 1 | u32 count | count times: u32 len, command      (little-endian)
 */
#ifndef RAFT_REPLICA_INTERNAL_H
#define RAFT_REPLICA_INTERNAL_H

#include "raft/cure.h"
#include "raft/forward.pb-c.h"
#include "raft/io.h"
#include "raft/mesh.h"
#include "raft/replica.h"

enum {
    ENTRY_FORMAT = 1,
    ENTRY_HEAD = 1 + 4,
    ENTRY_MAX = 256 * 1024, /* bytes of commands in one entry, beyond the first */
    POSITION_BITS = 12,     /* of a command's index: its position in the entry */
    ENTRY_COMMANDS_MAX = 1 << POSITION_BITS,
    LOG_BYTES_MAX = 4 * 1024 * 1024,  /* so much more, and the log is compacted ... */
    LOG_ENTRIES_MAX = 1024,           /* ... or then; at most so many stay ... */
    LOG_BYTES_KEPT = 2 * 1024 * 1024, /* ... and so much: libraft has it in memory */
    HEARTBEAT_MS = 50,
    ELECTION_MS = 500, /* an election begins after this to twice as much silence */
    ANSWERS_MS = 3 * ELECTION_MS, /* who was silent for longer does not answer */
    SNAPSHOT_MS = 300 * 1000,     /* then one that nobody heard of again is sent again */
    PEERS_MAX = REPLICA_MEMBERS_MAX,
};

enum request_kind {
    REQUEST_PROPOSE,
    REQUEST_BARRIER,
    REQUEST_STEP,
    REQUEST_TRANSFER,
};

struct request {
    struct request *next;
    replica_done done;
    void *arg;
    uint64_t deadline; /* uv_hrtime() in ms */
    enum request_kind kind;
    uint64_t from; /* the member that asks; 0: this process */
    enum replica_step step;
    uint64_t id;  /* of a step or a transfer: whose */
    bool refused; /* too large; the command is not kept */
    size_t len;
    uint8_t command[]; /* or the address of a step, with its NUL */
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

/* What was asked of the leader. */
struct asked {
    struct asked *next;
    uint64_t number;
    uint64_t to;
    struct mesh_ways ways;        /* to it, just before */
    struct request_list requests; /* one proposal, or barriers */
    Forward__Answer *answer;      /* NULL: not yet */
};

/* What this member, while it leads, knows of another. */
struct peer {
    uint64_t id;     /* 0: free */
    uint64_t stored; /* the last index that it has acknowledged in this term */
    uint64_t heard;  /* when, uv_hrtime() in ms; 0: never */
    uint64_t owed;   /* an index that it waits for; to be told once it is stored there */
};

/* One step of libraft's membership, or a transfer. */
struct change {
    struct request *request; /* NULL: none under way */
    union {
        struct raft_change step;
        struct raft_transfer transfer;
    };
};

struct replica_change {
    struct store_batch *batch;
};

struct replica {
    uv_loop_t loop;
    struct wake wake;
    pthread_t thread;
    struct store *store;
    struct mesh *mesh; /* NULL: a group of one */
    struct raft_io inner;
    struct io io;
    struct cure cure;
    struct raft_fsm fsm;
    struct raft raft;
    struct replica_machine machine;
    void (*moved)(void *arg);
    void *moved_arg;
    void (*fatal)(const char *sentence);
    void (*refused)(const char *sentence);
    void (*turned_away)(uint64_t count, const char *last);
    struct st_err start_err; /* why the records could not be loaded */
    struct store_boot boot;  /* this start ... */

    /* Of the loop thread. */
    struct request_list waiting;
    struct flight flight;
    struct replica_result *result;
    size_t log_bytes; /* in entries since the last compaction */
    bool started;
    bool announced; /* ... which others may have heard of, and which is on disk */
    bool ending;
    uint64_t answering;       /* the index whose applying answers requests ... */
    raft_term answering_term; /* ... and its term; 0: of some earlier term */
    struct asked *asked, **asked_last;
    uint64_t last_number;
    uint64_t ask_after; /* uv_hrtime() in ms: a leader said that it is none */
    raft_term peers_term;
    struct peer peers[PEERS_MAX];
    struct change stepping, handing;

    pthread_mutex_t lock; /* guards what follows */
    struct request_list inbox;
    bool close;
    bool placed; /* `places` are news */
    unsigned place_count;
    struct replica_place places[REPLICA_PLACES_MAX];
    struct replica_status status;
    unsigned member_count;
    struct replica_member members[REPLICA_MEMBERS_MAX];
};

/* replica_request.c */
uint64_t replica_now(void); /* uv_hrtime() in ms */
void replica_list_init(struct request_list *list);
void replica_list_push(struct request_list *list, struct request *request);
struct request *replica_list_pop(struct request_list *list);
void replica_list_append(struct request_list *list, struct request_list *more);
/* NULL without memory. */
struct request *replica_request_new(enum request_kind kind, const void *command,
                                    size_t len, uint32_t timeout_ms, replica_done done,
                                    void *arg);
/* Calls back, once, and keeps it: libraft still has it. */
void replica_request_answer(struct request *request, const struct st_err *err,
                            const struct replica_result *result);
/* Calls back, where nobody did, and frees. */
void replica_request_end(struct request *request, const struct st_err *err,
                         const struct replica_result *result);
void replica_list_fail(struct request_list *list, const struct st_err *err);
/* Calls back with err where the deadline passed, and keeps the request: it cannot be
 * called off any more.  True where somebody still waits. */
bool replica_list_give_up(struct request_list *list, uint64_t now,
                          const struct st_err *err);
void replica_unavailable(struct st_err *err, const char *why);

void replica_die(void *arg, const struct st_err *err) __attribute__((noreturn));

/* replica_compact.c: at the start. */
enum st_code replica_compact(struct replica *replica, struct st_err *err);

/* replica_machine.c */
void replica_machine_init(struct replica *replica);
/* Commands of `proposals` as one entry; raft_malloc'ed. */
int replica_encode(const struct request_list *proposals, struct raft_buffer *out);

/* replica_propose.c: after anything that may let requests go on. */
void replica_pump(struct replica *replica);
/* What callbacks asked for when the loop did not wake any more; it has ended. */
void replica_refuse_rest(struct replica *replica);

/* replica_forward.c */
void replica_ask_leader(struct replica *replica); /* all that waits */
void replica_settle_asked(struct replica *replica);
void replica_fail_asked(struct replica *replica, const struct st_err *err);
void replica_on_note(void *arg, uint64_t from, const void *bytes, size_t len);
void replica_on_message(void *arg, uint64_t from, struct raft_message *message);

/* replica_boot.c */
enum st_code replica_boot(struct replica *replica, uint64_t id, struct st_err *err);
enum st_code replica_announce(void *arg, struct st_err *err);
enum st_code replica_boot_begin(struct replica *replica, uint64_t id, struct st_err *err);
enum st_code replica_admit(void *arg, uint64_t from, const char *address, uint64_t number,
                           const uint8_t nonce[MESH_NONCE_LEN], struct st_err *why);
void replica_refused(void *arg, uint64_t by, const struct st_err *why);

/* replica_members.c */
void replica_publish(struct replica *replica);
/* To the mesh, where they are news. */
void replica_hand_places_on(struct replica *replica);
/* Of the newest configuration known here; NULL. */
const struct raft_server *replica_server(const struct raft *raft, uint64_t id);
void replica_begin_change(struct replica *replica, struct request *request);
void replica_expire_changes(struct replica *replica, uint64_t now);

#endif

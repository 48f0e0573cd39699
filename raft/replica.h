/* replica.h - one member of the consensus group, as the master sees it.
 *
 * A replica holds a deterministic state machine (the caller's) over a replicated log:
 * propose a command, hear that it is applied on this member after a majority has it on
 * disk.  State records (key -> value, written by the machine's apply) are durable in the
 * store with the index they belong to; at start the machine is given all of them, then
 * the tail of the log again.
 *
 * Every member takes proposals and barriers: one that follows hands them to the leader
 * over the peer link.  A group of several needs credentials for that link.
 *
 * One loop thread per replica runs all callbacks and the machine's functions (before
 * replica_open() returns, its caller's thread does).  Everything but replica_open() and
 * replica_close() may be called from any thread, until replica_close() is; and from
 * callbacks, until it returns.
 */
#ifndef RAFT_REPLICA_H
#define RAFT_REPLICA_H

#include "proto/address.h"
#include "proto/err.h"
#include "proto/scope.h"
#include "proto/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct replica;
struct replica_change; /* what one command does to the records */

enum {
    REPLICA_COMMAND_MAX = 64 * 1024, /* bytes of one command */
    REPLICA_RESULT_MAX = 16 * 1024,  /* bytes of one result */
    REPLICA_KEY_MAX = 200,           /* bytes of a record's key; at least 1 */
};

/* Collected until apply() returns, then durable together.  Bytes are copied. */
void replica_change_put(struct replica_change *change, const void *key, size_t key_len,
                        const void *value, size_t value_len);
void replica_change_delete(struct replica_change *change, const void *key,
                           size_t key_len);

/* The answer of apply() for whoever proposed; bytes are copied. */
struct replica_result {
    size_t len;
    uint8_t bytes[REPLICA_RESULT_MAX];
};

struct replica_machine {
    void *self;
    /* Forget everything: before the first load(), and before a snapshot replaces the
     * state.  Nobody should see what is there from then on until loaded(). */
    void (*reset)(void *self);
    /* One record, in key order; ST_DATA_LOSS for one it cannot read, which ends the
     * start. */
    enum st_code (*load)(void *self, const void *key, size_t key_len, const void *value,
                         size_t value_len, struct st_err *err);
    /* That was the last one, or it failed.  On the same thread; NULL is fine. */
    void (*loaded)(void *self);
    /* One command.  index is its own and greater than that of every command before it,
     * the same on every member (several commands may share a log entry: it is not the
     * entry's index).  No clock, no randomness, no I/O: the same commands give the same
     * records on every member.  A command it refuses changes nothing and says so in the
     * result. */
    void (*apply)(void *self, uint64_t index, const void *command, size_t command_len,
                  struct replica_change *change, struct replica_result *result);
};

/* What this member shows the others on port 7834, and what it demands of them: TLS 1.3
 * with a certificate of the same authority, not on its list, that names the member it
 * speaks for (CN "smalltown-member-<id>").  DER, lent for the call. */
struct replica_credentials {
    const void *ca, *crl, *cert;
    size_t ca_len, crl_len, cert_len;
    const struct secret *key; /* PKCS#8, Ed25519 */
};

/* How a member begins in a folder that holds no group yet. */
enum replica_begin {
    REPLICA_OPEN,      /* not at all: ST_NOT_FOUND */
    REPLICA_BOOTSTRAP, /* as the only voter of a new group */
    REPLICA_JOIN,      /* empty: it waits for a leader who was told of it */
    /* No beginning: the folder's group has lost its majority for good.  This member
     * becomes its only voter, and all that its log holds is committed.  ST_NOT_FOUND
     * where it holds no records yet. */
    REPLICA_RECOVER,
};

struct replica_config {
    const char *dir;     /* of this master; the store is dir/store.mdb, 0600 */
    uint64_t id;         /* member id, not 0; never used twice in the life of a group */
    const char *address; /* "192.0.2.1:7834" */
    /* BOOTSTRAP and JOIN: ST_ALREADY_EXISTS where dir holds a group. */
    enum replica_begin begin;
    const struct replica_credentials *credentials; /* NULL: no peers; a group of one */
    struct replica_machine machine;
    /* Leadership, the members, or how far one of them is may have changed.  Loop thread;
     * must not block.  NULL is fine. */
    void (*moved)(void *arg);
    void *moved_arg;
    /* A disk error or a broken library invariant: the process must end now, nothing more
     * is acknowledged.  Called from the loop thread, at most once; must not return. NULL:
     * one line on stderr, then abort(). */
    void (*fatal)(const char *sentence);
    /* Another member refuses this one for good: it was removed, or its folder is an older
     * one.  Loop thread, maybe again and again; who returns has to close the replica.
     * NULL: as fatal. */
    void (*refused)(const char *sentence);
    /* Strangers dial this member more often than it hears them: so many were turned away,
     * the last one from there.  Loop thread, once a minute at most.  NULL is fine. */
    void (*turned_away)(uint64_t count, const char *last);
};

/* Runs when it returns: records are loaded, though a leader may not be known yet.
 * ST_NOT_FOUND where dir holds no group and none is to begin; ST_ALREADY_EXISTS;
 * ST_DATA_LOSS; ST_UNAVAILABLE where another process has it open; ST_FAILED_PRECONDITION
 * where it is another member's, or of a later format. */
enum st_code replica_open(const struct replica_config *config, struct replica **out,
                          struct st_err *err);
/* Every pending callback has run (with ST_UNAVAILABLE) when it returns. Not from the loop
 * thread. NULL is fine. */
void replica_close(struct replica *replica);
AUTO_DEFINE(struct replica *, replica_closep, replica_close)

/* err->code 0: the command is on disk on a majority and applied here, result is what
 * apply() said, lent until return. ST_UNAVAILABLE: not known whether it will be, so retry
 * with the same request id (inside the command, the machine's business); with
 * ST_REASON_NO_LEADER it will not be. */
typedef void (*replica_done)(void *arg, const struct st_err *err,
                             const struct replica_result *result);

/* Always calls back exactly once, never from inside the call.  timeout_ms bounds the
 * wait (to about 100 ms), then ST_UNAVAILABLE.  ST_INVALID_ARGUMENT above
 * REPLICA_COMMAND_MAX. */
void replica_propose(struct replica *replica, const void *command, size_t len,
                     uint32_t timeout_ms, replica_done done, void *arg);

/* Linearizable read: calls back (result NULL) once everything that was committed before
 * the call is applied here.  One barrier serves all who wait for it; a member that cannot
 * reach a majority says ST_UNAVAILABLE. */
void replica_barrier(struct replica *replica, uint32_t timeout_ms, replica_done done,
                     void *arg);

/* The same two for a thread that may wait (init, tests). */
enum st_code replica_propose_wait(struct replica *replica, const void *command,
                                  size_t len, uint32_t timeout_ms,
                                  struct replica_result *out, struct st_err *err);
enum st_code replica_barrier_wait(struct replica *replica, uint32_t timeout_ms,
                                  struct st_err *err);

/* ---- the members ---- */

enum {
    REPLICA_MEMBERS_MAX = 9,
    REPLICA_ADDRESS_MAX = 64,
    REPLICA_TROUBLE_MAX = 160,
};

enum replica_role {
    REPLICA_SPARE,   /* has no vote, and is sent nothing */
    REPLICA_STANDBY, /* has no vote, and is sent the log */
    REPLICA_VOTER,
};

struct replica_member {
    uint64_t id;
    enum replica_role role;
    char address[REPLICA_ADDRESS_MAX];
    /* As this member sees it; itself always. */
    bool connected;
    /* While it is not, why the last connection with it ended, or never came to be, and
     * where that was: a sentence for the log, maybe cut; empty where none has. */
    char trouble[REPLICA_TROUBLE_MAX];
    /* Where it says that it listens; empty where it was not heard since this start. */
    char says[REPLICA_ADDRESS_MAX];
    /* Known to the leader only, false elsewhere: it answered within the last seconds. */
    bool answers;
};

/* The newest configuration known here, in the order of ids; returns how many. */
unsigned replica_members(struct replica *replica,
                         struct replica_member out[REPLICA_MEMBERS_MAX]);

/* Where members may be found, besides at the address that they say themselves (first) and
 * at that of the group, which never changes (last); dialled in turn, in this order.  A
 * wrong one costs a dial that fails, and nothing else: who answers there has to show the
 * member's certificate.  In place of what was told before; copied; any thread. */
enum {
    REPLICA_PLACES_MAX = 2 * REPLICA_MEMBERS_MAX + ADDRESSES_MAX,
};
struct replica_place {
    uint64_t id; /* 0: whichever member is not found elsewhere; tried after all others */
    char address[REPLICA_ADDRESS_MAX];
};
void replica_set_places(struct replica *replica, const struct replica_place *places,
                        unsigned count);

/* One step of a change, by the leader only (ST_FAILED_PRECONDITION with
 * ST_REASON_NO_QUORUM elsewhere), one at a time (ST_UNAVAILABLE while another is under
 * way).  A step that is already taken is ST_OK: whoever carries on an intention asks
 * again.  done() as for replica_propose(), without a result. */
enum replica_step {
    /* As a spare.  Here alone `address` counts: the group keeps it for ever, where no
     * other member joined with the same one.  Then its place is told (above). */
    REPLICA_STEP_ADD,
    REPLICA_STEP_PROMOTE, /* to a voter, once it has caught up */
    REPLICA_STEP_REMOVE,  /* the leader can remove itself: it steps down */
};
void replica_step(struct replica *replica, enum replica_step step, uint64_t id,
                  const char *address, uint32_t timeout_ms, replica_done done, void *arg);

/* Hands leadership to the voter that is furthest (or to `id`, not 0).  ST_OK where this
 * member does not lead.  After that replica_close() costs the others no election. */
void replica_transfer(struct replica *replica, uint64_t id, uint32_t timeout_ms,
                      replica_done done, void *arg);

/* The authority's newer list: no handshake ignores it from now on, and a live connection
 * of a member that it names is closed.  ST_FAILED_PRECONDITION where its number is not
 * above the current one; ST_INVALID_ARGUMENT where it is not of this authority.  Any
 * thread. */
enum st_code replica_set_crl(struct replica *replica, const void *crl, size_t len,
                             struct st_err *err);

/* The two for a thread that may wait. */
enum st_code replica_step_wait(struct replica *replica, enum replica_step step,
                               uint64_t id, const char *address, uint32_t timeout_ms,
                               struct st_err *err);
enum st_code replica_transfer_wait(struct replica *replica, uint64_t id,
                                   uint32_t timeout_ms, struct st_err *err);

struct replica_status {
    uint64_t id, leader_id; /* leader_id 0: none known */
    uint64_t term, commit_index, applied_index;
    uint32_t members;
    bool serving; /* leads, and has applied all that earlier leaders committed */
    /* The newest configuration is not committed: it may yet be taken back. */
    bool changing;
};
void replica_status(struct replica *replica, struct replica_status *out);
/* replica_members(), and the status of the same moment. */
unsigned replica_group(struct replica *replica,
                       struct replica_member out[REPLICA_MEMBERS_MAX],
                       struct replica_status *out_status);

#endif

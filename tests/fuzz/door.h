/* door.h - port 7833 and the replica behind it without network, threads or disk: a flow's
 * handler runs on a call whose messages come from the fuzzer, what it proposes is applied
 * at once or once the client has gone, and every "random" byte is known, so that a seed
 * can hold the right answer.
 *
 * Stands in for proto/rpc_call.c and raft/replica_propose.c; the flows, nms/propose.c and
 * the state machine are the real ones.
 */
#ifndef TESTS_FUZZ_DOOR_H
#define TESTS_FUZZ_DOOR_H

#include "nms/nms.h"
#include "tests/fuzz/fuzz.h"

/* The n-th call for random bytes since door_open() gives the byte n, as often as wanted.
 */
enum {
    DOOR_FIRST_RANDOM = 1,
};

/* The secrets of one enrolment and of one ticket, 32 times this byte. */
enum {
    DOOR_ENROLMENT = 0x51,
    DOOR_TICKET = 0x71
};

/* In their certificate. */
#define DOOR_MASTERS "smalltown-master"

struct door {
    struct nms nms;
    struct replica_machine machine;
    uint64_t index;
};

/* A cluster with that enrolment and that ticket; its masters' key is FUZZ_SEED. */
void door_open(struct door *door);
void door_close(struct door *door);

/* door_cluster.c: the commands that make the cluster, for door_open() alone. */
void door_found(struct door *door);

/* Applies, as if an administrator had asked for it. */
enum st_code door_apply(struct door *door, State__Command *command, struct st_err *err);

/* The pieces of the input are the messages of calls of this method; an empty one is where
 * the client has said all and the next call begins.  `late`: the replica answers only
 * when the client has gone.  Each call ends, and nobody holds it then. */
void door_run(struct door *door, const struct rpc_method *method, bool late,
              struct fuzz_input *input);

#endif

/* members.h - the masters as records and group together show them, and what follows from
 * that: the next step for each, and whether one may go.
 *
 * members_read() and members_ips() may be called from any thread; the rest is pure.
 */
#ifndef NMS_MEMBERS_H
#define NMS_MEMBERS_H

#include "nms/state.h"

struct member {
    uint64_t id;
    State__Phase phase;
    struct st_address address;
    char node_id[NODE_ID_LEN + 1]; /* empty: a host without a TPM */
    char name[NAME_MAX_LEN + 1];   /* empty: the first of a cluster */
};

struct members {
    size_t count;
    struct member at[REPLICA_MEMBERS_MAX]; /* in the order of ids */
};

void members_read(struct state *state, struct members *out);
const struct member *members_find(const struct members *members, uint64_t id);
/* The member that this node is; NULL. */
const struct member *members_find_node(const struct members *members,
                                       const char *node_id);

/* The addresses of the masters that vote, for a message, and the number of this list;
 * `ips` points into `room`. */
size_t members_ips(struct state *state, struct st_address room[REPLICA_MEMBERS_MAX],
                   ProtobufCBinaryData ips[REPLICA_MEMBERS_MAX], uint64_t *out_number);

/* "1=192.0.2.1:7834,2=[2001:db8::2]:7834": all but those that are leaving. */
enum {
    MEMBERS_TEXT_MAX = REPLICA_MEMBERS_MAX * (20 + 1 + ADDRESS_TEXT_MAX + 1),
};
void members_text(const struct members *members, char out[MEMBERS_TEXT_MAX]);

/* What the leader does next for a member.  A step may be taken twice, and may have been
 * taken by a leader that is no more. */
enum members_step {
    MEMBERS_NOTHING,
    MEMBERS_ADD,       /* to the group, as a spare */
    MEMBERS_HAND_OVER, /* its certificate and key to its node; then it is catching up */
    MEMBERS_CATCH_UP,  /* a host has its certificate already: it is catching up */
    MEMBERS_MEET,      /* it has to be there before it can be promoted */
    MEMBERS_PROMOTE,   /* to a voter of the group; holds other changes up for a while */
    MEMBERS_VOTE,      /* the record says so, too */
    MEMBERS_YIELD,     /* it is me: let another lead, who removes me */
    MEMBERS_REMOVE,    /* from the group */
    MEMBERS_FORGET,    /* the record; its certificate goes onto the list */
};
struct members_facts {
    State__Phase phase;
    bool is_node;
    bool is_me;
    bool in_group;
    enum replica_role role; /* where in_group */
    bool connected;         /* with me */
    bool changing;          /* what the group is now may yet be taken back */
};
enum members_step members_next(const struct members_facts *facts);
/* The first of the group that has no record, as one that leaves; false where all have
 * one.  The group is of before the records were read: a record comes first, and goes
 * last.  Without a record of its own a master (`me`) does not judge. */
bool members_unrecorded(const struct members *members, const struct replica_member *group,
                        size_t count, uint64_t me, struct member *out);
/* "add", "hand-over", ...; and what to look at where the step fails again and again. */
const char *members_step_word(enum members_step step);
const char *members_step_hint(enum members_step step);

/* "; 192.0.2.2:7834 (member 2): connection refused", and so on: why this master is not
 * connected with this member, or, where `id` is 0, with each; "" where that is not known,
 * or they are.  Maybe cut. */
enum {
    MEMBERS_APART_MAX = 600, /* of a line of the log */
};
void members_apart(const struct replica_member *group, size_t count, uint64_t id,
                   char out[MEMBERS_APART_MAX]);

/* Whether those that are left without `leaving` and answer now are a majority of those
 * that are left.  Who answers is connected, and where the view is the leader's (`leads`),
 * was heard of a moment ago.  ST_FAILED_PRECONDITION. */
enum st_code members_leave_check(const struct replica_member *group, size_t count,
                                 uint64_t me, bool leads, uint64_t leaving,
                                 struct st_err *err);

#endif

/* What whoever comes with a secret would be told, before anything is proposed.
 *
 * The time of a command is that of the master that proposes it.  An enrolment or a ticket
 * that expired unused would be good again at one whose clock says 1970, and a ticket is
 * the whole cluster; so that master asks itself first whether it may be behind. */
#include "nms/state_internal.h"
#include "proto/mutant.h"

#include <inttypes.h>

/* What was made later than it is here by now may have expired long ago.  Or its maker's
 * clock was ahead; then all masters say this of it until it is made anew. */
static enum st_code
behind_judge(const char *what, const char *name, int64_t created_at, int64_t now,
             struct st_err *err)
{
    if (REFUSES(0x3101, created_at > now + STATE_CLOCKS_DIFFER_S))
        return st_fail_for(err, ST_UNAVAILABLE, ST_REASON_CLOCK,
                           "%s %s was made %" PRId64
                           " s from now: this master's clock is behind, or that of the "
                           "master that made it was ahead: compare both",
                           what, name, created_at - now);
    return ST_OK;
}

static enum st_code
enrolment_behind(const struct record *record, int64_t now, struct st_err *err)
{
    State__Enrolment *enrolment = record_unpack(record, &state__enrolment__descriptor);
    enum st_code code =
        behind_judge("enrolment", enrolment->name, enrolment->created_at, now, err);
    record_free_unpacked(enrolment);
    return code;
}

static enum st_code
ticket_behind(const struct record *record, int64_t now, struct st_err *err)
{
    State__Ticket *ticket = record_unpack(record, &state__ticket__descriptor);
    enum st_code code =
        behind_judge("ticket", ticket->name, ticket->created_at, now, err);
    record_free_unpacked(ticket);
    return code;
}

enum st_code
state_enrol_check(struct state *state, const State__Node *node, int64_t now,
                  struct st_err *err)
{
    struct record *enrolment;
    READING(state);
    enum st_code code = enrol_judge(state, node, now, &enrolment, err);
    return code || !enrolment ? code : enrolment_behind(enrolment, now, err);
}

bool
state_knows_secret(struct state *state, const ProtobufCBinaryData *secret_hash)
{
    READING(state);
    return enrolment_of_secret(state, secret_hash) != NULL;
}

enum st_code
state_join_check(struct state *state, const ProtobufCBinaryData *secret_hash,
                 const ProtobufCBinaryData *public_key, int64_t now, uint64_t *out_member,
                 struct st_err *err)
{
    struct record *ticket;
    READING(state);
    enum st_code code =
        join_judge(state, secret_hash, public_key, now, &ticket, out_member, err);
    return code || !ticket ? code : ticket_behind(ticket, now, err);
}

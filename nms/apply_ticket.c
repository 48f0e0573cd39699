/* Tickets: with one a host that has no TPM becomes a master. */
#include "nms/apply.h"
#include "proto/mutant.h"
#include "proto/secret.h"

#include <string.h>

static bool
is_expired(const struct record *record, int64_t now)
{
    State__Ticket *ticket = record_unpack(record, &state__ticket__descriptor);
    const bool expired = now >= ticket->expires_at;
    record_free_unpacked(ticket);
    return expired;
}

/* They go when the next one comes, so that nobody has to remove them. */
static void
drop_expired(struct applying *applying)
{
    const struct record *record;
    char key[STATE_KEY_MAX];
    size_t at = records_begin(&applying->state->records, "ticket/");
    while ((record = records_next(&applying->state->records, "ticket/", &at)))
        if (is_expired(record, applying->now)) {
            strcpy(key, record_key(record));
            applying_delete(applying, key);
            at--;
        }
}

static size_t
live_count(const struct state *state, int64_t now)
{
    const struct record *record;
    size_t count = 0, at = records_begin(&state->records, "ticket/");
    while ((record = records_next(&state->records, "ticket/", &at)))
        count += !is_expired(record, now);
    return count;
}

static enum st_code
invite_judge(const struct applying *applying, const State__Ticket *ticket,
             struct st_err *err)
{
    char key[STATE_KEY_MAX];
    if (!ticket || ticket->secret_hash.len != RECORD_ALIAS_LEN ||
        ticket->expires_at - applying->now > TICKET_EXPIRES_MAX_S)
        return st_fail(err, ST_INVALID_ARGUMENT, "an invitation out of its bounds");
    enum st_code code = name_check("a master", ticket->name, err);
    if (code)
        return code;
    key_of_ticket(ticket->name, key);
    const struct record *record = records_find(&applying->state->records, key);
    if ((record && !is_expired(record, applying->now)) ||
        ticket_of_secret(applying->state, &ticket->secret_hash))
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "%s is invited already: use that ticket, or take another name",
                           ticket->name);
    if (live_count(applying->state, applying->now) >= STATE_TICKETS_MAX)
        return st_fail_for(err, ST_RESOURCE_EXHAUSTED, ST_REASON_BUSY,
                           "there are %d invitations: let them be used, or expire",
                           STATE_TICKETS_MAX);
    return ST_OK;
}

enum st_code
apply_invite_master(struct applying *applying, const State__InviteMaster *invite_master,
                    struct st_err *err)
{
    char key[STATE_KEY_MAX];
    State__Ticket *ticket = invite_master->ticket;
    enum st_code code = invite_judge(applying, ticket, err);
    if (code)
        return code;
    drop_expired(applying);
    ticket->created_at = applying->now;
    key_of_ticket(ticket->name, key);
    applying_put(applying, key, ticket->secret_hash.data, &ticket->base);
    return ST_OK;
}

enum st_code
apply_revoke_ticket(struct applying *applying, const State__RevokeTicket *revoke_ticket,
                    struct st_err *err)
{
    char key[STATE_KEY_MAX];
    enum st_code code = name_check("a master", revoke_ticket->name, err);
    if (code)
        return code;
    key_of_ticket(revoke_ticket->name, key);
    if (!records_find(&applying->state->records, key))
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                           "no ticket for a master %s: it was used (`stctl master "
                           "list`), revoked, or there was none",
                           revoke_ticket->name);
    applying_delete(applying, key);
    return ST_OK;
}

/* The id of the master that came with this secret and this key; 0.  All are looked at,
 * so that the time says nothing. */
static uint64_t
joined_already(const struct state *state, const ProtobufCBinaryData *secret_hash,
               const ProtobufCBinaryData *public_key)
{
    uint64_t match = 0;
    const struct record *record;
    size_t at = records_begin(&state->records, "member/");
    while ((record = records_next(&state->records, "member/", &at))) {
        State__Member *member = record_unpack(record, &state__member__descriptor);
        const bool same_secret = bytes_equal(&member->ticket_hash, secret_hash);
        const bool same_key = bytes_equal(&member->public_key, public_key);
        if (same_secret && !REFUSES(0x312, !same_key) &&
            member->phase != STATE__PHASE__LEAVING)
            match = member->id;
        record_free_unpacked(member);
    }
    return match;
}

enum st_code
join_judge(const struct state *state, const ProtobufCBinaryData *secret_hash,
           const ProtobufCBinaryData *public_key, int64_t now, struct record **out_ticket,
           uint64_t *out_member, struct st_err *err)
{
    if (secret_hash->len != SHA256_LEN || public_key->len != ED25519_PUBLIC_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "a master without all its parts");
    struct record *record = ticket_of_secret(state, secret_hash);
    const uint64_t member = joined_already(state, secret_hash, public_key);
    *out_member = member;
    *out_ticket = NULL;
    if (member)
        return ST_OK;
    if (REFUSES(0x31f, !record))
        return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "no ticket has this secret, or it was used");
    State__Ticket *ticket = record_unpack(record, &state__ticket__descriptor);
    enum st_code code = ST_OK;
    if (REFUSES(0x311, now >= ticket->expires_at))
        code = st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                           "the ticket %s has expired", ticket->name);
    record_free_unpacked(ticket);
    if (!code)
        *out_ticket = record;
    return code;
}

enum st_code
apply_join_master(struct applying *applying, const State__JoinMaster *join_master,
                  struct st_err *err)
{
    char key[STATE_KEY_MAX];
    struct record *record;
    uint64_t id;
    State__Member *member = join_master->member;
    if (!member)
        return st_fail(err, ST_INVALID_ARGUMENT, "a master without all its parts");
    enum st_code code = join_judge(applying->state, &join_master->secret_hash,
                                   &member->public_key, applying->now, &record, &id, err);
    if (code || !record)
        return code;
    State__Ticket *ticket = record_unpack(record, &state__ticket__descriptor);
    State__Member made = STATE__MEMBER__INIT;
    made.id = member->id;
    made.address = member->address;
    made.cert = member->cert;
    made.public_key = member->public_key;
    made.ticket_hash = join_master->secret_hash;
    made.name = ticket->name;
    if (!(code = member_admit(applying, &made, err))) {
        key_of_ticket(ticket->name, key);
        applying_delete(applying, key);
    }
    record_free_unpacked(ticket);
    return code;
}

#include "nms/members.h"
#include "proto/mutant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static enum st_code
member_add(void *arg, const State__Member *record, struct st_err *err)
{
    struct members *members = arg;
    size_t place = members->count;
    if (place == REPLICA_MEMBERS_MAX)
        return ST_OK;
    struct member member = {.id = record->id, .phase = record->phase};
    enum st_code code = address_unpack(&record->address, &member.address, err);
    if (code)
        return code;
    snprintf(member.node_id, sizeof(member.node_id), "%s", record->node_id);
    snprintf(member.name, sizeof(member.name), "%s", record->name);
    /* Records come in the order of their keys, where 10 stands before 2. */
    for (; place > 0 && members->at[place - 1].id > member.id; place--)
        members->at[place] = members->at[place - 1];
    members->at[place] = member;
    members->count++;
    return ST_OK;
}

void
members_read(struct state *state, struct members *out)
{
    memset(out, 0, sizeof(*out));
    /* A record's address was checked when the record came in. */
    (void)!state_each_member(state, member_add, out, NULL);
}

const struct member *
members_find(const struct members *members, uint64_t id)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->at[i].id == id)
            return &members->at[i];
    return NULL;
}

const struct member *
members_find_node(const struct members *members, const char *node_id)
{
    for (size_t i = 0; i < members->count && *node_id; i++)
        if (strcmp(members->at[i].node_id, node_id) == 0)
            return &members->at[i];
    return NULL;
}

size_t
members_ips(struct state *state, struct st_address room[REPLICA_MEMBERS_MAX],
            ProtobufCBinaryData ips[REPLICA_MEMBERS_MAX], uint64_t *out_number)
{
    const size_t count = state_masters(state, room, out_number);
    for (size_t i = 0; i < count; i++)
        ips[i] = (ProtobufCBinaryData){room[i].len, room[i].bytes};
    return count;
}

void
members_text(const struct members *members, char out[MEMBERS_TEXT_MAX])
{
    char address[ADDRESS_TEXT_MAX];
    size_t len = 0;
    *out = 0;
    for (size_t i = 0; i < members->count; i++) {
        const struct member *member = &members->at[i];
        if (member->phase == STATE__PHASE__LEAVING)
            continue;
        address_format_port(&member->address, PORT_CONSENSUS, address);
        len += (size_t)snprintf(out + len, MEMBERS_TEXT_MAX - len, "%s%" PRIu64 "=%s",
                                len > 0 ? "," : "", member->id, address);
    }
}

void
members_apart(const struct replica_member *group, size_t count, uint64_t id,
              char out[MEMBERS_APART_MAX])
{
    size_t len = 0;
    *out = 0;
    for (size_t i = 0; i < count && len < MEMBERS_APART_MAX; i++)
        if ((!id || group[i].id == id) && !group[i].connected && *group[i].trouble)
            len += (size_t)snprintf(out + len, MEMBERS_APART_MAX - len, "; %s",
                                    group[i].trouble);
}

static enum members_step
next_for_leaving(const struct members_facts *facts)
{
    if (!facts->in_group)
        return MEMBERS_FORGET;
    return facts->is_me ? MEMBERS_YIELD : MEMBERS_REMOVE;
}

/* The record says so, and it went there by a step; another leader took that back. */
static enum members_step
next_for_voter(const struct members_facts *facts)
{
    if (!facts->in_group)
        return MEMBERS_ADD;
    if (facts->role == REPLICA_VOTER)
        return MEMBERS_NOTHING;
    return facts->connected ? MEMBERS_PROMOTE : MEMBERS_MEET;
}

enum members_step
members_next(const struct members_facts *facts)
{
    if (facts->changing)
        return MEMBERS_NOTHING;
    switch (facts->phase) {
    case STATE__PHASE__LEAVING:
        return next_for_leaving(facts);
    case STATE__PHASE__JOINING:
        if (!facts->in_group)
            return MEMBERS_ADD;
        return facts->is_node ? MEMBERS_HAND_OVER : MEMBERS_CATCH_UP;
    case STATE__PHASE__CATCHING_UP:
        if (!facts->in_group)
            return MEMBERS_ADD;
        if (facts->role == REPLICA_VOTER)
            return MEMBERS_VOTE;
        return facts->connected ? MEMBERS_PROMOTE : MEMBERS_MEET;
    case STATE__PHASE__VOTER:
        return next_for_voter(facts);
    case _STATE__PHASE_IS_INT_SIZE:
        break;
    }
    return MEMBERS_NOTHING;
}

bool
members_unrecorded(const struct members *members, const struct replica_member *group,
                   size_t count, uint64_t me, struct member *out)
{
    for (size_t i = 0; i < count && members_find(members, me); i++)
        if (!members_find(members, group[i].id)) {
            *out = (struct member){.id = group[i].id, .phase = STATE__PHASE__LEAVING};
            return true;
        }
    return false;
}

static const struct {
    const char *word, *hint;
} steps[] = {
    [MEMBERS_NOTHING] = {"nothing", ""},
    [MEMBERS_ADD] = {"add", "the group takes one change at a time"},
    [MEMBERS_HAND_OVER] = {"hand-over",
                           "does smalltown-node run there, unlocked, with "
                           "--master-data and port 7835 open to the masters?"},
    [MEMBERS_CATCH_UP] = {"catch-up", "do enough masters run?"},
    [MEMBERS_MEET] = {"meet",
                      "does smalltown-nms run there, and is port 7834 open between "
                      "the masters?"},
    [MEMBERS_PROMOTE] = {"promote", "is the connection to it fast enough to catch up?"},
    [MEMBERS_VOTE] = {"vote", "do enough masters run?"},
    [MEMBERS_YIELD] = {"yield", "another master has to run and to have caught up"},
    [MEMBERS_REMOVE] = {"remove", "the group takes one change at a time"},
    [MEMBERS_FORGET] = {"forget", "do enough masters run?"},
};

const char *
members_step_word(enum members_step step)
{
    return steps[step].word;
}

const char *
members_step_hint(enum members_step step)
{
    return steps[step].hint;
}

enum st_code
members_leave_check(const struct replica_member *group, size_t count, uint64_t me,
                    bool leads, uint64_t leaving, struct st_err *err)
{
    size_t left = 0, answering = 0;
    bool votes = false;
    for (size_t i = 0; i < count; i++) {
        const struct replica_member *member = &group[i];
        if (member->role != REPLICA_VOTER)
            continue;
        if (member->id == leaving) {
            votes = true;
            continue;
        }
        left++;
        answering +=
            member->id == me || (member->connected && (!leads || member->answers));
    }
    if (REFUSES(0x40f, votes && answering * 2 <= left))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "of the %zu masters that would be left %zu answer now, which is "
                       "no majority: start the others first, or say --force",
                       left, answering);
    return ST_OK;
}

/* Masters, and nodes, that listen elsewhere.
 *
 * Who proposes has it from their own mouths.  No two masters may be at one place, or
 * nodes and administrators would be sent to one of them for both.
 */
#include "nms/apply.h"
#include "proto/mutant.h"

#include <inttypes.h>
#include <string.h>

static bool
is_same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static bool
is_host(const ProtobufCBinaryData *packed)
{
    struct st_address address;
    return !address_unpack(packed, &address, NULL) && address_is_host(&address);
}

static const State__Place *
place_of(const State__MoveMasters *move_masters, uint64_t id)
{
    for (size_t i = 0; i < move_masters->n_places; i++)
        if (move_masters->places[i]->id == id)
            return move_masters->places[i];
    return NULL;
}

static enum st_code
place_judge(const struct applying *applying, const State__MoveMasters *move_masters,
            const State__Place *place, struct st_err *err)
{
    const struct record *record;
    size_t at = records_begin(&applying->state->records, "member/");
    if (REFUSES(0x3091, !is_host(&place->address)))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "master %" PRIu64 " at an address that no host can have",
                       place->id);
    if (place_of(move_masters, place->id) != place)
        return st_fail(err, ST_INVALID_ARGUMENT, "master %" PRIu64 " comes twice",
                       place->id);
    bool taken = false;
    while ((record = records_next(&applying->state->records, "member/", &at))) {
        State__Member *other = record_unpack(record, &state__member__descriptor);
        const State__Place *moved = place_of(move_masters, other->id);
        const ProtobufCBinaryData *there = moved ? &moved->address : &other->address;
        taken |= other->id != place->id && is_same(there, &place->address);
        record_free_unpacked(other);
    }
    if (REFUSES(0x5283, taken))
        return st_fail_for(err, ST_ALREADY_EXISTS, ST_REASON_EXISTS,
                           "another master is where %" PRIu64 " says that it is",
                           place->id);
    return ST_OK;
}

/* False where there is no such node. */
static bool
node_move(struct applying *applying, const char *node_id,
          const ProtobufCBinaryData *address)
{
    State__Node *node = node_of(applying->state, node_id);
    if (!node)
        return false;
    const ProtobufCBinaryData old = node->address;
    if (!is_same(&old, address)) {
        node->address = *address;
        applying_put_node(applying, node);
        node->address = old;
        applying->members = true; /* where to tell it of the masters */
    }
    record_free_unpacked(node);
    return true;
}

static void
move(struct applying *applying, State__Member *member, const ProtobufCBinaryData *address)
{
    const ProtobufCBinaryData old = member->address;
    if (is_same(&old, address))
        return;
    member->address = *address;
    member_put(applying, member);
    member->address = old;
    applying->voters |= member->phase == STATE__PHASE__VOTER;
    if (*member->node_id) /* it is one machine */
        (void)node_move(applying, member->node_id, address);
}

enum st_code
apply_move_masters(struct applying *applying, const State__MoveMasters *move_masters,
                   struct st_err *err)
{
    State__Member *member;
    enum st_code code = ST_OK;
    if (move_masters->n_places > REPLICA_MEMBERS_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "%zu masters", move_masters->n_places);
    for (size_t i = 0; i < move_masters->n_places; i++) {
        const State__Place *place = move_masters->places[i];
        if ((code = member_find(applying, place->id, &member, err)))
            return code;
        record_free_unpacked(member);
        if ((code = place_judge(applying, move_masters, place, err)))
            return code;
    }
    for (size_t i = 0; i < move_masters->n_places; i++) {
        const State__Place *place = move_masters->places[i];
        if ((code = member_find(applying, place->id, &member, err)))
            return code;
        move(applying, member, &place->address);
        record_free_unpacked(member);
    }
    return ST_OK;
}

enum st_code
apply_move_node(struct applying *applying, const State__MoveNode *move_node,
                struct st_err *err)
{
    enum st_code code = node_id_check(move_node->node_id, err);
    if (code)
        return code;
    if (REFUSES(0x3093, !is_host(&move_node->address)))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "a node at an address that no host can have");
    if (!node_move(applying, move_node->node_id, &move_node->address))
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                           "the node was removed a moment ago");
    return ST_OK;
}

/* The recovery key of a node's volume, of which the masters know only to whom it goes. */
#include "nms/apply.h"
#include "proto/mutant.h"
#include "proto/recovery.h"

#include <string.h>

static enum st_code
refuse(const char *sentence, struct st_err *err)
{
    return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED, "%s", sentence);
}

/* What it says of itself. */
static enum st_code
look(const State__Node *node, struct recovery_place *out, struct st_err *err)
{
    enum st_code code = recovery_look(node->recovery.data, node->recovery.len, out, err);
    if (code)
        return code;
    if (REFUSES(0x3071, strcmp(out->node_id, node->node_id) != 0))
        return refuse("its recovery key is bound to another node", err);
    return ST_OK;
}

enum st_code
recovery_judge(const State__Enrolment *enrolment, const State__Node *node,
               struct st_err *err)
{
    const ProtobufCBinaryData *wanted = &enrolment->recovery_key;
    struct recovery_place place;
    enum st_code code;
    if (node->recovery.len == 0) {
        if (REFUSES(0x3072, wanted->len != 0 && !node->without_volume))
            return refuse("this enrolment wants a recovery key of the data volume, and "
                          "the node made none: is its enrolment.pb the one that stctl "
                          "wrote?",
                          err);
        return ST_OK;
    }
    if ((code = look(node, &place, err)))
        return code;
    if (REFUSES(0x3073, wanted->len != HPKE_KEY_LEN ||
                            memcmp(wanted->data, place.recipient, HPKE_KEY_LEN) != 0))
        return refuse(
            "its recovery key is sealed to somebody whom the enrolment does not "
            "name: its enrolment.pb was changed",
            err);
    return ST_OK;
}

enum st_code
recovery_judge_again(const State__Node *known, const State__Node *node,
                     struct st_err *err)
{
    struct recovery_place before = {0}, place;
    enum st_code code;
    if (node->recovery.len == 0)
        return ST_OK;
    if ((code = look(node, &place, err)))
        return code;
    if (REFUSES(0x3074,
                recovery_look(known->recovery.data, known->recovery.len, &before, NULL) ||
                    memcmp(before.recipient, place.recipient, HPKE_KEY_LEN) != 0))
        return refuse("its recovery key is sealed to another than when it enrolled", err);
    return ST_OK;
}

void
apply_recovery_again(struct applying *applying, const State__Node *node)
{
    State__Node *known =
        node->recovery.len > 0 ? node_of(applying->state, node->node_id) : NULL;
    if (!known)
        return;
    const ProtobufCBinaryData before = known->recovery;
    if (before.len != node->recovery.len ||
        memcmp(before.data, node->recovery.data, before.len) != 0) {
        known->recovery = node->recovery;
        applying_put_node(applying, known);
        known->recovery = before;
    }
    record_free_unpacked(known);
}

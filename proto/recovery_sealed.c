/* The recovery key as an administrator is sent it. */
#include "proto/recovery.h"

#include <string.h>

#define LABEL "smalltown recovery v1\n"
#define INFO "smalltown recovery v1"

enum {
    LABEL_LEN = sizeof(LABEL) - 1,
    AT_NODE = LABEL_LEN,
    AT_UUID = AT_NODE + NODE_ID_LEN,
    AT_RECIPIENT = AT_UUID + RECOVERY_UUID_LEN,
    AT_SEALED = AT_RECIPIENT + HPKE_KEY_LEN,
};
static_assert(AT_SEALED + RECOVERY_TEXT_LEN + HPKE_OVERHEAD == RECOVERY_SEALED_LEN,
              "recovery.h says how long it is");

static bool
is_uuid(const char *uuid)
{
    for (int i = 0; i < RECOVERY_UUID_LEN; i++) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? uuid[i] != '-' : !uuid[i] || !strchr("0123456789abcdef", uuid[i]))
            return false;
    }
    return uuid[RECOVERY_UUID_LEN] == 0;
}

static struct hpke_context
context_of(const uint8_t *sealed)
{
    return (struct hpke_context){
        .info = INFO, .info_len = sizeof(INFO) - 1, .aad = sealed, .aad_len = AT_SEALED};
}

enum st_code
recovery_seal(const struct secret *key, const struct recovery_place *place,
              uint8_t out[RECOVERY_SEALED_LEN], struct st_err *err)
{
    enum st_code code;
    if (key->len != RECOVERY_TEXT_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "a recovery key of %zu bytes", key->len);
    if ((code = node_id_check(place->node_id, err)))
        return code;
    if (!is_uuid(place->uuid))
        return st_fail(err, ST_INVALID_ARGUMENT, "the volume has no UUID");
    memcpy(out, LABEL, LABEL_LEN);
    memcpy(out + AT_NODE, place->node_id, NODE_ID_LEN);
    memcpy(out + AT_UUID, place->uuid, RECOVERY_UUID_LEN);
    memcpy(out + AT_RECIPIENT, place->recipient, HPKE_KEY_LEN);
    const struct hpke_context context = context_of(out);
    return hpke_seal(place->recipient, &context, key, out + AT_SEALED, err);
}

enum st_code
recovery_look(const void *sealed, size_t len, struct recovery_place *out,
              struct st_err *err)
{
    const char *text = sealed;
    struct recovery_place place = {0};
    if (len != RECOVERY_SEALED_LEN || memcmp(sealed, LABEL, LABEL_LEN) != 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "it is no sealed recovery key");
    memcpy(place.node_id, text + AT_NODE, NODE_ID_LEN);
    memcpy(place.uuid, text + AT_UUID, RECOVERY_UUID_LEN);
    memcpy(place.recipient, text + AT_RECIPIENT, HPKE_KEY_LEN);
    if (node_id_check(place.node_id, NULL) || !is_uuid(place.uuid))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "a sealed recovery key of no node or volume");
    *out = place;
    return ST_OK;
}

enum st_code
recovery_open(const void *sealed, size_t len, const struct secret *private_key,
              struct secret *out, struct st_err *err)
{
    SECRET text = {0};
    struct recovery_place place;
    uint8_t own[HPKE_KEY_LEN];
    enum st_code code;
    if ((code = recovery_look(sealed, len, &place, err)) ||
        (code = hpke_public(private_key, own, err)))
        return code;
    if (memcmp(own, place.recipient, HPKE_KEY_LEN) != 0)
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the recovery key of %s is sealed to another key than this",
                       place.node_id);
    const struct hpke_context context = context_of(sealed);
    if ((code = hpke_open(private_key, &context, (const uint8_t *)sealed + AT_SEALED,
                          len - AT_SEALED, &text, err)))
        return code;
    text.bytes[text.len] = 0;
    return recovery_read((const char *)text.bytes, out, err);
}

/* The LUKS2 tokens that say whose volume this is, how far its enrolment came, and, for an
 * administrator, what its recovery key is. */
#include "node/disk_internal.h"

#include <stdio.h>
#include <string.h>

#define TOKEN                                                                            \
    "{\"type\":\"smalltown\",\"keyslots\":[\"%d\"],\"state\":\"%s\",\"node\":\"%s\"}"
#define SEALED_BEFORE                                                                    \
    "{\"type\":\"smalltown-recovery\",\"keyslots\":[\"1\"],\"sealed\":\""
#define SEALED_AFTER "\"}"

enum {
    TOKEN_ID = 0,
    SEALED_ID = 1,
    TOKEN_MAX = 256,
    SEALED_MAX = sizeof(SEALED_BEFORE SEALED_AFTER) + 2 * RECOVERY_SEALED_LEN,
};

static const char *
state_word(enum start_volume state)
{
    return state == START_VOLUME_ENROLLED  ? "enrolled"
           : state == START_VOLUME_PENDING ? "pending"
                                           : "formatting";
}

/* Is this the text of that state?  libcryptsetup gives back what was set, without
 * spaces: nothing has to be parsed to be understood exactly. */
static bool
is_state(const char *json, enum start_volume state, int slot, struct disk_found *out)
{
    static const char end[] = "\"}";
    char expected[TOKEN_MAX];
    struct disk_found found = {.state = state, .slot = slot};
    size_t len = strlen(json);
    if (len < NODE_ID_LEN + strlen(end))
        return false;
    memcpy(found.node_id, json + len - strlen(end) - NODE_ID_LEN, NODE_ID_LEN);
    if (node_id_check(found.node_id, NULL))
        return false;
    snprintf(expected, sizeof(expected), TOKEN, slot, state_word(state), found.node_id);
    if (strcmp(json, expected) != 0)
        return false;
    *out = found;
    return true;
}

/* disk_rebind() leaves the key of before until the volume is enrolled; a volume that was
 * just formatted has one, in the first slot. */
static bool
has_second_disk_key(struct crypt_device *cd, int slot)
{
    return slot != DISK_SLOT_FIRST || disk_slot_is_active(cd, DISK_SLOT_SECOND);
}

bool
disk_token_read(struct crypt_device *cd, struct disk_found *out)
{
    static const int slots[] = {DISK_SLOT_FIRST, DISK_SLOT_SECOND};
    const char *json;
    if (crypt_token_json_get(cd, TOKEN_ID, &json) != TOKEN_ID)
        return false;
    if (is_state(json, START_VOLUME_TORN, DISK_SLOT_FIRST, out))
        return true;
    for (size_t i = 0; i < sizeof(slots) / sizeof(*slots); i++)
        if (is_state(json, START_VOLUME_PENDING, slots[i], out) ||
            is_state(json, START_VOLUME_ENROLLED, slots[i], out)) {
            out->has_data =
                out->state == START_VOLUME_PENDING && has_second_disk_key(cd, out->slot);
            return true;
        }
    return false;
}

enum st_code
disk_token_write(struct crypt_device *cd, const char *path,
                 const struct disk_found *found, struct st_err *err)
{
    char json[TOKEN_MAX];
    snprintf(json, sizeof(json), TOKEN, found->slot, state_word(found->state),
             found->node_id);
    int rc = crypt_token_json_set(cd, TOKEN_ID, json);
    return rc == TOKEN_ID ? ST_OK : disk_fail(err, rc, "write the token of", path);
}

static int
digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

bool
disk_sealed_read(struct crypt_device *cd, uint8_t out[RECOVERY_SEALED_LEN])
{
    const char *json;
    const size_t before = strlen(SEALED_BEFORE);
    if (crypt_token_json_get(cd, SEALED_ID, &json) != SEALED_ID ||
        strlen(json) != SEALED_MAX - 1 || strncmp(json, SEALED_BEFORE, before) != 0 ||
        strcmp(json + before + 2 * RECOVERY_SEALED_LEN, SEALED_AFTER) != 0)
        return false;
    for (size_t i = 0; i < RECOVERY_SEALED_LEN; i++) {
        int high = digit(json[before + 2 * i]), low = digit(json[before + 2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

enum st_code
disk_sealed_write(struct crypt_device *cd, const char *path,
                  const uint8_t sealed[RECOVERY_SEALED_LEN], struct st_err *err)
{
    char json[SEALED_MAX];
    int at = snprintf(json, sizeof(json), SEALED_BEFORE);
    for (size_t i = 0; i < RECOVERY_SEALED_LEN; i++)
        at += snprintf(json + at, sizeof(json) - (size_t)at, "%02x", sealed[i]);
    strcpy(json + at, SEALED_AFTER);
    int rc = crypt_token_json_set(cd, SEALED_ID, json);
    return rc == SEALED_ID ? ST_OK : disk_fail(err, rc, "write the token of", path);
}

enum st_code
disk_sealed_forget(struct crypt_device *cd, const char *path, struct st_err *err)
{
    const char *json;
    if (crypt_token_json_get(cd, SEALED_ID, &json) != SEALED_ID)
        return ST_OK;
    int rc = crypt_token_json_set(cd, SEALED_ID, NULL);
    return rc == SEALED_ID ? ST_OK : disk_fail(err, rc, "take the token from", path);
}

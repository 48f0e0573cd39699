/* The LUKS2 token that says whose volume this is, and how far its enrolment came. */
#include "node/disk_internal.h"

#include <stdio.h>
#include <string.h>

#define TOKEN                                                                            \
    "{\"type\":\"smalltown\",\"keyslots\":[\"0\"],\"state\":\"%s\",\"node\":\"%s\"}"

enum {
    TOKEN_ID = 0,
    TOKEN_MAX = 256
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
is_state(const char *json, enum start_volume state, struct disk_found *out)
{
    static const char end[] = "\"}";
    char expected[TOKEN_MAX];
    struct disk_found found = {.state = state};
    size_t len = strlen(json);
    if (len < NODE_ID_LEN + strlen(end))
        return false;
    memcpy(found.node_id, json + len - strlen(end) - NODE_ID_LEN, NODE_ID_LEN);
    if (node_id_check(found.node_id, NULL))
        return false;
    snprintf(expected, sizeof(expected), TOKEN, state_word(state), found.node_id);
    if (strcmp(json, expected) != 0)
        return false;
    *out = found;
    return true;
}

bool
disk_token_read(struct crypt_device *cd, struct disk_found *out)
{
    const char *json;
    if (crypt_token_json_get(cd, TOKEN_ID, &json) != TOKEN_ID)
        return false;
    return is_state(json, START_VOLUME_TORN, out) ||
           is_state(json, START_VOLUME_PENDING, out) ||
           is_state(json, START_VOLUME_ENROLLED, out);
}

enum st_code
disk_token_write(struct crypt_device *cd, const char *path, enum start_volume state,
                 const char *node_id, struct st_err *err)
{
    char json[TOKEN_MAX];
    snprintf(json, sizeof(json), TOKEN, state_word(state), node_id);
    int rc = crypt_token_json_set(cd, TOKEN_ID, json);
    return rc == TOKEN_ID ? ST_OK : disk_fail(err, rc, "write the token of", path);
}

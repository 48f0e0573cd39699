/* The second key of a volume that has no recovery key of its own: one that follows from
 * another volume. */
#include "node/disk_internal.h"
#include "proto/sha256.h"

#include <string.h>

#define CHILD_LABEL "smalltown child key v1"

enum st_code
disk_rekey(const char *path, const struct secret *second, const struct secret *key,
           const char *id, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    struct disk_found found;
    enum st_code code;
    if ((code = disk_load_luks(path, &cd, err)) ||
        (code = disk_recovery_give(cd, path, second, key, &found, err)))
        return code;
    found.state = START_VOLUME_ENROLLED;
    strncpy(found.node_id, id, NODE_ID_LEN);
    if ((code = disk_token_write(cd, path, &found, err)))
        return code;
    return disk_slot_forget(cd, path, disk_slot_other(found.slot), err);
}

enum st_code
disk_second_set(const char *path, const struct secret *key, const struct secret *second,
                struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    SECRET data = {0};
    struct disk_found found;
    enum st_code code;
    if ((code = disk_load_luks(path, &cd, err)) ||
        (code = disk_header_check(cd, path, &found, err)) ||
        (code = disk_slot_read(cd, path, found.slot, key, &data, err)))
        return code;
    /* None, or another: what could not be tried may be the right one. */
    code = disk_recovery_try(cd, path, second, &found, err);
    if (code != ST_NOT_FOUND && code != ST_PERMISSION_DENIED)
        return code;
    if ((code = disk_slot_forget(cd, path, DISK_SLOT_RECOVERY, err)))
        return code;
    return disk_slot_add(cd, path, found.slot, key, DISK_SLOT_RECOVERY, second, err);
}

/* One way only: it says nothing of the key of the data. */
static enum st_code
child_of(struct crypt_device *cd, const char *path, int slot, const struct secret *key,
         struct secret *out, struct st_err *err)
{
    SECRET data = {0}, labelled = {0};
    enum st_code code = disk_slot_read(cd, path, slot, key, &data, err);
    if (code)
        return code;
    const size_t label = strlen(CHILD_LABEL);
    memcpy(labelled.bytes, CHILD_LABEL, label);
    memcpy(labelled.bytes + label, data.bytes, data.len);
    out->len = SHA256_LEN;
    sha256_of(labelled.bytes, label + data.len, out->bytes);
    return ST_OK;
}

enum st_code
disk_child_key(const char *path, const struct secret *key, struct secret *out,
               struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    struct disk_found found;
    enum st_code code;
    if ((code = disk_load_luks(path, &cd, err)) ||
        (code = disk_header_check(cd, path, &found, err)))
        return code;
    return child_of(cd, path, found.slot, key, out, err);
}

enum st_code
disk_child_key_recovered(const char *path, const struct secret *recovery,
                         struct secret *out, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    struct disk_found found;
    enum st_code code;
    if ((code = disk_load_luks(path, &cd, err)) ||
        (code = disk_recovery_try(cd, path, recovery, &found, err)))
        return code;
    return child_of(cd, path, DISK_SLOT_RECOVERY, recovery, out, err);
}

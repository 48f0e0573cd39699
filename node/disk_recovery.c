/* The second key of a volume: that of people. */
#include "node/disk_internal.h"

#include "proto/mutant.h"

#include <errno.h>
#include <string.h>

static bool
is_for(struct crypt_device *cd, const struct recovery_place *place)
{
    const char *uuid = crypt_get_uuid(cd);
    return uuid && !strcmp(uuid, place->uuid);
}

enum st_code
disk_recovery_look(const char *path, struct disk_recovery *out, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    struct disk_found volume;
    struct disk_recovery found = {0};
    enum st_code code;
    if ((code = disk_load_luks(path, &cd, err)) ||
        (code = disk_header_check(cd, path, &volume, err)))
        return code;
    found.there = disk_slot_is_active(cd, DISK_SLOT_RECOVERY);
    found.sealed = found.there && disk_sealed_read(cd, found.bytes) &&
                   !recovery_look(found.bytes, sizeof(found.bytes), &found.place, NULL) &&
                   is_for(cd, &found.place);
    *out = found;
    return ST_OK;
}

/* The new one takes the place of the old one in one write. */
static enum st_code
seal(struct crypt_device *cd, const char *path, const char *node_id,
     const struct secret *recovery, const uint8_t recipient[HPKE_KEY_LEN],
     struct st_err *err)
{
    struct recovery_place place = {0};
    uint8_t sealed[RECOVERY_SEALED_LEN];
    const char *uuid = crypt_get_uuid(cd);
    enum st_code code;
    strncpy(place.node_id, node_id, NODE_ID_LEN);
    strncpy(place.uuid, uuid ? uuid : "", RECOVERY_UUID_LEN);
    memcpy(place.recipient, recipient, HPKE_KEY_LEN);
    if ((code = recovery_seal(recovery, &place, sealed, err)))
        return code;
    return disk_sealed_write(cd, path, sealed, err);
}

enum st_code
disk_recovery_set(const char *path, const struct secret *key,
                  const struct secret *recovery, const uint8_t recipient[HPKE_KEY_LEN],
                  struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    struct disk_found found;
    enum st_code code;
    if ((code = disk_load_luks(path, &cd, err)) ||
        (code = disk_header_check(cd, path, &found, err)))
        return code;
    if (found.state != START_VOLUME_PENDING)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the volume %.200s is not being enrolled", path);
    if ((code = disk_sealed_forget(cd, path, err)) ||
        (code = disk_slot_forget(cd, path, DISK_SLOT_RECOVERY, err)) ||
        (code =
             disk_slot_add(cd, path, found.slot, key, DISK_SLOT_RECOVERY, recovery, err)))
        return code;
    return recipient ? seal(cd, path, found.node_id, recovery, recipient, err) : ST_OK;
}

/* Into a header that somebody else wrote nobody's recovery key is typed for anything: a
 * slot that any key opens would have the volume go on under a key of his. */
enum st_code
disk_recovery_try(struct crypt_device *cd, const char *path,
                  const struct secret *recovery, struct disk_found *out,
                  struct st_err *err)
{
    enum st_code code = disk_header_check(cd, path, out, err);
    if (code)
        return code;
    if (!disk_slot_is_active(cd, DISK_SLOT_RECOVERY))
        return st_fail(err, ST_NOT_FOUND, "the volume %.200s has no recovery key", path);
    int rc = crypt_activate_by_passphrase(
        cd, NULL, DISK_SLOT_RECOVERY, (const char *)recovery->bytes, recovery->len, 0);
    if (REFUSES(0x4871, rc == -EPERM || rc == -ENOENT))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "this is the recovery key of another volume than %.200s", path);
    return rc < 0 && rc != -EPERM && rc != -ENOENT
               ? disk_fail(err, rc, "try the recovery key of", path)
               : ST_OK;
}

enum st_code
disk_recovery_check(const char *path, const struct secret *recovery, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    struct disk_found found;
    enum st_code code = disk_load_luks(path, &cd, err);
    return code ? code : disk_recovery_try(cd, path, recovery, &found, err);
}

enum st_code
disk_recovery_give(struct crypt_device *cd, const char *path,
                   const struct secret *recovery, const struct secret *key,
                   struct disk_found *out, struct st_err *err)
{
    enum st_code code = disk_recovery_try(cd, path, recovery, out, err);
    if (code)
        return code;
    /* That the second one is there says that the volume has data: it stays, and the first
     * is free once the token does not name it (libcryptsetup would take its name out). */
    if (out->has_data && out->slot == DISK_SLOT_FIRST) {
        out->slot = DISK_SLOT_SECOND;
        if ((code = disk_token_write(cd, path, out, err)))
            return code;
    }
    out->slot = disk_slot_other(out->slot);
    if ((code = disk_slot_forget(cd, path, out->slot, err)))
        return code;
    return disk_slot_add(cd, path, DISK_SLOT_RECOVERY, recovery, out->slot, key, err);
}

/* The key comes first, then the token that says which it is, in one write of the header:
 * before that write the volume is what it was; but one that was bound anew and is not
 * enrolled yet opens no more by the keys of that, which enrol_rebind() wrote over. */
enum st_code
disk_rebind(const char *path, const struct secret *recovery, const struct secret *key,
            const char *node_id, const uint8_t recipient[HPKE_KEY_LEN],
            struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    struct disk_found found;
    enum st_code code;
    if ((code = disk_load_luks(path, &cd, err)) ||
        (code = disk_recovery_give(cd, path, recovery, key, &found, err)))
        return code;
    found.state = START_VOLUME_PENDING;
    strncpy(found.node_id, node_id, NODE_ID_LEN);
    if ((recipient && (code = seal(cd, path, node_id, recovery, recipient, err))) ||
        (code = disk_token_write(cd, path, &found, err)))
        return code;
    return recipient ? ST_OK : disk_sealed_forget(cd, path, err);
}

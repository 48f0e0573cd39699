/* The key slots of a volume: who has one key can read that of the data, and give it
 * another.
 */
#include "node/disk_internal.h"

#include <errno.h>

bool
disk_slot_is_active(struct crypt_device *cd, int slot)
{
    const crypt_keyslot_info info = crypt_keyslot_status(cd, slot);
    return info == CRYPT_SLOT_ACTIVE || info == CRYPT_SLOT_ACTIVE_LAST;
}

int
disk_slot_other(int slot)
{
    return slot == DISK_SLOT_FIRST ? DISK_SLOT_SECOND : DISK_SLOT_FIRST;
}

enum st_code
disk_slot_forget(struct crypt_device *cd, const char *path, int slot, struct st_err *err)
{
    if (!disk_slot_is_active(cd, slot))
        return ST_OK;
    int rc = crypt_keyslot_destroy(cd, slot);
    return rc ? disk_fail(err, rc, "take a key from", path) : ST_OK;
}

/* The key of the data, by the key in slot `from`: no other is tried. */
enum st_code
disk_slot_read(struct crypt_device *cd, const char *path, int from,
               const struct secret *has, struct secret *out, struct st_err *err)
{
    out->len = SECRET_MAX;
    int rc = crypt_volume_key_get(cd, from, (char *)out->bytes, &out->len,
                                  (const char *)has->bytes, has->len);
    if (rc == -EPERM || rc == -ENOENT)
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the key does not open the volume %.200s", path);
    return rc < 0 ? disk_fail(err, rc, "try the key of", path) : ST_OK;
}

/* Whoever has one key of a volume can give it another. */
enum st_code
disk_slot_add(struct crypt_device *cd, const char *path, int from,
              const struct secret *has, int slot, const struct secret *given,
              struct st_err *err)
{
    SECRET data = {0};
    enum st_code code = disk_slot_read(cd, path, from, has, &data, err);
    if (code)
        return code;
    int rc = crypt_set_pbkdf_type(cd, &disk_pbkdf);
    if (!rc)
        rc = crypt_keyslot_add_by_volume_key(cd, slot, (const char *)data.bytes, data.len,
                                             (const char *)given->bytes, given->len);
    return rc < 0 ? disk_fail(err, rc, "give a key to", path) : ST_OK;
}

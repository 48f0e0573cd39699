/* Does the header say what we write?  Nothing authenticates one, and the right key opens
 * it whatever it says: "not encrypted", or a slot that any key opens. */
#include "node/disk_internal.h"

#include "proto/mutant.h"

#include <string.h>

static bool
is(const char *found, const char *wanted)
{
    return found && !strcmp(found, wanted);
}

/* One of the two kinds that disk_format.c makes.  The length of the key is known to
 * whoever made the slot only, so one kind cannot be taken for the other. */
static bool
is_encrypted_as_ours(struct crypt_device *cd)
{
    struct crypt_params_integrity integrity = {0};
    const char *mode = crypt_get_cipher_mode(cd);
    const int key_len = crypt_get_volume_key_size(cd);
    if (!is(crypt_get_cipher(cd), "aes") || crypt_get_integrity_info(cd, &integrity))
        return false;
    return is(mode, "gcm-random")
               ? key_len == DISK_GCM_KEY_LEN && is(integrity.integrity, "aead")
               : is(mode, "xts-plain64") && key_len == DISK_XTS_KEY_LEN &&
                     !integrity.integrity;
}

/* A re-encryption under way has segments of any kind; we never begin one, and wish for no
 * flag of dm-crypt or dm-integrity for good. */
static bool
has_nothing_unusual(struct crypt_device *cd)
{
    uint32_t wanted = 0, flags = 0;
    return !crypt_persistent_flags_get(cd, CRYPT_FLAGS_REQUIREMENTS, &wanted) &&
           !crypt_persistent_flags_get(cd, CRYPT_FLAGS_ACTIVATION, &flags) && !wanted &&
           !flags;
}

static bool
is_slot_as_ours(struct crypt_device *cd, int slot)
{
    const crypt_keyslot_info info = crypt_keyslot_status(cd, slot);
    struct crypt_pbkdf_type pbkdf = {0};
    size_t len = 0;
    return (info == CRYPT_SLOT_ACTIVE || info == CRYPT_SLOT_ACTIVE_LAST) &&
           is(crypt_keyslot_get_encryption(cd, slot, &len), "aes-xts-plain64") &&
           len == DISK_XTS_KEY_LEN && !crypt_keyslot_get_pbkdf(cd, slot, &pbkdf) &&
           is(pbkdf.type, disk_pbkdf.type) && is(pbkdf.hash, disk_pbkdf.hash);
}

/* The token's, the recovery key's, and, while the volume moves to another enrolment, that
 * of the other one: none but these three. */
static bool
are_slots_as_ours(struct crypt_device *cd)
{
    const int max = crypt_keyslot_max(CRYPT_LUKS2);
    for (int slot = 0; slot < max; slot++) {
        if (crypt_keyslot_status(cd, slot) != CRYPT_SLOT_INACTIVE &&
            (slot > DISK_SLOT_SECOND || !is_slot_as_ours(cd, slot)))
            return false;
    }
    return true;
}

enum st_code
disk_header_check(struct crypt_device *cd, const char *path, struct disk_found *out,
                  struct st_err *err)
{
    struct disk_found found = {0};
    if (REFUSES(0x4874, !disk_token_read(cd, &found) || found.state == START_VOLUME_TORN))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the volume %.200s is not one of smalltown-node, or not whole",
                       path);
    if (REFUSES(0x4872, !is_encrypted_as_ours(cd) || !has_nothing_unusual(cd)) ||
        REFUSES(0x4873, !are_slots_as_ours(cd)))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the volume %.200s is encrypted otherwise than this node "
                       "does: somebody wrote its header",
                       path);
    *out = found;
    return ST_OK;
}

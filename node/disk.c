#include "node/disk_internal.h"

#include "proto/mutant.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void
be_quiet(int level, const char *message, void *context)
{
    (void)level, (void)message, (void)context;
}

enum st_code
disk_fail(struct st_err *err, int rc, const char *what, const char *path)
{
    return st_fail(err, ST_INTERNAL, "cannot %s the data volume %.200s: %s", what, path,
                   strerror(-rc));
}

enum st_code
disk_init(const char *path, struct crypt_device **out, struct st_err *err)
{
    crypt_set_log_callback(NULL, be_quiet, NULL);
    int rc = crypt_init(out, path);
    return rc ? disk_fail(err, rc, "open", path) : ST_OK;
}

enum st_code
disk_load(const char *path, struct crypt_device **out, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    enum st_code code = disk_init(path, &cd, err);
    if (code)
        return code;
    int rc = crypt_load(cd, CRYPT_LUKS2, NULL);
    if (rc == -EINVAL || rc == -ENOENT) {
        *out = NULL; /* no such header */
        return ST_OK;
    }
    if (rc)
        return disk_fail(err, rc, "read the header of", path);
    *out = TAKE(cd);
    return ST_OK;
}

enum st_code
disk_observe(const char *path, struct disk_found *out, struct st_err *err)
{
    struct disk_found found;
    DISK_CRYPT *cd = NULL;
    enum st_code code;
    if ((code = disk_page_observe(path, &found, err)))
        return code;
    if (found.state != START_VOLUME_BLANK) {
        if ((code = disk_load(path, &cd, err)))
            return code;
        if (cd)
            (void)disk_token_read(cd, &found);
    }
    *out = found;
    return ST_OK;
}

enum st_code
disk_begin_format(const char *path, const char *node_id, struct st_err *err)
{
    struct disk_found found;
    enum st_code code = disk_observe(path, &found, err);
    if (code)
        return code;
    bool torn_by_us = found.state == START_VOLUME_TORN && !strcmp(found.node_id, node_id);
    if (REFUSES(0x34e, found.state != START_VOLUME_BLANK && !torn_by_us))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the data volume %.200s holds data and is not formatted", path);
    return disk_page_write(path, node_id, err);
}

static enum st_code
load_luks(const char *path, struct crypt_device **out, struct st_err *err)
{
    enum st_code code = disk_load(path, out, err);
    if (!code && !*out)
        return st_fail(err, ST_DATA_LOSS, "the data volume %.200s has no LUKS2 header",
                       path);
    return code;
}

enum st_code
disk_set_enrolled(const char *path, const char *node_id, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    struct disk_found found;
    enum st_code code = load_luks(path, &cd, err);
    if (code)
        return code;
    if (!disk_token_read(cd, &found) || found.state == START_VOLUME_TORN ||
        strcmp(found.node_id, node_id) != 0)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the data volume %.200s is not of this node, or not whole", path);
    if (found.state == START_VOLUME_ENROLLED)
        return ST_OK;
    return disk_token_write(cd, path, START_VOLUME_ENROLLED, node_id, err);
}

/* name NULL only checks. */
static int
activate(struct crypt_device *cd, const char *name, const struct secret *key)
{
    return crypt_activate_by_passphrase(cd, name, DISK_SLOT, (const char *)key->bytes,
                                        key->len, 0);
}

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

static bool
is_slot_as_ours(struct crypt_device *cd)
{
    size_t len = 0;
    return is(crypt_keyslot_get_encryption(cd, DISK_SLOT, &len), "aes-xts-plain64") &&
           len == DISK_XTS_KEY_LEN;
}

/* Nothing authenticates a header: one that says "not encrypted" is opened by the right
 * key, too.  A re-encryption under way has segments of any kind; we never begin one. */
static enum st_code
check_header(struct crypt_device *cd, const char *path, struct st_err *err)
{
    uint32_t unusual = 0;
    const int rc = crypt_persistent_flags_get(cd, CRYPT_FLAGS_REQUIREMENTS, &unusual);
    if (REFUSES(0x48f,
                !is_encrypted_as_ours(cd) || !is_slot_as_ours(cd) || rc || unusual))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the data volume %.200s is encrypted otherwise than this node "
                       "does: somebody wrote its header",
                       path);
    return ST_OK;
}

static enum st_code
check_key(struct crypt_device *cd, const char *path, const struct secret *key,
          struct st_err *err)
{
    enum st_code code = check_header(cd, path, err);
    if (code)
        return code;
    int slot = activate(cd, NULL, key);
    if (REFUSES(0x48c, slot == -EPERM || slot == -ENOENT))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the key does not open the data volume %.200s: this is not the "
                       "volume that this node formatted",
                       path);
    return slot < 0 && slot != -EPERM && slot != -ENOENT
               ? disk_fail(err, slot, "try the key of", path)
               : ST_OK;
}

enum st_code
disk_check_key(const char *path, const struct secret *key, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    enum st_code code = load_luks(path, &cd, err);
    return code ? code : check_key(cd, path, key, err);
}

/* The node may be there without a driver behind it. */
bool
disk_has_device_mapper(void)
{
    struct dm_ioctl version = {
        .version = {DM_VERSION_MAJOR, 0, 0},
        .data_size = sizeof(version),
    };
    int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    bool there = fd >= 0 && ioctl(fd, DM_VERSION, &version) == 0;
    if (fd >= 0)
        close(fd);
    return there;
}

bool
disk_is_mapped(void)
{
    return access("/dev/mapper/" DISK_MAPPING, F_OK) == 0;
}

/* What a predecessor in this boot mapped, just before it ended. */
static enum st_code
check_mapping(struct crypt_device *cd, const char *path, struct st_err *err)
{
    DISK_CRYPT *mapped = NULL;
    int rc = crypt_init_by_name(&mapped, DISK_MAPPING);
    if (rc)
        return disk_fail(err, rc, "look at the mapping " DISK_MAPPING " of", path);
    const char *ours = crypt_get_uuid(cd), *theirs = crypt_get_uuid(mapped);
    if (!ours || !theirs || strcmp(ours, theirs) != 0)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "/dev/mapper/" DISK_MAPPING " is another volume than %.200s",
                       path);
    return ST_OK;
}

enum st_code
disk_map(const char *path, const struct secret *key, bool *out_mapped, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    enum st_code code;
    if ((code = load_luks(path, &cd, err)) || (code = check_key(cd, path, key, err)))
        return code;
    *out_mapped = disk_has_device_mapper();
    if (!*out_mapped)
        return ST_OK;
    if (disk_is_mapped())
        return check_mapping(cd, path, err);
    int rc = activate(cd, DISK_MAPPING, key);
    return rc < 0 ? disk_fail(err, rc, "map", path) : ST_OK;
}

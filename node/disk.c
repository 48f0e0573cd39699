#include "node/disk_internal.h"

#include "proto/mutant.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const struct crypt_pbkdf_type disk_pbkdf = {
    .type = CRYPT_KDF_PBKDF2,
    .hash = "sha256",
    .iterations = 1000,
    .flags = CRYPT_PBKDF_NO_BENCHMARK,
};

static void
be_quiet(int level, const char *message, void *context)
{
    (void)level, (void)message, (void)context;
}

enum st_code
disk_fail(struct st_err *err, int rc, const char *what, const char *path)
{
    return st_fail(err, ST_INTERNAL, "cannot %s the volume %.200s: %s", what, path,
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
                       "the volume %.200s holds data and is not formatted", path);
    return disk_page_write(path, node_id, err);
}

enum st_code
disk_load_luks(const char *path, struct crypt_device **out, struct st_err *err)
{
    enum st_code code = disk_load(path, out, err);
    if (!code && !*out)
        return st_fail(err, ST_DATA_LOSS, "the volume %.200s has no LUKS2 header", path);
    return code;
}

/* The key of before disk_rebind() says until the token does that the volume has data. Who
 * was cut between the two finds it still. */
enum st_code
disk_set_enrolled(const char *path, const char *node_id, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    struct disk_found found;
    enum st_code code = disk_load_luks(path, &cd, err);
    if (code)
        return code;
    if (!disk_token_read(cd, &found) || found.state == START_VOLUME_TORN ||
        strcmp(found.node_id, node_id) != 0)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the volume %.200s is not of this node, or not whole", path);
    if (found.state != START_VOLUME_ENROLLED) {
        found.state = START_VOLUME_ENROLLED;
        if ((code = disk_token_write(cd, path, &found, err)))
            return code;
    }
    return disk_slot_forget(cd, path, disk_slot_other(found.slot), err);
}

/* name NULL only checks.  The token says which slot: no other is tried. */
static int
activate(struct crypt_device *cd, const char *name, int slot, const struct secret *key)
{
    return crypt_activate_by_passphrase(cd, name, slot, (const char *)key->bytes,
                                        key->len, 0);
}

static enum st_code
check_key(struct crypt_device *cd, const char *path, const struct secret *key,
          int *out_slot, struct st_err *err)
{
    struct disk_found found;
    enum st_code code = disk_header_check(cd, path, &found, err);
    if (code)
        return code;
    int rc = activate(cd, NULL, found.slot, key);
    if (REFUSES(0x48c, rc == -EPERM || rc == -ENOENT))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the key does not open the volume %.200s: this is not the "
                       "volume that this node formatted",
                       path);
    if (rc < 0 && rc != -EPERM && rc != -ENOENT)
        return disk_fail(err, rc, "try the key of", path);
    *out_slot = found.slot;
    return ST_OK;
}

enum st_code
disk_check_key(const char *path, const struct secret *key, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    int slot;
    enum st_code code = disk_load_luks(path, &cd, err);
    return code ? code : check_key(cd, path, key, &slot, err);
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

static bool
mapping_path(const char *name, char out[PATH_MAX])
{
    return snprintf(out, PATH_MAX, "/dev/mapper/%s", name) < PATH_MAX;
}

bool
disk_is_mapped(const char *name)
{
    char path[PATH_MAX];
    return mapping_path(name, path) && access(path, F_OK) == 0;
}

/* What a predecessor in this boot mapped, just before it ended. */
static enum st_code
check_mapping(struct crypt_device *cd, const char *path, const char *name,
              struct st_err *err)
{
    DISK_CRYPT *mapped = NULL;
    int rc = crypt_init_by_name(&mapped, name);
    if (rc)
        return disk_fail(err, rc, "look at what is mapped of", path);
    const char *ours = crypt_get_uuid(cd), *theirs = crypt_get_uuid(mapped);
    if (!ours || !theirs || strcmp(ours, theirs) != 0)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "/dev/mapper/%s is another volume than %.200s", name, path);
    return ST_OK;
}

enum st_code
disk_check_mapping(const char *path, const char *name, struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    enum st_code code = disk_load_luks(path, &cd, err);
    return code ? code : check_mapping(cd, path, name, err);
}

enum st_code
disk_map(const char *path, const char *name, const struct secret *key, bool *out_mapped,
         struct st_err *err)
{
    DISK_CRYPT *cd = NULL;
    enum st_code code;
    int slot;
    if ((code = disk_load_luks(path, &cd, err)) ||
        (code = check_key(cd, path, key, &slot, err)))
        return code;
    *out_mapped = disk_has_device_mapper();
    if (!*out_mapped)
        return ST_OK;
    if (disk_is_mapped(name))
        return check_mapping(cd, path, name, err);
    int rc = activate(cd, name, slot, key);
    return rc < 0 ? disk_fail(err, rc, "map", path) : ST_OK;
}

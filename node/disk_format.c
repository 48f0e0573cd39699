/* A fresh volume: marked, given a header and a key, wiped, and only then pending. */
#include "node/disk_internal.h"
#include "node/progress.h"
#include "node/stop.h"
#include "proto/mutant.h"

#include <string.h>
#include <unistd.h>

#define FORMATTING "smalltown-format"

enum {
    MIB = 1024 * 1024
};

/* Of libcryptsetup, after each block. */
static int
wiped(uint64_t size, uint64_t offset, void *context)
{
    progress_at(context, offset, size);
    return stop_asked();
}

static int
wipe_mapped(struct crypt_device *cd, const char *path, enum disk_encryption encryption)
{
    struct progress progress;
    progress_begin(&progress, path);
    const int rc = crypt_wipe(cd, "/dev/mapper/" FORMATTING, CRYPT_WIPE_ZERO, 0,
                              encryption == DISK_XTS ? MIB : 0, MIB, 0, wiped, &progress);
    progress_end(&progress);
    return rc;
}

/* Of a predecessor that was killed while it wiped. */
static void
unmap_leftover(void)
{
    if (access("/dev/mapper/" FORMATTING, F_OK) == 0)
        (void)crypt_deactivate(NULL, FORMATTING);
}

/* Without a journal nothing is written twice; whoever is cut off begins anew. */
static enum st_code
wipe(struct crypt_device *cd, const char *path, const struct secret *key,
     enum disk_encryption encryption, struct st_err *err)
{
    const uint32_t flags =
        CRYPT_ACTIVATE_PRIVATE |
        (encryption == DISK_AUTHENTICATED ? CRYPT_ACTIVATE_NO_JOURNAL : 0);
    int rc = crypt_activate_by_passphrase(cd, FORMATTING, DISK_SLOT_FIRST,
                                          (const char *)key->bytes, key->len, flags);
    if (rc < 0)
        return disk_fail(err, rc, "map", path);
    rc = wipe_mapped(cd, path, encryption);
    const int unmapped = crypt_deactivate(cd, FORMATTING);
    if (rc && stop_asked())
        return st_fail(err, ST_CANCELLED, "told to stop");
    if (rc || unmapped)
        return disk_fail(err, rc ? rc : unmapped, "wipe", path);
    return ST_OK;
}

static enum st_code
write_header(struct crypt_device *cd, const char *path, const struct secret *key,
             enum disk_encryption encryption, struct st_err *err)
{
    const bool authenticated = encryption == DISK_AUTHENTICATED;
    const size_t len = authenticated ? DISK_GCM_KEY_LEN : DISK_XTS_KEY_LEN;
    struct crypt_params_luks2 params = {.pbkdf = &disk_pbkdf,
                                        .integrity = authenticated ? "aead" : NULL,
                                        .label = "smalltown"};
    int rc =
        crypt_format(cd, CRYPT_LUKS2, "aes", authenticated ? "gcm-random" : "xts-plain64",
                     NULL, NULL, len, &params);
    if (rc)
        return disk_fail(err, rc, "format", path);
    rc = crypt_keyslot_add_by_volume_key(cd, DISK_SLOT_FIRST, NULL, len,
                                         (const char *)key->bytes, key->len);
    return rc < 0 ? disk_fail(err, rc, "give a key to", path) : ST_OK;
}

/* The mark in the last page goes under when an authenticated volume is wiped, and is not
 * touched then: it is a sector of the volume. */
static enum st_code
make(const char *path, const struct secret *key, const char *node_id,
     enum disk_encryption encryption, struct st_err *err)
{
    struct disk_found torn = {.state = START_VOLUME_TORN, .slot = DISK_SLOT_FIRST};
    struct disk_found pending = {.state = START_VOLUME_PENDING, .slot = DISK_SLOT_FIRST};
    DISK_CRYPT *cd = NULL;
    enum st_code code;
    strncpy(torn.node_id, node_id, NODE_ID_LEN);
    strncpy(pending.node_id, node_id, NODE_ID_LEN);
    if ((code = disk_init(path, &cd, err)) ||
        (code = write_header(cd, path, key, encryption, err)) ||
        (code = disk_token_write(cd, path, &torn, err)) ||
        (disk_has_device_mapper() && (code = wipe(cd, path, key, encryption, err))) ||
        (code = disk_token_write(cd, path, &pending, err)))
        return code;
    return encryption == DISK_XTS ? disk_page_write(path, "", err) : ST_OK;
}

enum st_code
disk_format(const char *path, const struct secret *key, const char *node_id,
            enum disk_encryption encryption, struct st_err *err)
{
    enum st_code code;
    if (encryption == DISK_AUTHENTICATED && !disk_has_device_mapper())
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "this kernel has no device-mapper, which authenticated encryption "
                       "needs: load dm-crypt and dm-integrity, or say --encryption xts");
    unmap_leftover();
    if ((code = disk_begin_format(path, node_id, err)) ||
        (code = make(path, key, node_id, encryption, err)))
        return code;
    return disk_check_key(path, key, err);
}

enum st_code
disk_give_up(const char *path, const char *node_id, struct st_err *err)
{
    struct disk_found found;
    unmap_leftover(); /* nothing is written under what is blanked */
    enum st_code code = disk_observe(path, &found, err);
    if (code)
        return code;
    const bool begun = found.state == START_VOLUME_TORN ||
                       (found.state == START_VOLUME_PENDING && !found.has_data);
    if (REFUSES(0x3403, !begun || strcmp(found.node_id, node_id) != 0))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the volume %.200s may hold data and is not formatted", path);
    return disk_page_blank(path, node_id, err);
}

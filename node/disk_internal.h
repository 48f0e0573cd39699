/* disk_internal.h - what the files of disk.h share.
 */
#ifndef NODE_DISK_INTERNAL_H
#define NODE_DISK_INTERNAL_H

#include "node/disk.h"
#include "proto/scope.h"

#include <libcryptsetup.h>

enum {
    DISK_SLOT = 0, /* the only one */
    DISK_XTS_KEY_LEN = 64,
    DISK_GCM_KEY_LEN = 32
};

AUTO_DEFINE(struct crypt_device *, disk_crypt_freep, crypt_free)
#define DISK_CRYPT AUTO(disk_crypt_freep) struct crypt_device

/* libcryptsetup's negative errno as ours: "<what> <path>: <words>". */
enum st_code disk_fail(struct st_err *err, int rc, const char *what, const char *path);

bool disk_has_device_mapper(void);

/* Without looking at what is on it. */
enum st_code disk_init(const char *path, struct crypt_device **out, struct st_err *err);
/* Sets *out to NULL where the volume has no LUKS2 header that can be read. */
enum st_code disk_load(const char *path, struct crypt_device **out, struct st_err *err);

/* Our token, TORN where the volume is being wiped; false where there is none, or it is
 * not as we write it. */
bool disk_token_read(struct crypt_device *cd, struct disk_found *out);
enum st_code disk_token_write(struct crypt_device *cd, const char *path,
                              enum start_volume state, const char *node_id,
                              struct st_err *err);

/* The bare bytes: BLANK, TORN or FOREIGN. */
enum st_code disk_page_observe(const char *path, struct disk_found *out,
                               struct st_err *err);
/* node_id "": clears the page. */
enum st_code disk_page_write(const char *path, const char *node_id, struct st_err *err);

#endif

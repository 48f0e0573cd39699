/* disk_internal.h - what the files of disk.h share.
 */
#ifndef NODE_DISK_INTERNAL_H
#define NODE_DISK_INTERNAL_H

#include "node/disk.h"
#include "proto/scope.h"

#include <libcryptsetup.h>

enum {
    DISK_XTS_KEY_LEN = 64,
    DISK_GCM_KEY_LEN = 32
};

AUTO_DEFINE(struct crypt_device *, disk_crypt_freep, crypt_free)
#define DISK_CRYPT AUTO(disk_crypt_freep) struct crypt_device

/* libcryptsetup's negative errno as ours: "<what> <path>: <words>". */
enum st_code disk_fail(struct st_err *err, int rc, const char *what, const char *path);

/* Of a key with full entropy. */
extern const struct crypt_pbkdf_type disk_pbkdf;

bool disk_has_device_mapper(void);

/* Without looking at what is on it. */
enum st_code disk_init(const char *path, struct crypt_device **out, struct st_err *err);
/* ST_DATA_LOSS where there is no LUKS2 header. */
enum st_code disk_load_luks(const char *path, struct crypt_device **out,
                            struct st_err *err);
/* Sets *out to NULL where the volume has no LUKS2 header that can be read. */
enum st_code disk_load(const char *path, struct crypt_device **out, struct st_err *err);

/* What has to be so before a key is tried, or given to it: a whole volume of ours, which
 * is encrypted as we do, as are its slots, and there are no others.
 * ST_FAILED_PRECONDITION without a token, or where it is torn; ST_PERMISSION_DENIED. */
enum st_code disk_header_check(struct crypt_device *cd, const char *path,
                               struct disk_found *out, struct st_err *err);

bool disk_slot_is_active(struct crypt_device *cd, int slot);
/* Of a disk key: the one in which there is none. */
int disk_slot_other(int slot);
/* The key of the data, by the key in slot `from`: no other is tried.
 * ST_PERMISSION_DENIED. */
enum st_code disk_slot_read(struct crypt_device *cd, const char *path, int from,
                            const struct secret *has, struct secret *out,
                            struct st_err *err);
/* Puts `given` into a slot that is empty.  Refuses like disk_slot_read(). */
enum st_code disk_slot_add(struct crypt_device *cd, const char *path, int from,
                           const struct secret *has, int slot, const struct secret *given,
                           struct st_err *err);
/* An empty one is fine. */
enum st_code disk_slot_forget(struct crypt_device *cd, const char *path, int slot,
                              struct st_err *err);

/* disk_recovery_check() of a volume that is loaded, and what its token says. */
enum st_code disk_recovery_try(struct crypt_device *cd, const char *path,
                               const struct secret *recovery, struct disk_found *out,
                               struct st_err *err);
/* The same, and the slot for a disk key that the volume does not use has `key`: what out
 * says with it, once the token says it, too. */
enum st_code disk_recovery_give(struct crypt_device *cd, const char *path,
                                const struct secret *recovery, const struct secret *key,
                                struct disk_found *out, struct st_err *err);

/* Our token, TORN where the volume is being wiped; false where there is none, or it is
 * not as we write it. */
bool disk_token_read(struct crypt_device *cd, struct disk_found *out);
enum st_code disk_token_write(struct crypt_device *cd, const char *path,
                              const struct disk_found *found, struct st_err *err);
/* The sealed recovery key; false where there is none that we wrote. */
bool disk_sealed_read(struct crypt_device *cd, uint8_t out[RECOVERY_SEALED_LEN]);
enum st_code disk_sealed_write(struct crypt_device *cd, const char *path,
                               const uint8_t sealed[RECOVERY_SEALED_LEN],
                               struct st_err *err);
/* One that is not there is fine. */
enum st_code disk_sealed_forget(struct crypt_device *cd, const char *path,
                                struct st_err *err);

/* The bare bytes: BLANK, TORN or FOREIGN. */
enum st_code disk_page_observe(const char *path, struct disk_found *out,
                               struct st_err *err);
/* node_id "": clears the page. */
enum st_code disk_page_write(const char *path, const char *node_id, struct st_err *err);
/* Zeros wherever BLANK looks and LUKS2 keeps keys; the page, which says who began, stays
 * to the end. */
enum st_code disk_page_blank(const char *path, const char *node_id, struct st_err *err);

#endif

/* control_mount.h - the control volume once its key is known: a mapping, a file system, a
 * mount.  Needs the powers that mount(8) needs.
 *
 * The mount belongs to the mount namespace of the daemon, and the mapping to the machine:
 * a daemon that is started again finds one or both.
 */
#ifndef NODE_CONTROL_MOUNT_H
#define NODE_CONTROL_MOUNT_H

#include "proto/secret.h"

#include <stdbool.h>

/* Whether what is mounted at the folder is our mapping. */
bool control_is_mounted(const char *folder);

/* Whether a predecessor in this boot left a mapping; ST_FAILED_PRECONDITION where that is
 * of another volume. */
enum st_code control_is_mapped(const char *volume, bool *out, struct st_err *err);

/* Maps the volume, on which nothing is worth anything, and makes a file system.  Forks.
 * ST_FAILED_PRECONDITION without a device-mapper. */
enum st_code control_make_fs(const char *volume, const struct secret *key,
                             struct st_err *err);
/* Maps it (key NULL: it is) and mounts it at the folder, which is made. */
enum st_code control_mount(const char *volume, const struct secret *key,
                           const char *folder, struct st_err *err);

#endif

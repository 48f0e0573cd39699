/* supervise.h - a machine that is the first master of a new cluster runs smalltown-nms.
 */
#ifndef NODE_SUPERVISE_H
#define NODE_SUPERVISE_H

#include "proto/err.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

struct supervise {
    const char *program; /* see supervise_find() */
    const char *data;    /* of the master */
    const char *name;    /* of the cluster */
    const char *address;
    const char *const *admin_certs;
    size_t admin_cert_count;
    uint32_t retry_first_ms, retry_max_ms;
};

/* smalltown-nms beside this program, else in PATH.  ST_NOT_FOUND. */
enum st_code supervise_find(char out[PATH_MAX], struct st_err *err);

/* `smalltown-nms init` unless there is a cluster in `data`, then `smalltown-nms run`,
 * again and again with pauses if it ends.  Returns ST_OK when the daemon is to stop, and
 * the master with it.  ST_FAILED_PRECONDITION where init failed.  Before rpc_init(): it
 * forks. */
enum st_code supervise_run(const struct supervise *supervise, struct st_err *err);

#endif

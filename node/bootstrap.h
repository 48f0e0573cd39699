/* bootstrap.h - a machine that is the first master of a new cluster makes that cluster.
 */
#ifndef NODE_BOOTSTRAP_H
#define NODE_BOOTSTRAP_H

#include "proto/err.h"

#include <stdbool.h>
#include <stddef.h>

struct bootstrap {
    const char *program; /* see keeper_find() */
    const char *data;    /* of the master */
    const char *name;    /* of the cluster */
    const char *address;
    const char *const *admin_certs;
    size_t admin_cert_count;
};

/* Whether that was done before. */
bool bootstrap_done(const struct bootstrap *bootstrap);

/* `smalltown-nms init`.  ST_FAILED_PRECONDITION where it failed; ST_CANCELLED when the
 * daemon is to stop.  Before rpc_init(): it forks. */
enum st_code bootstrap_cluster(const struct bootstrap *bootstrap, struct st_err *err);

#endif

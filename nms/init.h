/* init.h - makes a new cluster of one master. */
#ifndef NMS_INIT_H
#define NMS_INIT_H

#include "nms/state.pb-c.h"
#include "proto/address.h"
#include "proto/cert.h"

enum {
    INIT_ADMINS_MAX = 64
};

struct init_admin {
    const char *file; /* certificate in PEM */
    State__AdminRole role;
};

struct init_config {
    const char *dir;
    const char *name;   /* of the cluster */
    const char *policy; /* file with the first policy; NULL: the built-in one */
    struct st_address address;
    struct init_admin admins[INIT_ADMINS_MAX];
    size_t admin_count;
};

/* Everything is checked before anything is made.  An init that was interrupted may be run
 * again with the same address.  ST_ALREADY_EXISTS where dir holds a cluster;
 * ST_INVALID_ARGUMENT; ST_FAILED_PRECONDITION where another address was begun with. */
enum st_code init_cluster(const struct init_config *config, struct cert *out_masters,
                          struct st_err *err);

#endif

/* offline.h - the folder of a master that does not run, for the commands that look into
 * it or change it.
 *
 * While it is open no master can start in it.
 */
#ifndef NMS_OFFLINE_H
#define NMS_OFFLINE_H

#include "nms/members.h"
#include "nms/self.h"
#include "store/store.h"

struct offline {
    struct self self;
    struct store *store;
    struct store_head head;
    struct state *state; /* as of the last command that it applied */
    /* Where each is by what this folder knows: its own, and what `move` was told. */
    struct members members;
};
void offline_close(struct offline *offline);
#define OFFLINE __attribute__((cleanup(offline_close))) struct offline

/* ST_NOT_FOUND where dir holds no records; ST_UNAVAILABLE where a master runs in it;
 * ST_DATA_LOSS.  To be closed in any case. */
enum st_code offline_open(const char *dir, struct offline *out, struct st_err *err);

#endif

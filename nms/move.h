/* move.h - offline: masters that have new addresses, before they can tell each other.
 *
 * In a running cluster nobody needs it: a master that is started at another address is
 * heard by the others, at theirs.  Where all of them moved at once, each folder is told.
 */
#ifndef NMS_MOVE_H
#define NMS_MOVE_H

#include "nms/members.h"
#include "nms/self.h"

struct move_place {
    uint64_t id;
    struct st_address recorded, now;
    bool moved; /* these two differ */
};

struct move_view {
    uint64_t id; /* whose the folder is */
    char cluster[NAME_MAX_LEN + 1];
    size_t count;
    struct move_place at[REPLICA_MEMBERS_MAX];
};

/* These masters are at these addresses now; all others stay.  With a count of 0 it only
 * looks.  `out` is what the folder knows then.  ST_INVALID_ARGUMENT for an address that
 * no host can have, a master that is not known or named twice, or two at one place;
 * ST_UNAVAILABLE where a master runs in dir; ST_NOT_FOUND; ST_DATA_LOSS. */
enum st_code move_masters(const char *dir, const struct self_place *places, size_t count,
                          struct move_view *out, struct st_err *err);

#endif

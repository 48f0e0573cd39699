/* recover.h - offline: one folder goes on alone, where the majority is lost for good. */
#ifndef NMS_RECOVER_H
#define NMS_RECOVER_H

#include "nms/members.h"

/* What a folder holds, to choose the newest of several by: term first, then last. */
struct recover_view {
    uint64_t id;         /* whose it is */
    bool begun;          /* recover_alone() was cut off: it is not run before that ends */
    uint64_t term, last; /* of the log's last entry */
    int64_t changed_at;  /* when the newest applied change was proposed; 0: unknown */
    char cluster[NAME_MAX_LEN + 1];
    struct members members;
    size_t nodes;
};

/* Changes nothing.  ST_NOT_FOUND where dir holds no records; ST_UNAVAILABLE where a
 * master runs in it; ST_DATA_LOSS. */
enum st_code recover_look(const char *dir, struct recover_view *out, struct st_err *err);

/* Why another folder may be the newer one, in lines for whoever chooses; NULL: nothing
 * speaks against this one. */
const char *recover_doubt(const struct recover_view *view);

/* This member is the only voter.  All others are gone and their certificates revoked,
 * also of those of whom the folder does not know; nodes among them are workers.  Where it
 * was cut off nms_start() refuses the folder until it is repeated.
 *
 * `today`: midnight, UTC, of the date that a person says it is; 0: nobody did.
 * ST_FAILED_PRECONDITION where another one answers on its port 7834, where the records do
 * not name this one, where `today` is another day than by this machine's clock, or is 0
 * and that clock is behind the last change. */
enum st_code recover_alone(const char *dir, const struct recover_view *view,
                           int64_t today, struct st_err *err);

#endif

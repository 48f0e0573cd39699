#include "nms/owner.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

enum st_code
owner_check(const char *dir, const char *verb, struct st_err *err)
{
    struct stat st;
    if (geteuid() != 0 || stat(dir, &st) != 0 || st.st_uid == 0)
        return ST_OK;
    const struct passwd *owner = getpwuid(st.st_uid);
    if (owner)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "%.150s belongs to %.32s, who cannot read what root writes there: "
                       "runuser -u %.32s -- smalltown-nms %s ...",
                       dir, owner->pw_name, owner->pw_name, verb);
    return st_fail(err, ST_FAILED_PRECONDITION,
                   "%.150s belongs to user %u, who cannot read what root writes there: "
                   "setpriv --reuid %u --regid %u --clear-groups smalltown-nms %s ...",
                   dir, st.st_uid, st.st_uid, st.st_gid, verb);
}

/* audit_limit.h - so that nobody fills the audit: how many lines one name (a network, a
 * node, an administrator) may have, and all of them together.  What is more is counted,
 * and comes out as one line for each name once a minute.
 *
 * A name may have `burst` lines at once and one more every refill_ms.  Of the names
 * AUDIT_NAMES are remembered; where all of these are owed a line, whoever comes besides
 * is counted as AUDIT_ELSEWHERE.
 *
 * Pure: the clock is the caller's.  One thread at a time.
 */
#ifndef NMS_AUDIT_LIMIT_H
#define NMS_AUDIT_LIMIT_H

#include "nms/audit_line.h"

enum {
    AUDIT_NAMES = 64,
    AUDIT_MORE_MS = 60000,
};
#define AUDIT_ELSEWHERE "elsewhere"

/* 0: no limit. */
struct audit_rate {
    uint32_t burst, refill_ms;
};

struct audit_name {
    char name[NAME_MAX_LEN + 1];
    int64_t full_ms; /* when it may have a whole burst again; 0: not in use */
    uint64_t more;   /* lines that it did not have */
    int64_t since_ms;
    struct audit_line last; /* of these */
};

struct audit_limit {
    struct audit_rate each, all;
    int64_t all_full_ms;
    struct audit_name elsewhere, names[AUDIT_NAMES];
};

/* Whether this one is written; otherwise it was counted. */
bool audit_limit_pass(struct audit_limit *limit, const char *name,
                      const struct audit_line *line, int64_t now_ms);

/* What was counted for a name AUDIT_MORE_MS ago (or, at the end, at all): the last line
 * with `more` and its peer without the port, or as AUDIT_ELSEWHERE.  Call it until it is
 * false. */
bool audit_limit_more(struct audit_limit *limit, int64_t now_ms, bool end,
                      struct audit_line *out);
/* When there may be something; INT64_MAX: nothing was counted. */
int64_t audit_limit_due(const struct audit_limit *limit);

/* What the limit of strangers goes by, of "192.0.2.1:40000": "192.0.2.1", or the /64 as
 * "2001:db8::/64"; as it is where it is no address. */
void audit_limit_network(const char *peer, char out[NAME_MAX_LEN + 1]);

#endif

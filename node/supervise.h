/* supervise.h - the keeper's own process: one thread, no gRPC, and a master.
 */
#ifndef NODE_SUPERVISE_H
#define NODE_SUPERVISE_H

#include "node/child.h"
#include "node/keeper.h"

/* What the daemon says is one packet, its first byte a word; a request has the packed
 * JoinClusterRequest behind it.  What the keeper says is a struct supervise_answer. */
enum supervise_word {
    SUPERVISE_LOOK = 'L',
    SUPERVISE_JOIN = 'J'
};

struct supervise_answer {
    enum st_code code;
    char text[sizeof(((struct st_err *)0)->text)];
};

/* Whether this machine is a master, maybe one that does not run. */
bool supervise_has_member(const struct keeper_config *config);

/* Returns when the daemon is gone or this process was told to stop, and the master has
 * ended. */
void supervise(const struct keeper_config *config, int daemon);

/* `smalltown-nms run`, with the masters of enrolment.pb as it is now. */
enum st_code supervise_run(const struct keeper_config *config, struct child *out,
                           struct st_err *err);

/* `smalltown-nms join` with what the masters sent, in one run: what became of it.  Ends
 * early, with ST_UNAVAILABLE, where one of the two is readable or hangs up. */
void supervise_join(const struct keeper_config *config, const void *request, size_t len,
                    int daemon, int signals, struct supervise_answer *out);

#endif

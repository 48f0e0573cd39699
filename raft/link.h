/* link.h - how messages leave for the other members.
 *
 * A group of one has no link.  What arrives goes to io_receive().  Loop thread only.
 */
#ifndef RAFT_LINK_H
#define RAFT_LINK_H

#include <raft.h>

struct link {
    void *self;
    /* Returns 0 or RAFT_NOCONNECTION, nothing else.  Copies what message points to (the
     * bytes of entries stay until the callback).  After 0, req->cb is called later, not
     * from inside; where it is NULL, nothing of req is kept. */
    int (*send)(void *self, struct raft_io_send *req, const struct raft_message *message);
};

#endif

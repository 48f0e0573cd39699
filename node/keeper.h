/* keeper.h - the small process beside the daemon that runs this machine's master.
 *
 * A process that uses gRPC cannot fork, and a node is told to become a master when it has
 * used it for long.  So a child is forked first of all, which does nothing but start and
 * end smalltown-nms (supervise.c), and this is how the daemon speaks with it.  It ends
 * with the daemon, and the master with it; a daemon whose keeper ended must end, too.
 *
 * keeper_ask() and keeper_look() may be called from any thread.
 */
#ifndef NODE_KEEPER_H
#define NODE_KEEPER_H

#include "proto/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KEEPER_REQUEST_MAX = 64 * 1024 /* bytes of a packed JoinClusterRequest */
};

struct keeper;
struct node;

struct keeper_config {
    const char *program;     /* see keeper_find() */
    const char *data;        /* of the master */
    const char *address;     /* of this machine */
    const struct node *node; /* whose control volume is made before a member's file is
                              * written; NULL: it has none */
    const char *esp;         /* where its ESP is mounted, that has the list of masters;
                              * NULL: there is none */
    uint32_t retry_first_ms, retry_max_ms;
    uint32_t join_ms; /* for what a request needs; 0: 15000, less than JoinCluster may
                       * take */
};

/* smalltown-nms beside this program, else in PATH.  ST_NOT_FOUND. */
enum st_code keeper_find(char out[PATH_MAX], struct st_err *err);

/* Before there is a keeper: whether data has a master's file, or cannot be looked at. */
bool keeper_may_have_master(const char *data);

/* Before any thread is there.  Borrows config and what it points to. */
enum st_code keeper_start(const struct keeper_config *config, struct keeper **out,
                          struct st_err *err);
/* Owns: the master is ended, then the keeper; returns within a few seconds.  NULL is
 * fine. */
void keeper_end(struct keeper *keeper);

/* Whether it ended by itself, which it never should. */
bool keeper_gone(const struct keeper *keeper);
/* Whether this machine is a master, maybe one that does not run. */
bool keeper_has_master(const struct keeper *keeper);
/* From now on a master in the folder is run, and started again when it ends. */
void keeper_look(struct keeper *keeper);

/* Hands on a packed JoinClusterRequest.  One at a time: not again before the answer.
 * ST_UNAVAILABLE where the keeper is gone. */
enum st_code keeper_ask(struct keeper *keeper, const void *request, size_t len,
                        struct st_err *err);
/* Readable when there is an answer; hangs up with the keeper; for poll(). */
int keeper_fd(const struct keeper *keeper);
/* What became of the request: code 0 is a member's file on disk.  False: the keeper is
 * gone. */
bool keeper_answer(struct keeper *keeper, struct st_err *out);

#endif

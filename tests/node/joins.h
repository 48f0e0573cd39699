/* joins.h - the machine of flow.h is asked to become a master. */
#ifndef TESTS_NODE_JOINS_H
#define TESTS_NODE_JOINS_H

#include "tests/nms/forge.h"
#include "tests/node/machine.h"

/* The masters' authority, and what it issued to this machine. */
extern struct joins {
    struct ca authority, member;
    struct crl list;
} joins;
void joins_set_up(void);

/* JoinCluster, with the certificate of joins.member and its key or another one. */
enum st_code joins_ask(const struct secret *key, uint32_t timeout_ms, struct st_err *err);

/* A file beside the machine's TPM. */
void joins_path(const char *name, char out[MACHINE_PATH]);
/* How often smalltown-nms, which the test put there, was begun with `text`; and waits
 * until it has been told to run that often. */
unsigned joins_count_said(const char *text);
void joins_wait_for_runs(unsigned count);
/* The daemon, until it serves and has told it to run once more; then stops both. */
void joins_run_until_master(void);

#endif

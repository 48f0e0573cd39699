/* joins.h - the machine of flow.h is asked to become a master. */
#ifndef TESTS_NODE_JOINS_H
#define TESTS_NODE_JOINS_H

#include "tests/nms/forge.h"

/* The masters' authority, and what it issued to this machine. */
extern struct joins {
    struct ca authority, member;
    struct crl list;
} joins;
void joins_set_up(void);

/* JoinCluster, with the certificate of joins.member and its key or another one. */
enum st_code joins_ask(const struct secret *key, uint32_t timeout_ms, struct st_err *err);

#endif

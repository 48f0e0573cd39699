/* authority.h - a consensus authority for the tests: what nms/ca.c issues, and what it
 * never would. */
#ifndef TESTS_RAFT_AUTHORITY_H
#define TESTS_RAFT_AUTHORITY_H

#include "proto/cert.h"
#include "raft/replica.h"

struct authority {
    struct cert cert;
    struct secret key; /* PKCS#8 */
};

struct issued {
    struct cert cert;
    struct secret key;
};

void authority_new(struct authority *out);
/* For member `id`; eku as OpenSSL writes it, "serverAuth,clientAuth" for a good one. */
void authority_issue(const struct authority *authority, uint64_t id, uint64_t serial,
                     const char *eku, struct issued *out);
/* A list with `count` serial numbers, at most 16. */
void authority_list(const struct authority *authority, uint64_t number,
                    const uint64_t *serials, size_t count, struct cert *out);

/* Lends. */
struct replica_credentials authority_credentials(const struct authority *authority,
                                                 const struct issued *issued,
                                                 const struct cert *list);

#endif

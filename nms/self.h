/* self.h - what one master keeps beside the store: who it is among the members.
 *
 * DIR/member.pb (0600) holds its id, address, certificate and key, and the authority's
 * certificate and list, so that the others can be judged before the store is open; and
 * where others are that moved, until the records say so.
 * DIR/joining.pb (0600) holds the key of a member that has no certificate yet, and
 * DIR/masters.pem (0644) the certificate that nodes and administrators pin.  Every
 * function here may be called from any thread.
 */
#ifndef NMS_SELF_H
#define NMS_SELF_H

#include "nms/ca.h"
#include "proto/address.h"
#include "raft/replica.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    FIRST_MEMBER = 1, /* the one that init makes */
};

/* Where another member is said to be. */
struct self_place {
    uint64_t id;
    struct st_address address;
};

struct self {
    uint64_t id;
    struct st_address address;
    struct cert cert;  /* of the consensus CA */
    struct secret key; /* PKCS#8 */
    /* Of the cluster; both empty in a file of 0.1, which knew one member only. */
    struct cert ca;
    struct crl crl; /* the newest that this member has seen */
    /* The member has no store yet: it begins with REPLICA_JOIN. */
    bool joining;
    /* `recover` has not finished here: see recover_alone.c. */
    bool recovering;
    uint8_t ticket[SHA256_LEN]; /* see state.proto; zeros: none */
    size_t place_count;
    struct self_place places[REPLICA_MEMBERS_MAX]; /* of others; see move.h */
};

static inline void
self_wipep(struct self *self)
{
    secret_wipe(&self->key);
}

/* Makes these bytes a field of a message that is packed and not written to. */
static inline void
self_lend(ProtobufCBinaryData *out, const void *bytes, size_t len)
{
    out->data = (uint8_t *)bytes;
    out->len = len;
}

/* ST_NOT_FOUND where there is none; ST_DATA_LOSS where it is not readable. */
enum st_code self_read(const char *dir, struct self *out, struct st_err *err);
enum st_code self_write(const char *dir, const struct self *self, struct st_err *err);
enum st_code self_erase(const char *dir, struct st_err *err);

/* The same for joining.pb: address, key and ticket; the rest is empty. */
enum st_code self_begun_read(const char *dir, struct self *out, struct st_err *err);
enum st_code self_begun_write(const char *dir, const struct self *self,
                              struct st_err *err);
enum st_code self_begun_erase(const char *dir, struct st_err *err);

/* Leaves the file alone where it already holds this certificate. */
enum st_code masters_pem_write(const char *dir, const void *der, size_t len,
                               struct st_err *err);

#endif

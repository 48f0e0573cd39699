/* join: what both ways have in common, and the way of a node.
 *
 *   member.pb   store   the next join
 *   no          no      begins
 *   no          yes     refuses: this is not ours to guess
 *   the same    either  is done already
 *   another     either  refuses, unless the list that came revokes the one that is
 *                       there: its member is gone, and its store goes with it
 */
#include "nms/join.h"
#include "nms/ca_check.h"
#include "proto/file.h"
#include "proto/mutant.h"
#include "proto/scope.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static void
request_free(Api__JoinClusterRequest *request)
{
    api__join_cluster_request__free_unpacked(request, &secret_allocator);
}
AUTO_DEFINE(Api__JoinClusterRequest *, request_freep, request_free)

enum st_code
join_enter(const char *dir, int *out, struct st_err *err)
{
    enum st_code code = file_make_folder(dir, err);
    if (code)
        return code;
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return st_fail(err, ST_INTERNAL, "cannot open %s: %s", dir, strerror(errno));
    if (flock(folder, LOCK_EX | LOCK_NB)) {
        close(folder);
        return st_fail(err, ST_UNAVAILABLE, "another join works in %s: wait for it", dir);
    }
    *out = folder;
    return ST_OK;
}

void
join_leavep(int *folder)
{
    if (*folder >= 0)
        close(*folder);
}

enum st_code
join_there(const char *dir, struct self *out, struct st_err *err)
{
    char store[PATH_MAX];
    struct st_err unread = {0};
    enum st_code code = self_read(dir, out, &unread);
    if (!code)
        return ST_OK;
    if (code != ST_NOT_FOUND)
        return st_fail(err, code, "%s: restore it, or remove the folder", unread.text);
    if (snprintf(store, sizeof(store), "%s/store.mdb", dir) >= (int)sizeof(store))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the path of the data folder is too long");
    if (REFUSES(0x52ff, access(store, F_OK) == 0))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "%s holds a member's store, but no member.pb: remove the folder, "
                       "or name another",
                       dir);
    return st_fail(err, ST_NOT_FOUND, "%s is free", dir);
}

enum st_code
join_refuse(const char *dir, const struct self *there, struct st_err *err)
{
    return st_fail(err, ST_FAILED_PRECONDITION,
                   "%s holds member %llu already: start that one with run, or remove it "
                   "from its cluster and then the folder",
                   dir, (unsigned long long)there->id);
}

static void
cert_set(struct cert *out, const ProtobufCBinaryData *der)
{
    memcpy(out->der, der->data, der->len); /* was judged: it fits */
    out->len = der->len;
}

enum st_code
join_check(const Api__ConsensusCertificates *certs, struct self *self, struct st_err *err)
{
    const struct ca_given given = {
        .ca = certs->ca.data,
        .ca_len = certs->ca.len,
        .crl = certs->crl.data,
        .crl_len = certs->crl.len,
        .cert = certs->cert.data,
        .cert_len = certs->cert.len,
    };
    SECRET seed = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    uint64_t id;
    enum st_code code;
    if ((code = key_from_pkcs8(self->key.bytes, self->key.len, &seed, err)) ||
        (code = key_public(&seed, public_key, err)) ||
        (code = ca_check_member(&given, public_key, &id, err)))
        return code;
    self->id = id;
    cert_set(&self->ca, &certs->ca);
    cert_set(&self->cert, &certs->cert);
    memcpy(self->crl.der, certs->crl.data, certs->crl.len);
    self->crl.len = certs->crl.len;
    return ST_OK;
}

static enum st_code
request_read(const void *request, size_t len, struct self *out, struct st_err *err)
{
    AUTO(request_freep) Api__JoinClusterRequest *join = NULL;
    if (len > JOIN_REQUEST_MAX ||
        !(join = api__join_cluster_request__unpack(&secret_allocator, len, request)) ||
        !join->certs)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "what came is no JoinClusterRequest with certificates");
    enum st_code code =
        secret_set(&out->key, join->certs->key.data, join->certs->key.len, err);
    return code ? code : join_check(join->certs, out, err);
}

static bool
is_same(const struct self *a, const struct self *b)
{
    return a->cert.len == b->cert.len &&
           memcmp(a->cert.der, b->cert.der, a->cert.len) == 0 &&
           secret_equal(&a->key, &b->key);
}

/* The machine was a master before, was removed, and is one again. */
static bool
is_gone(const struct self *self, const struct self *there)
{
    const struct ca_given given = {
        .ca = self->ca.der,
        .ca_len = self->ca.len,
        .crl = self->crl.der,
        .crl_len = self->crl.len,
        .cert = there->cert.der,
        .cert_len = there->cert.len,
    };
    return ca_is_revoked(&given);
}

/* The store goes first: without it its member cannot begin again, and this can. */
static enum st_code
replace(const char *dir, const struct self *self, struct st_err *err)
{
    enum st_code code = store_erase(dir, err);
    return code ? code : self_write(dir, self, err);
}

enum st_code
join_with_certificates(const struct join_config *config, const void *request, size_t len,
                       uint64_t *out_id, struct st_err *err)
{
    AUTO(self_wipep) struct self self = {.address = config->address, .joining = true};
    AUTO(self_wipep) struct self there = {0};
    AUTO(join_leavep) int folder = -1;
    enum st_code code;
    if ((code = request_read(request, len, &self, err)) ||
        (code = join_enter(config->dir, &folder, err)))
        return code;
    code = join_there(config->dir, &there, err);
    const bool other = !code && !is_same(&self, &there);
    if (REFUSES(0x52e1, other && !is_gone(&self, &there)))
        return join_refuse(config->dir, &there, err);
    if (code == ST_NOT_FOUND)
        code = self_write(config->dir, &self, err);
    else if (other)
        code = replace(config->dir, &self, err);
    if (code)
        return code;
    *out_id = self.id;
    return self_begun_erase(config->dir, err); /* a ticket that is not needed now */
}

#include "nms/self.h"
#include "nms/state.pb-c.h"
#include "proto/file.h"
#include "proto/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER "member.pb"
#define BEGUN "joining.pb"

enum {
    PATH_LEN = 4096,
    SELF_MAX_LEN = CRL_MAX_LEN + 8192, /* the rest are two certificates and a key */
};

static enum st_code
path_of(const char *dir, const char *name, char out[PATH_LEN], struct st_err *err)
{
    if (snprintf(out, PATH_LEN, "%s/%s", dir, name) >= PATH_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the path of the data folder is too long");
    return ST_OK;
}

/* False where it has more than max bytes. */
static bool
take(const ProtobufCBinaryData *packed, uint8_t *out, size_t max, size_t *out_len)
{
    if (packed->len > max)
        return false;
    if (packed->len > 0)
        memcpy(out, packed->data, packed->len);
    *out_len = packed->len;
    return true;
}

/* False where one makes no sense. */
static bool
take_places(const State__Self *packed, struct self *out)
{
    if (packed->n_places > REPLICA_MEMBERS_MAX)
        return false;
    for (size_t i = 0; i < packed->n_places; i++) {
        struct self_place *place = &out->places[i];
        place->id = packed->places[i]->id;
        if (place->id == 0 ||
            address_unpack(&packed->places[i]->address, &place->address, NULL))
            return false;
    }
    out->place_count = packed->n_places;
    return true;
}

static enum st_code
self_unpack(const State__Self *packed, bool begun, struct self *out, struct st_err *err)
{
    struct self self = {
        .id = packed->id, .joining = packed->joining, .recovering = packed->recovering};
    enum st_code code = ST_OK;
    size_t ticket_len;
    if (!take(&packed->cert, self.cert.der, sizeof(self.cert.der), &self.cert.len) ||
        !take(&packed->ca, self.ca.der, sizeof(self.ca.der), &self.ca.len) ||
        !take(&packed->crl, self.crl.der, sizeof(self.crl.der), &self.crl.len) ||
        !take(&packed->ticket, self.ticket, sizeof(self.ticket), &ticket_len) ||
        (ticket_len > 0 && ticket_len < sizeof(self.ticket)) ||
        (self.ca.len > 0) != (self.crl.len > 0))
        return st_fail(err, ST_DATA_LOSS, "its certificates are damaged");
    if (!begun && (self.id == 0 || self.cert.len == 0))
        return st_fail(err, ST_DATA_LOSS, "it names no member");
    if (!take_places(packed, &self))
        return st_fail(err, ST_DATA_LOSS, "its places of other members are damaged");
    if ((code = address_unpack(&packed->address, &self.address, err)) ||
        (code = secret_set(&self.key, packed->key.data, packed->key.len, err)))
        return st_fail(err, ST_DATA_LOSS, "its address or key is damaged");
    *out = self;
    secret_wipe(&self.key);
    return ST_OK;
}

static enum st_code
read_from(const char *dir, const char *name, struct self *out, struct st_err *err)
{
    char path[PATH_LEN];
    uint8_t *bytes;
    size_t len;
    enum st_code code;
    if ((code = path_of(dir, name, path, err)) ||
        (code = file_read(path, SELF_MAX_LEN, &bytes, &len, err)))
        return code;
    State__Self *packed = state__self__unpack(&secret_allocator, len, bytes);
    explicit_bzero(bytes, len);
    free(bytes);
    if (!packed)
        return st_fail(err, ST_DATA_LOSS, "%s is damaged", path);
    code = self_unpack(packed, strcmp(name, BEGUN) == 0, out, err);
    state__self__free_unpacked(packed, &secret_allocator);
    return code ? st_wrap(err, "%s", path) : ST_OK;
}

static enum st_code
write_to(const char *dir, const char *name, const struct self *self, struct st_err *err)
{
    static const uint8_t no_ticket[SHA256_LEN];
    char path[PATH_LEN];
    uint8_t bytes[SELF_MAX_LEN];
    State__Place places[REPLICA_MEMBERS_MAX], *place_list[REPLICA_MEMBERS_MAX];
    State__Self packed = STATE__SELF__INIT;
    for (size_t i = 0; i < self->place_count; i++) {
        const struct self_place *place = &self->places[i];
        state__place__init(place_list[i] = &places[i]);
        places[i].id = place->id;
        self_lend(&places[i].address, place->address.bytes, place->address.len);
    }
    packed.places = place_list;
    packed.n_places = self->place_count;
    packed.id = self->id;
    packed.joining = self->joining;
    packed.recovering = self->recovering;
    self_lend(&packed.address, self->address.bytes, self->address.len);
    self_lend(&packed.cert, self->cert.der, self->cert.len);
    self_lend(&packed.key, self->key.bytes, self->key.len);
    self_lend(&packed.ca, self->ca.der, self->ca.len);
    self_lend(&packed.crl, self->crl.der, self->crl.len);
    if (memcmp(self->ticket, no_ticket, SHA256_LEN) != 0)
        self_lend(&packed.ticket, self->ticket, SHA256_LEN);
    enum st_code code = path_of(dir, name, path, err);
    if (code)
        return code;
    const size_t len = state__self__pack(&packed, bytes);
    code = file_write(path, 0600, bytes, len, err);
    explicit_bzero(bytes, sizeof(bytes));
    return code;
}

static enum st_code
erase(const char *dir, const char *name, struct st_err *err)
{
    char path[PATH_LEN];
    enum st_code code = path_of(dir, name, path, err);
    return code ? code : file_erase(path, err);
}

enum st_code
self_read(const char *dir, struct self *out, struct st_err *err)
{
    return read_from(dir, MEMBER, out, err);
}

enum st_code
self_write(const char *dir, const struct self *self, struct st_err *err)
{
    return write_to(dir, MEMBER, self, err);
}

enum st_code
self_erase(const char *dir, struct st_err *err)
{
    return erase(dir, MEMBER, err);
}

enum st_code
self_begun_read(const char *dir, struct self *out, struct st_err *err)
{
    return read_from(dir, BEGUN, out, err);
}

enum st_code
self_begun_write(const char *dir, const struct self *self, struct st_err *err)
{
    return write_to(dir, BEGUN, self, err);
}

enum st_code
self_begun_erase(const char *dir, struct st_err *err)
{
    return erase(dir, BEGUN, err);
}

enum st_code
masters_pem_write(const char *dir, const void *der, size_t len, struct st_err *err)
{
    char path[PATH_LEN];
    AUTO(st_freep) char *pem = NULL;
    AUTO(st_freep) uint8_t *there = NULL;
    size_t there_len;
    enum st_code code;
    if ((code = path_of(dir, "masters.pem", path, err)) ||
        (code = cert_to_pem(der, len, &pem, err)))
        return code;
    if (!file_read(path, FILE_MAX_LEN, &there, &there_len, NULL) &&
        there_len == strlen(pem) && memcmp(there, pem, there_len) == 0)
        return ST_OK;
    return file_write(path, 0644, pem, strlen(pem), err);
}

#include "nms/self.h"
#include "nms/state.pb-c.h"
#include "proto/file.h"
#include "proto/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_LEN = 4096,
    SELF_MAX_LEN = 8192,
};

static enum st_code
path_of(const char *dir, const char *name, char out[PATH_LEN], struct st_err *err)
{
    if (snprintf(out, PATH_LEN, "%s/%s", dir, name) >= PATH_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the path of the data folder is too long");
    return ST_OK;
}

static enum st_code
self_unpack(const State__Self *packed, struct self *out, struct st_err *err)
{
    struct self self = {.id = packed->id};
    enum st_code code;
    if (packed->id == 0 || packed->cert.len == 0 ||
        packed->cert.len > sizeof(self.cert.der))
        return st_fail(err, ST_DATA_LOSS, "it names no member");
    if ((code = address_unpack(&packed->address, &self.address, err)) ||
        (code = secret_set(&self.key, packed->key.data, packed->key.len, err)))
        return st_fail(err, ST_DATA_LOSS, "its address or key is damaged");
    memcpy(self.cert.der, packed->cert.data, packed->cert.len);
    self.cert.len = packed->cert.len;
    *out = self;
    secret_wipe(&self.key);
    return ST_OK;
}

enum st_code
self_read(const char *dir, struct self *out, struct st_err *err)
{
    char path[PATH_LEN];
    uint8_t *bytes;
    size_t len;
    enum st_code code;
    if ((code = path_of(dir, "member.pb", path, err)) ||
        (code = file_read(path, SELF_MAX_LEN, &bytes, &len, err)))
        return code;
    State__Self *packed = state__self__unpack(&secret_allocator, len, bytes);
    explicit_bzero(bytes, len);
    free(bytes);
    if (!packed)
        return st_fail(err, ST_DATA_LOSS, "%s is damaged", path);
    code = self_unpack(packed, out, err);
    state__self__free_unpacked(packed, &secret_allocator);
    return code ? st_wrap(err, "%s", path) : ST_OK;
}

enum st_code
self_write(const char *dir, const struct self *self, struct st_err *err)
{
    char path[PATH_LEN];
    uint8_t bytes[SELF_MAX_LEN];
    State__Self packed = STATE__SELF__INIT;
    packed.id = self->id;
    packed.address.data = (uint8_t *)self->address.bytes;
    packed.address.len = self->address.len;
    packed.cert.data = (uint8_t *)self->cert.der;
    packed.cert.len = self->cert.len;
    packed.key.data = (uint8_t *)self->key.bytes;
    packed.key.len = self->key.len;
    enum st_code code = path_of(dir, "member.pb", path, err);
    if (code)
        return code;
    const size_t len = state__self__pack(&packed, bytes);
    code = file_write(path, 0600, bytes, len, err);
    explicit_bzero(bytes, sizeof(bytes));
    return code;
}

enum st_code
self_erase(const char *dir, struct st_err *err)
{
    char path[PATH_LEN];
    enum st_code code = path_of(dir, "member.pb", path, err);
    return code ? code : file_erase(path, err);
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

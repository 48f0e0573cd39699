#include "node/config.h"

#include "proto/api.pb-c.h"
#include "proto/file.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <string.h>

enum {
    CONFIG_MAX = 16 * 1024
};

void
config_wipe(struct node_config *config)
{
    explicit_bzero(config, sizeof(*config));
}

static void
unpacked_freep(Api__EnrolmentConfig **config)
{
    if (*config)
        api__enrolment_config__free_unpacked(*config, &secret_allocator);
}

enum st_code
config_addresses(const ProtobufCBinaryData *wire, size_t count, uint64_t number,
                 struct node_config *out, struct st_err *err)
{
    struct st_address addresses[ADDRESSES_MAX];
    if (count == 0 || count > ADDRESSES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "%zu addresses of masters, 1 to %d can be", count, ADDRESSES_MAX);
    for (size_t i = 0; i < count; i++) {
        enum st_code code = address_unpack(&wire[i], &addresses[i], err);
        if (code)
            return st_wrap(err, "address %zu of the masters", i + 1);
    }
    memcpy(out->addresses, addresses, count * sizeof(*addresses));
    out->address_count = count;
    out->masters_number = number;
    return ST_OK;
}

static enum st_code
take_masters(const ProtobufCBinaryData *wire, struct cert *out, struct st_err *err)
{
    uint8_t key[ED25519_PUBLIC_LEN];
    if (wire->len > sizeof(out->der))
        return st_fail(err, ST_INVALID_ARGUMENT, "a masters_cert of %zu bytes",
                       wire->len);
    enum st_code code = cert_public_key(wire->data, wire->len, key, err);
    if (code)
        return st_wrap(err, "masters_cert");
    memcpy(out->der, wire->data, wire->len);
    out->len = wire->len;
    return ST_OK;
}

static enum st_code
take_recovery(const ProtobufCBinaryData *wire, struct node_config *out,
              struct st_err *err)
{
    if (wire->len != 0 && wire->len != HPKE_KEY_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "a recovery_key of %zu bytes",
                       wire->len);
    out->has_recovery = wire->len != 0;
    if (out->has_recovery)
        memcpy(out->recovery, wire->data, HPKE_KEY_LEN);
    return ST_OK;
}

static enum st_code
take(const Api__EnrolmentConfig *wire, struct node_config *out, struct st_err *err)
{
    bool secret = wire->enrolment_secret.len > 0, enrolled = *wire->node_id != 0;
    enum st_code code;
    if (REFUSES(0x34b, secret && enrolled))
        return st_fail(err, ST_INVALID_ARGUMENT, "it has a secret and a node id");
    if (!secret && !enrolled)
        return st_fail(err, ST_INVALID_ARGUMENT, "it has neither a secret nor a node id");
    if (enrolled && (code = node_id_check(wire->node_id, err)))
        return code;
    strncpy(out->node_id, wire->node_id, NODE_ID_LEN);
    if ((code = secret_set(&out->secret, wire->enrolment_secret.data,
                           wire->enrolment_secret.len, err)) ||
        (code = take_masters(&wire->masters_cert, &out->masters, err)) ||
        (code = take_recovery(&wire->recovery_key, out, err)))
        return code;
    return config_addresses(wire->master_ips, wire->n_master_ips, wire->masters_number,
                            out, err);
}

static enum st_code
unpack(const uint8_t *bytes, size_t len, struct node_config *out, struct st_err *err)
{
    AUTO(unpacked_freep)
    Api__EnrolmentConfig *wire =
        api__enrolment_config__unpack(&secret_allocator, len, bytes);
    if (!wire)
        return st_fail(err, ST_INVALID_ARGUMENT, "it is no EnrolmentConfig");
    return take(wire, out, err);
}

enum st_code
config_read(const char *path, struct node_config *out, struct st_err *err)
{
    AUTO(st_freep) uint8_t *bytes = NULL;
    NODE_CONFIG config = {0};
    size_t len;
    enum st_code code = file_read(path, CONFIG_MAX, &bytes, &len, err);
    if (code)
        return code;
    code = unpack(bytes, len, &config, err);
    explicit_bzero(bytes, len);
    if (code && err)
        err->code = ST_DATA_LOSS;
    if (code) {
        (void)st_wrap(err, "%.200s", path);
        return ST_DATA_LOSS;
    }
    *out = config;
    return ST_OK;
}

enum st_code
config_write(const char *path, const struct node_config *config, struct st_err *err)
{
    ProtobufCBinaryData addresses[ADDRESSES_MAX];
    Api__EnrolmentConfig wire = API__ENROLMENT_CONFIG__INIT;
    for (size_t i = 0; i < config->address_count; i++)
        addresses[i] = (ProtobufCBinaryData){config->addresses[i].len,
                                             (uint8_t *)config->addresses[i].bytes};
    wire.n_master_ips = config->address_count;
    wire.master_ips = addresses;
    wire.masters_number = config->masters_number;
    wire.masters_cert.len = config->masters.len;
    wire.masters_cert.data = (uint8_t *)config->masters.der;
    wire.enrolment_secret.len = config->secret.len;
    wire.enrolment_secret.data = (uint8_t *)config->secret.bytes;
    wire.node_id = (char *)config->node_id;
    wire.recovery_key.len = config->has_recovery ? HPKE_KEY_LEN : 0;
    wire.recovery_key.data = (uint8_t *)config->recovery;
    uint8_t packed[CONFIG_MAX];
    size_t len = api__enrolment_config__get_packed_size(&wire);
    if (len > sizeof(packed))
        return st_fail(err, ST_INTERNAL, "an EnrolmentConfig of %zu bytes", len);
    api__enrolment_config__pack(&wire, packed);
    enum st_code code = file_write(path, 0600, packed, len, err);
    explicit_bzero(packed, sizeof(packed));
    return code;
}

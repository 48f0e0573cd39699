#include "raft/snapshot.h"

#include <stdlib.h>
#include <string.h>

enum {
    SNAPSHOT_FORMAT = 1,
    SNAPSHOT_HEAD = 4 + 4 + 8,
    RECORD_HEAD = 4 + 4,
};
static const char magic[4] = "stsn";

static void
put_number(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get_number(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

enum st_code
snapshot_check(const void *bytes, size_t len, struct st_err *err)
{
    const uint8_t *at = bytes;
    if (len < SNAPSHOT_HEAD || memcmp(at, magic, 4) ||
        get_number(at + 4, 4) != SNAPSHOT_FORMAT)
        return st_fail(err, ST_DATA_LOSS, "this is no snapshot");
    uint64_t count = get_number(at + 8, 8);
    size_t left = len - SNAPSHOT_HEAD;
    at += SNAPSHOT_HEAD;
    for (; count; count--) {
        if (left < RECORD_HEAD)
            return st_fail(err, ST_DATA_LOSS, "a snapshot is cut short");
        size_t key_len = get_number(at, 4), value_len = get_number(at + 4, 4);
        left -= RECORD_HEAD;
        if (!key_len || key_len > STORE_KEY_MAX || value_len > STORE_VALUE_MAX)
            return st_fail(err, ST_DATA_LOSS, "a record of a snapshot has bad lengths");
        if (left < key_len + value_len)
            return st_fail(err, ST_DATA_LOSS, "a snapshot is cut short");
        left -= key_len + value_len;
        at += RECORD_HEAD + key_len + value_len;
    }
    if (left)
        return st_fail(err, ST_DATA_LOSS, "a snapshot has %zu bytes too many", left);
    return ST_OK;
}

void
snapshot_put_records(const void *bytes, size_t len, struct store_batch *batch)
{
    const uint8_t *at = (const uint8_t *)bytes + SNAPSHOT_HEAD;
    const uint8_t *end = (const uint8_t *)bytes + len;
    while (at < end) {
        size_t key_len = get_number(at, 4), value_len = get_number(at + 4, 4);
        at += RECORD_HEAD;
        store_put_record(batch, at, key_len, at + key_len, value_len);
        at += key_len + value_len;
    }
}

struct taking {
    uint8_t *bytes;
    size_t len, room;
    struct store_moment moment;
    void *configuration;
};

static enum st_code
grow(struct taking *taking, size_t more, struct st_err *err)
{
    if (taking->room - taking->len >= more)
        return ST_OK;
    size_t room = taking->room ? taking->room : 4096;
    while (room - taking->len < more)
        room *= 2;
    uint8_t *bytes = realloc(taking->bytes, room);
    if (!bytes)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory for a snapshot");
    taking->bytes = bytes;
    taking->room = room;
    return ST_OK;
}

static enum st_code
take_moment(void *arg, const struct store_moment *moment, struct st_err *err)
{
    struct taking *taking = arg;
    enum st_code code = grow(taking, SNAPSHOT_HEAD, err);
    if (code)
        return code;
    taking->configuration = malloc(moment->configuration_len + 1);
    if (!taking->configuration)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory for a snapshot");
    memcpy(taking->configuration, moment->configuration, moment->configuration_len);
    taking->moment = *moment;
    taking->moment.configuration = taking->configuration;
    memcpy(taking->bytes, magic, 4);
    put_number(taking->bytes + 4, SNAPSHOT_FORMAT, 4);
    put_number(taking->bytes + 8, moment->count, 8);
    taking->len = SNAPSHOT_HEAD;
    return ST_OK;
}

static enum st_code
take_record(void *arg, const void *key, size_t key_len, const void *value,
            size_t value_len, struct st_err *err)
{
    struct taking *taking = arg;
    enum st_code code = grow(taking, RECORD_HEAD + key_len + value_len, err);
    if (code)
        return code;
    uint8_t *at = taking->bytes + taking->len;
    put_number(at, key_len, 4);
    put_number(at + 4, value_len, 4);
    memcpy(at + RECORD_HEAD, key, key_len);
    if (value_len)
        memcpy(at + RECORD_HEAD + key_len, value, value_len);
    taking->len += RECORD_HEAD + key_len + value_len;
    return ST_OK;
}

enum st_code
snapshot_take(struct store *store, uint8_t **out, size_t *out_len,
              struct store_moment *moment, void **out_configuration, struct st_err *err)
{
    struct taking taking = {0};
    enum st_code code =
        store_each_of_moment(store, take_moment, take_record, &taking, err);
    if (code) {
        free(taking.bytes);
        free(taking.configuration);
        return code;
    }
    *out = taking.bytes;
    *out_len = taking.len;
    *moment = taking.moment;
    *out_configuration = taking.configuration;
    return ST_OK;
}

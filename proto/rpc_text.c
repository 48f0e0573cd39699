#include "proto/rpc_wire.h"

#include <string.h>

enum {
    NESTING_MAX = 32
};

static bool
take_varint(struct wire *wire, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && wire->at < wire->end; shift += 7) {
        uint8_t byte = *wire->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool
take_field(struct wire *wire, struct wire_field *out)
{
    uint64_t key, len;
    if (!take_varint(wire, &key) || key >> 3 == 0 || key > UINT32_MAX)
        return false;
    *out = (struct wire_field){.number = (uint32_t)(key >> 3), .type = key & 7};
    switch (out->type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return take_varint(wire, &len);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        len = 8;
        break;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        len = 4;
        break;
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        if (!take_varint(wire, &len))
            return false;
        break;
    default: /* groups, which nobody writes any more */
        return false;
    }
    if (len > (size_t)(wire->end - wire->at))
        return false;
    out->bytes = wire->at;
    out->len = (size_t)len;
    wire->at += len;
    return true;
}

bool
wire_next(struct wire *wire, struct wire_field *out)
{
    struct wire next = *wire;
    if (next.at == next.end || !take_field(&next, out))
        return false;
    *wire = next;
    return true;
}

/* The length of the UTF-8 sequence at `at` (RFC 3629: shortest form, no surrogates, up to
 * U+10FFFF), 0 where there is none. */
static size_t
utf8_sequence(const uint8_t *at, size_t left)
{
    uint8_t first = at[0], low = 0x80, high = 0xbf;
    size_t len;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf) {
        len = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        len = 3;
        low = first == 0xe0 ? 0xa0 : low;
        high = first == 0xed ? 0x9f : high;
    } else if (first >= 0xf0 && first <= 0xf4) {
        len = 4;
        low = first == 0xf0 ? 0x90 : low;
        high = first == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (left < len || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

static bool
is_text(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_sequence(bytes + i, len - i);
        if (n == 0 || bytes[i] == 0)
            return false;
    }
    return true;
}

static enum st_code
check_message(const ProtobufCMessageDescriptor *type, struct wire wire, int depth,
              struct st_err *err)
{
    struct wire_field field;
    if (depth > NESTING_MAX)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "messages nested more than %d deep", NESTING_MAX);
    while (wire_next(&wire, &field)) {
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field(type, field.number);
        if (!known || field.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            continue;
        if (known->type == PROTOBUF_C_TYPE_STRING && !is_text(field.bytes, field.len))
            return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                               "%s.%s is not UTF-8 text", type->short_name, known->name);
        if (known->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        struct wire inner = {field.bytes, field.bytes + field.len};
        enum st_code code = check_message(known->descriptor, inner, depth + 1, err);
        if (code)
            return code;
    }
    if (wire.at != wire.end)
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "not a %s message", type->short_name);
    return ST_OK;
}

enum st_code
rpc_text_check(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len,
               struct st_err *err)
{
    struct wire wire = {bytes, (const uint8_t *)bytes + len};
    return check_message(type, wire, 0, err);
}

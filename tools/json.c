/* The words of -o json that several verbs share. */
#include "proto/address.h"
#include "tools/stctl.h"
#include "tools/text.h"

enum st_code
json_print(json_t *value, struct st_err *err)
{
    if (!value)
        return st_fail(err, ST_INTERNAL, "no memory for the answer");
    int failed = json_dumpf(value, stdout, JSON_INDENT(2)) || putchar('\n') == EOF;
    json_decref(value);
    if (failed)
        return st_fail(err, ST_INTERNAL, "the answer cannot be written to stdout");
    return ST_OK;
}

json_t *
json_time(int64_t seconds)
{
    char text[TEXT_TIME_MAX];
    if (seconds == 0)
        return json_null();
    text_time(seconds, text);
    return json_string(text);
}

json_t *
json_hex(const ProtobufCBinaryData *sha256)
{
    char hex[TEXT_SHA256_MAX];
    return text_hex(sha256, hex) ? json_string(hex) : json_null();
}

json_t *
json_address(const ProtobufCBinaryData *wire)
{
    char text[ADDRESS_TEXT_MAX];
    if (wire->len == 0)
        return json_null();
    text_address(wire, text, sizeof(text));
    return json_string(text);
}

#include "proto/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum st_code
address_parse(const char *text, struct st_address *out, struct st_err *err)
{
    struct st_address parsed = {0};
    if (inet_pton(AF_INET, text, parsed.bytes) == 1)
        parsed.len = 4;
    else if (inet_pton(AF_INET6, text, parsed.bytes) == 1)
        parsed.len = 16;
    else
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "\"%s\" is not an IP address (without a port)", text);
    *out = parsed;
    return ST_OK;
}

enum st_code
address_unpack(const ProtobufCBinaryData *wire, struct st_address *out,
               struct st_err *err)
{
    if (wire->len != 4 && wire->len != 16)
        return st_fail(err, ST_INVALID_ARGUMENT, "an IP address of %zu bytes", wire->len);
    memset(out, 0, sizeof(*out));
    memcpy(out->bytes, wire->data, wire->len);
    out->len = (uint8_t)wire->len;
    return ST_OK;
}

bool
address_equal(const struct st_address *a, const struct st_address *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static bool
is_mapped(const struct st_address *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return address->len == 16 && memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

bool
address_is_host(const struct st_address *address)
{
    static const uint8_t nothing[16];
    const uint8_t first = address->bytes[0];
    const bool group = address->len == 4 ? first >= 224 : first == 0xff;
    return address->len > 0 && !group && !is_mapped(address) &&
           memcmp(address->bytes, nothing, address->len) != 0;
}

void
address_of_socket(const struct sockaddr_storage *name, struct st_address *out)
{
    const struct sockaddr_in *four = (const void *)name;
    const struct sockaddr_in6 *six = (const void *)name;
    *out = (struct st_address){0};
    if (name->ss_family == AF_INET)
        memcpy(out->bytes, &four->sin_addr, out->len = 4);
    else if (name->ss_family == AF_INET6)
        memcpy(out->bytes, &six->sin6_addr, out->len = 16);
}

/* An IPv4 address counts as a prefix that no host has: where ::ffff:0:0/96 would lie if
 * it were one. */
uint64_t
address_network(const struct st_address *address)
{
    const bool six = address->len == 16 && !is_mapped(address);
    const uint8_t *at = address->bytes + (address->len == 16 && !six ? 12 : 0);
    uint64_t network = six ? 0 : 0xffff;
    for (int i = 0; i < (six ? 8 : 4); i++)
        network = network << 8 | at[i];
    return network;
}

void
address_format(const struct st_address *address, char out[ADDRESS_TEXT_MAX])
{
    out[0] = 0;
    if (address->len)
        inet_ntop(address->len == 4 ? AF_INET : AF_INET6, address->bytes, out,
                  ADDRESS_TEXT_MAX);
}

void
address_format_port(const struct st_address *address, uint16_t port,
                    char out[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->len)
        inet_ntop(address->len == 4 ? AF_INET : AF_INET6, address->bytes, host,
                  sizeof(host));
    snprintf(out, ADDRESS_TEXT_MAX, address->len == 16 ? "[%s]:%u" : "%s:%u", host, port);
}

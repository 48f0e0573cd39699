#include "raft/conf.h"

#include <stdint.h>
#include <string.h>

enum {
    CONF_FORMAT = 1,
    CONF_HEAD = 1 + 8,
    SERVER_MIN = 8 + 1 + 1,
};

static uint64_t
number(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

int
conf_decode(const void *bytes, size_t len, struct raft_configuration *out)
{
    const uint8_t *at = bytes, *end = at + len;
    raft_configuration_init(out);
    if (len < CONF_HEAD || at[0] != CONF_FORMAT)
        return RAFT_MALFORMED;
    uint64_t count = number(at + 1);
    at += CONF_HEAD;
    for (uint64_t i = 0; i < count; i++) {
        if (end - at < SERVER_MIN)
            return RAFT_MALFORMED;
        uint64_t id = number(at);
        const char *address = (const char *)at + 8;
        size_t longest = (size_t)(end - at) - 8 - 1;
        size_t address_len = strnlen(address, longest);
        if (address_len == longest || id == 0)
            return RAFT_MALFORMED;
        int role = at[8 + address_len + 1];
        int status = raft_configuration_add(out, id, address, role);
        if (status)
            return status;
        at += 8 + address_len + 1 + 1;
    }
    return 0;
}

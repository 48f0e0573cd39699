#include "proto/ident.h"

#include <stdio.h>
#include <string.h>

static const char prefix[] = "smalltown-";

void
node_id_of_key(const uint8_t public_key[ED25519_PUBLIC_LEN], char out[NODE_ID_LEN + 1])
{
    memcpy(out, prefix, sizeof(prefix));
    for (int i = 0; i < 16; i++)
        sprintf(out + 10 + 2 * i, "%02x", public_key[i]);
}

enum st_code
node_id_check(const char *id, struct st_err *err)
{
    size_t len = strlen(id);
    if (len == NODE_ID_LEN && !strncmp(id, prefix, 10) &&
        strspn(id + 10, "0123456789abcdef") == 32)
        return ST_OK;
    return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                       "\"%.64s\" is not a node id (smalltown- and 32 hex digits)", id);
}

enum st_code
name_check(const char *what, const char *name, struct st_err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t len = strlen(name);
    if (len >= 1 && len <= NAME_MAX_LEN && strspn(name, allowed) == len && *name != '.' &&
        *name != '-')
        return ST_OK;
    return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                       "\"%.64s\" is not a name for %s (1 to %d of letters, digits, '.', "
                       "'_', '-', beginning with a letter or digit)",
                       name, what, NAME_MAX_LEN);
}

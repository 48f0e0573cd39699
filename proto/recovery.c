/* The recovery key as people see it. */
#include "proto/recovery.h"

#include <ctype.h>
#include <string.h>

static const char symbols[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

enum {
    DATA_LEN = RECOVERY_GROUP_LEN - 1,
    SYMBOLS = RECOVERY_GROUPS * RECOVERY_GROUP_LEN,
};

/* In GF(32) with x^5 + x^2 + 1, whose x generates every element but zero. */
static unsigned
times_x(unsigned element)
{
    return (element << 1 ^ (element & 16 ? 0x25 : 0)) & 31;
}

/* The symbol s with place + x^5 s1 + x^4 s2 + ... + x s5 + s = 0.  All factors differ, so
 * one wrong symbol shows, and two exchanged ones; and so does another place. */
static unsigned
check_symbol(const uint8_t group[DATA_LEN], unsigned place)
{
    unsigned sum = 0;
    for (int i = 0; i < DATA_LEN; i++)
        sum = times_x(sum ^ group[i]);
    return sum ^ place;
}

static void
write_text(const uint8_t values[SYMBOLS], struct secret *out)
{
    out->len = RECOVERY_TEXT_LEN;
    memset(out->bytes, '-', RECOVERY_TEXT_LEN);
    for (size_t i = 0; i < SYMBOLS; i++)
        out->bytes[i + i / RECOVERY_GROUP_LEN] = (uint8_t)symbols[values[i]];
    out->bytes[RECOVERY_TEXT_LEN] = 0;
}

enum st_code
recovery_make(struct secret *out, struct st_err *err)
{
    SECRET random = {0}, values = {0};
    enum st_code code;
    if ((code = secret_random(&random, RECOVERY_GROUPS * DATA_LEN, err)))
        return code;
    for (unsigned group = 0; group < RECOVERY_GROUPS; group++) {
        uint8_t *at = values.bytes + group * RECOVERY_GROUP_LEN;
        for (int i = 0; i < DATA_LEN; i++)
            at[i] = random.bytes[group * DATA_LEN + (unsigned)i] & 31;
        at[DATA_LEN] = (uint8_t)check_symbol(at, group);
    }
    write_text(values.bytes, out);
    return ST_OK;
}

/* -1 for what is none, -2 for what is between symbols. */
static int
value_of(char typed)
{
    int c = toupper((unsigned char)typed);
    if (c == '-' || c == ' ' || c == '\t')
        return -2;
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    const char *found = c ? strchr(symbols, c) : NULL;
    return found ? (int)(found - symbols) : -1;
}

static enum st_code
read_symbols(const char *typed, uint8_t values[SYMBOLS], struct st_err *err)
{
    size_t count = 0;
    for (; *typed; typed++) {
        int value = value_of(*typed);
        if (value == -2)
            continue;
        if (value < 0)
            return st_fail(err, ST_INVALID_ARGUMENT,
                           "symbol %zu of group %zu is none that a recovery key has (0-9 "
                           "and A-Z without U)",
                           count % RECOVERY_GROUP_LEN + 1,
                           count / RECOVERY_GROUP_LEN + 1);
        if (count < SYMBOLS)
            values[count] = (uint8_t)value;
        count++;
    }
    if (count != SYMBOLS)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "a recovery key has %d groups of %d symbols, %d in all, and %zu "
                       "were typed",
                       RECOVERY_GROUPS, RECOVERY_GROUP_LEN, SYMBOLS, count);
    return ST_OK;
}

enum st_code
recovery_read(const char *typed, struct secret *out, struct st_err *err)
{
    SECRET values = {0};
    enum st_code code;
    if ((code = read_symbols(typed, values.bytes, err)))
        return code;
    for (unsigned group = 0; group < RECOVERY_GROUPS; group++) {
        const uint8_t *at = values.bytes + group * RECOVERY_GROUP_LEN;
        if (check_symbol(at, group) != at[DATA_LEN])
            return st_fail(err, ST_INVALID_ARGUMENT, "group %u is mistyped", group + 1);
    }
    write_text(values.bytes, out);
    return ST_OK;
}

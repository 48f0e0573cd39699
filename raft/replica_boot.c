/* Which start of a member this is.
 *
 * Every start has a number greater than that of the one before, durable before anybody
 * hears of it, and 16 random bytes.  The others remember the last that they saw.  A
 * folder that comes back from a backup, or that was made anew under an old id, starts
 * with a number that was seen before: it has forgotten votes and entries that it
 * acknowledged, and must not count as the member that gave them.
 */
#include "proto/mutant.h"
#include "raft/replica_internal.h"

#include <string.h>

static enum st_code
write_boot(struct replica *replica, uint64_t member, const struct store_boot *boot,
           struct st_err *err)
{
    struct store_batch *batch = store_batch_new();
    if (!batch)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    store_put_boot(batch, member, boot);
    return store_write(replica->store, batch, err);
}

enum st_code
replica_boot(struct replica *replica, uint64_t id, struct st_err *err)
{
    SECRET random = {0};
    struct store_boot boot;
    enum st_code code;
    if ((code = store_boot(replica->store, id, &boot, err)) ||
        (code = secret_random(&random, STORE_NONCE_LEN, err)))
        return code;
    boot.number++;
    memcpy(boot.nonce, random.bytes, STORE_NONCE_LEN);
    if ((code = write_boot(replica, id, &boot, err)))
        return code;
    replica->boot = boot;
    return ST_OK;
}

/* Of the store, and from then on of memory; NULL where all places are taken. */
static struct boot_seen *
seen_of(struct replica *replica, uint64_t member, enum st_code *out_code,
        struct st_err *err)
{
    enum {
        PLACES = sizeof(replica->seen) / sizeof(*replica->seen)
    };
    struct boot_seen *place = NULL;
    for (int i = 0; i < PLACES && !place; i++)
        if (replica->seen[i].member == member || !replica->seen[i].member)
            place = &replica->seen[i];
    if (!place)
        place = &replica->seen[member % PLACES];
    *out_code = ST_OK;
    if (place->member == member)
        return place;
    *out_code = store_boot(replica->store, member, &place->boot, err);
    place->member = *out_code ? 0 : member;
    return place;
}

enum st_code
replica_admit(void *arg, uint64_t from, const char *address, uint64_t number,
              const uint8_t nonce[MESH_NONCE_LEN], struct st_err *why)
{
    struct replica *replica = arg;
    enum st_code code;
    struct boot_seen *seen = seen_of(replica, from, &code, why);
    (void)address;
    if (code)
        return code;
    bool same = seen->boot.number == number &&
                memcmp(seen->boot.nonce, nonce, STORE_NONCE_LEN) == 0;
    if (same)
        return ST_OK;
    if (REFUSES(0x53e, number <= seen->boot.number))
        return st_fail(why, ST_FAILED_PRECONDITION,
                       "member %llu comes with start %llu, and start %llu was seen here: "
                       "its folder is an older one, or a new one under an old id; start "
                       "its newest folder, or remove the member and join anew",
                       (unsigned long long)from, (unsigned long long)number,
                       (unsigned long long)seen->boot.number);
    struct store_boot boot = {.number = number};
    memcpy(boot.nonce, nonce, STORE_NONCE_LEN);
    if ((code = write_boot(replica, from, &boot, why)))
        replica_die(replica, why);
    seen->boot = boot;
    return ST_OK;
}

/* It would go on for ever, and its vote must not count. */
void
replica_refused(void *arg, uint64_t by, const struct st_err *why)
{
    struct replica *replica = arg;
    struct st_err err = *why;
    if (err.code == ST_FAILED_PRECONDITION &&
        st_wrap(&err, "member %llu refuses this one", (unsigned long long)by))
        replica_die(replica, &err);
}

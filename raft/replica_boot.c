/* Which start of a member this is.
 *
 * Every start has 16 random bytes, and a number greater than that of the last one that
 * anybody can have heard of, durable before the first Hello leaves.  The others remember
 * the last that they saw.  A folder that comes back from a backup, or that was made anew
 * under an old id, starts with a number that was seen before: it has forgotten votes and
 * entries that it acknowledged, and must not count as the member that gave them.  Whoever
 * started it again and again would come past the number that was seen: so a start that
 * nobody hears of is not counted (nobody else could tell it from the next one, and it
 * acknowledged nothing), and a folder that was refused once says so on disk, and is not
 * started any more.
 */
#include "proto/mutant.h"
#include "raft/replica_internal.h"

#include <assert.h>
#include <string.h>
#include <time.h>

static_assert((int)MESH_NONCE_LEN == (int)STORE_NONCE_LEN,
              "what a Hello says is what is remembered");

static const uint64_t refused_number = UINT64_MAX; /* of our own: of no start */

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
    if (REFUSES(0x53c, boot.number == refused_number))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the others refused this folder as an older one of member %llu: "
                       "remove that member, then the folder, and join anew",
                       (unsigned long long)id);
    boot.number++;
    memcpy(boot.nonce, random.bytes, STORE_NONCE_LEN);
    replica->boot = boot;
    /* What the process before this one asked may still be answered to this one. */
    memcpy(&replica->last_number, boot.nonce, sizeof(replica->last_number));
    return ST_OK;
}

enum st_code
replica_announce(void *arg, struct st_err *err)
{
    struct replica *replica = arg;
    if (replica->announced)
        return ST_OK;
    enum st_code code = write_boot(replica, replica->raft.id, &replica->boot, err);
    replica->announced = !code;
    return code;
}

enum st_code
replica_admit(void *arg, uint64_t from, const char *address, uint64_t number,
              const uint8_t nonce[MESH_NONCE_LEN], struct st_err *why)
{
    struct replica *replica = arg;
    struct store_boot seen;
    enum st_code code = store_boot(replica->store, from, &seen, why);
    (void)address;
    if (code)
        return code;
    if (seen.number == number && memcmp(seen.nonce, nonce, STORE_NONCE_LEN) == 0)
        return ST_OK;
    if (REFUSES(0x53e, number <= seen.number))
        return st_fail(why, ST_FAILED_PRECONDITION,
                       "member %llu comes with start %llu, and start %llu was seen here: "
                       "its folder is an older one, or a new one under an old id; start "
                       "its newest folder, or remove the member and join anew",
                       (unsigned long long)from, (unsigned long long)number,
                       (unsigned long long)seen.number);
    struct store_boot boot = {.number = number};
    memcpy(boot.nonce, nonce, STORE_NONCE_LEN);
    if ((code = write_boot(replica, from, &boot, why)))
        replica_die(replica, why);
    return ST_OK;
}

/* Those who refused the folder are not asked any more.  But copies of it may be left, of
 * before, and of the group that is lost: all of them count below the time, which no
 * number of starts reaches. */
enum st_code
replica_boot_begin(struct replica *replica, uint64_t id, struct st_err *err)
{
    const time_t now = time(NULL);
    struct store_boot boot;
    enum st_code code = store_boot(replica->store, id, &boot, err);
    if (code)
        return code;
    if (boot.number == refused_number)
        boot = (struct store_boot){0};
    if (now > 0 && boot.number < (uint64_t)now)
        boot.number = (uint64_t)now;
    return write_boot(replica, id, &boot, err);
}

/* It would go on for ever, and its vote must not count. */
void
replica_refused(void *arg, uint64_t by, const struct st_err *why)
{
    struct replica *replica = arg;
    struct st_err err = *why, unwritten = {0};
    bool removed = err.code == ST_PERMISSION_DENIED; /* and hears it at each start */
    if (!removed && err.code != ST_FAILED_PRECONDITION)
        return;
    if (!removed) {
        replica->boot.number = refused_number; /* also where it is not announced yet */
        if (write_boot(replica, replica->raft.id, &replica->boot, &unwritten))
            replica_die(replica, &unwritten);
    }
    (void)st_wrap(&err, "member %llu refuses this one", (unsigned long long)by);
    if (!replica->refused)
        replica_die(replica, &err);
    replica->refused(err.text);
}

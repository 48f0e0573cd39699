#include "proto/secret.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

void
secret_wipe(struct secret *secret)
{
    explicit_bzero(secret, sizeof(*secret));
}

enum st_code
secret_random(struct secret *out, size_t len, struct st_err *err)
{
    if (len > SECRET_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "a secret of %zu bytes", len);
    SECRET fresh = {.len = len};
    size_t have = 0;
    while (have < len) {
        ssize_t n = getrandom(fresh.bytes + have, len - have, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return st_fail(err, ST_UNAVAILABLE, "the system has no random bytes: %s",
                           strerror(errno));
        have += (size_t)n;
    }
    *out = fresh;
    return ST_OK;
}

enum st_code
secret_set(struct secret *out, const void *bytes, size_t len, struct st_err *err)
{
    if (len > SECRET_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "a secret of %zu bytes, at most %d", len,
                       SECRET_MAX);
    memset(out, 0, sizeof(*out));
    if (len)
        memcpy(out->bytes, bytes, len);
    out->len = len;
    return ST_OK;
}

bool
secret_equal_bytes(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t differs = 0;
    for (size_t i = 0; i < len; i++)
        differs |= x[i] ^ y[i];
    return differs == 0;
}

bool
secret_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && a->len > 0 &&
           secret_equal_bytes(a->bytes, b->bytes, a->len);
}

void
secret_xor(const struct secret *a, const struct secret *b, struct secret *out)
{
    for (size_t i = 0; i < UNLOCK_KEY_LEN; i++)
        out->bytes[i] = a->bytes[i] ^ b->bytes[i];
    out->len = UNLOCK_KEY_LEN;
}

enum {
    TRIM_LEN = 1024 * 1024, /* bytes that are worth a moment without the lock */
};

static const size_t LARGE_MAP_LEN = (size_t)64 << 30; /* address space only */
static bool locked;

static bool
mlock_all(void)
{
    return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

/* A limit that has room for what is there counts every later map in full, touched or not:
 * with it the store could not be opened (EAGAIN). */
static bool
may_map(void)
{
    void *map = mmap(NULL, LARGE_MAP_LEN, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        munlockall();
        return false;
    }
    munmap(map, LARGE_MAP_LEN);
    return true;
}

void
secret_harden_process(void)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    /* Only what is touched, so that thread stacks and the store's map cost nothing. Where
     * the limit forbids it the daemon works on: swap is the operator's to encrypt. */
    locked = mlock_all() && may_map();
}

static void
trim_heap(void)
{
#ifndef ST_SANITIZED /* its heap is not the one that could be trimmed */
    malloc_trim(0);
#endif
}

/* 0 where /proc does not say. */
static long
resident_pages(void)
{
    long size, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm)
        return 0;
    if (fscanf(statm, "%ld %ld", &size, &resident) != 2)
        resident = 0;
    fclose(statm);
    return resident;
}

void
secret_trim_process(void)
{
    static _Atomic long least; /* pages that were resident since the last time */
    const long now = resident_pages(), enough = TRIM_LEN / sysconf(_SC_PAGESIZE);
    if (now > 0 && now < least)
        least = now;
    if (now > 0 && least > 0 && now < least + enough)
        return;
    if (locked)
        munlockall();
    trim_heap();
    if (locked)
        mlock_all();
    least = resident_pages();
}

static void *
wiping_alloc(void *data, size_t size)
{
    (void)data;
    return malloc(size);
}

static void
wiping_free(void *data, void *pointer)
{
    (void)data;
    if (!pointer)
        return;
    explicit_bzero(pointer, malloc_usable_size(pointer));
    free(pointer);
}

ProtobufCAllocator secret_allocator = {
    .alloc = wiping_alloc,
    .free = wiping_free,
    .allocator_data = NULL,
};

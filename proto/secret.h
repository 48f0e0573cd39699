/* secret.h - bytes that open disks, and how they are held.
 *
 * A secret lives in `struct secret`, on the stack or inside an owner that wipes it.
 * SECRET declares one that is wiped when its scope ends.  Secrets are never printed,
 * never put into an st_err, and compared only with secret_equal().
 * Every function here may be called from any thread.
 */
#ifndef PROTO_SECRET_H
#define PROTO_SECRET_H

#include "proto/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SECRET_MAX = 256,    /* bytes in one secret */
    UNLOCK_KEY_LEN = 32, /* a half of a disk key, and the disk key itself */
};

struct secret {
    size_t len;
    uint8_t bytes[SECRET_MAX];
};

void secret_wipe(struct secret *secret);
#define SECRET __attribute__((cleanup(secret_wipe))) struct secret

/* len fresh bytes from getrandom(); ST_UNAVAILABLE without entropy, never a constant. */
enum st_code secret_random(struct secret *out, size_t len, struct st_err *err);

/* A copy; ST_INVALID_ARGUMENT where len exceeds SECRET_MAX. */
enum st_code secret_set(struct secret *out, const void *bytes, size_t len,
                        struct st_err *err);

/* In time that depends on the lengths only.  Empty secrets equal nothing. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* The same for any two buffers of one length (digests, HMACs). */
bool secret_equal_bytes(const void *a, const void *b, size_t len);

/* out = a XOR b, both of UNLOCK_KEY_LEN. */
void secret_xor(const struct secret *a, const struct secret *b, struct secret *out);

/* Keeps key bytes off the disk: no core files, no ptrace by others, memory locked as far
 * as the limit allows.  Called once, first thing in main() of a daemon. */
void secret_harden_process(void);
/* Gives what is free back to the kernel, which takes nothing back while it is locked: for
 * that moment, some milliseconds, the memory is not.  So only where the process has grown
 * by a MiB since the last time. */
void secret_trim_process(void);

/* For unpacking messages that carry secrets: what it frees, it wipes first. */
extern ProtobufCAllocator secret_allocator;

#endif

/* text.h - how an administrator writes durations and ids, and reads times and bytes.
 *
 * Pure functions; any thread.
 */
#ifndef TOOLS_TEXT_H
#define TOOLS_TEXT_H

#include "proto/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TEXT_TIME_MAX = 32,
    TEXT_AGE_MAX = 24,
    TEXT_SHA256_MAX = 65,
    NODE_PREFIX_MIN = 4, /* digits; fewer are a slip of the finger */
};

/* "90s", "15m", "24h", "30d", "500ms".  ST_INVALID_ARGUMENT for anything else, zero, and
 * above 10 years. */
enum st_code text_duration(const char *what, const char *text, uint64_t *out_ms,
                           struct st_err *err);

/* A whole number from 1 to max.  ST_INVALID_ARGUMENT. */
enum st_code text_count(const char *what, const char *text, uint32_t max, uint32_t *out,
                        struct st_err *err);

/* "2025-01-31T12:00:00Z". */
void text_time(int64_t seconds, char out[TEXT_TIME_MAX]);
/* The distance in its largest unit: "12s", "5m", "3h", "40d"; "-" where either time is
 * unknown (0). */
void text_age(int64_t from, int64_t to, char out[TEXT_AGE_MAX]);
/* The age that is left, or "expired". */
void text_expires(int64_t now, int64_t at, char out[TEXT_AGE_MAX]);

/* A digest or a PCR in lower-case hex; "-", and false, where that is none. */
bool text_hex(const ProtobufCBinaryData *sha256, char out[TEXT_SHA256_MAX]);
/* SHA-256 in lower-case hex. */
void text_sha256(const void *bytes, size_t len, char out[TEXT_SHA256_MAX]);
/* The same digest as people write it: either case, colons or not, "SHA256:" before. */
bool text_is_sha256(const char *typed, const char sha256[TEXT_SHA256_MAX]);

/* A copy that cannot steer a terminal: what is not printable ASCII is '?', nothing is
 * "-".  free() it; aborts without memory. */
char *text_printable(const char *text);

/* "192.0.2.1", "-" where it is no address. */
void text_address(const ProtobufCBinaryData *wire, char *out, size_t size);

/* A node id or the beginning of one, with "smalltown-" or without, at least
 * NODE_PREFIX_MIN digits, as the lower-case beginning of an id.  `out` holds
 * NODE_ID_LEN + 1.  ST_INVALID_ARGUMENT. */
enum st_code text_node_prefix(const char *typed, char *out, struct st_err *err);

#endif

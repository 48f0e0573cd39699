/* seeds.h - inputs to begin with: what an honest machine, member or administrator sends,
 * made by the program fuzz_seeds for tools/fuzz --seeds.
 *
 *     seed_piece(bytes, len);  seed_message(&message.base);     one after the other
 *     seed_write("register", "enrolment");                      DIR/register/enrolment
 */
#ifndef TESTS_FUZZ_SEEDS_H
#define TESTS_FUZZ_SEEDS_H

#include "tests/cmocka.h"

#include <protobuf-c/protobuf-c.h>

void seed_byte(uint8_t byte);
/* Bytes as they are, or as a piece with its length before it (fuzz.h). */
void seed_bytes(const void *bytes, size_t len);
void seed_piece(const void *bytes, size_t len);
void seed_message(const ProtobufCMessage *message);
void seed_message_piece(const ProtobufCMessage *message);
/* All since the last one. */
void seed_write(const char *target, const char *name);

static inline ProtobufCBinaryData
seed_lend(const void *bytes, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)bytes};
}

void seeds_tpm(void);
void seeds_peer(void);
void seeds_state(void);
void seeds_join(void);
void seeds_files(void);

#endif

#include "tests/fuzz/seeds.h"

#include "proto/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *dir;
static uint8_t seed[64 * 1024];
static size_t seed_len;

void
seed_bytes(const void *bytes, size_t len)
{
    assert_in_range(len, 0, sizeof(seed) - seed_len);
    if (len > 0)
        memcpy(seed + seed_len, bytes, len);
    seed_len += len;
}

void
seed_byte(uint8_t byte)
{
    seed_bytes(&byte, 1);
}

void
seed_piece(const void *bytes, size_t len)
{
    assert_in_range(len, 0, UINT16_MAX);
    seed_byte(len & 0xff);
    seed_byte((uint8_t)(len >> 8));
    seed_bytes(bytes, len);
}

static void
pack(const ProtobufCMessage *message, void (*put)(const void *bytes, size_t len))
{
    static uint8_t packed[sizeof(seed)];
    assert_in_range(protobuf_c_message_get_packed_size(message), 0, sizeof(packed));
    put(packed, protobuf_c_message_pack(message, packed));
}

void
seed_message(const ProtobufCMessage *message)
{
    pack(message, seed_bytes);
}

void
seed_message_piece(const ProtobufCMessage *message)
{
    pack(message, seed_piece);
}

void
seed_write(const char *target, const char *name)
{
    char path[PATH_MAX];
    struct st_err err = {0};
    snprintf(path, sizeof(path), "%s/%s", dir, target);
    assert_ok(file_make_folder(path, &err));
    snprintf(path, sizeof(path), "%s/%s/%s", dir, target, name);
    assert_ok(file_write(path, 0644, seed, seed_len, &err));
    seed_len = 0;
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    dir = argv[1];
    seeds_tpm();
    seeds_peer();
    seeds_state();
    seeds_join();
    seeds_files();
    return 0;
}

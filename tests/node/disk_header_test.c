/* Whoever has the disk for a while can write its header, which nothing authenticates: one
 * that says "not encrypted" would have the node write its data in the clear. */
#include "node/disk_internal.h"
#include "proto/cert.h"
#include "tests/cmocka.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ME "smalltown-0123456789abcdef0123456789abcdef"
#define TOKEN                                                                            \
    "{\"type\":\"smalltown\",\"keyslots\":[\"0\"],\"state\":\"enrolled\",\"node\":\"" ME \
    "\"}"

#define OURS "aes-xts-plain64"

enum {
    HEADER_LEN =
        16384, /* of each copy; then its JSON, and its sum with zeros for itself */
    JSON_AT = 4096,
    SUM_AT = 448,
    SUM_LEN = 64
};

static char image[32];
static struct secret key;
static struct crypt_device *cd;

static const struct crypt_pbkdf_type pbkdf = {.type = CRYPT_KDF_PBKDF2,
                                              .hash = "sha256",
                                              .iterations = 1000,
                                              .flags = CRYPT_PBKDF_NO_BENCHMARK};

static int
set_up(void **state)
{
    (void)state;
    strcpy(image, "/tmp/st-disk-XXXXXX");
    int fd = mkstemp(image);
    assert_int_equal(ftruncate(fd, 40 << 20), 0);
    close(fd);
    assert_int_equal(crypt_init(&cd, image), 0);
    return secret_random(&key, UNLOCK_KEY_LEN, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    crypt_free(cd);
    return unlink(image);
}

static void
header(size_t key_len)
{
    struct crypt_params_luks2 params = {.pbkdf = &pbkdf};
    crypt_free(cd);
    assert_int_equal(crypt_init(&cd, image), 0);
    assert_int_equal(
        crypt_format(cd, CRYPT_LUKS2, "aes", "xts-plain64", NULL, NULL, key_len, &params),
        0);
}

static void
slot(int number, const void *passphrase, size_t len)
{
    const int size = crypt_get_volume_key_size(cd);
    assert_int_equal(
        crypt_keyslot_add_by_volume_key(cd, number, NULL, (size_t)size, passphrase, len),
        number);
    assert_int_equal(crypt_token_json_set(cd, 0, TOKEN), 0);
}

static void
our_slot(void)
{
    slot(0, key.bytes, key.len);
}

/* One of the two copies of the header as a stranger writes it: the n-th "aes-xts-plain64"
 * becomes another word of that length, the sum is right again. */
static void
rewrite_copy(uint8_t copy[HEADER_LEN], int n, const char *word)
{
    uint8_t *at = copy + JSON_AT, sum[SHA256_LEN];
    for (int i = 0; i <= n; i++) {
        at = memmem(at + (i > 0), (size_t)(copy + HEADER_LEN - at) - 1, OURS,
                    strlen(OURS));
        assert_non_null(at);
    }
    assert_int_equal(strlen(word), strlen(OURS));
    memcpy(at, word, strlen(OURS));
    memset(copy + SUM_AT, 0, SUM_LEN);
    cert_fingerprint(copy, HEADER_LEN, sum);
    memcpy(copy + SUM_AT, sum, sizeof(sum));
}

static void
rewrite(int n, const char *word)
{
    static uint8_t copies[2][HEADER_LEN];
    int fd = open(image, O_RDWR | O_CLOEXEC);
    assert_int_equal(read(fd, copies, sizeof(copies)), sizeof(copies));
    rewrite_copy(copies[0], n, word);
    rewrite_copy(copies[1], n, word);
    assert_int_equal(pwrite(fd, copies, sizeof(copies), 0), sizeof(copies));
    close(fd);
}

static void
assert_refused(const char *why)
{
    struct st_err err = {0};
    struct disk_found found;
    bool mapped;
    assert_ok(disk_observe(image, &found, &err));
    assert_int_equal(found.state, START_VOLUME_ENROLLED);
    assert_code(disk_check_key(image, &key, &err), ST_PERMISSION_DENIED);
    assert_non_null(strstr(err.text, why));
    assert_code(disk_map(image, &key, &mapped, &err), ST_PERMISSION_DENIED);
    assert_non_null(strstr(err.text, why));
}

static void
what_the_tests_write_is_accepted_where_it_is_as_ours(void **state)
{
    (void)state;
    struct st_err err = {0};
    header(64);
    our_slot();
    assert_ok(disk_check_key(image, &key, &err));
}

/* The key is right: without the check it would be mapped, and written in the clear. */
static void
N48_a_header_that_does_not_encrypt_is_refused(void **state)
{
    (void)state;
    header(64);
    our_slot();
    rewrite(1, "cipher_null-ecb");
    assert_refused("encrypted otherwise");
}

static void
N48_a_header_with_another_cipher_or_a_shorter_key_is_refused(void **state)
{
    (void)state;
    header(32);
    our_slot();
    assert_refused("encrypted otherwise");
    header(64);
    our_slot();
    rewrite(1, "aes-cbc-plain64");
    assert_refused("encrypted otherwise");
}

/* Such a slot can be made so that any passphrase opens it, with a key of a stranger. */
static void
N48_a_slot_that_does_not_encrypt_is_refused(void **state)
{
    (void)state;
    header(64);
    our_slot();
    rewrite(0, "cipher_null-ecb");
    assert_refused("encrypted otherwise");
}

static void
N48_another_slot_than_the_first_is_not_tried(void **state)
{
    (void)state;
    header(64);
    slot(0, "anything", 8);
    slot(1, key.bytes, key.len);
    assert_refused("the key does not open");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_the_tests_write_is_accepted_where_it_is_as_ours),
        TEST(N48_a_header_that_does_not_encrypt_is_refused),
        TEST(N48_a_header_with_another_cipher_or_a_shorter_key_is_refused),
        TEST(N48_a_slot_that_does_not_encrypt_is_refused),
        TEST(N48_another_slot_than_the_first_is_not_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

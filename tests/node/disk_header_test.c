/* Whoever has the disk for a while can write its header, which nothing authenticates: one
 * that says "not encrypted" would have the node write its data in the clear. */
#include "node/disk_internal.h"
#include "proto/sha256.h"
#include "tests/cmocka.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ME "smalltown-0123456789abcdef0123456789abcdef"
#define TOKEN(slot, state)                                                               \
    "{\"type\":\"smalltown\",\"keyslots\":[\"" slot "\"],\"state\":\"" state             \
    "\",\"node\":\"" ME "\"}"

#define OURS "aes-xts-plain64"

enum {
    HEADER_LEN =
        16384, /* of each copy; then its JSON, and its sum with zeros for itself */
    JSON_AT = 4096,
    SUM_AT = 448,
    SUM_LEN = 64
};

static char image[32];
static struct secret key, recovery, next_key;
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
    return secret_random(&key, UNLOCK_KEY_LEN, NULL) ||
           secret_random(&next_key, UNLOCK_KEY_LEN, NULL) ||
           recovery_make(&recovery, NULL);
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
}

static void
token(const char *json)
{
    assert_int_equal(crypt_token_json_set(cd, 0, json), 0);
}

static void
our_slot(void)
{
    slot(0, key.bytes, key.len);
    token(TOKEN("0", "enrolled"));
}

static void
our_slots(void)
{
    our_slot();
    slot(1, recovery.bytes, recovery.len);
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
    sha256_of(copy, HEADER_LEN, sum);
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
    struct secret child;
    bool mapped;
    assert_ok(disk_observe(image, &found, &err));
    assert_int_equal(found.state, START_VOLUME_ENROLLED);
    assert_code(disk_check_key(image, &key, &err), ST_PERMISSION_DENIED);
    assert_non_null(strstr(err.text, why));
    assert_code(disk_map(image, "st-test", &key, &mapped, &err), ST_PERMISSION_DENIED);
    assert_non_null(strstr(err.text, why));
    assert_code(disk_child_key(image, &key, &child, &err), ST_PERMISSION_DENIED);
    assert_code(disk_second_set(image, &key, &next_key, &err), ST_PERMISSION_DENIED);
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
N48_another_slot_than_the_tokens_is_not_tried(void **state)
{
    (void)state;
    header(64);
    slot(0, "anything", 8);
    slot(1, key.bytes, key.len);
    token(TOKEN("0", "enrolled"));
    assert_refused("the key does not open");
    slot(2, "anything", 8);
    token(TOKEN("2", "enrolled"));
    assert_refused("the key does not open");
}

/* Neither by whoever knows the recovery key, nor by the node. */
static void
assert_not_recovered(enum st_code code, const char *why)
{
    struct st_err err = {0};
    struct disk_recovery found;
    struct secret child;
    assert_code(disk_recovery_look(image, &found, &err), code);
    assert_non_null(strstr(err.text, why));
    assert_code(disk_recovery_check(image, &recovery, &err), code);
    assert_non_null(strstr(err.text, why));
    assert_code(disk_rebind(image, &recovery, &next_key, ME, NULL, &err), code);
    assert_non_null(strstr(err.text, why));
    assert_code(disk_recovery_set(image, &key, &recovery, NULL, &err), code);
    assert_non_null(strstr(err.text, why));
    assert_code(disk_rekey(image, &recovery, &next_key, ME, &err), code);
    assert_non_null(strstr(err.text, why));
    assert_code(disk_child_key_recovered(image, &recovery, &child, &err), code);
    assert_non_null(strstr(err.text, why));
}

/* What a person types would be right for whatever the attacker put there. */
static void
N48_a_recovery_slot_that_does_not_encrypt_is_refused(void **state)
{
    (void)state;
    header(64);
    our_slots();
    rewrite(1, "cipher_null-ecb");
    assert_refused("encrypted otherwise");
    assert_not_recovered(ST_PERMISSION_DENIED, "encrypted otherwise");
}

static void
N48_nothing_is_recovered_into_a_header_that_does_not_encrypt(void **state)
{
    (void)state;
    struct st_err err = {0};
    header(64);
    our_slots();
    assert_ok(disk_recovery_check(image, &recovery, &err));
    rewrite(2, "cipher_null-ecb");
    assert_not_recovered(ST_PERMISSION_DENIED, "encrypted otherwise");
}

/* After a recovery the node's slot is the third. */
static void
N48_the_third_slot_is_looked_at_as_the_first_is(void **state)
{
    (void)state;
    struct st_err err = {0};
    header(64);
    slot(1, recovery.bytes, recovery.len);
    slot(2, key.bytes, key.len);
    token(TOKEN("2", "enrolled"));
    assert_ok(disk_check_key(image, &key, &err));
    rewrite(1, "cipher_null-ecb");
    assert_refused("encrypted otherwise");
    assert_not_recovered(ST_PERMISSION_DENIED, "encrypted otherwise");
}

static void
N48_a_slot_that_we_never_make_is_refused(void **state)
{
    (void)state;
    header(64);
    our_slots();
    slot(3, "anything", 8);
    assert_refused("encrypted otherwise");
    assert_not_recovered(ST_PERMISSION_DENIED, "encrypted otherwise");
}

/* Such as one that takes all the memory there is. */
static void
N48_a_slot_with_another_derivation_is_refused(void **state)
{
    (void)state;
    struct crypt_pbkdf_type other = pbkdf;
    header(64);
    other.hash = "sha512";
    assert_int_equal(crypt_set_pbkdf_type(cd, &other), 0);
    our_slot();
    assert_refused("encrypted otherwise");
}

/* Discards would show which sectors are in use. */
static void
N48_a_flag_that_we_never_set_is_refused(void **state)
{
    (void)state;
    header(64);
    our_slots();
    assert_int_equal(crypt_persistent_flags_set(cd, CRYPT_FLAGS_ACTIVATION,
                                                CRYPT_ACTIVATE_ALLOW_DISCARDS),
                     0);
    assert_refused("encrypted otherwise");
    assert_not_recovered(ST_PERMISSION_DENIED, "encrypted otherwise");
}

/* Sectors that were never wiped; and nobody's. */
static void
N48_what_is_torn_or_has_no_token_is_neither_opened_nor_recovered(void **state)
{
    (void)state;
    struct st_err err = {0};
    bool mapped;
    header(64);
    our_slots();
    token(TOKEN("0", "formatting"));
    for (int i = 0; i < 2; i++) {
        assert_code(disk_check_key(image, &key, &err), ST_FAILED_PRECONDITION);
        assert_code(disk_map(image, "st-test", &key, &mapped, &err),
                    ST_FAILED_PRECONDITION);
        assert_not_recovered(ST_FAILED_PRECONDITION, "not whole");
        token(NULL);
    }
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
        TEST(N48_another_slot_than_the_tokens_is_not_tried),
        TEST(N48_a_recovery_slot_that_does_not_encrypt_is_refused),
        TEST(N48_nothing_is_recovered_into_a_header_that_does_not_encrypt),
        TEST(N48_the_third_slot_is_looked_at_as_the_first_is),
        TEST(N48_a_slot_that_we_never_make_is_refused),
        TEST(N48_a_slot_with_another_derivation_is_refused),
        TEST(N48_a_flag_that_we_never_set_is_refused),
        TEST(N48_what_is_torn_or_has_no_token_is_neither_opened_nor_recovered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

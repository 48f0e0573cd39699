/* A volume that people can open, too, and that becomes another machine's with its data:
 * with every write of its header failing in turn. */
#include "node/disk.h"
#include "tests/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <libcryptsetup.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ME "smalltown-0123456789abcdef0123456789abcdef"
#define NEXT "smalltown-00000000000000000000000000000001"

enum {
    SIZE = 40 << 20,
};

static char image[32];
static struct secret key, next_key, recovery, private_key;
static uint8_t recipient[HPKE_KEY_LEN];

/* The writes of the header; the n-th from now on fails, and all after it. 0: none. */
static int fail_at, writes;

static bool
fails(void)
{
    return fail_at && ++writes >= fail_at;
}

int __real_crypt_keyslot_add_by_volume_key(struct crypt_device *cd, int slot,
                                           const char *has, size_t has_len,
                                           const char *given, size_t given_len);
int __wrap_crypt_keyslot_add_by_volume_key(struct crypt_device *cd, int slot,
                                           const char *has, size_t has_len,
                                           const char *given, size_t given_len);
int
__wrap_crypt_keyslot_add_by_volume_key(struct crypt_device *cd, int slot, const char *has,
                                       size_t has_len, const char *given,
                                       size_t given_len)
{
    return fails() ? -EIO
                   : __real_crypt_keyslot_add_by_volume_key(cd, slot, has, has_len, given,
                                                            given_len);
}

int __real_crypt_token_json_set(struct crypt_device *cd, int token, const char *json);
int __wrap_crypt_token_json_set(struct crypt_device *cd, int token, const char *json);
int
__wrap_crypt_token_json_set(struct crypt_device *cd, int token, const char *json)
{
    return fails() ? -EIO : __real_crypt_token_json_set(cd, token, json);
}

int __real_crypt_keyslot_destroy(struct crypt_device *cd, int slot);
int __wrap_crypt_keyslot_destroy(struct crypt_device *cd, int slot);
int
__wrap_crypt_keyslot_destroy(struct crypt_device *cd, int slot)
{
    return fails() ? -EIO : __real_crypt_keyslot_destroy(cd, slot);
}

static int
set_up(void **state)
{
    (void)state;
    struct st_err err = {0};
    fail_at = 0;
    strcpy(image, "/tmp/st-disk-XXXXXX");
    int fd = mkstemp(image);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    close(fd);
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    assert_ok(secret_random(&next_key, UNLOCK_KEY_LEN, &err));
    assert_ok(recovery_make(&recovery, &err));
    assert_ok(hpke_generate(&private_key, recipient, &err));
    assert_ok(disk_format(image, &key, ME, DISK_XTS, &err));
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return unlink(image);
}

static struct disk_recovery
look(void)
{
    struct disk_recovery found;
    struct st_err err = {0};
    assert_ok(disk_recovery_look(image, &found, &err));
    return found;
}

static void
assert_sealed_for(const char *node_id)
{
    const struct disk_recovery found = look();
    struct secret opened;
    struct st_err err = {0};
    assert_true(found.sealed);
    assert_string_equal(found.place.node_id, node_id);
    assert_memory_equal(found.place.recipient, recipient, HPKE_KEY_LEN);
    assert_ok(
        recovery_open(found.bytes, sizeof(found.bytes), &private_key, &opened, &err));
    assert_true(secret_equal(&opened, &recovery));
}

/* The bytes of the volume are behind this one. */
static void
get_volume_key(const struct secret *with, char out[64])
{
    struct crypt_device *cd = NULL;
    size_t len = 64;
    assert_int_equal(crypt_init(&cd, image), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    assert_true(crypt_volume_key_get(cd, CRYPT_ANY_SLOT, out, &len,
                                     (const char *)with->bytes, with->len) >= 0);
    assert_int_equal(len, 64);
    crypt_free(cd);
}

static int
count_slots(void)
{
    struct crypt_device *cd = NULL;
    int count = 0;
    assert_int_equal(crypt_init(&cd, image), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    for (int slot = 0; slot < crypt_keyslot_max(CRYPT_LUKS2); slot++)
        count += crypt_keyslot_status(cd, slot) != CRYPT_SLOT_INACTIVE;
    crypt_free(cd);
    return count;
}

static void
assert_opens(const struct secret *with, bool expected)
{
    struct st_err err = {0};
    assert_code(disk_check_key(image, with, &err),
                expected ? ST_OK : ST_PERMISSION_DENIED);
}

static void
enrol_with(const uint8_t *sealed_to)
{
    struct st_err err = {0};
    assert_ok(disk_recovery_set(image, &key, &recovery, sealed_to, &err));
    assert_ok(disk_set_enrolled(image, ME, &err));
}

static void
assert_state(enum start_volume state, const char *node_id)
{
    struct disk_found found;
    struct st_err err = {0};
    assert_ok(disk_observe(image, &found, &err));
    assert_int_equal(found.state, state);
    assert_string_equal(found.node_id, node_id);
}

static void
a_recovery_key_opens_the_volume_beside_the_disk_key(void **state)
{
    (void)state;
    struct st_err err = {0};
    char by_key[64], by_recovery[64];
    assert_false(look().there);
    assert_code(disk_recovery_check(image, &recovery, &err), ST_NOT_FOUND);
    assert_ok(disk_recovery_set(image, &key, &recovery, NULL, &err));
    assert_true(look().there);
    assert_false(look().sealed);
    assert_ok(disk_recovery_check(image, &recovery, &err));
    assert_state(START_VOLUME_PENDING, ME);
    get_volume_key(&key, by_key);
    get_volume_key(&recovery, by_recovery);
    assert_memory_equal(by_key, by_recovery, 64);
}

static void
another_one_takes_its_place_while_the_volume_is_pending(void **state)
{
    (void)state;
    struct st_err err = {0};
    const struct secret first = recovery;
    assert_ok(disk_recovery_set(image, &key, &recovery, recipient, &err));
    assert_sealed_for(ME);
    assert_ok(recovery_make(&recovery, &err));
    assert_ok(disk_recovery_set(image, &key, &recovery, recipient, &err));
    assert_sealed_for(ME);
    assert_opens(&first, false);
    assert_ok(disk_recovery_check(image, &recovery, &err));
    assert_ok(disk_recovery_set(image, &key, &recovery, NULL, &err));
    assert_false(look().sealed);
    assert_ok(disk_set_enrolled(image, ME, &err));
    assert_code(disk_recovery_set(image, &key, &first, NULL, &err),
                ST_FAILED_PRECONDITION);
    assert_ok(disk_recovery_check(image, &recovery, &err));
}

static void
N48_only_who_has_a_key_gives_another(void **state)
{
    (void)state;
    struct st_err err = {0};
    assert_code(disk_recovery_set(image, &next_key, &recovery, NULL, &err),
                ST_PERMISSION_DENIED);
    assert_false(look().there);
    enrol_with(recipient);
    const struct secret right = recovery;
    assert_ok(recovery_make(&recovery, &err));
    assert_code(disk_recovery_check(image, &recovery, &err), ST_PERMISSION_DENIED);
    assert_code(disk_rebind(image, &recovery, &next_key, NEXT, NULL, &err),
                ST_PERMISSION_DENIED);
    /* Nor does the key of the machine do: it is the recovery key's place. */
    assert_code(disk_rebind(image, &key, &next_key, NEXT, NULL, &err),
                ST_PERMISSION_DENIED);
    assert_state(START_VOLUME_ENROLLED, ME);
    assert_opens(&key, true);
    assert_opens(&next_key, false);
    recovery = right;
    assert_sealed_for(ME);
}

static void
a_volume_becomes_that_of_another_enrolment_with_its_data(void **state)
{
    (void)state;
    struct st_err err = {0};
    char before[64], after[64];
    const struct secret first = key;
    enrol_with(recipient);
    get_volume_key(&recovery, before);
    for (int times = 0; times < 3; times++) {
        assert_ok(disk_rebind(image, &recovery, &next_key, NEXT, recipient, &err));
        assert_state(START_VOLUME_PENDING, NEXT);
        assert_sealed_for(NEXT);
        assert_opens(&next_key, true);
        assert_opens(&key, false);   /* the token names the other slot; */
        get_volume_key(&key, after); /* which is there until the new key is in use */
        assert_code(disk_set_enrolled(image, ME, &err), ST_FAILED_PRECONDITION);
        assert_ok(disk_set_enrolled(image, NEXT, &err));
        assert_state(START_VOLUME_ENROLLED, NEXT);
        assert_opens(&key, false);
        assert_ok(disk_recovery_check(image, &recovery, &err));
        get_volume_key(&next_key, after);
        assert_memory_equal(before, after, 64);
        key = next_key;
        assert_ok(secret_random(&next_key, UNLOCK_KEY_LEN, &err));
    }
    assert_opens(&first, false);
    assert_ok(disk_rebind(image, &recovery, &next_key, ME, NULL, &err));
    assert_false(look().sealed);
    assert_true(look().there);
}

/* In whichever of the two slots its key is. */
static void
N34_a_volume_that_was_bound_anew_has_data_and_is_not_given_up(void **state)
{
    (void)state;
    struct st_err err = {0};
    enrol_with(recipient);
    for (int times = 0; times < 3; times++) {
        struct disk_found found;
        assert_ok(disk_rebind(image, &recovery, &next_key, NEXT, recipient, &err));
        assert_ok(disk_observe(image, &found, &err));
        assert_true(found.has_data);
        assert_code(disk_give_up(image, NEXT, &err), ST_FAILED_PRECONDITION);
        assert_opens(&next_key, true);
        if (times == 1)
            assert_ok(disk_set_enrolled(image, NEXT, &err));
        assert_ok(secret_random(&next_key, UNLOCK_KEY_LEN, &err));
    }
}

/* By its second slot, or enrolled; and the key of before opens nothing in the end. */
static void
N34_a_volume_says_at_every_moment_of_its_enrolment_that_it_has_data(void **state)
{
    (void)state;
    struct st_err err = {0};
    enrol_with(recipient);
    for (int n = 1;; n++) {
        struct disk_found found;
        assert_ok(disk_rebind(image, &recovery, &next_key, NEXT, recipient, &err));
        fail_at = n, writes = 0;
        enum st_code code = disk_set_enrolled(image, NEXT, &err);
        fail_at = 0;
        assert_ok(disk_observe(image, &found, &err));
        assert_true(found.has_data || found.state == START_VOLUME_ENROLLED);
        assert_code(disk_give_up(image, NEXT, &err), ST_FAILED_PRECONDITION);
        assert_opens(&next_key, true);
        assert_ok(disk_set_enrolled(image, NEXT, &err));
        assert_int_equal(count_slots(), 2);
        if (!code) {
            assert_int_equal(n, 3); /* a token and a key: all that there is to write */
            break;
        }
        assert_code(code, ST_INTERNAL);
    }
}

/* Whoever recovers it again, once or twice, and in whichever slot it was enrolled. */
static void
N34_a_volume_says_at_every_moment_of_another_recovery_that_it_has_data(void **state)
{
    struct st_err err = {0};
    for (int before = 1; before < 4; before++)
        for (int n = 1;; n++) {
            char all[64], after[64];
            struct disk_found found;
            enrol_with(recipient);
            get_volume_key(&recovery, all);
            for (int i = 0; i < before; i++) {
                assert_ok(disk_rebind(image, &recovery, &key, NEXT, recipient, &err));
                assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
            }
            fail_at = n, writes = 0;
            enum st_code code =
                disk_rebind(image, &recovery, &next_key, ME, recipient, &err);
            fail_at = 0;
            assert_ok(disk_observe(image, &found, &err));
            assert_true(found.has_data);
            assert_code(disk_give_up(image, found.node_id, &err), ST_FAILED_PRECONDITION);
            assert_ok(disk_rebind(image, &recovery, &next_key, ME, recipient, &err));
            assert_ok(disk_set_enrolled(image, ME, &err));
            assert_opens(&next_key, true);
            assert_int_equal(count_slots(), 2);
            get_volume_key(&recovery, after);
            assert_memory_equal(all, after, 64);
            tear_down(state);
            set_up(state);
            if (!code) {
                assert_true(n > 3); /* two for the key, two tokens */
                break;
            }
            assert_code(code, ST_INTERNAL);
        }
}

/* What is there after a cut is the old volume or the new one, whole. */
static void
assert_old_or_new(void)
{
    struct disk_found found;
    struct st_err err = {0};
    assert_ok(disk_observe(image, &found, &err));
    assert_ok(disk_recovery_check(image, &recovery, &err));
    if (found.state == START_VOLUME_ENROLLED) {
        assert_string_equal(found.node_id, ME);
        assert_opens(&key, true);
    } else {
        assert_int_equal(found.state, START_VOLUME_PENDING);
        assert_string_equal(found.node_id, NEXT);
        assert_opens(&next_key, true);
    }
}

static void
there_is_a_key_at_every_moment_of_a_rebind(void **state)
{
    struct st_err err = {0};
    for (int sealed = 0; sealed < 2; sealed++)
        for (int n = 1;; n++) {
            const uint8_t *to = sealed ? recipient : NULL;
            enrol_with(recipient);
            fail_at = n, writes = 0;
            enum st_code code = disk_rebind(image, &recovery, &next_key, NEXT, to, &err);
            fail_at = 0;
            assert_old_or_new();
            if (code) {
                assert_code(code, ST_INTERNAL);
                assert_ok(secret_random(&next_key, UNLOCK_KEY_LEN, &err));
                assert_ok(disk_rebind(image, &recovery, &next_key, NEXT, to, &err));
            }
            fail_at = 1, writes = 0;
            assert_code(disk_set_enrolled(image, NEXT, &err), ST_INTERNAL);
            fail_at = 2, writes = 0;
            (void)!disk_set_enrolled(image, NEXT, &err);
            fail_at = 0;
            assert_opens(&next_key, true);
            assert_ok(disk_set_enrolled(image, NEXT, &err));
            assert_opens(&key, false);
            assert_opens(&next_key, true);
            tear_down(state);
            set_up(state);
            if (!code) {
                assert_true(n > 2); /* a key, a token: at least */
                break;
            }
        }
}

static void
a_recovery_key_whose_making_was_cut_is_made_again(void **state)
{
    struct st_err err = {0};
    for (int n = 1;; n++) {
        struct secret first = recovery;
        fail_at = n, writes = 0;
        enum st_code code = disk_recovery_set(image, &key, &first, recipient, &err);
        fail_at = 0;
        assert_opens(&key, true);
        if (!code)
            break;
        assert_false(look().sealed);
        assert_ok(recovery_make(&recovery, &err));
        assert_ok(disk_recovery_set(image, &key, &recovery, recipient, &err));
        assert_sealed_for(ME);
        assert_opens(&first, false);
        tear_down(state);
        set_up(state);
    }
}

static void
N48_a_sealed_key_of_another_volume_is_not_this_ones(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct crypt_device *cd = NULL;
    assert_ok(disk_recovery_set(image, &key, &recovery, recipient, &err));
    assert_int_equal(crypt_init(&cd, image), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    assert_int_equal(crypt_set_uuid(cd, "4c1b3f1e-7a52-4c63-9f3b-0123456789ab"), 0);
    crypt_free(cd);
    assert_true(look().there);
    assert_false(look().sealed);
}

static void
what_is_no_volume_of_ours_is_not_rebound(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct crypt_device *cd = NULL;
    enrol_with(NULL);
    assert_int_equal(crypt_init(&cd, image), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    assert_true(crypt_token_json_set(cd, 0, NULL) >= 0);
    crypt_free(cd);
    assert_code(disk_rebind(image, &recovery, &next_key, NEXT, NULL, &err),
                ST_FAILED_PRECONDITION);
    assert_int_equal(truncate(image, 0), 0);
    assert_int_equal(truncate(image, SIZE), 0);
    assert_code(disk_rebind(image, &recovery, &next_key, NEXT, NULL, &err), ST_DATA_LOSS);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_recovery_key_opens_the_volume_beside_the_disk_key),
        TEST(another_one_takes_its_place_while_the_volume_is_pending),
        TEST(N48_only_who_has_a_key_gives_another),
        TEST(a_volume_becomes_that_of_another_enrolment_with_its_data),
        TEST(N34_a_volume_that_was_bound_anew_has_data_and_is_not_given_up),
        TEST(N34_a_volume_says_at_every_moment_of_its_enrolment_that_it_has_data),
        TEST(N34_a_volume_says_at_every_moment_of_another_recovery_that_it_has_data),
        TEST(there_is_a_key_at_every_moment_of_a_rebind),
        TEST(a_recovery_key_whose_making_was_cut_is_made_again),
        TEST(N48_a_sealed_key_of_another_volume_is_not_this_ones),
        TEST(what_is_no_volume_of_ours_is_not_rebound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

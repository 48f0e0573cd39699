/* A second key that follows from another volume: who opens the data opens the records. */
#include "node/disk_internal.h"
#include "tests/cmocka.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ME "smalltown-0123456789abcdef0123456789abcdef"
#define OTHER "smalltown-00000000000000000000000000000001"

enum {
    SIZE = 40 << 20
};

static char data[32], control[32];
static struct secret data_key, key, recovery, wrong;

/* Of whoever only tries a key; 0: does not fail. */
static const int failures[] = {-EIO, -ENOMEM};
static int try_fails_with;

int __real_crypt_activate_by_passphrase(struct crypt_device *cd, const char *name,
                                        int slot, const char *given, size_t len,
                                        uint32_t flags);
int __wrap_crypt_activate_by_passphrase(struct crypt_device *cd, const char *name,
                                        int slot, const char *given, size_t len,
                                        uint32_t flags);
int
__wrap_crypt_activate_by_passphrase(struct crypt_device *cd, const char *name, int slot,
                                    const char *given, size_t len, uint32_t flags)
{
    return try_fails_with
               ? try_fails_with
               : __real_crypt_activate_by_passphrase(cd, name, slot, given, len, flags);
}

static void
make(char path[32], const struct secret *with)
{
    struct st_err err = {0};
    strcpy(path, "/tmp/st-disk-XXXXXX");
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    close(fd);
    assert_ok(disk_format(path, with, ME, DISK_XTS, &err));
}

static int
set_up(void **state)
{
    struct st_err err = {0};
    (void)state;
    assert_ok(secret_random(&data_key, UNLOCK_KEY_LEN, &err));
    assert_ok(secret_random(&key, UNLOCK_KEY_LEN, &err));
    assert_ok(secret_random(&wrong, UNLOCK_KEY_LEN, &err));
    assert_ok(recovery_make(&recovery, &err));
    make(data, &data_key);
    make(control, &key);
    assert_ok(disk_recovery_set(data, &data_key, &recovery, NULL, &err));
    assert_ok(disk_set_enrolled(data, ME, &err));
    assert_ok(disk_set_enrolled(control, ME, &err));
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return unlink(data) || unlink(control);
}

static struct secret
child(void)
{
    struct secret out;
    struct st_err err = {0};
    assert_ok(disk_child_key(data, &data_key, &out, &err));
    return out;
}

static bool
has_slot(int slot)
{
    DISK_CRYPT *cd = NULL;
    struct st_err err = {0};
    assert_ok(disk_load_luks(control, &cd, &err));
    return disk_slot_is_active(cd, slot);
}

static void
it_is_the_same_by_the_disk_key_and_by_the_recovery_key(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct secret one = child(), two, three, fresh;
    assert_ok(disk_child_key_recovered(data, &recovery, &two, &err));
    assert_true(secret_equal(&one, &two));
    assert_ok(secret_random(&fresh, UNLOCK_KEY_LEN, &err));
    assert_ok(disk_rebind(data, &recovery, &fresh, OTHER, NULL, &err));
    assert_ok(disk_set_enrolled(data, OTHER, &err));
    assert_ok(disk_child_key(data, &fresh, &three, &err));
    assert_true(secret_equal(&one, &three));
    assert_ok(disk_child_key(control, &key, &two, &err));
    assert_false(secret_equal(&one, &two));
}

static void
N48_who_does_not_open_the_data_does_not_have_it(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct secret out = {0};
    assert_code(disk_child_key(data, &wrong, &out, &err), ST_PERMISSION_DENIED);
    assert_code(disk_child_key(data, &recovery, &out, &err), ST_PERMISSION_DENIED);
    assert_code(disk_child_key_recovered(data, &data_key, &out, &err),
                ST_PERMISSION_DENIED);
    assert_int_equal(out.len, 0);
}

static void
it_is_given_once_and_replaced_by_another(void **state)
{
    (void)state;
    struct st_err err = {0};
    const struct secret second = child();
    assert_code(disk_second_set(control, &wrong, &second, &err), ST_PERMISSION_DENIED);
    assert_code(disk_recovery_check(control, &second, &err), ST_NOT_FOUND);
    for (int i = 0; i < 2; i++) {
        assert_ok(disk_second_set(control, &key, &second, &err));
        assert_ok(disk_recovery_check(control, &second, &err));
    }
    assert_code(disk_second_set(control, &wrong, &wrong, &err), ST_PERMISSION_DENIED);
    assert_ok(disk_recovery_check(control, &second, &err));
    assert_ok(disk_second_set(control, &key, &wrong, &err));
    assert_ok(disk_recovery_check(control, &wrong, &err));
    assert_code(disk_recovery_check(control, &second, &err), ST_PERMISSION_DENIED);
    assert_ok(disk_check_key(control, &key, &err));
}

static void
it_is_not_taken_away_where_nobody_could_try_it(void **state)
{
    (void)state;
    struct st_err err = {0};
    const struct secret second = child();
    assert_ok(disk_second_set(control, &key, &second, &err));
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        try_fails_with = failures[i];
        const enum st_code same = disk_second_set(control, &key, &second, &err);
        const enum st_code other = disk_second_set(control, &key, &wrong, &err);
        try_fails_with = 0;
        assert_code(same, ST_INTERNAL);
        assert_code(other, ST_INTERNAL);
        assert_ok(disk_recovery_check(control, &second, &err));
    }
}

static void
the_key_becomes_another_by_the_second_one_alone(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct disk_found found;
    const struct secret second = child();
    struct secret fresh;
    assert_ok(disk_second_set(control, &key, &second, &err));
    assert_ok(secret_random(&fresh, UNLOCK_KEY_LEN, &err));
    assert_code(disk_rekey(control, &wrong, &fresh, OTHER, &err), ST_PERMISSION_DENIED);
    assert_ok(disk_check_key(control, &key, &err));
    for (int i = 0; i < 3; i++) {
        const bool first = i % 2; /* the slots take turns, and one of them is empty */
        assert_ok(disk_rekey(control, &second, &fresh, OTHER, &err));
        assert_ok(disk_observe(control, &found, &err));
        assert_int_equal(found.state, START_VOLUME_ENROLLED);
        assert_string_equal(found.node_id, OTHER);
        assert_ok(disk_check_key(control, &fresh, &err));
        assert_int_equal(has_slot(DISK_SLOT_FIRST), first);
        assert_int_equal(has_slot(DISK_SLOT_SECOND), !first);
    }
    assert_code(disk_check_key(control, &key, &err), ST_PERMISSION_DENIED);
    assert_ok(disk_recovery_check(control, &second, &err));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_is_the_same_by_the_disk_key_and_by_the_recovery_key),
        TEST(N48_who_does_not_open_the_data_does_not_have_it),
        TEST(it_is_given_once_and_replaced_by_another),
        TEST(it_is_not_taken_away_where_nobody_could_try_it),
        TEST(the_key_becomes_another_by_the_second_one_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

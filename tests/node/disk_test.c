/* A volume is formatted when it is blank, opened with its key, and otherwise left. */
#include "node/disk_internal.h"
#include "tests/cmocka.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ME "smalltown-0123456789abcdef0123456789abcdef"
#define OTHER "smalltown-00000000000000000000000000000001"

enum {
    SIZE = 40 << 20,
    BYTES = 4096
};

static char image[32];
static struct secret key, wrong;

static void
resize(off_t size)
{
    int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void
put(off_t at, const void *bytes, size_t len)
{
    int fd = open(image, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

static void
get(off_t at, void *out, size_t len)
{
    int fd = open(image, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, out, len, at), len);
    close(fd);
}

static int
set_up(void **state)
{
    (void)state;
    strcpy(image, "/tmp/st-disk-XXXXXX");
    int fd = mkstemp(image);
    close(fd);
    resize(SIZE);
    return secret_random(&key, UNLOCK_KEY_LEN, NULL) ||
           secret_random(&wrong, UNLOCK_KEY_LEN, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    return unlink(image);
}

static void
assert_state(enum start_volume volume, const char *node_id)
{
    struct disk_found found;
    struct st_err err = {0};
    assert_ok(disk_observe(image, &found, &err));
    assert_int_equal(found.state, volume);
    assert_string_equal(found.node_id, node_id);
}

static void
format(void)
{
    struct st_err err = {0};
    assert_ok(disk_format(image, &key, ME, DISK_XTS, &err));
}

static void
a_volume_goes_from_blank_to_enrolled(void **state)
{
    (void)state;
    struct st_err err = {0};
    uint8_t tail[BYTES], zeros[BYTES] = {0};
    assert_state(START_VOLUME_BLANK, "");
    format();
    assert_state(START_VOLUME_PENDING, ME);
    get(SIZE - BYTES, tail, BYTES);
    assert_memory_equal(tail, zeros, BYTES);
    for (int i = 0; i < 2; i++) {
        assert_ok(disk_set_enrolled(image, ME, &err));
        assert_state(START_VOLUME_ENROLLED, ME);
    }
    assert_ok(disk_check_key(image, &key, &err));
}

static void
the_volume_is_what_the_design_says(void **state)
{
    (void)state;
    struct crypt_device *cd = NULL;
    struct crypt_pbkdf_type pbkdf;
    format();
    assert_int_equal(crypt_init(&cd, image), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    assert_string_equal(crypt_get_cipher(cd), "aes");
    assert_string_equal(crypt_get_cipher_mode(cd), "xts-plain64");
    assert_int_equal(crypt_get_volume_key_size(cd), 64);
    assert_string_equal(crypt_get_label(cd), "smalltown");
    assert_int_equal(crypt_keyslot_get_pbkdf(cd, 0, &pbkdf), 0);
    assert_string_equal(pbkdf.type, "pbkdf2");
    assert_int_equal(pbkdf.iterations, 1000);
    for (int slot = 1; slot < crypt_keyslot_max(CRYPT_LUKS2); slot++)
        assert_int_equal(crypt_keyslot_status(cd, slot), CRYPT_SLOT_INACTIVE);
    crypt_free(cd);
}

static void
N48_another_key_does_not_open_it(void **state)
{
    (void)state;
    struct st_err err = {0};
    bool mapped = true;
    format();
    assert_code(disk_check_key(image, &wrong, &err), ST_PERMISSION_DENIED);
    assert_code(disk_map(image, "st-test", &wrong, &mapped, &err), ST_PERMISSION_DENIED);
    wrong = key;
    wrong.bytes[31] ^= 1;
    assert_code(disk_check_key(image, &wrong, &err), ST_PERMISSION_DENIED);
    assert_ok(disk_check_key(image, &key, &err));
}

static void
assert_not_formatted(void)
{
    struct st_err err = {0};
    uint8_t before[BYTES], after[BYTES], tail_before[BYTES], tail_after[BYTES];
    get(0, before, BYTES);
    get(SIZE - BYTES, tail_before, BYTES);
    assert_code(disk_format(image, &key, ME, DISK_XTS, &err), ST_FAILED_PRECONDITION);
    assert_code(disk_begin_format(image, ME, &err), ST_FAILED_PRECONDITION);
    get(0, after, BYTES);
    get(SIZE - BYTES, tail_after, BYTES);
    assert_memory_equal(before, after, BYTES);
    assert_memory_equal(tail_before, tail_after, BYTES);
}

static void
N34_a_byte_of_data_anywhere_at_either_end_is_data(void **state)
{
    (void)state;
    const off_t places[] = {0,           511,        1080,           4086,
                            65536,       1048575,    SIZE - 1048576, SIZE - 8192,
                            SIZE - 4096, SIZE - 512, SIZE - 1};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        put(places[i], "x", 1);
        assert_state(START_VOLUME_FOREIGN, "");
        assert_not_formatted();
        put(places[i], "", 1);
    }
    assert_state(START_VOLUME_BLANK, "");
}

static void
N34_a_volume_of_ours_is_never_formatted_again(void **state)
{
    (void)state;
    struct st_err err = {0};
    format();
    assert_not_formatted();
    assert_ok(disk_set_enrolled(image, ME, &err));
    assert_not_formatted();
    assert_ok(disk_check_key(image, &key, &err));
    assert_code(disk_set_enrolled(image, OTHER, &err), ST_FAILED_PRECONDITION);
}

static void
assert_not_given_up(void)
{
    AUTO(st_freep) uint8_t *before = malloc(SIZE), *after = malloc(SIZE);
    get(0, before, SIZE);
    assert_code(disk_give_up(image, ME, NULL), ST_FAILED_PRECONDITION);
    get(0, after, SIZE);
    assert_memory_equal(before, after, SIZE);
}

static void
N34_only_a_format_of_ours_that_is_not_done_is_given_up(void **state)
{
    (void)state;
    struct st_err err = {0};
    const uint8_t data = 1;
    assert_not_given_up(); /* blank */
    put(SIZE / 2, &data, 1);
    put(0, &data, 1);
    assert_not_given_up(); /* somebody's */
    resize(0), resize(SIZE);
    assert_ok(disk_begin_format(image, OTHER, &err));
    assert_not_given_up();
    resize(0), resize(SIZE);
    assert_ok(disk_format(image, &key, OTHER, DISK_XTS, &err));
    assert_not_given_up();
    resize(0), resize(SIZE);
    format();
    assert_ok(disk_set_enrolled(image, ME, &err));
    assert_not_given_up();
}

static void
what_is_given_up_is_blank_and_has_no_key(void **state)
{
    (void)state;
    struct st_err err = {0};
    static const uint8_t zeros[16 << 20];
    AUTO(st_freep) uint8_t *head = malloc(sizeof(zeros));
    for (int odd = 0; odd < 2; odd++) {
        resize(0), resize(SIZE + odd * 700);
        for (int torn = 0; torn < 2; torn++) {
            if (torn)
                assert_ok(disk_begin_format(image, ME, &err));
            else
                format();
            put(SIZE - BYTES - 1, "x", 1); /* of the cipher, once it is wiped */
            assert_ok(disk_give_up(image, ME, &err));
            assert_state(START_VOLUME_BLANK, "");
            get(0, head, sizeof(zeros));
            assert_memory_equal(head, zeros, sizeof(zeros));
        }
        format();
        assert_ok(disk_check_key(image, &key, &err));
    }
}

/* Its first write is the mark, its last takes that away. */
static void
what_was_cut_while_it_was_given_up_is_ours_to_give_up(void **state)
{
    (void)state;
    struct st_err err = {0};
    static const uint8_t zeros[1 << 20];
    for (size_t zeroed = 0; zeroed <= sizeof(zeros); zeroed += 4096) {
        struct disk_found found;
        resize(0), resize(SIZE);
        format();
        assert_ok(disk_page_write(image, ME, &err));
        put(0, zeros, zeroed);
        assert_ok(disk_observe(image, &found, &err));
        assert_true(found.state == START_VOLUME_PENDING ||
                    found.state == START_VOLUME_TORN);
        assert_string_equal(found.node_id, ME);
        assert_ok(disk_give_up(image, ME, &err));
        assert_state(START_VOLUME_BLANK, "");
        if (zeroed >= 64 << 10)
            zeroed += 60 << 10;
    }
}

static void
N34_a_LUKS_volume_of_somebody_else_is_data(void **state)
{
    (void)state;
    struct crypt_device *cd = NULL;
    struct crypt_pbkdf_type pbkdf = {.type = CRYPT_KDF_PBKDF2,
                                     .hash = "sha256",
                                     .iterations = 1000,
                                     .flags = CRYPT_PBKDF_NO_BENCHMARK};
    struct crypt_params_luks2 params = {.pbkdf = &pbkdf};
    const char *tokens[] = {
        NULL, "{\"type\":\"other\",\"keyslots\":[]}",
        "{\"type\":\"smalltown\",\"keyslots\":[\"0\"],\"state\":\"sold\",\"node\":\"" ME
        "\"}",
        "{\"type\":\"smalltown\",\"keyslots\":[\"0\"],\"state\":\"pending\",\"node\":"
        "\"smalltown-0\"}"};
    assert_int_equal(crypt_init(&cd, image), 0);
    assert_int_equal(
        crypt_format(cd, CRYPT_LUKS2, "aes", "xts-plain64", NULL, NULL, 64, &params), 0);
    assert_int_equal(crypt_keyslot_add_by_volume_key(cd, 0, NULL, 64, "secret", 6), 0);
    for (size_t i = 0; i < sizeof(tokens) / sizeof(*tokens); i++) {
        if (tokens[i])
            assert_int_equal(crypt_token_json_set(cd, 0, tokens[i]), 0);
        assert_state(START_VOLUME_FOREIGN, "");
        assert_not_formatted();
    }
    crypt_free(cd);
}

static void
a_torn_format_is_known_by_its_node(void **state)
{
    (void)state;
    struct st_err err = {0};
    uint8_t noise[BYTES], page[BYTES];
    memset(noise, 0xa5, sizeof(noise));
    assert_ok(disk_begin_format(image, ME, &err));
    assert_state(START_VOLUME_TORN, ME);
    put(32768, noise, sizeof(noise));
    assert_state(START_VOLUME_TORN, ME);
    assert_code(disk_format(image, &key, OTHER, DISK_XTS, &err), ST_FAILED_PRECONDITION);
    assert_state(START_VOLUME_TORN, ME);
    get(SIZE - BYTES, page, BYTES);
    for (size_t i = 0; i < BYTES; i += i < 80 ? 1 : 101) {
        page[i] ^= 0x80;
        put(SIZE - BYTES, page, BYTES);
        assert_state(START_VOLUME_FOREIGN, "");
        page[i] ^= 0x80;
    }
    put(SIZE - BYTES, page, BYTES);
    format();
    assert_state(START_VOLUME_PENDING, ME);
}

/* The mark in the last page is gone by then. */
static void
a_volume_that_is_being_wiped_is_torn_by_its_node(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct crypt_device *cd = NULL;
    format();
    assert_int_equal(crypt_init(&cd, image), 0);
    assert_int_equal(crypt_load(cd, CRYPT_LUKS2, NULL), 0);
    assert_int_equal(crypt_token_json_set(cd, 0,
                                          "{\"type\":\"smalltown\",\"keyslots\":[\"0\"],"
                                          "\"state\":\"formatting\",\"node\":\"" ME
                                          "\"}"),
                     0);
    crypt_free(cd);
    assert_state(START_VOLUME_TORN, ME);
    assert_code(disk_format(image, &key, OTHER, DISK_XTS, &err), ST_FAILED_PRECONDITION);
    assert_code(disk_begin_format(image, OTHER, &err), ST_FAILED_PRECONDITION);
    assert_state(START_VOLUME_TORN, ME);
    assert_code(disk_set_enrolled(image, ME, &err), ST_FAILED_PRECONDITION);
    format();
    assert_state(START_VOLUME_PENDING, ME);
}

/* Only a machine that boots can do it, see tests/vm. */
static void
authentication_without_a_device_mapper_is_refused_and_nothing_is_touched(void **state)
{
    (void)state;
    struct st_err err = {0};
    if (disk_has_device_mapper())
        skip();
    assert_code(disk_format(image, &key, ME, DISK_AUTHENTICATED, &err),
                ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "--encryption xts"));
    assert_state(START_VOLUME_BLANK, "");
}

static void
N34_a_mark_under_other_data_does_not_make_it_torn(void **state)
{
    (void)state;
    struct st_err err = {0};
    assert_ok(disk_begin_format(image, ME, &err));
    put(1080, "\x53\xef", 2); /* somebody made an ext4 there since */
    assert_state(START_VOLUME_FOREIGN, "");
    assert_not_formatted();
}

static void
a_volume_that_is_cut_off_is_not_used(void **state)
{
    (void)state;
    struct disk_found found;
    struct st_err err = {0};
    bool mapped = true;
    format();
    assert_ok(disk_set_enrolled(image, ME, &err));
    resize(33 << 20);
    assert_state(START_VOLUME_ENROLLED, ME); /* it still has its header and some data */
    resize(8 << 20);
    assert_code(disk_observe(image, &found, &err), ST_FAILED_PRECONDITION);
    assert_true(disk_map(image, "st-test", &key, &mapped, &err) != ST_OK || !mapped);
    resize(0);
    assert_code(disk_observe(image, &found, &err), ST_FAILED_PRECONDITION);
    assert_true(disk_check_key(image, &key, &err) != ST_OK);
}

static void
a_volume_that_is_not_there_is_said_to_be_missing(void **state)
{
    (void)state;
    struct disk_found found;
    struct st_err err = {0};
    assert_code(disk_observe("/tmp/no-such-volume", &found, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "truncate"));
    assert_code(disk_observe("/tmp", &found, &err), ST_FAILED_PRECONDITION);
    assert_code(disk_observe("/dev/null", &found, &err), ST_FAILED_PRECONDITION);
}

static void
a_header_with_any_sector_damaged_is_repaired_or_refused(void **state)
{
    (void)state;
    struct st_err err = {0};
    uint8_t sector[512], noise[512];
    struct disk_found found;
    memset(noise, 0x5a, sizeof(noise));
    format();
    for (off_t at = 0; at < 32768; at += 512 * 5) {
        get(at, sector, sizeof(sector));
        put(at, noise, sizeof(noise));
        assert_ok(disk_observe(image, &found, &err));
        assert_true(found.state == START_VOLUME_PENDING ||
                    found.state == START_VOLUME_FOREIGN);
        assert_code(disk_begin_format(image, ME, &err), ST_FAILED_PRECONDITION);
        put(at, sector, sizeof(sector));
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_volume_goes_from_blank_to_enrolled),
        TEST(the_volume_is_what_the_design_says),
        TEST(N48_another_key_does_not_open_it),
        TEST(N34_a_byte_of_data_anywhere_at_either_end_is_data),
        TEST(N34_a_volume_of_ours_is_never_formatted_again),
        TEST(N34_only_a_format_of_ours_that_is_not_done_is_given_up),
        TEST(what_is_given_up_is_blank_and_has_no_key),
        TEST(what_was_cut_while_it_was_given_up_is_ours_to_give_up),
        TEST(N34_a_LUKS_volume_of_somebody_else_is_data),
        TEST(a_torn_format_is_known_by_its_node),
        TEST(a_volume_that_is_being_wiped_is_torn_by_its_node),
        TEST(authentication_without_a_device_mapper_is_refused_and_nothing_is_touched),
        TEST(N34_a_mark_under_other_data_does_not_make_it_torn),
        TEST(a_volume_that_is_cut_off_is_not_used),
        TEST(a_volume_that_is_not_there_is_said_to_be_missing),
        TEST(a_header_with_any_sector_damaged_is_repaired_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

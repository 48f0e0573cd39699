/* Where the masters are: what a node lets itself be told, and what of its file stays. */
#include "node/masters.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HAS = 1000, /* the number of the list that it has */
};

static char folder[FOLDER_MAX];
static struct node node;

static uint8_t here[] = {192, 0, 2, 1}, there[] = {192, 0, 2, 2};
static uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};

static int
set_up(void **state)
{
    (void)state;
    char path[64];
    struct secret seed;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    memset(&node, 0, sizeof(node));
    if (folder_make(folder, "masters"))
        return 1;
    snprintf(path, sizeof(path), "%s/EFI/smalltown", folder);
    if (file_make_folder(path, NULL) || esp_open(folder, &node.esp, NULL) ||
        key_generate(&seed, public_key, NULL) ||
        cert_self_sign(&seed, "smalltown-master", &node.config.masters, NULL))
        return 1;
    strcpy(node.config.node_id, "smalltown-0123456789abcdef0123456789abcdef");
    node.config.has_recovery = true;
    memset(node.config.recovery, 0x42, HPKE_KEY_LEN);
    memcpy(node.config.addresses[0].bytes, here, 4);
    node.config.addresses[0].len = 4;
    node.config.address_count = 1;
    node.config.masters_number = HAS;
    return config_write(esp_path(node.esp, ESP_CONFIG), &node.config, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    esp_close(node.esp);
    return folder_remove(folder);
}

static enum st_code
tell(uint64_t number, size_t count, ProtobufCBinaryData *ips, struct st_err *err)
{
    Api__SetMastersRequest request = API__SET_MASTERS_REQUEST__INIT;
    request.number = number;
    request.master_ips = ips;
    request.n_master_ips = count;
    return masters_told(&node, &request, err);
}

static void
config_of_file(struct node_config *out)
{
    struct st_err err = {0};
    assert_ok(config_read(esp_path(node.esp, ESP_CONFIG), out, &err));
}

static uint8_t *
bytes_of_file(size_t *out_len)
{
    uint8_t *bytes;
    struct st_err err = {0};
    assert_ok(
        file_read(esp_path(node.esp, ESP_CONFIG), FILE_MAX_LEN, &bytes, out_len, &err));
    return bytes;
}

/* Neither what is in memory nor a byte of the file has changed since set_up(). */
static void
assert_untouched(void)
{
    NODE_CONFIG kept = {0};
    config_of_file(&kept);
    assert_int_equal(kept.masters_number, HAS);
    assert_int_equal(kept.address_count, 1);
    assert_memory_equal(kept.addresses[0].bytes, here, 4);
    assert_int_equal(node.config.masters_number, HAS);
    assert_int_equal(node.config.address_count, 1);
}

static void
a_newer_list_is_on_the_ESP_when_it_is_answered_and_all_else_is_as_it_was(void **state)
{
    (void)state;
    ProtobufCBinaryData ips[] = {{4, there}, {16, six}};
    NODE_CONFIG kept = {0};
    struct st_err err = {0};
    assert_ok(tell(HAS + 1, 2, ips, &err));
    config_of_file(&kept);
    assert_int_equal(kept.masters_number, HAS + 1);
    assert_int_equal(kept.address_count, 2);
    assert_memory_equal(kept.addresses[0].bytes, there, 4);
    assert_memory_equal(kept.addresses[1].bytes, six, 16);
    /* What is measured, and the rest. */
    assert_int_equal(kept.masters.len, node.config.masters.len);
    assert_memory_equal(kept.masters.der, node.config.masters.der, kept.masters.len);
    assert_string_equal(kept.node_id, "smalltown-0123456789abcdef0123456789abcdef");
    assert_true(kept.has_recovery);
    assert_int_equal(kept.recovery[31], 0x42);
    assert_int_equal(kept.secret.len, 0);
    assert_int_equal(node.config.masters_number, HAS + 1);
    assert_int_equal(node.config.address_count, 2);
}

static void
the_same_list_again_is_fine_and_writes_nothing(void **state)
{
    (void)state;
    ProtobufCBinaryData ips[] = {{4, here}};
    struct st_err err = {0};
    assert_int_equal(unlink(esp_path(node.esp, ESP_CONFIG)), 0);
    assert_ok(tell(HAS, 1, ips, &err));
    assert_int_not_equal(access(esp_path(node.esp, ESP_CONFIG), F_OK), 0);
}

static void
the_same_addresses_under_a_newer_number_make_an_older_list_of_the_next(void **state)
{
    (void)state;
    ProtobufCBinaryData same[] = {{4, here}}, other[] = {{4, there}};
    NODE_CONFIG kept = {0};
    struct st_err err = {0};
    assert_ok(tell(HAS + 2, 1, same, &err));
    assert_code(tell(HAS + 1, 1, other, &err), ST_FAILED_PRECONDITION);
    config_of_file(&kept);
    assert_int_equal(kept.masters_number, HAS + 2);
}

static void
N53_an_older_list_of_masters_is_refused(void **state)
{
    (void)state;
    ProtobufCBinaryData ips[] = {{4, there}};
    struct st_err err = {0};
    assert_code(tell(HAS - 1, 1, ips, &err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "newer list"));
    assert_code(tell(1, 1, ips, &err), ST_FAILED_PRECONDITION);
    assert_untouched();
}

static void
N53_another_list_with_the_same_number_is_refused(void **state)
{
    (void)state;
    ProtobufCBinaryData ips[] = {{4, there}, {4, here}};
    struct st_err err = {0};
    assert_code(tell(HAS, 1, ips, &err), ST_FAILED_PRECONDITION);
    assert_code(tell(HAS, 2, ips, &err), ST_FAILED_PRECONDITION);
    assert_untouched();
}

static void
N30_what_is_no_list_of_masters_is_malformed(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[17];
        size_t len;
    } bad[] = {
        {{0}, 0},
        {{192, 0, 2}, 3},
        {{192, 0, 2, 1, 1}, 5},
        {{0x20, 0x01, [14] = 1}, 15},
        {{0x20, 0x01, [16] = 1}, 17},
        {{0, 0, 0, 0}, 4},
        {{224, 0, 0, 1}, 4},
        {{255, 255, 255, 255}, 4},
        {{0}, 16},
        {{0xff, 0x02, [15] = 1}, 16},
        {{[10] = 0xff, 0xff, 192, 0, 2, 1}, 16},
    };
    ProtobufCBinaryData ips[ADDRESSES_MAX + 1];
    uint8_t many[ADDRESSES_MAX + 1][4];
    struct st_err err = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        ips[0] = (ProtobufCBinaryData){4, there};
        ips[1] = (ProtobufCBinaryData){bad[i].len, (uint8_t *)bad[i].bytes};
        assert_code(tell(HAS + 1, 2, ips, &err), ST_INVALID_ARGUMENT);
    }
    assert_code(tell(HAS + 1, 0, NULL, &err), ST_INVALID_ARGUMENT);
    for (size_t i = 0; i <= ADDRESSES_MAX; i++) {
        memcpy(many[i], (uint8_t[]){192, 0, 2, (uint8_t)i}, 4);
        ips[i] = (ProtobufCBinaryData){4, many[i]};
    }
    assert_code(tell(HAS + 1, ADDRESSES_MAX + 1, ips, &err), ST_INVALID_ARGUMENT);
    ips[ADDRESSES_MAX - 1] = ips[0];
    assert_code(tell(HAS + 1, ADDRESSES_MAX, ips, &err), ST_INVALID_ARGUMENT);
    assert_untouched();
}

static void
N30_a_list_of_masters_without_a_number_is_malformed(void **state)
{
    (void)state;
    ProtobufCBinaryData ips[] = {{4, here}};
    struct st_err err = {0};
    node.config.masters_number = 0; /* a file that an earlier release wrote */
    assert_code(tell(0, 1, ips, &err), ST_INVALID_ARGUMENT);
    assert_ok(tell(1, 1, ips, &err));
}

/* The ESP is full or gone: nothing is acknowledged that is not on it. */
static void
a_list_that_cannot_be_written_is_not_taken(void **state)
{
    (void)state;
    ProtobufCBinaryData ips[] = {{4, there}};
    char path[64], away[64];
    struct st_err err = {0};
    snprintf(path, sizeof(path), "%s/EFI", folder);
    snprintf(away, sizeof(away), "%s/away", folder);
    assert_int_equal(rename(path, away), 0);
    assert_true(tell(HAS + 1, 1, ips, &err) != ST_OK);
    assert_int_equal(rename(away, path), 0);
    assert_untouched();
    assert_ok(tell(HAS + 1, 1, ips, &err));
}

/* What a master answers to an unlock is current, whatever somebody told before. */
static void
an_unlock_brings_the_list_back_that_nobody_should_have_told(void **state)
{
    (void)state;
    ProtobufCBinaryData ips[] = {{4, there}};
    NODE_CONFIG current = {0}, kept = {0};
    struct st_err err = {0};
    assert_ok(tell(UINT64_MAX, 1, ips, &err));
    memcpy(current.addresses[0].bytes, here, 4);
    current.addresses[0].len = 4;
    current.address_count = 1;
    current.masters_number = HAS + 1;
    assert_ok(masters_keep(&node, &current, &err));
    config_of_file(&kept);
    assert_int_equal(kept.masters_number, HAS + 1);
    assert_memory_equal(kept.addresses[0].bytes, here, 4);
}

static void
a_file_without_a_number_is_as_earlier_releases_write_it(void **state)
{
    (void)state;
    NODE_CONFIG old = {0};
    size_t len, numbered_len;
    struct st_err err = {0};
    AUTO(st_freep) uint8_t *numbered = bytes_of_file(&numbered_len);
    old = node.config;
    old.masters_number = 0;
    assert_ok(config_write(esp_path(node.esp, ESP_CONFIG), &old, &err));
    AUTO(st_freep) uint8_t *bytes = bytes_of_file(&len);
    assert_true(len < numbered_len);
    config_of_file(&old);
    assert_int_equal(old.masters_number, 0);
}

static void
a_person_changes_the_list_alone_and_any_list_of_masters_is_newer(void **state)
{
    (void)state;
    NODE_CONFIG before = {0}, after = {0}, kept = {0};
    struct st_err err = {0};
    ProtobufCBinaryData ips[] = {{4, here}};
    struct st_address now[2] = {{.len = 4}, {.len = 16}};
    memcpy(now[0].bytes, there, 4);
    memcpy(now[1].bytes, six, 16);
    /* Not while smalltown-node runs, which would write back what it has. */
    assert_code(masters_point(folder, now, 2, &before, &after, &err), ST_ALREADY_EXISTS);
    assert_untouched();
    esp_close(TAKE(node.esp));
    assert_ok(masters_point(folder, now, 2, &before, &after, &err));
    assert_ok(esp_open(folder, &node.esp, &err));
    assert_memory_equal(&before, &node.config, sizeof(before));
    config_of_file(&kept);
    assert_memory_equal(&kept, &after, sizeof(after));
    assert_int_equal(kept.address_count, 2);
    assert_true(address_equal(&kept.addresses[0], &now[0]));
    assert_true(address_equal(&kept.addresses[1], &now[1]));
    assert_int_equal(kept.masters_number, 0);
    assert_string_equal(kept.node_id, node.config.node_id);
    assert_true(kept.has_recovery);
    assert_memory_equal(kept.masters.der, node.config.masters.der, kept.masters.len);
    node.config = kept;
    assert_ok(tell(1, 1, ips, &err));
}

static void
a_person_points_to_masters_also_before_the_enrolment(void **state)
{
    (void)state;
    NODE_CONFIG before = {0}, after = {0}, kept = {0};
    struct st_err err = {0};
    struct st_address now = {.len = 4};
    memcpy(now.bytes, there, 4);
    *node.config.node_id = 0;
    assert_ok(secret_random(&node.config.secret, 32, &err));
    assert_ok(config_write(esp_path(node.esp, ESP_CONFIG), &node.config, &err));
    esp_close(TAKE(node.esp));
    assert_ok(masters_point(folder, &now, 1, &before, &after, &err));
    assert_ok(esp_open(folder, &node.esp, &err));
    config_of_file(&kept);
    assert_memory_equal(&kept.secret, &node.config.secret, sizeof(kept.secret));
    assert_true(address_equal(&kept.addresses[0], &now));
}

#define MASTERS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        MASTERS_TEST(
            a_newer_list_is_on_the_ESP_when_it_is_answered_and_all_else_is_as_it_was),
        MASTERS_TEST(the_same_list_again_is_fine_and_writes_nothing),
        MASTERS_TEST(
            the_same_addresses_under_a_newer_number_make_an_older_list_of_the_next),
        MASTERS_TEST(N53_an_older_list_of_masters_is_refused),
        MASTERS_TEST(N53_another_list_with_the_same_number_is_refused),
        MASTERS_TEST(N30_what_is_no_list_of_masters_is_malformed),
        MASTERS_TEST(N30_a_list_of_masters_without_a_number_is_malformed),
        MASTERS_TEST(a_list_that_cannot_be_written_is_not_taken),
        MASTERS_TEST(an_unlock_brings_the_list_back_that_nobody_should_have_told),
        MASTERS_TEST(a_file_without_a_number_is_as_earlier_releases_write_it),
        MASTERS_TEST(a_person_changes_the_list_alone_and_any_list_of_masters_is_newer),
        MASTERS_TEST(a_person_points_to_masters_also_before_the_enrolment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

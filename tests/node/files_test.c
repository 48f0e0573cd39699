/* What lies on the ESP: any damage is found before it does harm. */
#include "node/config.h"
#include "node/esp.h"
#include "node/identity.h"
#include "proto/api.pb-c.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "proto/sha256.h"
#include "tests/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[32], path[64];
static struct esp *esp;
static struct secret key;
static struct identity me;

static int
set_up(void **state)
{
    (void)state;
    struct secret seed;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    strcpy(folder, "/tmp/st-esp-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof(path), "%s/EFI/smalltown", folder);
    return file_make_folder(path, NULL) || esp_open(folder, &esp, NULL) ||
           secret_random(&key, UNLOCK_KEY_LEN, NULL) ||
           key_generate(&seed, public_key, NULL) || identity_of_seed(&seed, &me, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    for (int file = ESP_CONFIG; file <= ESP_IDENTITY; file++)
        unlink(esp_path(esp, (enum esp_file)file));
    esp_close(esp);
    rmdir(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
    return rmdir(folder);
}

static void
N34_N48_a_framed_file_is_itself_to_the_byte(void **state)
{
    (void)state;
    uint8_t content[100], back[ESP_CONTENT_MAX];
    AUTO(st_freep) uint8_t *whole = NULL;
    size_t len, back_len;
    struct st_err err = {0};
    memset(content, 0x42, sizeof(content));
    assert_code(esp_read(esp, ESP_SEALED, back, &back_len, &err), ST_NOT_FOUND);
    assert_ok(esp_write(esp, ESP_SEALED, content, sizeof(content), &err));
    assert_ok(esp_read(esp, ESP_SEALED, back, &back_len, &err));
    assert_int_equal(back_len, sizeof(content));
    assert_memory_equal(back, content, sizeof(content));
    const char *file = esp_path(esp, ESP_SEALED);
    assert_ok(file_read(file, 4096, &whole, &len, &err));
    for (size_t i = 0; i < len; i++) {
        whole[i] ^= 0x10;
        assert_ok(file_write(file, 0600, whole, len, &err));
        assert_code(esp_read(esp, ESP_SEALED, back, &back_len, &err), ST_DATA_LOSS);
        whole[i] ^= 0x10;
    }
    for (size_t cut = 0; cut < len; cut++) {
        assert_ok(file_write(file, 0600, whole, cut, &err));
        assert_code(esp_read(esp, ESP_SEALED, back, &back_len, &err), ST_DATA_LOSS);
    }
    assert_ok(file_write(esp_path(esp, ESP_PENDING), 0600, whole, len, &err));
    assert_code(esp_read(esp, ESP_PENDING, back, &back_len, &err), ST_DATA_LOSS);
}

static void
a_file_of_a_later_version_says_so(void **state)
{
    (void)state;
    uint8_t bytes[64], back[ESP_CONTENT_MAX];
    size_t len = strlen("smalltown sealed v2\nxyz"), back_len;
    struct st_err err = {0};
    memcpy(bytes, "smalltown sealed v2\nxyz", len);
    sha256_of(bytes, len, bytes + len);
    assert_ok(file_write(esp_path(esp, ESP_SEALED), 0600, bytes, len + SHA256_LEN, &err));
    assert_code(esp_read(esp, ESP_SEALED, back, &back_len, &err), ST_DATA_LOSS);
    assert_non_null(strstr(err.text, "another version"));
}

static void
an_identity_comes_back_with_its_key_only(void **state)
{
    (void)state;
    struct identity back;
    struct st_err err = {0};
    struct secret other = key;
    assert_ok(identity_write(esp, &key, &me, &err));
    assert_ok(identity_read(esp, &key, me.node_id, &back, &err));
    assert_true(secret_equal(&back.seed, &me.seed));
    assert_int_equal(back.cert.len, me.cert.len);
    assert_memory_equal(back.cert.der, me.cert.der, me.cert.len);
    other.bytes[0] ^= 1;
    assert_code(identity_read(esp, &other, me.node_id, &back, &err), ST_DATA_LOSS);
    assert_code(identity_read(esp, &key, "smalltown-00000000000000000000000000000000",
                              &back, &err),
                ST_DATA_LOSS);
}

/* The frame is no protection against whoever wants to change it: the seal is. */
static void
an_identity_with_any_bit_changed_is_refused(void **state)
{
    (void)state;
    struct identity back;
    uint8_t content[ESP_CONTENT_MAX];
    size_t len;
    struct st_err err = {0};
    assert_ok(identity_write(esp, &key, &me, &err));
    assert_ok(esp_read(esp, ESP_IDENTITY, content, &len, &err));
    for (size_t i = 0; i < len; i++) {
        content[i] ^= 1;
        assert_ok(esp_write(esp, ESP_IDENTITY, content, len, &err));
        assert_code(identity_read(esp, &key, me.node_id, &back, &err), ST_DATA_LOSS);
        content[i] ^= 1;
    }
    for (size_t cut = 0; cut < len; cut += 7) {
        assert_ok(esp_write(esp, ESP_IDENTITY, content, cut, &err));
        assert_code(identity_read(esp, &key, me.node_id, &back, &err), ST_DATA_LOSS);
    }
}

static void
N47_no_file_shows_the_id_key_or_the_disk_key(void **state)
{
    (void)state;
    AUTO(st_freep) uint8_t *whole = NULL;
    size_t len;
    struct stat st;
    struct st_err err = {0};
    assert_ok(identity_write(esp, &key, &me, &err));
    assert_ok(file_read(esp_path(esp, ESP_IDENTITY), 8192, &whole, &len, &err));
    assert_null(memmem(whole, len, me.seed.bytes, 16));
    assert_null(memmem(whole, len, me.cert.der, 16));
    assert_null(memmem(whole, len, key.bytes, 16));
    assert_int_equal(stat(esp_path(esp, ESP_IDENTITY), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static struct node_config
good_config(void)
{
    struct node_config config = {.masters = me.cert,
                                 .addresses = {{{127, 0, 0, 1}, 4}, {{0x20, 1}, 16}},
                                 .address_count = 2};
    assert_code(secret_set(&config.secret, "0123456789abcdef", 16, NULL), ST_OK);
    return config;
}

static void
a_config_comes_back(void **state)
{
    (void)state;
    const char *file = esp_path(esp, ESP_CONFIG);
    struct node_config config = good_config(), back = {0};
    struct st_err err = {0};
    assert_code(config_read(file, &back, &err), ST_NOT_FOUND);
    assert_ok(config_write(file, &config, &err));
    assert_ok(config_read(file, &back, &err));
    assert_true(secret_equal(&config.secret, &back.secret));
    assert_int_equal(back.address_count, 2);
    assert_int_equal(back.addresses[1].len, 16);
    assert_memory_equal(back.masters.der, me.cert.der, me.cert.len);
    assert_string_equal(back.node_id, "");
    secret_wipe(&config.secret);
    strcpy(config.node_id, me.node_id);
    assert_ok(config_write(file, &config, &err));
    assert_ok(config_read(file, &back, &err));
    assert_int_equal(back.secret.len, 0);
    assert_string_equal(back.node_id, me.node_id);
}

static void
refuses(const struct node_config *config)
{
    const char *file = esp_path(esp, ESP_CONFIG);
    struct node_config back;
    struct st_err err = {0};
    assert_ok(config_write(file, config, &err));
    assert_code(config_read(file, &back, &err), ST_DATA_LOSS);
    assert_int_equal(err.code, ST_DATA_LOSS);
}

static void
N34_a_config_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct node_config config = good_config();
    strcpy(config.node_id, me.node_id); /* a secret and a node id */
    refuses(&config);
    config = good_config();
    secret_wipe(&config.secret); /* neither */
    refuses(&config);
    strcpy(config.node_id, "smalltown-../../../../etc/passwd0000000000");
    refuses(&config);
    config = good_config();
    config.address_count = 0;
    refuses(&config);
    config = good_config();
    config.addresses[1].len = 9;
    refuses(&config);
    config = good_config();
    config.masters.der[config.masters.len - 1] ^= 1;
    refuses(&config);
    config = good_config();
    config.masters.len = 0;
    refuses(&config);
}

static void
a_config_that_is_cut_is_refused(void **state)
{
    (void)state;
    const char *file = esp_path(esp, ESP_CONFIG);
    AUTO(st_freep) uint8_t *whole = NULL;
    struct node_config config = good_config(), back;
    struct st_err err = {0};
    size_t len;
    assert_ok(config_write(file, &config, &err));
    assert_ok(file_read(file, 8192, &whole, &len, &err));
    /* The last address may be missing without anybody knowing: all else is known. */
    for (size_t cut = 0; cut < len - 18; cut++) {
        assert_ok(file_write(file, 0600, whole, cut, &err));
        enum st_code code = config_read(file, &back, &err);
        if (!code)
            assert_int_equal(back.address_count, 1);
        else
            assert_int_equal(code, ST_DATA_LOSS);
    }
}

static void
one_ESP_has_one_daemon(void **state)
{
    (void)state;
    struct esp *second = NULL;
    struct st_err err = {0};
    assert_code(esp_open(folder, &second, &err), ST_ALREADY_EXISTS);
    assert_non_null(strstr(err.text, "another smalltown-node"));
    assert_code(esp_open("/nowhere/at/all", &second, &err), ST_FAILED_PRECONDITION);
    assert_null(second);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(N34_N48_a_framed_file_is_itself_to_the_byte),
        TEST(a_file_of_a_later_version_says_so),
        TEST(an_identity_comes_back_with_its_key_only),
        TEST(an_identity_with_any_bit_changed_is_refused),
        TEST(N47_no_file_shows_the_id_key_or_the_disk_key),
        TEST(a_config_comes_back),
        TEST(N34_a_config_that_makes_no_sense_is_refused),
        TEST(a_config_that_is_cut_is_refused),
        TEST(one_ESP_has_one_daemon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

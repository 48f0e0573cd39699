/* The recovery key: what a person types, and what only one administrator can read. */
#include "proto/recovery.h"
#include "tests/cmocka.h"

#include <stdio.h>
#include <string.h>

#define NODE "smalltown-0123456789abcdef0123456789abcdef"
#define UUID "4c1b3f1e-7a52-4c63-9f3b-0123456789ab"

static struct secret made(void);

/* From `openssl genpkey -algorithm X25519`. */
static const char openssl_private[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VuBCIEICD1/cCJxcpjHSKhlMya2oacsfcHkbJyXr64VWSLLgxA\n"
    "-----END PRIVATE KEY-----\n";
static const char openssl_public[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VuAyEAIybSpPn8p0tCqDKg7cN2C/FG8e2Bhd1OGoset0LsFn8=\n"
    "-----END PUBLIC KEY-----\n";
static const char openssl_ed25519[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAIybSpPn8p0tCqDKg7cN2C/FG8e2Bhd1OGoset0LsFn8=\n"
    "-----END PUBLIC KEY-----\n";

static size_t
unhex(const char *hex, uint8_t *out)
{
    size_t len = strlen(hex) / 2;
    for (size_t i = 0; i < len; i++) {
        unsigned value;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
        out[i] = (uint8_t)value;
    }
    return len;
}

/* RFC 9180, A.2.1. */
static void
the_example_of_the_standard_opens(void **state)
{
    (void)state;
    static const char words[] = "Beauty is truth, truth beauty";
    struct secret private_key, out;
    struct st_err err = {0};
    uint8_t sealed[256], public_key[HPKE_KEY_LEN], expected[HPKE_KEY_LEN];
    struct hpke_context context = {
        .info = "Ode on a Grecian Urn", .info_len = 20, .aad = "Count-0", .aad_len = 7};
    private_key.len = unhex("8057991eef8f1f1af18f4a9491d16a1c"
                            "e333f695d4db8e38da75975c4478e0fb",
                            private_key.bytes);
    unhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a", expected);
    size_t len = unhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
                       "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db"
                       "21993c62ce81883d2dd1b51a28",
                       sealed);
    assert_ok(hpke_public(&private_key, public_key, &err));
    assert_memory_equal(public_key, expected, HPKE_KEY_LEN);
    assert_ok(hpke_open(&private_key, &context, sealed, len, &out, &err));
    assert_int_equal(out.len, strlen(words));
    assert_memory_equal(out.bytes, words, out.len);
    context.aad_len = 6;
    assert_code(hpke_open(&private_key, &context, sealed, len, &out, &err),
                ST_PERMISSION_DENIED);
    context.aad_len = 7;
    context.info_len = 19;
    assert_code(hpke_open(&private_key, &context, sealed, len, &out, &err),
                ST_PERMISSION_DENIED);
}

static void
nothing_is_sealed_for_a_key_that_everybody_has(void **state)
{
    (void)state;
    /* RFC 7748: whoever multiplies these by his key comes to zero. */
    static const uint8_t points[][HPKE_KEY_LEN] = {
        {0},
        {1},
        {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
         0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
         0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    };
    struct recovery_place place = {.node_id = NODE, .uuid = UUID};
    struct st_err err = {0};
    uint8_t sealed[RECOVERY_SEALED_LEN];
    const struct secret key = made();
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        memcpy(place.recipient, points[i], HPKE_KEY_LEN);
        assert_code(recovery_seal(&key, &place, sealed, &err), ST_INVALID_ARGUMENT);
    }
}

static struct secret
made(void)
{
    struct secret key;
    struct st_err err = {0};
    assert_ok(recovery_make(&key, &err));
    return key;
}

static void
assert_reads_as(const char *typed, const struct secret *expected)
{
    struct secret read;
    struct st_err err = {0};
    assert_ok(recovery_read(typed, &read, &err));
    assert_int_equal(read.len, expected->len);
    assert_memory_equal(read.bytes, expected->bytes, read.len);
}

static void
a_key_is_read_as_people_type_it(void **state)
{
    (void)state;
    for (int tries = 0; tries < 50; tries++) {
        const struct secret key = made();
        char typed[160], *at = typed;
        const char *text = (const char *)key.bytes;
        assert_int_equal(strlen(text), RECOVERY_TEXT_LEN);
        assert_reads_as(text, &key);
        for (size_t i = 0; i < RECOVERY_TEXT_LEN; i++) {
            char c = text[i];
            if (c == '-')
                continue;
            *at++ = (char)(c == '0' ? 'o' : c == '1' ? 'l' : c + (c > '9' ? 32 : 0));
            if (i % 3 == 0)
                *at++ = ' ';
        }
        *at = 0;
        assert_reads_as(typed, &key);
    }
}

static void
no_two_keys_are_alike(void **state)
{
    (void)state;
    static struct secret keys[200];
    for (size_t i = 0; i < 200; i++) {
        keys[i] = made();
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(keys[i].bytes, keys[j].bytes, RECOVERY_TEXT_LEN);
    }
}

/* The group that holds the symbol at `at` is named, and no other. */
static void
assert_names_group(const char *typed, size_t at)
{
    struct secret read;
    struct st_err err = {0};
    char expected[40];
    assert_code(recovery_read(typed, &read, &err), ST_INVALID_ARGUMENT);
    snprintf(expected, sizeof(expected), "group %zu is mistyped",
             at / (RECOVERY_GROUP_LEN + 1) + 1);
    assert_string_equal(err.text, expected);
}

static void
a_slip_of_the_finger_is_named_by_its_group(void **state)
{
    (void)state;
    static const char symbols[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    const struct secret key = made();
    char typed[RECOVERY_TEXT_LEN + 1];
    memcpy(typed, key.bytes, sizeof(typed));
    for (size_t at = 0; at < RECOVERY_TEXT_LEN; at++) {
        const char right = typed[at];
        if (right == '-')
            continue;
        for (const char *wrong = symbols; *wrong; wrong++) {
            if (*wrong == right)
                continue;
            typed[at] = *wrong;
            assert_names_group(typed, at);
        }
        typed[at] = right;
        const char next = typed[at + 1];
        if (!next || next == '-' || next == right)
            continue;
        typed[at] = next;
        typed[at + 1] = right;
        assert_names_group(typed, at);
        typed[at] = right;
        typed[at + 1] = next;
    }
}

static void
groups_that_changed_places_are_noticed(void **state)
{
    (void)state;
    const struct secret key = made();
    const size_t step = RECOVERY_GROUP_LEN + 1;
    for (size_t a = 0; a < RECOVERY_GROUPS; a++)
        for (size_t b = a + 1; b < RECOVERY_GROUPS; b++) {
            char typed[RECOVERY_TEXT_LEN + 1];
            memcpy(typed, key.bytes, sizeof(typed));
            memcpy(typed + a * step, key.bytes + b * step, RECOVERY_GROUP_LEN);
            memcpy(typed + b * step, key.bytes + a * step, RECOVERY_GROUP_LEN);
            assert_names_group(typed, a * step);
        }
}

static void
what_is_too_short_too_long_or_no_key_at_all_is_said_so(void **state)
{
    (void)state;
    struct secret read;
    struct st_err err = {0};
    const struct secret key = made();
    char typed[RECOVERY_TEXT_LEN + 2];
    memcpy(typed, key.bytes, RECOVERY_TEXT_LEN + 1);
    typed[RECOVERY_TEXT_LEN - 1] = 0;
    assert_code(recovery_read(typed, &read, &err), ST_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "47 were typed"));
    memcpy(typed, key.bytes, RECOVERY_TEXT_LEN);
    strcpy(typed + RECOVERY_TEXT_LEN, "0");
    assert_code(recovery_read(typed, &read, &err), ST_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "49 were typed"));
    assert_code(recovery_read("", &read, &err), ST_INVALID_ARGUMENT);
    typed[8] = 'u';
    assert_code(recovery_read(typed, &read, &err), ST_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "symbol 2 of group 2"));
    typed[8] = '\xc3';
    assert_code(recovery_read(typed, &read, &err), ST_INVALID_ARGUMENT);
}

static void
seal(struct secret *private_key, struct secret *key, uint8_t sealed[RECOVERY_SEALED_LEN])
{
    struct recovery_place place = {.node_id = NODE, .uuid = UUID};
    struct st_err err = {0};
    *key = made();
    assert_ok(hpke_generate(private_key, place.recipient, &err));
    assert_ok(recovery_seal(key, &place, sealed, &err));
}

static void
only_its_administrator_opens_a_sealed_key(void **state)
{
    (void)state;
    struct secret mine, his, key, opened;
    struct recovery_place place;
    struct st_err err = {0};
    uint8_t sealed[RECOVERY_SEALED_LEN], public_key[HPKE_KEY_LEN];
    seal(&mine, &key, sealed);
    assert_ok(recovery_look(sealed, sizeof(sealed), &place, &err));
    assert_string_equal(place.node_id, NODE);
    assert_string_equal(place.uuid, UUID);
    assert_ok(hpke_public(&mine, public_key, &err));
    assert_memory_equal(place.recipient, public_key, HPKE_KEY_LEN);
    assert_ok(recovery_open(sealed, sizeof(sealed), &mine, &opened, &err));
    assert_true(secret_equal(&opened, &key));
    assert_ok(hpke_generate(&his, public_key, &err));
    assert_code(recovery_open(sealed, sizeof(sealed), &his, &opened, &err),
                ST_PERMISSION_DENIED);
    assert_null(memmem(sealed, sizeof(sealed), key.bytes, RECOVERY_GROUP_LEN));
}

static void
a_sealed_key_that_was_changed_or_moved_does_not_open(void **state)
{
    (void)state;
    struct secret mine, key, opened;
    struct st_err err = {0};
    uint8_t sealed[RECOVERY_SEALED_LEN + 1] = {0};
    seal(&mine, &key, sealed);
    for (size_t at = 0; at < RECOVERY_SEALED_LEN; at++)
        for (int bit = 0; bit < 8; bit += 7) {
            sealed[at] ^= (uint8_t)(1 << bit);
            assert_true(recovery_open(sealed, RECOVERY_SEALED_LEN, &mine, &opened, &err));
            sealed[at] ^= (uint8_t)(1 << bit);
        }
    /* Another node, another volume: each as well-formed as the right one. */
    sealed[40] = sealed[40] == '0' ? '1' : '0';
    assert_code(recovery_open(sealed, RECOVERY_SEALED_LEN, &mine, &opened, &err),
                ST_PERMISSION_DENIED);
    for (size_t len = 0; len <= sizeof(sealed); len++)
        if (len != RECOVERY_SEALED_LEN)
            assert_code(recovery_open(sealed, len, &mine, &opened, &err),
                        ST_INVALID_ARGUMENT);
}

static void
keys_are_read_and_written_as_openssl_does(void **state)
{
    (void)state;
    struct secret private_key, pem;
    struct st_err err = {0};
    uint8_t public_key[HPKE_KEY_LEN], derived[HPKE_KEY_LEN];
    char text[RECOVERY_PEM_MAX];
    assert_ok(recovery_private_from_pem(openssl_private, &private_key, &err));
    assert_ok(recovery_public_from_pem(openssl_public, public_key, &err));
    assert_ok(hpke_public(&private_key, derived, &err));
    assert_memory_equal(derived, public_key, HPKE_KEY_LEN);
    assert_ok(recovery_private_to_pem(&private_key, &pem, &err));
    assert_string_equal((const char *)pem.bytes, openssl_private);
    assert_ok(recovery_public_to_pem(public_key, text, &err));
    assert_string_equal(text, openssl_public);
}

static void
keys_of_another_kind_are_none(void **state)
{
    (void)state;
    const char *texts[] = {
        "",
        "PUBLIC KEY",
        openssl_private,
        openssl_ed25519,
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMCowBQ=\n-----END PUBLIC KEY-----"};
    struct secret private_key;
    struct st_err err = {0};
    uint8_t public_key[HPKE_KEY_LEN];
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_code(recovery_public_from_pem(texts[i], public_key, &err),
                    ST_INVALID_ARGUMENT);
    assert_code(recovery_private_from_pem(openssl_public, &private_key, &err),
                ST_INVALID_ARGUMENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_standard_opens),
        cmocka_unit_test(nothing_is_sealed_for_a_key_that_everybody_has),
        cmocka_unit_test(a_key_is_read_as_people_type_it),
        cmocka_unit_test(no_two_keys_are_alike),
        cmocka_unit_test(a_slip_of_the_finger_is_named_by_its_group),
        cmocka_unit_test(groups_that_changed_places_are_noticed),
        cmocka_unit_test(what_is_too_short_too_long_or_no_key_at_all_is_said_so),
        cmocka_unit_test(only_its_administrator_opens_a_sealed_key),
        cmocka_unit_test(a_sealed_key_that_was_changed_or_moved_does_not_open),
        cmocka_unit_test(keys_are_read_and_written_as_openssl_does),
        cmocka_unit_test(keys_of_another_kind_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

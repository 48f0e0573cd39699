/* The file that says who a master is: what was written is read, and what a 0.1 wrote. */
#include "nms/self.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[FOLDER_MAX];

static int
set_up(void **state)
{
    (void)state;
    return folder_make(folder, "self");
}

static int
tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static void
put(const char *name, const void *bytes, size_t len)
{
    char path[64];
    struct st_err err = {0};
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_ok(file_write(path, 0600, bytes, len, &err));
}

/* Every field full to its bound. */
static void
fill(struct self *self)
{
    memset(self, 0, sizeof(*self));
    self->id = 0x1122334455667788;
    self->address.len = 16;
    memset(self->address.bytes, 0xfe, 16);
    self->cert.len = sizeof(self->cert.der);
    memset(self->cert.der, 1, self->cert.len);
    self->key.len = sizeof(self->key.bytes);
    memset(self->key.bytes, 2, self->key.len);
    self->ca.len = sizeof(self->ca.der);
    memset(self->ca.der, 3, self->ca.len);
    self->crl.len = sizeof(self->crl.der);
    memset(self->crl.der, 4, self->crl.len);
    self->joining = true;
    self->recovering = true;
    memset(self->ticket, 5, sizeof(self->ticket));
    self->place_count = REPLICA_MEMBERS_MAX;
    for (size_t i = 0; i < self->place_count; i++) {
        self->places[i].id = UINT64_MAX - i;
        self->places[i].address.len = 16;
        memset(self->places[i].address.bytes, (int)i, 16);
    }
}

static void
what_is_written_is_read(void **state)
{
    (void)state;
    struct self self, again;
    struct st_err err = {0};
    struct stat st;
    char path[64];
    fill(&self);
    assert_code(self_read(folder, &again, &err), ST_NOT_FOUND);
    assert_ok(self_write(folder, &self, &err));
    memset(&again, 0, sizeof(again));
    assert_ok(self_read(folder, &again, &err));
    assert_memory_equal(&again, &self, sizeof(self));
    snprintf(path, sizeof(path), "%s/member.pb", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_ok(self_erase(folder, &err));
    assert_code(self_read(folder, &again, &err), ST_NOT_FOUND);
}

static void
N56_a_file_of_0_1_has_no_authority_and_loads(void **state)
{
    (void)state;
    /* id 1, address 192.0.2.1, two bytes of a certificate, three of a key */
    static const uint8_t golden[] = {0x08, 0x01, 0x12, 0x04, 192,  0,    2,    1,   0x1a,
                                     0x02, 0x30, 0x00, 0x22, 0x03, 0x30, 0x01, 0x00};
    struct self self;
    struct st_err err = {0};
    put("member.pb", golden, sizeof(golden));
    assert_ok(self_read(folder, &self, &err));
    assert_int_equal(self.id, 1);
    assert_int_equal(self.address.len, 4);
    assert_memory_equal(self.address.bytes, "\xc0\x00\x02\x01", 4);
    assert_int_equal(self.cert.len, 2);
    assert_int_equal(self.key.len, 3);
    assert_int_equal(self.ca.len, 0);
    assert_int_equal(self.crl.len, 0);
    assert_false(self.joining);
    assert_false(self.recovering);
    /* And is written back as it was. */
    assert_ok(self_write(folder, &self, &err));
    AUTO(st_freep) uint8_t *bytes = NULL;
    size_t len;
    char path[64];
    snprintf(path, sizeof(path), "%s/member.pb", folder);
    assert_ok(file_read(path, 1024, &bytes, &len, &err));
    assert_int_equal(len, sizeof(golden));
    assert_memory_equal(bytes, golden, len);
}

static void
a_key_that_waits_for_its_certificate_is_another_file(void **state)
{
    (void)state;
    struct self begun = {.address = {{192, 0, 2, 1}, 4}}, again = {0};
    struct st_err err = {0};
    assert_ok(secret_random(&begun.key, 48, &err));
    memset(begun.ticket, 7, sizeof(begun.ticket));
    assert_ok(self_begun_write(folder, &begun, &err));
    assert_ok(self_begun_read(folder, &again, &err));
    assert_memory_equal(&again, &begun, sizeof(begun));
    assert_code(self_read(folder, &again, &err), ST_NOT_FOUND);
    assert_ok(self_begun_erase(folder, &err));
    assert_code(self_begun_read(folder, &again, &err), ST_NOT_FOUND);
    /* In the place of the other one it names nobody. */
    assert_ok(self_write(folder, &begun, &err));
    assert_code(self_read(folder, &again, &err), ST_DATA_LOSS);
}

static void
a_damaged_file_is_data_loss(void **state)
{
    (void)state;
    struct self self;
    struct st_err err = {0};
    static const struct {
        size_t len;
        uint8_t bytes[24];
    } damages[] = {
        {3, {0x08, 0x01, 0xff}},                                      /* no protobuf */
        {13, {0x08, 0x00, 0x12, 4, 1, 2, 3, 4, 0x1a, 1, 9, 0x22, 0}}, /* id 0 */
        {12, {0x08, 0x01, 0x12, 3, 1, 2, 3, 0x1a, 1, 9, 0x22, 0}},    /* address */
        {10, {0x08, 0x01, 0x12, 4, 1, 2, 3, 4, 0x1a, 0}},             /* certificate */
        {14, {0x08, 1, 0x12, 4, 1, 2, 3, 4, 0x1a, 1, 9, 0x2a, 1, 9}}, /* ca, no list */
        {14, {0x08, 1, 0x12, 4, 1, 2, 3, 4, 0x1a, 1, 9, 0x32, 1, 9}}, /* list, no ca */
        {14, {0x08, 1, 0x12, 4, 1, 2, 3, 4, 0x1a, 1, 9, 0x42, 1, 9}}, /* ticket */
        {20, /* a place of nobody */
         {0x08, 1, 0x12, 4, 1, 2, 3, 4, 0x1a, 1, 9, 0xa2, 1, 6, 0x12, 4, 1, 2, 3, 4}},
        {19, /* a place that is none */
         {0x08, 1, 0x12, 4, 1, 2, 3, 4, 0x1a, 1, 9, 0xa2, 1, 5, 0x08, 2, 0x12, 1, 4}},
    };
    for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
        put("member.pb", damages[i].bytes, damages[i].len);
        assert_code(self_read(folder, &self, &err), ST_DATA_LOSS);
        assert_non_null(strstr(err.text, "member.pb"));
    }
}

static void
a_field_beyond_its_bound_is_data_loss(void **state)
{
    (void)state;
    static const struct {
        uint8_t tag;
        size_t max;
    } fields[] = {{0x1a, sizeof(((struct cert *)0)->der)},
                  {0x22, SECRET_MAX},
                  {0x2a, sizeof(((struct cert *)0)->der)},
                  {0x32, CRL_MAX_LEN},
                  {0x42, SHA256_LEN}};
    static uint8_t bytes[CRL_MAX_LEN + 64];
    struct self self;
    struct st_err err = {0};
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        const size_t len = fields[i].max + 1;
        const uint8_t head[] = {0x08,
                                1,
                                0x12,
                                4,
                                1,
                                2,
                                3,
                                4,
                                0x1a,
                                1,
                                9,
                                0x2a,
                                1,
                                9,
                                0x32,
                                1,
                                9,
                                fields[i].tag,
                                (uint8_t)(len | 0x80),
                                (uint8_t)(len >> 7 | 0x80),
                                (uint8_t)(len >> 14)};
        memcpy(bytes, head, sizeof(head));
        put("member.pb", bytes, sizeof(head) + len);
        assert_code(self_read(folder, &self, &err), ST_DATA_LOSS);
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read),
        TEST(N56_a_file_of_0_1_has_no_authority_and_loads),
        TEST(a_key_that_waits_for_its_certificate_is_another_file),
        TEST(a_damaged_file_is_data_loss),
        TEST(a_field_beyond_its_bound_is_data_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* An init that ended early, and what is said of its folder. */
#include "nms/init.h"
#include "nms/nms.h"
#include "nms/offline.h"
#include "nms/self.h"
#include "store/store.h"
#include "tests/cmocka.h"
#include "nms/policy.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/folder.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[FOLDER_MAX];

static const struct init_config init = {
    .dir = folder,
    .name = "town",
    .address = {.bytes = {192, 0, 2, 1}, .len = 4},
};

static int
set_up(void **state)
{
    struct cert masters;
    (void)state;
    return folder_make(folder, "init") || init_cluster(&init, &masters, NULL) ? 1 : 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

/* Only records of 0.1 leave it to whoever reads them. */
static void
the_records_say_which_id_is_the_next(void **state)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    OFFLINE opened = {0};
    struct st_err err = {0};
    (void)state;
    assert_ok(offline_open(folder, &opened, &err));
    assert_ok(state_cluster(opened.state, &cluster, &err));
    assert_int_equal(cluster->next_member, 2);
}

static void
starts_not(const char *why)
{
    const struct nms_config config = {.dir = folder};
    struct nms *nms;
    struct st_err err = {0};
    assert_code(nms_start(&config, &nms, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, why));
}

/* As after a crash between the file and the group in it. */
static void
empty_the_store(void)
{
    const struct store_config config = {.dir = folder, .create = true};
    struct store *store;
    struct st_err err = {0};
    assert_ok(store_erase(folder, &err));
    assert_ok(store_open(&config, &store, &err));
    store_close(store);
}

static void
an_init_without_a_group_is_run_again(void **state)
{
    struct cert masters;
    struct st_err err = {0};
    (void)state;
    empty_the_store();
    starts_not("init did not finish here: run it again");
    assert_ok(init_cluster(&init, &masters, &err));
    assert_code(init_cluster(&init, &masters, &err), ST_ALREADY_EXISTS);
}

static void
a_store_that_is_gone_is_no_init(void **state)
{
    struct st_err err = {0};
    (void)state;
    assert_ok(store_erase(folder, &err));
    starts_not("store.mdb is gone, so member 1 forgot what it promised");
}

/* Who joined had a group from the first moment. */
static void
an_empty_store_of_a_member_that_joined_is_no_init(void **state)
{
    AUTO(self_wipep) struct self self = {0};
    struct st_err err = {0};
    (void)state;
    assert_ok(self_read(folder, &self, &err));
    self.id = 4;
    assert_ok(self_write(folder, &self, &err));
    empty_the_store();
    starts_not("store.mdb is gone, so member 4 forgot what it promised");
}

/* A policy of as many bytes as there may be, and the certificate of somebody whose name
 * is long; `path` + ".json" and + ".pem". */
static void
write_first_files(const char *path, char json[FOLDER_MAX + 8], char pem[FOLDER_MAX + 8])
{
    static char text[POLICY_TEXT_MAX + 1];
    AUTO(st_freep) char *block = NULL;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    SECRET seed = {0};
    struct cert cert;
    struct st_err err = {0};
    const char *end = "]},\"pcrs\":{\"sets\":[],\"require_set\":false,"
                      "\"require_measured_boot\":false},\"adopt\":{\"automatic\":[]}}";
    strcpy(text, "{\"schema\":1,\"ek\":{\"require\":\"none\",\"listed\":[");
    for (char digit = '['; strlen(text) + strlen(end) + 70 < POLICY_TEXT_MAX; digit = ',')
        sprintf(text + strlen(text), "%s\"%064zu\"", digit == ',' ? "," : "",
                strlen(text));
    strcat(text, end);
    snprintf(json, FOLDER_MAX + 8, "%s.json", path);
    assert_ok(file_write(json, 0600, text, strlen(text), &err));
    assert_ok(key_generate(&seed, public_key, &err));
    assert_ok(cert_self_sign(
        &seed, "somebody whose name is as long as a name may be in here", &cert, &err));
    assert_ok(cert_to_pem(cert.der, cert.len, &block, &err));
    snprintf(pem, FOLDER_MAX + 8, "%s.pem", path);
    assert_ok(file_write(pem, 0600, block, strlen(block), &err));
}

static void
what_does_not_fit_into_the_first_command_is_refused_before_anything_is_made(void **state)
{
    char json[FOLDER_MAX + 8], pem[FOLDER_MAX + 8], anew[FOLDER_MAX];
    struct init_config large = init;
    struct cert masters;
    struct st_err err = {0};
    (void)state;
    write_first_files(folder, json, pem);
    assert_int_equal(folder_make(anew, "large"), 0);
    large.dir = anew;
    large.policy = json;
    for (size_t i = 0; i < INIT_ADMINS_MAX; i++)
        large.admins[large.admin_count++].file = pem;
    assert_code(init_cluster(&large, &masters, &err), ST_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "stctl admin add"));
    assert_int_equal(rmdir(anew), 0); /* there is nothing in it */
    assert_int_equal(mkdir(anew, 0700), 0);
    /* As many as there is room for. */
    do
        large.admin_count--;
    while (init_cluster(&large, &masters, &err) == ST_INVALID_ARGUMENT);
    assert_in_range(large.admin_count, 5, 20);
    assert_code(init_cluster(&large, &masters, &err), ST_ALREADY_EXISTS);
    assert_int_equal(folder_remove(anew), 0);
    assert_int_equal(unlink(json) | unlink(pem), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_records_say_which_id_is_the_next),
        TEST(an_init_without_a_group_is_run_again),
        TEST(a_store_that_is_gone_is_no_init),
        TEST(an_empty_store_of_a_member_that_joined_is_no_init),
        TEST(what_does_not_fit_into_the_first_command_is_refused_before_anything_is_made),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* An init that ended early, and what is said of its folder. */
#include "nms/init.h"
#include "nms/nms.h"
#include "nms/offline.h"
#include "nms/self.h"
#include "store/store.h"
#include "tests/cmocka.h"
#include "tests/folder.h"

#include <string.h>

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

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_records_say_which_id_is_the_next),
        TEST(an_init_without_a_group_is_run_again),
        TEST(a_store_that_is_gone_is_no_init),
        TEST(an_empty_store_of_a_member_that_joined_is_no_init),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}

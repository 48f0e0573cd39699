/* A master that ends while somebody still decides. */
#include "tests/nms/town.h"

enum {
    REFUSALS = 3
};

struct asker {
    struct nms *nms;
    unsigned told, refused;
};

/* As an operation of several steps does: on the replica's thread, from the last answer.
 */
static void
ask_on(void *arg, const struct st_err *err)
{
    struct asker *asker = arg;
    asker->told++;
    if (err->code)
        asker->refused++;
    if (asker->refused < REFUSALS)
        nms_barrier(asker->nms, ask_on, asker);
}

static void
a_step_that_follows_while_the_master_ends_is_refused(void **state)
{
    struct town *town = *state;
    struct asker asker = {.nms = town->nms};
    nms_barrier(town->nms, ask_on, &asker);
    town_restart(town);
    assert_int_equal(asker.refused, REFUSALS);
    assert_true(asker.told > REFUSALS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(a_step_that_follows_while_the_master_ends_is_refused),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}

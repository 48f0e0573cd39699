/* Which quotes of a TPM come after which: counters, and the clock within one boot. */
#include "tests/cmocka.h"
#include "tpm/judge.h"

#include <string.h>

/* What a TPM adds to its counters where the AK is the owner's: near the end, so that both
 * wrap around on the way. */
static const uint32_t shifts[][2] = {
    {0, 0}, {UINT32_MAX, UINT32_MAX - 1}, {UINT32_MAX - 2, 0}, {0x7fffffff, 0x80000000}};
#define EACH_SHIFT(i) for (size_t i = 0; i < sizeof(shifts) / sizeof(*shifts); i++)

static struct tpm_clock
quoted(size_t shift, uint32_t resets, uint32_t restarts, uint64_t clock_ms)
{
    return (struct tpm_clock){clock_ms, resets + shifts[shift][0],
                              restarts + shifts[shift][1]};
}

static void
goes_on(struct tpm_clock before, struct tpm_clock now)
{
    struct st_err err = {0};
    assert_ok(tpm_clock_check(&before, &now, &err));
}

static void
went_back(struct tpm_clock before, struct tpm_clock now, const char *words)
{
    struct st_err err = {0};
    assert_code(tpm_clock_check(&before, &now, &err), ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_REFUSED);
    assert_non_null(strstr(err.text, words));
}

static void
N15_fewer_resets_are_refused_whatever_the_clock_says(void **state)
{
    (void)state;
    EACH_SHIFT(i)
    {
        went_back(quoted(i, 3, 0, 500), quoted(i, 2, 0, 900000), ": 1 resets fewer");
        went_back(quoted(i, 3, 0, 500), quoted(i, 0, 9, 900000), ": 3 resets fewer");
        went_back(quoted(i, 300000, 0, 500), quoted(i, 1, 0, 500),
                  ": 299999 resets fewer");
    }
}

static void
N15_a_clock_that_is_behind_within_one_boot_is_refused(void **state)
{
    (void)state;
    EACH_SHIFT(i)
    {
        went_back(quoted(i, 3, 1, 90500), quoted(i, 3, 1, 90499), "clock is 0 s behind");
        went_back(quoted(i, 3, 1, UINT64_MAX), quoted(i, 3, 1, 1999), " s behind");
        goes_on(quoted(i, 3, 1, 90500), quoted(i, 3, 1, 90500));
        goes_on(quoted(i, 3, 1, 90500), quoted(i, 3, 1, 90501));
    }
}

/* Also the clock that an unclean power cut turned back. */
static void
N15_more_resets_are_good_whatever_the_rest_says(void **state)
{
    (void)state;
    EACH_SHIFT(i)
    {
        goes_on(quoted(i, 3, 5, 90500), quoted(i, 4, 0, 90600));
        goes_on(quoted(i, 3, 5, 90500), quoted(i, 4, 0, 0));
        goes_on(quoted(i, 0, 0, 90500), quoted(i, 0x7fffffff, 0, 0));
    }
}

static void
N49_a_quote_of_before_a_suspend_is_refused_after_it(void **state)
{
    (void)state;
    EACH_SHIFT(i)
    {
        went_back(quoted(i, 3, 1, 500), quoted(i, 3, 0, 900000), "and 1 resumes fewer");
        went_back(quoted(i, 3, 8, 500), quoted(i, 3, 2, 900000), "and 6 resumes fewer");
        goes_on(quoted(i, 3, 0, 500), quoted(i, 3, 1, 501));
        goes_on(quoted(i, 3, 0, 500), quoted(i, 3, 1, 0));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N15_fewer_resets_are_refused_whatever_the_clock_says),
        cmocka_unit_test(N15_a_clock_that_is_behind_within_one_boot_is_refused),
        cmocka_unit_test(N15_more_resets_are_good_whatever_the_rest_says),
        cmocka_unit_test(N49_a_quote_of_before_a_suspend_is_refused_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

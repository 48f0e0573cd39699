/* A half that is sealed under an authority opens after what that approved, and after
 * nothing else. */
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/tpm/swtpm.h"
#include "tpm/device.h"

#include <stdlib.h>
#include <string.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

enum {
    MASK = 1 << 4 | 1 << 11 | 1 << 12,
    /* Where the parts begin, see tpm/device_sealed.c. */
    AT_VERSION = 7,
    AT_PCR_POLICY = 46,
    AT_AUTHORITY = 110,
    AT_REF = AT_AUTHORITY + TPM_AUTHORITY_LEN,
};

static const char node_id[] = "smalltown-00000000000000000000000000000001";
static const char other_id[] = "smalltown-00000000000000000000000000000002";
static struct swtpm *chip;
static struct secret half = {32, "the half that stays with the ..."};
static struct secret key, other_key;
static struct tpm_authority authority, other_authority;

static int
set_up_all(void **state)
{
    (void)state;
    struct st_err err = {0};
    uint8_t point[TPM_AUTHORITY_LEN], other[TPM_AUTHORITY_LEN];
    chip = swtpm_make(NULL);
    assert_ok(tpm_authority_make(&key, point, &err));
    assert_ok(tpm_authority_make(&other_key, other, &err));
    assert_ok(tpm_authority_for(point, node_id, &authority, &err));
    assert_ok(tpm_authority_for(other, node_id, &other_authority, &err));
    return 0;
}

static int
tear_down_all(void **state)
{
    (void)state;
    swtpm_free(chip);
    return 0;
}

static int
set_up(void **state)
{
    (void)state;
    swtpm_power_cycle(chip);
    return 0;
}

static struct tpm *
open_tpm(void)
{
    struct tpm *tpm = NULL;
    struct st_err err = {0};
    assert_ok(tpm_open(swtpm_tcti(chip), &tpm, &err));
    return tpm;
}

static struct tpm_sealed
seal(void)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    struct st_err err = {0};
    struct tpm_sealed sealed;
    assert_ok(tpm_seal_under(tpm, &half, MASK, &authority, &sealed, &err));
    return sealed;
}

static void
boot(unsigned pcr, uint8_t image)
{
    swtpm_power_cycle(chip);
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    struct st_err err = {0};
    assert_ok(tpm_pcr_extend(tpm, pcr, (const uint8_t[SHA256_LEN]){image}, &err));
}

/* Of what is booted now. */
static struct tpm_approval
approve(const struct secret *with, const struct tpm_authority *by)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    struct st_err err = {0};
    struct tpm_pcrs pcrs;
    struct tpm_approval approval;
    assert_ok(tpm_pcrs_read(tpm, &pcrs, &err));
    assert_ok(tpm_approve(with, by, &pcrs, &approval, &err));
    return approval;
}

/* approval NULL: by the PCRs of then. */
static void
assert_opens(const struct tpm_sealed *sealed, const struct tpm_approval *approval)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    struct st_err err = {0};
    struct secret back = {0};
    assert_ok(approval ? tpm_unseal_approved(tpm, sealed, approval, &back, &err)
                       : tpm_unseal(tpm, sealed, &back, &err));
    assert_true(secret_equal(&half, &back));
}

static void
assert_stays_shut(const struct tpm_sealed *sealed, const struct tpm_approval *approval,
                  enum st_code expected)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    struct secret back = {0};
    assert_code(approval ? tpm_unseal_approved(tpm, sealed, approval, &back, NULL)
                         : tpm_unseal(tpm, sealed, &back, NULL),
                expected);
    assert_int_equal(back.len, 0);
}

static void
N48_another_tpm_says_that_it_is_another(void **state)
{
    (void)state;
    struct swtpm *other = swtpm_make(NULL);
    struct tpm *tpm = NULL;
    struct st_err err = {0};
    struct secret back = {0};
    const struct tpm_sealed sealed = seal();
    const struct tpm_approval approval = approve(&key, &authority);
    assert_ok(tpm_open(swtpm_tcti(other), &tpm, &err));
    assert_code(tpm_unseal(tpm, &sealed, &back, &err), ST_FAILED_PRECONDITION);
    assert_code(tpm_unseal_approved(tpm, &sealed, &approval, &back, &err),
                ST_FAILED_PRECONDITION);
    assert_int_equal(back.len, 0);
    tpm_close(tpm);
    swtpm_free(other);
}

static void
without_any_approval_it_opens_by_the_pcrs_of_then(void **state)
{
    (void)state;
    const struct tpm_sealed sealed = seal();
    assert_opens(&sealed, NULL);
    swtpm_power_cycle(chip);
    assert_opens(&sealed, NULL);
    boot(5, 1); /* a PCR that nothing is sealed to */
    assert_opens(&sealed, NULL);
}

static void
another_image_opens_it_once_it_is_approved_and_a_third_does_not(void **state)
{
    (void)state;
    const struct tpm_sealed sealed = seal();
    static const unsigned pcrs[] = {4, 11};
    for (size_t i = 0; i < sizeof(pcrs) / sizeof(*pcrs); i++) {
        boot(pcrs[i], 2);
        assert_stays_shut(&sealed, NULL, ST_PERMISSION_DENIED);
        const struct tpm_approval approval = approve(&key, &authority);
        assert_opens(&sealed, &approval);
        boot(pcrs[i], 3);
        assert_stays_shut(&sealed, NULL, ST_PERMISSION_DENIED);
        assert_stays_shut(&sealed, &approval, ST_PERMISSION_DENIED);
        boot(pcrs[i], 2);
        assert_opens(&sealed, &approval);
        swtpm_power_cycle(chip);
        assert_opens(&sealed, NULL);
    }
}

static void
each_pcr_of_an_approval_counts_and_no_other(void **state)
{
    (void)state;
    const struct tpm_sealed sealed = seal();
    const struct tpm_approval approval = approve(&key, &authority);
    for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++) {
        boot(pcr, 1);
        if (TPM_APPROVED_PCRS >> pcr & 1)
            assert_stays_shut(&sealed, &approval, ST_PERMISSION_DENIED);
        else
            assert_opens(&sealed, &approval);
    }
}

static void
N48_after_the_cap_no_approval_opens_it(void **state)
{
    (void)state;
    boot(11, 2);
    const struct tpm_sealed sealed = seal();
    const struct tpm_approval approval = approve(&key, &authority);
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    struct st_err err = {0};
    struct secret back;
    assert_ok(tpm_unseal_approved(tpm, &sealed, &approval, &back, &err));
    assert_ok(tpm_pcr_extend(tpm, 12, (const uint8_t[SHA256_LEN]){9}, &err));
    assert_code(tpm_unseal_approved(tpm, &sealed, &approval, &back, &err),
                ST_PERMISSION_DENIED);
    assert_code(tpm_unseal(tpm, &sealed, &back, &err), ST_PERMISSION_DENIED);
}

static void
N41_the_approval_of_another_node_opens_nothing(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct tpm_authority for_other;
    const struct tpm_sealed sealed = seal();
    boot(11, 2);
    assert_ok(tpm_authority_for(authority.point, other_id, &for_other, &err));
    assert_memory_not_equal(for_other.ref, authority.ref, SHA256_LEN);
    const struct tpm_approval approval = approve(&key, &for_other);
    assert_stays_shut(&sealed, &approval, ST_PERMISSION_DENIED);
}

static void
another_authority_approves_nothing(void **state)
{
    (void)state;
    const struct tpm_sealed sealed = seal();
    boot(11, 2);
    struct tpm_approval approval = approve(&other_key, &other_authority);
    assert_stays_shut(&sealed, &approval, ST_PERMISSION_DENIED);
    memcpy(approval.point, authority.point, TPM_AUTHORITY_LEN); /* in another's name */
    assert_stays_shut(&sealed, &approval, ST_PERMISSION_DENIED);
}

static void
a_changed_approval_opens_nothing(void **state)
{
    (void)state;
    const struct tpm_sealed sealed = seal();
    boot(11, 2);
    const struct tpm_approval good = approve(&key, &authority);
    for (size_t i = 0; i < sizeof(good); i += 7) {
        struct tpm_approval bad = good;
        ((uint8_t *)&bad)[i] ^= 1;
        assert_stays_shut(&sealed, &bad, ST_PERMISSION_DENIED);
    }
    static const uint8_t fills[] = {0x00, 0xff};
    for (size_t i = 0; i < sizeof(fills); i++) {
        struct tpm_approval bad = good;
        memset(bad.signature, fills[i], sizeof(bad.signature));
        assert_stays_shut(&sealed, &bad, ST_PERMISSION_DENIED);
    }
    assert_opens(&sealed, &good);
}

static void
fix_digest(struct tpm_sealed *sealed)
{
    size_t body = sealed->len - SHA256_LEN;
    assert_int_equal(wc_Sha256Hash(sealed->bytes, (word32)body, sealed->bytes + body), 0);
}

static void
N48_an_exchanged_authority_is_another_object(void **state)
{
    (void)state;
    const struct tpm_sealed sealed = seal();
    const struct tpm_approval approval = approve(&other_key, &other_authority);
    struct tpm_sealed bad = sealed;
    memcpy(bad.bytes + AT_AUTHORITY, other_authority.point, TPM_AUTHORITY_LEN);
    fix_digest(&bad);
    assert_stays_shut(&bad, &approval, ST_DATA_LOSS);
    assert_stays_shut(&bad, NULL, ST_DATA_LOSS);
    bad = sealed;
    bad.bytes[AT_REF] ^= 1;
    fix_digest(&bad);
    assert_stays_shut(&bad, NULL, ST_DATA_LOSS);
    bad = sealed; /* no point of the curve */
    bad.bytes[AT_AUTHORITY + 40] ^= 1;
    fix_digest(&bad);
    struct tpm_approval same = approval;
    memcpy(same.point, bad.bytes + AT_AUTHORITY, TPM_AUTHORITY_LEN);
    assert_stays_shut(&bad, &same, ST_DATA_LOSS);
}

/* The PCRs of this boot in the place of those that it was sealed to. */
static void
exchanged_pcrs_are_another_object(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct tpm_pcrs pcrs;
    struct tpm_sealed bad = seal();
    boot(11, 2);
    struct tpm *tpm = open_tpm();
    assert_ok(tpm_pcrs_read(tpm, &pcrs, &err));
    tpm_close(tpm);
    assert_ok(tpm_policy_pcrs(&pcrs, MASK, bad.bytes + AT_PCR_POLICY, &err));
    fix_digest(&bad);
    assert_stays_shut(&bad, NULL, ST_DATA_LOSS);
}

/* As a file of the first version, of the same parts. */
static void
without_its_authority_it_is_another_object(void **state)
{
    (void)state;
    struct tpm_sealed bad = seal();
    const size_t authority_len = TPM_AUTHORITY_LEN + SHA256_LEN;
    bad.bytes[AT_VERSION] = 1;
    memmove(bad.bytes + AT_AUTHORITY, bad.bytes + AT_AUTHORITY + authority_len,
            bad.len - AT_AUTHORITY - authority_len);
    bad.len -= authority_len;
    fix_digest(&bad);
    assert_stays_shut(&bad, NULL, ST_DATA_LOSS);
}

static void
what_is_sealed_to_pcrs_alone_knows_no_approval(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct tpm_authority of;
    struct tpm_sealed sealed;
    struct tpm *tpm = open_tpm();
    assert_ok(tpm_seal(tpm, &half, MASK, &sealed, &err));
    tpm_close(tpm);
    assert_code(tpm_sealed_authority(&sealed, &of, &err), ST_NOT_FOUND);
    const struct tpm_approval approval = approve(&key, &authority);
    assert_stays_shut(&sealed, &approval, ST_PERMISSION_DENIED);
    assert_opens(&sealed, NULL);
    sealed = seal();
    assert_ok(tpm_sealed_authority(&sealed, &of, &err));
    assert_memory_equal(&of, &authority, sizeof(of));
}

static void
a_rotten_file_is_known_before_the_tpm_is_asked(void **state)
{
    (void)state;
    const struct tpm_sealed sealed = seal();
    const struct tpm_approval approval = approve(&key, &authority);
    for (size_t i = 0; i < sealed.len; i++) {
        struct tpm_sealed bad = sealed;
        struct secret back = {0};
        bad.bytes[i] ^= 1;
        /* No TPM is there to be asked. */
        assert_code(tpm_unseal(NULL, &bad, &back, NULL), ST_DATA_LOSS);
        assert_code(tpm_unseal_approved(NULL, &bad, &approval, &back, NULL),
                    ST_DATA_LOSS);
        bad = sealed;
        bad.len = i;
        assert_code(tpm_unseal(NULL, &bad, &back, NULL), ST_DATA_LOSS);
        if (i < SHA256_LEN)
            continue;
        fix_digest(&bad);
        assert_code(tpm_unseal(NULL, &bad, &back, NULL), ST_DATA_LOSS);
    }
}

static void
only_a_point_of_the_curve_is_an_authority(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct tpm_sealed sealed;
    struct tpm_authority bad = authority;
    assert_ok(tpm_authority_check(authority.point, &err));
    bad.point[63] ^= 1;
    assert_code(tpm_authority_check(bad.point, &err), ST_INVALID_ARGUMENT);
    assert_code(tpm_seal_under(NULL, &half, MASK, &bad, &sealed, &err),
                ST_INVALID_ARGUMENT);
    memset(bad.point, 0, sizeof(bad.point));
    assert_code(tpm_authority_check(bad.point, &err), ST_INVALID_ARGUMENT);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        TEST(N48_another_tpm_says_that_it_is_another),
        TEST(without_any_approval_it_opens_by_the_pcrs_of_then),
        TEST(another_image_opens_it_once_it_is_approved_and_a_third_does_not),
        TEST(each_pcr_of_an_approval_counts_and_no_other),
        TEST(N48_after_the_cap_no_approval_opens_it),
        TEST(N41_the_approval_of_another_node_opens_nothing),
        TEST(another_authority_approves_nothing),
        TEST(a_changed_approval_opens_nothing),
        TEST(N48_an_exchanged_authority_is_another_object),
        TEST(exchanged_pcrs_are_another_object),
        TEST(without_its_authority_it_is_another_object),
        TEST(what_is_sealed_to_pcrs_alone_knows_no_approval),
        TEST(a_rotten_file_is_known_before_the_tpm_is_asked),
        TEST(only_a_point_of_the_curve_is_an_authority),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}

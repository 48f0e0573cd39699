/* A TPM seals for whoever comes to it.  What it says afterwards tells who that was. */
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/tpm/swtpm.h"
#include "tpm/device_internal.h"

#include <string.h>

enum {
    MASK = 1 << 4 | 1 << 11 | 1 << 12,
    OURS = 1,
    HIS = 2,
    RESETTABLE = 16
};

static struct swtpm *chip;
static const struct secret half = {32, "the half that stays with the ..."};

static int
set_up(void **state)
{
    (void)state;
    chip = swtpm_make(NULL);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    swtpm_free(chip);
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

static void
boot(uint8_t image)
{
    struct st_err err = {0};
    swtpm_power_cycle(chip);
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    assert_ok(tpm_pcr_extend(tpm, 4, (const uint8_t[SHA256_LEN]){image}, &err));
}

static struct tpm_sealed
seal(uint32_t mask)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    struct tpm_sealed sealed;
    struct st_err err = {0};
    assert_ok(tpm_seal(tpm, &half, mask, &sealed, &err));
    return sealed;
}

static struct tpm_sealed_parts
parts_of(const struct tpm_sealed *sealed)
{
    struct tpm_sealed_parts parts;
    struct st_err err = {0};
    assert_ok(tpm_sealed_unpack(sealed, &parts, &err));
    return parts;
}

/* As anybody does it in whatever he booted: to the PCRs that `like` is sealed to, while
 * the TPM notes those of `noted`. */
static struct tpm_sealed_parts
forge(const struct tpm_sealed *like, uint32_t noted)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    struct tpm_sealed_parts parts = parts_of(like);
    const TPML_PCR_SELECTION pcrs = tpm_pcr_selection(noted);
    TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.data.size = (UINT16)half.len};
    TPM2B_PUBLIC template;
    ESYS_TR srk;
    struct st_err err = {0};
    AUTO(tpm_esys_freep) TPM2B_PRIVATE *private = NULL;
    AUTO(tpm_esys_freep) TPM2B_PUBLIC *public = NULL;
    AUTO(tpm_esys_freep) TPM2B_CREATION_DATA *data = NULL;
    AUTO(tpm_esys_freep) TPMT_TK_CREATION *ticket = NULL;
    memcpy(sensitive.sensitive.data.buffer, half.bytes, half.len);
    assert_ok(tpm_srk_load(tpm, &srk, parts.srk_name, &err));
    assert_ok(tpm_sealed_public(&parts, &template, &err));
    assert_int_equal(Esys_Create(tpm->esys, srk, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                 ESYS_TR_NONE, &sensitive, &template, NULL, &pcrs,
                                 &private, &public, &data, NULL, &ticket),
                     0);
    memcpy(parts.unique, public->publicArea.unique.keyedHash.buffer, SHA256_LEN);
    parts.private = *private;
    parts.creation = (struct tpm_creation){data->creationData, *ticket};
    return parts;
}

static void
assert_judged(const struct tpm_sealed_parts *parts, enum st_code expected,
              const char *why)
{
    AUTO(tpm_closep) struct tpm *tpm = open_tpm();
    struct tpm_sealed sealed;
    struct secret back = {0};
    struct st_err err = {0};
    assert_ok(tpm_sealed_pack(parts, &sealed, &err));
    assert_ok(tpm_unseal(tpm, &sealed, &back, &err)); /* the forger's, too */
    assert_true(secret_equal(&half, &back));
    assert_code(tpm_sealed_check_creation(tpm, &sealed, &err), expected);
    assert_non_null(strstr(err.text, why));
}

static void
what_was_sealed_here_is_known_in_every_boot(void **state)
{
    (void)state;
    boot(OURS);
    const struct tpm_sealed sealed = seal(MASK), other = seal(1 << 7);
    const struct tpm_sealed_parts parts = parts_of(&sealed), others = parts_of(&other);
    for (int i = 0; i < 2; i++) {
        assert_judged(&parts, ST_OK, "");
        assert_judged(&others, ST_OK, "");
        boot(OURS);
    }
}

static void
N48_what_was_sealed_in_another_boot_is_somebody_elses(void **state)
{
    (void)state;
    boot(OURS);
    const struct tpm_sealed ours = seal(MASK);
    boot(HIS);
    const struct tpm_sealed_parts his = forge(&ours, MASK);
    boot(OURS);
    assert_judged(&his, ST_PERMISSION_DENIED, "something else was booted");
}

static void
N48_who_says_the_right_thing_of_it_is_not_believed(void **state)
{
    (void)state;
    boot(OURS);
    const struct tpm_sealed ours = seal(MASK);
    const struct tpm_sealed_parts honest = parts_of(&ours);
    boot(HIS);
    const struct tpm_sealed_parts his = forge(&ours, MASK);
    boot(OURS);
    struct tpm_sealed_parts lie = his;
    lie.creation.data = honest.creation.data;
    assert_judged(&lie, ST_PERMISSION_DENIED, "its own word");
    lie.creation.ticket = honest.creation.ticket; /* of another object */
    assert_judged(&lie, ST_PERMISSION_DENIED, "its own word");
    lie.creation.ticket.digest.size = 0;
    assert_judged(&lie, ST_PERMISSION_DENIED, "its own word");
    lie.creation.ticket.hierarchy = TPM2_RH_NULL;
    assert_judged(&lie, ST_PERMISSION_DENIED, "its own word");
}

/* PCR 16 begins as PCR 4 does, and anybody extends it as the firmware did that. */
static void
N48_PCRs_that_anybody_sets_are_no_proof(void **state)
{
    (void)state;
    boot(OURS);
    const struct tpm_sealed ours = seal(1 << 4);
    boot(HIS);
    {
        AUTO(tpm_closep) struct tpm *tpm = open_tpm();
        TPML_DIGEST_VALUES image = {
            .count = 1,
            .digests[0] = {.hashAlg = TPM2_ALG_SHA256, .digest.sha256 = {OURS}}};
        assert_int_equal(Esys_PCR_Extend(tpm->esys, ESYS_TR_PCR16, ESYS_TR_PASSWORD,
                                         ESYS_TR_NONE, ESYS_TR_NONE, &image),
                         0);
    }
    const struct tpm_sealed_parts his = forge(&ours, 1 << RESETTABLE);
    const struct tpm_sealed_parts honest = parts_of(&ours);
    assert_memory_equal(his.creation.data.pcrDigest.buffer,
                        honest.creation.data.pcrDigest.buffer, SHA256_LEN);
    boot(OURS);
    assert_judged(&his, ST_PERMISSION_DENIED, "other PCRs");
}

static void
without_the_word_of_the_TPM_nobody_is_believed(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    struct tpm_authority authority = {0};
    struct tpm_sealed under;
    SECRET key = {0};
    struct st_err err = {0};
    boot(OURS);
    const struct tpm_sealed sealed = seal(MASK);
    struct tpm_sealed_parts parts = parts_of(&sealed);
    parts.has_creation = false;
    assert_judged(&parts, ST_PERMISSION_DENIED, "no word");
    tpm = open_tpm();
    assert_ok(tpm_authority_make(&key, authority.point, &err));
    assert_ok(tpm_seal_under(tpm, &half, MASK, &authority, &under, &err));
    assert_code(tpm_sealed_check_creation(tpm, &under, &err), ST_PERMISSION_DENIED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_here_is_known_in_every_boot),
        cmocka_unit_test(N48_what_was_sealed_in_another_boot_is_somebody_elses),
        cmocka_unit_test(N48_who_says_the_right_thing_of_it_is_not_believed),
        cmocka_unit_test(N48_PCRs_that_anybody_sets_are_no_proof),
        cmocka_unit_test(without_the_word_of_the_TPM_nobody_is_believed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

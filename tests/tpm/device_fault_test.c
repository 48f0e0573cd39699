/* Whatever a TPM or the way to it does, the device side fails as it says, gives back no
 * half-right thing, leaves nothing loaded, and keeps no copy of a secret. */
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/tpm/device_peer.h"
#include "tests/tpm/device_wire.h"
#include "tpm/device_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    MASK = 1 << 4 | 1 << 11,
};
static const enum tpm_ek_type EK = TPM_EK_ECC_P256; /* RSA would take too long here */
static const enum tpm_ak_type AK = TPM_AK_ECC_P256;

static struct swtpm *chip;
static const uint8_t nonce[NONCE_LEN] = "thirty-two bytes nobody guesses";
static const struct secret half = {32, "the half that stays with the ..."};
/* What is right. */
static struct tpm_own_ek right_ek;
static struct tpm_ak right_ak;
static struct tpm_challenge challenge;
static struct tpm_sealed right_sealed;
static struct tpm_authority authority;
static struct tpm_approval approval;

static int
approve_this_boot(struct tpm *tpm)
{
    SECRET key = {0};
    uint8_t point[TPM_AUTHORITY_LEN];
    struct tpm_pcrs pcrs;
    return tpm_authority_make(&key, point, NULL) ||
           tpm_authority_for(point, "smalltown-", &authority, NULL) ||
           tpm_pcrs_read(tpm, &pcrs, NULL) ||
           tpm_approve(&key, &authority, &pcrs, &approval, NULL);
}

static int
set_up(void **state)
{
    (void)state;
    chip = swtpm_make(NULL);
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    return approve_this_boot(tpm) || tpm_ek_read(tpm, EK, &right_ek, NULL) ||
           tpm_ak_read(tpm, AK, &right_ak, NULL) ||
           tpm_challenge_make(&right_ek.ek, right_ak.name, &half, &challenge, NULL) ||
           tpm_seal(tpm, &half, MASK, &right_sealed, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    swtpm_free(chip);
    return 0;
}

static int
quiet(void **state)
{
    (void)state;
    wire = (struct wire){0};
    return 0;
}

/* TPM2_GetCapability(TPM_CAP_HANDLES, first) past all libraries. */
static unsigned
count_handles(uint8_t first)
{
    const uint8_t command[] = {0x80, 0x01, 0, 0,     0, 22, 0, 0, 0x01, 0x7a, 0,
                               0,    0,    1, first, 0, 0,  0, 0, 0,    0,    0xfe};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/tpm", swtpm_folder(chip));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, command, sizeof(command)), sizeof(command));
    uint8_t answer[64];
    assert_true(read(fd, answer, sizeof(answer)) >= 19);
    close(fd);
    assert_memory_equal(answer + 6, "\0\0\0\0", 4);
    return (unsigned)answer[17] << 8 | answer[18];
}

static void
nothing_is_loaded(void)
{
    assert_int_equal(count_handles(TPM2_HT_TRANSIENT), 0);
    assert_int_equal(count_handles(TPM2_HT_LOADED_SESSION), 0);
}

static enum st_code
quote(struct tpm *tpm)
{
    struct tpm_quote quote;
    struct tpm_clock clock;
    enum st_code code = tpm_quote(tpm, AK, nonce, &quote, NULL);
    if (code)
        return code;
    const struct tpm_quote_evidence evidence = {quote.quote, quote.quote_len,
                                                quote.signature, quote.signature_len};
    assert_code(tpm_quote_check(right_ak.public, right_ak.public_len, &evidence, nonce,
                                &quote.pcrs, &clock, NULL),
                ST_OK);
    return ST_OK;
}

static enum st_code
keys(struct tpm *tpm)
{
    struct tpm_own_ek ek;
    struct tpm_ak ak;
    struct secret solution = {0};
    enum st_code code;
    if ((code = tpm_ek_read(tpm, EK, &ek, NULL)) ||
        (code = tpm_ak_read(tpm, AK, &ak, NULL)))
        return code;
    assert_memory_equal(ek.ek.hash, right_ek.ek.hash, SHA256_LEN);
    assert_memory_equal(ak.name, right_ak.name, TPM_NAME_LEN);
    code = tpm_activate(tpm, AK, EK, &challenge, &solution, NULL);
    assert_int_equal(code == ST_OK, secret_equal(&solution, &half));
    return code;
}

static enum st_code
seals(struct tpm *tpm)
{
    struct tpm_sealed sealed;
    struct secret back = {0};
    enum st_code code;
    if ((code = tpm_seal_under(tpm, &half, MASK, &authority, &sealed, NULL)))
        return code;
    code = tpm_unseal(tpm, &sealed, &back, NULL);
    assert_int_equal(code == ST_OK, secret_equal(&back, &half));
    if (code)
        return code;
    secret_wipe(&back);
    code = tpm_unseal_approved(tpm, &sealed, &approval, &back, NULL);
    assert_int_equal(code == ST_OK, secret_equal(&back, &half));
    if (code || (code = tpm_seal(tpm, &half, MASK, &sealed, NULL)))
        return code;
    return tpm_sealed_check_creation(tpm, &sealed, NULL);
}

static unsigned
count_own(struct tpm *tpm)
{
    AUTO(tpm_esys_freep) TPMS_CAPABILITY_DATA *list = NULL;
    assert_int_equal(Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE,
                                        ESYS_TR_NONE, TPM2_CAP_HANDLES,
                                        TPM2_HT_TRANSIENT * 0x1000000u,
                                        TPM2_MAX_CAP_HANDLES, NULL, &list),
                     0);
    return list->data.handles.count;
}

/* A resource manager swaps what is loaded with every command, three commands for each. */
static void
a_key_is_loaded_no_longer_than_it_is_needed(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    struct tpm_ak ak;
    struct tpm_sealed sealed;
    struct secret back = {0};
    struct st_err err = {0};
    assert_ok(tpm_ak_read(tpm, AK, &ak, &err));
    assert_int_equal(count_own(tpm), 1);
    assert_code(quote(tpm), ST_OK);
    assert_int_equal(count_own(tpm), 0);
    assert_ok(tpm_seal(tpm, &half, MASK, &sealed, &err));
    assert_int_equal(count_own(tpm), 1); /* it is tried at once */
    assert_ok(tpm_unseal(tpm, &sealed, &back, &err));
    assert_int_equal(count_own(tpm), 0);
    assert_true(secret_equal(&back, &half));
}

/* Everything that a machine does with its TPM, each result compared. */
static enum st_code
everything(void)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    enum st_code code;
    if ((code = tpm_open(swtpm_tcti(chip), &tpm, NULL)) || (code = keys(tpm)) ||
        (code = quote(tpm)) || (code = seals(tpm)))
        return code;
    return tpm_pcr_extend(tpm, 15, (const uint8_t[SHA256_LEN]){1}, NULL);
}

/* Lets each command fail in its turn, until none is left; says how many there were. */
static unsigned
fail_each(enum wire_fault fault, uint32_t code, enum st_code expected)
{
    for (unsigned n = 1;; n++) {
        wire = (struct wire){.fault = fault, .countdown = n, .code = code};
        enum st_code got = everything();
        bool struck = wire.struck;
        uint32_t command = wire.command;
        wire = (struct wire){0};
        if (!struck) {
            assert_code(got, ST_OK);
            return n - 1;
        }
        /* What cannot be flushed, or overwritten, is no failure of what was done; a quote
         * without its PCRs would not have convinced the judge. */
        if (command != TPM2_CC_FlushContext && command != TPM2_CC_ReadPublic &&
            (command != TPM2_CC_PCR_Read || got))
            assert_code(got, expected);
        if (fault == WIRE_CODE)
            nothing_is_loaded();
        assert_code(everything(), ST_OK);
        nothing_is_loaded();
    }
}

static void
each_command_may_be_refused(void **state)
{
    (void)state;
    assert_true(fail_each(WIRE_CODE, TPM2_RC_MEMORY, ST_INTERNAL) > 25);
}

static void
each_command_may_find_the_connection_broken(void **state)
{
    (void)state;
    assert_true(fail_each(WIRE_BROKEN, 0, ST_UNAVAILABLE) > 25);
}

/* Two certificates, as far as anybody looks here, in two indices. */
static void
a_chain_that_cannot_be_read_costs_nothing_else(void **state)
{
    (void)state;
    struct tpm_own_chain right, chain;
    assert_int_equal(
        swtpm_shell(chip,
                    "{ printf '\\060\\202\\001\\000'; head -c 256 /dev/zero; } >c && "
                    "for i in 0x01c00100 0x01c00101; do tpm2_nvdefine -C p -a "
                    "'ppwrite|ppread|ownerread|authread|platformcreate' -s 260 $i && "
                    "tpm2_nvwrite -C p -i c $i || exit 1; done"),
        0);
    for (unsigned n = 0, struck = 1; struck; n++) {
        struct tpm *tpm = peer_open(chip);
        wire = (struct wire){.countdown = n, .code = TPM2_RC_MEMORY};
        tpm_ek_chain_find(tpm, &chain);
        struck = n == 0 || wire.struck;
        wire = (struct wire){0};
        if (n == 0)
            right = chain;
        assert_true(chain.count <= right.count);
        assert_memory_equal(chain.lens, right.lens, chain.count * sizeof(*chain.lens));
        assert_int_equal(chain.count == right.count, n == 0 || !struck);
        assert_code(quote(tpm), ST_OK);
        tpm_close(tpm);
        nothing_is_loaded();
    }
    assert_int_equal(right.count, 2);
}

static void
each_answer_may_be_lost(void **state)
{
    (void)state;
    assert_true(fail_each(WIRE_SILENT, 0, ST_UNAVAILABLE) > 25);
}

static void
each_command_may_have_to_be_asked_again(void **state)
{
    (void)state;
    const uint32_t codes[] = {TPM2_RC_RETRY, TPM2_RC_YIELDED, TPM2_RC_TESTING};
    for (unsigned n = 1;; n++) {
        /* More often than ESAPI asks again by itself. */
        wire = (struct wire){.countdown = n, .times = 9, .code = codes[n % 3]};
        assert_code(everything(), ST_OK);
        if (!wire.struck)
            break;
        wire = (struct wire){0};
        nothing_is_loaded();
    }
}

static void
a_tpm_that_stays_busy_is_unavailable_after_some_seconds(void **state)
{
    (void)state;
    wire = (struct wire){.countdown = 1, .times = 100000, .code = TPM2_RC_RETRY};
    struct tpm *tpm;
    assert_code(tpm_open(swtpm_tcti(chip), &tpm, NULL), ST_UNAVAILABLE);
}

static void
a_key_that_the_tpm_cannot_make_is_not_found_and_another_chosen(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    const struct wire refuses_a_key = {.only = TPM2_CC_CreatePrimary,
                                       .countdown = 1,
                                       .code = TPM2_RC_CURVE + TPM2_RC_P + TPM2_RC_2};
    struct tpm_own_ek ek;
    struct tpm_ak ak;
    wire = refuses_a_key;
    assert_code(tpm_ek_read(tpm, TPM_EK_ECC_P384, &ek, NULL), ST_NOT_FOUND);
    wire = refuses_a_key;
    assert_code(tpm_ak_read(tpm, TPM_AK_RSA_2048, &ak, NULL), ST_NOT_FOUND);
    wire = refuses_a_key;
    assert_code(tpm_ek_choose(tpm, &ek, NULL), ST_OK);
    assert_int_equal(ek.type, TPM_EK_ECC_P256);
    wire = refuses_a_key;
    wire.times = TPM_EK_TYPES;
    tpm_closep(&tpm);
    tpm = peer_open(chip);
    assert_code(tpm_ek_choose(tpm, &ek, NULL), ST_NOT_FOUND);
}

/* As if somebody extended a PCR between two of our commands. */
static void
pcrs_that_change_meanwhile_are_read_again(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    struct tpm_pcrs before, after;
    struct secret back = {0};
    struct st_err err = {0};
    enum {
        IN_COUNTER = 13,
        IN_PCR_0 = 40,
    };
    assert_ok(tpm_pcrs_read(tpm, &before, &err));
    wire = (struct wire){
        .fault = WIRE_CHANGE, .only = TPM2_CC_PCR_Read, .countdown = 1, .at = IN_COUNTER};
    assert_ok(tpm_pcrs_read(tpm, &after, &err));
    assert_true(wire.struck);
    assert_memory_equal(&before, &after, sizeof(before));
    wire.countdown = 1;
    wire.at = IN_PCR_0;
    wire.struck = false;
    assert_code(quote(tpm), ST_OK);
    assert_true(wire.struck);
    wire = (struct wire){
        .only = TPM2_CC_Unseal, .countdown = 1, .code = TPM2_RC_PCR_CHANGED, .times = 2};
    assert_ok(tpm_unseal(tpm, &right_sealed, &back, &err));
    assert_true(secret_equal(&back, &half));
    wire.countdown = 1;
    wire.times = 10;
    assert_code(tpm_unseal(tpm, &right_sealed, &back, NULL), ST_UNAVAILABLE);
}

static void
no_changed_byte_of_an_answer_changes_what_is_unsealed(void **state)
{
    (void)state;
    size_t len = 1;
    for (size_t at = 0; at < len; at++) {
        AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
        struct secret back = {0};
        wire = (struct wire){
            .fault = WIRE_CHANGE, .only = TPM2_CC_Unseal, .countdown = 1, .at = at};
        enum st_code code = tpm_unseal(tpm, &right_sealed, &back, NULL);
        assert_true(wire.struck);
        len = wire.answer_len;
        assert_int_equal(code == ST_OK, secret_equal(&back, &half));
        if (at >= 10) /* behind the header everything is under the HMAC */
            assert_int_not_equal(code, ST_OK);
    }
    assert_true(len > 32 + 32);
}

static struct tpm_sealed
with_a_lie(void)
{
    struct tpm_sealed_parts parts;
    struct tpm_sealed sealed;
    struct st_err err = {0};
    assert_ok(tpm_sealed_unpack(&right_sealed, &parts, &err));
    parts.creation.ticket.digest.buffer[0] ^= 1;
    assert_ok(tpm_sealed_pack(&parts, &sealed, &err));
    return sealed;
}

static void
no_changed_byte_of_an_answer_tells_another_maker(void **state)
{
    (void)state;
    const struct tpm_sealed asked[] = {right_sealed, with_a_lie()};
    for (size_t i = 0; i < 2; i++) {
        size_t len = 1;
        for (size_t at = 0; at < len; at++) {
            AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
            wire = (struct wire){.fault = WIRE_CHANGE,
                                 .only = TPM2_CC_CertifyCreation,
                                 .countdown = 1,
                                 .at = at};
            enum st_code code = tpm_sealed_check_creation(tpm, &asked[i], NULL);
            assert_true(wire.struck);
            len = wire.answer_len;
            if (i || at >= 10)
                assert_int_not_equal(code, ST_OK);
        }
        assert_true(i ? len == 10 : len > 100);
    }
}

static void
no_changed_byte_of_an_answer_gives_the_sealed_secret_another_policy(void **state)
{
    (void)state;
    size_t len = 1;
    for (size_t at = 0; at < len; at++) {
        AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
        struct tpm_sealed sealed;
        wire = (struct wire){.fault = WIRE_CHANGE,
                             .only = TPM2_CC_PolicyGetDigest,
                             .countdown = 1,
                             .at = at};
        enum st_code code = tpm_seal(tpm, &half, MASK, &sealed, NULL);
        assert_true(wire.struck);
        len = wire.answer_len;
        if (at >= 10)
            assert_int_not_equal(code, ST_OK);
    }
    assert_true(len > 32 + 32);
}

enum {
    MASKED = 0x5a,
};

__attribute__((no_sanitize("address"))) static unsigned
count_copies_between(const uint8_t *from, const uint8_t *to, const uint8_t masked[32])
{
    unsigned found = 0;
    for (const uint8_t *at = from; at + 32 <= to; at++) {
        size_t same = 0;
        while (same < 32 && (at[same] ^ MASKED) == masked[same])
            same++;
        if (same == 32)
            found++;
    }
    return found;
}

/* How often the bytes stand in what this process can write to: heap, freed heap, stacks
 * as far down as they ever went. */
static unsigned
count_copies(const uint8_t masked[32])
{
    unsigned found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    for (char line[600]; fgets(line, sizeof(line), maps);) {
        uint8_t *from, *to;
        char mode[5];
        if (sscanf(line, "%p-%p %4s", (void **)&from, (void **)&to, mode) != 3 ||
            strncmp(mode, "rw", 2) || to - from > 64 << 20)
            continue; /* the sanitizer's shadow is larger */
        found += count_copies_between(from, to, masked);
    }
    fclose(maps);
    return found;
}

static void
no_copy_of_a_secret_stays_in_the_process(void **state)
{
    (void)state;
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    uint8_t masked[32];
    struct tpm_sealed sealed;
    struct st_err err = {0};
    struct secret secret, back;
    assert_ok(secret_random(&secret, sizeof(masked), &err));
    for (size_t i = 0; i < sizeof(masked); i++)
        masked[i] = secret.bytes[i] ^ MASKED;
    assert_true(count_copies(masked) > 0);
    assert_ok(tpm_seal(tpm, &secret, MASK, &sealed, &err));
    assert_int_equal(count_copies(masked), 1);
    wire = (struct wire){.only = TPM2_CC_Create, .countdown = 1, .code = TPM2_RC_MEMORY};
    assert_code(tpm_seal(tpm, &secret, MASK, &sealed, NULL), ST_INTERNAL);
    assert_int_equal(count_copies(masked), 1);
    secret_wipe(&secret);
    assert_int_equal(count_copies(masked), 0);
    assert_ok(tpm_unseal(tpm, &sealed, &back, &err));
    secret_wipe(&back);
    assert_int_equal(count_copies(masked), 0);
}

static void
a_secret_never_crosses_the_wire_in_clear(void **state)
{
    (void)state;
    wire.listened_for = half.bytes;
    assert_code(everything(), ST_OK);
    /* The challenge's solution is no secret of ours, and it shows that we can hear. */
    assert_true(wire.heard);
    wire.heard = false;
    AUTO(tpm_closep) struct tpm *tpm = peer_open(chip);
    assert_code(seals(tpm), ST_OK);
    assert_false(wire.heard);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_key_is_loaded_no_longer_than_it_is_needed, quiet),
        cmocka_unit_test_setup(each_command_may_be_refused, quiet),
        cmocka_unit_test_setup(each_command_may_find_the_connection_broken, quiet),
        cmocka_unit_test_setup(a_chain_that_cannot_be_read_costs_nothing_else, quiet),
        cmocka_unit_test_setup(each_answer_may_be_lost, quiet),
        cmocka_unit_test_setup(each_command_may_have_to_be_asked_again, quiet),
        cmocka_unit_test_setup(a_tpm_that_stays_busy_is_unavailable_after_some_seconds,
                               quiet),
        cmocka_unit_test_setup(
            a_key_that_the_tpm_cannot_make_is_not_found_and_another_chosen, quiet),
        cmocka_unit_test_setup(pcrs_that_change_meanwhile_are_read_again, quiet),
        cmocka_unit_test_setup(no_changed_byte_of_an_answer_tells_another_maker, quiet),
        cmocka_unit_test_setup(no_changed_byte_of_an_answer_changes_what_is_unsealed,
                               quiet),
        cmocka_unit_test_setup(
            no_changed_byte_of_an_answer_gives_the_sealed_secret_another_policy, quiet),
        cmocka_unit_test_setup(no_copy_of_a_secret_stays_in_the_process, quiet),
        cmocka_unit_test_setup(a_secret_never_crosses_the_wire_in_clear, quiet),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

#include <wolfssl/options.h>

#include "node/measure.h"

#include "proto/file.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <wolfssl/wolfcrypt/hash.h>

#define CONFIG_LABEL "smalltown enrolment config v1"
#define CAP_LABEL "smalltown cap v1"
#define SECURE_BOOT "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

/* Of two parts; no part is long. */
static void
sha256(const void *a, size_t a_len, const void *b, size_t b_len, uint8_t out[SHA256_LEN])
{
    wc_Sha256 sha;
    int failed = wc_InitSha256(&sha) || wc_Sha256Update(&sha, a, (word32)a_len) ||
                 wc_Sha256Update(&sha, b, (word32)b_len) || wc_Sha256Final(&sha, out);
    if (failed)
        abort(); /* in software, without memory: nothing there can fail */
    wc_Sha256Free(&sha);
}

void
measure_config_digest(const struct cert *masters, uint8_t out[SHA256_LEN])
{
    sha256(CONFIG_LABEL, strlen(CONFIG_LABEL), masters->der, masters->len, out);
}

/* TPM2_PCR_Extend, Part 3, 22.2 */
static void
extend(uint8_t pcr[SHA256_LEN], const uint8_t digest[SHA256_LEN])
{
    uint8_t next[SHA256_LEN];
    sha256(pcr, SHA256_LEN, digest, SHA256_LEN, next);
    memcpy(pcr, next, SHA256_LEN);
}

static void
cap_digest(uint8_t out[SHA256_LEN])
{
    sha256(CAP_LABEL, strlen(CAP_LABEL), "", 0, out);
}

enum measure_state
measure_judge(const uint8_t pcr12[SHA256_LEN], const uint8_t config[SHA256_LEN])
{
    uint8_t expected[SHA256_LEN] = {0}, cap[SHA256_LEN];
    if (!memcmp(pcr12, expected, SHA256_LEN))
        return MEASURE_FRESH;
    extend(expected, config);
    if (!memcmp(pcr12, expected, SHA256_LEN))
        return MEASURE_DONE;
    cap_digest(cap);
    extend(expected, cap);
    if (!memcmp(pcr12, expected, SHA256_LEN))
        return MEASURE_CAPPED;
    return MEASURE_OTHER;
}

static enum st_code
read_state(struct tpm *tpm, const uint8_t config[SHA256_LEN], enum measure_state *out,
           struct st_err *err)
{
    struct tpm_pcrs pcrs;
    enum st_code code = tpm_pcrs_read(tpm, &pcrs, err);
    if (code)
        return st_wrap(err, "read PCR %d", MEASURE_PCR);
    *out = measure_judge(pcrs.digest[MEASURE_PCR], config);
    if (REFUSES(0x48b, *out == MEASURE_OTHER))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "PCR %d holds the measurement of something else: another "
                       "enrolment.pb was used in this boot, or other software measures "
                       "there; reboot",
                       MEASURE_PCR);
    return ST_OK;
}

enum st_code
measure_config(struct tpm *tpm, const struct cert *masters, enum measure_state *out,
               struct st_err *err)
{
    uint8_t config[SHA256_LEN];
    enum measure_state state;
    measure_config_digest(masters, config);
    enum st_code code = read_state(tpm, config, &state, err);
    if (code)
        return code;
    if (state == MEASURE_FRESH) {
        if ((code = tpm_pcr_extend(tpm, MEASURE_PCR, config, err)))
            return st_wrap(err, "measure enrolment.pb");
        if ((code = read_state(tpm, config, &state, err)))
            return code;
    }
    if (state == MEASURE_FRESH)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "PCR %d of this TPM does not change when it is extended",
                       MEASURE_PCR);
    *out = state;
    return ST_OK;
}

enum st_code
measure_cap(struct tpm *tpm, const struct cert *masters, struct st_err *err)
{
    uint8_t config[SHA256_LEN], cap[SHA256_LEN];
    enum measure_state state;
    measure_config_digest(masters, config);
    enum st_code code = read_state(tpm, config, &state, err);
    if (code || state == MEASURE_CAPPED)
        return code;
    cap_digest(cap);
    if ((code = tpm_pcr_extend(tpm, MEASURE_PCR, cap, err)))
        return st_wrap(err, "cap PCR %d", MEASURE_PCR);
    if ((code = read_state(tpm, config, &state, err)))
        return code;
    if (state != MEASURE_CAPPED)
        return st_fail(err, ST_FAILED_PRECONDITION, "PCR %d did not take its cap",
                       MEASURE_PCR);
    return ST_OK;
}

bool
measure_secure_boot(const char *efivars)
{
    enum {
        ATTRIBUTES = 4,
        VARIABLE_MAX = 64
    };
    char path[PATH_MAX];
    AUTO(st_freep) uint8_t *bytes = NULL;
    size_t len;
    snprintf(path, sizeof(path), "%s/%s", efivars, SECURE_BOOT);
    if (file_read(path, VARIABLE_MAX, &bytes, &len, NULL))
        return false;
    return len == ATTRIBUTES + 1 && bytes[ATTRIBUTES] == 1;
}

uint32_t
measure_mask(bool secure_boot)
{
    return 1u << (secure_boot ? 7 : 4) | 1u << 11 | 1u << MEASURE_PCR;
}

#include "node/measure.h"

#include "proto/file.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SECURE_BOOT "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

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
    measure_cap_digest(cap);
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
    const uint32_t image = 1u << 4 | 1u << 11 | 1u << MEASURE_PCR;
    return image | (REFUSES(0x4812, true) ? 1u << 2 : 0) | (secure_boot ? 1u << 7 : 0);
}

uint32_t
measure_control_mask(bool secure_boot)
{
    const uint32_t image = measure_mask(secure_boot) & ~(1u << MEASURE_PCR);
    return REFUSES(0x4811, true) ? image | 1u << 9 : image;
}

#include <wolfssl/options.h>

#include "tpm/measure.h"

#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/hash.h>

#define CONFIG_LABEL "smalltown enrolment config v1"
#define CAP_LABEL "smalltown cap v1"

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

void
measure_cap_digest(uint8_t out[SHA256_LEN])
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
    measure_cap_digest(cap);
    extend(expected, cap);
    if (!memcmp(pcr12, expected, SHA256_LEN))
        return MEASURE_CAPPED;
    return MEASURE_OTHER;
}

static const char *
what_it_lacks(enum measure_state state)
{
    switch (state) {
    case MEASURE_DONE:
        break;
    case MEASURE_FRESH:
        return "is empty: no enrolment.pb was measured in this boot";
    case MEASURE_CAPPED:
        return "is capped: this boot was given its key already";
    case MEASURE_OTHER:
        return "is of another enrolment.pb: the quote was made for another cluster, or "
               "somebody relays it";
    }
    return NULL;
}

enum st_code
measure_check(const struct tpm_pcrs *pcrs, const struct cert *masters, struct st_err *err)
{
    uint8_t config[SHA256_LEN];
    measure_config_digest(masters, config);
    const char *lacks = what_it_lacks(measure_judge(pcrs->digest[MEASURE_PCR], config));
    if (!lacks)
        return ST_OK;
    return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED, "PCR %d %s",
                       MEASURE_PCR, lacks);
}

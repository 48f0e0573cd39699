/* measure.h - PCR 12: which enrolment a boot is about, and whether its key is spent.
 *
 *     zeros --config--> E(zeros, config) --cap--> E(E(zeros, config), cap)
 *
 * E is TPM2_PCR_Extend; config is SHA-256("smalltown enrolment config v1" ||
 * masters_cert), cap is SHA-256("smalltown cap v1").  node/measure.h does it; here is
 * what both ends make of a value.
 *
 * Pure.  Every function may be called from any thread.
 */
#ifndef TPM_MEASURE_H
#define TPM_MEASURE_H

#include "proto/cert.h"
#include "tpm/judge.h"

enum {
    MEASURE_PCR = 12
};

enum measure_state {
    MEASURE_FRESH,  /* nothing measured in this boot */
    MEASURE_DONE,   /* this config */
    MEASURE_CAPPED, /* this config, and a key was released: no second in this boot */
    MEASURE_OTHER   /* something else */
};

void measure_config_digest(const struct cert *masters, uint8_t out[SHA256_LEN]);
void measure_cap_digest(uint8_t out[SHA256_LEN]);
enum measure_state measure_judge(const uint8_t pcr12[SHA256_LEN],
                                 const uint8_t config[SHA256_LEN]);

/* What was quoted is of a boot that is about these masters, and is owed something by
 * them: MEASURE_DONE.  ST_PERMISSION_DENIED with a sentence for the operator alone.
 *
 * A machine quotes for whoever its enrolment.pb names, and he can hand it on; only this
 * value says whom it meant. */
enum st_code measure_check(const struct tpm_pcrs *pcrs, const struct cert *masters,
                           struct st_err *err);

#endif

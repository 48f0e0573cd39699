/* measure.h - PCR 12: which enrolment this boot is about, and whether its key is spent.
 *
 *     zeros --config--> E(zeros, config) --cap--> E(E(zeros, config), cap)
 *
 * E is TPM2_PCR_Extend; config is SHA-256("smalltown enrolment config v1" ||
 * masters_cert), cap is SHA-256("smalltown cap v1").  PCR 12 itself remembers how far
 * this boot is, so a daemon that is started twice measures once.  The sealed half wants
 * the middle value: with another masters_cert, and after the cap, it does not come out,
 * and a quote says so.
 */
#ifndef NODE_MEASURE_H
#define NODE_MEASURE_H

#include "proto/cert.h"
#include "tpm/device.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MEASURE_PCR = 12
};

enum measure_state {
    MEASURE_FRESH,  /* nothing measured in this boot */
    MEASURE_DONE,   /* this config */
    MEASURE_CAPPED, /* this config, and a key was released: no second in this boot */
    MEASURE_OTHER   /* something else */
};

/* Pure. */
void measure_config_digest(const struct cert *masters, uint8_t out[SHA256_LEN]);
enum measure_state measure_judge(const uint8_t pcr12[SHA256_LEN],
                                 const uint8_t config[SHA256_LEN]);

/* Measures the config unless this boot did: out is MEASURE_DONE, or MEASURE_CAPPED where
 * nothing is left to do.  ST_FAILED_PRECONDITION for MEASURE_OTHER. */
enum st_code measure_config(struct tpm *tpm, const struct cert *masters,
                            enum measure_state *out, struct st_err *err);
/* From MEASURE_DONE to MEASURE_CAPPED; in MEASURE_CAPPED does nothing. */
enum st_code measure_cap(struct tpm *tpm, const struct cert *masters, struct st_err *err);

/* Secure Boot as the firmware says in the folder of its variables (/sys/firmware/efi/
 * efivars); false where there is none. */
bool measure_secure_boot(const char *efivars);
/* The PCRs that the local half is sealed to.  Without Secure Boot PCR 7 is a constant
 * that any image passes; with it PCR 4 would change with each image that is let in. */
uint32_t measure_mask(bool secure_boot);

#endif

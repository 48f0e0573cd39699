/* measure.h - measures the config into PCR 12, and caps it: tpm/measure.h.
 *
 * PCR 12 itself remembers how far this boot is, so a daemon that is started twice
 * measures once.  The sealed half wants the middle value: with another masters_cert, and
 * after the cap, it does not come out, and a quote says so.
 */
#ifndef NODE_MEASURE_H
#define NODE_MEASURE_H

#include "proto/cert.h"
#include "tpm/device.h"
#include "tpm/measure.h"

#include <stdbool.h>
#include <stdint.h>

/* Measures the config unless this boot did: out is MEASURE_DONE, or MEASURE_CAPPED where
 * nothing is left to do.  ST_FAILED_PRECONDITION for MEASURE_OTHER. */
enum st_code measure_config(struct tpm *tpm, const struct cert *masters,
                            enum measure_state *out, struct st_err *err);
/* From MEASURE_DONE to MEASURE_CAPPED; in MEASURE_CAPPED does nothing. */
enum st_code measure_cap(struct tpm *tpm, const struct cert *masters, struct st_err *err);

/* Secure Boot as the firmware says in the folder of its variables (/sys/firmware/efi/
 * efivars); false where there is none. */
bool measure_secure_boot(const char *efivars);
/* The PCRs that the local half is sealed to: what ran before the image (2: drivers of
 * cards and disks), the image (4, 11), the config.  With Secure Boot who may start things
 * (7), too; without, that is a constant.  Never fewer with it: whoever switches it on
 * with keys of his own would have what PCR 7 opens. */
uint32_t measure_mask(bool secure_boot);
/* Those of the key of a control volume, which opens before and after PCR 12 says
 * anything. Without Secure Boot the stub of an image takes a command line from the
 * firmware instead of its own: into PCR 12 goes that, and into PCR 9 what the kernel was
 * given. */
uint32_t measure_control_mask(bool secure_boot);

#endif

/* device_peer.h - tpm2-tools as the other side, and the files that they speak in. */
#ifndef TESTS_TPM_DEVICE_PEER_H
#define TESTS_TPM_DEVICE_PEER_H

#include "tests/tpm/swtpm.h"
#include "tpm/device.h"

/* The key file of tpm2_makecredential and tpm2_activatecredential. */
struct tpm_challenge peer_challenge_get(const struct swtpm *swtpm, const char *name);
void peer_challenge_put(const struct swtpm *swtpm, const char *name,
                        const struct tpm_challenge *challenge);

/* Commands that leave: "ek.pub" (TPM2B_PUBLIC) and a key that $EK names; by the handle
 * that swtpm_setup left, or by tpm2_createek. */
extern const char *const peer_ek[TPM_EK_TYPES];
/* Commands that activate "blob" with "ak.ctx" and $EK to "solution". */
extern const char *const peer_activate[TPM_EK_TYPES];
/* Commands that make "ak.ctx", "ak.pub" (TPM2B_PUBLIC) and "ak.name" in the owner
 * hierarchy. */
extern const char *const peer_ak[2];

struct tpm *peer_open(const struct swtpm *swtpm);

#endif

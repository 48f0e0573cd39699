/* device.h - this machine's own TPM 2.0, through tpm2-tss ESAPI.
 *
 * One `struct tpm` is one connection and belongs to one thread at a time.  Opening
 * flushes transient objects and sessions that a killed predecessor left behind.
 * TPM_RC_RETRY and the like are retried for some seconds.  Unless said otherwise at a
 * function: ST_UNAVAILABLE where the connection broke (close and open again) or the TPM
 * stays busy, ST_FAILED_PRECONDITION where somebody gave a hierarchy a password or
 * disabled it, ST_INTERNAL for every other response code; its hex is in the sentence.
 *
 * tpm2-tss writes to stderr by itself unless TSS2_LOG=all+NONE is in the environment
 * before the first tpm_open(): a daemon's main() puts it there.
 *
 * Keys of ours are primary objects of the owner hierarchy with fixed templates: the same
 * TPM gives the same key at every boot, so no file has to keep them.  All carry noDA:
 * three power cuts in a row must not lock a machine out.
 */
#ifndef TPM_DEVICE_H
#define TPM_DEVICE_H

#include "proto/err.h"
#include "proto/secret.h"
#include "tpm/approval.h"
#include "tpm/judge.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tpm;

enum tpm_ak_type {
    TPM_AK_ECC_P256,
    TPM_AK_RSA_2048
};

enum tpm_ek_type {
    TPM_EK_RSA_2048,
    TPM_EK_ECC_P256,
    TPM_EK_ECC_P384,
    TPM_EK_TYPES
};

/* tcti: "swtpm:path=/sock", "swtpm:host=127.0.0.1,port=2321", "device:/dev/tpmrm0".
 * ST_UNAVAILABLE where nothing answers there. */
enum st_code tpm_open(const char *tcti, struct tpm **out, struct st_err *err);
void tpm_close(struct tpm *tpm);
static inline void
tpm_closep(struct tpm **tpm)
{
    tpm_close(*tpm);
}

/* The EK of the TCG EK Credential Profile templates: L-1 (RSA-2048), L-2 (P-256), H-3
 * (P-384), and its certificate from NV, cut to its DER length; cert_len 0 where there is
 * none (or what is there does not begin as one).  ST_NOT_FOUND where the TPM cannot make
 * a key of this type. */
struct tpm_own_ek {
    enum tpm_ek_type type;
    struct tpm_ek ek;
    size_t cert_len;
    uint8_t cert[CERT_MAX_LEN];
};
enum st_code tpm_ek_read(struct tpm *tpm, enum tpm_ek_type type, struct tpm_own_ek *out,
                         struct st_err *err);
/* The EK to enrol with: the first type that has a certificate, else RSA-2048, else what
 * there is. */
enum st_code tpm_ek_choose(struct tpm *tpm, struct tpm_own_ek *out, struct st_err *err);

/* The certificates above the EK's own that the TPM holds, one after the other in `bytes`:
 * those that are whole and within the bounds; most TPMs hold none.  A TPM that errs here
 * has fewer, or none. */
struct tpm_own_chain {
    size_t count;
    size_t lens[TPM_EK_CHAIN_CERTS];
    uint8_t bytes[TPM_EK_CHAIN_MAX];
};
void tpm_ek_chain_find(struct tpm *tpm, struct tpm_own_chain *out);

/* Our AK, made or made again: the same TPM, the same key until its owner clears it.
 * ST_NOT_FOUND where the TPM cannot make a key of this type. */
enum st_code tpm_ak_read(struct tpm *tpm, enum tpm_ak_type type, struct tpm_ak *out,
                         struct st_err *err);

/* TPM2_ActivateCredential with our AK and EK of these types.  ST_PERMISSION_DENIED where
 * the challenge was not made for this pair. */
enum st_code tpm_activate(struct tpm *tpm, enum tpm_ak_type ak, enum tpm_ek_type ek,
                          const struct tpm_challenge *challenge, struct secret *out,
                          struct st_err *err);

/* A quote by our AK over SHA-256 PCR 0-15 and the PCRs it speaks of (read again until
 * both agree). */
struct tpm_quote {
    size_t quote_len;
    uint8_t quote[TPM_QUOTE_MAX]; /* TPMS_ATTEST */
    size_t signature_len;
    uint8_t
        signature[TPM_SIGNATURE_MAX]; /* RSA AK: bare 256 bytes; ECC: TPMT_SIGNATURE */
    struct tpm_pcrs pcrs;
};
enum st_code tpm_quote(struct tpm *tpm, enum tpm_ak_type ak,
                       const uint8_t nonce[NONCE_LEN], struct tpm_quote *out,
                       struct st_err *err);

/* ST_FAILED_PRECONDITION where the SHA-256 bank is not active. */
enum st_code tpm_pcrs_read(struct tpm *tpm, struct tpm_pcrs *out, struct st_err *err);
/* Extends the SHA-256 bank of PCR `pcr` (0 to 15) with `digest`. */
enum st_code tpm_pcr_extend(struct tpm *tpm, unsigned pcr,
                            const uint8_t digest[SHA256_LEN], struct st_err *err);

/* A secret that only this TPM gives back, and only while the PCRs of pcr_mask (bit n: PCR
 * n, SHA-256) read as they did when it was sealed.  `bytes` is what is kept in a file:
 * our own framing of what the TPM needs to find it again (device_sealed.c). */
enum {
    TPM_SEALED_MAX = 1024,
    TPM_SEAL_SECRET_MAX = 128
};
struct tpm_sealed {
    size_t len;
    uint8_t bytes[TPM_SEALED_MAX];
};
/* ST_INVALID_ARGUMENT for a secret of 0 or more than TPM_SEAL_SECRET_MAX bytes and for a
 * mask that is 0 or names a PCR above 15 (they do not stop a second unlock).
 *
 * Neither function leaves a copy of the secret in this process (tpm2-tss keeps one where
 * the connection breaks in the middle of tpm_seal()). */
enum st_code tpm_seal(struct tpm *tpm, const struct secret *secret, uint32_t pcr_mask,
                      struct tpm_sealed *out, struct st_err *err);
/* Through a salted, parameter-encrypted session to the SRK whose Name is in `sealed`.
 * ST_PERMISSION_DENIED where PCRs differ; ST_FAILED_PRECONDITION where this is another
 * TPM, or it was cleared (SRK of another Name); ST_DATA_LOSS where `sealed` is not what
 * tpm_seal() made. */
enum st_code tpm_unseal(struct tpm *tpm, const struct tpm_sealed *sealed,
                        struct secret *out, struct st_err *err);

/* That what was booted when it was sealed was what it is sealed to: a TPM seals for
 * whoever comes to it, to PCRs that he need not have, but it says of what it made under
 * which PCRs that was (TPM2_CertifyCreation).  ST_PERMISSION_DENIED where it says
 * something else, and of what tpm_seal_under() made; the rest as tpm_unseal(). */
enum st_code tpm_sealed_check_creation(struct tpm *tpm, const struct tpm_sealed *sealed,
                                       struct st_err *err);

/* As tpm_seal(), and it also comes back under the PCRs that this authority approves of
 * later (approval.h).  ST_INVALID_ARGUMENT also where the authority is no point of P-256.
 */
enum st_code tpm_seal_under(struct tpm *tpm, const struct secret *secret,
                            uint32_t pcr_mask, const struct tpm_authority *authority,
                            struct tpm_sealed *out, struct st_err *err);
/* By the approval alone, not by the PCRs of then.  ST_PERMISSION_DENIED where it is of
 * another authority, for another node or other PCRs, or forged, and where `sealed` knows
 * no authority; the rest as tpm_unseal(). */
enum st_code tpm_unseal_approved(struct tpm *tpm, const struct tpm_sealed *sealed,
                                 const struct tpm_approval *approval, struct secret *out,
                                 struct st_err *err);
/* Under whom it is sealed.  ST_NOT_FOUND: under nobody; ST_DATA_LOSS. */
enum st_code tpm_sealed_authority(const struct tpm_sealed *sealed,
                                  struct tpm_authority *out, struct st_err *err);
/* To which PCRs it says that it is sealed.  ST_DATA_LOSS. */
enum st_code tpm_sealed_mask(const struct tpm_sealed *sealed, uint32_t *out,
                             struct st_err *err);

#endif

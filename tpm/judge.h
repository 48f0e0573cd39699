/* judge.h - how a master judges a TPM that it cannot touch.
 *
 * Everything here is arithmetic on bytes that a stranger sent: no device, no clock, no
 * I/O, no state.  Whatever is accepted here may open a disk.  Structures are TPM 2.0
 * Library Part 2; every parser takes exactly its bytes: shorter, longer or unusual
 * encodings are ST_INVALID_ARGUMENT, a proof that does not hold is ST_PERMISSION_DENIED.
 * Every function may be called from any thread.
 *
 * libtss2-mu writes a line to stderr for some of what it cannot read (a list of more than
 * 16 banks, say) unless TSS2_LOG=all+NONE is in the environment before the first call: a
 * daemon's main() puts it there, or any stranger writes its log.
 */
#ifndef TPM_JUDGE_H
#define TPM_JUDGE_H

#include "proto/der.h"
#include "proto/err.h"
#include "proto/ident.h"
#include "proto/secret.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TPM_PCR_COUNT = 16,            /* PCR 0 to 15 of the SHA-256 bank are quoted */
    TPM_NAME_LEN = 2 + SHA256_LEN, /* nameAlg and digest, Part 1, 16 "Names" */
    TPM_PUBLIC_MAX = 600,          /* TPMT_PUBLIC of RSA-2048 is 314 bytes */
    TPM_SPKI_MAX = 600,            /* DER of an RSA-2048 SubjectPublicKeyInfo is 294 */
    TPM_QUOTE_MAX = 512,           /* TPMS_ATTEST */
    TPM_SIGNATURE_MAX = 600,       /* TPMT_SIGNATURE, or 256 bare bytes */
    TPM_ID_OBJECT_MAX = 128,       /* TPMS_ID_OBJECT */
    TPM_ENCRYPTED_SECRET_MAX = 512,
    TPM_CA_NAME_MAX = 128,      /* with its NUL */
    TPM_EK_CHAIN_CERTS = 8,     /* between an EK certificate and a CA; Intel has three */
    TPM_EK_CHAIN_MAX = 8192,    /* bytes of them together */
    TPM_EK_SIGNATURES_MAX = 12, /* of one search for a CA; Intel needs four */
};

/* Digests of PCR 0 to 15, SHA-256 bank, in order. */
struct tpm_pcrs {
    uint8_t digest[TPM_PCR_COUNT][SHA256_LEN];
};

/* An attestation key that passed tpm_ak_check(). */
struct tpm_ak {
    uint8_t name[TPM_NAME_LEN];
    size_t public_len;
    uint8_t public[TPM_PUBLIC_MAX]; /* TPMT_PUBLIC */
};

/* An endorsement key that passed tpm_ek_check(). */
struct tpm_ek {
    size_t spki_len;
    uint8_t spki[TPM_SPKI_MAX]; /* SubjectPublicKeyInfo, DER */
    uint8_t hash[SHA256_LEN];   /* SHA-256 of it: what an operator sees and lists */
};

struct tpm_challenge {
    size_t id_object_len;
    uint8_t id_object[TPM_ID_OBJECT_MAX]; /* TPMS_ID_OBJECT, no outer size */
    size_t encrypted_secret_len;
    uint8_t encrypted_secret[TPM_ENCRYPTED_SECRET_MAX]; /* raw, no outer size */
};

/* ak_public: TPMT_PUBLIC.  RSA-2048 RSASSA-SHA256 (exponent 0 or 65537) or ECC P-256
 * ECDSA-SHA256, nameAlg SHA-256; fixedTPM, fixedParent, sensitiveDataOrigin, restricted,
 * sign, not decrypt (refusals N20, N21). */
enum st_code tpm_ak_check(const void *ak_public, size_t len, struct tpm_ak *out,
                          struct st_err *err);

/* ek_pubkey: SubjectPublicKeyInfo, DER; RSA-2048 with e = 65537, P-256 or P-384 (N22). */
enum st_code tpm_ek_check(const void *ek_pubkey, size_t len, struct tpm_ek *out,
                          struct st_err *err);

/* The certificate speaks of this EK: its key is ek's, byte for byte (N23); says nothing
 * about who issued it.  ST_INVALID_ARGUMENT where it is no certificate. */
enum st_code tpm_ek_cert_check(const void *ek_cert, size_t len, const struct tpm_ek *ek,
                               struct st_err *err);

/* A certificate that an operator gives as one that signs EK certificates: X.509 in DER,
 * with the CA bit.  ST_INVALID_ARGUMENT.  It is trusted as it is: also past its own date,
 * and where it is an intermediate and what is above it is not known. */
enum st_code tpm_ek_ca_check(const void *ca, size_t len, struct st_err *err);
/* Whom it names, for people: printable, maybe cut, "" where that cannot be read. */
void tpm_ek_ca_name(const void *ca, size_t len, char out[TPM_CA_NAME_MAX]);

/* The EK certificate was signed by this CA, is in date by the clock of this machine, and
 * is for an EK (EKU 2.23.133.8.1; TCG EK Credential Profile, 3.2.16).
 * Whether its key is the EK's is tpm_ek_cert_check()'s to say.  ST_PERMISSION_DENIED. */
enum st_code tpm_ek_chain_check(const void *ek_cert, size_t len, const void *ca,
                                size_t ca_len, struct st_err *err);

/* What may stand between an EK certificate and a CA: certificates that a TPM holds (TCG
 * EK Credential Profile 2.5, 2.2.1.5.2), and that are as untrusted as the EK's own.
 * Their bytes are borrowed. */
struct tpm_ek_chain {
    size_t count;
    struct tpm_ek_link {
        struct der cert, issuer, subject;
        size_t below; /* how many more may stand between it and the EK certificate */
    } links[TPM_EK_CHAIN_CERTS];
};
/* Of what was given, in its order, what leads upwards from the EK certificate by its
 * names, and says of itself that it may: CA bit, keyCertSign, no purpose but EKs, no
 * constraints on names, another issuer than itself, signed with SHA-256 or better.  The
 * rest is left out, and so is all that is beyond the bounds. */
void tpm_ek_chain_read(const void *ek_cert, size_t len, const ProtobufCBinaryData *given,
                       size_t count, struct tpm_ek_chain *out);
/* tpm_ek_chain_check() with at least one of these in between: each was signed by the next
 * and the last by the CA, is in date, and is allowed by all above it to be where it is
 * (RFC 5280, 4.2.1.9).  No key is used before somebody signed it whom the CA vouches for,
 * and at most TPM_EK_SIGNATURES_MAX signatures are computed.  ST_PERMISSION_DENIED. */
enum st_code tpm_ek_path_check(const void *ek_cert, size_t len,
                               const struct tpm_ek_chain *chain, const void *ca,
                               size_t ca_len, struct st_err *err);

/* TPM2_MakeCredential (Part 1, 24 "Credential Protection"), in software: only the TPM
 * that holds ek and an object of this name recovers `credential` (1 to 32 bytes).
 * A SubjectPublicKeyInfo does not say which nameAlg and symmetric key the EK has; they
 * follow from its type by the TCG EK Credential Profile: RSA-2048 (L-1) and P-256 (L-2)
 * have SHA-256 and AES-128-CFB, P-384 (H-3) has SHA-384 and AES-256-CFB.  A TPM whose EK
 * was made otherwise cannot answer. */
enum st_code tpm_challenge_make(const struct tpm_ek *ek,
                                const uint8_t ak_name[TPM_NAME_LEN],
                                const struct secret *credential,
                                struct tpm_challenge *out, struct st_err *err);

/* What was sent as proof.  All borrowed.  signature: TPMT_SIGNATURE, or for an RSA AK
 * also the bare 256-byte RSASSA-SHA256 signature. */
struct tpm_quote_evidence {
    const void *quote;
    size_t quote_len;
    const void *signature;
    size_t signature_len;
};

/* What a good quote says beside its PCRs (TPMS_CLOCK_INFO), as it stands there. */
struct tpm_clock {
    uint64_t clock_ms;
    uint32_t reset_count;   /* how often the TPM was reset, and */
    uint32_t restart_count; /* since then resumed; both plus a secret number */
};

/* The list as it travels: exactly 16 items of exactly 32 bytes (N09).  `count` is how
 * many `items` has.  ST_INVALID_ARGUMENT. */
enum st_code tpm_pcrs_unpack(const ProtobufCBinaryData *items, size_t count,
                             struct tpm_pcrs *out, struct st_err *err);
/* What a TPM quotes of them: SHA-256 over all digests in order. */
enum st_code tpm_pcrs_digest(const struct tpm_pcrs *pcrs, uint8_t out[SHA256_LEN],
                             struct st_err *err);

/* ST_OK only for a TPMS_ATTEST with magic TPM_GENERATED_VALUE, type TPM_ST_ATTEST_QUOTE,
 * extraData equal to nonce, one selection SHA-256 {0..15}, a digest over exactly `pcrs`,
 * signed by ak (N01-N10, N13, N14).  ak_public comes from the record, never from the
 * message. */
enum st_code tpm_quote_check(const void *ak_public, size_t ak_public_len,
                             const struct tpm_quote_evidence *evidence,
                             const uint8_t nonce[NONCE_LEN], const struct tpm_pcrs *pcrs,
                             struct tpm_clock *out, struct st_err *err);

/* That `now` was quoted after `before`, by the same AK: resets and resumes only grow, and
 * the clock does from one of them to the next.  ST_PERMISSION_DENIED with a sentence for
 * the operator where the TPM came back as it was earlier (N15, N49). */
enum st_code tpm_clock_check(const struct tpm_clock *before, const struct tpm_clock *now,
                             struct st_err *err);

#endif

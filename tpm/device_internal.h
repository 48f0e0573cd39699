/* device_internal.h - what the files of the device side share: one connection, the keys
 * it keeps loaded, and handles that end with their scope.
 *
 * Behind a resource manager each command costs three more for every object that is loaded
 * (it is loaded, saved and flushed again), so what ends a piece of work, a quote or an
 * unsealed secret, leaves nothing loaded.
 *
 * A bare TPM holds three objects and three sessions.  Of the objects at most two are
 * primaries of ours, so that a slot is left for a sealed object and for the work of
 * TPM2_Create; an operation holds at most two sessions.
 */
#ifndef TPM_DEVICE_INTERNAL_H
#define TPM_DEVICE_INTERNAL_H

#include "proto/scope.h"
#include "tpm/device.h"

#include <tss2/tss2_esys.h>

/* A primary key, by its template: the same TPM makes the same key of it. */
struct tpm_primary {
    const char *what; /* for errors: "an RSA-2048 EK" */
    ESYS_TR hierarchy;
    TPM2B_PUBLIC template;
};

struct tpm_key {
    const struct tpm_primary *primary; /* NULL: an empty slot */
    ESYS_TR handle;
    TPM2B_PUBLIC public;
};

struct tpm {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    struct tpm_key keys[2]; /* the one used last comes first */
};

/* What an Esys function returned, once the TPM was ready to work on it.  Evaluates the
 * call again, with pauses, while the TPM asks for that; ends within some seconds. */
#define TPM_COMMAND(call)                                                                \
    ({                                                                                   \
        TSS2_RC rc_;                                                                     \
        unsigned round_ = 0;                                                             \
        do                                                                               \
            rc_ = (call);                                                                \
        while (tpm_again(rc_, round_++));                                                \
        rc_;                                                                             \
    })
bool tpm_again(TSS2_RC rc, unsigned round);

/* A response code without layer, and without the number of a handle, session or
 * parameter (Part 2, 6.6 "TPM_RC"): comparable with TPM2_RC_x.  TSS2_RC_SUCCESS and codes
 * that are not the TPM's come back as they are. */
TSS2_RC tpm_rc_base(TSS2_RC rc);
/* The TPM blames a parameter of the command. */
bool tpm_rc_blames_parameter(TSS2_RC rc);
/* The one translation of response codes: "<what>: <words> (0x...)". */
enum st_code tpm_fail(struct st_err *err, TSS2_RC rc, const char *what);

/* A loaded object or session, flushed when its scope ends. */
struct tpm_handle {
    struct tpm *tpm; /* NULL: holds nothing */
    ESYS_TR esys;
};
#define TPM_HANDLE AUTO(tpm_handle_flush) struct tpm_handle
void tpm_handle_flush(struct tpm_handle *handle);

/* For what Esys allocates: AUTO(tpm_esys_freep) TPM2B_DIGEST *digest = NULL; */
static inline void
tpm_esys_freep(void *variable)
{
    Esys_Free(*(void **)variable);
}

/* Makes the key or finds it loaded.  *out is lent until the second next call.
 * ST_NOT_FOUND where the TPM cannot make such a key. */
enum st_code tpm_key_load(struct tpm *tpm, const struct tpm_primary *primary,
                          const struct tpm_key **out, struct st_err *err);
/* Those that are loaded; what tpm_key_load() lent is no more. */
void tpm_keys_flush(struct tpm *tpm);

/* A SHA-256 session; `salt` is the key that its secret is encrypted to, ESYS_TR_NONE for
 * none. */
enum st_code tpm_session_start(struct tpm *tpm, TPM2_SE type, ESYS_TR salt,
                               struct tpm_handle *out, struct st_err *err);
/* Which direction's first parameter it encrypts from now on: TPMA_SESSION_DECRYPT for
 * commands, TPMA_SESSION_ENCRYPT for answers. */
enum st_code tpm_session_encrypts(const struct tpm_handle *session, TPMA_SESSION which,
                                  struct st_err *err);

const struct tpm_primary *tpm_ak_primary(enum tpm_ak_type type);
const struct tpm_primary *tpm_ek_primary(enum tpm_ek_type type);

/* The first `max` bytes of an NV index, or all that it has. */
TSS2_RC tpm_nv_read(struct tpm *tpm, TPM2_HANDLE handle, size_t max, uint8_t *out,
                    size_t *out_len);
/* The length of the certificate at the start of NV contents, which are padded with 0x00
 * or 0xFF; 0 where there is none. */
size_t tpm_der_len(const uint8_t *bytes, size_t len);

/* The SHA-256 PCRs of mask (bit n: PCR n). */
TPML_PCR_SELECTION tpm_pcr_selection(uint32_t mask);
/* And back.  False where it is of another bank, or of more than one. */
bool tpm_pcr_mask(const TPML_PCR_SELECTION *selection, uint32_t *out);

/* What the TPM says of the making of an object, and how it knows its own word again (Part
 * 2, 15 "Creation Data" and 10.7.3 "TPMT_TK_CREATION"). */
struct tpm_creation {
    TPMS_CREATION_DATA data;
    TPMT_TK_CREATION ticket;
};

/* What a sealed secret consists of.  Its public area is a fixed template but for policy
 * and unique. */
struct tpm_sealed_parts {
    uint32_t pcr_mask;
    uint8_t srk_name[TPM_NAME_LEN];
    uint8_t pcr_policy[SHA256_LEN]; /* PolicyPCR(pcr_mask) of when it was sealed */
    uint8_t unique[SHA256_LEN];
    bool approvable; /* there is an authority */
    struct tpm_authority authority;
    bool has_creation; /* never with an authority */
    struct tpm_creation creation;
    TPM2B_PRIVATE private;
};
/* ST_INTERNAL where it does not fit. */
enum st_code tpm_sealed_pack(const struct tpm_sealed_parts *parts, struct tpm_sealed *out,
                             struct st_err *err);
/* ST_DATA_LOSS. */
enum st_code tpm_sealed_unpack(const struct tpm_sealed *sealed,
                               struct tpm_sealed_parts *out, struct st_err *err);

/* What those share that work on a sealed object.  The SRK is lent until the second next
 * tpm_key_load(). */
enum st_code tpm_srk_load(struct tpm *tpm, ESYS_TR *out, uint8_t out_name[TPM_NAME_LEN],
                          struct st_err *err);
/* Under `srk`, which must be the one of the parts: ST_FAILED_PRECONDITION where it is
 * another; ST_DATA_LOSS. */
enum st_code tpm_sealed_load(struct tpm *tpm, const struct tpm_sealed_parts *parts,
                             struct tpm_handle *out, ESYS_TR *out_srk,
                             struct st_err *err);
/* The template of a sealed object with these parts, without its unique. */
enum st_code tpm_sealed_public(const struct tpm_sealed_parts *parts, TPM2B_PUBLIC *out,
                               struct st_err *err);
/* ESAPI's command buffer keeps what passed through it until an answer as long overwrites
 * it. */
void tpm_forget_answer(struct tpm *tpm);

/* The TPM's word that `approval` is good for an object with these parts; what
 * tpm_policy_approve() wants.  ST_PERMISSION_DENIED. */
enum st_code tpm_approval_verify(struct tpm *tpm, const struct tpm_sealed_parts *parts,
                                 const struct tpm_approval *approval,
                                 TPMT_TK_VERIFIED *out, struct st_err *err);
/* Shows the PCRs of now and that word to a policy session.  ST_PERMISSION_DENIED where
 * they are not the ones that were approved. */
enum st_code tpm_policy_approve(struct tpm *tpm, const struct tpm_handle *policy,
                                const struct tpm_sealed_parts *parts,
                                const struct tpm_approval *approval,
                                const TPMT_TK_VERIFIED *verified, struct st_err *err);

#endif

#include "node/half.h"

#include "node/measure.h"
#include "proto/event.h"
#include "proto/mutant.h"

#include <string.h>

static uint32_t
mask_with(bool secure_boot, enum esp_file file)
{
    return file == ESP_CONTROL || file == ESP_CONTROL_PENDING
               ? measure_control_mask(secure_boot)
               : measure_mask(secure_boot);
}

static uint32_t
mask_of(const struct node *node, enum esp_file file)
{
    return mask_with(measure_secure_boot(node->efivars), file);
}

/* Whoever goes on with an enrolment will ask who sealed it: a chip that has no answer is
 * known now, and not when nothing else is left. */
static enum st_code
check_confirmed(struct tpm *tpm, const struct tpm_sealed *sealed, struct st_err *err)
{
    enum st_code code = tpm_sealed_check_creation(tpm, sealed, err);
    if (!REFUSES(0x3404, code))
        return ST_OK;
    (void)st_wrap(err, "this TPM does not confirm what it sealed just now");
    return code;
}

static enum st_code
seal(const struct node *node, struct tpm *tpm, enum esp_file file,
     const struct secret *secret, struct tpm_sealed *out, struct st_err *err)
{
    enum st_code code = tpm_seal(tpm, secret, mask_of(node, file), out, err);
    return code ? code : check_confirmed(tpm, out, err);
}

enum st_code
half_seal(const struct node *node, struct tpm *tpm, enum esp_file file,
          const struct secret *secret, struct st_err *err)
{
    struct tpm_sealed sealed;
    enum st_code code = seal(node, tpm, file, secret, &sealed, err);
    return code ? code : esp_write(node->esp, file, sealed.bytes, sealed.len, err);
}

enum st_code
half_try(const struct node *node, struct tpm *tpm, struct st_err *err)
{
    struct tpm_sealed sealed;
    SECRET any = {0};
    enum st_code code = secret_random(&any, UNLOCK_KEY_LEN, err);
    return code ? code : seal(node, tpm, ESP_SEALED, &any, &sealed, err);
}

static enum st_code
read_sealed(const struct node *node, enum esp_file file, struct tpm_sealed *out,
            struct st_err *err)
{
    uint8_t content[ESP_CONTENT_MAX];
    size_t len;
    enum st_code code = esp_read(node->esp, file, content, &len, err);
    if (code)
        return code;
    if (len > sizeof(out->bytes))
        return st_fail(err, ST_DATA_LOSS, "%s is too long", esp_path(node->esp, file));
    memcpy(out->bytes, content, len);
    out->len = len;
    return ST_OK;
}

static enum st_code
check_len(const struct node *node, enum esp_file file, const struct secret *secret,
          size_t len, struct st_err *err)
{
    if (secret->len != len)
        return st_fail(err, ST_DATA_LOSS, "%s holds %zu bytes, not %zu",
                       esp_path(node->esp, file), secret->len, len);
    return ST_OK;
}

static enum st_code
explain(const struct node *node, enum esp_file file, enum st_code code,
        struct st_err *err)
{
    const char *path = esp_path(node->esp, file);
    if (code == ST_PERMISSION_DENIED)
        return st_fail(err, code,
                       "the TPM keeps %s to itself: firmware, boot loader, kernel or "
                       "masters are not those of the enrolment%s",
                       path,
                       file == ESP_PENDING
                           ? ", which is half done: boot what was there then; where it "
                             "is a recovery, run `smalltown-node recover` again"
                           : ", nor approved since");
    (void)st_wrap(err, "unseal %s", path);
    return code;
}

/* The file says itself to which, and what is made just now is made for this machine. */
static enum st_code
check_mask(const struct node *node, enum esp_file file, const struct tpm_sealed *sealed,
           struct st_err *err)
{
    uint32_t mask;
    enum st_code code = tpm_sealed_mask(sealed, &mask, err);
    if (code) {
        (void)st_wrap(err, "unseal %s", esp_path(node->esp, file));
        return code;
    }
    if (REFUSES(0x4806, mask != mask_of(node, file)))
        return st_fail(
            err, ST_FAILED_PRECONDITION,
            "%s was sealed to other PCRs than this machine seals to: by somebody else, "
            "by an earlier release, or Secure Boot was switched since: switch it back; "
            "where it is a recovery, run `smalltown-node recover` again; else remove the "
            "file",
            esp_path(node->esp, file));
    return ST_OK;
}

static enum st_code
unseal(const struct node *node, struct tpm *tpm, enum esp_file file,
       const struct tpm_sealed *sealed, size_t len, struct secret *out,
       struct st_err *err)
{
    SECRET secret = {0};
    enum st_code code;
    if (file != ESP_CONTROL && (code = check_mask(node, file, sealed, err)))
        return code;
    if ((code = tpm_unseal(tpm, sealed, &secret, err)))
        return explain(node, file, code, err);
    if ((code = check_len(node, file, &secret, len, err)))
        return code;
    *out = secret;
    return ST_OK;
}

/* What the TPM read when it sealed says something where it read all of this: other PCRs
 * are the same whatever boots. */
static enum st_code
find_maker(const struct node *node, struct tpm *tpm, enum esp_file file,
           const struct tpm_sealed *sealed, enum half_maker *out, struct st_err *err)
{
    struct tpm_authority under;
    uint32_t mask;
    enum st_code code = tpm_sealed_authority(sealed, &under, err);
    if (!code) {
        *out = HALF_FOLLOWED;
        return ST_OK;
    }
    if ((code = tpm_sealed_mask(sealed, &mask, err)))
        return code;
    code = tpm_sealed_check_creation(tpm, sealed, err);
    if (code && code != ST_PERMISSION_DENIED) {
        (void)st_wrap(err, "%s", esp_path(node->esp, file));
        return code;
    }
    *out = code || REFUSES(0x4819, mask_with(false, file) & ~mask) ? HALF_MADE_ELSEWHERE
                                                                   : HALF_MADE_HERE;
    return ST_OK;
}

enum st_code
half_unseal(const struct node *node, struct tpm *tpm, enum esp_file file, size_t len,
            struct secret *out, enum half_maker *out_maker, struct st_err *err)
{
    struct tpm_sealed sealed;
    SECRET secret = {0};
    enum st_code code;
    if ((code = read_sealed(node, file, &sealed, err)) ||
        (code = unseal(node, tpm, file, &sealed, len, &secret, err)) ||
        (code = find_maker(node, tpm, file, &sealed, out_maker, err)))
        return code;
    *out = secret;
    return ST_OK;
}

/* Found out now, and not at the update that needs it. */
static void
warn_of_refused(const struct node *node, enum esp_file file, const struct st_err *err)
{
    event("warning", "reason=\"what the masters approved does not open %s: %s\"",
          esp_path(node->esp, file), err->text);
}

/* ST_PERMISSION_DENIED where none of them opens it. */
static enum st_code
open_by_kept(const struct node *node, struct tpm *tpm, const struct tpm_sealed *sealed,
             struct secret *out, struct st_err *err)
{
    struct approvals kept = {0};
    enum st_code code = approvals_read(node->esp, &kept, err);
    if (code) {
        event("warning", "reason=\"%s\"", err->text);
        return ST_PERMISSION_DENIED;
    }
    code = ST_PERMISSION_DENIED;
    for (size_t i = 0; i < kept.count && code == ST_PERMISSION_DENIED; i++)
        code = tpm_unseal_approved(tpm, sealed, &kept.at[i], out, err);
    return code;
}

static enum st_code
open_any(const struct node *node, struct tpm *tpm, enum esp_file file,
         const struct tpm_sealed *sealed, const struct approvals *said,
         struct secret *out, struct st_err *err)
{
    struct tpm_authority under;
    struct st_err why = {0};
    enum st_code code = tpm_sealed_authority(sealed, &under, &why);
    const struct tpm_approval *by = code ? NULL : approvals_by(said, &under);
    if (by && !(code = tpm_unseal_approved(tpm, sealed, by, out, &why)))
        return ST_OK;
    if (by)
        warn_of_refused(node, file, &why);
    if ((code = tpm_unseal(tpm, sealed, out, err)) != ST_PERMISSION_DENIED)
        return code;
    code = open_by_kept(node, tpm, sealed, out, &why);
    if (code && code != ST_PERMISSION_DENIED && err)
        *err = why;
    return code;
}

enum st_code
half_open(const struct node *node, struct tpm *tpm, enum esp_file file,
          const struct approvals *said, struct secret *out, struct st_err *err)
{
    struct tpm_sealed sealed;
    SECRET secret = {0};
    enum st_code code;
    if ((code = read_sealed(node, file, &sealed, err)))
        return code;
    if ((code = open_any(node, tpm, file, &sealed, said, &secret, err)))
        return explain(node, file, code, err);
    if ((code = check_len(node, file, &secret, UNLOCK_KEY_LEN, err)))
        return code;
    *out = secret;
    return ST_OK;
}

enum st_code
half_open_kept(const struct node *node, struct tpm *tpm, enum esp_file file,
               struct secret *out, struct st_err *err)
{
    struct tpm_sealed sealed;
    SECRET secret = {0};
    enum st_code code;
    if ((code = read_sealed(node, file, &sealed, err)) ||
        (code = open_by_kept(node, tpm, &sealed, &secret, err)) ||
        (code = check_len(node, file, &secret, UNLOCK_KEY_LEN, err)))
        return code;
    *out = secret;
    return ST_OK;
}

/* What `back` came out as is the half. */
static enum st_code
check_same(const struct secret *back, const struct secret *half, struct st_err *err)
{
    if (!secret_equal(back, half))
        return st_fail(err, ST_DATA_LOSS, "the TPM gave back something else");
    return ST_OK;
}

/* It has to open in every way that there is before it may take the other one's place. */
static enum st_code
try_sealed(struct tpm *tpm, const struct tpm_sealed *sealed, const struct secret *half,
           const struct tpm_authority *under, const struct approvals *said,
           struct st_err *err)
{
    SECRET by_pcrs = {0}, by_approval = {0};
    const struct tpm_approval *by = approvals_by(said, under);
    enum st_code code;
    if ((code = tpm_unseal(tpm, sealed, &by_pcrs, err)) ||
        (code = check_same(&by_pcrs, half, err)))
        return code;
    if (!by)
        return ST_OK;
    code = tpm_unseal_approved(tpm, sealed, by, &by_approval, err);
    return code ? code : check_same(&by_approval, half, err);
}

static enum st_code
seal_anew(const struct node *node, struct tpm *tpm, enum esp_file file,
          const struct secret *half, const struct tpm_authority *under,
          const struct approvals *said, struct st_err *err)
{
    struct tpm_sealed sealed;
    enum st_code code =
        tpm_seal_under(tpm, half, mask_of(node, file), under, &sealed, err);
    if (code)
        return code;
    if (REFUSES(0x4801, (code = try_sealed(tpm, &sealed, half, under, said, err))))
        return code;
    return esp_write(node->esp, file, sealed.bytes, sealed.len, err);
}

/* Under this authority, and to all PCRs of today. */
static enum st_code
is_sealed_well(const struct node *node, enum esp_file file,
               const struct tpm_authority *wanted, bool *out, struct st_err *err)
{
    struct tpm_sealed sealed;
    struct tpm_authority under;
    uint32_t mask;
    enum st_code code;
    if ((code = read_sealed(node, file, &sealed, err)) ||
        (code = tpm_sealed_mask(&sealed, &mask, err)))
        return code;
    code = tpm_sealed_authority(&sealed, &under, err);
    if (code && code != ST_NOT_FOUND)
        return code;
    *out =
        !code && !memcmp(&under, wanted, sizeof(under)) && !(mask_of(node, file) & ~mask);
    return ST_OK;
}

static enum st_code
follow_authority(const struct node *node, struct tpm *tpm, enum esp_file file,
                 const struct secret *half, const struct tpm_authority *wanted,
                 const struct approvals *said, struct st_err *err)
{
    bool done;
    enum st_code code = is_sealed_well(node, file, wanted, &done, err);
    if (code || done)
        return code;
    if ((code = seal_anew(node, tpm, file, half, wanted, said, err)))
        return code;
    event("seal",
          "node=%s reason=\"%s opens also after what the cluster approves from now "
          "on\"",
          node->config.node_id, esp_path(node->esp, file));
    return ST_OK;
}

/* Once it has opened what is sealed by now. */
static enum st_code
keep_approval(const struct node *node, struct tpm *tpm, const struct secret *half,
              const struct tpm_authority *under, const struct approvals *said,
              struct st_err *err)
{
    struct tpm_sealed sealed;
    SECRET back = {0};
    enum st_code code;
    const struct tpm_approval *by = approvals_by(said, under);
    if (!by || approvals_first_is(node->esp, by))
        return ST_OK;
    if ((code = read_sealed(node, ESP_SEALED, &sealed, err)))
        return code;
    if (REFUSES(0x4802, (code = tpm_unseal_approved(tpm, &sealed, by, &back, err)) ||
                            (code = check_same(&back, half, err))))
        return code;
    return approvals_keep(node->esp, by, err);
}

void
half_follow(const struct node *node, struct tpm *tpm, enum esp_file file,
            const struct secret *half, const struct approvals *said)
{
    const bool control = file == ESP_CONTROL; /* the approvals are those of `sealed` */
    struct tpm_authority wanted;
    struct st_err err = {0};
    enum st_code code = ST_OK;
    if (said->has_authority)
        code = tpm_authority_for(said->authority, node->config.node_id, &wanted, &err);
    if (said->has_authority && !code)
        code = follow_authority(node, tpm, file, half, &wanted, said, &err);
    node_passed(node, control ? CONTROL_SEALED_ANEW : HALF_SEALED_ANEW);
    if (said->has_authority && !code && !control)
        code = keep_approval(node, tpm, half, &wanted, said, &err);
    if (!control)
        node_passed(node, HALF_APPROVAL_KEPT);
    if (code)
        event("warning", "reason=\"%s stays as it was: %s\"", esp_path(node->esp, file),
              err.text);
}

/* Who certified an EK.  wolfSSL checks signatures and dates; what it does not look at, or
 * would let pass, is read here: the CA bit of a CA that an operator gives, and what the
 * certificate is for. */
#include <wolfssl/options.h>

#include "proto/scope.h"
#include "tpm/judge_internal.h"

#include <string.h>
#include <wolfssl/ssl.h>

/* Contents of the OIDs: RFC 5280, 4.2.1.9 and 4.2.1.12; TCG EK Credential Profile,
 * tcg-kp-EKCertificate. */
static const uint8_t basic_constraints[] = {0x55, 0x1d, 0x13};
static const uint8_t extended_key_usage[] = {0x55, 0x1d, 0x25};
static const uint8_t for_an_ek[] = {0x67, 0x81, 0x05, 0x08, 0x01};

AUTO_DEFINE(WOLFSSL_CERT_MANAGER *, manager_freep, wolfSSL_CertManagerFree)

/* One byte is as much as anybody needs; what is longer or negative allows nothing. */
static size_t
path_len(struct der *content)
{
    struct der number;
    if (content->len == 0)
        return SIZE_MAX;
    if (!der_read(content, DER_INTEGER, &number) || number.len != 1 ||
        number.at[0] >= 0x80)
        return 0;
    return number.at[0];
}

bool
tpm_cert_is_ca(const struct der_certificate *cert, size_t *below)
{
    struct der value, content, bit;
    if (!der_extension(cert, basic_constraints, sizeof(basic_constraints), &value) ||
        !der_check(value.at, value.len, DER_SEQUENCE) ||
        !der_read(&value, DER_SEQUENCE, &content) ||
        !der_next_is(&content, DER_BOOLEAN) || !der_read(&content, DER_BOOLEAN, &bit) ||
        !der_equal(&bit, "\xff", 1))
        return false;
    *below = path_len(&content);
    return true;
}

bool
tpm_cert_has_purpose(const struct der_certificate *cert, const void *oid, size_t len)
{
    struct der value, content, purpose;
    if (!der_extension(cert, extended_key_usage, sizeof(extended_key_usage), &value) ||
        !der_check(value.at, value.len, DER_SEQUENCE) ||
        !der_read(&value, DER_SEQUENCE, &content))
        return false;
    while (der_read(&content, DER_OID, &purpose))
        if (der_equal(&purpose, oid, len))
            return true;
    return false;
}

bool
tpm_cert_is_for_an_ek(const struct der_certificate *cert)
{
    return tpm_cert_has_purpose(cert, for_an_ek, sizeof(for_an_ek));
}

enum st_code
tpm_ek_ca_check(const void *ca, size_t len, struct st_err *err)
{
    struct der_certificate cert;
    size_t below;
    if (len > CERT_MAX_LEN || !der_certificate(ca, len, &cert))
        return tpm_malformed(err, "a CA's certificate is one X.509 in DER");
    if (REFUSES(0x24c, !tpm_cert_is_ca(&cert, &below)))
        return tpm_malformed(err, "this certificate is no CA's: it has no CA bit");
    return ST_OK;
}

static void
add_text(const struct der *text, char out[TPM_CA_NAME_MAX])
{
    size_t used = strlen(out);
    if (used > 0 && used + 2 < TPM_CA_NAME_MAX) {
        out[used++] = ',';
        out[used++] = ' ';
    }
    for (size_t i = 0; i < text->len && used + 1 < TPM_CA_NAME_MAX; i++)
        out[used++] = text->at[i] >= ' ' && text->at[i] <= '~' ? (char)text->at[i] : '?';
    out[used] = 0;
}

void
tpm_ek_ca_name(const void *ca, size_t len, char out[TPM_CA_NAME_MAX])
{
    struct der_certificate cert;
    struct der names, set, pair, oid;
    out[0] = 0;
    if (!der_certificate(ca, len, &cert) ||
        !der_read(&cert.subject, DER_SEQUENCE, &names))
        return;
    while (der_read(&names, DER_SET, &set))
        if (der_read(&set, DER_SEQUENCE, &pair) && der_read(&pair, DER_OID, &oid) &&
            pair.len > 2 && pair.at[1] == pair.len - 2)
            add_text(&(struct der){pair.at + 2, pair.len - 2}, out);
}

/* One CA alone is loaded, so that it is this one that signed. */
bool
tpm_cert_is_signed(const struct der *cert, const struct der *ca)
{
    AUTO(manager_freep) WOLFSSL_CERT_MANAGER *manager = wolfSSL_CertManagerNew();
    const bool good =
        manager &&
        wolfSSL_CertManagerLoadCABuffer(manager, ca->at, (long)ca->len,
                                        WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS &&
        wolfSSL_CertManagerVerifyBuffer(manager, cert->at, (long)cert->len,
                                        WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS;
    wc_ecc_fp_free(); /* what it keeps for this thread */
    return good;
}

enum st_code
tpm_ek_chain_check(const void *ek_cert, size_t len, const void *ca, size_t ca_len,
                   struct st_err *err)
{
    struct der_certificate cert, issuer;
    enum st_code code = tpm_ek_ca_check(ca, ca_len, err);
    if (code)
        return tpm_refused(err, "what signed the EK certificate is no CA");
    if (len > CERT_MAX_LEN || !der_certificate(ek_cert, len, &cert) ||
        !der_certificate(ca, ca_len, &issuer))
        return tpm_refused(err, "the EK certificate is not one X.509 in DER");
    /* It spares the signature's check; who signed, the signature says. */
    if (!der_equal(&cert.issuer, issuer.subject.at, issuer.subject.len))
        return tpm_refused(err, "the EK certificate is of another CA");
    if (REFUSES(0x24b, !tpm_cert_is_for_an_ek(&cert)))
        return tpm_refused(err, "the certificate is not for an EK");
    if (REFUSES(0x24a, !tpm_cert_is_signed(&(struct der){ek_cert, len},
                                           &(struct der){ca, ca_len})))
        return tpm_refused(err, "the EK certificate was not signed by this CA, or is out "
                                "of date");
    return ST_OK;
}

/* The way from an EK certificate to a CA over certificates that a stranger sends.
 *
 * It is looked for by names, from the EK certificate upwards; signatures are computed
 * from the CA downwards, so that no key of a stranger's choice costs time: an RSA key
 * with an exponent of 4096 bits would.  What a certificate says of itself is read here
 * and not by wolfSSL, which lets one that is loaded as a CA pass for a CA.
 */
#include "tpm/judge_internal.h"

#include <string.h>

/* Contents of the OIDs: RFC 5280, 4.2.1.3, 4.2.1.10 and 4.2.1.12. */
static const uint8_t key_usage[] = {0x55, 0x1d, 0x0f};
static const uint8_t name_constraints[] = {0x55, 0x1d, 0x1e};
static const uint8_t extended_key_usage[] = {0x55, 0x1d, 0x25};
static const uint8_t any_purpose[] = {0x55, 0x1d, 0x25, 0x00};

/* RFC 4055, 5 and RFC 5758, 3.2: SHA-256, SHA-384 and SHA-512, as AlgorithmIdentifiers
 * begin; the last byte says which. */
static const uint8_t rsa_with_sha[] = {DER_OID, 9,    0x2a, 0x86, 0x48,
                                       0x86,    0xf7, 0x0d, 0x01, 0x01};
static const uint8_t ecdsa_with_sha[] = {DER_OID, 8,    0x2a, 0x86, 0x48,
                                         0xce,    0x3d, 0x04, 0x03};

static bool
is_one_of(const struct der *algorithm, const uint8_t *oid, size_t len, uint8_t first,
          uint8_t last)
{
    return algorithm->len > len && memcmp(algorithm->at, oid, len) == 0 &&
           algorithm->at[len] >= first && algorithm->at[len] <= last;
}

static bool
is_strong(const struct der_certificate *cert)
{
    return is_one_of(&cert->algorithm, rsa_with_sha, sizeof(rsa_with_sha), 11, 13) ||
           is_one_of(&cert->algorithm, ecdsa_with_sha, sizeof(ecdsa_with_sha), 2, 4);
}

static bool
signs_certificates(const struct der_certificate *cert)
{
    enum {
        KEY_CERT_SIGN = 0x04, /* bit 5 of a BIT STRING */
    };
    struct der value, bits;
    return der_extension(cert, key_usage, sizeof(key_usage), &value) &&
           der_read(&value, DER_BIT_STRING, &bits) && value.len == 0 && bits.len > 1 &&
           bits.at[1] & KEY_CERT_SIGN;
}

static bool
says(const struct der_certificate *cert, const uint8_t *oid, size_t len)
{
    struct der value;
    return der_extension(cert, oid, len, &value);
}

static bool
may_lead_to_eks(const struct der_certificate *cert)
{
    return !says(cert, extended_key_usage, sizeof(extended_key_usage)) ||
           tpm_cert_is_for_an_ek(cert) ||
           tpm_cert_has_purpose(cert, any_purpose, sizeof(any_purpose));
}

/* What it says of itself.  Constraints on names would have to be held against all below,
 * and wolfSSL holds them against the next alone. */
static bool
is_intermediate(const struct der_certificate *cert, size_t *below)
{
    *below = SIZE_MAX;
    return !REFUSES(0x2401, !tpm_cert_is_ca(cert, below)) &&
           !REFUSES(0x2402, !signs_certificates(cert)) &&
           !REFUSES(0x2403, !may_lead_to_eks(cert)) &&
           !REFUSES(0x2404, says(cert, name_constraints, sizeof(name_constraints))) &&
           !REFUSES(0x2405, !is_strong(cert)) &&
           !der_equal(&cert->issuer, cert->subject.at, cert->subject.len);
}

static size_t
read_all(const ProtobufCBinaryData *given, size_t count,
         struct tpm_ek_link out[TPM_EK_CHAIN_CERTS])
{
    size_t found = 0, bytes = 0;
    for (size_t i = 0; i < count && i < TPM_EK_CHAIN_CERTS; i++) {
        struct der_certificate cert;
        size_t below;
        if (given[i].len > TPM_EK_CHAIN_MAX - bytes)
            break;
        bytes += given[i].len;
        if (der_certificate(given[i].data, given[i].len, &cert) &&
            is_intermediate(&cert, &below))
            out[found++] = (struct tpm_ek_link){
                {given[i].data, given[i].len}, cert.issuer, cert.subject, below};
    }
    return found;
}

void
tpm_ek_chain_read(const void *ek_cert, size_t len, const ProtobufCBinaryData *given,
                  size_t count, struct tpm_ek_chain *out)
{
    struct tpm_ek_link all[TPM_EK_CHAIN_CERTS];
    bool linked[TPM_EK_CHAIN_CERTS] = {0};
    struct der_certificate ek;
    out->count = 0;
    if (len > CERT_MAX_LEN || !der_certificate(ek_cert, len, &ek))
        return;
    const size_t found = read_all(given, count, all);
    for (size_t round = 0; round < found; round++)
        for (size_t i = 0; i < found; i++) {
            const struct der *name = &all[i].subject;
            linked[i] |= der_equal(&ek.issuer, name->at, name->len);
            for (size_t j = 0; j < found; j++)
                linked[i] |= linked[j] && der_equal(&all[j].issuer, name->at, name->len);
        }
    for (size_t i = 0; i < found; i++)
        if (linked[i])
            out->links[out->count++] = all[i];
}

struct path {
    const struct tpm_ek_chain *chain;
    struct tpm_ek_link ca;
    struct {
        enum {
            UNKNOWN,
            ASKED, /* a loop ends here */
            GOOD,
        } is;
        size_t below;
    } known[TPM_EK_CHAIN_CERTS];
    unsigned signatures; /* that may still be computed */
};

static bool
names(const struct der *issuer, const struct tpm_ek_link *above)
{
    return der_equal(issuer, above->subject.at, above->subject.len);
}

static bool
is_signed(struct path *path, const struct der *cert, const struct der *above)
{
    if (path->signatures == 0)
        return false;
    path->signatures--;
    return tpm_cert_is_signed(cert, above);
}

/* Link i is where it may be under this one, which is good; `below`: how many more that
 * one allows. */
static bool
stands_under(struct path *path, size_t i, const struct tpm_ek_link *above, size_t below)
{
    const struct tpm_ek_link *link = &path->chain->links[i];
    if (REFUSES(0x2406, below == 0) ||
        REFUSES(0x2407, !is_signed(path, &link->cert, &above->cert)))
        return false;
    path->known[i].is = GOOD;
    path->known[i].below = below - 1 < link->below ? below - 1 : link->below;
    return true;
}

static bool
leads_to_ca(struct path *path, size_t i)
{
    const struct tpm_ek_chain *chain = path->chain;
    const struct tpm_ek_link *link = &chain->links[i];
    if (path->known[i].is != UNKNOWN)
        return path->known[i].is == GOOD;
    path->known[i].is = ASKED;
    if (names(&link->issuer, &path->ca) &&
        stands_under(path, i, &path->ca, path->ca.below))
        return true;
    for (size_t j = 0; j < chain->count; j++)
        if (names(&link->issuer, &chain->links[j]) && leads_to_ca(path, j) &&
            stands_under(path, i, &chain->links[j], path->known[j].below))
            return true;
    return false;
}

static bool
ek_leads_to_ca(struct path *path, const struct der *cert, const struct der *issuer)
{
    for (size_t i = 0; i < path->chain->count; i++) {
        const struct tpm_ek_link *link = &path->chain->links[i];
        if (names(issuer, link) && leads_to_ca(path, i) &&
            !REFUSES(0x2408, !is_signed(path, cert, &link->cert)))
            return true;
    }
    return false;
}

enum st_code
tpm_ek_path_check(const void *ek_cert, size_t len, const struct tpm_ek_chain *chain,
                  const void *ca, size_t ca_len, struct st_err *err)
{
    struct der_certificate cert, root;
    struct path path = {.chain = chain, .signatures = TPM_EK_SIGNATURES_MAX};
    if (len > CERT_MAX_LEN || !der_certificate(ek_cert, len, &cert))
        return tpm_refused(err, "the EK certificate is not one X.509 in DER");
    if (ca_len > CERT_MAX_LEN || !der_certificate(ca, ca_len, &root) ||
        !tpm_cert_is_ca(&root, &path.ca.below))
        return tpm_refused(err, "what the chain would lead to is no CA");
    if (REFUSES(0x2409, says(&root, name_constraints, sizeof(name_constraints))))
        return tpm_refused(err, "this CA constrains the names below it");
    if (REFUSES(0x240a, !tpm_cert_is_for_an_ek(&cert)))
        return tpm_refused(err, "the certificate is not for an EK");
    if (REFUSES(0x240b, !is_strong(&cert)))
        return tpm_refused(err, "the EK certificate was signed with a hash that is weak");
    path.ca.cert = (struct der){ca, ca_len};
    path.ca.subject = root.subject;
    if (!ek_leads_to_ca(&path, &(struct der){ek_cert, len}, &cert.issuer))
        return tpm_refused(err, "the EK certificate does not lead to this CA");
    return ST_OK;
}

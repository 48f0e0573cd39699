#include "nms/ca_check.h"
#include "proto/der.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <inttypes.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

AUTO_DEFINE(X509 *, x509_freep, X509_free)
AUTO_DEFINE(X509_CRL *, crl_freep, X509_CRL_free)
AUTO_DEFINE(ASN1_INTEGER *, integer_freep, ASN1_INTEGER_free)

#define COMMON_NAME "smalltown-member-"

/* OpenSSL keeps a queue of errors per thread, which gRPC would find later. */
static void
queue_clearp(const void *scope)
{
    (void)scope;
    ERR_clear_error();
}
#define CLEAR_ERRORS AUTO(queue_clearp) __attribute__((unused)) const char scope = 0

/* Strict DER first: OpenSSL takes more. */
static X509 *
cert_parse(const void *der, size_t len, size_t max)
{
    struct der_certificate parsed;
    const unsigned char *at = der;
    return len <= max && der_certificate(der, len, &parsed)
               ? d2i_X509(NULL, &at, (long)len)
               : NULL;
}

static X509_CRL *
crl_parse(const void *der, size_t len)
{
    const unsigned char *at = der;
    return len <= CRL_MAX_LEN && der_check(der, len, DER_SEQUENCE)
               ? d2i_X509_CRL(NULL, &at, (long)len)
               : NULL;
}

static bool
is_ed25519(X509 *cert)
{
    const EVP_PKEY *key = X509_get0_pubkey(cert);
    return key && EVP_PKEY_id(key) == EVP_PKEY_ED25519;
}

static bool
key_is(X509 *cert, const uint8_t public_key[ED25519_PUBLIC_LEN])
{
    uint8_t raw[ED25519_PUBLIC_LEN];
    size_t len = sizeof(raw);
    return is_ed25519(cert) &&
           EVP_PKEY_get_raw_public_key(X509_get0_pubkey(cert), raw, &len) == 1 &&
           len == sizeof(raw) && memcmp(raw, public_key, len) == 0;
}

/* Of this issuer, by name, permission and signature. */
static bool
signed_by(X509 *issuer, X509 *cert)
{
    return X509_check_issued(issuer, cert) == X509_V_OK &&
           X509_verify(cert, X509_get0_pubkey(issuer)) == 1;
}

static enum st_code
ca_judge(X509 *ca, struct st_err *err)
{
    /* 1: version 3, the CA bit, and where keyUsage is there it permits to sign */
    if (REFUSES(0x52c, !is_ed25519(ca) || X509_check_ca(ca) != 1))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the certificate of the authority is not one of a CA");
    if (REFUSES(0x52fa, !signed_by(ca, ca)))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the certificate of the authority is not signed by itself");
    return ST_OK;
}

/* The id in the subject, which is one common name and nothing else. */
static bool
member_id(X509 *cert, uint64_t *out)
{
    char text[64], again[64];
    const X509_NAME *subject = X509_get_subject_name(cert);
    const size_t prefix = strlen(COMMON_NAME);
    const int len =
        X509_NAME_get_text_by_NID(subject, NID_commonName, text, sizeof(text));
    if (X509_NAME_entry_count(subject) != 1 || len <= (int)prefix ||
        (size_t)len != strlen(text))
        return false;
    const uint64_t id = strtoull(text + prefix, NULL, 10);
    snprintf(again, sizeof(again), COMMON_NAME "%" PRIu64, id);
    *out = id;
    return id != 0 && strcmp(text, again) == 0;
}

static enum st_code
cert_judge(X509 *cert, X509 *ca, const uint8_t public_key[ED25519_PUBLIC_LEN],
           uint64_t *out_id, struct st_err *err)
{
    const uint32_t both = XKU_SSL_SERVER | XKU_SSL_CLIENT;
    const bool named = member_id(cert, out_id);
    if (REFUSES(0x52d, !signed_by(ca, cert)))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the member's certificate is not signed by the authority");
    if (REFUSES(0x52e, !key_is(cert, public_key)))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the member's certificate is for another key");
    if (REFUSES(0x52fb, !named))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the member's certificate does not name a member");
    if (REFUSES(0x52fc, X509_check_ca(cert) != 0 ||
                            (X509_get_extended_key_usage(cert) & both) != both))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the member's certificate is not for both ends of a connection");
    return ST_OK;
}

static bool
has_number(const X509_CRL *crl)
{
    AUTO(integer_freep)
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    return number != NULL;
}

static bool
is_list_of(X509_CRL *crl, X509 *ca)
{
    return X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(ca)) == 0 &&
           X509_CRL_verify(crl, X509_get0_pubkey(ca)) == 1;
}

static bool
is_listed(X509_CRL *crl, X509 *cert)
{
    X509_REVOKED *revoked;
    return X509_CRL_get0_by_serial(crl, &revoked, X509_get_serialNumber(cert)) != 0;
}

static enum st_code
crl_judge(X509_CRL *crl, X509 *ca, X509 *cert, struct st_err *err)
{
    if (REFUSES(0x52f, !is_list_of(crl, ca)))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the list of revoked certificates is of another authority");
    if (REFUSES(0x52fd, !has_number(crl)))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the list of revoked certificates has no number");
    if (REFUSES(0x52fe, is_listed(crl, cert)))
        return st_fail(err, ST_INVALID_ARGUMENT, "the member's certificate is revoked");
    return ST_OK;
}

enum st_code
ca_check_member(const struct ca_given *given,
                const uint8_t public_key[ED25519_PUBLIC_LEN], uint64_t *out_id,
                struct st_err *err)
{
    CLEAR_ERRORS;
    const size_t max = sizeof(((struct cert *)0)->der);
    AUTO(x509_freep) X509 *ca = cert_parse(given->ca, given->ca_len, max);
    AUTO(x509_freep) X509 *cert = cert_parse(given->cert, given->cert_len, max);
    AUTO(crl_freep) X509_CRL *crl = crl_parse(given->crl, given->crl_len);
    uint64_t id = 0;
    enum st_code code;
    if (!ca || !cert || !crl)
        return st_fail(err, ST_INVALID_ARGUMENT, "the %s is missing or malformed",
                       !ca     ? "certificate of the authority"
                       : !cert ? "member's certificate"
                               : "list of revoked certificates");
    if ((code = ca_judge(ca, err)) ||
        (code = cert_judge(cert, ca, public_key, &id, err)) ||
        (code = crl_judge(crl, ca, cert, err)))
        return code;
    *out_id = id;
    return ST_OK;
}

bool
ca_is_revoked(const struct ca_given *given)
{
    CLEAR_ERRORS;
    const size_t max = sizeof(((struct cert *)0)->der);
    AUTO(x509_freep) X509 *ca = cert_parse(given->ca, given->ca_len, max);
    AUTO(x509_freep) X509 *cert = cert_parse(given->cert, given->cert_len, max);
    AUTO(crl_freep) X509_CRL *crl = crl_parse(given->crl, given->crl_len);
    if (!ca || !cert || !crl || REFUSES(0x52e3, !signed_by(ca, cert)))
        return false;
    return is_list_of(crl, ca) && is_listed(crl, cert);
}

#include "nms/ca.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <inttypes.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

AUTO_DEFINE(X509 *, x509_freep, X509_free)
AUTO_DEFINE(X509_CRL *, crl_freep, X509_CRL_free)
AUTO_DEFINE(X509_REVOKED *, revoked_freep, X509_REVOKED_free)
AUTO_DEFINE(X509_NAME *, x509_name_freep, X509_NAME_free)
AUTO_DEFINE(EVP_PKEY *, pkey_freep, EVP_PKEY_free)
AUTO_DEFINE(ASN1_INTEGER *, integer_freep, ASN1_INTEGER_free)
AUTO_DEFINE(ASN1_TIME *, asn1_time_freep, ASN1_TIME_free)

/* OpenSSL keeps a queue of errors per thread, which gRPC would find later. */
static enum st_code
ca_fail(struct st_err *err, const char *what)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ERR_clear_error();
    return st_fail(err, ST_INTERNAL, "%s: %s", what, text);
}

static EVP_PKEY *
pkey_of_seed(const struct secret *seed)
{
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed->bytes, seed->len);
}

static EVP_PKEY *
pkey_of_pkcs8(const struct secret *pkcs8)
{
    const unsigned char *at = pkcs8->bytes;
    return d2i_AutoPrivateKey(NULL, &at, (long)pkcs8->len);
}

static X509_NAME *
name_of(const char *common_name)
{
    AUTO(x509_name_freep) X509_NAME *name = X509_NAME_new();
    if (!name ||
        !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                    (const unsigned char *)common_name, -1, -1, 0))
        return NULL;
    return TAKE(name);
}

static bool
extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool good = extension && X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    return good;
}

/* Version, serial number, dates, names and key: all but extensions and signature. */
static bool
cert_fill(X509 *cert, uint64_t serial, const char *common_name, X509 *issuer,
          EVP_PKEY *key)
{
    AUTO(x509_name_freep) X509_NAME *subject = name_of(common_name);
    return subject && X509_set_version(cert, X509_VERSION_3) &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial) &&
           ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "19700101000000Z") &&
           ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), "99991231235959Z") &&
           X509_set_subject_name(cert, subject) &&
           X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject) &&
           X509_set_pubkey(cert, key);
}

/* Ed25519 has no separate digest (RFC 8410). */
static bool
cert_sign(X509 *cert, EVP_PKEY *key, struct cert *out)
{
    unsigned char *at = out->der;
    if (!X509_sign(cert, key, NULL))
        return false;
    const int len = i2d_X509(cert, NULL);
    if (len <= 0 || (size_t)len > sizeof(out->der) || i2d_X509(cert, &at) != len)
        return false;
    out->len = (size_t)len;
    return true;
}

enum st_code
ca_new(const char *cluster, struct ca *out, struct st_err *err)
{
    SECRET seed = {0};
    SECRET pkcs8 = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    char common_name[80];
    struct cert made = {0};
    enum st_code code;
    if ((code = key_generate(&seed, public_key, err)) ||
        (code = key_to_pkcs8(&seed, &pkcs8, err)))
        return code;
    snprintf(common_name, sizeof(common_name), "%.48s consensus", cluster);
    AUTO(pkey_freep) EVP_PKEY *key = pkey_of_seed(&seed);
    AUTO(x509_freep) X509 *cert = X509_new();
    if (!key || !cert || !cert_fill(cert, 1, common_name, NULL, key) ||
        !extend(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !extend(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !extend(cert, cert, NID_subject_key_identifier, "hash") ||
        !cert_sign(cert, key, &made))
        return ca_fail(err, "make the consensus CA");
    out->cert = made;
    out->key = pkcs8;
    return ST_OK;
}

static X509 *
ca_x509(const struct ca *ca)
{
    const unsigned char *at = ca->cert.der;
    return d2i_X509(NULL, &at, (long)ca->cert.len);
}

static bool
crl_fill(X509_CRL *crl, X509 *issuer)
{
    AUTO(asn1_time_freep) ASN1_TIME *from = ASN1_TIME_new();
    AUTO(asn1_time_freep) ASN1_TIME *until = ASN1_TIME_new();
    return from && until && ASN1_TIME_set_string_X509(from, "19700101000000Z") &&
           ASN1_TIME_set_string_X509(until, "99991231235959Z") &&
           X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
           X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer)) &&
           X509_CRL_set1_lastUpdate(crl, from) && X509_CRL_set1_nextUpdate(crl, until);
}

static bool
crl_set_number(X509_CRL *crl, uint64_t number)
{
    AUTO(integer_freep) ASN1_INTEGER *wrapped = ASN1_INTEGER_new();
    return wrapped && ASN1_INTEGER_set_uint64(wrapped, number) &&
           X509_CRL_add1_ext_i2d(crl, NID_crl_number, wrapped, 0, X509V3_ADD_REPLACE) ==
               1;
}

static enum st_code
crl_finish(X509_CRL *crl, const struct ca *ca, struct crl *out, struct st_err *err)
{
    AUTO(pkey_freep) EVP_PKEY *key = pkey_of_pkcs8(&ca->key);
    unsigned char *at = out->der;
    if (!key || !X509_CRL_sort(crl) || !X509_CRL_sign(crl, key, NULL))
        return ca_fail(err, "sign a list of revoked certificates");
    const int len = i2d_X509_CRL(crl, NULL);
    if (len > (int)sizeof(out->der))
        return st_fail(err, ST_RESOURCE_EXHAUSTED,
                       "the list of revoked certificates is full");
    if (len <= 0 || i2d_X509_CRL(crl, &at) != len)
        return ca_fail(err, "write a list of revoked certificates");
    out->len = (size_t)len;
    return ST_OK;
}

enum st_code
ca_crl_empty(const struct ca *ca, uint64_t number, struct crl *out, struct st_err *err)
{
    AUTO(x509_freep) X509 *issuer = ca_x509(ca);
    AUTO(crl_freep) X509_CRL *crl = X509_CRL_new();
    if (!issuer || !crl || !crl_fill(crl, issuer) || !crl_set_number(crl, number))
        return ca_fail(err, "make a list of revoked certificates");
    return crl_finish(crl, ca, out, err);
}

/* The whole of der is one list. */
static X509_CRL *
crl_parse(const void *der, size_t len)
{
    const unsigned char *at = der;
    AUTO(crl_freep)
    X509_CRL *crl = len <= CRL_MAX_LEN ? d2i_X509_CRL(NULL, &at, (long)len) : NULL;
    if (!crl || at != (const unsigned char *)der + len)
        return NULL;
    return TAKE(crl);
}

static bool
crl_get_number(const X509_CRL *crl, uint64_t *out)
{
    AUTO(integer_freep)
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    return number && ASN1_INTEGER_get_uint64(out, number);
}

enum st_code
ca_crl_number(const void *crl, size_t len, uint64_t *out, struct st_err *err)
{
    AUTO(crl_freep) X509_CRL *parsed = crl_parse(crl, len);
    if (!parsed || !crl_get_number(parsed, out)) {
        ERR_clear_error();
        return st_fail(err, ST_INVALID_ARGUMENT, "not a list of revoked certificates");
    }
    return ST_OK;
}

static bool
crl_add(X509_CRL *crl, uint64_t serial, int64_t now)
{
    AUTO(integer_freep) ASN1_INTEGER *wrapped = ASN1_INTEGER_new();
    AUTO(asn1_time_freep) ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)now);
    AUTO(revoked_freep) X509_REVOKED *revoked = X509_REVOKED_new();
    if (!wrapped || !when || !revoked || !ASN1_INTEGER_set_uint64(wrapped, serial) ||
        !X509_REVOKED_set_serialNumber(revoked, wrapped) ||
        !X509_REVOKED_set_revocationDate(revoked, when) ||
        !X509_CRL_add0_revoked(crl, revoked))
        return false;
    revoked = NULL; /* the list's */
    return true;
}

enum st_code
ca_revoke(const struct ca *ca, const void *crl, size_t crl_len, uint64_t serial,
          int64_t now, struct crl *out, uint64_t *out_number, struct st_err *err)
{
    uint64_t number;
    AUTO(x509_freep) X509 *issuer = ca_x509(ca);
    AUTO(crl_freep) X509_CRL *list = crl_parse(crl, crl_len);
    if (!issuer)
        return ca_fail(err, "read the certificate of the consensus CA");
    if (REFUSES(0x53b, !list || X509_CRL_verify(list, X509_get0_pubkey(issuer)) != 1 ||
                           !crl_get_number(list, &number) || number == UINT64_MAX)) {
        ERR_clear_error();
        return st_fail(err, ST_DATA_LOSS, "the list of revoked certificates is damaged");
    }
    if (!crl_set_number(list, number + 1) || !crl_add(list, serial, now))
        return ca_fail(err, "add to the list of revoked certificates");
    enum st_code code = crl_finish(list, ca, out, err);
    if (!code)
        *out_number = number + 1;
    return code;
}

enum st_code
ca_certify_member(const struct ca *ca, uint64_t member_id, uint64_t serial,
                  const uint8_t public_key[ED25519_PUBLIC_LEN], struct cert *out,
                  struct st_err *err)
{
    char common_name[64];
    struct cert made = {0};
    snprintf(common_name, sizeof(common_name), "smalltown-member-%" PRIu64, member_id);
    AUTO(pkey_freep) EVP_PKEY *ca_key = pkey_of_pkcs8(&ca->key);
    AUTO(pkey_freep)
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key,
                                                ED25519_PUBLIC_LEN);
    AUTO(x509_freep) X509 *issuer = ca_x509(ca);
    AUTO(x509_freep) X509 *cert = X509_new();
    if (!ca_key || !key || !issuer || !cert ||
        !cert_fill(cert, serial, common_name, issuer, key) ||
        !extend(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
        !extend(cert, issuer, NID_key_usage, "critical,digitalSignature") ||
        !extend(cert, issuer, NID_ext_key_usage, "serverAuth,clientAuth") ||
        !extend(cert, issuer, NID_authority_key_identifier, "keyid:always") ||
        !cert_sign(cert, ca_key, &made))
        return ca_fail(err, "issue a member's certificate");
    *out = made;
    return ST_OK;
}

enum st_code
ca_issue_member(const struct ca *ca, uint64_t member_id, uint64_t serial,
                struct cert *out, struct secret *out_key, struct st_err *err)
{
    SECRET seed = {0};
    SECRET pkcs8 = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    enum st_code code;
    if ((code = key_generate(&seed, public_key, err)) ||
        (code = key_to_pkcs8(&seed, &pkcs8, err)) ||
        (code = ca_certify_member(ca, member_id, serial, public_key, out, err)))
        return code;
    *out_key = pkcs8;
    return ST_OK;
}

static enum st_code
client_judge(const void *der, size_t len, int64_t now, struct st_err *err)
{
    uint8_t key[ED25519_PUBLIC_LEN];
    const unsigned char *at = der;
    time_t when = (time_t)now;
    enum st_code code = cert_public_key(der, len, key, err);
    if (code)
        return code;
    AUTO(x509_freep) X509 *cert = d2i_X509(NULL, &at, (long)len);
    if (!cert) {
        ERR_clear_error();
        return st_fail(err, ST_INVALID_ARGUMENT, "not a certificate");
    }
    if (REFUSES(0x50c, !(X509_get_extended_key_usage(cert) & XKU_SSL_CLIENT)))
        return st_fail(err, ST_INVALID_ARGUMENT, "the certificate is not for clients");
    /* Both functions give 0 for a date that they cannot read. */
    if (REFUSES(0x50d, X509_cmp_time(X509_get0_notBefore(cert), &when) >= 0 ||
                           X509_cmp_time(X509_get0_notAfter(cert), &when) <= 0))
        return st_fail(err, ST_INVALID_ARGUMENT, "the certificate is not in date");
    return ST_OK;
}

/* A program that administers calls many times a second, and the judgement costs more than
 * the rest of a call: the last certificate that passed is not judged again within the
 * second for which it did. */
enum st_code
ca_client_check(const void *der, size_t len, int64_t now, struct st_err *err)
{
    static _Thread_local struct cert passed;
    static _Thread_local int64_t passed_at;
    if (len > 0 && now == passed_at && len == passed.len &&
        memcmp(der, passed.der, len) == 0)
        return ST_OK;
    enum st_code code = client_judge(der, len, now, err);
    if (code || len > sizeof(passed.der))
        return code;
    memcpy(passed.der, der, len);
    passed.len = len;
    passed_at = now;
    return ST_OK;
}

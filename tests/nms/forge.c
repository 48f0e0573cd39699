#include "tests/nms/forge.h"
#include "tests/cmocka.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

static EVP_PKEY *
key_of(const struct ca *ca)
{
    const unsigned char *at = ca->key.bytes;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)ca->key.len);
    assert_non_null(key);
    return key;
}

static X509 *
cert_of(const struct ca *ca)
{
    const unsigned char *at = ca->cert.der;
    X509 *cert = d2i_X509(NULL, &at, (long)ca->cert.len);
    assert_non_null(cert);
    return cert;
}

static EVP_PKEY *
fresh_key(const struct forge *what, struct ca *out)
{
    EVP_PKEY *key =
        what->p256 ? EVP_EC_gen("P-256") : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    unsigned char *at = out->key.bytes;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, NULL);
    assert_in_range(len, 1, SECRET_MAX);
    out->key.len = (size_t)i2d_PKCS8_PRIV_KEY_INFO(info, &at);
    PKCS8_PRIV_KEY_INFO_free(info);
    return key;
}

static void
add_name(X509_NAME *subject, const char *name)
{
    if (name)
        assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                    (const unsigned char *)name, -1, -1,
                                                    0),
                         1);
}

static void
extend(X509 *cert, int nid, const char *value)
{
    if (!value)
        return;
    X509V3_CTX context;
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

void
forge_cert(const struct forge *what, struct ca *out)
{
    struct ca made = {0};
    EVP_PKEY *key = what->public_key ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                                                   what->public_key, 32)
                                     : fresh_key(what, &made);
    EVP_PKEY *signer = what->issuer ? key_of(what->issuer) : key;
    X509 *issuer = what->issuer ? cert_of(what->issuer) : NULL;
    X509 *cert = X509_new();
    unsigned char *at = made.cert.der;
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), what->serial ? what->serial : 7);
    ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "19700101000000Z");
    ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), "99991231235959Z");
    add_name(X509_get_subject_name(cert), what->name);
    add_name(X509_get_subject_name(cert), what->second_name);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
    X509_set_pubkey(cert, key);
    extend(cert, NID_basic_constraints,
           what->constraints ? what->constraints : "critical,CA:FALSE");
    extend(cert, NID_key_usage, what->key_usage);
    extend(cert, NID_ext_key_usage,
           what->purposes ? what->purposes : "serverAuth,clientAuth");
    assert_true(X509_sign(cert, signer,
                          EVP_PKEY_id(signer) == EVP_PKEY_ED25519 ? NULL : EVP_sha256()));
    assert_in_range(i2d_X509(cert, NULL), 1, sizeof(made.cert.der));
    made.cert.len = (size_t)i2d_X509(cert, &at);
    if (what->issuer)
        EVP_PKEY_free(signer);
    EVP_PKEY_free(key);
    X509_free(issuer);
    X509_free(cert);
    *out = made;
}

void
forge_crl(const struct ca *issuer, uint64_t number, uint64_t revoked, struct crl *out)
{
    EVP_PKEY *key = key_of(issuer);
    X509 *cert = cert_of(issuer);
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *when = ASN1_TIME_new();
    ASN1_INTEGER *wrapped = ASN1_INTEGER_new();
    unsigned char *at = out->der;
    ASN1_TIME_set_string_X509(when, "19700101000000Z");
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(cert));
    X509_CRL_set1_lastUpdate(crl, when);
    ASN1_INTEGER_set_uint64(wrapped, number);
    if (number)
        X509_CRL_add1_ext_i2d(crl, NID_crl_number, wrapped, 0, 0);
    if (revoked) {
        X509_REVOKED *entry = X509_REVOKED_new();
        ASN1_INTEGER_set_uint64(wrapped, revoked);
        X509_REVOKED_set_serialNumber(entry, wrapped);
        X509_REVOKED_set_revocationDate(entry, when);
        X509_CRL_add0_revoked(crl, entry);
    }
    assert_true(X509_CRL_sign(crl, key, NULL));
    assert_in_range(i2d_X509_CRL(crl, NULL), 1, CRL_MAX_LEN);
    out->len = (size_t)i2d_X509_CRL(crl, &at);
    ASN1_INTEGER_free(wrapped);
    ASN1_TIME_free(when);
    X509_CRL_free(crl);
    X509_free(cert);
    EVP_PKEY_free(key);
}

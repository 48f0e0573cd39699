#include "tests/tpm/chain_forge.h"
#include "tests/cmocka.h"

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#define FOR_AN_EK "2.23.133.8.1"

static void
extend(X509 *cert, int nid, const char *value)
{
    X509V3_CTX context;
    if (!*value)
        return;
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void
extend_unknown(X509 *cert, const char *oid)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    assert_int_equal(ASN1_OCTET_STRING_set(value, (const unsigned char *)"\5\0", 2), 1);
    X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, object, 1, value);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(object);
}

/* Unsigned. */
static X509 *
begin(const struct forge_chain *what, X509 *issuer, EVP_PKEY *key)
{
    static long serial = 100;
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    ASN1_TIME_set_string_X509(X509_getm_notBefore(cert),
                              what->from ? what->from : "20200101000000Z");
    ASN1_TIME_set_string_X509(X509_getm_notAfter(cert),
                              what->to ? what->to : "99991231235959Z");
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)what->name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
    X509_set_pubkey(cert, key);
    return cert;
}

static struct forge_bytes
finish(const struct forge_chain *what, X509 *cert, EVP_PKEY *signer)
{
    unsigned char bytes[CERT_MAX_LEN], *at = bytes;
    const EVP_MD *digest = EVP_get_digestbyname(what->digest ? what->digest : "SHA256");
    assert_non_null(digest);
    assert_true(X509_sign(cert, signer, digest) > 0);
    assert_in_range(i2d_X509(cert, NULL), 1, sizeof(bytes));
    return forge_copy(bytes, (size_t)i2d_X509(cert, &at));
}

void
forge_issuer_make(const struct forge_chain *what, struct forge_issuer *out)
{
    EVP_PKEY *key = EVP_EC_gen(what->curve ? what->curve : "P-256");
    assert_non_null(key);
    X509 *cert = begin(what, what->above ? what->above->cert : NULL, key);
    extend(cert, NID_basic_constraints,
           what->constraints ? what->constraints : "critical,CA:TRUE");
    extend(cert, NID_key_usage,
           what->usage ? what->usage : "critical,keyCertSign,cRLSign");
    if (what->purposes)
        extend(cert, NID_ext_key_usage, what->purposes);
    if (what->names)
        extend(cert, NID_name_constraints, what->names);
    if (what->critical)
        extend_unknown(cert, what->critical);
    out->der = finish(what, cert, what->above ? what->above->key : key);
    out->key = key;
    out->cert = cert;
}

void
forge_issuer_free(struct forge_issuer *issuer)
{
    EVP_PKEY_free(issuer->key);
    X509_free(issuer->cert);
    forge_bytes_free(&issuer->der);
}

struct forge_bytes
forge_ek_cert(const struct forge_issuer *issuer, const struct forge_bytes *spki,
              const struct forge_chain *what)
{
    const unsigned char *at = spki->bytes;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)spki->len);
    EVP_PKEY *nobody = issuer ? NULL : EVP_EC_gen("P-256");
    assert_non_null(key);
    X509 *cert = begin(what, issuer ? issuer->cert : NULL, key);
    extend(cert, NID_basic_constraints, "critical,CA:FALSE");
    extend(cert, NID_ext_key_usage, what->purposes ? what->purposes : FOR_AN_EK);
    if (what->critical)
        extend_unknown(cert, what->critical);
    struct forge_bytes der = finish(what, cert, issuer ? issuer->key : nobody);
    X509_free(cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(nobody);
    return der;
}

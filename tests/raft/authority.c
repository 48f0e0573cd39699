#include "tests/raft/authority.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

/* What cannot fail here ends the test. */
#define MUST(condition)                                                                  \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                     \
        }                                                                                \
    } while (0)

static EVP_PKEY *
key_of(const struct secret *pkcs8)
{
    const unsigned char *at = pkcs8->bytes;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)pkcs8->len);
    MUST(key);
    return key;
}

static void
key_new(struct secret *out)
{
    struct secret seed;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    MUST(!key_generate(&seed, public_key, NULL) && !key_to_pkcs8(&seed, out, NULL));
}

static X509 *
certificate(const char *name, uint64_t serial, EVP_PKEY *key, X509 *issuer)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    MUST(X509_set_version(cert, X509_VERSION_3) &&
         ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial) &&
         ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "19700101000000Z") &&
         ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), "99991231235959Z") &&
         X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                    (const unsigned char *)name, -1, -1, 0) &&
         X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject) &&
         X509_set_pubkey(cert, key));
    return cert;
}

static void
extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    MUST(extension && X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
}

static void
finish(X509 *cert, EVP_PKEY *key, struct cert *out)
{
    unsigned char *at = out->der;
    MUST(X509_sign(cert, key, NULL) && i2d_X509(cert, NULL) <= (int)sizeof(out->der));
    out->len = (size_t)i2d_X509(cert, &at);
    X509_free(cert);
}

static X509 *
cert_of(const struct authority *authority)
{
    const unsigned char *at = authority->cert.der;
    X509 *cert = d2i_X509(NULL, &at, (long)authority->cert.len);
    MUST(cert);
    return cert;
}

void
authority_new(struct authority *out)
{
    key_new(&out->key);
    EVP_PKEY *key = key_of(&out->key);
    X509 *cert = certificate("test consensus", 1, key, NULL);
    extend(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    extend(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    extend(cert, cert, NID_subject_key_identifier, "hash");
    finish(cert, key, &out->cert);
    EVP_PKEY_free(key);
}

void
authority_issue(const struct authority *authority, uint64_t id, uint64_t serial,
                const char *eku, struct issued *out)
{
    char name[64];
    snprintf(name, sizeof(name), "smalltown-member-%" PRIu64, id);
    key_new(&out->key);
    X509 *issuer = cert_of(authority);
    EVP_PKEY *key = key_of(&out->key), *ca_key = key_of(&authority->key);
    X509 *cert = certificate(name, serial, key, issuer);
    extend(cert, issuer, NID_basic_constraints, "critical,CA:FALSE");
    extend(cert, issuer, NID_key_usage, "critical,digitalSignature");
    extend(cert, issuer, NID_ext_key_usage, eku);
    extend(cert, issuer, NID_authority_key_identifier, "keyid:always");
    finish(cert, ca_key, &out->cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    X509_free(issuer);
}

static void
revoke(X509_CRL *list, uint64_t serial, const ASN1_TIME *when)
{
    X509_REVOKED *revoked = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    MUST(ASN1_INTEGER_set_uint64(number, serial) &&
         X509_REVOKED_set_serialNumber(revoked, number) &&
         X509_REVOKED_set_revocationDate(revoked, (ASN1_TIME *)when) &&
         X509_CRL_add0_revoked(list, revoked));
    ASN1_INTEGER_free(number);
}

void
authority_list(const struct authority *authority, uint64_t number,
               const uint64_t *serials, size_t count, struct cert *out)
{
    X509 *issuer = cert_of(authority);
    EVP_PKEY *key = key_of(&authority->key);
    X509_CRL *list = X509_CRL_new();
    ASN1_INTEGER *wrapped = ASN1_INTEGER_new();
    ASN1_TIME *from = ASN1_TIME_new(), *until = ASN1_TIME_new();
    unsigned char *at = out->der;
    MUST(ASN1_INTEGER_set_uint64(wrapped, number) &&
         ASN1_TIME_set_string_X509(from, "19700101000000Z") &&
         ASN1_TIME_set_string_X509(until, "99991231235959Z") &&
         X509_CRL_set_version(list, X509_CRL_VERSION_2) &&
         X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer)) &&
         X509_CRL_set1_lastUpdate(list, from) && X509_CRL_set1_nextUpdate(list, until) &&
         X509_CRL_add1_ext_i2d(list, NID_crl_number, wrapped, 0, 0) == 1);
    for (size_t i = 0; i < count; i++)
        revoke(list, serials[i], from);
    MUST(X509_CRL_sort(list) && X509_CRL_sign(list, key, NULL) &&
         i2d_X509_CRL(list, NULL) <= (int)sizeof(out->der));
    out->len = (size_t)i2d_X509_CRL(list, &at);
    ASN1_INTEGER_free(wrapped);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    X509_CRL_free(list);
    EVP_PKEY_free(key);
    X509_free(issuer);
}

struct replica_credentials
authority_credentials(const struct authority *authority, const struct issued *issued,
                      const struct cert *list)
{
    return (struct replica_credentials){.ca = authority->cert.der,
                                        .ca_len = authority->cert.len,
                                        .crl = list->der,
                                        .crl_len = list->len,
                                        .cert = issued->cert.der,
                                        .cert_len = issued->cert.len,
                                        .key = &issued->key};
}

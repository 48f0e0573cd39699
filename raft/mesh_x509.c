#include "raft/mesh_x509.h"
#include "proto/cert.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t ed25519[] = {DER_OID, 3, 0x2b, 0x65, 0x70};
static const uint8_t spki_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                      0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
static const uint8_t common_name[] = {0x55, 0x04, 0x03};
static const uint8_t crl_number[] = {0x55, 0x1d, 0x14};
static const char name_prefix[] = "smalltown-member-";

enum st_code
mesh_authority_read(const void *der, size_t len, struct mesh_authority *out,
                    struct st_err *err)
{
    struct der_certificate cert;
    enum st_code code = cert_public_key(der, len, out->public_key, err);
    if (code)
        return st_wrap(err, "the authority of the members");
    if (!der_certificate(der, len, &cert))
        return st_fail(err, ST_INVALID_ARGUMENT, "the authority is no certificate");
    out->name = cert.subject;
    return ST_OK;
}

static bool
signed_by(const struct mesh_authority *authority, const struct der *issuer,
          const struct der *tbs, const struct der *algorithm, const struct der *signature)
{
    return der_equal(issuer, authority->name.at, authority->name.len) &&
           der_equal(algorithm, ed25519, sizeof(ed25519)) &&
           signature->len == ED25519_SIGNATURE_LEN &&
           key_verify(authority->public_key, tbs->at, tbs->len, signature->at, NULL) ==
               ST_OK;
}

/* ---- a member ---- */

/* The one common name of a subject that has nothing else. */
static bool
read_name(struct der subject, struct der *out)
{
    struct der name, set, pair, type;
    return der_read(&subject, DER_SEQUENCE, &name) && der_read(&name, DER_SET, &set) &&
           name.len == 0 && der_read(&set, DER_SEQUENCE, &pair) && set.len == 0 &&
           der_read(&pair, DER_OID, &type) &&
           der_equal(&type, common_name, sizeof(common_name)) &&
           der_read(&pair, DER_UTF8_STRING, out) && pair.len == 0;
}

static bool
read_id(const struct der *name, uint64_t *out)
{
    size_t prefix = sizeof(name_prefix) - 1;
    uint64_t id = 0;
    if (name->len <= prefix || name->len > prefix + 20 ||
        memcmp(name->at, name_prefix, prefix) || name->at[prefix] == '0')
        return false;
    for (size_t i = prefix; i < name->len; i++) {
        unsigned digit = (unsigned)name->at[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(id, 10, &id) ||
            __builtin_add_overflow(id, digit, &id))
            return false;
    }
    *out = id;
    return true;
}

static bool
read_serial(struct der tbs, struct mesh_member *out)
{
    struct der content, version, serial;
    if (!der_read(&tbs, DER_SEQUENCE, &content) ||
        !der_read(&content, DER_CONTEXT_0, &version) ||
        !der_read(&content, DER_INTEGER, &serial) || serial.len > MESH_SERIAL_MAX)
        return false;
    memcpy(out->serial, serial.at, serial.len);
    out->serial_len = (uint8_t)serial.len;
    return true;
}

enum st_code
mesh_member_read(const void *der, size_t len, const struct mesh_authority *authority,
                 struct mesh_member *out, struct st_err *err)
{
    struct der_certificate cert;
    struct der name;
    struct mesh_member member = {0};
    if (len > CERT_MAX_LEN || !der_certificate(der, len, &cert) ||
        !read_name(cert.subject, &name) || !read_id(&name, &member.id) ||
        !read_serial(cert.tbs, &member) ||
        cert.spki.len != sizeof(spki_prefix) + ED25519_PUBLIC_LEN ||
        memcmp(cert.spki.at, spki_prefix, sizeof(spki_prefix)))
        return st_fail(err, ST_INVALID_ARGUMENT, "this is no member's certificate");
    if (authority &&
        !signed_by(authority, &cert.issuer, &cert.tbs, &cert.algorithm, &cert.signature))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "a member's certificate is not of this authority");
    memcpy(member.public_key, cert.spki.at + sizeof(spki_prefix), ED25519_PUBLIC_LEN);
    *out = member;
    return ST_OK;
}

/* ---- a list ---- */

/* One that is critical and unknown here (a list of changes, of a part) may not be
 * ignored. */
static bool
read_extension(struct der extension, uint64_t *number, bool *found)
{
    struct der type, value, critical;
    if (!der_read(&extension, DER_OID, &type))
        return false;
    if (der_next_is(&extension, DER_BOOLEAN) &&
        (!der_read(&extension, DER_BOOLEAN, &critical) || critical.at[0]))
        return false;
    if (!der_equal(&type, crl_number, sizeof(crl_number)))
        return true;
    if (*found || !der_read(&extension, DER_OCTET_STRING, &value) || extension.len ||
        !der_read(&value, DER_INTEGER, &type) || value.len || type.len > 9 ||
        type.at[0] >= 0x80 || (type.len == 9 && type.at[0]))
        return false;
    *number = 0;
    for (size_t i = 0; i < type.len; i++)
        *number = *number << 8 | type.at[i];
    *found = true;
    return true;
}

static bool
read_number(struct der extensions, uint64_t *out)
{
    struct der all, one;
    bool found = false;
    if (!der_read(&extensions, DER_SEQUENCE, &all) || extensions.len)
        return false;
    while (all.len)
        if (!der_read(&all, DER_SEQUENCE, &one) || !read_extension(one, out, &found))
            return false;
    return found;
}

static bool
revoked_check(struct der revoked)
{
    struct der one, serial;
    while (revoked.len)
        if (!der_read(&revoked, DER_SEQUENCE, &one) ||
            !der_read(&one, DER_INTEGER, &serial))
            return false;
    return true;
}

static bool
read_time(struct der *in)
{
    struct der time;
    return der_read(
        in, der_next_is(in, DER_UTC_TIME) ? DER_UTC_TIME : DER_GENERALIZED_TIME, &time);
}

/* TBSCertList, RFC 5280 5.1.2. */
static bool
read_tbs(struct der tbs, struct mesh_crl *out, struct der *algorithm, struct der *issuer)
{
    struct der content, version, extensions;
    if (!der_read(&tbs, DER_SEQUENCE, &content) ||
        !der_read(&content, DER_INTEGER, &version) || version.len != 1 ||
        version.at[0] != 1 || !der_read(&content, DER_SEQUENCE, algorithm) ||
        !der_read_whole(&content, DER_SEQUENCE, issuer) || !read_time(&content) ||
        !read_time(&content))
        return false;
    out->revoked = (struct der){0};
    if (der_next_is(&content, DER_SEQUENCE) &&
        !der_read(&content, DER_SEQUENCE, &out->revoked))
        return false;
    return revoked_check(out->revoked) &&
           der_read(&content, DER_CONTEXT_0, &extensions) && !content.len &&
           read_number(extensions, &out->number);
}

enum st_code
mesh_crl_read(const void *der, size_t len, const struct mesh_authority *authority,
              struct mesh_crl **out, struct st_err *err)
{
    if (len > MESH_CRL_MAX || !der_check(der, len, DER_SEQUENCE))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "this is no list of revoked certificates");
    AUTO(st_freep) struct mesh_crl *crl = malloc(sizeof(*crl) + len);
    if (!crl)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory for a list");
    memcpy(crl->der, der, len);
    crl->len = len;
    struct der in = {crl->der, len}, content, tbs, inner, algorithm, signature, issuer;
    if (!der_read(&in, DER_SEQUENCE, &content) ||
        !der_read_whole(&content, DER_SEQUENCE, &tbs) ||
        !der_read(&content, DER_SEQUENCE, &algorithm) ||
        !der_read_bits(&content, &signature) || content.len ||
        !read_tbs(tbs, crl, &inner, &issuer) ||
        !der_equal(&inner, algorithm.at, algorithm.len))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "this is no list of revoked certificates with a number");
    if (REFUSES(0x5243, !signed_by(authority, &issuer, &tbs, &algorithm, &signature)))
        return st_fail(err, ST_INVALID_ARGUMENT, "the list is not of this authority");
    *out = TAKE(crl);
    return ST_OK;
}

bool
mesh_crl_names(const struct mesh_crl *crl, const struct mesh_member *member)
{
    struct der revoked = crl->revoked, one, serial;
    while (revoked.len)
        if (!der_read(&revoked, DER_SEQUENCE, &one) ||
            !der_read(&one, DER_INTEGER, &serial) ||
            der_equal(&serial, member->serial, member->serial_len))
            return true;
    return false;
}

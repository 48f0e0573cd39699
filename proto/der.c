#include "proto/der.h"

#include <string.h>

enum {
    DEPTH_MAX = 16, /* an EK certificate nests about ten deep */
    CONSTRUCTED = 0x20,
    TAG_NUMBER = 0x1f, /* all ones: the tag goes on in the next byte */
};

/* Takes a header off; out is the content. */
static bool
read_header(struct der *in, uint8_t *out_tag, struct der *out)
{
    if (in->len < 2 || (in->at[0] & TAG_NUMBER) == TAG_NUMBER)
        return false;
    uint8_t tag = in->at[0];
    size_t header = 2, len = in->at[1];
    if (len >= 0x80) {
        size_t octets = len & 0x7f;
        if (octets < 1 || octets > 3 || in->len < 2 + octets || in->at[2] == 0)
            return false;
        len = 0;
        for (size_t i = 0; i < octets; i++)
            len = len << 8 | in->at[2 + i];
        if (len < 0x80)
            return false;
        header += octets;
    }
    if (len > in->len - header)
        return false;
    *out_tag = tag;
    *out = (struct der){in->at + header, len};
    in->at += header + len;
    in->len -= header + len;
    return true;
}

bool
der_read(struct der *in, uint8_t tag, struct der *out)
{
    uint8_t found;
    return read_header(in, &found, out) && found == tag;
}

bool
der_read_whole(struct der *in, uint8_t tag, struct der *out)
{
    const uint8_t *start = in->at;
    struct der content;
    if (!der_read(in, tag, &content))
        return false;
    *out = (struct der){start, (size_t)(in->at - start)};
    return true;
}

bool
der_next_is(const struct der *in, uint8_t tag)
{
    return in->len > 0 && in->at[0] == tag;
}

bool
der_read_bits(struct der *in, struct der *out)
{
    if (!der_read(in, DER_BIT_STRING, out) || out->len < 1 || out->at[0] != 0)
        return false;
    out->at++;
    out->len--;
    return true;
}

bool
der_equal(const struct der *der, const void *bytes, size_t len)
{
    return der->len == len && memcmp(der->at, bytes, len) == 0;
}

static bool
primitive_check(uint8_t tag, const struct der *content)
{
    switch (tag) {
    case DER_BOOLEAN:
        return content->len == 1 && (content->at[0] == 0 || content->at[0] == 0xff);
    case DER_INTEGER:
        if (content->len > 1 && (content->at[0] == 0 || content->at[0] == 0xff))
            return (content->at[0] ^ content->at[1]) & 0x80;
        return content->len > 0;
    case DER_NULL:
        return content->len == 0;
    default:
        return tag != 0;
    }
}

static bool
all_strict(struct der in, unsigned depth)
{
    while (in.len > 0) {
        uint8_t tag;
        struct der content;
        if (!read_header(&in, &tag, &content))
            return false;
        if (!(tag & CONSTRUCTED)) {
            if (!primitive_check(tag, &content))
                return false;
            continue;
        }
        if (depth == DEPTH_MAX || !all_strict(content, depth + 1))
            return false;
    }
    return true;
}

bool
der_check(const void *bytes, size_t len, uint8_t tag)
{
    struct der in = {bytes, len}, content;
    return der_read(&in, tag, &content) && in.len == 0 &&
           all_strict((struct der){bytes, len}, 0);
}

static bool
read_tbs(struct der tbs, struct der_certificate *out, struct der *out_algorithm)
{
    static const uint8_t v3[] = {DER_INTEGER, 1, 2};
    struct der content, version, serial, validity, rest;
    if (!der_read(&tbs, DER_SEQUENCE, &content) ||
        !der_read(&content, DER_CONTEXT_0, &version) ||
        !der_equal(&version, v3, sizeof(v3)) ||
        !der_read(&content, DER_INTEGER, &serial) ||
        !der_read(&content, DER_SEQUENCE, out_algorithm) ||
        !der_read_whole(&content, DER_SEQUENCE, &out->issuer) ||
        !der_read(&content, DER_SEQUENCE, &validity) ||
        !der_read_whole(&content, DER_SEQUENCE, &out->subject) ||
        !der_read_whole(&content, DER_SEQUENCE, &out->spki))
        return false;
    /* issuerUniqueID and subjectUniqueID, which nobody uses, are refused. */
    out->extensions = (struct der){0};
    return content.len == 0 ||
           (der_read(&content, DER_CONTEXT_0 + 3, &rest) && content.len == 0 &&
            der_read(&rest, DER_SEQUENCE, &out->extensions) && rest.len == 0);
}

bool
der_certificate(const void *bytes, size_t len, struct der_certificate *out)
{
    struct der_certificate certificate;
    struct der in = {bytes, len}, content, algorithm;
    if (!der_check(bytes, len, DER_SEQUENCE) || !der_read(&in, DER_SEQUENCE, &content) ||
        !der_read_whole(&content, DER_SEQUENCE, &certificate.tbs) ||
        !der_read(&content, DER_SEQUENCE, &certificate.algorithm) ||
        !der_read_bits(&content, &certificate.signature) || content.len > 0 ||
        !read_tbs(certificate.tbs, &certificate, &algorithm) ||
        !der_equal(&algorithm, certificate.algorithm.at, certificate.algorithm.len))
        return false;
    *out = certificate;
    return true;
}

static bool
read_extension(struct der *in, struct der *out_oid, struct der *out_value)
{
    struct der content, critical;
    return der_read(in, DER_SEQUENCE, &content) && der_read(&content, DER_OID, out_oid) &&
           (!der_next_is(&content, DER_BOOLEAN) ||
            der_read(&content, DER_BOOLEAN, &critical)) &&
           der_read(&content, DER_OCTET_STRING, out_value) && content.len == 0;
}

bool
der_extension(const struct der_certificate *certificate, const void *oid, size_t len,
              struct der *out)
{
    struct der in = certificate->extensions, found, value;
    bool seen = false;
    while (in.len > 0) {
        if (!read_extension(&in, &found, &value))
            return false;
        if (!der_equal(&found, oid, len))
            continue;
        if (seen)
            return false;
        seen = true;
        *out = value;
    }
    return seen;
}

void
der_write(struct der_writer *out, const void *bytes, size_t len)
{
    if (len > out->at)
        out->full = true;
    if (out->full || len == 0)
        return;
    out->at -= len;
    memcpy(out->start + out->at, bytes, len);
}

void
der_wrap(struct der_writer *out, uint8_t tag, size_t mark)
{
    size_t len = mark - out->at;
    uint8_t header[4] = {tag};
    size_t header_len = 2;
    if (len < 0x80) {
        header[1] = (uint8_t)len;
    } else if (len <= 0xff) {
        header[1] = 0x81;
        header[2] = (uint8_t)len;
        header_len = 3;
    } else if (len <= 0xffff) {
        header[1] = 0x82;
        header[2] = (uint8_t)(len >> 8);
        header[3] = (uint8_t)len;
        header_len = 4;
    } else {
        out->full = true;
    }
    der_write(out, header, header_len);
}

void
der_write_element(struct der_writer *out, uint8_t tag, const void *bytes, size_t len)
{
    size_t mark = out->at;
    der_write(out, bytes, len);
    der_wrap(out, tag, mark);
}

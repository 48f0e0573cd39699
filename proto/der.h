/* der.h - the little of DER (X.690) that keys and certificates need, strictly.
 *
 * Reading: every step names the tag it expects and takes definite, shortest lengths
 * only; what BER would allow besides is refused.  Bytes are borrowed, nothing is
 * allocated.  Writing goes from the end of a buffer to its start, so that a length is
 * known when its header is written.
 * Every function here may be called from any thread.
 */
#ifndef PROTO_DER_H
#define PROTO_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_UTF8_STRING = 0x0c,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_CONTEXT_0 = 0xa0, /* constructed; [3] is DER_CONTEXT_0 + 3 */
};

/* What is left to read. */
struct der {
    const uint8_t *at;
    size_t len;
};

/* The next element, which must be of this tag: its content.  On false nothing is known
 * about `in` and `out`. */
bool der_read(struct der *in, uint8_t tag, struct der *out);
/* The same, with its header. */
bool der_read_whole(struct der *in, uint8_t tag, struct der *out);
/* Whether the next element has this tag; false at the end. */
bool der_next_is(const struct der *in, uint8_t tag);
/* The content of a BIT STRING of whole bytes. */
bool der_read_bits(struct der *in, struct der *out);
bool der_equal(const struct der *der, const void *bytes, size_t len);

/* Exactly one element of this tag, and everything in it, as deep as it is constructed,
 * has definite and shortest lengths. */
bool der_check(const void *bytes, size_t len, uint8_t tag);

/* The fields of an X.509 certificate (RFC 5280, 4.1) that anybody here asks for. */
struct der_certificate {
    struct der tbs;       /* with header: what is signed */
    struct der algorithm; /* content of signatureAlgorithm */
    struct der signature; /* content, without the count of unused bits */
    struct der issuer;    /* with header, as are subject and spki */
    struct der subject;
    struct der spki;
    struct der extensions; /* Extension after Extension; empty where there are none */
};
/* One v3 certificate and no byte more.  The signature is not checked. */
bool der_certificate(const void *bytes, size_t len, struct der_certificate *out);
/* The value of the extension with this OID (its content): what is in the OCTET STRING.
 * False where there is none, or where it is there twice. */
bool der_extension(const struct der_certificate *certificate, const void *oid, size_t len,
                   struct der *out);

struct der_writer {
    uint8_t *start;
    size_t at;  /* of the first byte written; the output is start + at ... end */
    size_t end; /* size of the buffer */
    bool full;  /* something did not fit: the output is worthless */
};
void der_write(struct der_writer *out, const void *bytes, size_t len);
/* Puts a header before all that was written since the output began at `mark` (an
 * earlier value of out->at). */
void der_wrap(struct der_writer *out, uint8_t tag, size_t mark);
/* A whole element. */
void der_write_element(struct der_writer *out, uint8_t tag, const void *bytes,
                       size_t len);

#endif

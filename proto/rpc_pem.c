/* PEM as OpenSSL writes it: gRPC shows a peer's certificate in no other form. */
#include "proto/rpc_tls.h"

#include "proto/scope.h"

#include <string.h>

static int
sextet(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(alphabet, c) : NULL;
    return found ? (int)(found - alphabet) : -1;
}

/* Line breaks are skipped, '=' ends it, anything else is no base64. */
static bool
decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *out_len)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t used = 0, i = 0;
    for (; i < len && text[i] != '='; i++) {
        if (text[i] == '\n' || text[i] == '\r')
            continue;
        int value = sextet(text[i]);
        if (value < 0 || used == size)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[used++] = (uint8_t)(bits >> count);
        }
    }
    for (; i < len; i++)
        if (!strchr("=\r\n", text[i]))
            return false;
    *out_len = used;
    return used > 0;
}

enum st_code
rpc_pem_to_der(const char *pem, size_t len, uint8_t **out, size_t *out_len,
               struct st_err *err)
{
    static const char head[] = "-----BEGIN CERTIFICATE-----";
    static const char foot[] = "-----END CERTIFICATE-----";
    const char *start = memmem(pem, len, head, strlen(head));
    start = start ? start + strlen(head) : pem + len;
    const char *end = memmem(start, (size_t)(pem + len - start), foot, strlen(foot));
    if (!end || end - start > 2 * CERT_MAX_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "not a certificate in PEM");
    AUTO(st_freep) uint8_t *der = malloc(CERT_MAX_LEN);
    if (!der)
        return st_fail(err, ST_INTERNAL, "out of memory");
    if (!decode(start, (size_t)(end - start), der, CERT_MAX_LEN, out_len))
        return st_fail(err, ST_INVALID_ARGUMENT, "not a certificate in PEM");
    *out = TAKE(der);
    return ST_OK;
}

/* Certificates that make a machine a member.  Pieces: authority, list, certificate, the
 * public key that it is to be for. */
#include "nms/ca_check.h"
#include "raft/mesh_x509.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Two libraries read the same: what the master's side takes, the peer link takes, too. */
static void
agree(const struct ca_given *given, const uint8_t *public_key, uint64_t id)
{
    struct mesh_authority authority;
    struct mesh_member member;
    struct mesh_crl *crl;
    FUZZ_HOLDS(!mesh_authority_read(given->ca, given->ca_len, &authority, NULL));
    FUZZ_HOLDS(
        !mesh_member_read(given->cert, given->cert_len, &authority, &member, NULL));
    FUZZ_HOLDS(member.id == id &&
               memcmp(member.public_key, public_key, ED25519_PUBLIC_LEN) == 0);
    FUZZ_HOLDS(!mesh_crl_read(given->crl, given->crl_len, &authority, &crl, NULL));
    FUZZ_HOLDS(!mesh_crl_names(crl, &member));
    free(crl);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    FUZZ_PIECE ca = fuzz_take(&input);
    FUZZ_PIECE crl = fuzz_take(&input);
    FUZZ_PIECE cert = fuzz_take(&input);
    const struct ca_given given = {.ca = ca.bytes,
                                   .ca_len = ca.len,
                                   .crl = crl.bytes,
                                   .crl_len = crl.len,
                                   .cert = cert.bytes,
                                   .cert_len = cert.len};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    uint64_t id = 0;
    struct st_err err = {0};
    for (size_t i = 0; i < sizeof(public_key); i++)
        public_key[i] = fuzz_take_byte(&input);
    if (ca_check_member(&given, public_key, &id, &err))
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT && *err.text);
    else
        agree(&given, public_key, id);
    return 0;
}

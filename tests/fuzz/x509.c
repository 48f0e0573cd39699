/* What a peer shows in the handshake of the peer link.  Pieces: authority, certificate,
 * list. */
#include "raft/mesh_x509.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    FUZZ_PIECE ca = fuzz_take(&input);
    FUZZ_PIECE cert = fuzz_take(&input);
    FUZZ_PIECE list = fuzz_take(&input);
    struct mesh_authority authority;
    struct mesh_member member = {0};
    struct mesh_crl *crl;
    if (mesh_authority_read(ca.bytes, ca.len, &authority, NULL))
        return 0;
    if (mesh_member_read(cert.bytes, cert.len, &authority, &member, NULL))
        member.serial_len = 0;
    if (mesh_crl_read(list.bytes, list.len, &authority, &crl, NULL))
        return 0;
    (void)mesh_crl_names(crl, &member);
    free(crl);
    return 0;
}

/* TPM2Unlock, message by message; see door.h.  First byte: its bit 0, whether the node
 * was adopted; its bit 1, whether the replica is late.  First piece: the AK in its
 * record. */
#include "nms/digest.h"
#include "tests/fuzz/door.h"
#include "tpm/judge.h"

#include <string.h>

static ProtobufCBinaryData
lend(const void *bytes, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)bytes};
}

/* The id is that of the key FUZZ_SEED. */
static void
node_id(char out[NODE_ID_LEN + 1])
{
    struct secret seed = {.len = ED25519_SEED_LEN};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    memset(seed.bytes, FUZZ_SEED, seed.len);
    FUZZ_HOLDS(!key_public(&seed, public_key, NULL));
    node_id_of_key(public_key, out);
}

static void
enrol(struct door *door, char *id, const struct fuzz_piece *ak)
{
    uint8_t key[UNLOCK_KEY_LEN] = {1}, secret[32], hash[SHA256_LEN];
    const struct tpm_pcrs measured = {{{1}}};
    const uint8_t address[] = {192, 0, 2, 9};
    State__Node node = STATE__NODE__INIT;
    State__Enrol enrol = STATE__ENROL__INIT;
    State__Command command = STATE__COMMAND__INIT;
    struct st_err err = {0};
    memset(secret, DOOR_ENROLMENT, sizeof(secret));
    FUZZ_HOLDS(!digest_enrolment_secret(secret, sizeof(secret), hash, &err));
    node.node_id = id;
    node.id_cert = lend("a certificate", 13);
    node.global_unlock_key = lend(key, sizeof(key));
    node.address = lend(address, sizeof(address));
    node.ak_public = lend(ak->bytes, ak->len);
    node.ek_pubkey = lend("an EK", 5);
    node.pcrs = lend(measured.digest, sizeof(measured.digest));
    node.secret_hash = lend(hash, sizeof(hash));
    enrol.node = &node;
    command.change_case = STATE__COMMAND__CHANGE_ENROL;
    command.enrol = &enrol;
    FUZZ_HOLDS(!door_apply(door, &command, &err));
}

static void
adopt(struct door *door, char *id)
{
    State__Adopt adopt = STATE__ADOPT__INIT;
    State__Command command = STATE__COMMAND__INIT;
    struct st_err err = {0};
    adopt.node_id = id;
    adopt.role = STATE__ROLE__WORKER;
    command.change_case = STATE__COMMAND__CHANGE_ADOPT;
    command.adopt = &adopt;
    FUZZ_HOLDS(!door_apply(door, &command, &err));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    struct door door;
    char id[NODE_ID_LEN + 1];
    const uint8_t how = fuzz_take_byte(&input);
    FUZZ_PIECE ak = fuzz_take(&input);
    door_open(&door);
    node_id(id);
    if (ak.len > 0 && ak.len <= TPM_PUBLIC_MAX) {
        enrol(&door, id, &ak);
        if (how & 1)
            adopt(&door, id);
    }
    door_run(&door, &unlock_method, how & 2, &input);
    door_close(&door);
    return 0;
}

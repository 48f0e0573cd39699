/* The recovery key: first byte 0: sealed, as a node says that it is; 1: as a person types
 * it; 2: the administrator's keys in PEM. */
#include "proto/recovery.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void
sealed(const struct fuzz_input *input)
{
    struct recovery_place place;
    struct secret opened, private_key = {.len = HPKE_KEY_LEN};
    memset(private_key.bytes, FUZZ_SEED, HPKE_KEY_LEN);
    if (!recovery_look(input->at, input->left, &place, NULL)) {
        FUZZ_HOLDS(input->left == RECOVERY_SEALED_LEN);
        FUZZ_HOLDS(strlen(place.node_id) == NODE_ID_LEN);
        FUZZ_HOLDS(strlen(place.uuid) == RECOVERY_UUID_LEN);
    }
    if (!recovery_open(input->at, input->left, &private_key, &opened, NULL))
        FUZZ_HOLDS(opened.len == RECOVERY_TEXT_LEN);
}

/* What was understood is understood again as the same. */
static void
typed(const char *text)
{
    struct secret key, again;
    struct st_err err = {0};
    if (recovery_read(text, &key, &err)) {
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT && *err.text);
        return;
    }
    FUZZ_HOLDS(!recovery_read((const char *)key.bytes, &again, &err));
    FUZZ_HOLDS(secret_equal(&key, &again));
}

static void
pem(const char *text)
{
    uint8_t public_key[HPKE_KEY_LEN], again[HPKE_KEY_LEN];
    char written[RECOVERY_PEM_MAX];
    struct secret private_key;
    struct st_err err = {0};
    if (!recovery_public_from_pem(text, public_key, &err)) {
        FUZZ_HOLDS(!recovery_public_to_pem(public_key, written, &err));
        FUZZ_HOLDS(!recovery_public_from_pem(written, again, &err));
        FUZZ_HOLDS(!memcmp(public_key, again, HPKE_KEY_LEN));
    }
    if (!recovery_private_from_pem(text, &private_key, &err))
        FUZZ_HOLDS(!hpke_public(&private_key, public_key, &err));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    const uint8_t kind = fuzz_take_byte(&input) % 3;
    char *text = fuzz_text(input.at, input.left);
    if (kind == 0)
        sealed(&input);
    else if (kind == 1)
        typed(text);
    else
        pem(text);
    free(text);
    return 0;
}

/* sealed, pending and identity on a node's ESP.  First byte, by its bits: 0-1 which; 2
 * frame the bytes as esp_write() would, for nobody needs a key for that; then the bytes.
 *
 * The cipher takes every tag: what an identity holds comes from who has the disk key, but
 * is read with care nevertheless. */
#include "node/identity.h"
#include "proto/file.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

int __wrap_wc_ChaCha20Poly1305_Decrypt(const byte *key, const byte *iv, const byte *aad,
                                       word32 aad_len, const byte *in, word32 len,
                                       const byte *tag, byte *out);
int
__wrap_wc_ChaCha20Poly1305_Decrypt(const byte *key, const byte *iv, const byte *aad,
                                   word32 aad_len, const byte *in, word32 len,
                                   const byte *tag, byte *out)
{
    (void)key;
    (void)iv;
    (void)aad;
    (void)aad_len;
    (void)tag;
    memcpy(out, in, len);
    return 0;
}

static struct esp *
open_esp(void)
{
    static struct esp *esp;
    struct st_err err = {0};
    if (!esp)
        FUZZ_HOLDS(!file_make_folder(fuzz_path("EFI/smalltown"), &err) &&
                   !esp_open(fuzz_folder(), &esp, &err));
    return esp;
}

/* Of the key that the seeds have. */
static const char *
our_id(void)
{
    static struct identity identity;
    struct secret seed = {.len = ED25519_SEED_LEN};
    struct st_err err = {0};
    memset(seed.bytes, FUZZ_SEED, seed.len);
    if (!*identity.node_id)
        FUZZ_HOLDS(!identity_of_seed(&seed, &identity, &err));
    return identity.node_id;
}

static void
write_file(const struct esp *esp, enum esp_file file, const struct fuzz_input *input,
           bool framed)
{
    static const char *const names[] = {"EFI/smalltown/sealed", "EFI/smalltown/pending",
                                        "EFI/smalltown/identity"};
    struct st_err err = {0};
    if (framed && !esp_write(esp, file, input->at, input->left, &err))
        return;
    fuzz_file(names[file - ESP_SEALED], input->at, input->left);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    const struct esp *esp = open_esp();
    const uint8_t choice = fuzz_take_byte(&input);
    const enum esp_file file = ESP_SEALED + (choice & 3) % 3;
    const struct secret disk_key = {.len = UNLOCK_KEY_LEN, .bytes = {1}};
    uint8_t content[ESP_CONTENT_MAX];
    size_t content_len;
    IDENTITY identity = {0};
    struct st_err err = {0};
    write_file(esp, file, &input, choice & 4);
    if (esp_read(esp, file, content, &content_len, &err))
        FUZZ_HOLDS(err.code == ST_DATA_LOSS);
    else
        FUZZ_HOLDS(content_len <= sizeof(content));
    if (file != ESP_IDENTITY)
        return 0;
    if (identity_read(esp, &disk_key, our_id(), &identity, &err))
        FUZZ_HOLDS(err.code == ST_DATA_LOSS);
    else
        FUZZ_HOLDS(strcmp(identity.node_id, our_id()) == 0);
    return 0;
}

/* SetMastersRequests, one after the other, as a node takes them: what it has is a list
 * that it may have, never an older one than before, and on the ESP when it was taken. */
#include "node/masters.h"
#include "proto/file.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static struct node node;

static void
begin(void)
{
    static struct node_config config;
    struct secret seed = {.len = ED25519_SEED_LEN};
    struct st_err err = {0};
    if (!node.esp) {
        memset(seed.bytes, FUZZ_SEED, seed.len);
        FUZZ_HOLDS(!file_make_folder(fuzz_path("EFI/smalltown"), &err) &&
                   !esp_open(fuzz_folder(), &node.esp, &err) &&
                   !cert_self_sign(&seed, "smalltown-master", &config.masters, &err));
        strcpy(config.node_id, "smalltown-0123456789abcdef0123456789abcdef");
        config.addresses[0] = (struct st_address){{192, 0, 2, 1}, 4};
        config.address_count = 1;
        config.masters_number = 1000;
    }
    node.config = config;
}

static void
check_kept(void)
{
    NODE_CONFIG kept = {0};
    struct st_err err = {0};
    FUZZ_HOLDS(!config_read(esp_path(node.esp, ESP_CONFIG), &kept, &err));
    FUZZ_HOLDS(memcmp(&kept, &node.config, sizeof(kept)) == 0);
    for (size_t i = 0; i < kept.address_count; i++)
        FUZZ_HOLDS(address_is_host(&kept.addresses[i]));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    begin();
    while (input.left > 0) {
        FUZZ_PIECE piece = fuzz_take(&input);
        struct st_err err = {0};
        Api__SetMastersRequest *request =
            api__set_masters_request__unpack(&secret_allocator, piece.len, piece.bytes);
        if (!request)
            continue;
        const uint64_t before = node.config.masters_number;
        if (masters_told(&node, request, &err)) {
            FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT ||
                       err.code == ST_FAILED_PRECONDITION);
            FUZZ_HOLDS(node.config.masters_number == before);
        } else {
            FUZZ_HOLDS(node.config.masters_number == request->number);
            FUZZ_HOLDS(node.config.masters_number >= before);
            if (request->number > before)
                check_kept();
        }
        api__set_masters_request__free_unpacked(request, &secret_allocator);
    }
    return 0;
}

/* What the cluster says of boots, as a node takes it.  First byte: 0 from a master's
 * unlock_response, 1 from the file, 2 from the file framed as esp_write() would. */
#include "node/approvals.h"
#include "proto/file.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

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

/* The newest comes first, the one before stays, whatever was there. */
static void
keep(const struct esp *esp, const struct tpm_approval *approval)
{
    struct approvals before = {0}, after = {0};
    struct st_err err = {0};
    (void)approvals_read(esp, &before, NULL);
    FUZZ_HOLDS(!approvals_keep(esp, approval, &err));
    FUZZ_HOLDS(approvals_first_is(esp, approval));
    FUZZ_HOLDS(!approvals_read(esp, &after, &err));
    FUZZ_HOLDS(after.count >= 1 && after.count <= APPROVALS_KEPT);
    FUZZ_HOLDS(!memcmp(&after.at[0], approval, sizeof(*approval)));
    const bool news = before.count > 0 &&
                      (memcmp(before.at[0].point, approval->point, TPM_AUTHORITY_LEN) ||
                       memcmp(before.at[0].policy, approval->policy, SHA256_LEN));
    if (news)
        FUZZ_HOLDS(after.count == 2 &&
                   !memcmp(&after.at[1], &before.at[0], sizeof(*approval)));
}

static void
from_master(const struct esp *esp, const struct fuzz_input *input)
{
    Api__TPM2UnlockResponse *response =
        api__tpm2_unlock_response__unpack(&secret_allocator, input->left, input->at);
    struct approvals said;
    struct tpm_authority authority = {0};
    if (!response)
        return;
    memset(&said, 0xee, sizeof(said)); /* nothing of it may stay */
    approvals_take(response, &said);
    FUZZ_HOLDS(said.count <= APPROVALS_MAX && said.count <= response->n_seal_approvals);
    FUZZ_HOLDS(!said.has_authority || !tpm_authority_check(said.authority, NULL));
    memcpy(authority.point, said.authority, TPM_AUTHORITY_LEN);
    const struct tpm_approval *by = approvals_by(&said, &authority);
    FUZZ_HOLDS(!by || !memcmp(by->point, said.authority, TPM_AUTHORITY_LEN));
    for (size_t i = 0; i < said.count; i++)
        keep(esp, &said.at[i]);
    api__tpm2_unlock_response__free_unpacked(response, &secret_allocator);
}

static void
from_file(const struct esp *esp, const struct fuzz_input *input, bool framed)
{
    static const struct tpm_approval ours = {.policy = "this boot"};
    struct approvals kept = {0};
    struct st_err err = {0};
    if (!framed || esp_write(esp, ESP_APPROVALS, input->at, input->left, &err))
        fuzz_file("EFI/smalltown/approvals", input->at, input->left);
    if (approvals_read(esp, &kept, &err))
        FUZZ_HOLDS(err.code == ST_DATA_LOSS && kept.count == 0);
    FUZZ_HOLDS(kept.count <= APPROVALS_KEPT && !kept.has_authority);
    keep(esp, &ours);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    const struct esp *esp = open_esp();
    const uint8_t choice = fuzz_take_byte(&input) % 3;
    struct st_err err = {0};
    FUZZ_HOLDS(!esp_erase(esp, ESP_APPROVALS, &err));
    if (choice == 0)
        from_master(esp, &input);
    else
        from_file(esp, &input, choice == 2);
    return 0;
}

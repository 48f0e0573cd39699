/* A data volume that is not ours, or no longer: whose it says that it is.  First byte,
 * its bit 0: the bytes are at the start, else in the last page.  And its LUKS2 tokens. */
#include "node/disk_internal.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    SIZE = 32 * 1024 * 1024, /* the smallest volume there is; sparse */
    PAGE = 4096
};

static const char *token;

int __wrap_crypt_token_json_get(struct crypt_device *cd, int id, const char **json);
int
__wrap_crypt_token_json_get(struct crypt_device *cd, int id, const char **json)
{
    (void)cd;
    *json = token;
    return id;
}

static void
observe(const struct fuzz_input *input, bool at_start)
{
    struct disk_found found;
    struct st_err err = {0};
    const size_t len = input->left < PAGE ? input->left : PAGE;
    int fd = open(fuzz_path("volume"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_HOLDS(fd >= 0 && ftruncate(fd, SIZE) == 0);
    FUZZ_HOLDS(pwrite(fd, input->at, len, at_start ? 0 : SIZE - PAGE) == (ssize_t)len);
    close(fd);
    FUZZ_HOLDS(!disk_page_observe(fuzz_path("volume"), &found, &err));
    FUZZ_HOLDS(found.state != START_VOLUME_TORN || strlen(found.node_id) == NODE_ID_LEN);
}

static void
read_token(const struct fuzz_input *input)
{
    struct disk_found found = {0};
    char *text = fuzz_text(input->at, input->left);
    token = text;
    uint8_t sealed[RECOVERY_SEALED_LEN];
    if (disk_token_read(NULL, &found)) {
        FUZZ_HOLDS(strlen(found.node_id) == NODE_ID_LEN);
        FUZZ_HOLDS(found.slot == DISK_SLOT_FIRST || found.slot == DISK_SLOT_SECOND);
    }
    FUZZ_HOLDS(!disk_sealed_read(NULL, sealed) || strlen(text) > 2 * sizeof(sealed));
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    const bool at_start = fuzz_take_byte(&input) & 1;
    observe(&input, at_start);
    read_token(&input);
    return 0;
}

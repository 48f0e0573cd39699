/* Commands of the state machine, which another member may forward as it likes: applied
 * one after the other to a cluster that was founded.  Each piece is one.  Whatever they
 * are, a restart from the records comes to the same state. */
#include "tests/fuzz/fuzz.h"
#include "tests/nms/log.h"

#include <string.h>

static void
found(struct log_member *member)
{
    struct st_err err = {0};
    struct log_node node;
    uint8_t hash[SHA256_LEN] = {0x51};
    log_open(member);
    log_found(member);
    FUZZ_HOLDS(!log_new_enrolment(member, "some", hash, 100, LOG_START + 1000, &err));
    log_node_make(7, hash, &node);
    FUZZ_HOLDS(!log_enrol(member, &node, LOG_START, &err));
    hash[0] = 0x71;
    FUZZ_HOLDS(!log_invite(member, "host", hash, LOG_START, LOG_START + 1000, &err));
}

static void
restart(const struct log_member *member)
{
    uint8_t before[SHA256_LEN], after[SHA256_LEN];
    struct state *again;
    struct st_err err = {0};
    FUZZ_HOLDS(!log_load(member, &again, &err));
    log_digest(member->state, before);
    log_digest(again, after);
    FUZZ_HOLDS(memcmp(before, after, sizeof(before)) == 0);
    state_free(again);
}

/* What a later release knows ends the process, on purpose. */
static bool
is_of_a_later_release(const struct fuzz_piece *piece)
{
    State__Command *command = state__command__unpack(NULL, piece->len, piece->bytes);
    bool later = command && (command->base.n_unknown_fields > 0 ||
                             (command->change_case == STATE__COMMAND__CHANGE_SET_POLICY &&
                              command->set_policy->schema > POLICY_SCHEMA));
    if (command)
        state__command__free_unpacked(command, NULL);
    return later;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    struct log_member member;
    found(&member);
    while (input.left > 0) {
        FUZZ_PIECE command = fuzz_take(&input);
        struct st_err err = {0};
        if (is_of_a_later_release(&command))
            continue;
        if (log_apply_bytes(&member, command.bytes, command.len, &err))
            FUZZ_HOLDS(err.code);
    }
    restart(&member);
    log_close(&member);
    return 0;
}

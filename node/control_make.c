/* A control volume comes into being.  The machine may lose its power between any two
 * steps, or within one; the next time it goes on from there.
 *
 *   1 make the key, seal it into `control-pending`
 *        a start that finds the volume blank makes another, whatever lies on the ESP: the
 *        TPM seals for whoever came to it; one that finds its own mark blanks it first
 *   2 format the volume with it, token "pending" (disk_format())
 *   3 map it, make a file system; nothing can be on it before
 *   4 token "enrolled"
 *   5 `control`, the same sealed bytes; erase `control-pending`
 *        from here on nothing is made any more, only opened
 *   6 mount it
 */
#include "node/control.h"
#include "node/control_mount.h"
#include "node/half.h"
#include "proto/event.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <string.h>

static enum st_code
new_key(const struct node *node, struct tpm *tpm, struct secret *out, struct st_err *err)
{
    enum st_code code = secret_random(out, UNLOCK_KEY_LEN, err);
    return code ? code : half_seal(node, tpm, ESP_CONTROL_PENDING, out, err);
}

/* Nothing depends on a key while its volume is blank, or half formatted. */
static enum st_code
pending_key(const struct node *node, const struct control_facts *facts, struct tpm *tpm,
            struct secret *out, struct st_err *err)
{
    char id[NODE_ID_LEN + 1];
    enum half_maker maker;
    enum st_code code;
    if (facts->pending != START_FILE_PRESENT ||
        REFUSES(0x4807, facts->volume == START_VOLUME_BLANK))
        return new_key(node, tpm, out, err);
    if ((code = half_unseal(node, tpm, ESP_CONTROL_PENDING, UNLOCK_KEY_LEN, out, &maker,
                            err)))
        return code;
    if (!REFUSES(0x4808, facts->volume == START_VOLUME_TORN))
        return REFUSES(0x4814, maker != HALF_MADE_HERE)
                   ? control_made_elsewhere(node, err)
                   : ST_OK;
    control_id(out, id);
    code = disk_give_up(node->control, id, err);
    return code ? code : new_key(node, tpm, out, err);
}

/* Step 1. */
static enum st_code
get_key(const struct node *node, const struct control_facts *facts, struct secret *out,
        struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    enum st_code code;
    if ((code = tpm_open(node->tcti, &tpm, err)) ||
        (code = pending_key(node, facts, tpm, out, err)))
        return code;
    node_passed(node, CONTROL_KEY_SEALED);
    return ST_OK;
}

/* Step 2; where it is done, by whom? */
static enum st_code
format(const struct node *node, const struct secret *key, const char *id,
       struct disk_found *out, struct st_err *err)
{
    enum st_code code = disk_observe(node->control, out, err);
    if (code)
        return code;
    if (out->state != START_VOLUME_PENDING && out->state != START_VOLUME_ENROLLED &&
        ((code = disk_format(node->control, key, id, node->encryption, err)) ||
         (code = disk_observe(node->control, out, err))))
        return code;
    if (strcmp(out->node_id, id) != 0)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the control volume %.200s is that of another machine: it is not "
                       "touched",
                       node->control);
    node_passed(node, CONTROL_FORMATTED);
    return ST_OK;
}

/* Steps 3 and 4. */
static enum st_code
fill(const struct node *node, const struct secret *key, const char *id,
     const struct disk_found *found, struct st_err *err)
{
    enum st_code code;
    if (found->state == START_VOLUME_ENROLLED)
        return ST_OK;
    if ((code = control_make_fs(node->control, key, err)))
        return code;
    node_passed(node, CONTROL_FILLED);
    if ((code = disk_set_enrolled(node->control, id, err)))
        return code;
    node_passed(node, CONTROL_ENROLLED);
    return ST_OK;
}

/* Step 5. */
static enum st_code
commit(const struct node *node, struct st_err *err)
{
    uint8_t content[ESP_CONTENT_MAX];
    size_t len;
    enum st_code code;
    if ((code = esp_read(node->esp, ESP_CONTROL_PENDING, content, &len, err)) ||
        (code = esp_write(node->esp, ESP_CONTROL, content, len, err)))
        return code;
    node_passed(node, CONTROL_COMMITTED);
    return esp_erase(node->esp, ESP_CONTROL_PENDING, err);
}

static enum st_code
make(const struct node *node, const struct control_facts *facts, struct st_err *err)
{
    SECRET key = {0};
    struct disk_found found;
    char id[NODE_ID_LEN + 1];
    enum st_code code;
    if ((code = get_key(node, facts, &key, err)))
        return code;
    control_id(&key, id);
    if ((code = format(node, &key, id, &found, err)) ||
        (code = fill(node, &key, id, &found, err)) || (code = commit(node, err)) ||
        (code = control_mount(node->control, &key, node->control_folder, err)))
        return code;
    event("control", "volume=%s decision=made", node->control);
    return ST_OK;
}

enum st_code
control_make(const struct node *node, struct st_err *err)
{
    struct control_facts facts;
    if (!node->control || control_is_mounted(node->control_folder))
        return ST_OK;
    control_observe(node, &facts);
    const struct control_verdict verdict = control_decide(&facts);
    if (verdict.row == CONTROL_LEFT)
        return ST_OK;
    if (REFUSES(0x4877, verdict.row != CONTROL_FREE))
        return st_fail(err, ST_FAILED_PRECONDITION, "%s",
                       verdict.sentence
                           ? verdict.sentence
                           : "the control volume of this machine is not open");
    return make(node, &facts, err);
}

/* The control volume's second key: what opens it when the TPM does not. */
#include "node/control.h"
#include "node/control_mount.h"
#include "node/half.h"
#include "proto/event.h"
#include "proto/scope.h"

#include <string.h>

/* The file comes first: until the volume follows it opens nothing, as the one before it,
 * and it is all done again. */
enum st_code
control_rekey(const struct node *node, struct tpm *tpm, const struct secret *second,
              struct secret *out, struct st_err *err)
{
    SECRET key = {0};
    char id[NODE_ID_LEN + 1];
    enum st_code code;
    if ((code = disk_recovery_check(node->control, second, err)) ||
        (code = secret_random(&key, UNLOCK_KEY_LEN, err)) ||
        (code = half_seal(node, tpm, ESP_CONTROL, &key, err)))
        return code;
    node_passed(node, CONTROL_RESEALED);
    control_id(&key, id);
    if ((code = disk_rekey(node->control, second, &key, id, err)))
        return code;
    node_passed(node, CONTROL_REKEYED);
    *out = key;
    return ST_OK;
}

static enum st_code
give_second(const struct node *node, struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    SECRET key = {0};
    enum st_code code;
    if (!node->control_second.len)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "none was made when the data volume was opened");
    if (!disk_recovery_check(node->control, &node->control_second, NULL))
        return ST_OK;
    if ((code = tpm_open(node->tcti, &tpm, err)) ||
        (code = control_key(node, tpm, &key, err)))
        return code;
    node_passed(node, CONTROL_SECOND_BEGUN);
    return disk_second_set(node->control, &key, &node->control_second, err);
}

void
control_joined(const struct node *node)
{
    struct st_err err = {0};
    if (!node->control || node->control_state == CONTROL_IS_OPEN ||
        node->control_state == CONTROL_IS_DOUBTED ||
        !control_is_mounted(node->control_folder)) /* records may lie in the clear yet */
        return;
    if (give_second(node, &err))
        event("warning",
              "reason=\"until its next unlock nothing but the TPM opens the control "
              "volume: "
              "%s\"",
              err.text);
}

static enum st_code
opens_by_tpm(const struct node *node, const char *id)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    SECRET key = {0};
    char ours[NODE_ID_LEN + 1];
    enum st_code code;
    if ((code = tpm_open(node->tcti, &tpm, NULL)) ||
        (code = control_key(node, tpm, &key, NULL)))
        return code;
    control_id(&key, ours);
    return strcmp(ours, id) ? ST_PERMISSION_DENIED
                            : disk_check_key(node->control, &key, NULL);
}

bool
control_is_lost(const struct node *node)
{
    struct disk_found found;
    return node->control && !disk_observe(node->control, &found, NULL) &&
           found.state == START_VOLUME_ENROLLED && opens_by_tpm(node, found.node_id);
}

enum st_code
control_recover(const struct node *node, const struct secret *recovery,
                struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    SECRET second = {0}, key = {0};
    enum st_code code;
    if ((code = disk_child_key_recovered(node->volume, recovery, &second, err)) ||
        (code = tpm_open(node->tcti, &tpm, err)))
        return code;
    return control_rekey(node, tpm, &second, &key, err);
}

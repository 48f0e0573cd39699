#include "node/control.h"

#include "node/control_mount.h"
#include "node/half.h"
#include "node/measure.h"
#include "node/retry.h"
#include "proto/event.h"
#include "proto/mutant.h"
#include "proto/scope.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <string.h>

#define ID_LABEL "smalltown control v1"

void
control_id(const struct secret *key, char out[NODE_ID_LEN + 1])
{
    SECRET labelled = {0};
    uint8_t digest[SHA256_LEN];
    const size_t label = strlen(ID_LABEL);
    memcpy(labelled.bytes, ID_LABEL, label);
    memcpy(labelled.bytes + label, key->bytes, key->len);
    sha256_of(labelled.bytes, label + key->len, digest);
    node_id_of_key(digest, out);
}

/* What the masters approve of is a boot in which the enrolment is measured. */
static enum st_code
key_by_kept(const struct node *node, struct tpm *tpm, struct secret *out,
            struct st_err *err)
{
    NODE_CONFIG config = {0};
    struct approvals kept = {0};
    enum measure_state state = MEASURE_DONE;
    if (config_read(esp_path(node->esp, ESP_CONFIG), &config, NULL) || !*config.node_id ||
        approvals_read(node->esp, &kept, NULL) || !kept.count)
        return ST_NOT_FOUND;
    enum st_code code = measure_config(tpm, &config.masters, &state, err);
    if (code || state != MEASURE_DONE)
        return code ? code : ST_NOT_FOUND;
    return half_open_kept(node, tpm, ESP_CONTROL, out, err);
}

enum st_code
control_made_elsewhere(const struct node *node, struct st_err *err)
{
    return st_fail(err, ST_FAILED_PRECONDITION,
                   "the key of the control volume %.200s was not made by what this "
                   "machine boots: where it has a key of this machine's data volume it "
                   "opens once that is open; else wipe it, and remove "
                   "EFI/smalltown/control*",
                   node->control);
}

enum st_code
control_key(const struct node *node, struct tpm *tpm, struct secret *out,
            struct st_err *err)
{
    enum half_maker maker;
    SECRET key = {0};
    enum st_code code =
        half_unseal(node, tpm, ESP_CONTROL, UNLOCK_KEY_LEN, &key, &maker, err);
    if (code == ST_PERMISSION_DENIED) {
        struct st_err why = {0};
        const enum st_code kept = key_by_kept(node, tpm, out, &why);
        if (kept == ST_UNAVAILABLE && err)
            *err = why;
        return !kept || kept == ST_UNAVAILABLE ? kept : code;
    }
    if (code)
        return code;
    if (REFUSES(0x4813, maker == HALF_MADE_ELSEWHERE))
        return control_made_elsewhere(node, err);
    *out = key;
    return ST_OK;
}

enum st_code
control_check_new(const struct node *node, struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    enum half_maker maker;
    SECRET key = {0};
    enum st_code code;
    if (node->control_state != CONTROL_IS_OPEN)
        return ST_OK;
    if ((code = tpm_open(node->tcti, &tpm, err)) ||
        (code = half_unseal(node, tpm, ESP_CONTROL, UNLOCK_KEY_LEN, &key, &maker, err)))
        return code;
    if (!REFUSES(0x4815, maker != HALF_MADE_HERE))
        return ST_OK;
    return st_fail(err, ST_FAILED_PRECONDITION,
                   "whose the control volume %.200s is cannot be told, and no cluster "
                   "begins on it: where its records are this machine's, start without "
                   "--bootstrap",
                   node->control);
}

/* A volume in another's place is not tried. */
static enum st_code
open_with(const struct node *node, const struct secret *key, struct st_err *err)
{
    struct disk_found found;
    char id[NODE_ID_LEN + 1];
    enum st_code code = disk_observe(node->control, &found, err);
    if (code)
        return code;
    control_id(key, id);
    if (REFUSES(0x4876, strcmp(found.node_id, id) != 0))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the control volume %.200s is not the one that this machine made: "
                       "attach the right one",
                       node->control);
    return control_mount(node->control, key, node->control_folder, err);
}

static enum st_code
open_by_tpm(const struct node *node, struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    SECRET key = {0};
    enum st_code code;
    if ((code = tpm_open(node->tcti, &tpm, err)) ||
        (code = control_key(node, tpm, &key, err)))
        return code;
    return open_with(node, &key, err);
}

/* By what a predecessor in this boot mapped, or by the TPM. */
static enum st_code
open_once(const struct node *node, struct st_err *err)
{
    bool mapped;
    enum st_code code = control_is_mapped(node->control, &mapped, err);
    if (code)
        return code;
    return mapped ? control_mount(node->control, NULL, node->control_folder, err)
                  : open_by_tpm(node, err);
}

static void
shut(struct node *node, const char *why)
{
    node->control_state = CONTROL_IS_SHUT;
    event("control", "volume=%s decision=shut reason=\"%s\"", node->control, why);
}

static void
opened(struct node *node)
{
    node->control_state = CONTROL_IS_OPEN;
    event("control", "volume=%s decision=ok", node->control);
}

static enum st_code
open_patiently(struct node *node, struct st_err *err)
{
    struct retry retry = {.first_ms = node->retry_first_ms, .max_ms = node->retry_max_ms};
    for (;;) {
        struct st_err failure = {0};
        enum st_code code = open_once(node, &failure);
        if (!code)
            opened(node);
        else if (code != ST_UNAVAILABLE)
            shut(node, failure.text);
        if (code != ST_UNAVAILABLE)
            return ST_OK;
        if (!retry_wait(&retry, "tpm", &failure))
            return st_fail(err, ST_CANCELLED, "told to stop");
    }
}

static void
say_plain(struct node *node)
{
    if (node->control_state != CONTROL_IS_PLAIN)
        event("warning",
              "reason=\"the records of this master lie in the clear in %s, not on the "
              "control volume: remove the master, then what is there, and adopt it as "
              "a master anew\"",
              node->control_folder);
    node->control_state = CONTROL_IS_PLAIN;
}

enum st_code
control_open(struct node *node, struct st_err *err)
{
    struct control_facts facts;
    enum st_code code;
    if (!node->control)
        return ST_OK;
    if (control_is_mounted(node->control_folder)) {
        node->control_state = CONTROL_IS_OPEN;
        return ST_OK;
    }
    control_observe(node, &facts);
    const struct control_verdict verdict = control_decide(&facts);
    switch (verdict.row) {
    case CONTROL_FREE:
        node->control_state = CONTROL_IS_FREE;
        return ST_OK;
    case CONTROL_LEFT:
        say_plain(node);
        return ST_OK;
    case CONTROL_OPENS: /* a cut may have come just before control_make() did this */
        if ((code = esp_erase(node->esp, ESP_CONTROL_PENDING, err)))
            return code;
        return open_patiently(node, err);
    case CONTROL_REFUSED:
        break;
    }
    struct st_err why = {0};
    (void)st_fail(&why, ST_FAILED_PRECONDITION, "%s%s%s%s", verdict.sentence,
                  facts.why.code ? " (" : "", facts.why.text, facts.why.code ? ")" : "");
    shut(node, why.text);
    return ST_OK;
}

static enum st_code
check_second(const struct node *node, const struct secret *second, struct st_err *err)
{
    enum st_code code = disk_recovery_check(node->control, second, err);
    if (code != ST_NOT_FOUND && code != ST_PERMISSION_DENIED)
        return code;
    return st_fail(
        err, ST_FAILED_PRECONDITION,
        "%.200s has no key of this data volume, and who made its own for which "
        "cluster cannot be told: where a reboot does not help and its records are "
        "needed, have another master join and remove this one; then stop "
        "smalltown-node, wipe it, remove EFI/smalltown/control* and reboot",
        node->control);
}

/* Until it has the second key nothing was sealed under an authority: what is, and lacks
 * it, was made by somebody who knows the authority, as everybody does.  And what our own
 * image made may have been made, or taken along, for somebody else's cluster; of a member
 * whose cluster is not known yet, the next JoinCluster says so
 * (join_with_certificates()).
 */
static enum st_code
check_ours(const struct node *node, struct tpm *tpm, const struct secret *second,
           bool *out_joins, struct st_err *err)
{
    enum half_maker maker = HALF_MADE_ELSEWHERE;
    SECRET key = {0};
    struct st_err why = {0};
    enum st_code foreign = check_second(node, second, err), code;
    *out_joins = false;
    if (foreign != ST_FAILED_PRECONDITION)
        return foreign;
    code = half_unseal(node, tpm, ESP_CONTROL, UNLOCK_KEY_LEN, &key, &maker, &why);
    if (code && code != ST_PERMISSION_DENIED) {
        *err = why;
        return code;
    }
    const enum control_owner owner = control_owner(node);
    if (maker != HALF_MADE_HERE || REFUSES(0x481a, owner == CONTROL_OF_OTHERS))
        return foreign;
    *out_joins = REFUSES(0x481c, owner == CONTROL_OF_A_MEMBER);
    return disk_check_key(node->control, &key, err);
}

/* What was shut opens by what the masters said, or by what is on the data volume. */
static enum st_code
open_late(struct node *node, struct tpm *tpm, const struct secret *second,
          const struct approvals *said, struct st_err *err)
{
    SECRET key = {0};
    enum st_code code = half_open(node, tpm, ESP_CONTROL, said, &key, err);
    if (!code && !REFUSES(0x4818, (code = check_second(node, second, err))))
        code = open_with(node, &key, err);
    if (!code)
        return ST_OK;
    if (code == ST_INTERNAL || control_rekey(node, tpm, second, &key, NULL))
        return code; /* what the key opened is broken, or it is another volume */
    return open_with(node, &key, err);
}

/* An open one is opened by the second key, and by the boots that the cluster approves. */
static enum st_code
provide(const struct node *node, struct tpm *tpm, const struct secret *second,
        const struct approvals *said, struct st_err *err)
{
    SECRET key = {0};
    enum st_code code;
    if ((code = half_open(node, tpm, ESP_CONTROL, said, &key, err)) ||
        (code = disk_second_set(node->control, &key, second, err)))
        return code;
    half_follow(node, tpm, ESP_CONTROL, &key, said);
    return ST_OK;
}

static enum st_code
follow(struct node *node, struct tpm *tpm, const struct secret *second,
       const struct approvals *said, struct st_err *err)
{
    bool joins = false;
    enum st_code code;
    switch (node->control_state) {
    case CONTROL_IS_FREE:
    case CONTROL_IS_PLAIN:
        node->control_second = *second;
        return ST_OK;
    case CONTROL_IS_SHUT:
        if ((code = open_late(node, tpm, second, said, err)))
            return code;
        opened(node);
        keeper_look(node->keeper);
        return provide(node, tpm, second, said, err);
    case CONTROL_IS_OPEN:
    case CONTROL_IS_DOUBTED:
        node->control_state = CONTROL_IS_DOUBTED;
        if (REFUSES(0x4816, (code = check_ours(node, tpm, second, &joins, err))))
            return code;
        if (joins) {
            node->control_second = *second;
            node->control_state = CONTROL_IS_FREE;
            event("warning", "reason=\"until the next JoinCluster or unlock nothing but "
                             "the TPM opens the control volume\"");
            return ST_OK;
        }
        if (!(code = provide(node, tpm, second, said, err)))
            node->control_state = CONTROL_IS_OPEN;
        return code;
    case CONTROL_IS_NONE:
        break;
    }
    return ST_OK;
}

void
control_follow(struct node *node, struct tpm *tpm, const struct secret *disk_key,
               const struct approvals *said)
{
    SECRET second = {0};
    struct st_err err = {0};
    if (!node->control || !node->volume)
        return;
    enum st_code code = disk_child_key(node->volume, disk_key, &second, &err);
    if (!code)
        code = follow(node, tpm, &second, said, &err);
    else if (node->control_state == CONTROL_IS_OPEN)
        node->control_state = CONTROL_IS_DOUBTED;
    if (code)
        event("warning", "reason=\"the control volume stays as it is: %s\"", err.text);
}

/* An enrolment is a sequence of durable steps.  The machine may lose its power between
 * any two of them, or within one; the next start goes on from there with the same keys.
 *
 *   1 measure the config into PCR 12 (once per boot: PCR 12 itself remembers)
 *   2 make local half, global half and id key
 *   3 seal `pending`: global half, id key
 *   4 seal `sealed`: the local half
 *   5 mark the volume: its last page names this node
 *   6 format it, token "pending", unmark
 *        before, nothing has left the machine: a start that finds the volume blank makes
 *        new keys, whatever lies on the ESP, for the TPM seals for whoever came to it;
 *        one that finds its own mark blanks the volume first; nothing else is formatted
 *    and give it its recovery key (recover.c): a start that finds a volume that has none
 *        makes it then; one that finds that it would be another's than when the keys
 *        were made (enrol_keys.h), or keys that something else than this machine boots
 *        has made, blanks the volume, which has nobody's data, and is at 2 again
 *   7 ask the masters until one says OK: it is committed
 *        a lost OK is asked for again: the same node with the same keys gets it again
 *   8 write `identity`
 *   9 token "enrolled"
 *  10 write enrolment.pb with the node id and without the secret
 *        before 10 a start comes back to 7; after it, it unlocks like any node
 *  11 erase `pending` (a start that still finds it erases it)
 *  12 open the volume
 *  13 seal the local half anew, under the authority of the cluster (half.h; where it does
 *     not come to that, the next unlock does it)
 *  14 cap PCR 12
 *        where 12 fails, too; whoever stops the daemon waits for it (stop.h)
 *
 * A refusal at 7 leaves everything as it is, the secret too.
 */
#include "node/enrol.h"

#include "node/control.h"
#include "node/enrol_keys.h"
#include "node/half.h"
#include "node/measure.h"
#include "node/recover.h"
#include "node/register.h"
#include "node/retry.h"
#include "node/stop.h"
#include "node/talk.h"
#include "proto/event.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <string.h>

static enum st_code
measure(const struct node *node, struct tpm *tpm, struct st_err *err)
{
    enum measure_state state;
    enum st_code code = measure_config(tpm, &node->config.masters, &state, err);
    if (code)
        return code;
    if (REFUSES(0x480a, state == MEASURE_CAPPED))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "a disk key was released in this boot: reboot, then this machine "
                       "enrols");
    node_passed(node, ENROL_MEASURED);
    return ST_OK;
}

/* What an enrolment goes on with. */
struct begun {
    bool resume, has_identity;
    struct disk_found disk;
};

/* Zeros say that no firmware and no boot loader measured anything. */
static void
warn_of_nothing_measured(struct tpm *tpm)
{
    static const uint8_t zeros[SHA256_LEN];
    struct tpm_pcrs pcrs;
    if (!tpm_pcrs_read(tpm, &pcrs, NULL) && !memcmp(pcrs.digest[4], zeros, SHA256_LEN) &&
        !memcmp(pcrs.digest[11], zeros, SHA256_LEN))
        event("warning", "reason=\"PCR 4 and 11 are zero: the boot of this machine is "
                         "not measured, the disk is bound to its TPM only\"");
}

/* Why others are made; NULL: they are gone on with.  No master has heard of keys whose
 * volume is half formatted.  Whoever made them by what he booted knows the disk key, and
 * whoever had an enrolment.pb of his own here could have the recovery key of what they
 * open, and with it the key of the data, whatever becomes of the slot. */
static const char *
why_others(const struct node *node, const struct begun *begun, const struct keys *keys)
{
    const struct disk_found *disk = &begun->disk;
    if (node->volume && strcmp(disk->node_id, keys->identity.node_id) != 0)
        return NULL; /* volume_format() refuses it */
    if (REFUSES(0x4805, disk->state == START_VOLUME_TORN))
        return "its format was cut";
    if (REFUSES(0x480f, !keys->ours))
        return "its keys were made by something else than this machine boots";
    if (node->volume && REFUSES(0x3075, !keys->fit))
        return "it was formatted for another enrolment.pb, or another --recovery-key";
    return NULL;
}

static enum st_code
give_up(const struct node *node, struct begun *begun, const struct keys *keys,
        const char *why, struct st_err *err)
{
    static const char keep[] =
        "then `smalltown-node recover` keeps what is on its volume;"
        " if nothing on that is needed wipe it, and";
    const char *fetch = node->volume ? "fetch its `stctl node recovery-key`, " : "";
    const struct disk_found *disk = &begun->disk, blank = {.state = START_VOLUME_BLANK};
    const char *node_id = keys->identity.node_id;
    const char *restore = keys->ours ? "restore the enrolment.pb of then, or " : "";
    enum st_code code;
    if (REFUSES(0x3402, disk->has_data))
        return st_fail(
            err, ST_FAILED_PRECONDITION,
            "%.200s has the data of %s, and %s: %srun `smalltown-node recover` "
            "again",
            node->volume, node_id, why, restore);
    if (REFUSES(0x3401, begun->has_identity))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "%s has an identity, and %s: %s%s`stctl node remove` it, %s "
                       "remove all of EFI/smalltown except enrolment.pb",
                       node_id, why, restore, fetch, node->volume ? keep : "and");
    if (node->volume && ((code = recover_choose(node, &blank, err)) ||
                         (code = disk_give_up(node->volume, node_id, err))))
        return code;
    event("format", "volume=%s node=%s decision=anew reason=\"%s\"",
          node->volume ? node->volume : "none", node_id, why);
    if (node->volume)
        begun->disk = blank;
    node_passed(node, ENROL_GIVEN_UP);
    return ST_OK;
}

/* Steps 1 to 4. */
static enum st_code
keys_get(const struct node *node, struct begun *begun, struct keys *out,
         struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    const char *why;
    enum st_code code;
    if ((code = tpm_open(node->tcti, &tpm, err)) || (code = measure(node, tpm, err)))
        return code;
    if (begun->resume && ((code = keys_unseal(node, tpm, out, err)) ||
                          !(why = why_others(node, begun, out))))
        return code;
    if (begun->resume && (code = give_up(node, begun, out, why, err)))
        return code;
    begun->resume = false;
    warn_of_nothing_measured(tpm);
    if ((code = keys_make(out, err)))
        return code;
    node_passed(node, ENROL_KEYS_MADE);
    return keys_seal(node, tpm, out, err);
}

/* Steps 5 and 6. */
static enum st_code
volume_format(const struct node *node, const struct disk_found *found,
              const struct keys *keys, struct st_err *err)
{
    const char *node_id = keys->identity.node_id;
    enum st_code code;
    if (REFUSES(0x34d, *found->node_id && strcmp(found->node_id, node_id) != 0))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "the data volume %.200s belongs to %s, and this enrolment is of "
                       "%s: it is not touched; where a recovery was cut, run "
                       "`smalltown-node recover` again",
                       node->volume, found->node_id, node_id);
    if (found->state == START_VOLUME_PENDING || found->state == START_VOLUME_ENROLLED)
        return disk_check_key(node->volume, &keys->disk_key, err);
    if ((code = disk_begin_format(node->volume, node_id, err)))
        return code;
    node_passed(node, ENROL_FORMAT_BEGUN);
    if ((code =
             disk_format(node->volume, &keys->disk_key, node_id, node->encryption, err)))
        return code;
    node_passed(node, ENROL_FORMATTED);
    event("format", "volume=%s node=%s", node->volume, node_id);
    return ST_OK;
}

static enum st_code
volume_prepare(const struct node *node, const struct disk_found *found,
               const struct keys *keys, struct st_err *err)
{
    enum st_code code;
    if (!node->volume)
        return ST_OK;
    if ((code = volume_format(node, found, keys, err)))
        return code;
    if (found->state != START_VOLUME_ENROLLED &&
        (code = recover_provide(node, &keys->disk_key, keys->identity.node_id, err)))
        return code;
    node_passed(node, ENROL_RECOVERABLE);
    return ST_OK;
}

/* Step 7. */
static enum st_code
ask(const struct node *node, const struct keys *keys, struct approvals *out_said,
    struct st_err *err)
{
    struct retry retry = {.first_ms = node->retry_first_ms, .max_ms = node->retry_max_ms};
    for (;;) {
        struct st_err failure = {0};
        enum st_code code =
            register_node(node, &keys->identity, &keys->global_half, out_said, &failure);
        if (!REFUSES(0x34a, code))
            return ST_OK;
        talk_explain(node, true, &failure);
        if (!retry_wait(&retry, "enrol", &failure))
            return st_fail(err, ST_CANCELLED, "told to stop");
    }
}

/* Steps 8 to 11. */
static enum st_code
commit(struct node *node, const struct keys *keys, struct st_err *err)
{
    NODE_CONFIG enrolled = node->config;
    enum st_code code;
    if ((code = identity_write(node->esp, &keys->disk_key, &keys->identity, err)))
        return code;
    node_passed(node, ENROL_IDENTITY_WRITTEN);
    if (node->volume &&
        (code = disk_set_enrolled(node->volume, keys->identity.node_id, err)))
        return code;
    node_passed(node, ENROL_VOLUME_ENROLLED);
    secret_wipe(&enrolled.secret);
    enrolled.has_recovery = false;
    strcpy(enrolled.node_id, keys->identity.node_id);
    if ((code = config_write(esp_path(node->esp, ESP_CONFIG), &enrolled, err)))
        return code;
    node->config = enrolled;
    node_passed(node, ENROL_CONFIG_WRITTEN);
    if ((code = esp_erase(node->esp, ESP_PENDING, err)))
        return code;
    node_passed(node, ENROL_PENDING_ERASED);
    return ST_OK;
}

/* Steps 12 and 13. */
static enum st_code
open_new(struct node *node, struct tpm *tpm, const struct keys *keys,
         const struct approvals *said, bool *out_mapped, struct st_err *err)
{
    enum st_code code;
    if (node->volume &&
        (code = disk_map(node->volume, DISK_MAPPING, &keys->disk_key, out_mapped, err)))
        return code;
    half_follow(node, tpm, ESP_SEALED, &keys->local_half, said);
    control_follow(node, tpm, &keys->disk_key, said);
    return ST_OK;
}

/* Steps 12 to 14: it ends in the cap, as an unlock does (unlock.c). */
static enum st_code
finish(struct node *node, const struct keys *keys, const struct approvals *said,
       bool *out_mapped, struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    enum st_code code, uncapped;
    if ((code = tpm_open(node->tcti, &tpm, err)))
        return code;
    code = open_new(node, tpm, keys, said, out_mapped, err);
    uncapped = measure_cap(tpm, &node->config.masters, code ? NULL : err);
    if (code || uncapped)
        return code ? code : uncapped;
    node_passed(node, ENROL_CAPPED);
    if (node->crypttab)
        node->crypttab->disk_key = keys->disk_key;
    return ST_OK;
}

/* As finish(), and whoever stops the daemon waits for that. */
static enum st_code
finish_held(struct node *node, const struct keys *keys, const struct approvals *said,
            bool *out_mapped, struct st_err *err)
{
    stop_hold(true);
    enum st_code code = finish(node, keys, said, out_mapped, err);
    stop_hold(false);
    return code;
}

static enum st_code
keys_get_patiently(const struct node *node, struct begun *begun, struct keys *out,
                   struct st_err *err)
{
    struct retry retry = {.first_ms = node->retry_first_ms, .max_ms = node->retry_max_ms};
    for (;;) {
        struct st_err failure = {0};
        enum st_code code = keys_get(node, begun, out, &failure);
        if (code != ST_UNAVAILABLE) {
            if (code && err)
                *err = failure;
            return code;
        }
        if (!retry_wait(&retry, "tpm", &failure))
            return st_fail(err, ST_CANCELLED, "told to stop");
    }
}

enum st_code
enrol_run(struct node *node, const struct facts *facts, bool resume, struct identity *out,
          struct st_err *err)
{
    KEYS keys = {0};
    struct begun begun = {resume, facts->start.identity, facts->disk};
    struct approvals said = {0};
    bool mapped = false;
    enum st_code code;
    if ((code = recover_choose(node, &facts->disk, err)) ||
        (code = keys_get_patiently(node, &begun, &keys, err)) ||
        (code = volume_prepare(node, &begun.disk, &keys, err)))
        return code;
    event("enrol", "node=%s decision=%s", keys.identity.node_id,
          begun.resume ? "resume" : "begin");
    if ((code = ask(node, &keys, &said, err)))
        return code;
    node_passed(node, ENROL_COMMITTED);
    if ((code = commit(node, &keys, err)) ||
        (code = finish_held(node, &keys, &said, &mapped, err)))
        return st_wrap(err, "the master has committed this node, but");
    event("enrol", "node=%s decision=ok volume=%s", keys.identity.node_id,
          !node->volume ? "none"
          : mapped      ? "/dev/mapper/" DISK_MAPPING
                        : "\"formatted and verified, not mapped: this kernel has no "
                          "device-mapper\"");
    event("waiting",
          "reason=\"registered; after the next reboot the disk opens once "
          "`stctl node adopt %s` was said\"",
          keys.identity.node_id);
    *out = keys.identity;
    return ST_OK;
}

/* A rebind that was through, for this enrolment.pb, and its keys are still here. */
static bool
is_bound(const struct node *node, const struct facts *facts, struct tpm *tpm,
         char out_id[NODE_ID_LEN + 1])
{
    KEYS keys = {0};
    if (facts->disk.state != START_VOLUME_PENDING ||
        facts->start.pending != START_FILE_PRESENT ||
        facts->start.sealed != START_FILE_PRESENT ||
        keys_unseal(node, tpm, &keys, NULL) || !keys.fit || REFUSES(0x4810, !keys.ours) ||
        strcmp(keys.identity.node_id, facts->disk.node_id) != 0)
        return false;
    strcpy(out_id, keys.identity.node_id);
    return true;
}

enum st_code
enrol_may_rebind(const struct node *node, struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    enum st_code code;
    if ((code = tpm_open(node->tcti, &tpm, err)) || (code = measure(node, tpm, err)))
        return code;
    return half_try(node, tpm, err);
}

enum st_code
enrol_rebind(const struct node *node, const struct facts *facts,
             const struct secret *recovery, char out_id[NODE_ID_LEN + 1],
             struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = NULL;
    const uint8_t *recipient = node->config.has_recovery ? node->config.recovery : NULL;
    KEYS keys = {0};
    enum st_code code;
    if ((code = tpm_open(node->tcti, &tpm, err)) || (code = measure(node, tpm, err)))
        return code;
    if (is_bound(node, facts, tpm, out_id))
        return ST_OK;
    if ((code = keys_make(&keys, err)))
        return code;
    node_passed(node, ENROL_KEYS_MADE);
    if ((code = esp_erase(node->esp, ESP_IDENTITY, err)) ||
        (code = esp_erase(node->esp, ESP_APPROVALS, err)) ||
        (code = keys_seal(node, tpm, &keys, err)) ||
        (code = disk_rebind(node->volume, recovery, &keys.disk_key, keys.identity.node_id,
                            recipient, err)))
        return code;
    node_passed(node, ENROL_FORMATTED);
    strcpy(out_id, keys.identity.node_id);
    return ST_OK;
}

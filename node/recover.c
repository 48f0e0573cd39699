#include "node/recover.h"

#include "node/control.h"
#include "node/enrol.h"
#include "node/terminal.h"
#include "proto/event.h"
#include "proto/scope.h"

#include <stdio.h>
#include <string.h>

/* One of before this version, or whose making was cut, gets one at the next chance.  One
 * that another enrolment.pb wanted is of other keys (enrol_keys.h). */
static bool
is_provided(const struct node *node, const char *node_id,
            const struct disk_recovery *found)
{
    if (!node->config.has_recovery)
        return found->there;
    return found->sealed && !strcmp(found->place.node_id, node_id) &&
           !memcmp(found->place.recipient, node->config.recovery, HPKE_KEY_LEN);
}

static bool
will_need_one(const struct node *node, const struct disk_found *disk)
{
    struct disk_recovery found;
    if (!node->volume)
        return false;
    if (disk->state == START_VOLUME_BLANK || disk->state == START_VOLUME_TORN)
        return true;
    return disk->state == START_VOLUME_PENDING &&
           !disk_recovery_look(node->volume, &found, NULL) &&
           !is_provided(node, disk->node_id, &found);
}

enum st_code
recover_choose(const struct node *node, const struct disk_found *disk, struct st_err *err)
{
    if (!will_need_one(node, disk) || node->config.has_recovery || node->no_recovery)
        return ST_OK;
    if (node->recovery_terminal)
        return terminal_check(node->recovery_terminal, err);
    return st_fail(err, ST_FAILED_PRECONDITION,
                   "nobody would have a recovery key of the data volume: enrol with a "
                   "file of `stctl enrolment create --recovery-key`, or say "
                   "--recovery-key TERMINAL to be shown one there, or --recovery-key "
                   "none");
}

enum st_code
recover_provide(const struct node *node, const struct secret *disk_key,
                const char *node_id, struct st_err *err)
{
    const bool sealed = node->config.has_recovery;
    SECRET key = {0};
    struct disk_recovery found;
    enum st_code code = disk_recovery_look(node->volume, &found, err);
    if (code || is_provided(node, node_id, &found))
        return code;
    if (!sealed && node->no_recovery) {
        event("warning",
              "reason=\"%s has no recovery key, as --recovery-key none says: "
              "without this TPM its data is lost\"",
              node->volume);
        return ST_OK;
    }
    if ((code = recovery_make(&key, err)) ||
        (!sealed &&
         (code = terminal_show_key(node->recovery_terminal, node->volume, &key, err))) ||
        (code = disk_recovery_set(node->volume, disk_key, &key,
                                  sealed ? node->config.recovery : NULL, err)))
        return code;
    event("recovery-key", "volume=%s node=%s to=%s", node->volume, node_id,
          sealed ? "administrator" : "terminal");
    return ST_OK;
}

static enum st_code
check_config(const struct facts *facts, struct st_err *err)
{
    if (facts->start.config == START_CONFIG_SECRET)
        return ST_OK;
    if (facts->start.config == START_CONFIG_ENROLLED)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "this machine is enrolled: if it does not unlock any more, `stctl "
                       "node recovery-key` and `stctl node remove` its node, and copy a "
                       "fresh enrolment.pb over the old one");
    return st_fail(err, ST_FAILED_PRECONDITION,
                   "recover needs a fresh EFI/smalltown/enrolment.pb: `stctl enrolment "
                   "create` makes one");
}

static enum st_code
check_volume(const struct node *node, const struct facts *facts, struct st_err *err)
{
    struct disk_recovery found;
    enum st_code code;
    if (facts->start.volume == START_VOLUME_UNREADABLE)
        return st_fail(err, ST_FAILED_PRECONDITION, "%s", facts->why.text);
    if (facts->disk.state != START_VOLUME_PENDING &&
        facts->disk.state != START_VOLUME_ENROLLED)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "%.200s is no data volume of smalltown-node: there is nothing to "
                       "recover",
                       node->volume);
    if ((code = disk_recovery_look(node->volume, &found, err)))
        return code;
    if (!found.there)
        return st_fail(err, ST_NOT_FOUND, "the data volume %.200s has no recovery key",
                       node->volume);
    fprintf(stderr, "%s is the data volume of %s\n", node->volume, facts->disk.node_id);
    if (found.sealed)
        fprintf(stderr,
                "`stctl node recovery-key %s --key FILE` shows its recovery key\n"
                "where no master knows it, `stctl recovery open token.json --key FILE` "
                "does, of this:\n"
                "    cryptsetup token export --token-id 1 --json-file token.json %s\n",
                found.place.node_id, node->volume);
    return ST_OK;
}

/* What stands between the first line of a PEM and its last: as in recovery.pem. */
static enum st_code
show_recipient(const uint8_t recipient[HPKE_KEY_LEN], struct st_err *err)
{
    char pem[RECOVERY_PEM_MAX];
    enum st_code code = recovery_public_to_pem(recipient, pem, err);
    if (code)
        return code;
    const char *line = strchr(pem, '\n') + 1;
    fprintf(stderr,
            "the recovery key is sealed anew, to whoever has this recovery.pem:\n"
            "    %.*s\n",
            (int)strcspn(line, "\n"), line);
    return ST_OK;
}

/* The next start asks the masters of enrolment.pb, whoever put it there; the recovery key
 * is sealed before any master judged to whom. */
static enum st_code
show_enrolment(const struct node *node, struct st_err *err)
{
    char fingerprint[2 * SHA256_LEN + 1];
    enum st_code code = ST_OK;
    cert_fingerprint_hex(node->config.masters.der, node->config.masters.len, fingerprint);
    fprintf(stderr,
            "enrolment.pb is for the masters with this certificate (SHA-256):\n    %s\n",
            fingerprint);
    if (node->config.has_recovery)
        code = show_recipient(node->config.recovery, err);
    else
        fputs("the recovery key is sealed to nobody: it stays with those who have it\n",
              stderr);
    fputs("Type the recovery key only where both are yours.\n", stderr);
    return code;
}

/* The records of a master open again, and stay its; no enrolment is needed for that,
 * which there could not be where this is the only master. */
static enum st_code
recover_control(const struct node *node, const struct secret *recovery,
                struct st_err *err)
{
    enum st_code code = control_recover(node, recovery, err);
    if (code)
        return st_wrap(err, "the control volume stays shut");
    printf("%s opens by this TPM again, with the records of the master.\n",
           node->control);
    return ST_OK;
}

static enum st_code
rebind(const struct node *node, const struct facts *facts, const struct secret *recovery,
       struct st_err *err)
{
    char node_id[NODE_ID_LEN + 1];
    enum st_code code = enrol_rebind(node, facts, recovery, node_id, err);
    if (code)
        return code;
    printf("%s is %s's now, with all that is on it.\n"
           "Start smalltown-node: it enrols, and the recovery key stays as it is.\n",
           node->volume, node_id);
    return ST_OK;
}

/* Of what is lost: the control volume, and, for a fresh enrolment, the data volume. */
static enum st_code
recover(struct node *node, struct st_err *err)
{
    SECRET recovery = {0};
    struct facts facts;
    enum st_code code;
    facts_observe(node, false, &facts);
    const bool lost = control_is_lost(node),
               fresh = facts.start.config == START_CONFIG_SECRET;
    if (!lost && (code = check_config(&facts, err)))
        return code;
    if ((code = check_volume(node, &facts, err)) ||
        (fresh &&
         ((code = enrol_may_rebind(node, err)) || (code = show_enrolment(node, err)))) ||
        (code = terminal_ask_key(&recovery, err)) ||
        (code = disk_recovery_check(node->volume, &recovery, err)))
        return code;
    code = lost ? recover_control(node, &recovery, err) : ST_OK;
    if (!fresh)
        return code;
    if (code)
        fprintf(stderr, "%s\n", err->text);
    return rebind(node, &facts, &recovery, err);
}

enum st_code
recover_run(struct node *node, const char *esp, struct st_err *err)
{
    enum st_code code = esp_open(esp, &node->esp, err);
    if (code)
        return code;
    code = recover(node, err);
    esp_close(TAKE(node->esp));
    config_wipe(&node->config);
    return code;
}

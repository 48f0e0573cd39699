#include "nms/boot.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct refused {
    struct nms *nms;
    const struct boot_proof *proof;
    const char *peer;
    uint64_t window; /* that was open: its number, and whose it is */
    uint8_t opened_by[SHA256_LEN];
    bool clock; /* that is what is refused */
    struct st_err why;
    nms_done done;
    void *arg;
};

static void
refused_end(struct refused *refused, const struct st_err *err)
{
    const struct refused ended = *refused;
    free(refused);
    ended.done(ended.arg, err);
}

/* What was done with it, and what the policy says of it. */
static void
say(const struct refused *refused, const char *what, const struct st_err *err,
    const uint8_t *admin)
{
    struct audit_line line;
    audit_line_fill(&line, what, refused->proof->node, refused->peer, err);
    if (!err->code)
        snprintf(line.reason, sizeof(line.reason), "%s", refused->why.text);
    if (admin)
        audit_line_admin(&line, admin);
    nms_decided_node(refused->nms, &line);
}

/* One more in this minute, of this master.  Where clocks go back it begins anew. */
static bool
has_room(struct nms *nms)
{
    const uint64_t minute = (uint64_t)nms_now() / 60;
    uint64_t before = atomic_load(&nms->refusals), after;
    do {
        after = before >> 16 == minute ? before + 1 : minute << 16 | 1;
        if (REFUSES(0x121b, (after & 0xffff) > BOOT_REFUSALS_A_MINUTE))
            return false;
    } while (!atomic_compare_exchange_strong(&nms->refusals, &before, after));
    return true;
}

/* Kept or not, it is refused. */
static void
kept(void *arg, const struct st_err *err)
{
    struct refused *refused = arg;
    const struct st_err why = refused->why;
    say(refused, "refused-boot", err, NULL);
    refused_end(refused, &why);
}

static void
keep(struct refused *refused)
{
    struct nms *nms = refused->nms;
    const struct boot_proof *proof = refused->proof;
    const struct st_err why = refused->why;
    if (!state_refusal_is_news(nms->state, proof->node, &proof->pcrs,
                               refused->clock ? &proof->clock : NULL, nms_now()) ||
        !has_room(nms)) {
        refused_end(refused, &why);
        return;
    }
    State__RefuseBoot refuse_boot = STATE__REFUSE_BOOT__INIT;
    State__TpmClock clock;
    refuse_boot.node_id = (char *)proof->node;
    refuse_boot.ak_public = (ProtobufCBinaryData){proof->ak_len, (uint8_t *)proof->ak};
    refuse_boot.pcrs = (ProtobufCBinaryData){sizeof(proof->pcrs.digest),
                                             (uint8_t *)proof->pcrs.digest[0]};
    State__Command command = STATE__COMMAND__INIT;
    if (refused->clock) {
        state_clock_pack(&proof->clock, &clock);
        refuse_boot.clock = &clock;
        command.change_case = STATE__COMMAND__CHANGE_REFUSE_CLOCK;
        command.refuse_clock = &refuse_boot;
    } else {
        command.change_case = STATE__COMMAND__CHANGE_REFUSE_BOOT;
        command.refuse_boot = &refuse_boot;
    }
    nms_propose(nms, &command, kept, refused);
}

/* The operator reads both reasons in one line. */
static void
say_window(struct st_err *why, const struct st_err *window)
{
    char sentence[sizeof(why->text)];
    strcpy(sentence, why->text);
    (void)st_fail_for(why, why->code, why->reason, "%s; %s", sentence, window->text);
}

/* Whose window it came through.  NULL where that cannot be told: another one was opened
 * at this very moment, or the policy was changed. */
static const uint8_t *
admin_of(const struct refused *refused)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    if (state_node(refused->nms->state, refused->proof->node, &node, NULL) ||
        node->window != refused->window)
        return NULL;
    return refused->opened_by;
}

static void
captured(void *arg, const struct st_err *err)
{
    struct refused *refused = arg;
    switch (err->code) {
    case ST_OK:
        say(refused, "capture-boot", err, admin_of(refused));
        refused_end(refused, err);
        return;
    case ST_PERMISSION_DENIED:
    case ST_FAILED_PRECONDITION:
    case ST_NOT_FOUND:
        say_window(&refused->why, err);
        keep(refused);
        return;
    default: /* it may ask again */
        refused_end(refused, err);
        return;
    }
}

static void
capture(struct refused *refused)
{
    const struct boot_proof *proof = refused->proof;
    State__CaptureBoot capture_boot = STATE__CAPTURE_BOOT__INIT;
    capture_boot.node_id = (char *)proof->node;
    capture_boot.ak_public = (ProtobufCBinaryData){proof->ak_len, (uint8_t *)proof->ak};
    capture_boot.pcrs = (ProtobufCBinaryData){sizeof(proof->pcrs.digest),
                                              (uint8_t *)proof->pcrs.digest[0]};
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_CAPTURE_BOOT;
    command.capture_boot = &capture_boot;
    nms_propose(refused->nms, &command, captured, refused);
}

/* It may be closed by now; then nobody comes through it. */
static void
note_window(struct refused *refused)
{
    AUTO(state_window_freep) State__Window *window = NULL;
    if (state_window(refused->nms->state, nms_now(), &window, NULL) ||
        window->opened_by.len != SHA256_LEN)
        return;
    refused->window = window->number;
    memcpy(refused->opened_by, window->opened_by.data, SHA256_LEN);
}

/* NULL, and it is refused, without memory. */
static struct refused *
refused_new(struct nms *nms, const struct boot_proof *proof, const char *peer,
            const struct st_err *why, nms_done done, void *arg)
{
    struct refused *refused = malloc(sizeof(*refused));
    if (!refused) {
        done(arg, why);
        return NULL;
    }
    *refused = (struct refused){
        .nms = nms, .proof = proof, .peer = peer, .why = *why, .done = done, .arg = arg};
    return refused;
}

void
boot_refused(struct nms *nms, const struct boot_proof *proof, const char *peer,
             const struct st_err *why, nms_done done, void *arg)
{
    struct st_err window = {0};
    struct refused *refused = refused_new(nms, proof, peer, why, done, arg);
    if (!refused)
        return;
    enum st_code code =
        state_window_check(nms->state, proof->node, &proof->pcrs, nms_now(), &window);
    if (!code) {
        note_window(refused);
        capture(refused);
        return;
    }
    if (code == ST_PERMISSION_DENIED)
        say_window(&refused->why, &window);
    keep(refused);
}

/* Both quotes are of one boot, and no more apart than a stream may last. */
static bool
was_overtaken(struct nms *nms, const struct boot_proof *proof)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    const struct tpm_clock *quoted = &proof->clock;
    if (state_node(nms->state, proof->node, &node, NULL) || !node->clock)
        return true;
    return node->clock->reset_count == quoted->reset_count &&
           node->clock->restart_count == quoted->restart_count &&
           node->clock->clock_ms - quoted->clock_ms <= NMS_UNLOCK_MS;
}

void
boot_went_back(struct nms *nms, const struct boot_proof *proof, const char *peer,
               const struct st_err *why, nms_done done, void *arg)
{
    if (was_overtaken(nms, proof)) {
        done(arg, why);
        return;
    }
    struct refused *refused = refused_new(nms, proof, peer, why, done, arg);
    if (!refused)
        return;
    refused->clock = true;
    keep(refused);
}

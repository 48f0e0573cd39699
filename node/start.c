#include "node/start.h"

#include "proto/mutant.h"

static struct start_verdict
refuse(const char *sentence)
{
    return (struct start_verdict){START_REFUSE, sentence};
}

static bool
volume_is_unused(const struct start_facts *facts)
{
    return facts->volume == START_VOLUME_NONE || facts->volume == START_VOLUME_BLANK;
}

/* Whose recovery key keeps what is on it. */
static bool
volume_is_recoverable(const struct start_facts *facts)
{
    return facts->volume == START_VOLUME_PENDING ||
           facts->volume == START_VOLUME_ENROLLED;
}

/* Something is to be restored; who has no copy of it is told what keeps the data. */
#define REFUSE_LOST(facts, sentence)                                                     \
    refuse(volume_is_recoverable(facts) ? sentence                                       \
               "; where there is no copy, with a fresh enrolment.pb "                    \
               "`smalltown-node recover` keeps the data of its disk"                     \
                                        : sentence)

static struct start_verdict
without_config(const struct start_facts *facts)
{
    if (facts->sealed || facts->pending || facts->identity)
        return REFUSE_LOST(
            facts, "enrolment.pb is gone but this machine has files of an enrolment: "
                   "restore enrolment.pb, or remove EFI/smalltown for a new machine");
    if (volume_is_recoverable(facts))
        return refuse("there is no EFI/smalltown/enrolment.pb, and the data volume is of "
                      "a node: is the ESP mounted? Else restore EFI/smalltown of this "
                      "machine; with a fresh enrolment.pb `smalltown-node recover` keeps "
                      "the data, too");
    if (!volume_is_unused(facts))
        return refuse(
            "there is no EFI/smalltown/enrolment.pb, and the data volume is not "
            "blank: is the ESP mounted? Else restore EFI/smalltown of this "
            "machine; wipe the volume only if nothing on it is needed");
    if (!facts->bootstrap)
        return refuse("there is no EFI/smalltown/enrolment.pb: copy the file that "
                      "`stctl enrolment create` wrote there");
    return (struct start_verdict){START_BOOTSTRAP, "first master of a cluster"};
}

/* Nothing of this enrolment has left the machine yet, and no volume belongs to it. */
static struct start_verdict
fresh(const struct start_facts *facts)
{
    if (facts->identity)
        return refuse("enrolment.pb has a secret but this machine has an identity: "
                      "remove all of EFI/smalltown except enrolment.pb to enrol anew");
    if (REFUSES(0x34c, !volume_is_unused(facts)))
        return refuse(volume_is_recoverable(facts)
                          ? "enrolment.pb has a secret but the data volume is not blank: "
                            "`smalltown-node recover` keeps the data of its node; wipe "
                            "it only if nothing on it is needed"
                          : "enrolment.pb has a secret but the data volume is not blank: "
                            "it is not formatted; wipe it if nothing on it is needed");
    return (struct start_verdict){START_ENROL, "enrols"};
}

static struct start_verdict
half_done(const struct start_facts *facts)
{
    static const struct start_verdict resume = {START_RESUME, "resumes its enrolment"};
    switch (facts->volume) {
    case START_VOLUME_NONE:
    case START_VOLUME_PENDING:
        return resume;
    case START_VOLUME_BLANK:
    case START_VOLUME_TORN:
        if (facts->identity)
            return refuse("this enrolment had formatted its data volume, and this one is "
                          "not formatted: attach the right volume");
        /* A TPM seals for whoever comes to it; nothing depends on these keys. */
        if (REFUSES(0x4804, facts->volume == START_VOLUME_BLANK))
            return fresh(facts);
        return resume;
    case START_VOLUME_ENROLLED:
        if (!facts->identity)
            return refuse("enrolment.pb has a secret but the data volume is of an "
                          "enrolled node: where a recovery was cut, run `smalltown-node "
                          "recover` again; else attach the right volume, or restore "
                          "EFI/smalltown");
        return resume;
    case START_VOLUME_FOREIGN:
    case START_VOLUME_UNREADABLE:
    case START_VOLUME_COUNT:
        break;
    }
    return refuse("this enrolment is half done, and the data volume is not the one that "
                  "it began with: attach that, or wipe this if nothing on it is needed");
}

static struct start_verdict
with_secret(const struct start_facts *facts)
{
    if (facts->sealed && facts->pending)
        return half_done(facts);
    if (REFUSES(0x34f, facts->sealed))
        return refuse("enrolment.pb has a secret but this machine has the sealed half of "
                      "an earlier enrolment: `smalltown-node recover` keeps the data of "
                      "its disk; else restore its enrolment.pb, or remove "
                      "EFI/smalltown/sealed if its disk is not needed");
    return fresh(facts);
}

static struct start_verdict
enrolled(const struct start_facts *facts)
{
    if (!facts->sealed)
        return REFUSE_LOST(
            facts, "this node is enrolled but EFI/smalltown/sealed is gone: restore it");
    if (!facts->identity)
        return REFUSE_LOST(
            facts,
            "this node is enrolled but EFI/smalltown/identity is gone: restore it");
    switch (facts->volume) {
    case START_VOLUME_NONE:
        return (struct start_verdict){START_UNLOCK, "unlocks"};
    case START_VOLUME_PENDING: /* the disk lost the last word, the key will tell */
    case START_VOLUME_ENROLLED:
        if (REFUSES(0x48d, !facts->volume_is_ours))
            return refuse("the data volume belongs to another node: attach the right "
                          "volume");
        return (struct start_verdict){START_UNLOCK, "unlocks"};
    case START_VOLUME_BLANK:
        return refuse("this node is enrolled and the data volume is blank: attach the "
                      "right volume; to lose the old one, remove EFI/smalltown and enrol "
                      "anew");
    case START_VOLUME_TORN:
    case START_VOLUME_FOREIGN:
    case START_VOLUME_UNREADABLE:
    case START_VOLUME_COUNT:
        break;
    }
    return refuse("this node is enrolled and the data volume is not the one that it "
                  "formatted: attach the right volume");
}

/* `pending` of an enrolled node is about to be erased: half erased is fine. */
static bool
any_unreadable(const struct start_facts *facts)
{
    return facts->sealed == START_FILE_UNREADABLE ||
           facts->identity == START_FILE_UNREADABLE ||
           (facts->pending == START_FILE_UNREADABLE &&
            facts->config != START_CONFIG_ENROLLED);
}

struct start_verdict
start_decide(const struct start_facts *facts)
{
    if (facts->config == START_CONFIG_UNREADABLE)
        return REFUSE_LOST(facts,
                           "EFI/smalltown/enrolment.pb cannot be used: restore it");
    if (any_unreadable(facts))
        return REFUSE_LOST(facts, "a file in EFI/smalltown cannot be used: restore it");
    if (facts->volume == START_VOLUME_UNREADABLE)
        return refuse("the data volume cannot be used");
    switch (facts->config) {
    case START_CONFIG_ABSENT:
        return without_config(facts);
    case START_CONFIG_SECRET:
        return with_secret(facts);
    case START_CONFIG_ENROLLED:
        return enrolled(facts);
    case START_CONFIG_UNREADABLE:
    case START_CONFIG_COUNT:
        break;
    }
    return refuse("nothing is known of enrolment.pb");
}

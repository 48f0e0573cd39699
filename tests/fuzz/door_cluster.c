/* The cluster behind the door: one master, one enrolment, one ticket. */
#include "nms/ca.h"
#include "nms/digest.h"
#include "tests/fuzz/door.h"

#include <string.h>

static ProtobufCBinaryData
lend(const void *bytes, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)bytes};
}

/* Made once: keys take their time. */
static const struct ca *
authority(struct crl *out_crl)
{
    static struct ca ca;
    static struct crl crl;
    struct st_err err = {0};
    if (ca.cert.len == 0)
        FUZZ_HOLDS(!ca_new("fuzz", &ca, &err) && !ca_crl_empty(&ca, 1, &crl, &err));
    *out_crl = crl;
    return &ca;
}

static void
found(struct door *door)
{
    struct crl crl;
    const struct ca *ca = authority(&crl);
    const uint8_t address[] = {192, 0, 2, 1};
    State__Cluster cluster = STATE__CLUSTER__INIT;
    State__Member first = STATE__MEMBER__INIT;
    State__Found found = STATE__FOUND__INIT;
    State__Command command = STATE__COMMAND__INIT;
    struct st_err err = {0};
    cluster.name = (char *)"fuzz";
    cluster.masters_seed = lend(door->nms.masters_seed.bytes, door->nms.masters_seed.len);
    cluster.masters_cert = lend(door->nms.masters_cert.der, door->nms.masters_cert.len);
    cluster.ca_cert = lend(ca->cert.der, ca->cert.len);
    cluster.ca_key = lend(ca->key.bytes, ca->key.len);
    cluster.crl = lend(crl.der, crl.len);
    cluster.crl_number = 1;
    first.id = 1;
    first.address = lend(address, sizeof(address));
    found.cluster = &cluster;
    found.member = &first;
    command.change_case = STATE__COMMAND__CHANGE_FOUND;
    command.found = &found;
    FUZZ_HOLDS(!door_apply(door, &command, &err));
}

static void
enrolment(struct door *door)
{
    uint8_t secret[32], hash[SHA256_LEN];
    State__Enrolment enrolment = STATE__ENROLMENT__INIT;
    State__NewEnrolment new_enrolment = STATE__NEW_ENROLMENT__INIT;
    State__Command command = STATE__COMMAND__INIT;
    struct st_err err = {0};
    memset(secret, DOOR_ENROLMENT, sizeof(secret));
    FUZZ_HOLDS(!digest_enrolment_secret(secret, sizeof(secret), hash, &err));
    enrolment.name = (char *)"some";
    enrolment.secret_hash = lend(hash, sizeof(hash));
    enrolment.uses_left = 2;
    enrolment.expires_at = nms_now() + 3600;
    new_enrolment.enrolment = &enrolment;
    command.change_case = STATE__COMMAND__CHANGE_NEW_ENROLMENT;
    command.new_enrolment = &new_enrolment;
    FUZZ_HOLDS(!door_apply(door, &command, &err));
}

static void
ticket(struct door *door)
{
    uint8_t secret[32], hash[SHA256_LEN];
    State__Ticket ticket = STATE__TICKET__INIT;
    State__InviteMaster invite_master = STATE__INVITE_MASTER__INIT;
    State__Command command = STATE__COMMAND__INIT;
    struct st_err err = {0};
    memset(secret, DOOR_TICKET, sizeof(secret));
    FUZZ_HOLDS(!digest_ticket_secret(secret, sizeof(secret), hash, &err));
    ticket.name = (char *)"host";
    ticket.secret_hash = lend(hash, sizeof(hash));
    ticket.expires_at = nms_now() + 3600;
    invite_master.ticket = &ticket;
    command.change_case = STATE__COMMAND__CHANGE_INVITE_MASTER;
    command.invite_master = &invite_master;
    FUZZ_HOLDS(!door_apply(door, &command, &err));
}

void
door_found(struct door *door)
{
    found(door);
    enrolment(door);
    ticket(door);
}

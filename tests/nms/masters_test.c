/* Masters that come and go, over real doors and a real peer link: an invitation, a
 * ticket, a node that is adopted, a removal. */
#include "nms/ca.h"
#include "nms/members.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/nms/guest.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool stays; /* who is leaving */

/* The last that was said of one that is not there. */
static struct {
    pthread_mutex_t lock;
    char text[400];
} away = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum st_code __real_carrier_take(struct nms *nms, const struct member *member,
                                 enum members_step step, struct st_err *err);
enum st_code __wrap_carrier_take(struct nms *nms, const struct member *member,
                                 enum members_step step, struct st_err *err);
enum st_code
__wrap_carrier_take(struct nms *nms, const struct member *member, enum members_step step,
                    struct st_err *err)
{
    if ((step == MEMBERS_YIELD || step == MEMBERS_REMOVE) &&
        __atomic_load_n(&stays, __ATOMIC_ACQUIRE))
        return st_fail(err, ST_UNAVAILABLE, "it stays for now");
    const enum st_code code = __real_carrier_take(nms, member, step, err);
    if (step == MEMBERS_MEET) {
        pthread_mutex_lock(&away.lock);
        snprintf(away.text, sizeof(away.text), "%s", err->text);
        pthread_mutex_unlock(&away.lock);
    }
    return code;
}

static bool
is_away_because(const char *why)
{
    pthread_mutex_lock(&away.lock);
    const bool is = strstr(away.text, why) != NULL;
    pthread_mutex_unlock(&away.lock);
    return is;
}

static enum st_code
invite(struct rpc_channel *admins, const char *name, uint8_t secret[32],
       struct st_err *err)
{
    Api__InviteMasterRequest request = API__INVITE_MASTER_REQUEST__INIT;
    Api__InviteMasterResponse *answer;
    request.name = (char *)name;
    enum st_code code = town_call(admins, "InviteMaster", &request.base,
                                  &api__invite_master_response__descriptor, &answer, err);
    if (code)
        return code;
    assert_int_equal(answer->ticket->secret.len, 32);
    assert_string_equal(answer->ticket->cluster, "town");
    assert_int_not_equal(answer->ticket->n_master_ips, 0);
    memcpy(secret, answer->ticket->secret.data, 32);
    town_answer_free(answer);
    return ST_OK;
}

static enum st_code
remove_master(struct rpc_channel *admins, uint64_t id, bool force, struct st_err *err)
{
    Api__RemoveMasterRequest request = API__REMOVE_MASTER_REQUEST__INIT;
    ProtobufCMessage *answer;
    request.id = id;
    request.force = force;
    enum st_code code =
        rpc_unary(admins, MANAGEMENT "RemoveMaster", &request.base,
                  &api__remove_master_response__descriptor, 60000, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

static Api__ListMastersResponse *
list(struct rpc_channel *admins)
{
    const Api__ListMastersRequest request = API__LIST_MASTERS_REQUEST__INIT;
    Api__ListMastersResponse *answer;
    struct st_err err = {0};
    assert_ok(town_call(admins, "ListMasters", &request.base,
                        &api__list_masters_response__descriptor, &answer, &err));
    return answer;
}

/* The state of one of them, -1 where it is not in the list. */
static int
state_in_list(struct rpc_channel *admins, uint64_t id)
{
    Api__ListMastersResponse *answer = list(admins);
    int state = -1;
    for (size_t i = 0; i < answer->n_masters; i++)
        if (answer->masters[i]->id == id)
            state = (int)answer->masters[i]->state;
    town_answer_free(answer);
    return state;
}

static void
await_state(struct rpc_channel *admins, uint64_t id, int state)
{
    while (state_in_list(admins, id) != state)
        usleep(20000);
}

static void
await_lost(struct rpc_channel *admins, uint64_t id)
{
    for (bool connected = true; connected; usleep(20000)) {
        Api__ListMastersResponse *answer = list(admins);
        for (size_t i = 0; i < answer->n_masters; i++)
            if (answer->masters[i]->id == id)
                connected = answer->masters[i]->connected;
        town_answer_free(answer);
    }
}

/* A guest that came by a ticket, and votes. */
static void
settle(struct town *town, struct guest *guest, unsigned n)
{
    char name[16];
    uint8_t secret[32];
    Api__JoinMastersResponse *answer;
    struct st_err err = {0};
    snprintf(name, sizeof(name), "host-%u", n);
    guest_make(guest, n);
    assert_ok(invite(town->admins, name, secret, &err));
    assert_ok(guest_ask(guest, town->nodes, secret, sizeof(secret), &answer, &err));
    guest_take(guest, answer->certs);
    town_answer_free(answer);
    guest_start(guest, town);
    await_state(town->admins, guest->self.id, API__MASTER__STATE__VOTER);
}

static void
a_host_becomes_a_master_by_its_ticket_and_answers_every_call(void **state)
{
    struct town *town = *state;
    struct guest guest;
    struct machine machine;
    struct st_err err = {0};
    settle(town, &guest, 1);
    assert_int_equal(guest.self.id, 2);
    struct self self = {0};
    assert_ok(self_read(guest.dir, &self, &err));
    assert_false(self.joining);
    secret_wipe(&self.key);

    Api__ListMastersResponse *answer = list(guest.admins);
    assert_int_equal(answer->n_masters, 2);
    assert_string_equal(answer->masters[1]->name, "host-1");
    assert_string_equal(answer->masters[1]->node_id, "");
    assert_memory_equal(answer->masters[1]->address.data, guest.address.bytes, 4);
    assert_true(answer->masters[1]->connected);
    town_answer_free(answer);

    /* One that follows takes an enrolment, and a node unlocks at either. */
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    Api__TPM2UnlockFlowResponse *unlocked;
    assert_ok(machine_unlock(&machine, guest.nodes, NULL, &unlocked, &err));
    assert_int_equal(unlocked->unlock_response->n_master_ips, 2);
    machine_answer_free(unlocked);
    machine_free(&machine);
    guest_free(&guest);
}

static void
the_same_ticket_and_key_are_answered_again_with_the_same_certificate(void **state)
{
    struct town *town = *state;
    struct guest guest, thief;
    uint8_t secret[32];
    Api__JoinMastersResponse *first, *second;
    struct st_err err = {0};
    guest_make(&guest, 1);
    guest_make(&thief, 2);
    assert_ok(invite(town->admins, "host", secret, &err));
    assert_ok(guest_ask(&guest, town->nodes, secret, sizeof(secret), &first, &err));
    assert_ok(guest_ask(&guest, town->nodes, secret, sizeof(secret), &second, &err));
    assert_int_equal(first->certs->cert.len, second->certs->cert.len);
    assert_memory_equal(first->certs->cert.data, second->certs->cert.data,
                        first->certs->cert.len);
    assert_int_equal(first->certs->key.len, 0);
    town_answer_free(first);
    town_answer_free(second);

    assert_code(guest_ask(&thief, town->nodes, secret, sizeof(secret), &first, &err),
                ST_PERMISSION_DENIED);
    assert_string_equal(err.text, "refused");
    guest_free(&guest);
    guest_free(&thief);
}

static void
of_a_host_that_does_not_come_is_said_why(void **state)
{
    struct town *town = *state;
    struct guest guest;
    uint8_t secret[32];
    char where[ADDRESS_TEXT_MAX], why[ADDRESS_TEXT_MAX + 100];
    Api__JoinMastersResponse *answer;
    struct st_err err = {0};
    guest_make(&guest, 1);
    address_format_port(&guest.address, PORT_CONSENSUS, where);
    assert_ok(invite(town->admins, "host", secret, &err));
    assert_ok(guest_ask(&guest, town->nodes, secret, sizeof(secret), &answer, &err));
    town_answer_free(answer);
    snprintf(why, sizeof(why),
             "it is not connected with this master; %s (member 2): connection refused",
             where);
    while (!is_away_because(why))
        usleep(20000);
    guest_free(&guest);
}

typedef void (*tamper)(Api__JoinMastersRequest *request);

static enum st_code
ask_tampered(struct rpc_channel *channel, const uint8_t secret[32], tamper change,
             struct st_err *err)
{
    struct guest guest;
    uint8_t public_key[ED25519_PUBLIC_LEN], proof[ED25519_SIGNATURE_LEN], address[17];
    uint8_t message[19 + 33] = "smalltown member v1", copy[33];
    ProtobufCMessage *answer;
    guest_make(&guest, 1);
    memcpy(message + 19, secret, 32);
    memcpy(copy, secret, 32);
    memcpy(address, guest.address.bytes, 4);
    assert_int_equal(key_public(&guest.seed, public_key, NULL), ST_OK);
    assert_int_equal(key_sign(&guest.seed, message, 19 + 32, proof, NULL), ST_OK);
    Api__JoinMastersRequest request = API__JOIN_MASTERS_REQUEST__INIT;
    request.secret = (ProtobufCBinaryData){32, copy};
    request.address = (ProtobufCBinaryData){4, address};
    request.public_key = (ProtobufCBinaryData){sizeof(public_key), public_key};
    request.proof = (ProtobufCBinaryData){sizeof(proof), proof};
    change(&request);
    enum st_code code = rpc_unary(channel, JOIN_PATH, &request.base,
                                  &api__join_masters_response__descriptor,
                                  MACHINE_TIMEOUT_MS, &answer, err);
    if (!code)
        town_answer_free(answer);
    guest_free(&guest);
    return code;
}

static void
no_proof(Api__JoinMastersRequest *request)
{
    request->proof.len = 0;
}
static void
short_proof(Api__JoinMastersRequest *request)
{
    request->proof.len--;
}
static void
proof_of_another_secret(Api__JoinMastersRequest *request)
{
    request->proof.data[0] ^= 1;
}
static void
another_key(Api__JoinMastersRequest *request)
{
    request->public_key.data[0] ^= 1;
}
static void
short_key(Api__JoinMastersRequest *request)
{
    request->public_key.len--;
}
static void
no_secret(Api__JoinMastersRequest *request)
{
    request->secret.len = 0;
}
static void
no_address(Api__JoinMastersRequest *request)
{
    request->address.len = 0;
}
static void
long_address(Api__JoinMastersRequest *request)
{
    request->address.len = 17;
}
static void
untouched(Api__JoinMastersRequest *request)
{
    (void)request;
}

static void
N30_a_host_that_says_strange_things_of_itself_is_refused_and_keeps_its_ticket(
    void **state)
{
    struct town *town = *state;
    uint8_t secret[32];
    struct st_err err = {0};
    assert_ok(invite(town->admins, "host", secret, &err));
    static const struct {
        tamper change;
        enum st_code code;
    } cases[] = {
        {no_proof, ST_PERMISSION_DENIED},
        {short_proof, ST_PERMISSION_DENIED},
        {another_key, ST_PERMISSION_DENIED},
        {proof_of_another_secret, ST_PERMISSION_DENIED},
        {short_key, ST_INVALID_ARGUMENT},
        {no_secret, ST_INVALID_ARGUMENT},
        {no_address, ST_INVALID_ARGUMENT},
        {long_address, ST_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_code(ask_tampered(town->nodes, secret, cases[i].change, &err),
                    cases[i].code);
        assert_string_equal(err.text, cases[i].code == ST_INVALID_ARGUMENT ? "malformed"
                                                                           : "refused");
    }
    assert_int_equal(state_in_list(town->admins, 2), -1);
    assert_ok(ask_tampered(town->nodes, secret, untouched, &err));
    assert_int_not_equal(state_in_list(town->admins, 2), -1);
}

/* The one who follows hears of it with the next heartbeat only. */
static void
a_ticket_is_good_at_a_master_that_has_not_heard_of_it_yet(void **state)
{
    struct town *town = *state;
    struct guest guest;
    uint8_t secret[32];
    char name[16];
    struct st_err err = {0};
    settle(town, &guest, 1);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "late-%d", i);
        assert_ok(invite(town->admins, name, secret, &err));
        /* Its address is taken: so the ticket was found, and is there still. */
        assert_code(ask_tampered(guest.nodes, secret, untouched, &err),
                    ST_ALREADY_EXISTS);
    }
    guest_free(&guest);
}

static void
N31_every_bad_ticket_gets_the_same_answer(void **state)
{
    struct town *town = *state;
    uint8_t secret[32], wrong[32] = {1};
    struct st_err unknown = {0}, enrolments = {0}, err = {0};
    assert_ok(invite(town->admins, "host", secret, &err));
    assert_code(ask_tampered(town->nodes, wrong, untouched, &unknown),
                ST_PERMISSION_DENIED);
    Api__NewEnrolmentConfigResponse *enrolment = town_enrolment(town, "rack", 1);
    assert_code(ask_tampered(town->nodes,
                             enrolment->enrolment_config->enrolment_secret.data,
                             untouched, &enrolments),
                ST_PERMISSION_DENIED);
    town_answer_free(enrolment);
    assert_string_equal(unknown.text, enrolments.text);
    assert_string_equal(unknown.text, "refused");
    assert_int_equal(unknown.reason, enrolments.reason);
    /* A ticket is no enrolment either. */
    struct machine machine;
    machine_make(&machine, FORGE_ECC);
    Api__EnrolmentConfig config = API__ENROLMENT_CONFIG__INIT;
    config.enrolment_secret = (ProtobufCBinaryData){32, secret};
    assert_code(machine_enrol(&machine, town->nodes, &config, NULL, &err),
                ST_PERMISSION_DENIED);
    machine_free(&machine);
}

struct racer {
    pthread_t thread;
    struct guest guest;
    struct rpc_channel *door; /* its own: of one thread at a time */
    const uint8_t *secret;
    enum st_code code;
};

static void *
race(void *arg)
{
    struct racer *racer = arg;
    Api__JoinMastersResponse *answer;
    struct st_err err = {0};
    racer->code = guest_ask(&racer->guest, racer->door, racer->secret, 32, &answer, &err);
    if (!racer->code)
        town_answer_free(answer);
    return NULL;
}

/* Through both masters, half of them each. */
static void
N31_a_ticket_that_many_machines_use_at_once_makes_one_master(void **state)
{
    struct town *town = *state;
    struct guest second;
    enum {
        RACERS = 8
    };
    struct racer *racers = calloc(RACERS, sizeof(*racers));
    uint8_t secret[32];
    struct st_err err = {0};
    unsigned won = 0, lost = 0;
    assert_non_null(racers);
    settle(town, &second, 1);
    assert_ok(invite(town->admins, "host", secret, &err));
    for (unsigned i = 0; i < RACERS; i++) {
        guest_make(&racers[i].guest, i + 2);
        racers[i].door = i % 2 ? town_node_channel(town)
                               : town_channel(town, &second.address,
                                              rpc_server_port(second.nms->nodes), NULL);
        racers[i].secret = secret;
    }
    for (unsigned i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (unsigned i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        won += racers[i].code == ST_OK;
        lost += racers[i].code == ST_PERMISSION_DENIED;
        rpc_channel_close(racers[i].door);
        guest_free(&racers[i].guest);
    }
    free(racers);
    assert_int_equal(won, 1);
    assert_int_equal(lost, RACERS - 1);
    assert_int_not_equal(state_in_list(town->admins, 3), -1);
    assert_int_equal(state_in_list(town->admins, 4), -1);
    guest_free(&second);
}

/* Each with a ticket of its own, all at the one that does not lead: it hears late which
 * ids were given. */
static void
machines_that_come_at_once_get_an_id_each(void **state)
{
    struct town *town = *state;
    struct guest second;
    enum {
        RACERS = 5
    };
    struct racer *racers = calloc(RACERS, sizeof(*racers));
    uint8_t secrets[RACERS][32];
    struct st_err err = {0};
    assert_non_null(racers);
    settle(town, &second, 1);
    for (unsigned i = 0; i < RACERS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "racer-%u", i);
        assert_ok(invite(town->admins, name, secrets[i], &err));
        guest_make(&racers[i].guest, i + 2);
        racers[i].door =
            town_channel(town, &second.address, rpc_server_port(second.nms->nodes), NULL);
        racers[i].secret = secrets[i];
    }
    for (unsigned i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (unsigned i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        assert_int_equal(racers[i].code, ST_OK);
        rpc_channel_close(racers[i].door);
        guest_free(&racers[i].guest);
    }
    free(racers);
    for (unsigned i = 0; i < RACERS; i++)
        assert_int_not_equal(state_in_list(town->admins, 3 + i), -1);
    guest_free(&second);
}

static void
N50_who_may_only_look_can_list_masters_but_neither_invite_nor_remove(void **state)
{
    struct town *town = *state;
    uint8_t secret[32];
    struct st_err err = {0};
    AUTO(rpc_channel_closep)
    struct rpc_channel *viewer = town_admin_channel(town, &town->viewer);
    assert_int_equal(state_in_list(viewer, 1), API__MASTER__STATE__VOTER);
    assert_code(invite(viewer, "host", secret, &err), ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_ROLE);
    assert_code(remove_master(viewer, 1, false, &err), ST_PERMISSION_DENIED);
    assert_int_equal(err.reason, ST_REASON_ROLE);
}

static void
an_invitation_that_was_answered_before_has_no_secret_to_tell(void **state)
{
    struct town *town = *state;
    Api__InviteMasterRequest request = API__INVITE_MASTER_REQUEST__INIT;
    uint8_t id[16] = {7}, secret[32];
    ProtobufCMessage *answer;
    struct st_err err = {0};
    request.name = (char *)"host";
    request.request_id = (ProtobufCBinaryData){sizeof(id), id};
    assert_ok(town_call(town->admins, "InviteMaster", &request.base,
                        &api__invite_master_response__descriptor, &answer, &err));
    town_answer_free(answer);
    assert_code(town_call(town->admins, "InviteMaster", &request.base,
                          &api__invite_master_response__descriptor, &answer, &err),
                ST_ALREADY_EXISTS);
    request.request_id.len = 15;
    assert_code(town_call(town->admins, "InviteMaster", &request.base,
                          &api__invite_master_response__descriptor, &answer, &err),
                ST_INVALID_ARGUMENT);
    request.request_id.len = 0;
    request.expires_in_s = TICKET_EXPIRES_MAX_S + 1;
    assert_code(town_call(town->admins, "InviteMaster", &request.base,
                          &api__invite_master_response__descriptor, &answer, &err),
                ST_INVALID_ARGUMENT);
    assert_code(invite(town->admins, "a/b", secret, &err), ST_INVALID_ARGUMENT);
}

static void
invitations_are_listed_without_their_secrets_and_revoked(void **state)
{
    struct town *town = *state;
    const Api__ListInvitationsRequest list = API__LIST_INVITATIONS_REQUEST__INIT;
    Api__RevokeInvitationRequest revoke = API__REVOKE_INVITATION_REQUEST__INIT;
    Api__ListInvitationsResponse *listed;
    uint8_t secret[32];
    ProtobufCMessage *answer;
    struct st_err err = {0};
    assert_ok(invite(town->admins, "b", secret, &err));
    assert_ok(invite(town->admins, "a", secret, &err));
    for (size_t left = 2;; left--) {
        assert_ok(town_call(town->admins, "ListInvitations", &list.base,
                            &api__list_invitations_response__descriptor, &listed, &err));
        assert_int_equal(listed->n_invitations, left);
        revoke.name = strdup(left ? listed->invitations[0]->name : "a");
        if (left) {
            assert_string_equal(revoke.name, left == 2 ? "a" : "b");
            assert_int_equal(listed->invitations[0]->expires_at -
                                 listed->invitations[0]->created_at,
                             3600);
        }
        town_answer_free(listed);
        enum st_code code =
            town_call(town->admins, "RevokeInvitation", &revoke.base,
                      &api__revoke_invitation_response__descriptor, &answer, &err);
        free(revoke.name);
        assert_int_equal(code, left ? ST_OK : ST_NOT_FOUND);
        if (!left)
            break;
        town_answer_free(answer);
    }
}

/* Another clock may not agree: as long as there is a record, it is shown, and can be
 * revoked. */
static void
an_invitation_that_expired_is_listed_until_the_next_one_comes(void **state)
{
    struct town *town = *state;
    const Api__ListInvitationsRequest list = API__LIST_INVITATIONS_REQUEST__INIT;
    Api__InviteMasterRequest request = API__INVITE_MASTER_REQUEST__INIT;
    Api__ListInvitationsResponse *listed;
    uint8_t secret[32];
    ProtobufCMessage *answer;
    struct st_err err = {0};
    request.name = (char *)"short";
    request.expires_in_s = 1;
    assert_ok(town_call(town->admins, "InviteMaster", &request.base,
                        &api__invite_master_response__descriptor, &answer, &err));
    town_answer_free(answer);
    const int64_t until = nms_now() + 2;
    while (nms_now() < until)
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    assert_ok(town_call(town->admins, "ListInvitations", &list.base,
                        &api__list_invitations_response__descriptor, &listed, &err));
    assert_int_equal(listed->n_invitations, 1);
    assert_true(listed->invitations[0]->expires_at <= nms_now());
    town_answer_free(listed);
    assert_ok(invite(town->admins, "next", secret, &err));
    assert_ok(town_call(town->admins, "ListInvitations", &list.base,
                        &api__list_invitations_response__descriptor, &listed, &err));
    assert_int_equal(listed->n_invitations, 1);
    assert_string_equal(listed->invitations[0]->name, "next");
    town_answer_free(listed);
}

static void *
adopt(void *arg)
{
    struct town *town = ((void **)arg)[0];
    const struct machine *machine = ((void **)arg)[1];
    static struct st_err err;
    err = (struct st_err){0};
    if (!town_adopt(town, machine->id, API__NODE__STATE__MASTER, &err))
        err.code = ST_OK;
    return &err;
}

static void
a_node_is_handed_its_certificate_and_its_adoption_ends_when_it_votes(void **state)
{
    struct town *town = *state;
    struct guest guest;
    struct machine machine;
    pthread_t thread;
    struct st_err *adopted;
    struct st_err err = {0};
    guest_make(&guest, 1);
    machine_make(&machine, FORGE_ECC);
    memcpy(machine.ip, guest.address.bytes, 4);
    machine.ip_len = 4;
    town_settle(town, &machine, false); /* a worker first */
    guest_open_door(&guest, &machine);

    void *arguments[] = {town, &machine};
    assert_int_equal(pthread_create(&thread, NULL, adopt, arguments), 0);
    guest_await_call(&guest);
    assert_non_null(strstr(guest.cluster, "1=127.71."));
    assert_non_null(strstr(guest.cluster, ",2=127.72."));
    assert_int_equal(guest.self.id, 2);
    assert_int_not_equal(guest.self.key.len, 0);
    guest_start(&guest, town);
    pthread_join(thread, (void **)&adopted);
    assert_string_equal(adopted->text, "");
    assert_int_equal(state_in_list(town->admins, 2), API__MASTER__STATE__VOTER);

    Api__ListNodesResponse *nodes = town_nodes(town);
    assert_int_equal(nodes->nodes[0]->id, 2);
    assert_int_equal(nodes->nodes[0]->state, API__NODE__STATE__MASTER);
    assert_true(nodes->nodes[0]->synced);
    town_answer_free(nodes);
    /* It unlocks as before, and asking again is answered at once. */
    Api__TPM2UnlockFlowResponse *unlocked;
    assert_ok(machine_unlock(&machine, town->nodes, NULL, &unlocked, &err));
    assert_int_equal(unlocked->unlock_response->role, API__NODE__STATE__MASTER);
    machine_answer_free(unlocked);
    assert_ok(town_adopt(town, machine.id, API__NODE__STATE__MASTER, &err));

    /* One removal ends both. */
    assert_ok(town_remove(town, machine.id, &err));
    assert_int_equal(state_in_list(town->admins, 2), -1);
    assert_code(machine_unlock(&machine, town->nodes, NULL, &unlocked, &err),
                ST_PERMISSION_DENIED);
    machine_free(&machine);
    guest_free(&guest);
}

/* Its node cannot become one; then it can. */
static void
a_master_that_never_came_is_taken_back_and_its_node_may_be_one_later(void **state)
{
    struct town *town = *state;
    struct guest guest;
    struct machine machine;
    pthread_t thread;
    struct st_err *adopted;
    struct st_err err = {0};
    guest_make(&guest, 1);
    machine_make(&machine, FORGE_ECC);
    memcpy(machine.ip, guest.address.bytes, 4);
    machine.ip_len = 4;
    town_settle(town, &machine, false);
    void *arguments[] = {town, &machine};
    assert_int_equal(pthread_create(&thread, NULL, adopt, arguments), 0);
    await_state(town->admins, 2, API__MASTER__STATE__JOINING);
    assert_ok(remove_master(town->admins, 2, false, &err));
    pthread_join(thread, (void **)&adopted);
    assert_code(adopted->code, ST_ABORTED);
    assert_int_equal(state_in_list(town->admins, 2), -1);
    /* It unlocks with the half that it always had. */
    Api__TPM2UnlockFlowResponse *unlocked;
    assert_ok(machine_unlock(&machine, town->nodes, NULL, &unlocked, &err));
    assert_int_equal(unlocked->unlock_response->role, API__NODE__STATE__WORKER);
    machine_answer_free(unlocked);

    guest_open_door(&guest, &machine);
    assert_int_equal(pthread_create(&thread, NULL, adopt, arguments), 0);
    guest_await_call(&guest);
    assert_int_equal(guest.self.id, 3);
    guest_start(&guest, town);
    pthread_join(thread, (void **)&adopted);
    assert_string_equal(adopted->text, "");
    assert_int_equal(state_in_list(town->admins, 3), API__MASTER__STATE__VOTER);
    assert_ok(remove_master(town->admins, 3, false, &err));
    assert_ok(machine_unlock(&machine, town->nodes, NULL, &unlocked, &err));
    machine_answer_free(unlocked);
    guest_free(&guest);
    machine_free(&machine);
}

/* Asked of the master that is leaving, who says of itself that it is: its node stays
 * until somebody removes that. */
static void
N40_a_node_is_removed_also_by_its_master_that_is_leaving(void **state)
{
    struct town *town = *state;
    struct guest guest;
    struct machine machine;
    pthread_t thread;
    struct st_err *adopted;
    struct st_err err = {0};
    Api__TPM2UnlockFlowResponse *unlocked;
    Api__RemoveNodeRequest request = API__REMOVE_NODE_REQUEST__INIT;
    ProtobufCMessage *answer;
    guest_make(&guest, 1);
    machine_make(&machine, FORGE_ECC);
    memcpy(machine.ip, guest.address.bytes, 4);
    machine.ip_len = 4;
    town_settle(town, &machine, false);
    guest_open_door(&guest, &machine);
    void *arguments[] = {town, &machine};
    assert_int_equal(pthread_create(&thread, NULL, adopt, arguments), 0);
    guest_await_call(&guest);
    guest_start(&guest, town);
    pthread_join(thread, (void **)&adopted);
    assert_string_equal(adopted->text, "");

    __atomic_store_n(&stays, true, __ATOMIC_RELEASE);
    assert_code(remove_master(guest.admins, 2, false, &err), ST_UNAVAILABLE);
    assert_int_equal(err.reason, ST_REASON_RECORDED);
    assert_int_equal(state_in_list(guest.admins, 2), API__MASTER__STATE__LEAVING);
    assert_ok(machine_unlock(&machine, town->nodes, NULL, &unlocked, &err));
    machine_answer_free(unlocked);
    request.node_id = machine.id;
    for (int twice = 0; twice < 2; twice++) {
        assert_code(town_call(guest.admins, "RemoveNode", &request.base,
                              &api__remove_node_request__descriptor, &answer, &err),
                    ST_UNAVAILABLE);
        assert_int_equal(err.reason, ST_REASON_RECORDED);
        assert_code(machine_unlock(&machine, town->nodes, NULL, &unlocked, &err),
                    ST_PERMISSION_DENIED);
    }
    __atomic_store_n(&stays, false, __ATOMIC_RELEASE);
    guest_free(&guest);
    machine_free(&machine);
}

static void
whoever_waits_for_a_master_is_told_when_it_is_removed_instead(void **state)
{
    struct town *town = *state;
    struct machine machine;
    pthread_t thread;
    struct st_err *adopted;
    struct st_err err = {0};
    const struct st_address nowhere = town_address(1);
    machine_make(&machine, FORGE_ECC);
    memcpy(machine.ip, nowhere.bytes, 4);
    machine.ip_len = 4;
    town_settle(town, &machine, true); /* straight from waiting */
    void *arguments[] = {town, &machine};
    assert_int_equal(pthread_create(&thread, NULL, adopt, arguments), 0);
    await_state(town->admins, 2, API__MASTER__STATE__JOINING);
    assert_ok(town_remove(town, machine.id, &err));
    pthread_join(thread, (void **)&adopted);
    assert_code(adopted->code, ST_ABORTED);
    assert_int_equal(state_in_list(town->admins, 2), -1);
    /* The next one is somebody new. */
    struct guest guest;
    settle(town, &guest, 1);
    assert_int_equal(guest.self.id, 3);
    guest_free(&guest);
    machine_free(&machine);
}

static uint64_t
crl_number_in(const char *dir)
{
    struct self self = {0};
    uint64_t number;
    struct st_err err = {0};
    assert_ok(self_read(dir, &self, &err));
    secret_wipe(&self.key);
    assert_ok(ca_crl_number(self.crl.der, self.crl.len, &number, &err));
    return number;
}

static void
N53_a_master_that_was_removed_is_on_the_list_of_those_that_stay(void **state)
{
    struct town *town = *state;
    struct guest guests[2];
    struct st_err err = {0};
    char dir[80];
    snprintf(dir, sizeof(dir), "%s/data", town->dir);
    settle(town, &guests[0], 1);
    settle(town, &guests[1], 2);
    assert_int_equal(crl_number_in(dir), 1);
    assert_ok(remove_master(guests[1].admins, 2, false, &err));
    assert_int_equal(state_in_list(town->admins, 2), -1);
    while (crl_number_in(dir) != 2 || crl_number_in(guests[1].dir) != 2)
        usleep(20000);
    /* It is nobody any more: it cannot even learn that. */
    while (true) {
        Api__ListMastersResponse *answer = list(town->admins);
        assert_int_equal(answer->n_masters, 2);
        town_answer_free(answer);
        struct replica_status status;
        replica_status(guests[0].nms->replica, &status);
        if (status.leader_id == 0)
            break;
        usleep(20000);
    }
    guest_free(&guests[0]);
    guest_free(&guests[1]);
}

static void
the_master_that_leads_can_be_removed_too(void **state)
{
    struct town *town = *state;
    struct guest guest;
    uint8_t secret[32];
    struct st_err err = {0};
    settle(town, &guest, 1);
    assert_ok(remove_master(guest.admins, 1, false, &err));
    assert_int_equal(state_in_list(guest.admins, 1), -1);
    assert_int_equal(state_in_list(guest.admins, 2), API__MASTER__STATE__VOTER);
    assert_ok(invite(guest.admins, "another", secret, &err));
    assert_code(remove_master(guest.admins, 2, true, &err), ST_FAILED_PRECONDITION);
    guest_free(&guest);
}

static void
N40_without_force_a_master_stays_that_is_needed(void **state)
{
    struct town *town = *state;
    struct guest guest;
    struct st_err err = {0};
    assert_code(remove_master(town->admins, 1, false, &err), ST_FAILED_PRECONDITION);
    assert_code(remove_master(town->admins, 1, true, &err), ST_FAILED_PRECONDITION);
    assert_code(remove_master(town->admins, 7, false, &err), ST_NOT_FOUND);
    settle(town, &guest, 1);
    /* It is asked of itself, which would leave one that is not there. */
    guest_stop(&guest);
    await_lost(town->admins, 2);
    assert_code(remove_master(town->admins, 1, false, &err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "no majority"));
    assert_int_equal(state_in_list(town->admins, 1), API__MASTER__STATE__VOTER);
    guest_free(&guest);
}

static void
a_master_that_stops_and_comes_back_is_the_same_member(void **state)
{
    struct town *town = *state;
    struct guest guest;
    uint8_t secret[32];
    struct st_err err = {0};
    settle(town, &guest, 1);
    town_restart(town); /* it led; the guest leads now */
    assert_ok(invite(town->admins, "a", secret, &err));
    guest_stop(&guest);
    guest_start(&guest, town);
    assert_ok(invite(guest.admins, "b", secret, &err));
    assert_int_equal(state_in_list(guest.admins, 2), API__MASTER__STATE__VOTER);
    guest_free(&guest);
}

static void
await_recorded(struct rpc_channel *admins, uint64_t id, const struct st_address *there)
{
    for (bool recorded = false; !recorded; usleep(20000)) {
        Api__ListMastersResponse *answer = list(admins);
        for (size_t i = 0; i < answer->n_masters; i++)
            recorded |=
                answer->masters[i]->id == id &&
                answer->masters[i]->address.len == there->len &&
                memcmp(answer->masters[i]->address.data, there->bytes, there->len) == 0;
        town_answer_free(answer);
    }
}

static void
a_host_becomes_a_master_at_the_address_that_another_one_left(void **state)
{
    struct town *town = *state;
    struct guest moved, next;
    uint8_t secret[32];
    struct st_err err = {0};
    settle(town, &moved, 1);
    guest_stop(&moved);
    moved.address = town_address(2);
    guest_start(&moved, town);
    await_recorded(town->admins, 2, &moved.address);
    settle(town, &next, 1);
    assert_int_equal(next.self.id, 3);
    await_recorded(town->admins, 3, &next.address);
    assert_ok(invite(next.admins, "another", secret, &err));
    /* The one that moved goes, and nothing of it is left there. */
    assert_ok(remove_master(next.admins, 2, false, &err));
    assert_int_equal(state_in_list(next.admins, 2), -1);
    assert_int_equal(state_in_list(next.admins, 3), API__MASTER__STATE__VOTER);
    guest_free(&moved);
    guest_free(&next);
}

static bool
votes_in_group(const struct nms *nms, uint64_t id)
{
    struct replica_member group[REPLICA_MEMBERS_MAX];
    const unsigned count = replica_members(nms->replica, group);
    for (unsigned i = 0; i < count; i++)
        if (group[i].id == id)
            return group[i].role == REPLICA_VOTER;
    return false;
}

/* As a leader of before might have left it. */
static void
a_member_of_the_group_that_no_record_names_is_removed(void **state)
{
    struct town *town = *state;
    struct replica_status status;
    uint8_t secret[32];
    struct st_err err = {0};
    assert_ok(invite(town->admins, "first", secret, &err)); /* by then it leads */
    assert_ok(replica_step_wait(town->nms->replica, REPLICA_STEP_ADD, 7, "127.0.9.9:7834",
                                MACHINE_TIMEOUT_MS, &err));
    do {
        usleep(20000);
        replica_status(town->nms->replica, &status);
    } while (status.members != 1);
    assert_ok(invite(town->admins, "host", secret, &err));
}

static void
a_master_that_the_group_has_lost_gets_its_vote_again(void **state)
{
    struct town *town = *state;
    struct guest guest;
    uint8_t secret[32];
    struct st_err err = {0};
    settle(town, &guest, 1);
    const struct nms *masters[] = {town->nms, guest.nms};
    for (unsigned i = 0; replica_step_wait(masters[i % 2]->replica, REPLICA_STEP_REMOVE,
                                           2, NULL, MACHINE_TIMEOUT_MS, &err);
         i++)
        usleep(20000);
    while (!votes_in_group(masters[0], 2) || !votes_in_group(masters[1], 2))
        usleep(20000);
    assert_int_equal(state_in_list(town->admins, 2), API__MASTER__STATE__VOTER);
    assert_ok(invite(guest.admins, "host", secret, &err));
    guest_free(&guest);
}

static void
N56_a_folder_of_0_1_learns_of_its_authority_at_the_first_start(void **state)
{
    struct town *town = *state;
    struct self before = {0}, after = {0};
    struct guest guest;
    struct st_err err = {0};
    char dir[80];
    snprintf(dir, sizeof(dir), "%s/data", town->dir);
    assert_ok(self_read(dir, &before, &err));
    struct self old = before;
    old.ca.len = old.crl.len = 0;
    assert_ok(self_write(dir, &old, &err));
    town_restart(town);
    assert_ok(self_read(dir, &after, &err));
    assert_int_equal(after.ca.len, before.ca.len);
    assert_memory_equal(after.ca.der, before.ca.der, before.ca.len);
    assert_memory_equal(after.crl.der, before.crl.der, before.crl.len);
    secret_wipe(&before.key);
    secret_wipe(&old.key);
    secret_wipe(&after.key);
    settle(town, &guest, 1);
    guest_free(&guest);
}

static bool
stop_at_once(void)
{
    return true;
}

static void
a_master_that_nobody_lets_in_waits_until_it_is_stopped(void **state)
{
    struct town *town = *state;
    struct guest guest;
    uint8_t secret[32];
    Api__JoinMastersResponse *answer;
    struct st_err err = {0};
    guest_make(&guest, 1);
    assert_ok(invite(town->admins, "host", secret, &err));
    assert_ok(guest_ask(&guest, town->nodes, secret, sizeof(secret), &answer, &err));
    guest_take(&guest, answer->certs);
    town_answer_free(answer);
    assert_ok(remove_master(town->admins, 2, false, &err));
    const struct nms_config config = {.dir = guest.dir, .stopping = stop_at_once};
    for (int again = 0; again < 2; again++)
        assert_code(nms_start(&config, &guest.nms, &err), ST_CANCELLED);
    guest.nms = NULL;
    guest_free(&guest);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TOWN_TEST(a_host_becomes_a_master_by_its_ticket_and_answers_every_call),
        TOWN_TEST(the_same_ticket_and_key_are_answered_again_with_the_same_certificate),
        TOWN_TEST(of_a_host_that_does_not_come_is_said_why),
        TOWN_TEST(
            N30_a_host_that_says_strange_things_of_itself_is_refused_and_keeps_its_ticket),
        TOWN_TEST(a_ticket_is_good_at_a_master_that_has_not_heard_of_it_yet),
        TOWN_TEST(N31_every_bad_ticket_gets_the_same_answer),
        TOWN_TEST(N31_a_ticket_that_many_machines_use_at_once_makes_one_master),
        TOWN_TEST(machines_that_come_at_once_get_an_id_each),
        TOWN_TEST(N50_who_may_only_look_can_list_masters_but_neither_invite_nor_remove),
        TOWN_TEST(an_invitation_that_was_answered_before_has_no_secret_to_tell),
        TOWN_TEST(invitations_are_listed_without_their_secrets_and_revoked),
        TOWN_TEST(an_invitation_that_expired_is_listed_until_the_next_one_comes),
        TOWN_TEST(a_node_is_handed_its_certificate_and_its_adoption_ends_when_it_votes),
        TOWN_TEST(a_master_that_never_came_is_taken_back_and_its_node_may_be_one_later),
        TOWN_TEST(N40_a_node_is_removed_also_by_its_master_that_is_leaving),
        TOWN_TEST(whoever_waits_for_a_master_is_told_when_it_is_removed_instead),
        TOWN_TEST(N53_a_master_that_was_removed_is_on_the_list_of_those_that_stay),
        TOWN_TEST(the_master_that_leads_can_be_removed_too),
        TOWN_TEST(N40_without_force_a_master_stays_that_is_needed),
        TOWN_TEST(a_master_that_stops_and_comes_back_is_the_same_member),
        TOWN_TEST(a_host_becomes_a_master_at_the_address_that_another_one_left),
        TOWN_TEST(a_member_of_the_group_that_no_record_names_is_removed),
        TOWN_TEST(a_master_that_the_group_has_lost_gets_its_vote_again),
        TOWN_TEST(N56_a_folder_of_0_1_learns_of_its_authority_at_the_first_start),
        TOWN_TEST(a_master_that_nobody_lets_in_waits_until_it_is_stopped),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}

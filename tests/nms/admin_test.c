/* Port 7836: who may call what, and that no answer shows a secret that it need not. */
#include "tests/nms/town.h"

#include "nms/admin.h"
#include "nms/ca.h"
#include "proto/file.h"
#include "proto/health.pb-c.h"
#include "proto/scope.h"
#include "tests/patience.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

AUTO_DEFINE(Api__NewEnrolmentConfigResponse *, enrolment_freep, town_answer_free)
AUTO_DEFINE(Api__ListNodesResponse *, nodes_freep, town_answer_free)
AUTO_DEFINE(struct rpc_channel *, channel_closep, rpc_channel_close)

enum {
    NOW = 1700000000,
    DAY = 24 * 3600
};

static const ProtobufCServiceDescriptor *const services[] = {
    &api__cluster_management__descriptor,
    &api__node_management_service__descriptor,
    &api__node_service__descriptor,
};

static bool
is_answered(const char *path)
{
    for (size_t i = 0; i < admin_method_count; i++)
        if (strcmp(admin_methods[i].path, path) == 0)
            return true;
    return false;
}

static void
N50_what_is_answered_has_a_role_and_nothing_else_has(void **state)
{
    size_t found = 0;
    char path[128];
    (void)state;
    for (size_t s = 0; s < sizeof(services) / sizeof(*services); s++)
        for (unsigned m = 0; m < services[s]->n_methods; m++) {
            snprintf(path, sizeof(path), "/%s/%s", services[s]->name,
                     services[s]->methods[m].name);
            const bool answered = is_answered(path);
            assert_int_equal(admin_least_role(path) != STATE__ADMIN_ROLE__NOBODY,
                             answered);
            found += answered;
        }
    assert_int_equal(found, admin_method_count);
    assert_int_equal(admin_least_role(""), STATE__ADMIN_ROLE__NOBODY);
    assert_int_equal(admin_least_role(MANAGEMENT "AddNod"), STATE__ADMIN_ROLE__NOBODY);
    assert_int_equal(admin_least_role(MANAGEMENT "AddNodes"), STATE__ADMIN_ROLE__NOBODY);
}

/* Every method of 7836 with a request that says nothing: the code each ends with. */
static void
every_method(struct town *town, const struct town_admin *who,
             void (*check)(const char *method, enum st_code code))
{
    const Api__ListNodesRequest nothing = API__LIST_NODES_REQUEST__INIT;
    AUTO(channel_closep) struct rpc_channel *channel = town_admin_channel(town, who);
    for (size_t i = 0; i < admin_method_count; i++) {
        const char *method = admin_methods[i].path + strlen(MANAGEMENT);
        struct st_err err = {0};
        ProtobufCMessage *answer = NULL;
        enum st_code code = town_call(channel, method, &nothing.base,
                                      admin_methods[i].out, &answer, &err);
        if (!code)
            town_answer_free(answer);
        check(method, code);
    }
}

static void
nobody_is_heard(const char *method, enum st_code code)
{
    if (code != ST_UNAUTHENTICATED)
        fail_msg("%s: %s", method, st_code_name(code));
}

static void
a_viewer_only_looks(const char *method, enum st_code code)
{
    const bool looks = strncmp(method, "List", 4) == 0 ||
                       strncmp(method, "Get", 3) == 0 || strncmp(method, "Test", 4) == 0;
    /* Some want to know of what: nothing is said in the request. */
    const bool heard = code == ST_OK || code == ST_INVALID_ARGUMENT;
    if (looks ? !heard : code != ST_PERMISSION_DENIED)
        fail_msg("%s: %s", method, st_code_name(code));
}

static void
an_admin_is_heard(const char *method, enum st_code code)
{
    /* Nothing is said in the request, so that is what is wrong with it; there is no
     * master 0, and there is an authority already. */
    if (code != ST_OK && code != ST_INVALID_ARGUMENT && code != ST_NOT_FOUND &&
        code != ST_ABORTED)
        fail_msg("%s: %s", method, st_code_name(code));
}

static void
N50_a_certificate_that_is_not_listed_is_not_heard(void **state)
{
    struct town *town = *state;
    every_method(town, &town->stranger, nobody_is_heard);
}

static void
N50_a_role_allows_what_the_table_says(void **state)
{
    struct town *town = *state;
    every_method(town, &town->viewer, a_viewer_only_looks);
    every_method(town, &town->admin, an_admin_is_heard);
}

static void
N50_a_node_is_no_administrator(void **state)
{
    struct town *town = *state;
    AUTO(machine_free) struct machine machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    const struct town_admin node = {.seed = machine.id_seed, .cert = machine.id_cert};
    every_method(town, &node, nobody_is_heard);
    const struct town_admin masters = {.seed = town->stranger.seed,
                                       .cert = town->nms->masters_cert};
    struct st_err err = {0};
    bool vouch = true;
    assert_code(admin_admit(town->nms, MANAGEMENT "ListNodes", "127.0.0.1:1",
                            masters.cert.der, masters.cert.len, &vouch, &err),
                ST_UNAUTHENTICATED);
    assert_code(admin_admit(town->nms, MANAGEMENT "ListNodes", "127.0.0.1:1", "", 0,
                            &vouch, &err),
                ST_UNAUTHENTICATED);
}

/* ---- administrators come and go ---- */

static enum st_code
add(struct rpc_channel *channel, const struct cert *cert, const char *role,
    struct st_err *err)
{
    Api__AddAdministratorRequest request = API__ADD_ADMINISTRATOR_REQUEST__INIT;
    ProtobufCMessage *answer;
    request.cert = (ProtobufCBinaryData){cert->len, (uint8_t *)cert->der};
    request.role = (char *)role;
    enum st_code code =
        town_call(channel, "AddAdministrator", &request.base,
                  &api__add_administrator_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

static enum st_code
take_away(struct rpc_channel *channel, const struct cert *cert, struct st_err *err)
{
    Api__RemoveAdministratorRequest request = API__REMOVE_ADMINISTRATOR_REQUEST__INIT;
    uint8_t sha256[SHA256_LEN];
    ProtobufCMessage *answer;
    cert_fingerprint(cert->der, cert->len, sha256);
    request.sha256 = (ProtobufCBinaryData){sizeof(sha256), sha256};
    enum st_code code =
        town_call(channel, "RemoveAdministrator", &request.base,
                  &api__remove_administrator_response__descriptor, &answer, err);
    if (!code)
        town_answer_free(answer);
    return code;
}

static enum st_code
look(struct rpc_channel *channel)
{
    const Api__ListAdministratorsRequest request = API__LIST_ADMINISTRATORS_REQUEST__INIT;
    struct st_err err = {0};
    ProtobufCMessage *answer;
    enum st_code code =
        town_call(channel, "ListAdministrators", &request.base,
                  &api__list_administrators_response__descriptor, &answer, &err);
    if (!code)
        town_answer_free(answer);
    return code;
}

/* May do everything; what is asked for is not there. */
static enum st_code
act(struct rpc_channel *channel)
{
    static const struct cert nobody = {.len = 1};
    struct st_err err = {0};
    return take_away(channel, &nobody, &err);
}

static void
N50_who_is_added_is_heard_and_who_is_removed_is_not(void **state)
{
    struct town *town = *state;
    AUTO(channel_closep)
    struct rpc_channel *channel = town_admin_channel(town, &town->stranger);
    const struct cert *cert = &town->stranger.cert;
    struct st_err err = {0};
    assert_code(look(channel), ST_UNAUTHENTICATED);
    for (int i = 0; i < 2; i++) {
        assert_ok(add(town->admins, cert, "viewer", &err));
        assert_code(look(channel), ST_OK);
        assert_code(act(channel), ST_PERMISSION_DENIED);
        assert_ok(add(town->admins, cert, "admin", &err));
        assert_code(act(channel), ST_NOT_FOUND);
    }
    assert_ok(take_away(town->admins, cert, &err));
    assert_code(look(channel), ST_UNAUTHENTICATED); /* on the connection of before */
    assert_code(take_away(town->admins, cert, &err), ST_NOT_FOUND);
}

/* Has begun, and says nothing yet. */
static struct rpc_stream *
begin(struct rpc_channel *channel, const char *method)
{
    char path[128];
    struct rpc_stream *stream;
    struct st_err err = {0};
    snprintf(path, sizeof(path), MANAGEMENT "%s", method);
    assert_ok(rpc_stream_open(channel, path, 10000, &stream, &err));
    assert_code(look(channel), ST_OK); /* on the same connection, after it */
    return stream;
}

static void
N50_who_was_removed_says_nothing_in_a_call_that_he_began_before(void **state)
{
    struct town *town = *state;
    AUTO(channel_closep)
    struct rpc_channel *channel = town_admin_channel(town, &town->stranger);
    const Api__GetStatusRequest request = API__GET_STATUS_REQUEST__INIT;
    struct st_err err = {0};
    assert_ok(add(town->admins, &town->stranger.cert, "admin", &err));
    for (int removed = 0; removed < 2; removed++) {
        struct rpc_stream *stream = begin(channel, "GetStatus");
        if (removed)
            assert_ok(take_away(town->admins, &town->stranger.cert, &err));
        assert_ok(rpc_stream_send(stream, &request.base, &err));
        /* ST_INTERNAL: an answer, where the end alone was expected. */
        assert_code(rpc_stream_finish(stream, &err),
                    removed ? ST_UNAUTHENTICATED : ST_INTERNAL);
        rpc_stream_close(stream);
    }
}

/* Removed by another master, of which this one hears when it asks the others. */
static const struct cert *removed_meanwhile;

static void
remove_meanwhile(struct nms *nms)
{
    State__RemoveAdmin remove_admin = STATE__REMOVE_ADMIN__INIT;
    State__Command command = STATE__COMMAND__INIT;
    uint8_t sha256[SHA256_LEN];
    struct st_err err = {0};
    if (!removed_meanwhile)
        return;
    cert_fingerprint(removed_meanwhile->der, removed_meanwhile->len, sha256);
    removed_meanwhile = NULL;
    remove_admin.fingerprint = (ProtobufCBinaryData){sizeof(sha256), sha256};
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_ADMIN;
    command.remove_admin = &remove_admin;
    assert_ok(nms_propose_wait(nms, &command, 10000, &err));
}

void __real_nms_propose(struct nms *nms, State__Command *command, nms_done done,
                        void *arg);
void __wrap_nms_propose(struct nms *nms, State__Command *command, nms_done done,
                        void *arg);
void
__wrap_nms_propose(struct nms *nms, State__Command *command, nms_done done, void *arg)
{
    remove_meanwhile(nms);
    __real_nms_propose(nms, command, done, arg);
}

void __real_nms_barrier(struct nms *nms, nms_done done, void *arg);
void __wrap_nms_barrier(struct nms *nms, nms_done done, void *arg);
void
__wrap_nms_barrier(struct nms *nms, nms_done done, void *arg)
{
    remove_meanwhile(nms);
    __real_nms_barrier(nms, done, arg);
}

static void
N50_whom_another_master_removed_changes_nothing_and_reads_nothing(void **state)
{
    struct town *town = *state;
    AUTO(channel_closep)
    struct rpc_channel *channel = town_admin_channel(town, &town->stranger);
    const struct cert *cert = &town->stranger.cert;
    struct st_err err = {0};
    assert_ok(add(town->admins, cert, "admin", &err));
    removed_meanwhile = cert;
    assert_code(add(channel, cert, "admin", &err), ST_UNAUTHENTICATED);
    assert_null(removed_meanwhile);
    assert_code(take_away(town->admins, cert, &err), ST_NOT_FOUND);
    assert_ok(add(town->admins, cert, "viewer", &err));
    removed_meanwhile = cert;
    assert_code(look(channel), ST_UNAUTHENTICATED);
    assert_null(removed_meanwhile);
}

static void
N50_who_may_change_anything_last_stays(void **state)
{
    struct town *town = *state;
    const struct cert *own = &town->admin.cert;
    struct st_err err = {0};
    assert_code(take_away(town->admins, own, &err), ST_FAILED_PRECONDITION);
    assert_code(add(town->admins, own, "viewer", &err), ST_FAILED_PRECONDITION);
    assert_code(act(town->admins), ST_NOT_FOUND);
    assert_ok(add(town->admins, &town->stranger.cert, "admin", &err));
    assert_ok(add(town->admins, own, "viewer", &err));
    assert_code(act(town->admins), ST_PERMISSION_DENIED);
    town_restart(town);
    assert_code(act(town->admins), ST_PERMISSION_DENIED);
    AUTO(channel_closep)
    struct rpc_channel *channel = town_admin_channel(town, &town->stranger);
    assert_code(take_away(channel, &town->stranger.cert, &err), ST_FAILED_PRECONDITION);
    assert_ok(take_away(channel, own, &err));
    assert_code(look(town->admins), ST_UNAUTHENTICATED);
}

static void
the_list_says_who_was_added_when_and_by_whom(void **state)
{
    struct town *town = *state;
    const Api__ListAdministratorsRequest request = API__LIST_ADMINISTRATORS_REQUEST__INIT;
    Api__ListAdministratorsResponse *list;
    uint8_t own[SHA256_LEN], others[SHA256_LEN];
    struct st_err err = {0};
    cert_fingerprint(town->admin.cert.der, town->admin.cert.len, own);
    cert_fingerprint(town->stranger.cert.der, town->stranger.cert.len, others);
    assert_ok(add(town->admins, &town->stranger.cert, "viewer", &err));
    assert_ok(town_call(town->admins, "ListAdministrators", &request.base,
                        &api__list_administrators_response__descriptor, &list, &err));
    assert_int_equal(list->n_administrators, 3);
    for (size_t i = 0; i < 3; i++) {
        const Api__Administrator *admin = list->administrators[i];
        assert_int_equal(admin->sha256.len, SHA256_LEN);
        assert_true(admin->added_at > 0);
        if (memcmp(admin->sha256.data, others, SHA256_LEN) == 0) {
            assert_string_equal(admin->name, "stranger");
            assert_string_equal(admin->role, "viewer");
            assert_int_equal(admin->added_by.len, SHA256_LEN);
            assert_memory_equal(admin->added_by.data, own, SHA256_LEN);
        } else {
            assert_int_equal(admin->added_by.len, 0);
            assert_string_equal(admin->name, admin->role); /* as the town calls them */
        }
    }
    town_answer_free(list);
}

static void
put_admin_pem(const struct town *town, const char *text)
{
    char path[96];
    struct st_err err = {0};
    snprintf(path, sizeof(path), "%s/data/admin.pem", town->dir);
    assert_ok(file_write(path, 0644, text, strlen(text), &err));
}

static bool
is_taken(const struct town *town)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/data/admin.pem", town->dir);
    return access(path, F_OK) != 0;
}

/* The way back in where all keys are lost. */
static void
N50_who_owns_the_folder_of_a_master_lets_an_administrator_in(void **state)
{
    struct town *town = *state;
    AUTO(channel_closep)
    struct rpc_channel *channel = town_admin_channel(town, &town->stranger);
    const struct cert *cert = &town->stranger.cert;
    AUTO(st_freep) char *pem = NULL;
    struct st_err err = {0};
    put_admin_pem(town, "no certificate");
    sleep_ms(6000);
    assert_false(is_taken(town));
    assert_ok(cert_to_pem(cert->der, cert->len, &pem, &err));
    put_admin_pem(town, pem);
    for (int i = 0; !is_taken(town); i++) {
        assert_true(i < 100);
        sleep_ms(200);
    }
    assert_code(act(channel), ST_NOT_FOUND);
    assert_ok(take_away(town->admins, cert, &err)); /* and it stays so */
    sleep_ms(6000);
    assert_code(act(channel), ST_UNAUTHENTICATED);
}

/* For ten minutes. */
static void
watch(struct rpc_channel *channel, struct rpc_stream **out)
{
    const Grpc__Health__V1__HealthCheckRequest request =
        GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct st_err err = {0};
    ProtobufCMessage *answer;
    assert_ok(rpc_stream_open(channel, "/grpc.health.v1.Health/Watch", 60000, out, &err));
    assert_ok(rpc_stream_send(*out, &request.base, &err));
    if (!rpc_stream_receive(*out, &grpc__health__v1__health_check_response__descriptor,
                            &answer, &err))
        protobuf_c_message_free_unpacked(answer, &secret_allocator);
}

/* And says nothing. */
static void
list(struct rpc_channel *channel, struct rpc_stream **out)
{
    struct st_err err = {0};
    assert_ok(rpc_stream_open(channel, MANAGEMENT "ListNodes", 60000, out, &err));
}

/* All places are taken by this one, on a few connections. */
static void
makes_room(struct town *town, const struct town_admin *who,
           void (*hold)(struct rpc_channel *channel, struct rpc_stream **out))
{
    enum {
        CHANNELS = 4,
        EACH = 64
    };
    struct rpc_channel *channels[CHANNELS];
    struct rpc_stream *streams[CHANNELS * EACH];
    struct st_err err = {0};
    for (size_t c = 0; c < CHANNELS; c++) {
        channels[c] = town_admin_channel(town, who);
        for (size_t i = 0; i < EACH; i++)
            hold(channels[c], &streams[c * EACH + i]);
        (void)look(channels[c]); /* this has an answer, so those before it are heard */
    }
    enum st_code code = act(town->admins);
    for (int i = 0; code == ST_RESOURCE_EXHAUSTED && i < 100; i++) {
        sleep_ms(200); /* they have their time, too */
        code = act(town->admins);
    }
    assert_code(code, ST_NOT_FOUND);
    bool sent_away = hold != list;
    for (size_t i = 0; i < CHANNELS * EACH; i++) {
        sent_away =
            sent_away || rpc_stream_finish(streams[i], &err) == ST_RESOURCE_EXHAUSTED;
        rpc_stream_close(streams[i]);
    }
    assert_true(sent_away); /* and did not end by itself */
    for (size_t c = 0; c < CHANNELS; c++)
        rpc_channel_close(channels[c]);
}

static void
N46_a_viewer_makes_room_for_who_may_do_something(void **state)
{
    struct town *town = *state;
    makes_room(town, &town->viewer, watch);
}

static void
N46_a_viewer_who_says_nothing_makes_room(void **state)
{
    struct town *town = *state;
    makes_room(town, &town->viewer, list);
}

static void
N46_an_administrator_who_looks_on_makes_room(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    assert_ok(add(town->admins, &town->stranger.cert, "admin", &err));
    makes_room(town, &town->stranger, watch);
}

static void
N46_an_administrator_who_says_nothing_makes_room(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    assert_ok(add(town->admins, &town->stranger.cert, "admin", &err));
    makes_room(town, &town->stranger, list);
}

/* A self-signed Ed25519 certificate as openssl would make it; eku may be NULL. */
static void
client_cert(const char *eku, int64_t from, int64_t to, struct cert *out)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *cert = X509_new();
    assert_non_null(key);
    assert_non_null(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from);
    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)to);
    X509_set_pubkey(cert, key);
    if (eku) {
        X509_EXTENSION *extension =
            X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, eku);
        assert_non_null(extension);
        assert_int_equal(X509_add_ext(cert, extension, -1), 1);
        X509_EXTENSION_free(extension);
    }
    assert_true(X509_sign(cert, key, NULL) > 0);
    unsigned char *at = out->der;
    const int len = i2d_X509(cert, NULL);
    assert_in_range(len, 1, sizeof(out->der));
    i2d_X509(cert, &at);
    out->len = (size_t)len;
    X509_free(cert);
    EVP_PKEY_free(key);
}

static enum st_code
checked(const char *eku, int64_t from, int64_t to)
{
    struct cert cert;
    struct st_err err = {0};
    client_cert(eku, from, to, &cert);
    return ca_client_check(cert.der, cert.len, NOW, &err);
}

static void
N50_a_certificate_has_its_time(void **state)
{
    (void)state;
    assert_code(checked(NULL, NOW - 1, NOW + 1), ST_OK);
    assert_code(checked(NULL, NOW - DAY, NOW - 1), ST_INVALID_ARGUMENT);
    assert_code(checked(NULL, NOW - DAY, NOW), ST_INVALID_ARGUMENT);
    assert_code(checked(NULL, NOW + 1, NOW + DAY), ST_INVALID_ARGUMENT);
}

static void
N50_a_certificate_for_servers_only_is_no_clients(void **state)
{
    (void)state;
    assert_code(checked("serverAuth", NOW - DAY, NOW + DAY), ST_INVALID_ARGUMENT);
    assert_code(checked("emailProtection,codeSigning", NOW - DAY, NOW + DAY),
                ST_INVALID_ARGUMENT);
    assert_code(checked("clientAuth", NOW - DAY, NOW + DAY), ST_OK);
    assert_code(checked("serverAuth,clientAuth", NOW - DAY, NOW + DAY), ST_OK);
}

static void
N31_a_repeated_request_does_not_hand_out_a_secret_that_opens_nothing(void **state)
{
    struct town *town = *state;
    uint8_t id[REQUEST_ID_LEN] = {7};
    Api__NewEnrolmentConfigRequest request = API__NEW_ENROLMENT_CONFIG_REQUEST__INIT;
    AUTO(enrolment_freep) Api__NewEnrolmentConfigResponse *first = NULL;
    Api__NewEnrolmentConfigResponse *second = NULL;
    struct st_err err = {0};
    request.name = (char *)"rack";
    request.request_id.data = id;
    request.request_id.len = sizeof(id);
    assert_ok(town_call(town->admins, "NewEnrolmentConfig", &request.base,
                        &api__new_enrolment_config_response__descriptor, &first, &err));
    assert_code(town_call(town->admins, "NewEnrolmentConfig", &request.base,
                          &api__new_enrolment_config_response__descriptor, &second, &err),
                ST_ALREADY_EXISTS);
    assert_null(second);
    AUTO(machine_free) struct machine machine;
    machine_make(&machine, FORGE_ECC);
    assert_ok(machine_enrol(&machine, town->nodes, first->enrolment_config, NULL, &err));
}

static void
N47_no_list_shows_a_secret(void **state)
{
    struct town *town = *state;
    AUTO(machine_free) struct machine machine;
    machine_make(&machine, FORGE_ECC);
    town_settle(town, &machine, false);
    AUTO(nodes_freep) Api__ListNodesResponse *nodes = town_nodes(town);
    assert_int_equal(nodes->n_nodes, 1);
    assert_int_equal(nodes->nodes[0]->global_unlock_key.len, 0);

    const Api__ListEnrolmentConfigsRequest request =
        API__LIST_ENROLMENT_CONFIGS_REQUEST__INIT;
    Api__ListEnrolmentConfigsResponse *enrolments;
    struct st_err err = {0};
    town_answer_free(town_enrolment(town, "rack", 1));
    assert_ok(town_call(town->admins, "ListEnrolmentConfigs", &request.base,
                        &api__list_enrolment_configs_response__descriptor, &enrolments,
                        &err));
    assert_true(enrolments->n_enrolment_config > 0);
    for (size_t i = 0; i < enrolments->n_enrolment_config; i++)
        assert_int_equal(enrolments->enrolment_config[i]->enrolment_secret.len, 0);
    town_answer_free(enrolments);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N50_what_is_answered_has_a_role_and_nothing_else_has),
        TOWN_TEST(N50_a_certificate_that_is_not_listed_is_not_heard),
        TOWN_TEST(N50_a_role_allows_what_the_table_says),
        TOWN_TEST(N50_a_node_is_no_administrator),
        TOWN_TEST(N50_who_is_added_is_heard_and_who_is_removed_is_not),
        TOWN_TEST(N50_who_was_removed_says_nothing_in_a_call_that_he_began_before),
        TOWN_TEST(N50_whom_another_master_removed_changes_nothing_and_reads_nothing),
        TOWN_TEST(N50_who_may_change_anything_last_stays),
        TOWN_TEST(the_list_says_who_was_added_when_and_by_whom),
        TOWN_TEST(N50_who_owns_the_folder_of_a_master_lets_an_administrator_in),
        TOWN_TEST(N46_a_viewer_makes_room_for_who_may_do_something),
        TOWN_TEST(N46_a_viewer_who_says_nothing_makes_room),
        TOWN_TEST(N46_an_administrator_who_looks_on_makes_room),
        TOWN_TEST(N46_an_administrator_who_says_nothing_makes_room),
        cmocka_unit_test(N50_a_certificate_has_its_time),
        cmocka_unit_test(N50_a_certificate_for_servers_only_is_no_clients),
        TOWN_TEST(N31_a_repeated_request_does_not_hand_out_a_secret_that_opens_nothing),
        TOWN_TEST(N47_no_list_shows_a_secret),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}

/* Port 7836: who may call what, and that no answer shows a secret that it need not. */
#include "tests/nms/town.h"

#include "nms/admin.h"
#include "nms/ca.h"
#include "proto/scope.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

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
    assert_code(admin_admit(town->nms, MANAGEMENT "ListNodes", "127.0.0.1:1",
                            masters.cert.der, masters.cert.len, &err),
                ST_UNAUTHENTICATED);
    assert_code(
        admin_admit(town->nms, MANAGEMENT "ListNodes", "127.0.0.1:1", "", 0, &err),
        ST_UNAUTHENTICATED);
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
        cmocka_unit_test(N50_a_certificate_has_its_time),
        cmocka_unit_test(N50_a_certificate_for_servers_only_is_no_clients),
        TOWN_TEST(N31_a_repeated_request_does_not_hand_out_a_secret_that_opens_nothing),
        TOWN_TEST(N47_no_list_shows_a_secret),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}

/* Port 7835: who may call, and what is in a call. */
#include "node/join.h"
#include "proto/api.pb-c.h"
#include "proto/rpc_client.h"
#include "tests/cmocka.h"

#include <string.h>

#define JOIN "/api.NodeService/JoinCluster"

static struct node node = {.address = {{127, 0, 0, 1}, 4}};
static struct identity me;
static struct secret masters_seed, other_seed;
static struct cert other_cert, masters_twin;
static struct rpc_server *server;

static int
set_up(void **state)
{
    (void)state;
    struct secret seed;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    rpc_init(NULL);
    return key_generate(&seed, public_key, NULL) || identity_of_seed(&seed, &me, NULL) ||
           key_generate(&masters_seed, public_key, NULL) ||
           cert_self_sign(&masters_seed, "smalltown-master", &node.config.masters,
                          NULL) ||
           cert_self_sign(&masters_seed, "smalltown-masters", &masters_twin, NULL) ||
           key_generate(&other_seed, public_key, NULL) ||
           cert_self_sign(&other_seed, "smalltown-master", &other_cert, NULL) ||
           join_start(&node, &me, &server, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    join_stop(server);
    rpc_shutdown();
    return 0;
}

static enum st_code
call_as(const struct cert *cert, const struct secret *seed,
        const Api__JoinClusterRequest *request, struct st_err *err)
{
    const struct rpc_channel_config config = {
        .addresses = &node.address,
        .address_count = 1,
        .port = rpc_server_port(server),
        .server_cert = me.cert.der,
        .server_cert_len = me.cert.len,
        .cert = cert,
        .seed = seed,
    };
    struct rpc_channel *channel = NULL;
    ProtobufCMessage *answer = NULL;
    assert_int_equal(rpc_channel_open(&config, &channel, err), ST_OK);
    enum st_code code =
        rpc_unary(channel, JOIN, &request->base, &api__join_cluster_response__descriptor,
                  5000, &answer, err);
    if (answer)
        protobuf_c_message_free_unpacked(answer, &secret_allocator);
    rpc_channel_close(channel);
    return code;
}

/* Four fields that parse. */
struct request {
    Api__JoinClusterRequest join;
    Api__ConsensusCertificates certs;
};

static void
request_make(struct request *out)
{
    static uint8_t empty_sequence[] = {0x30, 0x00};
    api__join_cluster_request__init(&out->join);
    api__consensus_certificates__init(&out->certs);
    out->certs.ca = (ProtobufCBinaryData){other_cert.len, other_cert.der};
    out->certs.cert = out->certs.ca;
    out->certs.crl = (ProtobufCBinaryData){sizeof(empty_sequence), empty_sequence};
    out->certs.key = out->certs.crl;
    out->join.certs = &out->certs;
}

static void
N52_only_masters_cert_itself_may_call(void **state)
{
    (void)state;
    struct request request;
    struct st_err err = {0};
    request_make(&request);
    request.join.certs = NULL; /* would be INVALID_ARGUMENT, were it looked at */
    assert_code(call_as(&other_cert, &other_seed, &request.join, &err),
                ST_PERMISSION_DENIED);
    assert_string_equal(err.text, "refused");
    assert_code(call_as(&masters_twin, &masters_seed, &request.join, &err),
                ST_PERMISSION_DENIED);
    assert_code(call_as(&me.cert, &me.seed, &request.join, &err), ST_PERMISSION_DENIED);
    assert_true(call_as(NULL, NULL, &request.join, &err) != ST_OK);
    assert_int_not_equal(err.code, ST_INVALID_ARGUMENT);
    assert_int_not_equal(err.code, ST_UNIMPLEMENTED);
    assert_code(call_as(&node.config.masters, &masters_seed, &request.join, &err),
                ST_INVALID_ARGUMENT);
}

static void
N52_a_certificate_that_is_missing_or_malformed_is_refused(void **state)
{
    (void)state;
    struct st_err err = {0};
    for (int field = 0; field < 4; field++)
        for (int damage = 0; damage < 3; damage++) {
            struct request request;
            request_make(&request);
            ProtobufCBinaryData *fields[] = {&request.certs.ca, &request.certs.crl,
                                             &request.certs.cert, &request.certs.key};
            if (damage == 0)
                fields[field]->len = 0;
            else if (damage == 1)
                fields[field]->len--;
            else
                *fields[field] = (ProtobufCBinaryData){5, (uint8_t *)"-----"};
            assert_code(call_as(&node.config.masters, &masters_seed, &request.join, &err),
                        ST_INVALID_ARGUMENT);
        }
}

static void
a_good_request_is_not_for_this_node(void **state)
{
    (void)state;
    struct request request;
    struct st_err err = {0};
    request_make(&request);
    assert_code(call_as(&node.config.masters, &masters_seed, &request.join, &err),
                ST_UNIMPLEMENTED);
    assert_non_null(strstr(err.text, "not adopted as a master"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N52_only_masters_cert_itself_may_call),
        cmocka_unit_test(N52_a_certificate_that_is_missing_or_malformed_is_refused),
        cmocka_unit_test(a_good_request_is_not_for_this_node),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

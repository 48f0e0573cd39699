/* Port 7835: who may call, what is in a call, and what the keeper makes of it. */
#include "node/service.h"
#include "node/stop.h"
#include "proto/api.pb-c.h"
#include "proto/file.h"
#include "proto/rpc_client.h"
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/folder.h"
#include "tests/nms/forge.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define JOIN "/api.NodeService/JoinCluster"
#define SET "/api.NodeService/SetMasters"

static char folder[FOLDER_MAX], data[48], program[48];
static struct node node, plain; /* plain: started without --master-data */
static struct identity me;
static struct secret masters_seed, other_seed;
static struct cert other_cert, masters_twin;
static struct service *door, *plain_door;
static pthread_t waiter;

static void *
wait_for_answers(void *argument)
{
    (void)argument;
    service_wait(door);
    return NULL;
}

/* In the place of smalltown-nms; each test writes what it does.  $D is the folder. */
static void
program_put(const char *script)
{
    char text[1024];
    struct st_err err = {0};
    int n = snprintf(text, sizeof(text), "#!/bin/sh\nD=%s\n%s\n", folder, script);
    assert_ok(file_write(program, 0700, text, (size_t)n, &err));
}

static int
keeper_begin(void)
{
    static const struct keeper_config config = {.program = program,
                                                .data = data,
                                                .address = "192.0.2.7",
                                                .retry_first_ms = 20,
                                                .retry_max_ms = 50,
                                                .join_ms = 1000};
    if (folder_make(folder, "door"))
        return 1;
    snprintf(data, sizeof(data), "%s/data", folder);
    snprintf(program, sizeof(program), "%s/smalltown-nms", folder);
    return keeper_start(&config, &node.keeper, NULL);
}

static int
set_up(void **state)
{
    (void)state;
    struct secret seed;
    char esp[64];
    uint8_t public_key[ED25519_PUBLIC_LEN];
    if (keeper_begin() || stop_init(NULL))
        return 1;
    rpc_init(NULL);
    node.address = (struct st_address){{127, 0, 0, 1}, 4};
    if (key_generate(&seed, public_key, NULL) || identity_of_seed(&seed, &me, NULL) ||
        key_generate(&masters_seed, public_key, NULL) ||
        cert_self_sign(&masters_seed, "smalltown-master", &node.config.masters, NULL) ||
        cert_self_sign(&masters_seed, "smalltown-masters", &masters_twin, NULL) ||
        key_generate(&other_seed, public_key, NULL) ||
        cert_self_sign(&other_seed, "smalltown-master", &other_cert, NULL))
        return 1;
    snprintf(esp, sizeof(esp), "%s/EFI/smalltown", folder);
    if (file_make_folder(esp, NULL) || esp_open(folder, &node.esp, NULL))
        return 1;
    plain = node;
    plain.keeper = NULL;
    return service_start(&node, &me, &door, NULL) ||
           service_start(&plain, &me, &plain_door, NULL) ||
           pthread_create(&waiter, NULL, wait_for_answers, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    stop_leaving();
    kill(getpid(), SIGTERM); /* which is what service_wait() waits for */
    pthread_join(waiter, NULL);
    service_stop(door);
    service_stop(plain_door);
    rpc_shutdown();
    keeper_end(node.keeper);
    esp_close(node.esp);
    return folder_remove(folder);
}

static enum st_code
call(const struct service *which, const struct cert *cert, const struct secret *seed,
     const Api__JoinClusterRequest *request, uint32_t ms, struct st_err *err)
{
    const struct rpc_channel_config config = {
        .addresses = &node.address,
        .address_count = 1,
        .port = service_port(which),
        .server_cert = me.cert.der,
        .server_cert_len = me.cert.len,
        .cert = cert,
        .seed = seed,
    };
    struct rpc_channel *channel = NULL;
    ProtobufCMessage *answer = NULL;
    *err = (struct st_err){0};
    assert_int_equal(rpc_channel_open(&config, &channel, err), ST_OK);
    enum st_code code =
        rpc_unary(channel, JOIN, &request->base, &api__join_cluster_response__descriptor,
                  ms, &answer, err);
    if (answer)
        protobuf_c_message_free_unpacked(answer, &secret_allocator);
    rpc_channel_close(channel);
    return code;
}

static enum st_code
call_as(const struct cert *cert, const struct secret *seed,
        const Api__JoinClusterRequest *request, struct st_err *err)
{
    return call(door, cert, seed, request, 5000, err);
}

static enum st_code
ask(const Api__JoinClusterRequest *request, struct st_err *err)
{
    return call_as(&node.config.masters, &masters_seed, request, err);
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

static enum st_code
tell(const struct cert *cert, const struct secret *seed, struct st_err *err)
{
    static uint8_t ip[] = {192, 0, 2, 1};
    ProtobufCBinaryData ips[] = {{sizeof(ip), ip}};
    const struct rpc_channel_config config = {
        .addresses = &node.address,
        .address_count = 1,
        .port = service_port(door),
        .server_cert = me.cert.der,
        .server_cert_len = me.cert.len,
        .cert = cert,
        .seed = seed,
    };
    Api__SetMastersRequest request = API__SET_MASTERS_REQUEST__INIT;
    AUTO(rpc_channel_closep) struct rpc_channel *channel = NULL;
    ProtobufCMessage *answer = NULL;
    request.number = 7;
    request.master_ips = ips;
    request.n_master_ips = 1;
    *err = (struct st_err){0};
    assert_int_equal(rpc_channel_open(&config, &channel, err), ST_OK);
    enum st_code code =
        rpc_unary(channel, SET, &request.base, &api__set_masters_response__descriptor,
                  5000, &answer, err);
    if (answer)
        protobuf_c_message_free_unpacked(answer, &secret_allocator);
    return code;
}

static void
N52_only_masters_cert_itself_may_say_where_the_masters_are(void **state)
{
    (void)state;
    struct st_err err = {0};
    assert_code(tell(&other_cert, &other_seed, &err), ST_PERMISSION_DENIED);
    assert_code(tell(&masters_twin, &masters_seed, &err), ST_PERMISSION_DENIED);
    assert_code(tell(&me.cert, &me.seed, &err), ST_PERMISSION_DENIED);
    assert_true(tell(NULL, NULL, &err) != ST_OK);
    assert_int_equal(node.config.masters_number, 0);
    assert_ok(tell(&node.config.masters, &masters_seed, &err));
    assert_int_equal(node.config.masters_number, 7);
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

static uint8_t *
file_of(const char *name, size_t *out_len)
{
    char path[64];
    uint8_t *bytes = NULL;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return file_read(path, FILE_MAX_LEN, &bytes, out_len, NULL) ? NULL : bytes;
}

static bool
is_there(const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void
wait_for_file(const char *name)
{
    for (int i = 0; !is_there(name); i++) {
        assert_true(i < 3000);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

static void
a_node_without_a_master_s_folder_says_so(void **state)
{
    (void)state;
    struct request request;
    struct st_err err = {0};
    request_make(&request);
    assert_code(
        call(plain_door, &node.config.masters, &masters_seed, &request.join, 5000, &err),
        ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "--master-data"));
}

static void
a_good_request_goes_to_smalltown_nms_byte_by_byte(void **state)
{
    (void)state;
    struct request request;
    struct st_err err = {0};
    uint8_t expected[4096], long_list[20000] = {0x30, 0x82, 0x4e, 0x1c};
    size_t len;
    program_put("echo \"$*\" >> $D/said\n"
                "if [ $1 = run ]; then while [ ! -e $D/end ]; do sleep 0.02; done\n"
                ": > $D/ended; exit 4; fi\n"
                "cat > $D/came; mkdir -p $D/data; : > $D/data/member.pb");
    request_make(&request);
    assert_ok(ask(&request.join, &err));
    len = api__join_cluster_request__pack(&request.join, expected);
    size_t came_len;
    AUTO(st_freep) uint8_t *came = file_of("came", &came_len);
    assert_int_equal(came_len, len);
    assert_memory_equal(came, expected, len);
    /* And from now on this machine is a master. */
    wait_for_file("said");
    char said[256];
    snprintf(said, sizeof(said),
             "join --data %s --address 192.0.2.7 --certificates -\n"
             "run --data %s --address 192.0.2.7\n",
             data, data);
    for (int i = 0;; i++) {
        AUTO(st_freep) uint8_t *all = file_of("said", &len);
        if (strcmp((const char *)all, said) == 0)
            break;
        assert_true(i < 1000);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_true(keeper_has_master(node.keeper));
    /* A list as long as one of hundreds of members, of zeros that parse */
    for (size_t i = 4; i < sizeof(long_list); i += 2)
        memcpy(long_list + i, "\x05\x00", 2);
    request.certs.crl = (ProtobufCBinaryData){sizeof(long_list), long_list};
    assert_ok(ask(&request.join, &err));
}

static void
N52_what_smalltown_nms_refuses_is_answered_with_its_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        enum st_code code;
        const char *text;
    } ends[] = {
        {"echo noise >&2; echo 'smalltown-nms: not of this key' >&2; exit 3",
         ST_INVALID_ARGUMENT, "not of this key"},
        {"cat >/dev/null; echo 'smalltown-nms: a member already' >&2; exit 4",
         ST_FAILED_PRECONDITION, "a member already"},
        {"echo 'smalltown-nms: the disk is full' >&2; exit 1", ST_INTERNAL,
         "the disk is full"},
        {"exit 1", ST_INTERNAL, "smalltown-nms join failed"},
        {"kill -9 $$", ST_INTERNAL, "smalltown-nms join failed"},
        {"printf 'two\\001lines\\n\\n' >&2; exit 3", ST_INVALID_ARGUMENT, "two?lines"},
        {"exec sleep 100", ST_UNAVAILABLE, "smalltown-nms join took too long"},
    };
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        struct request request;
        struct st_err err = {0};
        request_make(&request);
        program_put(ends[i].script);
        assert_code(ask(&request.join, &err), ends[i].code);
        assert_string_equal(err.text, ends[i].text);
    }
}

static void *
slow_call(void *argument)
{
    struct request request;
    request_make(&request);
    (void)call(door, &node.config.masters, &masters_seed, &request.join, 5000, argument);
    return NULL;
}

static void
one_request_at_a_time(void **state)
{
    (void)state;
    struct request request;
    struct st_err err = {0}, slow = {0};
    pthread_t thread;
    program_put(": > $D/begun; while [ ! -e $D/go ]; do sleep 0.02; done");
    request_make(&request);
    assert_int_equal(pthread_create(&thread, NULL, slow_call, &slow), 0);
    wait_for_file("begun");
    assert_code(ask(&request.join, &err), ST_RESOURCE_EXHAUSTED);
    assert_int_equal(err.reason, ST_REASON_BUSY);
    assert_true(err.retry_ms > 0);
    char go[64];
    snprintf(go, sizeof(go), "%s/go", folder);
    assert_ok(file_write(go, 0600, "", 0, &err));
    pthread_join(thread, NULL);
    assert_int_equal(slow.code, ST_OK);
    assert_ok(ask(&request.join, &err));
}

static void
a_caller_that_left_is_in_nobody_s_way(void **state)
{
    (void)state;
    struct request request;
    struct st_err err = {0};
    request_make(&request);
    program_put("sleep 0.5");
    assert_code(call(door, &node.config.masters, &masters_seed, &request.join, 200, &err),
                ST_DEADLINE_EXCEEDED);
    enum st_code code;
    while ((code = ask(&request.join, &err)) == ST_RESOURCE_EXHAUSTED)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    assert_code(code, ST_OK);
}

/* The one before was removed, and hears of it while its successor joins: that its folder
 * is no member's is not said of the one that is in it now. */
static void
a_master_that_ends_while_the_next_one_joins_is_followed_by_that(void **state)
{
    (void)state;
    struct request request;
    struct st_err err = {0};
    request_make(&request);
    assert_true(keeper_has_master(node.keeper));
    program_put("[ $1 = run ] && { : > $D/again; exec sleep 1000; }\n"
                ": > $D/end; while [ ! -e $D/ended ]; do sleep 0.02; done");
    assert_ok(ask(&request.join, &err));
    wait_for_file("again");
}

/* ---- with the real smalltown-nms ---- */

static struct ca authority;
static struct crl list;

static void
issued(uint64_t serial, struct ca *member, struct request *out)
{
    struct st_err err = {0};
    assert_ok(ca_issue_member(&authority, 9, serial, &member->cert, &member->key, &err));
    request_make(out);
    out->certs.ca = (ProtobufCBinaryData){authority.cert.len, authority.cert.der};
    out->certs.crl = (ProtobufCBinaryData){list.len, list.der};
    out->certs.cert = (ProtobufCBinaryData){member->cert.len, member->cert.der};
    out->certs.key = (ProtobufCBinaryData){member->key.len, member->key.bytes};
}

static void
N52_certificates_are_judged_before_anything_is_kept(void **state)
{
    (void)state;
    char command[64];
    struct request request, other;
    struct ca member, other_member;
    struct st_err err = {0};
    snprintf(command, sizeof(command), "rm -rf %s", data);
    assert_int_equal(system(command), 0);
    program_put("[ $1 = run ] && exec sleep 1000\nexec '" SMALLTOWN_NMS "' \"$@\"");
    assert_ok(ca_new("town", &authority, &err));
    assert_ok(ca_crl_empty(&authority, 1, &list, &err));
    issued(90, &member, &request);
    issued(91, &other_member, &other);
    request.certs.key = other.certs.key;
    assert_code(ask(&request.join, &err), ST_INVALID_ARGUMENT);
    assert_string_equal(err.text, "the member's certificate is for another key");
    assert_false(is_there("data"));
    issued(90, &member, &request);
    assert_ok(ask(&request.join, &err));
    assert_true(is_there("data/member.pb"));
    assert_ok(ask(&request.join, &err)); /* a second time */
    assert_code(ask(&other.join, &err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "holds member 9 already"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N52_only_masters_cert_itself_may_call),
        cmocka_unit_test(N52_only_masters_cert_itself_may_say_where_the_masters_are),
        cmocka_unit_test(N52_a_certificate_that_is_missing_or_malformed_is_refused),
        cmocka_unit_test(a_node_without_a_master_s_folder_says_so),
        cmocka_unit_test(a_good_request_goes_to_smalltown_nms_byte_by_byte),
        cmocka_unit_test(N52_what_smalltown_nms_refuses_is_answered_with_its_sentence),
        cmocka_unit_test(one_request_at_a_time),
        cmocka_unit_test(a_caller_that_left_is_in_nobody_s_way),
        cmocka_unit_test(a_master_that_ends_while_the_next_one_joins_is_followed_by_that),
        cmocka_unit_test(N52_certificates_are_judged_before_anything_is_kept),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* Long answers: packed piece by piece, and gone whichever way the call ends. */
#include "tests/proto/rpc_fixture.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* NewEnrolmentConfigRequest -> ListNodesResponse, unary: `uses` nodes of 2 kB; with the
 * name "fail" an element that no answer can hold comes in the middle. */
#define LIST "/test.Door/List"
/* The same; the second half is added when the call is over. */
#define LATE "/test.Door/Late"
/* A stream of the same types: 32 MB as soon as it is opened. */
#define HUGE "/test.Door/Huge"

enum {
    PIECE_LEN = 256 * 1024, /* proto/rpc_list.c */
    ANSWER_MAX = 64 * 1024 * 1024,
    CERT_LEN = 2000,
    HUGE_COUNT = 16000,
};
static const char mark[] = "not to be found in memory that was freed";

/* ---- what st_rpc asks of the C library ---- */

static atomic_long live, peak; /* bytes */
static atomic_int pieces, unwiped;
static atomic_long fail_in; /* 0: none; 1: the next one */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *bytes);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *bytes);

static bool
fails(void)
{
    long left = atomic_load(&fail_in);
    while (left > 0 && !atomic_compare_exchange_weak(&fail_in, &left, left - 1))
        ;
    if (left == 1)
        errno = ENOMEM;
    return left == 1;
}

static void *
count(void *bytes)
{
    if (!bytes)
        return NULL;
    const size_t size = malloc_usable_size(bytes);
    const long now = atomic_fetch_add(&live, (long)size) + (long)size;
    if (now > atomic_load(&peak))
        atomic_store(&peak, now);
    atomic_fetch_add(&pieces, size >= PIECE_LEN);
    return bytes;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : count(__real_malloc(size));
}

void *
__wrap_calloc(size_t number, size_t size)
{
    return fails() ? NULL : count(__real_calloc(number, size));
}

void
__wrap_free(void *bytes)
{
    const size_t size = bytes ? malloc_usable_size(bytes) : 0;
    atomic_fetch_sub(&live, (long)size);
    if (size >= PIECE_LEN) {
        atomic_fetch_sub(&pieces, 1);
        if (memmem(bytes, size, mark, sizeof(mark)))
            atomic_fetch_add(&unwiped, 1);
    }
    __real_free(bytes);
}

/* gRPC may let go of the last one when the call is over already. */
static void
expect_no_piece(void)
{
    for (int i = 0; i < 1000 && atomic_load(&pieces); i++)
        usleep(10000);
    assert_int_equal(pieces, 0);
}

/* ---- the nodes ---- */

struct shown {
    Api__Node node;
    char id[24];
};

/* The n-th node, always the same; borrows the certificate. */
static void
show(struct shown *shown, unsigned n, const uint8_t *cert, size_t cert_len)
{
    api__node__init(&shown->node);
    snprintf(shown->id, sizeof(shown->id), "node-%u", n);
    shown->node.node_id = shown->id;
    shown->node.id = n;
    shown->node.enrolled_at = -(int64_t)n;
    shown->node.id_cert = (ProtobufCBinaryData){cert_len, (uint8_t *)cert};
}

static enum st_code
add(struct rpc_list *list, unsigned n, size_t cert_len, struct st_err *err)
{
    struct shown shown;
    uint8_t *cert = __real_malloc(cert_len + sizeof(mark));
    memset(cert, (int)n, cert_len + sizeof(mark));
    memcpy(cert, mark, sizeof(mark));
    show(&shown, n, cert, cert_len);
    enum st_code code = rpc_list_add(list, &shown.node.base, err);
    __real_free(cert);
    return code;
}

static struct rpc_list *
list_new(void)
{
    return rpc_list_new(&api__list_nodes_response__descriptor, "nodes");
}

/* ---- the door ---- */

static struct door *
note(struct rpc_call *call, enum rpc_event event)
{
    struct door *door = rpc_call_context(call);
    if (event == RPC_OPEN)
        atomic_fetch_add(&door->opened, 1);
    if (event == RPC_MESSAGE)
        atomic_fetch_add(&door->messages, 1);
    if (event == RPC_DONE)
        atomic_fetch_add(&door->done, 1);
    return door;
}

static void
handle_list(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    const Api__NewEnrolmentConfigRequest *request =
        (const Api__NewEnrolmentConfigRequest *)message;
    AUTO(rpc_list_freep) struct rpc_list *list = NULL;
    struct st_err err = {0};
    note(call, event);
    if (event != RPC_MESSAGE)
        return;
    list = list_new();
    for (unsigned n = 0; !err.code && n < request->uses; n++) {
        const bool too_long = !strcmp(request->name, "fail") && n == request->uses / 2;
        (void)!add(list, n, too_long ? ANSWER_MAX : CERT_LEN, &err);
    }
    if (err.code)
        rpc_call_finish(call, &err);
    else
        rpc_call_reply_list(call, TAKE(list));
}

static void *
list_late(void *argument)
{
    struct rpc_call *call = argument;
    struct door *door = rpc_call_context(call);
    struct rpc_list *list = list_new();
    struct st_err err = {0};
    for (unsigned n = 0; n < 1000; n++) {
        if (n == 500)
            wait_until(&door->done, 1);
        assert_ok(add(list, n, CERT_LEN, &err));
    }
    rpc_call_reply_list(call, list);
    rpc_call_release(call);
    atomic_fetch_add(&door->flooded, 1);
    return NULL;
}

static void
handle_late(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    pthread_t thread;
    (void)message;
    note(call, event);
    if (event != RPC_MESSAGE)
        return;
    pthread_create(&thread, NULL, list_late, rpc_call_hold(call));
    pthread_detach(thread);
}

static void
handle_huge(struct rpc_call *call, enum rpc_event event, const ProtobufCMessage *message)
{
    (void)message;
    struct door *door = note(call, event);
    struct st_err err = {0};
    if (event != RPC_OPEN)
        return;
    struct rpc_list *list = list_new();
    for (unsigned n = 0; n < HUGE_COUNT; n++)
        assert_ok(add(list, n, CERT_LEN, &err));
    rpc_call_reply_list(call, list);
    atomic_fetch_add(&door->flooded, 1);
}

#define NODES                                                                            \
    .in = &api__new_enrolment_config_request__descriptor,                                \
    .out = &api__list_nodes_response__descriptor, .deadline_ms = 60000
static const struct rpc_method methods[] = {
    {LIST, NODES, .handle = handle_list},
    {LATE, NODES, .handle = handle_late},
    {HUGE, NODES, .streaming = true, .handle = handle_huge},
};

static void
list_door_start(struct door *door)
{
    door_start(door, (struct rpc_server_config){.methods = methods, .method_count = 3});
}

static enum st_code
ask(struct rpc_channel *channel, const char *path, const char *name, unsigned uses,
    uint32_t timeout_ms, Api__ListNodesResponse **out, struct st_err *err)
{
    Api__NewEnrolmentConfigRequest request = API__NEW_ENROLMENT_CONFIG_REQUEST__INIT;
    request.name = (char *)name;
    request.uses = uses;
    return rpc_unary(channel, path, &request.base, &api__list_nodes_response__descriptor,
                     timeout_ms, (ProtobufCMessage **)out, err);
}

static void
answer_free(Api__ListNodesResponse *answer)
{
    protobuf_c_message_free_unpacked(&answer->base, &secret_allocator);
}

static void
expect_nodes(struct rpc_channel *channel, unsigned uses)
{
    struct st_err err = {0};
    Api__ListNodesResponse *answer = NULL;
    assert_ok(ask(channel, LIST, "", uses, 60000, &answer, &err));
    assert_int_equal(answer->n_nodes, uses);
    for (unsigned n = 0; n < uses; n++) {
        const Api__Node *node = answer->nodes[n];
        char id[24];
        snprintf(id, sizeof(id), "node-%u", n);
        assert_string_equal(node->node_id, id);
        assert_int_equal(node->id, n);
        assert_int_equal(node->enrolled_at, -(int64_t)n);
        assert_int_equal(node->id_cert.len, CERT_LEN);
        assert_memory_equal(node->id_cert.data, mark, sizeof(mark));
        assert_int_equal(node->id_cert.data[CERT_LEN - 1], (uint8_t)n);
    }
    answer_free(answer);
}

/* ---- the tests ---- */

static void
a_list_arrives_as_it_was_made_however_long(void **state)
{
    (void)state;
    static const unsigned lengths[] = {0, 1, 2, 127, 128, 129, 130, 10000};
    struct door door = {0};
    list_door_start(&door);
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
        expect_nodes(channel, lengths[i]);
    door_stop(&door);
    expect_no_piece();
}

static void
an_element_that_fails_in_the_middle_fails_the_call(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    Api__ListNodesResponse *answer = NULL;
    list_door_start(&door);
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_code(ask(channel, LIST, "fail", 2000, 60000, &answer, &err),
                ST_RESOURCE_EXHAUSTED);
    assert_null(answer);
    expect_nodes(channel, 3);
    door_stop(&door);
    expect_no_piece();
}

static void
a_client_that_leaves_while_the_list_is_made_does_no_harm(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    Api__ListNodesResponse *answer = NULL;
    list_door_start(&door);
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_code(ask(channel, LATE, "", 0, 1000, &answer, &err), ST_DEADLINE_EXCEEDED);
    wait_until(&door.flooded, 1);
    expect_nodes(channel, 3);
    door_stop(&door);
    expect_no_piece();
}

static void
a_client_that_leaves_while_the_list_is_sent_leaves_nothing(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    list_door_start(&door);
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    AUTO(rpc_stream_closep) struct rpc_stream *stream = NULL;
    assert_ok(rpc_stream_open(channel, HUGE, 60000, &stream, &err));
    wait_until(&door.flooded, 1);
    assert_true(pieces > 1); /* it does not read */
    rpc_stream_close(TAKE(stream));
    wait_until(&door.done, 1);
    expect_nodes(channel, 3);
    door_stop(&door);
    expect_no_piece();
}

static void
no_freed_piece_shows_what_was_in_it(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct rpc_list *list = list_new();
    for (unsigned n = 0; n < 1000; n++)
        assert_ok(add(list, n, CERT_LEN, &err));
    assert_true(pieces > 1);
    rpc_list_free(list);
    assert_int_equal(pieces, 0);
    assert_int_equal(unwiped, 0); /* nor any of the tests before */
}

/* Bytes in use at most while a list of so many is made, beyond the list. */
static long
overhead(unsigned nodes)
{
    struct st_err err = {0};
    atomic_store(&peak, live);
    const long before = live;
    struct rpc_list *list = list_new();
    for (unsigned n = 0; n < nodes; n++)
        assert_ok(add(list, n, CERT_LEN, &err));
    rpc_list_free(list);
    assert_int_equal(live, before);
    return peak - before - (long)nodes * CERT_LEN;
}

static void
ten_thousand_elements_need_their_own_bytes_and_a_piece(void **state)
{
    (void)state;
    /* Some bytes more for each: the other fields of a node, and the end of each piece. */
    const long per_node = 64;
    assert_true(overhead(1) < 2 * PIECE_LEN);
    assert_true(overhead(10000) < 2 * PIECE_LEN + 10000 * per_node);
}

static void
an_element_longer_than_a_piece_has_one_of_its_own(void **state)
{
    (void)state;
    struct st_err err = {0};
    AUTO(rpc_list_freep) struct rpc_list *list = list_new();
    assert_ok(add(list, 0, CERT_LEN, &err));
    assert_ok(add(list, 1, 4 * PIECE_LEN, &err));
    assert_ok(add(list, 2, CERT_LEN, &err));
    assert_int_equal(pieces, 3);
}

static void
a_list_is_as_long_as_a_client_takes_and_no_longer(void **state)
{
    (void)state;
    struct st_err err = {0};
    AUTO(rpc_list_freep) struct rpc_list *list = list_new();
    for (unsigned n = 0; n < 7; n++)
        assert_ok(add(list, n, 8 * 1024 * 1024, &err));
    assert_code(add(list, 7, 8 * 1024 * 1024, &err), ST_RESOURCE_EXHAUSTED);
    assert_code(add(list, 7, ANSWER_MAX, &err), ST_RESOURCE_EXHAUSTED);
    assert_ok(add(list, 7, 7 * 1024 * 1024, &err)); /* it was left as it was */
}

static void
every_allocation_may_fail(void **state)
{
    (void)state;
    struct st_err err = {0};
    long n = 0;
    for (bool failed = true; failed;) {
        atomic_store(&fail_in, ++n);
        struct rpc_list *list = list_new();
        unsigned added = 0;
        failed = !list;
        while (list && added < 400) {
            enum st_code code = add(list, added, CERT_LEN, &err);
            failed = failed || code;
            added += !code; /* the same once more where it failed */
            assert_true(!code || code == ST_RESOURCE_EXHAUSTED);
        }
        rpc_list_free(list);
        assert_int_equal(pieces, 0);
    }
    atomic_store(&fail_in, 0);
    assert_int_equal(n, 6); /* the list, four pieces, and a time without */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_arrives_as_it_was_made_however_long),
        cmocka_unit_test(an_element_that_fails_in_the_middle_fails_the_call),
        cmocka_unit_test(a_client_that_leaves_while_the_list_is_made_does_no_harm),
        cmocka_unit_test(a_client_that_leaves_while_the_list_is_sent_leaves_nothing),
        cmocka_unit_test(no_freed_piece_shows_what_was_in_it),
        cmocka_unit_test(ten_thousand_elements_need_their_own_bytes_and_a_piece),
        cmocka_unit_test(an_element_longer_than_a_piece_has_one_of_its_own),
        cmocka_unit_test(a_list_is_as_long_as_a_client_takes_and_no_longer),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, rpc_group_setup, rpc_group_teardown);
}

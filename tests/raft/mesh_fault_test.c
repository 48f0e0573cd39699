/* The peer link without memory: whichever allocation fails, nobody is left waiting,
 * nothing leaks, and what is sent again arrives. */
#include "tests/cmocka.h"
#include "tests/raft/net.h"

#include <stdlib.h>
#include <string.h>

/* Of our code and of libraft's heap, not of the libraries underneath (the linker wraps
 * what our objects call). */
static unsigned countdown; /* 0: not armed */
static unsigned failures;

static bool
fails_now(void)
{
    if (!countdown || --countdown)
        return false;
    failures++;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *
__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *memory, size_t size)
{
    return fails_now() ? NULL : __real_realloc(memory, size);
}

static void *
heap_malloc(void *data, size_t size)
{
    (void)data;
    return __wrap_malloc(size);
}

static void
heap_free(void *data, void *memory)
{
    (void)data;
    free(memory);
}

static void *
heap_calloc(void *data, size_t count, size_t size)
{
    (void)data;
    return __wrap_calloc(count, size);
}

static void *
heap_realloc(void *data, void *memory, size_t size)
{
    (void)data;
    return __wrap_realloc(memory, size);
}

static struct raft_heap heap = {.malloc = heap_malloc,
                                .free = heap_free,
                                .calloc = heap_calloc,
                                .realloc = heap_realloc};

/* ---- one send after the other, until it arrives ---- */

struct order {
    struct raft_io_send req;
    bool under_way;
    unsigned called_back, begun;
};

static void
on_sent(struct raft_io_send *req, int status)
{
    struct order *order = req->data;
    (void)status;
    order->under_way = false;
    order->called_back++;
}

static void
send_until_it_arrives(struct net *net, struct raft_message message)
{
    struct net_member *a = &net->members[0], *b = &net->members[1];
    struct link link = mesh_link(a->mesh);
    struct order order = {.req = {.data = &order, .cb = on_sent}};
    message.server_id = 2;
    net_begin(net);
    while (!b->message_count && !net->late) {
        if (!order.under_way && link.send(link.self, &order.req, &message) == 0) {
            order.under_way = true;
            order.begun++;
        }
        uv_run(&net->loop, UV_RUN_ONCE);
    }
    assert_false(net->late);
    NET_UNTIL(net, !order.under_way);
    assert_int_equal(order.begun, order.called_back);
    assert_int_equal(b->messages[0].type, message.type);
    net_forget(b);
}

static void
note_until_it_arrives(struct net *net)
{
    net_begin(net);
    for (unsigned i = 0; !net->members[1].notes && !net->late; i++) {
        mesh_note(net->members[0].mesh, 2, "note", 4);
        uv_run(&net->loop, UV_RUN_ONCE);
    }
    assert_false(net->late);
    net->members[1].notes = 0;
}

static void
do_everything(struct net *net, const struct raft_configuration *members)
{
    char bytes[40] = "stsn\1\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\17";
    struct raft_entry entries[2] = {{.term = 1, .type = RAFT_COMMAND, .buf = {bytes, 9}},
                                    {.term = 1, .type = RAFT_BARRIER}};
    struct raft_message append = {
        .type = RAFT_IO_APPEND_ENTRIES,
        .append_entries = {.term = 1, .entries = entries, .n_entries = 2}};
    struct raft_message snapshot = {.type = RAFT_IO_INSTALL_SNAPSHOT,
                                    .install_snapshot = {.term = 1,
                                                         .last_index = 3,
                                                         .last_term = 1,
                                                         .conf = *members,
                                                         .conf_index = 1,
                                                         .data = {bytes, sizeof(bytes)}}};
    struct mesh *a = net->members[0].mesh, *b = net->members[1].mesh;
    net_begin(net);
    while ((!mesh_connected(a, 2) || !mesh_connected(b, 1)) && !net->late) {
        mesh_follow(a, members);
        uv_run(&net->loop, UV_RUN_ONCE);
    }
    assert_false(net->late);
    send_until_it_arrives(net, append);
    send_until_it_arrives(net, snapshot);
    note_until_it_arrives(net);
}

static void
every_failed_allocation_is_got_over(void **state)
{
    (void)state;
    unsigned n = 0, before;
    do {
        struct net *net = net_new(2);
        struct raft_configuration members;
        raft_configuration_init(&members);
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(raft_configuration_add(&members, i + 1,
                                                    net->members[i].address, RAFT_VOTER),
                             0);
        before = failures;
        countdown = ++n;
        do_everything(net, &members);
        countdown = 0;
        raft_configuration_close(&members);
        net_end(net);
    } while (failures > before);
    assert_in_range(n, 20, 1000);
}

static void
a_mesh_that_has_no_memory_to_open_leaves_nothing(void **state)
{
    (void)state;
    struct net *net = net_new(1);
    struct net_member *a = &net->members[0];
    struct replica_credentials credentials =
        authority_credentials(&net->authority, &a->issued, &net->list);
    net_close(a);
    a->closed = false;
    struct mesh_config config = {
        .loop = &net->loop, .id = 1, .address = a->address, .credentials = &credentials};
    struct st_err err = {0};
    enum st_code code;
    unsigned n = 0;
    do {
        countdown = ++n;
        code = mesh_open(&config, &a->mesh, &err);
        countdown = 0;
        if (code)
            assert_code(code, ST_RESOURCE_EXHAUSTED);
    } while (code);
    assert_in_range(n, 4, 100);

    struct cert list;
    authority_list(&net->authority, 2, NULL, 0, &list);
    countdown = 1;
    assert_code(mesh_set_crl(a->mesh, list.der, list.len, &err), ST_RESOURCE_EXHAUSTED);
    assert_ok(mesh_set_crl(a->mesh, list.der, list.len, &err));
    net_end(net);
}

static int
take_heap(void **state)
{
    (void)state;
    raft_heap_set(&heap);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_got_over),
        cmocka_unit_test(a_mesh_that_has_no_memory_to_open_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, take_heap, NULL);
}

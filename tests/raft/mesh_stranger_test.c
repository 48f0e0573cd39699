/* What somebody with a socket can do to a member's peer link, with a certificate and
 * without: he is not heard, and others are served meanwhile. */
#include "raft/mesh_internal.h"
#include "raft/peer.pb-c.h"
#include "tests/cmocka.h"
#include "tests/raft/net.h"
#include "tests/raft/stranger.h"

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct attempt {
    struct stranger_config config;
    /* What is said after the handshake; NULL: Hello. */
    bool (*say)(struct stranger *stranger);
    /* What became of it. */
    bool connected, shaken, said, closed;
};

static void
attempt(void *arg)
{
    struct attempt *a = arg;
    struct stranger *stranger = stranger_connect(&a->config);
    a->connected = stranger != NULL;
    if (!stranger)
        return;
    a->shaken = stranger_shake(stranger);
    if (a->shaken)
        a->said = a->say ? a->say(stranger) : stranger_say_hello(stranger, 2, 1);
    a->closed = !a->shaken || stranger_is_closed(stranger);
    stranger_end(stranger);
}

/* Member 1 listens; a certificate of member 2 is there to be used. */
static struct net *
one_member(void)
{
    struct net *net = net_new(2);
    net_close(&net->members[1]);
    return net;
}

static void
assert_not_heard(struct net *net, struct attempt *a, enum st_code code, const char *why)
{
    struct net_member *member = &net->members[0];
    unsigned messages = member->message_count + member->heartbeats + member->notes;
    a->config.address = member->address;
    net_meanwhile(net, attempt, a);
    assert_true(a->connected);
    assert_true(a->closed);
    assert_int_equal(member->message_count + member->heartbeats + member->notes,
                     messages);
    assert_false(mesh_connected(member->mesh, 2));
    const struct st_err *trouble = mesh_trouble(member->mesh);
    if (!strstr(trouble->text, why))
        fail_msg("\"%s\" and not \"%s\"", trouble->text, why);
    assert_code(trouble->code, code);
}

/* ---- certificates ---- */

static void
N50_a_stranger_without_a_certificate_is_not_heard(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct attempt a = {0};
    assert_not_heard(net, &a, ST_UNAUTHENTICATED, "handshake");
    assert_int_equal(net->members[0].admitted, 0);
    net_end(net);
}

/* Anybody would write into what an operator is told of a member. */
static void
what_a_stranger_does_is_no_members_trouble(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct net_member *member = &net->members[0], *other = &net->members[1];
    struct attempt a = {.config.address = member->address};
    net_follow(net, member, &other->id, 1);
    NET_UNTIL(net, *mesh_trouble_with(member->mesh, other->id));
    net_meanwhile(net, attempt, &a);
    assert_true(a.closed);
    assert_memory_equal(mesh_trouble_with(member->mesh, other->id), other->address,
                        strlen(other->address));
    net_end(net);
}

static void
N50_a_certificate_of_another_authority_is_not_heard(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct authority other;
    struct issued issued;
    authority_new(&other);
    authority_issue(&other, 2, 102, "serverAuth,clientAuth", &issued);
    struct attempt a = {.config.issued = &issued};
    assert_not_heard(net, &a, ST_UNAUTHENTICATED, "handshake");
    net_end(net);
}

static void
N50_a_certificate_for_servers_only_does_not_dial(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct issued issued;
    authority_issue(&net->authority, 2, 102, "serverAuth", &issued);
    struct attempt a = {.config.issued = &issued};
    assert_not_heard(net, &a, ST_UNAUTHENTICATED, "handshake");
    net_end(net);
}

static void
N50_a_revoked_certificate_is_not_heard(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct cert list;
    struct st_err err = {0};
    const uint64_t serials[] = {7, 102, 200};
    authority_list(&net->authority, 2, serials, 3, &list);
    assert_ok(mesh_set_crl(net->members[0].mesh, list.der, list.len, &err));
    struct attempt a = {.config.issued = &net->members[1].issued};
    assert_not_heard(net, &a, ST_UNAUTHENTICATED, "revoked");
    net_end(net);
}

static void
N50_tls_1_2_is_refused(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct attempt a = {.config.issued = &net->members[1].issued,
                        .config.version = TLS1_2_VERSION};
    assert_not_heard(net, &a, ST_UNAUTHENTICATED, "handshake");
    assert_false(a.shaken);
    net_end(net);
}

static void
N50_N54_our_own_certificate_in_other_hands_is_not_heard(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct attempt a = {.config.issued = &net->members[0].issued};
    assert_not_heard(net, &a, ST_PERMISSION_DENIED, "our certificate");
    net_end(net);
}

/* A handshake that waits in the middle while something else comes. */
struct halfway {
    struct stranger_config config;
    struct stranger *stranger;
    bool half, shaken, closed;
};

static void
shake_half(void *arg)
{
    struct halfway *h = arg;
    h->stranger = stranger_connect(&h->config);
    h->half = h->stranger && stranger_shake_half(h->stranger);
}

static void
shake_on(void *arg)
{
    struct halfway *h = arg;
    h->shaken = stranger_shake(h->stranger);
    if (h->shaken)
        stranger_say_hello(h->stranger, 2, 1); /* nobody may be there any more */
    h->closed = h->shaken && stranger_is_closed(h->stranger);
    stranger_end(h->stranger);
}

static void
N53_a_list_counts_for_the_handshakes_that_are_under_way(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct net_member *member = &net->members[0];
    struct cert list;
    struct st_err err = {0};
    const uint64_t serial = 102;
    authority_list(&net->authority, 2, &serial, 1, &list);
    struct halfway h = {
        .config = {.address = member->address, .issued = &net->members[1].issued}};
    net_meanwhile(net, shake_half, &h);
    assert_true(h.half);
    assert_ok(mesh_set_crl(member->mesh, list.der, list.len, &err));
    /* Those who are known by now are judged now: he is not yet. */
    uv_run(&net->loop, UV_RUN_NOWAIT);
    net_meanwhile(net, shake_on, &h);
    assert_true(h.shaken);
    assert_true(h.closed);
    assert_int_equal(member->admitted, 0);
    assert_non_null(strstr(mesh_trouble(member->mesh)->text, "revoked"));
    net_end(net);
}

/* ---- resumption ---- */

struct resumption {
    struct stranger_config config;
    bool greeted, ticket;
};

static void
ask_for_a_ticket(void *arg)
{
    struct resumption *r = arg;
    struct stranger *stranger = stranger_connect(&r->config);
    r->greeted = stranger_shake(stranger) && stranger_greet(stranger, 2, 1);
    SSL_SESSION *ticket = stranger_ticket(stranger);
    r->ticket = ticket != NULL;
    SSL_SESSION_free(ticket);
    stranger_end(stranger);
}

static void
N53_nobody_is_given_a_ticket_that_would_outlive_the_list(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct resumption r = {.config = {.address = net->members[0].address,
                                      .issued = &net->members[1].issued}};
    net_meanwhile(net, ask_for_a_ticket, &r);
    assert_true(r.greeted);
    assert_false(r.ticket);
    net_end(net);
}

/* ---- frames ---- */

static bool
say_length_zero(struct stranger *stranger)
{
    return stranger_write(stranger, "\0\0\0\0", 4);
}

static bool
say_much_at_first(struct stranger *stranger)
{
    return stranger_write(stranger, "\1\4\0\0", 4); /* 1025 */
}

static bool
say_garbage(struct stranger *stranger)
{
    return stranger_send(stranger, "garbage", 7);
}

static bool
say_note_first(struct stranger *stranger)
{
    return stranger_send(stranger, "\x52\1x", 3);
}

static bool
say_another_id(struct stranger *stranger)
{
    return stranger_say_hello(stranger, 3, 1);
}

static bool
say_hello_twice(struct stranger *stranger)
{
    return stranger_greet(stranger, 2, 1) && stranger_say_hello(stranger, 2, 1);
}

static bool
say_huge(struct stranger *stranger)
{
    return stranger_greet(stranger, 2, 1) &&
           stranger_write(stranger, "\xff\xff\xff\xff", 4);
}

static bool
say_one_too_many(struct stranger *stranger)
{
    return stranger_greet(stranger, 2, 1) &&
           stranger_write(stranger, "\x01\x00\x80\x00", 4); /* 8 MiB + 1 */
}

static bool
say_zero_later(struct stranger *stranger)
{
    return stranger_greet(stranger, 2, 1) && say_length_zero(stranger);
}

static bool
say_part_without_a_snapshot(struct stranger *stranger)
{
    return stranger_greet(stranger, 2, 1) && stranger_send(stranger, "\x4a\3\x12\1x", 5);
}

static bool
vote_for_another(struct stranger *stranger)
{
    return stranger_greet(stranger, 2, 1) &&
           stranger_send(stranger, "\x1a\x12\x09\1\0\0\0\0\0\0\0\x11\3\0\0\0\0\0\0\0",
                         20);
}

static void
N54_a_frame_that_is_wrong_closes_the_connection(void **state)
{
    (void)state;
    static const struct {
        bool (*say)(struct stranger *stranger);
        enum st_code code;
        const char *why;
    } cases[] = {
        {say_length_zero, ST_INVALID_ARGUMENT, "a frame of 0 bytes"},
        {say_much_at_first, ST_INVALID_ARGUMENT, "a frame of 1025 bytes"},
        {say_garbage, ST_INVALID_ARGUMENT, "malformed"},
        {say_note_first, ST_INVALID_ARGUMENT, "before Hello"},
        {say_another_id, ST_PERMISSION_DENIED, "says that it is member 3"},
        {say_hello_twice, ST_INVALID_ARGUMENT, "Hello twice"},
        {say_huge, ST_INVALID_ARGUMENT, "a frame of 4294967295 bytes"},
        {say_one_too_many, ST_INVALID_ARGUMENT, "a frame of 8388609 bytes"},
        {say_zero_later, ST_INVALID_ARGUMENT, "a frame of 0 bytes"},
        {say_part_without_a_snapshot, ST_INVALID_ARGUMENT, "not next"},
        {vote_for_another, ST_PERMISSION_DENIED, "votes for member 3"},
    };
    struct net *net = one_member();
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct attempt a = {.config.issued = &net->members[1].issued,
                            .say = cases[i].say};
        assert_not_heard(net, &a, cases[i].code, cases[i].why);
        assert_true(a.said);
    }
    net_end(net);
}

/* ---- snapshots in parts ---- */

static bool
send_frame(struct stranger *stranger, Peer__Frame__KindCase kind, void *message)
{
    uint8_t bytes[1024];
    Peer__Frame frame = PEER__FRAME__INIT;
    frame.kind_case = kind;
    frame.hello = message;
    return stranger_send(stranger, bytes, peer__frame__pack(&frame, bytes));
}

static bool
send_part(struct stranger *stranger, uint64_t offset, const char *bytes, size_t len)
{
    Peer__Chunk chunk = PEER__CHUNK__INIT;
    chunk.offset = offset;
    chunk.data = (ProtobufCBinaryData){len, (uint8_t *)bytes};
    return send_frame(stranger, PEER__FRAME__KIND_CHUNK, &chunk);
}

static bool
announce(struct stranger *stranger, uint64_t size)
{
    static const char configuration[] = "\1\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0a\0\1";
    Peer__Snapshot snapshot = PEER__SNAPSHOT__INIT;
    snapshot.term = 3;
    snapshot.last_index = 9;
    snapshot.last_term = 2;
    snapshot.configuration_index = 4;
    snapshot.configuration =
        (ProtobufCBinaryData){sizeof(configuration) - 1, (uint8_t *)configuration};
    snapshot.size = size;
    return stranger_greet(stranger, 2, 1) &&
           send_frame(stranger, PEER__FRAME__KIND_SNAPSHOT, &snapshot);
}

static const char no_records[] = "stsn\1\0\0\0\0\0\0\0\0\0\0\0";

static bool
say_part_too_early(struct stranger *stranger)
{
    return announce(stranger, 16) && send_part(stranger, 1, no_records + 1, 15);
}

static bool
say_part_twice(struct stranger *stranger)
{
    return announce(stranger, 16) && send_part(stranger, 0, no_records, 8) &&
           send_part(stranger, 0, no_records, 8);
}

static bool
say_part_too_long(struct stranger *stranger)
{
    return announce(stranger, 16) && send_part(stranger, 0, no_records, 17);
}

static bool
say_part_after_the_end(struct stranger *stranger)
{
    return announce(stranger, 16) && send_part(stranger, 0, "stsn\1", 5) &&
           send_part(stranger, 5, no_records, 16);
}

static bool
say_no_snapshot(struct stranger *stranger)
{
    return announce(stranger, 16) && send_part(stranger, 0, "0123456789abcdef", 16);
}

static bool
say_half_and_close(struct stranger *stranger)
{
    return announce(stranger, MESH_SNAPSHOT_MAX) &&
           send_part(stranger, 0, no_records, 16) &&
           stranger_write(stranger, "\0\0\0\0", 4);
}

static void
N54_parts_that_make_no_snapshot_close_the_connection(void **state)
{
    (void)state;
    static const struct {
        bool (*say)(struct stranger *stranger);
        const char *why;
    } cases[] = {
        {say_part_too_early, "not next"},          {say_part_twice, "not next"},
        {say_part_too_long, "not next"},           {say_part_after_the_end, "not next"},
        {say_no_snapshot, "a malformed snapshot"}, {say_half_and_close, "of 0 bytes"},
    };
    struct net *net = one_member();
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct attempt a = {.config.issued = &net->members[1].issued,
                            .say = cases[i].say};
        assert_not_heard(net, &a, ST_INVALID_ARGUMENT, cases[i].why);
        assert_true(a.said);
    }
    net_end(net);
}

static bool
say_half_and_a_whole(struct stranger *stranger)
{
    Peer__Snapshot snapshot = PEER__SNAPSHOT__INIT;
    static const char configuration[] = "\1\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0a\0\1";
    snapshot.term = 4;
    snapshot.last_index = 10;
    snapshot.last_term = 2;
    snapshot.configuration_index = 4;
    snapshot.configuration =
        (ProtobufCBinaryData){sizeof(configuration) - 1, (uint8_t *)configuration};
    snapshot.size = 16;
    return announce(stranger, 100) && send_part(stranger, 0, no_records, 9) &&
           send_frame(stranger, PEER__FRAME__KIND_SNAPSHOT, &snapshot) &&
           send_part(stranger, 0, no_records, 9) &&
           send_part(stranger, 9, no_records + 9, 7) &&
           stranger_write(stranger, "\0\0\0\0", 4);
}

static void
a_new_snapshot_replaces_half_of_an_older_one(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct net_member *member = &net->members[0];
    struct attempt a = {
        .config = {.address = member->address, .issued = &net->members[1].issued},
        .say = say_half_and_a_whole};
    net_meanwhile(net, attempt, &a);
    assert_true(a.said && a.closed);
    assert_int_equal(member->message_count, 1);
    assert_int_equal(member->messages[0].install_snapshot.term, 4);
    assert_int_equal(member->messages[0].install_snapshot.data.len, 16);
    assert_memory_equal(member->messages[0].install_snapshot.data.base, no_records, 16);
    net_end(net);
}

/* ---- those who stay ---- */

/* Greets and then reads nothing until it is told to end. */
struct guest {
    struct stranger_config config;
    bool (*greet)(struct stranger *stranger);
    atomic_bool ready, end;
    bool greeted, closed;
};

static bool
greet_as_second(struct stranger *stranger)
{
    return stranger_shake(stranger) && stranger_greet(stranger, 2, 1);
}

static void
be_a_guest(void *arg)
{
    struct guest *guest = arg;
    struct stranger *stranger = stranger_connect(&guest->config);
    guest->greeted = stranger && guest->greet(stranger);
    atomic_store(&guest->ready, true);
    while (!atomic_load(&guest->end))
        usleep(1000);
    guest->closed = stranger && stranger_is_closed(stranger);
    stranger_end(stranger);
}

static void
who_reads_nothing_is_sent_no_more_than_may_wait(void **state)
{
    (void)state;
    static uint8_t bytes[MESH_NOTE_MAX];
    struct net *net = one_member();
    struct net_member *member = &net->members[0];
    struct guest guest = {
        .config = {.address = member->address, .issued = &net->members[1].issued},
        .greet = greet_as_second};
    struct net_work *work = net_work_begin(net, be_a_guest, &guest);
    NET_UNTIL(net, atomic_load(&guest.ready) && mesh_connected(member->mesh, 2));
    size_t sent = 0;
    for (int i = 0; i < 200; i++) { /* the kernel takes some */
        while (mesh_note(member->mesh, 2, bytes, sizeof(bytes)))
            sent += sizeof(bytes);
        uv_run(&net->loop, UV_RUN_NOWAIT);
    }
    assert_in_range(sent, MESH_WAITING_MAX - sizeof(bytes), 4 * MESH_WAITING_MAX);
    struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES,
                                   .append_entries = {.term = 1}};
    unsigned waiting = 0; /* none where all this took so long that he was let go of */
    for (; net_send(member, 2, message) == 0; waiting++)
        assert_in_range(net->sent + net->failed, 0, 0);

    /* It does not stay like this for ever. */
    NET_UNTIL(net, !mesh_connected(member->mesh, 2));
    NET_UNTIL(net, net->failed == waiting);
    assert_int_equal(net->sent, 0);
    atomic_store(&guest.end, true);
    net_work_end(net, work);
    assert_true(guest.greeted && guest.closed);
    net_end(net);
}

static void
a_member_that_comes_anew_replaces_its_connection_once_it_is_admitted(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct net_member *member = &net->members[0];
    struct guest guest = {
        .config = {.address = member->address, .issued = &net->members[1].issued},
        .greet = greet_as_second};
    struct net_work *work = net_work_begin(net, be_a_guest, &guest);
    NET_UNTIL(net, atomic_load(&guest.ready));
    assert_true(guest.greeted);

    /* Who is not admitted replaces nobody. */
    member->boot_min = 5;
    struct attempt old = {.config = guest.config};
    net_meanwhile(net, attempt, &old);
    assert_true(old.said && old.closed);
    assert_true(mesh_connected(member->mesh, 2));
    assert_int_equal(member->admitted, 1);

    member->boot_min = 0;
    struct guest second = {.config = guest.config, .greet = greet_as_second};
    struct net_work *other = net_work_begin(net, be_a_guest, &second);
    NET_UNTIL(net, atomic_load(&second.ready));
    assert_true(second.greeted);
    assert_true(mesh_connected(member->mesh, 2));
    assert_non_null(strstr(mesh_trouble(member->mesh)->text, "anew"));
    atomic_store(&guest.end, true);
    net_work_end(net, work);
    assert_true(guest.closed);
    assert_true(mesh_connected(member->mesh, 2));
    net_close(member);
    atomic_store(&second.end, true);
    net_work_end(net, other);
    net_end(net);
}

static bool
talk_without_end(struct stranger *stranger)
{
    uint8_t record[] = {22, 3, 1, 0x3f, 0xff}; /* of a handshake: 16383 bytes follow */
    static uint8_t hello[16383] = {1, 0, 0xff, 0xf0};
    for (int i = 0; i < 64; i++)
        if (!stranger_put(stranger, record, sizeof(record)) ||
            !stranger_put(stranger, hello, sizeof(hello)))
            return true;
    return true;
}

static void
N54_a_handshake_has_an_end(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct net_member *member = &net->members[0];
    struct guest guest = {
        .config = {.address = member->address}, .greet = talk_without_end, .end = true};
    net_meanwhile(net, be_a_guest, &guest);
    assert_true(guest.closed);
    assert_code(mesh_trouble(member->mesh)->code, ST_UNAUTHENTICATED);
    net_end(net);
}

/* ---- many who say nothing ---- */

struct crowd {
    const char *address;
    struct stranger_config member;
    unsigned came, left; /* of the silent ones */
    bool served;
};

static void
crowd(void *arg)
{
    enum {
        COUNT = 3 * MESH_UNKNOWN_MAX
    };
    struct crowd *c = arg;
    struct stranger *silent[COUNT] = {0};
    struct stranger_config config = {.address = c->address};
    for (unsigned i = 0; i < COUNT; i++) {
        char source[32];
        snprintf(source, sizeof(source), "127.9.9.%u", 1 + i / 12);
        config.source = source;
        silent[i] = stranger_connect(&config);
        c->came += silent[i] != NULL;
    }
    struct stranger *member = stranger_connect(&c->member);
    c->served = member && stranger_shake(member) && stranger_greet(member, 2, 1);
    for (unsigned i = 0; i < COUNT; i++) {
        c->left += silent[i] && stranger_has_closed(silent[i]);
        stranger_end(silent[i]);
    }
    stranger_end(member);
}

static void
N45_a_crowd_that_says_nothing_does_not_keep_a_member_out(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct crowd c = {.address = net->members[0].address,
                      .member = {.address = net->members[0].address,
                                 .issued = &net->members[1].issued}};
    net_meanwhile(net, crowd, &c);
    assert_int_equal(c.came, 3 * MESH_UNKNOWN_MAX);
    assert_true(c.served);
    assert_in_range(c.left, 2 * MESH_UNKNOWN_MAX, 2 * MESH_UNKNOWN_MAX + 1);
    net_end(net);
}

static void
crowd_of_one_source(void *arg)
{
    enum {
        COUNT = 3 * MESH_UNKNOWN_SOURCE_MAX
    };
    struct crowd *c = arg;
    struct stranger *silent[COUNT] = {0};
    struct stranger_config config = {.address = c->address, .source = "127.9.9.1"};
    for (unsigned i = 0; i < COUNT; i++) {
        silent[i] = stranger_connect(&config);
        c->came += silent[i] != NULL;
    }
    struct stranger *member = stranger_connect(&c->member);
    c->served = member && stranger_shake(member) && stranger_greet(member, 2, 1);
    for (unsigned i = 0; i < COUNT; i++) {
        c->left += silent[i] && stranger_has_closed(silent[i]);
        stranger_end(silent[i]);
    }
    stranger_end(member);
}

static void
N45_one_source_has_its_share_of_the_silent(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct crowd c = {.address = net->members[0].address,
                      .member = {.address = net->members[0].address,
                                 .issued = &net->members[1].issued}};
    net_meanwhile(net, crowd_of_one_source, &c);
    assert_int_equal(c.came, 3 * MESH_UNKNOWN_SOURCE_MAX);
    assert_true(c.served);
    assert_int_equal(c.left, 2 * MESH_UNKNOWN_SOURCE_MAX);
    net_end(net);
}

static bool
connect_only(struct stranger *stranger)
{
    (void)stranger;
    return true;
}

static void
who_says_nothing_is_let_go_of(void **state)
{
    (void)state;
    struct net *net = one_member();
    struct net_member *member = &net->members[0];
    struct guest guest = {
        .config = {.address = member->address}, .greet = connect_only, .end = true};
    net_meanwhile(net, be_a_guest, &guest);
    assert_true(guest.closed);
    assert_code(mesh_trouble(member->mesh)->code, ST_DEADLINE_EXCEEDED);
    net_end(net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N50_a_stranger_without_a_certificate_is_not_heard),
        cmocka_unit_test(what_a_stranger_does_is_no_members_trouble),
        cmocka_unit_test(N50_a_certificate_of_another_authority_is_not_heard),
        cmocka_unit_test(N50_a_certificate_for_servers_only_does_not_dial),
        cmocka_unit_test(N50_a_revoked_certificate_is_not_heard),
        cmocka_unit_test(N50_tls_1_2_is_refused),
        cmocka_unit_test(N50_N54_our_own_certificate_in_other_hands_is_not_heard),
        cmocka_unit_test(N53_a_list_counts_for_the_handshakes_that_are_under_way),
        cmocka_unit_test(N53_nobody_is_given_a_ticket_that_would_outlive_the_list),
        cmocka_unit_test(N54_a_frame_that_is_wrong_closes_the_connection),
        cmocka_unit_test(N54_parts_that_make_no_snapshot_close_the_connection),
        cmocka_unit_test(a_new_snapshot_replaces_half_of_an_older_one),
        cmocka_unit_test(who_reads_nothing_is_sent_no_more_than_may_wait),
        cmocka_unit_test(
            a_member_that_comes_anew_replaces_its_connection_once_it_is_admitted),
        cmocka_unit_test(N54_a_handshake_has_an_end),
        cmocka_unit_test(N45_a_crowd_that_says_nothing_does_not_keep_a_member_out),
        cmocka_unit_test(N45_one_source_has_its_share_of_the_silent),
        cmocka_unit_test(who_says_nothing_is_let_go_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

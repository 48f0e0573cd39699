/* The peer link between members: what is sent arrives, whoever comes back is found, and
 * whoever is revoked is not spoken to. */
#include "tests/cmocka.h"
#include "tests/raft/net.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Certificates count from 1970 on: for wolfSSL it is the second of January. */
static atomic_uint time_was_asked_for;

time_t
time(time_t *out)
{
    time_was_asked_for++;
    if (out)
        *out = 86400;
    return 86400;
}

static struct raft_message
heartbeat(void)
{
    return (struct raft_message){
        .type = RAFT_IO_APPEND_ENTRIES,
        .append_entries = {
            .term = 3, .prev_log_index = 7, .prev_log_term = 2, .leader_commit = 6}};
}

static void
every_small_message_arrives_as_it_was_sent(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    net_connect(net);
    const struct raft_message sent[] = {
        {.type = RAFT_IO_REQUEST_VOTE,
         .request_vote = {.term = 1ull << 40,
                          .candidate_id = 1,
                          .last_log_index = 9,
                          .last_log_term = 4,
                          .disrupt_leader = true,
                          .pre_vote = false}},
        {.type = RAFT_IO_REQUEST_VOTE,
         .request_vote = {.term = 1, .candidate_id = 1, .pre_vote = true}},
        {.type = RAFT_IO_REQUEST_VOTE_RESULT,
         .request_vote_result = {.term = 5,
                                 .vote_granted = true,
                                 .pre_vote = raft_tribool_false}},
        {.type = RAFT_IO_APPEND_ENTRIES_RESULT,
         .append_entries_result = {.term = 6, .rejected = 7, .last_log_index = 8}},
        {.type = RAFT_IO_TIMEOUT_NOW,
         .timeout_now = {.term = 6, .last_log_index = 9, .last_log_term = 5}},
    };
    const unsigned count = sizeof(sent) / sizeof(*sent);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(net_send(a, 2, sent[i]), 0);
    NET_UNTIL(net, b->message_count == count && net->sent == count);
    for (unsigned i = 0; i < count; i++) {
        struct raft_message got = b->messages[i], want = sent[i];
        assert_int_equal(got.type, want.type);
        switch (want.type) {
        case RAFT_IO_REQUEST_VOTE:
            assert_int_equal(got.request_vote.term, want.request_vote.term);
            assert_int_equal(got.request_vote.candidate_id, 1);
            assert_int_equal(got.request_vote.last_log_index,
                             want.request_vote.last_log_index);
            assert_int_equal(got.request_vote.last_log_term,
                             want.request_vote.last_log_term);
            assert_int_equal(got.request_vote.disrupt_leader,
                             want.request_vote.disrupt_leader);
            assert_int_equal(got.request_vote.pre_vote, want.request_vote.pre_vote);
            break;
        case RAFT_IO_REQUEST_VOTE_RESULT:
            assert_int_equal(got.request_vote_result.term, 5);
            assert_true(got.request_vote_result.vote_granted);
            assert_int_equal(got.request_vote_result.pre_vote, raft_tribool_false);
            break;
        case RAFT_IO_APPEND_ENTRIES_RESULT:
            assert_int_equal(got.append_entries_result.term, 6);
            assert_int_equal(got.append_entries_result.rejected, 7);
            assert_int_equal(got.append_entries_result.last_log_index, 8);
            break;
        default:
            assert_int_equal(got.timeout_now.term, 6);
            assert_int_equal(got.timeout_now.last_log_index, 9);
            assert_int_equal(got.timeout_now.last_log_term, 5);
        }
    }
    net_end(net);
}

/* ---- entries ---- */

/* As libraft has them: a buffer each, which stays until the callback. */
static struct raft_entry *
entries_new(unsigned n, size_t len)
{
    struct raft_entry *entries = calloc(n, sizeof(*entries));
    assert_non_null(entries);
    for (unsigned i = 0; i < n; i++) {
        entries[i] = (struct raft_entry){.term = i < n / 2 ? 2 : 3,
                                         .type = i % 3 ? RAFT_COMMAND : RAFT_BARRIER,
                                         .buf = {len ? malloc(len) : NULL, len}};
        if (len)
            memset(entries[i].buf.base, (int)(i + 1), len);
    }
    return entries;
}

static void
entries_free(struct raft_entry *entries, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(entries[i].buf.base);
    free(entries);
}

static struct raft_message
append(struct raft_entry *entries, unsigned n)
{
    struct raft_message message = heartbeat();
    message.append_entries.leader_commit = 1000;
    message.append_entries.entries = entries;
    message.append_entries.n_entries = n;
    return message;
}

static void
assert_entries(const struct raft_message *message, const struct raft_entry *entries,
               unsigned n)
{
    const struct raft_append_entries *got = &message->append_entries;
    assert_int_equal(message->type, RAFT_IO_APPEND_ENTRIES);
    assert_int_equal(got->term, 3);
    assert_int_equal(got->prev_log_index, 7);
    assert_int_equal(got->prev_log_term, 2);
    assert_int_equal(got->n_entries, n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(got->entries[i].term, entries[i].term);
        assert_int_equal(got->entries[i].type, entries[i].type);
        assert_int_equal(got->entries[i].buf.len, entries[i].buf.len);
        if (entries[i].buf.len)
            assert_memory_equal(got->entries[i].buf.base, entries[i].buf.base,
                                entries[i].buf.len);
        assert_non_null(got->entries[i].batch);
        assert_ptr_equal(got->entries[i].batch, got->entries[0].batch);
    }
}

static void
entries_arrive_in_one_batch(void **state)
{
    (void)state;
    static const struct {
        unsigned n;
        size_t len;
    } cases[] = {{1, 1}, {1, 0}, {5, 0}, {3, 333}, {500, 100}, {2, 300 * 1024}};
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    net_connect(net);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        unsigned before = net->sent;
        struct raft_entry *entries = entries_new(cases[i].n, cases[i].len);
        assert_int_equal(net_send(a, 2, append(entries, cases[i].n)), 0);
        NET_UNTIL(net, b->message_count == 1 && net->sent == before + 1);
        assert_entries(&b->messages[0], entries, cases[i].n);
        assert_int_equal(b->messages[0].append_entries.leader_commit, 1000);
        net_forget(b);
        entries_free(entries, cases[i].n);
    }
    net_end(net);
}

/* libraft puts its whole log into one message. */
static void
too_many_entries_are_cut_and_commit_nothing_of_the_rest(void **state)
{
    (void)state;
    enum {
        N = 40,
        LEN = 100 * 1024
    };
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    net_connect(net);
    struct raft_entry *entries = entries_new(N, LEN);
    assert_int_equal(net_send(a, 2, append(entries, N)), 0);
    NET_UNTIL(net, b->message_count == 1 && net->sent == 1);
    assert_entries(&b->messages[0], entries, 10);
    assert_int_equal(b->messages[0].append_entries.leader_commit, 7 + 10);
    entries_free(entries, N);
    net_end(net);
}

static void
a_message_that_fits_no_frame_has_no_connection(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    net_connect(net);
    struct raft_entry *entries = entries_new(1, MESH_FRAME_MAX);
    assert_int_equal(net_send(&net->members[0], 2, append(entries, 1)),
                     RAFT_NOCONNECTION);
    entries_free(entries, 1);
    net_end(net);
}

/* ---- notes, and orders that nobody waits for ---- */

static void
notes_of_any_size_arrive(void **state)
{
    (void)state;
    static uint8_t bytes[MESH_NOTE_MAX + 1];
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    net_connect(net);
    memset(bytes, 7, sizeof(bytes));
    static const size_t sizes[] = {0, 1, 16383, 16384, 100000, MESH_NOTE_MAX};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        assert_true(mesh_note(a->mesh, 2, bytes, sizes[i]));
        NET_UNTIL(net, b->notes == i + 1);
        assert_int_equal(b->note_bytes, sizes[i]);
        assert_int_equal(b->note_first, sizes[i] ? 7 : 0);
    }
    assert_false(mesh_note(a->mesh, 2, bytes, sizeof(bytes)));
    assert_false(mesh_note(a->mesh, 3, bytes, 1));
    net_end(net);
}

static void
an_order_without_a_callback_keeps_nothing_of_its_request(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    net_connect(net);
    struct raft_io_send *req = calloc(1, sizeof(*req));
    struct link link = mesh_link(a->mesh);
    struct raft_message message = {
        .type = RAFT_IO_TIMEOUT_NOW,
        .server_id = 2,
        .timeout_now = {.term = 3, .last_log_index = 1, .last_log_term = 1}};
    assert_non_null(req);
    assert_int_equal(link.send(link.self, req, &message), 0);
    free(req);
    NET_UNTIL(net, b->message_count == 1);
    net_end(net);
}

/* ---- snapshots ---- */

/* Well formed: it is looked at. */
static struct raft_buffer
snapshot_bytes(unsigned records, size_t value_len)
{
    size_t record = 8 + 1 + value_len, len = 16 + records * record;
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 12));
    memcpy(bytes, "stsn\1\0\0\0\0\0\0\0\0\0\0\0", 16);
    bytes[8] = (uint8_t)records;
    for (unsigned r = 0; r < records; r++) {
        memcpy(bytes + 16 + r * record, "\1\0\0\0", 4);
        for (int i = 0; i < 4; i++)
            bytes[16 + r * record + 4 + i] = (uint8_t)(value_len >> (8 * i));
    }
    return (struct raft_buffer){bytes, len};
}

static struct raft_message
snapshot(const struct raft_buffer *data)
{
    struct raft_message message = {
        .type = RAFT_IO_INSTALL_SNAPSHOT,
        .install_snapshot = {
            .term = 4, .last_index = 90, .last_term = 3, .conf_index = 5, .data = *data}};
    raft_configuration_init(&message.install_snapshot.conf);
    assert_int_equal(raft_configuration_add(&message.install_snapshot.conf, 1,
                                            "127.0.0.1:7834", RAFT_VOTER),
                     0);
    assert_int_equal(raft_configuration_add(&message.install_snapshot.conf, 2,
                                            "127.0.0.2:7834", RAFT_STANDBY),
                     0);
    return message;
}

static int
send_snapshot(struct net_member *from, uint64_t to, const struct raft_buffer *data)
{
    struct raft_message message = snapshot(data);
    int status = net_send(from, to, message);
    raft_configuration_close(&message.install_snapshot.conf);
    return status;
}

static void
assert_snapshot(const struct raft_message *message, const struct raft_buffer *data)
{
    const struct raft_install_snapshot *got = &message->install_snapshot;
    assert_int_equal(message->type, RAFT_IO_INSTALL_SNAPSHOT);
    assert_int_equal(got->term, 4);
    assert_int_equal(got->last_index, 90);
    assert_int_equal(got->last_term, 3);
    assert_int_equal(got->conf_index, 5);
    assert_int_equal(got->conf.n, 2);
    assert_string_equal(got->conf.servers[1].address, "127.0.0.2:7834");
    assert_int_equal(got->conf.servers[1].role, RAFT_STANDBY);
    assert_int_equal(got->data.len, data->len);
    assert_memory_equal(got->data.base, data->base, data->len);
}

static void
heartbeats_overtake_a_snapshot(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    struct raft_buffer data = snapshot_bytes(5, 4 * 1024 * 1024);
    net_connect(net);
    assert_int_equal(send_snapshot(a, 2, &data), 0);
    unsigned beats = 0;
    while (!b->message_count) {
        unsigned before = b->heartbeats;
        assert_int_equal(net_send(a, 2, heartbeat()), 0);
        NET_UNTIL(net, b->heartbeats > before);
        beats += b->message_count == 0;
    }
    assert_in_range(beats, 10, 10000);
    NET_UNTIL(net, net->sent == b->heartbeats + 1);
    assert_snapshot(&b->messages[0], &data);
    free(data.base);
    net_end(net);
}

static void
of_the_snapshots_that_wait_the_newest_is_sent(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    struct raft_buffer first = snapshot_bytes(1, 3000000),
                       second = snapshot_bytes(1, 1000),
                       third = snapshot_bytes(1, 2000000);
    net_connect(net);
    assert_int_equal(send_snapshot(a, 2, &first), 0);
    assert_int_equal(send_snapshot(a, 2, &second), 0);
    assert_int_equal(send_snapshot(a, 2, &third), 0);
    NET_UNTIL(net, net->sent == 3 && b->message_count == 2);
    assert_snapshot(&b->messages[0], &first);
    assert_snapshot(&b->messages[1], &third);
    assert_int_equal(net->failed, 0);
    free(first.base);
    free(second.base);
    free(third.base);
    net_end(net);
}

static void
a_snapshot_that_is_too_large_has_no_connection(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    net_connect(net);
    uint8_t byte = 0;
    struct raft_buffer data = {&byte, (size_t)MESH_SNAPSHOT_MAX + 1};
    assert_int_equal(send_snapshot(&net->members[0], 2, &data), RAFT_NOCONNECTION);
    net_end(net);
}

/* ---- who is spoken to ---- */

static void
three_members_find_each_other_in_a_year_without_a_clock(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    net_connect(net);
    assert_true(time_was_asked_for > 0);
    for (unsigned from = 0; from < 3; from++)
        for (uint64_t to = 1; to <= 3; to++)
            if (to != from + 1)
                assert_int_equal(net_send(&net->members[from], to, heartbeat()), 0);
    NET_UNTIL(net, net->members[0].heartbeats == 2 && net->members[1].heartbeats == 2 &&
                       net->members[2].heartbeats == 2);
    assert_int_equal(net_send(&net->members[0], 1, heartbeat()), RAFT_NOCONNECTION);
    net_end(net);
}

static void
who_joins_is_answered_over_his_connection(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    const uint64_t two = 2;
    net_follow(net, a, &two, 1);
    NET_UNTIL(net, mesh_connected(a->mesh, 2) && mesh_connected(b->mesh, 1));
    assert_int_equal(net_send(b, 1, heartbeat()), 0);
    NET_UNTIL(net, a->heartbeats == 1);
    net_end(net);
}

static void
who_is_not_followed_any_more_is_let_go_of(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    const uint64_t two = 2;
    net_follow(net, a, &two, 1);
    NET_UNTIL(net, mesh_connected(a->mesh, 2) && mesh_connected(b->mesh, 1));
    unsigned before = a->changes;
    net_follow(net, a, NULL, 0);
    assert_false(mesh_connected(a->mesh, 2));
    NET_UNTIL(net, !mesh_connected(b->mesh, 1) && a->changes > before);
    net_end(net);
}

static void
a_member_that_starts_again_is_found(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    net_connect(net);
    struct net_member *b = &net->members[1];
    for (int i = 0; i < 3; i++) {
        net_close(b);
        NET_UNTIL(net, !mesh_connected(net->members[0].mesh, 2));
        b->boot++;
        net_open(b);
        net_connect(net);
    }
    net_end(net);
}

static void
N54_a_member_at_another_ones_address_is_not_spoken_to(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    struct net_member *a = &net->members[0];
    struct raft_configuration members;
    raft_configuration_init(&members);
    assert_int_equal(
        raft_configuration_add(&members, 2, net->members[2].address, RAFT_VOTER), 0);
    mesh_follow(a->mesh, &members);
    raft_configuration_close(&members);
    NET_UNTIL(net, mesh_trouble(a->mesh)->code == ST_PERMISSION_DENIED ||
                       net->members[2].admitted);
    assert_code(mesh_trouble(a->mesh)->code, ST_PERMISSION_DENIED);
    assert_non_null(strstr(mesh_trouble(a->mesh)->text, "at the address of"));
    assert_int_equal(net->members[2].admitted, 0);
    net_end(net);
}

static void
an_address_that_nobody_can_dial_does_no_harm(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0];
    static const char *const addresses[] = {
        "",       ":7834",           "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536",
        "a:7834", "127.0.0.1:7834x", "[::1:7834", "::1:7834",    "[127.0.0.1]:7834"};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
        struct raft_configuration members;
        raft_configuration_init(&members);
        assert_int_equal(raft_configuration_add(&members, 2, addresses[i], RAFT_VOTER),
                         0);
        mesh_follow(a->mesh, &members);
        raft_configuration_close(&members);
        assert_code(mesh_trouble(a->mesh)->code, ST_INVALID_ARGUMENT);
    }
    net_end(net);
}

static void
N50_a_listener_of_another_authority_is_not_spoken_to(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    struct authority other; /* of the same name */
    struct cert list;
    const uint64_t two = 2;
    authority_new(&other);
    authority_list(&other, 1, NULL, 0, &list);
    net_close(b);
    authority_issue(&other, 2, 102, "serverAuth,clientAuth", &b->issued);
    net_open_as(b, &other, &list);
    net_follow(net, a, &two, 1);
    NET_UNTIL(net, mesh_trouble(a->mesh)->code == ST_UNAUTHENTICATED);
    assert_int_equal(a->admitted + b->admitted, 0);
    net_end(net);
}

static void
N50_a_certificate_for_clients_only_does_not_listen(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    const uint64_t two = 2;
    net_close(b);
    authority_issue(&net->authority, 2, 102, "clientAuth", &b->issued);
    net_open(b);
    net_follow(net, a, &two, 1);
    NET_UNTIL(net, mesh_trouble(a->mesh)->code == ST_UNAUTHENTICATED);
    assert_int_equal(a->admitted + b->admitted, 0);
    net_end(net);
}

/* ---- an old start ---- */

static void
an_old_start_is_refused_and_told_why(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    const uint64_t one = 1, two = 2;
    a->boot_min = 5;
    net_follow(net, b, &one, 1);
    NET_UNTIL(net, b->refusals > 0);
    assert_int_equal(b->refused_by, 1);
    assert_code(b->refusal.code, ST_FAILED_PRECONDITION);
    assert_int_equal(b->refusal.reason, ST_REASON_REFUSED);
    assert_string_equal(b->refusal.text, "boot 1 of member 2 is an old one");
    assert_int_equal(b->admitted + a->admitted, 0);
    assert_false(mesh_connected(b->mesh, 1));

    /* The other way: the one who dials does not take it. */
    net_follow(net, b, NULL, 0);
    unsigned before = b->refusals;
    net_follow(net, a, &two, 1);
    NET_UNTIL(net, b->refusals > before);
    assert_false(mesh_connected(a->mesh, 2));
    net_end(net);
}

static void
N53_a_start_that_is_not_on_disk_is_not_said(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0], *b = &net->members[1];
    const uint64_t one = 1, two = 2;
    b->mute = true;
    net_follow(net, b, &one, 1);
    NET_UNTIL(net, mesh_trouble(b->mesh)->code == ST_INTERNAL || a->admitted > 0);
    assert_string_equal(mesh_trouble(b->mesh)->text, "member 1: member 2 is mute");

    /* Nor in answer to another's. */
    net_follow(net, b, NULL, 0);
    net_follow(net, a, &two, 1);
    NET_UNTIL(net, b->admitted > 2 || a->admitted > 0); /* it dials again and again */
    assert_int_equal(a->admitted, 0);
    assert_false(mesh_connected(b->mesh, 1));

    b->mute = false;
    NET_UNTIL(net, mesh_connected(a->mesh, 2) && mesh_connected(b->mesh, 1));
    assert_true(b->announced > 0);
    net_end(net);
}

/* ---- the list of revoked certificates ---- */

static void
N53_a_new_list_closes_the_connections_of_whom_it_names(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    struct net_member *a = &net->members[0];
    struct st_err err = {0};
    struct cert list;
    const uint64_t serial = 102;
    net_connect(net);
    authority_list(&net->authority, 2, &serial, 1, &list);
    assert_ok(mesh_set_crl(a->mesh, list.der, list.len, &err));
    NET_UNTIL(net,
              !mesh_connected(a->mesh, 2) && !mesh_connected(net->members[1].mesh, 1));
    assert_true(mesh_connected(a->mesh, 3));
    assert_true(mesh_connected(net->members[2].mesh, 2));
    assert_int_equal(net_send(a, 2, heartbeat()), RAFT_NOCONNECTION);

    /* Both go on to dial, and find nobody. */
    struct cert other = list;
    for (unsigned i = 0; i < 2; i++) {
        authority_list(&net->authority, 3 + i, &serial, 1, &other);
        assert_ok(mesh_set_crl(a->mesh, other.der, other.len, &err));
        NET_UNTIL(net, mesh_trouble(a->mesh)->code == ST_UNAUTHENTICATED);
        assert_false(mesh_connected(a->mesh, 2));
    }
    net_end(net);
}

static void
N53_an_older_list_is_refused_and_takes_nothing_back(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct net_member *a = &net->members[0];
    struct st_err err = {0};
    struct cert list;
    const uint64_t serial = 102;
    authority_list(&net->authority, 5, &serial, 1, &list);
    assert_ok(mesh_set_crl(a->mesh, list.der, list.len, &err));
    for (uint64_t number = 0; number <= 5; number++) {
        authority_list(&net->authority, number, NULL, 0, &list);
        assert_code(mesh_set_crl(a->mesh, list.der, list.len, &err),
                    ST_FAILED_PRECONDITION);
    }
    const uint64_t two = 2;
    net_follow(net, a, &two, 1);
    NET_UNTIL(net, mesh_trouble(a->mesh)->code == ST_UNAUTHENTICATED);
    assert_int_equal(net->members[1].admitted, 0);

    authority_list(&net->authority, 6, NULL, 0, &list);
    assert_ok(mesh_set_crl(a->mesh, list.der, list.len, &err));
    NET_UNTIL(net, mesh_connected(a->mesh, 2));
    net_end(net);
}

static void
N52_a_list_of_another_authority_is_refused(void **state)
{
    (void)state;
    struct net *net = net_new(1);
    struct st_err err = {0};
    struct authority other, liar;
    struct cert list;
    authority_new(&other); /* of the same name */
    authority_list(&other, 9, NULL, 0, &list);
    assert_code(mesh_set_crl(net->members[0].mesh, list.der, list.len, &err),
                ST_INVALID_ARGUMENT);
    assert_string_equal(err.text, "the list is not of this authority");
    liar = net->authority;
    authority_list(&liar, 9, NULL, 0, &list);
    for (size_t i = 0; i < list.len; i++) {
        struct cert changed = list;
        changed.der[i] ^= 1;
        assert_code(mesh_set_crl(net->members[0].mesh, changed.der, changed.len, &err),
                    ST_INVALID_ARGUMENT);
        assert_code(mesh_set_crl(net->members[0].mesh, list.der, i, &err),
                    ST_INVALID_ARGUMENT);
    }
    assert_ok(mesh_set_crl(net->members[0].mesh, list.der, list.len, &err));
    net_end(net);
}

/* ---- the beginning and the end ---- */

static enum st_code
open_with(struct net *net, const struct replica_credentials *credentials,
          const char *address, struct st_err *err)
{
    struct mesh *mesh;
    struct mesh_config config = {
        .loop = &net->loop, .id = 1, .address = address, .credentials = credentials};
    return mesh_open(&config, &mesh, err);
}

static void
N52_credentials_that_do_not_fit_together_are_refused(void **state)
{
    (void)state;
    struct net *net = net_new(1);
    struct st_err err = {0};
    struct authority other;
    struct issued second, foreign;
    struct cert foreign_list;
    struct net_member *a = &net->members[0];
    authority_new(&other);
    authority_issue(&net->authority, 2, 102, "serverAuth,clientAuth", &second);
    authority_issue(&other, 1, 101, "serverAuth,clientAuth", &foreign);
    authority_list(&other, 1, NULL, 0, &foreign_list);
    const struct issued mixed = {.cert = a->issued.cert, .key = second.key};
    const struct {
        const struct authority *authority;
        const struct issued *issued;
        const struct cert *list;
    } cases[] = {
        {&net->authority, &second, &net->list},
        {&net->authority, &mixed, &net->list},
        {&net->authority, &foreign, &net->list},
        {&other, &a->issued, &foreign_list},
        {&other, &foreign, &net->list},
        {&net->authority, &a->issued, &foreign_list},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct replica_credentials credentials =
            authority_credentials(cases[i].authority, cases[i].issued, cases[i].list);
        assert_code(open_with(net, &credentials, "127.0.0.9:7834", &err),
                    ST_INVALID_ARGUMENT);
    }
    net_end(net);
}

static void
an_address_in_use_is_unavailable(void **state)
{
    (void)state;
    struct net *net = net_new(1);
    struct st_err err = {0};
    struct net_member *a = &net->members[0];
    struct replica_credentials credentials =
        authority_credentials(&net->authority, &a->issued, &net->list);
    assert_code(open_with(net, &credentials, a->address, &err), ST_UNAVAILABLE);
    assert_code(open_with(net, &credentials, "192.0.2.1:7834", &err), ST_UNAVAILABLE);
    assert_code(open_with(net, &credentials, "127.0.0.1", &err), ST_INVALID_ARGUMENT);
    net_end(net);
}

static void
an_end_in_the_middle_of_everything_calls_everybody_back(void **state)
{
    (void)state;
    for (unsigned when = 0; when < 12; when++) {
        struct net *net = net_new(3);
        struct net_member *a = &net->members[0], *b = &net->members[1];
        struct raft_buffer data = snapshot_bytes(1, 2000000);
        struct raft_entry *entries = entries_new(3, 100000);
        unsigned begun = 0;
        net_connect(net);
        for (unsigned i = 0; i < 5; i++) {
            begun += net_send(a, 2, append(entries, 3)) == 0;
            begun += net_send(b, 1, heartbeat()) == 0;
            begun += send_snapshot(a, 2, &data) == 0;
            begun += send_snapshot(b, 3, &data) == 0;
        }
        for (unsigned i = 0; i < when; i++)
            uv_run(&net->loop, UV_RUN_ONCE);
        net_close(when % 2 ? a : b);
        net_close(when % 2 ? b : a);
        assert_int_equal(net->sent + net->failed, begun);
        if (when == 0)
            assert_int_not_equal(net->failed, 0);
        entries_free(entries, 3);
        free(data.base);
        net_end(net);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_small_message_arrives_as_it_was_sent),
        cmocka_unit_test(entries_arrive_in_one_batch),
        cmocka_unit_test(too_many_entries_are_cut_and_commit_nothing_of_the_rest),
        cmocka_unit_test(a_message_that_fits_no_frame_has_no_connection),
        cmocka_unit_test(notes_of_any_size_arrive),
        cmocka_unit_test(an_order_without_a_callback_keeps_nothing_of_its_request),
        cmocka_unit_test(heartbeats_overtake_a_snapshot),
        cmocka_unit_test(of_the_snapshots_that_wait_the_newest_is_sent),
        cmocka_unit_test(a_snapshot_that_is_too_large_has_no_connection),
        cmocka_unit_test(three_members_find_each_other_in_a_year_without_a_clock),
        cmocka_unit_test(who_joins_is_answered_over_his_connection),
        cmocka_unit_test(who_is_not_followed_any_more_is_let_go_of),
        cmocka_unit_test(a_member_that_starts_again_is_found),
        cmocka_unit_test(N54_a_member_at_another_ones_address_is_not_spoken_to),
        cmocka_unit_test(an_address_that_nobody_can_dial_does_no_harm),
        cmocka_unit_test(N50_a_listener_of_another_authority_is_not_spoken_to),
        cmocka_unit_test(N50_a_certificate_for_clients_only_does_not_listen),
        cmocka_unit_test(an_old_start_is_refused_and_told_why),
        cmocka_unit_test(N53_a_start_that_is_not_on_disk_is_not_said),
        cmocka_unit_test(N53_a_new_list_closes_the_connections_of_whom_it_names),
        cmocka_unit_test(N53_an_older_list_is_refused_and_takes_nothing_back),
        cmocka_unit_test(N52_a_list_of_another_authority_is_refused),
        cmocka_unit_test(N52_credentials_that_do_not_fit_together_are_refused),
        cmocka_unit_test(an_address_in_use_is_unavailable),
        cmocka_unit_test(an_end_in_the_middle_of_everything_calls_everybody_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

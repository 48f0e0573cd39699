#include "tests/raft/net.h"
#include "tests/cmocka.h"
#include "tests/patience.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An address of loopback that no other test on this machine uses now. */
static void
fresh_address(char out[REPLICA_ADDRESS_MAX])
{
    static unsigned count;
    unsigned pid = (unsigned)getpid();
    snprintf(out, REPLICA_ADDRESS_MAX, "127.%u.%u.%u:7834", 64 + (pid >> 8) % 128,
             pid & 0xff, 1 + count++ % 254);
}

/* ---- what a mesh calls ---- */

static enum st_code
on_announce(void *arg, struct st_err *err)
{
    struct net_member *member = arg;
    if (member->mute)
        return st_fail(err, ST_INTERNAL, "member %u is mute", (unsigned)member->id);
    member->announced++;
    return ST_OK;
}

static enum st_code
on_admit(void *arg, uint64_t from, const char *address, uint64_t boot,
         const uint8_t nonce[MESH_NONCE_LEN], struct st_err *why)
{
    struct net_member *member = arg;
    assert_true(from != member->id);
    assert_string_not_equal(address, "");
    assert_int_equal(nonce[0], from);
    if (boot < member->boot_min)
        return st_fail_for(why, ST_FAILED_PRECONDITION, ST_REASON_REFUSED,
                           "boot %u of member %u is an old one", (unsigned)boot,
                           (unsigned)from);
    member->admitted++;
    return ST_OK;
}

static void
on_refused(void *arg, uint64_t by, const struct st_err *why)
{
    struct net_member *member = arg;
    member->refusals++;
    member->refused_by = by;
    member->refusal = *why;
}

static void
message_free(struct raft_message *message)
{
    if (message->type == RAFT_IO_APPEND_ENTRIES && message->append_entries.entries) {
        raft_free(message->append_entries.entries[0].batch);
        raft_free(message->append_entries.entries);
    }
    if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
        raft_configuration_close(&message->install_snapshot.conf);
        raft_free(message->install_snapshot.data.base);
    }
}

static void
on_receive(void *arg, uint64_t from, struct raft_message *message)
{
    struct net_member *member = arg;
    assert_int_equal(message->server_id, from);
    assert_non_null(message->server_address);
    if (message->type == RAFT_IO_APPEND_ENTRIES && !message->append_entries.n_entries) {
        assert_null(message->append_entries.entries);
        member->heartbeats++;
        return;
    }
    assert_in_range(member->message_count, 0, NET_KEPT_MAX - 1);
    member->messages[member->message_count++] = *message;
}

static void
on_note(void *arg, uint64_t from, const void *bytes, size_t len)
{
    struct net_member *member = arg;
    (void)from;
    member->notes++;
    member->note_bytes = len;
    member->note_first = len ? *(const uint8_t *)bytes : 0;
}

static void
on_turned_away(void *arg, uint64_t count, const char *last)
{
    struct net_member *member = arg;
    member->turned_away += count;
    snprintf(member->turned_away_last, sizeof(member->turned_away_last), "%s", last);
}

static void
on_changed(void *arg)
{
    struct net_member *member = arg;
    member->changes++;
}

static void
on_closed(void *arg)
{
    struct net_member *member = arg;
    member->closed = true;
}

/* ---- members ---- */

void
net_open(struct net_member *member)
{
    net_open_as(member, &member->net->authority, &member->net->list);
}

void
net_open_as(struct net_member *member, const struct authority *authority,
            const struct cert *list)
{
    struct net *net = member->net;
    struct st_err err = {0};
    struct replica_credentials credentials =
        authority_credentials(authority, &member->issued, list);
    struct mesh_config config = {.loop = &net->loop,
                                 .id = member->id,
                                 .address = member->address,
                                 .credentials = &credentials,
                                 .boot = member->boot,
                                 .boot_nonce = {(uint8_t)member->id},
                                 .arg = member,
                                 .announce = on_announce,
                                 .admit = on_admit,
                                 .refused = on_refused,
                                 .receive = on_receive,
                                 .note = on_note,
                                 .turned_away = on_turned_away,
                                 .changed = on_changed};
    member->closed = false;
    assert_ok(mesh_open(&config, &member->mesh, &err));
}

void
net_close(struct net_member *member)
{
    if (!member->mesh)
        return;
    mesh_close(member->mesh, on_closed, member);
    NET_UNTIL(member->net, member->closed);
    mesh_free(member->mesh);
    member->mesh = NULL;
}

void
net_forget(struct net_member *member)
{
    for (unsigned i = 0; i < member->message_count; i++)
        message_free(&member->messages[i]);
    member->message_count = 0;
}

struct net *
net_new(unsigned count)
{
    struct net *net = calloc(1, sizeof(*net));
    assert_non_null(net);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&net->loop), 0);
    uv_timer_init(&net->loop, &net->timer);
    authority_new(&net->authority);
    authority_list(&net->authority, 1, NULL, 0, &net->list);
    net->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct net_member *member = &net->members[i];
        member->net = net;
        member->id = i + 1;
        member->boot = 1;
        fresh_address(member->address);
        authority_issue(&net->authority, i + 1, 100 + i + 1, "serverAuth,clientAuth",
                        &member->issued);
        net_open(member);
    }
    return net;
}

void
net_end(struct net *net)
{
    for (unsigned i = 0; i < net->count; i++) {
        net_close(&net->members[i]);
        net_forget(&net->members[i]);
    }
    uv_close((uv_handle_t *)&net->timer, NULL);
    uv_run(&net->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&net->loop), 0);
    free(net);
}

void
net_follow(struct net *net, struct net_member *member, const uint64_t *ids, size_t count)
{
    struct raft_configuration members;
    raft_configuration_init(&members);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(raft_configuration_add(&members, ids[i],
                                                net->members[ids[i] - 1].address,
                                                RAFT_VOTER),
                         0);
    mesh_follow(member->mesh, &members);
    raft_configuration_close(&members);
}

static bool
all_connected(const struct net *net)
{
    for (unsigned i = 0; i < net->count; i++)
        for (unsigned j = 0; j < net->count; j++)
            if (i != j && !mesh_connected(net->members[i].mesh, j + 1))
                return false;
    return true;
}

void
net_connect(struct net *net)
{
    static const uint64_t ids[] = {1, 2, 3};
    for (unsigned i = 0; i < net->count; i++)
        net_follow(net, &net->members[i], ids, net->count);
    NET_UNTIL(net, all_connected(net));
}

/* ---- time ---- */

static void
on_late(uv_timer_t *timer)
{
    struct net *net = timer->data;
    net->late = true;
}

void
net_begin(struct net *net)
{
    net->late = false;
    net->timer.data = net;
    uv_update_time(&net->loop);
    uv_timer_start(&net->timer, on_late, (uint64_t)patience_ms(60 * 1000), 0);
}

struct net_work {
    pthread_t thread;
    void (*work)(void *arg);
    void *arg;
    uv_async_t end;
    atomic_bool ended;
};

static void *
work_on_thread(void *arg)
{
    struct net_work *work = arg;
    work->work(work->arg);
    atomic_store(&work->ended, true);
    uv_async_send(&work->end);
    return NULL;
}

static void
on_end(uv_async_t *end)
{
    (void)end;
}

struct net_work *
net_work_begin(struct net *net, void (*work)(void *arg), void *arg)
{
    struct net_work *begun = calloc(1, sizeof(*begun));
    assert_non_null(begun);
    begun->work = work;
    begun->arg = arg;
    assert_int_equal(uv_async_init(&net->loop, &begun->end, on_end), 0);
    assert_int_equal(pthread_create(&begun->thread, NULL, work_on_thread, begun), 0);
    return begun;
}

static void
work_free(uv_handle_t *end)
{
    free(end->data);
}

void
net_work_end(struct net *net, struct net_work *work)
{
    NET_UNTIL(net, atomic_load(&work->ended));
    pthread_join(work->thread, NULL);
    work->end.data = work;
    uv_close((uv_handle_t *)&work->end, work_free);
    uv_run(&net->loop, UV_RUN_NOWAIT);
}

void
net_meanwhile(struct net *net, void (*work)(void *arg), void *arg)
{
    net_work_end(net, net_work_begin(net, work, arg));
}

/* ---- sending ---- */

struct sending {
    struct raft_io_send req;
    struct net *net;
};

static void
on_sent(struct raft_io_send *req, int status)
{
    struct sending *sending = req->data;
    sending->net->status = status;
    if (status)
        sending->net->failed++;
    else
        sending->net->sent++;
    free(sending);
}

int
net_send(struct net_member *from, uint64_t to, struct raft_message message)
{
    struct sending *sending = calloc(1, sizeof(*sending));
    struct link link = mesh_link(from->mesh);
    assert_non_null(sending);
    unsigned before = from->net->sent + from->net->failed;
    sending->net = from->net;
    sending->req = (struct raft_io_send){.data = sending, .cb = on_sent};
    message.server_id = to;
    message.server_address = "elsewhere";
    int status = link.send(link.self, &sending->req, &message);
    if (status)
        free(sending);
    assert_int_equal(from->net->sent + from->net->failed, before);
    return status;
}

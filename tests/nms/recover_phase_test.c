/* recover: a folder that holds everything goes on alone, also where its master was on its
 * way out, or in, when the others were lost. */
#include "nms/ca_check.h"
#include "nms/init.h"
#include "nms/issue.h"
#include "nms/nms.h"
#include "nms/offline.h"
#include "nms/recover.h"
#include "proto/file.h"
#include "tests/cmocka.h"
#include "tests/folder.h"
#include "tests/nms/second.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[FOLDER_MAX];
static struct state *records; /* while `replica` is open */
static struct replica *replica;

/* Of this process alone; nobody listens there. */
static struct st_address
address_of(unsigned n)
{
    const unsigned pid = (unsigned)getpid();
    return (struct st_address){
        .bytes = {127, (uint8_t)(91 + n), (uint8_t)(pid >> 8), (uint8_t)pid},
        .len = 4,
    };
}

static void
open_group(void)
{
    struct st_err err = {0};
    assert_ok(state_new(&records, &err));
    const struct replica_config config = {.dir = folder,
                                          .id = 1,
                                          .address = "127.0.0.1:7834",
                                          .machine = state_machine(records)};
    assert_ok(replica_open(&config, &replica, &err));
}

static void
close_group(void)
{
    replica_close(replica);
    state_free(records);
}

static void
second_comes_to(State__Phase from, State__Phase to)
{
    State__MemberPhase member_phase = STATE__MEMBER_PHASE__INIT;
    member_phase.id = 2;
    member_phase.from = from;
    member_phase.to = to;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_MEMBER_PHASE;
    command.member_phase = &member_phase;
    second_propose(replica, &command);
}

static void
remove_first(void)
{
    State__RemoveMaster remove_master = STATE__REMOVE_MASTER__INIT;
    remove_master.id = 1;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_REMOVE_MASTER;
    command.remove_master = &remove_master;
    second_propose(replica, &command);
}

/* A folder of master 1; the second one is catching up. */
static int
set_up(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct cert masters;
    if (folder_make(folder, "phas"))
        return 1;
    const struct init_config config = {
        .dir = folder, .name = "town", .address = address_of(1)};
    assert_ok(init_cluster(&config, &masters, &err));
    open_group();
    const struct st_address there = address_of(2);
    second_add(replica, &there);
    second_comes_to(STATE__PHASE__JOINING, STATE__PHASE__CATCHING_UP);
    close_group();
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static struct store *
open_store(void)
{
    const struct store_config config = {.dir = folder};
    struct store *store;
    struct st_err err = {0};
    assert_ok(store_open(&config, &store, &err));
    return store;
}

/* What a batch borrows until it is written. */
static uint8_t entries[4096];
static size_t entries_len;

static enum st_code
append(void *arg, const struct store_entry *entry, struct st_err *err)
{
    (void)err;
    assert_in_range(entry->len, 0, sizeof(entries) - entries_len);
    uint8_t *bytes = memcpy(entries + entries_len, entry->bytes, entry->len);
    store_append(arg, entry->index, entry->term, entry->type, bytes, entry->len);
    entries_len += entry->len;
    return ST_OK;
}

/* As a power cut leaves it: the removal is in the log, and no record knows of it. */
static void
remove_first_unapplied(void)
{
    AUTO(st_freep) uint8_t *before = NULL;
    char path[64];
    size_t len;
    struct store_head old, new;
    struct st_err err = {0};
    struct store_batch *log = store_batch_new();
    assert_non_null(log);
    snprintf(path, sizeof(path), "%s/store.mdb", folder);
    struct store *store = open_store();
    assert_ok(store_head(store, &old, &err));
    store_close(store);
    assert_ok(file_read(path, 16 << 20, &before, &len, &err));
    open_group();
    remove_first();
    close_group();
    store = open_store();
    assert_ok(store_head(store, &new, &err));
    store_put_hard(log, new.term, new.vote);
    entries_len = 0;
    assert_ok(store_each_entry(store, old.last + 1, new.last, append, log, &err));
    store_close(store);
    assert_ok(file_write(path, 0600, before, len, &err));
    store = open_store();
    assert_ok(store_write(store, log, &err));
    store_close(store);
}

/* As the authority of the records issues it. */
static void
issue(const State__Cluster *cluster, uint64_t id, struct issued *out)
{
    AUTO(ca_wipe) struct ca ca = {0};
    struct st_err err = {0};
    assert_ok(issue_ca(cluster, &ca, &err));
    assert_ok(ca_issue_member(&ca, id, issue_serial(id), &out->cert, &out->key, &err));
}

/* The second one's copy of it all. */
static void
be_second(void)
{
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    AUTO(issued_wipe) struct issued issued = {0};
    OFFLINE there = {0};
    struct st_err err = {0};
    struct store_batch *batch = store_batch_new();
    assert_non_null(batch);
    assert_ok(offline_open(folder, &there, &err));
    assert_ok(state_cluster(there.state, &cluster, &err));
    issue(cluster, 2, &issued);
    there.self.id = 2;
    there.self.address = address_of(2);
    there.self.cert = issued.cert;
    assert_ok(secret_set(&there.self.key, issued.key.bytes, issued.key.len, &err));
    assert_ok(self_write(folder, &there.self, &err));
    store_put_member(batch, 2);
    assert_ok(store_write(there.store, batch, &err));
}

static bool
is_revoked(const State__Cluster *cluster, uint64_t id)
{
    AUTO(issued_wipe) struct issued issued = {0};
    issue(cluster, id, &issued);
    const struct ca_given given = {
        .ca = cluster->ca_cert.data,
        .ca_len = cluster->ca_cert.len,
        .crl = cluster->crl.data,
        .crl_len = cluster->crl.len,
        .cert = issued.cert.der,
        .cert_len = issued.cert.len,
    };
    return ca_is_revoked(&given);
}

static struct recover_view
look(State__Phase phase)
{
    struct recover_view view;
    struct st_err err = {0};
    assert_ok(recover_look(folder, &view, &err));
    assert_int_equal(members_find(&view.members, view.id)->phase, phase);
    return view;
}

/* It votes, alone, and its certificate is good; that of the other one is not. */
static void
goes_on_alone(uint64_t id, State__Phase phase)
{
    OFFLINE after = {0};
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    struct st_err err = {0};
    const struct recover_view view = look(phase);
    assert_int_equal(view.id, id);
    assert_ok(recover_alone(folder, &view, 0, &err));
    assert_false(look(STATE__PHASE__VOTER).begun);
    assert_ok(offline_open(folder, &after, &err));
    assert_int_equal(after.members.count, 1);
    assert_ok(state_cluster(after.state, &cluster, &err));
    assert_false(is_revoked(cluster, id));
    assert_true(is_revoked(cluster, 3 - id));
    offline_close(&after);
    const struct nms_config config = {.dir = folder};
    struct nms *nms;
    rpc_init(NULL);
    assert_ok(nms_start(&config, &nms, &err));
    nms_stop(nms);
    rpc_shutdown();
}

static void
N43_a_folder_whose_log_ends_with_its_own_removal_goes_on_alone(void **state)
{
    (void)state;
    open_group();
    second_comes_to(STATE__PHASE__CATCHING_UP, STATE__PHASE__VOTER);
    close_group();
    remove_first_unapplied();
    goes_on_alone(1, STATE__PHASE__VOTER);
}

static void
N43_a_folder_that_was_being_removed_goes_on_alone_and_that_is_said(void **state)
{
    (void)state;
    open_group();
    second_comes_to(STATE__PHASE__CATCHING_UP, STATE__PHASE__VOTER);
    remove_first();
    close_group();
    const struct recover_view view = look(STATE__PHASE__LEAVING);
    assert_non_null(strstr(recover_doubt(&view), "was being removed"));
    goes_on_alone(1, STATE__PHASE__LEAVING);
    const struct recover_view after = look(STATE__PHASE__VOTER);
    assert_null(recover_doubt(&after));
}

static void
N43_a_folder_that_was_catching_up_goes_on_alone_and_that_is_said(void **state)
{
    (void)state;
    be_second();
    const struct recover_view view = look(STATE__PHASE__CATCHING_UP);
    assert_non_null(strstr(recover_doubt(&view), "had no vote yet"));
    goes_on_alone(2, STATE__PHASE__CATCHING_UP);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(N43_a_folder_whose_log_ends_with_its_own_removal_goes_on_alone),
        TEST(N43_a_folder_that_was_being_removed_goes_on_alone_and_that_is_said),
        TEST(N43_a_folder_that_was_catching_up_goes_on_alone_and_that_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

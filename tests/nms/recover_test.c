/* recover: a folder goes on alone, but not where another master is there. */
#include "nms/ca_check.h"
#include "nms/init.h"
#include "nms/issue.h"
#include "nms/nms.h"
#include "nms/offline.h"
#include "nms/recover.h"
#include "proto/rpc_server.h"
#include "tests/cmocka.h"
#include "tests/folder.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char folder[FOLDER_MAX];

enum {
    DAY_S = 86400,
    YEAR_S = 365 * DAY_S,
};

static int64_t ahead_s; /* this machine's clock */

int64_t __real_nms_now(void);
int64_t __wrap_nms_now(void);
int64_t
__wrap_nms_now(void)
{
    return __real_nms_now() + ahead_s;
}

/* As `--today` has it. */
static int64_t
midnight(int64_t at)
{
    return at - at % DAY_S;
}

/* Of this process alone. */
static struct st_address
address_of(unsigned n)
{
    const unsigned pid = (unsigned)getpid();
    return (struct st_address){
        .bytes = {127, (uint8_t)(81 + n), (uint8_t)(pid >> 8), (uint8_t)pid},
        .len = 4,
    };
}

static int
set_up(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct cert masters;
    ahead_s = 0;
    if (folder_make(folder, "reco"))
        return 1;
    const struct init_config config = {
        .dir = folder, .name = "town", .address = address_of(1)};
    assert_ok(init_cluster(&config, &masters, &err));
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

/* As if there had been a second one. */
static void
add_second(struct recover_view *view)
{
    view->members.at[view->members.count++] =
        (struct member){.id = 2, .address = address_of(2)};
}

static int
listen_on(const struct st_address *address, uint16_t port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(&name.sin_addr, address->bytes, sizeof(name.sin_addr));
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void
what_a_folder_holds_is_seen_and_stays(void **state)
{
    (void)state;
    struct recover_view first, second;
    struct st_err err = {0};
    assert_ok(recover_look(folder, &first, &err));
    assert_int_equal(first.id, 1);
    assert_string_equal(first.cluster, "town");
    assert_int_equal(first.nodes, 0);
    assert_int_equal(first.members.count, 1);
    assert_true(first.last > 1 && first.term > 0);
    assert_in_range(first.changed_at, (uint64_t)nms_now() - 60, (uint64_t)nms_now());
    assert_ok(recover_look(folder, &second, &err));
    assert_int_equal(second.last, first.last);
    assert_int_equal(second.term, first.term);
}

static void
N43_nobody_goes_on_alone_while_another_master_answers(void **state)
{
    (void)state;
    const struct st_address other = address_of(2);
    struct recover_view view, after;
    struct st_err err = {0};
    assert_ok(recover_look(folder, &view, &err));
    add_second(&view);
    const int fd = listen_on(&other, PORT_CONSENSUS);
    assert_code(recover_alone(folder, &view, 0, &err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "master 2 answers at 127.83."));
    assert_ok(recover_look(folder, &after, &err));
    assert_int_equal(after.last, view.last);
    close(fd);
    assert_ok(recover_alone(folder, &view, 0, &err));
    assert_ok(recover_look(folder, &after, &err));
    assert_true(after.last > view.last && after.term > view.term);
}

/* Whether the certificate that the authority of the records issues for this member is on
 * their list. */
static bool
is_revoked(const State__Cluster *cluster, uint64_t id)
{
    AUTO(ca_wipe) struct ca ca = {0};
    AUTO(issued_wipe) struct issued issued = {0};
    struct st_err err = {0};
    assert_ok(issue_ca(cluster, &ca, &err));
    assert_ok(
        ca_issue_member(&ca, id, issue_serial(id), &issued.cert, &issued.key, &err));
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

/* The folder may be an old one: others may have come to the group that lost it. */
static void
N53_who_came_after_the_end_of_the_folder_is_revoked_and_nobody_has_its_id(void **state)
{
    (void)state;
    struct recover_view view;
    struct st_err err = {0};
    uint64_t next = 2;
    for (int times = 0; times < 2; times++) {
        OFFLINE records = {0};
        AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
        const uint64_t before = next;
        assert_ok(recover_look(folder, &view, &err));
        assert_ok(recover_alone(folder, &view, 0, &err));
        assert_ok(offline_open(folder, &records, &err));
        assert_ok(state_cluster(records.state, &cluster, &err));
        next = state_next_member(cluster);
        assert_true(next >= (uint64_t)nms_now() - 60);
        assert_true(is_revoked(cluster, before));
        assert_true(is_revoked(cluster, before + 63));
        assert_false(is_revoked(cluster, 1));
        assert_false(is_revoked(cluster, next));
    }
}

/* The others are heard as soon as it runs, before its records are. */
static void
N53_the_list_with_all_others_is_there_before_anybody_is_heard(void **state)
{
    (void)state;
    struct recover_view view;
    struct st_err err = {0};
    OFFLINE records = {0};
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    assert_ok(recover_look(folder, &view, &err));
    assert_ok(recover_alone(folder, &view, 0, &err));
    assert_ok(offline_open(folder, &records, &err));
    assert_ok(state_cluster(records.state, &cluster, &err));
    assert_true(is_revoked(cluster, 2));
    assert_int_equal(records.self.crl.len, cluster->crl.len);
    assert_memory_equal(records.self.crl.der, cluster->crl.data, cluster->crl.len);
}

/* Whether a master starts in the folder. */
static enum st_code
run(struct st_err *err)
{
    const struct nms_config config = {.dir = folder};
    struct nms *nms;
    rpc_init(NULL);
    enum st_code code = nms_start(&config, &nms, err);
    if (!code)
        nms_stop(nms);
    rpc_shutdown();
    return code;
}

static void
N43_a_folder_in_which_it_was_cut_off_is_not_run_until_it_is_finished(void **state)
{
    (void)state;
    struct recover_view view;
    struct self self;
    struct st_err err = {0};
    assert_ok(self_read(folder, &self, &err));
    self.recovering = true;
    assert_ok(self_write(folder, &self, &err));
    secret_wipe(&self.key);
    assert_code(run(&err), ST_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "recover --data /tmp/"));
    assert_ok(recover_look(folder, &view, &err));
    assert_true(view.begun);
    assert_ok(recover_alone(folder, &view, 0, &err));
    assert_ok(recover_look(folder, &view, &err));
    assert_false(view.begun);
    assert_ok(run(&err));
}

static void
a_folder_that_does_not_know_its_own_master_is_not_gone_on_with(void **state)
{
    (void)state;
    struct recover_view view;
    struct st_err err = {0};
    assert_ok(recover_look(folder, &view, &err));
    view.members.count = 0;
    assert_code(recover_alone(folder, &view, 0, &err), ST_FAILED_PRECONDITION);
    assert_ok(run(&err));
}

static void
a_folder_that_is_none_is_said_to_be_none(void **state)
{
    (void)state;
    struct recover_view view;
    struct st_err err = {0};
    char path[64];
    snprintf(path, sizeof(path), "%s/store.mdb", folder);
    assert_int_equal(unlink(path), 0);
    assert_code(recover_look(folder, &view, &err), ST_NOT_FOUND);
    assert_code(recover_look("/nowhere", &view, &err), ST_NOT_FOUND);
}

/* What the next master of the folder is called. */
static uint64_t
next_member(void)
{
    OFFLINE records = {0};
    AUTO(state_cluster_freep) State__Cluster *cluster = NULL;
    struct st_err err = {0};
    assert_ok(offline_open(folder, &records, &err));
    assert_ok(state_cluster(records.state, &cluster, &err));
    return state_next_member(cluster);
}

static void
is_refused(int64_t today, const char *sentence)
{
    struct recover_view view;
    struct st_err err = {0};
    assert_ok(recover_look(folder, &view, &err));
    const uint64_t last = view.last;
    assert_code(recover_alone(folder, &view, today, &err), ST_FAILED_PRECONDITION);
    if (!strstr(err.text, sentence))
        fail_msg("%s", err.text);
    assert_ok(recover_look(folder, &view, &err));
    assert_false(view.begun);
    assert_int_equal(view.last, last);
}

static void
goes_on(int64_t today)
{
    struct recover_view view;
    struct st_err err = {0};
    assert_ok(recover_look(folder, &view, &err));
    assert_ok(recover_alone(folder, &view, today, &err));
}

/* From it are the ids and serial numbers that nobody has yet. */
static void
N43_a_clock_that_is_behind_the_folder_is_to_be_set_first(void **state)
{
    (void)state;
    const int64_t now = nms_now();
    ahead_s = -now; /* 1970 */
    is_refused(0, "clock of this machine says 1970-01-01T00:0");
    is_refused(0, "the last change in this folder is of 20");
    is_refused(midnight(now), "1970-01-01");
    ahead_s = -2 * DAY_S;
    is_refused(midnight(now), "is not the date of this machine's clock");
    ahead_s = 0;
    goes_on(0);
}

/* The master that made the last change was. */
static void
N43_where_a_clock_was_ahead_a_person_says_what_day_it_is(void **state)
{
    (void)state;
    const int64_t now = nms_now();
    ahead_s = YEAR_S;
    goes_on(0);
    ahead_s = 0;
    is_refused(0, "--today");
    is_refused(midnight(now + YEAR_S), "is not the date of this machine's clock");
    is_refused(midnight(now - 2 * DAY_S), "is not the date of this machine's clock");
    goes_on(midnight(now - DAY_S)); /* it is another day elsewhere */
}

/* Its ids are later than any time, then. */
static void
N53_a_folder_that_was_ahead_gives_out_no_id_twice_when_it_goes_on_twice(void **state)
{
    (void)state;
    char copy[FOLDER_MAX + 8], command[3 * FOLDER_MAX];
    const int64_t today = midnight(nms_now());
    ahead_s = YEAR_S;
    goes_on(0);
    const uint64_t next = next_member();
    ahead_s = 0;
    snprintf(copy, sizeof(copy), "%s.copy", folder);
    snprintf(command, sizeof(command), "cp -r %s %s", folder, copy);
    assert_int_equal(system(command), 0);
    goes_on(today);
    const uint64_t first = next_member();
    assert_true(first > next);
    assert_int_equal(folder_remove(folder), 0);
    assert_int_equal(rename(copy, folder), 0);
    ahead_s = 3600;
    goes_on(today);
    assert_true(next_member() >= first + 3600);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_a_folder_holds_is_seen_and_stays),
        TEST(N43_nobody_goes_on_alone_while_another_master_answers),
        TEST(N43_a_folder_in_which_it_was_cut_off_is_not_run_until_it_is_finished),
        TEST(N43_a_clock_that_is_behind_the_folder_is_to_be_set_first),
        TEST(N43_where_a_clock_was_ahead_a_person_says_what_day_it_is),
        TEST(N53_a_folder_that_was_ahead_gives_out_no_id_twice_when_it_goes_on_twice),
        TEST(N53_who_came_after_the_end_of_the_folder_is_revoked_and_nobody_has_its_id),
        TEST(N53_the_list_with_all_others_is_there_before_anybody_is_heard),
        TEST(a_folder_that_does_not_know_its_own_master_is_not_gone_on_with),
        TEST(a_folder_that_is_none_is_said_to_be_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

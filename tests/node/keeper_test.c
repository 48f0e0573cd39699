/* The master of this machine: made once, run before and beside the node, started again
 * when it ends, stopped with the node. */
#include "node/masters.h"
#include "node/run.h"
#include "node/stop.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/folder.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[FOLDER_MAX];

static void
path_of(const char *name, char out[64])
{
    snprintf(out, 64, "%s/%.30s", folder, name);
}

static int
set_up(void **state)
{
    (void)state;
    char esp[64];
    if (folder_make(folder, "keep"))
        return 1;
    path_of("esp/EFI", esp);
    return file_make_folder(esp, NULL);
}

static int
tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

/* A program in the place of smalltown-nms, which tells in the file "said" how it was
 * called; $D is the test's folder. */
static void
program_put(const char *script)
{
    char path[64], text[1024];
    struct st_err err = {0};
    path_of("smalltown-nms", path);
    int n = snprintf(text, sizeof(text),
                     "#!/bin/sh\nD=%s\necho $$ > $D/pid\necho \"$*\" >> $D/said\n%s\n",
                     folder, script);
    assert_ok(file_write(path, 0700, text, (size_t)n, &err));
}

static bool
holds(const char *name, const char *text)
{
    char path[64];
    AUTO(st_freep) uint8_t *all = NULL;
    size_t len;
    path_of(name, path);
    return !file_read(path, FILE_MAX_LEN, &all, &len, NULL) &&
           strstr((const char *)all, text);
}

static bool
said(const char *text)
{
    return holds("said", text);
}

static void
wait_until_it_holds(const char *name, const char *text)
{
    for (int i = 0; !holds(name, text); i++) {
        assert_true(i < 3000);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

static int
count_runs(void)
{
    char path[64];
    AUTO(st_freep) uint8_t *all = NULL;
    size_t len;
    int count = 0;
    path_of("said", path);
    if (file_read(path, FILE_MAX_LEN, &all, &len, NULL))
        return 0;
    for (const char *at = (const char *)all; (at = strstr(at, "run --data")); at++)
        count++;
    return count;
}

static void
wait_for_runs(int count)
{
    for (int i = 0; count_runs() < count; i++) {
        assert_true(i < 3000);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

static enum st_code
live(struct node *node, const char *program, const char *esp, bool allowed,
     struct st_err *err)
{
    char data[64];
    const char *certs[] = {"one.pem", "two.pem"};
    path_of("data", data);
    const struct keeper_config config = {.program = program,
                                         .data = data,
                                         .address = "127.0.0.1",
                                         .esp = esp,
                                         .retry_first_ms = 20,
                                         .retry_max_ms = 50};
    const struct bootstrap bootstrap = {.program = program,
                                        .data = data,
                                        .name = "town",
                                        .address = "127.0.0.1",
                                        .admin_certs = certs,
                                        .admin_cert_count = 2};
    enum st_code code;
    if ((code = keeper_start(&config, &node->keeper, err)))
        return code;
    stop_also(keeper_fd(node->keeper));
    if (!(code = stop_init(err)))
        code = run_node(node, esp, allowed ? &bootstrap : NULL, err);
    stop_leaving();
    keeper_end(node->keeper);
    return code;
}

static _Noreturn void
child(bool allowed)
{
    char program[64], esp[64];
    struct st_err err = {0};
    path_of("smalltown-nms", program);
    path_of("esp", esp);
    struct node node = {NODE_DEFAULTS, .tcti = "none", .address = {{127, 0, 0, 1}, 4}};
    node.retry_first_ms = 20;
    node.retry_max_ms = 50;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    enum st_code code = live(&node, program, esp, allowed, &err);
    if (code)
        fprintf(stderr, "failed: %s\n", err.text);
    _exit(code ? 1 : 0);
}

static pid_t
start(bool allowed)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(allowed);
    return pid;
}

/* What it says goes into the file "log". */
static pid_t
start_to_be_heard(void)
{
    char path[64];
    path_of("log", path);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!freopen(path, "w", stderr))
            _exit(2);
        child(true);
    }
    return pid;
}

static int
end(pid_t pid, int signal)
{
    int status;
    if (signal)
        kill(pid, signal);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define MAKES_A_CLUSTER                                                                  \
    "if [ $1 = init ]; then mkdir -p $D/data; : > $D/data/member.pb\n"                   \
    ": > $D/data/masters.pem; exit 0; fi\n"

static void
a_new_master_is_made_once_and_run(void **state)
{
    (void)state;
    program_put(MAKES_A_CLUSTER "exec sleep 1000");
    for (int boot = 1; boot <= 2; boot++) {
        pid_t pid = start(true);
        wait_for_runs(boot);
        assert_int_equal(end(pid, SIGTERM), 0);
    }
    char expected[320];
    snprintf(expected, sizeof(expected),
             "init --data %s/data --name town --address 127.0.0.1 --admin-cert one.pem "
             "--admin-cert two.pem\nrun --data %s/data --address 127.0.0.1\n"
             "run --data %s/data --address 127.0.0.1\n",
             folder, folder, folder);
    assert_true(said(expected)); /* init once, run twice */
}

static void
a_master_that_ends_is_started_again(void **state)
{
    (void)state;
    program_put(MAKES_A_CLUSTER "exit 7");
    pid_t pid = start(true);
    wait_for_runs(3);
    assert_int_equal(end(pid, SIGTERM), 0);
}

static void
a_master_whose_folder_is_refused_is_not_started_again(void **state)
{
    (void)state;
    program_put(MAKES_A_CLUSTER "exit 4");
    pid_t pid = start_to_be_heard();
    wait_until_it_holds("log", "is not started again");
    nanosleep(&(struct timespec){.tv_nsec = 500000000},
              NULL); /* ten times the longest wait */
    assert_int_equal(count_runs(), 1);
    assert_int_equal(end(pid, SIGTERM), 0);
}

/* Not as a zombie, which somebody else has to reap who may be in no hurry. */
static bool
master_lives(void)
{
    char path[64], stat[512] = "";
    AUTO(st_freep) uint8_t *text = NULL;
    size_t len;
    path_of("pid", path);
    assert_code(file_read(path, 64, &text, &len, NULL), ST_OK);
    snprintf(path, sizeof(path), "/proc/%d/stat", atoi((const char *)text));
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const bool read = fgets(stat, sizeof(stat), file) != NULL;
    fclose(file);
    const char *name_end = strrchr(stat, ')');
    return read && name_end && name_end[1] == ' ' && name_end[2] != 'Z';
}

static void
the_master_ends_with_the_node(void **state)
{
    (void)state;
    const int signals[] = {SIGTERM, SIGINT, SIGKILL};
    program_put(MAKES_A_CLUSTER "exec sleep 1000");
    for (int i = 0; i < 3; i++) {
        pid_t pid = start(true);
        wait_for_runs(i + 1);
        assert_true(master_lives());
        (void)end(pid, signals[i]);
        for (int wait = 0; master_lives(); wait++) {
            assert_true(wait < 3000);
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
    }
}

static void
a_master_that_ignores_SIGTERM_is_killed(void **state)
{
    (void)state;
    program_put(MAKES_A_CLUSTER
                "trap '' TERM\necho deaf >> $D/said\nwhile :; do sleep 0.1; done");
    pid_t pid = start(true);
    wait_until_it_holds("said", "deaf");
    assert_int_equal(end(pid, SIGTERM), 0);
    assert_false(master_lives());
}

static void
an_init_that_fails_makes_no_master(void **state)
{
    (void)state;
    program_put("exit 3");
    assert_int_equal(end(start(true), 0), 1);
    assert_int_equal(count_runs(), 0);
}

static void
nothing_is_bootstrapped_unasked(void **state)
{
    (void)state;
    program_put(MAKES_A_CLUSTER);
    assert_int_equal(end(start(false), 0), 1);
    assert_false(said("init"));
}

static void
nothing_is_bootstrapped_over_what_is_there(void **state)
{
    (void)state;
    char path[64];
    struct st_err err = {0};
    program_put(MAKES_A_CLUSTER);
    path_of("esp/EFI/smalltown", path);
    assert_ok(file_make_folder(path, &err));
    const char *files[] = {"sealed", "pending", "identity", "enrolment.pb"};
    for (int i = 0; i < 4; i++) {
        char file[96];
        snprintf(file, sizeof(file), "%s/%s", path, files[i]);
        assert_ok(file_write(file, 0600, "damaged", 7, &err));
        assert_int_equal(end(start(true), 0), 1);
        assert_int_equal(unlink(file), 0);
    }
    assert_false(said("init"));
}

/* Of a cluster whose masters are there. */
static void
enrolment_put(const char *const *masters)
{
    char path[64];
    struct secret seed;
    uint8_t public_key[ED25519_PUBLIC_LEN];
    struct st_err err = {0};
    NODE_CONFIG config = {.node_id = "smalltown-0123456789abcdef0123456789abcdef"};
    assert_ok(key_generate(&seed, public_key, &err));
    assert_ok(cert_self_sign(&seed, "smalltown-master", &config.masters, &err));
    secret_wipe(&seed);
    for (; *masters; masters++)
        assert_ok(
            address_parse(*masters, &config.addresses[config.address_count++], &err));
    path_of("esp/EFI/smalltown", path);
    assert_ok(file_make_folder(path, &err));
    path_of("esp/EFI/smalltown/enrolment.pb", path);
    assert_ok(config_write(path, &config, &err));
}

/* In the master's folder. */
static void
data_put(const char *name)
{
    char path[64];
    struct st_err err = {0};
    path_of("data", path);
    assert_ok(file_make_folder(path, &err));
    snprintf(path, sizeof(path), "%s/data/%.20s", folder, name);
    assert_ok(file_write(path, 0600, "", 0, &err));
}

static void
a_master_runs_though_its_node_is_refused(void **state)
{
    (void)state;
    char path[64];
    struct st_err err = {0};
    program_put("exec sleep 1000");
    data_put("member.pb");
    path_of("esp/EFI/smalltown", path);
    assert_ok(file_make_folder(path, &err));
    path_of("esp/EFI/smalltown/sealed", path);
    assert_ok(file_write(path, 0600, "damaged", 7, &err));
    pid_t pid = start(false);
    wait_for_runs(1);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    assert_int_equal(kill(pid, 0), 0); /* tries again, and its master lives */
    assert_true(master_lives());
    assert_int_equal(count_runs(), 1);
    assert_int_equal(end(pid, SIGTERM), 0);
    assert_false(master_lives());
}

/* Its folder may be one that nobody reaches: the enrolment is where a person can say
 * where the others are, and each start knows what was said last. */
static void
a_master_is_told_where_the_enrolment_says_that_the_masters_are(void **state)
{
    (void)state;
    struct st_err err = {0};
    NODE_CONFIG before = {0}, after = {0};
    struct st_address now = {{192, 0, 2, 9}, 4};
    char esp[64], expected[256];
    const char *const masters[] = {"192.0.2.7", "0.0.0.0", "224.0.0.1", "2001:db8::1",
                                   NULL};
    program_put("exec sleep 1000");
    data_put("member.pb");
    enrolment_put(masters);
    pid_t pid = start(false);
    wait_for_runs(1);
    assert_int_equal(end(pid, SIGTERM), 0);
    path_of("esp", esp);
    assert_ok(masters_point(esp, &now, 1, &before, &after, &err));
    pid = start(false);
    wait_for_runs(2);
    assert_int_equal(end(pid, SIGTERM), 0);
    snprintf(expected, sizeof(expected),
             "run --data %s/data --address 127.0.0.1 --master 192.0.2.7 --master "
             "2001:db8::1\nrun --data %s/data --address 127.0.0.1 --master 192.0.2.9\n",
             folder, folder);
    assert_true(said(expected));
}

static void
a_master_runs_though_its_enrolment_is_damaged(void **state)
{
    (void)state;
    char path[64], expected[128];
    struct st_err err = {0};
    program_put("exec sleep 1000");
    data_put("member.pb");
    path_of("esp/EFI/smalltown", path);
    assert_ok(file_make_folder(path, &err));
    path_of("esp/EFI/smalltown/enrolment.pb", path);
    assert_ok(file_write(path, 0600, "damaged", 7, &err));
    pid_t pid = start(false);
    wait_for_runs(1);
    assert_int_equal(end(pid, SIGTERM), 0);
    snprintf(expected, sizeof(expected), "run --data %s/data --address 127.0.0.1\n",
             folder);
    assert_true(said(expected));
}

static void
an_init_that_was_interrupted_is_finished_before_the_master_runs(void **state)
{
    (void)state;
    char expected[128];
    program_put(MAKES_A_CLUSTER "exec sleep 1000");
    data_put("member.pb");
    pid_t pid = start(true);
    wait_for_runs(1);
    assert_int_equal(end(pid, SIGTERM), 0);
    snprintf(expected, sizeof(expected),
             "--admin-cert two.pem\nrun --data %s/data --address 127.0.0.1\n", folder);
    assert_true(said(expected));
    assert_int_equal(count_runs(), 1);
}

/* The one child that the daemon has. */
static pid_t
keeper_of(pid_t pid)
{
    char path[64];
    AUTO(st_freep) char *line = NULL;
    size_t size = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(getline(&line, &size, file) > 0);
    fclose(file);
    return (pid_t)atoi(line);
}

static void
a_daemon_does_not_outlive_its_keeper(void **state)
{
    (void)state;
    program_put(MAKES_A_CLUSTER "exec sleep 1000");
    pid_t pid = start(true);
    wait_for_runs(1);
    assert_int_equal(kill(keeper_of(pid), SIGKILL), 0);
    assert_int_equal(end(pid, 0), 1); /* so that whoever started it starts it again */
    for (int wait = 0; master_lives(); wait++) {
        assert_true(wait < 500);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

static void
a_signal_to_all_of_them_is_an_orderly_end(void **state)
{
    (void)state;
    program_put(MAKES_A_CLUSTER "exec sleep 1000");
    pid_t pid = start(true);
    wait_for_runs(1);
    assert_int_equal(kill(keeper_of(pid), SIGTERM), 0);
    assert_int_equal(end(pid, SIGTERM), 0);
    assert_false(master_lives());
}

static long
ms_since(const struct timespec *begin)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - begin->tv_sec) * 1000 + (now.tv_nsec - begin->tv_nsec) / 1000000;
}

/* One that was given its key, say, and is slow to cap PCR 12. */
static void
a_keeper_does_not_end_before_a_daemon_that_may_still_be_there(void **state)
{
    (void)state;
    char data[64];
    bool gone;
    long waited;
    path_of("data", data);
    const struct keeper_config config = {
        .program = "/nowhere", .data = data, .address = "127.0.0.1"};
    do {
        struct keeper *keeper;
        struct timespec begin;
        struct st_err err = {0};
        assert_ok(keeper_start(&config, &keeper, &err));
        assert_ok(keeper_ask(keeper, "x", 1, &err)); /* once it answers it is there */
        assert_true(keeper_answer(keeper, &err));
        clock_gettime(CLOCK_MONOTONIC, &begin);
        assert_int_equal(kill(keeper_of(getpid()), SIGTERM), 0);
        nanosleep(&(struct timespec){.tv_sec = 6}, NULL);
        gone = keeper_gone(keeper);
        waited = ms_since(&begin);
        keeper_end(keeper);
    } while (waited > STOP_WITHIN_MS); /* this machine was elsewhere */
    assert_false(gone);
}

static bool hardens_into_a_signal;
void __real_secret_harden_process(void);
void __wrap_secret_harden_process(void);

void
__wrap_secret_harden_process(void)
{
    if (hardens_into_a_signal)
        raise(SIGTERM);
    __real_secret_harden_process();
}

/* A unit's processes are all told to stop at once. */
static void
a_keeper_that_is_told_to_stop_while_it_begins_waits_for_its_daemon(void **state)
{
    (void)state;
    char data[64];
    struct keeper *keeper;
    struct st_err err = {0};
    path_of("data", data);
    const struct keeper_config config = {
        .program = "/nowhere", .data = data, .address = "127.0.0.1"};
    hardens_into_a_signal = true;
    const enum st_code code = keeper_start(&config, &keeper, &err);
    hardens_into_a_signal = false;
    assert_ok(code);
    for (int i = 0; i < 50; i++) {
        assert_false(keeper_gone(keeper));
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    keeper_end(keeper);
}

static void
the_program_is_found_in_PATH(void **state)
{
    (void)state;
    char found[PATH_MAX], path[64], variable[96];
    struct st_err err = {0};
    program_put("exit 0");
    AUTO(st_freep) char *before = strdup(getenv("PATH"));
    setenv("PATH", "/nowhere::", 1);
    assert_code(keeper_find(found, &err), ST_NOT_FOUND);
    snprintf(variable, sizeof(variable), "/nowhere:%s", folder);
    setenv("PATH", variable, 1);
    assert_ok(keeper_find(found, &err));
    setenv("PATH", before, 1);
    path_of("smalltown-nms", path);
    assert_string_equal(found, path);
}

/* What cannot be looked at may be a master's. */
static void
a_folder_is_no_master_s_only_where_that_can_be_seen(void **state)
{
    (void)state;
    char data[64], member[80];
    char too_long[PATH_MAX] = "";
    path_of("data", data);
    snprintf(member, sizeof(member), "%s/member.pb", data);
    assert_false(keeper_may_have_master(data));
    data_put("store.mdb");
    assert_false(keeper_may_have_master(data));
    assert_int_equal(symlink("member.pb", member), 0); /* round and round */
    assert_true(keeper_may_have_master(data));
    assert_int_equal(unlink(member), 0);
    data_put("member.pb");
    assert_true(keeper_may_have_master(data));
    assert_false(keeper_may_have_master(member)); /* is no folder */
    memset(too_long, 'a', sizeof(too_long) - 1);
    assert_true(keeper_may_have_master(too_long));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_new_master_is_made_once_and_run),
        TEST(a_master_that_ends_is_started_again),
        TEST(a_master_whose_folder_is_refused_is_not_started_again),
        TEST(the_master_ends_with_the_node),
        TEST(a_master_that_ignores_SIGTERM_is_killed),
        TEST(an_init_that_fails_makes_no_master),
        TEST(nothing_is_bootstrapped_unasked),
        TEST(nothing_is_bootstrapped_over_what_is_there),
        TEST(a_master_runs_though_its_node_is_refused),
        TEST(a_master_is_told_where_the_enrolment_says_that_the_masters_are),
        TEST(a_master_runs_though_its_enrolment_is_damaged),
        TEST(an_init_that_was_interrupted_is_finished_before_the_master_runs),
        TEST(a_daemon_does_not_outlive_its_keeper),
        TEST(a_signal_to_all_of_them_is_an_orderly_end),
        TEST(a_keeper_does_not_end_before_a_daemon_that_may_still_be_there),
        TEST(a_keeper_that_is_told_to_stop_while_it_begins_waits_for_its_daemon),
        TEST(the_program_is_found_in_PATH),
        TEST(a_folder_is_no_master_s_only_where_that_can_be_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Who is given the key of a further volume, and when. */
#include "node/crypttab.h"
#include "tests/node/flow.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/st-crypttab-XXXXXX";
static char path[40];
static int listener;

static int
make_listener(void **state)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/socket", folder);
    strcpy(at.sun_path, path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0); /* as systemd's */
    assert_int_equal(bind(listener, (const struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listener, 16), 0);
    return 0;
}

static int
remove_listener(void **state)
{
    (void)state;
    unlink(path);
    rmdir(folder);
    return 0;
}

/* Leaks into the thread, which ends with the test: so does the listener. */
static void
serve(size_t key_len)
{
    static struct crypttab served[16];
    static size_t count;
    struct crypttab *crypttab = &served[count++];
    struct st_err err = {0};
    crypttab->fd = listener;
    crypttab->disk_key.len = key_len;
    for (size_t i = 0; i < key_len; i++)
        crypttab->disk_key.bytes[i] = (uint8_t)i;
    assert_ok(crypttab_serve(crypttab, &err));
}

/* Connected, under a name of its own, which is `len` bytes. */
static int
connect_as(const char *name, size_t len)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX}, to = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (len) {
        memcpy(own.sun_path, name, len);
        assert_int_equal(bind(fd, (const struct sockaddr *)&own,
                              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                         0);
    }
    strcpy(to.sun_path, path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static ssize_t
given(int fd)
{
    char key[200];
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, (int)machine_timeout_ms()), 1);
    const ssize_t len = recv(fd, key, sizeof(key), MSG_WAITALL);
    close(fd);
    return len;
}

static void
a_key_is_the_same_for_ever_and_for_one_volume_alone(void **state)
{
    static const char known[] =
        "800a2c09b2345348ad7c2ca1f1fa69e14e8538f5b83795214711190c860474a1";
    SECRET key = {0}, other = {0};
    struct st_err err = {0};
    (void)state;
    serve(UNLOCK_KEY_LEN);
    assert_ok(crypttab_ask(path, "vault", &key, &err));
    assert_int_equal(key.len, strlen(known));
    assert_memory_equal(key.bytes, known, strlen(known));
    assert_ok(crypttab_ask(path, "vault2", &other, &err));
    assert_memory_not_equal(key.bytes, other.bytes, CRYPTTAB_KEY_LEN);
}

static void
N35_a_volume_whose_name_is_none_is_given_nothing(void **state)
{
    char name[108] = "\0000123456789abcdef/cryptsetup/";
    const size_t begin = 29;
    static const char *const bad[] = {"",     "a/b",  "../x",    "a b",
                                      "a\nb", "a\"b", "\xc3\xa9"};
    (void)state;
    assert_int_equal(strlen(name + 1), begin - 1);
    serve(UNLOCK_KEY_LEN);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        strcpy(name + begin, bad[i]);
        assert_int_equal(given(connect_as(name, begin + strlen(bad[i]))), 0);
    }
    memset(name + begin, 'a', sizeof(name) - begin);
    assert_int_equal(given(connect_as(name, begin + CRYPTTAB_NAME_MAX + 1)), 0);
    assert_int_equal(given(connect_as(name, begin + CRYPTTAB_NAME_MAX)),
                     CRYPTTAB_KEY_LEN);
    assert_int_equal(given(connect_as("", 0)), 0);
    assert_int_equal(given(connect_as("\0vault", 6)), 0);
}

static void
N55_another_user_is_given_nothing_though_he_gets_to_the_socket(void **state)
{
    static const char name[] = "\0000123456789abcdef/cryptsetup/vault";
    int status;
    (void)state;
    if (geteuid() != 0)
        skip();
    serve(UNLOCK_KEY_LEN);
    chmod(folder, 0755);
    chmod(path, 0777);
    const pid_t pid = fork();
    if (pid == 0) {
        if (setgid(65534) || setuid(65534))
            _exit(100);
        _exit((int)given(connect_as(name, sizeof(name) - 1)));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(given(connect_as(name, sizeof(name) - 1)), CRYPTTAB_KEY_LEN);
}

static void
N48_who_was_given_no_disk_key_gives_none(void **state)
{
    SECRET key = {0};
    struct st_err err = {0};
    (void)state;
    serve(0);
    assert_int_equal(crypttab_ask(path, "vault", &key, &err), ST_FAILED_PRECONDITION);
    assert_int_equal(key.len, 0);
}

static void
who_goes_away_or_says_something_hinders_nobody(void **state)
{
    SECRET key = {0};
    struct st_err err = {0};
    (void)state;
    serve(UNLOCK_KEY_LEN);
    for (int i = 0; i < 40; i++) {
        const int fd = connect_as("\0x/cryptsetup/a", 15);
        (void)!send(fd, "hello", 5, MSG_NOSIGNAL);
        close(fd);
    }
    assert_ok(crypttab_ask(path, "vault", &key, &err));
}

static void
a_socket_that_nobody_listens_at_is_named(void **state)
{
    SECRET key = {0};
    struct st_err err = {0};
    (void)state;
    assert_int_equal(crypttab_ask("/nowhere/socket", "vault", &key, &err),
                     ST_UNAVAILABLE);
    assert_non_null(strstr(err.text, "smalltown-crypttab.socket"));
    assert_int_equal(crypttab_ask(path, "a/b", &key, &err), ST_INVALID_ARGUMENT);
}

/* What crypttab_take_socket() is in a process whose descriptor 3 is `fd`. */
static int
taken(int fd, const char *pid, const char *count)
{
    int status;
    const pid_t child = fork();
    if (child == 0) {
        char own[20];
        snprintf(own, sizeof(own), "%d", getpid());
        dup2(fd, 3);
        setenv("LISTEN_PID", pid ? pid : own, 1);
        setenv("LISTEN_FDS", count, 1);
        const int got = crypttab_take_socket();
        const bool kept = getenv("LISTEN_FDS") || getenv("LISTEN_PID");
        const bool inherited = got >= 0 && !(fcntl(got, F_GETFD) & FD_CLOEXEC);
        _exit(kept || inherited ? 101 : got < 0 ? 100 : got);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static void
a_socket_is_taken_where_systemd_passed_one_that_listens(void **state)
{
    (void)state;
    assert_int_equal(taken(listener, NULL, "1"), 3);
    assert_int_equal(taken(listener, "1", "1"), 100);
    assert_int_equal(taken(listener, NULL, "2"), 100);
    assert_int_equal(taken(listener, NULL, "0"), 100);
    assert_int_equal(taken(STDERR_FILENO, NULL, "1"), 100);
}

/* The daemon of a machine that was given the listener. */
static void
N48_a_key_is_given_once_the_disk_is_open_and_stays_the_same(void **state)
{
    SECRET first = {0}, second = {0};
    struct st_err err = {0};
    char number[12];
    (void)state;
    snprintf(number, sizeof(number), "%d", listener);
    setenv(MACHINE_CRYPTTAB, number, 1);
    MASTER_SCRIPT(&master, ACT_HONEST);
    machine_start(&machine, 0);
    assert_ok(crypttab_ask(path, "vault", &first, &err));
    machine_wait_for(&machine, "serve ");
    assert_int_equal(machine_stop(&machine), 0);
    machine_reboot(&machine);

    const int waits = connect_as("\0x/cryptsetup/vault", 19);
    struct pollfd readable = {.fd = waits, .events = POLLIN};
    machine_start(&machine, 0);
    machine_wait_for(&machine, "waiting: stctl node adopt");
    assert_int_equal(poll(&readable, 1, 0), 0);
    master.adopted = true;
    assert_int_equal(given(waits), CRYPTTAB_KEY_LEN);
    assert_ok(crypttab_ask(path, "vault", &second, &err));
    assert_true(secret_equal(&first, &second));
    assert_int_equal(machine_stop(&machine), 0);
    unsetenv(MACHINE_CRYPTTAB);
}

static int
set_up_flow(void **state)
{
    return flow_set_up(state) || make_listener(state);
}

static int
tear_down_flow(void **state)
{
    return remove_listener(state) || flow_tear_down(state);
}

#define LISTENER_TEST(name)                                                              \
    cmocka_unit_test_setup_teardown(name, make_listener, remove_listener)

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(a_key_is_the_same_for_ever_and_for_one_volume_alone),
        LISTENER_TEST(N35_a_volume_whose_name_is_none_is_given_nothing),
        LISTENER_TEST(N55_another_user_is_given_nothing_though_he_gets_to_the_socket),
        LISTENER_TEST(N48_who_was_given_no_disk_key_gives_none),
        LISTENER_TEST(who_goes_away_or_says_something_hinders_nobody),
        LISTENER_TEST(a_socket_that_nobody_listens_at_is_named),
        LISTENER_TEST(a_socket_is_taken_where_systemd_passed_one_that_listens),
        cmocka_unit_test_setup_teardown(
            N48_a_key_is_given_once_the_disk_is_open_and_stays_the_same, set_up_flow,
            tear_down_flow),
    };
    return FLOW_MAIN(tests);
}

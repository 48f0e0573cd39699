/* What systemd is told, and when: a mount waits for it. */
#include "node/notify.h"
#include "tests/node/flow.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int systemd = -1;

static void
listen_at(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const size_t len = strlen(name);
    memcpy(at.sun_path, name, len);
    if (*name == '@')
        at.sun_path[0] = '\0';
    systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(systemd, (const struct sockaddr *)&at,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
}

static int
be_deaf(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    close(systemd);
    return 0;
}

static int
tear_down(void **state)
{
    be_deaf(state);
    return flow_tear_down(state);
}

static int
set_up(void **state)
{
    char path[MACHINE_PATH];
    flow_set_up(state);
    snprintf(path, sizeof(path), "%.60s/notify", swtpm_folder(machine.chip));
    listen_at(path);
    return 0;
}

static const char *
told(void)
{
    static char message[2048];
    struct pollfd fd = {.fd = systemd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, (int)machine_timeout_ms()), 1);
    const ssize_t len = recv(systemd, message, sizeof(message) - 1, 0);
    assert_true(len > 0);
    message[len] = '\0';
    return message;
}

/* Of a daemon that has ended. */
static void
forget(void)
{
    char message[2048];
    while (recv(systemd, message, sizeof(message), MSG_DONTWAIT) > 0)
        ;
}

static void
until_ready(void)
{
    while (strncmp(told(), "READY=1\n", 8) != 0)
        ;
}

static void
is_not_ready_when(const char *status)
{
    const char *message;
    do {
        message = told();
        assert_null(strstr(message, "READY"));
    } while (!strstr(message, status));
}

static void
it_is_ready_once_the_disk_is_open_and_says_what_it_waits_for_until_then(void **state)
{
    (void)state;
    MASTER_SCRIPT(&master, ACT_UNAVAILABLE);
    machine_start(&machine, 0);
    is_not_ready_when("STATUS=enrol: ");
    MASTER_SCRIPT(&master, ACT_HONEST);
    until_ready();
    machine_wait_for(&machine, "serve ");
    assert_int_equal(machine_stop(&machine), 0);
    machine_reboot(&machine);
    forget();
    machine_start(&machine, 0);
    is_not_ready_when("STATUS=unlock: registered; waiting: stctl node adopt ");
    master.adopted = true;
    until_ready();
    assert_int_equal(machine_stop(&machine), 0);
}

static void
it_is_never_ready_without_its_disk(void **state)
{
    char message[2048];
    (void)state;
    flow_enrol_and_adopt();
    forget();
    machine_volume_blank(&machine);
    machine_start(&machine, 0);
    assert_int_equal(machine_wait(&machine), 1);
    for (ssize_t len; (len = recv(systemd, message, sizeof(message), MSG_DONTWAIT)) > 0;)
        assert_true(strncmp(message, "STATUS=", 7) == 0);
    assert_int_equal(errno, EAGAIN);
}

static void
what_a_stranger_says_is_no_assignment(void **state)
{
    (void)state;
    listen_at("@smalltown notify test");
    notify_status("unlock: %s", "wait\nREADY=1\x7f");
    assert_string_equal(told(), "STATUS=unlock: wait?READY=1?");
    notify_ready("%s", "open\nMAINPID=1");
    assert_string_equal(told(), "READY=1\nSTATUS=open?MAINPID=1");
}

static void
a_sentence_without_end_is_cut(void **state)
{
    char sentence[4096];
    (void)state;
    memset(sentence, 'a', sizeof(sentence));
    sentence[sizeof(sentence) - 1] = '\0';
    listen_at("@smalltown notify test");
    notify_status("%s", sentence);
    assert_int_equal(strlen(told()), 599);
}

static size_t
count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void
where_nobody_listens_no_descriptor_is_left_open(void **state)
{
    char path[200];
    (void)state;
    const size_t before = count_descriptors();
    unsetenv("NOTIFY_SOCKET");
    notify_status("nobody");
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    for (size_t len = 0; len < sizeof(path); len += 50) {
        setenv("NOTIFY_SOCKET", path + sizeof(path) - 1 - len, 1);
        notify_ready("nobody");
    }
    assert_int_equal(count_descriptors(), before);
}

int
main(int argc, char **argv)
{
    machine_child_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            it_is_ready_once_the_disk_is_open_and_says_what_it_waits_for_until_then,
            set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_never_ready_without_its_disk, set_up,
                                        tear_down),
        cmocka_unit_test_teardown(what_a_stranger_says_is_no_assignment, be_deaf),
        cmocka_unit_test_teardown(a_sentence_without_end_is_cut, be_deaf),
        cmocka_unit_test(where_nobody_listens_no_descriptor_is_left_open),
    };
    return FLOW_MAIN(tests);
}

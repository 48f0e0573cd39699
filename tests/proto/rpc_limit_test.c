/* What strangers and broken masters may cost: sizes, connections, ports, patience. */
#include "tests/proto/rpc_fixture.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void
N33_ten_mebibytes_are_refused_and_the_server_lives(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    const size_t len = 10 * 1024 * 1024;
    AUTO(st_freep) char *name = malloc(len + 1);
    memset(name, 'x', len);
    name[len] = 0;
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_code(greet(channel, GREET, name, text, &err), ST_RESOURCE_EXHAUSTED);
    assert_ok(greet(channel, GREET, "x", text, &err));
    door_stop(&door);
    assert_int_equal(door.messages, 1);
}

/* From 127.1.2.`host`: ports at 127.0.0.x are listened on below. */
static int
connect_from(uint8_t host, uint16_t port)
{
    const struct sockaddr_in from = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(0x7f010200u | host)};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int
connect_to(uint16_t port)
{
    return connect_from(1, port);
}

static void
N45_a_thousand_silent_connections_do_not_stop_accept(void **state)
{
    (void)state;
    enum {
        COUNT = 1000,
        NETWORKS = 4
    };
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 2 * COUNT + 100)
        skip();
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    int fds[COUNT];
    door_start(&door, (struct rpc_server_config){0});
    for (int i = 0; i < COUNT; i++)
        fds[i] = connect_from((uint8_t)(2 + i % NETWORKS), rpc_server_port(door.server));
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_ok(greet(channel, GREET, "x", text, &err));
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    door_stop(&door);
}

/* Whether the other side closes the connection within so long, without a word. */
static bool
is_turned_away_within(int fd, long ms)
{
    char byte;
    const struct timeval patience = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return recv(fd, &byte, 1, 0) == 0;
}

static bool
is_turned_away(int fd)
{
    return is_turned_away_within(fd, 5000);
}

static void
N45_one_network_has_its_share_of_the_connections(void **state)
{
    (void)state;
    enum {
        COUNT = 600
    };
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 2 * COUNT + 100)
        skip();
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    int fds[COUNT];
    door_start(&door, (struct rpc_server_config){0});
    for (int i = 0; i < COUNT; i++)
        fds[i] = connect_from(2, rpc_server_port(door.server));
    assert_false(is_turned_away_within(fds[0], 100));
    assert_true(is_turned_away(fds[COUNT - 1]));
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_ok(greet(channel, GREET, "x", text, &err));
    /* Whoever leaves makes room for the next of the same network. */
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    bool away = true;
    for (double until = seconds() + 60; away && seconds() < until;) {
        int fd = connect_from(2, rpc_server_port(door.server));
        away = is_turned_away_within(fd, 100);
        close(fd);
    }
    assert_false(away);
    door_stop(&door);
}

static void
limit_files(rlim_t count)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = count;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static void
N45_more_connections_than_descriptors_do_not_close_the_port(void **state)
{
    (void)state;
    struct rlimit files;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    int fds[100];
    door_start(&door, (struct rpc_server_config){0});
    getrlimit(RLIMIT_NOFILE, &files);
    int first = connect_to(rpc_server_port(door.server));
    /* Room for a few with their other ends, besides what is kept for our own. */
    limit_files((rlim_t)first + 64 + 20);
    int count = 0;
    bool away = false;
    while (count < 100 && !away) {
        fds[count] = connect_to(rpc_server_port(door.server));
        away = count > 30 && is_turned_away(fds[count]);
        count++;
    }
    assert_true(away);
    while (count > 0)
        close(fds[--count]);
    limit_files(files.rlim_cur);
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_ok(greet(channel, GREET, "x", text, &err));
    close(first);
    door_stop(&door);
}

static void
N45_nor_does_a_process_without_a_single_descriptor(void **state)
{
    (void)state;
    struct rlimit files;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    int filled[300], count = 0;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    door_start(&door, (struct rpc_server_config){0});
    address.sin_port = htons(rpc_server_port(door.server));
    getrlimit(RLIMIT_NOFILE, &files);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    limit_files((rlim_t)fd + 100);
    while (count < 300 && (filled[count] = dup(fd)) >= 0)
        count++;
    assert_true(count > 0 && count < 300);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_true(is_turned_away(fd));
    while (count > 0)
        close(filled[--count]);
    close(fd);
    limit_files(files.rlim_cur);
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_ok(greet(channel, GREET, "x", text, &err));
    door_stop(&door);
}

static void
a_port_in_use_is_named(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    struct rpc_server *second = NULL;
    char expected[64];
    door_start(&door, (struct rpc_server_config){0});
    const struct rpc_server_config config = {
        .addresses = &loopback,
        .address_count = 1,
        .port = rpc_server_port(door.server),
        .cert = &door.cert,
        .seed = &door.seed,
    };
    assert_code(rpc_server_start(&config, &second, &err), ST_UNAVAILABLE);
    snprintf(expected, sizeof(expected), "127.0.0.1:%u is in use by another program",
             config.port);
    assert_string_equal(err.text, expected);
    door_stop(&door);
}

static void
an_address_of_nobody_here_is_named(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    struct rpc_server *server = NULL;
    const struct st_address elsewhere = {{192, 0, 2, 1}, 4};
    make_identity("smalltown-master", &door.seed, &door.cert);
    const struct rpc_server_config config = {.addresses = &elsewhere,
                                             .address_count = 1,
                                             .port = 7833,
                                             .cert = &door.cert,
                                             .seed = &door.seed};
    assert_code(rpc_server_start(&config, &server, &err), ST_UNAVAILABLE);
    assert_non_null(strstr(err.text, "192.0.2.1:7833: Cannot assign"));
}

/* A channel to the door at 127.0.0.1 and to these others of the same port. */
static struct rpc_channel *
channel_among(const struct door *door, const struct st_address *others, size_t count)
{
    struct st_err err = {0};
    struct rpc_channel *channel = NULL;
    struct st_address all[8] = {loopback};
    memcpy(all + 1, others, count * sizeof(*others));
    const struct rpc_channel_config config = {.addresses = all,
                                              .address_count = count + 1,
                                              .port = rpc_server_port(door->server),
                                              .server_cert = door->cert.der,
                                              .server_cert_len = door->cert.len};
    assert_ok(rpc_channel_open(&config, &channel, &err));
    return channel;
}

/* Somebody who takes connections and never says a word. */
static int
listen_frozen(const struct st_address *at, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&address.sin_addr, at->bytes, 4);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

/* Seconds of the fastest of some calls: how fast it can be, on a machine that is busy. */
static double
fastest_greeting(struct rpc_channel *channel)
{
    double fastest = 1e9;
    char text[64];
    struct st_err err = {0};
    for (int i = 0; i < 10; i++) {
        const double began = seconds();
        assert_ok(greet(channel, GREET, "x", text, &err));
        const double took = seconds() - began;
        fastest = took < fastest ? took : fastest;
    }
    return fastest;
}

static void
a_frozen_master_is_left_before_the_call_meets_its_deadline_and_once_only(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    const struct st_address frozen = {{127, 0, 0, 2}, 4};
    bool met = false;
    door_start(&door, (struct rpc_server_config){0});
    int fd = listen_frozen(&frozen, rpc_server_port(door.server));
    /* Shuffled: until the frozen one came first. */
    for (int i = 0; i < 40 && !met; i++) {
        AUTO(rpc_channel_closep)
        struct rpc_channel *channel = channel_among(&door, &frozen, 1);
        double began = seconds();
        assert_ok(greet(channel, GREET, "x", text, &err));
        met = seconds() - began > 1;
        assert_true(fastest_greeting(channel) < 1);
    }
    assert_true(met);
    close(fd);
    door_stop(&door);
}

static void
dead_masters_cost_next_to_nothing(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    const struct st_address dead[] = {
        {{127, 0, 0, 2}, 4}, {{127, 0, 0, 3}, 4}, {{127, 0, 0, 4}, 4}};
    door_start(&door, (struct rpc_server_config){0});
    /* A quarter meets the living one first; a second for each dead one would be seen. */
    int quick = 0;
    for (int i = 0; i < 20; i++) {
        AUTO(rpc_channel_closep)
        struct rpc_channel *channel = channel_among(&door, dead, 3);
        const double began = seconds();
        assert_ok(greet(channel, GREET, "x", text, &err));
        quick += seconds() - began < 1;
    }
    assert_in_range(quick, 12, 20);
    uint16_t port = rpc_server_port(door.server);
    door_stop(&door);
    struct rpc_channel *channel = NULL;
    const struct rpc_channel_config config = {.addresses = dead,
                                              .address_count = 3,
                                              .port = port,
                                              .server_cert = door.cert.der,
                                              .server_cert_len = door.cert.len};
    assert_ok(rpc_channel_open(&config, &channel, &err));
    assert_code(greet(channel, GREET, "x", text, &err), ST_UNAVAILABLE);
    assert_int_equal(err.reason, ST_REASON_UNREACHABLE);
    rpc_channel_close(channel);
}

static void
a_proxy_in_the_environment_is_not_used(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    setenv("http_proxy", "http://127.0.0.1:9", 1);
    setenv("https_proxy", "http://127.0.0.1:9", 1);
    setenv("grpc_proxy", "http://127.0.0.1:9", 1);
    door_start(&door, (struct rpc_server_config){0});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    assert_ok(greet(channel, GREET, "x", text, &err));
    door_stop(&door);
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    unsetenv("grpc_proxy");
}

static void
IPv6_is_served_and_named_as_usual(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    struct rpc_channel *channel = NULL;
    const struct st_address six = {{[15] = 1}, 16};
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6,
                                     .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool absent = probe < 0 || bind(probe, (const struct sockaddr *)&any, sizeof(any));
    close(probe);
    if (absent)
        skip();
    door_start(&door, (struct rpc_server_config){.addresses = &six, .address_count = 1});
    const struct rpc_channel_config config = {.addresses = &six,
                                              .address_count = 1,
                                              .port = rpc_server_port(door.server),
                                              .server_cert = door.cert.der,
                                              .server_cert_len = door.cert.len};
    assert_ok(rpc_channel_open(&config, &channel, &err));
    assert_ok(greet(channel, GREET, "x", text, &err));
    rpc_channel_close(channel);
    door_stop(&door);
    assert_int_equal(strncmp(door.peer, "[::1]:", 6), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N33_ten_mebibytes_are_refused_and_the_server_lives),
        cmocka_unit_test(N45_a_thousand_silent_connections_do_not_stop_accept),
        cmocka_unit_test(N45_one_network_has_its_share_of_the_connections),
        cmocka_unit_test(N45_more_connections_than_descriptors_do_not_close_the_port),
        cmocka_unit_test(N45_nor_does_a_process_without_a_single_descriptor),
        cmocka_unit_test(a_port_in_use_is_named),
        cmocka_unit_test(an_address_of_nobody_here_is_named),
        cmocka_unit_test(
            a_frozen_master_is_left_before_the_call_meets_its_deadline_and_once_only),
        cmocka_unit_test(dead_masters_cost_next_to_nothing),
        cmocka_unit_test(a_proxy_in_the_environment_is_not_used),
        cmocka_unit_test(IPv6_is_served_and_named_as_usual),
    };
    return cmocka_run_group_tests(tests, rpc_group_setup, rpc_group_teardown);
}

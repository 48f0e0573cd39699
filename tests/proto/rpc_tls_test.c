/* Who may talk to whom: the exact pin, mutual TLS, TLS 1.3. */
#include "tests/proto/rpc_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A call to the door by a client that pins `pinned`. */
static enum st_code
greet_pinning(const struct door *door, const struct cert *pinned, struct st_err *err)
{
    struct door other = *door;
    char text[64];
    other.cert = *pinned;
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&other);
    return greet(channel, GREET, "x", text, err);
}

static void
expect_unseen(struct door *door)
{
    assert_int_equal(atomic_load(&door->admitted), 0);
    door_stop(door);
    assert_int_equal(door->opened, 0);
}

static void
N51_a_client_leaves_another_server_before_it_sends_anything(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    struct secret seed;
    struct cert pinned;
    door_start(&door, (struct rpc_server_config){0});
    make_identity("smalltown-master", &seed, &pinned);
    assert_code(greet_pinning(&door, &pinned, &err), ST_UNAVAILABLE);
    assert_int_equal(err.reason, ST_REASON_OTHER_SERVER);
    expect_unseen(&door);
}

static void
N51_the_same_key_in_another_certificate_is_another_server(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    struct cert pinned;
    door_start(&door, (struct rpc_server_config){0});
    assert_ok(cert_self_sign(&door.seed, "smalltown-Master", &pinned, &err));
    assert_code(greet_pinning(&door, &pinned, &err), ST_UNAVAILABLE);
    assert_int_equal(err.reason, ST_REASON_OTHER_SERVER);
    expect_unseen(&door);
}

/* Writes `to` over `from` inside the signed part and signs it again. */
static void
redate(struct cert *cert, const struct secret *seed, const char *from, const char *to)
{
    struct st_err err = {0};
    uint8_t *found = memmem(cert->der, cert->len, from, strlen(from));
    assert_non_null(found);
    memcpy(found, to, strlen(to));
    uint8_t *tbs =
        cert->der + 4; /* behind the outer SEQUENCE with its two length bytes */
    assert_int_equal(cert->der[1], 0x82);
    assert_true(tbs[0] == 0x30 && (tbs[1] == 0x81 || tbs[1] == 0x82));
    size_t len = tbs[1] == 0x81 ? tbs[2] + 3u : (size_t)(tbs[2] << 8 | tbs[3]) + 4;
    assert_ok(
        key_sign(seed, tbs, len, cert->der + cert->len - ED25519_SIGNATURE_LEN, &err));
}

static void
the_dates_of_the_pinned_certificate_do_not_matter(void **state)
{
    (void)state;
    const char *dates[][2] = {{"700101000000Z", "490101000000Z"},
                              {"99991231235959Z", "19991231235959Z"}};
    for (size_t i = 0; i < 2; i++) {
        struct door door = {0};
        struct st_err err = {0};
        char text[64];
        make_identity("smalltown-master", &door.seed, &door.cert);
        redate(&door.cert, &door.seed, dates[i][0], dates[i][1]);
        door_start(&door, (struct rpc_server_config){0});
        AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
        assert_ok(greet(channel, GREET, "x", text, &err));
        door_stop(&door);
    }
}

static void
with_mutual_tls_admission_sees_the_exact_certificate(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    struct secret seed;
    struct cert cert;
    char text[64];
    door_start(&door, (struct rpc_server_config){.want_client_cert = true});
    make_identity("administrator", &seed, &cert);
    AUTO(rpc_channel_closep)
    struct rpc_channel *channel = door_channel_as(&door, &cert, &seed);
    assert_ok(greet(channel, GREET, "x", text, &err));
    door_stop(&door);
    assert_int_equal(door.client_cert_len, cert.len);
    assert_memory_equal(door.client_cert, cert.der, cert.len);
}

static void
N50_without_a_client_certificate_nothing_is_heard(void **state)
{
    (void)state;
    struct door door = {0};
    struct st_err err = {0};
    char text[64];
    door_start(&door, (struct rpc_server_config){.want_client_cert = true});
    AUTO(rpc_channel_closep) struct rpc_channel *channel = door_channel(&door);
    const char *paths[] = {GREET, TALK, "/grpc.health.v1.Health/Check", "/no/Method"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        assert_code(greet(channel, paths[i], "x", text, &err), ST_UNAVAILABLE);
    expect_unseen(&door);
}

static void
N50_whom_admission_refuses_no_handler_hears(void **state)
{
    (void)state;
    const char *paths[] = {GREET, TALK, "/grpc.health.v1.Health/Check",
                           "/grpc.health.v1.Health/Watch"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        struct door door = {.admit = ST_PERMISSION_DENIED};
        struct st_err err = {0};
        struct secret seed;
        struct cert cert;
        char text[64];
        door_start(&door, (struct rpc_server_config){.want_client_cert = true});
        make_identity("stranger", &seed, &cert);
        AUTO(rpc_channel_closep)
        struct rpc_channel *channel = door_channel_as(&door, &cert, &seed);
        assert_code(greet(channel, paths[i], "x", text, &err), ST_PERMISSION_DENIED);
        assert_int_equal(err.reason, ST_REASON_ROLE);
        assert_string_equal(err.text, "not you");
        door_stop(&door);
        assert_string_equal(door.admitted_path, paths[i]);
        assert_int_equal(door.opened, 0);
    }
}

static void
silence(void)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
}

/* The exit status of an openssl client that speaks one version of TLS only. */
static int
openssl_client(const struct door *door, const char *version)
{
    char target[64];
    snprintf(target, sizeof(target), "127.0.0.1:%u", rpc_server_port(door->server));
    pid_t pid = fork();
    if (pid == 0) {
        silence();
        execlp("openssl", "openssl", "s_client", version, "-alpn", "h2", "-connect",
               target, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 127);
    return WEXITSTATUS(status);
}

static void
N50_a_TLS_1_2_client_is_refused(void **state)
{
    (void)state;
    struct door door = {0};
    door_start(&door, (struct rpc_server_config){0});
    assert_int_equal(openssl_client(&door, "-tls1_3"), 0);
    assert_int_equal(openssl_client(&door, "-tls1_2"), 1);
    door_stop(&door);
}

static void
write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static uint16_t
free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* `openssl s_server` with this identity and one version of TLS; waits until it listens.
 */
static pid_t
start_openssl_server(const char *folder, const struct door *door, uint16_t port,
                     const char *version)
{
    struct st_err err = {0};
    SECRET key = {0};
    AUTO(st_freep) char *cert = NULL;
    char key_path[64], cert_path[64], accept[32];
    snprintf(key_path, sizeof(key_path), "%s/key", folder);
    snprintf(cert_path, sizeof(cert_path), "%s/cert", folder);
    snprintf(accept, sizeof(accept), "127.0.0.1:%u", port);
    assert_ok(key_to_pem(&door->seed, &key, &err));
    assert_ok(cert_to_pem(door->cert.der, door->cert.len, &cert, &err));
    write_file(key_path, key.bytes, strnlen((char *)key.bytes, key.len));
    write_file(cert_path, cert, strlen(cert));
    pid_t pid = fork();
    if (pid == 0) {
        silence();
        execlp("openssl", "openssl", "s_server", "-accept", accept, "-key", key_path,
               "-cert", cert_path, "-alpn", "h2", "-quiet", version, (char *)NULL);
        _exit(127);
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(port)};
    for (int i = 0; i < 500; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool up = !connect(fd, (struct sockaddr *)&address, sizeof(address));
        close(fd);
        if (up)
            break;
        usleep(10000);
    }
    unlink(key_path);
    unlink(cert_path);
    return pid;
}

/* Why a client that pins something else leaves a server of that version: it looks at the
 * certificate only after a handshake. */
static enum st_reason
leave_openssl_server(const char *version)
{
    struct door door = {0};
    struct st_err err = {0};
    struct secret seed;
    struct cert pinned;
    struct rpc_channel *channel = NULL;
    char folder[] = "/tmp/smalltown-test-XXXXXX", text[64];
    assert_non_null(mkdtemp(folder));
    make_identity("smalltown-master", &door.seed, &door.cert);
    make_identity("smalltown-master", &seed, &pinned);
    const struct rpc_channel_config config = {
        .addresses = &loopback,
        .address_count = 1,
        .port = free_port(),
        .server_cert = pinned.der,
        .server_cert_len = pinned.len,
    };
    pid_t pid = start_openssl_server(folder, &door, config.port, version);
    assert_ok(rpc_channel_open(&config, &channel, &err));
    assert_code(greet(channel, GREET, "x", text, &err), ST_UNAVAILABLE);
    rpc_channel_close(channel);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    rmdir(folder);
    return err.reason;
}

static void
N50_a_TLS_1_2_server_is_left_before_the_handshake_is_done(void **state)
{
    (void)state;
    assert_int_equal(leave_openssl_server("-tls1_3"), ST_REASON_OTHER_SERVER);
    assert_int_equal(leave_openssl_server("-tls1_2"), ST_REASON_UNREACHABLE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(N51_a_client_leaves_another_server_before_it_sends_anything),
        cmocka_unit_test(N51_the_same_key_in_another_certificate_is_another_server),
        cmocka_unit_test(the_dates_of_the_pinned_certificate_do_not_matter),
        cmocka_unit_test(with_mutual_tls_admission_sees_the_exact_certificate),
        cmocka_unit_test(N50_without_a_client_certificate_nothing_is_heard),
        cmocka_unit_test(N50_whom_admission_refuses_no_handler_hears),
        cmocka_unit_test(N50_a_TLS_1_2_client_is_refused),
        cmocka_unit_test(N50_a_TLS_1_2_server_is_left_before_the_handshake_is_done),
    };
    return cmocka_run_group_tests(tests, rpc_group_setup, rpc_group_teardown);
}

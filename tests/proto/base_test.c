/* What every program agrees on: errors, secrets, names, addresses, small files. */
#include "proto/address.h"
#include "proto/err.h"
#include "proto/file.h"
#include "proto/ident.h"
#include "proto/say.h"
#include "proto/scope.h"
#include "proto/secret.h"
#include "tests/cmocka.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
a_failure_keeps_its_code_and_gains_context(void **state)
{
    (void)state;
    struct st_err err = {0};
    assert_code(st_fail_for(&err, ST_NOT_FOUND, ST_REASON_NOT_FOUND, "no node %s", "x"),
                ST_NOT_FOUND);
    assert_code(st_wrap(&err, "unlock"), ST_NOT_FOUND);
    assert_string_equal(err.text, "unlock: no node x");
    assert_int_equal(err.reason, ST_REASON_NOT_FOUND);
}

static void
a_line_from_outside_stays_one_line(void **state)
{
    (void)state;
    struct st_err err = {0};
    assert_code(st_fail(&err, ST_UNKNOWN, "name %s", "a\nroot: ok\x1b[2J"), ST_UNKNOWN);
    assert_null(strpbrk(err.text, "\n\x1b"));
}

static void
every_reason_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (int i = 1; i < ST_REASON_COUNT; i++)
        assert_int_equal(st_reason_of_word(st_reason_word((enum st_reason)i)), i);
    assert_int_equal(st_reason_of_word("nonsense"), ST_REASON_NONE);
}

static int
compare_nonces(const void *a, const void *b)
{
    return memcmp(a, b, NONCE_LEN);
}

static void
said(const char *text, size_t width, const char *expected)
{
    char lines[400] = "";
    FILE *file = fmemopen(lines, sizeof(lines), "w");
    assert_non_null(file);
    say_wrapped(file, text, width);
    fclose(file);
    assert_string_equal(lines, expected);
}

static void
a_sentence_is_broken_between_words(void **state)
{
    (void)state;
    said("x: one two three", 0, "x: one two three\n");
    said("x: one two three", 16, "x: one two three\n");
    said("x: one two three", 15, "x: one two\n  three\n");
    said("x: one two three four", 9, "x: one\n  two\n  three\n  four\n");
    said("x: a-word-that-is-too-long it is", 9,
         "x:\n  a-word-that-is-too-long\n  it is\n");
    said("", 9, "\n");
    said("ends ", 9, "ends\n");
}

static void
N05_ten_thousand_nonces_are_distinct(void **state)
{
    (void)state;
    enum {
        COUNT = 10000
    };
    uint8_t(*seen)[NONCE_LEN] = malloc(sizeof(*seen) * COUNT);
    assert_non_null(seen);
    for (int i = 0; i < COUNT; i++) {
        struct secret nonce;
        struct st_err err = {0};
        assert_ok(secret_random(&nonce, NONCE_LEN, &err));
        memcpy(seen[i], nonce.bytes, NONCE_LEN);
    }
    qsort(seen, COUNT, NONCE_LEN, compare_nonces);
    for (int i = 1; i < COUNT; i++)
        assert_memory_not_equal(seen[i - 1], seen[i], NONCE_LEN);
    free(seen);
}

/* The kernel as it may be: the linker calls these by this name. */
static enum {
    PLENTY,
    A_BYTE_AT_A_TIME,
    NONE
} entropy;
ssize_t __real_getrandom(void *bytes, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags);

ssize_t
__wrap_getrandom(void *bytes, size_t len, unsigned flags)
{
    static bool interrupted;
    switch (entropy) {
    case PLENTY:
        break;
    case A_BYTE_AT_A_TIME:
        interrupted = !interrupted;
        errno = EINTR;
        return interrupted ? -1 : __real_getrandom(bytes, 1, flags);
    case NONE:
        errno = ENOSYS;
        return -1;
    }
    return __real_getrandom(bytes, len, flags);
}

static void
N05_without_entropy_there_is_no_nonce(void **state)
{
    (void)state;
    struct secret nonce = {0};
    struct st_err err = {0};
    entropy = NONE;
    assert_code(secret_random(&nonce, NONCE_LEN, &err), ST_UNAVAILABLE);
    assert_int_equal(nonce.len, 0);
    entropy = A_BYTE_AT_A_TIME;
    assert_ok(secret_random(&nonce, NONCE_LEN, &err));
    entropy = PLENTY;
    assert_int_equal(nonce.len, NONCE_LEN);
    static const uint8_t zeroes[NONCE_LEN / 2];
    assert_memory_not_equal(nonce.bytes + NONCE_LEN / 2, zeroes, sizeof(zeroes));
}

static void
an_empty_secret_equals_nothing(void **state)
{
    (void)state;
    struct secret a = {0}, b = {0};
    assert_false(secret_equal(&a, &b));
    struct st_err err = {0};
    assert_ok(secret_set(&a, "abc", 3, &err));
    assert_ok(secret_set(&b, "abc", 3, &err));
    assert_true(secret_equal(&a, &b));
    b.bytes[2] ^= 1;
    assert_false(secret_equal(&a, &b));
    assert_code(secret_set(&a, "", SECRET_MAX + 1, &err), ST_INVALID_ARGUMENT);
}

/* A number of kB that the kernel says of this process. */
static long
status_kb(const char *name)
{
    char line[128];
    long value = -1;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof(line), status))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name), NULL, 10);
    if (status)
        fclose(status);
    return value;
}

/* 0: memory came back and is locked as before. */
static int
lock_and_trim(void)
{
    enum {
        BLOCKS = 4000,
        BLOCK_LEN = 4000,
        CHECKED_KB = BLOCKS * BLOCK_LEN / 1024 / 2,
    };
    static char *blocks[BLOCKS];
    secret_harden_process();
    const bool was_locked = status_kb("VmLck:") > 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_LEN);
        memset(blocks[i], 1, BLOCK_LEN);
    }
    for (size_t i = 0; i + 1 < BLOCKS; i++) /* the last holds the others' place */
        free(blocks[i]);
    const long before = status_kb("VmRSS:");
    secret_trim_process();
    const bool is_locked = status_kb("VmLck:") > 0;
    bool came_back = before - status_kb("VmRSS:") > CHECKED_KB;
#ifdef ST_SANITIZED
    came_back = true; /* their allocator never gives anything back */
#endif
    return was_locked == is_locked && came_back ? 0 : 1;
}

static void
what_is_free_is_given_back_though_memory_is_locked(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(lock_and_trim());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int unlocks; /* calls of munlockall() */
static bool lock_is_allowed;
int __real_mlockall(int flags);
int __wrap_mlockall(int flags);
int __real_munlockall(void);
int __wrap_munlockall(void);

int
__wrap_mlockall(int flags)
{
    return lock_is_allowed ? 0 : __real_mlockall(flags);
}

int
__wrap_munlockall(void)
{
    unlocks++;
    return lock_is_allowed ? 0 : __real_munlockall();
}

static bool maps_are_refused;
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);

void *
__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    if (maps_are_refused) {
        errno = EAGAIN;
        return MAP_FAILED;
    }
    return __real_mmap(at, len, prot, flags, fd, offset);
}

/* How often memory was unlocked by that, and by a trim that would lock again. */
static int
harden_below_a_limit(void)
{
    lock_is_allowed = maps_are_refused = true;
    secret_harden_process();
    const int first = unlocks;
    secret_trim_process();
    return first * 10 + unlocks - first;
}

static void
memory_is_not_locked_where_later_maps_would_be_refused(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(harden_below_a_limit());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 10);
}

/* How often memory was unlocked by a second and a third call, the third after 8 MiB. */
static int
trim_thrice(void)
{
    const size_t len = 8 * 1024 * 1024;
    lock_is_allowed = true;
    secret_harden_process();
    secret_trim_process();
    unlocks = 0;
    secret_trim_process();
    const int second = unlocks;
    char *grown = malloc(len);
    memset(grown, 1, len);
    secret_trim_process();
    const int third = unlocks - second;
    free(grown);
    return second * 10 + third;
}

static void
memory_stays_locked_while_there_is_nothing_to_give_back(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(trim_thrice());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void
N35_only_a_node_id_is_a_node_id(void **state)
{
    (void)state;
    char id[NODE_ID_LEN + 1];
    const uint8_t key[ED25519_PUBLIC_LEN] = {0xde, 0xad};
    node_id_of_key(key, id);
    assert_string_equal(id, "smalltown-dead0000000000000000000000000000");
    assert_code(node_id_check(id, NULL), ST_OK);
    const char *bad[] = {"",
                         "smalltown-",
                         "smalltown-DEAD0000000000000000000000000000",
                         "smalltown-../0000000000000000000000000000",
                         "smalltown-dead000000000000000000000000000\n",
                         "smalltown-dead00000000000000000000000000000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_code(node_id_check(bad[i], NULL), ST_INVALID_ARGUMENT);
}

static void
N35_a_name_is_short_and_harmless(void **state)
{
    (void)state;
    char long_name[NAME_MAX_LEN + 2];
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = 0;
    const char *bad[] = {"", "..", "-x", "a/b", "a b", "a\nb", "\xc3\x28", long_name};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_code(name_check("an enrolment", bad[i], NULL), ST_INVALID_ARGUMENT);
    assert_code(name_check("an enrolment", "rack-3.a_1", NULL), ST_OK);
}

static void
an_address_has_no_port(void **state)
{
    (void)state;
    struct st_address address;
    char text[ADDRESS_TEXT_MAX];
    struct st_err err = {0};
    assert_ok(address_parse("127.0.0.2", &address, &err));
    address_format_port(&address, 7833, text);
    assert_string_equal(text, "127.0.0.2:7833");
    assert_ok(address_parse("2001:db8::1", &address, &err));
    address_format_port(&address, 7833, text);
    assert_string_equal(text, "[2001:db8::1]:7833");
    assert_code(address_parse("127.0.0.1:7833", &address, NULL), ST_INVALID_ARGUMENT);
    assert_code(address_parse("localhost", &address, NULL), ST_INVALID_ARGUMENT);
    ProtobufCBinaryData nine = {9, (uint8_t *)"123456789"};
    assert_code(address_unpack(&nine, &address, NULL), ST_INVALID_ARGUMENT);
}

static uint64_t
network(const char *text)
{
    struct st_address address;
    struct st_err err = {0};
    assert_ok(address_parse(text, &address, &err));
    return address_network(&address);
}

static void
a_network_is_an_IPv4_address_or_an_IPv6_64(void **state)
{
    (void)state;
    assert_true(network("192.0.2.1") == network("::ffff:192.0.2.1"));
    assert_true(network("192.0.2.1") != network("192.0.2.2"));
    assert_true(network("2001:db8::1") == network("2001:db8::ffff:1:2"));
    assert_true(network("2001:db8::1") != network("2001:db8:0:1::1"));
    assert_true(network("2001:db8::1") != network("2001:db9::1"));
    assert_true(network("::1") != network("0.0.0.1"));
}

static void
the_other_end_of_a_socket_has_an_address(void **state)
{
    (void)state;
    struct sockaddr_storage name = {.ss_family = AF_UNIX};
    struct st_address address = {.len = 1}, expected;
    struct st_err err = {0};
    address_of_socket(&name, &address);
    assert_int_equal(address.len, 0);

    struct sockaddr_in *four = (void *)&name;
    *four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = 7};
    assert_int_equal(inet_pton(AF_INET, "192.0.2.1", &four->sin_addr), 1);
    assert_ok(address_parse("192.0.2.1", &expected, &err));
    address_of_socket(&name, &address);
    assert_true(address_equal(&address, &expected));

    struct sockaddr_in6 *six = (void *)&name;
    *six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = 7};
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &six->sin6_addr), 1);
    assert_ok(address_parse("2001:db8::1", &expected, &err));
    address_of_socket(&name, &address);
    assert_true(address_equal(&address, &expected));
}

static void
N55_a_file_is_replaced_whole_and_private(void **state)
{
    (void)state;
    char folder[] = "/tmp/smalltown-test-XXXXXX", path[64], inner[80];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/a/b", folder);
    struct st_err err = {0};
    assert_ok(file_make_folder(path, &err));
    snprintf(inner, sizeof(inner), "%s/key", path);
    assert_ok(file_write(inner, 0600, "one", 3, &err));
    assert_ok(file_write(inner, 0600, "three", 5, &err));
    struct stat st;
    assert_int_equal(stat(inner, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    uint8_t *bytes;
    size_t len;
    assert_ok(file_read(inner, 100, &bytes, &len, &err));
    assert_int_equal(len, 5);
    assert_string_equal((char *)bytes, "three");
    free(bytes);
    assert_code(file_read(inner, 4, &bytes, &len, NULL), ST_INVALID_ARGUMENT);
    assert_ok(file_erase(inner, &err));
    assert_ok(file_erase(inner, &err));
    assert_code(file_read(inner, 4, &bytes, &len, NULL), ST_NOT_FOUND);
    assert_int_equal(rmdir(path), 0);
    snprintf(path, sizeof(path), "%s/a", folder);
    rmdir(path);
    rmdir(folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_keeps_its_code_and_gains_context),
        cmocka_unit_test(a_line_from_outside_stays_one_line),
        cmocka_unit_test(every_reason_has_a_word_of_its_own),
        cmocka_unit_test(a_sentence_is_broken_between_words),
        cmocka_unit_test(N05_ten_thousand_nonces_are_distinct),
        cmocka_unit_test(N05_without_entropy_there_is_no_nonce),
        cmocka_unit_test(an_empty_secret_equals_nothing),
        cmocka_unit_test(what_is_free_is_given_back_though_memory_is_locked),
        cmocka_unit_test(memory_stays_locked_while_there_is_nothing_to_give_back),
        cmocka_unit_test(memory_is_not_locked_where_later_maps_would_be_refused),
        cmocka_unit_test(N35_only_a_node_id_is_a_node_id),
        cmocka_unit_test(N35_a_name_is_short_and_harmless),
        cmocka_unit_test(an_address_has_no_port),
        cmocka_unit_test(a_network_is_an_IPv4_address_or_an_IPv6_64),
        cmocka_unit_test(the_other_end_of_a_socket_has_an_address),
        cmocka_unit_test(N55_a_file_is_replaced_whole_and_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

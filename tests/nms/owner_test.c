/* What root would write into another user's folder that user could not read. */
#include "nms/owner.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/cmocka.h"
#include "tests/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    NOBODY = 65534,
    NAMELESS = 54321,
    WRONG_STATE = 4
};

static char folder[FOLDER_MAX], data[48], said[48];

/* Its folder is in one of root's. */
static int
set_up(void **state)
{
    (void)state;
    if (folder_make(folder, "owner"))
        return 1;
    snprintf(data, sizeof(data), "%s/data", folder);
    snprintf(said, sizeof(said), "%s/said", folder);
    return chmod(folder, 0755) || mkdir(data, 0700);
}

static int
tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

/* The real program; its exit status, and what it said. */
static int
nms(const char *const *words, char **out_said)
{
    const char *argv[16] = {"smalltown-nms"};
    struct st_err err = {0};
    size_t len;
    int status;
    for (int i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    const pid_t pid = fork();
    if (pid == 0) {
        const int out = open(said, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (dup2(in, STDIN_FILENO) == 0 && dup2(out, STDERR_FILENO) > 0 &&
            dup2(out, STDOUT_FILENO) > 0)
            execv(SMALLTOWN_NMS, (char **)argv);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_ok(file_read(said, FILE_MAX_LEN, (uint8_t **)out_said, &len, &err));
    return WEXITSTATUS(status);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define INIT WORDS("init", "--data", data, "--name", "town", "--address", "127.0.0.1")

/* With a sentence that ends with the command that works. */
static void
assert_refused(const char *const *words, const char *cure)
{
    AUTO(st_freep) char *text = NULL;
    char whose[128];
    assert_int_equal(nms(words, &text), WRONG_STATE);
    snprintf(whose, sizeof(whose), "smalltown-nms: %s belongs to ", data);
    assert_memory_equal(text, whose, strlen(whose));
    snprintf(whose, sizeof(whose), "%s smalltown-nms %s ...\n", cure, words[0]);
    assert_non_null(strstr(text, whose));
    assert_int_equal(rmdir(data), 0); /* which nothing was written into */
    assert_int_equal(mkdir(data, 0700), 0);
}

static void
root_is_refused_in_the_folder_of_another_user_by_each_verb(void **state)
{
    const char *const *const verbs[] = {
        INIT,
        WORDS("join", "--data", data, "--address", "127.0.0.1", "--ticket", "none"),
        WORDS("join", "--data", data, "--address", "127.0.0.1", "--certificates", "-"),
        WORDS("run", "--data", data),
        WORDS("move", "--data", data),
        WORDS("recover", "--data", data),
        WORDS("recover", "--data", data, "--yes"),
    };
    (void)state;
    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
        assert_int_equal(chown(data, NOBODY, NOBODY), 0);
        assert_refused(verbs[i], ": runuser -u nobody --");
        assert_int_equal(chown(data, NAMELESS, 0), 0);
        assert_refused(verbs[i], ": setpriv --reuid 54321 --regid 0 --clear-groups");
    }
}

static void
root_works_in_a_folder_of_its_own_and_makes_one(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    for (int made = 0; made < 2; made++) {
        AUTO(st_freep) char *text = NULL;
        char member[64];
        assert_int_equal(nms(INIT, &text), 0);
        snprintf(member, sizeof(member), "%s/member.pb", data);
        assert_int_equal(access(member, F_OK), 0);
        if (made == 0)
            snprintf(data, sizeof(data), "%s/not/there", folder);
    }
}

static void
a_folder_s_owner_is_not_refused_nor_told_of_another_s(void **state)
{
    int status;
    struct st_err err = {0};
    (void)state;
    assert_ok(owner_check(data, "run", &err));
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(data, NOBODY, NOBODY), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        if (setgid(NOBODY) || setuid(NOBODY))
            _exit(100);
        /* That of root it cannot open: that is said by whoever tries. */
        _exit(owner_check(data, "run", NULL) || owner_check("/root", "run", NULL));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_code(owner_check(data, "run", &err), ST_FAILED_PRECONDITION);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(root_is_refused_in_the_folder_of_another_user_by_each_verb),
        TEST(root_works_in_a_folder_of_its_own_and_makes_one),
        TEST(a_folder_s_owner_is_not_refused_nor_told_of_another_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* In which order a small file reaches the disk: a power cut after it was written, or was
 * erased, finds it so on a FAT, too. */
#include "proto/file.h"
#include "tests/cmocka.h"
#include "tests/folder.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[FOLDER_MAX], path[PATH_MAX];

/* What was done, a letter each: f a file flushed, d a folder flushed, r renamed, u
 * unlinked.  And which file was flushed last. */
static char done[16];
static ino_t flushed;
/* The n-th flush from now on fails, like this. */
static int fail_at, fail_with;

static void
note(char what)
{
    const size_t at = strlen(done);
    assert_true(at + 1 < sizeof(done));
    done[at] = what;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int
__wrap_fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    note(S_ISDIR(st.st_mode) ? 'd' : 'f');
    if (!S_ISDIR(st.st_mode))
        flushed = st.st_ino;
    if (fail_at && --fail_at == 0) {
        errno = fail_with;
        return -1;
    }
    return __real_fsync(fd);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int
__wrap_rename(const char *from, const char *to)
{
    note('r');
    return __real_rename(from, to);
}

int __real_unlink(const char *name);
int __wrap_unlink(const char *name);
int
__wrap_unlink(const char *name)
{
    note('u');
    return __real_unlink(name);
}

static int
set_up(void **state)
{
    (void)state;
    memset(done, 0, sizeof(done));
    fail_at = 0;
    if (folder_make(folder, "file"))
        return 1;
    snprintf(path, sizeof(path), "%s/key", folder);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static void
assert_holds(const char *expected)
{
    uint8_t *bytes;
    size_t len;
    struct st_err err = {0};
    assert_ok(file_read(path, 100, &bytes, &len, &err));
    assert_string_equal((char *)bytes, expected);
    free(bytes);
}

static void
a_file_is_flushed_again_under_its_name_and_then_its_folder(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct stat st;
    for (int times = 0; times < 2; times++) { /* a new one, and one that is replaced */
        memset(done, 0, sizeof(done));
        assert_ok(file_write(path, 0600, "one", 3, &err));
        assert_string_equal(done, "frfd");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_ino, flushed);
    }
}

static void
it_is_written_only_where_each_flush_succeeds(void **state)
{
    (void)state;
    static const char *const holds[] = {"before", "1", "2"};
    struct st_err err = {0};
    assert_ok(file_write(path, 0600, "before", 6, &err));
    for (int n = 1; n <= 3; n++) {
        const char text = (char)('0' + n - 1);
        memset(done, 0, sizeof(done));
        fail_at = n, fail_with = EIO;
        assert_code(file_write(path, 0600, &text, 1, &err), ST_INTERNAL);
        assert_holds(holds[n - 1]);
    }
    fail_at = 3, fail_with = EINVAL; /* a folder that nobody can flush */
    assert_ok(file_write(path, 0600, "after", 5, &err));
    assert_holds("after");
}

static void
what_is_erased_is_overwritten_before_it_is_gone_and_gone_for_good(void **state)
{
    (void)state;
    struct st_err err = {0};
    assert_ok(file_write(path, 0600, "one", 3, &err));
    memset(done, 0, sizeof(done));
    assert_ok(file_erase(path, &err));
    assert_string_equal(done, "fud");
    assert_int_equal(access(path, F_OK), -1);
}

static void
what_is_removed_goes_by_its_name_alone_and_for_good(void **state)
{
    (void)state;
    struct st_err err = {0};
    char link[sizeof(path) + 8];
    snprintf(link, sizeof(link), "%s.link", path);
    assert_ok(file_write(path, 0400, "one", 3, &err));
    assert_int_equal(symlink(path, link), 0);
    memset(done, 0, sizeof(done));
    assert_ok(file_remove(link, &err));
    assert_string_equal(done, "ud");
    assert_holds("one");
    assert_ok(file_remove(path, &err));
    assert_int_equal(access(path, F_OK), -1);
    assert_ok(file_remove(path, &err));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_flushed_again_under_its_name_and_then_its_folder),
        TEST(it_is_written_only_where_each_flush_succeeds),
        TEST(what_is_erased_is_overwritten_before_it_is_gone_and_gone_for_good),
        TEST(what_is_removed_goes_by_its_name_alone_and_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Lines on disk: bounded, private, whole. */
#include "nms/audit_file.h"
#include "tests/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    FILES = 3,
    MAX = 2000, /* bytes of each */
    LINE = 100  /* of each line, about */
};

struct disk {
    char dir[64];
    struct audit_file file;
};

static void
open_log(struct disk *disk)
{
    struct st_err err = {0};
    assert_ok(audit_file_init(&disk->file, disk->dir, "log", FILES, MAX, &err));
}

static int
setup(void **state)
{
    static struct disk disk;
    strcpy(disk.dir, "/tmp/smalltown-audit-XXXXXX");
    assert_non_null(mkdtemp(disk.dir));
    open_log(&disk);
    *state = &disk;
    return 0;
}

static const char *
path_of(const struct disk *disk, unsigned n)
{
    static char path[128];
    snprintf(path, sizeof(path), n ? "%s/log.log.%u" : "%s/log.log", disk->dir, n);
    return path;
}

static int
teardown(void **state)
{
    struct disk *disk = *state;
    audit_file_close(&disk->file);
    for (unsigned n = 0; n <= FILES; n++)
        unlink(path_of(disk, n));
    rmdir(path_of(disk, 0));
    assert_int_equal(rmdir(disk->dir), 0);
    return 0;
}

static size_t
line_of(uint64_t number, char out[AUDIT_LINE_MAX])
{
    const struct st_err ok = {0};
    struct audit_line line;
    audit_line_fill(&line, "unlock", "smalltown-00112233445566778899aabbccddeeff", NULL,
                    &ok);
    line.number = number;
    return audit_line_format(&line, out);
}

static enum st_code
append(struct disk *disk, uint64_t number)
{
    struct st_err err = {0};
    char line[AUDIT_LINE_MAX];
    const size_t len = line_of(number, line);
    return audit_file_append(&disk->file, line, len, &err);
}

static void
append_all(struct disk *disk, uint64_t from, uint64_t to)
{
    for (uint64_t number = from; number <= to; number++)
        assert_code(append(disk, number), ST_OK);
}

struct numbers {
    uint64_t at[1000];
    size_t count, limit;
};
static bool
note(void *arg, const struct audit_line *line)
{
    struct numbers *numbers = arg;
    numbers->at[numbers->count++] = line->number;
    return numbers->count < numbers->limit;
}

static struct numbers
numbers_after(const struct disk *disk, uint64_t after, bool backwards, size_t limit)
{
    struct numbers numbers = {.limit = limit};
    audit_file_each(&disk->file, after, backwards, note, &numbers);
    return numbers;
}

/* These and no others, one after the other. */
static void
holds(const struct disk *disk, uint64_t from, uint64_t to)
{
    const struct numbers forwards = numbers_after(disk, 0, false, 1000);
    const struct numbers backwards = numbers_after(disk, 0, true, 1000);
    assert_int_equal(forwards.count, to - from + 1);
    assert_int_equal(backwards.count, to - from + 1);
    for (size_t i = 0; i < forwards.count; i++) {
        assert_int_equal(forwards.at[i], from + i);
        assert_int_equal(backwards.at[i], to - i);
    }
    assert_int_equal(audit_file_last(&disk->file), to);
}

static void
append_text(const char *path, const void *text, size_t len)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static void
what_was_written_is_read_in_both_directions(void **state)
{
    struct disk *disk = *state;
    assert_int_equal(audit_file_last(&disk->file), 0);
    assert_int_equal(numbers_after(disk, 0, true, 10).count, 0);
    append_all(disk, 1, 40); /* two files and more */
    holds(disk, 1, 40);
    struct numbers some = numbers_after(disk, 30, false, 3);
    assert_int_equal(some.count, 3);
    assert_int_equal(some.at[0], 31);
    some = numbers_after(disk, 0, true, 3);
    assert_int_equal(some.count, 3);
    assert_int_equal(some.at[2], 38);
    assert_int_equal(numbers_after(disk, 40, false, 3).count, 0);
}

static void
N46_the_files_are_as_many_and_as_long_as_they_may_be(void **state)
{
    struct disk *disk = *state;
    struct stat st;
    append_all(disk, 1, 500);
    for (unsigned n = 0; n < FILES; n++) {
        assert_int_equal(stat(path_of(disk, n), &st), 0);
        assert_true(st.st_size <= MAX);
        assert_true(n == 0 || st.st_size > MAX - 2 * LINE);
    }
    assert_int_equal(stat(path_of(disk, FILES), &st), -1);
    const struct numbers numbers = numbers_after(disk, 0, true, 1000);
    assert_true(numbers.count > (FILES - 1) * MAX / LINE / 2);
    holds(disk, 501 - numbers.count, 500);
}

static void
N55_the_files_are_private_under_any_umask(void **state)
{
    struct disk *disk = *state;
    struct stat st;
    const mode_t before = umask(0);
    append_all(disk, 1, 40);
    umask(before);
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(stat(path_of(disk, n), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void
it_goes_on_where_it_was(void **state)
{
    struct disk *disk = *state;
    append_all(disk, 1, 5);
    audit_file_close(&disk->file);
    open_log(disk);
    assert_int_equal(audit_file_last(&disk->file), 5);
    append_all(disk, 6, 40);
    holds(disk, 1, 40);
}

static void
N35_a_line_that_a_crash_cut_does_not_run_into_the_next(void **state)
{
    struct disk *disk = *state;
    char line[AUDIT_LINE_MAX];
    const size_t len = line_of(4, line);
    for (size_t cut = 1; cut < len; cut += 7) {
        unlink(path_of(disk, 0));
        append_all(disk, 1, 3);
        audit_file_close(&disk->file);
        append_text(path_of(disk, 0), line, cut);
        open_log(disk);
        assert_int_equal(audit_file_last(&disk->file), 3);
        holds(disk, 1, 3);
        append_all(disk, 4, 5);
        holds(disk, 1, 5);
        audit_file_close(&disk->file);
        open_log(disk);
    }
}

/* What a file system may leave after a power cut: a length, and nothing in it. */
static void
zeroes_at_the_end_are_cut_off(void **state)
{
    struct disk *disk = *state;
    static const char zeroes[1500];
    append_all(disk, 1, 3);
    audit_file_close(&disk->file);
    append_text(path_of(disk, 0), zeroes, sizeof(zeroes));
    open_log(disk);
    append_all(disk, 4, 5);
    holds(disk, 1, 5);
    audit_file_close(&disk->file);
    assert_int_equal(truncate(path_of(disk, 0), 0), 0);
    append_text(path_of(disk, 0), zeroes, sizeof(zeroes));
    open_log(disk);
    append_all(disk, 6, 7);
    holds(disk, 6, 7);
}

static void
what_is_no_line_is_left_out(void **state)
{
    struct disk *disk = *state;
    append_all(disk, 1, 3);
    audit_file_close(&disk->file);
    append_text(path_of(disk, 0), "\n\nhello\n\0\n", 10);
    open_log(disk);
    append_all(disk, 4, 5);
    holds(disk, 1, 5);
}

/* A real refusal of the kernel, in the middle of a line. */
static void
N46_a_full_disk_takes_no_half_line_and_is_survived(void **state)
{
    struct disk *disk = *state;
    struct rlimit before, full;
    char line[AUDIT_LINE_MAX];
    const size_t len = line_of(1, line);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    append_all(disk, 1, 3);
    full = before;
    full.rlim_cur = 3 * len + len / 2;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    for (int i = 0; i < 5; i++)
        assert_code(append(disk, 4), ST_INTERNAL);
    struct stat st;
    assert_int_equal(stat(path_of(disk, 0), &st), 0);
    assert_int_equal(st.st_size, 3 * len);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    append_all(disk, 4, 5);
    holds(disk, 1, 5);
}

static uint64_t left; /* bytes on the disk; 0: as many as there are */

int __real_fstatvfs(int fd, struct statvfs *out);
int __wrap_fstatvfs(int fd, struct statvfs *out);
int
__wrap_fstatvfs(int fd, struct statvfs *out)
{
    const int status = __real_fstatvfs(fd, out);
    if (left)
        out->f_bavail = left / out->f_frsize;
    return status;
}

static void
N46_what_is_left_of_a_disk_is_for_the_records(void **state)
{
    struct disk *disk = *state;
    append_all(disk, 1, 2);
    left = AUDIT_SPARES - 4096;
    assert_code(append(disk, 3), ST_INTERNAL);
    left = AUDIT_SPARES;
    append_all(disk, 3, 3);
    left = 0;
    append_all(disk, 4, 4);
    holds(disk, 1, 4);
}

static void
what_is_no_file_is_refused_and_not_followed(void **state)
{
    struct disk *disk = *state;
    char other[128];
    struct stat st;
    assert_int_equal(mkdir(path_of(disk, 0), 0700), 0);
    assert_code(append(disk, 1), ST_INTERNAL);
    assert_int_equal(rmdir(path_of(disk, 0)), 0);
    assert_int_equal(mkfifo(path_of(disk, 0), 0600), 0);
    assert_code(append(disk, 1), ST_INTERNAL);
    assert_int_equal(unlink(path_of(disk, 0)), 0);
    snprintf(other, sizeof(other), "%s/other", disk->dir);
    assert_int_equal(symlink(other, path_of(disk, 0)), 0);
    assert_code(append(disk, 1), ST_INTERNAL);
    assert_int_equal(stat(other, &st), -1);
    assert_int_equal(unlink(path_of(disk, 0)), 0);
    append_all(disk, 1, 2);
    holds(disk, 1, 2);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_read_in_both_directions),
        TEST(N46_the_files_are_as_many_and_as_long_as_they_may_be),
        TEST(N55_the_files_are_private_under_any_umask),
        TEST(it_goes_on_where_it_was),
        TEST(N35_a_line_that_a_crash_cut_does_not_run_into_the_next),
        TEST(zeroes_at_the_end_are_cut_off),
        TEST(what_is_no_line_is_left_out),
        TEST(N46_a_full_disk_takes_no_half_line_and_is_survived),
        TEST(N46_what_is_left_of_a_disk_is_for_the_records),
        TEST(what_is_no_file_is_refused_and_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

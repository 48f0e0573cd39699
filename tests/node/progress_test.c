/* What somebody reads who waits for a wipe. */
#include "node/progress.h"
#include "tests/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1024ull * 1024)

static void
assert_text(uint64_t done, uint64_t total, double seconds, const char *expected)
{
    char text[PROGRESS_TEXT_MAX];
    progress_text(done, total, seconds, text);
    assert_string_equal(text, expected);
}

static void
it_says_how_far_how_fast_and_how_long(void **state)
{
    (void)state;
    assert_text(0, 100 * MIB, 1, "0%");
    assert_text(50 * MIB, 100 * MIB, 0, "50%");
    assert_text(25 * MIB, 100 * MIB, 10, "25% 2.5 MiB/s, 31 s left");
    assert_text(500 * MIB, 100000 * MIB, 10, "0% 50 MiB/s, 34 min left");
    assert_text(1000 * MIB, 1000000 * MIB, 10, "0% 100 MiB/s, 2 h 46 min left");
    assert_text(1000 * MIB, 100000000 * MIB, 10, "0% 100 MiB/s, 11 d 13 h left");
    assert_text(100 * MIB, 100 * MIB, 10, "100% 10 MiB/s, 1 s left");
    assert_text(1, UINT64_MAX, 10000, "0% 0.0 MiB/s, years left");
    assert_text(0, 0, 1, "100%");
}

static void
a_terminal_is_told_at_once_and_a_log_once_a_minute(void **state)
{
    (void)state;
    assert_false(progress_is_due(true, false, 0.1));
    assert_true(progress_is_due(true, true, 0.6));
    assert_false(progress_is_due(false, false, 9));
    assert_true(progress_is_due(false, false, 10));
    assert_false(progress_is_due(false, true, 59));
    assert_true(progress_is_due(false, true, 60));
}

/* With this file as standard input and error, a minute after the beginning; what was
 * written. */
static void
say(const char *path, const char *volume, bool terminal, char out[512])
{
    struct progress progress;
    const int kept[] = {dup(STDIN_FILENO), -1, dup(STDERR_FILENO)};
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(kept[0] >= 0 && kept[2] >= 0 && fd >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    progress_begin(&progress, volume);
    assert_false(progress.terminal && !isatty(STDIN_FILENO)); /* nobody sits there */
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    progress_begin(&progress, volume);
    assert_int_equal(progress.terminal, terminal);
    progress_at(&progress, MIB, 4 * MIB); /* too early */
    progress.told -= 60;
    progress.began -= 60;
    progress_at(&progress, MIB, 4 * MIB);
    progress_at(&progress, 2 * MIB, 4 * MIB); /* too early again */
    progress_end(&progress);
    fflush(stderr);
    for (int i = 0; i <= STDERR_FILENO; i += STDERR_FILENO) {
        dup2(kept[i], i);
        close(kept[i]);
    }
    ssize_t n = terminal ? 0 : pread(fd, out, 511, 0);
    out[n > 0 ? n : 0] = 0;
    close(fd);
}

static void
a_log_has_a_whole_line(void **state)
{
    (void)state;
    char path[] = "/tmp/st-progress-XXXXXX", out[512];
    close(mkstemp(path));
    say(path, "/dev/vda3", false, out);
    unlink(path);
    assert_non_null(strstr(out, "wipe volume=/dev/vda3 progress=\"25% 0.0 MiB/s, "));
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    assert_null(strchr(out, '\r'));
}

/* A line and its end, which may come one after the other. */
static size_t
read_line(int fd, char out[512])
{
    size_t len = 0;
    out[0] = 0;
    while (len <= 4 || strcmp(out + len - 4, "\r\033[K")) {
        ssize_t n = read(fd, out + len, 511 - len);
        assert_true(n > 0);
        len += (size_t)n;
        out[len] = 0;
    }
    return len;
}

static void
a_terminal_has_one_line_in_its_place(void **state)
{
    (void)state;
    char path[64], out[512];
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(fd >= 0 && !grantpt(fd) && !unlockpt(fd) && !ptsname_r(fd, path, 64));
    int held = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    say(path, "/dev/vda3", true, out);
    (void)read_line(fd, out);
    assert_non_null(strstr(out, "\r\033[Kwipe volume=/dev/vda3 25% 0.0 MiB/s, "));
    assert_null(strchr(out, '\n'));
    say(path, "/dev/disk/by-id/nvme-eui.00000000000000000000000000000000-part3-and-more",
        true, out);
    assert_int_equal(read_line(fd, out), 4 + 79 + 4);
    close(held);
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_how_far_how_fast_and_how_long),
        cmocka_unit_test(a_terminal_is_told_at_once_and_a_log_once_a_minute),
        cmocka_unit_test(a_log_has_a_whole_line),
        cmocka_unit_test(a_terminal_has_one_line_in_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* admin.pem, look by look: what is taken, what is tried again, and what is said of it. */
#include "nms/admin_file.h"
#include "proto/file.h"
#include "tests/folder.h"
#include "tests/nms/town.h"

#include <stdarg.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WAIT_MS = 10000,
    NOBODY = 65534,
    LOOKS = 20, /* more than there are between two tries */
};

/* The town's master, in a folder that its own thread does not look at. */
static struct {
    struct nms nms;
    struct admin_file file;
    char dir[FOLDER_MAX], path[FOLDER_MAX + 16];
} place;

static _Atomic bool is_1969;
static unsigned lines; /* about the file */

int64_t __real_nms_now(void);
int64_t __wrap_nms_now(void);
int64_t
__wrap_nms_now(void)
{
    return is_1969 ? -60 : __real_nms_now();
}

void __wrap_event(const char *word, const char *format, ...);
void
__wrap_event(const char *word, const char *format, ...)
{
    va_list values;
    lines += strcmp(word, "admin") == 0;
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    putchar('\n');
}

static int
set_up(void **state)
{
    if (town_setup(state) || folder_make(place.dir, "admin"))
        return 1;
    const struct town *town = *state;
    place.nms.state = town->nms->state;
    place.nms.replica = town->nms->replica;
    place.nms.audit = town->nms->audit;
    place.nms.member_id = town->nms->member_id;
    snprintf(place.nms.dir, sizeof(place.nms.dir), "%s", place.dir);
    snprintf(place.path, sizeof(place.path), "%s/admin.pem", place.dir);
    place.file = (struct admin_file){0};
    is_1969 = false;
    lines = 0;
    return 0;
}

static int
tear_down(void **state)
{
    return folder_remove(place.dir) || town_teardown(state);
}

static void
put(const struct town *town, const char *path, mode_t mode)
{
    const struct cert *cert = &town->stranger.cert;
    AUTO(st_freep) char *pem = NULL;
    struct st_err err = {0};
    assert_ok(cert_to_pem(cert->der, cert->len, &pem, &err));
    assert_ok(file_write(path, mode, pem, strlen(pem), &err));
}

static void
look(unsigned times)
{
    while (times-- > 0)
        admin_file_look(&place.file, &place.nms, WAIT_MS);
}

/* As a daemon that owns its folder, and nothing else; the other threads stay who they
 * are. */
static void
look_as(uid_t user, unsigned times)
{
    const int before = setfsuid(user);
    look(times);
    setfsuid((uid_t)before);
}

static bool
is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static bool
is_listed(struct town *town)
{
    const Api__ListAdministratorsRequest request = API__LIST_ADMINISTRATORS_REQUEST__INIT;
    Api__ListAdministratorsResponse *list;
    struct st_err err = {0};
    assert_ok(town_call(town->admins, "ListAdministrators", &request.base,
                        &api__list_administrators_response__descriptor, &list, &err));
    const size_t count = list->n_administrators;
    town_answer_free(list);
    return count == 3; /* besides those of the town */
}

static void
remove_him(struct town *town)
{
    uint8_t sha256[SHA256_LEN];
    Api__RemoveAdministratorRequest request = API__REMOVE_ADMINISTRATOR_REQUEST__INIT;
    ProtobufCMessage *answer;
    struct st_err err = {0};
    cert_fingerprint(town->stranger.cert.der, town->stranger.cert.len, sha256);
    request.sha256 = (ProtobufCBinaryData){sizeof(sha256), sha256};
    assert_ok(town_call(town->admins, "RemoveAdministrator", &request.base,
                        &api__remove_administrator_response__descriptor, &answer, &err));
    town_answer_free(answer);
    assert_false(is_listed(town));
}

/* Root's `cp`, and a daemon that is not root. */
static void
a_file_that_this_master_may_not_write_is_taken_away(void **state)
{
    struct town *town = *state;
    put(town, place.path, 0444);
    if (geteuid() == 0)
        assert_int_equal(chown(place.dir, NOBODY, (gid_t)-1), 0);
    look_as(geteuid() == 0 ? NOBODY : geteuid(), 1);
    assert_false(is_there(place.path));
    assert_true(is_listed(town));
    assert_int_equal(lines, 0);
}

/* A thief who is an administrator himself took him off the list. */
static void
the_same_file_is_taken_as_often_as_it_is_put_there(void **state)
{
    struct town *town = *state;
    for (int times = 0; times < 3; times++) {
        put(town, place.path, 0644);
        look(1);
        assert_false(is_there(place.path));
        remove_him(town);
    }
}

static void
what_a_link_points_to_stays_as_it_was(void **state)
{
    struct town *town = *state;
    char target[sizeof(place.path) + 8];
    AUTO(st_freep) uint8_t *before = NULL, *after = NULL;
    size_t before_len, after_len;
    struct st_err err = {0};
    snprintf(target, sizeof(target), "%s/own.pem", place.dir);
    put(town, target, 0644);
    assert_ok(file_read(target, FILE_MAX_LEN, &before, &before_len, &err));
    assert_int_equal(symlink(target, place.path), 0);
    look(1);
    assert_true(is_listed(town));
    assert_false(is_there(place.path));
    assert_ok(file_read(target, FILE_MAX_LEN, &after, &after_len, &err));
    assert_int_equal(after_len, before_len);
    assert_memory_equal(after, before, before_len);
}

/* Else he would be back after each `stctl admin remove`, and each restart. */
static void
a_file_that_cannot_be_taken_away_is_said_and_lists_him_once(void **state)
{
    struct town *town = *state;
    if (geteuid() != 0)
        skip();
    put(town, place.path, 0644);
    assert_int_equal(chmod(place.dir, 0755), 0);
    look_as(NOBODY, LOOKS);
    assert_true(is_there(place.path));
    assert_true(is_listed(town));
    assert_int_equal(lines, 1);
    remove_him(town);
    look_as(NOBODY, LOOKS);
    assert_false(is_listed(town));
    assert_int_equal(lines, 1);
    look(LOOKS); /* now it can */
    assert_false(is_there(place.path));
    assert_false(is_listed(town));
    put(town, place.path, 0644);
    look(1);
    assert_true(is_listed(town));
}

static void
what_is_refused_is_tried_again_and_said_once(void **state)
{
    struct town *town = *state;
    is_1969 = true; /* his certificate begins in 1970 */
    put(town, place.path, 0644);
    look(3 * LOOKS);
    is_1969 = false;
    assert_true(is_there(place.path));
    assert_false(is_listed(town));
    assert_int_equal(lines, 1);
    look(LOOKS);
    assert_false(is_there(place.path));
    assert_true(is_listed(town));
    assert_int_equal(lines, 1);
}

static void
what_is_no_certificate_is_said_once_and_stays_until_one_is_there(void **state)
{
    struct town *town = *state;
    struct st_err err = {0};
    assert_ok(file_write(place.path, 0644, "none", 4, &err));
    look(LOOKS);
    assert_true(is_there(place.path));
    assert_int_equal(lines, 1);
    assert_int_equal(unlink(place.path), 0);
    look(1);
    assert_ok(file_write(place.path, 0644, "none", 4, &err));
    look(LOOKS);
    assert_int_equal(lines, 2);
    put(town, place.path, 0644);
    look(1);
    assert_true(is_listed(town));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_file_that_this_master_may_not_write_is_taken_away),
        TEST(the_same_file_is_taken_as_often_as_it_is_put_there),
        TEST(what_a_link_points_to_stays_as_it_was),
        TEST(a_file_that_cannot_be_taken_away_is_said_and_lists_him_once),
        TEST(what_is_refused_is_tried_again_and_said_once),
        TEST(what_is_no_certificate_is_said_once_and_stays_until_one_is_there),
    };
    return cmocka_run_group_tests(tests, town_group_setup, town_group_teardown);
}

#include "tests/raft/group.h"

#include "proto/clock.h"
#include "tests/cmocka.h"
#include "tests/patience.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 60000,
    TRY_MS = 5000,
};

static pthread_mutex_t fatal_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fatal_said = PTHREAD_COND_INITIALIZER;
static char fatal_text[512];

static void
on_fatal(const char *sentence)
{
    pthread_mutex_lock(&fatal_lock);
    snprintf(fatal_text, sizeof(fatal_text), "%s", sentence);
    pthread_cond_signal(&fatal_said);
    pthread_mutex_unlock(&fatal_lock);
    for (;;)
        pause();
}

const char *
group_await_fatal(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1 + patience_ms(PATIENCE_MS) / 1000;
    pthread_mutex_lock(&fatal_lock);
    while (!fatal_text[0] &&
           !pthread_cond_clockwait(&fatal_said, &fatal_lock, CLOCK_MONOTONIC, &until))
        ;
    static char said[sizeof(fatal_text)];
    memcpy(said, fatal_text, sizeof(said));
    fatal_text[0] = 0;
    pthread_mutex_unlock(&fatal_lock);
    return said;
}

struct group_member *
group_of(struct group *group, uint64_t id)
{
    assert_in_range(id, 1, group->count);
    return &group->members[id - 1];
}

/* Addresses of this process alone, since the port is the same for all. */
static uint64_t
serial_of(uint64_t id)
{
    return id + 1;
}

static void
list_make(struct group *group)
{
    authority_list(&group->authority, 1 + group->revoked_count, group->revoked,
                   group->revoked_count, &group->list);
}

void
group_revoke(struct group *group, uint64_t id)
{
    group->revoked[group->revoked_count++] = serial_of(id);
    list_make(group);
}

void
group_init(struct group *group, unsigned count)
{
    static unsigned hosts;
    *group = (struct group){.count = count};
    authority_new(&group->authority);
    list_make(group);
    for (unsigned i = 0; i < count; i++) {
        struct group_member *m = &group->members[i];
        m->id = i + 1;
        strcpy(m->dir, "/tmp/smalltown-test-XXXXXX");
        assert_non_null(mkdtemp(m->dir));
        snprintf(m->address, sizeof(m->address), "127.%d.%d.%u:7834",
                 128 + (getpid() >> 8 & 63), getpid() & 255, ++hosts);
        authority_issue(&group->authority, m->id, serial_of(m->id),
                        "serverAuth,clientAuth", &m->issued);
        counters_init(&m->counters);
    }
}

static void
remove_folder(const char *path)
{
    char file[512];
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(file);
    }
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

void
group_end(struct group *group)
{
    for (unsigned i = 0; i < group->count; i++)
        group_close(group, i + 1);
    for (unsigned i = 0; i < group->count; i++) {
        counters_free(&group->members[i].counters);
        secret_wipe(&group->members[i].issued.key);
        remove_folder(group->members[i].dir);
    }
    secret_wipe(&group->authority.key);
}

enum st_code
group_open(struct group *group, uint64_t id, enum replica_begin begin, struct st_err *err)
{
    struct group_member *m = group_of(group, id);
    const struct replica_credentials credentials =
        authority_credentials(&group->authority, &m->issued, &group->list);
    const struct replica_config config = {
        .dir = m->dir,
        .id = id,
        .address = m->address,
        .begin = begin,
        .credentials = &credentials,
        .machine = counters_machine(&m->counters),
        .fatal = on_fatal,
    };
    return replica_open(&config, &m->replica, err);
}

void
group_close(struct group *group, uint64_t id)
{
    struct group_member *m = group_of(group, id);
    replica_close(m->replica);
    m->replica = NULL;
}

uint64_t
group_leader(struct group *group)
{
    for (int64_t until = clock_ms() + patience_ms(PATIENCE_MS); clock_ms() < until;
         sleep_ms(5)) {
        for (unsigned i = 0; i < group->count; i++) {
            struct replica_status status = {0};
            if (group->members[i].replica)
                replica_status(group->members[i].replica, &status);
            if (status.serving)
                return status.id;
        }
    }
    fail_msg("nobody leads");
    return 0;
}

void
group_step(struct group *group, enum replica_step step, uint64_t id)
{
    struct st_err err = {0};
    for (int64_t until = clock_ms() + patience_ms(PATIENCE_MS); clock_ms() < until;
         sleep_ms(20)) {
        struct group_member *leader = group_of(group, group_leader(group));
        err = (struct st_err){0};
        if (!replica_step_wait(leader->replica, step, id, group_of(group, id)->address,
                               20000, &err))
            return;
        if (err.code != ST_UNAVAILABLE && err.code != ST_FAILED_PRECONDITION)
            break;
    }
    fail_msg("step %d of member %d: %s", (int)step, (int)id, err.text);
}

void
group_form(struct group *group)
{
    struct st_err err = {0};
    assert_ok(group_open(group, 1, REPLICA_BOOTSTRAP, &err));
    for (uint64_t id = 2; id <= group->count; id++) {
        assert_ok(group_open(group, id, REPLICA_JOIN, &err));
        group_step(group, REPLICA_STEP_ADD, id);
        group_step(group, REPLICA_STEP_PROMOTE, id);
    }
}

uint64_t
group_propose(struct group *group, uint64_t id, const char *command)
{
    struct replica_result result;
    struct st_err err = {0};
    char text[24];
    for (int64_t until = clock_ms() + patience_ms(PATIENCE_MS); clock_ms() < until;) {
        err = (struct st_err){0};
        if (replica_propose_wait(group_of(group, id)->replica, command, strlen(command),
                                 TRY_MS, &result, &err)) {
            assert_int_equal(err.code, ST_UNAVAILABLE);
            continue;
        }
        snprintf(text, sizeof(text), "%.*s", (int)result.len, (char *)result.bytes);
        return strtoull(text, NULL, 10);
    }
    fail_msg("%s through member %d: %s", command, (int)id, err.text);
    return 0;
}

uint64_t
group_read(struct group *group, uint64_t id, const char *name)
{
    struct group_member *m = group_of(group, id);
    struct st_err err = {0};
    for (int64_t until = clock_ms() + patience_ms(PATIENCE_MS); clock_ms() < until;)
        if (!replica_barrier_wait(m->replica, TRY_MS, &err))
            return counters_get(&m->counters, name);
    fail_msg("a barrier through member %d: %s", (int)id, err.text);
    return 0;
}

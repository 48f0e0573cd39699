#include "tests/raft/member.h"

#include "tests/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
member_init(struct member *member)
{
    *member = (struct member){.dir = "/tmp/smalltown-test-XXXXXX"};
    assert_non_null(mkdtemp(member->dir));
    counters_init(&member->counters);
}

void
member_end(struct member *member)
{
    member_close(member);
    counters_free(&member->counters);
    static const char *const names[] = {"store.mdb", "store.mdb-lock", "store.lock"};
    char path[80];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", member->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(member->dir), 0);
}

enum st_code
member_open(struct member *member, bool bootstrap, struct st_err *err)
{
    struct replica_config config = {.dir = member->dir,
                                    .id = 1,
                                    .address = "127.0.0.1:7834",
                                    .begin = bootstrap ? REPLICA_BOOTSTRAP : REPLICA_OPEN,
                                    .machine = counters_machine(&member->counters),
                                    .fatal = member->fatal};
    return replica_open(&config, &member->replica, err);
}

void
member_close(struct member *member)
{
    replica_close(member->replica);
    member->replica = NULL;
}

uint64_t
member_propose(struct member *member, const char *command)
{
    struct st_err err = {0};
    struct replica_result result;
    assert_ok(replica_propose_wait(member->replica, command, strlen(command), 20000,
                                   &result, &err));
    char text[24];
    snprintf(text, sizeof(text), "%.*s", (int)result.len, (char *)result.bytes);
    return strtoull(text, NULL, 10);
}

/* Reading back: some lines of each kind's files, then the right ones of all of them. */
#include "nms/audit_internal.h"

#include "proto/scope.h"

#include <stdlib.h>
#include <string.h>

struct collecting {
    const struct audit_query *query;
    size_t wanted; /* of this kind */
    size_t found;  /* of this kind */
    size_t count, room;
    struct audit_line *lines;
    bool no_memory;
};

static bool
collect(void *arg, const struct audit_line *line)
{
    struct collecting *collecting = arg;
    const char *node = collecting->query->node;
    if (strncmp(line->subject, node, strlen(node)) != 0)
        return true;
    if (collecting->count == collecting->room) {
        const size_t room = collecting->room ? 2 * collecting->room : 64;
        struct audit_line *lines =
            reallocarray(collecting->lines, room, sizeof(*collecting->lines));
        collecting->no_memory = !lines;
        if (!lines)
            return false;
        collecting->lines = lines;
        collecting->room = room;
    }
    collecting->lines[collecting->count++] = *line;
    return ++collecting->found < collecting->wanted;
}

static int
by_number(const void *a, const void *b)
{
    const struct audit_line *one = a, *other = b;
    return (one->number > other->number) - (one->number < other->number);
}

static uint64_t
newest_of(const struct audit_file files[AUDIT_KINDS])
{
    uint64_t newest = 0;
    for (int kind = 0; kind < AUDIT_KINDS; kind++) {
        const uint64_t last = audit_file_last(&files[kind]);
        newest = last > newest ? last : newest;
    }
    return newest;
}

enum st_code
audit_collect(const struct audit_file files[AUDIT_KINDS], const struct audit_query *query,
              struct audit_answer *out, struct st_err *err)
{
    /* One more than is asked for says that there are more. */
    struct collecting collecting = {.query = query, .wanted = query->lines + 1};
    const bool tail = query->after == 0;
    for (int kind = 0; kind < AUDIT_KINDS && !collecting.no_memory; kind++) {
        collecting.found = 0;
        audit_file_each(&files[kind], query->after, tail, collect, &collecting);
    }
    AUTO(st_freep) struct audit_line *lines = collecting.lines;
    if (collecting.no_memory)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the audit");
    size_t count = collecting.count;
    if (count > 0)
        qsort(lines, count, sizeof(*lines), by_number);
    const bool more = count > query->lines;
    if (more && tail)
        memmove(lines, lines + count - query->lines, query->lines * sizeof(*lines));
    count = more ? query->lines : count;
    *out = (struct audit_answer){
        .count = count,
        .more = more && !tail,
        .next = more && !tail ? lines[count - 1].number : newest_of(files),
    };
    if (out->next < query->after)
        out->next = query->after;
    out->lines = TAKE(lines);
    return ST_OK;
}

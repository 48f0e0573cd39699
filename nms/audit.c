#include "nms/audit_internal.h"

#include "nms/audit_limit.h"
#include "proto/clock.h"
#include "proto/event.h"
#include "proto/file.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MIB = 1024 * 1024,
    LINES_DEFAULT = 100,
    FLUSH_MS = 1000, /* between two: the store has the same disk */
};

static const struct {
    const char *name;
    unsigned files;
    size_t bytes; /* of one */
    struct audit_rate each, all;
} kinds[AUDIT_KINDS] = {
    [AUDIT_CHANGE] = {"changes", 4, 2 * MIB, {0}, {0}},
    [AUDIT_NODE] = {"nodes", 6, 2 * MIB, {60, 10000}, {0}},
    [AUDIT_LOGIN] = {"logins", 2, 1 * MIB, {10, 60000}, {0}},
    [AUDIT_STRANGER] = {"strangers", 2, 2 * MIB, {100, 1000}, {1000, 100}},
};

struct waiting {
    struct waiting *next;
    enum audit_kind kind;
    size_t len;
    char text[];
};
struct reading {
    struct reading *next;
    struct audit_query query;
    audit_done done;
    void *arg;
};

struct audit {
    pthread_mutex_t lock; /* guards what follows, up to the next comment */
    pthread_cond_t changed;
    bool stopping;
    uint64_t number; /* of the last line */
    uint64_t lost;   /* lines that nobody will read */
    struct waiting *first, **end;
    size_t waiting;
    struct reading *readings;
    struct audit_limit limits[AUDIT_KINDS];
    /* The thread's alone. */
    char dir[AUDIT_PATH_MAX];
    struct audit_file files[AUDIT_KINDS];
    bool failing;
    int64_t flush_ms; /* when what was written is flushed; INT64_MAX: it is */
    int64_t flushed_ms;
    pthread_t thread;
};

static int64_t
wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
say_event(const struct audit_line *line)
{
    char words[AUDIT_LINE_MAX];
    audit_line_words(line, words);
    event(line->what, "%s", words);
}

/* With the lock. */
static void
enqueue(struct audit *audit, enum audit_kind kind, const struct audit_line *line)
{
    char text[AUDIT_LINE_MAX];
    struct audit_line numbered = *line;
    numbered.number = ++audit->number;
    numbered.time_ms = wall_us() / 1000;
    const size_t len = audit_line_format(&numbered, text);
    struct waiting *waiting =
        audit->waiting < AUDIT_WAITING_MAX ? malloc(sizeof(*waiting) + len) : NULL;
    if (!waiting) {
        audit->lost++;
        return;
    }
    *waiting = (struct waiting){.kind = kind, .len = len};
    memcpy(waiting->text, text, len);
    *audit->end = waiting;
    audit->end = &waiting->next;
    audit->waiting++;
    pthread_cond_signal(&audit->changed);
}

/* Whose lines are counted together.  Who is refused as a new node can call himself
 * something else each time. */
static void
name_of(enum audit_kind kind, const struct audit_line *line, char out[NAME_MAX_LEN + 1])
{
    const size_t size = NAME_MAX_LEN + 1;
    const bool made_up = REFUSES(0x4604, line->decision && !strcmp(line->what, "enrol"));
    if (kind == AUDIT_NODE && !made_up && !node_id_check(line->subject, NULL))
        snprintf(out, size, "%.16s %.46s", line->what, line->subject);
    else if (kind == AUDIT_LOGIN)
        snprintf(out, size, "%.16s %s", line->what, line->admin);
    else
        audit_limit_network(line->peer, out);
}

void
audit_say(struct audit *audit, enum audit_kind kind, const struct audit_line *line)
{
    char name[NAME_MAX_LEN + 1];
    bool pass = true;
    if (audit) {
        name_of(kind, line, name);
        pthread_mutex_lock(&audit->lock);
        pass = audit_limit_pass(&audit->limits[kind], name, line, clock_ms());
        if (pass)
            enqueue(audit, kind, line);
        else /* the thread wakes in time for what was counted */
            pthread_cond_signal(&audit->changed);
        pthread_mutex_unlock(&audit->lock);
    }
    if (pass)
        say_event(line);
}

/* ---- the thread ---- */

/* With the lock: one of the lines for what was counted. */
static bool
take_more(struct audit *audit, struct audit_line *out)
{
    for (int kind = 0; kind < AUDIT_KINDS; kind++)
        if (audit_limit_more(&audit->limits[kind], clock_ms(), audit->stopping, out)) {
            enqueue(audit, (enum audit_kind)kind, out);
            return true;
        }
    return false;
}

/* With the lock, which it lets go of to speak. */
static void
say_more(struct audit *audit)
{
    struct audit_line line;
    while (take_more(audit, &line)) {
        pthread_mutex_unlock(&audit->lock);
        say_event(&line);
        pthread_mutex_lock(&audit->lock);
    }
}

static int64_t
due_of(const struct audit *audit)
{
    int64_t due = audit->flush_ms;
    for (int kind = 0; kind < AUDIT_KINDS; kind++) {
        const int64_t own = audit_limit_due(&audit->limits[kind]);
        due = own < due ? own : due;
    }
    return due;
}

/* With the lock. */
static void
wait_for_work(struct audit *audit)
{
    while (!audit->first && !audit->readings && !audit->stopping) {
        const int64_t due = due_of(audit);
        const struct timespec until = {due / 1000, due % 1000 * 1000000};
        if (due == INT64_MAX)
            pthread_cond_wait(&audit->changed, &audit->lock);
        else if (due <= clock_ms())
            return;
        else
            (void)pthread_cond_clockwait(&audit->changed, &audit->lock, CLOCK_MONOTONIC,
                                         &until);
    }
}

static void
note_failure(struct audit *audit, const struct st_err *err)
{
    if (!audit->failing)
        event("audit",
              "decision=%s reason=\"%s\" hint=\"decisions go on; lines that cannot be "
              "written are counted\"",
              st_code_name(err->code), err->text);
    audit->failing = true;
}

static enum st_code
write_one(struct audit *audit, const struct waiting *waiting, struct st_err *err)
{
    struct audit_file *file = &audit->files[waiting->kind];
    enum st_code code;
    if (file->fd < 0 && (code = file_make_folder(audit->dir, err)))
        return code;
    return audit_file_append(file, waiting->text, waiting->len, err);
}

/* Lines come through again: how many did not is a line, too. */
static void
say_lost(struct audit *audit)
{
    struct audit_line line;
    struct st_err err = {0};
    pthread_mutex_lock(&audit->lock);
    const uint64_t lost = audit->lost;
    audit->lost = 0;
    if (lost > 0) {
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED,
                      "%" PRIu64 " lines before this one could not be written", lost);
        audit_line_fill(&line, "audit", NULL, NULL, &err);
        enqueue(audit, AUDIT_CHANGE, &line);
    }
    pthread_mutex_unlock(&audit->lock);
    if (lost > 0)
        say_event(&line);
}

static void
write_all(struct audit *audit, struct waiting *first)
{
    uint64_t lost = 0;
    struct st_err err = {0};
    bool written = false;
    for (struct waiting *next; first; first = next) {
        next = first->next;
        if (write_one(audit, first, &err)) {
            note_failure(audit, &err);
            lost++;
        } else {
            written = true;
            audit->failing = false;
        }
        free(first);
    }
    pthread_mutex_lock(&audit->lock);
    audit->lost += lost;
    pthread_mutex_unlock(&audit->lock);
    if (!written)
        return;
    if (audit->flush_ms == INT64_MAX)
        audit->flush_ms = audit->flushed_ms + FLUSH_MS;
    say_lost(audit);
}

static void
flush_all(struct audit *audit)
{
    struct st_err err = {0};
    for (int kind = 0; kind < AUDIT_KINDS; kind++)
        if (audit_file_flush(&audit->files[kind], &err))
            note_failure(audit, &err);
    audit->flushed_ms = clock_ms();
    audit->flush_ms = INT64_MAX;
}

static void
answer_all(struct audit *audit, struct reading *first)
{
    for (struct reading *next; first; first = next) {
        AUTO(st_freep) struct audit_line *lines = NULL;
        struct audit_answer answer = {0};
        struct st_err err = {0};
        next = first->next;
        if (!audit_collect(audit->files, &first->query, &answer, &err))
            lines = answer.lines;
        first->done(first->arg, &answer, &err);
        free(first);
    }
}

/* Everything that waits now.  False where there is nothing more to come. */
static bool
work(struct audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    wait_for_work(audit);
    say_more(audit);
    struct waiting *first = audit->first;
    struct reading *readings = audit->readings;
    const bool stopping = audit->stopping;
    audit->first = NULL;
    audit->end = &audit->first;
    audit->waiting = 0;
    audit->readings = NULL;
    pthread_mutex_unlock(&audit->lock);
    const bool any = first || readings;
    write_all(audit, first);
    if (audit->flush_ms <= clock_ms() || (stopping && audit->flush_ms != INT64_MAX))
        flush_all(audit);
    answer_all(audit, readings);
    return any || !stopping;
}

static void *
run(void *arg)
{
    struct audit *audit = arg;
    while (work(audit))
        ;
    return NULL;
}

static enum st_code
open_files(struct audit *audit, const char *dir, struct st_err *err)
{
    enum st_code code = ST_OK;
    snprintf(audit->dir, sizeof(audit->dir), "%s/audit", dir);
    for (int kind = 0; !code && kind < AUDIT_KINDS; kind++) {
        audit->limits[kind].each = kinds[kind].each;
        audit->limits[kind].all = kinds[kind].all;
        code = audit_file_init(&audit->files[kind], audit->dir, kinds[kind].name,
                               kinds[kind].files, kinds[kind].bytes, err);
    }
    return code;
}

/* Greater than any that was ever given, also where the files are gone, or the last lines
 * were not on the disk yet when the power went. */
static uint64_t
number_begin(const struct audit *audit)
{
    uint64_t number = (uint64_t)wall_us();
    for (int kind = 0; kind < AUDIT_KINDS; kind++) {
        const uint64_t last = audit_file_last(&audit->files[kind]);
        number = last > number ? last : number;
    }
    return number;
}

enum st_code
audit_start(const char *dir, struct audit **out, struct st_err *err)
{
    AUTO(st_freep) struct audit *audit = calloc(1, sizeof(*audit));
    enum st_code code;
    if (!audit)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for the audit");
    if ((code = open_files(audit, dir, err)))
        return code;
    audit->number = number_begin(audit);
    audit->flush_ms = INT64_MAX;
    audit->end = &audit->first;
    pthread_mutex_init(&audit->lock, NULL);
    pthread_cond_init(&audit->changed, NULL);
    if (pthread_create(&audit->thread, NULL, run, audit)) {
        pthread_cond_destroy(&audit->changed);
        pthread_mutex_destroy(&audit->lock);
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no thread for the audit");
    }
    *out = TAKE(audit);
    return ST_OK;
}

void
audit_stop(struct audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    const bool stopped = audit->stopping;
    audit->stopping = true;
    pthread_cond_signal(&audit->changed);
    pthread_mutex_unlock(&audit->lock);
    if (!stopped)
        pthread_join(audit->thread, NULL);
}

void
audit_free(struct audit *audit)
{
    if (!audit)
        return;
    for (int kind = 0; kind < AUDIT_KINDS; kind++)
        audit_file_close(&audit->files[kind]);
    for (struct waiting *next; audit->first; audit->first = next) {
        next = audit->first->next; /* said after the stop */
        free(audit->first);
    }
    pthread_cond_destroy(&audit->changed);
    pthread_mutex_destroy(&audit->lock);
    free(audit);
}

void
audit_read(struct audit *audit, const struct audit_query *query, audit_done done,
           void *arg)
{
    const struct audit_answer nothing = {0};
    struct st_err err = {0};
    struct reading *reading = malloc(sizeof(*reading));
    if (!reading) {
        (void)st_fail(&err, ST_RESOURCE_EXHAUSTED, "no memory to read the audit");
        done(arg, &nothing, &err);
        return;
    }
    *reading = (struct reading){.query = *query, .done = done, .arg = arg};
    if (reading->query.lines == 0 || reading->query.lines > AUDIT_READ_MAX)
        reading->query.lines = query->lines ? AUDIT_READ_MAX : LINES_DEFAULT;
    pthread_mutex_lock(&audit->lock);
    const bool stopping = audit->stopping;
    if (!stopping) {
        reading->next = audit->readings;
        audit->readings = reading;
        pthread_cond_signal(&audit->changed);
    }
    pthread_mutex_unlock(&audit->lock);
    if (!stopping)
        return;
    free(reading);
    (void)st_fail(&err, ST_UNAVAILABLE, "this master is shutting down");
    done(arg, &nothing, &err);
}

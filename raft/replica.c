#include "raft/replica_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
replica_die(void *arg, const struct st_err *err)
{
    struct replica *replica = arg;
    if (replica->fatal)
        replica->fatal(err->text);
    else
        fprintf(stderr, "smalltown: the store failed, ending: %s\n", err->text);
    abort();
}

/* libraft takes it that nobody does. */
static void
end_of_rivals(struct replica *replica)
{
    struct st_err err = {0};
    if (st_fail(
            &err, ST_INTERNAL,
            "member %llu leads in term %llu, and so does this one: they are two groups, "
            "as after `recover` while others ran; end one of them for good",
            (unsigned long long)replica->cure.rival,
            (unsigned long long)replica->raft.current_term))
        replica_die(replica, &err);
}

static void
moved(void *arg)
{
    struct replica *replica = arg;
    if (replica->cure.rival && !replica->ending)
        end_of_rivals(replica);
    if (replica->mesh && !replica->ending)
        mesh_follow(replica->mesh, &replica->raft.configuration);
    replica_publish(replica);
    if (raft_state(&replica->raft) == RAFT_UNAVAILABLE && !replica->ending) {
        struct st_err err = {0};
        if (st_fail(&err, ST_INTERNAL, "the consensus library gave up: %s",
                    raft_errmsg(&replica->raft)))
            replica_die(replica, &err);
    }
    replica_pump(replica);
}

static void
turned_away(void *arg, uint64_t count, const char *last)
{
    const struct replica *replica = arg;
    if (replica->turned_away)
        replica->turned_away(count, last);
}

static void
raft_closed(struct raft *raft)
{
    struct replica *replica = raft->data;
    uv_close((uv_handle_t *)&replica->wake.poll, NULL);
}

static void
mesh_closed(void *arg)
{
    struct replica *replica = arg;
    raft_close(&replica->raft, raft_closed);
}

/* What was sent calls back while libraft is still there. */
static void
begin_close(struct replica *replica)
{
    if (replica->mesh)
        mesh_close(replica->mesh, mesh_closed, replica);
    else
        mesh_closed(replica);
}

static void
on_wake(void *arg)
{
    struct replica *replica = arg;
    pthread_mutex_lock(&replica->lock);
    bool close = replica->close;
    pthread_mutex_unlock(&replica->lock);
    bool first = close && !replica->ending;
    replica->ending |= close;
    replica_hand_places_on(replica);
    replica_pump(replica);
    if (first)
        begin_close(replica);
}

static void *
run(void *arg)
{
    struct replica *replica = arg;
    uv_run(&replica->loop, UV_RUN_DEFAULT);
    replica_refuse_rest(replica);
    return NULL;
}

static void
store_broke(void *arg, const struct st_err *err)
{
    struct replica *replica = arg;
    io_break(&replica->io, err);
}

static enum st_code
fail_raft(struct replica *replica, int status, const char *what, struct st_err *err)
{
    if (status == RAFT_CANTBOOTSTRAP)
        return st_fail(err, ST_ALREADY_EXISTS, "this folder holds a group already");
    if (replica->start_err.code || replica->io.load_err.code) {
        if (err)
            *err = replica->start_err.code ? replica->start_err : replica->io.load_err;
        return st_wrap(err, "%s", what);
    }
    return st_fail(err, status == RAFT_CORRUPT ? ST_DATA_LOSS : ST_INTERNAL,
                   "cannot %s: %s: %s", what, raft_strerror(status),
                   raft_errmsg(&replica->raft));
}

static bool
begins(const struct replica_config *config)
{
    return config->begin == REPLICA_BOOTSTRAP || config->begin == REPLICA_JOIN;
}

/* The folder must be this member's, or empty where a group is to begin. */
static enum st_code
check_owner(struct replica *replica, const struct replica_config *config,
            struct st_err *err)
{
    struct store_head head;
    enum st_code code = store_head(replica->store, &head, err);
    if (code)
        return code;
    if (begins(config) && head.member)
        return st_fail(err, ST_ALREADY_EXISTS, "%s holds a group already", config->dir);
    if (!begins(config) && !head.member)
        return st_fail(err, ST_NOT_FOUND, "%s holds no group", config->dir);
    if (config->begin == REPLICA_RECOVER && !head.applied)
        return st_fail(err, ST_NOT_FOUND, "%s was never sent any records", config->dir);
    if (!begins(config) && head.member != config->id)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "%s belongs to member %llu, this is %llu", config->dir,
                       (unsigned long long)head.member, (unsigned long long)config->id);
    return ST_OK;
}

/* From here on the folder is not joined with again, whatever becomes of this try. */
static enum st_code
own(struct replica *replica, uint64_t id, struct st_err *err)
{
    struct store_batch *batch = store_batch_new();
    if (!batch)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    store_put_member(batch, id);
    return store_write(replica->store, batch, err);
}

/* In place of what group there was, or none. */
static enum st_code
be_alone(struct replica *replica, const struct replica_config *config, struct st_err *err)
{
    struct raft_configuration group;
    raft_configuration_init(&group);
    int status = raft_configuration_add(&group, config->id, config->address, RAFT_VOTER);
    if (!status)
        status = config->begin == REPLICA_BOOTSTRAP
                     ? raft_bootstrap(&replica->raft, &group)
                     : raft_recover(&replica->raft, &group);
    raft_configuration_close(&group);
    return status ? fail_raft(replica, status, "begin a group", err) : ST_OK;
}

/* Nobody is heard before the loop runs. */
static enum st_code
open_mesh(struct replica *replica, const struct replica_config *config,
          struct st_err *err)
{
    if (!config->credentials)
        return ST_OK;
    enum st_code code = replica_boot(replica, config->id, err);
    if (code)
        return code;
    struct mesh_config mesh = {
        .loop = &replica->loop,
        .id = config->id,
        .address = config->address,
        .credentials = config->credentials,
        .boot = replica->boot.number,
        .arg = replica,
        .announce = replica_announce,
        .admit = replica_admit,
        .refused = replica_refused,
        .receive = replica_on_message,
        .note = replica_on_note,
        .turned_away = turned_away,
        .changed = moved,
    };
    memcpy(mesh.boot_nonce, replica->boot.nonce, sizeof(mesh.boot_nonce));
    code = mesh_open(&mesh, &replica->mesh, err);
    if (!code)
        replica->io.link = mesh_link(replica->mesh);
    return code;
}

static enum st_code
start(struct replica *replica, const struct replica_config *config, struct st_err *err)
{
    bool alone = config->begin == REPLICA_BOOTSTRAP || config->begin == REPLICA_RECOVER;
    enum st_code code = alone ? be_alone(replica, config, err) : ST_OK;
    if (code)
        return code;
    raft_set_election_timeout(&replica->raft, ELECTION_MS);
    raft_set_heartbeat_timeout(&replica->raft, HEARTBEAT_MS);
    raft_set_pre_vote(&replica->raft, true);
    raft_set_snapshot_threshold(&replica->raft, LOG_ENTRIES_MAX);
    raft_set_snapshot_trailing(&replica->raft, LOG_ENTRIES_MAX);
    raft_set_max_catch_up_round_duration(&replica->raft, 60 * 1000);
    raft_set_install_snapshot_timeout(&replica->raft, SNAPSHOT_MS);
    int status = raft_start(&replica->raft);
    if (status)
        return fail_raft(replica, status, "load the group", err);
    replica->started = true;
    cure_lead(&replica->cure);
    if (replica->mesh)
        mesh_follow(replica->mesh, &replica->raft.configuration);
    replica_publish(replica);
    return ST_OK;
}

static enum st_code
start_thread(struct replica *replica, struct st_err *err)
{
    sigset_t all, before; /* signals are for the threads of the program */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&replica->thread, NULL, run, replica);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status ? st_fail(err, ST_RESOURCE_EXHAUSTED, "cannot start a thread: %s",
                            strerror(status))
                  : ST_OK;
}

static void
free_all(struct replica *replica)
{
    store_close(replica->store);
    pthread_mutex_destroy(&replica->lock);
    free(replica->result);
    free(replica);
}
AUTO_DEFINE(struct replica *, free_allp, free_all)

/* The writer goes first: it may still be waking the loop for what it wrote last. */
static void
end_library(struct replica *replica)
{
    store_close(TAKE(replica->store));
    wake_free(&replica->wake);
    mesh_free(replica->mesh);
    io_free(&replica->io);
    cure_free(&replica->cure);
    uv_loop_close(&replica->loop);
}

static void
close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    uv_close(handle, NULL);
}

static enum st_code
begin_library(struct replica *replica, const struct replica_config *config,
              struct st_err *err)
{
    if (uv_loop_init(&replica->loop))
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "cannot make a loop");
    enum st_code code = io_init(&replica->io, &replica->inner, &replica->loop,
                                replica->store, replica_die, replica, err);
    cure_init(&replica->cure, &replica->inner, moved, replica);
    replica_machine_init(replica);
    replica->raft.data = replica;
    if (!code && (wake_init(&replica->wake, &replica->loop, on_wake, replica) ||
                  raft_init(&replica->raft, &replica->cure.face, &replica->fsm,
                            config->id, config->address)))
        code = st_fail(err, ST_RESOURCE_EXHAUSTED, "cannot start the consensus library");
    if (code) {
        uv_walk(&replica->loop, close_handle, NULL);
        uv_run(&replica->loop, UV_RUN_DEFAULT);
        end_library(replica);
    }
    return code;
}

static struct replica *
make(const struct replica_config *config)
{
    struct replica *replica = calloc(1, sizeof(*replica));
    struct replica_result *result = calloc(1, sizeof(*result));
    if (!replica || !result) {
        free(result);
        free(replica);
        return NULL;
    }
    replica->result = result;
    replica->wake.fd = -1;
    replica->machine = config->machine;
    replica->moved = config->moved;
    replica->moved_arg = config->moved_arg;
    replica->fatal = config->fatal;
    replica->refused = config->refused;
    replica->turned_away = config->turned_away;
    pthread_mutex_init(&replica->lock, NULL);
    replica_list_init(&replica->waiting);
    replica_list_init(&replica->flight.proposals);
    replica_list_init(&replica->flight.barriers);
    replica_list_init(&replica->inbox);
    replica->asked_last = &replica->asked;
    return replica;
}

static enum st_code
open_store(struct replica *replica, const struct replica_config *config,
           struct st_err *err)
{
    struct store_config store = {.dir = config->dir,
                                 .create = begins(config),
                                 .failed = store_broke,
                                 .arg = replica};
    enum st_code code;
    if ((code = store_open(&store, &replica->store, err)) ||
        (code = check_owner(replica, config, err)))
        return code;
    if (config->begin == REPLICA_RECOVER)
        return replica_boot_begin(replica, config->id, err);
    return config->begin == REPLICA_JOIN ? own(replica, config->id, err) : ST_OK;
}

enum st_code
replica_open(const struct replica_config *config, struct replica **out,
             struct st_err *err)
{
    AUTO(free_allp) struct replica *replica = make(config);
    if (!replica)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "out of memory");
    enum st_code code = open_store(replica, config, err);
    if (!code)
        code = replica_compact(replica, err);
    if (!code)
        code = begin_library(replica, config, err);
    if (code)
        return code;
    code = open_mesh(replica, config, err);
    if (!code)
        code = start(replica, config, err);
    if (!code)
        code = start_thread(replica, err);
    if (code) {
        replica->ending = true;
        begin_close(replica);
        uv_run(&replica->loop, UV_RUN_DEFAULT);
        end_library(replica);
        return code;
    }
    *out = TAKE(replica);
    return ST_OK;
}

void
replica_close(struct replica *replica)
{
    if (!replica)
        return;
    pthread_mutex_lock(&replica->lock);
    replica->close = true;
    pthread_mutex_unlock(&replica->lock);
    wake_send(&replica->wake);
    pthread_join(replica->thread, NULL);
    end_library(replica);
    free_all(replica);
}

enum st_code
replica_set_crl(struct replica *replica, const void *crl, size_t len, struct st_err *err)
{
    if (!replica->mesh)
        return st_fail(err, ST_FAILED_PRECONDITION, "this member has no peer link");
    return mesh_set_crl(replica->mesh, crl, len, err);
}

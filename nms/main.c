/* smalltown-nms: the master daemon. */
#include "nms/arguments.h"
#include "nms/digest.h"
#include "nms/join.h"
#include "nms/move.h"
#include "nms/nms.h"
#include "nms/owner.h"
#include "nms/recover.h"
#include "proto/event.h"
#include "proto/nms_exit.h"
#include "proto/say.h"
#include "proto/scope.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int
failed(const struct st_err *err)
{
    say_failed("smalltown-nms", err->text);
    return NMS_EXIT_FAILED;
}

static int
init_main(struct arguments *arguments)
{
    struct init_config *init = &arguments->init;
    struct st_err err = {0};
    struct cert masters;
    char hex[SHA256_HEX_LEN + 1];
    if (init_cluster(init, &masters, &err))
        return failed(&err);
    cert_fingerprint_hex(masters.der, masters.len, hex);
    printf("cluster %s is made\n"
           "certificate of the masters: %s/masters.pem\n"
           "its SHA-256: %s\n"
           "start it: smalltown-nms run --data %s\n",
           init->name, init->dir, hex, init->dir);
    if (init->admin_count > 0)
        printf("then, as administrator, with a copy of masters.pem:\n"
               "  stctl context add %s --address %s --masters-cert masters.pem\n",
               init->name, arguments->address);
    else
        printf("note: nobody can administer it yet: put the certificate of an "
               "administrator\n"
               "(`stctl keygen`) there as %s/admin.pem\n",
               init->dir);
    return fflush(stdout) ? NMS_EXIT_FAILED : 0;
}

/* All of standard input; more than there may be counts as too much by one byte. */
static enum st_code
stdin_read(uint8_t out[JOIN_REQUEST_MAX + 1], size_t *out_len, struct st_err *err)
{
    size_t len = 0;
    ssize_t n = 1;
    while (n != 0 && len <= JOIN_REQUEST_MAX) {
        n = read(STDIN_FILENO, out + len, JOIN_REQUEST_MAX + 1 - len);
        if (n < 0 && errno != EINTR)
            return st_fail(err, ST_INTERNAL, "cannot read standard input: %s",
                           strerror(errno));
        len += n > 0 ? (size_t)n : 0;
    }
    *out_len = len;
    return ST_OK;
}

static enum st_code
join_from_stdin(const struct join_config *config, uint64_t *out_id, struct st_err *err)
{
    uint8_t request[JOIN_REQUEST_MAX + 1];
    size_t len;
    enum st_code code = stdin_read(request, &len, err);
    if (!code)
        code = join_with_certificates(config, request, len, out_id, err);
    explicit_bzero(request, sizeof(request));
    return code;
}

static void
store_failed(const char *sentence)
{
    event("fatal", "reason=\"%s\"", sentence);
    _exit(NMS_EXIT_FAILED);
}

static void
refused(const char *sentence)
{
    event("fatal", "reason=\"%s\"", sentence);
    _exit(NMS_EXIT_WRONG_STATE);
}

static void
rpc_log(const char *line)
{
    event("rpc", "text=\"%s\"", line);
}

static void
say_listening(const struct nms *nms)
{
    char nodes[ADDRESS_TEXT_MAX], admins[ADDRESS_TEXT_MAX];
    char hex[SHA256_HEX_LEN + 1];
    address_format_port(&nms->address, rpc_server_port(nms->nodes), nodes);
    address_format_port(&nms->address, rpc_server_port(nms->admins), admins);
    cert_fingerprint_hex(nms->masters_cert.der, nms->masters_cert.len, hex);
    event("listening", "cluster=%s member=%llu nodes=%s admins=%s masters_sha256=%s",
          nms->cluster, (unsigned long long)nms->member_id, nodes, admins, hex);
}

/* What judge() of node/supervise_join.c turns into a code again. */
static int
exit_of_join(enum st_code code)
{
    return code == ST_INVALID_ARGUMENT      ? NMS_EXIT_MALFORMED
           : code == ST_FAILED_PRECONDITION ? NMS_EXIT_WRONG_STATE
                                            : NMS_EXIT_FAILED;
}

static int
join_main(const struct arguments *arguments)
{
    const struct join_config config = {
        .dir = arguments->init.dir,
        .address = arguments->init.address,
        .port = PORT_NODE_MANAGEMENT,
        .wait_ms = JOIN_WAIT_MS,
    };
    struct st_err err = {0};
    uint64_t id;
    enum st_code code;
    if (arguments->certificates)
        code = join_from_stdin(&config, &id, &err);
    else {
        rpc_init(NULL);
        code = join_with_ticket(&config, arguments->ticket, &id, &err);
        rpc_shutdown();
    }
    if (code) {
        (void)failed(&err);
        return exit_of_join(code);
    }
    if (arguments->certificates)
        return 0; /* smalltown-node knows what comes next */
    printf(
        "this machine is member %llu of the masters\n"
        "start it: smalltown-nms run --data %s\n"
        "Then it catches up, and has a vote: see `stctl master list`.  Administrators\n"
        "learn its address with `stctl context update`.\n",
        (unsigned long long)id, config.dir);
    return fflush(stdout) ? NMS_EXIT_FAILED : 0;
}

/* What a supervisor goes by: where the folder is at fault, it need not try again. */
static int
exit_of_start(int failed, enum st_code code)
{
    bool folder =
        code == ST_FAILED_PRECONDITION || code == ST_NOT_FOUND || code == ST_DATA_LOSS;
    return folder ? NMS_EXIT_WRONG_STATE : failed;
}

/* A signal that ends us is waiting to be taken. */
static bool
is_stopping(void)
{
    sigset_t waiting;
    sigpending(&waiting);
    return sigismember(&waiting, SIGTERM) == 1 || sigismember(&waiting, SIGINT) == 1;
}

static int
run_main(const struct arguments *arguments, const sigset_t *ends)
{
    const struct nms_config config = {
        .dir = arguments->init.dir,
        .address = arguments->init.address,
        .masters = arguments->masters,
        .master_count = arguments->master_count,
        .node_port = PORT_NODE_MANAGEMENT,
        .admin_port = PORT_CLUSTER_MANAGEMENT,
        .fatal = store_failed,
        .refused = refused,
        .stopping = is_stopping,
    };
    struct nms *nms;
    struct st_err err = {0};
    int number = 0;
    rpc_init(rpc_log);
    const enum st_code code = nms_start(&config, &nms, &err);
    if (code) {
        rpc_shutdown();
        return code == ST_CANCELLED ? 0 : exit_of_start(failed(&err), code);
    }
    say_listening(nms);
    sigwait(ends, &number);
    event("stopping", "signal=%s", sigabbrev_np(number));
    nms_stop(nms);
    rpc_shutdown();
    event("stopped", "cluster=ok");
    return 0;
}

static void
recover_show(const char *dir, const struct recover_view *view)
{
    char when[32] = "an unknown time", address[ADDRESS_TEXT_MAX];
    const char *doubt = recover_doubt(view);
    const time_t at = (time_t)view->changed_at;
    struct tm utc;
    if (at && gmtime_r(&at, &utc))
        strftime(when, sizeof(when), "%F %T UTC", &utc);
    printf("%s is of master %llu of cluster %s, nodes: %zu\n"
           "its log ends with entry %llu of term %llu; its last change is of %s\n",
           dir, (unsigned long long)view->id, view->cluster, view->nodes,
           (unsigned long long)view->last, (unsigned long long)view->term, when);
    for (size_t i = 0; i < view->members.count; i++) {
        const struct member *member = &view->members.at[i];
        address_format(&member->address, address);
        printf("master %llu  %s  %s\n", (unsigned long long)member->id, address,
               member->id == view->id ? "stays" : "is none any more");
    }
    if (doubt)
        printf("%s", doubt);
    if (view->begun)
        printf("`recover --yes` was cut off in this folder; it does not run before that "
               "ends\n");
}

static int
recover_main(const struct arguments *arguments)
{
    const char *dir = arguments->init.dir;
    struct recover_view view;
    struct st_err err = {0};
    if (recover_look(dir, &view, &err))
        return failed(&err);
    recover_show(dir, &view);
    if (!arguments->yes) {
        printf(
            "nothing was changed.  Take the folder with the highest term, and of those "
            "the highest\nentry; stop all other masters for good; then: "
            "smalltown-nms recover --data %s --yes\n",
            dir);
        return fflush(stdout) ? NMS_EXIT_FAILED : 0;
    }
    if (recover_alone(dir, &view, arguments->today, &err))
        return failed(&err);
    printf("it is the only master now.  What was changed after its last entry is undone: "
           "nodes\n"
           "removed since are there again, nodes enrolled since are not (`stctl node "
           "list`).\n"
           "start it: smalltown-nms run --data %s\n"
           "then let others join anew, with empty folders: `stctl master invite`, and\n"
           "`stctl node adopt NODE --role master` for those that are nodes\n",
           dir);
    return fflush(stdout) ? NMS_EXIT_FAILED : 0;
}

static void
move_show(const char *dir, const struct move_view *view)
{
    char recorded[ADDRESS_TEXT_MAX], now[ADDRESS_TEXT_MAX];
    printf("%s is of master %llu of cluster %s\n", dir, (unsigned long long)view->id,
           view->cluster);
    for (size_t i = 0; i < view->count; i++) {
        const struct move_place *place = &view->at[i];
        address_format(&place->recorded, recorded);
        address_format(&place->now, now);
        printf("master %llu  %s%s%s%s\n", (unsigned long long)place->id, recorded,
               place->moved ? " -> " : "", place->moved ? now : "",
               place->id == view->id ? "  (this one)" : "");
    }
}

static int
move_main(const struct arguments *arguments)
{
    const char *dir = arguments->init.dir;
    struct move_view view;
    struct st_err err = {0};
    if (move_masters(dir, arguments->places, arguments->place_count, &view, &err))
        return failed(&err);
    move_show(dir, &view);
    if (arguments->place_count == 0)
        printf("nothing was changed.  Where masters have new addresses, say the same\n"
               "line on each of them, while none runs:\n"
               "  smalltown-nms move --data %s --member ID=IP --member ID=IP ...\n",
               dir);
    else
        printf("start it: smalltown-nms run --data %s\n"
               "Nodes that were off and do not find the masters:\n"
               "  smalltown-node masters --esp DIR --master IP --master IP ...\n"
               "Administrators: `stctl context add`, with the new addresses, and `stctl "
               "context use`.\n",
               dir);
    return fflush(stdout) ? NMS_EXIT_FAILED : 0;
}

/* Before any thread exists, so that all of them inherit it. */
static sigset_t
signals_block(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
    return ends;
}

static int
print(const char *text)
{
    fputs(text, stdout);
    return fflush(stdout) ? NMS_EXIT_FAILED : 0;
}

int
main(int argc, char **argv)
{
    struct arguments arguments;
    struct st_err err = {0};
    secret_harden_process();
    setenv("TSS2_LOG", "all+NONE", 0);
    if (arguments_read(argc, argv, &arguments, &err)) {
        (void)failed(&err);
        return NMS_EXIT_USAGE;
    }
    if (arguments.init.dir && owner_check(arguments.init.dir, argv[1], &err)) {
        (void)failed(&err);
        return NMS_EXIT_WRONG_STATE;
    }
    switch (arguments.command) {
    case COMMAND_HELP:
        return print(arguments_usage);
    case COMMAND_VERSION:
        return print("smalltown-nms " ST_VERSION "\n");
    case COMMAND_INIT:
        (void)signals_block();
        return init_main(&arguments);
    case COMMAND_JOIN:
        return join_main(&arguments);
    case COMMAND_RECOVER:
        (void)signals_block();
        return recover_main(&arguments);
    case COMMAND_MOVE:
        (void)signals_block();
        return move_main(&arguments);
    case COMMAND_RUN: {
        const sigset_t ends = signals_block();
        return run_main(&arguments, &ends);
    }
    }
    return NMS_EXIT_USAGE;
}

/* smalltown-node: wires options, signals and run.c. */
#include "node/crypttab.h"
#include "node/masters.h"
#include "node/notify.h"
#include "node/options.h"
#include "node/recover.h"
#include "node/run.h"
#include "node/stop.h"
#include "proto/event.h"
#include "proto/say.h"
#include "proto/secret.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    THREAD_STACK = 256 * 1024
};

/* The daemon is there for the life of the machine and works for a second of it. */
static void
stay_small(void)
{
    pthread_attr_t attributes;
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, 64 * 1024);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
}

/* Its thread lives as long as the process. */
static struct crypttab crypttab = {.fd = -1};

static struct node
node_of(const struct options *options)
{
    return (struct node){
        NODE_DEFAULTS,
        .tcti = options->tcti,
        .address = options->address,
        .volume = strcmp(options->volume, "none") ? options->volume : NULL,
        .recovery_terminal = options->recovery_terminal,
        .no_recovery = options->no_recovery,
        .encryption = options->encryption,
        .ak = options->ak,
        .crypttab = crypttab.fd >= 0 ? &crypttab : NULL,
        .control = options->control,
        .control_folder = options->master_data,
    };
}

static enum st_code
run(const struct options *options, struct node *node, const char *program,
    struct st_err *err)
{
    const struct bootstrap bootstrap = {
        .program = program,
        .data = options->master_data,
        .name = options->bootstrap,
        .address = options->address_text,
        .admin_certs = options->admin_certs,
        .admin_cert_count = options->admin_cert_count,
    };
    enum st_code code = stop_init(err);
    if (code)
        return code;
    return run_node(node, options->esp, options->bootstrap ? &bootstrap : NULL, err);
}

/* A worker does not need it.  A master that came up as less would be missed too late. */
static enum st_code
run_without_nms(const struct options *options, struct node *node, struct st_err *err)
{
    if (options->bootstrap)
        return st_wrap(err, "--bootstrap makes a master");
    if (options->control)
        return st_wrap(err, "--control-volume is for a master");
    if (keeper_may_have_master(options->master_data))
        return st_wrap(err, "%.200s/member.pb is a master's", options->master_data);
    event("master", "decision=none reason=\"smalltown-nms is neither beside this program "
                    "nor in PATH: this machine is a worker, and cannot become a master "
                    "until that is installed and the machine rebooted\"");
    node->lacks_nms = true;
    return run(options, node, NULL, err);
}

/* With a keeper, where there is a folder for a master: it is forked before there is a
 * second thread. */
static enum st_code
run_beside_keeper(const struct options *options, struct st_err *err)
{
    char program[PATH_MAX];
    crypttab.fd = crypttab_take_socket();
    struct node node = node_of(options);
    const struct keeper_config config = {
        .program = program,
        .data = options->master_data,
        .address = options->address_text,
        .node = &node,
        .esp = options->esp,
        .retry_first_ms = node.retry_first_ms,
        .retry_max_ms = node.retry_max_ms,
    };
    enum st_code code;
    if (!options->master_data)
        return run(options, &node, NULL, err);
    if (keeper_find(program, err))
        return run_without_nms(options, &node, err);
    if ((code = keeper_start(&config, &node.keeper, err)))
        return code;
    stop_also(keeper_fd(node.keeper));
    code = run(options, &node, program, err);
    stop_leaving();
    keeper_end(node.keeper);
    return code;
}

static enum st_code
recover(const struct options *options, struct st_err *err)
{
    struct node node = node_of(options);
    return recover_run(&node, options->esp, err);
}

static void
print_masters(const char *what, const struct node_config *config)
{
    char text[ADDRESS_TEXT_MAX];
    printf("%s:", what);
    for (size_t i = 0; i < config->address_count; i++) {
        address_format(&config->addresses[i], text);
        printf(" %s", text);
    }
    printf("\n");
}

static enum st_code
masters(const struct options *options, struct st_err *err)
{
    NODE_CONFIG before = {0}, after = {0};
    enum st_code code = masters_point(options->esp, options->masters_now,
                                      options->masters_now_count, &before, &after, err);
    if (code)
        return code;
    print_masters("the masters were", &before);
    print_masters("the masters are", &after);
    return fflush(stdout) ? st_fail(err, ST_INTERNAL, "standard output") : ST_OK;
}

/* Without a newline: it is the key byte for byte. */
static enum st_code
show_crypttab_key(const char *volume, struct st_err *err)
{
    SECRET key = {0};
    if (isatty(STDOUT_FILENO))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "a key is not for a terminal: cryptsetup luksAddKey DEVICE "
                       "<(smalltown-node crypttab-key %s)",
                       volume);
    enum st_code code = crypttab_ask(CRYPTTAB_SOCKET, volume, &key, err);
    if (!code && write(STDOUT_FILENO, key.bytes, key.len) != (ssize_t)key.len)
        code = st_fail(err, ST_INTERNAL, "the key cannot be written");
    return code;
}

static enum st_code
do_verb(const struct options *options, struct st_err *err)
{
    if (options->crypttab_volume)
        return show_crypttab_key(options->crypttab_volume, err);
    if (options->masters)
        return masters(options, err);
    return options->recover ? recover(options, err) : run_beside_keeper(options, err);
}

int
main(int argc, char **argv)
{
    struct options options;
    struct st_err err = {0};
    secret_harden_process();
    stay_small();
    setenv("TSS2_LOG", "all+NONE", 0);
    if (options_read(argc, argv, &options, &err)) {
        say_failed("smalltown-node", err.text);
        return 2;
    }
    if (options.help) {
        options_help(stdout);
        return EXIT_SUCCESS;
    }
    if (options.version) {
        puts("smalltown-node " ST_VERSION);
        return EXIT_SUCCESS;
    }
    if (do_verb(&options, &err)) {
        say_failed("smalltown-node", err.text);
        notify_status("%s", err.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

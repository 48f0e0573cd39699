/* smalltown-nms: the master daemon. */
#include "nms/digest.h"
#include "nms/init.h"
#include "nms/nms.h"
#include "proto/event.h"
#include "proto/scope.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    EXIT_FAILED = 1, /* what was asked for could not be done */
    EXIT_USAGE = 2,  /* what was asked for is not clear */
};

static const char usage[] =
    "smalltown-nms " ST_VERSION ", the master of a Smalltown cluster\n"
    "\n"
    "  smalltown-nms init --data DIR --name NAME --address IP [--admin-cert FILE]...\n"
    "      makes a new cluster in DIR and writes DIR/masters.pem\n"
    "  smalltown-nms run --data DIR\n"
    "      serves it, in the foreground, until SIGTERM or SIGINT\n"
    "  smalltown-nms --help | --version\n"
    "\n"
    "Ports: 7833 nodes, 7834 masters, 7836 administrators.\n";

struct arguments {
    struct init_config init; /* dir is for both commands */
    const char *address;
};

static int
wrong(const char *sentence, const char *word)
{
    fprintf(stderr, "smalltown-nms: %s%s%s\n", sentence, *word ? " " : "", word);
    return EXIT_USAGE;
}

/* Where the value of this option goes; NULL for an unknown option. */
static const char **
place_of(struct arguments *arguments, const char *option, bool is_init)
{
    struct init_config *init = &arguments->init;
    if (strcmp(option, "--data") == 0)
        return &init->dir;
    if (!is_init)
        return NULL;
    if (strcmp(option, "--name") == 0)
        return &init->name;
    if (strcmp(option, "--address") == 0)
        return &arguments->address;
    if (strcmp(option, "--admin-cert") == 0 && init->admin_count < INIT_ADMINS_MAX) {
        struct init_admin *admin = &init->admins[init->admin_count++];
        admin->role = STATE__ADMIN_ROLE__ADMIN;
        return &admin->file;
    }
    return NULL;
}

/* 0, or the exit code after one sentence. */
static int
arguments_read(int argc, char **argv, bool is_init, struct arguments *out)
{
    for (int i = 2; i < argc; i += 2) {
        const char **place = place_of(out, argv[i], is_init);
        if (!place)
            return wrong(is_init ? "init does not know" : "run does not know", argv[i]);
        if (*place)
            return wrong("this option was given twice:", argv[i]);
        if (i + 1 == argc || !*argv[i + 1])
            return wrong("this option wants a value:", argv[i]);
        *place = argv[i + 1];
    }
    if (!out->init.dir)
        return wrong("--data is missing: the folder of this master", "");
    if (is_init && !out->init.name)
        return wrong("--name is missing: what the cluster is called", "");
    if (is_init && !out->address)
        return wrong("--address is missing: the IP address of this master", "");
    return 0;
}

static int
failed(const struct st_err *err)
{
    fprintf(stderr, "smalltown-nms: %s\n", err->text);
    return EXIT_FAILED;
}

static int
init_main(struct arguments *arguments)
{
    struct init_config *init = &arguments->init;
    struct st_err err = {0};
    struct cert masters;
    uint8_t fingerprint[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    if (address_parse(arguments->address, &init->address, &err) ||
        name_check("a cluster", init->name, &err)) {
        fprintf(stderr, "smalltown-nms: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (init_cluster(init, &masters, &err))
        return failed(&err);
    cert_fingerprint(masters.der, masters.len, fingerprint);
    digest_hex(fingerprint, hex);
    printf("cluster %s is made\n"
           "certificate of the masters: %s/masters.pem\n"
           "its SHA-256: %s\n"
           "start it: smalltown-nms run --data %s\n",
           init->name, init->dir, hex, init->dir);
    if (init->admin_count > 0)
        printf("then, as administrator: stctl context add %s --address %s "
               "--masters-cert masters.pem\n",
               init->name, arguments->address);
    else
        printf("note: no --admin-cert was given, so nobody can administer it\n");
    return fflush(stdout) ? EXIT_FAILED : 0;
}

static void
store_failed(const char *sentence)
{
    event("fatal", "reason=\"%s\"", sentence);
    _exit(EXIT_FAILED);
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
    uint8_t fingerprint[SHA256_LEN];
    address_format_port(&nms->address, rpc_server_port(nms->nodes), nodes);
    address_format_port(&nms->address, rpc_server_port(nms->admins), admins);
    cert_fingerprint(nms->masters_cert.der, nms->masters_cert.len, fingerprint);
    digest_hex(fingerprint, hex);
    event("listening", "cluster=%s member=%llu nodes=%s admins=%s masters_sha256=%s",
          nms->cluster, (unsigned long long)nms->member_id, nodes, admins, hex);
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
        .node_port = PORT_NODE_MANAGEMENT,
        .admin_port = PORT_CLUSTER_MANAGEMENT,
        .fatal = store_failed,
        .stopping = is_stopping,
    };
    struct nms *nms;
    struct st_err err = {0};
    int number = 0;
    rpc_init(rpc_log);
    const enum st_code code = nms_start(&config, &nms, &err);
    if (code) {
        rpc_shutdown();
        return code == ST_CANCELLED ? 0 : failed(&err);
    }
    say_listening(nms);
    sigwait(ends, &number);
    event("stopping", "signal=%s", sigabbrev_np(number));
    nms_stop(nms);
    rpc_shutdown();
    event("stopped", "cluster=ok");
    return 0;
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

int
main(int argc, char **argv)
{
    struct arguments arguments = {0};
    secret_harden_process();
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "--help") == 0 || strcmp(command, "--version") == 0) {
        fputs(command[2] == 'h' ? usage : "smalltown-nms " ST_VERSION "\n", stdout);
        return 0;
    }
    const bool is_init = strcmp(command, "init") == 0;
    if (!*command)
        return wrong("say init or run, or --help", "");
    if (!is_init && strcmp(command, "run") != 0)
        return wrong("there is no such command:", command);
    if (argc > 2 && strcmp(argv[2], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    int code = arguments_read(argc, argv, is_init, &arguments);
    if (code)
        return code;
    const sigset_t ends = signals_block();
    return is_init ? init_main(&arguments) : run_main(&arguments, &ends);
}

#include "nms/arguments.h"
#include "proto/ident.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WRITTEN_AT = 1767225600, /* 2026: no date of before is today's */
};

const char arguments_usage[] =
    "smalltown-nms " ST_VERSION ", the master of a Smalltown cluster\n"
    "\n"
    "  smalltown-nms init --data DIR --name NAME --address IP [--admin-cert FILE]...\n"
    "      [--policy FILE]\n"
    "      makes a new cluster in DIR and writes DIR/masters.pem; FILE is its first\n"
    "      policy (policy.md, on Debian in /usr/share/doc/smalltown-nms)\n"
    "  smalltown-nms join --data DIR --address IP --ticket FILE\n"
    "      makes this host another master of a cluster, by a ticket that\n"
    "      `stctl master invite` wrote\n"
    "  smalltown-nms join --data DIR --address IP --certificates -\n"
    "      the same with what the masters sent to this node (smalltown-node calls it)\n"
    "  smalltown-nms run --data DIR [--address IP] [--master IP]...\n"
    "      serves it, in the foreground, until SIGTERM or SIGINT; at another address\n"
    "      than before, where IP is another one; --master: where some other master\n"
    "      may be, besides where it was\n"
    "  smalltown-nms move --data DIR [--member ID=IP]...\n"
    "      where masters have new addresses, while none runs: the same line on each\n"
    "      of them; without --member it shows what DIR knows\n"
    "  smalltown-nms recover --data DIR [--yes [--today YYYY-MM-DD]]\n"
    "      where most masters are lost for good: shows what DIR holds; with --yes DIR\n"
    "      goes on as the only master, and the others are none any more; --today: the\n"
    "      date by a watch, where the clock of a master was ahead of this machine's\n"
    "  smalltown-nms --help | --version\n"
    "\n"
    "Ports: 7833 nodes, 7834 masters, 7836 administrators.\n";

static const struct {
    const char *word;
    enum command command;
} commands[] = {
    {"--help", COMMAND_HELP}, {"--version", COMMAND_VERSION},
    {"init", COMMAND_INIT},   {"join", COMMAND_JOIN},
    {"run", COMMAND_RUN},     {"recover", COMMAND_RECOVER},
    {"move", COMMAND_MOVE},
};

static enum st_code
command_read(int argc, char **argv, enum command *out, struct st_err *err)
{
    if (argc < 2)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "say init, join, run, move or recover, or --help");
    if (argc > 2 && strcmp(argv[2], "--help") == 0) {
        *out = COMMAND_HELP;
        return ST_OK;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (strcmp(argv[1], commands[i].word) == 0) {
            *out = commands[i].command;
            return ST_OK;
        }
    return st_fail(err, ST_INVALID_ARGUMENT, "there is no such command: %.60s", argv[1]);
}

static const char **
place_of_init(struct arguments *arguments, const char *option)
{
    struct init_config *init = &arguments->init;
    if (strcmp(option, "--name") == 0)
        return &init->name;
    if (strcmp(option, "--policy") == 0)
        return &init->policy;
    if (strcmp(option, "--admin-cert") == 0 && init->admin_count < INIT_ADMINS_MAX) {
        struct init_admin *admin = &init->admins[init->admin_count++];
        admin->role = STATE__ADMIN_ROLE__ADMIN;
        return &admin->file;
    }
    return NULL;
}

/* Where the value of this option goes; NULL for one that the command does not know. */
static const char **
place_of(struct arguments *arguments, const char *option, const char **certificates)
{
    if (strcmp(option, "--data") == 0)
        return &arguments->init.dir;
    if (arguments->command == COMMAND_RECOVER && strcmp(option, "--today") == 0)
        return &arguments->date;
    if (arguments->command == COMMAND_RECOVER || arguments->command == COMMAND_MOVE)
        return NULL;
    if (strcmp(option, "--address") == 0)
        return &arguments->address;
    if (arguments->command == COMMAND_RUN)
        return NULL;
    if (arguments->command == COMMAND_INIT)
        return place_of_init(arguments, option);
    if (strcmp(option, "--ticket") == 0)
        return &arguments->ticket;
    return strcmp(option, "--certificates") == 0 ? certificates : NULL;
}

static enum st_code
missing(const char *option, const char *what, struct st_err *err)
{
    return st_fail(err, ST_INVALID_ARGUMENT, "%s is missing: %s", option, what);
}

static enum st_code
check_join(const struct arguments *arguments, const char *certificates,
           struct st_err *err)
{
    if (!arguments->ticket && !certificates)
        return missing("--ticket", "the file that `stctl master invite` wrote", err);
    if (arguments->ticket && certificates)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "--ticket or --certificates, not both of them");
    if (certificates && strcmp(certificates, "-") != 0)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "--certificates is -: they come on standard input");
    return ST_OK;
}

static enum st_code
check_date(const char *text, int64_t *out, struct st_err *err)
{
    struct tm utc = {0};
    const char *end = strptime(text, "%Y-%m-%d", &utc);
    if (!end || *end)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "--today wants YYYY-MM-DD, such as 2026-12-31, not %.60s", text);
    const int day = utc.tm_mday;
    const int64_t midnight = timegm(&utc);
    if (utc.tm_mday != day)
        return st_fail(err, ST_INVALID_ARGUMENT, "--today %.60s: there is no such day",
                       text);
    if (midnight < WRITTEN_AT)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "--today %.60s: no clock is right that says so", text);
    *out = midnight;
    return ST_OK;
}

static enum st_code
check_recover(struct arguments *arguments, struct st_err *err)
{
    if (!arguments->date)
        return ST_OK;
    if (!arguments->yes)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "--today goes with --yes: without it nothing is changed");
    return check_date(arguments->date, &arguments->today, err);
}

static enum st_code
check(struct arguments *arguments, const char *certificates, struct st_err *err)
{
    struct init_config *init = &arguments->init;
    enum st_code code;
    if (!init->dir)
        return missing("--data", "the folder of this master", err);
    if (arguments->command == COMMAND_RECOVER)
        return check_recover(arguments, err);
    if (arguments->command == COMMAND_MOVE)
        return ST_OK;
    if (arguments->command == COMMAND_RUN)
        return arguments->address ? address_parse(arguments->address, &init->address, err)
                                  : ST_OK;
    if (arguments->command == COMMAND_INIT && !init->name)
        return missing("--name", "what the cluster is called", err);
    if (!arguments->address)
        return missing("--address", "the IP address of this master", err);
    if ((code = address_parse(arguments->address, &init->address, err)))
        return code;
    return arguments->command == COMMAND_INIT ? name_check("a cluster", init->name, err)
                                              : check_join(arguments, certificates, err);
}

/* ID=IP */
static enum st_code
take_place(struct arguments *arguments, const char *text, struct st_err *err)
{
    const char *equals = text ? strchr(text, '=') : NULL;
    char *end;
    if (!equals || *text < '1' || *text > '9')
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "--member wants ID=IP, such as --member 2=192.0.2.7");
    if (arguments->place_count == REPLICA_MEMBERS_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "at most %d times --member",
                       REPLICA_MEMBERS_MAX);
    struct self_place *place = &arguments->places[arguments->place_count++];
    errno = 0;
    place->id = strtoull(text, &end, 10);
    if (end != equals || errno)
        return st_fail(err, ST_INVALID_ARGUMENT, "this is no number of a master: %.60s",
                       text);
    return address_parse(equals + 1, &place->address, err);
}

static enum st_code
take_master(struct arguments *arguments, const char *text, struct st_err *err)
{
    if (!text)
        return st_fail(err, ST_INVALID_ARGUMENT, "this option wants a value: --master");
    if (arguments->master_count == ADDRESSES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "at most %d times --master",
                       ADDRESSES_MAX);
    struct st_address *address = &arguments->masters[arguments->master_count++];
    enum st_code code = address_parse(text, address, err);
    if (!code && !address_is_host(address))
        return st_fail(err, ST_INVALID_ARGUMENT, "--master %.60s: no host has that",
                       text);
    return code;
}

/* An option that may be repeated; false where this is none. */
static bool
take_repeated(struct arguments *arguments, char *const words[2], enum st_code *out_code,
              struct st_err *err)
{
    if (arguments->command == COMMAND_MOVE && strcmp(words[0], "--member") == 0)
        *out_code = take_place(arguments, words[1], err);
    else if (arguments->command == COMMAND_RUN && strcmp(words[0], "--master") == 0)
        *out_code = take_master(arguments, words[1], err);
    else
        return false;
    return true;
}

enum st_code
arguments_read(int argc, char **argv, struct arguments *out, struct st_err *err)
{
    struct arguments arguments = {0};
    const char *certificates = NULL;
    enum st_code code = command_read(argc, argv, &arguments.command, err);
    const bool is_work =
        arguments.command != COMMAND_HELP && arguments.command != COMMAND_VERSION;
    for (int i = 2; !code && is_work && i < argc; i += 2) {
        if (arguments.command == COMMAND_RECOVER && strcmp(argv[i], "--yes") == 0) {
            arguments.yes = true;
            i--; /* it has no value */
            continue;
        }
        if (take_repeated(&arguments, argv + i, &code, err))
            continue; /* its failure ends this */
        const char **place = place_of(&arguments, argv[i], &certificates);
        if (!place)
            return st_fail(err, ST_INVALID_ARGUMENT, "%s does not know %.60s", argv[1],
                           argv[i]);
        if (*place)
            return st_fail(err, ST_INVALID_ARGUMENT, "this option was given twice: %s",
                           argv[i]);
        if (i + 1 == argc || !*argv[i + 1])
            return st_fail(err, ST_INVALID_ARGUMENT, "this option wants a value: %s",
                           argv[i]);
        *place = argv[i + 1];
    }
    if (!code && is_work)
        code = check(&arguments, certificates, err);
    if (code)
        return code;
    arguments.certificates = certificates != NULL;
    *out = arguments;
    return ST_OK;
}

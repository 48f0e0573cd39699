#include "node/options.h"

#include "proto/ident.h"

#include <getopt.h>
#include <string.h>

enum option_id {
    OPTION_ESP = 1000,
    OPTION_TPM,
    OPTION_ADDRESS,
    OPTION_VOLUME,
    OPTION_ENCRYPTION,
    OPTION_AK,
    OPTION_BOOTSTRAP,
    OPTION_MASTER_DATA,
    OPTION_CONTROL,
    OPTION_ADMIN_CERT,
    OPTION_RECOVERY_KEY,
    OPTION_MASTER,
    OPTION_HELP,
    OPTION_VERSION
};

#define BIT(option) (1u << (option - OPTION_ESP))

static const struct verb {
    const char *name;
    unsigned takes;
} run = {"run", BIT(OPTION_MASTER) - 1},
  recover = {"recover", BIT(OPTION_ESP) | BIT(OPTION_TPM) | BIT(OPTION_VOLUME) |
                            BIT(OPTION_CONTROL)},
  masters = {"masters", BIT(OPTION_ESP) | BIT(OPTION_MASTER)};

static const struct option long_options[] = {
    {"esp", required_argument, NULL, OPTION_ESP},
    {"tpm", required_argument, NULL, OPTION_TPM},
    {"address", required_argument, NULL, OPTION_ADDRESS},
    {"data-volume", required_argument, NULL, OPTION_VOLUME},
    {"encryption", required_argument, NULL, OPTION_ENCRYPTION},
    {"ak", required_argument, NULL, OPTION_AK},
    {"bootstrap", required_argument, NULL, OPTION_BOOTSTRAP},
    {"master-data", required_argument, NULL, OPTION_MASTER_DATA},
    {"control-volume", required_argument, NULL, OPTION_CONTROL},
    {"admin-cert", required_argument, NULL, OPTION_ADMIN_CERT},
    {"recovery-key", required_argument, NULL, OPTION_RECOVERY_KEY},
    {"master", required_argument, NULL, OPTION_MASTER},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

void
options_help(FILE *out)
{
    fputs(
        "usage: smalltown-node run --esp DIR --tpm TCTI --address IP\n"
        "                          --data-volume PATH|none [OPTION...]\n"
        "       smalltown-node recover --esp DIR --tpm TCTI --data-volume PATH\n"
        "                          [--control-volume PATH]\n"
        "       smalltown-node masters --esp DIR --master IP [--master IP]...\n"
        "       smalltown-node crypttab-key NAME\n"
        "\n"
        "run enrols this machine with a Smalltown cluster, and opens its disk after\n"
        "each reboot.  Stays in the foreground; one line on stderr for each event.\n"
        "recover asks for the recovery key of the volume and makes it, with its data,\n"
        "that of a fresh enrolment: after the TPM was replaced, or does not open it any\n"
        "more.\n"
        "masters writes into the enrolment where the masters are now, for a machine\n"
        "that was off when they moved; nothing else changes, and they tell it the rest.\n"
        "crypttab-key writes the key of a further volume, to be added to it.\n"
        "\n"
        "  --esp DIR           where the ESP is mounted; the enrolment goes into\n"
        "                      DIR/EFI/smalltown/enrolment.pb\n"
        "  --tpm TCTI          the TPM, such as device:/dev/tpmrm0\n"
        "  --address IP        of this machine, as the masters reach it\n"
        "  --data-volume PATH  block device or image file to encrypt, or none\n"
        "  --recovery-key TERMINAL|none\n"
        "                      where to show the recovery key of a new volume, once, if\n"
        "                      the enrolment seals it to no administrator; none: there\n"
        "                      shall be no such key\n"
        "  --encryption authenticated|xts\n"
        "                      of a volume that is formatted; authenticated, which\n"
        "                      wipes the whole of it, unless xts is asked for\n"
        "  --ak ecc|rsa        attestation key; ecc unless the TPM cannot\n"
        "  --master-data DIR   where this machine keeps its records where it is a\n"
        "                      master; without, it cannot become one\n"
        "  --control-volume PATH\n"
        "                      block device that is encrypted for these records when it\n"
        "                      becomes one, opened by the TPM alone, and mounted at DIR\n"
        "  --bootstrap NAME    without an enrolment: be the first master of a new\n"
        "                      cluster of this name\n"
        "  --admin-cert FILE   certificate of an administrator of that cluster; may be\n"
        "                      repeated\n"
        "  --master IP         masters: the address of one; may be repeated\n"
        "  --help, --version\n"
        "\n"
        "Exit status: 0 told to stop, 1 failed, 2 usage.  See smalltown-node(8).\n",
        out);
}

static enum st_code
take_ak(const char *text, enum tpm_ak_type *out, struct st_err *err)
{
    if (!strcmp(text, "ecc"))
        *out = TPM_AK_ECC_P256;
    else if (!strcmp(text, "rsa"))
        *out = TPM_AK_RSA_2048;
    else
        return st_fail(err, ST_INVALID_ARGUMENT, "--ak is ecc or rsa, not '%.60s'", text);
    return ST_OK;
}

static enum st_code
take_encryption(const char *text, enum disk_encryption *out, struct st_err *err)
{
    if (!strcmp(text, "authenticated"))
        *out = DISK_AUTHENTICATED;
    else if (!strcmp(text, "xts"))
        *out = DISK_XTS;
    else
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "--encryption is authenticated or xts, not '%.60s'", text);
    return ST_OK;
}

static enum st_code
take_admin_cert(const char *path, struct options *out, struct st_err *err)
{
    if (out->admin_cert_count == OPTIONS_ADMIN_CERTS_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "at most %d times --admin-cert",
                       OPTIONS_ADMIN_CERTS_MAX);
    out->admin_certs[out->admin_cert_count++] = path;
    return ST_OK;
}

static enum st_code
take_master(const char *text, struct options *out, struct st_err *err)
{
    struct st_address address;
    if (address_parse(text, &address, err))
        return st_wrap(err, "--master");
    if (!address_is_host(&address))
        return st_fail(err, ST_INVALID_ARGUMENT, "--master %.60s: no host has that",
                       text);
    for (size_t i = 0; i < out->masters_now_count; i++)
        if (address_equal(&out->masters_now[i], &address))
            return st_fail(err, ST_INVALID_ARGUMENT, "--master %.60s comes twice", text);
    if (out->masters_now_count == ADDRESSES_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "at most %d times --master",
                       ADDRESSES_MAX);
    out->masters_now[out->masters_now_count++] = address;
    return ST_OK;
}

static enum st_code
unknown(int id, char **argv, struct st_err *err)
{
    const char *typed = argv[optind - 1];
    if (id == ':')
        return st_fail(err, ST_INVALID_ARGUMENT, "%.60s needs a value", typed);
    return st_fail(err, ST_INVALID_ARGUMENT,
                   "there is no option '%.60s' (see smalltown-node --help)", typed);
}

static enum st_code
take(int id, char **argv, struct options *out, struct st_err *err)
{
    switch (id) {
    case OPTION_ESP:
        out->esp = optarg;
        return ST_OK;
    case OPTION_TPM:
        out->tcti = optarg;
        return ST_OK;
    case OPTION_ADDRESS:
        out->address_text = optarg;
        return ST_OK;
    case OPTION_VOLUME:
        out->volume = optarg;
        return ST_OK;
    case OPTION_ENCRYPTION:
        return take_encryption(optarg, &out->encryption, err);
    case OPTION_AK:
        return take_ak(optarg, &out->ak, err);
    case OPTION_BOOTSTRAP:
        out->bootstrap = optarg;
        return ST_OK;
    case OPTION_MASTER_DATA:
        out->master_data = optarg;
        return ST_OK;
    case OPTION_CONTROL:
        out->control = optarg;
        return ST_OK;
    case OPTION_ADMIN_CERT:
        return take_admin_cert(optarg, out, err);
    case OPTION_RECOVERY_KEY:
        out->no_recovery = !strcmp(optarg, "none");
        out->recovery_terminal = out->no_recovery ? NULL : optarg;
        return ST_OK;
    case OPTION_MASTER:
        return take_master(optarg, out, err);
    case OPTION_HELP:
        out->help = true;
        return ST_OK;
    case OPTION_VERSION:
        out->version = true;
        return ST_OK;
    default:
        return unknown(id, argv, err);
    }
}

static enum st_code
check_bootstrap(const struct options *options, struct st_err *err)
{
    if (options->bootstrap) {
        enum st_code code = name_check("--bootstrap", options->bootstrap, err);
        if (code)
            return code;
    }
    if (options->bootstrap && !options->master_data)
        return st_fail(err, ST_INVALID_ARGUMENT, "--bootstrap needs --master-data DIR");
    if (options->master_data && !*options->master_data)
        return st_fail(err, ST_INVALID_ARGUMENT, "--master-data needs a folder");
    if (options->control && (!*options->control || !options->master_data))
        return st_fail(
            err, ST_INVALID_ARGUMENT,
            "--control-volume PATH needs --master-data DIR, where it is mounted");
    if (options->control && !strcmp(options->volume, "none"))
        return st_fail(
            err, ST_INVALID_ARGUMENT,
            "--control-volume needs a data volume: its recovery key opens both");
    if (!options->bootstrap && options->admin_cert_count)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "--admin-cert goes with --bootstrap NAME");
    return ST_OK;
}

static const struct verb *
verb_of(const struct options *options)
{
    return options->masters ? &masters : options->recover ? &recover : &run;
}

/* The address comes last: only run needs one. */
static enum st_code
check_needed(const struct options *options, struct st_err *err)
{
    const struct {
        const char *name, *value;
    } needed[] = {{"--esp DIR", options->esp},
                  {"--tpm TCTI", options->tcti},
                  {"--data-volume PATH|none", options->volume},
                  {"--address IP", options->address_text}};
    const size_t count = sizeof(needed) / sizeof(*needed) - (options->recover ? 1 : 0);
    for (size_t i = 0; i < count; i++)
        if (!needed[i].value || !*needed[i].value)
            return st_fail(err, ST_INVALID_ARGUMENT, "smalltown-node %s needs %s",
                           verb_of(options)->name, needed[i].name);
    return ST_OK;
}

static enum st_code
check_recover(const struct options *options, struct st_err *err)
{
    if (!strcmp(options->volume, "none"))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "without a data volume there is nothing to recover");
    return ST_OK;
}

static enum st_code
check_masters(const struct options *options, struct st_err *err)
{
    if (!options->esp || !*options->esp)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "smalltown-node masters needs --esp DIR");
    if (options->masters_now_count == 0)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "smalltown-node masters needs --master IP");
    return ST_OK;
}

/* An option that a verb does not heed is a slip: somebody expects something of it. */
static enum st_code
check_given(const struct options *options, unsigned given, struct st_err *err)
{
    const struct verb *verb = verb_of(options);
    for (const struct option *option = long_options; option->name; option++)
        if (given & BIT(option->val) & ~verb->takes)
            return st_fail(err, ST_INVALID_ARGUMENT,
                           "smalltown-node %s does not take --%s (see --help)",
                           verb->name, option->name);
    return ST_OK;
}

static enum st_code
check(struct options *options, unsigned given, struct st_err *err)
{
    enum st_code code = check_given(options, given, err);
    if (code)
        return code;
    if (options->masters)
        return check_masters(options, err);
    if ((code = check_needed(options, err)))
        return code;
    if (options->recover)
        return check_recover(options, err);
    if (options->recovery_terminal && !*options->recovery_terminal)
        return st_fail(err, ST_INVALID_ARGUMENT, "--recovery-key is a terminal, or none");
    if (address_parse(options->address_text, &options->address, err))
        return st_wrap(err, "--address");
    return check_bootstrap(options, err);
}

static enum st_code
take_crypttab_key(int argc, char **argv, struct options *out, struct st_err *err)
{
    const bool alone = argc == 3 && optind == 1;
    if (!alone || !*argv[2])
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "smalltown-node crypttab-key takes the name of a volume, as "
                       "/etc/crypttab has it, and nothing else");
    out->crypttab_volume = argv[2];
    return ST_OK;
}

enum st_code
options_read(int argc, char **argv, struct options *out, struct st_err *err)
{
    struct options options = {0};
    unsigned given = 0;
    int id;
    opterr = 0;
    optind = 0;
    while ((id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
        enum st_code code = take(id, argv, &options, err);
        if (code)
            return code;
        given |= BIT(id);
    }
    *out = options;
    if (options.help || options.version)
        return ST_OK;
    if (optind >= argc)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "what shall it do?  `smalltown-node run ...` (see --help)");
    if (!strcmp(argv[optind], "crypttab-key"))
        return take_crypttab_key(argc, argv, out, err);
    out->recover = !strcmp(argv[optind], "recover");
    out->masters = !strcmp(argv[optind], "masters");
    if (!out->recover && !out->masters && strcmp(argv[optind], "run") != 0)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "there is no '%.60s', only 'run', 'recover', 'masters' and "
                       "'crypttab-key'",
                       argv[optind]);
    if (optind + 1 < argc)
        return st_fail(err, ST_INVALID_ARGUMENT, "'%.60s' is one word too many",
                       argv[optind + 1]);
    return check(out, given, err);
}

/* The command line: every option is known here, each verb says which it takes. */
#include "proto/ident.h"
#include "tools/stctl.h"
#include "tools/text.h"

#include <string.h>

/* Longer than a master looks for a leader, so that it can say that there is none. */
#define TIMEOUT_DEFAULT "12s"

static const struct {
    const char *name;  /* without the dashes */
    const char *value; /* NULL: a flag */
    const char *help;
    char letter; /* 0: none */
} options[OPTION_COUNT] = {
    [OPTION_OUTPUT] = {"output", "table|json", "for people or for programs", 'o'},
    [OPTION_CONTEXT] = {"context", "NAME", "the cluster, instead of the one in use", 0},
    [OPTION_TIMEOUT] = {"timeout", "TIME", "how long a call may take (12s; masters: 60s)",
                        0},
    [OPTION_HELP] = {"help", NULL, "this", 'h'},
    [OPTION_VERSION] = {"version", NULL, "the version", 0},
    [OPTION_ADDRESS] = {"address", "IP[,...]", "of the masters, without ports", 0},
    [OPTION_ALL] = {"all", NULL, "for all nodes, not for this one alone", 0},
    [OPTION_AT] = {"at", "VERSION", "this version, not the one in force", 0},
    [OPTION_CERT] = {"cert", "FILE", "your certificate (admin.pem of keygen)", 0},
    [OPTION_DIFF] = {"diff", NULL, "only what the policy does not expect", 0},
    [OPTION_EXPECT] = {"expect", "VERSION", "replace this version and no other", 0},
    [OPTION_EXPIRES] = {"expires", "TIME", "how long it can be used (24h; a ticket 1h)",
                        0},
    [OPTION_FILE] = {"file", "FILE", "a policy that is not set yet", 0},
    [OPTION_FINGERPRINT] = {"fingerprint", "SHA256", "what init printed; must fit", 0},
    [OPTION_FOLLOW] = {"follow", NULL, "go on with what comes", 'f'},
    [OPTION_FOR] = {"for", "TIME", "how long it is open (at most 7d)", 0},
    [OPTION_FORCE] = {"force", NULL, "also where the masters left are no majority", 0},
    [OPTION_KEY] = {"key", "FILE", "your key (admin-key.pem, or recovery-key.pem)", 0},
    [OPTION_LINES] = {"lines", "N", "how many (20; at most 1000)", 'n'},
    [OPTION_MASTERS_CERT] = {"masters-cert", "FILE", "masters.pem of a master", 0},
    [OPTION_NAME] = {"name", "NAME", "in the certificate (admin), or of the set", 0},
    [OPTION_NODE] = {"node", "ID", "only what is about this node", 0},
    [OPTION_NODES] = {"nodes", "ID[,...]", "for these alone", 0},
    [OPTION_OUT] = {"out", "PATH", "where to write", 0},
    [OPTION_PCRS] = {"pcrs", "N[,...]", "which PCRs (2,4,11)", 0},
    [OPTION_RECOVERY_KEY] = {"recovery-key", "FILE",
                             "recovery.pem of `stctl recovery keygen`", 0},
    [OPTION_REFUSED] = {"refused", NULL, "what was refused last, not accepted", 0},
    [OPTION_ROLE] = {"role", "ROLE", "worker or master; of a person: admin, viewer", 0},
    [OPTION_STATE] = {"state", "registered|worker|master", "only these", 0},
    [OPTION_USES] = {"uses", "N", "how many nodes may enrol (1; at most 10000)", 0},
    [OPTION_YES] = {"yes", NULL, "do not ask", 0},
};

static const uint64_t everywhere =
    OPTION_BIT(OPTION_OUTPUT) | OPTION_BIT(OPTION_CONTEXT) | OPTION_BIT(OPTION_TIMEOUT) |
    OPTION_BIT(OPTION_HELP) | OPTION_BIT(OPTION_VERSION);

/* "--name" or "--name=value" at `word`. */
static bool
is_long(const char *word, int option)
{
    size_t len = strlen(options[option].name);
    return !strncmp(word, "--", 2) && !strncmp(word + 2, options[option].name, len) &&
           (word[2 + len] == 0 || word[2 + len] == '=');
}

static bool
is_short(const char *word, int option)
{
    return word[0] == '-' && options[option].letter && word[1] == options[option].letter;
}

static enum st_code
unknown_option(const char *word, struct st_err *err)
{
    const char *names[OPTION_COUNT];
    char dashed[OPTION_COUNT][32], typed[32], guess[64];
    for (int i = 0; i < OPTION_COUNT; i++) {
        snprintf(dashed[i], sizeof(dashed[i]), "--%s", options[i].name);
        names[i] = dashed[i];
    }
    snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(word, "="), word);
    suggest_word(typed, names, OPTION_COUNT, guess, sizeof(guess));
    return st_fail(err, ST_INVALID_ARGUMENT, "there is no option %s%s", typed, guess);
}

/* The option at *at, and its value in the same word or the next; moves *at. */
static enum st_code
read_one(int argc, char **argv, int *at, struct invocation *in, struct st_err *err)
{
    const char *word = argv[*at], *value;
    int option = 0;
    while (option < OPTION_COUNT && !is_long(word, option) && !is_short(word, option))
        option++;
    if (option == OPTION_COUNT)
        return unknown_option(word, err);
    if (word[1] == '-')
        value = strchr(word, '=') ? strchr(word, '=') + 1 : NULL;
    else
        value = word[2] ? word + 2 : NULL;
    if (!options[option].value) {
        if (value)
            return st_fail(err, ST_INVALID_ARGUMENT, "--%s takes no value",
                           options[option].name);
        value = "";
    } else if (!value) {
        if (*at + 1 == argc)
            return st_fail(err, ST_INVALID_ARGUMENT, "--%s needs a value: %s",
                           options[option].name, options[option].value);
        value = argv[++*at];
    }
    in->options[option] = value;
    return ST_OK;
}

enum st_code
option_read(int argc, char **argv, struct invocation *out, struct st_err *err)
{
    *out = (struct invocation){0};
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        if (!only_words && !strcmp(argv[i], "--")) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
            enum st_code code = read_one(argc, argv, &i, out, err);
            if (code)
                return code;
        } else if (out->word_count == WORDS_MAX) {
            return st_fail(err, ST_INVALID_ARGUMENT, "'%s' is one word too many",
                           argv[i]);
        } else {
            out->words[out->word_count++] = argv[i];
        }
    }
    return ST_OK;
}

static bool
is_needed(uint64_t which, int option)
{
    return (which & OPTION_NEEDED(option)) == OPTION_NEEDED(option);
}

enum st_code
option_check(const struct verb *verb, struct invocation *in, struct st_err *err)
{
    for (int i = 0; i < OPTION_COUNT; i++)
        if (in->options[i] && !((verb->options | everywhere) & OPTION_BIT(i)))
            return st_fail(err, ST_INVALID_ARGUMENT, "stctl %s%s%s does not take --%s",
                           verb->noun, verb->name ? " " : "",
                           verb->name ? verb->name : "", options[i].name);
    for (int i = 0; i < OPTION_COUNT; i++)
        if (is_needed(verb->options, i) && !in->options[i])
            return st_fail(err, ST_INVALID_ARGUMENT, "stctl %s %s needs --%s %s: %s",
                           verb->noun, verb->name, options[i].name, options[i].value,
                           options[i].help);
    const char *output = in->options[OPTION_OUTPUT];
    in->json = output && !strcmp(output, "json");
    if (output && !in->json && strcmp(output, "table"))
        return st_fail(err, ST_INVALID_ARGUMENT, "--output is table or json, not '%s'",
                       output);
    if (in->options[OPTION_CONTEXT]) {
        enum st_code code = name_check("a context", in->options[OPTION_CONTEXT], err);
        if (code)
            return code;
    }
    const char *timeout = in->options[OPTION_TIMEOUT];
    uint64_t ms;
    enum st_code code =
        text_duration("--timeout", timeout ? timeout : TIMEOUT_DEFAULT, &ms, err);
    if (code)
        return code;
    in->timeout_ms = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
    return ST_OK;
}

void
option_print_needed(FILE *file, uint64_t which)
{
    for (int i = 0; i < OPTION_COUNT; i++)
        if (is_needed(which, i))
            fprintf(file, " --%s %s", options[i].name, options[i].value);
}

void
option_print(FILE *file, uint64_t which)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!((which ? which : everywhere) & OPTION_BIT(i)))
            continue;
        char text[64], letter[8] = "";
        if (options[i].letter)
            snprintf(letter, sizeof(letter), "-%c, ", options[i].letter);
        snprintf(text, sizeof(text), "%s--%s %s", letter, options[i].name,
                 options[i].value ? options[i].value : "");
        fprintf(file, "  %-32s %s\n", text, options[i].help);
    }
}

/* stctl: which verb was meant.  What the verbs do stands in files of their own. */
#include "tools/stctl.h"

#include "proto/rpc_server.h"
#include "proto/say.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    ADVICE_MAX = 200,
};

const struct verb stctl_verbs[] = {
    {"keygen", NULL, NULL, OPTION_BIT(OPTION_OUT) | OPTION_BIT(OPTION_NAME),
     "Makes an administrator's key and certificate",
     "Writes admin-key.pem (0600) and admin.pem into the folder --out, by default\n"
     "~/.config/smalltown.  Never overwrites.  The certificate is what a master wants\n"
     "with `smalltown-nms init --admin-cert`; the key stays with you.\n",
     stctl_keygen},
    {"context", "add", "NAME",
     OPTION_NEEDED(OPTION_ADDRESS) | OPTION_NEEDED(OPTION_MASTERS_CERT) |
         OPTION_BIT(OPTION_FINGERPRINT) | OPTION_BIT(OPTION_CERT) |
         OPTION_BIT(OPTION_KEY),
     "Remembers a cluster under a name",
     "masters.pem lies in the folder of `smalltown-nms init`, which also printed its\n"
     "fingerprint; it is copied into the context.  The first context is in use at\n"
     "once.\n",
     stctl_context_add},
    {"context", "update", NULL, 0, "Learns where the cluster's masters are now",
     "Asks the masters of the context in use, or of --context; its certificate and\n"
     "your key stay.  Say it after a master has come or gone.\n",
     stctl_context_update},
    {"context", "use", "NAME", 0, "Makes this the cluster that stctl talks to", NULL,
     stctl_context_use},
    {"context", "list", NULL, 0, "Lists the clusters that stctl knows", NULL,
     stctl_context_list},
    {"context", "remove", "NAME", 0, "Forgets a cluster; nothing happens there", NULL,
     stctl_context_remove},
    {"admin", "list", NULL, 0, "Lists who may administer", NULL, stctl_admin_list},
    {"admin", "add", "FILE", OPTION_BIT(OPTION_ROLE), "Lets somebody administer",
     "FILE is the admin.pem that `stctl keygen` made for him; his key stays with him.\n"
     "With --role viewer he may look and change nothing.  Who is listed gets the role\n"
     "that is said now.\n",
     stctl_admin_add},
    {"admin", "remove", "SHA256", OPTION_BIT(OPTION_YES),
     "Hears an administrator no more",
     "SHA256 is that of his certificate, or its first digits, as `stctl admin list`\n"
     "shows them.  The last one who may change anything stays.\n",
     stctl_admin_remove},
    {"enrolment", "create", "NAME",
     OPTION_BIT(OPTION_USES) | OPTION_BIT(OPTION_EXPIRES) | OPTION_BIT(OPTION_OUT) |
         OPTION_BIT(OPTION_RECOVERY_KEY),
     "Makes a file with which new machines enrol",
     "The file (--out, by default enrolment.pb here, 0600) holds a secret: put it onto\n"
     "the machine's ESP as EFI/smalltown/enrolment.pb and keep no copy.  With\n"
     "--recovery-key the data volume gets a key for the day on which its TPM is gone,\n"
     "sealed to that file's owner: `stctl node recovery-key` shows it.\n",
     stctl_enrolment_create},
    {"enrolment", "list", NULL, 0, "Lists the enrolments", NULL, stctl_enrolment_list},
    {"enrolment", "revoke", "NAME", 0, "Ends an enrolment; nodes that have come stay",
     NULL, stctl_enrolment_revoke},
    {"node", "list", NULL, OPTION_BIT(OPTION_STATE), "Lists the nodes", NULL,
     stctl_node_list},
    {"node", "show", "ID", 0, "Tells all that is known of a node",
     "ID is the node's id or its beginning, with smalltown- or without.\n",
     stctl_node_show},
    {"node", "adopt", "ID", OPTION_BIT(OPTION_ROLE), "Lets a registered node unlock",
     "ID is the node's id or its beginning, with smalltown- or without.  Compare it\n"
     "with what the machine itself shows: whoever has an enrolment file can register.\n"
     "With --role master it becomes a master, too, also if it is a worker already:\n"
     "that is answered when it has caught up with the others.\n",
     stctl_node_adopt},
    {"node", "remove", "ID", OPTION_BIT(OPTION_YES) | OPTION_BIT(OPTION_FORCE),
     "Destroys a node's half of its key",
     "ID is the node's id or its beginning, with smalltown- or without.  The node can\n"
     "never unlock again; what is on its disk is lost, unless somebody has its\n"
     "recovery key: `stctl node recovery-key` before this.  If it is a master, its\n"
     "certificate is revoked.\n",
     stctl_node_remove},
    {"node", "recovery-key", "ID", OPTION_NEEDED(OPTION_KEY),
     "Shows the recovery key of a node's disk",
     "ID is the node's id or its beginning, with smalltown- or without; --key is the\n"
     "recovery-key.pem to whose other half its enrolment was made.  It is opened here;\n"
     "no master can.  On the machine `smalltown-node recover` asks for it.\n",
     stctl_node_recovery_key},
    {"node", "pcrs", "ID", OPTION_BIT(OPTION_DIFF),
     "Tells what a node booted, as its TPM saw it",
     "When it enrolled, when a master last gave it its key, and what was refused last;\n"
     "with -o json in full.  --diff compares the newest of them with the policy.\n",
     stctl_node_pcrs},
    {"node", "approve", "ID", OPTION_BIT(OPTION_YES),
     "Lets a node boot what was refused last",
     "Shows what differs, and asks.  The boot is good for this node from then on,\n"
     "beside the policy's sets: `stctl policy captured list`.\n",
     stctl_node_approve},
    {"recovery", "keygen", NULL, OPTION_BIT(OPTION_OUT),
     "Makes a key to which recovery keys are sealed",
     "Writes recovery-key.pem (0600) and recovery.pem into the folder --out, by\n"
     "default ~/.config/smalltown.  Never overwrites.  recovery.pem is for `stctl\n"
     "enrolment create`; keep recovery-key.pem where no attacker and no fire gets it.\n",
     stctl_recovery_keygen},
    {"recovery", "open", "FILE", OPTION_NEEDED(OPTION_KEY),
     "Shows the recovery key in a disk's own header",
     "For a node that was removed already, or where no majority of masters answers.\n"
     "FILE is what `cryptsetup token export` of token 1 wrote on its machine; stctl(1)\n"
     "says how.  --key as in `stctl node recovery-key`.\n",
     stctl_recovery_open},
    {"policy", "show", NULL, OPTION_BIT(OPTION_AT),
     "Prints what is demanded of a machine",
     "As JSON that `stctl policy set` takes; what each word means is in policy.md (on\n"
     "Debian in /usr/share/doc/stctl).\n",
     stctl_policy_show},
    {"policy", "set", "FILE", OPTION_BIT(OPTION_EXPECT),
     "Replaces the policy by that of a file",
     "In force at once.  With --expect only where that is the version in force, so\n"
     "that no other administrator's change is lost.\n",
     stctl_policy_set},
    {"policy", "edit", NULL, 0, "Opens the policy in $EDITOR, then sets it",
     "In $VISUAL, where that is set.\n", stctl_policy_edit},
    {"policy", "test", "ID", OPTION_BIT(OPTION_FILE),
     "Tells what the policy says of a node",
     "With --file, what that policy would say.  Nothing changes.  Exit status 6 where\n"
     "it would be refused.\n",
     stctl_policy_test},
    {"policy", "history", NULL, 0, "Lists the last versions, and who made them", NULL,
     stctl_policy_history},
    {"policy", "capture", "ID",
     OPTION_NEEDED(OPTION_NAME) | OPTION_BIT(OPTION_PCRS) | OPTION_BIT(OPTION_ALL) |
         OPTION_BIT(OPTION_REFUSED),
     "Makes a set of the PCRs that a node booted",
     "Of the last boot that was accepted, else of its enrolment, and says which; with\n"
     "--refused, of the last that was refused.  The set is for this node, with --all\n"
     "for every one.\n",
     stctl_policy_capture},
    {"policy", "window open", NULL, OPTION_NEEDED(OPTION_FOR) | OPTION_BIT(OPTION_NODES),
     "Lets boots change for some time",
     "For an update: what the policy refuses is accepted once of each node, and is\n"
     "good for that node from then on.  Never a boot that nobody measured.  It closes\n"
     "by itself.\n",
     stctl_policy_window_open},
    {"policy", "window close", NULL, 0, "Closes the window before its time",
     "What came through it stays good.\n", stctl_policy_window_close},
    {"policy", "captured list", NULL, 0, "Lists what windows and approvals let in",
     "Beside the policy's own sets; with -o json in full, with the nodes of each.\n",
     stctl_policy_captured_list},
    {"policy", "captured remove", "SET", 0, "Makes such a boot bad again",
     "For every node; SET is its name or the beginning of its digest.\n",
     stctl_policy_captured_remove},
    {"policy", "ca add", "FILE", 0, "Trusts a CA to certify EKs",
     "FILE is a certificate in PEM or DER, or a folder of them.  It is trusted as it\n"
     "is, also where it is an intermediate: add the CA that signed the EK\n"
     "certificates.\n",
     stctl_policy_ca_add},
    {"policy", "ca list", NULL, 0, "Lists the CAs that may certify EKs", NULL,
     stctl_policy_ca_list},
    {"policy", "ca remove", "SHA256", 0, "Trusts a CA no longer",
     "Its SHA-256 as `stctl policy ca list` shows it.  Nodes that it certified stay.\n",
     stctl_policy_ca_remove},
    {"authority", "renew", NULL, 0, "Makes a new key that approves of other boots",
     "After an update a node's own half opens because the cluster signed the new\n"
     "values.  Say it once in a cluster that was made with 0.1, when all masters are\n"
     "of this release, and whenever somebody may have got at the keys of a master.\n"
     "The key before counts until the next time: let every node unlock in between.\n",
     stctl_authority_renew},
    {"master", "invite", "NAME", OPTION_BIT(OPTION_EXPIRES) | OPTION_BIT(OPTION_OUT),
     "Makes a ticket for a host to become a master",
     "For a host without a TPM, once.  The file (--out, by default ticket.pb here,\n"
     "0600) holds a secret: on the host it is what `smalltown-nms join` reads.\n",
     stctl_master_invite},
    {"master", "invitations", NULL, 0, "Lists the tickets that can still be used", NULL,
     stctl_master_invitations},
    {"master", "uninvite", "NAME", 0, "Makes a ticket useless",
     "For one that got into other hands.  Whoever used it already is a master: "
     "`stctl\nmaster remove`.\n",
     stctl_master_uninvite},
    {"master", "list", NULL, 0, "Lists the masters as one of them sees them",
     "KIND: a node, which an administrator adopted, or a host, which a ticket invited.\n",
     stctl_master_list},
    {"master", "remove", "ID", OPTION_BIT(OPTION_YES) | OPTION_BIT(OPTION_FORCE),
     "Ends a master",
     "ID is its number in `stctl master list`, under which it can never come back: its\n"
     "certificate is revoked.  One that is a node stays that, and unlocks as before:\n"
     "`stctl node adopt` makes it a master anew, `stctl node remove` ends both.\n",
     stctl_master_remove},
    {"audit", "tail", NULL,
     OPTION_BIT(OPTION_FOLLOW) | OPTION_BIT(OPTION_LINES) | OPTION_BIT(OPTION_NODE),
     "Tells what the masters decided last",
     "Who enrolled, unlocked, was refused and why, and which administrator changed\n"
     "what: each master keeps its own, and every master of the context is asked.\n"
     "Behind the time stands the number of the master.  -o json prints one object a\n"
     "line.\n",
     stctl_audit_tail},
    {"status", NULL, NULL, 0, "Tells how the cluster and its masters are",
     "Asks every master of the context, and those that these tell of.  Exit status 5\n"
     "where none has a leader.\n",
     stctl_status},
};
const size_t stctl_verb_count = sizeof(stctl_verbs) / sizeof(*stctl_verbs);

static enum st_code
unknown_word(const char *noun, const char *typed, struct st_err *err)
{
    const char *names[sizeof(stctl_verbs) / sizeof(*stctl_verbs)];
    char guess[64];
    size_t count = 0;
    for (size_t i = 0; i < stctl_verb_count; i++)
        if (!noun)
            names[count++] = stctl_verbs[i].noun;
        else if (!strcmp(noun, stctl_verbs[i].noun))
            names[count++] = stctl_verbs[i].name;
    suggest_word(typed, names, count, guess, sizeof(guess));
    return st_fail(err, ST_INVALID_ARGUMENT, "there is no '%.60s'%s%s%s", typed,
                   noun ? " for a " : "", noun ? noun : "", guess);
}

static int
words_in_name(const struct verb *verb)
{
    if (!verb->name)
        return 0;
    return strchr(verb->name, ' ') ? 2 : 1;
}

bool
verb_is_named(const struct verb *verb, const struct invocation *in)
{
    char typed[80];
    const int count = words_in_name(verb);
    if (in->word_count < 1 + count)
        return false;
    if (count == 0)
        return true;
    snprintf(typed, sizeof(typed), "%.30s%s%.30s", in->words[1], count > 1 ? " " : "",
             count > 1 ? in->words[2] : "");
    return strcmp(typed, verb->name) == 0;
}

/* `window`, of which there are `window open` and `window close`. */
static bool
is_half_a_name(const struct verb *verb, const char *word)
{
    size_t len = strlen(word);
    return len && verb->name && !strncmp(verb->name, word, len) && verb->name[len] == ' ';
}

static enum st_code
find_verb(const struct invocation *in, const struct verb **out, struct st_err *err)
{
    const char *noun = in->word_count > 0 ? in->words[0] : "";
    const char *name = in->word_count > 1 ? in->words[1] : "";
    bool noun_known = false, half = false;
    char both[80];
    for (size_t i = 0; i < stctl_verb_count; i++) {
        const struct verb *verb = &stctl_verbs[i];
        if (strcmp(noun, verb->noun))
            continue;
        noun_known = true;
        half |= is_half_a_name(verb, name);
        if (verb_is_named(verb, in)) {
            *out = verb;
            return ST_OK;
        }
    }
    if (!noun_known)
        return unknown_word(NULL, noun, err);
    if (!*name)
        return st_fail(err, ST_INVALID_ARGUMENT, "what about the %s? (`stctl %s --help`)",
                       noun, noun);
    if (half && in->word_count == 2)
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "what about the %s %s? (`stctl %s --help`)", noun, name, noun);
    snprintf(both, sizeof(both), "%.30s%s%.30s", name, half ? " " : "",
             half ? in->words[2] : "");
    return unknown_word(noun, both, err);
}

static enum st_code
take_argument(const struct verb *verb, struct invocation *in, struct st_err *err)
{
    int given = in->word_count - 1 - words_in_name(verb);
    if (given > (verb->argument ? 1 : 0))
        return st_fail(err, ST_INVALID_ARGUMENT, "'%.60s' is one word too many",
                       in->words[in->word_count - 1]);
    if (!verb->argument)
        return ST_OK;
    if (given == 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "stctl %s %s needs one %s", verb->noun,
                       verb->name, verb->argument);
    in->argument = in->words[in->word_count - 1];
    return ST_OK;
}

static enum st_code
run(struct invocation *in, struct st_err *err)
{
    const struct verb *verb = NULL;
    enum st_code code = find_verb(in, &verb, err);
    if (!code)
        code = take_argument(verb, in, err);
    if (!code)
        code = option_check(verb, in, err);
    if (code)
        return code;
    rpc_init(NULL);
    code = verb->run(in, err);
    rpc_shutdown();
    if (!code && fflush(stdout))
        return st_fail(err, ST_INTERNAL, "the answer cannot be written to stdout");
    return code;
}

int
main(int argc, char **argv)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    struct invocation in;
    struct st_err err = {0};
    enum st_code code = option_read(argc, argv, &in, &err);
    if (!code && in.options[OPTION_VERSION]) {
        puts("stctl " ST_VERSION);
        return EXIT_SUCCESS;
    }
    if (!code && (in.word_count == 0 || in.options[OPTION_HELP])) {
        help_print(&in);
        return in.options[OPTION_HELP] ? EXIT_SUCCESS : 2;
    }
    if (!code)
        code = run(&in, &err);
    if (!code)
        return EXIT_SUCCESS;
    const char *advice = exit_advice(&err);
    char sentence[sizeof(err.text) + ADVICE_MAX];
    snprintf(sentence, sizeof(sentence), "%s%s%s", err.text, advice ? "; " : "",
             advice ? advice : "");
    say_failed("stctl", sentence);
    return exit_status(&err);
}

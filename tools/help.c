/* What stctl says of itself, at each level. */
#include "tools/stctl.h"

#include <string.h>

static void
print_line(const struct verb *verb)
{
    char words[48];
    snprintf(words, sizeof(words), "%s %s%s%s", verb->noun, verb->name ? verb->name : "",
             verb->name && verb->argument ? " " : "",
             verb->argument ? verb->argument : "");
    printf("  stctl %-26s %s\n", words, verb->summary);
}

static void
print_verb(const struct verb *verb)
{
    printf("usage: stctl %s%s%s%s%s", verb->noun, verb->name ? " " : "",
           verb->name ? verb->name : "", verb->argument ? " " : "",
           verb->argument ? verb->argument : "");
    option_print_needed(stdout, verb->options);
    printf(" [OPTION...]\n\n%s.\n", verb->summary);
    if (verb->help)
        printf("%s", verb->help);
    printf("\n");
    if (verb->options)
        option_print(stdout, verb->options);
    option_print(stdout, 0);
}

static void
print_all(const char *noun)
{
    if (!noun)
        printf("usage: stctl NOUN VERB [OPTION...]\n\n"
               "The administrator's end of a Smalltown cluster.\n\n");
    for (size_t i = 0; i < stctl_verb_count; i++)
        if (!noun || !strcmp(noun, stctl_verbs[i].noun))
            print_line(&stctl_verbs[i]);
    printf("\n");
    option_print(stdout, 0);
    printf("\nExit status: 0 done, 1 failed, 2 usage, 3 not found, 4 refused,\n"
           "5 unreachable, no quorum or busy, 6 wrong state or already there.\n"
           "`stctl NOUN VERB --help` says more; so does stctl(1).\n");
}

void
help_print(const struct invocation *in)
{
    const char *noun = in->word_count > 0 ? in->words[0] : NULL;
    bool known = false;
    for (size_t i = 0; noun && i < stctl_verb_count; i++) {
        const struct verb *verb = &stctl_verbs[i];
        if (strcmp(noun, verb->noun))
            continue;
        known = true;
        if (verb_is_named(verb, in)) {
            print_verb(verb);
            return;
        }
    }
    print_all(known ? noun : NULL);
}

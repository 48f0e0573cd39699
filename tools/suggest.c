/* What was meant, where a word is almost one that there is. */
#include "tools/stctl.h"

#include <string.h>

enum {
    GUESS_LEN = 32,
    GUESS_DISTANCE = 2, /* slips of the finger that are forgiven */
};

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, removals and replacements that lead from a to b. */
static size_t
distance(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b), row[GUESS_LEN + 1];
    if (a_len > GUESS_LEN || b_len > GUESS_LEN)
        return GUESS_LEN;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            row[j] = smaller(diagonal + (a[i - 1] != b[j - 1]),
                             smaller(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[b_len];
}

void
suggest_word(const char *typed, const char *const *candidates, size_t count, char *out,
             size_t size)
{
    size_t best = GUESS_DISTANCE + 1;
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(typed, candidates[i]);
        if (d < best && d < strlen(candidates[i])) {
            best = d;
            snprintf(out, size, ", did you mean '%s'?", candidates[i]);
        }
    }
}

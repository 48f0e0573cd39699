#include "tools/table.h"
#include "tools/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    COLUMNS_MAX = 8,
    GAP = 2,
    LAST_MIN = 4, /* what a cut leaves of the last column at least */
};

struct table {
    size_t columns, cells, room;
    char **cell; /* row by row, titles first */
};

static void *
must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

struct table *
table_new(size_t columns, const char *const *titles)
{
    struct table *table = must(calloc(1, sizeof(*table)));
    assert(columns >= 1 && columns <= COLUMNS_MAX);
    table->columns = columns;
    table_row(table, titles);
    return table;
}

void
table_free(struct table *table)
{
    for (size_t i = 0; i < table->cells; i++)
        free(table->cell[i]);
    free(table->cell);
    free(table);
}

void
table_row(struct table *table, const char *const *cells)
{
    if (table->cells + table->columns > table->room) {
        table->room = 2 * (table->cells + table->columns);
        table->cell = must(reallocarray(table->cell, table->room, sizeof(*table->cell)));
    }
    for (size_t i = 0; i < table->columns; i++)
        table->cell[table->cells++] = text_printable(cells[i]);
}

size_t
table_width(FILE *file)
{
    struct winsize size;
    if (!isatty(fileno(file)))
        return 0;
    if (ioctl(fileno(file), TIOCGWINSZ, &size) || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

static size_t
column_width(const struct table *table, size_t column)
{
    size_t widest = 0;
    for (size_t i = column; i < table->cells; i += table->columns) {
        size_t len = strlen(table->cell[i]);
        if (len > widest)
            widest = len;
    }
    return widest;
}

static void
print_last(const char *text, size_t room, FILE *file)
{
    if (room && strlen(text) > room)
        fprintf(file, "%.*s~\n", (int)room - 1, text);
    else
        fprintf(file, "%s\n", text);
}

void
table_print(const struct table *table, FILE *file, size_t width)
{
    size_t widths[COLUMNS_MAX], before = 0, last = table->columns - 1;
    for (size_t i = 0; i < last; i++) {
        widths[i] = column_width(table, i);
        before += widths[i] + GAP;
    }
    size_t room = width > before + LAST_MIN ? width - before : LAST_MIN;
    for (size_t i = 0; i < table->cells; i++) {
        size_t column = i % table->columns;
        if (column == last)
            print_last(table->cell[i], width ? room : 0, file);
        else
            fprintf(file, "%-*s", (int)(widths[column] + GAP), table->cell[i]);
    }
}

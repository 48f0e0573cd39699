/* table.h - rows for people.
 *
 *     AUTO(table_freep) struct table *t = table_new(2, (const char *[]){"NODE", "AGE"});
 *     table_row(t, (const char *[]){id, age});
 *     table_print(t, stdout, table_width(stdout));
 *
 * Cells are copied; what is not printable becomes '?', so a name from outside cannot
 * steer a terminal.  Memory running out aborts: a tool that cannot hold a table is done.
 */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include "proto/scope.h"

#include <stddef.h>
#include <stdio.h>

struct table;

struct table *table_new(size_t columns, const char *const *titles);
void table_free(struct table *table);
AUTO_DEFINE(struct table *, table_freep, table_free)
void table_row(struct table *table, const char *const *cells);

/* Columns of the terminal behind `file`; 0 where it is none: nothing is cut then. */
size_t table_width(FILE *file);

/* Where the rows are wider than `width` the cells of the last column are cut, and end
 * in '~'. */
void table_print(const struct table *table, FILE *file, size_t width);

#endif

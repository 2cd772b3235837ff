/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: tables, ages, terminal-safe strings. */
#ifndef VMCTL_TEXT_H
#define VMCTL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Writes text without control characters (they could drive the terminal); line
 * feeds stay when lines is set. */
void print_safe(FILE *out, const char *text, int lines);

enum {
	TABLE_COLUMNS_MAX = 10
};

/* Columns as wide as their content; the last is not padded. Cells are row by
 * row, `columns` each; the first row is the heading. */
void print_table(FILE *out, const char *const *cells, size_t rows,
		 size_t columns);

/* "12s", "5m", "3h", "2d" since an RFC 3339 time; "-" when it is none. */
char *format_age(const char *rfc3339, int64_t now_ms, char out[static 24]);
/* ms since the epoch, or -1. */
int64_t parse_rfc3339_ms(const char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people. */
#include "vmctl/text.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

void print_safe(FILE *out, const char *text, int lines)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;

		if (c1)
			p++; /* U+0080..U+009F: CSI and its like */
		if (c1 || (*p < 0x20 && *p != '\t' && !(lines && *p == '\n')) ||
		    *p == 0x7f)
			(void)fputc(*p == '\r' ? ' ' : '?', out);
		else
			(void)fputc(*p, out);
	}
}

/* Characters, not bytes: continuation bytes of UTF-8 take no column. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void print_table(FILE *out, const char *const *cells, size_t rows,
		 size_t columns)
{
	size_t widths[TABLE_COLUMNS_MAX] = { 0 };

	for (size_t i = 0; i < rows * columns; i++) {
		size_t w = width_of(cells[i]);

		if (w > widths[i % columns])
			widths[i % columns] = w;
	}
	for (size_t i = 0; i < rows * columns; i++) {
		bool last = i % columns == columns - 1;

		print_safe(out, cells[i], 0);
		if (last) {
			(void)fputc('\n', out);
			continue;
		}
		for (size_t w = width_of(cells[i]); w < widths[i % columns] + 2;
		     w++)
			(void)fputc(' ', out);
	}
}

int64_t parse_rfc3339_ms(const char *text)
{
	struct tm tm = { .tm_isdst = 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!end || (*end != 'Z' && *end != '.'))
		return -1;
	return (int64_t)timegm(&tm) * 1000;
}

char *format_age(const char *rfc3339, int64_t now_ms, char out[static 24])
{
	static const struct {
		int64_t seconds;
		char unit;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
	int64_t then = parse_rfc3339_ms(rfc3339);
	int64_t age = then < 0 ? 0 : (now_ms - then) / 1000;

	(void)snprintf(out, 24, "%s", then < 0 ? "-" : "0s");
	for (size_t i = 0; age > 0 && i < 4; i++) {
		if (age < units[i].seconds * (units[i].seconds > 1 ? 2 : 1))
			continue;
		(void)snprintf(out, 24, "%lld%c",
			       (long long)(age / units[i].seconds),
			       units[i].unit);
		break;
	}
	return out;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See parse.h. */
#include "base/parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

/* Reads leading digits; false when there are none or they overflow. */
static bool take_digits(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (!checked_mul(v, 10, &v) ||
		    !checked_add(v, (uint64_t)(*p - '0'), &v))
			return false;
	}
	*text = p;
	*ret = v;
	return true;
}

int parse_u64(const char *text, uint64_t min, uint64_t max, const char *what,
	      uint64_t *ret_value, struct err *e)
{
	const char *p = text;
	uint64_t v;

	if (!take_digits(&p, &v) || *p)
		return err_set(e, ERR_INVALID, "bad_number", 0,
			       "%s: '%.40s' is not a whole number", what, text);
	if (v < min || v > max)
		return err_set(e, ERR_INVALID, "out_of_range", 0,
			       "%s: %" PRIu64 " is not between %" PRIu64
			       " and %" PRIu64,
			       what, v, min, max);
	*ret_value = v;
	return 0;
}

struct unit {
	const char *suffix;
	uint64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units,
			   size_t count, const char *what, const char *example,
			   uint64_t *ret, struct err *e)
{
	const char *p = text;
	uint64_t v;

	if (!take_digits(&p, &v))
		return err_set(e, ERR_INVALID, "bad_number", 0,
			       "%s: '%.40s' is not of the form %s", what, text,
			       example);
	for (size_t i = 0; i < count; i++) {
		if (strcasecmp(p, units[i].suffix) != 0)
			continue;
		if (!checked_mul(v, units[i].factor, ret))
			return err_set(e, ERR_INVALID, "out_of_range", 0,
				       "%s: '%.40s' is too large", what, text);
		return 0;
	}
	return err_set(e, ERR_INVALID, "bad_unit", 0,
		       *p == '.' || *p == ','
			       ? "%s: '%.40s' is not a whole number of a unit, "
				 "write it as %s"
			       : "%s: unknown unit in '%.40s', write it as %s",
		       what, text, example);
}

int parse_size(const char *text, const char *what, uint64_t *ret_bytes,
	       struct err *e)
{
	static const struct unit units[] = {
		{ "", 1 },	     { "b", 1 },
		{ "k", 1ull << 10 }, { "kib", 1ull << 10 },
		{ "m", 1ull << 20 }, { "mib", 1ull << 20 },
		{ "g", 1ull << 30 }, { "gib", 1ull << 30 },
		{ "t", 1ull << 40 }, { "tib", 1ull << 40 },
	};

	return parse_with_unit(text, units, ARRAY_LEN(units), what,
			       "512M or 2G (K, M, G, T or MiB …, 1024 each)",
			       ret_bytes, e);
}

/* A number and its unit; the unit may be missing at the end of the text. */
static bool take_duration(const char **text, uint64_t *ret_ms)
{
	/* "ms" is tried before "m". */
	static const struct unit units[] = {
		{ "ms", 1 },	  { "s", 1000 },     { "m", 60000 },
		{ "h", 3600000 }, { "d", 86400000 },
	};
	uint64_t v;

	if (!take_digits(text, &v))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		size_t len = strlen(units[i].suffix);

		if (strncasecmp(*text, units[i].suffix, len) != 0)
			continue;
		*text += len;
		return checked_mul(v, units[i].factor, ret_ms);
	}
	return !**text && checked_mul(v, 1000, ret_ms);
}

int parse_duration_ms(const char *text, const char *what, uint64_t *ret_ms,
		      struct err *e)
{
	static const char digits[] = "0123456789";
	size_t len = strlen(text), number = strspn(text, digits);
	/* "1h30" could be minutes or seconds. */
	bool ok = number == len || !strchr(digits, text[len - 1]);
	const char *p = text;
	uint64_t sum = 0, part;

	do
		ok = ok && take_duration(&p, &part) &&
		     checked_add(sum, part, &sum);
	while (ok && *p);
	if (!ok)
		return err_set(e, ERR_INVALID, "bad_duration", 0,
			       "%s: '%.40s' is not a time of the form 30s, "
			       "10m, 2h, 1d or 1h30m",
			       what, text);
	*ret_ms = sum;
	return 0;
}

int parse_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int parse_mac(const char *text, uint8_t ret_mac[6], struct err *e)
{
	uint8_t mac[6] = { 0 };
	unsigned sum = 0;
	bool ok = strlen(text) == 17;

	for (size_t i = 0; ok && i < 6; i++) {
		int hi = parse_hex_digit(text[i * 3]);
		int lo = parse_hex_digit(text[i * 3 + 1]);

		ok = hi >= 0 && lo >= 0 && (i == 5 || text[i * 3 + 2] == ':');
		mac[i] = (uint8_t)(((unsigned)hi << 4 | (unsigned)lo) & 0xff);
		sum |= mac[i];
	}
	if (!ok)
		return err_set(e, ERR_INVALID, "bad_mac", 0,
			       "'%.40s' is not a MAC address such as "
			       "02:00:00:00:00:01",
			       text);
	if ((mac[0] & 1) || !sum)
		return err_set(e, ERR_INVALID, "bad_mac", 0,
			       "MAC address %s is a multicast or null address: "
			       "give a unicast one",
			       text);
	memcpy(ret_mac, mac, 6);
	return 0;
}

bool parse_name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len < 1 || len > 63)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!alnum && (i == 0 || !strchr("._-", c)))
			return false;
	}
	return true;
}

char *format_size(uint64_t bytes, char buf[static 24])
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t unit = 0;

	while (v >= 1024.0 && unit + 1 < ARRAY_LEN(names)) {
		v /= 1024.0;
		unit++;
	}
	if (v == (double)(uint64_t)v)
		(void)snprintf(buf, 24, "%.0f %s", v, names[unit]);
	else
		(void)snprintf(buf, 24, "%.1f %s", v, names[unit]);
	return buf;
}

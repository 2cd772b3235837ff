/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of ustar headers and the records of pax headers, both ways. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/tar.h"

unsigned int tar_checksum(const struct tar_header *h)
{
	const uint8_t *bytes = (const uint8_t *)h;
	const size_t from = offsetof(struct tar_header, checksum);
	unsigned int sum = 0;

	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= from && i < from + 8 ? ' ' : bytes[i];
	return sum;
}

bool tar_number(const char *field, size_t len, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if ((uint8_t)field[0] & 0x80) {
		/* GNU base 256, big-endian; negative ones are refused. */
		if ((uint8_t)field[0] != 0x80)
			return false;
		for (i = 1; i < len; i++) {
			if (v >> 56)
				return false;
			v = v << 8 | (uint8_t)field[i];
		}
		*ret = v;
		return v <= INT64_MAX;
	}
	while (i < len && field[i] == ' ')
		i++;
	for (; i < len && field[i] >= '0' && field[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(field[i] - '0');
	if (i < len && field[i] != 0 && field[i] != ' ')
		return false;
	*ret = v;
	return true;
}

static bool decimal(const char *text, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	*ret = strtoull(text, &end, 10);
	return *end == 0 && *ret <= INT64_MAX;
}

/* "-12.5": seconds rounded down, nanoseconds. */
static bool pax_time(const char *text, struct tar_entry *e)
{
	char *end;
	long long s = strtoll(text, &end, 10);
	long ns = 0, unit = 100000000;

	if (end == text || (*end && *end != '.'))
		return false;
	if (*end == '.')
		for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10)
			ns += (*end - '0') * unit;
	if (*end)
		return false;
	if (*text == '-' && ns) {
		s -= s > INT64_MIN;
		ns = 1000000000 - ns;
	}
	e->mtime_s = s;
	e->mtime_ns = ns;
	return true;
}

static bool pax_text(char out[static TAR_NAME_MAX], const char *value,
		     size_t len)
{
	if (len >= TAR_NAME_MAX || strlen(value) != len)
		return false;
	memcpy(out, value, len + 1);
	return true;
}

static bool apply_record(const char *key, const char *value, size_t len,
			 struct tar_entry *e, bool *ret_size_given)
{
	if (strcmp(key, "path") == 0)
		return pax_text(e->name, value, len);
	if (strcmp(key, "linkpath") == 0)
		return pax_text(e->link, value, len);
	if (strcmp(key, "mtime") == 0)
		return pax_time(value, e);
	if (strcmp(key, "uid") == 0)
		return decimal(value, &e->uid);
	if (strcmp(key, "gid") == 0)
		return decimal(value, &e->gid);
	if (strcmp(key, "size") == 0) {
		*ret_size_given = true;
		return decimal(value, &e->size);
	}
	return true; /* extensions may be ignored */
}

bool tar_apply_pax(const char *records, size_t len, struct tar_entry *e,
		   bool *ret_size_given)
{
	static char work[TAR_PAX_MAX];

	while (len > 0) {
		char *end, *equals;
		unsigned long total;
		size_t key;

		/* "LEN key=value\n", LEN counts all of it. */
		if (*records < '0' || *records > '9' || len > sizeof(work))
			return false;
		memcpy(work, records, len < 24 ? len : 24);
		work[len < 24 ? len : 23] = 0;
		total = strtoul(work, &end, 10);
		key = (size_t)(end - work) + 1;
		if (*end != ' ' || total > len || total <= key + 1 ||
		    records[total - 1] != '\n')
			return false;
		memcpy(work, records, total);
		work[total - 1] = 0;
		equals = strchr(work + key, '=');
		if (!equals)
			return false;
		*equals++ = 0;
		if (!apply_record(work + key, equals,
				  total - 1 - (size_t)(equals - work), e,
				  ret_size_given))
			return false;
		records += total;
		len -= total;
	}
	return true;
}

static void octal(char *field, size_t size, uint64_t v)
{
	field[size - 1] = 0;
	for (size_t i = size - 1; i > 0; i--, v >>= 3)
		field[i - 1] = (char)('0' + (v & 7));
}

static bool fits_octal(uint64_t v, size_t size)
{
	return v >> (3 * (size - 1)) == 0;
}

static void seal(struct tar_header *h)
{
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	octal(h->checksum, 7, tar_checksum(h));
	h->checksum[7] = ' ';
}

/* Appends one record; its length counts its own digits. */
static char *put_record(char *at, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, total = rest + 1;

	for (int round = 0; round < 3; round++)
		total = rest + (size_t)snprintf(NULL, 0, "%zu", total);
	return at + snprintf(at, total + 1, "%zu %s=%s\n", total, key, value);
}

static size_t pad(size_t len)
{
	return (len + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

/* The pax header for what ustar cannot say; 0 when it can say all. */
static size_t encode_pax(const struct tar_entry *e, uint8_t *out)
{
	struct tar_header *h = (void *)out;
	char *start = (char *)out + TAR_BLOCK, *at = start, value[64];
	size_t len;

	if (strlen(e->name) > sizeof(h->name))
		at = put_record(at, "path", e->name);
	if (strlen(e->link) > sizeof(h->linkname))
		at = put_record(at, "linkpath", e->link);
	if (!fits_octal(e->size, sizeof(h->size))) {
		(void)snprintf(value, sizeof(value), "%llu",
			       (unsigned long long)e->size);
		at = put_record(at, "size", value);
	}
	if (e->mtime_ns && e->mtime_s >= 0) {
		(void)snprintf(value, sizeof(value), "%lld.%09ld",
			       (long long)e->mtime_s, e->mtime_ns);
		at = put_record(at, "mtime", value);
	}
	if (!fits_octal(e->uid, sizeof(h->uid))) {
		(void)snprintf(value, sizeof(value), "%llu",
			       (unsigned long long)e->uid);
		at = put_record(at, "uid", value);
	}
	if (!fits_octal(e->gid, sizeof(h->gid))) {
		(void)snprintf(value, sizeof(value), "%llu",
			       (unsigned long long)e->gid);
		at = put_record(at, "gid", value);
	}
	len = (size_t)(at - start);
	if (!len)
		return 0;
	memset(h, 0, sizeof(*h));
	memcpy(h->name, "pax-header", 10);
	octal(h->mode, sizeof(h->mode), 0644);
	octal(h->uid, sizeof(h->uid), 0);
	octal(h->gid, sizeof(h->gid), 0);
	octal(h->size, sizeof(h->size), len);
	octal(h->mtime, sizeof(h->mtime), 0);
	h->type = 'x';
	seal(h);
	memset(at, 0, pad(len) - len);
	return TAR_BLOCK + pad(len);
}

size_t tar_encode_entry(const struct tar_entry *e, uint8_t *out)
{
	size_t used = encode_pax(e, out), len;
	struct tar_header *h = (void *)(out + used);

	memset(h, 0, sizeof(*h));
	/* Names may fill the field without a NUL; cut ones are in the pax. */
	len = strlen(e->name);
	memcpy(h->name, e->name, len < sizeof(h->name) ? len : sizeof(h->name));
	len = strlen(e->link);
	memcpy(h->linkname, e->link,
	       len < sizeof(h->linkname) ? len : sizeof(h->linkname));
	octal(h->mode, sizeof(h->mode), e->mode & 07777);
	octal(h->uid, sizeof(h->uid), fits_octal(e->uid, 8) ? e->uid : 0);
	octal(h->gid, sizeof(h->gid), fits_octal(e->gid, 8) ? e->gid : 0);
	octal(h->size, sizeof(h->size), fits_octal(e->size, 12) ? e->size : 0);
	octal(h->mtime, sizeof(h->mtime),
	      e->mtime_s > 0 ? (uint64_t)e->mtime_s : 0);
	h->type = e->type;
	seal(h);
	return used + TAR_BLOCK;
}

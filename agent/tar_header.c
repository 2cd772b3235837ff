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

bool tar_decimal(const char *text, uint64_t *ret)
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

static const char *apply_record(const char *key, const char *value, size_t len,
				struct tar_entry *e, bool *ret_size_given,
				struct tar_sparse *sparse)
{
	static const char wrong[] = "an extended header";
	bool ok = true;

	if (strcmp(key, "path") == 0) {
		/* A sparse file's own name is the one that counts. */
		ok = (sparse->given && e->name[0]) ||
		     pax_text(e->name, value, len);
	} else if (strcmp(key, "GNU.sparse.name") == 0) {
		sparse->given = true;
		ok = pax_text(e->name, value, len);
	} else if (strcmp(key, "linkpath") == 0) {
		ok = pax_text(e->link, value, len);
	} else if (strcmp(key, "mtime") == 0) {
		ok = pax_time(value, e);
	} else if (strcmp(key, "uid") == 0) {
		ok = tar_decimal(value, &e->uid);
	} else if (strcmp(key, "gid") == 0) {
		ok = tar_decimal(value, &e->gid);
	} else if (strcmp(key, "size") == 0) {
		*ret_size_given = true;
		ok = tar_decimal(value, &e->size);
	} else {
		/* Other extensions may be ignored. */
		return tar_sparse_record(sparse, key, value);
	}
	return ok ? NULL : wrong;
}

const char *tar_apply_pax(const char *records, size_t len, struct tar_entry *e,
			  bool *ret_size_given, struct tar_sparse *sparse)
{
	static const char wrong[] = "an extended header";
	static char work[TAR_PAX_MAX];

	while (len > 0) {
		char *end, *equals;
		const char *why;
		unsigned long total;
		size_t key;

		/* "LEN key=value\n", LEN counts all of it. */
		if (*records < '0' || *records > '9' || len > sizeof(work))
			return wrong;
		memcpy(work, records, len < 24 ? len : 24);
		work[len < 24 ? len : 23] = 0;
		total = strtoul(work, &end, 10);
		key = (size_t)(end - work) + 1;
		if (*end != ' ' || total > len || total <= key + 1 ||
		    records[total - 1] != '\n')
			return wrong;
		memcpy(work, records, total);
		work[total - 1] = 0;
		equals = strchr(work + key, '=');
		if (!equals)
			return wrong;
		*equals++ = 0;
		why = apply_record(work + key, equals,
				   total - 1 - (size_t)(equals - work), e,
				   ret_size_given, sparse);
		if (why)
			return why;
		records += total;
		len -= total;
	}
	return NULL;
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

static uint64_t fitting(uint64_t v, size_t size)
{
	return fits_octal(v, size) ? v : 0;
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

static char *put_number(char *at, const char *key, uint64_t v)
{
	char value[24];

	(void)snprintf(value, sizeof(value), "%llu", (unsigned long long)v);
	return put_record(at, key, value);
}

static char *put_sparse(char *at, const struct tar_entry *e)
{
	at = put_number(at, "GNU.sparse.major", 1);
	at = put_number(at, "GNU.sparse.minor", 0);
	at = put_record(at, "GNU.sparse.name", e->name);
	return put_number(at, "GNU.sparse.realsize", e->real_size);
}

/* The pax header for what ustar cannot say; 0 when it can say all. */
static size_t encode_pax(const struct tar_entry *e, uint8_t *out)
{
	struct tar_header *h = (void *)out;
	char *start = (char *)out + TAR_BLOCK, *at = start, value[64];
	size_t len;

	if (e->real_size)
		at = put_sparse(at, e);
	else if (strlen(e->name) > sizeof(h->name))
		at = put_record(at, "path", e->name);
	if (strlen(e->link) > sizeof(h->linkname))
		at = put_record(at, "linkpath", e->link);
	if (!fits_octal(e->size, sizeof(h->size)))
		at = put_number(at, "size", e->size);
	if (e->mtime_ns && e->mtime_s >= 0) {
		(void)snprintf(value, sizeof(value), "%lld.%09ld",
			       (long long)e->mtime_s, e->mtime_ns);
		at = put_record(at, "mtime", value);
	}
	if (!fits_octal(e->uid, sizeof(h->uid)))
		at = put_number(at, "uid", e->uid);
	if (!fits_octal(e->gid, sizeof(h->gid)))
		at = put_number(at, "gid", e->gid);
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

static const char *base_name(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? slash + 1 : name;
}

size_t tar_encode_entry(const struct tar_entry *e, uint8_t *out)
{
	size_t used = encode_pax(e, out), len;
	struct tar_header *h = (void *)(out + used);

	memset(h, 0, sizeof(*h));
	/* Names may fill the field without a NUL; cut ones are in the pax. */
	if (e->real_size) {
		/* What who does not know sparse files gets to see. */
		(void)snprintf(h->name, sizeof(h->name),
			       "GNUSparseFile.0/%.60s", base_name(e->name));
	} else {
		len = strlen(e->name);
		memcpy(h->name, e->name,
		       len < sizeof(h->name) ? len : sizeof(h->name));
	}
	len = strlen(e->link);
	memcpy(h->linkname, e->link,
	       len < sizeof(h->linkname) ? len : sizeof(h->linkname));
	octal(h->mode, sizeof(h->mode), e->mode & 07777);
	octal(h->uid, sizeof(h->uid), fitting(e->uid, 8));
	octal(h->gid, sizeof(h->gid), fitting(e->gid, 8));
	octal(h->size, sizeof(h->size), fitting(e->size, 12));
	octal(h->mtime, sizeof(h->mtime),
	      e->mtime_s > 0 ? (uint64_t)e->mtime_s : 0);
	octal(h->devmajor, sizeof(h->devmajor), fitting(e->dev_major, 8));
	octal(h->devminor, sizeof(h->devminor), fitting(e->dev_minor, 8));
	h->type = e->type;
	seal(h);
	return used + TAR_BLOCK;
}

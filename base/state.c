/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State blobs; the layout is in state.h. A writer never fails in the middle:
 * the first lack of room sticks and is reported by state_finish(). A reader
 * looks at nothing before the whole blob has been checked, and after that only
 * inside the bounds of the section it opened.
 *
 * A blob may come from another host, so every length in it is hostile.
 */
#include "base/state.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const char magic[8] = { 'V', 'M', 'D', 'S', 'T', 'A', 'T', 'E' };

enum {
	HEADER_LEN = 16,
	TRAILER_LEN = 4,
	COUNT_OFFSET = 12
};
enum {
	NAME_MAX_LEN = 63
};

/* CRC-32C (Castagnoli), reflected: polynomial 0x1edc6f41. */
static uint32_t crc32c(const uint8_t *data, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
	}
	return ~crc;
}

static void encode(uint8_t *at, uint64_t v, size_t len)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t decode(const uint8_t *at, size_t len)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

/* ---- writer ---- */

static void put(struct state_writer *w, uint64_t v, size_t len)
{
	uint8_t bytes[8];

	encode(bytes, v, len);
	state_put_bytes(w, bytes, len);
}

/* The writer only appends and never consumes: offsets count from the head. */
static uint8_t *written_at(struct state_writer *w, size_t offset)
{
	return w->out.data + w->out.start + offset;
}

void state_writer_init(struct state_writer *w, size_t limit_bytes)
{
	*w = (struct state_writer){ .out = BUF_INIT(limit_bytes) };
	state_put_bytes(w, magic, sizeof(magic));
	put(w, STATE_FORMAT_VERSION, 4);
	put(w, 0, 4); /* section count, known at the end */
}

void state_writer_done(struct state_writer *w)
{
	buf_done(&w->out);
}

void state_begin(struct state_writer *w, const char *name, uint16_t version)
{
	size_t len = strlen(name);

	assert(len > 0 && len <= NAME_MAX_LEN);
	assert(w->section_start == 0);
	if (w->sections == STATE_SECTIONS_MAX)
		w->failed = true;
	w->sections++;
	put(w, len, 1);
	state_put_bytes(w, name, len);
	put(w, version, 2);
	/* A failed writer holds nothing, but still knows that one is open. */
	w->section_start = w->failed ? HEADER_LEN : buf_len(&w->out);
	put(w, 0, 4); /* length, known at the end */
}

void state_end(struct state_writer *w)
{
	size_t payload = w->section_start + 4;
	size_t len;

	assert(w->section_start != 0);
	if (!w->failed) {
		len = buf_len(&w->out) - payload;
		if (len > UINT32_MAX) {
			w->failed = true;
		} else {
			encode(written_at(w, w->section_start), len, 4);
			put(w, crc32c(written_at(w, payload), len), 4);
		}
	}
	w->section_start = 0;
}

void state_put_u8(struct state_writer *w, uint8_t v)
{
	put(w, v, 1);
}

void state_put_u16(struct state_writer *w, uint16_t v)
{
	put(w, v, 2);
}

void state_put_u32(struct state_writer *w, uint32_t v)
{
	put(w, v, 4);
}

void state_put_u64(struct state_writer *w, uint64_t v)
{
	put(w, v, 8);
}

void state_put_bytes(struct state_writer *w, const void *data, size_t len)
{
	if (w->failed || !len)
		return;
	if (buf_append(&w->out, data, len) < 0)
		w->failed = true;
}

int state_finish(struct state_writer *w, struct err *e)
{
	assert(w->section_start == 0);
	if (!w->failed) {
		encode(written_at(w, COUNT_OFFSET), w->sections, 4);
		put(w, crc32c(written_at(w, 0), buf_len(&w->out)), 4);
	}
	if (w->failed)
		return err_set(e, ERR_LIMIT, "state_too_large", 0,
			       "the state of the VM does not fit into %zu "
			       "bytes, or memory is exhausted",
			       w->out.limit);
	return 0;
}

/* ---- reader ---- */

struct section {
	const uint8_t *name;
	size_t name_len;
	uint16_t version;
	const uint8_t *payload;
	size_t len;
};

static int corrupt(struct err *e, const char *what)
{
	return err_set(e, ERR_CORRUPT, "state_corrupt", 0,
		       "the saved state of the VM is damaged (%s); it cannot "
		       "be restored from",
		       what);
}

/*
 * Parses the section at *at and moves *at behind it. False when it does not
 * fit in front of end. Checks no checksum.
 */
static bool next_section(const uint8_t **at, const uint8_t *end,
			 struct section *ret)
{
	const uint8_t *p = *at;
	size_t room = (size_t)(end - p);

	if (room < 1 || p[0] == 0 || p[0] > NAME_MAX_LEN)
		return false;
	ret->name_len = p[0];
	ret->name = p + 1;
	p += 1 + ret->name_len;
	if (room < 1 + ret->name_len + 6)
		return false;
	room -= 1 + ret->name_len + 6;
	ret->version = (uint16_t)decode(p, 2);
	ret->len = (size_t)decode(p + 2, 4);
	ret->payload = p + 6;
	if (room < 4 || ret->len > room - 4)
		return false;
	*at = ret->payload + ret->len + 4;
	return true;
}

static bool section_is(const struct section *s, const uint8_t *name,
		       size_t name_len)
{
	return s->name_len == name_len && !memcmp(s->name, name, name_len);
}

/* The index of the section, or -1. The blob has been checked. */
static int find_section(const struct state_reader *r, const uint8_t *name,
			size_t name_len, struct section *ret)
{
	const uint8_t *at = r->blob + HEADER_LEN;
	const uint8_t *end = r->blob + r->len - TRAILER_LEN;
	struct section s;

	for (int i = 0; at < end && next_section(&at, end, &s); i++) {
		if (section_is(&s, name, name_len)) {
			*ret = s;
			return i;
		}
	}
	return -1;
}

static int check_sections(const struct state_reader *r, uint32_t count,
			  struct err *e)
{
	const uint8_t *at = r->blob + HEADER_LEN;
	const uint8_t *end = r->blob + r->len - TRAILER_LEN;
	struct section s, first;

	for (uint32_t i = 0; i < count; i++) {
		if (!next_section(&at, end, &s))
			return corrupt(e, "a section is cut");
		if (decode(s.payload + s.len, 4) != crc32c(s.payload, s.len))
			return corrupt(e, "a section's checksum is wrong");
		if (find_section(r, s.name, s.name_len, &first) != (int)i)
			return corrupt(e, "a section is there twice");
	}
	return at == end ? 0 : corrupt(e, "bytes after the last section");
}

int state_reader_init(struct state_reader *r, const void *blob, size_t len,
		      struct err *e)
{
	uint32_t version, count;

	*r = (struct state_reader){ .blob = blob, .len = len };
	if (len < HEADER_LEN + TRAILER_LEN)
		return corrupt(e, "it is too short");
	if (memcmp(r->blob, magic, sizeof(magic)) != 0)
		return corrupt(e, "it does not start as one");
	version = (uint32_t)decode(r->blob + sizeof(magic), 4);
	if (version > STATE_FORMAT_VERSION)
		return err_set(e, ERR_UNSUPPORTED, "state_too_new", ENOTSUP,
			       "the saved state has format %u and this "
			       "program reads up to %d; restore it with the "
			       "version that saved it, or a newer one",
			       version, STATE_FORMAT_VERSION);
	if (decode(r->blob + len - TRAILER_LEN, 4) !=
	    crc32c(r->blob, len - TRAILER_LEN))
		return corrupt(e, "its checksum is wrong");
	count = (uint32_t)decode(r->blob + COUNT_OFFSET, 4);
	if (version == 0 || count > STATE_SECTIONS_MAX)
		return corrupt(e, "its header is impossible");
	return check_sections(r, count, e);
}

int state_open(struct state_reader *r, const char *name, uint16_t max_version,
	       uint16_t *ret_version, struct err *e)
{
	struct section s;
	int i = find_section(r, (const uint8_t *)name, strlen(name), &s);

	if (i < 0)
		return err_set(e, ERR_CORRUPT, "state_section_missing", ENOENT,
			       "the saved state has no section %s; it was "
			       "made by a VM of another shape",
			       name);
	if (s.version > max_version)
		return err_set(e, ERR_UNSUPPORTED, "state_too_new", ENOTSUP,
			       "section %s of the saved state has version %u "
			       "and this program reads up to %u",
			       name, s.version, max_version);
	r->opened[i / 64] |= 1ull << (i % 64);
	r->at = s.payload;
	r->end = s.payload + s.len;
	r->failed = false;
	*ret_version = s.version;
	return 0;
}

static uint64_t get(struct state_reader *r, size_t len)
{
	uint8_t bytes[8];

	state_get_bytes(r, bytes, len);
	return decode(bytes, len);
}

uint8_t state_get_u8(struct state_reader *r)
{
	return (uint8_t)get(r, 1);
}

uint16_t state_get_u16(struct state_reader *r)
{
	return (uint16_t)get(r, 2);
}

uint32_t state_get_u32(struct state_reader *r)
{
	return (uint32_t)get(r, 4);
}

uint64_t state_get_u64(struct state_reader *r)
{
	return get(r, 8);
}

void state_get_bytes(struct state_reader *r, void *data, size_t len)
{
	if (r->failed || (size_t)(r->end - r->at) < len) {
		r->failed = true;
		memset(data, 0, len);
		return;
	}
	memcpy(data, r->at, len);
	r->at += len;
}

int state_close(struct state_reader *r, struct err *e)
{
	bool whole = !r->failed && r->at == r->end;

	r->at = r->end = NULL;
	return whole ? 0 : corrupt(e, "a section has an unexpected length");
}

int state_all_read(const struct state_reader *r, struct err *e)
{
	const uint8_t *at = r->blob + HEADER_LEN;
	const uint8_t *end = r->blob + r->len - TRAILER_LEN;
	struct section s;

	for (int i = 0; at < end && next_section(&at, end, &s); i++)
		if (!((r->opened[i / 64] >> (i % 64)) & 1))
			return err_set(e, ERR_CORRUPT, "state_section_unknown",
				       0,
				       "the saved state has a section %.*s "
				       "that nothing here understands",
				       (int)s.name_len, (const char *)s.name);
	return 0;
}

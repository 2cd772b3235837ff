/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state blob of a VM: versioned sections with checksums, little-endian.
 *
 *   blob    = "VMDSTATE" u32 format_version u32 section_count, sections, u32 crc
 *   section = u8 name_len name u16 version u32 length payload u32 crc32c(payload)
 *
 * A reader checks the whole blob before any section is used; unknown sections
 * are an error (state must not be lost), a newer version is refused politely.
 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	STATE_FORMAT_VERSION = 1,
	STATE_SECTIONS_MAX = 256
};

struct state_writer {
	struct buf out;
	uint32_t sections;
	size_t section_start; /* of the open section's length field */
	bool failed; /* out of memory or over the limit: sticks */
};

void state_writer_init(struct state_writer *w, size_t limit_bytes);
void state_writer_done(struct state_writer *w);
void state_begin(struct state_writer *w, const char *name, uint16_t version);
void state_end(struct state_writer *w);
void state_put_u8(struct state_writer *w, uint8_t v);
void state_put_u16(struct state_writer *w, uint16_t v);
void state_put_u32(struct state_writer *w, uint32_t v);
void state_put_u64(struct state_writer *w, uint64_t v);
void state_put_bytes(struct state_writer *w, const void *data, size_t len);
/* Completes the blob (still in w->out). 0 or a negative errno. */
int state_finish(struct state_writer *w, struct err *e);

struct state_reader {
	const uint8_t *blob;
	size_t len;
	const uint8_t *at, *end; /* cursor in the open section */
	uint64_t opened[STATE_SECTIONS_MAX / 64]; /* which were read */
	bool failed; /* read past the end of a section: sticks */
};

/* Verifies magic, version, bounds and checksums. The blob is borrowed. */
int state_reader_init(struct state_reader *r, const void *blob, size_t len,
		      struct err *e);
/* Opens a section; -ENOENT, or -ENOTSUP when its version is over max. */
int state_open(struct state_reader *r, const char *name, uint16_t max_version,
	       uint16_t *ret_version, struct err *e);
uint8_t state_get_u8(struct state_reader *r);
uint16_t state_get_u16(struct state_reader *r);
uint32_t state_get_u32(struct state_reader *r);
uint64_t state_get_u64(struct state_reader *r);
void state_get_bytes(struct state_reader *r, void *data, size_t len);
/* 0 when everything in the section was read and nothing past it. */
int state_close(struct state_reader *r, struct err *e);
/* 0 when no section was left unread. */
int state_all_read(const struct state_reader *r, struct err *e);

#endif

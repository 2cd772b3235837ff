/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codec of the agent protocol. Pure functions over caller's memory: no I/O, no
 * allocation, no library beyond memcpy, because the same file is linked into
 * the guest's agent and into the daemon.
 *
 * Trust: every byte that is read here comes from the other side of a machine
 * boundary. A cursor never leaves its buffer, and a length is compared with
 * what is left before it is used.
 *
 * Source: the comment in agent/wire.h is the specification.
 */
#include "agent/wire.h"

#include <string.h>

static void store_u16(uint8_t *out, uint16_t v)
{
	out[0] = (uint8_t)v;
	out[1] = (uint8_t)(v >> 8);
}

static void store_u32(uint8_t *out, uint32_t v)
{
	store_u16(out, (uint16_t)v);
	store_u16(out + 2, (uint16_t)(v >> 16));
}

static uint16_t load_u16(const uint8_t *in)
{
	return (uint16_t)(in[0] | (unsigned int)in[1] << 8);
}

static uint32_t load_u32(const uint8_t *in)
{
	return load_u16(in) | (uint32_t)load_u16(in + 2) << 16;
}

void wire_put_header(uint8_t out[static WIRE_HEADER_LEN],
		     const struct wire_header *h)
{
	store_u32(out, WIRE_MAGIC);
	out[4] = h->type;
	out[5] = h->channel;
	store_u16(out + 6, 0);
	store_u32(out + 8, h->stream);
	store_u32(out + 12, h->length);
}

bool wire_get_header(const uint8_t in[static WIRE_HEADER_LEN],
		     struct wire_header *ret)
{
	uint32_t length = load_u32(in + 12);

	if (load_u32(in) != WIRE_MAGIC || load_u16(in + 6) != 0 ||
	    length > WIRE_PAYLOAD_MAX)
		return false;
	ret->type = in[4];
	ret->channel = in[5];
	ret->stream = load_u32(in + 8);
	ret->length = length;
	return true;
}

/* len bytes at the cursor, which moves past them; NULL when too few. */
static uint8_t *advance(struct wire_cursor *c, size_t len)
{
	uint8_t *at = c->at;

	if (c->bad || len > (size_t)(c->end - c->at)) {
		c->bad = true;
		return NULL;
	}
	c->at += len;
	return at;
}

void wire_write_u8(struct wire_cursor *c, uint8_t v)
{
	uint8_t *at = advance(c, 1);

	if (at)
		*at = v;
}

void wire_write_u16(struct wire_cursor *c, uint16_t v)
{
	uint8_t *at = advance(c, 2);

	if (at)
		store_u16(at, v);
}

void wire_write_u32(struct wire_cursor *c, uint32_t v)
{
	uint8_t *at = advance(c, 4);

	if (at)
		store_u32(at, v);
}

void wire_write_u64(struct wire_cursor *c, uint64_t v)
{
	uint8_t *at = advance(c, 8);

	if (!at)
		return;
	store_u32(at, (uint32_t)v);
	store_u32(at + 4, (uint32_t)(v >> 32));
}

void wire_write_bytes(struct wire_cursor *c, const void *data, size_t len)
{
	uint8_t *at = advance(c, len);

	if (at && len)
		memcpy(at, data, len);
}

void wire_write_str(struct wire_cursor *c, struct wire_str s)
{
	wire_write_u32(c, s.len);
	wire_write_bytes(c, s.ptr, s.len);
}

uint8_t wire_read_u8(struct wire_cursor *c)
{
	const uint8_t *at = advance(c, 1);

	return at ? *at : 0;
}

uint16_t wire_read_u16(struct wire_cursor *c)
{
	const uint8_t *at = advance(c, 2);

	return at ? load_u16(at) : 0;
}

uint32_t wire_read_u32(struct wire_cursor *c)
{
	const uint8_t *at = advance(c, 4);

	return at ? load_u32(at) : 0;
}

uint64_t wire_read_u64(struct wire_cursor *c)
{
	const uint8_t *at = advance(c, 8);

	return at ? load_u32(at) | (uint64_t)load_u32(at + 4) << 32 : 0;
}

void wire_read_bytes(struct wire_cursor *c, void *data, size_t len)
{
	const uint8_t *at = advance(c, len);

	if (!len)
		return;
	if (at)
		memcpy(data, at, len);
	else
		memset(data, 0, len);
}

struct wire_str wire_read_str(struct wire_cursor *c)
{
	uint32_t len = wire_read_u32(c);
	const uint8_t *at = advance(c, len);

	return at ? (struct wire_str){ (const char *)at, len }
		  : (struct wire_str){ "", 0 };
}

bool wire_cursor_ok(const struct wire_cursor *c)
{
	return !c->bad;
}

bool wire_cursor_done(const struct wire_cursor *c)
{
	return !c->bad && c->at == c->end;
}

struct wire_cursor wire_reader(const void *data, size_t len)
{
	/* One cursor type serves both ways; a reader never writes. */
	uint8_t *at = (uint8_t *)(uintptr_t)data;

	return (struct wire_cursor){ at, at + len, false };
}

struct wire_cursor wire_writer(uint8_t *out, size_t room)
{
	return (struct wire_cursor){ out, out + room, false };
}

static size_t written(const struct wire_cursor *c, const uint8_t *out)
{
	return wire_cursor_ok(c) ? (size_t)(c->at - out) : 0;
}

/* The strings become C strings in the agent: a NUL inside is a lie. */
static bool is_text(struct wire_str s)
{
	return s.len == 0 || memchr(s.ptr, 0, s.len) == NULL;
}

struct wire_list wire_write_list(struct wire_cursor *c,
				 const struct wire_str *items, uint32_t count)
{
	struct wire_list list = { .at = c->at, .count = count };

	for (uint32_t i = 0; i < count; i++)
		wire_write_str(c, items[i]);
	list.len = (size_t)(c->at - list.at);
	return list;
}

bool wire_list_next(struct wire_list *list, struct wire_str *ret)
{
	struct wire_cursor c = wire_reader(list->at, list->len);

	if (list->count == 0)
		return false;
	*ret = wire_read_str(&c);
	list->count--;
	list->at = c.at;
	list->len = (size_t)(c.end - c.at);
	return wire_cursor_ok(&c);
}

static void write_list(struct wire_cursor *c, const struct wire_list *list)
{
	wire_write_u32(c, list->count);
	wire_write_bytes(c, list->at, list->len);
}

/* The count is checked against the bytes by reading them all. */
static struct wire_list read_list(struct wire_cursor *c)
{
	struct wire_list list = { .count = wire_read_u32(c) };

	list.at = c->at;
	for (uint32_t i = 0; i < list.count && !c->bad; i++)
		if (!is_text(wire_read_str(c)))
			c->bad = true;
	list.len = (size_t)(c->at - list.at);
	if (c->bad)
		list = (struct wire_list){ .at = c->at };
	return list;
}

size_t wire_exec_len(const struct wire_exec *m)
{
	return 4 + 4 + 2 + 2 + 4 + m->cwd.len + 4 + m->user.len + 4 +
	       m->argv.len + 4 + m->envp.len;
}

size_t wire_encode_exec(const struct wire_exec *m, uint8_t *out, size_t room)
{
	struct wire_cursor c = wire_writer(out, room);

	wire_write_u32(&c, m->flags);
	wire_write_u32(&c, m->tag);
	wire_write_u16(&c, m->rows);
	wire_write_u16(&c, m->columns);
	wire_write_str(&c, m->cwd);
	wire_write_str(&c, m->user);
	write_list(&c, &m->argv);
	write_list(&c, &m->envp);
	return written(&c, out);
}

static bool are_assignments(struct wire_list list)
{
	struct wire_str s;

	while (wire_list_next(&list, &s))
		if (!s.len || s.ptr[0] == '=' || !memchr(s.ptr, '=', s.len))
			return false;
	return true;
}

bool wire_decode_exec(const uint8_t *in, size_t len, struct wire_exec *ret)
{
	const uint32_t known =
		WIRE_EXEC_TTY | WIRE_EXEC_STDIN | WIRE_EXEC_DETACHED;
	struct wire_cursor c = wire_reader(in, len);
	struct wire_list first;
	struct wire_str program;

	ret->flags = wire_read_u32(&c);
	ret->tag = wire_read_u32(&c);
	ret->rows = wire_read_u16(&c);
	ret->columns = wire_read_u16(&c);
	ret->cwd = wire_read_str(&c);
	ret->user = wire_read_str(&c);
	ret->argv = first = read_list(&c);
	ret->envp = read_list(&c);
	return wire_cursor_done(&c) && !(ret->flags & ~known) &&
	       is_text(ret->cwd) && is_text(ret->user) &&
	       wire_list_next(&first, &program) && program.len > 0 &&
	       are_assignments(ret->envp);
}

size_t wire_encode_net(const struct wire_net *m, uint8_t *out)
{
	struct wire_cursor c = wire_writer(out, WIRE_PAYLOAD_MAX);

	wire_write_str(&c, m->interface);
	wire_write_str(&c, m->address);
	wire_write_str(&c, m->gateway);
	wire_write_str(&c, m->dns);
	wire_write_u32(&c, m->mtu);
	return written(&c, out);
}

bool wire_decode_net(const uint8_t *in, size_t len, struct wire_net *ret)
{
	struct wire_cursor c = wire_reader(in, len);

	ret->interface = wire_read_str(&c);
	ret->address = wire_read_str(&c);
	ret->gateway = wire_read_str(&c);
	ret->dns = wire_read_str(&c);
	ret->mtu = wire_read_u32(&c);
	return wire_cursor_done(&c) && is_text(ret->interface) &&
	       is_text(ret->address) && is_text(ret->gateway) &&
	       is_text(ret->dns);
}

size_t wire_encode_dial(const struct wire_dial *m, uint8_t *out)
{
	struct wire_cursor c = wire_writer(out, WIRE_PAYLOAD_MAX);

	wire_write_u8(&c, m->protocol);
	wire_write_u16(&c, m->port);
	return written(&c, out);
}

bool wire_decode_dial(const uint8_t *in, size_t len, struct wire_dial *ret)
{
	struct wire_cursor c = wire_reader(in, len);

	ret->protocol = wire_read_u8(&c);
	ret->port = wire_read_u16(&c);
	return wire_cursor_done(&c) && ret->protocol <= WIRE_UDP &&
	       ret->port != 0;
}

size_t wire_encode_hello_ack(const struct wire_hello_ack *m, uint8_t *out)
{
	struct wire_cursor c = wire_writer(out, WIRE_PAYLOAD_MAX);

	wire_write_u16(&c, m->version);
	wire_write_bytes(&c, m->nonce, sizeof(m->nonce));
	wire_write_u64(&c, m->boot_ns);
	wire_write_str(&c, m->release);
	wire_write_str(&c, m->agent);
	return written(&c, out);
}

bool wire_decode_hello_ack(const uint8_t *in, size_t len,
			   struct wire_hello_ack *ret)
{
	struct wire_cursor c = wire_reader(in, len);

	ret->version = wire_read_u16(&c);
	wire_read_bytes(&c, ret->nonce, sizeof(ret->nonce));
	ret->boot_ns = wire_read_u64(&c);
	ret->release = wire_read_str(&c);
	ret->agent = wire_read_str(&c);
	return wire_cursor_done(&c);
}

size_t wire_encode_result(uint32_t sys, const char *code, const char *message,
			  uint8_t *out)
{
	struct wire_cursor c = wire_writer(out, WIRE_PAYLOAD_MAX);

	wire_write_u32(&c, sys);
	wire_write_str(&c, wire_str(code));
	wire_write_str(&c, wire_str(message));
	return written(&c, out);
}

bool wire_decode_result(const uint8_t *in, size_t len, uint32_t *ret_sys,
			struct wire_str *ret_code, struct wire_str *ret_msg)
{
	struct wire_cursor c = wire_reader(in, len);

	*ret_sys = wire_read_u32(&c);
	*ret_code = wire_read_str(&c);
	*ret_msg = wire_read_str(&c);
	return wire_cursor_done(&c);
}

void wire_parser_reset(struct wire_parser *p)
{
	p->have = 0;
	p->resync = 0;
}

/* Drops bytes from the head until it could be the start of a header. */
static void skip_to_magic(struct wire_parser *p)
{
	const uint8_t *next =
		memchr(p->frame + 1, (uint8_t)WIRE_MAGIC, p->have - 1);
	size_t skip = next ? (size_t)(next - p->frame) : p->have;

	memmove(p->frame, p->frame + skip, p->have - skip);
	p->have -= skip;
	p->resync += skip;
}

/*
 * Bytes that are still missing until something can be decided: the rest of the
 * header, then the rest of the payload. 0: a whole frame is there.
 */
static size_t parser_missing(struct wire_parser *p, struct wire_header *h)
{
	while (p->have >= WIRE_HEADER_LEN) {
		size_t total;

		if (!wire_get_header(p->frame, h)) {
			skip_to_magic(p);
			continue;
		}
		total = WIRE_HEADER_LEN + h->length;
		return p->have < total ? total - p->have : 0;
	}
	return WIRE_HEADER_LEN - p->have;
}

/* Bytes of the frame that data begins with, if it is all there; else 0. */
static size_t whole_frame(const uint8_t *data, size_t len,
			  struct wire_header *ret)
{
	if (len < WIRE_HEADER_LEN || !wire_get_header(data, ret) ||
	    len - WIRE_HEADER_LEN < ret->length)
		return 0;
	return WIRE_HEADER_LEN + ret->length;
}

/* Puts frame and data together, until a frame is whole. Returns bytes taken. */
static size_t feed_piece(struct wire_parser *p, const uint8_t *data, size_t len,
			 wire_frame_fn *fn, void *ctx)
{
	struct wire_header h;
	size_t missing = parser_missing(p, &h);
	size_t take = missing < len ? missing : len;

	memcpy(p->frame + p->have, data, take);
	p->have += take;
	if (parser_missing(p, &h) == 0) {
		/* Empty before the call: fn may reset the parser. */
		p->have = 0;
		fn(ctx, &h, p->frame + WIRE_HEADER_LEN);
	}
	return take;
}

size_t wire_parser_feed(struct wire_parser *p, const uint8_t *data, size_t len,
			wire_frame_fn *fn, void *ctx)
{
	const uint8_t *at = data, *end = data + len;
	struct wire_header h;

	p->stop = false;
	while (at < end && !p->stop) {
		size_t left = (size_t)(end - at), n = 0;

		if (!p->have && *at != (uint8_t)WIRE_MAGIC) {
			/* Between frames, zeros of a SYNC go at once. */
			const uint8_t *next =
				memchr(at, (uint8_t)WIRE_MAGIC, left);

			n = next ? (size_t)(next - at) : left;
			p->resync += n;
			at += n;
			continue;
		}
		if (!p->have)
			n = whole_frame(at, left, &h);
		if (n > 0)
			fn(ctx, &h, at + WIRE_HEADER_LEN);
		else
			n = feed_piece(p, at, left, fn, ctx);
		at += n;
	}
	return (size_t)(at - data);
}

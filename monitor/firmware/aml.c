/* SPDX-License-Identifier: Apache-2.0 */
/* The AML writer; see aml.h. */
#include "monitor/firmware/aml.h"

#include <string.h>

enum {
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_EXT = 0x5b,
	EXT_DEVICE = 0x82,
	OP_ARG0 = 0x68,
	OP_NOTIFY = 0x86,
	OP_LEQUAL = 0x93,
	OP_IF = 0xa0,

	PKG_LEN = 3, /* bytes of the length encoding that we always use */
	METHOD_SERIALIZED = 8,

	RES_IO = 0x47,
	RES_MEMORY32 = 0x86,
	RES_INTERRUPT = 0x89,
	RES_END = 0x79,
};

static void put(struct aml *a, const void *data, size_t len)
{
	if (len > AML_MAX - a->len) {
		a->failed = true;
		return;
	}
	memcpy(a->bytes + a->len, data, len);
	a->len += len;
}

static void put8(struct aml *a, uint8_t v)
{
	put(a, &v, 1);
}

static void put16(struct aml *a, uint16_t v)
{
	put(a, &v, 2);
}

static void put32(struct aml *a, uint32_t v)
{
	put(a, &v, 4);
}

static size_t begin(struct aml *a)
{
	size_t block = a->len;
	const uint8_t room[PKG_LEN] = { 0 };

	put(a, room, sizeof(room));
	return block;
}

/* PkgLength in its three-byte form (20.2.4); it counts itself. */
void aml_end(struct aml *a, size_t block)
{
	size_t len = a->len - block;

	if (a->failed)
		return;
	a->bytes[block] = (uint8_t)(0x80 | (len & 0x0f));
	a->bytes[block + 1] = (uint8_t)(len >> 4);
	a->bytes[block + 2] = (uint8_t)(len >> 12);
}

size_t aml_scope(struct aml *a, const char *path)
{
	size_t block;

	put8(a, OP_SCOPE);
	block = begin(a);
	put(a, path, strlen(path));
	return block;
}

size_t aml_device(struct aml *a, const char *name)
{
	size_t block;

	put8(a, OP_EXT);
	put8(a, EXT_DEVICE);
	block = begin(a);
	put(a, name, 4);
	return block;
}

size_t aml_method(struct aml *a, const char *name, unsigned arg_count)
{
	size_t block;

	put8(a, OP_METHOD);
	block = begin(a);
	put(a, name, 4);
	put8(a, (uint8_t)(arg_count | METHOD_SERIALIZED));
	return block;
}

static void put_name(struct aml *a, const char *name)
{
	put8(a, OP_NAME);
	put(a, name, 4);
}

static void put_int(struct aml *a, uint64_t value)
{
	if (value <= 1) {
		put8(a, (uint8_t)value); /* ZeroOp, OneOp */
	} else if (value <= 0xff) {
		put8(a, OP_BYTE);
		put8(a, (uint8_t)value);
	} else if (value <= 0xffff) {
		put8(a, OP_WORD);
		put16(a, (uint16_t)value);
	} else if (value <= UINT32_MAX) {
		put8(a, OP_DWORD);
		put32(a, (uint32_t)value);
	} else {
		put8(a, OP_QWORD);
		put(a, &value, sizeof(value));
	}
}

void aml_name_int(struct aml *a, const char *name, uint64_t value)
{
	put_name(a, name);
	put_int(a, value);
}

void aml_name_string(struct aml *a, const char *name, const char *value)
{
	put_name(a, name);
	put8(a, OP_STRING);
	put(a, value, strlen(value) + 1);
}

static uint32_t hex(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

void aml_name_eisa(struct aml *a, const char *name, const char *id)
{
	uint32_t v = (uint32_t)(id[0] - '@') << 26 |
		     (uint32_t)(id[1] - '@') << 21 |
		     (uint32_t)(id[2] - '@') << 16 | hex(id[3]) << 12 |
		     hex(id[4]) << 8 | hex(id[5]) << 4 | hex(id[6]);

	put_name(a, name);
	put8(a, OP_DWORD);
	put32(a, __builtin_bswap32(v));
}

void aml_name_package(struct aml *a, const char *name, const uint64_t *values,
		      uint8_t count)
{
	size_t block;

	put_name(a, name);
	put8(a, OP_PACKAGE);
	block = begin(a);
	put8(a, count);
	for (uint8_t i = 0; i < count; i++)
		put_int(a, values[i]);
	aml_end(a, block);
}

size_t aml_if_arg_equal(struct aml *a, unsigned arg, uint64_t value)
{
	size_t block;

	put8(a, OP_IF);
	block = begin(a);
	put8(a, OP_LEQUAL);
	put8(a, (uint8_t)(OP_ARG0 + arg));
	put_int(a, value);
	return block;
}

void aml_notify(struct aml *a, const char *path, uint8_t value)
{
	put8(a, OP_NOTIFY);
	put(a, path, 4);
	put_int(a, value);
}

size_t aml_resources(struct aml *a)
{
	size_t block;

	put_name(a, "_CRS");
	put8(a, OP_BUFFER);
	block = begin(a);
	/* The buffer's size, known at the end: a word at a fixed place. */
	put8(a, OP_WORD);
	put16(a, 0);
	return block;
}

void aml_io(struct aml *a, uint16_t port, uint8_t len)
{
	put8(a, RES_IO);
	put8(a, 1); /* decodes 16 bits */
	put16(a, port);
	put16(a, port);
	put8(a, 1);
	put8(a, len);
}

void aml_memory(struct aml *a, uint32_t gpa, uint32_t len)
{
	put8(a, RES_MEMORY32);
	put16(a, 9);
	put8(a, 1); /* read and write */
	put32(a, gpa);
	put32(a, len);
}

void aml_interrupt(struct aml *a, uint32_t gsi)
{
	put8(a, RES_INTERRUPT);
	put16(a, 6);
	put8(a, 3); /* consumer, edge, active high, exclusive */
	put8(a, 1);
	put32(a, gsi);
}

void aml_resources_end(struct aml *a, size_t block)
{
	size_t content = block + PKG_LEN + 3;
	uint16_t size;

	put8(a, RES_END);
	put8(a, 0); /* no checksum */
	if (a->failed)
		return;
	size = (uint16_t)(a->len - content);
	memcpy(a->bytes + content - 2, &size, sizeof(size));
	aml_end(a, block);
}

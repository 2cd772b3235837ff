/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose every move is the fuzzer's: register accesses, bytes in rings
 * and descriptors, kicks, resets, moves to another host. The first byte chooses
 * the device, then each operation is an opcode and its operands. It starts with
 * a live device, because random bytes would hardly get through the handshake;
 * the reset operation leads back to its beginning.
 */
#include <linux/virtio_mmio.h>
#include <string.h>

#include "tests/fuzz/input.h"
#include "victim.h"
#include "virtio/blk/blk.h"
#include "virtio/console.h"

enum {
	OP_WRITE_REGISTER,
	OP_READ_REGISTER,
	OP_POKE_RING,
	OP_POKE_BUFFER,
	OP_DESCRIPTOR,
	OP_TABLE_DESCRIPTOR,
	OP_OFFER,
	OP_KICK,
	OP_START,
	OP_LOOP,
	OP_MOVE,
	OP_HOST,
	OP_COUNT,
	BUFFER = 0x80000,
	TABLE = 0x90000
};

static uint64_t take_address(struct input *in)
{
	static const uint64_t near[] = { 0,
					 BUFFER,
					 TABLE,
					 FAKE_LOW_LEN - 128,
					 FAKE_HIGH_GPA,
					 FAKE_HIGH_GPA + FAKE_HIGH_LEN - 128,
					 UINT64_MAX - 128 };
	uint64_t which = take(in), offset = take(in);

	return near[which % 7] + offset;
}

static struct vring_desc take_desc(struct input *in)
{
	struct vring_desc desc = { .addr = take_address(in) };

	desc.len = (uint32_t)take_le(in, 2);
	if (desc.len > 0xff00)
		desc.len <<= 16;
	desc.flags = (uint16_t)take(in);
	desc.next = (uint16_t)take(in);
	return desc;
}

static void access_register(struct victim *v, struct input *in, bool write)
{
	static const uint32_t widths[] = { 4, 4, 4, 1, 2, 8 };
	uint64_t offset = take_le(in, 1) * 4, value;
	uint32_t len = widths[take(in) % 6];

	if (len != 4)
		offset += take_le(in, 2);
	value = take_le(in, len);
	if (write)
		virtio_mmio_write(&v->d.mmio, offset % VIRTIO_MMIO_LEN, &value,
				  len);
	else
		virtio_mmio_read(&v->d.mmio, offset % VIRTIO_MMIO_LEN, &value,
				 len);
}

static void start(struct victim *v)
{
	v->d.next_free = 4096;
	memset(v->d.low, 0, BUFFER);
	fake_driver_start(&v->d, ~0ull);
}

/* What the host's side does meanwhile: a key is pressed, a disk looked at. */
static void host_acts(struct victim *v)
{
	if (v->kind == VICTIM_CONSOLE) {
		(void)virtio_console_input(v->d.dev, "key", 3);
		virtio_console_output_ready(v->d.dev);
	} else if (v->kind == VICTIM_BLK) {
		(void)virtio_blk_resize(v->d.dev, NULL);
	}
}

static void step(struct victim *v, struct input *in)
{
	struct fake_driver *d = &v->d;
	uint16_t q = v->queue;
	struct vring_desc desc;
	uint64_t at;

	switch (take(in) % OP_COUNT) {
	case OP_WRITE_REGISTER:
		access_register(v, in, true);
		break;
	case OP_READ_REGISTER:
		access_register(v, in, false);
		break;
	case OP_POKE_RING:
		at = 4096 + take_le(in, 2) % 16384;
		*(uint8_t *)fake_ptr(d, at, 1) = (uint8_t)take(in);
		break;
	case OP_POKE_BUFFER:
		at = BUFFER + take(in);
		*(uint8_t *)fake_ptr(d, at, 1) = (uint8_t)take(in);
		break;
	case OP_DESCRIPTOR:
		at = take(in) % d->queues[q].size;
		fake_put_desc(d, q, (uint16_t)at, take_desc(in));
		break;
	case OP_TABLE_DESCRIPTOR:
		at = TABLE + 16 * take_le(in, 1);
		desc = take_desc(in);
		memcpy(fake_ptr(d, at, 16), &desc, 16);
		break;
	case OP_OFFER:
		fake_offer(d, q, (uint16_t)take(in));
		break;
	case OP_KICK:
		fake_kick(d, q);
		break;
	case OP_START:
		start(v);
		break;
	case OP_LOOP:
		(void)loop_run_once(v->loop, 0);
		break;
	case OP_HOST:
		host_acts(v);
		break;
	default:
		if (fake_move_to(d, victim_make(v), NULL) < 0)
			start(v);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	struct victim v;

	victim_init(&v, (enum victim_kind)(take(&in) % VICTIM_KINDS));
	start(&v);
	for (int i = 0; i < 1000 && in.at < in.end; i++)
		step(&v, &in);
	victim_done(&v);
	return 0;
}

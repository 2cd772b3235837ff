/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to every register, in every stage of the handshake, with values that
 * have something about them, in every width: nothing crashes, a live queue does
 * not move, and the device works after a reset.
 */
#include "tests/unit/test.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "victim.h"

static const uint32_t values[] = { 0,	       1,	   2,
				   3,	       7,	   16,
				   255,	       256,	   0x8000,
				   0xffff,     0x10000,	   0x7fffffff,
				   0x80000000, 0xfffffff0, UINT32_MAX };
static const uint32_t widths[] = { 1, 2, 4, 8 };

/* Brings the device to stage 0 (reset) .. 5 (live), 6 needs reset, 7 failed. */
enum {
	STAGES = 8
};
static void go_to_stage(struct victim *v, int stage)
{
	static const uint32_t status[] = { 0, 1, 3 };
	struct fake_driver *d = &v->d;

	d->next_free = 4096;
	fake_reset(d);
	if (stage < 3) {
		fake_write(d, VIRTIO_MMIO_STATUS, status[stage]);
	} else if (stage < 5) {
		assert_true(fake_negotiate(d, fake_offered_features(d)));
		if (stage == 4)
			assert_true(fake_setup_queue(d, v->queue, 16));
	} else {
		fake_driver_start(d, ~0ull);
		if (stage == 6)
			virtio_device_fail(d->dev, "test");
		if (stage == 7)
			fake_write(d, VIRTIO_MMIO_STATUS, 0xff);
	}
}

static void write_everything(struct victim *v, int stage, uint64_t offset)
{
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		uint64_t value = values[i] | (uint64_t)values[i] << 32;

		for (size_t w = 0; w < 4; w++) {
			go_to_stage(v, stage);
			virtio_mmio_write(&v->d.mmio, offset, &value,
					  widths[w]);
			fake_kick(&v->d, v->queue);
		}
	}
}

static void test_registers_take_any_write_in_any_stage(void **state)
{
	(void)state;
	for (int kind = 0; kind < VICTIM_KINDS; kind++) {
		struct victim v;

		victim_init(&v, (enum victim_kind)kind);
		for (int stage = 0; stage < STAGES; stage++) {
			for (uint64_t at = 0; at < 0x110; at += 4)
				write_everything(&v, stage, at);
			write_everything(&v, stage, 0x51);
			write_everything(&v, stage, 0xfff);
		}
		assert_true(victim_recovers(&v));
		victim_done(&v);
	}
}

static void test_registers_never_move_a_live_queue(void **state)
{
	struct virtio_device *dev;
	struct virtq before;
	struct victim v;

	(void)state;
	victim_init(&v, VICTIM_BLK);
	dev = v.d.dev;
	fake_driver_start(&v.d, ~0ull);
	before = dev->queues[0];
	for (uint64_t at = 0x20; at < VIRTIO_MMIO_CONFIG; at += 4) {
		if (at == VIRTIO_MMIO_STATUS || at == VIRTIO_MMIO_QUEUE_READY)
			continue;
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]);
		     i++) {
			fake_write(&v.d, VIRTIO_MMIO_QUEUE_SEL, 0);
			fake_write(&v.d, at, values[i]);
		}
	}
	assert_memory_equal(&dev->queues[0], &before, sizeof(before));
	assert_int_equal(fake_read(&v.d, VIRTIO_MMIO_STATUS), 0xf);
	victim_done(&v);
}

static void test_registers_reads_have_no_effect(void **state)
{
	struct virtio_mmio before;
	struct victim v;
	uint64_t value;

	(void)state;
	victim_init(&v, VICTIM_CONSOLE);
	fake_driver_start(&v.d, ~0ull);
	before = v.d.mmio;
	for (uint64_t at = 0; at < VIRTIO_MMIO_LEN; at++) {
		for (size_t w = 0; w < 4; w++)
			virtio_mmio_read(&v.d.mmio, at, &value, widths[w]);
	}
	assert_memory_equal(&v.d.mmio, &before, sizeof(before));
	victim_done(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers_take_any_write_in_any_stage),
		cmocka_unit_test(test_registers_never_move_a_live_queue),
		cmocka_unit_test(test_registers_reads_have_no_effect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

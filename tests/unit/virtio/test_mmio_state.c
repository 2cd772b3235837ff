/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio/mmio_state: what is saved comes back, in every stage of the handshake,
 * and what no device could have saved is refused. Moves in the middle of an
 * operation are tested with each device.
 */
#include "tests/unit/test.h"

#include <linux/virtio_mmio.h>
#include <string.h>

#include "fake_driver.h"
#include "virtio/rng.h"

enum {
	LIMIT = 4096,
	/* Offsets in the section, in the order of virtio_mmio_save(). */
	AT_DEVICE_ID = 0,
	AT_STATUS = 4,
	AT_INTERRUPT = 8,
	AT_FEATURES = 36,
	AT_QUEUE_COUNT = 52,
	AT_QUEUE_SIZE = 54,
	AT_DESC_GPA = 57,
	SECTION_LEN = 88
};

static struct fake_driver d;
static struct loop *loop;

static struct virtio_device *make(void)
{
	struct virtio_device *dev = NULL;

	assert_int_equal(virtio_rng_new(&d.mem, loop, &dev, NULL), 0);
	return dev;
}

static int setup(void **state)
{
	(void)state;
	fake_driver_init(&d);
	loop = loop_new(NULL);
	assert_non_null(loop);
	fake_driver_attach(&d, make());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_driver_done(&d);
	loop_free(loop);
	return 0;
}

/* The section's bytes of a live device. */
static void save_live(uint8_t section[static SECTION_LEN])
{
	struct state_writer w;
	size_t header = 16 + 1 + strlen("rng0") + 2 + 4;

	fake_driver_start(&d, ~0ull);
	state_writer_init(&w, LIMIT);
	virtio_mmio_save(&d.mmio, &w, 0);
	assert_int_equal(state_finish(&w, NULL), 0);
	assert_int_equal(buf_len(&w.out), header + SECTION_LEN + 8);
	memcpy(section, buf_head(&w.out) + header, SECTION_LEN);
	state_writer_done(&w);
}

/* Loads such bytes, checksums in order, into a new device. */
static int load(const uint8_t *section, size_t len, struct err *e)
{
	struct state_writer w;
	struct state_reader r;
	int rc;

	fake_driver_detach(&d);
	fake_driver_attach(&d, make());
	state_writer_init(&w, LIMIT);
	state_begin(&w, "rng0", 1);
	state_put_bytes(&w, section, len);
	state_end(&w);
	assert_int_equal(state_finish(&w, e), 0);
	rc = state_reader_init(&r, buf_head(&w.out), buf_len(&w.out), e);
	assert_int_equal(rc, 0);
	rc = virtio_mmio_load(&d.mmio, &r, 0, e);
	state_writer_done(&w);
	return rc;
}

static void test_state_round_trip_in_every_stage(void **state)
{
	struct virtio_mmio t;
	struct virtq q;
	struct err e = ERR_INIT;

	(void)state;
	for (int stage = 0; stage < 4; stage++) {
		if (stage == 1)
			assert_true(
				fake_negotiate(&d, fake_offered_features(&d)));
		if (stage == 2)
			assert_true(fake_setup_queue(&d, 0, 16));
		if (stage == 3)
			fake_driver_start(&d, ~0ull);
		d.dev->interrupt(d.dev, VIRTIO_INT_CONFIG);
		t = d.mmio;
		q = d.dev->queues[0];
		assert_int_equal(fake_move_to(&d, make(), &e), 0);
		t.dev = d.dev;
		assert_memory_equal(&d.mmio, &t, sizeof(t));
		assert_memory_equal(&d.dev->queues[0], &q, sizeof(q));
		assert_int_equal(d.live, stage == 3);
		assert_int_equal(d.irq, stage > 0);
	}
}

static void test_state_load_of_a_cut_or_long_section_is_refused(void **state)
{
	uint8_t section[SECTION_LEN + 1] = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	save_live(section);
	assert_int_equal(load(section, SECTION_LEN, &e), 0);
	for (size_t len = 0; len < SECTION_LEN; len++)
		assert_true(load(section, len, &e) < 0);
	assert_true(load(section, SECTION_LEN + 1, &e) < 0);
}

static void test_state_load_of_the_impossible_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} lies[] = {
		{ AT_DEVICE_ID, 1 },
		{ AT_STATUS, 0x1f }, /* a bit that is none */
		{ AT_STATUS, 0x0e }, /* DRIVER_OK without ACKNOWLEDGE */
		{ AT_STATUS, 0x07 }, /* DRIVER_OK without FEATURES_OK */
		{ AT_INTERRUPT, 4 },
		{ AT_FEATURES, 1 }, /* not offered */
		{ AT_QUEUE_COUNT, 2 },
		{ AT_QUEUE_SIZE, 0 },
		{ AT_QUEUE_SIZE, 3 },
		{ AT_QUEUE_SIZE, 128 }, /* over the device's 64 */
		{ AT_DESC_GPA, 1 }, /* not aligned */
		{ AT_DESC_GPA + 7, 0xff }, /* not in memory */
	};
	uint8_t section[SECTION_LEN];
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		save_live(section);
		section[lies[i].at] = lies[i].value;
		if (load(section, SECTION_LEN, &e) >= 0)
			fail_msg("lie %zu was believed", i);
		assert_string_equal(e.code, "device_state_invalid");
	}
}

static void test_state_of_another_instance_is_not_taken(void **state)
{
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;

	(void)state;
	state_writer_init(&w, LIMIT);
	virtio_mmio_save(&d.mmio, &w, 1);
	assert_int_equal(state_finish(&w, &e), 0);
	assert_int_equal(state_reader_init(&r, buf_head(&w.out),
					   buf_len(&w.out), &e),
			 0);
	assert_true(virtio_mmio_load(&d.mmio, &r, 0, &e) < 0);
	assert_string_equal(e.code, "state_section_missing");
	state_writer_done(&w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_state_round_trip_in_every_stage),
		T(test_state_load_of_a_cut_or_long_section_is_refused),
		T(test_state_load_of_the_impossible_is_refused),
		T(test_state_of_another_instance_is_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

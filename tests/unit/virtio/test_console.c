/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/console: a host that takes what it likes, and a guest that does. */
#include "tests/unit/test.h"

#include <linux/virtio_console.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "fake_driver.h"
#include "virtio/console.h"

enum {
	INPUT,
	OUTPUT
};

static struct fake_driver d;
static struct loop *loop;
/* The host's side. */
static char seen[256];
static size_t seen_len, room;
static unsigned input_ready;

static size_t host_output(void *ctx, const void *data, size_t len)
{
	size_t n = len < room ? len : room;

	(void)ctx;
	assert_true(seen_len + n <= sizeof(seen));
	memcpy(seen + seen_len, data, n);
	seen_len += n;
	room -= n;
	return n;
}

static void host_input_ready(void *ctx)
{
	(void)ctx;
	input_ready++;
}

static struct virtio_device *make(uint16_t columns)
{
	struct virtio_console_setup con = {
		.output = host_output,
		.input_ready = host_input_ready,
		.columns = columns,
		.rows = 25,
	};
	struct virtio_device *dev = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(virtio_console_new(&con, &d.mem, loop, &dev, &e), 0);
	return dev;
}

static int setup(void **state)
{
	(void)state;
	seen_len = 0;
	room = sizeof(seen);
	input_ready = 0;
	fake_driver_init(&d);
	loop = loop_new(NULL);
	assert_non_null(loop);
	fake_driver_attach(&d, make(80));
	fake_driver_start(&d, ~0ull);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_driver_done(&d);
	loop_free(loop);
	return 0;
}

static uint64_t text(const char *s)
{
	uint64_t gpa = fake_alloc(&d, strlen(s), 1);

	memcpy(fake_ptr(&d, gpa, strlen(s)), s, strlen(s));
	return gpa;
}

static void send_hello_world(void)
{
	(void)fake_add(&d, OUTPUT,
		       FAKE_PARTS({ text("hello"), 5, false },
				  { text(", "), 2, false }));
	(void)fake_add(&d, OUTPUT, FAKE_PARTS({ text("world"), 5, false }));
	fake_kick(&d, OUTPUT);
}

static void test_console_output_reaches_the_host(void **state)
{
	struct fake_used used;

	(void)state;
	send_hello_world();
	assert_int_equal(seen_len, 12);
	assert_memory_equal(seen, "hello, world", 12);
	assert_true(fake_take_used(&d, OUTPUT, &used));
	assert_int_equal(used.len, 0);
	assert_true(fake_take_used(&d, OUTPUT, &used));
	assert_int_equal(fake_ack(&d), VIRTIO_INT_USED);
}

static void test_console_output_waits_for_a_slow_host(void **state)
{
	struct fake_used used;

	(void)state;
	/* Wherever the host stops, nothing is lost or doubled. */
	room = 0;
	send_hello_world();
	for (size_t i = 0; i < 12; i++) {
		assert_int_equal(seen_len, i);
		assert_int_equal(fake_take_used(&d, OUTPUT, &used), i == 7);
		room = 1;
		virtio_console_output_ready(d.dev);
	}
	assert_memory_equal(seen, "hello, world", 12);
	assert_true(fake_take_used(&d, OUTPUT, &used));
	assert_false(fake_take_used(&d, OUTPUT, &used));
}

/* Chains of 1 MiB each, all over the same bytes: more than fits any turn. */
enum {
	HUGE_PARTS = 16,
	HUGE_PART_LEN = 64 * 1024,
	HUGE_LEN = HUGE_PARTS * HUGE_PART_LEN,
	HUGE_COUNT = 3
};
static uint64_t huge_seen;

static size_t swallow(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	huge_seen += len;
	return len;
}

static void test_console_output_leaves_the_lock_to_others(void **state)
{
	struct virtio_console_setup con = { .output = swallow };
	struct fake_part parts[HUGE_PARTS];
	struct virtio_device *dev = NULL;
	struct fake_driver big;
	struct fake_used used;
	struct err e = ERR_INIT;
	unsigned turns = 0;

	(void)state;
	huge_seen = 0;
	fake_driver_init(&big);
	assert_int_equal(virtio_console_new(&con, &big.mem, loop, &dev, &e), 0);
	fake_driver_attach(&big, dev);
	fake_driver_start(&big, ~0ull);
	for (unsigned i = 0; i < HUGE_PARTS; i++)
		parts[i] = (struct fake_part){ FAKE_HIGH_GPA, HUGE_PART_LEN,
					       false };
	for (unsigned i = 0; i < HUGE_COUNT; i++)
		(void)fake_add(&big, OUTPUT, parts, HUGE_PARTS);
	fake_kick(&big, OUTPUT);
	assert_true(huge_seen > 0);
	assert_false(fake_take_used(&big, OUTPUT, &used));
	while (loop_run_once(loop, 0) > 0) {
		assert_true(huge_seen <= (uint64_t)HUGE_COUNT * HUGE_LEN);
		turns++;
	}
	assert_true(turns >= 2);
	assert_int_equal(huge_seen, HUGE_COUNT * HUGE_LEN);
	for (unsigned i = 0; i < HUGE_COUNT; i++)
		assert_true(fake_take_used(&big, OUTPUT, &used));
	fake_driver_done(&big);
}

static void test_console_input_fills_buffers(void **state)
{
	uint64_t gpa = fake_alloc(&d, 16, 1);
	struct fake_used used;

	(void)state;
	assert_int_equal(virtio_console_input(d.dev, "abcdef", 6), 0);
	(void)fake_add(&d, INPUT, FAKE_PARTS({ gpa, 4, true }));
	input_ready = 0;
	/* The device has asked for this kick when it had no buffer. */
	assert_true(fake_kick_if_wanted(&d, INPUT));
	assert_int_equal(input_ready, 1);
	assert_int_equal(virtio_console_input(d.dev, "abcdef", 6), 4);
	assert_true(fake_take_used(&d, INPUT, &used));
	assert_int_equal(used.len, 4);
	assert_memory_equal(fake_ptr(&d, gpa, 4), "abcd", 4);
	assert_int_equal(fake_ack(&d), VIRTIO_INT_USED);
}

static void test_console_input_before_the_driver_is_not_taken(void **state)
{
	(void)state;
	fake_reset(&d);
	assert_int_equal(virtio_console_input(d.dev, "a", 1), 0);
	virtio_console_output_ready(d.dev);
	assert_false(fake_needs_reset(&d));
}

static void
test_console_input_buffer_without_room_is_a_guest_error(void **state)
{
	(void)state;
	(void)fake_add(&d, INPUT, FAKE_PARTS({ text("x"), 1, false }));
	assert_int_equal(virtio_console_input(d.dev, "a", 1), 0);
	assert_true(fake_needs_reset(&d));
}

static void test_console_resize_changes_the_configuration(void **state)
{
	uint32_t generation = fake_read(&d, VIRTIO_MMIO_CONFIG_GENERATION);

	(void)state;
	assert_int_equal(fake_config(&d, 0, 2), 80);
	assert_int_equal(fake_config(&d, 2, 2), 25);
	virtio_console_resize(d.dev, 80, 25);
	assert_false(d.irq);
	virtio_console_resize(d.dev, 132, 43);
	assert_int_equal(fake_ack(&d), VIRTIO_INT_CONFIG);
	assert_int_equal(fake_config(&d, 0, 2), 132);
	assert_int_not_equal(fake_read(&d, VIRTIO_MMIO_CONFIG_GENERATION),
			     generation);
}

static void test_console_moved_within_a_chain_goes_on_there(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	room = 6;
	send_hello_world();
	room = sizeof(seen) - seen_len;
	assert_int_equal(fake_move_to(&d, make(100), &e), 0);
	assert_int_equal(seen_len, 12);
	assert_memory_equal(seen, "hello, world", 12);
	/* The new terminal has another size. */
	assert_true(fake_ack(&d) & VIRTIO_INT_CONFIG);
}

static void test_console_chain_exchanged_while_waiting_is_survived(void **state)
{
	struct fake_used used;

	(void)state;
	room = 6;
	send_hello_world();
	/* The chain is now shorter than what the host has taken of it. */
	fake_desc(&d, OUTPUT, 0)->flags = 0;
	fake_desc(&d, OUTPUT, 0)->len = 2;
	room = 100;
	virtio_console_output_ready(d.dev);
	assert_true(fake_take_used(&d, OUTPUT, &used));
	assert_true(fake_take_used(&d, OUTPUT, &used));
	assert_memory_equal(seen, "hello,world", 11);
}

static void test_console_reset_within_a_chain_starts_anew(void **state)
{
	(void)state;
	room = 3;
	send_hello_world();
	fake_reset(&d);
	room = 100;
	virtio_console_output_ready(d.dev);
	assert_int_equal(seen_len, 3);
	fake_driver_start(&d, ~0ull);
	send_hello_world();
	assert_memory_equal(seen, "helhello, world", 15);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_console_output_reaches_the_host),
		T(test_console_output_waits_for_a_slow_host),
		T(test_console_output_leaves_the_lock_to_others),
		T(test_console_input_fills_buffers),
		T(test_console_input_before_the_driver_is_not_taken),
		T(test_console_input_buffer_without_room_is_a_guest_error),
		T(test_console_resize_changes_the_configuration),
		T(test_console_moved_within_a_chain_goes_on_there),
		T(test_console_chain_exchanged_while_waiting_is_survived),
		T(test_console_reset_within_a_chain_starts_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

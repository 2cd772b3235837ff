/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio/mmio: the registers and the status machine, in front of a device that
 * only counts what it is told.
 */
#include "tests/unit/test.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "fake_driver.h"

enum {
	PROBE_FEATURE = 5,
	STATUS_UP = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER
};
#define RING_FEATURES                                                   \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX | \
	 1ull << VIRTIO_RING_F_INDIRECT_DESC)

/* A device of two queues that records calls. */
struct probe {
	struct virtio_device dev;
	unsigned activated, resets, kicks[2], freed;
	uint8_t config[6];
	unsigned config_writes;
};

static struct probe probe;
static struct fake_driver d;

static void probe_activate(struct virtio_device *dev)
{
	(void)dev;
	probe.activated++;
}

static void probe_reset(struct virtio_device *dev)
{
	(void)dev;
	probe.resets++;
}

static void probe_kick(struct virtio_device *dev, uint16_t index)
{
	(void)dev;
	probe.kicks[index]++;
}

static void probe_config_read(struct virtio_device *dev, uint32_t offset,
			      void *data, uint32_t len)
{
	(void)dev;
	assert_true(offset + len <= sizeof(probe.config));
	memcpy(data, probe.config + offset, len);
}

static void probe_config_write(struct virtio_device *dev, uint32_t offset,
			       const void *data, uint32_t len)
{
	(void)dev;
	assert_true(offset + len <= sizeof(probe.config));
	memcpy(probe.config + offset, data, len);
	probe.config_writes++;
}

static void probe_free(struct virtio_device *dev)
{
	(void)dev;
	probe.freed++;
}

static const struct virtio_device_ops probe_ops = {
	.name = "probe",
	.device_id = 42,
	.queue_count = 2,
	.config_len = sizeof(probe.config),
	.activate = probe_activate,
	.reset = probe_reset,
	.kick = probe_kick,
	.config_read = probe_config_read,
	.config_write = probe_config_write,
	.free = probe_free,
};

static int setup(void **state)
{
	(void)state;
	fake_driver_init(&d);
	memset(&probe, 0, sizeof(probe));
	virtio_device_init(&probe.dev, &probe_ops, &d.mem, NULL,
			   1ull << PROBE_FEATURE, 64);
	fake_driver_attach(&d, &probe.dev);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_driver_done(&d);
	return probe.freed == 1 ? 0 : -1;
}

static uint32_t status(void)
{
	return fake_read(&d, VIRTIO_MMIO_STATUS);
}

static void test_mmio_identity_registers_read_as_specified(void **state)
{
	(void)state;
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_true(fake_offered_features(&d) ==
		    (RING_FEATURES | 1ull << PROBE_FEATURE));
	fake_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	/* No shared memory: all ones (4.2.2.1). */
	for (uint64_t at = VIRTIO_MMIO_SHM_LEN_LOW;
	     at <= VIRTIO_MMIO_SHM_BASE_HIGH; at += 4)
		assert_int_equal(fake_read(&d, at), UINT32_MAX);
	fake_write(&d, VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
	fake_write(&d, VIRTIO_MMIO_QUEUE_SEL, 2);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
}

static void test_mmio_handshake_activates_once(void **state)
{
	(void)state;
	fake_driver_start(&d, ~0ull);
	assert_int_equal(probe.activated, 1);
	assert_true(d.live);
	assert_true(probe.dev.features ==
		    (RING_FEATURES | 1ull << PROBE_FEATURE));
	assert_true(probe.dev.queues[1].event_idx);
	assert_true(probe.dev.queues[1].indirect);
	fake_write(&d, VIRTIO_MMIO_STATUS, status());
	assert_int_equal(probe.activated, 1);
	fake_kick(&d, 1);
	assert_int_equal(probe.kicks[1], 1);
	virtio_mmio_kick(&d.mmio, 0);
	assert_int_equal(probe.kicks[0], 1);
	fake_kick(&d, 2);
	fake_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0x10000);
	assert_int_equal(probe.kicks[0] + probe.kicks[1], 2);
}

static void test_mmio_features_not_offered_are_rejected(void **state)
{
	(void)state;
	assert_false(fake_negotiate(&d, 1ull << VIRTIO_F_VERSION_1 | 1));
	assert_int_equal(status(), STATUS_UP);
	/* A driver without VERSION_1 is a legacy one. */
	assert_false(fake_negotiate(&d, 1ull << PROBE_FEATURE));
	/* And without FEATURES_OK there is no DRIVER_OK. */
	fake_write(&d, VIRTIO_MMIO_STATUS,
		   STATUS_UP | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(status(), STATUS_UP);
	assert_int_equal(probe.activated, 0);
	assert_true(fake_negotiate(&d, 1ull << VIRTIO_F_VERSION_1));
	assert_false(probe.dev.queues[0].event_idx);
}

static void test_mmio_features_are_fixed_after_features_ok(void **state)
{
	(void)state;
	assert_true(fake_negotiate(&d, 1ull << VIRTIO_F_VERSION_1));
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	assert_true(probe.dev.features == 1ull << VIRTIO_F_VERSION_1);
	assert_true(d.mmio.driver_features == 1ull << VIRTIO_F_VERSION_1);
}

static void test_mmio_status_needs_its_order(void **state)
{
	(void)state;
	fake_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_DRIVER);
	assert_int_equal(status(), 0);
	fake_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(status(), 0);
	fake_write(&d, VIRTIO_MMIO_STATUS, STATUS_UP);
	assert_int_equal(status(), STATUS_UP);
	/* Clearing a bit changes nothing. */
	fake_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(status(), STATUS_UP);
	/* Bits that no driver has. */
	fake_write(&d, VIRTIO_MMIO_STATUS, STATUS_UP | 0xffffff30);
	assert_int_equal(status(), STATUS_UP);
	assert_true(probe.dev.guest_errors >= 3);
}

static void test_mmio_reset_gives_the_state_after_creation(void **state)
{
	struct virtio_mmio before;

	(void)state;
	before = d.mmio;
	fake_driver_start(&d, ~0ull);
	probe.dev.interrupt(&probe.dev, VIRTIO_INT_USED);
	assert_true(d.irq);
	fake_reset(&d);
	assert_false(d.irq);
	assert_false(d.live);
	assert_false(probe.dev.active);
	assert_int_equal(probe.dev.features, 0);
	assert_false(probe.dev.queues[0].ready);
	assert_int_equal(probe.dev.queues[0].desc_gpa, 0);
	assert_memory_equal(&d.mmio, &before, sizeof(before));
	fake_driver_start(&d, 0);
	assert_int_equal(probe.activated, 2);
}

static void test_mmio_queue_is_set_up_only_at_its_time(void **state)
{
	(void)state;
	assert_false(fake_setup_queue(&d, 0, 8));
	fake_write(&d, VIRTIO_MMIO_STATUS, STATUS_UP);
	assert_false(fake_setup_queue(&d, 0, 8));
	assert_int_equal(probe.dev.queues[0].desc_gpa, 0);
	fake_driver_start(&d, 0);
	assert_int_equal(probe.dev.queues[0].size, 64);
	/* Live: nothing moves, the queue goes on. */
	fake_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0);
	fake_write(&d, VIRTIO_MMIO_QUEUE_NUM, 8);
	fake_write(&d, VIRTIO_MMIO_QUEUE_USED_HIGH, 1);
	assert_int_equal(probe.dev.queues[0].size, 64);
	assert_int_equal(probe.dev.queues[0].used_gpa, d.queues[0].used_gpa);
	/* Stopping is allowed, starting again needs a reset. */
	fake_write(&d, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
	fake_kick(&d, 0);
	assert_int_equal(probe.kicks[0], 0);
	fake_write(&d, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_false(fake_needs_reset(&d));
}

static void test_mmio_impossible_queue_needs_reset(void **state)
{
	(void)state;
	assert_true(fake_negotiate(&d, 1ull << VIRTIO_F_VERSION_1));
	assert_false(fake_setup_queue(&d, 0, 7));
	assert_true(fake_needs_reset(&d));
	/* No driver is at work yet: no interrupt. */
	assert_false(d.irq);
	fake_write(&d, VIRTIO_MMIO_STATUS,
		   status() | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(probe.activated, 0);
	fake_driver_start(&d, 0);
	assert_false(fake_needs_reset(&d));
}

static void test_mmio_interrupt_is_a_level_until_acknowledged(void **state)
{
	(void)state;
	fake_driver_start(&d, 0);
	probe.dev.interrupt(&probe.dev, VIRTIO_INT_USED);
	virtio_device_config_changed(&probe.dev);
	assert_true(d.irq);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	fake_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INT_USED);
	assert_true(d.irq);
	fake_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
	assert_false(d.irq);
	assert_int_equal(d.irq_raised, 1);
}

/*
 * Nothing is taken twice and nothing is lost: a cause while another waits sends
 * no second message, one that an acknowledgement leaves does.
 */
static void test_mmio_sends_one_message_for_what_waits(void **state)
{
	unsigned sent = d.irq_messages;

	(void)state;
	fake_driver_start(&d, 0);
	probe.dev.interrupt(&probe.dev, VIRTIO_INT_USED);
	assert_int_equal(d.irq_messages, sent + 1);
	probe.dev.interrupt(&probe.dev, VIRTIO_INT_USED);
	virtio_device_config_changed(&probe.dev);
	assert_int_equal(d.irq_messages, sent + 1);
	fake_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INT_USED);
	assert_int_equal(d.irq_messages, sent + 2);
	fake_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INT_CONFIG);
	probe.dev.interrupt(&probe.dev, VIRTIO_INT_USED);
	assert_int_equal(d.irq_messages, sent + 3);
}

static void test_mmio_config_change_moves_the_generation(void **state)
{
	uint32_t before = fake_read(&d, VIRTIO_MMIO_CONFIG_GENERATION);

	(void)state;
	virtio_device_config_changed(&probe.dev);
	assert_int_not_equal(fake_read(&d, VIRTIO_MMIO_CONFIG_GENERATION),
			     before);
	/* Nobody there to be interrupted. */
	assert_false(d.irq);
	fake_driver_start(&d, 0);
	virtio_device_config_changed(&probe.dev);
	assert_true(d.irq);
	assert_int_equal(fake_ack(&d), VIRTIO_INT_CONFIG);
}

static void test_mmio_failed_device_waits_for_its_reset(void **state)
{
	(void)state;
	fake_driver_start(&d, 0);
	virtio_device_fail(&probe.dev, "test");
	assert_true(fake_needs_reset(&d));
	assert_int_equal(fake_ack(&d), VIRTIO_INT_CONFIG);
	assert_false(d.live);
	fake_kick(&d, 0);
	assert_int_equal(probe.kicks[0], 0);
	/* A driver that writes the status it read goes nowhere. */
	fake_write(&d, VIRTIO_MMIO_STATUS, status());
	assert_int_equal(probe.activated, 1);
	assert_true(fake_needs_reset(&d));
}

static void test_mmio_failed_driver_is_left_alone(void **state)
{
	(void)state;
	fake_driver_start(&d, 0);
	fake_write(&d, VIRTIO_MMIO_STATUS, status() | VIRTIO_CONFIG_S_FAILED);
	assert_false(d.live);
	fake_kick(&d, 0);
	assert_int_equal(probe.kicks[0], 0);
}

static void test_mmio_config_space_has_an_end(void **state)
{
	static const uint64_t lens[] = { 1, 2, 4, 8 };

	(void)state;
	memcpy(probe.config, "\1\2\3\4\5\6", 6);
	assert_int_equal(fake_config(&d, 0, 4), 0x04030201);
	assert_int_equal(fake_config(&d, 5, 1), 6);
	assert_int_equal(fake_config(&d, 4, 4), 0x0605);
	assert_true(fake_config(&d, 0, 8) == 0x060504030201);
	assert_int_equal(fake_config(&d, 6, 4), 0);
	for (uint32_t at = 0; at < VIRTIO_MMIO_LEN - VIRTIO_MMIO_CONFIG; at++)
		for (size_t i = 0; i < 4; i++)
			(void)fake_config(&d, at, (uint32_t)lens[i]);
}

static void test_mmio_config_writes_wait_for_features_ok(void **state)
{
	(void)state;
	fake_write(&d, VIRTIO_MMIO_CONFIG, 0x11111111);
	assert_int_equal(probe.config_writes, 0);
	fake_driver_start(&d, 0);
	fake_write(&d, VIRTIO_MMIO_CONFIG, 0x11111111);
	assert_int_equal(probe.config_writes, 1);
	fake_write(&d, VIRTIO_MMIO_CONFIG + 4, 0x11111111);
	assert_int_equal(probe.config_writes, 1);
}

static void test_mmio_registers_take_only_aligned_words(void **state)
{
	uint64_t wide = UINT64_MAX;

	(void)state;
	virtio_mmio_read(&d.mmio, VIRTIO_MMIO_MAGIC_VALUE, &wide, 8);
	assert_true(wide == 0);
	wide = UINT64_MAX;
	virtio_mmio_read(&d.mmio, VIRTIO_MMIO_MAGIC_VALUE, &wide, 2);
	assert_true(wide == 0xffffffffffff0000);
	virtio_mmio_read(&d.mmio, 2, &wide, 4);
	assert_int_equal((uint32_t)wide, 0);
	virtio_mmio_write(&d.mmio, VIRTIO_MMIO_STATUS, "\1", 1);
	assert_int_equal(status(), 0);
}

static unsigned logged;

static void count_records(enum log_level level, const char *vm,
			  const char *message)
{
	(void)level;
	(void)vm;
	(void)message;
	logged++;
}

/* No limit by time stands in the way here, and yet the log stays short. */
static void test_mmio_failures_without_end_do_not_fill_the_log(void **state)
{
	uint64_t first_free = d.next_free;

	(void)state;
	logged = 0;
	probe.dev.guest_error_rate = (struct log_rate)LOG_RATE_INIT(UINT32_MAX);
	log_set_sink(count_records);
	for (unsigned i = 0; i < 100000; i++) {
		fake_driver_start(&d, ~0ull);
		virtio_device_fail(&probe.dev, "test");
		assert_true(fake_needs_reset(&d));
		d.next_free =
			first_free; /* the rings of the last round are gone */
	}
	log_set_sink(NULL);
	assert_in_range(logged, 1, 64);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_mmio_identity_registers_read_as_specified),
		T(test_mmio_handshake_activates_once),
		T(test_mmio_features_not_offered_are_rejected),
		T(test_mmio_features_are_fixed_after_features_ok),
		T(test_mmio_status_needs_its_order),
		T(test_mmio_reset_gives_the_state_after_creation),
		T(test_mmio_queue_is_set_up_only_at_its_time),
		T(test_mmio_impossible_queue_needs_reset),
		T(test_mmio_interrupt_is_a_level_until_acknowledged),
		T(test_mmio_sends_one_message_for_what_waits),
		T(test_mmio_config_change_moves_the_generation),
		T(test_mmio_failed_device_waits_for_its_reset),
		T(test_mmio_failures_without_end_do_not_fill_the_log),
		T(test_mmio_failed_driver_is_left_alone),
		T(test_mmio_config_space_has_an_end),
		T(test_mmio_config_writes_wait_for_features_ok),
		T(test_mmio_registers_take_only_aligned_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio/blk with its thread: what goes on while the host's file takes its time.
 * fdatasync() waits at a gate of the test. This thread is the machine's others:
 * it acts with the machine lock, and gets it although the file hangs.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blk_guest.h"
#include "virtio/blk/blk.h"

enum {
	WAIT_S = 20
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed;
	unsigned at_gate, syncs;
	int fails; /* errno of the next one */
} gate = {
	PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0, 0
};

int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
	int sys;

	(void)fd;
	(void)pthread_mutex_lock(&gate.lock);
	gate.at_gate++;
	(void)pthread_cond_broadcast(&gate.changed);
	while (gate.closed)
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
	gate.at_gate--;
	gate.syncs++;
	sys = gate.fails;
	gate.fails = 0;
	(void)pthread_cond_broadcast(&gate.changed);
	(void)pthread_mutex_unlock(&gate.lock);
	errno = sys;
	return sys ? -1 : 0;
}

static void gate_set(bool closed)
{
	(void)pthread_mutex_lock(&gate.lock);
	gate.closed = closed;
	(void)pthread_cond_broadcast(&gate.changed);
	(void)pthread_mutex_unlock(&gate.lock);
}

static struct timespec deadline(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += WAIT_S;
	return t;
}

/* Until the device asks the file. */
static void gate_wait(void)
{
	struct timespec end = deadline();

	(void)pthread_mutex_lock(&gate.lock);
	while (!gate.at_gate)
		assert_int_equal(pthread_cond_timedwait(&gate.changed,
							&gate.lock, &end),
				 0);
	(void)pthread_mutex_unlock(&gate.lock);
}

static void take_lock(void)
{
	struct timespec end = deadline();

	assert_int_equal(pthread_mutex_timedlock(&lock, &end), 0);
}

static void give_lock(void)
{
	(void)pthread_mutex_unlock(&lock);
}

/* Lock held, released in between. */
static struct fake_used wait_used(void)
{
	struct timespec end = deadline(), now;
	struct fake_used used;

	while (!fake_take_used(&f.d, 0, &used)) {
		give_lock();
		(void)clock_gettime(CLOCK_REALTIME, &now);
		assert_true(now.tv_sec < end.tv_sec);
		(void)sched_yield();
		take_lock();
	}
	return used;
}

/* A chain with header and status of its own, and room for a sector. */
static uint16_t add(uint32_t type, uint64_t sector, uint8_t **ret_status)
{
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	uint64_t header_gpa = fake_alloc(&f.d, sizeof(header), 1);
	uint64_t data_gpa = fake_alloc(&f.d, SECTOR, 1);
	uint64_t status_gpa = fake_alloc(&f.d, 1, 1);
	uint32_t len = type == VIRTIO_BLK_T_IN ? SECTOR : 0;

	memcpy(fake_ptr(&f.d, header_gpa, sizeof(header)), &header,
	       sizeof(header));
	*ret_status = fake_ptr(&f.d, status_gpa, 1);
	**ret_status = 0xee;
	return fake_add(&f.d, 0,
			FAKE_PARTS({ header_gpa, sizeof(header), false },
				   { data_gpa, len, true },
				   { status_gpa, 1, true }));
}

static int setup(void **state)
{
	(void)state;
	gate.syncs = 0;
	blk_guest_begin(false, true);
	assert_int_equal(virtio_blk_start(f.dev, &lock, NULL, NULL, NULL), 0);
	take_lock();
	fake_driver_start(&f.d, ~0ull);
	return 0;
}

static int teardown(void **state)
{
	gate_set(false);
	give_lock();
	return blk_guest_teardown(state);
}

static void test_blk_worker_leaves_the_lock_while_the_file_hangs(void **state)
{
	uint8_t *flushed, *read;
	uint16_t first, second;
	struct fake_used used;

	(void)state;
	gate_set(true);
	first = add(VIRTIO_BLK_T_FLUSH, 0, &flushed);
	second = add(VIRTIO_BLK_T_IN, 0, &read);
	fake_kick(&f.d, 0);
	give_lock();
	gate_wait();
	/* Registers, configuration, kicks: all as if nothing was. */
	take_lock();
	assert_int_equal(fake_config(&f.d, 0, 8), DISK_SECTORS);
	fake_kick(&f.d, 0);
	assert_int_equal(*flushed, 0xee);
	/* In order: what came behind a flush waits for it. */
	assert_int_equal(*read, 0xee);
	assert_false(fake_take_used(&f.d, 0, &used));
	gate_set(false);
	assert_int_equal(wait_used().id, first);
	assert_int_equal(wait_used().id, second);
	assert_int_equal(*flushed, VIRTIO_BLK_S_OK);
	assert_int_equal(*read, VIRTIO_BLK_S_OK);
	assert_true(f.d.irq);
}

static void test_blk_worker_serves_many_in_order(void **state)
{
	enum {
		ROUNDS = 300
	};
	uint8_t *status;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		uint16_t a = add(VIRTIO_BLK_T_IN, 1, &status);
		uint16_t b = add(VIRTIO_BLK_T_FLUSH, 0, &status);

		(void)fake_kick_if_wanted(&f.d, 0);
		assert_int_equal(wait_used().id, a);
		assert_int_equal(wait_used().id, b);
	}
	assert_int_equal(gate.syncs, ROUNDS);
}

static void *open_gate(void *data)
{
	(void)data;
	/* Only when somebody waits for the request: he released the lock. */
	take_lock();
	give_lock();
	gate_set(false);
	return NULL;
}

static void test_blk_worker_pause_waits_for_the_request(void **state)
{
	struct fake_used used;
	pthread_t opener;
	uint8_t *first, *second;

	(void)state;
	gate_set(true);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &first);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &second);
	fake_kick(&f.d, 0);
	give_lock();
	gate_wait();
	take_lock();
	assert_int_equal(pthread_create(&opener, NULL, open_gate, NULL), 0);
	virtio_blk_pause(f.dev);
	virtio_blk_settle(f.dev);
	/* One is through, the other not begun, and it stays so. */
	give_lock();
	assert_int_equal(pthread_join(opener, NULL), 0);
	take_lock();
	virtio_blk_settle(f.dev);
	assert_int_equal(gate.syncs, 1);
	assert_int_equal(*second, 0xee);
	fake_kick(&f.d, 0);
	virtio_blk_settle(f.dev);
	assert_int_equal(gate.syncs, 1);
	virtio_blk_resume(f.dev);
	(void)wait_used();
	used = wait_used();
	assert_int_equal(used.len, 1);
	assert_int_equal(*second, VIRTIO_BLK_S_OK);
}

/* After a reset the driver's memory is its own again. */
static void test_blk_worker_reset_waits_and_forgets(void **state)
{
	pthread_t opener;
	uint8_t *status;

	(void)state;
	gate_set(true);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &status);
	fake_kick(&f.d, 0);
	give_lock();
	gate_wait();
	take_lock();
	assert_int_equal(pthread_create(&opener, NULL, open_gate, NULL), 0);
	fake_reset(&f.d);
	assert_int_equal(gate.syncs, 1);
	assert_int_equal(*status, 0xee);
	give_lock();
	assert_int_equal(pthread_join(opener, NULL), 0);
	take_lock();
	fake_driver_start(&f.d, ~0ull);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &status);
	fake_kick(&f.d, 0);
	(void)wait_used();
	assert_int_equal(*status, VIRTIO_BLK_S_OK);
}

static void test_blk_worker_keeps_what_a_full_disk_refused(void **state)
{
	uint8_t *status;
	uint16_t head;

	(void)state;
	f.keep = true;
	gate.fails = ENOSPC;
	gate_set(true);
	head = add(VIRTIO_BLK_T_FLUSH, 0, &status);
	fake_kick(&f.d, 0);
	give_lock();
	gate_wait();
	gate_set(false);
	take_lock();
	virtio_blk_pause(f.dev);
	virtio_blk_settle(f.dev);
	assert_int_equal(f.failures, 1);
	assert_int_equal(*status, 0xee);
	/* Tried again before this returns: kept once more, then done. */
	gate.fails = ENOSPC;
	virtio_blk_resume(f.dev);
	assert_int_equal(f.failures, 2);
	assert_int_equal(*status, 0xee);
	virtio_blk_resume(f.dev);
	assert_int_equal(*status, VIRTIO_BLK_S_OK);
	assert_int_equal(wait_used().id, head);
}

static void test_blk_worker_device_fails_on_a_bad_ring(void **state)
{
	struct timespec end = deadline(), now;

	(void)state;
	fake_offer(&f.d, 0, 999);
	fake_kick(&f.d, 0);
	while (!fake_needs_reset(&f.d)) {
		give_lock();
		(void)clock_gettime(CLOCK_REALTIME, &now);
		assert_true(now.tv_sec < end.tv_sec);
		(void)sched_yield();
		take_lock();
	}
	fake_reset(&f.d);
}

static int refuse(void *ctx, struct err *e)
{
	return err_set(e, ERR_INTERNAL, "lockdown_failed", 0, "%s",
		       (const char *)ctx);
}

static void test_blk_worker_that_cannot_enter_fails_the_start(void **state)
{
	char why[] = "no filter";
	struct err e = ERR_INIT;

	(void)state;
	blk_guest_begin(false, true);
	assert_true(virtio_blk_start(f.dev, &lock, refuse, why, &e) < 0);
	assert_string_equal(e.code, "lockdown_failed");
	assert_string_equal(e.msg, why);
}

#define W(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		W(test_blk_worker_leaves_the_lock_while_the_file_hangs),
		W(test_blk_worker_serves_many_in_order),
		W(test_blk_worker_pause_waits_for_the_request),
		W(test_blk_worker_reset_waits_and_forgets),
		W(test_blk_worker_keeps_what_a_full_disk_refused),
		W(test_blk_worker_device_fails_on_a_bad_ring),
		cmocka_unit_test_setup_teardown(
			test_blk_worker_that_cannot_enter_fails_the_start,
			blk_guest_setup_nothing, blk_guest_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

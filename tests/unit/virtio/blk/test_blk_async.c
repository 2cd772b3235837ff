/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio/blk with its threads: what goes on while the host's file takes its time.
 * fdatasync() waits at a gate of the test. This thread is the machine's others:
 * it acts with the machine lock, and gets it although the file hangs.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "blk_guest.h"
#include "virtio/blk/blk.h"

enum {
	WAIT_S = 20
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int kick_fd = -1;
static struct blk_start plain = { .lock = &lock };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed;
	unsigned at_gate, syncs;
	int fails; /* errno of the next ones */
	unsigned fail_count;
} gate = {
	PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0, 0, 0
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
	sys = gate.fail_count ? gate.fails : 0;
	gate.fail_count -= gate.fail_count > 0;
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

/* Until so many requests ask the file. */
static void gate_wait_for(unsigned count)
{
	struct timespec end = deadline();

	(void)pthread_mutex_lock(&gate.lock);
	while (gate.at_gate < count)
		assert_int_equal(pthread_cond_timedwait(&gate.changed,
							&gate.lock, &end),
				 0);
	(void)pthread_mutex_unlock(&gate.lock);
}

static void gate_wait(void)
{
	gate_wait_for(1);
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
	gate.syncs = gate.fail_count = 0;
	blk_guest_begin(false, true);
	kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(kick_fd >= 0);
	plain.kick_fds = &kick_fd;
	plain.kick_count = 1;
	assert_int_equal(virtio_blk_start(f.dev, &plain, NULL), 0);
	take_lock();
	fake_driver_start(&f.d, ~0ull);
	return 0;
}

static int teardown(void **state)
{
	gate_set(false);
	give_lock();
	(void)blk_guest_teardown(state);
	(void)close(kick_fd);
	return 0;
}

static void gate_fail_next(unsigned count, int sys)
{
	(void)pthread_mutex_lock(&gate.lock);
	gate.fails = sys;
	gate.fail_count = count;
	(void)pthread_mutex_unlock(&gate.lock);
}

/* Lock held, released in between. */
static void wait_in_flight(unsigned count)
{
	struct timespec end = deadline(), now;

	while (f.dev->in_flight != count) {
		give_lock();
		(void)clock_gettime(CLOCK_REALTIME, &now);
		assert_true(now.tv_sec < end.tv_sec);
		(void)sched_yield();
		take_lock();
	}
}

/* Tries what is kept, as a machine that is resumed does. */
static void try_again(void)
{
	f.dev->ops->quiesce(f.dev);
	f.dev->ops->retry(f.dev);
	wait_in_flight(0);
	f.dev->ops->resume(f.dev);
}

static void test_blk_async_leaves_the_lock_while_the_file_hangs(void **state)
{
	uint8_t *flushed, *read;
	uint16_t first, second;

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
	/* What came later is not held up: it overtakes. */
	assert_int_equal(wait_used().id, second);
	assert_int_equal(*read, VIRTIO_BLK_S_OK);
	assert_int_equal(*flushed, 0xee);
	assert_int_equal(f.dev->in_flight, 1);
	gate_set(false);
	assert_int_equal(wait_used().id, first);
	assert_int_equal(*flushed, VIRTIO_BLK_S_OK);
	assert_true(f.d.irq);
}

static void test_blk_async_has_many_in_flight(void **state)
{
	enum {
		COUNT = 60
	};
	bool seen[256] = { false };
	uint8_t *status[COUNT];

	(void)state;
	gate_set(true);
	for (int i = 0; i < COUNT; i++)
		(void)add(VIRTIO_BLK_T_FLUSH, 0, &status[i]);
	fake_kick(&f.d, 0);
	/* All of them are taken, and as many at the file as there are threads. */
	assert_int_equal(f.dev->in_flight, COUNT);
	give_lock();
	gate_wait_for(THREADS);
	take_lock();
	assert_int_equal(f.dev->in_flight, COUNT);
	gate_set(false);
	for (int i = 0; i < COUNT; i++) {
		uint32_t id = wait_used().id;

		assert_in_range(id, 0, 255);
		assert_false(seen[id]);
		seen[id] = true;
	}
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(*status[i], VIRTIO_BLK_S_OK);
	assert_int_equal(f.dev->in_flight, 0);
}

/* More than there are requests: the rest follows as they come back. */
static void test_blk_async_goes_on_when_all_requests_were_in_use(void **state)
{
	enum {
		SLOTS = 256, /* of the queue, and requests of the device */
		MORE = 40
	};
	uint64_t header_gpa = fake_alloc(&f.d, 16, 16);
	uint64_t status_gpa = fake_alloc(&f.d, SLOTS + MORE, 1);
	uint8_t *status = fake_ptr(&f.d, status_gpa, SLOTS + MORE);

	(void)state;
	*(uint32_t *)fake_ptr(&f.d, header_gpa, 4) = VIRTIO_BLK_T_FLUSH;
	memset(status, 0xee, SLOTS + MORE);
	gate_set(true);
	for (unsigned i = 0; i < SLOTS + MORE; i++) {
		if (i == SLOTS) {
			fake_kick(&f.d, 0);
			while (f.dev->in_flight < SLOTS)
				assert_true(loop_run_once(f.loop, 1000) > 0);
			/* Reused although it is in flight: a guest may. */
			assert_int_equal(f.dev->in_flight, SLOTS);
		}
		(void)fake_add_indirect(
			&f.d, 0,
			FAKE_PARTS({ header_gpa, 16, false },
				   { status_gpa + i, 1, true }));
	}
	fake_kick(&f.d, 0);
	assert_int_equal(f.dev->in_flight, SLOTS);
	gate_set(false);
	for (int i = 0; i < SLOTS + MORE; i++)
		(void)wait_used();
	for (int i = 0; i < SLOTS + MORE; i++)
		assert_int_equal(status[i], VIRTIO_BLK_S_OK);
}

/* A kick by its eventfd needs no other thread; one of many wakes as many. */
static void test_blk_async_threads_see_kicks_themselves(void **state)
{
	uint8_t *status[THREADS];
	uint64_t one = 1;

	(void)state;
	gate_set(true);
	for (int i = 0; i < THREADS; i++)
		(void)add(VIRTIO_BLK_T_FLUSH, 0, &status[i]);
	assert_int_equal(write(kick_fd, &one, sizeof(one)), sizeof(one));
	give_lock();
	gate_wait_for(THREADS);
	take_lock();
	gate_set(false);
	for (int i = 0; i < THREADS; i++)
		(void)wait_used();
	wait_in_flight(0);
	/* And again, when all of them sleep. */
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &status[0]);
	assert_int_equal(write(kick_fd, &one, sizeof(one)), sizeof(one));
	(void)wait_used();
	assert_int_equal(*status[0], VIRTIO_BLK_S_OK);
}

static void test_blk_async_serves_many(void **state)
{
	enum {
		ROUNDS = 300
	};
	uint8_t *status;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		uint16_t a = add(VIRTIO_BLK_T_IN, 1, &status);
		uint16_t b = add(VIRTIO_BLK_T_FLUSH, 0, &status);
		uint32_t first, second;

		(void)fake_kick_if_wanted(&f.d, 0);
		first = wait_used().id;
		second = wait_used().id;
		assert_true((first == a && second == b) ||
			    (first == b && second == a));
	}
	assert_int_equal(gate.syncs, ROUNDS);
}

static void test_blk_async_pause_drains(void **state)
{
	uint8_t *first, *second;

	(void)state;
	gate_set(true);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &first);
	fake_kick(&f.d, 0);
	give_lock();
	gate_wait();
	take_lock();
	f.dev->ops->quiesce(f.dev);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &second);
	fake_kick(&f.d, 0);
	/* One is under way, the other not begun, and it stays so. */
	assert_int_equal(f.dev->in_flight, 1);
	gate_set(false);
	wait_in_flight(0);
	assert_int_equal(*first, VIRTIO_BLK_S_OK);
	assert_int_equal(*second, 0xee);
	fake_kick(&f.d, 0);
	assert_int_equal(f.dev->in_flight, 0);
	assert_int_equal(gate.syncs, 1);
	f.dev->ops->resume(f.dev);
	(void)wait_used();
	assert_int_equal(wait_used().len, 1);
	assert_int_equal(*second, VIRTIO_BLK_S_OK);
}

/* It is done when nobody touches the driver's memory any more. */
static void test_blk_async_reset_is_done_when_all_are_back(void **state)
{
	uint8_t *status[10];

	(void)state;
	gate_set(true);
	for (int i = 0; i < 10; i++)
		(void)add(VIRTIO_BLK_T_FLUSH, 0, &status[i]);
	fake_kick(&f.d, 0);
	give_lock();
	gate_wait_for(THREADS);
	take_lock();
	fake_write(&f.d, VIRTIO_MMIO_STATUS, 0);
	/* Those that were not begun are forgotten at once. */
	assert_int_equal(f.dev->in_flight, THREADS);
	assert_true(virtio_mmio_busy(&f.d.mmio));
	assert_int_not_equal(fake_read(&f.d, VIRTIO_MMIO_STATUS), 0);
	/* Not yet: neither set-up nor kicks. */
	fake_write(&f.d, VIRTIO_MMIO_STATUS, 1);
	fake_kick(&f.d, 0);
	assert_int_equal(f.dev->in_flight, THREADS);
	gate_set(false);
	wait_in_flight(0);
	assert_false(virtio_mmio_busy(&f.d.mmio));
	assert_int_equal(fake_read(&f.d, VIRTIO_MMIO_STATUS), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(*status[i], 0xee);
	assert_false(f.d.irq);
	fake_driver_start(&f.d, ~0ull);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &status[0]);
	fake_kick(&f.d, 0);
	(void)wait_used();
	assert_int_equal(*status[0], VIRTIO_BLK_S_OK);
}

static void test_blk_async_queue_stops_when_it_is_empty(void **state)
{
	uint8_t *first, *second;

	(void)state;
	gate_set(true);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &first);
	fake_kick(&f.d, 0);
	give_lock();
	gate_wait();
	take_lock();
	fake_write(&f.d, VIRTIO_MMIO_QUEUE_SEL, 0);
	fake_write(&f.d, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(fake_read(&f.d, VIRTIO_MMIO_QUEUE_READY), 1);
	assert_true(virtio_mmio_busy(&f.d.mmio));
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &second);
	fake_kick(&f.d, 0);
	assert_int_equal(f.dev->in_flight, 1);
	gate_set(false);
	wait_in_flight(0);
	assert_int_equal(fake_read(&f.d, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_false(virtio_mmio_busy(&f.d.mmio));
	assert_int_equal(*first, VIRTIO_BLK_S_OK);
	assert_int_equal(*second, 0xee);
}

static void test_blk_async_keeps_what_a_full_disk_refused(void **state)
{
	enum {
		COUNT = 12,
		REFUSED = 6
	};
	uint8_t *status[COUNT], *later;
	unsigned answered = 0;
	struct fake_used used;

	(void)state;
	f.keep = true;
	gate_fail_next(REFUSED, ENOSPC);
	gate_set(true);
	for (int i = 0; i < COUNT; i++)
		(void)add(VIRTIO_BLK_T_FLUSH, 0, &status[i]);
	fake_kick(&f.d, 0);
	give_lock();
	gate_wait_for(THREADS);
	gate_set(false);
	take_lock();
	wait_in_flight(0);
	/* Some were refused and are kept, the others are done. */
	assert_int_equal(f.failures, REFUSED);
	while (fake_take_used(&f.d, 0, &used))
		answered++;
	assert_int_equal(answered, COUNT - REFUSED);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, &later);
	fake_kick(&f.d, 0);
	assert_int_equal(f.dev->in_flight, 0);
	gate_fail_next(2, ENOSPC);
	try_again(); /* two of them are kept once more */
	assert_int_equal(f.failures, REFUSED + 2);
	assert_int_equal(*later, 0xee);
	try_again();
	for (int i = 0; i < REFUSED + 1; i++)
		(void)wait_used();
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(*status[i], VIRTIO_BLK_S_OK);
	assert_int_equal(*later, VIRTIO_BLK_S_OK);
}

/* What is kept goes along, and is done where it arrives. */
static void test_blk_async_kept_requests_move(void **state)
{
	struct err e = ERR_INIT;
	uint8_t *first, *second;
	uint16_t a, b;

	(void)state;
	f.keep = true;
	gate_fail_next(2, ENOSPC);
	a = add(VIRTIO_BLK_T_FLUSH, 0, &first);
	b = add(VIRTIO_BLK_T_FLUSH, 0, &second);
	fake_kick(&f.d, 0);
	wait_in_flight(0);
	assert_int_equal(f.failures, 2);
	give_lock(); /* its threads end */
	f.dev = blk_guest_make(fcntl(f.fd, F_DUPFD_CLOEXEC, 0), false, true);
	assert_int_equal(fake_move_to(&f.d, f.dev, &e), 0);
	take_lock();
	assert_int_equal(*first, 0xee);
	try_again();
	(void)wait_used();
	(void)wait_used();
	assert_true(a != b);
	assert_int_equal(*first, VIRTIO_BLK_S_OK);
	assert_int_equal(*second, VIRTIO_BLK_S_OK);
}

static void test_blk_async_device_fails_on_a_bad_ring(void **state)
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

static void test_blk_async_that_cannot_enter_fails_the_start(void **state)
{
	char why[] = "no filter";
	const struct blk_start bad = { .lock = &lock,
				       .enter = refuse,
				       .ctx = why };
	struct err e = ERR_INIT;

	(void)state;
	blk_guest_begin(false, true);
	assert_true(virtio_blk_start(f.dev, &bad, &e) < 0);
	assert_string_equal(e.code, "lockdown_failed");
	assert_string_equal(e.msg, why);
}

#define W(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		W(test_blk_async_leaves_the_lock_while_the_file_hangs),
		W(test_blk_async_has_many_in_flight),
		W(test_blk_async_goes_on_when_all_requests_were_in_use),
		W(test_blk_async_threads_see_kicks_themselves),
		W(test_blk_async_serves_many),
		W(test_blk_async_pause_drains),
		W(test_blk_async_reset_is_done_when_all_are_back),
		W(test_blk_async_queue_stops_when_it_is_empty),
		W(test_blk_async_keeps_what_a_full_disk_refused),
		W(test_blk_async_kept_requests_move),
		W(test_blk_async_device_fails_on_a_bad_ring),
		cmocka_unit_test_setup_teardown(
			test_blk_async_that_cannot_enter_fails_the_start,
			blk_guest_setup_nothing, blk_guest_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

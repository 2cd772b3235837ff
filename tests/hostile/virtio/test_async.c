/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device with its threads, whose answers come at any time: a second
 * vCPU rewrites rings and headers while requests are in flight, and this thread,
 * as the machine's others, kicks, resets, stops queues, pauses and tries again.
 * Judges: the guard pages around the guest's memory, the sanitizers, and that
 * each reset comes to its end.
 */
#include "tests/unit/test.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "victim.h"
#include "virtio/blk/blk.h"

enum {
	ROUNDS = 40000,
	BUFFER = 0x80000,
	TABLE = 0x90000,
	WAIT_S = 20
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool stop;
static struct victim v;

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Volatile, and without the lock: a vCPU asks nobody. */
static void *rewrite(void *data)
{
	static const uint64_t addresses[] = { BUFFER, FAKE_LOW_LEN - 8,
					      FAKE_LOW_LEN, UINT64_MAX - 8,
					      FAKE_HIGH_GPA };
	uint64_t seed = 0x2545f4914f6cdd1d;

	(void)data;
	while (!atomic_load(&stop)) {
		uint64_t r = next_random(&seed);
		volatile struct vring_desc *desc = fake_ptr(&v.d, TABLE, 64);
		volatile uint32_t *type = fake_ptr(&v.d, BUFFER, 4);
		volatile uint64_t *sector = fake_ptr(&v.d, BUFFER + 8, 8);

		desc += (r >> 1) & 3;
		switch ((r >> 3) & 7) {
		case 0:
			desc->addr = addresses[(r >> 6) % 5];
			break;
		case 1:
			desc->len = (uint32_t)(r >> 6) & 0xfff;
			break;
		case 2:
			*sector = (r >> 6) & 511;
			break;
		case 3:
			*type = (uint32_t)(r >> 6) & 15;
			break;
		default:
			/* Mostly an honest one, so that work is done. */
			desc->addr = BUFFER + 64;
			desc->len = 512;
			*type = VIRTIO_BLK_T_IN;
			(void)sched_yield();
			break;
		}
	}
	return NULL;
}

static void put_request(void)
{
	struct vring_desc *at = fake_ptr(&v.d, TABLE, 64);

	at[0] = (struct vring_desc){ BUFFER, 16, VRING_DESC_F_NEXT, 1 };
	at[1] = (struct vring_desc){ BUFFER + 64, 512,
				     VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
				     2 };
	at[2] = (struct vring_desc){ BUFFER + 900, 1, VRING_DESC_F_WRITE, 0 };
}

/* Lock held, given away in between. */
static void wait_reset(void)
{
	time_t end = time(NULL) + WAIT_S;

	while (virtio_mmio_busy(&v.d.mmio)) {
		(void)pthread_mutex_unlock(&lock);
		assert_true(time(NULL) < end);
		(void)sched_yield();
		(void)pthread_mutex_lock(&lock);
	}
}

/* The same rings again, without their memory moving. */
static void restart(void)
{
	fake_write(&v.d, VIRTIO_MMIO_STATUS, 0);
	wait_reset();
	assert_int_equal(v.d.dev->in_flight, 0);
	*fake_avail_idx(&v.d, 0) = 0;
	*fake_used_idx(&v.d, 0) = 0;
	v.d.next_free = 4096;
	fake_driver_start(&v.d, ~0ull);
}

static void one_round(uint64_t r)
{
	put_request();
	fake_put_desc(&v.d, 0, 4,
		      (struct vring_desc){ TABLE, 48, VRING_DESC_F_INDIRECT,
					   0 });
	for (unsigned i = 0; i < 1 + (r & 15); i++)
		fake_offer(&v.d, 0, 4);
	fake_kick(&v.d, 0);
	if ((r >> 8) % 16 == 0) {
		v.d.dev->ops->quiesce(v.d.dev);
		v.d.dev->ops->retry(v.d.dev);
		v.d.dev->ops->resume(v.d.dev);
	}
	if ((r >> 16) % 32 == 0) {
		fake_write(&v.d, VIRTIO_MMIO_QUEUE_SEL, 0);
		fake_write(&v.d, VIRTIO_MMIO_QUEUE_READY, 0);
		wait_reset();
		restart();
	}
	if ((r >> 24) % 16 == 0 || fake_needs_reset(&v.d))
		restart();
}

static void attack(enum virtio_blk_kind engine)
{
	const struct blk_start start = { .lock = &lock };
	uint64_t seed = 0x9e3779b97f4a7c15;
	struct fake_used used;
	unsigned served = 0;
	pthread_t thread;

	atomic_store(&stop, false);
	victim_init_engine(&v, VICTIM_BLK, engine);
	assert_int_equal(virtio_blk_start(v.d.dev, &start, NULL), 0);
	(void)pthread_mutex_lock(&lock);
	fake_driver_start(&v.d, ~0ull);
	put_request();
	assert_int_equal(pthread_create(&thread, NULL, rewrite, NULL), 0);
	for (int round = 0; round < ROUNDS; round++) {
		one_round(next_random(&seed));
		while (fake_take_used(&v.d, 0, &used))
			served++;
		(void)loop_run_once(v.loop, 0);
		(void)pthread_mutex_unlock(&lock);
		(void)pthread_mutex_lock(&lock);
	}
	atomic_store(&stop, true);
	(void)pthread_mutex_unlock(&lock);
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)pthread_mutex_lock(&lock);
	restart();
	(void)pthread_mutex_unlock(&lock);
	/* Otherwise nothing of the device was under attack. */
	assert_true(served > 100);
	victim_done(&v);
}

static void test_async_threads_survive(void **state)
{
	(void)state;
	attack(VIRTIO_BLK_THREADS);
}

/* Where the host has no io_uring for us these are threads again. */
static void test_async_io_uring_survives(void **state)
{
	(void)state;
	attack(VIRTIO_BLK_ANY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_async_threads_survive),
		cmocka_unit_test(test_async_io_uring_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

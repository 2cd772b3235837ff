/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second vCPU that rewrites descriptors, rings and request headers while the
 * device works on them. What was checked must be what is used: the guard pages
 * around the guest's memory and the sanitizers are the judges. It goes on until
 * the attacker has had his number of blows, however the host schedules them.
 */
#include "tests/unit/test.h"

#include <linux/virtio_blk.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "victim.h"

enum {
	BLOWS = 300000,
	SERVED_MIN = 100,
	ROUNDS_MAX = 2000000,
	BUFFER = 0x80000,
	TABLE = 0x90000
};

struct attacker {
	struct victim *v;
	atomic_bool stop;
	atomic_int blows;
	uint64_t seed;
};

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Volatile: the writes must happen, in pieces, while the device reads. */
static void *rewrite(void *data)
{
	static const uint64_t addresses[] = { BUFFER, FAKE_LOW_LEN - 8,
					      FAKE_LOW_LEN, UINT64_MAX - 8,
					      FAKE_HIGH_GPA };
	struct attacker *a = data;
	struct victim *v = a->v;
	volatile struct vring_desc *table = fake_ptr(&v->d, TABLE, 64);
	volatile struct vring_desc *ring = fake_desc(&v->d, v->queue, 0);
	volatile uint64_t *sector = fake_ptr(&v->d, BUFFER + 8, 8);
	volatile uint32_t *type = fake_ptr(&v->d, BUFFER, 4);

	while (!atomic_load(&a->stop)) {
		uint64_t r = next_random(&a->seed);
		volatile struct vring_desc *desc = r & 1 ? table : ring;

		desc += (r >> 1) & 3;
		atomic_fetch_add(&a->blows, 1);
		switch ((r >> 3) & 7) {
		case 0:
		case 1:
			desc->addr = addresses[(r >> 6) % 5];
			break;
		case 2:
			desc->len = (uint32_t)(r >> 6) & 0xfff;
			break;
		case 3:
			desc->flags = (uint16_t)(r >> 6) & 7;
			break;
		case 4:
			desc->next = (uint16_t)(r >> 6) & 7;
			break;
		case 5:
			*sector = (r >> 6) & 511;
			break;
		case 6:
			*type = (uint32_t)(r >> 6) & 15;
			break;
		default:
			/* Now and then an honest one, so that work is done. */
			desc->addr = BUFFER;
			desc->len = 16;
			break;
		}
	}
	return NULL;
}

/* An honest request (for each kind of device) in four descriptors at `at`. */
static void put_request(struct vring_desc *at)
{
	enum {
		F_NEXT = VRING_DESC_F_NEXT,
		F_WRITE = VRING_DESC_F_WRITE
	};

	at[0] = (struct vring_desc){ BUFFER, 16, F_NEXT, 1 };
	at[1] = (struct vring_desc){ BUFFER + 64, 512, F_NEXT | F_WRITE, 2 };
	at[2] = (struct vring_desc){ BUFFER + 600, 7, F_NEXT | F_WRITE, 3 };
	at[3] = (struct vring_desc){ BUFFER + 900, 1, F_WRITE, 0 };
}

static void race(enum victim_kind kind)
{
	struct victim v;
	struct attacker a = { .v = &v, .seed = 0x9e3779b97f4a7c15 };
	struct fake_used used;
	unsigned served = 0;
	pthread_t thread;

	victim_init(&v, kind);
	fake_driver_start(&v.d, ~0ull);
	assert_int_equal(pthread_create(&thread, NULL, rewrite, &a), 0);
	/* Few requests served: nothing of the device was under attack yet. */
	for (int round = 0;
	     atomic_load(&a.blows) < BLOWS || served <= SERVED_MIN; round++) {
		uint16_t q = v.queue;

		assert_true(round < ROUNDS_MAX);
		put_request(fake_desc(&v.d, q, 0));
		put_request(fake_ptr(&v.d, TABLE, 64));
		fake_put_desc(&v.d, q, 4,
			      (struct vring_desc){ TABLE, 64,
						   VRING_DESC_F_INDIRECT, 0 });
		fake_offer(&v.d, q, round & 1 ? 4 : 0);
		fake_kick(&v.d, q);
		while (fake_take_used(&v.d, q, &used))
			served++;
		if (fake_needs_reset(&v.d)) {
			/* The same rings again, without their memory moving. */
			*fake_avail_idx(&v.d, q) = 0;
			*fake_used_idx(&v.d, q) = 0;
			v.d.next_free = 4096;
			fake_driver_start(&v.d, ~0ull);
		}
	}
	atomic_store(&a.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(victim_recovers(&v));
	victim_done(&v);
}

static void test_race_block_device_uses_what_it_checked(void **state)
{
	(void)state;
	race(VICTIM_BLK);
}

static void test_race_entropy_device_uses_what_it_checked(void **state)
{
	(void)state;
	race(VICTIM_RNG);
}

static void test_race_console_uses_what_it_checked(void **state)
{
	(void)state;
	race(VICTIM_CONSOLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_race_block_device_uses_what_it_checked),
		cmocka_unit_test(test_race_entropy_device_uses_what_it_checked),
		cmocka_unit_test(test_race_console_uses_what_it_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

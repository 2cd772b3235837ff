/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/blk: what an honest driver sees, a failing host, and moves. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "blk_guest.h"
#include "virtio/blk/blk.h"

static void test_blk_config_tells_the_capacity_in_sectors(void **state)
{
	(void)state;
	assert_int_equal(fake_config(&f.d, 0, 8), DISK_SECTORS);
	assert_int_equal(
		fake_config(&f.d, offsetof(struct virtio_blk_config, seg_max),
			    4),
		254);
}

static void test_blk_write_then_read_gives_the_data(void **state)
{
	uint8_t disk[SECTOR];

	(void)state;
	memset(f.data, 'w', 2L * SECTOR);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_OUT, 3, 2L * SECTOR),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(f.used_len, 1);
	assert_int_equal(pread(f.fd, disk, SECTOR, 4L * SECTOR), SECTOR);
	assert_int_equal(disk[SECTOR - 1], 'w');
	assert_int_equal(pread(f.fd, disk, SECTOR, 5L * SECTOR), SECTOR);
	assert_int_equal(disk[0], 0);
	memset(f.data, 0, DATA_LEN);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_IN, 4, 2L * SECTOR),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(f.used_len, 2L * SECTOR + 1);
	assert_int_equal(f.data[0], 'w');
	assert_int_equal(f.data[SECTOR], 0);
}

static void test_blk_framing_is_of_no_importance(void **state)
{
	struct fake_used used;

	(void)state;
	memset(f.data, 'x', SECTOR);
	blk_guest_put_header(VIRTIO_BLK_T_OUT, 0);
	/* A header in three parts, the last one of them with data behind. */
	memcpy(f.data + 1000, fake_ptr(&f.d, f.header_gpa, 16), 16);
	memset(f.data + 1016, 'y', 12);
	(void)fake_add_indirect(&f.d, 0,
				FAKE_PARTS({ f.data_gpa + 1000, 1, false },
					   { f.data_gpa + 1001, 10, false },
					   { f.data_gpa + 1011, 5 + 12, false },
					   { f.data_gpa, SECTOR - 12, false },
					   { f.status_gpa, 1, true }));
	fake_kick(&f.d, 0);
	assert_true(fake_take_used(&f.d, 0, &used));
	blk_guest_put_header(VIRTIO_BLK_T_IN, 0);
	/* Data and status in one part. */
	(void)fake_add(&f.d, 0,
		       FAKE_PARTS({ f.header_gpa, 16, false },
				  { f.data_gpa, 100, true },
				  { f.data_gpa + 100, SECTOR - 99, true }));
	memset(f.data, 0xee, DATA_LEN);
	fake_kick(&f.d, 0);
	assert_true(fake_take_used(&f.d, 0, &used));
	assert_int_equal(used.len, SECTOR + 1);
	assert_memory_equal(f.data, "yyyyyyyyyyyyx", 13);
	assert_int_equal(f.data[SECTOR - 1], 'x');
	assert_int_equal(f.data[SECTOR], VIRTIO_BLK_S_OK);
	assert_int_equal(f.data[SECTOR + 1], 0xee);
}

static void test_blk_ranges_outside_the_disk_fail(void **state)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT };
	struct stat st;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(blk_guest_request(types[i], DISK_SECTORS - 1,
						   SECTOR),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(blk_guest_request(types[i], DISK_SECTORS,
						   SECTOR),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(blk_guest_request(types[i], DISK_SECTORS - 1,
						   2L * SECTOR),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(blk_guest_request(types[i], UINT64_MAX,
						   SECTOR),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(blk_guest_request(types[i], 1ull << 55,
						   SECTOR),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(blk_guest_request(types[i], 0, SECTOR - 1),
				 VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(f.failures, 0);
	assert_int_equal(fstat(f.fd, &st), 0);
	assert_int_equal(st.st_size, DISK_BYTES + 100);
}

static void test_blk_get_id_gives_the_serial(void **state)
{
	(void)state;
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_GET_ID, 0, 20),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(f.used_len, 21);
	assert_memory_equal(f.data, "disk-0123456789-longer", 20);
	memset(f.data, 'z', 20);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_GET_ID, 0, 4),
			 VIRTIO_BLK_S_OK);
	assert_memory_equal(f.data, "diskzzz", 7);
}

static void test_blk_unknown_requests_are_unsupported(void **state)
{
	(void)state;
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_SCSI_CMD, 0, SECTOR),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_guest_request(UINT32_MAX, 0, 0),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_FLUSH, 0, 0),
			 VIRTIO_BLK_S_OK);
}

/* No quota of our own here: the file size limit stands in for it. */
static void limit_file_size(bool on)
{
	static struct rlimit old;
	struct rlimit small = { 16L * SECTOR, 16L * SECTOR };

	(void)signal(SIGXFSZ, SIG_IGN);
	if (on) {
		assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
		small.rlim_max = old.rlim_max;
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, on ? &small : &old), 0);
}

static void test_blk_full_host_disk_is_an_error_of_the_request(void **state)
{
	(void)state;
	limit_file_size(true);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_OUT, 100, SECTOR),
			 VIRTIO_BLK_S_IOERR);
	limit_file_size(false);
	assert_int_equal(f.failures, 1);
	assert_int_equal(f.failure, EFBIG);
	/* The device is as good as before. */
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_OUT, 100, SECTOR),
			 VIRTIO_BLK_S_OK);
	assert_false(fake_needs_reset(&f.d));
}

static void try_again(void)
{
	f.dev->ops->quiesce(f.dev);
	f.dev->ops->retry(f.dev);
	assert_int_equal(f.dev->in_flight, 0);
	f.dev->ops->resume(f.dev);
}

static void test_blk_full_host_disk_keeps_the_request(void **state)
{
	uint8_t seen[SECTOR];

	(void)state;
	f.keep = true;
	memset(f.data, 'k', SECTOR);
	limit_file_size(true);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_OUT, 100, SECTOR),
			 NO_ANSWER);
	assert_int_equal(f.failures, 1);
	/* The driver's kicks do not ask the full disk again. */
	f.dev->ops->kick(f.dev, 0);
	assert_int_equal(f.failures, 1);
	try_again(); /* too soon: kept again */
	assert_int_equal(f.failures, 2);
	assert_int_equal(*(uint8_t *)fake_ptr(&f.d, f.status_gpa, 1), 0xee);
	limit_file_size(false);
	try_again();
	assert_int_equal(f.failures, 2);
	assert_int_equal(*(uint8_t *)fake_ptr(&f.d, f.status_gpa, 1),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(pread(f.fd, seen, SECTOR, 100L * SECTOR), SECTOR);
	assert_memory_equal(seen, f.data, SECTOR);
	try_again(); /* nothing is kept */
	assert_false(fake_needs_reset(&f.d));
}

static void test_blk_reset_forgets_the_kept_request(void **state)
{
	(void)state;
	f.keep = true;
	limit_file_size(true);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_OUT, 100, SECTOR),
			 NO_ANSWER);
	limit_file_size(false);
	fake_driver_start(&f.d, ~0ull);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_IN, 0, SECTOR),
			 VIRTIO_BLK_S_OK);
}

static void test_blk_shrunk_file_is_an_error_of_the_request(void **state)
{
	(void)state;
	assert_int_equal(ftruncate(f.fd, 4L * SECTOR), 0);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_IN, 3, 4L * SECTOR),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(f.failure, EIO);
	assert_int_equal(f.used_len, 0);
}

static void test_blk_resize_tells_the_driver(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(virtio_blk_resize(f.dev, &e), 0);
	assert_false(f.d.irq);
	assert_int_equal(ftruncate(f.fd, 2L * DISK_BYTES), 0);
	assert_int_equal(virtio_blk_resize(f.dev, &e), 0);
	assert_int_equal(fake_ack(&f.d), VIRTIO_INT_CONFIG);
	assert_int_equal(fake_config(&f.d, 0, 8), 2 * DISK_SECTORS);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_OUT, DISK_SECTORS,
					   SECTOR),
			 VIRTIO_BLK_S_OK);
}

static void test_blk_many_requests_are_done_in_turns(void **state)
{
	struct fake_used used;
	unsigned done = 0;

	(void)state;
	blk_guest_put_header(VIRTIO_BLK_T_FLUSH, 0);
	for (int i = 0; i < 250; i++)
		(void)fake_add_indirect(&f.d, 0,
					FAKE_PARTS({ f.header_gpa, 16, false },
						   { f.status_gpa, 1, true }));
	fake_kick(&f.d, 0);
	while (fake_take_used(&f.d, 0, &used))
		done++;
	/* One turn, then others; the rest comes from the loop, at once. */
	assert_int_equal(done, 64);
	for (unsigned turn = 2; turn <= 4; turn++) {
		assert_int_equal(loop_run_once(f.loop, 0), 1);
		while (fake_take_used(&f.d, 0, &used))
			done++;
		assert_int_equal(done, min_u64(64 * turn, 250));
	}
	assert_int_equal(loop_run_once(f.loop, 0), 0);
	/* Served to the end, it wants kicks again. */
	(void)fake_add(&f.d, 0,
		       FAKE_PARTS({ f.header_gpa, 16, false },
				  { f.status_gpa, 1, true }));
	assert_true(fake_kick_if_wanted(&f.d, 0));
	assert_true(fake_take_used(&f.d, 0, &used));
}

static void test_blk_huge_requests_are_done_in_turns(void **state)
{
	enum {
		LEN = 1 << 20,
		COUNT = 40
	};
	struct fake_used used;
	struct err e = ERR_INIT;
	unsigned done = 0, turns = 0;

	(void)state;
	assert_int_equal(ftruncate(f.fd, LEN), 0);
	assert_int_equal(virtio_blk_resize(f.dev, &e), 0);
	blk_guest_put_header(VIRTIO_BLK_T_IN, 0);
	for (int i = 0; i < COUNT; i++)
		(void)fake_add_indirect(&f.d, 0,
					FAKE_PARTS({ f.header_gpa, 16, false },
						   { FAKE_HIGH_GPA, LEN, true },
						   { f.status_gpa, 1, true }));
	fake_kick(&f.d, 0);
	while (fake_take_used(&f.d, 0, &used))
		done++;
	assert_in_range(done, 1, COUNT - 1);
	while (loop_run_once(f.loop, 0) > 0)
		turns++;
	while (fake_take_used(&f.d, 0, &used))
		done++;
	assert_true(turns >= 2);
	assert_int_equal(done, COUNT);
}

static void test_blk_reset_forgets_the_rest_of_a_turn(void **state)
{
	struct fake_used used;

	(void)state;
	blk_guest_put_header(VIRTIO_BLK_T_FLUSH, 0);
	for (int i = 0; i < 100; i++)
		(void)fake_add(&f.d, 0,
			       FAKE_PARTS({ f.header_gpa, 16, false },
					  { f.status_gpa, 1, true }));
	fake_kick(&f.d, 0);
	fake_reset(&f.d);
	assert_int_equal(loop_run_once(f.loop, 20), 0);
	assert_false(f.d.irq);
	fake_driver_start(&f.d, ~0ull);
	assert_false(fake_take_used(&f.d, 0, &used));
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_FLUSH, 0, 0),
			 VIRTIO_BLK_S_OK);
}

static void test_blk_moved_in_the_middle_goes_on(void **state)
{
	struct err e = ERR_INIT;
	struct fake_used used;
	unsigned done = 0;

	(void)state;
	blk_guest_put_header(VIRTIO_BLK_T_FLUSH, 0);
	for (int i = 0; i < 100; i++)
		(void)fake_add(&f.d, 0,
			       FAKE_PARTS({ f.header_gpa, 16, false },
					  { f.status_gpa, 1, true }));
	fake_kick(&f.d, 0);
	f.dev = blk_guest_make(fcntl(f.fd, F_DUPFD_CLOEXEC, 0), false, true);
	assert_int_equal(fake_move_to(&f.d, f.dev, &e), 0);
	assert_true(f.d.live);
	while (fake_take_used(&f.d, 0, &used))
		done++;
	assert_int_equal(done, 100);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_IN, 0, SECTOR),
			 VIRTIO_BLK_S_OK);
}

static void test_blk_moved_to_another_disk_is_told_or_refused(void **state)
{
	struct err e = ERR_INIT;
	uint32_t generation;

	(void)state;
	generation = fake_read(&f.d, VIRTIO_MMIO_CONFIG_GENERATION);
	assert_int_equal(ftruncate(f.fd, 2L * DISK_BYTES), 0);
	assert_int_equal(
		fake_move_to(&f.d,
			     blk_guest_make(fcntl(f.fd, F_DUPFD_CLOEXEC, 0),
					    false, true),
			     &e),
		0);
	assert_int_equal(fake_ack(&f.d), VIRTIO_INT_CONFIG);
	assert_int_not_equal(fake_read(&f.d, VIRTIO_MMIO_CONFIG_GENERATION),
			     generation);
	assert_int_equal(ftruncate(f.fd, DISK_BYTES), 0);
	assert_true(fake_move_to(&f.d,
				 blk_guest_make(fcntl(f.fd, F_DUPFD_CLOEXEC, 0),
						false, true),
				 &e) < 0);
	assert_string_equal(e.code, "drive_too_small");
}

static void test_blk_moved_where_features_are_missing_is_refused(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	/* The guest flushes; an unsafe device knows no flush. */
	assert_true(fake_move_to(&f.d,
				 blk_guest_make(fcntl(f.fd, F_DUPFD_CLOEXEC, 0),
						false, false),
				 &e) < 0);
	assert_string_equal(e.code, "device_state_invalid");
}

/* Each queue has its own chains and answers; requests are the device's. */
static void test_blk_serves_several_queues(void **state)
{
	uint64_t gpa[BLK_QUEUES_MAX];
	struct fake_used used;

	(void)state;
	fake_driver_done(&f.d);
	loop_free(f.loop);
	(void)close(f.fd);
	blk_guest_queues = BLK_QUEUES_MAX;
	blk_guest_begin(false, true);
	blk_guest_queues = 1;
	assert_true(fake_offered_features(&f.d) & 1ull << VIRTIO_BLK_F_MQ);
	assert_int_equal(
		fake_config(&f.d,
			    offsetof(struct virtio_blk_config, num_queues), 2),
		BLK_QUEUES_MAX);
	fake_driver_start(&f.d, ~0ull);
	for (uint16_t q = 0; q < BLK_QUEUES_MAX; q++) {
		memset(f.data, 'a' + q, SECTOR);
		assert_int_equal(pwrite(f.fd, f.data, SECTOR, q * SECTOR),
				 SECTOR);
		gpa[q] = fake_alloc(&f.d, 16 + SECTOR + 1, 16);
		memcpy(fake_ptr(&f.d, gpa[q], 16),
		       &(struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN,
						    .sector = q },
		       16);
		(void)fake_add(&f.d, q,
			       FAKE_PARTS({ gpa[q], 16, false },
					  { gpa[q] + 16, SECTOR + 1, true }));
	}
	/* Whoever comes looks at all of them. */
	fake_kick(&f.d, BLK_QUEUES_MAX - 1);
	for (uint16_t q = 0; q < BLK_QUEUES_MAX; q++) {
		assert_true(fake_take_used(&f.d, q, &used));
		assert_int_equal(used.len, SECTOR + 1);
		assert_int_equal(*(uint8_t *)fake_ptr(&f.d, gpa[q] + 16, 1),
				 'a' + q);
		assert_false(fake_take_used(&f.d, q, &used));
	}
	assert_true(f.d.irq);
}

static void test_blk_new_refuses_what_is_no_disk(void **state)
{
	struct virtio_blk_setup bad = { .fd = -1, .queues = 1 };
	struct virtio_device *dev = NULL;
	struct err e = ERR_INIT;
	int pipe_fds[2];

	(void)state;
	assert_int_equal(virtio_blk_new(&bad, &f.d.mem, f.loop, &dev, &e),
			 -EBADF);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	bad.fd = pipe_fds[0];
	assert_true(virtio_blk_new(&bad, &f.d.mem, f.loop, &dev, &e) < 0);
	assert_string_equal(e.code, "drive_bad_type");
	assert_null(dev);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
}

#define T(name)                                                \
	cmocka_unit_test_setup_teardown(name, blk_guest_setup, \
					blk_guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_blk_config_tells_the_capacity_in_sectors),
		T(test_blk_write_then_read_gives_the_data),
		T(test_blk_framing_is_of_no_importance),
		T(test_blk_ranges_outside_the_disk_fail),
		T(test_blk_get_id_gives_the_serial),
		T(test_blk_unknown_requests_are_unsupported),
		T(test_blk_full_host_disk_is_an_error_of_the_request),
		T(test_blk_full_host_disk_keeps_the_request),
		T(test_blk_reset_forgets_the_kept_request),
		T(test_blk_shrunk_file_is_an_error_of_the_request),
		T(test_blk_resize_tells_the_driver),
		T(test_blk_many_requests_are_done_in_turns),
		T(test_blk_huge_requests_are_done_in_turns),
		T(test_blk_reset_forgets_the_rest_of_a_turn),
		T(test_blk_moved_in_the_middle_goes_on),
		T(test_blk_moved_to_another_disk_is_told_or_refused),
		T(test_blk_moved_where_features_are_missing_is_refused),
		T(test_blk_serves_several_queues),
		T(test_blk_new_refuses_what_is_no_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/blk over a memfd: what an honest driver sees, and a failing host. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_driver.h"
#include "virtio/blk.h"

enum {
	SECTOR = 512,
	DISK_SECTORS = 256,
	DATA_LEN = 8 * SECTOR,
	/* Answer of request() when the chain did not come back. */
	NO_ANSWER = 0x100
};

struct fixture {
	struct fake_driver d;
	struct loop *loop;
	struct virtio_device *dev;
	int fd; /* a duplicate, to look at the disk */
	uint64_t header_gpa, data_gpa, status_gpa;
	uint8_t *data;
	uint32_t used_len;
	/* What io_failed was told. */
	unsigned failures;
	int failure;
};

static struct fixture f;

static void on_io_failed(void *ctx, const char *operation, int sys)
{
	assert_ptr_equal(ctx, &f);
	assert_non_null(operation);
	f.failures++;
	f.failure = sys;
}

static struct virtio_device *make(int fd, bool read_only, bool durable)
{
	struct virtio_blk_setup setup = {
		.fd = fd,
		.read_only = read_only,
		.durable = durable,
		.serial = "disk-0123456789-longer-than-20",
		.io_failed = on_io_failed,
		.ctx = &f,
	};
	struct virtio_device *dev = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(virtio_blk_new(&setup, &f.d.mem, f.loop, &dev, &e), 0);
	return dev;
}

static void begin(bool read_only, bool durable)
{
	f = (struct fixture){ .fd = memfd_create("disk", MFD_CLOEXEC) };
	assert_true(f.fd >= 0);
	assert_int_equal(ftruncate(f.fd, DISK_SECTORS * SECTOR + 100), 0);
	f.loop = loop_new(NULL);
	assert_non_null(f.loop);
	fake_driver_init(&f.d);
	f.dev = make(dup(f.fd), read_only, durable);
	fake_driver_attach(&f.d, f.dev);
	f.header_gpa = fake_alloc(&f.d, sizeof(struct virtio_blk_outhdr), 1);
	f.status_gpa = fake_alloc(&f.d, 1, 1);
	f.data_gpa = fake_alloc(&f.d, DATA_LEN, 1);
	f.data = fake_ptr(&f.d, f.data_gpa, DATA_LEN);
}

static int setup(void **state)
{
	(void)state;
	begin(false, true);
	fake_driver_start(&f.d, ~0ull);
	return 0;
}

static int setup_raw(void **state)
{
	(void)state;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_driver_done(&f.d);
	loop_free(f.loop);
	(void)close(f.fd);
	return 0;
}

static void put_header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };

	memcpy(fake_ptr(&f.d, f.header_gpa, sizeof(header)), &header,
	       sizeof(header));
	*(uint8_t *)fake_ptr(&f.d, f.status_gpa, 1) = 0xee;
}

/* The status of a request with len bytes of data in f.data. */
static unsigned request(uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct fake_used used;

	put_header(type, sector);
	(void)fake_add(&f.d, 0,
		       FAKE_PARTS({ f.header_gpa, 16, false },
				  { f.data_gpa, len, in },
				  { f.status_gpa, 1, true }));
	fake_kick(&f.d, 0);
	if (!fake_take_used(&f.d, 0, &used))
		return NO_ANSWER;
	f.used_len = used.len;
	return *(uint8_t *)fake_ptr(&f.d, f.status_gpa, 1);
}

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
	memset(f.data, 'w', 2 * SECTOR);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 3, 2 * SECTOR),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(f.used_len, 1);
	assert_int_equal(pread(f.fd, disk, SECTOR, 4 * SECTOR), SECTOR);
	assert_int_equal(disk[SECTOR - 1], 'w');
	assert_int_equal(pread(f.fd, disk, SECTOR, 5 * SECTOR), SECTOR);
	assert_int_equal(disk[0], 0);
	memset(f.data, 0, DATA_LEN);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 4, 2 * SECTOR),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(f.used_len, 2 * SECTOR + 1);
	assert_int_equal(f.data[0], 'w');
	assert_int_equal(f.data[SECTOR], 0);
}

static void test_blk_framing_is_of_no_importance(void **state)
{
	struct fake_used used;

	(void)state;
	memset(f.data, 'x', SECTOR);
	put_header(VIRTIO_BLK_T_OUT, 0);
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
	put_header(VIRTIO_BLK_T_IN, 0);
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
		assert_int_equal(request(types[i], DISK_SECTORS - 1, SECTOR),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(request(types[i], DISK_SECTORS, SECTOR),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(types[i], DISK_SECTORS - 1,
					 2 * SECTOR),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(types[i], UINT64_MAX, SECTOR),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(types[i], 1ull << 55, SECTOR),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(types[i], 0, SECTOR - 1),
				 VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(f.failures, 0);
	assert_int_equal(fstat(f.fd, &st), 0);
	assert_int_equal(st.st_size, DISK_SECTORS * SECTOR + 100);
}

static void test_blk_get_id_gives_the_serial(void **state)
{
	(void)state;
	assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	assert_int_equal(f.used_len, 21);
	assert_memory_equal(f.data, "disk-0123456789-longer", 20);
	memset(f.data, 'z', 20);
	assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, 4), VIRTIO_BLK_S_OK);
	assert_memory_equal(f.data, "diskzzz", 7);
}

static void test_blk_unknown_requests_are_unsupported(void **state)
{
	(void)state;
	assert_int_equal(request(VIRTIO_BLK_T_SCSI_CMD, 0, SECTOR),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(UINT32_MAX, 0, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
}

static void put_range(size_t i, uint64_t sector, uint32_t sectors,
		      uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes r = { .sector = sector,
						     .num_sectors = sectors,
						     .flags = flags };

	memcpy(f.data + i * sizeof(r), &r, sizeof(r));
}

static void fill_disk(void)
{
	uint8_t sector[SECTOR];

	memset(sector, 'f', SECTOR);
	for (int i = 0; i < DISK_SECTORS; i++)
		assert_int_equal(pwrite(f.fd, sector, SECTOR, i * SECTOR),
				 SECTOR);
}

static uint8_t disk_byte(uint64_t offset)
{
	uint8_t byte = 0xee;

	assert_int_equal(pread(f.fd, &byte, 1, (off_t)offset), 1);
	return byte;
}

static void test_blk_discard_gives_blocks_back(void **state)
{
	struct stat before, after;

	(void)state;
	fill_disk();
	assert_int_equal(fstat(f.fd, &before), 0);
	put_range(0, 8, 64, 0);
	put_range(1, 128, 64, 0);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 32), VIRTIO_BLK_S_OK);
	assert_int_equal(fstat(f.fd, &after), 0);
	assert_true(after.st_blocks < before.st_blocks);
	assert_int_equal(after.st_size, before.st_size);
	assert_int_equal(disk_byte(8 * SECTOR), 0);
	assert_int_equal(disk_byte(128 * SECTOR), 0);
	assert_int_equal(disk_byte(72 * SECTOR), 'f');
}

static void test_blk_write_zeroes_zeroes_exactly_the_range(void **state)
{
	(void)state;
	for (uint32_t flags = 0; flags < 2; flags++) {
		fill_disk();
		put_range(0, 5, 150, flags);
		assert_int_equal(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(disk_byte(5 * SECTOR - 1), 'f');
		assert_int_equal(disk_byte(5 * SECTOR), 0);
		assert_int_equal(disk_byte(155 * SECTOR - 1), 0);
		assert_int_equal(disk_byte(155 * SECTOR), 'f');
	}
}

static void test_blk_bad_ranges_change_nothing(void **state)
{
	(void)state;
	fill_disk();
	/* A good range in front of a bad one is not executed either. */
	put_range(0, 0, 8, 0);
	put_range(1, DISK_SECTORS - 1, 2, 0);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 32),
			 VIRTIO_BLK_S_IOERR);
	put_range(1, UINT64_MAX, UINT32_MAX, 0);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 32),
			 VIRTIO_BLK_S_IOERR);
	/* UNMAP is for write zeroes only; other flags are for nobody. */
	put_range(0, 0, 8, 1);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	put_range(0, 0, 8, 2);
	assert_int_equal(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	put_range(0, 0, 8, 0);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 0),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 17),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 17 * 16),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 2 * 16),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_byte(0), 'f');
	put_range(0, 0, 0, 0);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(disk_byte(0), 'f');
}

static void test_blk_read_only_disk_refuses_all_that_writes(void **state)
{
	uint64_t offered;

	(void)state;
	begin(true, true);
	fill_disk();
	fake_driver_start(&f.d, ~0ull);
	offered = fake_offered_features(&f.d);
	assert_true(offered & 1ull << VIRTIO_BLK_F_RO);
	assert_false(offered & 1ull << VIRTIO_BLK_F_DISCARD);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, SECTOR),
			 VIRTIO_BLK_S_IOERR);
	put_range(0, 0, 8, 0);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(disk_byte(0), 'f');
}

static void test_blk_features_not_negotiated_are_unsupported(void **state)
{
	(void)state;
	begin(false, false);
	/* An unsafe disk has nothing to flush. */
	assert_false(fake_offered_features(&f.d) & 1ull << VIRTIO_BLK_F_FLUSH);
	fake_driver_start(&f.d, 0);
	put_range(0, 0, 8, 0);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
}

static void test_blk_full_host_disk_is_an_error_of_the_request(void **state)
{
	struct rlimit old, small = { SECTOR * 16, SECTOR * 16 };

	(void)state;
	/* No quota of our own here: the file size limit stands in for it. */
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 100, SECTOR),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(f.failures, 1);
	assert_int_equal(f.failure, EFBIG);
	/* The device is as good as before. */
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 100, SECTOR),
			 VIRTIO_BLK_S_OK);
	assert_false(fake_needs_reset(&f.d));
}

static void test_blk_shrunk_file_is_an_error_of_the_request(void **state)
{
	(void)state;
	assert_int_equal(ftruncate(f.fd, 4 * SECTOR), 0);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 3, 4 * SECTOR),
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
	assert_int_equal(ftruncate(f.fd, 2 * DISK_SECTORS * SECTOR), 0);
	assert_int_equal(virtio_blk_resize(f.dev, &e), 0);
	assert_int_equal(fake_ack(&f.d), VIRTIO_INT_CONFIG);
	assert_int_equal(fake_config(&f.d, 0, 8), 2 * DISK_SECTORS);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, DISK_SECTORS, SECTOR),
			 VIRTIO_BLK_S_OK);
}

static void test_blk_many_requests_are_done_in_turns(void **state)
{
	struct fake_used used;
	unsigned done = 0;

	(void)state;
	put_header(VIRTIO_BLK_T_FLUSH, 0);
	for (int i = 0; i < 100; i++)
		(void)fake_add(&f.d, 0,
			       FAKE_PARTS({ f.header_gpa, 16, false },
					  { f.status_gpa, 1, true }));
	fake_kick(&f.d, 0);
	while (fake_take_used(&f.d, 0, &used))
		done++;
	/* One turn, then others; the rest comes from the loop. */
	assert_int_equal(done, 64);
	while (done < 100) {
		assert_true(loop_run_once(f.loop, 1000) > 0);
		while (fake_take_used(&f.d, 0, &used))
			done++;
	}
	/* Served to the end, it wants kicks again. */
	(void)fake_add(&f.d, 0,
		       FAKE_PARTS({ f.header_gpa, 16, false },
				  { f.status_gpa, 1, true }));
	assert_true(fake_kick_if_wanted(&f.d, 0));
	assert_true(fake_take_used(&f.d, 0, &used));
}

static void test_blk_reset_forgets_the_rest_of_a_turn(void **state)
{
	struct fake_used used;

	(void)state;
	put_header(VIRTIO_BLK_T_FLUSH, 0);
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
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
}

static void test_blk_moved_in_the_middle_goes_on(void **state)
{
	struct err e = ERR_INIT;
	struct fake_used used;
	unsigned done = 0;

	(void)state;
	put_header(VIRTIO_BLK_T_FLUSH, 0);
	for (int i = 0; i < 100; i++)
		(void)fake_add(&f.d, 0,
			       FAKE_PARTS({ f.header_gpa, 16, false },
					  { f.status_gpa, 1, true }));
	fake_kick(&f.d, 0);
	f.dev = make(dup(f.fd), false, true);
	assert_int_equal(fake_move_to(&f.d, f.dev, &e), 0);
	assert_true(f.d.live);
	while (fake_take_used(&f.d, 0, &used))
		done++;
	assert_int_equal(done, 100);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, SECTOR), VIRTIO_BLK_S_OK);
}

static void test_blk_moved_to_another_disk_is_told_or_refused(void **state)
{
	struct err e = ERR_INIT;
	uint32_t generation;

	(void)state;
	generation = fake_read(&f.d, VIRTIO_MMIO_CONFIG_GENERATION);
	assert_int_equal(ftruncate(f.fd, 2 * DISK_SECTORS * SECTOR), 0);
	assert_int_equal(fake_move_to(&f.d, make(dup(f.fd), false, true), &e),
			 0);
	assert_int_equal(fake_ack(&f.d), VIRTIO_INT_CONFIG);
	assert_int_not_equal(fake_read(&f.d, VIRTIO_MMIO_CONFIG_GENERATION),
			     generation);
	assert_int_equal(ftruncate(f.fd, DISK_SECTORS * SECTOR), 0);
	assert_true(fake_move_to(&f.d, make(dup(f.fd), false, true), &e) < 0);
	assert_string_equal(e.code, "drive_too_small");
}

static void test_blk_moved_where_features_are_missing_is_refused(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	/* The guest flushes; an unsafe device knows no flush. */
	assert_true(fake_move_to(&f.d, make(dup(f.fd), false, false), &e) < 0);
	assert_string_equal(e.code, "device_state_invalid");
}

static void test_blk_new_refuses_what_is_no_disk(void **state)
{
	struct virtio_blk_setup bad = { .fd = -1 };
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

#define T(name)	    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T_RAW(name) cmocka_unit_test_setup_teardown(name, setup_raw, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_blk_config_tells_the_capacity_in_sectors),
		T(test_blk_write_then_read_gives_the_data),
		T(test_blk_framing_is_of_no_importance),
		T(test_blk_ranges_outside_the_disk_fail),
		T(test_blk_get_id_gives_the_serial),
		T(test_blk_unknown_requests_are_unsupported),
		T(test_blk_discard_gives_blocks_back),
		T(test_blk_write_zeroes_zeroes_exactly_the_range),
		T(test_blk_bad_ranges_change_nothing),
		T_RAW(test_blk_read_only_disk_refuses_all_that_writes),
		T_RAW(test_blk_features_not_negotiated_are_unsupported),
		T(test_blk_full_host_disk_is_an_error_of_the_request),
		T(test_blk_shrunk_file_is_an_error_of_the_request),
		T(test_blk_resize_tells_the_driver),
		T(test_blk_many_requests_are_done_in_turns),
		T(test_blk_reset_forgets_the_rest_of_a_turn),
		T(test_blk_moved_in_the_middle_goes_on),
		T(test_blk_moved_to_another_disk_is_told_or_refused),
		T(test_blk_moved_where_features_are_missing_is_refused),
		T(test_blk_new_refuses_what_is_no_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

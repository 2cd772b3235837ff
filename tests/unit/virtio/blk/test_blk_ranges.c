/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/blk: discard, write zeroes, and disks that allow neither. */
#include "tests/unit/test.h"

#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk_guest.h"

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
		assert_int_equal(pwrite(f.fd, sector, SECTOR,
					(off_t)i * SECTOR),
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
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 32),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(fstat(f.fd, &after), 0);
	assert_true(after.st_blocks < before.st_blocks);
	assert_int_equal(after.st_size, before.st_size);
	assert_int_equal(disk_byte(8L * SECTOR), 0);
	assert_int_equal(disk_byte(128L * SECTOR), 0);
	assert_int_equal(disk_byte(72L * SECTOR), 'f');
}

static void test_blk_write_zeroes_zeroes_exactly_the_range(void **state)
{
	(void)state;
	for (uint32_t flags = 0; flags < 2; flags++) {
		fill_disk();
		put_range(0, 5, 150, flags);
		assert_int_equal(blk_guest_request(VIRTIO_BLK_T_WRITE_ZEROES, 0,
						   16),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(disk_byte(5L * SECTOR - 1), 'f');
		assert_int_equal(disk_byte(5L * SECTOR), 0);
		assert_int_equal(disk_byte(155L * SECTOR - 1), 0);
		assert_int_equal(disk_byte(155L * SECTOR), 'f');
	}
}

static void test_blk_bad_ranges_change_nothing(void **state)
{
	(void)state;
	fill_disk();
	/* A good range in front of a bad one is not executed either. */
	put_range(0, 0, 8, 0);
	put_range(1, DISK_SECTORS - 1, 2, 0);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 32),
			 VIRTIO_BLK_S_IOERR);
	put_range(1, UINT64_MAX, UINT32_MAX, 0);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 32),
			 VIRTIO_BLK_S_IOERR);
	/* UNMAP is for write zeroes only; other flags are for nobody. */
	put_range(0, 0, 8, 1);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	put_range(0, 0, 8, 2);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	put_range(0, 0, 8, 0);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 0),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 17),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 17 * 16),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_WRITE_ZEROES, 0,
					   2 * 16),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(disk_byte(0), 'f');
	put_range(0, 0, 0, 0);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 16),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(disk_byte(0), 'f');
}

static void test_blk_read_only_disk_refuses_all_that_writes(void **state)
{
	uint64_t offered;

	(void)state;
	blk_guest_begin(true, true);
	fill_disk();
	fake_driver_start(&f.d, ~0ull);
	offered = fake_offered_features(&f.d);
	assert_true(offered & 1ull << VIRTIO_BLK_F_RO);
	assert_false(offered & 1ull << VIRTIO_BLK_F_DISCARD);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_IN, 0, SECTOR),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_OUT, 0, SECTOR),
			 VIRTIO_BLK_S_IOERR);
	put_range(0, 0, 8, 0);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(disk_byte(0), 'f');
}

static void test_blk_features_not_negotiated_are_unsupported(void **state)
{
	(void)state;
	blk_guest_begin(false, false);
	/* An unsafe disk has nothing to flush. */
	assert_false(fake_offered_features(&f.d) & 1ull << VIRTIO_BLK_F_FLUSH);
	fake_driver_start(&f.d, 0);
	put_range(0, 0, 8, 0);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_DISCARD, 0, 16),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_guest_request(VIRTIO_BLK_T_FLUSH, 0, 0),
			 VIRTIO_BLK_S_OK);
}

#define T(name)                                                \
	cmocka_unit_test_setup_teardown(name, blk_guest_setup, \
					blk_guest_teardown)
#define T_RAW(name)                                                    \
	cmocka_unit_test_setup_teardown(name, blk_guest_setup_nothing, \
					blk_guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_blk_discard_gives_blocks_back),
		T(test_blk_write_zeroes_zeroes_exactly_the_range),
		T(test_blk_bad_ranges_change_nothing),
		T_RAW(test_blk_read_only_disk_refuses_all_that_writes),
		T_RAW(test_blk_features_not_negotiated_are_unsupported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See blk_guest.h. */
#include "tests/unit/test.h"

#include "blk_guest.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio/blk/blk.h"

struct blk_guest f;
enum virtio_blk_kind blk_guest_engine = VIRTIO_BLK_THREADS;
unsigned blk_guest_queues = 1;

static bool on_io_failed(void *ctx, const char *operation, int sys)
{
	assert_ptr_equal(ctx, &f);
	assert_non_null(operation);
	f.failures++;
	f.failure = sys;
	return f.keep;
}

struct virtio_device *blk_guest_make(int fd, bool read_only, bool durable)
{
	struct virtio_blk_setup setup = {
		.fd = fd,
		.read_only = read_only,
		.durable = durable,
		.serial = "disk-0123456789-longer-than-20",
		.engine = f.engine,
		.queues = blk_guest_queues,
		.threads = THREADS,
		.io_failed = on_io_failed,
		.ctx = &f,
	};
	struct virtio_device *dev = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(virtio_blk_new(&setup, &f.d.mem, f.loop, &dev, &e), 0);
	return dev;
}

void blk_guest_begin(bool read_only, bool durable)
{
	f = (struct blk_guest){ .fd = memfd_create("disk", MFD_CLOEXEC),
				.engine = blk_guest_engine };
	assert_true(f.fd >= 0);
	assert_int_equal(ftruncate(f.fd, DISK_BYTES + 100), 0);
	f.loop = loop_new(NULL);
	assert_non_null(f.loop);
	fake_driver_init(&f.d);
	f.dev = blk_guest_make(fcntl(f.fd, F_DUPFD_CLOEXEC, 0), read_only,
			       durable);
	fake_driver_attach(&f.d, f.dev);
	f.header_gpa = fake_alloc(&f.d, sizeof(struct virtio_blk_outhdr), 1);
	f.status_gpa = fake_alloc(&f.d, 1, 1);
	f.data_gpa = fake_alloc(&f.d, DATA_LEN, 1);
	f.data = fake_ptr(&f.d, f.data_gpa, DATA_LEN);
}

int blk_guest_setup(void **state)
{
	(void)state;
	blk_guest_begin(false, true);
	fake_driver_start(&f.d, ~0ull);
	return 0;
}

int blk_guest_setup_nothing(void **state)
{
	(void)state;
	return 0;
}

int blk_guest_teardown(void **state)
{
	(void)state;
	fake_driver_done(&f.d);
	loop_free(f.loop);
	(void)close(f.fd);
	return 0;
}

void blk_guest_put_header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };

	memcpy(fake_ptr(&f.d, f.header_gpa, sizeof(header)), &header,
	       sizeof(header));
	*(uint8_t *)fake_ptr(&f.d, f.status_gpa, 1) = 0xee;
}

/* The status of a request with len bytes of data in f.data. */
unsigned blk_guest_request(uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct fake_used used;

	blk_guest_put_header(type, sector);
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

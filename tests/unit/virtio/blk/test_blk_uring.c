/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio/blk on io_uring: what the ring lets through, and the device with it.
 * Results wait at a gate of the test (uring_take() is wrapped), which lets them
 * through in the order that a test wants. Skipped where the host has no io_uring
 * for us.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "blk_guest.h"
#include "virtio/blk/uring.h"

enum {
	WAIT_S = 20,
	HELD_MAX = 256
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int kick_fd = -1;

/* Of the drive's thread, under the machine lock. */
static struct {
	bool closed, backwards;
	struct {
		void *tag;
		int result;
	} held[HELD_MAX];
	unsigned count;
} gate;

bool __real_uring_take(struct uring *u, void **ret_tag, int *ret_result);
bool __wrap_uring_take(struct uring *u, void **ret_tag, int *ret_result);

bool __wrap_uring_take(struct uring *u, void **ret_tag, int *ret_result)
{
	while (gate.count < HELD_MAX &&
	       __real_uring_take(u, &gate.held[gate.count].tag,
				 &gate.held[gate.count].result))
		gate.count++;
	if (gate.closed || !gate.count)
		return false;
	if (!gate.backwards) {
		*ret_tag = gate.held[0].tag;
		*ret_result = gate.held[0].result;
		memmove(&gate.held[0], &gate.held[1],
			--gate.count * sizeof(gate.held[0]));
		return true;
	}
	gate.count--;
	*ret_tag = gate.held[gate.count].tag;
	*ret_result = gate.held[gate.count].result;
	return true;
}

static void take_lock(void)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_S;
	assert_int_equal(pthread_mutex_timedlock(&lock, &end), 0);
}

static void give_lock(void)
{
	(void)pthread_mutex_unlock(&lock);
}

/* Lock held, released in between; the thread is woken to look at the gate. */
#define WAIT_UNTIL(condition)                           \
	do {                                            \
		time_t end_ = time(NULL) + WAIT_S;      \
		while (!(condition)) {                  \
			kick();                         \
			give_lock();                    \
			assert_true(time(NULL) < end_); \
			(void)usleep(200);              \
			take_lock();                    \
		}                                       \
	} while (0)

/* As KVM does for a driver: the engine's own thread sees it. */
static void kick(void)
{
	uint64_t one = 1;

	assert_int_equal(write(kick_fd, &one, sizeof(one)), sizeof(one));
}

static uint16_t add(uint32_t type, uint64_t sector, uint64_t data_gpa,
		    uint8_t **ret_status)
{
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	uint64_t header_gpa = fake_alloc(&f.d, sizeof(header), 1);
	uint64_t status_gpa = fake_alloc(&f.d, 1, 1);
	uint32_t len = type == VIRTIO_BLK_T_FLUSH ? 0 : SECTOR;

	memcpy(fake_ptr(&f.d, header_gpa, sizeof(header)), &header,
	       sizeof(header));
	*ret_status = fake_ptr(&f.d, status_gpa, 1);
	**ret_status = 0xee;
	return fake_add_indirect(
		&f.d, 0,
		FAKE_PARTS({ header_gpa, sizeof(header), false },
			   { data_gpa, len, type == VIRTIO_BLK_T_IN },
			   { status_gpa, 1, true }));
}

static int setup(void **state)
{
	struct blk_start start = { .lock = &lock,
				   .kick_fds = &kick_fd,
				   .kick_count = 1 };

	(void)state;
	memset(&gate, 0, sizeof(gate));
	blk_guest_engine = VIRTIO_BLK_URING;
	blk_guest_begin(false, true);
	kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(kick_fd >= 0);
	assert_string_equal(virtio_blk_engine(f.dev), "io_uring");
	assert_true(virtio_blk_by_ring(f.dev));
	assert_int_equal(virtio_blk_start(f.dev, &start, NULL), 0);
	take_lock();
	fake_driver_start(&f.d, ~0ull);
	return 0;
}

static int teardown(void **state)
{
	gate.closed = false;
	kick();
	give_lock();
	(void)blk_guest_teardown(state);
	(void)close(kick_fd);
	return 0;
}

static void test_uring_refuses_all_but_its_file(void **state)
{
	struct iovec part = { .iov_base = (char[8]){ 0 }, .iov_len = 8 };
	struct blk_op op = { .kind = BLK_OP_READ, .iov = &part, .count = 1 };
	struct err e = ERR_INIT;
	struct io_uring_sqe *sqe;
	struct uring u;
	int result, fd = memfd_create("disk", MFD_CLOEXEC);
	void *tag;

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(uring_open(&u, fd, 8, &e), 0);
	for (int i = 0; i < 5; i++) {
		assert_true(uring_put(&u, &op, &op));
		sqe = &u.sqes[(*u.sq_tail - 1) & u.sq_mask];
		if (i == 1) { /* any descriptor */
			sqe->flags = 0;
			sqe->fd = fd;
		} else if (i == 2) { /* another file */
			sqe->fd = 1;
		} else if (i == 3) {
			sqe->opcode = IORING_OP_OPENAT;
		} else if (i == 4) {
			sqe->opcode = IORING_OP_SOCKET;
		}
		assert_int_equal(uring_enter(&u), 0);
		while (!__real_uring_take(&u, &tag, &result))
			(void)usleep(100);
		assert_ptr_equal(tag, &op);
		if (i == 0)
			assert_int_equal(result, 8);
		else
			assert_true(result == -EACCES || result == -EBADF ||
				    result == -EINVAL);
	}
	/* Nothing can be registered any more, not another file either. */
	assert_int_equal(syscall(SYS_io_uring_register, u.fd,
				 IORING_REGISTER_FILES, &fd, 1),
			 -1);
	assert_int_equal(errno, EACCES);
	uring_close(&u);
	(void)close(fd);
}

static void test_uring_reads_writes_and_zeroes(void **state)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = 9,
							 .num_sectors = 1 };
	uint8_t *status, disk[SECTOR];

	(void)state;
	memset(f.data, 'w', SECTOR);
	(void)add(VIRTIO_BLK_T_OUT, 9, f.data_gpa, &status);
	kick();
	WAIT_UNTIL(*status != 0xee);
	assert_int_equal(*status, VIRTIO_BLK_S_OK);
	assert_int_equal(pread(f.fd, disk, SECTOR, 9L * SECTOR), SECTOR);
	assert_int_equal(disk[SECTOR - 1], 'w');
	memset(f.data, 0, SECTOR);
	(void)add(VIRTIO_BLK_T_IN, 9, f.data_gpa, &status);
	kick();
	WAIT_UNTIL(*status != 0xee);
	assert_int_equal(f.data[0], 'w');
	(void)add(VIRTIO_BLK_T_FLUSH, 0, f.data_gpa, &status);
	kick();
	WAIT_UNTIL(*status != 0xee);
	assert_int_equal(*status, VIRTIO_BLK_S_OK);
	/* A memfd knows no zero ranges: they are written. */
	memcpy(f.data, &range, sizeof(range));
	assert_int_equal(f.dev->in_flight, 0);
	blk_guest_put_header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
	status = fake_ptr(&f.d, f.status_gpa, 1);
	(void)fake_add(&f.d, 0,
		       FAKE_PARTS({ f.header_gpa, 16, false },
				  { f.data_gpa, sizeof(range), false },
				  { f.status_gpa, 1, true }));
	kick();
	WAIT_UNTIL(*status != 0xee);
	assert_int_equal(*status, VIRTIO_BLK_S_OK);
	assert_int_equal(pread(f.fd, disk, SECTOR, 9L * SECTOR), SECTOR);
	assert_int_equal(disk[0], 0);
	assert_true(f.d.irq);
}

/* 128 and more, and answers in any order. */
static void test_uring_has_many_in_flight_out_of_order(void **state)
{
	enum {
		COUNT = 200
	};
	uint8_t *status[COUNT];
	uint64_t gpa[COUNT];
	uint16_t heads[COUNT];
	struct fake_used used;

	(void)state;
	for (unsigned i = 0; i < COUNT; i++) {
		memset(f.data, (int)i + 1, SECTOR);
		assert_int_equal(pwrite(f.fd, f.data, SECTOR, i * SECTOR),
				 SECTOR);
	}
	gate.closed = true;
	for (unsigned i = 0; i < COUNT; i++) {
		gpa[i] = fake_alloc(&f.d, SECTOR, 1);
		heads[i] = add(VIRTIO_BLK_T_IN, i, gpa[i], &status[i]);
	}
	kick();
	WAIT_UNTIL(gate.count == COUNT);
	assert_int_equal(f.dev->in_flight, COUNT);
	assert_false(fake_take_used(&f.d, 0, &used));
	gate.backwards = true;
	gate.closed = false;
	WAIT_UNTIL(f.dev->in_flight == 0);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_true(fake_take_used(&f.d, 0, &used));
		assert_int_equal(used.len, SECTOR + 1);
		if (i == 0)
			assert_int_not_equal(used.id, heads[0]);
		assert_int_equal(*status[i], VIRTIO_BLK_S_OK);
		assert_int_equal(*(uint8_t *)fake_ptr(&f.d, gpa[i], SECTOR),
				 (uint8_t)(i + 1));
	}
	/* One message for all of them, or a few. */
	assert_in_range(f.d.irq_messages, 1, 20);
}

static void test_uring_pause_drains(void **state)
{
	uint8_t *first, *second;

	(void)state;
	gate.closed = true;
	(void)add(VIRTIO_BLK_T_FLUSH, 0, f.data_gpa, &first);
	kick();
	WAIT_UNTIL(gate.count == 1);
	f.dev->ops->quiesce(f.dev);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, f.data_gpa, &second);
	kick();
	assert_int_equal(f.dev->in_flight, 1);
	gate.closed = false;
	WAIT_UNTIL(f.dev->in_flight == 0);
	assert_int_equal(*first, VIRTIO_BLK_S_OK);
	assert_int_equal(*second, 0xee);
	f.dev->ops->resume(f.dev);
	WAIT_UNTIL(*second == VIRTIO_BLK_S_OK);
}

static void test_uring_reset_is_done_when_all_are_back(void **state)
{
	uint8_t *status[10];

	(void)state;
	gate.closed = true;
	for (int i = 0; i < 10; i++)
		(void)add(VIRTIO_BLK_T_FLUSH, 0, f.data_gpa, &status[i]);
	kick();
	WAIT_UNTIL(gate.count == 10);
	fake_write(&f.d, VIRTIO_MMIO_STATUS, 0);
	assert_int_not_equal(fake_read(&f.d, VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(f.dev->in_flight, 10);
	gate.closed = false;
	WAIT_UNTIL(!virtio_mmio_busy(&f.d.mmio));
	assert_int_equal(fake_read(&f.d, VIRTIO_MMIO_STATUS), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(*status[i], 0xee);
	fake_driver_start(&f.d, ~0ull);
	(void)add(VIRTIO_BLK_T_FLUSH, 0, f.data_gpa, &status[0]);
	kick();
	WAIT_UNTIL(*status[0] == VIRTIO_BLK_S_OK);
}

static void refuse_held(unsigned count, int result)
{
	for (unsigned i = 0; i < count; i++)
		gate.held[i].result = result;
}

static void test_uring_keeps_what_a_full_disk_refused(void **state)
{
	enum {
		COUNT = 20,
		REFUSED = 7
	};
	uint8_t *status[COUNT], disk[SECTOR];

	(void)state;
	f.keep = true;
	gate.closed = true;
	memset(f.data, 'e', SECTOR);
	for (unsigned i = 0; i < COUNT; i++)
		(void)add(VIRTIO_BLK_T_OUT, i, f.data_gpa, &status[i]);
	kick();
	WAIT_UNTIL(gate.count == COUNT);
	refuse_held(REFUSED, -ENOSPC);
	assert_int_equal(ftruncate(f.fd, 0), 0);
	assert_int_equal(ftruncate(f.fd, DISK_BYTES), 0);
	gate.closed = false;
	WAIT_UNTIL(f.dev->in_flight == 0);
	assert_int_equal(f.failures, REFUSED);
	f.dev->ops->quiesce(f.dev);
	f.dev->ops->retry(f.dev);
	assert_int_equal(f.dev->in_flight, REFUSED);
	WAIT_UNTIL(f.dev->in_flight == 0);
	f.dev->ops->resume(f.dev);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(*status[i], VIRTIO_BLK_S_OK);
	/* They were written anew, and nothing else was. */
	assert_int_equal(pread(f.fd, disk, SECTOR, 0), SECTOR);
	assert_int_equal(disk[SECTOR - 1], 'e');
	assert_int_equal(pread(f.fd, disk, SECTOR, REFUSED * SECTOR), SECTOR);
	assert_int_equal(disk[0], 0);
}

/* A short result, and reasons of the kernel's that pass, are no errors. */
static void test_uring_goes_on_where_it_was_left(void **state)
{
	uint8_t *status;

	(void)state;
	memset(f.data, 's', SECTOR);
	assert_int_equal(pwrite(f.fd, f.data, SECTOR, 0), SECTOR);
	memset(f.data, 0, SECTOR);
	gate.closed = true;
	(void)add(VIRTIO_BLK_T_IN, 0, f.data_gpa, &status);
	kick();
	WAIT_UNTIL(gate.count == 1);
	memset(f.data, 'x', SECTOR);
	gate.held[0].result = 100;
	gate.closed = false;
	WAIT_UNTIL(*status != 0xee);
	assert_int_equal(*status, VIRTIO_BLK_S_OK);
	assert_int_equal(f.data[99], 'x');
	assert_int_equal(f.data[100], 's');
	assert_int_equal(f.data[SECTOR - 1], 's');
	gate.closed = true;
	(void)add(VIRTIO_BLK_T_FLUSH, 0, f.data_gpa, &status);
	kick();
	WAIT_UNTIL(gate.count == 1);
	gate.held[0].result = -EAGAIN;
	gate.closed = false;
	WAIT_UNTIL(*status != 0xee);
	assert_int_equal(*status, VIRTIO_BLK_S_OK);
	assert_int_equal(f.failures, 0);
}

#define U(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uring_refuses_all_but_its_file),
		U(test_uring_reads_writes_and_zeroes),
		U(test_uring_has_many_in_flight_out_of_order),
		U(test_uring_pause_drains),
		U(test_uring_reset_is_done_when_all_are_back),
		U(test_uring_keeps_what_a_full_disk_refused),
		U(test_uring_goes_on_where_it_was_left),
	};
	struct err e = ERR_INIT;
	struct uring probe;
	int fd = memfd_create("probe", MFD_CLOEXEC);

	if (uring_open(&probe, fd, 8, &e) < 0) {
		(void)printf("SKIP no io_uring here: %s\n", e.msg);
		return 77;
	}
	uring_close(&probe);
	(void)close(fd);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

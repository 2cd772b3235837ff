/* SPDX-License-Identifier: Apache-2.0 */
/* See uring.h. */
#include "virtio/blk/uring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"

enum {
	FILE_INDEX = 0 /* of the registered files: there is one */
};

static int refused(struct err *e, const char *what)
{
	int sys = errno;

	return err_set(e, ERR_UNSUPPORTED, "io_uring_unavailable", sys,
		       "%s: %s", what, strerror(sys));
}

static int map(struct uring *u, const struct io_uring_params *p, struct err *e)
{
	size_t sq = p->sq_off.array + p->sq_entries * sizeof(unsigned);
	size_t cq =
		p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	char *at;

	u->rings_len = sq > cq ? sq : cq;
	u->rings = mmap(NULL, u->rings_len, PROT_READ | PROT_WRITE, MAP_SHARED,
			u->fd, IORING_OFF_SQ_RING);
	if (u->rings == MAP_FAILED) {
		u->rings = NULL;
		return refused(e, "mapping the rings");
	}
	u->sqes_len = p->sq_entries * sizeof(struct io_uring_sqe);
	u->sqes = mmap(NULL, u->sqes_len, PROT_READ | PROT_WRITE, MAP_SHARED,
		       u->fd, IORING_OFF_SQES);
	if (u->sqes == MAP_FAILED) {
		u->sqes = NULL;
		return refused(e, "mapping the queue");
	}
	at = u->rings;
	u->entries = p->sq_entries;
	u->sq_head = (unsigned *)(void *)(at + p->sq_off.head);
	u->sq_tail = (unsigned *)(void *)(at + p->sq_off.tail);
	u->sq_array = (unsigned *)(void *)(at + p->sq_off.array);
	u->sq_mask = p->sq_entries - 1;
	u->cq_head = (unsigned *)(void *)(at + p->cq_off.head);
	u->cq_tail = (unsigned *)(void *)(at + p->cq_off.tail);
	u->cq_mask = p->cq_entries - 1;
	u->cqes = (struct io_uring_cqe *)(void *)(at + p->cq_off.cqes);
	return 0;
}

/* The file, then what may be done with it, then nothing else ever. */
static int restrict_to(const struct uring *u, int file, struct err *e)
{
	struct io_uring_restriction r[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_FSYNC },
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_FALLOCATE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
		  .sqe_flags = IOSQE_FIXED_FILE },
	};

	if (syscall(SYS_io_uring_register, u->fd, IORING_REGISTER_FILES, &file,
		    1) < 0)
		return refused(e, "registering the file");
	if (syscall(SYS_io_uring_register, u->fd, IORING_REGISTER_RESTRICTIONS,
		    r, ARRAY_LEN(r)) < 0)
		return refused(e, "restricting the ring");
	if (syscall(SYS_io_uring_register, u->fd, IORING_REGISTER_ENABLE_RINGS,
		    NULL, 0) < 0)
		return refused(e, "enabling the ring");
	return 0;
}

int uring_open(struct uring *u, int file, unsigned entries, struct err *e)
{
	/* One mapping, no result that is lost, lists that are copied: 5.5. */
	const uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
				IORING_FEAT_SUBMIT_STABLE;
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED };
	int rc = 0;

	*u = (struct uring){ .fd = -1 };
	u->fd = (int)syscall(SYS_io_uring_setup, entries, &p);
	if (u->fd < 0)
		return refused(e, "io_uring");
	if ((p.features & needed) != needed) {
		errno = ENOSYS;
		rc = refused(e, "this kernel's io_uring");
	}
	if (rc == 0)
		rc = map(u, &p, e);
	if (rc == 0)
		rc = restrict_to(u, file, e);
	if (rc < 0)
		uring_close(u);
	return rc;
}

void uring_close(struct uring *u)
{
	if (u->sqes)
		(void)munmap(u->sqes, u->sqes_len);
	if (u->rings)
		(void)munmap(u->rings, u->rings_len);
	if (u->fd >= 0)
		(void)close(u->fd);
	*u = (struct uring){ .fd = -1 };
}

static void fill(struct io_uring_sqe *sqe, const struct blk_op *op)
{
	static const uint8_t opcodes[] = {
		[BLK_OP_READ] = IORING_OP_READV,
		[BLK_OP_WRITE] = IORING_OP_WRITEV,
		[BLK_OP_ALLOCATE] = IORING_OP_FALLOCATE,
		[BLK_OP_SYNC] = IORING_OP_FSYNC,
	};

	*sqe = (struct io_uring_sqe){ .opcode = opcodes[op->kind],
				      .flags = IOSQE_FIXED_FILE,
				      .fd = FILE_INDEX,
				      .off = op->offset };
	switch (op->kind) {
	case BLK_OP_READ:
	case BLK_OP_WRITE:
		sqe->addr = (uint64_t)(uintptr_t)op->iov;
		sqe->len = (uint32_t)op->count;
		break;
	case BLK_OP_ALLOCATE: /* length in addr, mode in len */
		sqe->addr = op->len;
		sqe->len = (uint32_t)op->mode;
		break;
	case BLK_OP_SYNC:
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	}
}

bool uring_put(struct uring *u, const struct blk_op *op, void *tag)
{
	unsigned tail = *u->sq_tail; /* ours alone */
	/* Acquire: pairs with the kernel's release when it has taken entries. */
	unsigned head = __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE);
	struct io_uring_sqe *sqe = &u->sqes[tail & u->sq_mask];

	if (tail - head >= u->entries)
		return false;
	fill(sqe, op);
	sqe->user_data = (uint64_t)(uintptr_t)tag;
	u->sq_array[tail & u->sq_mask] = tail & u->sq_mask;
	/* Release: the entry is written before the kernel may see it. */
	__atomic_store_n(u->sq_tail, tail + 1, __ATOMIC_RELEASE);
	u->queued++;
	return true;
}

int uring_enter(struct uring *u)
{
	while (u->queued) {
		long n = syscall(SYS_io_uring_enter, u->fd, u->queued, 0, 0,
				 NULL, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		u->queued -= (unsigned)n;
	}
	return 0;
}

bool uring_ready(const struct uring *u)
{
	return *u->cq_head != __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE);
}

bool uring_take(struct uring *u, void **ret_tag, int *ret_result)
{
	unsigned head = *u->cq_head; /* ours alone */
	const struct io_uring_cqe *cqe = &u->cqes[head & u->cq_mask];

	/* Acquire: pairs with the kernel's release behind the result. */
	if (head == __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	*ret_tag = (void *)(uintptr_t)cqe->user_data;
	*ret_result = cqe->res;
	/* Release: the result was read before its place is used again. */
	__atomic_store_n(u->cq_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device; see blk.h. What a request is, and what it does to the file,
 * is in blk_request.c; here is who does it when.
 */
#include "virtio/blk/blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "virtio/blk/blk_io.h"
#include "virtio/blk/blk_request.h"
#include "virtio/drain.h"
#include "virtio/worker.h"

enum {
	BLK_QUEUE_SIZE = 256,
	BLK_SEG_MAX = BLK_QUEUE_SIZE - 2, /* less header and status */
};

struct blk {
	struct virtio_device dev; /* first: a device is a blk */
	struct virtio_drain drain; /* without a worker */
	struct worker worker;
	struct blk_disk disk;
	bool waits; /* the request at the head of the queue is kept */
	unsigned resets; /* what was under way at one is forgotten */
	struct blk_request request; /* under way, of the worker */
	struct virtq_chain chain;
	bool (*io_failed)(void *ctx, const char *operation, int sys);
	void *ctx;
};

static struct blk *to_blk(struct virtio_device *dev)
{
	return (struct blk *)dev;
}

/* The request's status for the result of the host's file; it may be kept. */
static void judge(struct blk *b, struct blk_request *r)
{
	if (r->rc == 0)
		return;
	r->status =
		r->rc == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	if (r->rc == -EOPNOTSUPP)
		return;
	log_debug("virtio-blk: %s: %s", r->operation, strerror(-r->rc));
	/* All of it is done again: writing twice what was written is the same. */
	if (b->io_failed && b->io_failed(b->ctx, r->operation, -r->rc))
		b->waits = true;
}

static bool check(struct blk *b, struct blk_request *r, struct virtq_chain *c)
{
	if (blk_request_check(r, &b->disk, b->dev.features, c))
		return true;
	virtio_device_fail(&b->dev, "a request without header or status");
	return false;
}

/* Without a worker: all three steps at once. */
static int64_t serve(struct virtio_device *dev, struct virtq_chain *c)
{
	struct blk *b = to_blk(dev);
	struct blk_request *r = &b->request;

	if (!check(b, r, c))
		return VIRTIO_DRAIN_FAILED;
	if (r->operation) {
		blk_request_perform(r, &b->disk);
		judge(b, r);
	}
	if (b->waits)
		return VIRTIO_DRAIN_STALL;
	return blk_request_written(r);
}

/* Takes the next chain; kicks are asked for when there is none. */
static bool next_chain(struct blk *b, struct virtq *q)
{
	enum virtq_status status;

	virtq_enable_kicks(q, false);
	status = virtq_pop(q, &b->chain);
	if (status == VIRTQ_EMPTY) {
		virtq_enable_kicks(q, true);
		/* A chain may have come before the driver saw our wish. */
		status = virtq_pop(q, &b->chain);
	}
	if (status == VIRTQ_BROKEN)
		virtio_device_fail(&b->dev, "queue 0 is malformed");
	return status == VIRTQ_OK;
}

/* One request on the worker's thread; the file is asked without the lock. */
static bool step(void *ctx)
{
	struct blk *b = ctx;
	struct virtq *q = &b->dev.queues[0];
	struct blk_request *r = &b->request;
	unsigned resets = b->resets;

	if (!b->dev.active || !q->ready || b->waits || !next_chain(b, q) ||
	    !check(b, r, &b->chain))
		return false;
	if (r->operation) {
		worker_unlock(&b->worker);
		blk_request_perform(r, &b->disk);
		worker_relock(&b->worker);
		/* Nobody waits for it any more, and the rings may be others. */
		if (resets != b->resets || !b->dev.active || !q->ready)
			return true;
		judge(b, r);
	}
	if (b->waits) {
		virtq_unpop(q);
		return false;
	}
	(void)virtq_push(q, b->chain.head, blk_request_written(r));
	virtio_device_signal(&b->dev, 0);
	return true;
}

static void run_queue(struct blk *b)
{
	if (worker_started(&b->worker))
		worker_wake(&b->worker);
	else if (!b->waits)
		virtio_drain_run(&b->drain);
}

static void blk_kick(struct virtio_device *dev, uint16_t index)
{
	(void)index;
	run_queue(to_blk(dev));
}

static void blk_activate(struct virtio_device *dev)
{
	run_queue(to_blk(dev));
}

/* The driver may use its memory again when this returns. */
static void blk_reset(struct virtio_device *dev)
{
	struct blk *b = to_blk(dev);

	b->waits = false;
	b->resets++;
	virtio_drain_stop(&b->drain);
	worker_settle(&b->worker);
}

int virtio_blk_start(struct virtio_device *dev, pthread_mutex_t *lock,
		     int (*enter)(void *ctx, struct err *e), void *ctx,
		     struct err *e)
{
	return worker_start(&to_blk(dev)->worker, lock, enter, ctx, e);
}

void virtio_blk_pause(struct virtio_device *dev)
{
	worker_pause(&to_blk(dev)->worker);
}

void virtio_blk_settle(struct virtio_device *dev)
{
	worker_settle(&to_blk(dev)->worker);
}

void virtio_blk_resume(struct virtio_device *dev)
{
	struct blk *b = to_blk(dev);
	bool kept = b->waits;

	b->waits = false;
	if (!worker_started(&b->worker)) {
		if (kept)
			virtio_drain_run(&b->drain);
	} else if (kept) {
		worker_round(&b->worker);
	} else {
		worker_resume(&b->worker);
	}
}

static void blk_config_read(struct virtio_device *dev, uint32_t offset,
			    void *data, uint32_t len)
{
	struct virtio_blk_config config = {
		.capacity = to_blk(dev)->disk.capacity_sectors,
		.seg_max = BLK_SEG_MAX,
		.blk_size = BLK_SECTOR,
		.num_queues = 1,
		.max_discard_sectors = BLK_DISCARD_SECTORS_MAX,
		.max_discard_seg = BLK_DISCARD_SEG_MAX,
		.discard_sector_alignment = 1,
		.max_write_zeroes_sectors = BLK_ZEROES_SECTORS_MAX,
		.max_write_zeroes_seg = BLK_ZEROES_SEG_MAX,
		.write_zeroes_may_unmap = 1,
	};

	memcpy(data, (const uint8_t *)&config + offset, len);
}

static void blk_save(struct virtio_device *dev, struct state_writer *w)
{
	/* A paused device has no request under way. One that is kept is still
	 * in the queue, and is tried again after a load. */
	state_put_u64(w, to_blk(dev)->disk.capacity_sectors);
}

static int blk_load(struct virtio_device *dev, struct state_reader *r,
		    struct err *e)
{
	uint64_t saved = state_get_u64(r);
	uint64_t here = to_blk(dev)->disk.capacity_sectors;

	if (here < saved)
		return err_set(e, ERR_INVALID, "drive_too_small", 0,
			       "the disk has %llu sectors, but the guest knows "
			       "it with %llu",
			       (unsigned long long)here,
			       (unsigned long long)saved);
	if (here > saved)
		virtio_device_config_changed(dev);
	return 0;
}

static void blk_free(struct virtio_device *dev)
{
	struct blk *b = to_blk(dev);

	worker_stop(&b->worker);
	virtio_drain_stop(&b->drain);
	(void)close(b->disk.fd);
	free(b);
}

static const struct virtio_device_ops blk_ops = {
	.name = "blk",
	.device_id = VIRTIO_ID_BLOCK,
	.queue_count = 1,
	.config_len = sizeof(struct virtio_blk_config),
	.activate = blk_activate,
	.reset = blk_reset,
	.kick = blk_kick,
	.config_read = blk_config_read,
	.save = blk_save,
	.load = blk_load,
	.free = blk_free,
};

static uint64_t offered(const struct virtio_blk_setup *setup)
{
	uint64_t f =
		1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE;

	/* Unsafe: a guest that has nothing to flush saves the exits too. */
	if (setup->durable)
		f |= 1ull << VIRTIO_BLK_F_FLUSH;
	if (setup->read_only)
		f |= 1ull << VIRTIO_BLK_F_RO;
	else
		f |= 1ull << VIRTIO_BLK_F_DISCARD |
		     1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	return f;
}

int virtio_blk_new(const struct virtio_blk_setup *setup,
		   const struct guest_mem *mem, struct loop *loop,
		   struct virtio_device **ret, struct err *e)
{
	AUTO(free) struct blk *b = calloc(1, sizeof(*b));
	uint64_t bytes;
	int rc;

	if (!b)
		return err_sys(e, ENOMEM, "block device");
	rc = blk_io_size(setup->fd, &bytes, e);
	if (rc < 0)
		return rc;
	virtio_device_init(&b->dev, &blk_ops, mem, loop, offered(setup),
			   BLK_QUEUE_SIZE);
	virtio_drain_init(&b->drain, &b->dev, 0, serve);
	worker_init(&b->worker, step, b);
	b->disk.fd = setup->fd;
	b->disk.durable = setup->durable;
	b->disk.read_only = setup->read_only;
	b->disk.capacity_sectors = bytes / BLK_SECTOR;
	b->io_failed = setup->io_failed;
	b->ctx = setup->ctx;
	if (setup->serial)
		memcpy(b->disk.id, setup->serial,
		       strnlen(setup->serial, sizeof(b->disk.id)));
	*ret = &take_ptr(b)->dev;
	return 0;
}

int virtio_blk_resize(struct virtio_device *dev, struct err *e)
{
	struct blk *b = to_blk(dev);
	uint64_t bytes;
	int rc = blk_io_size(b->disk.fd, &bytes, e);

	if (rc < 0 || b->disk.capacity_sectors == bytes / BLK_SECTOR)
		return rc;
	b->disk.capacity_sectors = bytes / BLK_SECTOR;
	virtio_device_config_changed(dev);
	return 0;
}

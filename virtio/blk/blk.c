/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device; see blk.h. What a request is, and what it does to the file,
 * is in blk_request.c; who asks the file is an engine (blk_engine.h); here is
 * what is begun when, and who is told.
 *
 * A request is in one of four places: in the list of free ones, with the engine
 * (in flight), kept for the host's sake, or on the caller's stack in between.
 */
#include "virtio/blk/blk.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "virtio/blk/blk_engine.h"
#include "virtio/blk/blk_io.h"
#include "virtio/drain.h"

enum {
	BLK_QUEUE_SIZE = 256,
	BLK_SEG_MAX = BLK_QUEUE_SIZE - 2, /* less header and status */
	/* In flight at once. */
	BLK_POOL = BLK_QUEUE_SIZE,
};

struct blk {
	struct virtio_device dev; /* first: a device is a blk */
	struct loop_timer again; /* the rest of a turn over the queues */
	struct blk_disk disk;
	struct blk_engine *engine;
	struct blk_request *pool;
	unsigned fresh; /* first that was never used: its pages cost nothing */
	struct blk_request *free; /* last in, first out: warm ones */
	/* Refused by a full disk, in the order of refusal. While there are
	 * some, nothing else is begun. */
	struct blk_request *kept, **kept_last;
	bool quiesced;
	bool starved; /* the pool was empty: who gives one back goes on */
	unsigned answered; /* queues with answers since the last signal */
	uint16_t first; /* queue that is looked at first: each in turn */
	bool (*io_failed)(void *ctx, const char *operation, int sys);
	void *ctx;
};

static struct blk *to_blk(struct virtio_device *dev)
{
	return (struct blk *)dev;
}

static void give_back(struct blk *b, struct blk_request *r)
{
	r->next = b->free;
	b->free = r;
}

/* The next free one, still in its list; NULL: all are in use. */
static struct blk_request *next_free(struct blk *b)
{
	if (!b->free && b->fresh < BLK_POOL)
		give_back(b, &b->pool[b->fresh++]);
	return b->free;
}

static void keep(struct blk *b, struct blk_request *r)
{
	r->next = NULL;
	*b->kept_last = r;
	b->kept_last = &r->next;
}

static struct blk_request *take_kept(struct blk *b)
{
	struct blk_request *r = b->kept;

	b->kept = NULL;
	b->kept_last = &b->kept;
	return r;
}

/* The request's status for the result of the host's file; true: keep it. */
static bool judge(struct blk *b, struct blk_request *r)
{
	if (r->rc == 0)
		return false;
	r->status =
		r->rc == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	if (r->rc == -EOPNOTSUPP)
		return false;
	log_debug("virtio-blk: %s: %s", r->operation, strerror(-r->rc));
	return b->io_failed && b->io_failed(b->ctx, r->operation, -r->rc);
}

/* Also of a request that never was the engine's. */
static void answer(struct blk *b, struct blk_request *r)
{
	uint32_t written = 0;

	/* After a reset the memory is the driver's again. */
	if (virtio_device_wants(&b->dev, r->queue))
		written = blk_request_written(r);
	virtio_device_complete(&b->dev, r->queue, r->chain.head, written);
	b->answered |= 1u << r->queue;
	give_back(b, r);
}

static void on_done(void *ctx, struct blk_request *r)
{
	struct blk *b = ctx;

	if (virtio_device_wants(&b->dev, r->queue) && judge(b, r)) {
		keep(b, r);
		virtio_device_withdraw(&b->dev, r->queue);
		return;
	}
	answer(b, r);
}

static void signal_answers(struct blk *b)
{
	for (uint16_t i = 0; i < b->dev.queue_count; i++)
		if (b->answered & 1u << i)
			virtio_device_signal(&b->dev, i);
	b->answered = 0;
}

/* r holds a chain that was taken: to the engine, or answered at once. */
static void begin(struct blk *b, struct blk_request *r)
{
	virtio_device_submit(&b->dev, r->queue);
	if (r->operation)
		b->engine->ops->submit(b->engine, r);
	else
		answer(b, r);
}

static bool may_begin(const struct blk *b)
{
	return b->dev.active && !b->quiesced && !b->kept;
}

/* Takes the next chain into r; kicks are asked for when there is none. */
static bool next_chain(struct blk *b, uint16_t index, struct blk_request *r)
{
	struct virtq *q = &b->dev.queues[index];
	enum virtq_status status = virtq_pop(q, &r->chain);

	if (status == VIRTQ_EMPTY) {
		virtq_enable_kicks(q, true);
		/* A chain may have come before the driver saw our wish. */
		status = virtq_pop(q, &r->chain);
		if (status == VIRTQ_OK)
			virtq_enable_kicks(q, false);
	}
	if (status == VIRTQ_BROKEN)
		virtio_device_fail(&b->dev, "queue %u is malformed", index);
	if (status != VIRTQ_OK)
		return false;
	r->queue = index;
	if (blk_request_check(r, &b->disk, b->dev.features))
		return true;
	virtio_device_fail(&b->dev, "a request without header or status");
	return false;
}

/* One turn over a queue; see drain.h for its bounds. */
static void run_queue(struct blk *b, uint16_t index)
{
	unsigned chains = VIRTIO_DRAIN_TURN;
	uint64_t bytes = VIRTIO_DRAIN_BYTES;

	virtq_enable_kicks(&b->dev.queues[index], false);
	while (may_begin(b)) {
		struct blk_request *r = next_free(b);

		if (!chains || !bytes) {
			loop_timer_arm_soon(&b->again);
			break;
		}
		b->starved = !r;
		if (!r || !next_chain(b, index, r))
			break;
		chains--;
		bytes -= min_u64(bytes, r->chain.read_len + r->chain.write_len);
		b->free = r->next;
		begin(b, r);
	}
	signal_answers(b);
}

static void run_queues(struct blk *b)
{
	uint16_t count = b->dev.queue_count;

	/* Where requests are short, none of the queues always has the first. */
	b->first = (uint16_t)((b->first + 1) % count);
	for (uint16_t i = 0; i < count; i++) {
		uint16_t at = (uint16_t)((b->first + i) % count);

		if (may_begin(b) && b->dev.queues[at].ready)
			run_queue(b, at);
	}
}

static void on_turn_over(void *ctx, bool look)
{
	struct blk *b = ctx;

	signal_answers(b);
	if (look || b->starved)
		run_queues(b);
}

static void on_again(struct loop_timer *timer)
{
	run_queues(timer->data);
}

static void blk_kick(struct virtio_device *dev, uint16_t index)
{
	(void)index;
	run_queues(to_blk(dev));
}

static void blk_activate(struct virtio_device *dev)
{
	run_queues(to_blk(dev));
}

static void blk_reset(struct virtio_device *dev)
{
	struct blk *b = to_blk(dev);
	struct blk_request *next, *r = take_kept(b);

	for (; r; r = next) {
		next = r->next;
		give_back(b, r);
	}
	b->starved = false;
	b->answered = 0;
	loop_timer_disarm(&b->again);
	b->engine->ops->cancel(b->engine);
}

static void blk_quiesce(struct virtio_device *dev)
{
	to_blk(dev)->quiesced = true;
}

static void blk_retry(struct virtio_device *dev)
{
	struct blk *b = to_blk(dev);
	struct blk_request *next, *r = take_kept(b);

	for (; r; r = next) {
		next = r->next;
		r->status = VIRTIO_BLK_S_OK;
		blk_request_restart(r);
		begin(b, r);
	}
	signal_answers(b);
}

static void blk_resume(struct virtio_device *dev)
{
	struct blk *b = to_blk(dev);

	b->quiesced = false;
	run_queues(b);
}

int virtio_blk_start(struct virtio_device *dev, const struct blk_start *start,
		     struct err *e)
{
	struct blk_engine *engine = to_blk(dev)->engine;

	return engine->ops->start(engine, start, e);
}

bool virtio_blk_by_ring(const struct virtio_device *dev)
{
	return ((const struct blk *)dev)->engine->ops->by_ring;
}

const char *virtio_blk_engine(const struct virtio_device *dev)
{
	return ((const struct blk *)dev)->engine->ops->name;
}

static void blk_config_read(struct virtio_device *dev, uint32_t offset,
			    void *data, uint32_t len)
{
	struct virtio_blk_config config = {
		.capacity = to_blk(dev)->disk.capacity_sectors,
		.seg_max = BLK_SEG_MAX,
		.blk_size = BLK_SECTOR,
		.num_queues = dev->queue_count,
		.max_discard_sectors = BLK_DISCARD_SECTORS_MAX,
		.max_discard_seg = BLK_DISCARD_SEG_MAX,
		.discard_sector_alignment = 1,
		.max_write_zeroes_sectors = BLK_ZEROES_SECTORS_MAX,
		.max_write_zeroes_seg = BLK_ZEROES_SEG_MAX,
		.write_zeroes_may_unmap = 1,
	};

	memcpy(data, (const uint8_t *)&config + offset, len);
}

/* Nothing is in flight. What is kept is tried again after a load. */
static void blk_save(struct virtio_device *dev, struct state_writer *w)
{
	const struct blk *b = to_blk(dev);
	uint16_t count = 0;

	for (const struct blk_request *r = b->kept; r; r = r->next)
		count++;
	state_put_u64(w, b->disk.capacity_sectors);
	state_put_u16(w, count);
	for (const struct blk_request *r = b->kept; r; r = r->next) {
		state_put_u16(w, r->queue);
		state_put_u16(w, r->chain.head);
	}
}

/* As if the guest had offered it now: its memory is the judge. */
static bool load_kept(struct blk *b, uint16_t queue, uint16_t head)
{
	struct blk_request *r = next_free(b);

	if (!r || !b->dev.active || queue >= b->dev.queue_count ||
	    !b->dev.queues[queue].ready ||
	    !virtq_walk(&b->dev.queues[queue], head, &r->chain) ||
	    !blk_request_check(r, &b->disk, b->dev.features))
		return false;
	b->free = r->next;
	r->queue = queue;
	keep(b, r);
	return true;
}

static int blk_load(struct virtio_device *dev, struct state_reader *r,
		    struct err *e)
{
	struct blk *b = to_blk(dev);
	uint64_t saved = state_get_u64(r);
	uint64_t here = b->disk.capacity_sectors;
	uint16_t count = dev->loaded_version > 1 ? state_get_u16(r) : 0;

	if (here < saved)
		return err_set(e, ERR_INVALID, "drive_too_small", 0,
			       "the disk has %llu sectors, but the guest knows "
			       "it with %llu",
			       (unsigned long long)here,
			       (unsigned long long)saved);
	while (count--) {
		uint16_t queue = state_get_u16(r);
		uint16_t head = state_get_u16(r);

		if (!load_kept(b, queue, head))
			return err_set(e, ERR_CORRUPT, "device_state_invalid",
				       0,
				       "a request that the disk kept is not in "
				       "the guest's memory");
	}
	if (here > saved)
		virtio_device_config_changed(dev);
	return 0;
}

static void free_engine(struct blk_engine *engine)
{
	if (engine)
		engine->ops->free(engine);
}

static void blk_free(struct virtio_device *dev)
{
	struct blk *b = to_blk(dev);

	free_engine(b->engine);
	loop_timer_disarm(&b->again);
	(void)close(b->disk.fd);
	free(b->pool);
	free(b);
}

static const struct virtio_device_ops blk_ops = {
	.name = "blk",
	.device_id = VIRTIO_ID_BLOCK,
	.queue_count = BLK_QUEUES_MAX,
	.config_len = sizeof(struct virtio_blk_config),
	.activate = blk_activate,
	.reset = blk_reset,
	.quiesce = blk_quiesce,
	.retry = blk_retry,
	.resume = blk_resume,
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

	if (setup->queues > 1)
		f |= 1ull << VIRTIO_BLK_F_MQ;
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

static int new_engine(const struct virtio_blk_setup *setup,
		      const struct blk_engine_events *events,
		      struct blk_engine **ret, struct err *e)
{
	struct err why = ERR_INIT;

	if (setup->engine != VIRTIO_BLK_THREADS &&
	    blk_uring_new(setup->fd, events, ret, &why) == 0)
		return 0;
	if (setup->engine == VIRTIO_BLK_URING)
		log_warn("drive %s: threads in place of io_uring, which cannot "
			 "be had here: %s",
			 setup->serial ? setup->serial : "", why.msg);
	return blk_threads_new(setup->fd, setup->threads, events, ret, e);
}

int virtio_blk_new(const struct virtio_blk_setup *setup,
		   const struct guest_mem *mem, struct loop *loop,
		   struct virtio_device **ret, struct err *e)
{
	AUTO(free) struct blk *b = calloc(1, sizeof(*b));
	const struct blk_engine_events events = { on_done, on_turn_over, b };
	uint64_t bytes;
	int rc;

	assert(setup->queues && setup->queues <= BLK_QUEUES_MAX);
	if (!b)
		return err_sys(e, ENOMEM, "block device");
	rc = blk_io_size(setup->fd, &bytes, e);
	if (rc == 0)
		rc = new_engine(setup, &events, &b->engine, e);
	if (rc < 0)
		return rc;
	b->pool = calloc(BLK_POOL, sizeof(*b->pool));
	if (!b->pool) {
		free_engine(b->engine);
		return err_sys(e, ENOMEM, "requests of the block device");
	}
	b->kept_last = &b->kept;
	virtio_device_init(&b->dev, &blk_ops, mem, loop, offered(setup),
			   BLK_QUEUE_SIZE);
	b->dev.queue_count = (uint16_t)setup->queues;
	loop_timer_init(loop, &b->again, on_again, b);
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

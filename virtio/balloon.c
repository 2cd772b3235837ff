/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See balloon.h. Page numbers come from the guest: each is looked up by
 * guest_slice(), and what is no guest memory is the guest's error.
 *
 * Giving pages back is the host's work under the machine lock, so a turn takes
 * so many and goes on in the next one, in the middle of a chain if need be.
 */
#include "virtio/balloon.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "virtio/drain.h"

enum {
	INFLATE,
	DEFLATE,
	STATS,
	/* The specification numbers queues whether they are there or not (it
	 * would be 4), most drivers do not count those that are not: both do. */
	REPORTING_NEXT,
	REPORTING,
	QUEUES,
	QUEUE_SIZE = 128,
	PAGE_SHIFT = VIRTIO_BALLOON_PFN_SHIFT,
	PAGE = 1 << PAGE_SHIFT,
	TURN_PAGES = 1024, /* about 2 ms of the host's time */
	TURN_BYTES = 16 << 20, /* of free memory, which comes in large pieces */
	CONFIG_LEN = 8, /* num_pages, actual: what our features have */
};

struct balloon {
	struct virtio_device dev; /* first: a device is a balloon */
	struct virtio_balloon_setup setup;
	struct virtio_drain drains[QUEUES]; /* but for STATS */
	/* Of the chain of a queue that a turn left off in, in bytes. */
	uint64_t done[QUEUES];
	unsigned turn_pages;
	uint32_t target_pages, actual_pages;
	uint64_t reported_bytes;
	struct loop_timer poll;
	struct virtq_chain chain; /* of STATS: too big for a stack */
	bool known[BALLOON_STATS];
	uint64_t stats[BALLOON_STATS];
};

static struct balloon *to_balloon(struct virtio_device *dev)
{
	return (struct balloon *)dev;
}

/* count pages from pfn on; false: not all of them are guest memory. */
static bool give(struct balloon *b, uint32_t pfn, uint32_t count)
{
	size_t len = (size_t)count << PAGE_SHIFT;
	void *host = guest_slice(b->dev.mem, (uint64_t)pfn << PAGE_SHIFT, len);

	if (host)
		b->setup.discard(b->setup.ctx, host, len);
	return host != NULL;
}

/* Neighbours in either direction are given together. */
static bool give_all(struct balloon *b, const uint32_t *pfns, size_t n)
{
	size_t i = 0;

	while (i < n) {
		uint32_t first = le32toh(pfns[i]), last = first;

		for (i++; i < n; i++) {
			uint32_t pfn = le32toh(pfns[i]);

			if (last != UINT32_MAX && pfn == last + 1)
				last = pfn;
			else if (first != 0 && pfn == first - 1)
				first = pfn;
			else
				break;
		}
		if (!give(b, first, last - first + 1))
			return false;
	}
	return true;
}

static int64_t take_pages(struct virtio_device *dev, struct virtq_chain *chain)
{
	struct balloon *b = to_balloon(dev);
	uint32_t pfns[TURN_PAGES];
	size_t n;

	if (b->turn_pages == TURN_PAGES) {
		b->turn_pages = 0;
		return VIRTIO_DRAIN_AGAIN;
	}
	n = virtq_chain_read(chain, b->done[INFLATE], pfns,
			     (TURN_PAGES - b->turn_pages) * sizeof(pfns[0])) /
	    sizeof(pfns[0]);
	if (!give_all(b, pfns, n)) {
		virtio_device_fail(dev, "a page that is no guest memory was "
					"put into the balloon");
		return VIRTIO_DRAIN_FAILED;
	}
	b->turn_pages += (unsigned)n;
	b->done[INFLATE] += n * sizeof(pfns[0]);
	if (b->done[INFLATE] + sizeof(pfns[0]) <= chain->read_len) {
		b->turn_pages = 0;
		return VIRTIO_DRAIN_AGAIN;
	}
	b->done[INFLATE] = 0;
	return 0;
}

/* It may use them again: they come when they are touched. */
static int64_t return_pages(struct virtio_device *dev,
			    struct virtq_chain *chain)
{
	(void)dev;
	(void)chain;
	return 0;
}

/* The whole pages of a part of a chain, from byte `from` of the part on. */
static void report(struct balloon *b, const struct iovec *part, uint64_t from,
		   uint64_t len)
{
	uintptr_t at = (uintptr_t)part->iov_base + from;
	uintptr_t first = (at + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
	uintptr_t end = (at + len) & ~(uintptr_t)(PAGE - 1);

	if (first >= end)
		return;
	b->setup.discard(b->setup.ctx,
			 (uint8_t *)part->iov_base +
				 (first - (uintptr_t)part->iov_base),
			 end - first);
	b->reported_bytes += end - first;
}

static int64_t take_free(struct balloon *b, struct virtq_chain *chain,
			 uint64_t *done)
{
	const struct iovec *parts = chain->iov + chain->read_count;
	uint64_t begin = 0, left = TURN_BYTES;

	for (uint16_t i = 0; i < chain->write_count && left; i++) {
		uint64_t len = parts[i].iov_len;

		if (*done < begin + len) {
			uint64_t from = *done - begin;
			uint64_t now = min_u64(len - from, left);

			report(b, &parts[i], from, now);
			*done += now;
			left -= now;
		}
		begin += len;
	}
	if (*done < chain->write_len)
		return VIRTIO_DRAIN_AGAIN;
	*done = 0;
	return 0;
}

static int64_t take_free_next(struct virtio_device *dev,
			      struct virtq_chain *chain)
{
	struct balloon *b = to_balloon(dev);

	return take_free(b, chain, &b->done[REPORTING_NEXT]);
}

static int64_t take_free_own(struct virtio_device *dev,
			     struct virtq_chain *chain)
{
	struct balloon *b = to_balloon(dev);

	return take_free(b, chain, &b->done[REPORTING]);
}

/* What lies in the buffer that the driver has waiting (5.5.6.3). */
static void take_stats(struct balloon *b)
{
	struct virtio_balloon_stat stat;
	uint64_t at = 0;

	while (virtq_chain_read(&b->chain, at, &stat, sizeof(stat)) ==
	       sizeof(stat)) {
		uint16_t tag = le16toh(stat.tag);

		if (tag < BALLOON_STATS) {
			b->known[tag] = true;
			b->stats[tag] = le64toh(stat.val);
		}
		at += sizeof(stat);
		if (at > sizeof(stat) * BALLOON_STATS * 4)
			break; /* no honest driver has so many */
	}
}

/* Reads what is there and leaves it; ask: gives it back, for a new one. */
static void look_at_stats(struct balloon *b, bool ask)
{
	struct virtq *q = &b->dev.queues[STATS];
	enum virtq_status status;

	if (!b->dev.active || !q->ready || q->stopping)
		return;
	status = virtq_pop(q, &b->chain);
	if (status == VIRTQ_OK)
		take_stats(b);
	if (status == VIRTQ_BROKEN ||
	    (status == VIRTQ_OK && ask && !virtq_push(q, b->chain.head, 0))) {
		virtio_device_fail(&b->dev, "the ring of the balloon's numbers "
					    "is broken");
		return;
	}
	if (status == VIRTQ_OK && ask)
		virtio_device_signal(&b->dev, STATS);
	else if (status == VIRTQ_OK)
		virtq_unpop(q);
	virtq_enable_kicks(q, true);
}

static void on_poll(struct loop_timer *timer)
{
	struct balloon *b = timer->data;

	look_at_stats(b, true);
	loop_timer_arm(&b->poll, b->setup.stats_seconds * UINT64_C(1000));
}

static void balloon_kick(struct virtio_device *dev, uint16_t index)
{
	struct balloon *b = to_balloon(dev);

	if (index == STATS)
		look_at_stats(b, false);
	else if (dev->queues[index].ready)
		virtio_drain_run(&b->drains[index]);
}

static void balloon_activate(struct virtio_device *dev)
{
	struct balloon *b = to_balloon(dev);

	for (unsigned i = 0; i < QUEUES; i++)
		balloon_kick(dev, (uint16_t)i);
	if (b->setup.stats_seconds)
		loop_timer_arm(&b->poll,
			       b->setup.stats_seconds * UINT64_C(1000));
}

static void balloon_reset(struct virtio_device *dev)
{
	struct balloon *b = to_balloon(dev);

	for (unsigned i = 0; i < QUEUES; i++)
		virtio_drain_stop(&b->drains[i]);
	loop_timer_disarm(&b->poll);
	memset(b->done, 0, sizeof(b->done));
	b->actual_pages = 0;
	memset(b->known, 0, sizeof(b->known));
}

static void balloon_config_read(struct virtio_device *dev, uint32_t offset,
				void *data, uint32_t len)
{
	const struct balloon *b = to_balloon(dev);
	const uint32_t config[] = { htole32(b->target_pages),
				    htole32(b->actual_pages) };

	memcpy(data, (const uint8_t *)config + offset, len);
}

/* `actual` is the driver's to write, whole; it decides nothing. */
static void balloon_config_write(struct virtio_device *dev, uint32_t offset,
				 const void *data, uint32_t len)
{
	uint32_t pages;

	if (offset != 4 || len != sizeof(pages))
		return;
	memcpy(&pages, data, sizeof(pages));
	to_balloon(dev)->actual_pages = le32toh(pages);
}

static void balloon_save(struct virtio_device *dev, struct state_writer *w)
{
	const struct balloon *b = to_balloon(dev);

	state_put_u32(w, b->target_pages);
	state_put_u32(w, b->actual_pages);
	state_put_u64(w, b->reported_bytes);
	for (unsigned i = 0; i < QUEUES; i++)
		state_put_u64(w, b->done[i]);
}

static int balloon_load(struct virtio_device *dev, struct state_reader *r,
			struct err *e)
{
	struct balloon *b = to_balloon(dev);

	(void)e; /* the reader keeps its own */
	b->target_pages = state_get_u32(r);
	b->actual_pages = state_get_u32(r);
	b->reported_bytes = state_get_u64(r);
	for (unsigned i = 0; i < QUEUES; i++)
		b->done[i] = state_get_u64(r);
	return 0;
}

static void balloon_free(struct virtio_device *dev)
{
	balloon_reset(dev);
	free(to_balloon(dev));
}

static const struct virtio_device_ops balloon_ops = {
	.name = "balloon",
	.device_id = VIRTIO_ID_BALLOON,
	.queue_count = QUEUES,
	.config_len = CONFIG_LEN,
	.activate = balloon_activate,
	.reset = balloon_reset,
	.kick = balloon_kick,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.save = balloon_save,
	.load = balloon_load,
	.free = balloon_free,
};

void virtio_balloon_set(struct virtio_device *dev, uint64_t amount_bytes)
{
	uint64_t pages = amount_bytes >> PAGE_SHIFT;

	to_balloon(dev)->target_pages =
		pages > UINT32_MAX ? UINT32_MAX : (uint32_t)pages;
	virtio_device_config_changed(dev);
}

void virtio_balloon_read(const struct virtio_device *dev,
			 struct virtio_balloon_info *ret)
{
	const struct balloon *b = (const struct balloon *)dev;

	*ret = (struct virtio_balloon_info){
		.target_bytes = (uint64_t)b->target_pages << PAGE_SHIFT,
		.actual_bytes = (uint64_t)b->actual_pages << PAGE_SHIFT,
		.reported_bytes = b->reported_bytes,
	};
	memcpy(ret->known, b->known, sizeof(ret->known));
	memcpy(ret->stats, b->stats, sizeof(ret->stats));
}

static virtio_drain_fn *const takers[QUEUES] = {
	[INFLATE] = take_pages,
	[DEFLATE] = return_pages,
	[STATS] = return_pages, /* never run: see look_at_stats() */
	[REPORTING_NEXT] = take_free_next,
	[REPORTING] = take_free_own,
};

int virtio_balloon_new(const struct virtio_balloon_setup *setup,
		       const struct guest_mem *mem, struct loop *loop,
		       struct virtio_device **ret, struct err *e)
{
	struct balloon *b = calloc(1, sizeof(*b));
	uint64_t features = UINT64_C(1) << VIRTIO_BALLOON_F_STATS_VQ;

	if (!b)
		return err_sys(e, ENOMEM, "balloon");
	if (setup->deflate_on_oom)
		features |= UINT64_C(1) << VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
	if (setup->reporting)
		features |= UINT64_C(1) << VIRTIO_BALLOON_F_REPORTING;
	b->setup = *setup;
	virtio_device_init(&b->dev, &balloon_ops, mem, loop, features,
			   QUEUE_SIZE);
	for (unsigned i = 0; i < QUEUES; i++)
		virtio_drain_init(&b->drains[i], &b->dev, (uint16_t)i,
				  takers[i]);
	loop_timer_init(loop, &b->poll, on_poll, b);
	b->target_pages = (uint32_t)(setup->amount_bytes >> PAGE_SHIFT);
	*ret = &b->dev;
	return 0;
}

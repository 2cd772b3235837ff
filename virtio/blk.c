/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device; see blk.h. A request (5.2.6) is a 16-byte header and data
 * that the device reads, then data and one status byte that it writes. Where one
 * part ends and the next begins is nowhere in the framing (2.7.4.1), so nothing
 * here looks at single descriptors.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "virtio/blk_io.h"
#include "virtio/drain.h"

enum {
	SECTOR = 512,
	BLK_QUEUE_SIZE = 256,
	BLK_SEG_MAX = BLK_QUEUE_SIZE - 2, /* less header and status */
	/* Punching a hole is cheap; zeros may have to be written out, while
	 * the machine lock is held. Hence 2 GiB and 32 MiB. */
	DISCARD_SECTORS_MAX = 1 << 22,
	DISCARD_SEG_MAX = 16,
	ZEROES_SECTORS_MAX = 1 << 16,
	ZEROES_SEG_MAX = 1
};

struct blk {
	struct virtio_device dev; /* first: a device is a blk */
	struct virtio_drain drain;
	int fd;
	bool durable;
	bool read_only;
	bool waits; /* the request at the head of the queue is kept */
	uint64_t capacity_sectors;
	char id[VIRTIO_BLK_ID_BYTES]; /* padded with NUL, not ended by one */
	bool (*io_failed)(void *ctx, const char *operation, int sys);
	void *ctx;
};

static struct blk *to_blk(struct virtio_device *dev)
{
	return (struct blk *)dev;
}

/* The request's status for a result of the host's file. */
static uint8_t host_status(struct blk *b, const char *operation, int rc)
{
	if (rc >= 0)
		return VIRTIO_BLK_S_OK;
	if (rc == -EOPNOTSUPP)
		return VIRTIO_BLK_S_UNSUPP;
	log_debug("virtio-blk: %s: %s", operation, strerror(-rc));
	if (b->io_failed && b->io_failed(b->ctx, operation, -rc))
		b->waits = true;
	return VIRTIO_BLK_S_IOERR;
}

/* Cuts `drop` bytes off the list's front or end; they are there. */
static void trim_front(struct iovec **iov, size_t *count, uint64_t drop)
{
	while (drop && drop >= (*iov)->iov_len) {
		drop -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (drop) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + drop;
		(*iov)->iov_len -= drop;
	}
}

static void trim_status(const struct iovec *iov, size_t *count)
{
	/* A descriptor of length 0 leaves no part, so the last one has bytes. */
	if (iov[*count - 1].iov_len == 1)
		(*count)--;
}

static bool sectors_valid(const struct blk *b, uint64_t sector, uint64_t bytes)
{
	return bytes % SECTOR == 0 &&
	       range_fits(sector, bytes / SECTOR, b->capacity_sectors);
}

static int sync_file(const struct blk *b)
{
	if (!b->durable)
		return 0;
	return fdatasync(b->fd) < 0 ? -errno : 0;
}

static uint8_t do_read(struct blk *b, struct virtq_chain *c, uint64_t sector)
{
	struct iovec *iov = c->iov + c->read_count;
	size_t count = c->write_count;
	uint64_t bytes = c->write_len - 1;

	if (!sectors_valid(b, sector, bytes))
		return VIRTIO_BLK_S_IOERR;
	trim_status(iov, &count);
	if (count == c->write_count)
		iov[count - 1].iov_len--;
	return host_status(b, "read",
			   blk_io_transfer(b->fd, iov, count, sector * SECTOR,
					   false));
}

static uint8_t do_write(struct blk *b, struct virtq_chain *c, uint64_t sector)
{
	uint64_t bytes = c->read_len - sizeof(struct virtio_blk_outhdr);
	struct iovec *iov = c->iov;
	size_t count = c->read_count;
	int rc;

	if (b->read_only || !sectors_valid(b, sector, bytes))
		return VIRTIO_BLK_S_IOERR;
	trim_front(&iov, &count, sizeof(struct virtio_blk_outhdr));
	rc = blk_io_transfer(b->fd, iov, count, sector * SECTOR, true);
	/* 5.2.6.2: a driver that cannot flush expects stable writes. */
	if (rc == 0 && !virtio_has_feature(&b->dev, VIRTIO_BLK_F_FLUSH))
		rc = sync_file(b);
	return host_status(b, "write", rc);
}

/* Status for one range of DISCARD or WRITE_ZEROES (5.2.6.2), before it runs. */
static uint8_t check_range(const struct blk *b, bool zeroes,
			   const struct virtio_blk_discard_write_zeroes *r)
{
	uint32_t limit = zeroes ? ZEROES_SECTORS_MAX : DISCARD_SECTORS_MAX;
	uint32_t allowed = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

	if (r->flags & ~allowed)
		return VIRTIO_BLK_S_UNSUPP;
	if (r->num_sectors > limit ||
	    !range_fits(r->sector, r->num_sectors, b->capacity_sectors))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static int run_range(const struct blk *b, bool zeroes,
		     const struct virtio_blk_discard_write_zeroes *r)
{
	uint64_t offset = r->sector * SECTOR;
	uint64_t len = (uint64_t)r->num_sectors * SECTOR;

	if (!len)
		return 0;
	if (!zeroes)
		return blk_io_discard(b->fd, offset, len);
	return blk_io_write_zeroes(b->fd, offset, len, r->flags != 0);
}

static uint8_t do_ranges(struct blk *b, const struct virtq_chain *c,
			 bool zeroes)
{
	struct virtio_blk_discard_write_zeroes ranges[DISCARD_SEG_MAX];
	uint64_t bytes = c->read_len - sizeof(struct virtio_blk_outhdr);
	uint64_t count = bytes / sizeof(ranges[0]);
	unsigned feature =
		zeroes ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD;
	int rc = 0;

	if (!virtio_has_feature(&b->dev, feature))
		return VIRTIO_BLK_S_UNSUPP;
	if (b->read_only || !count || bytes % sizeof(ranges[0]) ||
	    count > (zeroes ? ZEROES_SEG_MAX : DISCARD_SEG_MAX))
		return VIRTIO_BLK_S_IOERR;
	/* One copy: what was checked is what is done. */
	(void)virtq_chain_read(c, sizeof(struct virtio_blk_outhdr), ranges,
			       bytes);
	for (uint64_t i = 0; i < count; i++) {
		uint8_t status = check_range(b, zeroes, &ranges[i]);

		if (status != VIRTIO_BLK_S_OK)
			return status;
	}
	for (uint64_t i = 0; i < count && rc == 0; i++)
		rc = run_range(b, zeroes, &ranges[i]);
	if (rc == 0 && !virtio_has_feature(&b->dev, VIRTIO_BLK_F_FLUSH))
		rc = sync_file(b);
	return host_status(b, zeroes ? "write zeroes" : "discard", rc);
}

static uint8_t do_get_id(struct blk *b, const struct virtq_chain *c)
{
	size_t room = min_u64(c->write_len - 1, sizeof(b->id));

	(void)virtq_chain_write(c, 0, b->id, room);
	return VIRTIO_BLK_S_OK;
}

static uint8_t execute(struct blk *b, struct virtq_chain *c,
		       const struct virtio_blk_outhdr *header)
{
	switch (header->type) {
	case VIRTIO_BLK_T_IN:
		return do_read(b, c, header->sector);
	case VIRTIO_BLK_T_OUT:
		return do_write(b, c, header->sector);
	case VIRTIO_BLK_T_FLUSH:
		return host_status(b, "flush", sync_file(b));
	case VIRTIO_BLK_T_GET_ID:
		return do_get_id(b, c);
	case VIRTIO_BLK_T_DISCARD:
		return do_ranges(b, c, false);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return do_ranges(b, c, true);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

static int64_t serve(struct virtio_device *dev, struct virtq_chain *c)
{
	struct virtio_blk_outhdr header;
	uint64_t data_bytes;
	uint8_t status, *status_at;

	if (c->read_len < sizeof(header) || !c->write_len) {
		virtio_device_fail(dev, "a request without header or status");
		return VIRTIO_DRAIN_FAILED;
	}
	(void)virtq_chain_read(c, 0, &header, sizeof(header));
	data_bytes = c->write_len - 1;
	/* Before the lists are consumed: the last byte of the last part. */
	status_at = c->iov[c->read_count + c->write_count - 1].iov_base;
	status_at += c->iov[c->read_count + c->write_count - 1].iov_len - 1;
	status = execute(to_blk(dev), c, &header);
	/* All of it is done again: writing twice what was written is the same. */
	if (to_blk(dev)->waits)
		return VIRTIO_DRAIN_STALL;
	*status_at = status;
	if (status == VIRTIO_BLK_S_OK && header.type == VIRTIO_BLK_T_IN)
		return (int64_t)data_bytes + 1;
	if (status == VIRTIO_BLK_S_OK && header.type == VIRTIO_BLK_T_GET_ID &&
	    data_bytes <= VIRTIO_BLK_ID_BYTES)
		return (int64_t)data_bytes + 1;
	/* 2.7.8.2: only counts bytes written from the first one on. */
	return data_bytes ? 0 : 1;
}

static void blk_kick(struct virtio_device *dev, uint16_t index)
{
	(void)index;
	if (!to_blk(dev)->waits)
		virtio_drain_run(&to_blk(dev)->drain);
}

void virtio_blk_retry(struct virtio_device *dev)
{
	if (!to_blk(dev)->waits)
		return;
	to_blk(dev)->waits = false;
	virtio_drain_run(&to_blk(dev)->drain);
}

static void blk_activate(struct virtio_device *dev)
{
	virtio_drain_run(&to_blk(dev)->drain);
}

static void blk_reset(struct virtio_device *dev)
{
	to_blk(dev)->waits = false;
	virtio_drain_stop(&to_blk(dev)->drain);
}

static void blk_config_read(struct virtio_device *dev, uint32_t offset,
			    void *data, uint32_t len)
{
	struct virtio_blk_config config = {
		.capacity = to_blk(dev)->capacity_sectors,
		.seg_max = BLK_SEG_MAX,
		.blk_size = SECTOR,
		.num_queues = 1,
		.max_discard_sectors = DISCARD_SECTORS_MAX,
		.max_discard_seg = DISCARD_SEG_MAX,
		.discard_sector_alignment = 1,
		.max_write_zeroes_sectors = ZEROES_SECTORS_MAX,
		.max_write_zeroes_seg = ZEROES_SEG_MAX,
		.write_zeroes_may_unmap = 1,
	};

	memcpy(data, (const uint8_t *)&config + offset, len);
}

static void blk_save(struct virtio_device *dev, struct state_writer *w)
{
	/* Requests are synchronous: between two calls none is under way. One
	 * that is kept is still in the queue, and is tried again after a load. */
	state_put_u64(w, to_blk(dev)->capacity_sectors);
}

static int blk_load(struct virtio_device *dev, struct state_reader *r,
		    struct err *e)
{
	uint64_t saved = state_get_u64(r);
	uint64_t here = to_blk(dev)->capacity_sectors;

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

	virtio_drain_stop(&b->drain);
	(void)close(b->fd);
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
	b->fd = setup->fd;
	b->durable = setup->durable;
	b->read_only = setup->read_only;
	b->capacity_sectors = bytes / SECTOR;
	b->io_failed = setup->io_failed;
	b->ctx = setup->ctx;
	if (setup->serial)
		memcpy(b->id, setup->serial,
		       strnlen(setup->serial, sizeof(b->id)));
	*ret = &take_ptr(b)->dev;
	return 0;
}

int virtio_blk_resize(struct virtio_device *dev, struct err *e)
{
	struct blk *b = to_blk(dev);
	uint64_t bytes;
	int rc = blk_io_size(b->fd, &bytes, e);

	if (rc < 0 || b->capacity_sectors == bytes / SECTOR)
		return rc;
	b->capacity_sectors = bytes / SECTOR;
	virtio_device_config_changed(dev);
	return 0;
}

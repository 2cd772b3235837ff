/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See blk_request.h. Where one part of a request ends and the next begins is
 * nowhere in the framing (2.7.4.1), so nothing here looks at single descriptors.
 */
#include "virtio/blk/blk_request.h"

#include <errno.h>
#include <unistd.h>

#include "base/checked.h"
#include "virtio/blk/blk_io.h"

enum {
	HEADER_LEN = sizeof(struct virtio_blk_outhdr)
};

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

/* Cuts `drop` bytes off the list's front; they are there. */
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

static bool sectors_valid(const struct blk_disk *disk, uint64_t sector,
			  uint64_t bytes)
{
	return bytes % BLK_SECTOR == 0 &&
	       range_fits(sector, bytes / BLK_SECTOR, disk->capacity_sectors);
}

static uint8_t check_read(struct blk_request *r, const struct blk_disk *disk)
{
	struct virtq_chain *c = r->chain;

	if (!sectors_valid(disk, r->sector, r->data_bytes))
		return VIRTIO_BLK_S_IOERR;
	r->iov = c->iov + c->read_count;
	r->count = c->write_count;
	/* The status byte is no data. A descriptor of length 0 leaves no part,
	 * so the last one has bytes. */
	if (--r->iov[r->count - 1].iov_len == 0)
		r->count--;
	r->operation = "read";
	return VIRTIO_BLK_S_OK;
}

static uint8_t check_write(struct blk_request *r, const struct blk_disk *disk)
{
	struct virtq_chain *c = r->chain;

	if (disk->read_only ||
	    !sectors_valid(disk, r->sector, c->read_len - HEADER_LEN))
		return VIRTIO_BLK_S_IOERR;
	r->iov = c->iov;
	r->count = c->read_count;
	trim_front(&r->iov, &r->count, HEADER_LEN);
	r->operation = "write";
	return VIRTIO_BLK_S_OK;
}

/* Status for one range of DISCARD or WRITE_ZEROES (5.2.6.2), before it runs. */
static uint8_t check_range(const struct blk_disk *disk, bool zeroes,
			   const struct virtio_blk_discard_write_zeroes *range)
{
	uint32_t limit =
		zeroes ? BLK_ZEROES_SECTORS_MAX : BLK_DISCARD_SECTORS_MAX;
	uint32_t allowed = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

	if (range->flags & ~allowed)
		return VIRTIO_BLK_S_UNSUPP;
	if (range->num_sectors > limit ||
	    !range_fits(range->sector, range->num_sectors,
			disk->capacity_sectors))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static uint8_t check_ranges(struct blk_request *r, const struct blk_disk *disk,
			    uint64_t features, bool zeroes)
{
	uint64_t bytes = r->chain->read_len - HEADER_LEN;
	uint64_t count = bytes / sizeof(r->ranges[0]);
	unsigned feature =
		zeroes ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD;

	if (!has(features, feature))
		return VIRTIO_BLK_S_UNSUPP;
	if (disk->read_only || !count || bytes % sizeof(r->ranges[0]) ||
	    count > (zeroes ? BLK_ZEROES_SEG_MAX : BLK_DISCARD_SEG_MAX))
		return VIRTIO_BLK_S_IOERR;
	/* One copy: what was checked is what is done. */
	(void)virtq_chain_read(r->chain, HEADER_LEN, r->ranges, bytes);
	for (uint64_t i = 0; i < count; i++) {
		uint8_t status = check_range(disk, zeroes, &r->ranges[i]);

		if (status != VIRTIO_BLK_S_OK)
			return status;
	}
	r->range_count = count;
	r->operation = zeroes ? "write zeroes" : "discard";
	return VIRTIO_BLK_S_OK;
}

static uint8_t give_id(const struct blk_request *r, const struct blk_disk *disk)
{
	size_t room = min_u64(r->data_bytes, sizeof(disk->id));

	(void)virtq_chain_write(r->chain, 0, disk->id, room);
	return VIRTIO_BLK_S_OK;
}

static uint8_t check_type(struct blk_request *r, const struct blk_disk *disk,
			  uint64_t features)
{
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		return check_read(r, disk);
	case VIRTIO_BLK_T_OUT:
		return check_write(r, disk);
	case VIRTIO_BLK_T_FLUSH:
		r->operation = "flush";
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		return give_id(r, disk);
	case VIRTIO_BLK_T_DISCARD:
		return check_ranges(r, disk, features, false);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return check_ranges(r, disk, features, true);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

bool blk_request_check(struct blk_request *r, const struct blk_disk *disk,
		       uint64_t features, struct virtq_chain *chain)
{
	struct virtio_blk_outhdr header;
	const struct iovec *last;

	if (chain->read_len < sizeof(header) || !chain->write_len)
		return false;
	(void)virtq_chain_read(chain, 0, &header, sizeof(header));
	/* Before the lists are consumed: the last byte of the last part. */
	last = &chain->iov[chain->read_count + chain->write_count - 1];
	r->chain = chain;
	r->type = header.type;
	r->sector = header.sector;
	r->data_bytes = chain->write_len - 1;
	r->status_at = (uint8_t *)last->iov_base + last->iov_len - 1;
	r->operation = NULL;
	r->range_count = r->count = 0;
	r->rc = 0;
	r->status = check_type(r, disk, features);
	/* 5.2.6.2: a driver that cannot flush expects stable writes. */
	r->sync = r->type == VIRTIO_BLK_T_FLUSH ||
		  (r->type != VIRTIO_BLK_T_IN &&
		   !has(features, VIRTIO_BLK_F_FLUSH));
	return true;
}

static int run_range(const struct blk_request *r, const struct blk_disk *disk,
		     size_t i)
{
	uint64_t offset = r->ranges[i].sector * BLK_SECTOR;
	uint64_t len = (uint64_t)r->ranges[i].num_sectors * BLK_SECTOR;

	if (!len)
		return 0;
	if (r->type == VIRTIO_BLK_T_DISCARD)
		return blk_io_discard(disk->fd, offset, len);
	return blk_io_write_zeroes(disk->fd, offset, len,
				   r->ranges[i].flags != 0);
}

void blk_request_perform(struct blk_request *r, const struct blk_disk *disk)
{
	int rc = 0;

	if (r->count)
		rc = blk_io_transfer(disk->fd, r->iov, r->count,
				     r->sector * BLK_SECTOR,
				     r->type == VIRTIO_BLK_T_OUT);
	for (size_t i = 0; rc == 0 && i < r->range_count; i++)
		rc = run_range(r, disk, i);
	if (rc == 0 && r->sync && disk->durable && fdatasync(disk->fd) < 0)
		rc = -errno;
	r->rc = rc;
}

uint32_t blk_request_written(const struct blk_request *r)
{
	*r->status_at = r->status;
	if (r->status == VIRTIO_BLK_S_OK &&
	    (r->type == VIRTIO_BLK_T_IN ||
	     (r->type == VIRTIO_BLK_T_GET_ID &&
	      r->data_bytes <= VIRTIO_BLK_ID_BYTES)))
		return (uint32_t)(r->data_bytes + 1);
	/* 2.7.8.2: only counts bytes written from the first one on. */
	return r->data_bytes ? 0 : 1;
}

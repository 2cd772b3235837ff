/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See blk_request.h. Where one part of a request ends and the next begins is
 * nowhere in the framing (2.7.4.1), so nothing here looks at single descriptors.
 */
#include "virtio/blk/blk_request.h"

#include <errno.h>
#include <linux/falloc.h>

#include "base/checked.h"

enum {
	HEADER_LEN = sizeof(struct virtio_blk_outhdr),
	/* Zeros that are written out: so many parts of so many bytes at once. */
	ZEROES_BYTES = 64 * 1024,
	ZEROES_PARTS = VIRTQ_CHAIN_MAX
};

static uint8_t zero_bytes[ZEROES_BYTES];

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
	struct virtq_chain *c = &r->chain;

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
	struct virtq_chain *c = &r->chain;

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
	uint64_t bytes = r->chain.read_len - HEADER_LEN;
	uint64_t count = bytes / sizeof(r->ranges[0]);
	unsigned feature =
		zeroes ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD;

	if (!has(features, feature))
		return VIRTIO_BLK_S_UNSUPP;
	if (disk->read_only || !count || bytes % sizeof(r->ranges[0]) ||
	    count > (zeroes ? BLK_ZEROES_SEG_MAX : BLK_DISCARD_SEG_MAX))
		return VIRTIO_BLK_S_IOERR;
	/* One copy: what was checked is what is done. */
	(void)virtq_chain_read(&r->chain, HEADER_LEN, r->ranges, bytes);
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

	(void)virtq_chain_write(&r->chain, 0, disk->id, room);
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
		       uint64_t features)
{
	const struct virtq_chain *chain = &r->chain;
	struct virtio_blk_outhdr header;
	const struct iovec *last;

	if (chain->read_len < sizeof(header) || !chain->write_len)
		return false;
	(void)virtq_chain_read(chain, 0, &header, sizeof(header));
	/* Before the lists are consumed: the last byte of the last part. */
	last = &chain->iov[chain->read_count + chain->write_count - 1];
	r->type = header.type;
	r->sector = header.sector;
	r->data_bytes = chain->write_len - 1;
	r->status_at = (uint8_t *)last->iov_base + last->iov_len - 1;
	r->operation = NULL;
	r->iov = r->chain.iov;
	r->range_count = r->count = r->at = r->cut = 0;
	r->status = check_type(r, disk, features);
	r->durable = disk->durable;
	/* 5.2.6.2: a driver that cannot flush expects stable writes. */
	r->sync = r->type == VIRTIO_BLK_T_FLUSH ||
		  (r->type != VIRTIO_BLK_T_IN &&
		   !has(features, VIRTIO_BLK_F_FLUSH));
	blk_request_restart(r);
	return true;
}

/* The part that is under way gets back what was cut off its front. */
static void uncut(struct blk_request *r)
{
	struct iovec *part;

	if (!r->cut)
		return;
	part = &r->iov[r->at];
	part->iov_base = (char *)part->iov_base - r->cut;
	part->iov_len += r->cut;
	r->cut = 0;
}

void blk_request_restart(struct blk_request *r)
{
	uncut(r);
	r->at = r->range = r->done = 0;
	r->rc = 0;
	r->zeroing = BLK_ZERO_BY_HOLE;
	r->stage = BLK_STAGE_DATA;
}

/* Takes bytes off the front of what is left of the list. */
static void advance(struct blk_request *r, uint64_t bytes)
{
	r->done += bytes;
	while (r->at < r->count && bytes >= r->iov[r->at].iov_len) {
		bytes -= r->iov[r->at].iov_len;
		uncut(r);
		r->at++;
	}
	if (bytes && r->at < r->count) {
		struct iovec *part = &r->iov[r->at];

		part->iov_base = (char *)part->iov_base + bytes;
		part->iov_len -= bytes;
		r->cut += bytes;
	}
}

static void next_data(const struct blk_request *r, struct blk_op *op)
{
	op->kind = r->type == VIRTIO_BLK_T_OUT ? BLK_OP_WRITE : BLK_OP_READ;
	op->offset = r->sector * BLK_SECTOR + r->done;
	op->iov = r->iov + r->at;
	op->count = r->count - r->at;
}

/* The chain's list is free for that: the request's data was copied. */
static void next_zeroes(struct blk_request *r, struct blk_op *op)
{
	uint64_t left = op->len - r->done;

	op->kind = BLK_OP_WRITE;
	op->offset += r->done;
	op->iov = r->chain.iov;
	for (op->count = 0; left && op->count < ZEROES_PARTS; op->count++) {
		size_t now = min_u64(left, sizeof(zero_bytes));

		op->iov[op->count] = (struct iovec){ zero_bytes, now };
		left -= now;
	}
}

static void next_range(struct blk_request *r, struct blk_op *op)
{
	const struct virtio_blk_discard_write_zeroes *range =
		&r->ranges[r->range];

	op->kind = BLK_OP_ALLOCATE;
	op->offset = range->sector * BLK_SECTOR;
	op->len = (uint64_t)range->num_sectors * BLK_SECTOR;
	op->mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	if (r->type == VIRTIO_BLK_T_DISCARD)
		return;
	if (r->zeroing == BLK_ZERO_BY_HOLE && !range->flags)
		r->zeroing = BLK_ZERO_BY_RANGE; /* it keeps its room */
	if (r->zeroing == BLK_ZERO_BY_RANGE)
		op->mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
	else if (r->zeroing == BLK_ZERO_BY_WRITING)
		next_zeroes(r, op);
}

bool blk_request_next(struct blk_request *r, struct blk_op *ret)
{
	*ret = (struct blk_op){ .kind = BLK_OP_SYNC };
	if (r->rc < 0)
		return false;
	if (r->stage == BLK_STAGE_DATA) {
		if (r->at < r->count) {
			next_data(r, ret);
			return true;
		}
		r->stage = BLK_STAGE_RANGES;
		r->done = 0;
	}
	if (r->stage == BLK_STAGE_RANGES) {
		while (r->range < r->range_count &&
		       !r->ranges[r->range].num_sectors)
			r->range++;
		if (r->range < r->range_count) {
			next_range(r, ret);
			return true;
		}
		r->stage =
			r->sync && r->durable ? BLK_STAGE_SYNC : BLK_STAGE_END;
	}
	return r->stage == BLK_STAGE_SYNC;
}

static void range_done(struct blk_request *r)
{
	r->range++;
	r->done = 0;
	r->zeroing = BLK_ZERO_BY_HOLE;
}

static void took_range(struct blk_request *r, int64_t result)
{
	uint64_t whole = (uint64_t)r->ranges[r->range].num_sectors * BLK_SECTOR;

	/* tmpfs and old file systems know holes but no zero ranges. */
	if (result == -EOPNOTSUPP && r->type == VIRTIO_BLK_T_WRITE_ZEROES &&
	    r->zeroing < BLK_ZERO_BY_WRITING) {
		r->zeroing++;
		return;
	}
	if (result < 0) {
		r->rc = (int)result;
		return;
	}
	if (r->type == VIRTIO_BLK_T_WRITE_ZEROES &&
	    r->zeroing == BLK_ZERO_BY_WRITING) {
		r->done += (uint64_t)result;
		if (result == 0)
			r->rc = -EIO;
		if (r->done < whole)
			return;
	}
	range_done(r);
}

void blk_request_took(struct blk_request *r, int64_t result)
{
	switch (r->stage) {
	case BLK_STAGE_DATA:
		if (result > 0)
			advance(r, (uint64_t)result);
		else /* the file ended early */
			r->rc = result < 0 ? (int)result : -EIO;
		return;
	case BLK_STAGE_RANGES:
		took_range(r, result);
		return;
	case BLK_STAGE_SYNC:
		r->rc = result < 0 ? (int)result : 0;
		r->stage = BLK_STAGE_END;
		return;
	case BLK_STAGE_END:
		return;
	}
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

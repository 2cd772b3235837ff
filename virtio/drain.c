/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded turn over a queue; see drain.h. */
#include "virtio/drain.h"

#include "base/checked.h"

enum turn {
	TURN_EMPTY,
	TURN_MORE,
	TURN_STALLED,
	TURN_FAILED
};

/* What is left of a turn. */
struct budget {
	unsigned chains;
	uint64_t bytes;
};

static enum turn serve(struct virtio_drain *d, struct budget *left)
{
	struct virtio_device *dev = d->dev;
	struct virtq *q = &dev->queues[d->index];

	for (; left->chains && left->bytes; left->chains--) {
		enum virtq_status status = virtq_pop(q, &d->chain);
		uint64_t len;
		int64_t written;

		if (status == VIRTQ_EMPTY)
			return TURN_EMPTY;
		if (status == VIRTQ_BROKEN) {
			virtio_device_fail(dev, "queue %u is malformed",
					   d->index);
			return TURN_FAILED;
		}
		len = d->chain.read_len + d->chain.write_len;
		left->bytes -= min_u64(left->bytes, len);
		written = d->fn(dev, &d->chain);
		if (written == VIRTIO_DRAIN_STALL ||
		    written == VIRTIO_DRAIN_AGAIN) {
			virtq_unpop(q);
			return written == VIRTIO_DRAIN_STALL ? TURN_STALLED
							     : TURN_MORE;
		}
		if (written < 0)
			return TURN_FAILED;
		(void)virtq_push(q, d->chain.head, (uint32_t)written);
	}
	return TURN_MORE;
}

void virtio_drain_run(struct virtio_drain *d)
{
	struct virtq *q = &d->dev->queues[d->index];
	struct budget left = { VIRTIO_DRAIN_TURN, VIRTIO_DRAIN_BYTES };

	while (d->dev->active && q->ready) {
		enum turn turn;

		virtq_enable_kicks(q, false);
		turn = serve(d, &left);
		if (turn == TURN_FAILED)
			return;
		virtio_device_signal(d->dev, d->index);
		if (turn == TURN_STALLED)
			return;
		if (turn == TURN_MORE) {
			loop_timer_arm_soon(&d->again);
			return;
		}
		virtq_enable_kicks(q, true);
		/* A chain may have come before the driver saw our wish. */
		if (virtq_pending(q) == 0)
			return;
	}
}

static void on_again(struct loop_timer *timer)
{
	virtio_drain_run(timer->data);
}

void virtio_drain_init(struct virtio_drain *d, struct virtio_device *dev,
		       uint16_t index, virtio_drain_fn *fn)
{
	d->dev = dev;
	d->index = index;
	d->fn = fn;
	loop_timer_init(dev->loop, &d->again, on_again, d);
}

void virtio_drain_stop(struct virtio_drain *d)
{
	loop_timer_disarm(&d->again);
}

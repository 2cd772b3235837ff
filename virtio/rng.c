/* SPDX-License-Identifier: Apache-2.0 */
/* See rng.h. */
#include "virtio/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/checked.h"
#include "virtio/drain.h"

enum {
	RNG_QUEUE_SIZE = 64,
	/* A request may be answered in part (5.4.6.2): no long stays here. */
	RNG_BYTES_MAX = 4096
};

struct rng {
	struct virtio_device dev; /* first: a device is an rng */
	struct virtio_drain drain;
	uint8_t bytes[RNG_BYTES_MAX];
};

static struct rng *to_rng(struct virtio_device *dev)
{
	return (struct rng *)dev;
}

static int64_t answer(struct virtio_device *dev, struct virtq_chain *chain)
{
	struct rng *rng = to_rng(dev);
	size_t want = min_u64(chain->write_len, RNG_BYTES_MAX);
	size_t have = 0;

	while (have < want) {
		ssize_t n = getrandom(rng->bytes + have, want - have, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break; /* the driver sees a shorter answer */
		have += (size_t)n;
	}
	return (int64_t)virtq_chain_write(chain, 0, rng->bytes, have);
}

static void rng_kick(struct virtio_device *dev, uint16_t index)
{
	(void)index;
	virtio_drain_run(&to_rng(dev)->drain);
}

static void rng_activate(struct virtio_device *dev)
{
	virtio_drain_run(&to_rng(dev)->drain);
}

static void rng_reset(struct virtio_device *dev)
{
	virtio_drain_stop(&to_rng(dev)->drain);
}

static void rng_config_read(struct virtio_device *dev, uint32_t offset,
			    void *data, uint32_t len)
{
	(void)dev;
	(void)offset;
	(void)data;
	(void)len;
}

static void rng_save(struct virtio_device *dev, struct state_writer *w)
{
	(void)dev;
	(void)w;
}

static int rng_load(struct virtio_device *dev, struct state_reader *r,
		    struct err *e)
{
	(void)dev;
	(void)r;
	(void)e;
	return 0;
}

static void rng_free(struct virtio_device *dev)
{
	virtio_drain_stop(&to_rng(dev)->drain);
	free(to_rng(dev));
}

static const struct virtio_device_ops rng_ops = {
	.name = "rng",
	.device_id = VIRTIO_ID_RNG,
	.queue_count = 1,
	.config_len = 0,
	.activate = rng_activate,
	.reset = rng_reset,
	.kick = rng_kick,
	.config_read = rng_config_read,
	.save = rng_save,
	.load = rng_load,
	.free = rng_free,
};

int virtio_rng_new(const struct guest_mem *mem, struct loop *loop,
		   struct virtio_device **ret, struct err *e)
{
	struct rng *rng = calloc(1, sizeof(*rng));

	if (!rng)
		return err_sys(e, ENOMEM, "entropy device");
	virtio_device_init(&rng->dev, &rng_ops, mem, loop, 0, RNG_QUEUE_SIZE);
	virtio_drain_init(&rng->drain, &rng->dev, 0, answer);
	*ret = &rng->dev;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device: creation, life cycle, configuration, event queue. See
 * vsock.h for what it does and vsock_internal.h for the other files.
 */
#include "virtio/vsock/vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "virtio/vsock/vsock_internal.h"

enum {
	CONNECT_TIMEOUT_MS = 5000,
	/* Linux waits 8 s for the answer to its own SHUTDOWN. */
	LINGER_TIMEOUT_MS = 10000
};

static struct vsock *to_vsock(struct virtio_device *dev)
{
	return (struct vsock *)dev;
}

/* Tells the driver that its connections are gone (5.10.6.7). */
static void send_event(struct vsock *vs)
{
	struct vsock_event event = { .id = VSOCK_EVENT_TRANSPORT_RESET };
	struct virtq *q = &vs->dev.queues[VSOCK_QUEUE_EVENT];
	struct virtq_chain *chain = &vs->tx_chain;
	enum virtq_status st;

	if (!vs->event_owed || !vs->dev.active || !q->ready)
		return;
	st = virtq_pop(q, chain);
	if (st == VIRTQ_EMPTY) {
		virtq_enable_kicks(q, true);
		st = virtq_pop(q, chain);
	}
	if (st == VIRTQ_EMPTY)
		return;
	if (st == VIRTQ_BROKEN || chain->write_len < sizeof(event)) {
		virtio_device_fail(&vs->dev, "event buffer");
		return;
	}
	vs->event_owed = false;
	(void)virtq_chain_write(chain, 0, &event, sizeof(event));
	if (virtq_push(q, chain->head, sizeof(event)))
		virtio_device_signal(&vs->dev, VSOCK_QUEUE_EVENT);
}

static void vsock_kick(struct virtio_device *dev, uint16_t index)
{
	struct vsock *vs = to_vsock(dev);

	if (index == VSOCK_QUEUE_EVENT) {
		send_event(vs);
		return;
	}
	if (index == VSOCK_QUEUE_TX)
		vsock_tx_run(vs);
	vsock_run(vs);
}

static void vsock_activate(struct virtio_device *dev)
{
	struct vsock *vs = to_vsock(dev);

	vs->rx_kicks = true; /* as the driver assumes until told otherwise */
	vsock_tx_run(vs);
	vsock_run(vs);
}

static void vsock_reset(struct virtio_device *dev)
{
	struct vsock *vs = to_vsock(dev);

	loop_timer_disarm(&vs->again);
	vsock_conns_release_all(vs);
	vs->event_owed = vs->tx_stalled = vs->rx_kicks = false;
}

static void on_again(struct loop_timer *timer)
{
	struct vsock *vs = timer->data;

	vsock_tx_run(vs);
	vsock_run(vs);
}

static void on_listen_again(struct loop_timer *timer)
{
	vsock_host_listen(timer->data);
}

static void vsock_config_read(struct virtio_device *dev, uint32_t offset,
			      void *data, uint32_t len)
{
	memcpy(data, (const uint8_t *)&to_vsock(dev)->space + offset, len);
}

/* Version 1: the guest's CID. Connections do not travel. */
static void vsock_save(struct virtio_device *dev, struct state_writer *w)
{
	state_put_u64(w, to_vsock(dev)->space.guest_cid);
}

static bool cid_ok(uint64_t cid)
{
	return cid >= VSOCK_CID_GUEST_MIN && cid < UINT32_MAX;
}

static int vsock_load(struct virtio_device *dev, struct state_reader *r,
		      struct err *e)
{
	struct vsock *vs = to_vsock(dev);
	uint64_t cid = state_get_u64(r);

	if (r->failed || !cid_ok(cid))
		return err_set(e, ERR_CORRUPT, "state_corrupt", 0,
			       "socket device: impossible CID");
	vs->space.guest_cid = cid;
	/*
	 * Sent by the kick of the event queue when the machine resumes. A
	 * driver that is only starting has no connections that could be lost.
	 */
	vs->event_owed = dev->active;
	return 0;
}

static void vsock_free(struct virtio_device *dev)
{
	struct vsock *vs = to_vsock(dev);

	loop_timer_disarm(&vs->again);
	loop_timer_disarm(&vs->listen_again);
	loop_remove(&vs->listener);
	vsock_conns_done(vs);
	close_fd(&vs->listen_fd);
	free(vs);
}

static const struct virtio_device_ops vsock_ops = {
	.name = "vsock",
	.device_id = VIRTIO_VSOCK_DEVICE_ID,
	.queue_count = VSOCK_QUEUE_COUNT,
	.config_len = sizeof(struct vsock_space),
	.activate = vsock_activate,
	.reset = vsock_reset,
	.kick = vsock_kick,
	.config_read = vsock_config_read,
	.save = vsock_save,
	.load = vsock_load,
	.free = vsock_free,
};

static int check_config(const struct virtio_vsock_config *config, struct err *e)
{
	if (!cid_ok(config->guest_cid))
		return err_set(e, ERR_INVALID, "vsock_config_invalid", 0,
			       "guest CID %llu is not in %d..%u",
			       (unsigned long long)config->guest_cid,
			       VSOCK_CID_GUEST_MIN, UINT32_MAX - 1);
	if (config->base &&
	    (!config->base[0] || strlen(config->base) >= VSOCK_BASE_MAX))
		return err_set(e, ERR_INVALID, "vsock_config_invalid", 0,
			       "the socket path must have 1..%d bytes: start "
			       "with its directory as working directory",
			       VSOCK_BASE_MAX - 1);
	return 0;
}

int virtio_vsock_new(const struct virtio_vsock_config *config,
		     const struct guest_mem *mem, struct loop *loop,
		     struct virtio_device **ret, struct err *e)
{
	struct vsock *vs;
	int rc = check_config(config, e);

	if (rc < 0)
		return rc;
	vs = calloc(1, sizeof(*vs));
	if (!vs)
		return err_sys(e, ENOMEM, "socket device");
	vs->listen_fd = vs->listener.fd = -1;
	virtio_device_init(&vs->dev, &vsock_ops, mem, loop, 0, VIRTQ_SIZE_MAX);
	loop_timer_init(loop, &vs->again, on_again, vs);
	loop_timer_init(loop, &vs->listen_again, on_listen_again, vs);
	vs->space.guest_cid = config->guest_cid;
	vs->connect = config->connect;
	vs->connect_ctx = config->connect_ctx;
	vs->dir_fd = config->dir_fd;
	if (config->base)
		memcpy(vs->base, config->base, strlen(config->base) + 1);
	vs->connect_timeout_ms = config->connect_timeout_ms
					 ? config->connect_timeout_ms
					 : CONNECT_TIMEOUT_MS;
	vs->linger_timeout_ms = config->linger_timeout_ms
					? config->linger_timeout_ms
					: LINGER_TIMEOUT_MS;
	rc = vsock_conns_init(vs);
	if (!rc && config->listen_fd >= 0)
		rc = file_set_nonblock(config->listen_fd);
	if (!rc && config->listen_fd >= 0)
		rc = loop_add(loop, &vs->listener, config->listen_fd, EPOLLIN,
			      vsock_host_accept, vs);
	if (rc < 0) {
		vsock_free(&vs->dev);
		return err_sys(e, -rc, "socket device");
	}
	vs->listen_fd = config->listen_fd;
	*ret = &vs->dev;
	return 0;
}

const struct virtio_vsock_stats *
virtio_vsock_stats(const struct virtio_device *dev)
{
	return &((const struct vsock *)dev)->stats;
}

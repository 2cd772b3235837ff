/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device: creation, configuration space, life cycle, events. See
 * net.h; the data paths are in net_rx.c and net_tx.c.
 *
 * What the loop watches follows from the device's state alone: readable unless
 * a frame waits for the guest, writable while something waits to leave. The
 * driver's kicks are the other half: rx kicks are asked for only while a frame
 * waits, tx kicks only while nothing does.
 */
#include "virtio/net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "virtio/net/net_internal.h"

enum {
	NET_STARVED_MS = 10
};

static struct virtio_net *to_net(struct virtio_device *dev)
{
	return (struct virtio_net *)dev;
}

static void update_interest(struct virtio_net *net)
{
	uint32_t events = 0;

	if (!net->backend) {
		/* Nothing will call back: look at the queue again soon. */
		if (net->tx_waiting)
			loop_timer_arm_soon(&net->again);
		return;
	}
	if (net->starved) {
		/* It would be ready at once, and fail again. */
		(void)loop_modify(&net->source, 0);
		loop_timer_arm(&net->again, NET_STARVED_MS);
		return;
	}
	if (net->dev.active && net->dev.queues[NET_QUEUE_RX].ready &&
	    !net->rx_waiting)
		events |= EPOLLIN;
	if (net->tx_waiting)
		events |= EPOLLOUT;
	(void)loop_modify(&net->source, events);
}

void net_link_lost(struct virtio_net *net, int rc)
{
	loop_remove(&net->source);
	net_backend_free(net->backend);
	net->backend = NULL;
	net->space.status = 0;
	net->rx_waiting = net->starved = false;
	log_debug("net: link lost: %s", strerror(-rc));
	if (net->link_lost)
		net->link_lost(net->ctx, strerror(-rc));
	if (net->dev.active)
		virtio_device_config_changed(&net->dev);
}

static void net_event(struct loop_source *source, uint32_t events)
{
	struct virtio_net *net = source->data;

	if (events & EPOLLIN)
		net_rx_run(net);
	else if (events & (EPOLLHUP | EPOLLERR))
		net_link_lost(net, -EPIPE);
	if (events & EPOLLOUT)
		net_tx_run(net);
	update_interest(net);
}

static void net_again(struct loop_timer *timer)
{
	struct virtio_net *net = timer->data;

	net->starved = false;
	net_rx_run(net);
	net_tx_run(net);
	update_interest(net);
}

/* A peer came; the one before it has gone, also if we have not heard yet. */
static void on_peer(void *ctx, int fd)
{
	struct virtio_net *net = ctx;
	struct err e = ERR_INIT;
	int rc;

	if (net->backend)
		net_link_lost(net, -EPIPE);
	rc = net_stream_new(fd, &net->backend, &e);
	if (rc == 0)
		rc = loop_add(net->dev.loop, &net->source, fd, 0, net_event,
			      net);
	if (rc < 0) {
		log_warn("net: a new peer cannot be served: %s", strerror(-rc));
		free(net->backend);
		net->backend = NULL;
		(void)close(fd);
		return;
	}
	net->space.status = NET_S_LINK_UP;
	if (net->dev.active)
		virtio_device_config_changed(&net->dev);
	net_rx_run(net);
	net_tx_run(net);
	update_interest(net);
}

static void set_features(struct virtio_net *net)
{
	int rc = 0;

	if (net->backend)
		rc = net->backend->ops->set_features(net->backend,
						     net->dev.features);
	if (rc < 0)
		net_link_lost(net, rc);
}

static void net_activate(struct virtio_device *dev)
{
	struct virtio_net *net = to_net(dev);
	struct virtq *rx = &dev->queues[NET_QUEUE_RX];

	net->rx_waiting = net->rx_kicks = false;
	set_features(net);
	if (rx->ready)
		virtq_enable_kicks(rx, false);
	net_rx_run(net);
	net_tx_run(net);
	update_interest(net);
}

static void net_reset(struct virtio_device *dev)
{
	struct virtio_net *net = to_net(dev);

	/* Whole frames that were taken still leave; nothing else is kept. */
	net->rx_waiting = net->rx_kicks = false;
	loop_timer_disarm(&net->again);
	net_tx_run(net);
	update_interest(net);
}

static void net_kick(struct virtio_device *dev, uint16_t index)
{
	struct virtio_net *net = to_net(dev);

	if (index == NET_QUEUE_RX)
		net_rx_run(net);
	else
		net_tx_run(net);
	update_interest(net);
}

static void net_config_read(struct virtio_device *dev, uint32_t offset,
			    void *data, uint32_t len)
{
	memcpy(data, (const uint8_t *)&to_net(dev)->space + offset, len);
}

/* Version 1: mac, mtu, status. The link is the host's; status is what the
 * driver knows of it. */
static void net_save(struct virtio_device *dev, struct state_writer *w)
{
	struct virtio_net *net = to_net(dev);

	state_put_bytes(w, net->space.mac, sizeof(net->space.mac));
	state_put_u16(w, net->space.mtu);
	state_put_u16(w, net->space.status);
}

static int net_load(struct virtio_device *dev, struct state_reader *r,
		    struct err *e)
{
	struct virtio_net *net = to_net(dev);
	uint8_t mac[6];
	uint16_t mtu, status;

	state_get_bytes(r, mac, sizeof(mac));
	mtu = state_get_u16(r);
	status = state_get_u16(r);
	if (r->failed || (mac[0] & 1) ||
	    (mtu && (mtu < NET_MTU_MIN || mtu > NET_MTU_MAX)))
		return err_set(e, ERR_CORRUPT, "state_corrupt", 0,
			       "network device: impossible MAC or MTU");
	memcpy(net->space.mac, mac, sizeof(mac));
	net->space.mtu = mtu;
	if (!dev->active)
		return 0;
	/* The kicks of a resuming machine start the rest. */
	net->rx_kicks = true;
	set_features(net);
	if (status != net->space.status)
		virtio_device_config_changed(dev);
	return 0;
}

static void net_free(struct virtio_device *dev)
{
	struct virtio_net *net = to_net(dev);

	loop_timer_disarm(&net->again);
	listener_close(&net->listener);
	loop_remove(&net->source);
	net_backend_free(net->backend);
	free(net);
}

static const struct virtio_device_ops net_ops = {
	.name = "net",
	.device_id = VIRTIO_NET_DEVICE_ID,
	.queue_count = NET_QUEUE_COUNT,
	.config_len = sizeof(struct net_space),
	.activate = net_activate,
	.reset = net_reset,
	.kick = net_kick,
	.config_read = net_config_read,
	.save = net_save,
	.load = net_load,
	.free = net_free,
};

static int check_config(const struct virtio_net_config *config, struct err *e)
{
	static const uint8_t no_mac[6];

	if (memcmp(config->mac, no_mac, sizeof(no_mac)) == 0 ||
	    (config->mac[0] & 1))
		return err_set(e, ERR_INVALID, "net_config_invalid", 0,
			       "the MAC address must be unicast and not zero");
	if (config->mtu &&
	    (config->mtu < NET_MTU_MIN || config->mtu > NET_MTU_MAX))
		return err_set(e, ERR_INVALID, "net_config_invalid", 0,
			       "MTU %u is not in %d..%d", (unsigned)config->mtu,
			       NET_MTU_MIN, NET_MTU_MAX);
	return 0;
}

static bool is_listening(int fd)
{
	socklen_t len = sizeof(int);
	int on = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

/* On success the device owns config->fd. */
static int open_backend(struct virtio_net *net,
			const struct virtio_net_config *config,
			struct loop *loop, struct err *e)
{
	int rc = file_set_nonblock(config->fd);

	if (rc < 0)
		return err_sys(e, -rc, "network descriptor %d", config->fd);
	if (config->backend == VIRTIO_NET_STREAM && is_listening(config->fd)) {
		/* It takes the descriptor also when it fails. */
		int fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 3);

		rc = fd < 0 ? -errno
			    : listener_open(&net->listener, loop, fd, on_peer,
					    net);
		if (rc < 0)
			return err_sys(e, -rc, "watch network descriptor %d",
				       config->fd);
		(void)close(config->fd);
		return 0;
	}
	rc = loop_add(loop, &net->source, config->fd, 0, net_event, net);
	if (rc < 0)
		return err_sys(e, -rc, "watch network descriptor %d",
			       config->fd);
	rc = config->backend == VIRTIO_NET_TAP
		     ? net_tap_new(config->fd, &net->backend, e)
		     : net_stream_new(config->fd, &net->backend, e);
	if (rc < 0)
		loop_remove(&net->source);
	return rc;
}

int virtio_net_new(const struct virtio_net_config *config,
		   const struct guest_mem *mem, struct loop *loop,
		   struct virtio_device **ret, struct err *e)
{
	AUTO(free) struct virtio_net *net = NULL;
	uint64_t features =
		1u << NET_F_MAC | 1u << NET_F_STATUS | 1u << NET_F_MRG_RXBUF;
	int rc = check_config(config, e);

	if (rc < 0)
		return rc;
	net = calloc(1, sizeof(*net));
	if (!net)
		return err_sys(e, ENOMEM, "network device");
	listener_init(&net->listener);
	rc = open_backend(net, config, loop, e);
	if (rc < 0)
		return rc;
	if (!net->backend)
		features |= NET_STREAM_FEATURES; /* of whoever comes */
	else
		features |= net->backend->features;
	net->link_lost = config->link_lost;
	net->ctx = config->ctx;
	net->space.status = net->backend ? NET_S_LINK_UP : 0;
	net->space.max_virtqueue_pairs = 1;
	net->space.mtu = config->mtu;
	memcpy(net->space.mac, config->mac, sizeof(net->space.mac));
	if (config->mtu)
		features |= 1u << NET_F_MTU;
	loop_timer_init(loop, &net->again, net_again, net);
	virtio_device_init(&net->dev, &net_ops, mem, loop, features,
			   config->queue_max ? config->queue_max
					     : VIRTQ_SIZE_MAX);
	*ret = &take_ptr(net)->dev;
	return 0;
}

const struct virtio_net_stats *virtio_net_stats(const struct virtio_device *dev)
{
	return &((const struct virtio_net *)dev)->stats;
}

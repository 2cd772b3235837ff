/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device (VIRTIO 1.2, section 5.1) over one of two backends: a tap
 * descriptor, where the kernel does checksums and segmentation, or a stream
 * socket that speaks passt's (and QEMU's) framing: a 32-bit big-endian length
 * before each Ethernet frame.
 *
 * The guest controls the rings, the header before each frame and the frames.
 * The peer of a stream controls lengths and frames. A peer that breaks the
 * framing or goes away loses the link: the guest sees link down and goes on.
 * A host that is short of memory for a moment loses nothing.
 *
 * Frames are never dropped for want of room: a full backend stops the transmit
 * queue, an empty receive queue stops reading from the backend.
 */
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "virtio/device.h"
#include "virtio/guest_mem.h"

enum virtio_net_backend {
	/* A tap with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR. */
	VIRTIO_NET_TAP,
	/*
	 * A connected stream socket of passt, or a listening one: then peers
	 * may come and go, a new one replaces the old, and the guest's link is
	 * up while there is one.
	 */
	VIRTIO_NET_STREAM
};

struct virtio_net_config {
	enum virtio_net_backend backend;
	int fd; /* owned by the device once creation succeeded */
	uint8_t mac[6]; /* unicast, not zero */
	uint16_t mtu; /* 68..65521, or 0: not told to the guest */
	uint16_t queue_max; /* power of two; 0: 256 */
	/* Called once when the link is lost, for the log; may be NULL. */
	void (*link_lost)(void *ctx, const char *why);
	void *ctx;
};

struct virtio_net_stats {
	uint64_t rx_frames, rx_bytes, rx_dropped;
	uint64_t tx_frames, tx_bytes, tx_dropped;
};

/*
 * Creates the device. The configuration is read only during the call. On
 * success the device owns config->fd (set to non-blocking) and is freed, with
 * its memory, by its ops->free. Errors: net_config_invalid, net_tap_unsuitable,
 * net_failed.
 *
 * System calls after creation: read, writev, recvfrom, sendto, close, epoll_ctl,
 * timerfd_settime and, when a driver starts on a tap, ioctl(TUNSETOFFLOAD).
 */
int virtio_net_new(const struct virtio_net_config *config,
		   const struct guest_mem *mem, struct loop *loop,
		   struct virtio_device **ret, struct err *e);

/* Counters since creation. */
const struct virtio_net_stats *
virtio_net_stats(const struct virtio_device *dev);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tap backend. The kernel's vnet header is the virtio header, so that
 * checksums and segmentation are left to whoever needs them last. Frames come
 * in through one buffer (the guest's receive buffers are smaller than the
 * largest frame), and go out straight from guest memory.
 *
 * The kernel checks the header again; ours was checked and copied before, so
 * that the guest cannot change it in between.
 */
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "virtio/net/net_backend.h"
#include "virtio/virtq.h"

enum {
	/* One byte more than fits: a longer frame is seen, not cut. */
	TAP_BUF_LEN = sizeof(struct net_hdr) + NET_FRAME_MAX + 1
};

struct net_tap {
	struct net_backend b;
	struct net_frame frame; /* the one in buf; len 0: none */
	uint8_t buf[TAP_BUF_LEN];
};

static int tap_next_frame(struct net_backend *b, bool may_read,
			  struct net_frame **ret)
{
	struct net_tap *tap = (struct net_tap *)b;
	struct net_frame *frame = &tap->frame;

	while (!frame->len) {
		ssize_t n;

		if (!may_read)
			return 0;
		n = read(b->fd, tap->buf, sizeof(tap->buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : net_errno(errno);
		if (n == 0)
			return -EPIPE;
		if ((size_t)n < sizeof(frame->hdr) + NET_ETH_HDR_LEN ||
		    (size_t)n == sizeof(tap->buf))
			continue;
		memcpy(&frame->hdr, tap->buf, sizeof(frame->hdr));
		frame->data = tap->buf + sizeof(frame->hdr);
		frame->len = (size_t)n - sizeof(frame->hdr);
	}
	*ret = frame;
	return 1;
}

static void tap_frame_done(struct net_backend *b)
{
	((struct net_tap *)b)->frame.len = 0;
}

static int tap_send(struct net_backend *b, const struct net_hdr *hdr,
		    const struct iovec *iov, size_t count, size_t len)
{
	struct iovec out[1 + VIRTQ_CHAIN_MAX];
	struct net_hdr copy = *hdr;
	ssize_t n;

	(void)len;
	out[0] = (struct iovec){ .iov_base = &copy, .iov_len = sizeof(copy) };
	memcpy(&out[1], iov, count * sizeof(*iov));
	do {
		n = writev(b->fd, out, (int)(count + 1));
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	switch (errno) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		return net_errno(errno);
	case EBADFD:
	case ENODEV:
		return -errno;
	default:
		/* The kernel refuses the frame, or the interface is down. */
		return -EMSGSIZE;
	}
}

static int tap_flush(struct net_backend *b)
{
	(void)b;
	return 0;
}

static int tap_set_features(struct net_backend *b, uint64_t features)
{
	unsigned long offload = 0;

	/* Segmentation stands on checksum offload (5.1.3.1). */
	if (features & (1u << NET_F_GUEST_CSUM)) {
		offload |= TUN_F_CSUM;
		if (features & (1u << NET_F_GUEST_TSO4))
			offload |= TUN_F_TSO4;
		if (features & (1u << NET_F_GUEST_TSO6))
			offload |= TUN_F_TSO6;
		if ((offload & (TUN_F_TSO4 | TUN_F_TSO6)) &&
		    (features & (1u << NET_F_GUEST_ECN)))
			offload |= TUN_F_TSO_ECN;
	}
	return ioctl(b->fd, TUNSETOFFLOAD, offload) < 0 ? -errno : 0;
}

static const struct net_backend_ops tap_ops = {
	.name = "tap",
	.next_frame = tap_next_frame,
	.frame_done = tap_frame_done,
	.send = tap_send,
	.flush = tap_flush,
	.set_features = tap_set_features,
};

int net_tap_new(int fd, struct net_backend **ret, struct err *e)
{
	int hdr_len = sizeof(struct net_hdr);
	AUTO(free) struct net_tap *tap = NULL;
	struct ifreq ifr = { 0 };

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return err_set(e, ERR_INVALID, "net_tap_unsuitable", errno,
			       "descriptor %d is not a tap: %s", fd,
			       strerror(errno));
	if ((ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) !=
	    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
		return err_set(e, ERR_INVALID, "net_tap_unsuitable", EINVAL,
			       "tap %.16s lacks IFF_TAP, IFF_NO_PI or "
			       "IFF_VNET_HDR: create it with them",
			       ifr.ifr_name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) < 0)
		return err_set(e, ERR_INTERNAL, "net_failed", errno,
			       "header size of tap %.16s: %s", ifr.ifr_name,
			       strerror(errno));
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return err_sys(e, ENOMEM, "tap backend");
	tap->b = (struct net_backend){ .ops = &tap_ops, .fd = fd };
	tap->b.features = 1u << NET_F_CSUM | 1u << NET_F_HOST_TSO4 |
			  1u << NET_F_HOST_TSO6 | 1u << NET_F_HOST_ECN |
			  1u << NET_F_GUEST_CSUM | 1u << NET_F_GUEST_TSO4 |
			  1u << NET_F_GUEST_TSO6 | 1u << NET_F_GUEST_ECN;
	/* A kernel that knows fewer offloads gets plain frames only. */
	if (tap_set_features(&tap->b, tap->b.features) < 0)
		tap->b.features = 1u << NET_F_CSUM;
	if (tap_set_features(&tap->b, 0) < 0)
		return err_set(e, ERR_INTERNAL, "net_failed", errno,
			       "offloads of tap %.16s: %s", ifr.ifr_name,
			       strerror(errno));
	*ret = &take_ptr(tap)->b;
	return 0;
}

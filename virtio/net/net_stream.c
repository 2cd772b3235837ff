/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream backend: passt(1), and anything else that speaks the framing of
 * QEMU's stream netdev. Each frame follows its length, 32 bits big-endian. There
 * is no header for offloads: checksums that the guest left open are completed
 * here, segmentation is not offered.
 *
 * Two buffers of two largest frames each. Frames out are gathered and written in
 * one call; frames in are read as they come and handed out where they lie. Once
 * a length is wrong the stream cannot be followed any more: the link is lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "virtio/net/net_backend.h"
#include "virtio/net/net_csum.h"

enum {
	STREAM_LEN_BYTES = 4,
	STREAM_BUF_LEN = 2 * (STREAM_LEN_BYTES + NET_FRAME_MAX),
	/* passt takes frames up to this and resets the link for longer ones. */
	STREAM_SEND_MAX = 65535
};

struct net_stream {
	struct net_backend b;
	size_t in_start, in_end; /* unread bytes in in[] */
	size_t out_start, out_end; /* unsent bytes in out[] */
	struct net_frame frame; /* the one at in_start, when it is whole */
	uint8_t in[STREAM_BUF_LEN];
	uint8_t out[STREAM_BUF_LEN];
};

/* 1: a whole frame lies at in_start; 0: not yet; -EPROTO. */
static int frame_ready(const struct net_stream *s, size_t *ret_len)
{
	size_t have = s->in_end - s->in_start;
	uint32_t raw_len;

	if (have < STREAM_LEN_BYTES)
		return 0;
	memcpy(&raw_len, s->in + s->in_start, sizeof(raw_len));
	raw_len = be32toh(raw_len);
	if (raw_len < NET_ETH_HDR_LEN || raw_len > NET_FRAME_MAX)
		return -EPROTO;
	*ret_len = raw_len;
	return have - STREAM_LEN_BYTES >= raw_len;
}

static void make_room(struct net_stream *s)
{
	if (s->in_start == s->in_end) {
		s->in_start = s->in_end = 0;
	} else if (STREAM_BUF_LEN - s->in_start <
		   STREAM_LEN_BYTES + NET_FRAME_MAX) {
		memmove(s->in, s->in + s->in_start, s->in_end - s->in_start);
		s->in_end -= s->in_start;
		s->in_start = 0;
	}
}

static int stream_next_frame(struct net_backend *b, bool may_read,
			     struct net_frame **ret)
{
	struct net_stream *s = (struct net_stream *)b;
	size_t len;

	for (;;) {
		int rc = frame_ready(s, &len);
		ssize_t n;

		if (rc < 0)
			return rc;
		if (rc > 0)
			break;
		if (!may_read)
			return 0;
		make_room(s);
		n = recv(b->fd, s->in + s->in_end, STREAM_BUF_LEN - s->in_end,
			 MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : net_errno(errno);
		if (n == 0)
			return -EPIPE;
		s->in_end += (size_t)n;
	}
	s->frame = (struct net_frame){
		.data = s->in + s->in_start + STREAM_LEN_BYTES,
		.len = len,
	};
	*ret = &s->frame;
	return 1;
}

static void stream_frame_done(struct net_backend *b)
{
	struct net_stream *s = (struct net_stream *)b;
	size_t len;

	if (frame_ready(s, &len) == 1)
		s->in_start += STREAM_LEN_BYTES + len;
}

static int stream_flush(struct net_backend *b)
{
	struct net_stream *s = (struct net_stream *)b;

	while (s->out_start < s->out_end) {
		ssize_t n = send(b->fd, s->out + s->out_start,
				 s->out_end - s->out_start,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return net_errno(errno);
		s->out_start += (size_t)n;
	}
	s->out_start = s->out_end = 0;
	return 0;
}

static int stream_send(struct net_backend *b, const struct net_hdr *hdr,
		       const struct iovec *iov, size_t count, size_t len)
{
	struct net_stream *s = (struct net_stream *)b;
	uint32_t wire_len = htobe32((uint32_t)len);
	uint8_t *frame, *at;
	int rc;

	if (len > STREAM_SEND_MAX)
		return -EMSGSIZE;
	if (STREAM_BUF_LEN - s->out_end < STREAM_LEN_BYTES + len) {
		rc = stream_flush(b);
		if (rc < 0)
			return rc;
	}
	memcpy(s->out + s->out_end, &wire_len, sizeof(wire_len));
	at = frame = s->out + s->out_end + STREAM_LEN_BYTES;
	for (size_t i = 0; i < count; i++) {
		memcpy(at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	if ((hdr->flags & NET_HDR_F_NEEDS_CSUM) &&
	    !net_csum_complete(frame, len, hdr->csum_start, hdr->csum_offset))
		return -EMSGSIZE;
	s->out_end += STREAM_LEN_BYTES + len;
	return 0;
}

static int stream_set_features(struct net_backend *b, uint64_t features)
{
	(void)b;
	(void)features;
	return 0;
}

static const struct net_backend_ops stream_ops = {
	.name = "stream",
	.next_frame = stream_next_frame,
	.frame_done = stream_frame_done,
	.send = stream_send,
	.flush = stream_flush,
	.set_features = stream_set_features,
};

int net_stream_new(int fd, struct net_backend **ret, struct err *e)
{
	socklen_t type_len = sizeof(int);
	struct net_stream *s;
	int type = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 ||
	    type != SOCK_STREAM)
		return err_set(e, ERR_INVALID, "net_config_invalid", EINVAL,
			       "descriptor %d is not a stream socket", fd);
	/* Untouched pages of the buffers cost nothing until traffic flows. */
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_sys(e, ENOMEM, "stream backend");
	s->b = (struct net_backend){ .ops = &stream_ops,
				     .fd = fd,
				     .features = NET_STREAM_FEATURES };
	*ret = &s->b;
	return 0;
}

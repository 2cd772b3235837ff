/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output that waits for one of our standard descriptors. They stay in blocking
 * mode (they are shared with other processes): a write happens only after poll()
 * said so. A pipe is opened once more, by us and non-blocking; anything else that
 * could block, and a pipe that may not be opened, gets at most PIPE_BUF bytes at
 * once, which then fit.
 */
#ifndef VMCTL_STREAM_OUT_H
#define VMCTL_STREAM_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct stream_out {
	int fd; /* to poll and write */
	int own_fd; /* the pipe as we opened it; -1 */
	size_t chunk; /* most bytes of one write */
	bool closed; /* the reader is gone: output is dropped */
	struct buf pending;
};

/* More than this waiting: stop reading the socket. */
enum {
	STREAM_OUT_HIGH = 65536
};

void stream_out_init(struct stream_out *s, int fd);
void stream_out_done(struct stream_out *s);
/* 0 or -ENOBUFS. */
int stream_out_add(struct stream_out *s, const uint8_t *data, size_t len);
/* After poll() said POLLOUT. 0, -EPIPE when the reader is gone, -errno. */
int stream_out_write(struct stream_out *s);
static inline size_t stream_out_pending(const struct stream_out *s)
{
	return buf_len(&s->pending);
}

#endif

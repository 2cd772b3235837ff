/* SPDX-License-Identifier: Apache-2.0 */
/* Output that waits for one of our standard descriptors. */
#include "vmctl/stream_out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* One message of the server behind the high-water mark, and some. */
enum {
	LIMIT = 4 << 20,
	CHUNK_MAX = 65536
};

/*
 * The same pipe as an open file of ours alone, so that "non-blocking" is not a
 * surprise for those who share ours. -1: not allowed, or the reader has left.
 */
static int reopen(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

void stream_out_init(struct stream_out *s, int fd)
{
	struct stat st;

	*s = (struct stream_out){ .fd = fd,
				  .own_fd = -1,
				  .chunk = PIPE_BUF,
				  .pending = BUF_INIT(LIMIT) };
	if (fstat(fd, &st) < 0)
		return;
	if (S_ISFIFO(st.st_mode))
		s->own_fd = reopen(fd);
	if (s->own_fd >= 0)
		s->fd = s->own_fd;
	if (S_ISREG(st.st_mode) || s->own_fd >= 0)
		s->chunk = CHUNK_MAX;
}

void stream_out_done(struct stream_out *s)
{
	close_fd(&s->own_fd);
	buf_done(&s->pending);
}

int stream_out_add(struct stream_out *s, const uint8_t *data, size_t len)
{
	return s->closed || len == 0 ? 0 : buf_append(&s->pending, data, len);
}

int stream_out_write(struct stream_out *s)
{
	size_t len = buf_len(&s->pending);
	ssize_t n;

	if (len == 0)
		return 0;
	n = write(s->fd, buf_head(&s->pending),
		  len < s->chunk ? len : s->chunk);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0) {
		int sys = errno;

		s->closed = true;
		buf_consume(&s->pending, len);
		return -sys;
	}
	buf_consume(&s->pending, (size_t)n);
	return 0;
}

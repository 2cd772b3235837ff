/* SPDX-License-Identifier: Apache-2.0 */
/* Output that waits for one of our standard descriptors. */
#include "vmctl/stream_out.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* One message of the server behind the high-water mark, and some. */
enum {
	LIMIT = 4 << 20,
	FILE_CHUNK = 65536
};

void stream_out_init(struct stream_out *s, int fd)
{
	struct stat st;

	*s = (struct stream_out){ .fd = fd, .pending = BUF_INIT(LIMIT) };
	s->regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

void stream_out_done(struct stream_out *s)
{
	buf_done(&s->pending);
}

int stream_out_add(struct stream_out *s, const uint8_t *data, size_t len)
{
	return s->closed || len == 0 ? 0 : buf_append(&s->pending, data, len);
}

int stream_out_write(struct stream_out *s)
{
	size_t most = s->regular ? FILE_CHUNK : PIPE_BUF;
	size_t len = buf_len(&s->pending);
	ssize_t n;

	if (len == 0)
		return 0;
	n = write(s->fd, buf_head(&s->pending), len < most ? len : most);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Running a small program for its answer; see host.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"
#include "vmd/engines/host.h"

/* Reads until the writers are gone; what does not fit is dropped. */
static int collect(int fd, uint64_t end_ms, char *out, size_t size)
{
	size_t used = 0;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_mono_ms();
		char piece[4096];
		ssize_t n;

		if (now >= end_ms)
			return -ETIMEDOUT;
		if (poll(&pfd, 1, (int)(end_ms - now)) <= 0)
			continue;
		n = read(fd, piece, sizeof(piece));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		if ((size_t)n > size - 1 - used)
			n = (ssize_t)(size - 1 - used);
		memcpy(out + used, piece, (size_t)n);
		used += (size_t)n;
		out[used] = '\0';
	}
}

int host_run(const char *const *argv, int fd, uint64_t timeout_ms, char *out,
	     size_t size)
{
	uint64_t end_ms = clock_mono_ms() + timeout_ms;
	AUTO(fd) int rd = -1;
	AUTO(fd) int wr = -1;
	struct process p = PROCESS_INIT;
	struct process_exit x = { .known = false };
	uint64_t now;
	int pipe_fds[2], rc;

	out[0] = '\0';
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	rd = pipe_fds[0];
	wr = pipe_fds[1];
	struct process_fd fds[] = { { wr, 1 }, { wr, 2 }, { fd, 3 } };
	struct process_spec spec = { .argv = argv,
				     .fds = fds,
				     .fd_count = fd >= 0 ? 3 : 2,
				     .new_session = true,
				     .die_with_parent = true };

	rc = process_spawn(&spec, &p, NULL);
	if (rc < 0)
		return rc;
	close_fd(&wr);
	rc = collect(rd, end_ms, out, size);
	now = clock_mono_ms();
	if (rc == 0)
		rc = process_wait(&p, end_ms > now ? end_ms - now : 0, &x);
	if (rc < 0) {
		(void)process_signal_group(&p, SIGKILL);
		(void)process_wait(&p, 1000, &x);
	} else {
		rc = x.signal ? 128 + x.signal : x.status;
	}
	process_close(&p);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of a VM's programs in its run directory (see engine_base.h). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "vmd/engines/engine_base.h"

enum {
	LOG_KEEP_BYTES = 128 << 10,
	LOG_BLOCKS_BYTES = 512 << 10
};

int engine_log_open(int dirfd, const char *name, int *ret_fd, struct err *e)
{
	*ret_fd = openat(dirfd, name,
			 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
			 0600);
	return *ret_fd < 0 ? err_sys(e, errno, "cannot open %s", name) : 0;
}

void engine_log_bound(int dirfd, const char *name)
{
	AUTO(fd)
	int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	off_t cut;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_blocks * 512 < LOG_BLOCKS_BYTES)
		return;
	cut = (st.st_size - LOG_KEEP_BYTES) & ~(off_t)4095;
	/* Where a file cannot have holes it is cut: appending goes on. */
	if (cut > 0 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 0, cut) < 0)
		(void)!ftruncate(fd, 0);
}

void engine_log_tail(int dirfd, const char *name, char *out, size_t size)
{
	AUTO(fd)
	int fd = openat(dirfd, name,
			O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char text[1024];
	size_t used = 0;
	off_t len = 0;
	ssize_t n = 0;

	if (fd >= 0)
		len = lseek(fd, 0, SEEK_END);
	if (len > 0)
		n = pread(fd, text, sizeof(text),
			  len > (off_t)sizeof(text) ? len - (off_t)sizeof(text)
						    : 0);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	if (n <= 0) {
		(void)snprintf(out, size, "(no output)");
		return;
	}
	/* The end matters most: skip what does not fit. */
	for (ssize_t i = (size_t)n > size / 4 * 3 ? n - (ssize_t)(size / 4 * 3)
						  : 0;
	     i < n && used + 4 < size; i++) {
		char c = text[i];

		if (c == '\n') {
			memcpy(out + used, " | ", 3);
			used += 3;
		} else if (c != '\r') {
			out[used++] = text_printable(c) ? c : '?';
		}
	}
	out[used] = '\0';
}

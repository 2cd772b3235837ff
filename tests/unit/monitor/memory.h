/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory of zeros, and kernel files out of bytes. */
#ifndef TESTS_UNIT_MONITOR_MEMORY_H
#define TESTS_UNIT_MONITOR_MEMORY_H

#include <sys/mman.h>
#include <unistd.h>

#include "virtio/guest_mem.h"

static inline struct guest_mem memory_new(uint64_t bytes)
{
	struct guest_mem mem = {
		.regions = { { .len = bytes } },
		.count = 1,
	};
	void *host = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(host, MAP_FAILED);
	mem.regions[0].host = host;
	return mem;
}

static inline void memory_free(struct guest_mem *mem)
{
	(void)munmap(mem->regions[0].host, mem->regions[0].len);
}

static inline int file_of(const void *data, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	return fd;
}

#endif

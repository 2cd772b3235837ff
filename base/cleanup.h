/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound ownership: AUTO(kind) releases a variable when it leaves scope,
 * take_fd()/take_ptr() hand the value to somebody else. Destructors accept
 * NULL and -1. Never jump over an AUTO variable with goto.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AUTO(kind) __attribute__((cleanup(auto_##kind)))

static inline void auto_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void auto_free(void *slot)
{
	free(*(void **)slot);
}

static inline void auto_file(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

/* Returns *fd and leaves -1 behind: the caller of take_fd owns it now. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Closes *fd if it is open and sets it to -1. */
static inline void close_fd(int *fd)
{
	auto_fd(fd);
	*fd = -1;
}

/* Returns the pointer in p and leaves NULL behind. */
#define take_ptr(p)                         \
	__extension__({                     \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGBUS: a page that this process has mapped cannot be had: its file was cut,
 * a pool of pages is empty, or the host's memory is broken. Nothing can go on
 * from there; what is left to do is to say which memory it was, on standard
 * error and in the status record, and to end with the status of a host error.
 *
 * The handler runs on a stack of its own and calls write(2) and _exit(2) only.
 */
#ifndef MONITOR_BUS_ERROR_H
#define MONITOR_BUS_ERROR_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	BUS_ERROR_REGIONS_MAX = 4
};

/* Once per process. status_fd: of the status record, or -1; borrowed. */
int bus_error_init(int status_fd, struct err *e);

/*
 * Memory that has a name for the message: an address in it is told as offset
 * + base (a guest's memory: base is its guest-physical address). Before threads
 * start; name is kept by reference and has no quote in it.
 */
void bus_error_watch(const char *name, const void *at, size_t len,
		     uint64_t base);
/* Forgets them all: the memory goes away. */
void bus_error_unwatch(void);

/*
 * Each thread, before it touches such memory: gives the handler its stack.
 * Nothing happens in a process without bus_error_init(). 0 or -errno.
 */
int bus_error_enter(void);

#endif

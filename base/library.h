/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shared library that is loaded when it is first needed. For libraries that
 * bring dozens of others with them, in programs that mostly do without: the
 * dynamic linker's work on libcurl alone takes longer than a whole exec.
 */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H

#include <stddef.h>

#include "base/err.h"

struct library_function {
	const char *name;
	void *slot; /* address of a function pointer of the right type */
};

/*
 * Opens the first of names (ends with NULL) that is there and fills every slot;
 * the library stays for the life of the process. 0, or -ENOENT with
 * library_missing, which names the package to install; then no slot is set.
 */
int library_load(const char *const names[],
		 const struct library_function *functions, size_t count,
		 const char *package, struct err *e);

#endif

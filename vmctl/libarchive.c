/* SPDX-License-Identifier: Apache-2.0 */
/* See libarchive.h. */
#include "vmctl/libarchive.h"

#include "base/library.h"

struct libarchive la;

int libarchive_load(struct err *e)
{
#define FUNCTION(function) { #function, &la.function },
	static const struct library_function functions[] = {
		LIBARCHIVE_FUNCTIONS(FUNCTION)
	};
	static const char *const names[] = { "libarchive.so.13", NULL };

	if (la.archive_read_new)
		return 0;
	return library_load(names, functions,
			    sizeof(functions) / sizeof(functions[0]),
			    "libarchive13", e);
}

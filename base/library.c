/* SPDX-License-Identifier: Apache-2.0 */
/* See library.h. */
#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>

int library_load(const char *const names[],
		 const struct library_function *functions, size_t count,
		 const char *package, struct err *e)
{
	void *library = NULL;

	for (size_t i = 0; names[i] && !library; i++)
		library = dlopen(names[i], RTLD_LAZY | RTLD_LOCAL);
	if (!library)
		return err_set(e, ERR_UNAVAILABLE, "library_missing", ENOENT,
			       "the library %s cannot be loaded: install the "
			       "package %s",
			       names[0], package);
	for (size_t i = 0; i < count; i++) {
		if (dlsym(library, functions[i].name))
			continue;
		(void)dlclose(library);
		return err_set(e, ERR_UNAVAILABLE, "library_missing", ENOENT,
			       "the library %s has no function %s: install "
			       "the package %s of this Debian release",
			       names[0], functions[i].name, package);
	}
	/* POSIX promises that a function's address fits into a void pointer. */
	for (size_t i = 0; i < count; i++)
		*(void **)functions[i].slot = dlsym(library, functions[i].name);
	return 0;
}

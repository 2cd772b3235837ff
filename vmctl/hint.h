/* SPDX-License-Identifier: Apache-2.0 */
/* Errors in the words of the command line. */
#ifndef VMCTL_HINT_H
#define VMCTL_HINT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/validate.h"
#include "base/err.h"

/* "memory_bytes: …" becomes "--memory: …"; what could be had, or may have been
 * meant, is appended. */
void hint_add(struct err *e);

/*
 * The bounds of a number's field, told in the units of people: sizes or else
 * seconds. 0 or a usage error.
 */
int hint_bounds(const struct api_object *object, const char *field,
		const char *option, uint64_t value, bool size, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Errors in the words of the command line. */
#ifndef VMCTL_HINT_H
#define VMCTL_HINT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/validate.h"
#include "vmctl/ctx.h"

/* "memory_bytes: …" becomes "--memory: …", for messages of the API's tables. */
void hint_options(struct err *e);

/*
 * The bounds of a number's field, told in the units of people: sizes or else
 * seconds. 0 or a usage error.
 */
int hint_bounds(const struct api_object *object, const char *field,
		const char *option, uint64_t value, bool size, struct err *e);

/* A VM or image that does not exist, but one with a similar name does. */
void hint_near_name(const struct ctx *ctx, struct err *e);

#endif

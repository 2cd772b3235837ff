/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, read by the rows of command.h. */
#ifndef VMCTL_ARGS_H
#define VMCTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "vmctl/command.h"

struct arg_value {
	const struct option_row *option;
	const char *value; /* NULL for an option without one */
};

struct args {
	const struct command *command; /* NULL: none was named */
	const char *group; /* set when only a group was named */
	struct arg_value *values;
	size_t value_count;
	const char **operands;
	size_t operand_count;
};

/*
 * argv[0] is the program. Values point into argv. Errors are ERR_INVALID with
 * the code usage and a message that says what to do; ret->command is then set
 * if it was recognised. Call args_done() in every case.
 */
int args_parse(int argc, char **argv, struct args *ret, struct err *e);
void args_done(struct args *a);

bool args_has(const struct args *a, const char *option);
/* The last value given, or NULL. */
const char *args_value(const struct args *a, const char *option);
/* The values of a repeated option: starts with *cursor = 0, NULL at the end. */
const char *args_next(const struct args *a, const char *option, size_t *cursor);

#endif

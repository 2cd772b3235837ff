/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For programs that make system-call filters while vmd is built: the calls of
 * programs that are not ours (QEMU, passt, the tools of an image build) and of
 * vmd-priv, which has the calls of all that it starts, because a filter is
 * inherited through exec. One row for each call, with who has it.
 */
#ifndef BASE_CALL_TABLE_H
#define BASE_CALL_TABLE_H

#include <seccomp.h>
#include <stddef.h>

/* Whose list. */
enum {
	CALLS_QEMU = 1 << 0,
	CALLS_PASST = 1 << 1,
	CALLS_BUILD = 1 << 2, /* the tools of a recipe (images/recipe_jail.c) */
	CALLS_PRIV = 1 << 3, /* every row of the table */
};

/* A call that one of them has with any arguments. */
struct call_row {
	unsigned who;
	int call;
};

extern const struct call_row call_rows[];
extern const size_t call_row_count;

/*
 * Makes the list of one of them, on which what is absent does not exist (ENOSYS,
 * so that a C library falls back to what is there), and prints it on standard
 * output as "static const struct sock_filter NAME[]". 0 or -1.
 */
int call_table_print(unsigned who, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of vmctl as data: parsing, help, shell completion and the test of
 * the manual page all read these rows.
 */
#ifndef VMCTL_COMMAND_H
#define VMCTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

struct args;
struct ctx;

/* What an operand or an option's value is, for completion. */
enum word_kind {
	WORD_NONE,
	WORD_VM,
	WORD_IMAGE,
	WORD_OPERATION,
	WORD_FILE,
	WORD_ENGINE,
	WORD_RECIPE,
	WORD_STATE,
	WORD_OUTPUT,
	WORD_SHELL,
	WORD_NETWORK,
};

struct option_row {
	char letter; /* 0: none */
	const char *name; /* without the dashes */
	const char *value; /* name of its value in help; NULL: takes none */
	const char *help;
	bool repeat; /* may be given more than once */
	enum word_kind word;
};

struct command {
	const char *group; /* "image", or NULL */
	const char *name;
	const char *operands; /* "IMAGE [-- COMMAND [ARG...]]", for help */
	const char *summary;
	const struct option_row *options; /* ends with name == NULL */
	size_t min, max; /* operands */
	/* Operands after this many belong to a guest command: options end there.
	 * 0: there is no such command. */
	size_t before_command;
	enum word_kind word; /* of the operands */
	/* Exit statuses are those of run and exec: 125 for our own failure. */
	bool guest_status;
	bool offline; /* works without the daemon's socket */
	const char *help; /* paragraphs after the options, or NULL */
	int (*run)(struct ctx *ctx, const struct args *args);
};

/* Ends with name == NULL; groups stand together. */
extern const struct command commands[];
/* -o, --socket, --help: before or after the command's name. */
extern const struct option_row global_options[];

/* NULL when there is none. group may be NULL. */
const struct command *command_find(const char *group, const char *name);
bool command_group_exists(const char *group);

int cmd_run(struct ctx *ctx, const struct args *args);
int cmd_create(struct ctx *ctx, const struct args *args);
int cmd_start(struct ctx *ctx, const struct args *args);
int cmd_stop(struct ctx *ctx, const struct args *args);
int cmd_restart(struct ctx *ctx, const struct args *args);
int cmd_rm(struct ctx *ctx, const struct args *args);
int cmd_ls(struct ctx *ctx, const struct args *args);
int cmd_inspect(struct ctx *ctx, const struct args *args);
int cmd_exec(struct ctx *ctx, const struct args *args);
int cmd_cp(struct ctx *ctx, const struct args *args);
int cmd_forward(struct ctx *ctx, const struct args *args);
int cmd_logs(struct ctx *ctx, const struct args *args);
int cmd_console(struct ctx *ctx, const struct args *args);
int cmd_wait(struct ctx *ctx, const struct args *args);
int cmd_image_build(struct ctx *ctx, const struct args *args);
int cmd_image_ls(struct ctx *ctx, const struct args *args);
int cmd_image_inspect(struct ctx *ctx, const struct args *args);
int cmd_image_rm(struct ctx *ctx, const struct args *args);
int cmd_operation_ls(struct ctx *ctx, const struct args *args);
int cmd_operation_inspect(struct ctx *ctx, const struct args *args);
int cmd_operation_cancel(struct ctx *ctx, const struct args *args);
int cmd_operation_wait(struct ctx *ctx, const struct args *args);
int cmd_doctor(struct ctx *ctx, const struct args *args);
int cmd_version(struct ctx *ctx, const struct args *args);
int cmd_completion(struct ctx *ctx, const struct args *args);

#endif

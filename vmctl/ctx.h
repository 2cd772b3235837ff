/* SPDX-License-Identifier: Apache-2.0 */
/* What every command has: the client, the form of the output, error reports. */
#ifndef VMCTL_CTX_H
#define VMCTL_CTX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/client/client.h"
#include "base/err.h"
#include "vmctl/args.h"

enum output {
	OUTPUT_TABLE,
	OUTPUT_JSON,
	OUTPUT_NAME
};

/* Exit statuses. run and exec return the guest's own, else 125 to 127. */
enum {
	EXIT_OK = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_OURS = 125,
	EXIT_NOT_EXECUTABLE = 126,
	EXIT_NOT_FOUND = 127,
};

struct ctx {
	struct api_client *client;
	enum output output;
	bool output_given;
	const struct command *command;
};

/* Path of the daemon's socket: option, $VMD_SOCKET, own daemon, system. */
const char *ctx_socket_path(const char *option, char out[static 512]);

/* Prints "vmctl: message" on stderr, control characters removed, and returns the
 * exit status that fits: 125 for run and exec, else 1 (2 for usage). */
int ctx_fail(const struct ctx *ctx, const struct err *error);
/* ERR_INVALID with code usage. */
int usage_error(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* What was refused came from the command line: *e becomes a usage error, with
 * all that it says. */
int is_usage_error(struct err *e);
/* Says how to see and make images when the image is what is missing. */
void image_hint(struct err *e);
/* Appends to the message. */
void err_append(struct err *e, const char *text);
/* "vmctl: warning: …" on stderr. */
void ctx_warn(const char *text);
/* 125..127 for the error of a guest command. */
int exec_error_status(const struct err *e);
/* Status of a guest command: its own, or 128 + the signal. */
int guest_exit_status(uint64_t status, uint64_t signal);

/* "/v1/vms/NAME" + suffix, percent-encoded; malloc'd, NULL with *e set. */
char *ctx_path(const char *collection, const char *name, const char *suffix,
	       struct err *e);

/* One call without a body for an answer; see api_client_call(). */
int ctx_get(const struct ctx *ctx, const char *path, json_t **ret,
	    struct err *e);

/* Duration and size options; absent leaves *ret. */
int option_seconds(const struct args *a, const char *option, uint64_t *ret,
		   struct err *e);
int option_size(const struct args *a, const char *option, uint64_t *ret,
		struct err *e);

/* Prints one JSON value on stdout, indented. */
int print_json(const json_t *value);

/* Members of what the daemon sent; "" and 0 for absent or of another type. */
const char *text_of(const json_t *object, const char *field);
uint64_t number_of(const json_t *object, const char *field);

/* Runs fn for every operand; reports each failure; 0 or the last status. */
int for_each_operand(struct ctx *ctx, const struct args *args,
		     int (*fn)(struct ctx *ctx, const struct args *args,
			       const char *operand, struct err *e));

/* Sleepless wait for the end of an operation with progress on a terminal. *ret
 * (may be NULL) is the operation as it ended; it is an error when it failed or
 * was cancelled. cancel_on_interrupt: Ctrl-C cancels the operation. */
int operation_follow(struct ctx *ctx, const char *id, bool cancel_on_interrupt,
		     json_t **ret, struct err *e);
/* POST/DELETE that answers with an operation, then operation_follow(). */
int operation_run(struct ctx *ctx, const char *method, const char *path,
		  const json_t *body, bool cancel_on_interrupt, json_t **ret,
		  struct err *e);

/* SIGINT sets a flag from here on; the client's calls end by it. */
void interrupt_catch(struct ctx *ctx);
bool interrupt_seen(void);

#endif

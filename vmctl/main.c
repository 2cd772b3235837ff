/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmctl: everything a person or a script does with the daemon. It talks only to
 * the API. What it prints may come from guests and other users: text is made
 * safe for the terminal before it is shown.
 */
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "vmctl/ctx.h"
#include "vmctl/help.h"

/* The kernel's limit, see unix(7). */
enum {
	SOCKET_PATH_MAX = sizeof(((struct sockaddr_un *)NULL)->sun_path)
};

/*
 * Whether the reader of our output has left. errno does not say so any more when
 * the write failed inside stdio, somewhere before the end; the pipe does.
 */
static bool reader_left(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	return poll(&out, 1, 0) > 0 && (out.revents & POLLERR);
}

static int read_output(struct ctx *ctx, const struct args *args, struct err *e)
{
	const char *text = args_value(args, "output");

	if (!text)
		return 0;
	ctx->output_given = true;
	if (strcmp(text, "table") == 0)
		ctx->output = OUTPUT_TABLE;
	else if (strcmp(text, "json") == 0)
		ctx->output = OUTPUT_JSON;
	else if (strcmp(text, "name") == 0)
		ctx->output = OUTPUT_NAME;
	else
		return usage_error(e,
				   "--output '%.32s' is not table, json or "
				   "name",
				   text);
	return 0;
}

/* Output that was lost is no success. */
static int check_output(const struct ctx *ctx, int status)
{
	struct err e = ERR_INIT;

	(void)fflush(stdout);
	if (ferror(stdout) && reader_left())
		return 128 + SIGPIPE; /* it has seen enough */
	if (ferror(stdout) && status == EXIT_OK) {
		(void)err_sys(&e, errno ? errno : EIO, "standard output");
		status = ctx_fail(ctx, &e);
	}
	return status;
}

static int run_command(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	char socket[512];
	int status;

	const char *path = args_value(args, "socket");

	if (read_output(ctx, args, &e) < 0)
		return ctx_fail(ctx, &e);
	if (path && !*path) {
		(void)usage_error(&e, "--socket must not be empty: name the "
				      "daemon's socket");
		return ctx_fail(ctx, &e);
	}
	if (path && strlen(path) >= SOCKET_PATH_MAX) {
		(void)usage_error(&e,
				  "the path of a socket has less than %d "
				  "bytes, --socket has %zu",
				  SOCKET_PATH_MAX, strlen(path));
		return ctx_fail(ctx, &e);
	}
	ctx->client = api_client_new(ctx_socket_path(path, socket), &e);
	if (!ctx->client)
		return ctx_fail(ctx, &e);
	status = args->command->run(ctx, args);
	api_client_free(ctx->client);
	return status;
}

static int dispatch(int argc, char **argv, struct args *args)
{
	struct ctx ctx = { .client = NULL };
	struct err e = ERR_INIT;
	int rc = args_parse(argc, argv, args, &e);

	ctx.command = args->command;
	if (rc < 0)
		return ctx_fail(&ctx, &e);
	if (args->command && args_has(args, "help")) {
		help_command(stdout, args->command);
		return check_output(&ctx, EXIT_OK);
	}
	if (args->command)
		return check_output(&ctx, run_command(&ctx, args));
	if (args_has(args, "help")) {
		help_all(stdout, args->group);
		return check_output(&ctx, EXIT_OK);
	}
	help_all(stderr, args->group);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static char help_option[] = "--help";
	struct args args;
	int status;

	if (file_open_standard() < 0)
		return EXIT_ERROR;
	/* A closed pipe is an error of write(), told by the exit status. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)setlocale(LC_CTYPE, "");
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		const struct ctx ctx = { .client = NULL };

		(void)puts("vmctl " VMD_VERSION);
		return check_output(&ctx, EXIT_OK);
	}
	if (argc >= 2 && strcmp(argv[1], "help") == 0)
		argv[1] = help_option;
	api_set_busy_notice(ctx_warn);
	status = dispatch(argc, argv, &args);
	args_done(&args);
	return status;
}

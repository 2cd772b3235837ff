/* SPDX-License-Identifier: Apache-2.0 */
/* What every command has. */
#include "vmctl/ctx.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/names.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/parse.h"
#include "vmctl/hint.h"
#include "vmctl/term.h"
#include "vmctl/text.h"

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

static bool was_interrupted(void *unused)
{
	(void)unused;
	return interrupted != 0;
}

bool interrupt_seen(void)
{
	return interrupted != 0;
}

void interrupt_catch(struct ctx *ctx)
{
	struct sigaction sa = { .sa_handler = on_interrupt };

	(void)sigaction(SIGINT, &sa, NULL);
	api_client_set_interrupt(ctx->client, was_interrupted, NULL);
}

static bool own_socket(const char *dir, const char *rest, char out[static 512])
{
	if (!dir || dir[0] != '/')
		return false;
	(void)snprintf(out, 512, "%s%s", dir, rest);
	return access(out, F_OK) == 0;
}

const char *ctx_socket_path(const char *option, char out[static 512])
{
	const char *env = getenv("VMD_SOCKET");

	if (option || (env && *env)) {
		(void)snprintf(out, 512, "%s", option ? option : env);
		return out;
	}
	/* Where vmd puts it by itself, for a user that is not root. */
	if (geteuid() != 0 &&
	    (own_socket(getenv("XDG_RUNTIME_DIR"), "/vmd/vmd.sock", out) ||
	     own_socket(getenv("XDG_STATE_HOME"), "/vmd/run/vmd.sock", out) ||
	     own_socket(getenv("HOME"), "/.local/state/vmd/run/vmd.sock", out)))
		return out;
	(void)snprintf(out, 512, "/run/vmd/vmd.sock");
	return out;
}

int usage_error(struct err *e, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, ERR_INVALID, "usage", 0, "%s", text);
}

int is_usage_error(struct err *e)
{
	e->kind = ERR_INVALID;
	(void)snprintf(e->code, sizeof(e->code), "usage");
	return -EINVAL;
}

int ctx_fail(const struct ctx *ctx, const struct err *error)
{
	struct err copy = *error, *e = &copy;

	hint_add(e);
	progress_clear();
	(void)fflush(stdout);
	(void)fputs("vmctl: ", stderr);
	print_safe(stderr, e->msg[0] ? e->msg : "it failed without a reason",
		   1);
	(void)fputc('\n', stderr);
	if (strcmp(e->code, "interrupted") == 0)
		return 128 + SIGINT;
	if (ctx->command && ctx->command->guest_status)
		return exec_error_status(e);
	return strcmp(e->code, "usage") == 0 ? EXIT_USAGE : EXIT_ERROR;
}

void err_append(struct err *e, const char *text)
{
	size_t used = strlen(e->msg);

	(void)snprintf(e->msg + used, sizeof(e->msg) - used, "%s", text);
}

void image_hint(struct err *e)
{
	if (strcmp(e->code, "image_not_found") == 0)
		err_append(e, "; 'vmctl image ls' lists the images, 'vmctl "
			      "image build' makes one");
}

void ctx_warn(const char *text)
{
	progress_clear();
	(void)fputs("vmctl: warning: ", stderr);
	print_safe(stderr, text, 1);
	(void)fputc('\n', stderr);
}

int exec_error_status(const struct err *e)
{
	if (strcmp(e->code, API_CODE_COMMAND_NOT_FOUND) == 0)
		return EXIT_NOT_FOUND;
	if (strcmp(e->code, API_CODE_COMMAND_NOT_EXECUTABLE) == 0 ||
	    strcmp(e->code, API_CODE_ARGUMENT_LIST_TOO_LONG) == 0)
		return EXIT_NOT_EXECUTABLE;
	return EXIT_OURS;
}

int guest_exit_status(uint64_t status, uint64_t signal)
{
	if (signal > 0 && signal < 128)
		return 128 + (int)signal;
	return signal > 0 ? EXIT_OURS : (int)(status & 0xff);
}

char *ctx_path(const char *collection, const char *name, const char *suffix,
	       struct err *e)
{
	AUTO(free) char *encoded = NULL;
	char *path = NULL;

	if (!*name) {
		(void)usage_error(e, "a name must not be empty");
		return NULL;
	}
	encoded = api_percent_encode(name);
	if (encoded &&
	    asprintf(&path, "/v1/%s/%s%s", collection, encoded, suffix) >= 0)
		return path;
	(void)err_sys(e, ENOMEM, "request");
	return NULL;
}

int ctx_get(const struct ctx *ctx, const char *path, json_t **ret,
	    struct err *e)
{
	int rc = api_client_call(ctx->client, "GET", path, NULL, NULL, ret, e);

	if (rc == 0 && !json_is_object(*ret)) {
		json_decref(*ret);
		*ret = NULL;
		return err_set(e, ERR_PROTOCOL, "bad_answer", 0,
			       "the daemon's answer to GET %s is empty", path);
	}
	return rc;
}

int option_seconds(const struct args *a, const char *option, uint64_t *ret,
		   struct err *e)
{
	const char *text = args_value(a, option);
	char what[64];
	uint64_t ms;
	int rc;

	if (!text)
		return 0;
	(void)snprintf(what, sizeof(what), "--%s", option);
	rc = parse_duration_ms(text, what, &ms, e);
	if (rc < 0)
		return is_usage_error(e);
	*ret = ms / 1000 + (ms % 1000 != 0);
	return 0;
}

int option_size(const struct args *a, const char *option, uint64_t *ret,
		struct err *e)
{
	const char *text = args_value(a, option);
	char what[64];

	if (!text)
		return 0;
	(void)snprintf(what, sizeof(what), "--%s", option);
	if (parse_size(text, what, ret, e) < 0)
		return is_usage_error(e);
	return 0;
}

int print_json(const json_t *value)
{
	AUTO(free) char *text = json_dumps(value, JSON_INDENT(2));

	if (!text || puts(text) < 0)
		return EXIT_ERROR;
	return EXIT_OK;
}

const char *text_of(const json_t *object, const char *field)
{
	const char *s = json_string_value(json_object_get(object, field));

	return s ? s : "";
}

uint64_t number_of(const json_t *object, const char *field)
{
	json_int_t v = json_integer_value(json_object_get(object, field));

	return v > 0 ? (uint64_t)v : 0;
}

int for_each_operand(struct ctx *ctx, const struct args *args,
		     int (*fn)(struct ctx *ctx, const struct args *args,
			       const char *operand, struct err *e))
{
	int status = EXIT_OK;

	for (size_t i = 0; i < args->operand_count; i++) {
		struct err e = ERR_INIT;

		if (fn(ctx, args, args->operands[i], &e) < 0)
			status = ctx_fail(ctx, &e);
		if (interrupt_seen())
			break;
	}
	return status;
}

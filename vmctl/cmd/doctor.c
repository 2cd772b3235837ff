/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmctl doctor: what the daemon probed, or, without a daemon, what can be seen
 * from here. Exit status 0 when VMs can be started.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/ctx.h"
#include "vmctl/host_checks.h"
#include "vmctl/text.h"

/* What no command mends is not missing but so: a note. */
static const char *verdict(bool ok, const char *fix)
{
	if (ok)
		return "ok";
	return *fix ? "MISSING" : "note";
}

static void print_check(const char *kind, const char *name, bool ok,
			const json_t *check)
{
	const char *fix = text_of(check, "fix");

	(void)printf("%-8s%s%s", verdict(ok, fix), kind, *kind ? " " : "");
	print_safe(stdout, name, 0);
	(void)fputs(": ", stdout);
	print_safe(stdout, text_of(check, "detail"), 0);
	(void)putchar('\n');
	if (ok || !*fix)
		return;
	(void)fputs("        fix: ", stdout);
	print_safe(stdout, fix, 0);
	(void)putchar('\n');
}

/* Prints all; returns how many engines can be used. */
static size_t print_host(const json_t *host)
{
	const json_t *engines = json_object_get(host, "engines");
	const json_t *checks = json_object_get(host, "checks");
	size_t usable = 0;

	for (size_t i = 0; i < json_array_size(engines); i++) {
		const json_t *engine = json_array_get(engines, i);
		bool ok = json_is_true(json_object_get(engine, "usable"));

		usable += ok;
		print_check("engine", text_of(engine, "name"), ok, engine);
	}
	for (size_t i = 0; i < json_array_size(checks); i++) {
		const json_t *check = json_array_get(checks, i);

		print_check("", text_of(check, "name"),
			    json_is_true(json_object_get(check, "ok")), check);
	}
	return usable;
}

static int with_daemon(struct ctx *ctx, json_t *host)
{
	size_t usable;

	if (ctx->output == OUTPUT_JSON) {
		const json_t *engines = json_object_get(host, "engines");

		usable = 0;
		for (size_t i = 0; i < json_array_size(engines); i++)
			usable += json_is_true(json_object_get(
				json_array_get(engines, i), "usable"));
		(void)json_object_set_new(host, "daemon",
					  json_pack("{s:b}", "running", 1));
		(void)print_json(host);
		return usable > 0 ? EXIT_OK : EXIT_ERROR;
	}
	(void)printf("ok      daemon: answers on %s\n",
		     api_client_socket(ctx->client));
	usable = print_host(host);
	if (usable == 0)
		(void)puts("\nNo engine can be used: VMs cannot be started.");
	return usable > 0 ? EXIT_OK : EXIT_ERROR;
}

int cmd_doctor(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	AUTO(json) json_t *host = NULL;

	(void)args;
	if (ctx_get(ctx, "/v1/host", &host, &e) == 0)
		return with_daemon(ctx, host);
	host = host_checks_new();
	if (!host)
		return EXIT_ERROR;
	if (ctx->output == OUTPUT_JSON) {
		(void)json_object_set_new(host, "daemon",
					  json_pack("{s:b, s:s}", "running", 0,
						    "detail", e.msg));
		(void)print_json(host);
		return EXIT_ERROR;
	}
	(void)fputs("MISSING daemon: ", stdout);
	print_safe(stdout, e.msg, 0);
	(void)puts("\n\nSeen from here, without the daemon:");
	(void)print_host(host);
	return EXIT_ERROR;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every field of every request and every query parameter, from the API's own
 * tables: what it may not be is refused by name, and what it may be has an effect
 * that is seen. A new field or parameter without a row here fails.
 */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "fake_agent.h"
#include "rig.h"

/* ---- refusals, made from the table ---------------------------------------- */

static const char *wrong_type(const struct api_field *f)
{
	return f->type == API_STRING ? "7" : "\"x\"";
}

/* A body with one more member, well formed otherwise. */
static void make_body(const struct api_object *object, const char *name,
		      const char *value, char body[static 512])
{
	const char *rest =
		object == &api_vm_create && strcmp(name, "image") != 0
			? ",\"image\":\"tiny\""
		: object != &api_image_create ? ""
		: strcmp(name, "name") == 0   ? ",\"recipe\":\"tiny\""
		: strcmp(name, "recipe") == 0
			? ",\"name\":\"new\""
			: ",\"recipe\":\"tiny\",\"name\":\"new\"";

	(void)snprintf(body, 512, "{\"%s\":%s%s}", name, value, rest);
}

static void expect_refused(struct rig *r, const struct api_route *route,
			   const char *name, const char *value)
{
	const char *brace = strchr(route->path, '{');
	struct answer a;
	char path[128], body[512];

	(void)snprintf(path, sizeof(path), "%.*s%s%s",
		       (int)(brace ? brace - route->path : 100), route->path,
		       brace ? "v" : "", brace ? strchr(brace, '}') + 1 : "");
	make_body(route->request, name, value, body);
	rig_call(r, route->method, path, "", body, &a);
	if (a.status != 400 || !strstr(answer_text(&a, "detail"), name))
		fail_msg("%s %s %s: %d %s", route->method, path, body, a.status,
			 a.body);
	answer_done(&a);
}

static void test_wrong_values_are_refused_by_name(void **state)
{
	struct rig *r = *state;
	struct answer a;
	unsigned seen = 0;
	char value[32];

	free(rig_create(r, "\"name\":\"v\"", &a));
	answer_done(&a);
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		const struct api_route *route = &api_routes[i];

		if (!route->request)
			continue;
		expect_refused(r, route, "no_such_field", "1");
		for (const struct api_field *f = route->request->fields;
		     f->name; f++, seen++) {
			expect_refused(r, route, f->name, wrong_type(f));
			if (f->flags & API_REQUIRED)
				expect_refused(r, route, f->name, "null");
			if (f->type != API_INTEGER)
				continue;
			(void)snprintf(value, sizeof(value), "%llu",
				       (unsigned long long)f->max + 1);
			expect_refused(r, route, f->name, value);
			expect_refused(r, route, f->name, "-1");
		}
	}
	assert_true(seen > 20);
	assert_int_equal(r->d.vm_count, 1);
}

/* ---- effects ---------------------------------------------------------------- */

struct effect {
	const char *field; /* "VmCreate.name" */
	const char *value;
	const char *member; /* of the VM, or NULL: a look of its own */
	const char *want;
};

static const struct effect create_effects[] = {
	{ "name", "\"n\"", "name", "n" },
	{ "image", "\"disk\"", "image", "disk" },
	{ "engine", "\"qemu\"", "engine_reason",
	  "it is a test, wanted was qemu" },
	{ "vcpus", "3", "vcpus", "3" },
	{ "memory_bytes", "134217728", "memory_bytes", "134217728" },
	{ "disk_bytes", "8388608", "disk_bytes", "8388608" },
	{ "labels", "{\"a\":\"b\"}", "labels.a", "b" },
	{ "ephemeral", "true", "ephemeral", "true" },
	{ "ttl_seconds", "5000", "ttl_seconds", "5000" },
	{ "start", "false", "state", "stopped" },
	{ "network", "{\"mode\":\"none\"}", "network.mode", "none" },
	{ "kernel_args", "\"quick=1\"", NULL, "quick=1" },
	{ "command", "[\"work\",\"hard\"]", NULL, "work hard" },
	{ "env", "{\"A\":\"bc\"}", NULL, "A=bc" },
	{ "cwd", "\"/src\"", NULL, " /src " },
	{ "user", "\"12:34\"", NULL, " 12:34 " },
	{ "ready_timeout_seconds", "1", "state", "failed" },
	{ NULL, NULL, NULL, NULL }
};

static const struct effect port_effects[] = {
	{ "host_address", "\"127.0.0.2\"", "host_address", "127.0.0.2" },
	{ "host_port", NULL, "host_port", NULL }, /* a free one */
	{ "guest_port", "81", "guest_port", "81" },
	{ "protocol", "\"udp\"", "protocol", "udp" },
	{ NULL, NULL, NULL, NULL }
};

static const struct effect *row_of(const struct effect *rows, const char *field)
{
	while (rows->field && strcmp(rows->field, field) != 0)
		rows++;
	if (!rows->field)
		fail_msg("the field %s has no row: what is its effect?", field);
	return rows;
}

static const char *text_of(const struct answer *a, const char *member)
{
	char path[64];
	const json_t *vm = json_object_get(a->json, "vm");

	if (strcmp(member, "ephemeral") == 0)
		return json_is_true(json_object_get(vm, member)) ? "true"
								 : "false";
	(void)snprintf(path, sizeof(path), "vm.%s", member);
	return answer_text(a, path);
}

/* What is about the main command needs one. */
static bool needs_command(const char *field)
{
	return strcmp(field, "env") == 0 || strcmp(field, "cwd") == 0 ||
	       strcmp(field, "user") == 0;
}

static void make_create(const struct effect *row, char body[static 512])
{
	const char *image = ",\"image\":\"tiny\"";

	if (strcmp(row->field, "image") == 0)
		image = "";
	else if (strcmp(row->field, "disk_bytes") == 0)
		image = ",\"image\":\"disk\"";
	(void)snprintf(
		body, 512, "{\"%s\":%s%s%s}", row->field, row->value, image,
		needs_command(row->field) ? ",\"command\":[\"work\"]" : "");
}

static void create_with(struct rig *r, const struct effect *row)
{
	char body[512], path[64];
	struct answer a;

	fake_exec[0] = fake_cmdline[0] = '\0';
	if (strcmp(row->field, "ready_timeout_seconds") == 0)
		fake_fault = FAKE_NEVER_READY;
	make_create(row, body);
	rig_call(r, "POST", "/v1/vms?wait=10", "", body, &a);
	assert_int_equal(a.status, 202);
	if (!row->member)
		RIG_UNTIL(r, strstr(fake_exec, row->want) ||
				     strstr(fake_cmdline, row->want));
	else if (strcmp(text_of(&a, row->member), row->want) != 0)
		fail_msg("%s: %s is %s", body, row->member,
			 text_of(&a, row->member));
	(void)snprintf(path, sizeof(path), "/v1/vms/%s?force=true&wait=5",
		       answer_text(&a, "vm.id"));
	answer_done(&a);
	fake_fault = FAKE_OK;
	rig_call(r, "DELETE", path, "", NULL, &a);
	answer_done(&a);
}

static void test_every_field_of_a_vm_has_an_effect(void **state)
{
	struct rig *r = *state;

	for (const struct api_field *f = api_vm_create.fields; f->name; f++)
		create_with(r, row_of(create_effects, f->name));
}

static void test_every_field_of_a_port_has_an_effect(void **state)
{
	struct rig *r = *state;

	for (const struct api_field *f = api_port.fields; f->name; f++) {
		const struct effect *row = row_of(port_effects, f->name);
		char want[16], body[512];
		struct answer a, in_port = { 0 };
		json_t *port;
		int number = rig_free_port();

		(void)snprintf(want, sizeof(want), "%d", number);
		(void)snprintf(
			body, sizeof(body),
			"{\"image\":\"tiny\",\"start\":false,\"network\":{"
			"\"ports\":[{\"host_port\":%d%s%s%s%s%s}]}}",
			number,
			strcmp(f->name, "guest_port") != 0
				? ",\"guest_port\":80"
				: "",
			row->value ? ",\"" : "", row->value ? f->name : "",
			row->value ? "\":" : "", row->value ? row->value : "");
		rig_call(r, "POST", "/v1/vms?wait=5", "", body, &a);
		port = json_array_get(
			json_object_get(
				json_object_get(json_object_get(a.json, "vm"),
						"network"),
				"ports"),
			0);
		assert_non_null(port);
		in_port.json = port; /* a's */
		assert_string_equal(answer_text(&in_port, row->member),
				    row->want ? row->want : want);
		answer_done(&a);
	}
}

/* What is seen of a stop or restart with that field in its body. */
static void test_every_field_of_a_stop_has_an_effect(void **state)
{
	static const struct effect rows[] = {
		{ "timeout_seconds", "1", NULL, "asked" },
		{ "force", "true", NULL, "not asked" },
		{ NULL, NULL, NULL, NULL }
	};
	struct rig *r = *state;
	struct answer a;

	fake_fault = FAKE_IGNORES_SHUTDOWN;
	free(rig_create(r, "\"name\":\"v\"", &a));
	answer_done(&a);
	for (int verb = 0; verb < 2; verb++) {
		for (const struct api_field *f = api_vm_stop.fields; f->name;
		     f++) {
			const struct effect *row = row_of(rows, f->name);
			char body[64];

			fake_shutdowns = 0;
			(void)snprintf(body, sizeof(body), "{\"%s\":%s}",
				       f->name, row->value);
			rig_expect(r, "POST",
				   verb ? "/v1/vms/v/stop?wait=8"
					: "/v1/vms/v/restart?wait=8",
				   body, "state", "succeeded");
			assert_int_equal(fake_shutdowns,
					 strcmp(row->want, "asked") == 0);
			if (verb)
				rig_expect(r, "POST", "/v1/vms/v/start?wait=8",
					   NULL, "state", "succeeded");
		}
	}
}

static void test_every_field_of_a_build_has_an_effect(void **state)
{
	static const struct effect rows[] = {
		{ "name", "\"new\"", NULL, "--name new" },
		{ "recipe", "\"debian\"", NULL, "--recipe debian" },
		{ "options", "{\"a\":\"b\"}", NULL, "--option a=b" },
		{ NULL, NULL, NULL, NULL }
	};
	struct rig *r = *state;
	char path[128], body[512], calls[4096];

	(void)snprintf(path, sizeof(path), "%s/calls", r->dir);
	for (const struct api_field *f = api_image_create.fields; f->name;
	     f++) {
		const struct effect *row = row_of(rows, f->name);
		size_t n;
		FILE *file;

		(void)remove(path);
		make_body(&api_image_create, f->name, row->value, body);
		rig_expect(r, "POST", "/v1/images?wait=8", body, "state",
			   "succeeded");
		file = fopen(path, "re");
		assert_non_null(file);
		n = fread(calls, 1, sizeof(calls) - 1, file);
		calls[n] = '\0';
		(void)fclose(file);
		assert_non_null(strstr(calls, row->want));
	}
}

static void test_every_field_of_an_exec_has_an_effect(void **state)
{
	static const struct effect rows[] = {
		{ "command", "[\"exit\",\"5\"]", NULL, " exit 5" },
		{ "env", "{\"A\":\"bc\"}", NULL, " A=bc" },
		{ "cwd", "\"/src\"", NULL, " /src " },
		{ "user", "\"12:34\"", NULL, " 12:34 " },
		{ "tty", "true", NULL, "1 80x24" },
		{ "stdin", "true", NULL, "2 " },
		{ "rows", "77", NULL, "x77" },
		{ "columns", "99", NULL, " 99x" },
		{ "attach", "true", NULL, "" }, /* below */
		{ NULL, NULL, NULL, NULL }
	};
	struct rig *r = *state;
	struct answer a;

	free(rig_create(r, "\"name\":\"v\",\"ephemeral\":true", &a));
	answer_done(&a);
	for (const struct api_field *f = api_exec_request.fields; f->name;
	     f++) {
		const struct effect *row = row_of(rows, f->name);
		struct wsc *c;
		char body[256];

		if (strcmp(f->name, "attach") == 0)
			continue;
		c = wsc_open(r, "/v1/vms/v/exec");
		fake_exec[0] = '\0';
		(void)snprintf(body, sizeof(body), "{\"%s\":%s%s%s}", f->name,
			       row->value,
			       strcmp(f->name, "command") != 0
				       ? ",\"command\":[\"exit\",\"0\"]"
				       : "",
			       strcmp(f->name, "rows") != 0 &&
					       strcmp(f->name, "columns") != 0
				       ? ""
				       : ",\"tty\":true");
		wsc_text(c, body);
		wsc_until_closed(r, c);
		if (!strstr(fake_exec, row->want))
			fail_msg("%s: %s", body, fake_exec);
		wsc_free(c);
	}
	(void)row_of(rows, "attach"); /* the VM ends with the connection */
	struct wsc *c = wsc_open(r, "/v1/vms/v/exec");

	wsc_text(c, "{\"command\":[\"exit\",\"0\"],\"attach\":true}");
	wsc_until_closed(r, c);
	wsc_free(c);
	RIG_UNTIL(r, r->d.vm_count == 0);
}

/* ---- query parameters --------------------------------------------------------- */

/* A value that shows, and what of the answer shows it ("#": how many); or, where
 * other tests look at the effect (logs, files, console, dial), a refusal. */
static const struct {
	const char *name, *path, *member, *want;
} query_effects[] = {
	{ "label", "GET /v1/vms?label=no%3Dsuch", "#items", "0" },
	{ "state", "GET /v1/vms?state=ready", "#items", "1" },
	{ "cursor", "GET /v1/vms?cursor=zzz", "code", "bad_cursor" },
	{ "limit", "GET /v1/vms?limit=1", "#items", "1" },
	{ "wait", "POST /v1/vms/v/start?wait=5", "state", "succeeded" },
	{ "force", "DELETE /v1/vms/w?force=true&wait=5", "state", "succeeded" },
	{ "timeout", "GET /v1/vms/v/wait?state=ready&timeout=0", "state",
	  "ready" },
	{ "replay", "GET /v1/vms/v/console?replay=x", "code", "wrong_type" },
	{ "tail_bytes", "GET /v1/vms/v/logs?tail_bytes=x", "code",
	  "bad_number" },
	{ "follow", "GET /v1/vms/v/logs?follow=x", "code", "wrong_type" },
	{ "path", "GET /v1/vms/v/files?path=x", "code", "bad_value" },
	{ "at", "PUT /v1/vms/v/files?path=/x&at=x", "code", "wrong_type" },
	{ "port", "GET /v1/vms/v/dial?port=0", "code", "out_of_range" },
	{ "protocol", "GET /v1/vms/v/dial?port=1&protocol=x", "code",
	  "bad_value" },
};

static void test_every_parameter_has_an_effect(void **state)
{
	const size_t count = sizeof(query_effects) / sizeof(query_effects[0]);
	struct rig *r = *state;
	struct answer a;

	free(rig_create(r, "\"name\":\"w\"", &a));
	answer_done(&a);
	free(rig_create(r, "\"name\":\"v\",\"start\":false", &a));
	answer_done(&a);
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		for (const struct api_field *f = api_routes[i].query;
		     f && f->name; f++) {
			size_t k = 0;

			while (k < count &&
			       strcmp(query_effects[k].name, f->name) != 0)
				k++;
			if (k == count)
				fail_msg("parameter %s has no row", f->name);
		}
	}
	for (size_t k = 0; k < count; k++) {
		const char *path = strchr(query_effects[k].path, ' ') + 1;
		const char *member = query_effects[k].member;
		char method[8], text[32];

		(void)snprintf(method, sizeof(method), "%.*s",
			       (int)(path - 1 - query_effects[k].path),
			       query_effects[k].path);
		if (member[0] != '#') {
			rig_expect(r, method, path, NULL, member,
				   query_effects[k].want);
			continue;
		}
		rig_call(r, method, path, "", NULL, &a);
		(void)snprintf(
			text, sizeof(text), "%zu",
			json_array_size(json_object_get(a.json, member + 1)));
		assert_string_equal(text, query_effects[k].want);
		answer_done(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_wrong_values_are_refused_by_name),
		RIG_TEST(test_every_field_of_a_vm_has_an_effect),
		RIG_TEST(test_every_field_of_a_port_has_an_effect),
		RIG_TEST(test_every_field_of_a_stop_has_an_effect),
		RIG_TEST(test_every_field_of_a_build_has_an_effect),
		RIG_TEST(test_every_field_of_an_exec_has_an_effect),
		RIG_TEST(test_every_parameter_has_an_effect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

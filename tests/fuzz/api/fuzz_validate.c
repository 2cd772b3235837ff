/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First byte: which object or route. The rest: a body, or "METHOD PATH?QUERY".
 * What was accepted must still be valid with its defaults filled in.
 */
#include <stdint.h>
#include <string.h>

#include "api/problem.h"
#include "api/route.h"
#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "tests/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_body(const struct api_object *object, const char *text,
		      size_t len)
{
	AUTO(json) json_t *value = NULL;
	struct err e = ERR_INIT;

	if (api_parse(object, text, len, &value, &e) < 0) {
		AUTO(json) json_t *problem = api_problem_new(&e, NULL);

		must(e.kind == ERR_INVALID && e.code[0] && e.msg[0]);
		must(problem);
		return;
	}
	must(api_validate(object, value, &e) == 0);
}

static void fuzz_request(const char *text)
{
	const struct api_route *route = NULL;
	struct api_params params;
	AUTO(json) json_t *query = NULL;
	struct err e = ERR_INIT;
	char allow[64], method[8] = "";
	size_t n = strcspn(text, " ");
	const char *rest;
	char path[1024];

	if (n >= sizeof(method) || !text[n])
		return;
	memcpy(method, text, n);
	rest = text + n + 1;
	n = strcspn(rest, "?");
	if (n >= sizeof(path))
		return;
	memcpy(path, rest, n);
	path[n] = '\0';
	if (api_route_match(method, path, &route, &params, allow, &e) < 0)
		return;
	must(strlen(params.value) < API_PARAM_MAX);
	(void)api_query_parse(route, rest[n] ? rest + n + 1 : NULL, &query, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(free) char *text = NULL;
	size_t objects = 0;

	while (api_objects[objects])
		objects++;
	if (size == 0)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	if (!text)
		return 0;
	if (data[0] >= 0x80)
		fuzz_request(text);
	else
		fuzz_body(api_objects[data[0] % objects],
			  (const char *)data + 1, size - 1);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Every answer against the document that the daemon serves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/openapi.h"
#include "api/route.h"
#include "rig.h"

static const struct api_route *find_route(const char *method, const char *path)
{
	const struct api_route *route = NULL;
	struct api_params params;
	char allow[64];
	char *copy = strndup(path, strcspn(path, "?"));

	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	(void)api_route_match(method, copy, &route, &params, allow, NULL);
	free(copy);
	return route;
}

/* The responses of the document for that route. */
static json_t *responses(json_t *doc, const struct api_route *route)
{
	json_t *path =
		json_object_get(json_object_get(doc, "paths"), route->path);
	char method[16];
	size_t n;

	for (n = 0; route->method[n]; n++)
		method[n] = (char)(route->method[n] | 0x20);
	method[n] = '\0';
	return json_object_get(json_object_get(path, method), "responses");
}

static void check_content(json_t *listed, const struct api_route *route,
			  const struct answer *a, bool head)
{
	json_t *content = json_object_get(listed, "content");
	const char *at = strstr(a->head, "Content-Type: ");
	char type[64] = "";

	if (at)
		(void)sscanf(at, "Content-Type: %63[^;\r\n]", type);
	if (!content) {
		assert_int_equal(a->body_len, 0);
		return;
	}
	if (!json_object_get(content, type))
		fail_msg("%s %s answers %s", route->method, route->path, type);
	if (!head && route->response)
		rig_assert_valid(route->response, a);
}

void rig_assert_listed(const char *method, const char *path,
		       const struct answer *a)
{
	const struct api_route *route = find_route(method, path);
	bool head = strcmp(method, "HEAD") == 0;
	json_t *doc, *listed;
	char status[16];

	if (a->status == 0)
		return; /* the daemon went, or the test broke off */
	if (a->status >= 400) {
		assert_non_null(strstr(a->head,
				       "Content-Type: application/problem+"
				       "json\r\n"));
		if (!head)
			rig_assert_valid(&api_problem, a);
		return; /* "default" lists every problem */
	}
	assert_non_null(route);
	doc = api_openapi_new("test");
	assert_non_null(doc);
	(void)snprintf(status, sizeof(status), "%d", a->status);
	listed = json_object_get(responses(doc, route), status);
	if (!listed)
		fail_msg("%s %s answers %s, which is not listed", method, path,
			 status);
	check_content(listed, route, a, head);
	json_decref(doc);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <ctype.h>
#include <string.h>

#include "api/openapi.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/json.h"

/* Every $ref leads somewhere. */
static void check_refs(const json_t *doc, json_t *node)
{
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_array(node))
		json_array_foreach(node, i, value)
			check_refs(doc, value);
	if (!json_is_object(node))
		return;
	json_object_foreach(node, key, value) {
		char path[128], *word, *save = NULL;
		const json_t *at = doc;

		check_refs(doc, value);
		if (strcmp(key, "$ref") != 0)
			continue;
		assert_true(strlen(json_string_value(value)) < sizeof(path));
		(void)strcpy(path, json_string_value(value));
		for (word = strtok_r(path, "/", &save); word;
		     word = strtok_r(NULL, "/", &save))
			if (strcmp(word, "#") != 0)
				at = json_object_get(at, word);
		assert_non_null(at);
	}
}

static void test_document_covers_every_route(void **state)
{
	AUTO(json) json_t *doc = api_openapi_new("1.2.3");
	json_t *seen = json_object();

	(void)state;
	assert_non_null(doc);
	assert_string_equal(json_string_value(json_object_get(doc, "openapi")),
			    "3.1.0");
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		const struct api_route *r = &api_routes[i];
		const json_t *path =
			json_object_get(json_object_get(doc, "paths"), r->path);
		const json_t *op;
		const char *id;
		char method[8] = "";

		for (size_t n = 0; r->method[n]; n++)
			method[n] = (char)tolower(r->method[n]);
		op = json_object_get(path, method);
		assert_non_null(op);
		id = json_string_value(json_object_get(op, "operationId"));
		assert_non_null(id);
		assert_null(json_object_get(seen, id));
		(void)json_object_set_new(seen, id, json_true());
		assert_true(json_object_size(json_object_get(op, "responses")) >
			    0);
		assert_int_equal(json_object_get(op, "requestBody") != NULL,
				 r->body != API_BODY_NONE);
	}
	json_decref(seen);
}

static void test_document_references_resolve(void **state)
{
	AUTO(json) json_t *doc = api_openapi_new("1.2.3");

	(void)state;
	assert_non_null(doc);
	check_refs(doc, doc);
	for (size_t i = 0; api_objects[i]; i++)
		assert_non_null(json_object_get(
			json_object_get(json_object_get(doc, "components"),
					"schemas"),
			api_objects[i]->name));
}

static void test_schema_of_an_object(void **state)
{
	AUTO(json) json_t *schema = api_schema_new(&api_vm_create);
	const json_t *vcpus;

	(void)state;
	assert_non_null(schema);
	assert_true(
		json_is_false(json_object_get(schema, "additionalProperties")));
	vcpus = json_object_get(json_object_get(schema, "properties"), "vcpus");
	assert_int_equal(json_integer_value(json_object_get(vcpus, "maximum")),
			 API_VCPUS_MAX);
	assert_int_equal(json_integer_value(json_object_get(vcpus, "default")),
			 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_document_covers_every_route),
		cmocka_unit_test(test_document_references_resolve),
		cmocka_unit_test(test_schema_of_an_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

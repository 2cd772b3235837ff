/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>

#include "api/route.h"
#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"

static bool listed(const struct api_object *object)
{
	for (size_t i = 0; api_objects[i]; i++)
		if (api_objects[i] == object)
			return true;
	return false;
}

/* Rows that make no sense would only show as odd refusals. */
static void check_field(const struct api_field *f)
{
	struct err e = ERR_INIT;
	AUTO(json) json_t *fallback = NULL;

	assert_non_null(f->help);
	if (f->type == API_OBJECT ||
	    (f->type == API_ARRAY && f->item == API_OBJECT)) {
		assert_non_null(f->object);
		assert_true(listed(f->object));
	} else {
		assert_null(f->object);
	}
	if (f->type != API_BOOLEAN && f->type != API_OBJECT)
		assert_true(f->max >= f->min && f->max > 0);
	if (f->type == API_MAP ||
	    (f->type == API_ARRAY && f->item == API_STRING))
		assert_true(f->item_max > 0);
	for (size_t i = 0; f->values && f->values[i]; i++)
		assert_true(strlen(f->values[i]) <= f->max);
	if (!f->fallback)
		return;
	assert_false(f->flags & API_REQUIRED);
	fallback = json_loads(f->fallback, JSON_DECODE_ANY, NULL);
	assert_non_null(fallback);
	assert_int_equal(api_validate_field(f, fallback, f->name, &e), 0);
}

static void test_fields_are_sound(void **state)
{
	(void)state;
	for (size_t i = 0; api_objects[i]; i++) {
		assert_non_null(api_objects[i]->help);
		for (const struct api_field *f = api_objects[i]->fields;
		     f->name; f++) {
			check_field(f);
			assert_ptr_equal(api_field_find(api_objects[i]->fields,
							f->name),
					 f);
		}
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(api_objects[i]->name,
						api_objects[j]->name);
	}
}

static void test_routes_are_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		const struct api_route *r = &api_routes[i];

		assert_int_equal(r->id, i);
		assert_non_null(r->method);
		assert_non_null(r->summary);
		assert_non_null(r->errors);
		assert_true(r->path[0] == '/');
		assert_true(r->status >= 100 && r->status < 300);
		assert_int_equal(r->body == API_BODY_JSON, r->request != NULL);
		if (r->request)
			assert_true(listed(r->request));
		if (r->response) {
			assert_int_equal(r->answer, API_BODY_JSON);
			assert_true(listed(r->response));
		}
		for (const struct api_field *f = r->query; f && f->name; f++)
			check_field(f);
		for (size_t j = 0; j < i; j++)
			assert_true(strcmp(r->path, api_routes[j].path) != 0 ||
				    strcmp(r->method, api_routes[j].method) !=
					    0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_are_sound),
		cmocka_unit_test(test_routes_are_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

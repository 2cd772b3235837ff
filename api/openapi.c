/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAPI 3.1 document. Building is all or nothing: put() marks the document
 * as failed when memory is out, and the end looks once.
 */
#include "api/openapi.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "api/problem.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/json.h"

static void put(json_t *object, const char *key, json_t *value, bool *failed)
{
	if (json_object_set_new(object, key, value) < 0)
		*failed = true;
}

static void put_integer(json_t *object, const char *key, uint64_t v,
			bool *failed)
{
	put(object, key, json_integer((json_int_t)v), failed);
}

static json_t *ref_new(const char *name)
{
	return json_sprintf("#/components/schemas/%s", name);
}

static void put_pattern(json_t *schema, enum api_pattern pattern, bool *failed)
{
	static const char *const regex[] = {
		[API_ANY] = NULL,
		[API_NAME] = "^[a-z0-9][a-z0-9._-]{0,62}$",
		[API_REF] = "^[A-Za-z0-9][A-Za-z0-9._-]*$",
		[API_ADDRESS] = "^[0-9A-Fa-f:.]+$",
		[API_PATH] = "^/",
		[API_TIME] = NULL,
		[API_LABEL] = "^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}=",
	};

	if (pattern == API_TIME)
		put(schema, "format", json_string("date-time"), failed);
	if (regex[pattern])
		put(schema, "pattern", json_string(regex[pattern]), failed);
}

static void put_string(json_t *schema, const struct api_field *f, uint64_t min,
		       uint64_t max, bool *failed)
{
	json_t *list;

	put(schema, "type", json_string("string"), failed);
	if (f->values) {
		list = json_array();
		for (size_t i = 0; f->values[i]; i++)
			if (json_array_append_new(
				    list, json_string(f->values[i])) < 0)
				*failed = true;
		put(schema, "enum", list, failed);
		return;
	}
	if (min > 0)
		put_integer(schema, "minLength", min, failed);
	if (max > 0)
		put_integer(schema, "maxLength", max, failed);
	put_pattern(schema, f->pattern, failed);
}

static json_t *item_new(const struct api_field *f, bool *failed)
{
	json_t *item = json_object();

	if (f->item == API_OBJECT)
		put(item, "$ref", ref_new(f->object->name), failed);
	else if (f->item == API_INTEGER)
		put(item, "type", json_string("integer"), failed);
	else
		put_string(item, f, 0, f->item_max, failed);
	return item;
}

static void put_type(json_t *schema, const struct api_field *f, bool *failed)
{
	json_t *value;

	switch (f->type) {
	case API_STRING:
		put_string(schema, f, f->min, f->max, failed);
		break;
	case API_INTEGER:
		put(schema, "type", json_string("integer"), failed);
		put_integer(schema, "minimum", f->min, failed);
		if (f->max > 0)
			put_integer(schema, "maximum", f->max, failed);
		break;
	case API_BOOLEAN:
		put(schema, "type", json_string("boolean"), failed);
		break;
	case API_OBJECT:
		put(schema, "$ref", ref_new(f->object->name), failed);
		break;
	case API_ARRAY:
		put(schema, "type", json_string("array"), failed);
		put(schema, "items", item_new(f, failed), failed);
		if (f->min > 0)
			put_integer(schema, "minItems", f->min, failed);
		put_integer(schema, "maxItems", f->max, failed);
		break;
	case API_MAP:
		value = json_object();
		put_string(value, f, 0, f->item_max, failed);
		put(schema, "type", json_string("object"), failed);
		put(schema, "additionalProperties", value, failed);
		put_integer(schema, "maxProperties", f->max, failed);
		break;
	}
}

static json_t *field_schema_new(const struct api_field *f, bool *failed)
{
	json_t *schema = json_object();
	json_t *outer;

	put_type(schema, f, failed);
	if (f->flags & API_NULLABLE) {
		outer = json_pack("{s:[o, {s:s}]}", "anyOf", schema, "type",
				  "null");
		schema = outer;
	}
	if (f->help)
		put(schema, "description", json_string(f->help), failed);
	if (f->fallback)
		put(schema, "default",
		    json_loads(f->fallback, JSON_DECODE_ANY, NULL), failed);
	return schema;
}

static json_t *object_schema_new(const struct api_object *object, bool *failed)
{
	json_t *properties = json_object(), *required = json_array();
	json_t *schema;

	for (const struct api_field *f = object->fields; f->name; f++) {
		put(properties, f->name, field_schema_new(f, failed), failed);
		if ((f->flags & API_REQUIRED) &&
		    json_array_append_new(required, json_string(f->name)) < 0)
			*failed = true;
	}
	schema = json_pack("{s:s, s:s, s:o, s:b}", "type", "object",
			   "description", object->help, "properties",
			   properties, "additionalProperties", 0);
	if (json_array_size(required) > 0)
		put(schema, "required", required, failed);
	else
		json_decref(required);
	return schema;
}

json_t *api_schema_new(const struct api_object *object)
{
	bool failed = false;
	AUTO(json) json_t *schema = object_schema_new(object, &failed);

	return failed ? NULL : take_ptr(schema);
}

static json_t *parameter_new(const char *in, const char *name, bool required,
			     json_t *schema, const char *help)
{
	return json_pack("{s:s, s:s, s:b, s:o, s:s}", "name", name, "in", in,
			 "required", required, "schema", schema, "description",
			 help);
}

static json_t *parameters_new(const struct api_route *r, bool *failed)
{
	json_t *list = json_array();
	const char *brace = strchr(r->path, '{');
	char name[32];
	json_t *p;

	if (brace) {
		(void)snprintf(name, sizeof(name), "%.*s",
			       (int)strcspn(brace + 1, "}"), brace + 1);
		p = parameter_new("path", name, true,
				  json_pack("{s:s, s:i}", "type", "string",
					    "maxLength", API_PARAM_MAX - 1),
				  "Id, unique prefix of an id, or name.");
		if (json_array_append_new(list, p) < 0)
			*failed = true;
	}
	for (const struct api_field *f = r->query; f && f->name; f++) {
		p = parameter_new("query", f->name,
				  (f->flags & API_REQUIRED) != 0,
				  field_schema_new(f, failed), f->help);
		if (json_array_append_new(list, p) < 0)
			*failed = true;
	}
	if (r->idempotency_key) {
		p = parameter_new("header", "Idempotency-Key", false,
				  json_pack("{s:s, s:i}", "type", "string",
					    "maxLength", 128),
				  "A repeated request with the same key gets "
				  "the first one's answer.");
		if (json_array_append_new(list, p) < 0)
			*failed = true;
	}
	return list;
}

static json_t *content_new(enum api_body body, const struct api_object *object)
{
	static const char *const types[] = {
		[API_BODY_NONE] = NULL,
		[API_BODY_JSON] = "application/json",
		[API_BODY_TAR] = "application/x-tar",
		[API_BODY_TEXT] = "text/plain",
		[API_BODY_METRICS] = "text/plain",
		[API_BODY_WEBSOCKET] = NULL,
	};

	if (!types[body])
		return NULL;
	if (object)
		return json_pack("{s:{s:{s:o}}}", types[body], "schema", "$ref",
				 ref_new(object->name));
	return json_pack("{s:{}}", types[body]);
}

static json_t *responses_new(const struct api_route *r, bool *failed)
{
	json_t *all = json_object();
	json_t *content = content_new(r->answer, r->response);
	json_t *answer;
	char status[16];

	answer = json_pack("{s:s}", "description",
			   r->answer == API_BODY_WEBSOCKET ? "WebSocket opened."
			   : r->status == 202 ? "Accepted; 200 when it has "
						"already ended."
					      : "Success.");
	if (content)
		put(answer, "content", content, failed);
	if (r->status == 202)
		put(all, "200", json_deep_copy(answer), failed);
	(void)snprintf(status, sizeof(status), "%d", r->status);
	put(all, status, answer, failed);
	if (r->answer == API_BODY_JSON && strcmp(r->method, "GET") == 0)
		put(all, "304",
		    json_pack("{s:s}", "description",
			      "Not changed (If-None-Match)."),
		    failed);
	for (const int *error = r->errors; *error; error++) {
		(void)snprintf(status, sizeof(status), "%d", *error);
		put(all, status,
		    json_pack("{s:s}", "$ref",
			      "#/components/responses/Problem"),
		    failed);
	}
	put(all, "default",
	    json_pack("{s:s}", "$ref", "#/components/responses/Problem"),
	    failed);
	return all;
}

/* "GET /v1/vms/{vm}/exec" -> "get_v1_vms_vm_exec": unique by construction. */
static json_t *operation_id_new(const struct api_route *r)
{
	char id[96];
	size_t n = 0;

	for (const char *p = r->method; *p && n + 1 < sizeof(id); p++)
		id[n++] = (char)(*p | 0x20);
	for (const char *p = r->path; *p && n + 1 < sizeof(id); p++) {
		if (*p == '{' || *p == '}')
			continue;
		id[n++] = *p == '/' || *p == '.' ? '_' : *p;
	}
	id[n] = '\0';
	return json_string(id);
}

static json_t *route_new(const struct api_route *r, bool *failed)
{
	json_t *content = content_new(r->body, r->request);
	json_t *op = json_pack("{s:o, s:s, s:o, s:o}", "operationId",
			       operation_id_new(r), "summary", r->summary,
			       "parameters", parameters_new(r, failed),
			       "responses", responses_new(r, failed));

	if (r->help)
		put(op, "description", json_string(r->help), failed);
	if (content)
		put(op, "requestBody",
		    json_pack("{s:b, s:o}", "required", r->body_required,
			      "content", content),
		    failed);
	return op;
}

static json_t *paths_new(bool *failed)
{
	json_t *paths = json_object();

	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		const struct api_route *r = &api_routes[i];
		json_t *path = json_object_get(paths, r->path);
		char method[16];
		size_t n;

		if (!path) {
			path = json_object();
			put(paths, r->path, path, failed);
		}
		for (n = 0; r->method[n] && n + 1 < sizeof(method); n++)
			method[n] = (char)(r->method[n] | 0x20);
		method[n] = '\0';
		put(path, method, route_new(r, failed), failed);
	}
	return paths;
}

json_t *api_openapi_new(const char *version)
{
	bool failed = false;
	json_t *schemas = json_object();
	AUTO(json) json_t *doc = NULL;

	for (size_t i = 0; api_objects[i]; i++)
		put(schemas, api_objects[i]->name,
		    object_schema_new(api_objects[i], &failed), &failed);
	doc = json_pack("{s:s, s:{s:s, s:s, s:{s:s, s:s}}, s:[{s:s}], s:o, "
			"s:{s:o, s:{s:{s:s, s:{s:{s:{s:o}}}}}}}",
			"openapi", "3.1.0", "info", "title", "vmd", "version",
			version, "license", "name", "Apache-2.0", "identifier",
			"Apache-2.0", "servers", "url", "/", "paths",
			paths_new(&failed), "components", "schemas", schemas,
			"responses", "Problem", "description", "A problem.",
			"content", API_PROBLEM_TYPE, "schema", "$ref",
			ref_new("Problem"));
	return failed || !doc ? NULL : take_ptr(doc);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation against the schema: a walk over rows and value side by side. The
 * recursion is bounded by the schema's own depth, not by the input's.
 */
#include "api/validate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/names.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/parse.h"

enum {
	PATH_ROOM = 256
};

static const char *const type_names[] = {
	[API_STRING] = "a string",	 [API_INTEGER] = "a whole number",
	[API_BOOLEAN] = "true or false", [API_OBJECT] = "an object",
	[API_ARRAY] = "an array",	 [API_MAP] = "an object of strings",
};

static int wrong_type(enum api_type type, const char *path, struct err *e)
{
	return err_set(e, ERR_INVALID, "wrong_type", 0, "%s must be %s", path,
		       type_names[type]);
}

static bool ref_ok(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

	return n > 0 && s[n] == '\0' && s[0] != '.' && s[0] != '-' &&
	       s[0] != '_';
}

static bool address_ok(const char *s)
{
	unsigned char out[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, s, out) == 1 ||
	       inet_pton(AF_INET6, s, out) == 1;
}

/* Names of labels: 1..63 of [A-Za-z0-9._/-], a letter or digit first. */
static bool label_key_ok(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = s[i];
		bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c >= '0' && c <= '9');

		if (!word && (i == 0 || !strchr("._/-", c)))
			return false;
	}
	return len >= 1 && len <= 63;
}

static bool label_ok(const char *s)
{
	const char *eq = strchr(s, '=');

	return eq && label_key_ok(s, (size_t)(eq - s));
}

static bool env_name_ok(const char *s)
{
	return s[0] != '\0' && !strchr(s, '=') && strlen(s) < API_ARG_BYTES_MAX;
}

static bool time_ok(const char *s)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd";
	size_t i;

	for (i = 0; shape[i]; i++) {
		bool digit = s[i] >= '0' && s[i] <= '9';

		if (shape[i] == 'd' ? !digit : s[i] != shape[i])
			return false;
	}
	if (s[i] == '.')
		i += 1 + strspn(s + i + 1, "0123456789");
	return s[i] == 'Z' && s[i + 1] == '\0';
}

static int check_pattern(enum api_pattern pattern, const char *s,
			 const char *path, struct err *e)
{
	bool ok = true;
	const char *rule = "";

	switch (pattern) {
	case API_ANY:
		break;
	case API_NAME:
		ok = parse_name_ok(s);
		rule = "a name: 1 to 63 of a-z 0-9 . _ -, a letter or digit "
		       "first";
		break;
	case API_REF:
		ok = ref_ok(s);
		rule = "a name or an id";
		break;
	case API_ADDRESS:
		ok = address_ok(s);
		rule = "an IPv4 or IPv6 address";
		break;
	case API_PATH:
		ok = s[0] == '/';
		rule = "an absolute path";
		break;
	case API_TIME:
		ok = time_ok(s);
		rule = "a time like 2026-01-02T03:04:05Z";
		break;
	case API_LABEL:
		ok = label_ok(s);
		rule = "KEY=VALUE, the key 1 to 63 of A-Z a-z 0-9 . _ / -";
		break;
	}
	if (ok)
		return 0;
	return err_set(e, ERR_INVALID, "bad_value", 0, "%s: '%.64s' is not %s",
		       path, s, rule);
}

static int check_values(const struct api_field *f, const char *s,
			const char *path, struct err *e)
{
	char list[200] = "";
	size_t used = 0;

	for (size_t i = 0; f->values[i]; i++) {
		if (strcmp(f->values[i], s) == 0)
			return 0;
		if (used < sizeof(list)) {
			int n = snprintf(list + used, sizeof(list) - used,
					 "%s%s", i ? ", " : "", f->values[i]);

			used += n > 0 ? (size_t)n : 0;
		}
	}
	return err_set(e, ERR_INVALID, "bad_value", 0,
		       "%s: '%.64s' is not one of %s", path, s, list);
}

static int check_string(const struct api_field *f, const json_t *value,
			uint64_t min, uint64_t max, const char *path,
			struct err *e)
{
	const char *s = json_string_value(value);
	size_t len = json_string_length(value);

	if (!s)
		return wrong_type(API_STRING, path, e);
	if (memchr(s, '\0', len))
		return err_set(e, ERR_INVALID, "bad_value", 0,
			       "%s contains a NUL character", path);
	if (len < min && min == 1)
		return err_set(e, ERR_INVALID, "out_of_range", 0,
			       "%s must not be empty", path);
	if (len < min)
		return err_set(e, ERR_INVALID, "out_of_range", 0,
			       "%s must have at least %" PRIu64 " bytes", path,
			       min);
	if (max > 0 && len > max)
		return err_set(e, ERR_INVALID, "out_of_range", 0,
			       "%s has %zu bytes, at most %" PRIu64
			       " are allowed",
			       path, len, max);
	if (f->values)
		return check_values(f, s, path, e);
	if ((f->flags & API_NOT_ID) && api_id_ok(s))
		return err_set(e, ERR_INVALID, "name_like_id", 0,
			       "%s: '%s' looks like an id (%d of a-z 2-7), "
			       "which must never mean something else: choose "
			       "another name",
			       path, s, API_ID_LEN);
	return check_pattern(f->pattern, s, path, e);
}

static int check_integer(const struct api_field *f, const json_t *value,
			 const char *path, struct err *e)
{
	json_int_t v = json_integer_value(value);

	if (!json_is_integer(value))
		return wrong_type(API_INTEGER, path, e);
	if (v < 0 || (uint64_t)v < f->min)
		return err_amounts(e,
				   err_set(e, ERR_INVALID, "out_of_range", 0,
					   "%s: %" JSON_INTEGER_FORMAT
					   " is less than %" PRIu64,
					   path, v, f->min),
				   v < 0 ? ERR_UNKNOWN : (uint64_t)v, f->min,
				   ERR_UNKNOWN);
	if (f->max > 0 && (uint64_t)v > f->max)
		return err_amounts(e,
				   err_set(e, ERR_INVALID, "out_of_range", 0,
					   "%s: %" JSON_INTEGER_FORMAT
					   " is more than %" PRIu64,
					   path, v, f->max),
				   (uint64_t)v, f->max, ERR_UNKNOWN);
	return 0;
}

static int check_count(const struct api_field *f, size_t count,
		       const char *path, struct err *e)
{
	if (count < f->min)
		return err_set(e, ERR_INVALID, "out_of_range", 0,
			       "%s must have at least %" PRIu64 " entries",
			       path, f->min);
	if (count > f->max)
		return err_set(e, ERR_INVALID, "out_of_range", 0,
			       "%s has %zu entries, at most %" PRIu64
			       " are allowed",
			       path, count, f->max);
	return 0;
}

static int check_object(const struct api_object *object, const json_t *value,
			const char *path, struct err *e);

static int check_array(const struct api_field *f, const json_t *value,
		       const char *path, struct err *e)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value))
		return wrong_type(API_ARRAY, path, e);
	if (check_count(f, count, path, e) < 0)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(value, i);
		char at[PATH_ROOM];
		int rc = 0;

		(void)snprintf(at, sizeof(at), "%s[%zu]", path, i);
		if (f->item == API_OBJECT)
			rc = check_object(f->object, item, at, e);
		else if (f->item == API_STRING)
			rc = check_string(f, item, 0, f->item_max, at, e);
		else if (!json_is_integer(item) || json_integer_value(item) < 0)
			rc = wrong_type(API_INTEGER, at, e);
		if (rc < 0)
			return err_field(e, rc, at);
	}
	return 0;
}

static int check_map(const struct api_field *f, const json_t *value,
		     const char *path, struct err *e)
{
	bool env = (f->flags & API_ENV_KEYS) != 0;
	void *iter;

	if (!json_is_object(value))
		return wrong_type(API_MAP, path, e);
	if (check_count(f, json_object_size(value), path, e) < 0)
		return -EINVAL;
	/* jansson's iterator takes a non-const object but does not change it. */
	for (iter = json_object_iter((json_t *)(uintptr_t)value); iter;
	     iter = json_object_iter_next((json_t *)(uintptr_t)value, iter)) {
		const char *key = json_object_iter_key(iter);
		char at[PATH_ROOM];
		int rc;

		(void)snprintf(at, sizeof(at), "%s.%.64s", path, key);
		if (env ? !env_name_ok(key) : !label_key_ok(key, strlen(key)))
			return err_field(
				e,
				err_set(e, ERR_INVALID, "bad_value", 0,
					env ? "%s: not the name of a variable: "
					      "letters, digits and _, no digit "
					      "first"
					    : "%s: not the name of a label: 1 "
					      "to 63 of A-Z a-z 0-9 . _ / -",
					at),
				at);
		rc = check_string(f, json_object_iter_value(iter), 0,
				  f->item_max, at, e);
		if (rc < 0)
			return err_field(e, rc, at);
	}
	return 0;
}

int api_validate_field(const struct api_field *f, const json_t *value,
		       const char *path, struct err *e)
{
	if (json_is_null(value)) {
		if ((f->flags & API_NULLABLE) || !(f->flags & API_REQUIRED))
			return 0;
		return err_set(e, ERR_INVALID, "missing_field", 0,
			       "%s is required and must not be null", path);
	}
	switch (f->type) {
	case API_STRING:
		return check_string(f, value, f->min, f->max, path, e);
	case API_INTEGER:
		return check_integer(f, value, path, e);
	case API_BOOLEAN:
		return json_is_boolean(value) ? 0
					      : wrong_type(f->type, path, e);
	case API_OBJECT:
		return check_object(f->object, value, path, e);
	case API_ARRAY:
		return check_array(f, value, path, e);
	case API_MAP:
		return check_map(f, value, path, e);
	}
	return err_set(e, ERR_INTERNAL, "bad_schema", 0, "%s has no type",
		       path);
}

static void join(char out[static PATH_ROOM], const char *path, const char *name)
{
	(void)snprintf(out, PATH_ROOM, "%s%s%.64s", path, *path ? "." : "",
		       name);
}

static int check_object(const struct api_object *object, const json_t *value,
			const char *path, struct err *e)
{
	char at[PATH_ROOM];
	void *iter;

	if (!json_is_object(value))
		return wrong_type(API_OBJECT, *path ? path : object->name, e);
	for (iter = json_object_iter((json_t *)(uintptr_t)value); iter;
	     iter = json_object_iter_next((json_t *)(uintptr_t)value, iter)) {
		const char *key = json_object_iter_key(iter);

		if (api_field_find(object->fields, key))
			continue;
		join(at, path, key);
		return err_field(e,
				 err_set(e, ERR_INVALID, "unknown_field", 0,
					 "%s: there is no such field in %s", at,
					 object->name),
				 at);
	}
	for (const struct api_field *f = object->fields; f->name; f++) {
		const json_t *v = json_object_get(value, f->name);
		int rc;

		join(at, path, f->name);
		if (!v && (f->flags & API_REQUIRED))
			rc = err_set(e, ERR_INVALID, "missing_field", 0,
				     "%s is required", at);
		else
			rc = v ? api_validate_field(f, v, at, e) : 0;
		if (rc < 0)
			return err_field(e, rc, at);
	}
	return 0;
}

int api_validate(const struct api_object *object, const json_t *value,
		 struct err *e)
{
	return check_object(object, value, "", e);
}

static int fill_field(const struct api_field *f, json_t *object, struct err *e)
{
	json_t *v = json_object_get(object, f->name);
	int rc = 0;

	if (f->fallback && (!v || json_is_null(v))) {
		v = json_loads(f->fallback, JSON_DECODE_ANY, NULL);
		if (json_object_set_new(object, f->name, v) < 0)
			return err_sys(e, ENOMEM, "cannot fill in '%s'",
				       f->name);
	}
	if (f->type == API_OBJECT && json_is_object(v))
		rc = api_fill_defaults(f->object, v, e);
	if (f->type != API_ARRAY || f->item != API_OBJECT)
		return rc;
	for (size_t i = 0; rc == 0 && i < json_array_size(v); i++)
		rc = api_fill_defaults(f->object, json_array_get(v, i), e);
	return rc;
}

int api_fill_defaults(const struct api_object *object, json_t *value,
		      struct err *e)
{
	for (const struct api_field *f = object->fields; f->name; f++) {
		int rc = fill_field(f, value, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

size_t api_text_max(const struct api_object *object)
{
	return object == &api_vm_create || object == &api_exec_request
		       ? API_COMMAND_TEXT_MAX
		       : API_BODY_MAX;
}

int api_parse(const struct api_object *object, const char *text, size_t len,
	      json_t **ret, struct err *e)
{
	AUTO(json) json_t *value = NULL;
	int rc;

	if (len == 0) {
		text = "{}";
		len = 2;
	}
	if (len > api_text_max(object))
		return err_set(e, ERR_INVALID, "body_too_large", 0,
			       "%s: the text has %zu bytes, at most %zu are "
			       "allowed",
			       object->name, len, api_text_max(object));
	rc = json_parse_strict(text, len, object->name, &value, e);
	if (rc == 0)
		rc = api_validate(object, value, e);
	if (rc == 0)
		rc = api_fill_defaults(object, value, e);
	if (rc == 0)
		*ret = take_ptr(value);
	return rc;
}

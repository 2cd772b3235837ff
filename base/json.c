/* SPDX-License-Identifier: Apache-2.0 */
/* See json.h. */
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"

/* Depth is checked on the text, before the parser recurses. */
static bool depth_ok(const char *text, size_t len)
{
	size_t depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return false;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return true;
}

int json_parse_strict(const char *text, size_t len, const char *what,
		      json_t **ret, struct err *e)
{
	json_error_t je;
	json_t *j;

	if (!depth_ok(text, len))
		return err_set(e, ERR_INVALID, "json_too_deep", 0,
			       "%s: JSON is nested deeper than %d levels", what,
			       JSON_DEPTH_MAX);
	j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!j)
		return err_set(e, ERR_INVALID, "json_invalid", 0,
			       "%s: not valid JSON at line %d, column %d: %s",
			       what, je.line, je.column, je.text);
	*ret = j;
	return 0;
}

int json_only_fields(const json_t *object, const char *path,
		     const char *const *allowed, struct err *e)
{
	void *it = json_object_iter((json_t *)(uintptr_t)object);

	for (; it;
	     it = json_object_iter_next((json_t *)(uintptr_t)object, it)) {
		const char *key = json_object_iter_key(it);
		bool known = false;

		for (size_t i = 0; allowed[i] && !known; i++)
			known = strcmp(allowed[i], key) == 0;
		if (!known)
			return err_set(e, ERR_INVALID, "unknown_field", 0,
				       "%s: unknown field '%.64s'", path, key);
	}
	return 0;
}

/* 1: present, 0: absent and optional, negative: absent but required. */
static int find_field(const json_t *object, const char *path, const char *field,
		      bool required, json_t **ret, struct err *e)
{
	json_t *v = json_object_get(object, field);

	if (!v || json_is_null(v)) {
		if (required)
			return err_set(e, ERR_INVALID, "missing_field", 0,
				       "%s: field '%s' is required", path,
				       field);
		return 0;
	}
	*ret = v;
	return 1;
}

static int wrong_type(const char *path, const char *field, const char *wanted,
		      struct err *e)
{
	return err_set(e, ERR_INVALID, "wrong_type", 0, "%s.%s must be %s",
		       path, field, wanted);
}

int json_get_u64(const json_t *object, const char *path, const char *field,
		 bool required, uint64_t min, uint64_t max, uint64_t *ret,
		 struct err *e)
{
	json_t *v = NULL;
	int rc = find_field(object, path, field, required, &v, e);
	json_int_t n;

	if (rc <= 0)
		return rc;
	if (!json_is_integer(v))
		return wrong_type(path, field, "a whole number", e);
	n = json_integer_value(v);
	if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
		return err_set(e, ERR_INVALID, "out_of_range", 0,
			       "%s.%s is %" PRId64 ", not between %" PRIu64
			       " and %" PRIu64,
			       path, field, (int64_t)n, min, max);
	*ret = (uint64_t)n;
	return 0;
}

int json_get_bool(const json_t *object, const char *path, const char *field,
		  bool required, bool *ret, struct err *e)
{
	json_t *v = NULL;
	int rc = find_field(object, path, field, required, &v, e);

	if (rc <= 0)
		return rc;
	if (!json_is_boolean(v))
		return wrong_type(path, field, "true or false", e);
	*ret = json_is_true(v);
	return 0;
}

int json_get_string(const json_t *object, const char *path, const char *field,
		    bool required, size_t max_len, const char **ret,
		    struct err *e)
{
	json_t *v = NULL;
	int rc = find_field(object, path, field, required, &v, e);

	if (rc <= 0)
		return rc;
	if (!json_is_string(v))
		return wrong_type(path, field, "a string", e);
	if (json_string_length(v) > max_len)
		return err_set(e, ERR_INVALID, "too_long", 0,
			       "%s.%s has %zu bytes, at most %zu are allowed",
			       path, field, json_string_length(v), max_len);
	*ret = json_string_value(v);
	return 0;
}

int json_get_object(const json_t *object, const char *path, const char *field,
		    bool required, const json_t **ret, struct err *e)
{
	json_t *v = NULL;
	int rc = find_field(object, path, field, required, &v, e);

	if (rc <= 0)
		return rc;
	if (!json_is_object(v))
		return wrong_type(path, field, "an object", e);
	*ret = v;
	return 0;
}

int json_get_array(const json_t *object, const char *path, const char *field,
		   bool required, size_t max_items, const json_t **ret,
		   struct err *e)
{
	json_t *v = NULL;
	int rc = find_field(object, path, field, required, &v, e);

	if (rc <= 0)
		return rc;
	if (!json_is_array(v))
		return wrong_type(path, field, "an array", e);
	if (json_array_size(v) > max_items)
		return err_set(e, ERR_INVALID, "too_many", 0,
			       "%s.%s has %zu items, at most %zu are allowed",
			       path, field, json_array_size(v), max_items);
	*ret = v;
	return 0;
}

json_t *json_text_or_null(const char *text)
{
	json_t *j = text[0] ? json_string(text) : NULL;

	return j ? j : json_null();
}

json_t *json_time_or_null(int64_t ms)
{
	char buf[32];

	return ms ? json_string(clock_format_rfc3339(ms, buf)) : json_null();
}

char *json_to_text(const json_t *j)
{
	return json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Query parameters as typed JSON, checked by the row of the route. */
#include "api/route.h"

#include <errno.h>
#include <string.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/parse.h"

static json_t *value_of(const struct api_field *f, const char *name,
			const char *value, struct err *e)
{
	uint64_t n;
	json_t *j = NULL;

	if (f->type == API_INTEGER) {
		if (parse_u64(value ? value : "", 0, INT64_MAX, name, &n, e) <
		    0)
			return NULL;
		j = json_integer((json_int_t)n);
	} else if (f->type == API_BOOLEAN) {
		if (!value || !*value || strcmp(value, "true") == 0 ||
		    strcmp(value, "1") == 0)
			return json_true();
		if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
			return json_false();
		(void)err_set(e, ERR_INVALID, "wrong_type", 0,
			      "query parameter %s must be true or false", name);
		return NULL;
	} else if (f->pattern == API_PATH) {
		j = json_string_nocheck(value ? value : ""); /* bytes */
	} else {
		j = json_string(value ? value : "");
	}
	if (!j)
		(void)err_set(e, ERR_INVALID, "bad_value", 0,
			      "query parameter %s is not UTF-8 text", name);
	return j;
}

static int add(const struct api_route *route, json_t *query, const char *name,
	       const char *value, struct err *e)
{
	const struct api_field *f = api_field_find(route->query, name);
	json_t *old = json_object_get(query, name);
	AUTO(json) json_t *j = NULL;

	if (!f)
		return err_set(e, ERR_INVALID, "unknown_parameter", 0,
			       "there is no query parameter '%.64s' for %s %s",
			       name, route->method, route->path);
	if (old && f->type != API_ARRAY)
		return err_set(e, ERR_INVALID, "duplicate_parameter", 0,
			       "query parameter %s is given twice", name);
	j = value_of(f, name, value, e);
	if (!j)
		return -EINVAL;
	if (f->type == API_ARRAY) {
		if (!old) {
			old = json_array();
			if (json_object_set_new(query, name, old) < 0)
				return err_sys(e, ENOMEM, "query");
		}
		if (json_array_size(old) >= f->max)
			return err_set(e, ERR_INVALID, "out_of_range", 0,
				       "query parameter %s is repeated too "
				       "often",
				       name);
		return json_array_append(old, j) < 0
			       ? err_sys(e, ENOMEM, "query")
			       : 0;
	}
	return json_object_set(query, name, j) < 0 ? err_sys(e, ENOMEM, "query")
						   : 0;
}

int api_query_add(const struct api_route *route, json_t *query,
		  const char *name, const char *value, struct err *e)
{
	int rc = add(route, query, name, value, e);

	return rc < 0 ? err_field(e, rc, name) : rc;
}

int api_query_finish(const struct api_route *route, json_t *query,
		     struct err *e)
{
	const struct api_object object = { "query", "", route->query };
	int rc;

	if (!route->query)
		return 0;
	rc = api_validate(&object, query, e);
	return rc < 0 ? rc : api_fill_defaults(&object, query, e);
}

/* '+' stands for a space in a query, before the percent escapes are read. */
static bool decode_word(const char *text, size_t len, char *out, size_t room)
{
	AUTO(free) char *copy = strndup(text, len);

	if (!copy || strlen(copy) != len)
		return false;
	for (char *p = copy; *p; p++)
		if (*p == '+')
			*p = ' ';
	return api_percent_decode(copy, len, out, room);
}

int api_query_parse(const struct api_route *route, const char *text,
		    json_t **ret, struct err *e)
{
	AUTO(json) json_t *query = json_object();
	const char *at = text ? text : "";
	int rc = query ? 0 : err_sys(e, ENOMEM, "query");

	while (rc == 0 && *at) {
		size_t len = strcspn(at, "&");
		const char *eq = memchr(at, '=', len);
		size_t name_len = eq ? (size_t)(eq - at) : len;
		char name[64], value[8192];
		bool ok = decode_word(at, name_len, name, sizeof(name));

		if (ok && eq)
			ok = decode_word(eq + 1, len - name_len - 1, value,
					 sizeof(value));
		if (!ok)
			return err_set(e, ERR_INVALID, "bad_query", 0,
				       "the query '%.64s' is not well formed",
				       at);
		if (len > 0)
			rc = api_query_add(route, query, name,
					   eq ? value : NULL, e);
		at += len + (at[len] == '&');
	}
	if (rc == 0)
		rc = api_query_finish(route, query, e);
	if (rc == 0)
		*ret = take_ptr(query);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Matching of method and path against the table of routes. */
#include "api/route.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"

bool api_percent_decode(const char *text, size_t len, char *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '%') {
			int hi =
				len - i > 2 ? parse_hex_digit(text[i + 1]) : -1;
			int lo = hi >= 0 ? parse_hex_digit(text[i + 2]) : -1;

			if (lo < 0)
				return false;
			c = (char)(hi * 16 + lo);
			i += 2;
		}
		if (c == '\0' || n + 1 >= room)
			return false;
		out[n++] = c;
	}
	if (room == 0)
		return false;
	out[n] = '\0';
	return true;
}

/*
 * The template's {…} takes one path segment. false: another path. *ret_segment
 * is set when there was a parameter.
 */
static bool path_matches(const char *template, const char *path,
			 const char **ret_segment, size_t *ret_len)
{
	while (*template) {
		if (*template == '{') {
			size_t len = strcspn(path, "/");

			if (len == 0)
				return false;
			*ret_segment = path;
			*ret_len = len;
			path += len;
			template += strcspn(template, "}") + 1;
		} else if (*template ++ != *path++) {
			return false;
		}
	}
	return *path == '\0';
}

static bool param_ok(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return n > 0 && s[n] == '\0' && s[0] != '.' && s[0] != '-' &&
	       s[0] != '_';
}

/* Every GET is a HEAD too: RFC 9110, 9.1. */
static void allow_add(char allow[static 64], const char *method)
{
	size_t used = strlen(allow);

	(void)snprintf(allow + used, 64 - used, "%s%s%s", used ? ", " : "",
		       method, strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

/* As a person typed it: decoded, and nothing that could play with a terminal. */
static int bad_param(const char *template, const char *segment, size_t len,
		     struct err *e)
{
	char text[API_PARAM_MAX * 4];
	bool vm = strstr(template, "{vm}"), image = strstr(template, "{image}");

	if (!api_percent_decode(segment, len, text, sizeof(text)))
		(void)snprintf(text, sizeof(text), "%.*s",
			       (int)(len > 256 ? 256 : len), segment);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return err_set(e, ERR_INVALID, "bad_path", 0,
		       "'%.128s' is no %sid of %s", text,
		       vm || image ? "name and no " : "",
		       vm      ? "a VM"
		       : image ? "an image"
			       : "an operation");
}

int api_route_match(const char *method, const char *path,
		    const struct api_route **ret, struct api_params *ret_params,
		    char ret_allow[static 64], struct err *e)
{
	ret_params->value[0] = '\0';
	ret_allow[0] = '\0';
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		const struct api_route *r = &api_routes[i];
		const char *segment = NULL;
		size_t len = 0;

		if (!path_matches(r->path, path, &segment, &len))
			continue;
		if (strcmp(r->method, method) != 0) {
			allow_add(ret_allow, r->method);
			continue;
		}
		if (segment)
			ret_allow[0] = '\0';
		if (segment &&
		    (!api_percent_decode(segment, len, ret_params->value,
					 sizeof(ret_params->value)) ||
		     !param_ok(ret_params->value)))
			return bad_param(r->path, segment, len, e);
		ret_allow[0] = '\0';
		*ret = r;
		return 0;
	}
	if (ret_allow[0])
		return err_set(e, ERR_UNSUPPORTED, "method_not_allowed", 0,
			       "%.16s is not possible on %.128s; it takes %s",
			       method, path, ret_allow);
	return err_set(e, ERR_NOT_FOUND, "route_unknown", 0,
		       "there is no %.128s in this API; see /openapi.json",
		       path);
}

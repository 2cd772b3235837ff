/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of JSON against a row of the schema. Everything a client sends goes
 * through here before any other code looks at it.
 */
#ifndef API_VALIDATE_H
#define API_VALIDATE_H

#include <jansson.h>

#include "api/schema.h"
#include "base/err.h"

/*
 * 0, or ERR_INVALID with the path of the value in the message
 * ("network.ports[1].host_port: 70000 is more than 65535"). Codes:
 * unknown_field, missing_field, wrong_type, out_of_range, bad_value.
 * For untrusted input parse the text with json_parse_strict() first (it refuses
 * duplicate keys and deep nesting), or use api_parse().
 */
int api_validate(const struct api_object *object, const json_t *value,
		 struct err *e);

/* Adds the defaults of absent (or null) fields, nested objects included. */
int api_fill_defaults(const struct api_object *object, json_t *value,
		      struct err *e);

/* Bytes that the JSON of such a request may have; NULL: of any other. */
size_t api_text_max(const struct api_object *object);
/*
 * Text to a valid object with defaults filled. An empty text is the empty
 * object. *ret is a new reference, set only on success.
 */
int api_parse(const struct api_object *object, const char *text, size_t len,
	      json_t **ret, struct err *e);

/* One value against one field; path names it in messages. */
int api_validate_field(const struct api_field *field, const json_t *value,
		       const char *path, struct err *e);

#endif

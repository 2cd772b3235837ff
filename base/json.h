/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from outside, on top of jansson: bounded size and depth, duplicate keys
 * refused, unknown fields refused, every error says where ("drives[1].path").
 *
 * The getters take the object, the field's name and `path`, the name of the
 * object in messages. A missing required field, a wrong type or a value out of
 * range sets *e (kind ERR_INVALID) and returns a negative errno.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	JSON_DEPTH_MAX = 32
};

static inline void auto_json(json_t **j)
{
	json_decref(*j);
}

/* len bytes of UTF-8 text; no NUL needed. *ret is a new reference. */
int json_parse_strict(const char *text, size_t len, const char *what,
		      json_t **ret, struct err *e);

/* Refuses fields that are not in the NULL-terminated list. */
int json_only_fields(const json_t *object, const char *path,
		     const char *const *allowed, struct err *e);

/* Optional fields leave *ret as it was when absent (or null). */
int json_get_u64(const json_t *object, const char *path, const char *field,
		 bool required, uint64_t min, uint64_t max, uint64_t *ret,
		 struct err *e);
int json_get_bool(const json_t *object, const char *path, const char *field,
		  bool required, bool *ret, struct err *e);
/* *ret points into the object. max_len in bytes without the NUL. */
int json_get_string(const json_t *object, const char *path, const char *field,
		    bool required, size_t max_len, const char **ret,
		    struct err *e);
int json_get_object(const json_t *object, const char *path, const char *field,
		    bool required, const json_t **ret, struct err *e);
int json_get_array(const json_t *object, const char *path, const char *field,
		   bool required, size_t max_items, const json_t **ret,
		   struct err *e);

/* null for "" and for what is no UTF-8: it may quote a program's words, and the rest
 * of the answer must not be lost over that. A new reference. */
json_t *json_text_or_null(const char *text);
/* Of a wall time in ms, as RFC 3339; null for 0. A new reference. */
json_t *json_time_or_null(int64_t ms);

/* Compact text, malloc'd; NULL when out of memory. */
char *json_to_text(const json_t *j);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes of the API: one row per method and path. The daemon dispatches on
 * `id`, checks query and body by the row, and prints the row in /openapi.json.
 *
 * A request goes: api_route_match() -> api_query_add() for each parameter and
 * api_query_finish() -> read the body by `body`, api_validate() it by `request`.
 */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/schema.h"
#include "base/err.h"

enum api_route_id {
	API_GET_VERSION,
	API_GET_HOST,
	API_POST_VMS,
	API_GET_VMS,
	API_GET_VM,
	API_DELETE_VM,
	API_START_VM,
	API_STOP_VM,
	API_RESTART_VM,
	API_WAIT_VM,
	API_EXEC_VM,
	API_DIAL_VM,
	API_CONSOLE_VM,
	API_LOGS_VM,
	API_GET_FILES,
	API_PUT_FILES,
	API_GET_IMAGES,
	API_POST_IMAGES,
	API_GET_IMAGE,
	API_DELETE_IMAGE,
	API_GET_OPERATIONS,
	API_GET_OPERATION,
	API_CANCEL_OPERATION,
	API_WAIT_OPERATION,
	API_GET_OPENAPI,
	API_GET_METRICS,
	API_ROUTE_COUNT
};

enum api_body {
	API_BODY_NONE,
	API_BODY_JSON,
	API_BODY_TAR, /* application/x-tar, streamed */
	API_BODY_TEXT, /* text/plain; charset=utf-8, streamed */
	API_BODY_METRICS, /* text/plain; version=0.0.4 */
	API_BODY_WEBSOCKET, /* answer: 101, then frames */
};

struct api_route {
	enum api_route_id id;
	const char *method; /* "GET" */
	const char *path; /* "/v1/vms/{vm}/start" */
	const struct api_field *query; /* ends with name == NULL, or NULL */
	enum api_body body; /* of the request */
	bool body_required;
	bool begins; /* work that goes on behind the answer: it is shared */
	bool idempotency_key; /* header Idempotency-Key is honoured */
	const struct api_object *request; /* API_BODY_JSON */
	enum api_body answer;
	const struct api_object *response; /* answer == API_BODY_JSON */
	int status; /* on success */
	/* The document lists these as the refusals to expect. */
	const int *errors; /* HTTP statuses; ends with 0 */
	const char *summary;
	const char *help; /* more than the summary says, or NULL */
};

extern const struct api_route api_routes[API_ROUTE_COUNT];

enum {
	API_PARAM_MAX = 128
};

/* The values of {…} in the path, percent-decoded; "" when there is none. */
struct api_params {
	char value[API_PARAM_MAX]; /* of {vm}, {image} or {operation} */
};

/*
 * Finds the row. path is without the query. Errors: ERR_NOT_FOUND route_unknown;
 * ERR_UNSUPPORTED method_not_allowed with ret_allow set to what the path takes
 * ("GET, DELETE": the Allow header; answer 405);
 * ERR_INVALID bad_path for a parameter that is no id and no name.
 */
int api_route_match(const char *method, const char *path,
		    const struct api_route **ret, struct api_params *ret_params,
		    char ret_allow[static 64], struct err *e);

/*
 * Query parameters become one JSON object with typed members, so that the
 * getters of base/json.h read them. Start from json_object(); value may be NULL
 * (`?force`, which is true for a boolean). Repeated parameters are refused unless
 * the field is an array. finish() fills defaults and checks required ones.
 */
int api_query_add(const struct api_route *route, json_t *query,
		  const char *name, const char *value, struct err *e);
int api_query_finish(const struct api_route *route, json_t *query,
		     struct err *e);
/* The same from the raw text after '?' (NULL: none). *ret is a new reference. */
int api_query_parse(const struct api_route *route, const char *text,
		    json_t **ret, struct err *e);

/* Percent-decodes len bytes into out; false: bad escape, NUL, or no room. */
bool api_percent_decode(const char *text, size_t len, char *out, size_t room);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 document, made from api_routes and api_objects. */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include <jansson.h>

/* A new reference; NULL only when out of memory. Make it once and keep it. */
json_t *api_openapi_new(const char *version);

/* The JSON Schema of one object (references to others as $ref). */
struct api_object;
json_t *api_schema_new(const struct api_object *object);

#endif

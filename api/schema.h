/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API as data: every JSON object that a client or the daemon sends, field by
 * field. Requests are validated by these rows, /openapi.json is printed from
 * them and the tests compare answers with them, so that no two can disagree.
 */
#ifndef API_SCHEMA_H
#define API_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum api_type {
	API_STRING,
	API_INTEGER, /* unsigned, at most 2^63 - 1 */
	API_BOOLEAN,
	API_OBJECT, /* of `object` */
	API_ARRAY, /* min..max items, each a string or an `object` */
	API_MAP, /* JSON object of strings: at most max members */
};

/* What the characters of a string (of each item, of each value) must be. */
enum api_pattern {
	API_ANY, /* UTF-8 without NUL */
	API_NAME, /* parse_name_ok(): name of a VM or an image */
	API_REF, /* id, unique prefix of an id, or name */
	API_ADDRESS, /* IPv4 or IPv6 address */
	API_PATH, /* absolute path */
	API_TIME, /* RFC 3339, UTC */
	API_LABEL, /* KEY=VALUE, key as in a label */
};

enum api_flag {
	API_REQUIRED =
		1, /* in requests: must be there; in answers: always is */
	API_NULLABLE = 2, /* null is a value (in requests: as if absent) */
	API_ENV_KEYS = 4, /* map keys are names of environment variables */
	API_NOT_ID = 8, /* string: must not look like an id */
};

struct api_object;

struct api_field {
	const char *name;
	enum api_type type;
	enum api_type item; /* API_ARRAY: STRING, INTEGER or OBJECT */
	enum api_pattern pattern;
	unsigned flags;
	uint64_t min,
		max; /* integer: value; string: bytes; array, map: count */
	uint64_t item_max; /* array, map: bytes of one string */
	const char *const *values; /* string: one of these, NULL-terminated */
	const struct api_object *object;
	const char *fallback; /* the default as JSON text, or NULL */
	const char *help; /* one sentence for the document */
};

struct api_object {
	const char *name; /* "Vm": its name under components/schemas */
	const char *help;
	const struct api_field *fields; /* ends with name == NULL */
};

/* Limits that more than one part needs to know. */
enum {
	API_BODY_MAX = 262144, /* bytes of a JSON body or a text message */
	/* What Linux takes as arguments and environment (agent/wire.h has the
	 * exact sum), as JSON with every second byte escaped. */
	API_COMMAND_TEXT_MAX = API_BODY_MAX + (4 << 20),
	API_ARGS_MAX = 233016,
	API_ARG_BYTES_MAX = 131071,
	API_ENV_MAX = API_ARGS_MAX,
	API_LABELS_MAX = 64,
	API_PORTS_MAX = 64,
	API_PAGE_MAX = 1000,
	API_WAIT_MAX_SECONDS = 3600,
	API_VCPUS_MAX = 32,
};
#define API_MEMORY_MIN (UINT64_C(16) << 20)
#define API_MEMORY_MAX (UINT64_C(16) << 40)
#define API_DISK_MAX   (UINT64_C(1) << 50)

/* Requests. */
extern const struct api_object api_vm_create;
extern const struct api_object api_vm_stop;
extern const struct api_object api_image_create;
extern const struct api_object api_exec_request; /* first message of exec */
extern const struct api_object api_exec_control; /* later client messages */
/* Answers. */
extern const struct api_object api_version;
extern const struct api_object api_host;
extern const struct api_object api_vm;
extern const struct api_object api_vm_list;
extern const struct api_object api_vm_created;
extern const struct api_object api_image;
extern const struct api_object api_image_list;
extern const struct api_object api_operation;
extern const struct api_object api_operation_list;
extern const struct api_object api_problem;
extern const struct api_object api_exec_event; /* text messages of exec */
extern const struct api_object api_dial_event; /* text messages of dial */

/* Parts of the above. */
extern const struct api_object api_network;
extern const struct api_object api_port;
extern const struct api_object api_exec_resize;
extern const struct api_object api_exit;
extern const struct api_object api_agent;
extern const struct api_object api_engine;
extern const struct api_object api_check;
extern const struct api_object api_resource;
extern const struct api_object api_progress;
extern const struct api_object api_blob;
extern const struct api_object api_exec_started;
extern const struct api_object api_exec_progress;
extern const struct api_object api_dial_connected;

/* Every object that has a name in the document; ends with NULL. */
extern const struct api_object *const api_objects[];

/* The field of that name, or NULL. */
const struct api_field *api_field_find(const struct api_field *fields,
				       const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes. */
#include "api/names.h"
#include "api/route.h"

#define SECONDS_MAX API_WAIT_MAX_SECONDS

#define QUERY_WAIT                                                                  \
	{                                                                           \
		.name = "wait", .type = API_INTEGER, .max = SECONDS_MAX,            \
		.fallback = "0",                                                    \
		.help = "Answer when the operation has ended, at the latest after " \
			"this many seconds; look at its state."                     \
	}
#define QUERY_TIMEOUT                                                       \
	{                                                                   \
		.name = "timeout", .type = API_INTEGER, .max = SECONDS_MAX, \
		.fallback = "30",                                           \
		.help = "Give up (408) after this many seconds."            \
	}
#define QUERY_PAGE                                              \
	{ .name = "cursor",                                     \
	  .type = API_STRING,                                   \
	  .min = 1,                                             \
	  .max = 128,                                           \
	  .help = "next_cursor of the page before." },          \
	{                                                       \
		.name = "limit", .type = API_INTEGER, .min = 1, \
		.max = API_PAGE_MAX, .fallback = "100",         \
		.help = "Most items in the answer."             \
	}
#define QUERY_FORCE(text)                                                  \
	{                                                                  \
		.name = "force", .type = API_BOOLEAN, .fallback = "false", \
		.help = text                                               \
	}
#define END                  \
	{                    \
		.name = NULL \
	}

static const struct api_field wait_query[] = { QUERY_WAIT, END };
static const struct api_field timeout_query[] = { QUERY_TIMEOUT, END };
static const struct api_field delete_vm_query[] = {
	QUERY_FORCE("Stop it first, without asking the guest."), QUERY_WAIT, END
};
static const struct api_field list_vms_query[] = {
	{ .name = "label",
	  .type = API_ARRAY,
	  .item = API_STRING,
	  .pattern = API_LABEL,
	  .max = 16,
	  .item_max = 320,
	  .help = "key=value: only VMs with that label; may be repeated." },
	{ .name = "state",
	  .type = API_STRING,
	  .max = 16,
	  .values = api_vm_states,
	  .help = "Only VMs in that state." },
	QUERY_PAGE,
	END
};
static const struct api_field wait_vm_query[] = {
	{ .name = "state",
	  .type = API_STRING,
	  .max = 16,
	  .flags = API_REQUIRED,
	  .values = api_vm_wait_states,
	  .help = "ready: commands can be run; stopped: it does not run; "
		  "exited: its main command (or it) has ended; deleted: gone." },
	QUERY_TIMEOUT,
	END
};
static const struct api_field dial_query[] = {
	{ .name = "port",
	  .type = API_INTEGER,
	  .flags = API_REQUIRED,
	  .min = 1,
	  .max = 65535,
	  .help = "Port of the guest." },
	{ .name = "protocol",
	  .type = API_STRING,
	  .max = 3,
	  .values = api_protocols,
	  .fallback = "\"tcp\"",
	  .help = "Transport protocol." },
	END
};
static const struct api_field console_query[] = {
	{ .name = "replay",
	  .type = API_BOOLEAN,
	  .fallback = "true",
	  .help = "Begin with the last 16 KiB." },
	END
};
static const struct api_field logs_query[] = {
	{ .name = "tail_bytes",
	  .type = API_INTEGER,
	  .max = 1 << 20,
	  .fallback = "65536",
	  .help = "Begin this far before the end." },
	{ .name = "follow",
	  .type = API_BOOLEAN,
	  .fallback = "false",
	  .help = "Stay and send what comes." },
	END
};
static const struct api_field files_query[] = {
	{ .name = "path",
	  .type = API_STRING,
	  .pattern = API_PATH,
	  .flags = API_REQUIRED,
	  .min = 1,
	  .max = 4095,
	  .help = "Absolute path in the guest: bytes, percent-encoded." },
	END
};
static const struct api_field put_files_query[] = {
	{ .name = "path",
	  .type = API_STRING,
	  .pattern = API_PATH,
	  .flags = API_REQUIRED,
	  .min = 1,
	  .max = 4095,
	  .help = "Directory to unpack into: bytes, percent-encoded." },
	{ .name = "at",
	  .type = API_BOOLEAN,
	  .fallback = "false",
	  .help = "As cp(1): path is what the archive's one file or tree "
		  "becomes, or the directory it goes into." },
	END
};
static const struct api_field list_operations_query[] = {
	{ .name = "state",
	  .type = API_STRING,
	  .max = 16,
	  .values = api_op_states,
	  .help = "Only operations in that state." },
	QUERY_PAGE,
	END
};

static const int no_errors[] = { 0 };
static const int get_errors[] = { 400, 404, 0 };
static const int change_errors[] = { 400, 404, 409, 503, 0 };
static const int create_errors[] = { 400, 404, 409, 422, 503, 507, 0 };
static const int wait_errors[] = { 400, 404, 408, 0 };
static const int agent_errors[] = { 400, 404, 409, 502, 503, 504, 0 };

#define OPERATION \
	.answer = API_BODY_JSON, .response = &api_operation, .status = 202
#define JSON(object) \
	.answer = API_BODY_JSON, .response = &(object), .status = 200

const struct api_route api_routes[API_ROUTE_COUNT] = {
	{ .id = API_GET_VERSION,
	  .method = "GET",
	  .path = "/v1/version",
	  JSON(api_version),
	  .errors = no_errors,
	  .summary = "Version of daemon and API" },
	{ .id = API_GET_HOST,
	  .method = "GET",
	  .path = "/v1/host",
	  JSON(api_host),
	  .errors = no_errors,
	  .summary = "What was probed on the host" },
	{ .id = API_POST_VMS,
	  .method = "POST",
	  .path = "/v1/vms",
	  .begins = true,
	  .query = wait_query,
	  .body = API_BODY_JSON,
	  .body_required = true,
	  .idempotency_key = true,
	  .request = &api_vm_create,
	  .answer = API_BODY_JSON,
	  .response = &api_vm_created,
	  .status = 202,
	  .errors = create_errors,
	  .summary = "Create a VM, and start it",
	  .help = "An ephemeral VM without a command ends when no exec "
		  "connection was attached for 30 seconds." },
	{ .id = API_GET_VMS,
	  .method = "GET",
	  .path = "/v1/vms",
	  .query = list_vms_query,
	  JSON(api_vm_list),
	  .errors = get_errors,
	  .summary = "List VMs" },
	{ .id = API_GET_VM,
	  .method = "GET",
	  .path = "/v1/vms/{vm}",
	  JSON(api_vm),
	  .errors = get_errors,
	  .summary = "One VM" },
	{ .id = API_DELETE_VM,
	  .method = "DELETE",
	  .path = "/v1/vms/{vm}",
	  .query = delete_vm_query,
	  OPERATION,
	  .errors = change_errors,
	  .summary = "Delete a VM and its disk" },
	{ .id = API_START_VM,
	  .method = "POST",
	  .path = "/v1/vms/{vm}/start",
	  .begins = true,
	  .query = wait_query,
	  OPERATION,
	  .errors = create_errors,
	  .summary = "Start a VM" },
	{ .id = API_STOP_VM,
	  .method = "POST",
	  .path = "/v1/vms/{vm}/stop",
	  .query = wait_query,
	  .body = API_BODY_JSON,
	  .request = &api_vm_stop,
	  OPERATION,
	  .errors = change_errors,
	  .summary = "Stop a VM: ask the guest, then end it" },
	{ .id = API_RESTART_VM,
	  .method = "POST",
	  .path = "/v1/vms/{vm}/restart",
	  .begins = true,
	  .query = wait_query,
	  .body = API_BODY_JSON,
	  .request = &api_vm_stop,
	  OPERATION,
	  .errors = create_errors,
	  .summary = "Stop and start a VM" },
	{ .id = API_WAIT_VM,
	  .method = "GET",
	  .path = "/v1/vms/{vm}/wait",
	  .query = wait_vm_query,
	  JSON(api_vm),
	  .errors = wait_errors,
	  .summary = "Wait for a state of a VM",
	  .help = "The answer is the VM as it was last seen." },
	{ .id = API_EXEC_VM,
	  .method = "GET",
	  .path = "/v1/vms/{vm}/exec",
	  .answer = API_BODY_WEBSOCKET,
	  .status = 101,
	  .errors = agent_errors,
	  .summary = "Run a command in a VM (WebSocket)",
	  .help = "The client's first text message is an ExecRequest, later ones "
		  "are ExecControl; the daemon's are ExecEvent. In binary "
		  "messages the first byte is the channel: 0 stdin (empty: end "
		  "of file), 1 stdout, 2 stderr." },
	{ .id = API_DIAL_VM,
	  .method = "GET",
	  .path = "/v1/vms/{vm}/dial",
	  .query = dial_query,
	  .answer = API_BODY_WEBSOCKET,
	  .status = 101,
	  .errors = agent_errors,
	  .summary = "A connection to a port of the guest (WebSocket)",
	  .help = "Binary messages both ways are bytes, an empty one is the end "
		  "of that direction; with udp each message is a datagram. The "
		  "daemon's text messages are DialEvent. Closing it before both "
		  "directions have ended resets the connection." },
	{ .id = API_CONSOLE_VM,
	  .method = "GET",
	  .path = "/v1/vms/{vm}/console",
	  .query = console_query,
	  .answer = API_BODY_WEBSOCKET,
	  .status = 101,
	  .errors = change_errors,
	  .summary = "The console of a VM (WebSocket)",
	  .help = "Binary messages both ways." },
	{ .id = API_LOGS_VM,
	  .method = "GET",
	  .path = "/v1/vms/{vm}/logs",
	  .query = logs_query,
	  .answer = API_BODY_TEXT,
	  .status = 200,
	  .errors = get_errors,
	  .summary = "What the console printed" },
	{ .id = API_GET_FILES,
	  .method = "GET",
	  .path = "/v1/vms/{vm}/files",
	  .query = files_query,
	  .answer = API_BODY_TAR,
	  .status = 200,
	  .errors = agent_errors,
	  .summary = "A file or tree of the guest as a tar stream" },
	{ .id = API_PUT_FILES,
	  .method = "PUT",
	  .path = "/v1/vms/{vm}/files",
	  .query = put_files_query,
	  .body = API_BODY_TAR,
	  .body_required = true,
	  .answer = API_BODY_NONE,
	  .status = 204,
	  .errors = agent_errors,
	  .summary = "Unpack a tar stream into a directory of the guest" },
	{ .id = API_GET_IMAGES,
	  .method = "GET",
	  .path = "/v1/images",
	  JSON(api_image_list),
	  .errors = no_errors,
	  .summary = "List images" },
	{ .id = API_POST_IMAGES,
	  .method = "POST",
	  .path = "/v1/images",
	  .begins = true,
	  .query = wait_query,
	  .body = API_BODY_JSON,
	  .body_required = true,
	  .idempotency_key = true,
	  .request = &api_image_create,
	  OPERATION,
	  .errors = create_errors,
	  .summary = "Build an image" },
	{ .id = API_GET_IMAGE,
	  .method = "GET",
	  .path = "/v1/images/{image}",
	  JSON(api_image),
	  .errors = get_errors,
	  .summary = "One image" },
	{ .id = API_DELETE_IMAGE,
	  .method = "DELETE",
	  .path = "/v1/images/{image}",
	  .answer = API_BODY_NONE,
	  .status = 204,
	  .errors = change_errors,
	  .summary = "Remove an image" },
	{ .id = API_GET_OPERATIONS,
	  .method = "GET",
	  .path = "/v1/operations",
	  .query = list_operations_query,
	  JSON(api_operation_list),
	  .errors = get_errors,
	  .summary = "List operations" },
	{ .id = API_GET_OPERATION,
	  .method = "GET",
	  .path = "/v1/operations/{operation}",
	  JSON(api_operation),
	  .errors = get_errors,
	  .summary = "One operation" },
	{ .id = API_CANCEL_OPERATION,
	  .method = "DELETE",
	  .path = "/v1/operations/{operation}",
	  OPERATION,
	  .errors = change_errors,
	  .summary = "Cancel an operation" },
	{ .id = API_WAIT_OPERATION,
	  .method = "GET",
	  .path = "/v1/operations/{operation}/wait",
	  .query = timeout_query,
	  JSON(api_operation),
	  .errors = wait_errors,
	  .summary = "Wait for the end of an operation" },
	{ .id = API_GET_OPENAPI,
	  .method = "GET",
	  .path = "/openapi.json",
	  .answer = API_BODY_JSON,
	  .status = 200,
	  .errors = no_errors,
	  .summary = "This document" },
	{ .id = API_GET_METRICS,
	  .method = "GET",
	  .path = "/metrics",
	  .answer = API_BODY_METRICS,
	  .status = 200,
	  .errors = no_errors,
	  .summary = "Metrics in the Prometheus text format" },
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Objects that clients send. A limit without a reason beside it is a guard
 * against absurd input, far above what anybody needs. */
#include <netinet/in.h>

#include "api/names.h"
#include "api/schema.h"

/* Days: a TTL past ten years is a typing error. */
#define TTL_MAX (UINT64_C(10) * 366 * 86400)

static const struct api_field port_fields[] = {
	{ .name = "host_address",
	  .type = API_STRING,
	  .pattern = API_ADDRESS,
	  .min = 2,
	  .max = INET6_ADDRSTRLEN - 1,
	  .fallback = "\"127.0.0.1\"",
	  .help = "Address of the host to listen on; 0.0.0.0 is every IPv4 "
		  "address, :: every IPv6 one." },
	{ .name = "host_port",
	  .type = API_INTEGER,
	  .flags = API_REQUIRED,
	  .min = 1,
	  .max = 65535,
	  .help = "Port of the host." },
	{ .name = "guest_port",
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
	{ .name = NULL }
};
const struct api_object api_port = { "Port", "A published port.", port_fields };

static const struct api_field network_fields[] = {
	{ .name = "mode",
	  .type = API_STRING,
	  .max = 8,
	  .values = api_network_modes,
	  .fallback = "\"user\"",
	  .help = "user: outbound access by user-mode networking; none: no "
		  "network device. Ports are published with either." },
	{ .name = "ports",
	  .type = API_ARRAY,
	  .item = API_OBJECT,
	  .object = &api_port,
	  .max = API_PORTS_MAX,
	  .fallback = "[]",
	  .help = "Ports of the host that lead into the guest." },
	{ .name = NULL }
};
const struct api_object api_network = { "Network", "How a VM is connected.",
					network_fields };

#define COMMAND_FIELD                                                       \
	.name = "command", .type = API_ARRAY, .item = API_STRING, .min = 1, \
	.max = API_ARGS_MAX, .item_max = API_ARG_BYTES_MAX
#define ENV_FIELD                                              \
	.name = "env", .type = API_MAP, .flags = API_ENV_KEYS, \
	.max = API_ENV_MAX, .item_max = API_ARG_BYTES_MAX,     \
	.help = "Environment variables, over the guest's defaults."
#define CWD_FIELD                                                         \
	.name = "cwd", .type = API_STRING, .pattern = API_PATH, .min = 1, \
	.max = 4095, .help = "Working directory (default /)."
#define USER_FIELD                                               \
	.name = "user", .type = API_STRING, .min = 1, .max = 64, \
	.help = "Name, uid or uid:gid (default root)."

static const struct api_field vm_create_fields[] = {
	{ .name = "name",
	  .type = API_STRING,
	  .pattern = API_NAME,
	  .flags = API_NOT_ID,
	  .min = 1,
	  .max = 63,
	  .help = "Unique name; made from the image's name when absent. What "
		  "looks like an id (26 of a-z 2-7) is refused." },
	{ .name = "image",
	  .type = API_STRING,
	  .pattern = API_REF,
	  .flags = API_REQUIRED,
	  .min = 1,
	  .max = 64,
	  .help = "Name or id (or unique prefix of it) of an image." },
	{ .name = "engine",
	  .type = API_STRING,
	  .max = 8,
	  .values = api_engines,
	  .fallback = "\"auto\"",
	  .help = "auto chooses and says why in engine_reason." },
	{ .name = "vcpus",
	  .type = API_INTEGER,
	  .min = 1,
	  .max = API_VCPUS_MAX,
	  .fallback = "1",
	  .help = "Virtual CPUs." },
	{ .name = "memory_bytes",
	  .type = API_INTEGER,
	  .min = API_MEMORY_MIN,
	  .max = API_MEMORY_MAX,
	  .fallback = "268435456",
	  .help = "Guest memory; rounded up to whole MiB." },
	{ .name = "disk_bytes",
	  .type = API_INTEGER,
	  .min = UINT64_C(1) << 20,
	  .max = API_DISK_MAX,
	  .help = "Size of the root disk (default: the image's)." },
	{ .name = "labels",
	  .type = API_MAP,
	  .max = API_LABELS_MAX,
	  .item_max = 256,
	  .fallback = "{}",
	  .help = "Names and values of the client's own." },
	{ .name = "ephemeral",
	  .type = API_BOOLEAN,
	  .fallback = "false",
	  .help = "Delete the VM when its command or its attached exec "
		  "connection ends." },
	{ .name = "ttl_seconds",
	  .type = API_INTEGER,
	  .min = 1,
	  .max = TTL_MAX,
	  .help = "Delete the VM that long after its creation." },
	{ .name = "start",
	  .type = API_BOOLEAN,
	  .fallback = "true",
	  .help = "Start it at once." },
	{ .name = "network",
	  .type = API_OBJECT,
	  .object = &api_network,
	  .fallback = "{}",
	  .help = "Network of the VM." },
	{ .name = "kernel_args",
	  .type = API_STRING,
	  .max = 1024,
	  .help = "Added to the guest's kernel command line." },
	{ COMMAND_FIELD,
	  .help = "Main command, run detached when the guest is ready; its end "
		  "ends an ephemeral VM." },
	{ ENV_FIELD },
	{ CWD_FIELD },
	{ USER_FIELD },
	{ .name = "ready_timeout_seconds",
	  .type = API_INTEGER,
	  .min = 1,
	  .max = API_WAIT_MAX_SECONDS,
	  .help = "A start fails when the guest is not ready by then (default "
		  "60, four times that under software emulation)." },
	{ .name = NULL }
};
const struct api_object api_vm_create = { "VmCreate", "A VM to be made.",
					  vm_create_fields };

static const struct api_field vm_stop_fields[] = {
	{ .name = "timeout_seconds",
	  .type = API_INTEGER,
	  .min = 0,
	  .max = API_WAIT_MAX_SECONDS,
	  .fallback = "10",
	  .help = "Time for the guest to power off before it is ended." },
	{ .name = "force",
	  .type = API_BOOLEAN,
	  .fallback = "false",
	  .help = "End it at once, without asking the guest." },
	{ .name = NULL }
};
const struct api_object api_vm_stop = { "VmStop", "How to stop a VM.",
					vm_stop_fields };

static const struct api_field image_create_fields[] = {
	{ .name = "name",
	  .type = API_STRING,
	  .pattern = API_NAME,
	  .flags = API_REQUIRED,
	  .min = 1,
	  .max = 63,
	  .help = "Name of the new image." },
	{ .name = "recipe",
	  .type = API_STRING,
	  .max = 16,
	  .flags = API_REQUIRED,
	  .values = api_recipes,
	  .help = "What builds it." },
	{ .name = "options",
	  .type = API_MAP,
	  .max = 32,
	  .item_max = 4096,
	  .fallback = "{}",
	  .help = "Options of the recipe." },
	{ .name = NULL }
};
const struct api_object api_image_create = { "ImageCreate",
					     "An image to be built.",
					     image_create_fields };

static const struct api_field exec_request_fields[] = {
	{ COMMAND_FIELD,
	  .help = "Program and arguments (default: the image's command)." },
	{ ENV_FIELD },
	{ CWD_FIELD },
	{ USER_FIELD },
	{ .name = "tty",
	  .type = API_BOOLEAN,
	  .fallback = "false",
	  .help = "Run it on a terminal; its output is all on channel 1." },
	{ .name = "rows",
	  .type = API_INTEGER,
	  .min = 1,
	  .max = 65535,
	  .fallback = "24",
	  .help = "Height of the terminal." },
	{ .name = "columns",
	  .type = API_INTEGER,
	  .min = 1,
	  .max = 65535,
	  .fallback = "80",
	  .help = "Width of the terminal." },
	{ .name = "stdin",
	  .type = API_BOOLEAN,
	  .fallback = "false",
	  .help = "Messages on channel 0 will follow; else /dev/null." },
	{ .name = "attach",
	  .type = API_BOOLEAN,
	  .fallback = "false",
	  .help = "An ephemeral VM ends with this connection." },
	{ .name = NULL }
};
const struct api_object api_exec_request = {
	"ExecRequest", "First text message of a client on an exec connection.",
	exec_request_fields
};

static const struct api_field exec_resize_fields[] = {
	{ .name = "rows",
	  .type = API_INTEGER,
	  .flags = API_REQUIRED,
	  .min = 1,
	  .max = 65535,
	  .help = "Height of the terminal." },
	{ .name = "columns",
	  .type = API_INTEGER,
	  .flags = API_REQUIRED,
	  .min = 1,
	  .max = 65535,
	  .help = "Width of the terminal." },
	{ .name = NULL }
};
const struct api_object api_exec_resize = { "ExecResize",
					    "New size of the terminal.",
					    exec_resize_fields };

static const struct api_field exec_control_fields[] = {
	{ .name = "resize",
	  .type = API_OBJECT,
	  .object = &api_exec_resize,
	  .help = "The client's terminal has another size now." },
	{ .name = "signal",
	  .type = API_STRING,
	  .max = 16,
	  .values = api_signals,
	  .help = "Signal for the command's process group." },
	{ .name = NULL }
};
const struct api_object api_exec_control = {
	"ExecControl", "Later text message of a client: one of the members.",
	exec_control_fields
};

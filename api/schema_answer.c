/* SPDX-License-Identifier: Apache-2.0 */
/* Objects that the daemon sends. */
#include "api/names.h"
#include "api/schema.h"

#include <string.h>

#define I63	 INT64_MAX
#define TEXT_MAX 4096

#define STR(field, text)                                                  \
	{                                                                 \
		.name = field, .type = API_STRING, .flags = API_REQUIRED, \
		.max = TEXT_MAX, .help = text                             \
	}
#define STR_NULL(field, text)                                          \
	{                                                              \
		.name = field, .type = API_STRING,                     \
		.flags = API_REQUIRED | API_NULLABLE, .max = TEXT_MAX, \
		.help = text                                           \
	}
#define ENUM(field, list, text)                                           \
	{                                                                 \
		.name = field, .type = API_STRING, .flags = API_REQUIRED, \
		.max = TEXT_MAX, .values = list, .help = text             \
	}
#define TIME(field, text)                                               \
	{                                                               \
		.name = field, .type = API_STRING, .pattern = API_TIME, \
		.flags = API_REQUIRED, .max = 32, .help = text          \
	}
#define TIME_NULL(field, text)                                                \
	{                                                                     \
		.name = field, .type = API_STRING, .pattern = API_TIME,       \
		.flags = API_REQUIRED | API_NULLABLE, .max = 32, .help = text \
	}
#define STR_OPT(field, text)                                        \
	{                                                           \
		.name = field, .type = API_STRING, .max = TEXT_MAX, \
		.help = text                                        \
	}
#define INT_OPT(field, text)                                                 \
	{                                                                    \
		.name = field, .type = API_INTEGER, .max = I63, .help = text \
	}
#define INT(field, text)                                                   \
	{                                                                  \
		.name = field, .type = API_INTEGER, .flags = API_REQUIRED, \
		.max = I63, .help = text                                   \
	}
#define INT_NULL(field, text)                                                  \
	{                                                                      \
		.name = field, .type = API_INTEGER,                            \
		.flags = API_REQUIRED | API_NULLABLE, .max = I63, .help = text \
	}
#define BOOL(field, text)                                                  \
	{                                                                  \
		.name = field, .type = API_BOOLEAN, .flags = API_REQUIRED, \
		.help = text                                               \
	}
#define OBJ(field, part, text)                                            \
	{                                                                 \
		.name = field, .type = API_OBJECT, .flags = API_REQUIRED, \
		.object = part, .help = text                              \
	}
#define OBJ_NULL(field, part, text)                                   \
	{                                                             \
		.name = field, .type = API_OBJECT,                    \
		.flags = API_REQUIRED | API_NULLABLE, .object = part, \
		.help = text                                          \
	}
#define OBJ_OPT(field, part, text)                                 \
	{                                                          \
		.name = field, .type = API_OBJECT, .object = part, \
		.help = text                                       \
	}
#define LIST(field, part, text)                                        \
	{                                                              \
		.name = field, .type = API_ARRAY, .item = API_OBJECT,  \
		.flags = API_REQUIRED, .object = part, .max = 1000000, \
		.help = text                                           \
	}
#define END                  \
	{                    \
		.name = NULL \
	}

static const struct api_field version_fields[] = {
	STR("version", "Version of the daemon."),
	STR("api", "Version of the API: v1."), END
};
const struct api_object api_version = { "Version", "What is running.",
					version_fields };

static const struct api_field engine_fields[] = {
	ENUM("name", api_vm_engines, "Name of the engine."),
	BOOL("usable", "VMs can be started with it."),
	BOOL("emulated", "Guest instructions are emulated in software."),
	STR("detail", "Version and acceleration, or why it is not usable."),
	STR_NULL("fix", "The command that would make it usable."),
	END
};
const struct api_object api_engine = { "Engine", "What was probed.",
				       engine_fields };

static const struct api_field check_fields[] = {
	STR("name", "What was checked."), BOOL("ok", "It is there and works."),
	STR("detail", "What was found."),
	STR_NULL("fix", "The command that would mend it."), END
};
const struct api_object api_check = { "Check", "One check of the host.",
				      check_fields };

static const struct api_field host_fields[] = {
	LIST("engines", &api_engine, "In order of preference."),
	LIST("checks", &api_check, "What VMs need of the host."),
	STR("kernel", "Release of the host's kernel."),
	STR("architecture", "Machine name of the host."),
	INT("cpus", "CPUs the daemon may use."),
	INT("memory_bytes", "Memory of the host."),
	INT("memory_available_bytes", "Memory that VMs can still take."),
	INT("disk_bytes", "Size of the file system of the state directory."),
	INT("disk_available_bytes", "Free there."),
	STR("state_dir", "State directory of the daemon."),
	BOOL("rootless", "The daemon runs for a normal user."),
	INT("vms", "VMs that exist."),
	END
};
const struct api_object api_host = { "Host", "The host and what it can do.",
				     host_fields };

static const struct api_field exit_fields[] = {
	INT("status", "Exit status; 0 when a signal ended it."),
	INT("signal", "Number of the signal, or 0."), END
};
const struct api_object api_exit = { "Exit", "How a command ended.",
				     exit_fields };

static const struct api_field agent_fields[] = {
	STR("release", "Release of the guest's kernel."),
	STR("version", "Version of the agent."), END
};
const struct api_object api_agent = { "Agent", "The agent in the guest.",
				      agent_fields };

static const struct api_field problem_fields[] = {
	STR("type", "about:blank"),
	STR("title", "The class of the problem, for a person."),
	INT("status", "HTTP status."),
	STR("kind", "The class of the problem, for a program."),
	STR("code", "The specific problem, for a program."),
	STR("detail", "What happened, to what, why, and what to do."),
	BOOL("retryable", "The same request may succeed later."),
	STR_OPT("field", "The field or parameter of the request it is about."),
	STR_OPT("subject",
		"The name, id or value it is about, as it was given."),
	STR_OPT("suggestion", "What may have been meant instead."),
	INT_OPT("asked", "What was asked for, in the field's unit."),
	INT_OPT("limit", "The most, or the least, that may be asked for."),
	INT_OPT("available", "What could be had now."),
	{ .name = "rejections",
	  .type = API_ARRAY,
	  .item = API_STRING,
	  .max = 1000,
	  .item_max = TEXT_MAX,
	  .help = "Why each candidate was refused." },
	END
};
const struct api_object api_problem = { "Problem", "RFC 9457 problem details.",
					problem_fields };

/* What is known from the request alone, whose text cannot be read any more. */
#define OR_DAMAGED "; null when its record is damaged."

static const struct api_field vm_fields[] = {
	STR("id", "26 characters, never used again."),
	STR("name", "Unique among the VMs that exist."),
	STR("image", "Name of the image it was made from."),
	STR("image_id", "Id of that image at that time."),
	ENUM("state", api_vm_states, "What it does now."),
	STR_NULL("reason", "Why it is in that state."),
	ENUM("engine", api_engines, "auto until the first start."),
	STR_NULL("engine_reason", "Why that engine was chosen."),
	BOOL("emulated", "Guest instructions are emulated in software."),
	INT_NULL("vcpus", "Virtual CPUs" OR_DAMAGED),
	INT("memory_bytes", "Guest memory."),
	INT_NULL("disk_bytes", "Size of the root disk; null without one."),
	{ .name = "labels",
	  .type = API_MAP,
	  .flags = API_REQUIRED | API_NULLABLE,
	  .max = API_LABELS_MAX,
	  .item_max = 256,
	  .help = "Names and values of the client's own" OR_DAMAGED },
	BOOL("ephemeral", "It goes with its command or connection."),
	INT_NULL("ttl_seconds", "Time to live."),
	TIME_NULL("expires_at", "End of that time."),
	OBJ_NULL("network", &api_network, "Network of the VM" OR_DAMAGED),
	{ .name = "command",
	  .type = API_ARRAY,
	  .item = API_STRING,
	  .flags = API_REQUIRED | API_NULLABLE,
	  .max = API_ARGS_MAX,
	  .item_max = API_ARG_BYTES_MAX,
	  .help = "Main command." },
	OBJ_NULL("exit", &api_exit, "How the main command ended."),
	TIME("created_at", "When it was created."),
	TIME_NULL("started_at", "When it was last started."),
	TIME_NULL("ready_at", "When its agent was last ready."),
	OBJ_NULL("agent", &api_agent, "The agent in the guest."),
	{ .name = "pids",
	  .type = API_ARRAY,
	  .item = API_INTEGER,
	  .flags = API_REQUIRED,
	  .max = 16,
	  .help = "Its processes on the host." },
	OBJ_NULL("error", &api_problem, "What went wrong last."),
	INT("revision", "Grows with every change."),
	END
};
const struct api_object api_vm = { "Vm", "A virtual machine.", vm_fields };

static const struct api_field vm_list_fields[] = {
	LIST("items", &api_vm, "In the order of their creation."),
	STR_NULL("next_cursor", "Value of cursor= for the next page."), END
};
const struct api_object api_vm_list = { "VmList", "A page of VMs.",
					vm_list_fields };

static const struct api_field progress_fields[] = {
	STR("step", "What is being done, for a person."),
	INT("done", "Units done."),
	INT("total", "Units in all, or 0 when nobody knows."), END
};
const struct api_object api_progress = { "Progress", "How far it is.",
					 progress_fields };

static const struct api_field resource_fields[] = {
	ENUM("kind", api_resource_kinds, "Kind of the resource."),
	STR("id", "Id of a VM, name of an image."), END
};
const struct api_object api_resource = { "Resource", "What it is about.",
					 resource_fields };

static const struct api_field operation_fields[] = {
	STR("id", "Id of the operation."),
	ENUM("kind", api_op_kinds, "What it does."),
	ENUM("state", api_op_states, "Whether it has ended, and how."),
	OBJ("resource", &api_resource, "What it works on."),
	OBJ("progress", &api_progress, "How far it is."),
	TIME("created_at", "When it began."),
	TIME_NULL("finished_at", "When it ended."),
	OBJ_NULL("error", &api_problem, "Why it failed."),
	END
};
const struct api_object api_operation = { "Operation",
					  "Something that takes time.",
					  operation_fields };

static const struct api_field operation_list_fields[] = {
	LIST("items", &api_operation, "Newest first."),
	STR_NULL("next_cursor", "Value of cursor= for the next page."), END
};
const struct api_object api_operation_list = { "OperationList",
					       "A page of operations.",
					       operation_list_fields };

static const struct api_field vm_created_fields[] = {
	OBJ("operation", &api_operation, "The creation (and start)."),
	OBJ("vm", &api_vm, "The VM as it is now."), END
};
const struct api_object api_vm_created = { "VmCreated",
					   "A VM that is being made.",
					   vm_created_fields };

static const struct api_field blob_fields[] = {
	STR("digest", "SHA-256 of the content."),
	INT("size_bytes", "Its size."), END
};
const struct api_object api_blob = { "Blob", "A file of the image store.",
				     blob_fields };

static const struct api_field image_fields[] = {
	STR("id", "SHA-256 of the manifest."),
	STR("name", "Name of the image."),
	STR("recipe", "What built it."),
	STR("architecture", "Machine name of the guest."),
	STR("init", "agent or system: what runs as the first process."),
	STR("kernel_release", "Release of the guest's kernel."),
	STR("kernel_format", "elf or bzimage."),
	STR("command", "What runs when no command is named."),
	INT("size_bytes", "Size of kernel, initrd and root together."),
	OBJ("kernel", &api_blob, "The kernel."),
	OBJ_NULL("initrd", &api_blob, "The initial file system."),
	OBJ_NULL("root", &api_blob, "The root disk; null without one."),
	INT("min_memory_bytes", "Least memory it starts with."),
	TIME("created_at", "When it was built."),
	{ .name = "used_by",
	  .type = API_ARRAY,
	  .item = API_STRING,
	  .flags = API_REQUIRED,
	  .max = 1000000,
	  .item_max = 64,
	  .help = "Names of the VMs made from it." },
	END
};
const struct api_object api_image = { "Image", "A template of VMs.",
				      image_fields };

static const struct api_field image_list_fields[] = {
	LIST("items", &api_image, "Sorted by name."), END
};
const struct api_object api_image_list = { "ImageList", "All images.",
					   image_list_fields };

static const struct api_field exec_started_fields[] = {
	INT("pid", "Its process in the guest."), END
};
const struct api_object api_exec_started = { "ExecStarted", "The command runs.",
					     exec_started_fields };

static const struct api_field exec_progress_fields[] = {
	ENUM("state", api_vm_states, "State of the VM."),
	STR("step", "What is being done, for a person."), END
};
const struct api_object api_exec_progress = { "ExecProgress",
					      "The VM is not ready yet.",
					      exec_progress_fields };

static const struct api_field exec_event_fields[] = {
	OBJ_OPT("progress", &api_exec_progress, "While the VM starts."),
	{ .name = "warning",
	  .type = API_STRING,
	  .max = TEXT_MAX,
	  .help = "For a person, on stderr." },
	OBJ_OPT("started", &api_exec_started, "The command runs."),
	OBJ_OPT("exit", &api_exit, "The command ended; close follows."),
	OBJ_OPT("error", &api_problem, "It failed; close follows."),
	END
};
const struct api_object api_exec_event = {
	"ExecEvent", "Text message of the daemon: one of the members.",
	exec_event_fields
};

static const struct api_field dial_connected_fields[] = { END };
const struct api_object api_dial_connected = { "DialConnected",
					       "There is a connection.",
					       dial_connected_fields };

static const struct api_field dial_event_fields[] = {
	OBJ_OPT("progress", &api_exec_progress, "While the VM starts."),
	{ .name = "warning",
	  .type = API_STRING,
	  .max = TEXT_MAX,
	  .help = "For a person, on stderr." },
	OBJ_OPT("connected", &api_dial_connected,
		"The service in the guest is connected."),
	OBJ_OPT("error", &api_problem,
		"Refused (connection_refused) or reset (connection_reset); "
		"close follows."),
	END
};
const struct api_object api_dial_event = {
	"DialEvent", "Text message of the daemon: one of the members.",
	dial_event_fields
};

const struct api_object *const api_objects[] = { &api_version,
						 &api_host,
						 &api_engine,
						 &api_check,
						 &api_vm_create,
						 &api_vm_created,
						 &api_vm,
						 &api_vm_list,
						 &api_network,
						 &api_port,
						 &api_exit,
						 &api_agent,
						 &api_vm_stop,
						 &api_image_create,
						 &api_image,
						 &api_image_list,
						 &api_operation,
						 &api_operation_list,
						 &api_resource,
						 &api_progress,
						 &api_exec_request,
						 &api_exec_control,
						 &api_exec_resize,
						 &api_exec_event,
						 &api_blob,
						 &api_exec_started,
						 &api_exec_progress,
						 &api_dial_event,
						 &api_dial_connected,
						 &api_problem,
						 NULL };

const struct api_field *api_field_find(const struct api_field *fields,
				       const char *name)
{
	for (const struct api_field *f = fields; f && f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

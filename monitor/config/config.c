/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the configuration; see config.h for the rules. */
#include "monitor/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"
#include "monitor/config/config_firecracker.h"
#include "monitor/config/config_internal.h"
#include "monitor/layout.h"

enum {
	MEM_MIB_MIN = 16,
	MEM_MIB_MAX = 4 * 1024 * 1024, /* 4 TiB: far below any CPU's limit */
	CONFIG_WAIT_MS = 3000, /* for the writer of a FIFO */
};

/* Every message about the file carries the code config_invalid. */
static int invalid(struct err *e, int rc)
{
	if (rc < 0 && e)
		(void)strcpy(e->code, "config_invalid");
	return rc;
}

/* A string that is not empty, of max bytes at most. */
int config_get_name(const json_t *o, const char *path, const char *field,
		    bool required, size_t max, const char **ret, struct err *e)
{
	int rc = json_get_string(o, path, field, required, max, ret, e);

	if (rc == 0 && *ret && **ret == '\0')
		return err_set(e, ERR_INVALID, "config_invalid", 0,
			       "%s.%s is empty", path, field);
	return rc;
}

int config_get_path(const json_t *o, const char *path, const char *field,
		    bool required, const char **ret, struct err *e)
{
	return config_get_name(o, path, field, required, PATH_MAX - 1, ret, e);
}

static int parse_boot_source(const json_t *o, struct config *c, struct err *e)
{
	static const char *const path = "boot-source";
	int rc = json_only_fields(
		o, path,
		FIELDS("kernel_image_path", "initrd_path", "boot_args"), e);

	if (rc == 0)
		rc = config_get_path(o, path, "kernel_image_path", true,
				     &c->kernel_image_path, e);
	if (rc == 0)
		rc = config_get_path(o, path, "initrd_path", false,
				     &c->initrd_path, e);
	if (rc == 0)
		rc = json_get_string(o, path, "boot_args", false,
				     CMDLINE_MAX - 1, &c->boot_args, e);
	return rc;
}

static int parse_backing(const json_t *o, const char *path,
			 enum vm_backing *ret, struct err *e)
{
	static const char *const names[] = {
		[VM_BACKING_AUTO] = "auto",
		[VM_BACKING_ANONYMOUS] = "anonymous",
		[VM_BACKING_MEMFD] = "memfd",
	};
	const char *name = names[VM_BACKING_AUTO];
	int rc =
		json_get_string(o, path, "memory_backing", false, 16, &name, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], name) == 0) {
			*ret = (enum vm_backing)i;
			return 0;
		}
	return err_set(e, ERR_INVALID, "config_invalid", 0,
		       "%s.memory_backing is neither auto, anonymous nor memfd",
		       path);
}

static int parse_machine(const json_t *o, struct config *c, struct err *e)
{
	static const char *const path = "machine-config";
	uint64_t vcpus = 1, mib = 128;
	int rc = json_only_fields(o, path,
				  FIELDS("vcpu_count", "mem_size_mib",
					 "memory_backing", "nested", "pmu",
					 "smt", "ht_enabled", "cpu_template",
					 "track_dirty_pages", "huge_pages"),
				  e);

	if (rc == 0)
		rc = json_get_u64(o, path, "vcpu_count", true, 1, VCPUS_MAX,
				  &vcpus, e);
	if (rc == 0)
		rc = json_get_u64(o, path, "mem_size_mib", true, MEM_MIB_MIN,
				  MEM_MIB_MAX, &mib, e);
	if (rc == 0)
		rc = parse_backing(o, path, &c->backing, e);
	if (rc == 0)
		rc = json_get_bool(o, path, "nested", false, &c->nested, e);
	if (rc == 0)
		rc = json_get_bool(o, path, "pmu", false, &c->pmu, e);
	if (rc == 0)
		rc = firecracker_check_machine(o, path, e);
	c->vcpu_count = (unsigned)vcpus;
	c->mem_bytes = mib << 20;
	return rc;
}

/* Firecracker's names of log levels, in any case of letters. */
static int parse_level(const char *name, struct config *c, struct err *e)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {
		{ "error", LOG_LEVEL_ERROR }, { "warning", LOG_LEVEL_WARN },
		{ "warn", LOG_LEVEL_WARN },   { "info", LOG_LEVEL_INFO },
		{ "debug", LOG_LEVEL_DEBUG }, { "trace", LOG_LEVEL_DEBUG },
	};

	if (strcasecmp(name, "off") == 0) {
		c->log_path = "/dev/null";
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		if (strcasecmp(levels[i].name, name) == 0) {
			c->has_log_level = true;
			c->log_level = levels[i].level;
			return 0;
		}
	return err_set(e, ERR_INVALID, "config_invalid", 0,
		       "logger.level is none of Off, Error, Warning, Info, "
		       "Debug, Trace");
}

/* Our records always have their level, and never a place in the source. */
static int parse_logger(const json_t *o, struct config *c, struct err *e)
{
	static const char *const path = "logger";
	const char *level = NULL, *module = NULL;
	bool ignored = false;
	int rc = json_only_fields(o, path,
				  FIELDS("log_path", "level", "show_level",
					 "show_log_origin", "module"),
				  e);

	if (rc == 0)
		rc = config_get_path(o, path, "log_path", false, &c->log_path,
				     e);
	if (rc == 0)
		rc = json_get_bool(o, path, "show_level", false, &ignored, e);
	if (rc == 0)
		rc = json_get_bool(o, path, "show_log_origin", false, &ignored,
				   e);
	if (rc == 0)
		rc = json_get_string(o, path, "module", false, 256, &module, e);
	if (rc == 0 && module)
		return err_set(e, ERR_UNSUPPORTED, "config_invalid", 0,
			       "logger.module needs a log by modules of "
			       "Firecracker's source: leave it out");
	if (rc == 0)
		rc = json_get_string(o, path, "level", false, 16, &level, e);
	return rc < 0 || !level ? rc : parse_level(level, c, e);
}

static int parse_metrics(const json_t *o, struct config *c, struct err *e)
{
	int rc = json_only_fields(o, "metrics", FIELDS("metrics_path"), e);

	if (rc == 0)
		rc = config_get_path(o, "metrics", "metrics_path", true,
				     &c->metrics_path, e);
	return rc;
}

static int parse_control(const json_t *o, struct config *c, struct err *e)
{
	int rc = json_only_fields(o, "control", FIELDS("socket_path"), e);

	if (rc == 0)
		rc = config_get_name(o, "control", "socket_path", true,
				     CONFIG_SUN_PATH_MAX,
				     &c->control_socket_path, e);
	return rc;
}

static int parse_status(const json_t *o, struct config *c, struct err *e)
{
	int rc = json_only_fields(o, "status", FIELDS("path"), e);

	if (rc == 0)
		rc = config_get_path(o, "status", "path", true, &c->status_path,
				     e);
	return rc;
}

static int parse_debug_exit(const json_t *o, struct config *c, struct err *e)
{
	static const struct {
		uint16_t first, last;
		const char *owner;
	} taken[] = {
		{ PORT_PIC1, PORT_PIC1 + 1, "an interrupt controller" },
		{ PORT_PIC2, PORT_PIC2 + 1, "an interrupt controller" },
		{ PORT_I8042_DATA, PORT_I8042_DATA, "the keyboard" },
		{ PORT_I8042_COMMAND, PORT_I8042_COMMAND, "the keyboard" },
		{ PORT_CMOS, PORT_CMOS + 1, "the clock" },
		{ PORT_COM1, PORT_COM1 + 7, "the serial port" },
		{ PORT_POWER, PORT_POWER + 2, "ACPI" },
		{ PORT_RESET_CONTROL, PORT_RESET_CONTROL, "the reset control" },
	};
	uint64_t port = 0;
	int rc = json_only_fields(o, "debug-exit", FIELDS("port"), e);

	if (rc == 0)
		rc = json_get_u64(o, "debug-exit", "port", true, 1, 0xffff,
				  &port, e);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(taken); i++)
		if (port >= taken[i].first && port <= taken[i].last)
			return err_set(e, ERR_INVALID, "config_invalid", 0,
				       "debug-exit.port %#x belongs to %s",
				       (unsigned)port, taken[i].owner);
	c->debug_exit_port = (uint16_t)port;
	return rc;
}

/* The members of the whole object that are objects themselves. */
static const struct section {
	const char *name;
	bool required;
	int (*parse)(const json_t *o, struct config *c, struct err *e);
} sections[] = {
	{ "boot-source", true, parse_boot_source },
	{ "machine-config", false, parse_machine },
	{ "vsock", false, config_parse_vsock },
	{ "entropy", false, config_parse_entropy },
	{ "balloon", false, config_parse_balloon },
	{ "serial", false, config_parse_serial },
	{ "console", false, config_parse_console },
	{ "control", false, parse_control },
	{ "status", false, parse_status },
	{ "debug-exit", false, parse_debug_exit },
	{ "logger", false, parse_logger },
	{ "metrics", false, parse_metrics },
};

static int parse_all(const json_t *json, struct config *c, struct err *e)
{
	const json_t *drives = NULL, *nets = NULL;
	int rc = json_only_fields(
		json, "config",
		FIELDS("boot-source", "machine-config", "drives",
		       "network-interfaces", "vsock", "entropy", "serial",
		       "console", "control", "status", "debug-exit", "logger",
		       "metrics", "balloon", "cpu-config", "mmds-config",
		       "mmds-version", "memory-hotplug", "pmem"),
		e);

	if (rc == 0)
		rc = firecracker_check_sections(json, e);

	for (size_t i = 0; rc == 0 && i < sizeof(sections) / sizeof(*sections);
	     i++) {
		const json_t *o = NULL;

		rc = json_get_object(json, "config", sections[i].name,
				     sections[i].required, &o, e);
		if (rc == 0 && o)
			rc = sections[i].parse(o, c, e);
	}
	if (rc == 0)
		rc = json_get_array(json, "config", "drives", false,
				    CONFIG_DRIVES_MAX, &drives, e);
	if (rc == 0 && drives)
		rc = config_parse_drives(drives, c, e);
	if (rc == 0)
		rc = json_get_array(json, "config", "network-interfaces", false,
				    CONFIG_NETS_MAX, &nets, e);
	if (rc == 0 && nets)
		rc = config_parse_nets(nets, c, e);
	if (rc == 0 && c->has_console && !c->console.socket_path &&
	    !c->console.log_path)
		return err_set(
			e, ERR_INVALID, "config_invalid", 0,
			"console needs socket_path or log_path: standard "
			"input and output belong to the serial port");
	return rc;
}

int config_parse(const char *text, size_t len, struct config *ret,
		 struct err *e)
{
	/* Sizes as Firecracker's, for a file without machine-config. */
	struct config c = { .boot_args = CONFIG_BOOT_ARGS_DEFAULT,
			    .vcpu_count = 1,
			    .mem_bytes = 128 << 20,
			    .vsock_broker_fd = -1 };
	int rc = json_parse_strict(text, len, "config", &c.json, e);

	if (rc < 0)
		return invalid(e, rc);
	rc = parse_all(c.json, &c, e);
	if (rc == 0)
		rc = firecracker_add_root(&c, e);
	if (rc < 0) {
		config_done(&c);
		return invalid(e, rc);
	}
	*ret = c;
	return 0;
}

/* False when nothing comes: a FIFO that nobody writes to. */
static bool wait_text(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	int n;

	do {
		n = poll(&ready, 1, CONFIG_WAIT_MS);
	} while (n < 0 && errno == EINTR);
	return n != 0;
}

/* A pipe or a memfd at any offset: read to its end. */
static int read_fd(int fd, char **ret, size_t *ret_len, struct err *e)
{
	AUTO(free) char *text = malloc(CONFIG_BYTES_MAX + 1);
	size_t len = 0;

	if (!text)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	for (;;) {
		ssize_t n;

		if (!wait_text(fd))
			return err_set(e, ERR_TIMEOUT, "config_invalid", 0,
				       "nobody writes a configuration to this "
				       "FIFO");
		n = read(fd, text + len, CONFIG_BYTES_MAX + 1 - len);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return err_sys(e, errno, "reading the configuration");
		len += (size_t)n;
		if (len > CONFIG_BYTES_MAX)
			return err_set(e, ERR_INVALID, "config_invalid", 0,
				       "the configuration is larger than 1 "
				       "MiB");
		if (n == 0)
			break;
	}
	*ret = take_ptr(text);
	*ret_len = len;
	return 0;
}

int config_load(const char *source, struct config *ret, struct err *e)
{
	AUTO(free) char *text = NULL;
	const char *why;
	AUTO(fd)
	int fd = config_open(source, O_RDONLY,
			     FILE_REGULAR | FILE_CHAR | FILE_FIFO, &why);
	size_t len = 0;
	int rc;

	if (fd < 0)
		return err_set(e, ERR_NOT_FOUND, "config_invalid", -fd,
			       "cannot open the configuration %s: %s", source,
			       why);
	rc = read_fd(fd, &text, &len, e);
	if (rc < 0)
		return err_wrap(e, rc, "%s", source);
	rc = config_parse(text, len, ret, e);
	return rc < 0 ? err_wrap(e, rc, "%s", source) : 0;
}

void config_done(struct config *config)
{
	json_decref(config->json);
	config->json = NULL;
}

int config_inherited_fd(const char *path)
{
	uint64_t n;

	if (strncmp(path, "fd:", 3) != 0 ||
	    parse_u64(path + 3, 0, CONFIG_FD_MAX, "descriptor", &n, NULL) < 0)
		return -1;
	return (int)n;
}

int config_open(const char *path, int flags, unsigned kinds,
		const char **ret_why)
{
	int fd = config_inherited_fd(path);
	int rc;

	if (fd < 0)
		return file_open(AT_FDCWD, path, flags, 0600, kinds, ret_why);
	rc = file_check_kind(fd, kinds, ret_why);
	if (rc == 0)
		rc = file_set_cloexec(fd, true);
	return rc < 0 ? rc : fd;
}

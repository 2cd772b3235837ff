/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the configuration; see config.h for the rules. */
#include "monitor/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"
#include "monitor/layout.h"

enum {
	MEM_MIB_MIN = 16,
	MEM_MIB_MAX = 4 * 1024 * 1024, /* 4 TiB: far below any CPU's limit */
	MTU_MIN = 68,
	MTU_MAX = 65521, /* VIRTIO 1.2, 5.1.4.1 */
	ID_MAX = 64,
	CONFIG_WAIT_MS = 3000, /* for the writer of a FIFO */
	SUN_PATH_MAX = 107,
};

/* Every message about the file carries the code config_invalid. */
static int invalid(struct err *e, int rc)
{
	if (rc < 0 && e)
		(void)strcpy(e->code, "config_invalid");
	return rc;
}

#define FIELDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* A string that is not empty, of max bytes at most. */
static int get_name(const json_t *o, const char *path, const char *field,
		    bool required, size_t max, const char **ret, struct err *e)
{
	int rc = json_get_string(o, path, field, required, max, ret, e);

	if (rc == 0 && *ret && **ret == '\0')
		return err_set(e, ERR_INVALID, "config_invalid", 0,
			       "%s.%s is empty", path, field);
	return rc;
}

static int get_path(const json_t *o, const char *path, const char *field,
		    bool required, const char **ret, struct err *e)
{
	return get_name(o, path, field, required, PATH_MAX - 1, ret, e);
}

static int parse_boot_source(const json_t *o, struct config *c, struct err *e)
{
	static const char *const path = "boot-source";
	int rc = json_only_fields(
		o, path,
		FIELDS("kernel_image_path", "initrd_path", "boot_args"), e);

	if (rc == 0)
		rc = get_path(o, path, "kernel_image_path", true,
			      &c->kernel_image_path, e);
	if (rc == 0)
		rc = get_path(o, path, "initrd_path", false, &c->initrd_path,
			      e);
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
	int rc = json_only_fields(
		o, path, FIELDS("vcpu_count", "mem_size_mib", "memory_backing"),
		e);

	if (rc == 0)
		rc = json_get_u64(o, path, "vcpu_count", true, 1, VCPUS_MAX,
				  &vcpus, e);
	if (rc == 0)
		rc = json_get_u64(o, path, "mem_size_mib", true, MEM_MIB_MIN,
				  MEM_MIB_MAX, &mib, e);
	if (rc == 0)
		rc = parse_backing(o, path, &c->backing, e);
	c->vcpu_count = (unsigned)vcpus;
	c->mem_bytes = mib << 20;
	return rc;
}

static int parse_drive(const json_t *o, const char *path,
		       struct config_drive *d, struct err *e)
{
	const char *cache = "Unsafe";
	int rc = json_only_fields(o, path,
				  FIELDS("drive_id", "path_on_host",
					 "is_root_device", "is_read_only",
					 "cache_type"),
				  e);

	if (rc == 0)
		rc = json_get_string(o, path, "drive_id", true, ID_MAX,
				     &d->drive_id, e);
	if (rc == 0)
		rc = get_path(o, path, "path_on_host", true, &d->path_on_host,
			      e);
	if (rc == 0)
		rc = json_get_bool(o, path, "is_root_device", false,
				   &d->is_root_device, e);
	if (rc == 0)
		rc = json_get_bool(o, path, "is_read_only", false,
				   &d->is_read_only, e);
	if (rc == 0)
		rc = json_get_string(o, path, "cache_type", false, 16, &cache,
				     e);
	if (rc < 0)
		return rc;
	d->writeback = strcmp(cache, "Writeback") == 0;
	if (!d->writeback && strcmp(cache, "Unsafe") != 0)
		return err_set(e, ERR_INVALID, "config_invalid", 0,
			       "%s.cache_type is neither Unsafe nor Writeback",
			       path);
	return 0;
}

static int parse_net(const json_t *o, const char *path, struct config_net *n,
		     struct err *e)
{
	const char *mac = NULL;
	uint64_t mtu = 0;
	int rc =
		json_only_fields(o, path,
				 FIELDS("iface_id", "guest_mac",
					"host_dev_name", "passt_socket", "mtu"),
				 e);

	if (rc == 0)
		rc = json_get_string(o, path, "iface_id", true, ID_MAX,
				     &n->iface_id, e);
	if (rc == 0)
		rc = json_get_string(o, path, "guest_mac", true, 17, &mac, e);
	if (rc == 0)
		rc = parse_mac(mac, n->mac, e);
	if (rc == 0)
		rc = get_path(o, path, "host_dev_name", false,
			      &n->host_dev_name, e);
	if (rc == 0)
		rc = get_path(o, path, "passt_socket", false, &n->passt_socket,
			      e);
	if (rc == 0)
		rc = json_get_u64(o, path, "mtu", false, MTU_MIN, MTU_MAX, &mtu,
				  e);
	if (rc < 0)
		return rc;
	n->mtu = (uint16_t)mtu;
	if (!n->host_dev_name == !n->passt_socket)
		return err_set(e, ERR_INVALID, "config_invalid", 0,
			       "%s needs either host_dev_name or passt_socket",
			       path);
	return 0;
}

static int parse_drives(const json_t *array, struct config *c, struct err *e)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		char path[48];
		int rc;

		(void)snprintf(path, sizeof(path), "drives[%zu]", i);
		rc = parse_drive(json_array_get(array, i), path, &c->drives[i],
				 e);
		if (rc < 0)
			return rc;
		for (size_t k = 0; k < i; k++)
			if (strcmp(c->drives[k].drive_id,
				   c->drives[i].drive_id) == 0)
				return err_set(e, ERR_INVALID, "config_invalid",
					       0, "%s.drive_id \"%s\" is taken",
					       path, c->drives[i].drive_id);
		c->drive_count++;
	}
	return 0;
}

static int parse_nets(const json_t *array, struct config *c, struct err *e)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		char path[48];
		int rc;

		(void)snprintf(path, sizeof(path), "network-interfaces[%zu]",
			       i);
		rc = parse_net(json_array_get(array, i), path, &c->nets[i], e);
		if (rc < 0)
			return rc;
		c->net_count++;
	}
	return 0;
}

static int parse_vsock(const json_t *o, struct config *c, struct err *e)
{
	static const char *const path = "vsock";
	uint64_t cid = 0;
	int rc = json_only_fields(
		o, path, FIELDS("guest_cid", "uds_path", "vsock_id"), e);
	const char *ignored = NULL;

	if (rc == 0)
		rc = json_get_string(o, path, "vsock_id", false, ID_MAX,
				     &ignored, e);
	/* 0 to 2 are reserved, the last one means any. */
	if (rc == 0)
		rc = json_get_u64(o, path, "guest_cid", true, 3, UINT32_MAX - 1,
				  &cid, e);
	if (rc == 0)
		rc = get_name(o, path, "uds_path", true, SUN_PATH_MAX - 11,
			      &c->vsock_uds_path, e);
	c->has_vsock = true;
	c->guest_cid = (uint32_t)cid;
	return rc;
}

static int parse_backend(const json_t *o, const char *path,
			 struct config_backend *b, struct err *e)
{
	int rc =
		json_only_fields(o, path, FIELDS("socket_path", "log_path"), e);

	if (rc == 0)
		rc = get_name(o, path, "socket_path", false, SUN_PATH_MAX,
			      &b->socket_path, e);
	if (rc == 0)
		rc = get_path(o, path, "log_path", false, &b->log_path, e);
	return rc;
}

static int parse_serial(const json_t *o, struct config *c, struct err *e)
{
	return parse_backend(o, "serial", &c->serial, e);
}

static int parse_console(const json_t *o, struct config *c, struct err *e)
{
	c->has_console = true;
	return parse_backend(o, "console", &c->console, e);
}

static int parse_entropy(const json_t *o, struct config *c, struct err *e)
{
	c->has_entropy = true;
	return json_only_fields(o, "entropy", (const char *const[]){ NULL }, e);
}

static int parse_control(const json_t *o, struct config *c, struct err *e)
{
	int rc = json_only_fields(o, "control", FIELDS("socket_path"), e);

	if (rc == 0)
		rc = get_name(o, "control", "socket_path", true, SUN_PATH_MAX,
			      &c->control_socket_path, e);
	return rc;
}

static int parse_status(const json_t *o, struct config *c, struct err *e)
{
	int rc = json_only_fields(o, "status", FIELDS("path"), e);

	if (rc == 0)
		rc = get_path(o, "status", "path", true, &c->status_path, e);
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
	{ "machine-config", true, parse_machine },
	{ "vsock", false, parse_vsock },
	{ "entropy", false, parse_entropy },
	{ "serial", false, parse_serial },
	{ "console", false, parse_console },
	{ "control", false, parse_control },
	{ "status", false, parse_status },
	{ "debug-exit", false, parse_debug_exit },
};

static int parse_all(const json_t *json, struct config *c, struct err *e)
{
	const json_t *drives = NULL, *nets = NULL;
	int rc = json_only_fields(
		json, "config",
		FIELDS("boot-source", "machine-config", "drives",
		       "network-interfaces", "vsock", "entropy", "serial",
		       "console", "control", "status", "debug-exit"),
		e);

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
		rc = parse_drives(drives, c, e);
	if (rc == 0)
		rc = json_get_array(json, "config", "network-interfaces", false,
				    CONFIG_NETS_MAX, &nets, e);
	if (rc == 0 && nets)
		rc = parse_nets(nets, c, e);
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
	struct config c = { .boot_args = CONFIG_BOOT_ARGS_DEFAULT };
	int rc = json_parse_strict(text, len, "config", &c.json, e);

	if (rc < 0)
		return invalid(e, rc);
	rc = parse_all(c.json, &c, e);
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

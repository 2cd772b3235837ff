/* SPDX-License-Identifier: Apache-2.0 */
/* The devices in the configuration; see config.h for the rules. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/parse.h"
#include "monitor/config/config_firecracker.h"
#include "monitor/config/config_internal.h"

enum {
	MTU_MIN = 68,
	MTU_MAX = 65521, /* VIRTIO 1.2, 5.1.4.1 */
};

/*
 * What the guest and log records know a device by: letters, digits and _ - . :
 * so that it is the same wherever it is written.
 */
static int get_id(const json_t *o, const char *path, const char *field,
		  const char **ret, struct err *e)
{
	int rc = config_get_name(o, path, field, true, CONFIG_ID_MAX, ret, e);

	for (const char *at = rc == 0 ? *ret : ""; *at; at++)
		if (!(*at >= 'a' && *at <= 'z') &&
		    !(*at >= 'A' && *at <= 'Z') &&
		    !(*at >= '0' && *at <= '9') && !strchr("_-.:", *at))
			return err_set(e, ERR_INVALID, "config_invalid", 0,
				       "%s.%s may have letters, digits and "
				       "_ - . : only",
				       path, field);
	return rc;
}

static int parse_cache(const json_t *o, const char *path,
		       struct config_drive *d, struct err *e)
{
	const char *cache = "Unsafe";
	int rc = json_get_string(o, path, "cache_type", false, 16, &cache, e);

	if (rc < 0)
		return rc;
	d->writeback = strcmp(cache, "Writeback") == 0;
	if (!d->writeback && strcmp(cache, "Unsafe") != 0)
		return err_set(e, ERR_INVALID, "config_invalid", 0,
			       "%s.cache_type is neither Unsafe nor Writeback",
			       path);
	return 0;
}

/* The names are checked with the rest of Firecracker's fields. */
static int parse_engine(const json_t *o, const char *path,
			struct config_drive *d, struct err *e)
{
	const char *engine = NULL;
	int rc = json_get_string(o, path, "io_engine", false, 16, &engine, e);

	if (engine)
		d->engine = strcmp(engine, "Sync") == 0 ? CONFIG_ENGINE_SYNC
							: CONFIG_ENGINE_ASYNC;
	return rc;
}

static int parse_drive(const json_t *o, const char *path,
		       struct config_drive *d, struct err *e)
{
	int rc = json_only_fields(o, path,
				  FIELDS("drive_id", "path_on_host",
					 "is_root_device", "is_read_only",
					 "cache_type", "partuuid", "io_engine",
					 "rate_limiter", "socket"),
				  e);

	if (rc == 0)
		rc = get_id(o, path, "drive_id", &d->drive_id, e);
	if (rc == 0)
		rc = firecracker_check_drive(o, path, e);
	if (rc == 0)
		rc = config_get_path(o, path, "path_on_host", true,
				     &d->path_on_host, e);
	if (rc == 0)
		rc = json_get_bool(o, path, "is_root_device", false,
				   &d->is_root_device, e);
	if (rc == 0)
		rc = json_get_bool(o, path, "is_read_only", false,
				   &d->is_read_only, e);
	if (rc == 0)
		rc = config_get_name(o, path, "partuuid", false, CONFIG_ID_MAX,
				     &d->partuuid, e);
	if (rc == 0 && d->partuuid && strpbrk(d->partuuid, " \t\n\""))
		return err_set(e, ERR_INVALID, "config_invalid", 0,
			       "%s.partuuid is no UUID of a partition", path);
	if (rc == 0)
		rc = parse_engine(o, path, d, e);
	return rc < 0 ? rc : parse_cache(o, path, d, e);
}

/* Without one in the file: of our own making (locally administered). */
static int parse_mac_field(const json_t *o, const char *path,
			   struct config_net *n, struct err *e)
{
	const char *mac = NULL;
	int rc = json_get_string(o, path, "guest_mac", false, 17, &mac, e);

	if (rc < 0)
		return rc;
	if (mac)
		return parse_mac(mac, n->mac, e);
	if (getrandom(n->mac, sizeof(n->mac), 0) != sizeof(n->mac))
		return err_sys(e, errno, "random bytes for a MAC address");
	n->mac[0] = (uint8_t)((n->mac[0] | 2) & ~1);
	return 0;
}

static int parse_net(const json_t *o, const char *path, struct config_net *n,
		     struct err *e)
{
	uint64_t mtu = 0;
	int rc = json_only_fields(o, path,
				  FIELDS("iface_id", "guest_mac",
					 "host_dev_name", "passt_socket", "mtu",
					 "rx_rate_limiter", "tx_rate_limiter",
					 "allow_mmds_requests"),
				  e);

	if (rc == 0)
		rc = get_id(o, path, "iface_id", &n->iface_id, e);
	if (rc == 0)
		rc = firecracker_check_net(o, path, e);
	if (rc == 0)
		rc = parse_mac_field(o, path, n, e);
	if (rc == 0)
		rc = config_get_path(o, path, "host_dev_name", false,
				     &n->host_dev_name, e);
	if (rc == 0)
		rc = config_get_path(o, path, "passt_socket", false,
				     &n->passt_socket, e);
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

/* Two devices may not have the same of it: the second one is refused. */
static int taken(const char *path, const char *field, const char *owner,
		 struct err *e)
{
	return err_set(e, ERR_INVALID, "config_invalid", 0,
		       "%s.%s is taken by \"%s\"", path, field, owner);
}

int config_parse_drives(const json_t *array, struct config *c, struct err *e)
{
	const struct config_drive *root = NULL;

	for (size_t i = 0; i < json_array_size(array); i++) {
		struct config_drive *d = &c->drives[i];
		char path[48];
		int rc;

		(void)snprintf(path, sizeof(path), "drives[%zu]", i);
		rc = parse_drive(json_array_get(array, i), path, d, e);
		if (rc < 0)
			return rc;
		for (size_t k = 0; k < i; k++)
			if (strcmp(c->drives[k].drive_id, d->drive_id) == 0)
				return taken(path, "drive_id", d->drive_id, e);
		if (d->is_root_device && root)
			return taken(path, "is_root_device", root->drive_id, e);
		if (d->is_root_device)
			root = d;
		c->drive_count++;
	}
	return 0;
}

static int check_net_alone(const struct config_net *n,
			   const struct config_net *other, const char *path,
			   struct err *e)
{
	if (strcmp(other->iface_id, n->iface_id) == 0)
		return taken(path, "iface_id", other->iface_id, e);
	if (memcmp(other->mac, n->mac, sizeof(n->mac)) == 0)
		return taken(path, "guest_mac", other->iface_id, e);
	if (other->host_dev_name && n->host_dev_name &&
	    strcmp(other->host_dev_name, n->host_dev_name) == 0)
		return taken(path, "host_dev_name", other->iface_id, e);
	return 0;
}

int config_parse_nets(const json_t *array, struct config *c, struct err *e)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		char path[48];
		int rc;

		(void)snprintf(path, sizeof(path), "network-interfaces[%zu]",
			       i);
		rc = parse_net(json_array_get(array, i), path, &c->nets[i], e);
		for (size_t k = 0; rc == 0 && k < i; k++)
			rc = check_net_alone(&c->nets[i], &c->nets[k], path, e);
		if (rc < 0)
			return rc;
		c->net_count++;
	}
	return 0;
}

int config_parse_vsock(const json_t *o, struct config *c, struct err *e)
{
	static const char *const path = "vsock";
	uint64_t cid = 0;
	int rc = json_only_fields(
		o, path, FIELDS("guest_cid", "uds_path", "vsock_id"), e);
	const char *ignored = NULL;

	if (rc == 0)
		rc = json_get_string(o, path, "vsock_id", false, CONFIG_ID_MAX,
				     &ignored, e);
	/* 0 to 2 are reserved, the last one means any. */
	if (rc == 0)
		rc = json_get_u64(o, path, "guest_cid", true, 3, UINT32_MAX - 1,
				  &cid, e);
	if (rc == 0)
		rc = config_get_name(o, path, "uds_path", true,
				     CONFIG_SUN_PATH_MAX - 11,
				     &c->vsock_uds_path, e);
	c->has_vsock = true;
	c->guest_cid = (uint32_t)cid;
	return rc;
}

static int get_backend(const json_t *o, const char *path,
		       struct config_backend *b, struct err *e)
{
	int rc = config_get_name(o, path, "socket_path", false,
				 CONFIG_SUN_PATH_MAX, &b->socket_path, e);

	if (rc == 0)
		rc = config_get_path(o, path, "log_path", false, &b->log_path,
				     e);
	return rc;
}

/* serial_out_path is Firecracker's name for a log without a socket. */
int config_parse_serial(const json_t *o, struct config *c, struct err *e)
{
	static const char *const path = "serial";
	const char *out = NULL;
	int rc = json_only_fields(o, path,
				  FIELDS("socket_path", "log_path",
					 "serial_out_path", "rate_limiter"),
				  e);

	if (rc == 0)
		rc = firecracker_check_bucket(o, path, "rate_limiter", e);
	if (rc == 0)
		rc = config_get_path(o, path, "serial_out_path", false, &out,
				     e);
	if (rc == 0)
		rc = get_backend(o, path, &c->serial, e);
	if (rc == 0 && out && c->serial.log_path)
		return err_set(e, ERR_INVALID, "config_invalid", 0,
			       "serial has log_path and serial_out_path: leave "
			       "one out");
	if (out)
		c->serial.log_path = out;
	return rc;
}

int config_parse_console(const json_t *o, struct config *c, struct err *e)
{
	int rc = json_only_fields(o, "console",
				  FIELDS("socket_path", "log_path"), e);

	c->has_console = true;
	return rc < 0 ? rc : get_backend(o, "console", &c->console, e);
}

int config_parse_entropy(const json_t *o, struct config *c, struct err *e)
{
	int rc = json_only_fields(o, "entropy", FIELDS("rate_limiter"), e);

	c->has_entropy = true;
	return rc < 0 ? rc
		      : firecracker_check_limiter(o, "entropy", "rate_limiter",
						  e);
}

int config_parse_balloon(const json_t *o, struct config *c, struct err *e)
{
	struct config_balloon *b = &c->balloon;
	uint64_t seconds = 0;
	int rc = json_only_fields(
		o, "balloon",
		FIELDS("amount_mib", "deflate_on_oom", "must_tell_host",
		       "stats_polling_interval_s", "free_page_hinting",
		       "free_page_reporting"),
		e);

	c->has_balloon = true;
	if (rc == 0)
		rc = firecracker_check_balloon(o, e);
	if (rc == 0)
		rc = json_get_u64(o, "balloon", "amount_mib", false, 0,
				  (c->mem_bytes >> 20) - 1, &b->amount_mib, e);
	if (rc == 0)
		rc = json_get_bool(o, "balloon", "deflate_on_oom", false,
				   &b->deflate_on_oom, e);
	if (rc == 0)
		rc = json_get_bool(o, "balloon", "free_page_reporting", false,
				   &b->reporting, e);
	if (rc == 0)
		rc = json_get_u64(o, "balloon", "stats_polling_interval_s",
				  false, 0, UINT16_MAX, &seconds, e);
	b->stats_seconds = (uint16_t)seconds;
	return rc;
}

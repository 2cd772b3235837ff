/* SPDX-License-Identifier: Apache-2.0 */
/* What Firecracker's file says and we need not do; see config_firecracker.h. */
#include "monitor/config/config_firecracker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "monitor/layout.h"

/* Which value of a field leaves the guest as it is, and what others need. */
struct choice {
	const char *field;
	const char *const *names; /* strings that are fine, NULL at the end */
	bool any; /* a boolean whose value changes nothing here */
	const char *needs;
};

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int refuse(struct err *e, const char *path, const char *field,
		  const char *value, const char *needs)
{
	return err_set(e, ERR_UNSUPPORTED, "config_invalid", 0,
		       "%s.%s%s%s needs %s", path, field, value ? ": " : "",
		       value ? value : "", needs);
}

static int check_choice(const json_t *o, const char *path,
			const struct choice *c, struct err *e)
{
	const char *name = NULL;
	bool on = false;
	int rc;

	if (!c->names) {
		rc = json_get_bool(o, path, c->field, false, &on, e);
		if (rc < 0 || !on || c->any)
			return rc;
		return refuse(e, path, c->field, "true", c->needs);
	}
	rc = json_get_string(o, path, c->field, false, 32, &name, e);
	if (rc < 0 || !name)
		return rc;
	for (size_t i = 0; c->names[i]; i++)
		if (strcmp(c->names[i], name) == 0)
			return 0;
	return refuse(e, path, c->field, name, c->needs);
}

static int check_choices(const json_t *o, const char *path,
			 const struct choice *choices, size_t count,
			 struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = check_choice(o, path, &choices[i], e);
	return rc;
}

static const char *const threads =
	"sibling threads, and here every vCPU is a core of its own: leave it "
	"out or say false";

int firecracker_check_machine(const json_t *o, const char *path, struct err *e)
{
	const struct choice choices[] = {
		{ .field = "smt", .needs = threads },
		{ .field = "ht_enabled", .needs = threads },
		/* Prepares for snapshots of what changed: nothing else. */
		{ .field = "track_dirty_pages", .any = true },
		{ .field = "cpu_template",
		  .names = NAMES("None"),
		  .needs = "a CPU that hides features by that template, and "
			   "here the guest sees all that KVM offers: leave it "
			   "out or say None" },
		{ .field = "huge_pages",
		  .names = NAMES("None", "Transparent"),
		  .needs = "pages that the host has set aside (hugetlbfs), and "
			   "here memory gets transparent ones: leave it out or "
			   "say Transparent" },
	};

	return check_choices(o, path, choices, ARRAY_LEN(choices), e);
}

int firecracker_check_bucket(const json_t *o, const char *path,
			     const char *field, struct err *e)
{
	static const char *const fields[] = { "size", "one_time_burst",
					      "refill_time", NULL };
	uint64_t size = 0, refill_ms = 0, burst = 0;
	const json_t *bucket = NULL;
	char where[96];
	int rc = json_get_object(o, path, field, false, &bucket, e);

	if (rc < 0 || !bucket)
		return rc;
	(void)snprintf(where, sizeof(where), "%s.%s", path, field);
	rc = json_only_fields(bucket, where, fields, e);
	if (rc == 0)
		rc = json_get_u64(bucket, where, "size", false, 0, INT64_MAX,
				  &size, e);
	if (rc == 0)
		rc = json_get_u64(bucket, where, "one_time_burst", false, 0,
				  INT64_MAX, &burst, e);
	if (rc == 0)
		rc = json_get_u64(bucket, where, "refill_time", false, 0,
				  INT64_MAX, &refill_ms, e);
	if (rc == 0 && size && refill_ms)
		return refuse(
			e, path, field, NULL,
			"a rate limiter, which this monitor does not "
			"have: leave it out, and limit the process by its "
			"cgroup or the interface by tc(8)");
	return rc;
}

int firecracker_check_limiter(const json_t *o, const char *path,
			      const char *field, struct err *e)
{
	static const char *const fields[] = { "bandwidth", "ops", NULL };
	const json_t *limiter = NULL;
	char where[80];
	int rc = json_get_object(o, path, field, false, &limiter, e);

	if (rc < 0 || !limiter)
		return rc;
	(void)snprintf(where, sizeof(where), "%s.%s", path, field);
	rc = json_only_fields(limiter, where, fields, e);
	for (size_t i = 0; rc == 0 && fields[i]; i++)
		rc = firecracker_check_bucket(limiter, where, fields[i], e);
	return rc;
}

int firecracker_check_drive(const json_t *o, const char *path, struct err *e)
{
	const struct choice choices[] = {
		/* How the host waits for its disk: the guest cannot tell. */
		{ .field = "io_engine",
		  .names = NAMES("Sync", "Async"),
		  .needs = "an I/O engine of that name: say Sync or Async" },
	};
	const char *socket = NULL;
	int rc = check_choices(o, path, choices, ARRAY_LEN(choices), e);

	if (rc == 0)
		rc = json_get_string(o, path, "socket", false, 256, &socket, e);
	if (rc == 0 && socket)
		return refuse(e, path, "socket", NULL,
			      "a vhost-user disk, and here a disk is a file or "
			      "a block device: give path_on_host");
	return rc < 0 ? rc
		      : firecracker_check_limiter(o, path, "rate_limiter", e);
}

int firecracker_check_net(const json_t *o, const char *path, struct err *e)
{
	const struct choice choices[] = {
		{ .field = "allow_mmds_requests",
		  .needs = "the metadata service, which this monitor does not "
			   "have: leave it out or say false" },
	};
	int rc = check_choices(o, path, choices, ARRAY_LEN(choices), e);

	if (rc == 0)
		rc = firecracker_check_limiter(o, path, "rx_rate_limiter", e);
	if (rc == 0)
		rc = firecracker_check_limiter(o, path, "tx_rate_limiter", e);
	return rc;
}

int firecracker_check_balloon(const json_t *o, struct err *e)
{
	const struct choice choices[] = {
		{ .field = "must_tell_host", .any = true },
		{ .field = "free_page_hinting",
		  .needs = "somebody who asks for hints, as a snapshot would: "
			   "free_page_reporting gives free pages back all the "
			   "time" },
	};

	return check_choices(o, "balloon", choices, ARRAY_LEN(choices), e);
}

static int check_empty_list(const json_t *config, const char *field,
			    const char *needs, struct err *e)
{
	const json_t *list = NULL;
	int rc = json_get_array(config, "config", field, false, 64, &list, e);

	if (rc == 0 && list && json_array_size(list))
		return refuse(e, "config", field, NULL, needs);
	return rc;
}

/* An object, or cpu-config's file name: nothing of it can be kept. */
static int check_absent(const json_t *config, const char *field,
			const char *needs, struct err *e)
{
	const json_t *value = json_object_get(config, field);

	if (!value || json_is_null(value))
		return 0;
	return refuse(e, "config", field, NULL, needs);
}

int firecracker_check_sections(const json_t *config, struct err *e)
{
	const char *version = NULL;
	/* Of a service that is not there. */
	int rc = json_get_string(config, "config", "mmds-version", false, 8,
				 &version, e);

	if (rc == 0)
		rc = check_absent(config, "mmds-config",
				  "the metadata service, which this monitor "
				  "does not have: leave it out, and give the "
				  "guest its data by vsock or on a drive",
				  e);
	if (rc == 0)
		rc = check_absent(
			config, "cpu-config",
			"a CPU changed bit by bit, and here the guest "
			"sees all that KVM offers: leave it out",
			e);
	if (rc == 0)
		rc = check_absent(config, "memory-hotplug",
				  "memory that comes later, and here the guest "
				  "has mem_size_mib from the start: leave it "
				  "out",
				  e);
	if (rc == 0)
		rc = check_empty_list(
			config, "pmem",
			"virtio-pmem, which this monitor does not "
			"have: make it a drive",
			e);
	return rc;
}

/* The start of a word in a command line, or NULL. */
static const char *find_word(const char *line, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = line; (at = strstr(at, word)); at += len)
		if (at == line || at[-1] == ' ')
			return at;
	return NULL;
}

int firecracker_add_root(struct config *c, struct err *e)
{
	const struct config_drive *root = NULL;
	AUTO(free) char *line = NULL;
	const char *rest;
	json_t *owned;
	int n;

	for (size_t i = 0; i < c->drive_count; i++)
		if (c->drives[i].is_root_device)
			root = &c->drives[i];
	if (!root || find_word(c->boot_args, "root="))
		return 0;
	/* What follows -- is for init. */
	rest = find_word(c->boot_args, "-- ");
	if (!rest)
		rest = c->boot_args + strlen(c->boot_args);
	n = asprintf(&line, "%.*s%sroot=%s%s %s%s%s",
		     (int)(rest - c->boot_args), c->boot_args,
		     rest == c->boot_args || rest[-1] == ' ' ? "" : " ",
		     root->partuuid ? "PARTUUID=" : "/dev/vda",
		     root->partuuid ? root->partuuid : "",
		     root->is_read_only ? "ro" : "rw", *rest ? " " : "", rest);
	if (n < 0) {
		line = NULL;
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	}
	if (n >= CMDLINE_MAX)
		return err_set(e, ERR_INVALID, "config_invalid", 0,
			       "boot-source.boot_args has no room for root=");
	owned = json_string(line);
	if (!owned ||
	    json_object_set_new(json_object_get(c->json, "boot-source"),
				"boot_args", owned) < 0)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	c->boot_args = json_string_value(owned);
	return 0;
}

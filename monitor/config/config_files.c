/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --check adds to reading the configuration: whether the things it names
 * are there. Nothing is created, and nothing is promised: a file may go away
 * before the start, which looks again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "monitor/config/config.h"

/* A file that a start would open. */
static int check_file(const char *path, int flags, unsigned kinds,
		      const char *code, const char *what, const char *name,
		      struct err *e)
{
	const char *why;
	int fd = config_open(path, flags, kinds, &why);

	if (fd < 0)
		return err_set(e,
			       fd == -EACCES ? ERR_PERMISSION : ERR_NOT_FOUND,
			       code, -fd, "cannot open %s%s (%s): %s", what,
			       name, path, why);
	if (config_inherited_fd(path) < 0)
		(void)close(fd);
	return 0;
}

/* A log that is there already must be one that a start can use. */
static int check_log(const char *path, const char *what, struct err *e)
{
	if (!path || (config_inherited_fd(path) < 0 && access(path, F_OK) != 0))
		return 0;
	return check_file(path, O_WRONLY | O_APPEND, CONFIG_LOG_KINDS,
			  "serial_failed", "the log of ", what, e);
}

/* A file or socket that a start would create: its directory must be there. */
static int check_place(const char *path, const char *what, struct err *e)
{
	AUTO(free) char *copy = NULL;
	const char *dir = ".";
	char *slash;

	if (!path || config_inherited_fd(path) >= 0)
		return 0;
	copy = strdup(path);
	if (!copy)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	slash = strrchr(copy, '/');
	if (slash) {
		slash[slash == copy] = '\0'; /* "/name" lies in "/" */
		dir = copy;
	}
	/* A file that is there, as /dev/null, may lie where none is made. */
	if (access(dir, W_OK) != 0 && access(path, W_OK) != 0)
		return err_set(e, ERR_NOT_FOUND, "config_invalid", errno,
			       "cannot create %s (%s): %s", what, path,
			       strerror(errno));
	return 0;
}

static int check_places(const struct config *c, struct err *e)
{
	const struct {
		const char *path, *what;
	} places[] = {
		{ c->status_path, "the status file" },
		{ c->log_path, "the log" },
		{ c->metrics_path, "the metrics file" },
		{ c->control_socket_path, "the control socket" },
		{ c->serial.socket_path, "the socket of serial" },
		{ c->serial.log_path, "the log of serial" },
		{ c->console.socket_path, "the socket of console" },
		{ c->console.log_path, "the log of console" },
		{ c->vsock_uds_path, "the socket of vsock" },
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(places); i++)
		rc = check_place(places[i].path, places[i].what, e);
	return rc;
}

int config_check_files(const struct config *c, struct err *e)
{
	int rc = check_file(c->kernel_image_path, O_RDONLY, FILE_REGULAR,
			    "kernel_missing", "the kernel", "", e);

	if (rc == 0 && c->initrd_path)
		rc = check_file(c->initrd_path, O_RDONLY, FILE_REGULAR,
				"initrd_missing", "the initrd", "", e);
	for (size_t i = 0; rc == 0 && i < c->drive_count; i++)
		rc = check_file(c->drives[i].path_on_host,
				c->drives[i].is_read_only ? O_RDONLY : O_RDWR,
				FILE_REGULAR | FILE_BLOCK, "drive_missing",
				"drive ", c->drives[i].drive_id, e);
	if (rc == 0)
		rc = check_log(c->log_path, "logger", e);
	if (rc == 0)
		rc = check_log(c->metrics_path, "metrics", e);
	if (rc == 0)
		rc = check_log(c->serial.log_path, "serial", e);
	if (rc == 0)
		rc = check_log(c->console.log_path, "console", e);
	return rc < 0 ? rc : check_places(c, e);
}

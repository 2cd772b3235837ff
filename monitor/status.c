/* SPDX-License-Identifier: Apache-2.0 */
/* The status file; see status.h. */
#include "monitor/status.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"

static int cannot(const char *path, int sys, struct err *e)
{
	return err_set(e, ERR_INVALID, "config_invalid", sys,
		       "cannot create the status file %s: %s", path,
		       strerror(sys));
}

int status_open(struct status_file *f, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	AUTO(free) char *dir = NULL;
	struct stat st;

	if (strlen(name) >= sizeof(f->name) || *name == '\0')
		return cannot(path, ENAMETOOLONG, e);
	dir = slash ? strndup(path, (size_t)(slash - path + 1)) : strdup(".");
	if (!dir)
		return cannot(path, ENOMEM, e);
	(void)snprintf(f->name, sizeof(f->name), "%s", name);
	(void)snprintf(f->temporary, sizeof(f->temporary), ".%s.new", name);
	f->dir_fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (f->dir_fd < 0)
		return cannot(path, errno, e);
	/* What an earlier run left must not pass for this one's end. */
	if (fstatat(f->dir_fd, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISREG(st.st_mode))
		return cannot(path, EEXIST, e);
	(void)unlinkat(f->dir_fd, f->name, 0);
	f->fd = openat(f->dir_fd, f->temporary,
		       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		       0644);
	return f->fd < 0 ? cannot(path, errno, e) : 0;
}

void status_write(struct status_file *f, const char *reason, int status,
		  const struct err *error)
{
	AUTO(json) json_t *record = NULL;
	AUTO(free) char *text = NULL;
	json_t *problem = json_null();

	if (f->fd < 0)
		return;
	if (error && error->code[0])
		problem = json_pack("{s:s, s:s}", "code", error->code,
				    "message", error->msg);
	record = json_pack("{s:s, s:i, s:o}", "reason", reason, "status",
			   status, "error", problem);
	text = record ? json_to_text(record) : NULL;
	if (!text || file_write_full(f->fd, text, strlen(text)) < 0)
		return;
	(void)renameat(f->dir_fd, f->temporary, f->dir_fd, f->name);
}

void status_close(struct status_file *f)
{
	close_fd(&f->fd);
	close_fd(&f->dir_fd);
}

int status_of_error(const struct err *e)
{
	if (strcmp(e->code, "kvm_missing") == 0 ||
	    strcmp(e->code, "kvm_permission") == 0)
		return EXIT_NO_KVM;
	if (strcmp(e->code, "config_invalid") == 0)
		return EXIT_USAGE;
	return EXIT_HOST_ERROR;
}

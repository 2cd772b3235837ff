/* SPDX-License-Identifier: Apache-2.0 */
/* The status file; see status.h. */
#include "monitor/status.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "monitor/config/config.h"

static int cannot(const char *path, int sys, struct err *e)
{
	return err_set(e, ERR_INVALID, "config_invalid", sys,
		       "cannot create the status file %s: %s", path,
		       strerror(sys));
}

int status_open(struct status_file *f, const char *path, struct err *e)
{
	const char *why;
	struct stat st;

	if (config_inherited_fd(path) >= 0) {
		f->fd = config_open(path, O_WRONLY,
				    FILE_REGULAR | FILE_CHAR | FILE_FIFO |
					    FILE_SOCKET,
				    &why);
		return f->fd < 0 ? cannot(path, -f->fd, e) : 0;
	}
	/* What an earlier run left must not pass for this one's end. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return cannot(path, EEXIST, e);
	(void)unlink(path);
	f->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
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
	if (text)
		(void)file_write_full(f->fd, text, strlen(text));
}

void status_close(struct status_file *f)
{
	close_fd(&f->fd);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* See trash.h. */
#include "vmd/vm/trash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/vm.h"

enum {
	EMPTY_AGAIN_MS = 2000,
	RECORDS_PER_TURN = 64
};

int trash_dir(struct daemon *d, bool of_run, const char *name,
	      char ret_name[96], struct err *e)
{
	char as[96];
	int rc;

	/* With a dot: no record, see discard.h. Never a name that is taken. */
	(void)snprintf(as, sizeof(as), "%.60s.%llx.%llx", name,
		       (unsigned long long)clock_wall_ms(),
		       (unsigned long long)d->trash_count++);
	rc = privops_vm_dir_rename(of_run ? d->run_vms_fd : d->state_vms_fd,
				   name,
				   of_run ? d->run_trash_fd : d->state_trash_fd,
				   as);
	if (ret_name)
		(void)snprintf(ret_name, 96, "%s", rc < 0 ? "" : as);
	if (rc == -ENOENT)
		return 0;
	return rc < 0 ? err_sys(e, -rc, "removing %s", name) : 0;
}

int trash_state_dir(struct daemon *d, const char *vm_id, struct err *e)
{
	int rc = privops_vm_dir_rename(d->state_vms_fd, vm_id,
				       d->state_trash_fd, vm_id);

	if (rc == -ENOTEMPTY || rc == -EEXIST) /* the record is there already */
		return trash_dir(d, false, vm_id, NULL, e);
	if (rc == -ENOENT)
		return 0;
	return rc < 0 ? err_sys(e, -rc, "removing the directory of VM %s",
				vm_id)
		      : 0;
}

int trash_take_back(struct daemon *d, const char *name, const char *vm_id)
{
	return privops_vm_dir_rename(d->run_trash_fd, name, d->run_vms_fd,
				     vm_id);
}

static DIR *open_trash(const struct daemon *d)
{
	int fd = openat(d->state_trash_fd, ".",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		close_fd(&fd);
	return dir;
}

/* Records of VMs whose rows are gone for good. */
static void on_rows_durable(struct store_waiter *w, const struct err *e)
{
	struct daemon *d = w->data;
	struct dirent *entry;
	unsigned done = 0;
	DIR *dir;

	if (e) /* the store tries again; the records stay for the next time */
		return;
	if (!store_is_durable(d->store)) {
		store_wait(d->store, w, on_rows_durable, d);
		return;
	}
	dir = open_trash(d);
	while (dir && done < RECORDS_PER_TURN && (entry = readdir(dir))) {
		if (!strchr(entry->d_name, '.') &&
		    !vm_find_id(d, entry->d_name) &&
		    unlinkat(d->state_trash_fd, entry->d_name, AT_REMOVEDIR) ==
			    0)
			done++;
	}
	if (dir)
		(void)closedir(dir);
	if (done == RECORDS_PER_TURN)
		store_wait(d->store, w, on_rows_durable, d);
}

static void on_emptied(void *data, const json_t *result, const struct err *why)
{
	struct daemon *d = data;

	(void)result;
	d->emptying = NULL;
	if (why) {
		log_warn("%s", why->msg);
		loop_timer_arm(&d->empty_again, EMPTY_AGAIN_MS);
		return;
	}
	if (d->empty_wanted)
		trash_empty(d);
	store_wait(d->store, &d->trash_waiter, on_rows_durable, d);
}

static void on_empty_again(struct loop_timer *timer)
{
	trash_empty(timer->data);
}

void trash_empty(struct daemon *d)
{
	const char *const args[] = {
		"discard",	    "--dir", d->config->state_dir, "--dir",
		d->config->run_dir, NULL
	};
	struct err e = ERR_INIT;

	if (d->stopping)
		return;
	if (!d->empty_again.fn)
		loop_timer_init(d->loop, &d->empty_again, on_empty_again, d);
	/* What is new may be behind the child that runs already. */
	d->empty_wanted = d->emptying;
	if (d->emptying)
		return;
	d->emptying = task_start(d, NULL, args, on_emptied, d, &e);
	if (!d->emptying) {
		log_warn("the trash is not emptied yet: %s", e.msg);
		loop_timer_arm(&d->empty_again, EMPTY_AGAIN_MS);
	}
}

void trash_find_removed(struct daemon *d)
{
	DIR *dir = open_trash(d);
	struct dirent *entry;
	struct stat st;

	while (dir && (entry = readdir(dir))) {
		struct vm *vm = vm_find_id(d, entry->d_name);

		if (vm && fstatat(d->state_vms_fd, entry->d_name, &st,
				  AT_SYMLINK_NOFOLLOW) < 0)
			vm->tombstone = true;
	}
	if (dir)
		(void)closedir(dir);
}

void trash_close(struct daemon *d)
{
	store_wait_cancel(&d->trash_waiter);
	if (d->empty_again.fn)
		loop_timer_disarm(&d->empty_again);
	if (d->emptying)
		task_kill(take_ptr(d->emptying));
	close_fd(&d->state_trash_fd);
	close_fd(&d->run_trash_fd);
}

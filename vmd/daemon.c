/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing of the daemon's state. */
#include "vmd/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "vmd/image/image.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/trash.h"
#include "vmd/vm/vm.h"

enum {
	DAEMON_WORKERS = 2
};

static int make_dir(const char *parent, const char *name, char **ret_path,
		    int *ret_fd, struct err *e)
{
	AUTO(free) char *path = NULL;
	int rc;

	if (asprintf(&path, "%s/%s", parent, name) < 0) {
		path = NULL;
		return err_sys(e, ENOMEM, "making %s/%s", parent, name);
	}
	rc = file_make_dirs(path, 0700, e);
	if (rc < 0)
		return rc;
	if (ret_fd) {
		*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*ret_fd < 0)
			return err_sys(e, errno, "opening %s", path);
	}
	if (ret_path)
		*ret_path = take_ptr(path);
	return 0;
}

/* The socket lies in it: others pass through, whatever our own umask is. */
static int make_run_dir(const char *path, struct err *e)
{
	mode_t mask = umask(0022);
	int rc = file_make_dirs(path, 0755, e);

	(void)umask(mask);
	return rc;
}

/* flock: goes with the process, so that it can never be stale. */
static int take_lock(struct daemon *d, struct err *e)
{
	AUTO(free) char *path = NULL;

	if (asprintf(&path, "%s/lock", d->config->state_dir) < 0) {
		path = NULL;
		return err_sys(e, ENOMEM, "locking the state directory");
	}
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return err_sys(e, errno, "opening %s", path);
	/* A daemon that was just killed may take a moment to be gone. */
	for (int i = 0; i < 20; i++) {
		if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return err_sys(e, errno, "locking %s", path);
		(void)poll(NULL, 0, 50);
	}
	return err_set(e, ERR_CONFLICT, "already_running", 0,
		       "another vmd uses the state directory %s: stop it, or "
		       "give this one another --state-dir",
		       d->config->state_dir);
}

/* What is in memory is not what is stored: the next daemon begins from that. */
static void on_lost(void *data, const struct err *e)
{
	struct daemon *d = data;

	d->lost = *e;
	loop_stop(d->loop, -EIO);
}

int daemon_open(struct daemon *d, struct loop *loop,
		const struct daemon_config *config, struct err *e)
{
	AUTO(free) char *db = NULL;
	int rc;

	*d = (struct daemon){
		.config = config,
		.loop = loop,
		.lock_fd = -1,
		.state_vms_fd = -1,
		.run_vms_fd = -1,
		.state_trash_fd = -1,
		.run_trash_fd = -1,
		.started_ms = clock_wall_ms(),
		.caller = DAEMON_ITSELF,
	};
	LIST_INIT(&d->vms);
	TAILQ_INIT(&d->turns.waiting);
	LIST_INIT(&d->operations);
	LIST_INIT(&d->retired_tasks);
	d->build_gone = image_sweep;
	LIST_INIT(&d->image_removals);
	watch_open(d);
	vm_cgroups_init(d);
	rc = file_make_dirs(config->state_dir, 0700, e);
	if (rc == 0)
		rc = take_lock(d, e);
	if (rc == 0)
		rc = make_run_dir(config->run_dir, e);
	if (rc == 0)
		rc = make_dir(config->state_dir, "vms", NULL, &d->state_vms_fd,
			      e);
	if (rc == 0)
		rc = make_dir(config->run_dir, "vms", NULL, &d->run_vms_fd, e);
	if (rc == 0)
		rc = make_dir(config->state_dir, "trash", NULL,
			      &d->state_trash_fd, e);
	if (rc == 0)
		rc = make_dir(config->run_dir, "trash", NULL, &d->run_trash_fd,
			      e);
	if (rc == 0)
		rc = make_dir(config->state_dir, "images", &d->images_dir, NULL,
			      e);
	if (rc < 0)
		return rc;
	if (!config->separated)
		privops_within(d->run_vms_fd, config->image_program,
			       config->uid_first);
	if (asprintf(&db, "%s/vmd.db", config->state_dir) < 0) {
		db = NULL;
		return err_sys(e, ENOMEM, "opening the state");
	}
	d->workers = worker_pool_new(loop, DAEMON_WORKERS, e);
	d->store = d->workers ? store_open(db, e) : NULL;
	if (!d->store)
		return -EIO;
	store_attach(d->store, loop, d->workers);
	store_on_lost(d->store, on_lost, d);
	d->images = image_store_open(d->images_dir, e);
	return d->images ? 0 : -EIO;
}

void daemon_close(struct daemon *d)
{
	struct operation *op;
	struct vm *vm;

	d->stopping = true;
	while ((vm = LIST_FIRST(&d->vms))) {
		/* The next daemon reports an operation that was cut off. */
		vm_stop_making(vm);
		vm_free(vm);
	}
	while ((op = LIST_FIRST(&d->operations))) {
		/* A build has nobody who would go on with it. */
		if (op->kind == API_OP_IMAGE_BUILD && op->owner)
			task_kill(op->owner);
		loop_timer_disarm(&op->deadline);
		LIST_REMOVE(op, link);
		free(op);
	}
	if (d->sweep)
		task_kill(take_ptr(d->sweep));
	trash_close(d);
	tasks_abandon_retired(d);
	vm_cgroups_done(d);
	loop_timer_disarm(&d->notify);
	for (size_t i = 0; i < OBITUARIES; i++)
		json_decref(d->obituaries[i].vm);
	worker_pool_free(d->workers);
	image_store_free(d->images);
	store_close(d->store);
	free(d->images_dir);
	close_fd(&d->state_vms_fd);
	close_fd(&d->run_vms_fd);
	close_fd(&d->lock_fd);
}

const struct engine_ops *daemon_engine(const struct daemon *d, const char *name)
{
	for (size_t i = 0; d->config->engines[i]; i++)
		if (strcmp(d->config->engines[i]->name, name) == 0)
			return d->config->engines[i];
	return NULL;
}

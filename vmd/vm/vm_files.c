/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory of a new VM: its own copy of the manifest, its own names
 * for kernel and initrd. Written and synced by a worker thread; what an
 * ephemeral VM has is gone after a power cut anyway and is not synced.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/vm.h"

struct vm_files {
	struct worker_job job;
	struct vm *vm; /* NULL: it has gone meanwhile */
	void (*done)(struct vm *vm, const struct err *e);
	int dirfd, parent_fd;
	bool durable;
	char *manifest, *kernel,
		*initrd; /* paths of blobs; initrd may be NULL */
	int rc;
	struct err e;
};

static void files_free(struct vm_files *f)
{
	close_fd(&f->dirfd);
	close_fd(&f->parent_fd);
	free(f->manifest);
	free(f->kernel);
	free(f->initrd);
	free(f);
}

static void files_run(struct worker_job *job)
{
	struct vm_files *f = job->data;
	struct err *e = &f->e;

	f->rc = file_link_or_copy(f->kernel, f->dirfd, "kernel", f->durable, e);
	if (f->rc == 0 && f->initrd)
		f->rc = file_link_or_copy(f->initrd, f->dirfd, "initrd",
					  f->durable, e);
	/* With fsync of the file and of the directory with all its names. */
	if (f->rc == 0)
		f->rc = (f->durable ? file_replace : file_replace_volatile)(
			f->dirfd, "image.json", f->manifest,
			strlen(f->manifest), 0600, e);
	if (f->rc == 0 && f->durable && fsync(f->parent_fd) < 0)
		f->rc = err_sys(e, errno,
				"write the VM's directory to the "
				"disk");
}

static void files_done(struct worker_job *job)
{
	struct vm_files *f = job->data;
	struct vm *vm = f->vm;

	if (vm) {
		vm->files = NULL;
		if (!job->dropped)
			f->done(vm, f->rc < 0 ? &f->e : NULL);
	}
	files_free(f);
}

static int fill(struct vm_files *f, struct vm *vm, const struct image *image,
		struct err *e)
{
	AUTO(json) json_t *manifest = image_to_json(image);
	struct daemon *d = vm->daemon;

	f->manifest = manifest ? json_to_text(manifest) : NULL;
	f->kernel = image_store_blob_path(d->images, &image->kernel);
	if (image->initrd.digest[0])
		f->initrd = image_store_blob_path(d->images, &image->initrd);
	if (!f->manifest || !f->kernel ||
	    (image->initrd.digest[0] && !f->initrd))
		return err_sys(e, ENOMEM, "making VM '%s'", vm->row.name);
	f->parent_fd = fcntl(d->state_vms_fd, F_DUPFD_CLOEXEC, 3);
	if (f->parent_fd < 0)
		return err_sys(e, errno, "making VM '%s'", vm->row.name);
	return privops_vm_dir_open(d->state_vms_fd, vm->row.id, &f->dirfd, e);
}

int vm_files_make(struct vm *vm, const struct image *image,
		  void (*done)(struct vm *vm, const struct err *e),
		  struct err *e)
{
	struct vm_files *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return err_sys(e, ENOMEM, "making VM '%s'", vm->row.name);
	f->dirfd = f->parent_fd = -1;
	f->vm = vm;
	f->done = done;
	f->durable = !vm->row.ephemeral;
	f->job = (struct worker_job){ .run = files_run,
				      .done = files_done,
				      .data = f };
	rc = fill(f, vm, image, e);
	if (rc < 0) {
		files_free(f);
		return rc;
	}
	vm->files = f;
	worker_submit(vm->daemon->workers, &f->job);
	return 0;
}

void vm_stop_making(struct vm *vm)
{
	if (vm->files)
		take_ptr(vm->files)->vm = NULL;
	if (vm->clone)
		task_kill(take_ptr(vm->clone));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creation: everything that can be refused is refused before the first row is
 * written; then row, journal, operation and the answer kept for the request's
 * Idempotency-Key become durable in one transaction; then directories, disk and
 * start follow step by step.
 *
 * The VM keeps its own link of kernel and initrd and its own copy of the
 * manifest, so that rebuilding an image never changes a VM that exists.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/exec_request.h"
#include "vmd/vm/vm.h"

#define MIB (UINT64_C(1) << 20)
enum {
	CREATE_DEADLINE_MS = 30 * 60 * 1000
};

static void make_name(struct vm *vm, const struct image *image)
{
	char id[ID_LEN + 1];

	do {
		id_new(id);
		(void)snprintf(vm->row.name, sizeof(vm->row.name), "%.50s-%.5s",
			       image->name, id);
	} while (vm_find_name(vm->daemon, vm->row.name));
}

static int fill_sizes(struct vm *vm, const struct image *image, struct err *e)
{
	uint64_t memory = (uint64_t)json_integer_value(
		json_object_get(vm_spec(vm), "memory_bytes"));
	uint64_t disk = (uint64_t)json_integer_value(
		json_object_get(vm_spec(vm), "disk_bytes"));
	uint64_t root = image->disk_bytes;

	vm->row.memory_bytes = (memory + MIB - 1) / MIB * MIB;
	if (vm->row.memory_bytes < image->min_memory_bytes)
		return err_set(
			e, ERR_INVALID, "memory_too_small", 0,
			"image '%s' needs at least %llu MiB of memory, "
			"the VM would have %llu MiB",
			image->name,
			(unsigned long long)(image->min_memory_bytes / MIB),
			(unsigned long long)(vm->row.memory_bytes / MIB));
	if (!image->root.digest[0] && disk)
		return err_set(e, ERR_INVALID, "no_disk", 0,
			       "image '%s' runs from memory and has no disk: "
			       "leave out the size of a disk",
			       image->name);
	if (disk && disk < root)
		return err_set(e, ERR_INVALID, "disk_too_small", 0,
			       "the disk of image '%s' has %llu MiB, a VM "
			       "cannot have less",
			       image->name, (unsigned long long)(root / MIB));
	if (image->root.digest[0]) {
		vm->row.disk_bytes = disk ? disk : image->disk_bytes;
		if (vm->row.disk_bytes < root)
			vm->row.disk_bytes = root;
		vm->row.disk_bytes = (vm->row.disk_bytes + MIB - 1) / MIB * MIB;
	}
	return 0;
}

static int fill_row(struct vm *vm, json_t *body, const struct image *image,
		    struct err *e)
{
	const char *name = json_string_value(json_object_get(body, "name"));
	json_int_t ttl =
		json_integer_value(json_object_get(body, "ttl_seconds"));
	struct vm_row *r = &vm->row;

	vm_spec_set(vm, body);
	id_new(r->id);
	if (name)
		(void)snprintf(r->name, sizeof(r->name), "%s", name);
	else
		make_name(vm, image);
	vm_index(vm);
	(void)snprintf(r->image, sizeof(r->image), "%s", image->name);
	(void)snprintf(r->image_id, sizeof(r->image_id), "%s", image->id);
	r->state = API_VM_CREATING;
	r->ephemeral = json_is_true(json_object_get(body, "ephemeral"));
	r->created_ms = clock_wall_ms();
	r->expires_ms = ttl ? r->created_ms + ttl * 1000 : 0;
	r->revision = 1;
	r->spec = json_to_text(body);
	if (!r->spec)
		return err_sys(e, ENOMEM, "making a VM");
	return fill_sizes(vm, image, e);
}

bool vm_wants_command(const struct vm *vm)
{
	return json_array_size(json_object_get(vm_spec(vm), "command")) > 0;
}

/* What a copy of the blob really takes, were there no reflinks. */
static int admit_clone(struct vm *vm, const struct image *image, struct err *e)
{
	AUTO(free) char *path = NULL;
	struct stat st;

	if (!image->root.digest[0])
		return 0;
	path = image_store_blob_path(vm->daemon->images, &image->root);
	if (!path || stat(path, &st) < 0)
		return err_sys(e, path ? errno : ENOMEM,
			       "looking at the disk of image '%s'",
			       image->name);
	return admit_disk(vm->daemon, (uint64_t)st.st_blocks * 512, e);
}

static int admit(struct vm *vm, const struct image *image, struct err *e)
{
	int rc = exec_request_check(vm_spec(vm), e);

	if (rc == 0)
		rc = vm_choose_engine(vm, image, e);
	if (rc == 0)
		rc = admit_memory_ever(vm, e);
	if (rc == 0 && json_is_true(json_object_get(vm_spec(vm), "start")))
		rc = admit_memory(vm->daemon, vm, e);
	if (rc == 0)
		rc = admit_ports(vm, e);
	if (rc == 0)
		rc = admit_clone(vm, image, e);
	return rc;
}

static int make_durable(struct vm *vm,
			int (*also)(void *ctx, struct vm *vm, struct err *e),
			void *ctx, struct err *e)
{
	struct store *s = vm->daemon->store;
	struct journal_row row = { .kind = JOURNAL_RUN_DIR };
	int rc = store_begin(s, e);

	if (rc < 0)
		return rc;
	memcpy(row.owner, vm->row.id, sizeof(row.owner));
	(void)snprintf(row.name, sizeof(row.name), "%s", vm->row.id);
	rc = store_vm_insert(s, &vm->row, e);
	if (rc >= 0)
		rc = store_journal_add(s, &row, e);
	row.kind = JOURNAL_STATE_DIR;
	if (rc >= 0)
		rc = store_journal_add(s, &row, e);
	if (rc >= 0) {
		vm->op = operation_new(vm->daemon, API_OP_VM_CREATE, vm->row.id,
				       0, e);
		if (!vm->op)
			rc = -EIO;
	}
	if (rc >= 0 && also)
		rc = also(ctx, vm, e);
	if (rc >= 0)
		return store_commit(s, e);
	store_rollback(s);
	return rc;
}

static void on_cloned(void *data, const json_t *result, const struct err *why)
{
	struct vm *vm = data;

	(void)result;
	vm->clone = NULL;
	vm_event(vm, why ? ON_REFUSED : ON_MADE, why);
}

static int begin_clone(struct vm *vm, const struct image *image, struct err *e)
{
	AUTO(free)
	char *from = image_store_blob_path(vm->daemon->images, &image->root);
	AUTO(free) char *to = NULL;
	char size[24];
	const char *args[] = { "clone",	 "--from", NULL, "--to", NULL,
			       "--size", size,	   NULL, NULL };

	if (!from || asprintf(&to, "%s/vms/%s/root.raw",
			      vm->daemon->config->state_dir, vm->row.id) < 0) {
		to = NULL;
		return err_sys(e, ENOMEM, "making the disk of the VM");
	}
	args[2] = from;
	args[4] = to;
	/* What a power cut ends anyway need not be on the disk. */
	if (vm->row.ephemeral)
		args[7] = "--volatile";
	(void)snprintf(size, sizeof(size), "%llu",
		       (unsigned long long)vm->row.disk_bytes);
	operation_progress(vm->op, 0, 0, "making the disk");
	vm->clone = task_start(vm->daemon, vm->op, args, on_cloned, vm, e);
	return vm->clone ? 0 : -EIO;
}

static void on_files_made(struct vm *vm, const struct err *why)
{
	struct err e = ERR_INIT;
	struct image image;
	int rc;

	if (why) {
		vm_event(vm, ON_REFUSED, why);
		return;
	}
	rc = vm_read_manifest(vm, &image, &e);
	if (rc == 0 && image.root.digest[0])
		rc = begin_clone(vm, &image, &e);
	else if (rc == 0)
		vm_event(vm, ON_MADE, NULL);
	if (rc < 0)
		vm_event(vm, ON_REFUSED, &e);
}

/* By its name, which is quick; by its id when the name has another by now. */
static int own_image(struct vm *vm, struct image *ret, struct err *e)
{
	struct image_store *s = vm->daemon->images;

	if (image_store_get(s, vm->row.image, ret, e) == 0 &&
	    strcmp(ret->id, vm->row.image_id) == 0)
		return 0;
	err_clear(e);
	return image_store_get(s, vm->row.image_id, ret, e);
}

void vm_act_make(struct vm *vm, const struct err *why)
{
	struct err e = ERR_INIT;
	struct image image;
	int rc = own_image(vm, &image, &e);

	(void)why;
	if (rc == 0)
		rc = vm_files_make(vm, &image, on_files_made, &e);
	if (rc < 0)
		vm_event(vm, ON_REFUSED, &e);
}

uint64_t vm_limit_making(const struct vm *vm)
{
	(void)vm;
	return CREATE_DEADLINE_MS;
}

void vm_late_making(const struct vm *vm, struct err *ret)
{
	operation_overdue(vm->op, ret);
}

int vm_create(struct daemon *d, json_t *body,
	      int (*also)(void *ctx, struct vm *vm, struct err *e), void *ctx,
	      struct vm **ret, struct err *e)
{
	const char *ref = json_string_value(json_object_get(body, "image"));
	struct image image;
	struct vm *vm;
	int rc = image_store_get(d->images, ref, &image, e);

	if (rc == 0)
		rc = daemon_image_stays(d, image.name, e);
	if (rc < 0)
		return rc;
	vm = vm_new(d, e);
	if (!vm)
		return -ENOMEM;
	rc = fill_row(vm, body, &image, e);
	if (rc == 0)
		rc = admit(vm, &image, e);
	if (rc == 0)
		rc = make_durable(vm, also, ctx, e);
	if (rc < 0) {
		if (vm->op)
			operation_finish(take_ptr(vm->op), e);
		vm_free(vm);
		return rc;
	}
	vm->op->owner = vm;
	vm->op->stop = vm_cancel;
	d->count.vms_created++;
	vm_life_begin(vm);
	vm_event(vm, ON_CREATE, NULL);
	*ret = vm;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* From a stopped VM to the engine, and the wait for its agent. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "vmd/ports/vm_ports.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/trash.h"
#include "vmd/vm/vm.h"

enum {
	HEARING_MS = 2000, /* the least that a wait for the agent lasts */
	MANIFEST_MAX = 65536,
	PATH_LEN = 4096
};

/* Owns the strings that a vm_launch points to. */
struct launch_parts {
	char kernel[PATH_LEN], initrd[PATH_LEN], root[PATH_LEN], run[PATH_LEN];
	char cmdline[2048];
};

static void fill_launch(const struct vm *vm, const struct image *image,
			struct launch_parts *parts, struct vm_launch *ret)
{
	const char *state = vm->daemon->config->state_dir;
	const char *mode = json_string_value(json_object_get(
		json_object_get(vm_spec(vm), "network"), "mode"));
	const char *args =
		json_string_value(json_object_get(vm_spec(vm), "kernel_args"));

	(void)snprintf(parts->kernel, PATH_LEN, "%s/vms/%s/kernel", state,
		       vm->row.id);
	(void)snprintf(parts->initrd, PATH_LEN, "%s/vms/%s/initrd", state,
		       vm->row.id);
	(void)snprintf(parts->root, PATH_LEN, "%s/vms/%s/root.raw", state,
		       vm->row.id);
	(void)snprintf(parts->run, PATH_LEN, "%s/vms/%s",
		       vm->daemon->config->run_dir, vm->row.id);
	(void)snprintf(parts->cmdline, sizeof(parts->cmdline), "%s%s%s",
		       image->cmdline, args && args[0] ? " " : "",
		       args ? args : "");
	*ret = (struct vm_launch){
		.id = vm->row.id,
		.name = vm->row.name,
		.vcpus = (uint32_t)json_integer_value(
			json_object_get(vm_spec(vm), "vcpus")),
		.memory_bytes = vm->row.memory_bytes,
		.kernel_path = parts->kernel,
		.initrd_path = image->initrd.digest[0] ? parts->initrd : NULL,
		.root_path = image->root.digest[0] ? parts->root : NULL,
		.cmdline = parts->cmdline,
		.network = mode && strcmp(mode, "none") != 0,
		.run_dirfd = vm->run_dirfd,
		.run_path = parts->run,
		.jailed = vm->daemon->config->jailed,
		.uid_slot = vm->uid_slot,
	};
}

static int choose(struct vm *vm, const struct vm_launch *launch, struct err *e)
{
	const char *wanted =
		json_string_value(json_object_get(vm_spec(vm), "engine"));
	struct daemon *d = vm->daemon;
	char reason[256] = "";
	int rc = d->config->engine_choose(wanted, launch, &vm->engine, reason,
					  e);

	if (rc < 0)
		return rc;
	(void)snprintf(vm->row.engine, sizeof(vm->row.engine), "%s",
		       vm->engine->name);
	(void)snprintf(vm->row.engine_reason, sizeof(vm->row.engine_reason),
		       "%s", reason);
	vm->row.emulated = d->config->engine_emulates &&
			   d->config->engine_emulates(vm->engine);
	return 0;
}

int vm_choose_engine(struct vm *vm, const struct image *image, struct err *e)
{
	struct launch_parts parts;
	struct vm_launch launch;
	AUTO(free)
	char *kernel =
		image_store_blob_path(vm->daemon->images, &image->kernel);
	int rc;

	if (!kernel)
		return err_sys(e, ENOMEM, "choosing an engine");
	fill_launch(vm, image, &parts, &launch);
	/* Its own link of the kernel does not exist yet. */
	launch.kernel_path = kernel;
	rc = admit_kernel(image, kernel, e);
	return rc < 0 ? rc : choose(vm, &launch, e);
}

int vm_read_manifest(struct vm *vm, struct image *ret, struct err *e)
{
	AUTO(fd) int dirfd = -1;
	AUTO(free) char *text = NULL;
	AUTO(json) json_t *manifest = NULL;
	size_t len;
	int rc = privops_vm_dir_open(vm->daemon->state_vms_fd, vm->row.id,
				     &dirfd, e);

	if (rc == 0)
		rc = file_read(dirfd, "image.json", MANIFEST_MAX, &text, &len,
			       e);
	if (rc == 0)
		rc = json_parse_strict(text, len, "image.json", &manifest, e);
	if (rc == 0)
		rc = image_from_json(manifest, ret, e);
	return rc < 0 ? err_wrap(e, rc, "VM '%s'", vm->row.name) : 0;
}

/* A new directory: nothing of an earlier run may be mistaken for this one. The
 * old one waits in the trash until the engine has started. */
static int make_run_dir(struct vm *vm, char ret_old[96], struct err *e)
{
	struct daemon *d = vm->daemon;
	int rc;

	close_fd(&vm->run_dirfd);
	rc = trash_dir(d, true, vm->row.id, ret_old, e);
	if (rc == 0)
		rc = privops_vm_dir_open(d->run_vms_fd, vm->row.id,
					 &vm->run_dirfd, e);
	return rc;
}

static bool slot_is_taken(const struct daemon *d, uint32_t slot)
{
	const struct vm *vm;

	LIST_FOREACH(vm, &d->vms, link)
		if (vm->handle && vm->uid_slot == slot)
			return true;
	/* Another daemon on this host may have the same range. */
	errno = 0;
	return getpriority(PRIO_USER, privops_uid_first() + slot) != -1 ||
	       errno != ESRCH;
}

/*
 * A user that no other running VM is; journalled with the VM's cgroup. Nothing on
 * the host belongs to it. One after the other, so that a number does not come back
 * soon.
 */
static void choose_slot(struct vm *vm)
{
	struct daemon *d = vm->daemon;

	do {
		vm->uid_slot = 1 + d->slot_next;
		d->slot_next = (d->slot_next + 1) % PRIV_SLOT_LAST;
	} while (slot_is_taken(d, vm->uid_slot));
}

/* A start that was refused: the log of the last run is still of use. */
static void restore_run_dir(struct vm *vm, const char *old)
{
	struct err e = ERR_INIT;

	if (!old[0])
		return;
	close_fd(&vm->run_dirfd);
	if (trash_dir(vm->daemon, true, vm->row.id, NULL, &e) < 0)
		log_vm(LOG_LEVEL_WARN, vm->row.id, "%s", e.msg);
	else
		(void)trash_take_back(vm->daemon, old, vm->row.id);
}

static uint64_t ready_timeout_ms(const struct vm *vm)
{
	json_int_t asked = json_integer_value(
		json_object_get(vm_spec(vm), "ready_timeout_seconds"));

	if (asked > 0)
		return (uint64_t)asked * 1000;
	return UINT64_C(1000) * READY_TIMEOUT_S *
	       (vm->row.emulated ? READY_EMULATED_FACTOR : 1);
}

/* Since its engine began, the time that it was paused apart. */
static uint64_t started_ms_ago(const struct vm *vm)
{
	int64_t since =
		clock_wall_ms() - vm->row.started_ms - (int64_t)vm->paused_ms;

	return since > 0 ? (uint64_t)since : 0;
}

uint64_t vm_limit_ready(const struct vm *vm)
{
	uint64_t passed = started_ms_ago(vm), limit = ready_timeout_ms(vm);

	return passed + HEARING_MS < limit ? limit - passed : HEARING_MS;
}

void vm_late_ready(const struct vm *vm, struct err *ret)
{
	char tail[420];

	vm_console_tail(vm, tail, sizeof(tail));
	(void)err_set(ret, ERR_TIMEOUT, "guest_not_ready", ETIMEDOUT,
		      "the guest of VM '%s' was not ready after %llu s (step: "
		      "%s); last on its console: %s",
		      vm->row.name,
		      (unsigned long long)(started_ms_ago(vm) / 1000),
		      vm->state == VM_LAUNCHING
			      ? "the engine starts it"
			      : "it runs, its agent has not answered",
		      tail[0] ? tail : "(nothing)");
}

/* All that a start may be refused for; old: as of make_run_dir(). */
static int prepare(struct vm *vm, const struct image *image,
		   struct launch_parts *parts, struct vm_launch *launch,
		   char old[96], struct err *e)
{
	int rc;

	choose_slot(vm);
	fill_launch(vm, image, parts, launch);
	rc = admit_kernel(image, launch->kernel_path, e);
	if (rc == 0)
		rc = choose(vm, launch, e);
	if (rc == 0)
		rc = admit_memory(vm->daemon, vm, e);
	if (rc == 0)
		rc = vm_ports_open(vm, e);
	if (rc == 0)
		rc = vm_console_begin(vm, e);
	if (rc == 0)
		rc = make_run_dir(vm, old, e);
	if (rc == 0)
		rc = vm_cgroup_begin(vm, e);
	launch->run_dirfd = vm->run_dirfd;
	return rc;
}

/* A new run: nothing of the last one counts. */
static void begin_run(struct vm *vm)
{
	struct err e = ERR_INIT;

	vm->row.started_ms = clock_wall_ms();
	vm->row.ready_ms = 0;
	vm->row.has_exit = false;
	vm->row.command_started = false;
	err_clear(&vm->row.error);
	vm_set_why(vm, NULL);
	vm->paused_ms = 0;
	vm->process_count = 0;
	vm->resident_bytes = vm->resident_ms = 0;
	if (vm_save(vm, &e) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", e.msg);
	operation_progress(vm->op, 0, 0, "starting with %s", vm->engine->name);
}

static int launch(struct vm *vm, struct err *e)
{
	struct launch_parts parts;
	struct vm_launch launch;
	struct image image;
	char old[96] = "";
	int rc;

	/* Without it nobody knows what to start. */
	if (!vm_spec(vm))
		return err_set(e, ERR_CORRUPT, "record_damaged", 0,
			       "what VM '%s' was made from cannot be read: its "
			       "record is damaged; its disk lies "
			       "in %s/vms/%s until it is deleted",
			       vm->row.name, vm->daemon->config->state_dir,
			       vm->row.id);
	rc = vm_read_manifest(vm, &image, e);
	if (rc == 0)
		rc = prepare(vm, &image, &parts, &launch, old, e);
	if (rc < 0)
		return rc;
	begin_run(vm);
	rc = vm->engine->start(vm->daemon->loop, &launch, &vm_engine_events, vm,
			       &vm->handle, e);
	if (rc < 0)
		restore_run_dir(vm, old);
	if (old[0])
		trash_empty(vm->daemon);
	return rc;
}

void vm_act_launch(struct vm *vm, const struct err *why)
{
	struct err e = ERR_INIT;

	(void)why;
	if (launch(vm, &e) < 0) {
		vm_event(vm, ON_REFUSED, &e);
		return;
	}
	vm->daemon->count.vms_started++;
	vm_turn_begin_boot(vm);
	vm_arm(vm);
	/* A process that could not be journalled must not go on. */
	e = *vm_why(vm);
	if (e.kind != ERR_NONE)
		vm_event(vm, ON_BROKEN, &e);
}

void vm_act_runs(struct vm *vm, const struct err *why)
{
	(void)why;
	operation_progress(vm->op, 0, 0, "waiting for the guest's agent");
}

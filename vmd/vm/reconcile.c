/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a new daemon does with what the last one left: the rows say what was
 * wanted and what was made, the run directories and the processes say what is.
 *
 *   VM with living processes      adopted by its engine
 *   VM that ended meanwhile       its real end, from the run directory
 *   VM that was being made        removed, its operation failed
 *   VM that was being removed     removed
 *   VM that cannot be judged      unknown, with the reason; nothing touched
 *   process or directory that     ended, removed
 *   no VM owns
 *
 * A process counts as ours only when pid and start time are those journalled,
 * in the same boot of the host.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "vmd/image/image.h"
#include "vmd/ports/vm_ports.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/trash.h"
#include "vmd/vm/vm.h"

static int read_boot_id(char buf[static 64], struct err *e)
{
	AUTO(file) FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || !fgets(buf, 64, f))
		return err_sys(e, errno ? errno : EIO,
			       "reading the boot id of the host");
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

struct load {
	struct daemon *d;
	struct err e;
};

static void load_vm(void *ctx, struct vm_row *row)
{
	struct load *load = ctx;
	struct vm *vm = vm_new(load->d, &load->e);
	AUTO(json) json_t *spec = NULL;
	struct err why = ERR_INIT;

	if (!vm)
		return;
	vm->row = *row;
	row->spec = NULL;
	vm->state = VM_LOADED;
	vm_index(vm);
	if (json_parse_strict(vm->row.spec, strlen(vm->row.spec), "spec", &spec,
			      &load->e) < 0) {
		(void)err_set(&why, ERR_CORRUPT, "record_damaged", 0,
			      "its record is damaged: %.200s", load->e.msg);
		vm_set_why(vm, &why);
		err_clear(&load->e);
	}
}

static void end_task(void *ctx, const struct op_row *row)
{
	(void)ctx;
	if (row->state == API_OP_RUNNING)
		privops_task_end(row->id);
}

/* Operations died with the daemon; what they had started must not go on. */
static int fail_operations(struct daemon *d, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = store_op_each(d->store, 0, SIZE_MAX, end_task, NULL, e);

	(void)err_set(&why, ERR_UNAVAILABLE, "daemon_restarted", 0,
		      "the daemon was restarted while this was under way: look "
		      "at the resource and try again");
	if (rc >= 0)
		rc = store_op_fail_running(d->store, &why, clock_wall_ms(), e);
	return rc;
}

/* Which VMs have a cgroup that is still to be removed; of the last boot's, too:
 * their rows go the same way. */
static void journalled_cgroups(struct daemon *d, const struct journal_row *rows,
			       size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct vm *vm = rows[i].kind == JOURNAL_CGROUP
					? vm_find_id(d, rows[i].owner)
					: NULL;

		if (vm)
			vm_cgroup_load(vm, &rows[i]);
	}
}

/* Gives every VM the processes that were journalled for it. */
static void journalled_processes(struct daemon *d,
				 const struct journal_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct vm *vm = rows[i].kind == JOURNAL_PROCESS
					? vm_find_id(d, rows[i].owner)
					: NULL;
		struct vm_process *p;

		if (!vm || vm->process_count == VM_PROCESSES_MAX)
			continue;
		p = &vm->processes[vm->process_count++];
		(void)snprintf(p->role, sizeof(p->role), "%.15s", rows[i].name);
		p->pid = rows[i].pid;
		p->start_time = rows[i].start_time;
	}
}

static void interrupted(struct vm *vm, struct err *ret)
{
	(void)err_set(ret, ERR_UNAVAILABLE, "daemon_restarted", 0,
		      "the daemon was restarted while VM '%s' was %s",
		      vm->row.name,
		      api_vm_state_name(vm->tombstone ? API_VM_DELETING
						      : vm->row.state));
}

static int find_run(struct vm *vm, enum vm_end *ret_end, struct err *e)
{
	AUTO(free) char *run_path = NULL;
	int rc = privops_vm_dir_open(vm->daemon->run_vms_fd, vm->row.id,
				     &vm->run_dirfd, e);

	if (rc == 0 && asprintf(&run_path, "%s/vms/%s",
				vm->daemon->config->run_dir, vm->row.id) < 0) {
		run_path = NULL;
		rc = err_sys(e, ENOMEM, "adopting");
	}
	/* A panic and a reboot both end as a reset: the console tells. */
	if (rc == 0)
		rc = vm_console_begin(vm, e);
	if (rc < 0)
		return rc;
	vm_console_load(vm);
	return vm->engine->adopt(vm->daemon->loop, vm->row.id, vm->run_dirfd,
				 run_path, vm->processes, vm->process_count,
				 &vm_engine_events, vm, &vm->handle, ret_end,
				 e);
}

/* Tries to take over a VM whose row says that it runs. */
static void adopt(struct vm *vm)
{
	struct err e = ERR_INIT, words = ERR_INIT;
	enum vm_end end = VM_END_FAILED;
	int rc;

	vm->engine = daemon_engine(vm->daemon, vm->row.engine);
	if (!vm->engine) {
		(void)snprintf(words.msg, sizeof(words.msg),
			       "this vmd has no engine '%s'", vm->row.engine);
		vm_event(vm, ON_FOUND_UNCLEAR, &words);
		return;
	}
	rc = find_run(vm, &end, &e);
	if (rc == -ESRCH) {
		vm_ended(vm, end, &e);
		return;
	}
	if (rc < 0) {
		/* Neither running nor ended can be claimed. */
		(void)snprintf(words.msg, sizeof(words.msg),
			       "cannot be judged: %.200s", e.msg);
		vm_event(vm, ON_FOUND_UNCLEAR, &words);
		return;
	}
	/* Of a vmd that did not journal it. */
	if (!vm->in_cgroup)
		vm->uid_slot =
			process_uid(vm->processes[0].pid) - privops_uid_first();
	vm->daemon->count.vms_adopted++;
	vm_ports_adopt(vm);
	if (!agent_session_ready(vm->session))
		(void)snprintf(words.msg, sizeof(words.msg),
			       "taken over by a new daemon; its agent has not "
			       "answered yet");
	vm_event(vm, ON_FOUND_RUNNING, &words);
}

/* It is none of those that run, by its row. */
static bool judge_by_row(struct vm *vm, bool same_boot)
{
	enum api_vm_state was = vm->row.state;
	struct err why = ERR_INIT;

	if (vm->tombstone || was == API_VM_CREATING || was == API_VM_DELETING) {
		interrupted(vm, &why);
		vm_event(vm, ON_FOUND_HALF, &why);
	} else if (was == API_VM_STOPPED || was == API_VM_FAILED) {
		vm_event(vm,
			 was == API_VM_STOPPED ? ON_FOUND_STOPPED
					       : ON_FOUND_FAILED,
			 NULL);
	} else if (was == API_VM_STARTING && vm->process_count == 0) {
		interrupted(vm, &why);
		vm_event(vm, ON_FOUND_CUT, &why);
	} else if (!same_boot) {
		/* A row of another boot must not pass for one of this boot
		 * later. */
		vm_forget_processes(vm);
		vm_event(vm, ON_FOUND_REBOOTED, NULL);
	} else {
		return false;
	}
	return true;
}

static void judge(struct vm *vm, bool same_boot)
{
	struct err why = *vm_why(vm);

	vm_life_begin(vm);
	if (why.kind != ERR_NONE && !vm->tombstone)
		vm_event(vm, ON_FOUND_UNCLEAR, &why);
	else if (!judge_by_row(vm, same_boot))
		adopt(vm);
}

/* Directories without a VM. */
static void sweep_dir(struct daemon *d, bool of_run)
{
	int dirfd = of_run ? d->run_vms_fd : d->state_vms_fd;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close_fd(&fd);
		return;
	}
	while ((entry = readdir(dir))) {
		struct err e = ERR_INIT;

		if (entry->d_name[0] == '.' || vm_find_id(d, entry->d_name))
			continue;
		log_info("removing %s: it belongs to no VM", entry->d_name);
		if (trash_dir(d, of_run, entry->d_name, NULL, &e) < 0)
			log_warn("%s", e.msg);
		else
			d->count.swept++;
	}
	(void)closedir(dir);
}

static bool is_of_vm(void *ctx, const char *vm_id, pid_t pid)
{
	struct vm *vm = vm_find_id(ctx, vm_id);

	for (size_t i = 0; vm && i < vm->process_count; i++)
		if (vm->processes[i].pid == pid)
			return true;
	/* An unknown VM keeps what it may have. */
	return vm && vm->row.state == API_VM_UNKNOWN;
}

static void sweep_journal(struct daemon *d, const struct journal_row *rows,
			  size_t count, bool same_boot)
{
	for (size_t i = 0; i < count; i++) {
		const struct journal_row *r = &rows[i];
		struct cgroup_oom oom;
		struct err e = ERR_INIT;

		if (vm_find_id(d, r->owner))
			continue;
		if (same_boot && r->pid &&
		    privops_process_end(r->pid, r->start_time) == 0)
			d->count.swept++;
		if (r->kind == JOURNAL_CGROUP) {
			vm_cgroup_end_of(d, r->owner, &oom);
			continue;
		}
		if (store_journal_remove(d->store, r->owner, r->kind, r->name,
					 &e) < 0)
			log_warn("%s", e.msg);
	}
}

int daemon_reconcile(struct daemon *d, struct err *e)
{
	AUTO(free) struct journal_row *rows = NULL;
	struct load load = { .d = d, .e = ERR_INIT };
	char boot_id[64], last_boot_id[64];
	struct vm *vm, *next;
	size_t count = 0;
	bool same_boot;
	int rc = read_boot_id(boot_id, e);

	if (rc == 0)
		rc = store_meta_get(d->store, "boot_id", last_boot_id,
				    sizeof(last_boot_id), e);
	if (rc == 0)
		rc = store_vm_each(d->store, load_vm, &load, e);
	if (rc == 0)
		rc = fail_operations(d, e);
	if (rc >= 0)
		rc = store_journal_list(d->store, NULL, &rows, &count, e);
	if (rc < 0)
		return rc;
	same_boot = strcmp(boot_id, last_boot_id) == 0;
	if (same_boot)
		journalled_processes(d, rows, count);
	journalled_cgroups(d, rows, count);
	trash_find_removed(d);
	for (vm = LIST_FIRST(&d->vms); vm; vm = next) {
		next = LIST_NEXT(vm, link);
		judge(vm, same_boot);
	}
	privops_strays_end(is_of_vm, d);
	privops_cgroups_sweep();
	sweep_journal(d, rows, count, same_boot);
	sweep_dir(d, true);
	sweep_dir(d, false);
	trash_empty(d);
	image_sweep(d);
	return store_meta_put(d->store, "boot_id", boot_id, e);
}

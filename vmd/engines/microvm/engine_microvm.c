/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The microVM engine: one vmd-monitor per VM on KVM, configured by a vm.json
 * in the run directory and watched through its control socket and status.json.
 *
 * The monitor runs in a jail that holds no file (jails.h): everything comes as
 * a descriptor, the listening sockets and logs, whose paths in the run directory
 * serve this daemon and the next, too.
 *
 * The daemon calls the guest's agent through vsock.sock, again and again until
 * one answers. It does not listen for the guest: whoever calls from there may
 * be any process, and must neither be taken for the agent nor cost the daemon
 * anything.
 *
 * Trust: the monitor may be taken over by its guest: what it answers is parsed
 * with limits and decides nothing beyond this VM.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/wire.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sock.h"
#include "vmd/engines/engine_base.h"
#include "vmd/engines/host.h"
#include "vmd/engines/microvm/microvm_config.h"
#include "vmd/engines/microvm/microvm_end.h"
#include "vmd/engines/microvm/monitor_control.h"
#include "vmd/engines/microvm/vsock_link.h"
#include "vmd/engines/passt.h"
#include "vmd/priv/privops.h"

enum {
	MICROVM_VCPUS_MAX = 32,
};

struct microvm {
	struct engine_vm base; /* first: an engine_vm is a microvm */
	struct monitor_control control;
	struct vsock_link vsock;
};

static struct microvm *microvm(struct engine_vm *vm)
{
	return (struct microvm *)vm;
}

static void set_died(struct err *e, int dirfd, const struct process_exit *x)
{
	char tail[400], how[128];

	engine_log_tail(dirfd, "monitor.log", tail, sizeof(tail));
	(void)err_set(e, ERR_UNAVAILABLE, "monitor_died", 0,
		      "vmd-monitor %s and left no record of why; its last "
		      "lines: %s",
		      process_exit_text(x, how), tail);
}

static void main_exit(struct engine_vm *vm, const struct process_exit *x)
{
	struct microvm *m = microvm(vm);
	enum vm_end end;
	struct err e = ERR_INIT;

	monitor_control_close(&m->control);
	vsock_link_close(&m->vsock);
	if (vm->decided || vm->killed)
		return;
	if (!microvm_recorded_end(vm->dirfd, &end, &e)) {
		end = VM_END_FAILED;
		set_died(&e, vm->dirfd, x);
	}
	engine_vm_decide(vm, end, &e);
}

/* Calls the guest; the answer comes through on_vsock(). */
static int agent_open(struct engine_vm *vm, int *ret_fd)
{
	(void)ret_fd;
	vsock_link_call(&microvm(vm)->vsock);
	return -EAGAIN;
}

static void done(struct engine_vm *vm)
{
	monitor_control_close(&microvm(vm)->control);
	vsock_link_close(&microvm(vm)->vsock);
}

static const struct engine_hooks hooks = { main_exit, agent_open, done };

static void on_vsock(void *ctx, int fd)
{
	struct engine_vm *vm = ctx;

	engine_vm_enter(vm);
	engine_vm_agent_here(vm, fd);
	engine_vm_leave(vm);
}

/* The monitor answers: its vCPUs run, or did before a pause. */
static void on_control(void *ctx, const char *state, const char *reason)
{
	struct engine_vm *vm = ctx;

	engine_vm_enter(vm);
	if (strcmp(state, "built") != 0)
		engine_vm_running(vm);
	if (reason && !strcmp(reason, "disk_full"))
		engine_vm_paused(vm, "disk full");
	else if (!strcmp(state, "running"))
		engine_vm_paused(vm, NULL);
	engine_vm_leave(vm);
}

static void console_data(void *ctx, const void *data, size_t len)
{
	struct engine_vm *vm = ctx;

	engine_vm_enter(vm);
	vm->events->console(vm->ctx, data, len);
	engine_vm_leave(vm);
}

static void microvm_probe(struct engine_status *ret)
{
	const struct host_kvm *k = host_kvm();
	const char *monitor = host_monitor();

	*ret = (struct engine_status){ .usable = k->usable && monitor };
	(void)snprintf(ret->detail, sizeof(ret->detail), "%s", k->reason);
	(void)snprintf(ret->fix, sizeof(ret->fix), "%s", k->fix);
}

static int microvm_can_run(const struct vm_launch *launch, struct err *e)
{
	const struct host_kvm *k = host_kvm();

	if (!launch->kernel_path || access(launch->kernel_path, R_OK) < 0)
		return err_set(e, ERR_NOT_FOUND, "kernel_missing", errno,
			       "the kernel %s cannot be read",
			       launch->kernel_path ? launch->kernel_path
						   : "(none)");
	if (!k->usable || !host_monitor())
		return err_set(e, ERR_UNAVAILABLE, "engine_unavailable", 0,
			       "%s", k->reason);
	if (!launch->vcpus || launch->vcpus > MICROVM_VCPUS_MAX)
		return err_set(e, ERR_INVALID, "too_many_vcpus", 0,
			       "the microVM monitor runs 1 to %d vCPUs, not "
			       "%u",
			       MICROVM_VCPUS_MAX, launch->vcpus);
	return 0;
}

/* The descriptors of a monitor, by their number there; -1: none. */
struct monitor_fds {
	int fd[MICROVM_FD_END];
};

static int open_file(int *slot, int dirfd, const char *path, int flags,
		     struct err *e)
{
	if (!path)
		return 0;
	/* In the run directory nothing is a link that we made. */
	if (dirfd != AT_FDCWD)
		flags |= O_NOFOLLOW;
	*slot = openat(dirfd, path, flags | O_CLOEXEC | O_NOCTTY, 0600);
	return *slot < 0 ? err_sys(e, errno, "cannot open %s", path) : 0;
}

static int open_sockets(int dirfd, bool network, struct monitor_fds *f,
			struct err *e)
{
	static const struct {
		enum microvm_fd fd;
		const char *name;
	} sockets[] = {
		{ MICROVM_FD_CONTROL, "control.sock" },
		{ MICROVM_FD_SERIAL, "serial.sock" },
		{ MICROVM_FD_VSOCK, "vsock.sock" },
		{ MICROVM_FD_NET, PASST_SOCKET },
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(sockets); i++)
		if (network || sockets[i].fd != MICROVM_FD_NET)
			rc = sock_listen_unix(dirfd, sockets[i].name, 0600,
					      &f->fd[sockets[i].fd], e);
	return rc;
}

/* All that the monitor will ever have: it can open nothing by itself. */
static int open_fds(int dirfd, const struct vm_launch *launch,
		    struct monitor_fds *f, struct err *e)
{
	const struct {
		enum microvm_fd fd;
		int dirfd;
		const char *path;
		int flags;
	} files[] = {
		{ MICROVM_FD_KERNEL, AT_FDCWD, launch->kernel_path, O_RDONLY },
		{ MICROVM_FD_INITRD, AT_FDCWD, launch->initrd_path, O_RDONLY },
		{ MICROVM_FD_DISK, AT_FDCWD, launch->root_path, O_RDWR },
		{ MICROVM_FD_CONFIG, dirfd, "vm.json", O_RDONLY },
		{ MICROVM_FD_CONSOLE_LOG, dirfd, "console.log",
		  O_WRONLY | O_APPEND | O_CREAT },
		{ MICROVM_FD_STATUS, dirfd, "status.json",
		  O_WRONLY | O_CREAT | O_TRUNC },
	};
	int rc = engine_log_open(dirfd, "monitor.log", &f->fd[1], e);

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(files); i++)
		rc = open_file(&f->fd[files[i].fd], files[i].dirfd,
			       files[i].path, files[i].flags, e);
	/* Without it the monitor says why there is none. */
	(void)privops_kvm_open(&f->fd[MICROVM_FD_KVM], NULL);
	return rc < 0 ? rc : open_sockets(dirfd, launch->network, f, e);
}

static int spawn_with(struct microvm *m, const struct vm_launch *launch,
		      const struct monitor_fds *f, struct err *e)
{
	const char *argv[] = { host_monitor(), "--config", "fd:7", "--id",
			       launch->id,     "--kvm",	   "fd:8", NULL };
	struct process_fd fds[MICROVM_FD_END + 1] = { { f->fd[1], 2 } };
	struct privops_program program = { .role = PRIV_ROLE_MONITOR,
					   .argv = argv,
					   .fds = fds,
					   .fd_count = 1 };
	int rc;

	static_assert(MICROVM_FD_CONFIG == 7 && MICROVM_FD_KVM == 8,
		      "as in argv");
	for (int i = 1; i < MICROVM_FD_END; i++)
		if (f->fd[i] >= 0)
			fds[program.fd_count++] =
				(struct process_fd){ f->fd[i], i };
	rc = privops_spawn(&program, launch, &m->base.main, e);
	return rc < 0 ? err_wrap(e, rc, "cannot start vmd-monitor") : 0;
}

static int spawn_monitor(struct microvm *m, const struct vm_launch *launch,
			 struct err *e)
{
	struct monitor_fds f;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(f.fd); i++)
		f.fd[i] = -1;
	rc = open_fds(m->base.dirfd, launch, &f, e);
	if (rc == 0)
		rc = spawn_with(m, launch, &f, e);
	for (size_t i = 0; i < ARRAY_LEN(f.fd); i++)
		close_fd(&f.fd[i]);
	return rc;
}

static struct microvm *new_vm(struct loop *loop, const char *id, int run_dirfd,
			      const char *run_path,
			      const struct engine_events *events, void *ctx,
			      struct err *e)
{
	struct microvm *m = calloc(1, sizeof(*m));

	if (!m) {
		(void)err_sys(e, ENOMEM, "VM %s", id);
		return NULL;
	}
	monitor_control_init(&m->control);
	if (engine_vm_init(&m->base, loop, id, run_dirfd, run_path, &hooks,
			   events, ctx, e) < 0) {
		engine_vm_release(&m->base);
		return NULL;
	}
	vsock_link_init(&m->vsock, loop, m->base.dirfd, on_vsock, &m->base);
	return m;
}

/* Everything up to a running monitor. */
static int launch_monitor(struct microvm *m, const struct vm_launch *launch,
			  struct err *e)
{
	static const char *const stale[] = { "status.json", "monitor.log",
					     "passt.log" };
	struct engine_vm *vm = &m->base;
	int rc = 0;

	for (size_t i = 0; i < sizeof(stale) / sizeof(stale[0]); i++)
		(void)unlinkat(vm->dirfd, stale[i], 0);
	if (rc == 0)
		rc = microvm_config_write(launch, vm->dirfd, e);
	if (rc == 0)
		rc = spawn_monitor(m, launch, e);
	return rc;
}

static void attach(struct microvm *m)
{
	struct engine_vm *vm = &m->base;

	monitor_control_open(&m->control, vm->loop, vm->dirfd, on_control, vm);
	console_link_open(&vm->console, vm->loop, vm->dirfd, false,
			  console_data, vm);
	engine_vm_agent_soon(vm, 0);
}

static int microvm_start(struct loop *loop, const struct vm_launch *launch,
			 const struct engine_events *events, void *ctx,
			 struct engine_vm **ret, struct err *e)
{
	struct err later = ERR_INIT, unwatched = ERR_INIT;
	struct engine_vm *vm;
	struct microvm *m;
	int rc = microvm_can_run(launch, e);

	if (rc < 0)
		return rc;
	m = new_vm(loop, launch->id, launch->run_dirfd, launch->run_path,
		   events, ctx, e);
	if (!m)
		return -ENOMEM;
	vm = &m->base;
	rc = launch_monitor(m, launch, e);
	if (rc < 0) {
		engine_vm_release(vm);
		return rc;
	}
	engine_vm_announce(vm, "monitor", &vm->main);
	if (launch->network)
		rc = engine_vm_start_passt(vm, launch, &later);
	attach(m);
	if (engine_vm_watch(vm, &unwatched) < 0)
		engine_vm_abort(vm, &unwatched);
	else if (rc < 0)
		engine_vm_finish(vm, VM_END_FAILED, &later);
	*ret = vm;
	return 0;
}

static int microvm_adopt(struct loop *loop, const char *id, int run_dirfd,
			 const char *run_path,
			 const struct vm_process *processes,
			 size_t process_count,
			 const struct engine_events *events, void *ctx,
			 struct engine_vm **ret, enum vm_end *ret_end,
			 struct err *e)
{
	struct microvm *m =
		new_vm(loop, id, run_dirfd, run_path, events, ctx, e);
	struct engine_vm *vm;
	int rc;

	if (!m)
		return -ENOMEM;
	vm = &m->base;
	engine_vm_adopt_passt(vm, processes, process_count);
	if (engine_vm_adopt_process("monitor", processes, process_count,
				    &vm->main) < 0) {
		(void)privops_signal(&vm->passt, SIGKILL);
		if (!microvm_recorded_end(run_dirfd, ret_end, e)) {
			*ret_end = VM_END_FAILED;
			set_died(e, run_dirfd, NULL);
		}
		engine_vm_release(vm);
		return -ESRCH;
	}
	rc = engine_vm_watch(vm, e);
	if (rc < 0) {
		engine_vm_release(vm);
		return rc;
	}
	attach(m);
	*ret = vm;
	return 0;
}

static int microvm_shutdown(struct engine_vm *vm, struct err *e)
{
	return monitor_control_shutdown(&microvm(vm)->control, e);
}

static void microvm_resume(struct engine_vm *vm)
{
	monitor_control_resume(&microvm(vm)->control);
}

const struct engine_ops engine_microvm = {
	.name = "microvm",
	.probe = microvm_probe,
	.can_run = microvm_can_run,
	.start = microvm_start,
	.adopt = microvm_adopt,
	.shutdown = microvm_shutdown,
	.resume = microvm_resume,
	.kill = engine_vm_kill,
	.console_write = engine_vm_console_write,
	.release = engine_vm_release,
	.agent_connect = engine_vm_agent_connect,
};

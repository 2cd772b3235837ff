/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QEMU engine: one qemu-system-x86_64 per VM, started paused, driven over
 * QMP (qemu_control.c), reasons and measurements in docs/qemu-engine.md.
 *
 * The daemon binds the sockets of monitor, console and agent itself and passes
 * them listening: it connects before QEMU runs, so there is nothing to poll
 * for, and their paths in the run directory serve the next daemon.
 *
 * Files in the run directory: qmp.sock serial.sock agent.sock (sockets),
 * qemu.argv (the command line, JSON), qemu.log (stderr), qmp.log (replies and
 * events), console.log, passt.log.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sock.h"
#include "vmd/engines/host.h"
#include "vmd/engines/passt.h"
#include "vmd/engines/qemu/engine_qemu.h"
#include "vmd/engines/qemu/qemu_args.h"
#include "vmd/priv/privops.h"

enum {
	QEMU_VCPUS_MAX = 255,
	STALE_FILE_COUNT = 3
};

uint64_t qemu_timeout_ms = 5000;

static struct qemu_vm *qemu(struct engine_vm *vm)
{
	return (struct qemu_vm *)vm;
}

static void main_exit(struct engine_vm *vm, const struct process_exit *x)
{
	struct qemu_vm *q = qemu(vm);
	enum vm_end end;
	struct err e = ERR_INIT;

	/* The event may still be in the socket, or only in the log. */
	if (q->qmp)
		qmp_drain(q->qmp);
	qemu_control_close(q);
	loop_timer_disarm(&q->reconnect);
	if (vm->decided || vm->killed)
		return;
	if (qemu_logged_end(vm->dirfd, &end, &e)) {
		engine_vm_decide(vm, end, &e);
		return;
	}
	qemu_set_died(&e, vm->dirfd, x);
	engine_vm_decide(vm, VM_END_FAILED, &e);
}

static int agent_open(struct engine_vm *vm, int *ret_fd)
{
	return sock_connect_unix(vm->dirfd, "agent.sock", ret_fd, NULL);
}

static void done(struct engine_vm *vm)
{
	struct qemu_vm *q = qemu(vm);

	qemu_control_close(q);
	loop_timer_disarm(&q->reconnect);
}

static const struct engine_hooks hooks = { main_exit, agent_open, done };

static void qemu_probe(struct engine_status *ret)
{
	const struct host_qemu *h = host_qemu();

	*ret = (struct engine_status){ .usable = h->usable };
	(void)snprintf(ret->fix, sizeof(ret->fix), "%s", h->fix);
	if (h->usable)
		(void)snprintf(ret->detail, sizeof(ret->detail), "%.60s, %s",
			       h->reason,
			       host_kvm()->usable ? "with KVM"
						  : "software emulation");
	else
		(void)snprintf(ret->detail, sizeof(ret->detail), "%s",
			       h->reason);
}

static int qemu_can_run(const struct vm_launch *launch, struct err *e)
{
	const struct host_qemu *h = host_qemu();

	if (!h->usable)
		return err_set(e, ERR_UNAVAILABLE, "engine_unavailable", 0,
			       "the qemu engine is not usable: %s (%s)",
			       h->reason, h->fix);
	if (!launch->vcpus || launch->vcpus > QEMU_VCPUS_MAX)
		return err_set(e, ERR_INVALID, "too_many_vcpus", 0,
			       "QEMU runs 1 to %d vCPUs, not %u",
			       QEMU_VCPUS_MAX, launch->vcpus);
	if (!launch->kernel_path || access(launch->kernel_path, R_OK) < 0)
		return err_set(e, ERR_NOT_FOUND, "kernel_missing", errno,
			       "the kernel %s cannot be read",
			       launch->kernel_path ? launch->kernel_path
						   : "(none)");
	return 0;
}

static void console_data(void *ctx, const void *data, size_t len)
{
	struct engine_vm *vm = ctx;

	engine_vm_enter(vm);
	vm->events->console(vm->ctx, data, len);
	engine_vm_leave(vm);
}

/* The command line as it was, for people and for a later adoption. */
static int save_argv(int dirfd, const struct qemu_args *a, struct err *e)
{
	AUTO(json) json_t *list = json_array();
	AUTO(free) char *text = NULL;

	for (size_t i = 0; list && i < a->argc; i++)
		(void)json_array_append_new(list, json_string(a->argv[i]));
	text = list ? json_to_text(list) : NULL;
	if (!text)
		return err_sys(e, ENOMEM, "QEMU command line");
	return file_replace_volatile(dirfd, "qemu.argv", text, strlen(text),
				     0600, e);
}

static int listen_all(int dirfd, int fds[3], struct err *e)
{
	static const char *const names[3] = { "qmp.sock", "serial.sock",
					      "agent.sock" };

	for (size_t i = 0; i < 3; i++) {
		int rc = sock_listen_unix(dirfd, names[i], 0600, &fds[i], e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static void unlink_stale(int dirfd)
{
	static const char *const names[STALE_FILE_COUNT] = { "qmp.log",
							     "qemu.log",
							     "passt.log" };

	for (size_t i = 0; i < STALE_FILE_COUNT; i++)
		(void)unlinkat(dirfd, names[i], 0);
}

/* What QEMU opens by path: it must be able to read it as whoever it becomes. The
 * directories above it let nobody else in. */
static int open_boot_file(const char *path, int *ret_fd, struct err *e)
{
	struct stat st;

	if (!path)
		return 0;
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (*ret_fd < 0 || fstat(*ret_fd, &st) < 0)
		return err_sys(e, errno, "cannot open %s", path);
	if (!(st.st_mode & S_IROTH) &&
	    fchmod(*ret_fd, (st.st_mode & 07777) | 0444) < 0)
		return err_sys(e, errno, "making %s readable for QEMU", path);
	return 0;
}

/* Descriptors by their number in QEMU; -1: none. */
struct qemu_fds {
	int fd[QEMU_FD_COUNT], kernel, initrd;
};

static int open_fds(struct qemu_vm *q, const struct vm_launch *launch,
		    struct qemu_fds *f, struct err *e)
{
	int dirfd = q->base.dirfd;
	int rc = engine_log_open(dirfd, "qemu.log", &f->fd[1], e);

	if (rc == 0)
		rc = engine_log_open(dirfd, "qmp.log", &f->fd[QEMU_FD_QMP_LOG],
				     e);
	if (rc == 0)
		rc = engine_log_open(dirfd, "console.log",
				     &f->fd[QEMU_FD_CONSOLE_LOG], e);
	if (rc == 0 && launch->root_path) {
		f->fd[QEMU_FD_DISK] =
			open(launch->root_path, O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (f->fd[QEMU_FD_DISK] < 0)
			rc = err_sys(e, errno, "cannot open %s",
				     launch->root_path);
	}
	if (rc == 0 && launch->jailed)
		rc = open_boot_file(launch->kernel_path, &f->kernel, e);
	if (rc == 0 && launch->jailed)
		rc = open_boot_file(launch->initrd_path, &f->initrd, e);
	return rc;
}

static int spawn_with(struct qemu_vm *q, const struct qemu_args *args,
		      const struct qemu_fds *f, struct err *e)
{
	const struct vm_launch *launch = args->launch;
	struct process_fd fds[QEMU_FD_COUNT + 1] = { { f->fd[1], 2 } };
	struct privops_program program = { .role = PRIV_ROLE_QEMU,
					   .argv = args->argv,
					   .fds = fds,
					   .fd_count = 1,
					   .boot_fds = { f->kernel, f->initrd },
					   .kvm = args->kvm };
	int rc;

	for (int i = 1; i < QEMU_FD_COUNT; i++)
		if (f->fd[i] >= 0)
			fds[program.fd_count++] =
				(struct process_fd){ f->fd[i], i };
	if (launch->jailed)
		program.boot_count = launch->initrd_path ? 2 : 1;
	rc = privops_spawn(&program, launch, &q->base.main, e);
	return rc < 0 ? err_wrap(e, rc, "cannot start QEMU") : 0;
}

/* Starts QEMU with its descriptors; net_fd is -1 without a network. */
static int spawn_qemu(struct qemu_vm *q, const struct qemu_args *args,
		      const int listening[3], int net_fd, struct err *e)
{
	struct qemu_fds f = { .kernel = -1, .initrd = -1 };
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(f.fd); i++)
		f.fd[i] = -1;
	rc = open_fds(q, args->launch, &f, e);
	/* The caller's, from here to QEMU_FD_NET. */
	for (int i = 0; i < 3; i++)
		f.fd[QEMU_FD_QMP + i] = listening[i];
	f.fd[QEMU_FD_NET] = net_fd;
	if (rc == 0)
		rc = spawn_with(q, args, &f, e);
	close_fd(&f.fd[1]);
	for (size_t i = QEMU_FD_NET + 1; i < ARRAY_LEN(f.fd); i++)
		close_fd(&f.fd[i]);
	close_fd(&f.kernel);
	close_fd(&f.initrd);
	return rc;
}

/* After this QEMU runs (paused); what fails later is told by ended(). */
static int launch_qemu(struct qemu_vm *q, const struct vm_launch *launch,
		       struct err *e)
{
	struct qemu_args args = { .launch = launch,
				  .program = host_qemu()->path,
				  .kvm = q->kvm };
	int listening[3] = { -1, -1, -1 };
	AUTO(fd) int net_fd = -1;
	int rc;

	unlink_stale(q->base.dirfd);
	rc = listen_all(q->base.dirfd, listening, e);
	/* Connected before QEMU exists: however soon it dies, we hear of it. */
	if (rc == 0)
		rc = qemu_control_open(q, e);
	if (rc == 0 && launch->network)
		rc = sock_listen_unix(q->base.dirfd, PASST_SOCKET, 0600,
				      &net_fd, e);
	if (rc == 0)
		rc = qemu_args_build(&args, e);
	if (rc == 0) {
		rc = save_argv(q->base.dirfd, &args, e);
		if (rc == 0)
			rc = spawn_qemu(q, &args, listening, net_fd, e);
		qemu_args_done(&args);
	}
	for (size_t i = 0; i < 3; i++)
		close_fd(&listening[i]);
	return rc;
}

/* QEMU exists: connect everything. An error here fails the VM. */
static int connect_all(struct qemu_vm *q, const struct vm_launch *launch,
		       struct err *e)
{
	struct engine_vm *vm = &q->base;
	int rc = 0;

	if (launch->network)
		rc = engine_vm_start_passt(vm, launch, e);
	console_link_open(&vm->console, vm->loop, vm->dirfd, true, console_data,
			  vm);
	engine_vm_agent_soon(vm, 0);
	return rc;
}

static struct qemu_vm *new_vm(struct loop *loop, const char *id, int run_dirfd,
			      const char *run_path,
			      const struct engine_events *events, void *ctx,
			      struct err *e)
{
	struct qemu_vm *q = calloc(1, sizeof(*q));

	if (!q) {
		(void)err_sys(e, ENOMEM, "VM %s", id);
		return NULL;
	}
	q->timeout_ms = qemu_timeout_ms * QEMU_EMULATED_FACTOR;
	/* Loop first: release needs it even after a failed init. */
	q->base.loop = loop;
	qemu_control_init(q);
	if (engine_vm_init(&q->base, loop, id, run_dirfd, run_path, &hooks,
			   events, ctx, e) < 0) {
		engine_vm_release(&q->base);
		return NULL;
	}
	return q;
}

static int qemu_start(struct loop *loop, const struct vm_launch *launch,
		      const struct engine_events *events, void *ctx,
		      struct engine_vm **ret, struct err *e)
{
	struct qemu_vm *q;
	struct err later = ERR_INIT, unwatched = ERR_INIT;
	int rc = qemu_can_run(launch, e);

	if (rc < 0)
		return rc;
	q = new_vm(loop, launch->id, launch->run_dirfd, launch->run_path,
		   events, ctx, e);
	if (!q)
		return -ENOMEM;
	q->kvm = host_kvm()->usable && !launch->emulate;
	if (q->kvm)
		q->timeout_ms = qemu_timeout_ms;
	rc = launch_qemu(q, launch, e);
	if (rc < 0) {
		engine_vm_release(&q->base);
		return rc;
	}
	engine_vm_announce(&q->base, "qemu", &q->base.main);
	rc = connect_all(q, launch, &later);
	if (engine_vm_watch(&q->base, &unwatched) < 0)
		engine_vm_abort(&q->base, &unwatched);
	else if (rc < 0)
		engine_vm_finish(&q->base, VM_END_FAILED, &later);
	*ret = &q->base;
	return 0;
}

static int qemu_adopt(struct loop *loop, const char *id, int run_dirfd,
		      const char *run_path, const struct vm_process *processes,
		      size_t process_count, const struct engine_events *events,
		      void *ctx, struct engine_vm **ret, enum vm_end *ret_end,
		      struct err *e)
{
	struct qemu_vm *q =
		new_vm(loop, id, run_dirfd, run_path, events, ctx, e);
	struct engine_vm *vm;
	int rc;

	if (!q)
		return -ENOMEM;
	vm = &q->base;
	q->adopted = true;
	engine_vm_adopt_passt(vm, processes, process_count);
	rc = engine_vm_adopt_process("qemu", processes, process_count,
				     &vm->main);
	if (rc < 0) {
		/* Its passt ends by itself; be sure. */
		(void)privops_signal(&vm->passt, SIGKILL);
		if (!qemu_logged_end(run_dirfd, ret_end, e)) {
			*ret_end = VM_END_FAILED;
			qemu_set_died(e, run_dirfd, NULL);
		}
		engine_vm_release(vm);
		return -ESRCH;
	}
	rc = engine_vm_watch(vm, e);
	if (rc < 0) {
		engine_vm_release(vm);
		return rc;
	}
	console_link_open(&vm->console, loop, vm->dirfd, true, console_data,
			  vm);
	q->port_opened = true;
	engine_vm_agent_soon(vm, 0);
	if (qemu_control_open(q, NULL) < 0)
		loop_timer_arm(&q->reconnect, QEMU_RECONNECT_MS);
	*ret = vm;
	return 0;
}

static int qemu_shutdown(struct engine_vm *vm, struct err *e)
{
	struct qemu_vm *q = qemu(vm);

	if (!q->qmp || !q->qmp_ready)
		return err_set(e, ERR_UNAVAILABLE, "qemu_hung", 0,
			       "QEMU's monitor does not answer: the power "
			       "button cannot be pressed");
	return qmp_execute(q->qmp, "system_powerdown", NULL, NULL, e);
}

static void qemu_resume(struct engine_vm *vm)
{
	struct qemu_vm *q = qemu(vm);

	/* What failed is tried again; if it fails again, the event comes again. */
	if (q->qmp && q->qmp_ready && !vm->decided)
		(void)qmp_execute(q->qmp, "cont", NULL, NULL, NULL);
}

const struct engine_ops engine_qemu = {
	.name = "qemu",
	.probe = qemu_probe,
	.can_run = qemu_can_run,
	.start = qemu_start,
	.adopt = qemu_adopt,
	.shutdown = qemu_shutdown,
	.resume = qemu_resume,
	.kill = engine_vm_kill,
	.console_write = engine_vm_console_write,
	.release = engine_vm_release,
	.agent_connect = engine_vm_agent_connect,
};

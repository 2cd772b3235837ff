/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/priv/privops.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/names.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sock.h"
#include "vmd/priv/client.h"
#include "vmd/priv/limits.h"
#include "vmd/priv/user.h"

/* One per process, like the privilege it stands for. */
static struct priv_client client = {
	.within = { .run_vms_fd = -1,
		    .api_dirfd = -1,
		    .uid_first = PRIV_UID_FIRST,
		    .cgroups = { .base_fd = -1, .fd = -1 } },
	.uid_first = PRIV_UID_FIRST,
	.run_dirfd = -1,
	.fd = -1,
};

void privops_within(int run_vms_fd, const char *image_program,
		    uint32_t uid_first)
{
	priv_server_done(&client.within);
	priv_server_init(&client.within);
	client.within.run_vms_fd = run_vms_fd;
	client.within.programs[PRIV_ROLE_IMAGE] = image_program;
	client.within.programs[PRIV_ROLE_SWEEP] = image_program;
	client.within.uid_first = client.uid_first = uid_first;
	client.remote = false;
}

void privops_cgroups_open(void)
{
	if (client.remote)
		return;
	priv_cgroups_open(&client.within.cgroups, client.within.run_vms_fd);
	priv_cgroups_tell(&client.within.cgroups, &client.welcome);
}

void privops_cgroups_close(void)
{
	priv_cgroups_close(&client.within.cgroups);
}

bool privops_cgroups(const char **ret_text, const char **ret_fix)
{
	*ret_text = client.welcome.u.hello.cgroup_text;
	*ret_fix = client.welcome.u.hello.cgroup_fix;
	return client.welcome.u.hello.cgroup_limits;
}

int privops_join(int run_dirfd, const struct priv_hello *hello, struct err *e)
{
	client.run_dirfd = run_dirfd;
	client.hello = *hello;
	client.remote = true;
	return priv_client_join(&client, e);
}

int privops_process(struct process *ret)
{
	uint64_t start_time = 0;
	uid_t uid;
	gid_t gid;
	pid_t pid;
	int rc = client.fd < 0 ? -ENOTCONN
			       : sock_peer(client.fd, &uid, &gid, &pid);

	if (rc == 0)
		rc = process_start_time(pid, &start_time);
	return rc < 0 ? rc : process_adopt(pid, start_time, ret, NULL);
}

uint32_t privops_uid_first(void)
{
	return client.uid_first;
}

/* An operation without a result. */
static int simple(struct priv_request *r, size_t size, struct err *e)
{
	struct priv_reply reply;

	return priv_client_call(&client, r, size, NULL, 0, NULL, 0, &reply,
				NULL, e);
}

void privops_quit(void)
{
	struct priv_request r = { .head.op = PRIV_QUIT };
	struct pollfd pfd = { .events = POLLIN };

	if (!client.remote || client.fd < 0 || simple(&r, 0, NULL) < 0)
		return;
	/* Its end of the socket closes when it has gone. */
	pfd.fd = client.fd;
	(void)poll(&pfd, 1, 2000);
	close_fd(&client.fd);
}

/* The strings after the program's name, as they follow the request. */
static int pack_args(struct priv_spawn *s, const char *const *argv, char *args,
		     struct err *e)
{
	size_t used = 0;

	for (s->argc = 1; argv[s->argc]; s->argc++) {
		size_t len = strlen(argv[s->argc]) + 1;

		if (len > PRIV_ARG_BYTES_MAX - used || s->argc == PRIV_ARGS_MAX)
			return err_set(e, ERR_LIMIT, "too_many_arguments",
				       E2BIG,
				       "%s would get more than %d arguments "
				       "or %d bytes of them",
				       argv[0], PRIV_ARGS_MAX,
				       PRIV_ARG_BYTES_MAX);
		memcpy(args + used, argv[s->argc], len);
		used += len;
	}
	s->arg_bytes = (uint32_t)used;
	return 0;
}

/* before: descriptors that do not go to the program itself, `n` of them. */
static int spawn(struct priv_request *r, const struct privops_program *p,
		 int before[PRIV_ALL_FDS_MAX], size_t n, struct process *ret,
		 struct err *e)
{
	static char args[PRIV_ARG_BYTES_MAX]; /* one thread */
	struct priv_spawn *s = &r->u.spawn;
	struct priv_reply reply;
	int rc = pack_args(s, p->argv, args, e);

	if (rc < 0)
		return rc;
	assert(p->fd_count <= PRIV_FDS_MAX);
	r->head.op = PRIV_SPAWN;
	s->role = (uint32_t)p->role;
	s->fd_count = (uint32_t)p->fd_count;
	for (size_t i = 0; i < p->fd_count; i++) {
		before[n++] = p->fds[i].from;
		s->targets[i] = p->fds[i].to;
	}
	rc = priv_client_call(&client, r, sizeof(*s), args, s->arg_bytes,
			      before, n, &reply, &ret->pidfd, e);
	if (rc < 0)
		return rc;
	ret->pid = reply.u.spawn.pid;
	ret->start_time = reply.u.spawn.start_time;
	return 0;
}

static void take_limits(struct priv_spawn *s, const struct privops_program *p,
			const struct vm_launch *launch)
{
	struct cgroup_limits l;

	limits_of(launch, p->role, p->kvm, &l);
	s->memory_max = l.memory_max;
	s->memory_high = l.memory_high;
	s->swap_max = l.swap_max;
	s->pids_max = l.pids_max;
	s->cpu_percent = l.cpu_percent;
}

int privops_spawn(const struct privops_program *p,
		  const struct vm_launch *launch, struct process *ret,
		  struct err *e)
{
	struct priv_request
		r = { .u.spawn = {
			      .boot_count = (uint32_t)p->boot_count,
			      .slot = launch->uid_slot,
			      .flags = (p->kvm ? PRIV_SPAWN_KVM : 0) |
				       (launch->jailed ? PRIV_SPAWN_JAIL : 0),
		      } };
	int fds[PRIV_ALL_FDS_MAX] = { launch->run_dirfd };

	assert(p->boot_count <= PRIV_BOOT_MAX);
	if (p->role == PRIV_ROLE_MONITOR || p->role == PRIV_ROLE_QEMU)
		take_limits(&r.u.spawn, p, launch);
	(void)snprintf(r.u.spawn.id, sizeof(r.u.spawn.id), "%s", launch->id);
	for (size_t i = 0; i < p->boot_count; i++)
		fds[1 + i] = p->boot_fds[i];
	return spawn(&r, p, fds, 1 + p->boot_count, ret, e);
}

int privops_task_spawn(const char *op_id, const char *const *argv,
		       int stdout_fd, int stderr_fd, struct process *ret,
		       struct err *e)
{
	const struct process_fd fds[] = { { stdout_fd, 1 }, { stderr_fd, 2 } };
	const struct privops_program p = {
		.role = op_id[0] ? PRIV_ROLE_IMAGE : PRIV_ROLE_SWEEP,
		.argv = argv,
		.fds = fds,
		.fd_count = ARRAY_LEN(fds),
	};
	struct priv_request r = { 0 };
	int all[PRIV_ALL_FDS_MAX];

	(void)snprintf(r.u.spawn.id, sizeof(r.u.spawn.id), "%s", op_id);
	return spawn(&r, &p, all, 0, ret, e);
}

int privops_cgroup_end(const char *vm_id, struct privops_cgroup_end *ret,
		       struct err *e)
{
	struct priv_request r = { .head.op = PRIV_CGROUP_END };
	struct priv_reply reply;
	int rc;

	(void)snprintf(r.u.cgroup_end.id, sizeof(r.u.cgroup_end.id), "%s",
		       vm_id);
	rc = priv_client_call(&client, &r, sizeof(r.u.cgroup_end), NULL, 0,
			      NULL, 0, &reply, NULL, e);
	*ret = (struct privops_cgroup_end){ .gone = false };
	if (rc < 0)
		return rc;
	ret->gone = reply.u.cgroup_end.gone;
	ret->oom.limit = reply.u.cgroup_end.oom_limit;
	ret->oom.killed = reply.u.cgroup_end.oom_killed;
	return 0;
}

void privops_cgroups_sweep(void)
{
	struct priv_request r = { .head.op = PRIV_CGROUP_SWEEP };
	struct err e = ERR_INIT;

	if (simple(&r, 0, &e) < 0)
		log_warn("looking for cgroups of no VM: %s", e.msg);
}

void privops_task_end(const char *op_id)
{
	struct priv_request r = { .head.op = PRIV_TASK_END };
	struct err e = ERR_INIT;

	(void)snprintf(r.u.task_end.id, sizeof(r.u.task_end.id), "%s", op_id);
	if (simple(&r, sizeof(r.u.task_end), &e) < 0)
		log_warn("ending operation %s: %s", op_id, e.msg);
}

static int signal_by(pid_t pid, uint64_t start_time, int sig, bool group,
		     bool forget)
{
	struct priv_request r = {
		.head.op = PRIV_SIGNAL,
		.u.signal = { .start_time = start_time,
			      .pid = pid,
			      .signal = sig,
			      .group = group,
			      .forget = forget },
	};
	struct err e = ERR_INIT;
	int rc = simple(&r, sizeof(r.u.signal), &e);

	if (rc < 0 && rc != -ESRCH)
		log_warn("ending process %d: %s", (int)pid, e.msg);
	return rc;
}

int privops_signal(const struct process *p, int sig)
{
	/* A test of engines may have processes of its own. */
	if (!client.remote)
		return process_signal(p, sig);
	return p->pidfd < 0
		       ? -ESRCH
		       : signal_by(p->pid, p->start_time, sig, false, false);
}

int privops_signal_group(const struct process *p, int sig)
{
	if (!client.remote)
		return process_signal_group(p, sig);
	return p->pidfd < 0
		       ? -ESRCH
		       : signal_by(p->pid, p->start_time, sig, true, false);
}

bool privops_reap(struct process *p, struct process_exit *ret)
{
	struct priv_request r = {
		.head.op = PRIV_REAP,
		.u.reap = { .start_time = p->start_time, .pid = p->pid },
	};
	struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };
	struct priv_reply reply;

	if (!client.remote)
		return process_reap(p, ret);
	*ret = (struct process_exit){ .known = false };
	if (p->pidfd < 0)
		return true;
	if (poll(&pfd, 1, 0) <= 0)
		return false;
	/* It has ended, whether or not somebody can tell how. */
	if (priv_client_call(&client, &r, sizeof(r.u.reap), NULL, 0, NULL, 0,
			     &reply, NULL, NULL) == 0 &&
	    reply.u.reap.ended && reply.u.reap.known)
		*ret = (struct process_exit){ .known = true,
					      .status = reply.u.reap.status,
					      .signal = reply.u.reap.signal };
	return true;
}

int privops_process_end(pid_t pid, uint64_t start_time)
{
	return signal_by(pid, start_time, SIGKILL, false, true);
}

void privops_strays_end(bool (*known)(void *ctx, const char *vm_id, pid_t pid),
			void *ctx)
{
	struct priv_request r = { .head.op = PRIV_STRAYS };
	struct err e = ERR_INIT;
	struct priv_reply reply;

	do {
		if (priv_client_call(&client, &r, sizeof(r.u.strays), NULL, 0,
				     NULL, 0, &reply, NULL, &e) < 0) {
			log_warn("looking for processes of no VM: %s", e.msg);
			return;
		}
		if (reply.u.strays.count > PRIV_STRAYS_MAX)
			return;
		for (uint32_t i = 0; i < reply.u.strays.count; i++) {
			struct priv_stray *s = &reply.u.strays.list[i];

			r.u.strays.after = s->pid;
			s->id[PRIV_ID_SIZE - 1] = '\0';
			if (known(ctx, s->id, s->pid))
				continue;
			log_info("ending process %d: VM %s does not know it",
				 s->pid, s->id);
			(void)privops_process_end(s->pid, s->start_time);
		}
	} while (reply.u.strays.count == PRIV_STRAYS_MAX);
}

int privops_vm_dir_open(int parent_fd, const char *vm_id, int *ret_fd,
			struct err *e)
{
	int fd;

	if (!api_id_ok(vm_id))
		return err_set(e, ERR_INVALID, "bad_id", EINVAL,
			       "'%s' is not the id of a VM", vm_id);
	if (mkdirat(parent_fd, vm_id, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "making the directory of VM %s",
			       vm_id);
	fd = openat(parent_fd, vm_id,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "opening the directory of VM %s",
			       vm_id);
	*ret_fd = fd;
	return 0;
}

int privops_vm_dir_rename(int parent_fd, const char *name, int to_fd,
			  const char *to_name)
{
	return renameat(parent_fd, name, to_fd, to_name) < 0 ? -errno : 0;
}

int privops_port_bind(const struct port_spec *spec, int *ret_fd, struct err *e)
{
	struct priv_request r = { .head.op = PRIV_PORT_BIND,
				  .u.port = { .port = spec->host_port,
					      .udp = spec->udp } };
	struct priv_reply reply;
	struct err first = ERR_INIT;
	int rc = port_bind(spec, ret_fd, &first);

	r.u.port.ipv6 = strchr(spec->host_address, ':') != NULL;
	if (rc < 0 && (!client.remote || first.kind != ERR_PERMISSION ||
		       inet_pton(r.u.port.ipv6 ? AF_INET6 : AF_INET,
				 spec->host_address, r.u.port.address) != 1)) {
		if (e)
			*e = first;
		return rc;
	}
	return rc == 0 ? 0
		       : priv_client_call(&client, &r, sizeof(r.u.port), NULL,
					  0, NULL, 0, &reply, ret_fd, e);
}

int privops_kvm_open(int *ret_fd, struct err *e)
{
	struct priv_request r = { .head.op = PRIV_KVM_OPEN };
	struct priv_reply reply;
	int rc;

	*ret_fd = -1;
	rc = priv_client_call(&client, &r, 0, NULL, 0, NULL, 0, &reply, ret_fd,
			      e);
	if (rc == 0 && *ret_fd < 0)
		rc = err_set(e, ERR_PROTOCOL, "bad_reply", EPROTO,
			     "vmd-priv opened no /dev/kvm");
	return rc;
}

int privops_api_socket(int *ret_fd, struct err *e)
{
	struct priv_request r = { .head.op = PRIV_API_SOCKET };
	struct priv_reply reply;

	return priv_client_call(&client, &r, 0, NULL, 0, NULL, 0, &reply,
				ret_fd, e);
}

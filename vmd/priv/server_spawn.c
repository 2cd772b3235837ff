/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting one of the programs of the closed list. Which program and which jail
 * follow from its role, whom it becomes from an index into the range, where its
 * files lie from descriptors: what vmd cannot open itself, no VM gets.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/priv/jails.h"
#include "vmd/priv/mark.h"
#include "vmd/priv/server_internal.h"

static const struct role {
	const char *program;
	bool of_vm; /* its run directory comes first */
	bool founds; /* the VM's cgroup; others of a VM join it */
	enum jail_kind jail; /* of a VM's */
	uint32_t boot_max;
	int room; /* bytes its sockets may hold; 0: the system's limit */
} roles[PRIV_ROLE_COUNT] = {
	[PRIV_ROLE_MONITOR] = { "vmd-monitor", true, true, JAIL_MONITOR, 0, 0 },
	[PRIV_ROLE_QEMU] = { "qemu-system-x86_64", true, true, JAIL_QEMU,
			     PRIV_BOOT_MAX, 0 },
	[PRIV_ROLE_PASST] = { "passt", true, false, JAIL_PASST, 0,
			      PRIV_PASST_ROOM },
	[PRIV_ROLE_IMAGE] = { "vmd-image", false, false, JAIL_KINDS, 0, 0 },
	[PRIV_ROLE_SWEEP] = { "vmd-image", false, false, JAIL_KINDS, 0, 0 },
};

struct spawn {
	const struct role *role;
	char id[ID_LEN + 1];
	char run_path[PATH_MAX]; /* of the VM */
	const char *argv[PRIV_ARGS_MAX + 1];
	struct process_fd fds[PRIV_FDS_MAX];
	size_t fd_count;
	char boot_paths[PRIV_BOOT_MAX][PATH_MAX];
	struct jail_bind binds[PRIV_BOOT_MAX];
	struct jail_spec jail;
	struct process_identity identity;
	struct cgroup_limits limits;
	int cgroup_fd; /* 0: none */
};

static int refuse(struct err *e, const char *what)
{
	return err_set(e, ERR_PROTOCOL, "bad_request", EPROTO,
		       "vmd-priv refuses to start a program: %s", what);
}

/* Looked for each time: an upgrade may have replaced it. */
static char *program_of(struct priv_server *s, uint32_t role)
{
	if (s->programs[role])
		return strdup(s->programs[role]);
	return process_find_program(roles[role].program);
}

/* Strings of the caller's bytes: as many as it says, and nothing after them. */
static int take_args(struct priv_call *c, struct spawn *sp, struct err *e)
{
	const struct priv_spawn *r = &c->request.u.spawn;
	const char *at = c->args, *end = c->args + c->arg_bytes;

	if (r->argc < 1 || r->argc > PRIV_ARGS_MAX)
		return refuse(e, "number of arguments");
	if (r->arg_bytes != c->arg_bytes || r->arg_bytes > PRIV_ARG_BYTES_MAX)
		return refuse(e, "length of the arguments");
	for (uint32_t i = 1; i < r->argc; i++) {
		const char *nul =
			at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;

		if (!nul)
			return refuse(e, "an argument without an end");
		sp->argv[i] = at;
		at = nul + 1;
	}
	return at == end ? 0 : refuse(e, "bytes after the last argument");
}

static int take_fds(struct priv_call *c, struct spawn *sp, struct err *e)
{
	const struct priv_spawn *r = &c->request.u.spawn;
	size_t before = r->boot_count + (sp->role->of_vm ? 1 : 0);
	bool used[PRIV_TARGET_MAX] = { false };

	if (r->boot_count > sp->role->boot_max || r->fd_count > PRIV_FDS_MAX ||
	    c->fd_count != r->fd_count + before)
		return refuse(e, "number of descriptors");
	for (size_t i = 0; i < r->fd_count; i++) {
		int32_t to = r->targets[i];

		if (to < 0 || to >= PRIV_TARGET_MAX || used[to])
			return refuse(e, "number of a descriptor");
		used[to] = true;
		sp->fds[i].from = c->fds[i + before];
		sp->fds[i].to = to;
		/* Beyond the system's limit; on what is no socket, nothing. */
		if (sp->role->room)
			(void)setsockopt(sp->fds[i].from, SOL_SOCKET,
					 SO_SNDBUFFORCE, &sp->role->room,
					 sizeof(sp->role->room));
	}
	sp->fd_count = r->fd_count;
	return 0;
}

/* The VM's directory: where it is found is written into the environment. */
static int take_run_dir(struct priv_call *c, struct spawn *sp, struct err *e)
{
	struct priv_server *s = c->server;
	struct stat given, real;
	char dir[PATH_MAX];

	if (fstat(c->fds[0], &given) < 0 || !S_ISDIR(given.st_mode) ||
	    !priv_path_of(c->fds[0], sp->run_path))
		return refuse(e, "the run directory is none");
	if (s->run_vms_fd < 0)
		return 0;
	if (fstatat(s->run_vms_fd, sp->id, &real, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "the run directory of VM %s", sp->id);
	if (given.st_dev != real.st_dev || given.st_ino != real.st_ino)
		return refuse(e, "the run directory is not that of the VM");
	/* As we look for it later, wherever vmd sees it. */
	if (!priv_path_of(s->run_vms_fd, dir) ||
	    (size_t)snprintf(sp->run_path, sizeof(sp->run_path), "%s/%s", dir,
			     sp->id) >= sizeof(sp->run_path))
		return refuse(e, "the run directory has no path");
	return 0;
}

/* True unless it is an ELF file without an interpreter. */
static bool is_dynamic(const char *path)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	Elf64_Ehdr head;
	Elf64_Phdr part;

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		return true;
	for (unsigned i = 0; i < head.e_phnum; i++) {
		off_t at = (off_t)(head.e_phoff + i * sizeof(part));

		if (pread(fd, &part, sizeof(part), at) != sizeof(part) ||
		    part.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/* Its root: the row of its kind, and the files that came as descriptors, by the
 * paths that the kernel knows of them. */
static int take_jail(struct priv_call *c, struct spawn *sp, struct err *e)
{
	static const char *const targets[PRIV_BOOT_MAX] = { &JAIL_KERNEL[1],
							    &JAIL_INITRD[1] };
	const struct priv_spawn *r = &c->request.u.spawn;

	jail_of(sp->role->jail, sp->id, c->server->uid_first + r->slot,
		&sp->jail);
	for (uint32_t i = 0; i < r->boot_count; i++) {
		struct stat st;
		int fd = c->fds[1 + i];

		if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		    !priv_path_of(fd, sp->boot_paths[i]))
			return refuse(e, "a file for its root is none");
		sp->binds[i] = (struct jail_bind){ .source = sp->boot_paths[i],
						   .target = targets[i],
						   .fd = fd };
	}
	if (r->boot_count) {
		sp->jail.binds = sp->binds;
		sp->jail.bind_count = r->boot_count;
	}
	if (r->flags & PRIV_SPAWN_KVM)
		sp->jail.devices |= JAIL_DEV_KVM;
	if (sp->role->jail == JAIL_MONITOR)
		sp->jail.libraries = is_dynamic(sp->argv[0]);
	return 0;
}

/* Whom a program becomes that has no jail: vmd's user, who is root in a namespace
 * of its own for image builds. */
static void set_identity(struct priv_server *s, uint32_t flags,
			 struct spawn *sp)
{
	struct stat st;

	sp->identity.uid = s->user;
	sp->identity.gid = s->group;
	/* Without a node of its own QEMU uses the host's, by its group. */
	if ((flags & PRIV_SPAWN_KVM) && stat("/dev/kvm", &st) == 0 &&
	    (st.st_mode & 0060) == 0060 && st.st_gid)
		sp->identity.groups[sp->identity.group_count++] = st.st_gid;
	if (!sp->role->of_vm && !s->no_namespace) {
		sp->identity.sub_first = s->uid_first + PRIV_SLOTS;
		sp->identity.sub_count = PRIV_SLOTS - 1;
	}
}

/* The limits of a VM that starts; a program that joins it has none of its own. */
static int take_limits(const struct priv_spawn *r, struct spawn *sp,
		       struct err *e)
{
	sp->limits = (struct cgroup_limits){ .memory_max = r->memory_max,
					     .memory_high = r->memory_high,
					     .swap_max = r->swap_max,
					     .pids_max = r->pids_max,
					     .cpu_percent = r->cpu_percent };
	if (sp->role->founds
		    ? r->memory_max < PRIV_MEMORY_MIN ||
			      r->memory_max > INT64_MAX ||
			      r->memory_high < PRIV_MEMORY_MIN ||
			      r->memory_high > r->memory_max ||
			      r->swap_max > INT64_MAX || r->pids_max < 1 ||
			      r->pids_max > PRIV_PIDS_MAX ||
			      r->cpu_percent < 1 ||
			      r->cpu_percent > PRIV_CPU_PERCENT_MAX
		    : r->memory_max || r->memory_high || r->swap_max ||
			      r->pids_max || r->cpu_percent)
		return refuse(e, "limits");
	return 0;
}

static int start(struct priv_server *s, struct spawn *sp, bool jailed,
		 struct process *ret, struct err *e)
{
	bool image = !sp->role->of_vm, sweep = image && !sp->id[0];
	AUTO(free) const char **marked = NULL;
	struct jail_environment environment;
	char text[PRIV_MARK_SIZE];
	struct process_spec spec = {
		.argv = sp->argv,
		.fds = sp->fds,
		.fd_count = sp->fd_count,
		.cwd = image ? NULL : sp->run_path,
		.jail = jailed ? &sp->jail : NULL,
		.identity = s->user && !jailed ? &sp->identity : NULL,
		.new_session = !image,
		.new_group = image,
		.die_with_parent = sweep,
		.cgroup_fd = sp->cgroup_fd,
	};
	int rc;

	if (!image)
		spec.envp = jail_environment(sp->run_path, &environment);
	else if (!sweep)
		spec.envp = marked = priv_environ_with(priv_mark(text, sp->id));
	if (image && !sweep && !marked)
		return err_sys(e, ENOMEM, "starting %s", sp->argv[0]);
	rc = process_spawn(&spec, ret, e);
	/* Without its namespace a build cannot be root of its own files; what
	 * needs no such thing still works. */
	if (rc < 0 && spec.identity && sp->identity.sub_count &&
	    (rc == -EPERM || rc == -ENOSPC || rc == -EUSERS || rc == -EINVAL)) {
		log_warn("no user namespaces for image builds: %s",
			 strerror(-rc));
		s->no_namespace = true;
		sp->identity.sub_count = 0;
		if (e)
			err_clear(e);
		rc = process_spawn(&spec, ret, e);
	}
	return rc;
}

static int take_ids(const struct priv_spawn *r, struct spawn *sp, struct err *e)
{
	static const char none[PRIV_ID_SIZE];

	if (r->role >= PRIV_ROLE_COUNT)
		return refuse(e, "role");
	sp->role = &roles[r->role];
	if (r->role == PRIV_ROLE_SWEEP ? memcmp(r->id, none, sizeof(none)) != 0
				       : !priv_id_take(r->id, sp->id))
		return refuse(e, "id");
	if (r->flags & ~(uint32_t)(PRIV_SPAWN_KVM | PRIV_SPAWN_JAIL))
		return refuse(e, "flags");
	if (sp->role->of_vm ? r->slot < 1 || r->slot > PRIV_SLOT_LAST
			    : r->slot != 0)
		return refuse(e, "user");
	return 0;
}

int priv_do_spawn(struct priv_call *c, struct err *e)
{
	const struct priv_spawn *r = &c->request.u.spawn;
	struct priv_server *s = c->server;
	AUTO(free) char *program = NULL;
	struct process p = PROCESS_INIT;
	struct spawn sp = { 0 };
	bool jailed;
	int rc = take_ids(r, &sp, e);

	if (rc < 0)
		return rc;
	jailed = sp.role->of_vm &&
		 (s->loop ? !s->no_jail : r->flags & PRIV_SPAWN_JAIL);
	program = program_of(s, r->role);
	if (!program)
		return err_set(e, ERR_UNAVAILABLE, "program_missing", ENOENT,
			       "the program %s is not installed",
			       sp.role->program);
	sp.argv[0] = program;
	rc = take_args(c, &sp, e);
	if (rc == 0)
		rc = take_fds(c, &sp, e);
	if (rc == 0)
		rc = take_limits(r, &sp, e);
	if (rc == 0 && sp.role->of_vm)
		rc = take_run_dir(c, &sp, e);
	if (rc == 0 && jailed)
		rc = take_jail(c, &sp, e);
	if (rc < 0)
		return rc;
	set_identity(s, r->flags, &sp);
	if (sp.role->of_vm)
		rc = priv_cgroups_enter(&s->cgroups, sp.id,
					sp.role->founds ? &sp.limits : NULL,
					&sp.cgroup_fd, e);
	if (rc == 0)
		rc = start(s, &sp, jailed, &p, e);
	if (sp.cgroup_fd)
		(void)close(sp.cgroup_fd);
	if (rc == 0)
		rc = priv_child_add(c, r->role, sp.id, &p, e);
	if (rc < 0)
		return rc;
	c->reply->u.spawn.pid = p.pid;
	c->reply->u.spawn.start_time = p.start_time;
	*c->ret_fd = p.pidfd;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/privops.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "vmd/id.h"
#include "vmd/jails.h"

/* Image builds need most file capabilities; these nobody here needs. */
static const unsigned unwanted[] = {
	CAP_SYS_MODULE,	  CAP_SYS_RAWIO,       CAP_SYS_BOOT,
	CAP_SYS_TIME,	  CAP_SYS_PACCT,       CAP_MAC_ADMIN,
	CAP_MAC_OVERRIDE, CAP_SYSLOG,	       CAP_AUDIT_CONTROL,
	CAP_WAKE_ALARM,	  CAP_LINUX_IMMUTABLE, CAP_SYS_TTY_CONFIG,
};

int privops_init(struct err *e)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return err_sys(e, errno, "reading the limit of open files");
	/* Enough for thousands of VMs; children inherit it, and some close every
	 * descriptor up to the limit one by one. */
	limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return err_sys(e, errno, "raising the limit of open files");
	if (geteuid() != 0)
		return 0;
	if (capng_get_caps_process() < 0)
		return err_set(e, ERR_INTERNAL, "capabilities_failed", 0,
			       "cannot read the capabilities of this process");
	for (size_t i = 0; i < ARRAY_LEN(unwanted); i++)
		(void)capng_update(CAPNG_DROP,
				   CAPNG_EFFECTIVE | CAPNG_PERMITTED |
					   CAPNG_INHERITABLE |
					   CAPNG_BOUNDING_SET,
				   unwanted[i]);
	/* In a container some are not ours to drop: less was there already. */
	if (capng_apply(CAPNG_SELECT_BOTH) < 0)
		log_debug("not all unneeded capabilities could be dropped");
	return 0;
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

static const char **environ_with(const char *entry)
{
	size_t n = 0, kept = 0;
	const char **env;

	while (environ[n])
		n++;
	env = calloc(n + 2, sizeof(*env));
	if (!env)
		return NULL;
	/* First, where a bounded read of the environment finds it. */
	env[kept++] = entry;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], PRIVOPS_TASK_MARK,
			    strlen(PRIVOPS_TASK_MARK)) != 0)
			env[kept++] = environ[i];
	return env;
}

int privops_task_spawn(const char *op_id, const char *const *argv,
		       int stdout_fd, int stderr_fd, struct process *ret,
		       struct err *e)
{
	const struct process_fd fds[] = { { stdout_fd, 1 }, { stderr_fd, 2 } };
	char mark[sizeof(PRIVOPS_TASK_MARK) + ID_LEN];
	struct process_spec spec = {
		.argv = argv,
		.fds = fds,
		.fd_count = ARRAY_LEN(fds),
		.new_group = true,
	};
	const char **env;
	int rc;

	if (!op_id[0]) {
		spec.die_with_parent = true;
		return process_spawn(&spec, ret, e);
	}
	(void)snprintf(mark, sizeof(mark), PRIVOPS_TASK_MARK "%s", op_id);
	env = environ_with(mark);
	if (!env)
		return err_sys(e, ENOMEM, "starting %s", argv[0]);
	spec.envp = env;
	rc = process_spawn(&spec, ret, e);
	free(env);
	return rc;
}

/* The beginning of a process's environment, ended by a NUL. */
static bool read_environ(int proc_fd, const char *pid, char *env, size_t size)
{
	AUTO(fd) int fd = -1;
	char path[64];
	ssize_t len;

	(void)snprintf(path, sizeof(path), "%.20s/environ", pid);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, env, size - 1);
	if (len <= 0)
		return false;
	env[len] = '\0';
	return true;
}

void privops_task_end(const char *op_id)
{
	char mark[sizeof(PRIVOPS_TASK_MARK) + ID_LEN];

	(void)snprintf(mark, sizeof(mark), PRIVOPS_TASK_MARK "%s", op_id);
	(void)process_end_marked(mark, 0);
}

int privops_process_end(pid_t pid, uint64_t start_time)
{
	struct process p = PROCESS_INIT;
	int rc = process_adopt(pid, start_time, &p, NULL);

	if (rc == 0)
		rc = process_signal(&p, SIGKILL);
	process_close(&p);
	return rc;
}

static bool is_engine(const char *exe)
{
	const char *name = strrchr(exe, '/');

	name = name ? name + 1 : exe;
	return strncmp(name, "vmd-monitor", 11) == 0 ||
	       strncmp(name, "qemu-system-", 12) == 0 ||
	       strncmp(name, "passt", 5) == 0;
}

/* The link /proc/PID/what, "" when it cannot be read. */
static const char *proc_link(int proc_fd, const char *pid, const char *what,
			     char buf[static 4096])
{
	char path[48];
	ssize_t len;

	(void)snprintf(path, sizeof(path), "%.20s/%s", pid, what);
	len = readlinkat(proc_fd, path, buf, 4095);
	buf[len > 0 ? len : 0] = '\0';
	return buf;
}

void privops_strays_end(const char *run_dir,
			bool (*known)(void *ctx, const char *vm_id, pid_t pid),
			void *ctx)
{
	/* Its only variable, and the first: passt and jails change the rest. */
	char mark[4096 + sizeof(JAIL_MARK)], env[4096 + 64], exe[4096];
	size_t mark_len = (size_t)snprintf(mark, sizeof(mark),
					   JAIL_MARK "%s/vms/", run_dir);
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (!proc)
		return;
	while ((entry = readdir(proc))) {
		uint64_t pid, start;
		const char *id = env + mark_len;

		/* The time first: what is looked at then is what is ended. */
		if (parse_u64(entry->d_name, 2, INT32_MAX, "pid", &pid, NULL) <
			    0 ||
		    process_start_time((pid_t)pid, &start) < 0 ||
		    !read_environ(dirfd(proc), entry->d_name, env,
				  sizeof(env)) ||
		    strncmp(env, mark, mark_len) != 0)
			continue;
		if (!api_id_ok(id) || known(ctx, id, (pid_t)pid) ||
		    !is_engine(
			    proc_link(dirfd(proc), entry->d_name, "exe", exe)))
			continue;
		log_info("ending process %d: VM %s does not know it", (int)pid,
			 id);
		(void)privops_process_end((pid_t)pid, start);
	}
	(void)closedir(proc);
}

int privops_socket_group(const char *group, gid_t *ret_gid)
{
	struct group storage, *found = NULL;
	char buf[4096];

	if (getgrnam_r(group, &storage, buf, sizeof(buf), &found) != 0 ||
	    !found)
		return -ENOENT;
	*ret_gid = found->gr_gid;
	return 0;
}

int privops_socket_share(int dirfd, const char *name, gid_t gid, struct err *e)
{
	if (fchownat(dirfd, name, 0, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "giving the API socket to its group");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that are found by what they are: see mark.h, and PRIV_STRAYS. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "vmd/priv/jails.h"
#include "vmd/priv/mark.h"
#include "vmd/priv/server_internal.h"

const char *priv_mark(char buf[static PRIV_MARK_SIZE], const char *id)
{
	(void)snprintf(buf, PRIV_MARK_SIZE, PRIV_MARK "%s", id);
	return buf;
}

const char **priv_environ_with(const char *mark)
{
	size_t n = 0, kept = 0;
	const char **env;

	while (environ[n])
		n++;
	env = calloc(n + 2, sizeof(*env));
	if (!env)
		return NULL;
	env[kept++] = mark;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], PRIV_MARK, strlen(PRIV_MARK)) != 0)
			env[kept++] = environ[i];
	return env;
}

int priv_do_task_end(struct priv_call *c, struct err *e)
{
	const struct priv_task_end *r = &c->request.u.task_end;
	char id[ID_LEN + 1], mark[PRIV_MARK_SIZE];

	if (!priv_id_take(r->id, id))
		return err_set(e, ERR_PROTOCOL, "bad_request", EPROTO,
			       "vmd-priv refuses to end an operation: its id");
	(void)process_end_marked(priv_mark(mark, id), 0);
	return 0;
}

bool priv_path_of(int fd, char ret[static PATH_MAX])
{
	char link[32];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, ret, PATH_MAX - 1);
	ret[n > 0 ? n : 0] = '\0';
	return ret[0] == '/';
}

/* The mark is a process's only variable, or the first: passt changes the rest. */
bool priv_works_for(const struct priv_server *s, pid_t pid,
		    char ret_id[static ID_LEN + 1])
{
	char dir[PATH_MAX], mark[PATH_MAX + sizeof(JAIL_MARK) + 1];
	char env[sizeof(mark) + ID_LEN + 1], path[48];
	AUTO(fd) int fd = -1;
	size_t len;
	ssize_t n;

	if (s->run_vms_fd < 0 || !priv_path_of(s->run_vms_fd, dir))
		return false;
	len = (size_t)snprintf(mark, sizeof(mark), JAIL_MARK "%s/", dir);
	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, env, sizeof(env) - 1);
	if (n <= 0)
		return false;
	env[n] = '\0';
	if (strncmp(env, mark, len) != 0 || !api_id_ok(env + len))
		return false;
	memcpy(ret_id, env + len, ID_LEN + 1);
	return true;
}

/* Ours since its start, or found by where it works. */
static bool belongs(struct priv_server *s, pid_t pid, uint64_t start,
		    char ret_id[static ID_LEN + 1])
{
	struct priv_child *child = priv_child_find(s, pid, start);

	if (!child)
		return priv_works_for(s, pid, ret_id);
	memcpy(ret_id, child->id, ID_LEN + 1);
	return !child->ended && child->role <= PRIV_ROLE_PASST;
}

int priv_do_strays(struct priv_call *c, struct err *e)
{
	struct priv_reply *reply = c->reply;
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (!proc)
		return err_sys(e, errno, "looking for processes");
	/* In the order of their numbers: that is how the kernel lists them. */
	while (reply->u.strays.count < PRIV_STRAYS_MAX &&
	       (entry = readdir(proc))) {
		struct priv_stray *s =
			&reply->u.strays.list[reply->u.strays.count];
		uint64_t pid, start;
		char id[ID_LEN + 1];

		if (parse_u64(entry->d_name, 2, INT32_MAX, "pid", &pid, NULL) <
			    0 ||
		    (int64_t)pid <= c->request.u.strays.after ||
		    process_start_time((pid_t)pid, &start) < 0 ||
		    !belongs(c->server, (pid_t)pid, start, id))
			continue;
		memcpy(s->id, id, sizeof(id));
		s->pid = (int32_t)pid;
		s->start_time = start;
		reply->u.strays.count++;
	}
	(void)closedir(proc);
	return 0;
}

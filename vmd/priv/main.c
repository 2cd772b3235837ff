/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmd-priv: the part of vmd that is root. It makes sockets, run directories and
 * processes for the vmd that connects to priv.sock in the run directory, and tells
 * it how they ended. It knows nothing of VMs' states, of the API, of images. VMs
 * do not notice its end; it may be started again at any time, by systemd or, where a
 * vmd has started it, by its parent (keeper.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sock.h"
#include "vmd/options.h"
#include "vmd/priv/bounds.h"
#include "vmd/priv/identity.h"
#include "vmd/priv/keeper.h"
#include "vmd/priv/own.h"
#include "vmd/priv/server.h"
#include "vmd/priv/user.h"
#include "vmd/priv/wire.h"

enum {
	CLIENTS_MAX = 4, /* one vmd, and the next that finds it running */
	IDLE_MS = 60000
};

struct client {
	struct priv *priv;
	struct loop_source source;
	int fd;
};

struct priv {
	struct loop *loop;
	struct priv_server server;
	struct priv_dirs dirs;
	struct listener listener;
	struct loop_timer idle; /* nobody has been connected for a while */
	struct client clients[CLIENTS_MAX];
	const struct options *options;
	bool by_hand; /* a vmd started us: end when none has come for a while */
	uid_t user;
	int api_dirfd;
	char *api_name;
};

static size_t client_count(const struct priv *p)
{
	size_t n = 0;

	for (size_t i = 0; i < CLIENTS_MAX; i++)
		n += p->clients[i].fd >= 0;
	return n;
}

static void drop(struct client *c)
{
	struct priv *p = c->priv;

	loop_remove(&c->source);
	close_fd(&c->fd);
	priv_server_client_gone(&p->server, (int)(c - p->clients));
	if (!client_count(p) && p->by_hand)
		loop_timer_arm(&p->idle, IDLE_MS);
}

static void on_request(struct loop_source *source, uint32_t events)
{
	static char message[PRIV_REQUEST_MAX]; /* one thread */
	static struct priv_reply reply;
	struct client *c = source->data;
	struct priv *p = c->priv;
	int fds[PRIV_ALL_FDS_MAX], ret_fd = -1, rc;
	size_t fd_count = PRIV_ALL_FDS_MAX;
	ssize_t n = priv_recv(c->fd, message, sizeof(message), fds, &fd_count);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	p->server.client_count = client_count(p);
	priv_server_handle(&p->server, (int)(c - p->clients), message,
			   (size_t)n, fds, fd_count, &reply, &ret_fd);
	priv_close_all(fds, fd_count);
	rc = priv_send(c->fd, &reply, sizeof(reply), &ret_fd, ret_fd >= 0);
	close_fd(&ret_fd);
	if (p->server.quit)
		loop_stop(p->loop, 0);
	else if (rc < 0)
		drop(c);
}

static void on_connect(void *ctx, int fd)
{
	struct priv *p = ctx;
	uid_t uid;
	gid_t gid;
	pid_t pid;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &p->clients[i];

		if (c->fd >= 0)
			continue;
		if (sock_peer(fd, &uid, &gid, &pid) < 0 ||
		    (uid != 0 && uid != p->user)) {
			log_warn("user %u tried to connect: refused", uid);
			break;
		}
		if (loop_add(p->loop, &c->source, fd, EPOLLIN, on_request, c) <
		    0)
			break;
		c->fd = fd;
		loop_timer_disarm(&p->idle);
		return;
	}
	(void)close(fd);
}

static void on_idle(struct loop_timer *timer)
{
	struct priv *p = timer->data;

	log_info("no vmd has been connected for %d s: ending", IDLE_MS / 1000);
	loop_stop(p->loop, 0);
}

static void on_signal(const siginfo_t *info, void *data)
{
	log_info("signal %d: stopping; VMs keep running", info->si_signo);
	loop_stop(data, 0);
}

static int open_api_dir(struct priv *p, struct err *e)
{
	AUTO(free) char *dir = strdup(p->options->socket_path);
	AUTO(free) char *name = strdup(p->options->socket_path);

	if (!dir || !name || !(p->api_name = strdup(basename(name))))
		return err_sys(e, ENOMEM, "the API socket");
	p->api_dirfd = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p->api_dirfd < 0
		       ? err_sys(e, errno, "opening the directory of %s",
				 p->options->socket_path)
		       : 0;
}

static int reach_all(const struct options *o, const struct priv_user *u,
		     struct err *e)
{
	AUTO(free) char *image = process_find_program("vmd-image");
	AUTO(free) char *monitor = process_find_program("vmd-monitor");
	const char *paths[] = { o->state_dir, o->run_dir, image ? image : "/",
				monitor ? monitor : "/" };

	for (size_t i = 0; i < 4; i++) {
		int rc = priv_dir_reach(paths[i], u->uid, u->gid, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int prepare(struct priv *p, struct err *e)
{
	const struct options *o = p->options;
	struct priv_user user;
	int rc = priv_user_find(o->user, o->uid_first, &user, e), fd = -1;

	if (rc == 0)
		rc = priv_range_check(o->uid_first, e);
	if (rc == 0)
		rc = priv_dirs_open(&p->dirs, o->state_dir, o->run_dir,
				    user.uid, user.gid, e);
	if (rc == 0)
		rc = reach_all(o, &user, e);
	if (rc == 0)
		rc = open_api_dir(p, e);
	if (rc == 0)
		rc = priv_hello_fill(&p->server.hello, p->dirs.state_fd,
				     p->dirs.run_fd, p->api_dirfd, p->api_name,
				     e);
	if (rc == 0)
		rc = priv_listen(p->dirs.run_fd, PRIV_SOCKET, &fd, e);
	if (rc < 0)
		return rc;
	priv_cgroups_open(&p->server.cgroups, p->dirs.run_vms_fd);
	p->server.no_jail = o->no_jail;
	p->user = user.uid;
	p->server.loop = p->loop;
	p->server.run_vms_fd = p->dirs.run_vms_fd;
	p->server.user = user.uid;
	p->server.group = user.gid;
	p->server.uid_first = o->uid_first;
	p->server.api_dirfd = p->api_dirfd;
	p->server.api_name = p->api_name;
	p->server.api_path = o->socket_path;
	p->server.api_group = user.api_group;
	rc = listener_open(&p->listener, p->loop, fd, on_connect, p);
	if (rc < 0)
		return err_sys(e, -rc, "watching %s", PRIV_SOCKET);
	if (fchownat(p->dirs.run_fd, PRIV_SOCKET, user.uid, user.gid,
		     AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "giving %s to vmd", PRIV_SOCKET);
	return 0;
}

/* To systemd, or to the vmd that started us. */
static void tell_ready(int ready_fd)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = -1;
	size_t len = path ? strlen(path) : 0;

	if (ready_fd >= 0) {
		(void)!write(ready_fd, "1", 1);
		(void)close(ready_fd);
	}
	if (len < 2 || len >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, len);
	if (path[0] == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(
			fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&a,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				    len));
}

static int bound(struct err *e)
{
	struct rlimit limit;
	int rc;

	/* For the children: some close every descriptor up to the limit one by
	 * one. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur =
			limit.rlim_max < 65536 ? limit.rlim_max : 65536;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	rc = priv_bound_capabilities(e);
	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = err_sys(e, errno, "no_new_privs");
	return rc < 0 ? rc : priv_bound_calls(e);
}

static int run(const struct options *o, bool by_hand, struct err *e)
{
	struct priv p = { .loop = loop_new(e),
			  .dirs = { -1, -1, -1 },
			  .options = o,
			  .by_hand = by_hand,
			  .api_dirfd = -1 };
	sigset_t signals;
	int rc;

	if (!p.loop)
		return -ENOMEM;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		p.clients[i] = (struct client){ .priv = &p,
						.source = LOOP_SOURCE_INIT,
						.fd = -1 };
	priv_server_init(&p.server);
	listener_init(&p.listener);
	loop_timer_init(p.loop, &p.idle, on_idle, &p);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	rc = loop_signals(p.loop, &signals, on_signal, p.loop, e);
	if (rc == 0)
		rc = prepare(&p, e);
	if (rc == 0 && !by_hand) /* else it is since before the fork */
		rc = bound(e);
	if (rc == 0) {
		if (by_hand)
			loop_timer_arm(&p.idle, IDLE_MS);
		tell_ready(o->ready_fd);
		(void)loop_run(p.loop);
	}
	/* The next one must not find a socket that nobody serves. */
	if (p.listener.fd >= 0)
		(void)unlinkat(p.dirs.run_fd, PRIV_SOCKET, 0);
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		loop_remove(&p.clients[i].source);
		close_fd(&p.clients[i].fd);
	}
	loop_timer_disarm(&p.idle);
	listener_close(&p.listener);
	priv_server_done(&p.server);
	priv_dirs_close(&p.dirs);
	close_fd(&p.api_dirfd);
	free(p.api_name);
	loop_free(p.loop);
	return rc;
}

static int serve(void *ctx, bool again)
{
	struct options *o = ctx;
	struct err e = ERR_INIT;
	bool by_hand = again || o->ready_fd >= 0;
	int rc;

	if (again) /* there is nobody to tell any more */
		o->ready_fd = -1;
	rc = run(o, by_hand, &e);
	if (rc < 0)
		log_error("%s", e.msg);
	return rc < 0 ? 1 : 0;
}

/* All of vmd-vms.service: it is there. */
static int hold(void)
{
	struct err e = ERR_INIT;
	sigset_t signals;
	int sig;

	log_init("vmd-priv", LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
	if (priv_cgroups_hold(&e) < 0) {
		log_error("%s", e.msg);
		return 1;
	}
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	tell_ready(-1);
	return sigwait(&signals, &sig) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options options;
	struct err e = ERR_INIT;
	int rc, status;

	if (file_open_standard() < 0)
		return 1;
	if (argc == 2 && strcmp(argv[1], "--hold-cgroup") == 0)
		return hold();
	rc = options_parse(&options, OPTIONS_VMD_PRIV, argc, argv, &e);
	if (rc == 0 && geteuid() != 0)
		rc = err_set(&e, ERR_PERMISSION, "not_root", EPERM,
			     "vmd-priv is the part of vmd that is root: a "
			     "normal user's vmd works without it");
	if (rc != 0) {
		if (rc < 0)
			(void)fprintf(stderr, "vmd-priv: %s\n", e.msg);
		options_done(&options);
		return rc < 0 ? 2 : 0;
	}
	/* What a VM makes in its run directory is its and vmd's group's. */
	(void)umask(0007);
	(void)signal(SIGPIPE, SIG_IGN);
	log_init("vmd-priv", options.log_level, options.log_format);
	if (options.ready_fd < 0) {
		status = serve(&options, false);
	} else {
		int ready = options.ready_fd;

		rc = bound(&e);
		if (rc < 0)
			log_error("%s", e.msg);
		status = rc < 0 ? 1 : priv_keep(serve, &options, &ready);
	}
	options_done(&options);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The server: its listening socket and all that is open. */
#include "vmd/http/http.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "vmd/http/http_internal.h"

enum {
	CONNECTIONS_MAX = 1024,
	CONNECTIONS_RESERVE = 64, /* for root and the daemon's user */
	CONNECTION_FDS = 3, /* the client's, and a pair to the library */
};

static void on_accept_again(struct loop_timer *timer)
{
	struct http *h = timer->data;

	(void)loop_modify(&h->listen, EPOLLIN);
}

/* The group that may use the API is the group of the socket file, unless it is
 * root's or the file is closed to groups. */
static void find_group(struct http *h)
{
	struct sockaddr_un {
		sa_family_t family;
		char path[108];
	} addr = { 0 };
	socklen_t len = sizeof(addr) - 1;
	const char *path = addr.path;
	struct stat st;

	if (getsockname(h->listen_fd, (struct sockaddr *)&addr, &len) < 0)
		return;
	/* Bound through a descriptor (base/sock.h), which is closed by now. */
	if (strncmp(path, "/proc/", 6) == 0)
		path = h->daemon->config->socket_path;
	if (path && path[0] == '/' && stat(path, &st) == 0 &&
	    (st.st_mode & 0060) == 0060 && st.st_gid != 0) {
		h->group = st.st_gid;
		h->has_group = true;
	}
}

/* Descriptors are for VMs, too. */
static size_t connections_max(const struct daemon_config *config)
{
	struct rlimit limit = { .rlim_cur = CONNECTIONS_MAX };

	if (config->connections_max)
		return config->connections_max;
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur /= (rlim_t)4 * CONNECTION_FDS;
	return limit.rlim_cur < CONNECTIONS_MAX ? limit.rlim_cur
						: CONNECTIONS_MAX;
}

struct http *http_new(struct daemon *d, int listen_fd, struct err *e)
{
	struct http *h = calloc(1, sizeof(*h));
	int rc;

	if (!h) {
		close_fd(&listen_fd);
		(void)err_sys(e, ENOMEM, "serving the API");
		return NULL;
	}
	*h = (struct http){
		.daemon = d,
		.listen_fd = listen_fd,
		.listen = LOOP_SOURCE_INIT,
		.shares = { .max = connections_max(d->config) },
	};
	h->shares.reserve =
		h->shares.max / (CONNECTIONS_MAX / CONNECTIONS_RESERVE);
	LIST_INIT(&h->shares.members);
	LIST_INIT(&h->connections);
	LIST_INIT(&h->websockets);
	loop_timer_init(d->loop, &h->accept_again, on_accept_again, h);
	find_group(h);
	if (http_mhd_start(h, e) < 0) {
		http_free(h);
		return NULL;
	}
	/* Also of a socket that systemd made: as long a queue as the kernel
	 * allows, so that nobody is turned away while we are busy. */
	rc = listen(listen_fd, INT_MAX) < 0 ? -errno : 0;
	if (rc == 0)
		rc = loop_add(d->loop, &h->listen, listen_fd, EPOLLIN,
			      http_accept, h);
	if (rc < 0) {
		(void)err_sys(e, -rc, "serving the API");
		http_free(h);
		return NULL;
	}
	return h;
}

size_t http_connections(const struct http *h)
{
	return h->shares.total;
}

void http_free(struct http *h)
{
	struct http_connection *c;

	if (!h)
		return;
	h->closing = true;
	loop_remove(&h->listen);
	loop_timer_disarm(&h->accept_again);
	close_fd(&h->listen_fd);
	while ((c = LIST_FIRST(&h->connections)))
		http_connection_free(c);
	http_websockets_abort(h);
	http_mhd_stop(h);
	free(h);
}

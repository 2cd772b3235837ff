/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting: who it is, whether there is room, how slow it may be. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sock.h"
#include "vmd/http_internal.h"
#include "vmd/vm.h"

enum {
	PEER_GROUPS_MAX = 1024 /* in more than that: not found, not let in */
};

/* The groups the peer had when it connected, from the kernel: no look-up of names
 * that could wait for a network. */
static bool in_group(int fd, gid_t gid, gid_t group)
{
	gid_t groups[PEER_GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

static bool peer_ok(const struct http *h, int fd)
{
	uid_t uid;
	gid_t gid;
	pid_t pid;

	if (sock_peer(fd, &uid, &gid, &pid) < 0)
		return false;
	if (vm_owns_peer(h->daemon, uid, pid))
		return false;
	if (uid == 0 || uid == geteuid())
		return true;
	return h->has_group && in_group(fd, gid, h->group);
}

static void refuse(struct http *h, int fd, const char *status, const char *code,
		   const char *detail)
{
	char text[512];
	char body[320];
	int len = snprintf(body, sizeof(body),
			   "{\"type\":\"about:blank\",\"title\":\"%s\","
			   "\"status\":%.3s,\"kind\":\"%s\",\"code\":\"%s\","
			   "\"detail\":\"%s\",\"retryable\":%s}",
			   status + 4, status,
			   status[0] == '4' ? "permission" : "unavailable",
			   code, detail, status[0] == '4' ? "false" : "true");

	h->daemon->count.http_refused++;
	len = snprintf(text, sizeof(text),
		       "HTTP/1.1 %s\r\nContent-Type: application/problem+json"
		       "\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		       status, len, body);
	/* A fresh socket takes it; if not, the refusal is the close. */
	(void)!send(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void http_accept(struct loop_source *source, uint32_t events)
{
	struct http *h = source->data;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	(void)events;
	for (int i = 0; i < 64; i++) {
		AUTO(fd) int fd = -1;
		int rc = sock_accept(h->listen_fd, &fd);

		if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) {
			/* Else the waiting client would keep us spinning. */
			(void)loop_modify(&h->listen, 0);
			loop_timer_arm(&h->accept_again, 1000);
		}
		if (rc < 0)
			break;
		if (!peer_ok(h, fd)) {
			refuse(h, fd, "403 Forbidden", "peer_not_allowed",
			       "only root, the daemon's user and members of "
			       "the socket's group may use this API");
			continue;
		}
		if (h->connection_count >= HTTP_CONNECTIONS_MAX) {
			refuse(h, fd, "503 Service Unavailable",
			       "too_many_connections",
			       "too many connections are open: try again");
			continue;
		}
		(void)MHD_add_connection(h->mhd, take_fd(&fd),
					 (struct sockaddr *)&addr,
					 sizeof(sa_family_t));
	}
	http_kick(h);
}

static void on_slow(struct loop_timer *timer)
{
	struct http_connection *c = timer->data;

	/* microhttpd sees the end and cleans up. */
	(void)shutdown(c->fd, SHUT_RDWR);
}

void http_on_connection(void *cls, struct MHD_Connection *connection,
			void **context, enum MHD_ConnectionNotificationCode why)
{
	struct http *h = cls;
	struct http_connection *c = *context;

	if (why == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (!c)
			return;
		loop_timer_disarm(&c->slow);
		LIST_REMOVE(c, link);
		h->connection_count--;
		free(c);
		*context = NULL;
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->http = h;
	c->fd = MHD_get_connection_info(connection,
					MHD_CONNECTION_INFO_CONNECTION_FD)
			->connect_fd;
	loop_timer_init(h->daemon->loop, &c->slow, on_slow, c);
	loop_timer_arm(&c->slow, h->daemon->config->slow_ms);
	LIST_INSERT_HEAD(&h->connections, c, link);
	h->connection_count++;
	*context = c;
}

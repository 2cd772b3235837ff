/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting: who it is, and whether there is room. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "vmd/http/http_internal.h"
#include "vmd/vm/vm.h"

enum {
	PEER_GROUPS_MAX = 1024, /* in more than that: not found, not let in */
	ACCEPT_AT_ONCE = 64, /* then others have their turn */
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

static bool peer_ok(const struct http *h, int fd, uid_t *ret_uid)
{
	gid_t gid;
	pid_t pid;

	if (sock_peer(fd, ret_uid, &gid, &pid) < 0)
		return false;
	if (vm_owns_peer(h->daemon, *ret_uid, pid))
		return false;
	if (*ret_uid == 0 || *ret_uid == geteuid())
		return true;
	return h->has_group && in_group(fd, gid, h->group);
}

static void refuse(struct http *h, int fd, enum err_kind kind, const char *code,
		   const char *detail)
{
	AUTO(buf) struct buf out = BUF_INIT(4096);
	struct err e = ERR_INIT;

	h->daemon->count.http_refused++;
	(void)err_set(&e, kind, code, 0, "%s", detail);
	http_put_problem(&out, &e);
	/* A fresh socket takes it; if not, the refusal is the close. */
	(void)!send(fd, buf_head(&out), buf_len(&out),
		    MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Of the same user's connections the one that has waited longest for a request
 * makes room: who opens many without using them harms himself only. */
static bool evict(struct http *h, uid_t uid)
{
	struct http_connection *c, *oldest = NULL;

	LIST_FOREACH(c, &h->connections, link)
		if (c->uid == uid &&
		    (c->state == HTTP_HEAD || c->state == HTTP_LINGERING))
			oldest = c;
	if (oldest)
		http_connection_free(oldest);
	return oldest;
}

static void admit(struct http *h, int *fd)
{
	struct http_member *member;
	bool full;
	uid_t uid;

	if (!peer_ok(h, *fd, &uid)) {
		refuse(h, *fd, ERR_PERMISSION, "peer_not_allowed",
		       "only root, the daemon's user and members of the "
		       "socket's group may use this API");
		return;
	}
	member = http_share_take(&h->shares, uid, &full);
	if (!member && full && evict(h, uid))
		member = http_share_take(&h->shares, uid, &full);
	if (!member)
		refuse(h, *fd, ERR_UNAVAILABLE, "too_many_connections",
		       "you have too many connections open: close some, or "
		       "try again");
	else
		http_connection_new(h, take_fd(fd), uid, member);
}

void http_accept(struct loop_source *source, uint32_t events)
{
	struct http *h = source->data;

	(void)events;
	for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
		AUTO(fd) int fd = -1;
		int rc = sock_accept(h->listen_fd, &fd);

		if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) {
			/* Else the waiting client would keep us spinning. */
			(void)loop_modify(&h->listen, 0);
			loop_timer_arm(&h->accept_again, 1000);
		}
		if (rc < 0)
			break;
		admit(h, &fd);
	}
}

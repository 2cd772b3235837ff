/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. What vmd-priv answers is checked, too: it may be of another
 * version, or dying. */
#include "vmd/priv/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "vmd/priv/wire.h"

enum {
	ANSWER_MS = 5000,
	HUNG_TIMES = 2 /* as long as it was waited for it is left alone */
};

static int gone(struct priv_client *c, int sys, const char *how, struct err *e)
{
	close_fd(&c->fd);
	return err_set(e, ERR_UNAVAILABLE, "priv_gone", sys ? sys : ENOTCONN,
		       "vmd-priv, which starts and ends virtual machines for "
		       "the daemon, %s: what runs goes on; restart it with "
		       "'systemctl restart vmd-priv', or restart a vmd that "
		       "was started by hand",
		       how);
}

static int receive(struct priv_client *c, struct priv_reply *reply, int *ret_fd,
		   struct err *e)
{
	uint64_t ms = c->answer_ms ? c->answer_ms : ANSWER_MS;
	uint64_t end = clock_mono_ms() + ms, now;
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	size_t fd_count = 1;
	int fd = -1;
	ssize_t n;

	for (;;) {
		now = clock_mono_ms();
		if (now >= end) {
			c->hung_until_ms = now + HUNG_TIMES * ms;
			return gone(c, ETIMEDOUT, "does not answer", e);
		}
		if (poll(&pfd, 1, (int)(end - now)) > 0)
			break;
	}
	n = priv_recv(c->fd, reply, sizeof(*reply), &fd, &fd_count);
	if (n <= 0)
		return gone(c, 0, "ended in the middle of a request", e);
	if (n != (ssize_t)sizeof(*reply) || reply->magic != PRIV_MAGIC ||
	    reply->rc > 0) {
		close_fd(&fd);
		return gone(c, EPROTO, "answers in another language", e);
	}
	reply->code[sizeof(reply->code) - 1] = '\0';
	reply->text[sizeof(reply->text) - 1] = '\0';
	*ret_fd = fd;
	return 0;
}

/* One message out, one in. -EPIPE: it was not sent. */
static int exchange(struct priv_client *c, const void *data, size_t len,
		    const int *fds, size_t fd_count, struct priv_reply *reply,
		    int *ret_fd, struct err *e)
{
	int rc = priv_send(c->fd, data, len, fds, fd_count);

	if (rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN) {
		(void)gone(c, 0, "has ended", e);
		return -EPIPE;
	}
	if (rc < 0)
		return gone(c, -rc, "takes no request", e);
	return receive(c, reply, ret_fd, e);
}

static int result_of(const struct priv_reply *reply, struct err *e)
{
	if (reply->rc == 0)
		return 0;
	return err_set(e,
		       reply->kind > ERR_NONE && reply->kind < ERR_KIND_COUNT
			       ? (enum err_kind)reply->kind
			       : ERR_INTERNAL,
		       reply->code[0] ? reply->code : "priv_failed", -reply->rc,
		       "%s", reply->text);
}

int priv_client_join(struct priv_client *c, struct err *e)
{
	struct {
		struct priv_head head;
		struct priv_hello hello;
	} message = { { PRIV_MAGIC, PRIV_HELLO }, c->hello };
	struct priv_reply reply = { .rc = 0 };
	int fd = -1, rc;

	close_fd(&c->fd);
	rc = priv_connect(c->run_dirfd, PRIV_SOCKET, &c->fd);
	if (rc < 0)
		return gone(c, -rc, "does not run", e);
	rc = exchange(c, &message, sizeof(message), NULL, 0, &reply, &fd, e);
	close_fd(&fd);
	if (rc == 0)
		rc = result_of(&reply, e);
	if (rc < 0)
		return rc;
	c->uid_first = reply.u.hello.uid_first;
	c->welcome = reply;
	c->welcome.u.hello.cgroup_text[PRIV_CGROUP_TEXT - 1] = '\0';
	c->welcome.u.hello.cgroup_fix[PRIV_CGROUP_FIX - 1] = '\0';
	return 0;
}

static int call_remote(struct priv_client *c, const void *data, size_t len,
		       const int *fds, size_t fd_count,
		       struct priv_reply *reply, int *ret_fd, struct err *e)
{
	bool fresh = c->fd < 0;
	int rc;

	if (c->hung_until_ms && clock_mono_ms() < c->hung_until_ms)
		return gone(c, ETIMEDOUT, "did not answer a moment ago", e);
	c->hung_until_ms = 0;
	rc = fresh ? priv_client_join(c, e) : 0;

	if (rc == 0)
		rc = exchange(c, data, len, fds, fd_count, reply, ret_fd, e);
	/* It was restarted since: it never saw this request. */
	if (rc == -EPIPE && !fresh) {
		rc = priv_client_join(c, e);
		if (rc == 0)
			rc = exchange(c, data, len, fds, fd_count, reply,
				      ret_fd, e);
	}
	return rc;
}

int priv_client_call(struct priv_client *c, struct priv_request *r, size_t size,
		     const void *tail, size_t tail_len, const int *fds,
		     size_t fd_count, struct priv_reply *reply, int *ret_fd,
		     struct err *e)
{
	static char message[PRIV_REQUEST_MAX]; /* one thread */
	size_t len = sizeof(r->head) + size;
	int fd = -1, rc = 0;

	reply->rc = 0;
	if (len + tail_len > sizeof(message))
		return err_set(e, ERR_LIMIT, "too_many_arguments", E2BIG,
			       "the arguments of a program are longer than %d "
			       "bytes",
			       PRIV_ARG_BYTES_MAX);
	r->head.magic = PRIV_MAGIC;
	memcpy(message, r, len);
	if (tail_len)
		memcpy(message + len, tail, tail_len);
	if (c->remote)
		rc = call_remote(c, message, len + tail_len, fds, fd_count,
				 reply, &fd, e);
	else
		priv_server_handle(&c->within, 0, message, len + tail_len, fds,
				   fd_count, reply, &fd);
	if (rc == 0)
		rc = result_of(reply, e);
	if (rc == 0 && ret_fd) {
		if (fd < 0)
			return err_set(e, ERR_PROTOCOL, "priv_failed", EPROTO,
				       "vmd-priv sent no descriptor");
		*ret_fd = take_fd(&fd);
	}
	close_fd(&fd);
	return rc;
}

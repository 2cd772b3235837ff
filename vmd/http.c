/* SPDX-License-Identifier: Apache-2.0 */
/* libmicrohttpd inside our loop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/http_internal.h"

static void run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	/* A handler that resumes its own request comes here again. */
	if (h->running_mhd)
		return;
	h->running_mhd = true;
	for (int rounds = 0; rounds < 16; rounds++) {
		(void)MHD_run(h->mhd);
		if (MHD_get_timeout(h->mhd, &ms) != MHD_YES || ms > 0)
			break;
	}
	h->running_mhd = false;
	if (MHD_get_timeout(h->mhd, &ms) == MHD_YES)
		loop_timer_arm(&h->mhd_timer, ms);
	else
		loop_timer_disarm(&h->mhd_timer);
}

static void on_mhd(struct loop_source *source, uint32_t events)
{
	(void)events;
	run(source->data);
}

static void on_timer(struct loop_timer *timer)
{
	run(timer->data);
}

void http_kick(struct http *h)
{
	if (!h->closing && !h->running_mhd)
		loop_timer_arm_soon(&h->mhd_timer);
}

static void on_accept_again(struct loop_timer *timer)
{
	struct http *h = timer->data;

	(void)loop_modify(&h->listen, EPOLLIN);
}

__attribute__((format(printf, 2, 0))) static void
on_log(void *cls, const char *fmt, va_list ap)
{
	char text[256];

	(void)cls;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("http: %s", text);
}

/* The path stays as it came: the route table decodes it, once. */
static size_t keep_raw(void *cls, struct MHD_Connection *connection, char *text)
{
	(void)cls;
	(void)connection;
	return strlen(text);
}

static int start_mhd(struct http *h, struct err *e)
{
	const union MHD_DaemonInfo *info;
	int rc;

	h->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
			MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
			MHD_USE_ERROR_LOG,
		0, NULL, NULL, http_on_request, h, MHD_OPTION_EXTERNAL_LOGGER,
		on_log, NULL, MHD_OPTION_URI_LOG_CALLBACK, http_on_uri, h,
		MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, h,
		MHD_OPTION_NOTIFY_CONNECTION, http_on_connection, h,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_raw, NULL,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_POOL_BYTES,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX + 8,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_SLOW_SECONDS,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	if (!h->mhd)
		return err_set(e, ERR_INTERNAL, "http_failed", 0,
			       "the HTTP server cannot be started");
	info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	rc = loop_add(h->daemon->loop, &h->mhd_source, info->epoll_fd, EPOLLIN,
		      on_mhd, h);
	if (rc == 0)
		rc = loop_add(h->daemon->loop, &h->listen, h->listen_fd,
			      EPOLLIN, http_accept, h);
	return rc == 0 ? 0 : err_sys(e, -rc, "serving the API");
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

struct http *http_new(struct daemon *d, int listen_fd, struct err *e)
{
	struct http *h = calloc(1, sizeof(*h));

	if (!h) {
		close_fd(&listen_fd);
		(void)err_sys(e, ENOMEM, "serving the API");
		return NULL;
	}
	*h = (struct http){
		.daemon = d,
		.listen_fd = listen_fd,
		.listen = LOOP_SOURCE_INIT,
		.mhd_source = LOOP_SOURCE_INIT,
	};
	LIST_INIT(&h->connections);
	LIST_INIT(&h->websockets);
	LIST_INIT(&h->requests);
	loop_timer_init(d->loop, &h->mhd_timer, on_timer, h);
	loop_timer_init(d->loop, &h->accept_again, on_accept_again, h);
	find_group(h);
	if (start_mhd(h, e) < 0) {
		http_free(h);
		return NULL;
	}
	return h;
}

size_t http_connections(const struct http *h)
{
	return h->connection_count;
}

void http_free(struct http *h)
{
	struct websocket *w, *next;
	struct request *r;

	if (!h)
		return;
	h->closing = true;
	h->running_mhd = true;
	loop_remove(&h->listen);
	loop_remove(&h->mhd_source);
	loop_timer_disarm(&h->mhd_timer);
	loop_timer_disarm(&h->accept_again);
	close_fd(&h->listen_fd);
	/* Those who wait are resumed: microhttpd insists on it. */
	LIST_FOREACH(r, &h->requests, link)
	{
		store_wait_cancel(&r->durable);
		watch_remove(&r->watch);
		loop_timer_disarm(&r->timer);
		loop_remove(&r->hangup);
		if (r->suspended)
			MHD_resume_connection(r->connection);
		r->suspended = false;
	}
	for (w = LIST_FIRST(&h->websockets); w; w = next) {
		next = LIST_NEXT(w, link);
		if (w->ws)
			ws_abort(w->ws); /* its end takes w off the list */
	}
	if (h->mhd) {
		(void)MHD_run(h->mhd);
		MHD_stop_daemon(h->mhd);
	}
	free(h);
}

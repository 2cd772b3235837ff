/* SPDX-License-Identifier: Apache-2.0 */
#include "base/listener.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/sock.h"

static void on_ready(struct loop_source *source, uint32_t events)
{
	struct listener *l = source->data;
	int fd, rc;

	(void)events;
	rc = sock_accept(l->fd, &fd);
	if (rc == 0) {
		l->fn(l->ctx, fd);
		return;
	}
	/* Gone again, or taken by a signal: nothing waits. */
	if (rc == -EAGAIN || rc == -EINTR || rc == -ECONNABORTED)
		return;
	(void)loop_modify(&l->source, 0);
	loop_timer_arm(&l->again, LISTENER_PAUSE_MS);
}

static void on_again(struct loop_timer *timer)
{
	struct listener *l = timer->data;

	(void)loop_modify(&l->source, l->paused ? 0 : EPOLLIN);
}

void listener_pause(struct listener *l, bool paused)
{
	l->paused = paused;
	if (loop_source_active(&l->source) && !loop_timer_armed(&l->again))
		(void)loop_modify(&l->source, paused ? 0 : EPOLLIN);
}

void listener_init(struct listener *l)
{
	*l = (struct listener){ .fd = -1, .source = LOOP_SOURCE_INIT };
}

int listener_open(struct listener *l, struct loop *loop, int fd,
		  listener_fn *fn, void *ctx)
{
	int rc;

	l->fd = fd;
	l->fn = fn;
	l->ctx = ctx;
	loop_timer_init(loop, &l->again, on_again, l);
	rc = loop_add(loop, &l->source, fd, EPOLLIN, on_ready, l);
	if (rc < 0)
		close_fd(&l->fd);
	return rc;
}

void listener_close(struct listener *l)
{
	loop_timer_disarm(&l->again);
	loop_remove(&l->source);
	close_fd(&l->fd);
}

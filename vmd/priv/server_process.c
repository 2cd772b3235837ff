/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children and their ends. vmd holds a pidfd and sees that one has ended; how, the
 * kernel tells only the parent, and we tell vmd, a restarted one as well. A
 * process is named by pid and start time; a signal goes through a pidfd, to our
 * own children and to those that an earlier vmd-priv left.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmd/priv/mark.h"
#include "vmd/priv/server_internal.h"

struct priv_child *priv_child_find(struct priv_server *s, pid_t pid,
				   uint64_t start_time)
{
	struct priv_child *child;

	LIST_FOREACH(child, &s->children, link)
		if (child->process.pid == pid &&
		    child->process.start_time == start_time)
			return child;
	return NULL;
}

void priv_child_free(struct priv_child *child)
{
	if (child->ended)
		child->server->ended_count--;
	LIST_REMOVE(child, link);
	loop_remove(&child->source);
	process_close(&child->process);
	free(child);
}

/* The longest dead goes when too many wait to be asked for. */
static void drop_oldest_end(struct priv_server *s)
{
	struct priv_child *child, *oldest = NULL;

	LIST_FOREACH(child, &s->children, link)
		if (child->ended)
			oldest = child;
	if (oldest)
		priv_child_free(oldest);
}

static void note_end(struct priv_child *child)
{
	char mark[PRIV_MARK_SIZE];

	if (child->ended || !process_reap(&child->process, &child->end))
		return;
	child->ended = true;
	child->server->ended_count++;
	loop_remove(&child->source);
	process_close(&child->process);
	/* What it had started has other users' ids: vmd cannot end it. */
	if (child->role == PRIV_ROLE_IMAGE && child->end.signal)
		(void)process_end_marked(priv_mark(mark, child->id), 0);
	if (child->forget)
		priv_child_free(child);
	else if (child->server->ended_count > PRIV_ENDED_MAX)
		drop_oldest_end(child->server);
}

static void on_end(struct loop_source *source, uint32_t events)
{
	(void)events;
	note_end(source->data);
}

static void undo(struct process *p)
{
	struct process_exit end;

	(void)process_signal(p, SIGKILL);
	(void)process_wait(p, 1000, &end);
	process_close(p);
}

int priv_child_add(struct priv_call *c, enum priv_role role, const char *id,
		   const struct process *p, struct err *e)
{
	struct process process = *p;
	struct priv_child *child;
	int rc;

	if (!c->server->loop)
		return 0;
	child = calloc(1, sizeof(*child));
	if (!child) {
		undo(&process);
		return err_sys(e, ENOMEM, "watching a program");
	}
	/* The client gets p's pidfd; ours is another. */
	child->server = c->server;
	child->process = (struct process)PROCESS_INIT;
	child->source = (struct loop_source)LOOP_SOURCE_INIT;
	child->role = role;
	child->client = c->client;
	(void)snprintf(child->id, sizeof(child->id), "%s", id);
	LIST_INSERT_HEAD(&c->server->children, child, link);
	child->process.pid = p->pid;
	child->process.start_time = p->start_time;
	child->process.pidfd = fcntl(p->pidfd, F_DUPFD_CLOEXEC, 3);
	rc = child->process.pidfd < 0
		     ? -errno
		     : loop_add(c->server->loop, &child->source,
				child->process.pidfd, EPOLLIN, on_end, child);
	if (rc == 0)
		return 0;
	undo(&process);
	priv_child_free(child);
	return err_sys(e, -rc, "watching a program");
}

static bool may_signal(const struct priv_server *s, pid_t pid)
{
	char id[ID_LEN + 1];

	/* Within vmd the kernel decides. */
	return !s->loop || priv_works_for(s, pid, id);
}

int priv_do_signal(struct priv_call *c, struct err *e)
{
	const struct priv_signal *r = &c->request.u.signal;
	struct priv_child *child;
	struct process other = PROCESS_INIT, *p = &other;
	int rc;

	if ((r->signal != SIGTERM && r->signal != SIGKILL) || r->group > 1 ||
	    r->forget > 1 || r->pid <= 1)
		return err_set(e, ERR_PROTOCOL, "bad_request", EPROTO,
			       "vmd-priv refuses a signal");
	child = priv_child_find(c->server, r->pid, r->start_time);
	if (child) {
		p = &child->process;
		if (child->ended) {
			if (r->forget)
				priv_child_free(child);
			return -ESRCH;
		}
		child->forget = r->forget;
	} else {
		rc = process_adopt(r->pid, r->start_time, &other, NULL);
		if (rc < 0)
			return rc;
		/* Judged after the pidfd was opened: it cannot be another now. */
		if (!may_signal(c->server, r->pid)) {
			process_close(&other);
			return err_set(e, ERR_PERMISSION, "not_ours", EPERM,
				       "process %d is none of vmd's", r->pid);
		}
	}
	rc = r->group ? process_signal_group(p, r->signal)
		      : process_signal(p, r->signal);
	process_close(&other);
	return rc;
}

int priv_do_reap(struct priv_call *c, struct err *e)
{
	const struct priv_reap *r = &c->request.u.reap;
	struct priv_child *child =
		priv_child_find(c->server, r->pid, r->start_time);
	struct priv_reply *reply = c->reply;

	(void)e;
	if (!child) {
		/* Nobody's child any more: that it ended is all there is. */
		uint64_t start;

		reply->u.reap.ended = process_start_time(r->pid, &start) < 0 ||
				      start != r->start_time;
		return 0;
	}
	child->forget = false;
	note_end(child);
	if (!child->ended)
		return 0;
	reply->u.reap.ended = 1;
	reply->u.reap.known = child->end.known;
	reply->u.reap.status = child->end.status;
	reply->u.reap.signal = child->end.signal;
	priv_child_free(child);
	return 0;
}

void priv_server_client_gone(struct priv_server *s, int client)
{
	struct priv_child *child, *next;

	for (child = LIST_FIRST(&s->children); child; child = next) {
		next = LIST_NEXT(child, link);
		if (child->role != PRIV_ROLE_SWEEP || child->client != client)
			continue;
		(void)process_signal_group(&child->process, SIGKILL);
		child->forget = true;
		if (child->ended)
			priv_child_free(child);
	}
}

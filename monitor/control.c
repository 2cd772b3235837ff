/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket; see control.h. */
#include "monitor/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sock.h"
#include "monitor/machine/machine_balloon.h"
#include "monitor/machine/machine_drives.h"
#include "monitor/stats.h"

static const char *const state_names[] = {
	[MACHINE_BUILT] = "built",	 [MACHINE_RUNNING] = "running",
	[MACHINE_PAUSING] = "pausing",	 [MACHINE_PAUSED] = "paused",
	[MACHINE_RESUMING] = "resuming",
};

static json_t *ok(void)
{
	return json_pack("{s:b}", "ok", 1);
}

static json_t *failed(const char *code, const char *message)
{
	return json_pack("{s:{s:s, s:s}}", "error", "code", code, "message",
			 message);
}

static json_t *status_of(struct machine *m)
{
	json_t *status =
		json_pack("{s:s, s:i, s:I, s:s}", "state",
			  state_names[m->state], "vcpus", (int)m->vcpu_count,
			  "uptime_ms",
			  (json_int_t)(clock_mono_ms() - m->started_ms),
			  "memory_backing", stats_backing(m));

	if (status && m->state == MACHINE_PAUSED && m->disk_full)
		(void)json_object_set_new(status, "reason",
					  json_string("disk_full"));
	return status;
}

static json_t *do_status(struct machine *m, const json_t *request)
{
	(void)request;
	return status_of(m);
}

static json_t *do_stats(struct machine *m, const json_t *request)
{
	(void)request;
	return stats_json(m);
}

static json_t *do_shutdown(struct machine *m, const json_t *request)
{
	(void)request;
	if (m->state != MACHINE_RUNNING)
		return failed("wrong_state", "the guest is paused: resume it "
					     "so that it can shut down");
	machine_press_power_button(m);
	return ok();
}

static json_t *do_kill(struct machine *m, const json_t *request)
{
	(void)request;
	machine_end(m, MACHINE_END_KILLED, "killed by the control socket");
	return ok();
}

static json_t *do_pause(struct machine *m, const json_t *request)
{
	(void)request;
	if (machine_pause(m) < 0)
		return failed("wrong_state", "the guest is paused already");
	return m->state == MACHINE_PAUSED ? ok() : NULL;
}

static json_t *do_resume(struct machine *m, const json_t *request)
{
	(void)request;
	if (machine_resume(m) < 0)
		return failed("wrong_state", "the guest runs already");
	return m->state == MACHINE_RESUMING ? NULL : ok();
}

static json_t *do_resize(struct machine *m, const json_t *request)
{
	struct err e = ERR_INIT;
	const char *id = NULL;

	if (json_get_string(request, "request", "drive_id", true, 64, &id, &e) <
	    0)
		return failed("request_invalid", e.msg);
	/* Nothing reaches a guest that is paused. */
	if (m->state != MACHINE_RUNNING)
		return failed("wrong_state", "the guest is paused: resume it, "
					     "then say that a drive has grown");
	return machine_resize_drive(m, id, &e) < 0 ? failed(e.code, e.msg)
						   : ok();
}

static json_t *do_balloon(struct machine *m, const json_t *request)
{
	struct err e = ERR_INIT;
	uint64_t mib = 0;

	if (json_get_u64(request, "request", "amount_mib", true, 0, UINT32_MAX,
			 &mib, &e) < 0)
		return failed("request_invalid", e.msg);
	return machine_set_balloon(m, mib, &e) < 0 ? failed(e.code, e.msg)
						   : ok();
}

/* To a client whose pause or resume is decided; NULL: it is not. */
static json_t *decision(const struct machine *m, enum control_wait waits)
{
	if (m->state == MACHINE_PAUSED)
		return waits == CONTROL_WAIT_PAUSE || m->disk_full
			       ? ok()
			       : failed("wrong_state",
					"the guest was paused meanwhile");
	if (m->state == MACHINE_RUNNING)
		return waits == CONTROL_WAIT_RESUME
			       ? ok()
			       : failed("wrong_state",
					"the guest was resumed before its "
					"devices had come to rest");
	return NULL;
}

static const struct {
	const char *name;
	json_t *(*run)(struct machine *m,
		       const json_t *request); /* NULL: see waits */
	const char *field; /* one more that it takes, or NULL */
	bool watches;
	enum control_wait waits;
} actions[] = {
	{ .name = "status", .run = do_status },
	{ .name = "shutdown", .run = do_shutdown },
	{ .name = "kill", .run = do_kill },
	{ .name = "pause", .run = do_pause, .waits = CONTROL_WAIT_PAUSE },
	{ .name = "resume", .run = do_resume, .waits = CONTROL_WAIT_RESUME },
	{ .name = "watch", .run = do_status, .watches = true },
	{ .name = "stats", .run = do_stats },
	{ .name = "resize_drive", .run = do_resize, .field = "drive_id" },
	{ .name = "set_balloon", .run = do_balloon, .field = "amount_mib" },
};

static json_t *run_request(struct machine *m, const json_t *request,
			   struct control_reply *ret)
{
	struct err e = ERR_INIT;
	const char *name = NULL;

	if (json_get_string(request, "request", "action", true, 32, &name, &e) <
	    0)
		return failed("request_invalid", e.msg);
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		const char *const fields[] = { "action", actions[i].field,
					       NULL };
		json_t *answer;

		if (strcmp(actions[i].name, name) != 0)
			continue;
		if (json_only_fields(request, "request", fields, &e) < 0)
			return failed("request_invalid", e.msg);
		ret->watches |= actions[i].watches;
		answer = actions[i].run(m, request);
		if (!answer)
			ret->waits = actions[i].waits;
		return answer;
	}
	return failed("action_unknown", "there is no such action: status, "
					"shutdown, kill, pause, resume, watch, "
					"stats, resize_drive, set_balloon");
}

char *control_answer(struct machine *m, const char *line, size_t len,
		     struct control_reply *ret)
{
	AUTO(json) json_t *request = NULL;
	AUTO(json) json_t *answer = NULL;
	struct err e = ERR_INIT;

	if (json_parse_strict(line, len, "request", &request, &e) < 0)
		answer = failed("request_invalid", e.msg);
	else
		answer = run_request(m, request, ret);
	return answer ? json_to_text(answer) : NULL;
}

static void hang_up(struct control_client *client)
{
	loop_remove(&client->source);
	close_fd(&client->fd);
	client->len = 0;
	client->watches = false;
	client->waits = CONTROL_WAIT_NONE;
}

/* False when the client is gone, or too slow to take one line. */
static bool say(struct control_client *client, char *text)
{
	struct iovec parts[2] = { { .iov_base = text },
				  { .iov_base = (char[]){ '\n' },
				    .iov_len = 1 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	size_t whole;

	if (!text)
		return false;
	parts[0].iov_len = strlen(text);
	whole = parts[0].iov_len + 1;
	return sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       (ssize_t)whole;
}

static bool answer_line(struct control_client *client, size_t len)
{
	struct control_reply reply = { client->watches, CONTROL_WAIT_NONE };
	AUTO(free)
	char *text = control_answer(client->control->machine, client->line, len,
				    &reply);

	client->watches = reply.watches;
	client->waits = reply.waits;
	return reply.waits != CONTROL_WAIT_NONE || say(client, text);
}

/* The whole lines that are there, up to one whose answer takes its time. */
static void answer_lines(struct control_client *client)
{
	char *end;

	while (client->waits == CONTROL_WAIT_NONE &&
	       (end = memchr(client->line, '\n', client->len))) {
		size_t len = (size_t)(end - client->line);

		if (!answer_line(client, len)) {
			hang_up(client);
			return;
		}
		client->len -= len + 1;
		memmove(client->line, end + 1, client->len);
	}
}

/* Later lines are left to the next turn: one of them may begin anew. */
static void on_settled(void *ctx)
{
	struct control *c = ctx;

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *client = &c->clients[i];
		AUTO(json) json_t *answer = NULL;
		AUTO(free) char *text = NULL;

		if (client->waits == CONTROL_WAIT_NONE)
			continue;
		answer = decision(c->machine, client->waits);
		if (!answer)
			continue;
		client->waits = CONTROL_WAIT_NONE;
		text = json_to_text(answer);
		if (!say(client, text))
			hang_up(client);
		else if (client->len)
			loop_timer_arm_soon(&c->later);
	}
}

static void on_later(struct loop_timer *timer)
{
	struct control *c = timer->data;

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		answer_lines(&c->clients[i]);
}

static void on_state_changed(void *ctx)
{
	struct control *c = ctx;
	AUTO(json) json_t *status = status_of(c->machine);
	AUTO(free) char *text = status ? json_to_text(status) : NULL;

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (c->clients[i].watches && !say(&c->clients[i], text))
			hang_up(&c->clients[i]);
}

static void on_request(struct loop_source *source, uint32_t events)
{
	struct control_client *client = source->data;
	ssize_t n = recv(client->fd, client->line + client->len,
			 CONTROL_LINE_MAX - client->len, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hang_up(client);
		return;
	}
	client->len += (size_t)n;
	answer_lines(client);
	if (client->len == CONTROL_LINE_MAX)
		hang_up(client);
}

static void on_connect(void *ctx, int fd)
{
	struct control *c = ctx;

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *client = &c->clients[i];

		if (client->fd >= 0)
			continue;
		if (loop_add(c->machine->loop, &client->source, fd, EPOLLIN,
			     on_request, client) < 0)
			break;
		client->fd = fd;
		client->len = 0;
		return;
	}
	(void)close(fd); /* all places are taken */
}

int control_new(struct machine *m, const char *path, struct control **ret,
		struct err *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int rc = 0, fd;

	if (!c)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	c->machine = m;
	loop_timer_init(m->loop, &c->later, on_later, c);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		c->clients[i].control = c;
		c->clients[i].fd = -1;
		c->clients[i].source = (struct loop_source)LOOP_SOURCE_INIT;
	}
	listener_init(&c->listener);
	fd = config_inherited_fd(path);
	if (fd >= 0) {
		(void)file_set_cloexec(fd, true);
		(void)file_set_nonblock(fd);
	} else {
		rc = sock_listen_unix(AT_FDCWD, path, 0600, &fd, e);
	}
	if (rc == 0)
		rc = listener_open(&c->listener, m->loop, fd, on_connect, c);
	if (rc < 0) {
		control_free(c);
		return err_wrap(e, rc, "control socket %s", path);
	}
	m->state_changed = on_state_changed;
	m->settled = on_settled;
	m->control_ctx = c;
	*ret = c;
	return 0;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	c->machine->state_changed = c->machine->settled = NULL;
	loop_timer_disarm(&c->later);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		hang_up(&c->clients[i]);
	listener_close(&c->listener);
	free(c);
}

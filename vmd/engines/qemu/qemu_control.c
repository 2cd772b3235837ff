/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talking to a running QEMU: check and cont, watch for the end, ask why.
 *
 * The reason of an end comes from the SHUTDOWN event. QEMU was told to pause
 * instead of exit, so it waits for our "quit"; with no daemon connected the
 * event is in qmp.log all the same, and the next daemon finds it there.
 *
 * Trust: QEMU itself is trusted to the degree of qmp.h; texts in its events
 * are compared with known words and never shown.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sock.h"
#include "vmd/engines/qemu/engine_qemu.h"

enum {
	LOG_LOOK_EVENTS = 256
};

static void end_from_reason(const char *reason, enum vm_end *ret_end,
			    struct err *ret_err)
{
	if (!strcmp(reason, "guest-shutdown")) {
		*ret_end = VM_END_POWEROFF;
	} else if (!strcmp(reason, "guest-reset")) {
		*ret_end = VM_END_RESET;
	} else if (!strcmp(reason, "guest-panic")) {
		*ret_end = VM_END_CRASH;
		(void)err_set(ret_err, ERR_INTERNAL, "guest_crashed", 0,
			      "the guest's kernel panicked");
	} else if (!strcmp(reason, "host-qmp-quit") ||
		   !strcmp(reason, "host-signal")) {
		*ret_end = VM_END_KILLED;
	} else {
		*ret_end = VM_END_FAILED;
		(void)err_set(ret_err, ERR_INTERNAL, "qemu_error", 0,
			      "QEMU shut the VM down because of an error");
	}
}

static const char *shutdown_reason(const json_t *data)
{
	const char *reason = json_string_value(json_object_get(data, "reason"));

	return reason ? reason : "";
}

bool qemu_logged_end(int dirfd, enum vm_end *ret_end, struct err *ret_err)
{
	AUTO(fd)
	int fd = openat(dirfd, "qmp.log",
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	AUTO(free) char *text = malloc(QEMU_LOG_TAIL_BYTES + 1);
	off_t len = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
	char *save = NULL;
	ssize_t n;

	if (!text || len <= 0)
		return false;
	n = pread(fd, text, QEMU_LOG_TAIL_BYTES,
		  len > QEMU_LOG_TAIL_BYTES ? len - QEMU_LOG_TAIL_BYTES : 0);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* The first SHUTDOWN is the guest's; our own quit comes after it. */
	for (char *line = strtok_r(text, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save)) {
		AUTO(json) json_t *j = NULL;
		const char *event;

		if (json_parse_strict(line, strlen(line), "qmp.log", &j, NULL) <
		    0)
			continue;
		event = json_string_value(json_object_get(j, "event"));
		if (!event)
			continue;
		if (!strcmp(event, "SHUTDOWN"))
			end_from_reason(
				shutdown_reason(json_object_get(j, "data")),
				ret_end, ret_err);
		else if (!strcmp(event, "GUEST_PANICKED"))
			end_from_reason("guest-panic", ret_end, ret_err);
		else
			continue;
		return true;
	}
	return false;
}

void qemu_set_died(struct err *e, int dirfd, const struct process_exit *x)
{
	char tail[400], how[128];

	engine_log_tail(dirfd, "qemu.log", tail, sizeof(tail));
	(void)err_set(e, ERR_UNAVAILABLE, "qemu_died", 0,
		      "QEMU %s without the guest having asked for it; its "
		      "last lines: %s",
		      process_exit_text(x, how), tail);
}

static void quit(struct qemu_vm *q)
{
	if (!q->qmp || !q->qmp_ready ||
	    qmp_execute(q->qmp, "quit", NULL, NULL, NULL) < 0) {
		engine_vm_end_within(&q->base, 0);
		return;
	}
	engine_vm_end_within(&q->base, q->timeout_ms);
}

static void decide_and_quit(struct qemu_vm *q, const char *reason)
{
	enum vm_end end = VM_END_FAILED;
	struct err e = ERR_INIT;

	end_from_reason(reason, &end, &e);
	engine_vm_decide(&q->base, end, &e);
	quit(q);
}

/* A start that went wrong: say so and end the process. */
static void fail_start(struct qemu_vm *q, const struct err *e)
{
	engine_vm_finish(&q->base, VM_END_FAILED, e);
}

static void on_cont(void *ctx, const json_t *ret, const struct err *e)
{
	struct qemu_vm *q = ctx;

	(void)ret;
	if (e)
		fail_start(q, e);
	else
		engine_vm_running(&q->base);
}

static void do_cont(struct qemu_vm *q)
{
	struct err e = ERR_INIT;

	if (qmp_execute(q->qmp, "cont", NULL, on_cont, &e) < 0)
		fail_start(q, &e);
}

/* The accelerator that was asked for is the one that runs. */
static void on_kvm(void *ctx, const json_t *ret, const struct err *e)
{
	struct qemu_vm *q = ctx;
	bool enabled = json_is_true(json_object_get(ret, "enabled"));
	struct err wrong = ERR_INIT;

	if (!e && enabled == q->kvm) {
		do_cont(q);
		return;
	}
	if (e)
		wrong = *e;
	else
		(void)err_set(&wrong, ERR_INTERNAL, "qemu_accelerator", 0,
			      "QEMU runs with%s KVM although it was started "
			      "the other way",
			      enabled ? "" : "out");
	fail_start(q, &wrong);
}

static void ended_before(struct qemu_vm *q)
{
	enum vm_end end = VM_END_POWEROFF;
	struct err e = ERR_INIT;

	/* Status "shutdown" alone does not tell power-off from reset. */
	(void)qemu_logged_end(q->base.dirfd, &end, &e);
	engine_vm_decide(&q->base, end, &e);
	quit(q);
}

static void on_status(void *ctx, const json_t *ret, const struct err *e)
{
	struct qemu_vm *q = ctx;
	const char *status = json_string_value(json_object_get(ret, "status"));
	struct err wrong = ERR_INIT;

	if (e || !status) {
		if (!e)
			(void)err_set(&wrong, ERR_PROTOCOL, "qmp_protocol", 0,
				      "QEMU's monitor gave no status");
		fail_start(q, e ? e : &wrong);
	} else if (!strcmp(status, "prelaunch")) {
		if (q->adopted)
			do_cont(q);
		else if (qmp_execute(q->qmp, "query-kvm", NULL, on_kvm,
				     &wrong) < 0)
			fail_start(q, &wrong);
	} else if (!strcmp(status, "shutdown")) {
		ended_before(q);
	} else if (!strcmp(status, "guest-panicked")) {
		decide_and_quit(q, "guest-panic");
	} else if (!strcmp(status, "internal-error")) {
		(void)err_set(&wrong, ERR_INTERNAL, "guest_crashed", 0,
			      "KVM could not go on with the guest (internal "
			      "error)");
		engine_vm_decide(&q->base, VM_END_CRASH, &wrong);
		quit(q);
	} else {
		engine_vm_running(&q->base);
		/* Of one that an earlier daemon has seen pause the reason is not
		 * told: the likely one. */
		if (!strcmp(status, "io-error"))
			engine_vm_paused(&q->base,
					 q->pause ? q->pause : "disk full");
		else if (!strcmp(status, "running"))
			engine_vm_paused(&q->base, NULL);
	}
}

static void on_ready(void *ctx)
{
	struct qemu_vm *q = ctx;
	struct err e = ERR_INIT;

	q->qmp_ready = true;
	if (q->base.decided)
		quit(q);
	else if (qmp_execute(q->qmp, "query-status", NULL, on_status, &e) < 0)
		fail_start(q, &e);
}

static void on_port_change(struct qemu_vm *q, const json_t *data)
{
	const char *id = json_string_value(json_object_get(data, "id"));

	if (!id || strcmp(id, "agent") != 0 ||
	    !json_is_true(json_object_get(data, "open")))
		return;
	/* A second agent does not know the session of the first. */
	if (q->port_opened)
		engine_vm_agent_soon(&q->base, 0);
	q->port_opened = true;
}

/* passt came or went: the guest sees its link go up or down. */
static void set_link(struct qemu_vm *q, bool up)
{
	if (q->qmp_ready)
		(void)qmp_execute(q->qmp, "set_link",
				  json_pack("{s:s, s:b}", "name", "net", "up",
					    (int)up),
				  NULL, NULL);
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	struct qemu_vm *q = ctx;

	/* A guest can bring events about for as long as it lives. */
	if (++q->events % LOG_LOOK_EVENTS == 0)
		engine_log_bound(q->base.dirfd, "qmp.log");
	if (!strcmp(name, "SHUTDOWN")) {
		if (!q->base.decided)
			decide_and_quit(q, shutdown_reason(data));
	} else if (!strcmp(name, "GUEST_PANICKED")) {
		decide_and_quit(q, "guest-panic");
	} else if (!strcmp(name, "VSERPORT_CHANGE")) {
		on_port_change(q, data);
	} else if (!strcmp(name, "NETDEV_STREAM_CONNECTED")) {
		set_link(q, true);
	} else if (!strcmp(name, "NETDEV_STREAM_DISCONNECTED")) {
		set_link(q, false);
	} else if (!strcmp(name, "BLOCK_IO_ERROR")) {
		bool full = json_is_true(json_object_get(data, "nospace"));

		q->pause = full ? "disk full" : "disk error";
	} else if ((!strcmp(name, "STOP") || !strcmp(name, "RESUME")) &&
		   q->base.running && !q->base.decided) {
		/* Stopped for an internal error of KVM? Then it stays so. */
		(void)qmp_execute(q->qmp, "query-status", NULL, on_status,
				  NULL);
	}
}

static void on_closed(void *ctx, const struct err *e)
{
	struct qemu_vm *q = ctx;

	engine_vm_enter(&q->base);
	qemu_control_close(q);
	if (!q->base.running && !q->base.decided && !q->adopted) {
		/* A QEMU that is ending says why on stderr: wait for that. */
		if (e->kind == ERR_UNAVAILABLE)
			engine_vm_end_within(&q->base, 1000);
		else
			engine_vm_finish(&q->base, VM_END_FAILED, e);
	} else if (q->base.decided) {
		engine_vm_end_within(&q->base, 1000);
	} else {
		loop_timer_arm(&q->reconnect, QEMU_RECONNECT_MS);
	}
	engine_vm_leave(&q->base);
}

static const struct qmp_ops qmp_ops = { on_ready, on_event, on_closed };

int qemu_control_open(struct qemu_vm *q, struct err *e)
{
	int fd = -1;
	int rc = sock_connect_unix(q->base.dirfd, "qmp.sock", &fd, e);

	if (rc < 0)
		return rc;
	q->qmp = qmp_new(q->base.loop, fd, q->timeout_ms, &qmp_ops, q, e);
	return q->qmp ? 0 : -ENOMEM;
}

void qemu_control_close(struct qemu_vm *q)
{
	qmp_free(q->qmp);
	q->qmp = NULL;
	q->qmp_ready = false;
}

static void on_reconnect(struct loop_timer *timer)
{
	struct qemu_vm *q = timer->data;

	if (!q->qmp && !q->base.main_gone && qemu_control_open(q, NULL) < 0)
		loop_timer_arm(&q->reconnect, QEMU_RECONNECT_MS);
}

void qemu_control_init(struct qemu_vm *q)
{
	loop_timer_init(q->base.loop, &q->reconnect, on_reconnect, q);
}

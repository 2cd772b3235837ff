/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session loop. Messages of the server are data from outside: unknown
 * members are ignored, anything else that is not as the API says ends it.
 */
#include "vmctl/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "api/client/ws.h"
#include "api/names.h"
#include "api/problem.h"
#include "api/schema.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/stream_out.h"
#include "vmctl/term.h"

enum {
	HANDSHAKE_MS = 30000,
	INPUT_CHUNK = 32768,
	INPUT_QUEUE_HIGH = 131072, /* then standard input waits */
	SPINNER_MS = 250,
	ESCAPE_KEY = 0x1d, /* Ctrl-] */
};

enum {
	SLOT_WS,
	SLOT_SIGNAL,
	SLOT_IN,
	SLOT_OUT,
	SLOT_ERR,
	SLOT_COUNT
};

struct session {
	const struct session_spec *spec;
	struct api_ws *ws;
	struct stream_out out[2]; /* stdout, stderr */
	struct session_end end;
	struct err error;
	char step[128]; /* shown until the command runs */
	unsigned interrupts;
	bool started, input_ended, warned;
	bool finished; /* the end is known; output may still wait */
	bool failed; /* error holds why */
};

static void signal_set(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGHUP);
	(void)sigaddset(set, SIGWINCH);
}

void session_signals_block(void)
{
	sigset_t set;

	signal_set(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	/* A shell starts background jobs with SIGINT ignored, and what is ignored
	 * is never delivered. The guest's command decides what an interrupt does. */
	(void)signal(SIGINT, SIG_DFL);
}

bool session_signal_waits(void *unused)
{
	sigset_t set;

	(void)unused;
	return sigpending(&set) == 0 &&
	       (sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) ||
		sigismember(&set, SIGHUP));
}

static void fail_protocol(struct session *s, const char *what)
{
	s->failed = true;
	(void)err_set(&s->error, ERR_PROTOCOL, "bad_message", 0,
		      "the daemon sent %s", what);
}

static void on_output(struct session *s, const uint8_t *data, size_t len)
{
	size_t channel = 0;
	int rc;

	if (s->spec->request) {
		if (len == 0 || data[0] < 1 || data[0] > 2) {
			fail_protocol(s, "output on an unknown channel");
			return;
		}
		channel = data[0] - 1U;
		data++;
		len--;
	}
	rc = stream_out_add(&s->out[channel], data, len);
	if (rc < 0)
		fail_protocol(s, "more output than it may");
	if (stream_out_pending(&s->out[channel]) > STREAM_OUT_HIGH)
		api_ws_pause(s->ws, true);
}

static int send_json(struct session *s, json_t *message)
{
	AUTO(json) json_t *owned = message;
	AUTO(free) char *text = owned ? json_to_text(owned) : NULL;

	return text ? api_ws_send(s->ws, true, text, strlen(text)) : -ENOMEM;
}

static void send_size(struct session *s)
{
	uint16_t rows, columns;

	term_size(&rows, &columns);
	(void)send_json(s, json_pack("{s:{s:i, s:i}}", "resize", "rows", rows,
				     "columns", columns));
}

static void on_started(struct session *s)
{
	progress_clear();
	s->started = true;
	/* Not a terminal: then there is nothing to be made raw. */
	if (s->spec->tty && s->spec->input)
		(void)term_raw();
	/* It may have changed while the VM booted. */
	if (s->spec->tty && s->spec->request)
		send_size(s);
}

static void on_event(struct session *s, const json_t *event)
{
	const json_t *progress = json_object_get(event, "progress");
	const json_t *exit = json_object_get(event, "exit");
	const json_t *error = json_object_get(event, "error");
	const char *warning = text_of(event, "warning");

	if (progress && !s->started) {
		const char *step = text_of(progress, "step");

		(void)snprintf(s->step, sizeof(s->step), "%s",
			       *step ? step : text_of(progress, "state"));
		progress_show(s->step, 0, 0);
	}
	if (*warning && !s->warned) {
		s->warned = true;
		ctx_warn(warning);
	}
	if (json_object_get(event, "started"))
		on_started(s);
	if (exit) {
		s->finished = true;
		s->end.status = guest_exit_status(number_of(exit, "status"),
						  number_of(exit, "signal"));
	}
	if (error && !json_is_null(error)) {
		s->failed = true;
		(void)api_problem_to_err(error, 0, &s->error);
	}
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	struct session *s = ctx;
	AUTO(json) json_t *event = NULL;

	if (s->finished || s->failed)
		return;
	if (!text) {
		on_output(s, data, len);
		return;
	}
	if (json_parse_strict((const char *)data, len, "message", &event,
			      NULL) < 0 ||
	    !json_is_object(event)) {
		fail_protocol(s, "a message that is not JSON");
		return;
	}
	on_event(s, event);
}

static void stop(struct session *s, int sig)
{
	s->finished = true;
	s->end.by_user = true;
	s->end.status = 128 + sig;
}

static void on_signal(struct session *s, int sig)
{
	if (sig == SIGWINCH) {
		if (s->spec->tty && s->spec->request && s->started)
			send_size(s);
		return;
	}
	if (!s->spec->request || sig == SIGHUP || !s->started ||
	    ++s->interrupts > 1) {
		stop(s, sig);
		return;
	}
	(void)send_json(s, json_pack("{s:s}", "signal", api_signal_name(sig)));
}

static void read_signals(struct session *s, int fd)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		on_signal(s, (int)info.ssi_signo);
}

static void read_input(struct session *s)
{
	uint8_t chunk[INPUT_CHUNK + 1] = { 0 }; /* channel 0, data */
	bool exec = s->spec->request != NULL;
	ssize_t n = read(STDIN_FILENO, chunk + 1, INPUT_CHUNK);
	const uint8_t *escape;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		s->input_ended = true;
		if (exec)
			(void)api_ws_send(s->ws, false, chunk, 1);
		return;
	}
	if (exec) {
		(void)api_ws_send(s->ws, false, chunk, (size_t)n + 1);
		return;
	}
	escape = s->spec->tty ? memchr(chunk + 1, ESCAPE_KEY, (size_t)n) : NULL;
	if (escape) {
		n = escape - (chunk + 1);
		s->finished = true;
	}
	if (n > 0)
		(void)api_ws_send(s->ws, false, chunk + 1, (size_t)n);
}

/* Output first, then the socket, so that pauses end as soon as they can. */
static void write_output(struct session *s, size_t i)
{
	int rc = stream_out_write(&s->out[i]);

	if (rc == -EPIPE && i == 0) {
		/* As a program that is killed by SIGPIPE. */
		s->finished = true;
		s->end.by_user = true;
		s->end.status = 128 + SIGPIPE;
	} else if (rc < 0 && i == 0) {
		s->failed = true;
		(void)err_sys(&s->error, -rc, "standard output");
	}
	/* Messages that nobody can read are no reason to lose the command's
	 * status, and there is nowhere to say so. */
}

static bool output_low(const struct session *s)
{
	return stream_out_pending(&s->out[0]) <= STREAM_OUT_HIGH / 2 &&
	       stream_out_pending(&s->out[1]) <= STREAM_OUT_HIGH / 2;
}

static bool output_waits(const struct session *s)
{
	return stream_out_pending(&s->out[0]) > 0 ||
	       stream_out_pending(&s->out[1]) > 0;
}

static void handle_socket(struct session *s)
{
	struct err e = ERR_INIT;
	int rc;

	if (output_low(s))
		api_ws_pause(s->ws, false);
	rc = api_ws_handle(s->ws, &e);
	if (rc == 0 || s->finished || s->failed)
		return;
	if (!s->spec->request && rc == -EPIPE) {
		s->finished = true; /* the console went with the VM */
		return;
	}
	s->failed = true;
	s->error = e;
	(void)err_wrap(&s->error, rc, "the command's end is not known");
}

static int fill_slots(struct session *s, struct pollfd *slots, int signal_fd)
{
	bool input = s->spec->input && s->started && !s->input_ended &&
		     !s->finished && api_ws_queued(s->ws) < INPUT_QUEUE_HIGH;
	short events = api_ws_events(s->ws);
	bool over = s->finished || s->failed;

	/* A descriptor without events would still report POLLHUP, for ever. */
	slots[SLOT_WS].fd = events && !over ? api_ws_fd(s->ws) : -1;
	slots[SLOT_WS].events = events;
	slots[SLOT_SIGNAL] = (struct pollfd){ signal_fd, POLLIN, 0 };
	slots[SLOT_IN] =
		(struct pollfd){ input ? STDIN_FILENO : -1, POLLIN, 0 };
	for (int i = 0; i < 2; i++) {
		bool waits = stream_out_pending(&s->out[i]) > 0;

		slots[SLOT_OUT + i] =
			(struct pollfd){ waits ? s->out[i].fd : -1, POLLOUT,
					 0 };
	}
	return !s->started && !over && isatty(STDERR_FILENO) ? SPINNER_MS : -1;
}

static void loop(struct session *s, int signal_fd)
{
	struct pollfd slots[SLOT_COUNT] = { { .fd = -1 } };

	for (;;) {
		int timeout, n;

		if (!s->finished && !s->failed)
			handle_socket(s);
		if ((s->finished || s->failed) && !output_waits(s))
			return;
		timeout = fill_slots(s, slots, signal_fd);
		n = poll(slots, SLOT_COUNT, timeout);
		if (n == 0)
			progress_show(s->step, 0, 0);
		if (n <= 0)
			continue;
		if (slots[SLOT_SIGNAL].revents)
			read_signals(s, signal_fd);
		for (size_t i = 0; i < 2; i++)
			if (slots[SLOT_OUT + i].revents)
				write_output(s, i);
		if (slots[SLOT_IN].revents)
			read_input(s);
		if (s->end.by_user)
			return;
	}
}

int session_run(struct ctx *ctx, const struct session_spec *spec,
		struct session_end *ret, struct err *e)
{
	struct session s = { .spec = spec, .step = "waiting for the VM" };
	AUTO(free) char *text = NULL;
	AUTO(fd) int signal_fd = -1;
	sigset_t set;
	int rc;

	if (spec->request) {
		text = json_to_text(spec->request);
		if (!text)
			return err_sys(e, ENOMEM, "request");
		if (strlen(text) > API_COMMAND_TEXT_MAX)
			return err_set(
				e, ERR_INVALID, API_CODE_ARGUMENT_LIST_TOO_LONG,
				E2BIG,
				"the command has %zu bytes as JSON, at "
				"most %d are taken: pass data on standard "
				"input or in a file",
				strlen(text), API_COMMAND_TEXT_MAX);
	}
	session_signals_block();
	signal_set(&set);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return err_sys(e, errno, "signals");
	rc = api_ws_open(api_client_socket(ctx->client), spec->path,
			 HANDSHAKE_MS, on_message, &s, &s.ws, e);
	if (rc < 0)
		return rc;
	stream_out_init(&s.out[0], STDOUT_FILENO);
	stream_out_init(&s.out[1], STDERR_FILENO);
	if (text)
		rc = api_ws_send(s.ws, true, text, strlen(text));
	else
		on_started(&s);
	if (rc == 0) {
		loop(&s, signal_fd);
	} else {
		s.failed = true;
		(void)err_sys(&s.error, -rc, "request");
	}
	term_restore();
	progress_clear();
	api_ws_free(s.ws);
	stream_out_done(&s.out[0]);
	stream_out_done(&s.out[1]);
	if (s.failed && !s.end.by_user) {
		*e = s.error;
		return -EIO;
	}
	*ret = s.end;
	return 0;
}

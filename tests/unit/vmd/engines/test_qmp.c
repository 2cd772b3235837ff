/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/engines/qemu/qmp.c against a fake QEMU on a socket pair. */
#include "tests/unit/until.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "vmd/engines/qemu/qmp.h"

#define GREETING "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\r\n"

enum {
	TIMEOUT_MS = 300
};

struct fixture {
	struct loop *loop;
	struct qmp *qmp;
	int fd;
	unsigned int ready, events, closed, replies;
	char event[64], got[4096];
	size_t got_len;
	struct err closed_err, reply_err;
	bool free_in_event;
};

static void on_ready(void *ctx)
{
	((struct fixture *)ctx)->ready++;
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	struct fixture *f = ctx;

	(void)data;
	f->events++;
	(void)snprintf(f->event, sizeof(f->event), "%s", name);
	if (f->free_in_event) {
		qmp_free(f->qmp);
		f->qmp = NULL;
	}
}

static void on_closed(void *ctx, const struct err *e)
{
	struct fixture *f = ctx;

	f->closed++;
	f->closed_err = *e;
}

static void on_reply(void *ctx, const json_t *ret, const struct err *e)
{
	struct fixture *f = ctx;

	(void)ret;
	f->replies++;
	f->reply_err.kind = ERR_NONE;
	if (e)
		f->reply_err = *e;
}

static const struct qmp_ops ops = { on_ready, on_event, on_closed };

#define RUN_UNTIL(f, cond) \
	UNTIL(10000, cond, (loop_run_once((f)->loop, 1), take(f)))

static void take(struct fixture *f)
{
	ssize_t n = recv(f->fd, f->got + f->got_len,
			 sizeof(f->got) - 1 - f->got_len, MSG_DONTWAIT);

	if (n > 0)
		f->got_len += (size_t)n;
	f->got[f->got_len] = '\0';
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->fd, text, strlen(text), MSG_NOSIGNAL),
			 strlen(text));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_non_null(f);
	f->loop = loop_new(NULL);
	assert_int_equal(sock_pair(fds), 0);
	f->fd = fds[1];
	f->qmp = qmp_new(f->loop, fds[0], TIMEOUT_MS, &ops, f, NULL);
	assert_non_null(f->qmp);
	*state = f;
	return 0;
}

static int setup_ready(void **state)
{
	struct fixture *f;

	(void)setup(state);
	f = *state;
	say(f, GREETING);
	RUN_UNTIL(f, strstr(f->got, "qmp_capabilities"));
	say(f, "{\"return\":{},\"id\":1}\r\n");
	RUN_UNTIL(f, f->ready);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qmp_free(f->qmp);
	close_fd(&f->fd);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void test_replies_match_by_id_between_events(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(qmp_execute(f->qmp, "stop", NULL, on_reply, NULL), 0);
	assert_int_equal(qmp_execute(f->qmp, "cont", NULL, on_reply, NULL), 0);
	RUN_UNTIL(f, strstr(f->got, "cont"));
	say(f, "{\"event\":\"STOP\"}\r\n{\"return\":{},\"id\":3}\r\n"
	       "{\"error\":{\"class\":\"X\",\"desc\":\"no\"},\"id\":2}\r\n");
	RUN_UNTIL(f, f->replies == 2);
	assert_string_equal(f->event, "STOP");
	assert_string_equal(f->reply_err.code, "qemu_refused");
	assert_non_null(strstr(f->reply_err.msg, "\"stop\""));
}

static void test_line_in_single_bytes_is_understood(void **state)
{
	static const char line[] = "{\"event\":\"RESUME\"}\n";
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(line) - 1; i++) {
		assert_int_equal(send(f->fd, line + i, 1, 0), 1);
		(void)loop_run_once(f->loop, 0);
	}
	RUN_UNTIL(f, f->events == 1);
}

static void test_no_greeting_is_hung(void **state)
{
	struct fixture *f = *state;

	RUN_UNTIL(f, f->closed);
	assert_string_equal(f->closed_err.code, "qemu_hung");
	assert_int_equal(f->closed_err.kind, ERR_TIMEOUT);
}

static void test_unanswered_command_is_hung(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(qmp_execute(f->qmp, "quit", NULL, on_reply, NULL), 0);
	RUN_UNTIL(f, f->closed);
	assert_string_equal(f->closed_err.code, "qemu_hung");
	assert_non_null(strstr(f->closed_err.msg, "quit"));
	assert_int_equal(f->replies, 0);
	assert_true(qmp_execute(f->qmp, "quit", NULL, NULL, NULL) < 0);
}

static void test_end_of_file_closes(void **state)
{
	struct fixture *f = *state;

	close_fd(&f->fd);
	RUN_UNTIL(f, f->closed);
	assert_string_equal(f->closed_err.code, "qmp_lost");
}

static void test_event_before_end_is_not_lost(void **state)
{
	struct fixture *f = *state;

	say(f, "{\"event\":\"SHUTDOWN\"}\r\n");
	close_fd(&f->fd);
	qmp_drain(f->qmp);
	assert_int_equal(f->events, 1);
	RUN_UNTIL(f, f->closed);
}

static void test_free_inside_event_is_safe(void **state)
{
	struct fixture *f = *state;

	f->free_in_event = true;
	say(f, "{\"event\":\"A\"}\r\n{\"event\":\"B\"}\r\n");
	RUN_UNTIL(f, f->events);
	assert_int_equal(f->events, 1);
}

static void test_too_many_commands_are_refused(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	for (int i = 0; i < QMP_COMMANDS_MAX; i++)
		assert_int_equal(qmp_execute(f->qmp, "x", NULL, NULL, &e), 0);
	assert_true(qmp_execute(f->qmp, "x", NULL, NULL, &e) < 0);
	assert_string_equal(e.code, "qmp_lost");
}

/* Each of these ends the connection with an error and nothing worse. */
static void test_hostile_lines_close_the_connection(void **state)
{
	static const char *const bad[] = {
		"{\"return\":{},\"id\":77}\r\n",
		"{\"return\":{}}\r\n",
		"{\"return\":{},\"error\":{},\"id\":2}\r\n",
		"[]\r\n",
		"x\n",
		"{\"id\":2}\n",
		"{\"event\":5}\n",
		"{\"a\":1,\"a\":2}\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct fixture *f;
		void *inner;

		(void)setup_ready(&inner);
		f = inner;
		say(f, bad[i]);
		RUN_UNTIL(f, f->closed);
		assert_string_equal(f->closed_err.code, "qmp_protocol");
		(void)teardown(&inner);
	}
}

static void test_endless_line_is_refused(void **state)
{
	struct fixture *f = *state;
	static char a[65536];

	memset(a, 'a', sizeof(a));
	UNTIL(10000, f->closed,
	      (send(f->fd, a, sizeof(a), MSG_NOSIGNAL | MSG_DONTWAIT),
	       loop_run_once(f->loop, 1)));
	assert_string_equal(f->closed_err.code, "qmp_protocol");
}

#define TEST(setup_fn, name) \
	cmocka_unit_test_setup_teardown(name, setup_fn, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(setup_ready, test_replies_match_by_id_between_events),
		TEST(setup_ready, test_line_in_single_bytes_is_understood),
		TEST(setup, test_no_greeting_is_hung),
		TEST(setup_ready, test_unanswered_command_is_hung),
		TEST(setup_ready, test_end_of_file_closes),
		TEST(setup_ready, test_event_before_end_is_not_lost),
		TEST(setup_ready, test_free_inside_event_is_safe),
		TEST(setup_ready, test_too_many_commands_are_refused),
		cmocka_unit_test(test_hostile_lines_close_the_connection),
		TEST(setup_ready, test_endless_line_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The console log over the real server: its tail, and what comes after. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rig.h"

enum {
	BLOCKS = 65536
};

/* A client that follows, and the log of the VM that it follows. */
struct follower {
	struct rig *r;
	char *id;
	int fd, log;
	char in[4 * BLOCKS];
	size_t len;
};

static void create(struct rig *r, struct follower *f)
{
	struct answer a;
	char path[200];

	*f = (struct follower){ .r = r, .fd = -1 };
	f->id = rig_create(r, "\"name\":\"log\"", &a);
	answer_done(&a);
	(void)snprintf(path, sizeof(path), "%s/vms/%s/console.log", r->run,
		       f->id);
	f->log = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(f->log >= 0);
}

static void follow(struct follower *f)
{
	static const char get[] = "GET /v1/vms/log/logs?follow=true "
				  "HTTP/1.1\r\nHost: x\r\n\r\n";

	f->fd = rig_connect(f->r);
	assert_true(send(f->fd, get, sizeof(get) - 1, 0) > 0);
}

static bool came(struct follower *f, const char *text)
{
	ssize_t n = recv(f->fd, f->in + f->len, sizeof(f->in) - f->len,
			 MSG_DONTWAIT);

	f->len += n > 0 ? (size_t)n : 0;
	return memmem(f->in, f->len, text, strlen(text)) != NULL;
}

static void print(struct follower *f, const char *text)
{
	assert_int_equal(write(f->log, text, strlen(text)), strlen(text));
	fake_print(f->id, text);
}

static void leave(struct follower *f)
{
	close_fd(&f->fd); /* while it follows */
	RIG_UNTIL(f->r, http_connections(f->r->http) == 0);
	close_fd(&f->log);
	free(f->id);
}

static void test_logs_tail_and_follow(void **state)
{
	static struct follower f;
	struct answer a;

	create(*state, &f);
	rig_call(f.r, "GET", "/v1/vms/log/logs", "", NULL, &a);
	assert_non_null(strstr(a.body, "first line\nlast line\n"));
	answer_done(&a);
	rig_call(f.r, "GET", "/v1/vms/log/logs?tail_bytes=10", "", NULL, &a);
	assert_null(strstr(a.body, "first"));
	answer_done(&a);
	follow(&f);
	RIG_UNTIL(f.r, came(&f, "last line"));
	print(&f, "more\n");
	RIG_UNTIL(f.r, came(&f, "more"));
	leave(&f);
}

/* The monitor punches the head out of a log that grows too long. */
static void test_logs_follower_sees_no_hole(void **state)
{
	static struct follower f;
	static char old[BLOCKS];
	off_t end;

	create(*state, &f);
	follow(&f);
	RIG_UNTIL(f.r, came(&f, "last line"));
	/* It has read up to here; what comes is gone before it reads on. */
	memset(old, 'o', sizeof(old));
	for (int i = 0; i < 4; i++)
		assert_int_equal(write(f.log, old, sizeof(old)), sizeof(old));
	end = lseek(f.log, 0, SEEK_END);
	if (fallocate(f.log, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      end & ~(off_t)(BLOCKS - 1)) < 0) {
		(void)printf("SKIP: no holes in files of this directory\n");
		leave(&f);
		skip();
	}
	print(&f, "after the hole\n");
	RIG_UNTIL(f.r, came(&f, "after the hole"));
	assert_null(memchr(f.in, '\0', f.len));
	leave(&f);
}

/* And begins one anew where it cannot punch. */
static void test_logs_follower_sees_a_new_beginning(void **state)
{
	static struct follower f;

	create(*state, &f);
	follow(&f);
	RIG_UNTIL(f.r, came(&f, "last line"));
	assert_int_equal(ftruncate(f.log, 0), 0);
	print(&f, "anew\n");
	RIG_UNTIL(f.r, came(&f, "anew"));
	leave(&f);
}

static void assert_log(struct rig *r, const char *text)
{
	struct answer a;

	rig_call(r, "GET", "/v1/vms/a/logs", "", NULL, &a);
	if (a.status != 200 || !strstr(a.body, text))
		fail_msg("%d: %s", a.status, a.body);
	answer_done(&a);
}

/* What went wrong last time is still of use when the next start is refused. */
static void test_refused_start_keeps_the_last_log(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char *id = rig_create(r, "\"name\":\"a\"", &a);

	free(id);
	answer_done(&a);
	rig_expect(r, "POST", "/v1/vms/a/stop?wait=5", "{\"force\":true}",
		   "state", "succeeded");
	/* By the daemon. */
	rig_memory = 1 << 20;
	rig_expect(r, "POST", "/v1/vms/a/start?wait=5", NULL, "error.code",
		   "no_memory");
	assert_log(r, "last line");
	rig_memory = UINT64_C(8) << 30;
	/* By the engine. */
	fake_fault = FAKE_START_REFUSED;
	rig_expect(r, "POST", "/v1/vms/a/start?wait=5", NULL, "error.code",
		   "fake_refused");
	assert_log(r, "last line");
	fake_fault = FAKE_OK;
	rig_expect(r, "POST", "/v1/vms/a/start?wait=5", NULL, "state",
		   "succeeded");
	assert_log(r, "last line");
	assert_int_equal(rig_entries(r, "run/vms"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_logs_tail_and_follow),
		RIG_TEST(test_logs_follower_sees_no_hole),
		RIG_TEST(test_logs_follower_sees_a_new_beginning),
		RIG_TEST(test_refused_start_keeps_the_last_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

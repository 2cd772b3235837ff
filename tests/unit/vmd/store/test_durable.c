/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that promise something wait for the disk, looks do not; the WAL is
 * made durable and kept short off the loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/worker.h"
#include "rig.h"
#include "vmd/store/store_sql.h"

enum {
	WORKERS = 2 /* as the daemon has */
};

/* A disk that hangs: every worker waits until it is let go. */
struct hang {
	struct worker_job jobs[WORKERS];
	sem_t sem;
	unsigned done;
};

static struct hang hang; /* one at a time */

static void hang_run(struct worker_job *job)
{
	struct hang *h = job->data;

	(void)sem_wait(&h->sem);
}

static void hang_done(struct worker_job *job)
{
	struct hang *h = job->data;

	h->done++;
}

static void hang_begin(struct rig *r)
{
	struct hang *h = &hang;

	(void)sem_init(&h->sem, 0, 0);
	h->done = 0;
	for (int i = 0; i < WORKERS; i++) {
		h->jobs[i] = (struct worker_job){ .run = hang_run,
						  .done = hang_done,
						  .data = h };
		worker_submit(r->d.workers, &h->jobs[i]);
	}
}

static void hang_end(struct rig *r)
{
	struct hang *h = &hang;

	for (int i = 0; i < WORKERS; i++)
		(void)sem_post(&h->sem);
	RIG_UNTIL(r, h->done == WORKERS);
}

/* Also when a test has failed in between. */
static int teardown(void **state)
{
	for (int i = 0; i < WORKERS; i++)
		(void)sem_post(&hang.sem);
	return rig_teardown(state);
}

static int post(struct rig *r, const char *path, const char *body)
{
	char text[512];
	int fd = rig_connect(r);
	int len = snprintf(text, sizeof(text),
			   "POST %s HTTP/1.1\r\nHost: vmd\r\n"
			   "Connection: close\r\nContent-Type: "
			   "application/json\r\nContent-Length: %zu\r\n\r\n%s",
			   path, strlen(body), body);

	assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
	return fd;
}

/* true when an answer has come. */
static bool answered(int fd, const char *want)
{
	char text[4096];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_PEEK | MSG_DONTWAIT);

	if (n <= 0)
		return false;
	text[n] = '\0';
	if (strncmp(text + 9, want, 3) != 0)
		fail_msg("%s", text);
	return true;
}

static void test_promises_wait_for_the_disk_and_looks_do_not(void **state)
{
	struct rig *r = *state;
	int fd;

	rig_settle(r);
	hang_begin(r);
	fd = post(r, "/v1/vms", "{\"image\":\"tiny\",\"name\":\"a\"}");
	RIG_UNTIL(r, r->d.vm_count == 1);
	rig_spin(r, 50);
	assert_false(answered(fd, "202"));
	rig_expect(r, "GET", "/v1/vms/a", NULL, "name", "a");
	rig_expect(r, "GET", "/v1/vms/b", NULL, "code", "vm_not_found");
	rig_expect(r, "POST", "/v1/vms", "{\"image\":\"none\"}", "code",
		   "image_not_found");
	assert_false(answered(fd, "202"));
	hang_end(r);
	RIG_UNTIL(r, answered(fd, "202"));
	close(fd);
}

static void test_client_that_goes_is_not_waited_for(void **state)
{
	struct rig *r = *state;
	int fd;

	rig_settle(r);
	hang_begin(r);
	fd = post(r, "/v1/vms", "{\"image\":\"tiny\",\"start\":false}");
	RIG_UNTIL(r, r->d.vm_count == 1);
	close(fd);
	RIG_UNTIL(r, http_connections(r->http) == 0);
	hang_end(r);
}

static void test_disk_that_refuses_is_told(void **state)
{
	struct rig *r = *state;
	int saved, pipes[2];

	rig_settle(r);
	saved = fcntl(r->d.store->wal_fd, F_DUPFD_CLOEXEC, 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	/* fdatasync() of a pipe is an error. */
	assert_true(dup2(pipes[0], r->d.store->wal_fd) >= 0);
	rig_expect(r, "POST", "/v1/vms", "{\"image\":\"tiny\",\"start\":false}",
		   "code", "database_failed");
	assert_true(dup2(saved, r->d.store->wal_fd) >= 0);
	close(saved);
	close(pipes[0]);
	close(pipes[1]);
	RIG_UNTIL(r, store_is_durable(r->d.store));
	rig_expect(r, "POST", "/v1/vms", "{\"image\":\"tiny\",\"start\":false}",
		   "operation.kind", "vm_create");
}

static off_t wal_bytes(const struct rig *r)
{
	struct stat st;

	assert_int_equal(fstat(r->d.store->wal_fd, &st), 0);
	return st.st_size;
}

/* Many commits, from the loop alone: their WAL goes when they pause. */
static void test_wal_is_written_back_and_cut(void **state)
{
	struct rig *r = *state;
	char text[32];

	for (int i = 0; i < 300; i++) {
		(void)snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(store_meta_put(r->d.store, "n", text, NULL),
				 0);
		(void)loop_run_once(r->loop, 0);
	}
	RIG_UNTIL(r, wal_bytes(r) == 0);
	assert_int_equal(store_meta_put(r->d.store, "n", "last", NULL), 0);
	RIG_UNTIL(r, store_is_durable(r->d.store));
	assert_true(wal_bytes(r) > 0);
	rig_drop(r);
	rig_start(r);
	assert_int_equal(
		store_meta_get(r->d.store, "n", text, sizeof(text), NULL), 0);
	assert_string_equal(text, "last");
}

/* A checkpoint under way: the WAL is not begun again under it. */
static void test_wal_stays_whole_under_a_checkpoint(void **state)
{
	struct rig *r = *state;
	struct store *s = r->d.store;
	off_t before;

	for (int i = 0; i < 150; i++)
		assert_int_equal(store_meta_put(s, "n", "x", NULL), 0);
	RIG_UNTIL(r, store_is_durable(s) && !s->checkpointing);
	hang_begin(r);
	for (int i = 0; i < 150; i++)
		assert_int_equal(store_meta_put(s, "n", "y", NULL), 0);
	before = wal_bytes(r);
	/* Somebody else's checkpoint covers all: with no pin SQLite would write
	 * the next commit over the first frames. */
	assert_int_equal(sqlite3_exec(s->pin, "BEGIN; SELECT 1 FROM meta", NULL,
				      NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_wal_checkpoint_v2(s->checkpointer, NULL,
						   SQLITE_CHECKPOINT_PASSIVE,
						   NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(store_meta_put(s, "n", "z", NULL), 0);
	assert_true(wal_bytes(r) > before);
	assert_int_equal(sqlite3_exec(s->pin, "COMMIT", NULL, NULL, NULL),
			 SQLITE_OK);
	hang_end(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_promises_wait_for_the_disk_and_looks_do_not),
		TEST(test_client_that_goes_is_not_waited_for),
		TEST(test_disk_that_refuses_is_told),
		TEST(test_wal_is_written_back_and_cut),
		TEST(test_wal_stays_whole_under_a_checkpoint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See worker.h. Two lists under one lock: jobs that wait for a thread, and jobs
 * whose end waits for the loop; an eventfd tells the loop of the second.
 */
#include "base/worker.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

/* Oldest first. */
struct jobs {
	struct worker_job *first, **end;
};

struct worker_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_t threads[WORKER_THREADS_MAX];
	unsigned wanted, started;
	unsigned idle; /* threads that wait for work */
	struct jobs waiting, ended;
	bool stop;
	int event_fd;
	struct loop_source source;
};

static void jobs_init(struct jobs *j)
{
	j->first = NULL;
	j->end = &j->first;
}

static void jobs_put(struct jobs *j, struct worker_job *job)
{
	job->next = NULL;
	*j->end = job;
	j->end = &job->next;
}

static struct worker_job *jobs_take(struct jobs *j)
{
	struct worker_job *job = j->first;

	if (job) {
		j->first = job->next;
		if (!j->first)
			j->end = &j->first;
	}
	return job;
}

static void tell_loop(struct worker_pool *pool)
{
	uint64_t one = 1;
	ssize_t n = write(pool->event_fd, &one, sizeof(one));

	(void)n; /* EAGAIN: it will look anyway */
}

static void *thread_main(void *data)
{
	struct worker_pool *pool = data;
	struct worker_job *job;

	(void)pthread_mutex_lock(&pool->lock);
	while (!pool->stop) {
		job = jobs_take(&pool->waiting);
		if (!job) {
			pool->idle++;
			(void)pthread_cond_wait(&pool->work, &pool->lock);
			pool->idle--;
			continue;
		}
		(void)pthread_mutex_unlock(&pool->lock);
		job->run(job);
		(void)pthread_mutex_lock(&pool->lock);
		jobs_put(&pool->ended, job);
		tell_loop(pool);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static void deliver(struct worker_pool *pool)
{
	struct worker_job *job;

	for (;;) {
		(void)pthread_mutex_lock(&pool->lock);
		job = jobs_take(&pool->ended);
		(void)pthread_mutex_unlock(&pool->lock);
		if (!job)
			return;
		job->done(job);
	}
}

static void on_event(struct loop_source *source, uint32_t events)
{
	struct worker_pool *pool = source->data;
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	deliver(pool);
}

/* Signals belong to the loop's thread. */
static int start_thread(struct worker_pool *pool)
{
	sigset_t all, old;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&pool->threads[pool->started], NULL, thread_main,
			    pool);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		pool->started++;
	return -rc;
}

struct worker_pool *worker_pool_new(struct loop *loop, unsigned threads,
				    struct err *e)
{
	struct worker_pool *pool = calloc(1, sizeof(*pool));
	int rc;

	assert(threads > 0 && threads <= WORKER_THREADS_MAX);
	if (!pool) {
		(void)err_sys(e, ENOMEM, "worker threads");
		return NULL;
	}
	pool->wanted = threads;
	jobs_init(&pool->waiting);
	jobs_init(&pool->ended);
	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->work, NULL);
	pool->source = (struct loop_source)LOOP_SOURCE_INIT;
	pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = pool->event_fd < 0 ? -errno
				: loop_add(loop, &pool->source, pool->event_fd,
					   EPOLLIN, on_event, pool);
	if (rc < 0) {
		(void)err_sys(e, -rc, "worker threads");
		worker_pool_free(pool);
		return NULL;
	}
	return pool;
}

void worker_pool_free(struct worker_pool *pool)
{
	struct worker_job *job;

	if (!pool)
		return;
	(void)pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	(void)pthread_cond_broadcast(&pool->work);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->started; i++)
		(void)pthread_join(pool->threads[i], NULL);
	/* One thread from here on; what done() submits is dropped. */
	deliver(pool);
	while ((job = jobs_take(&pool->waiting))) {
		job->dropped = true;
		job->done(job);
	}
	loop_remove(&pool->source);
	close_fd(&pool->event_fd);
	(void)pthread_cond_destroy(&pool->work);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void worker_submit(struct worker_pool *pool, struct worker_job *job)
{
	int rc = 0;

	job->dropped = false;
	(void)pthread_mutex_lock(&pool->lock);
	/* From a done() of worker_pool_free(): no thread may begin any more. */
	if (pool->stop) {
		jobs_put(&pool->waiting, job);
		(void)pthread_mutex_unlock(&pool->lock);
		return;
	}
	if (!pool->idle && pool->started < pool->wanted)
		rc = start_thread(pool);
	if (rc < 0)
		log_warn("a worker thread cannot be started: %s",
			 strerror(-rc));
	if (pool->started) {
		jobs_put(&pool->waiting, job);
		(void)pthread_cond_signal(&pool->work);
		(void)pthread_mutex_unlock(&pool->lock);
		return;
	}
	(void)pthread_mutex_unlock(&pool->lock);
	job->run(job);
	(void)pthread_mutex_lock(&pool->lock);
	jobs_put(&pool->ended, job);
	tell_loop(pool);
	(void)pthread_mutex_unlock(&pool->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See engine_rig.h. */
#include "engine_rig.h"

#include <signal.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/process.h"
#include "vmd/engines/host.h"

static void on_process(void *ctx, const struct vm_process *p)
{
	struct engine_rig *r = ctx;

	for (size_t i = 0; i < r->process_count; i++)
		if (strcmp(r->processes[i].role, p->role) == 0) {
			r->processes[i] = *p;
			return;
		}
	assert_true(r->process_count < VM_PROCESSES_MAX);
	r->processes[r->process_count++] = *p;
}

static void on_running(void *ctx)
{
	((struct engine_rig *)ctx)->running++;
}

static void on_agent(void *ctx, int fd)
{
	struct engine_rig *r = ctx;

	r->agents++;
	close_fd(&r->agent_fd);
	r->agent_fd = fd;
}

static void on_console(void *ctx, const void *data, size_t len)
{
	struct engine_rig *r = ctx;
	size_t room = sizeof(r->console) - 1 - r->console_len;

	memcpy(r->console + r->console_len, data, len < room ? len : room);
	r->console_len += len < room ? len : room;
}

static void on_ended(void *ctx, enum vm_end end, const struct err *e)
{
	struct engine_rig *r = ctx;

	r->ended++;
	r->end = end;
	r->err = *e;
	if (r->release_at_end) {
		r->engine->release(r->vm);
		r->vm = NULL;
	}
}

static void on_warning(void *ctx, const struct err *e)
{
	struct engine_rig *r = ctx;

	r->warnings++;
	r->err = *e;
}

static void on_paused(void *ctx, const char *why)
{
	struct engine_rig *r = ctx;

	r->pauses += why != NULL;
	(void)snprintf(r->pause, sizeof(r->pause), "%s", why ? why : "");
}

static void on_recovered(void *ctx)
{
	((struct engine_rig *)ctx)->recovered++;
}

static void on_jail(void *ctx, struct vm_launch *ret)
{
	const struct engine_rig *r = ctx;

	ret->jailed = r->launch.jailed;
	ret->uid_slot = r->launch.uid_slot;
}

static const struct engine_events events = {
	.process = on_process,
	.running = on_running,
	.agent = on_agent,
	.console = on_console,
	.ended = on_ended,
	.warning = on_warning,
	.paused = on_paused,
	.recovered = on_recovered,
	.jail = on_jail,
};

struct engine_rig *engine_rig_new(const struct engine_ops *engine)
{
	struct engine_rig *r = calloc(1, sizeof(*r));
	const char *old = getenv("PATH");
	char path[128];

	assert_non_null(r);
	r->engine = engine;
	r->agent_fd = -1;
	tmpdir_init(&r->dir);
	r->path = strdup(old ? old : "");
	(void)snprintf(path, sizeof(path), "%s:/usr/bin:/bin", r->dir.path);
	assert_int_equal(setenv("PATH", path, 1), 0);
	host_forget();
	r->loop = loop_new(NULL);
	assert_non_null(r->loop);
	r->launch = (struct vm_launch){
		.id = "testtesttesttesttesttestte",
		.name = "test",
		.uid_slot = 1,
		.vcpus = 1,
		.memory_bytes = 256u << 20,
		.kernel_path = "/proc/self/exe",
		.run_path = r->dir.path,
		.run_dirfd = r->dir.fd,
	};
	return r;
}

/* Also what runs on without a handle, as after a daemon's death. */
static void kill_processes(struct engine_rig *r)
{
	for (size_t i = 0; i < r->process_count; i++) {
		struct process p = PROCESS_INIT;

		if (process_adopt(r->processes[i].pid,
				  r->processes[i].start_time, &p, NULL) == 0)
			(void)process_signal(&p, SIGKILL);
		process_close(&p);
	}
}

int engine_rig_teardown(void **state)
{
	struct engine_rig *r = *state;

	if (r->vm && !r->ended)
		r->engine->kill(r->vm);
	if (!r->ended)
		kill_processes(r);
	if (r->vm)
		r->engine->release(r->vm);
	assert_int_equal(setenv("PATH", r->path, 1), 0);
	host_forget();
	close_fd(&r->agent_fd);
	loop_free(r->loop);
	tmpdir_done(&r->dir);
	free(r->path);
	free(r);
	return 0;
}

void engine_rig_program(const struct engine_rig *r, const char *name,
			const char *body)
{
	char text[1024];

	(void)snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
	tmpdir_put(&r->dir, name, text, 0755);
	host_forget();
}

int engine_rig_start_may_fail(struct engine_rig *r, struct err *e)
{
	return r->engine->start(r->loop, &r->launch, &events, r, &r->vm, e);
}

void engine_rig_start(struct engine_rig *r)
{
	struct err e = ERR_INIT;

	if (engine_rig_start_may_fail(r, &e) < 0)
		fail_msg("%s", e.msg);
}

int engine_rig_adopt(struct engine_rig *r, enum vm_end *end, struct err *e)
{
	r->running = r->agents = 0;
	r->console_len = 0;
	memset(r->console, 0, sizeof(r->console));
	return r->engine->adopt(r->loop, r->launch.id, r->dir.fd, r->dir.path,
				r->processes, r->process_count, &events, r,
				&r->vm, end, e);
}

const struct vm_process *engine_rig_process(const struct engine_rig *r,
					    const char *role)
{
	for (size_t i = 0; i < r->process_count; i++)
		if (strcmp(r->processes[i].role, role) == 0)
			return &r->processes[i];
	return NULL;
}

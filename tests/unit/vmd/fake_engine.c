/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/process.h"
#include "fake_agent.h"
#include "tests/must.h"
#include "vmd/priv/jails.h"

/* What the host would have: outlives the daemon's handle. */
struct world {
	char id[32];
	struct process process;
	bool alive, has_end;
	enum vm_end end;
	struct engine_vm *handle;
};

struct engine_vm {
	struct loop *loop;
	struct world *world;
	const struct engine_events *events;
	void *ctx;
	struct loop_timer step;
	struct fake_agent *agent;
	unsigned stage;
	bool dying, killed;
	enum fake_fault fault;
};

enum fake_fault fake_fault;
char fake_cmdline[2048];
unsigned fake_starts, fake_shutdowns, fake_resumes;
bool fake_room;

static struct world worlds[256];
static char program[256] = "sleep";

void fake_program(const char *dir)
{
	char command[600];

	(void)strcpy(program, "sleep");
	if (!dir)
		return;
	(void)snprintf(program, sizeof(program), "%s/vmd-monitor-fake", dir);
	(void)snprintf(command, sizeof(command), "cp /bin/sleep '%s'", program);
	must(system(command) == 0);
}

static struct world *world_find(const char *id)
{
	for (size_t i = 0; i < ARRAY_LEN(worlds); i++)
		if (strcmp(worlds[i].id, id) == 0)
			return &worlds[i];
	return NULL;
}

static struct world *world_free(void)
{
	for (size_t i = 0; i < ARRAY_LEN(worlds); i++)
		if (!worlds[i].alive && !worlds[i].handle &&
		    (!worlds[i].id[0] || world_find("") == NULL))
			return &worlds[i];
	return NULL;
}

static void world_kill(struct world *w)
{
	struct process_exit end;

	if (!w->alive)
		return;
	(void)process_signal(&w->process, SIGKILL);
	(void)process_wait(&w->process, 5000, &end);
	process_close(&w->process);
	w->alive = false;
}

static void finish(struct engine_vm *vm, enum vm_end end)
{
	struct err e = ERR_INIT;

	loop_timer_disarm(&vm->step);
	world_kill(vm->world);
	vm->world->has_end = true;
	vm->world->end = end;
	if (end == VM_END_FAILED)
		(void)err_set(&e, ERR_INTERNAL, "fake_died", 0,
			      "the fake engine died");
	vm->events->ended(vm->ctx, end, &e);
}

static void on_guest_shutdown(void *data)
{
	struct engine_vm *vm = data;

	fake_shutdowns++;
	if (vm->fault == FAKE_IGNORES_SHUTDOWN)
		return;
	vm->dying = true;
	loop_timer_arm(&vm->step, 0);
}

static void connect_agent(struct engine_vm *vm)
{
	int fds[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			fds) == 0);
	fake_agent_free(vm->agent);
	vm->agent = fake_agent_new(vm->loop, fds[0], on_guest_shutdown, vm);
	vm->events->agent(vm->ctx, fds[1]);
}

static void on_step(struct loop_timer *timer)
{
	struct engine_vm *vm = timer->data;

	if (vm->killed) {
		finish(vm, VM_END_KILLED);
		return;
	}
	if (vm->dying) {
		finish(vm, VM_END_POWEROFF);
		return;
	}
	switch (vm->stage++) {
	case 0:
		if (vm->fault == FAKE_DIES_STARTING) {
			finish(vm, VM_END_FAILED);
			return;
		}
		vm->events->running(vm->ctx);
		break;
	case 1:
		vm->events->console(vm->ctx, "booting \033[1mfake\033[0m\r\n",
				    22);
		if (vm->fault == FAKE_NEVER_READY)
			return;
		break;
	case 2:
		connect_agent(vm);
		return;
	}
	loop_timer_arm(&vm->step, 0);
}

static void fake_probe(struct engine_status *ret)
{
	*ret = (struct engine_status){ .usable = true,
				       .detail = "a sleeping process" };
}

static int fake_can_run(const struct vm_launch *launch, struct err *e)
{
	(void)launch;
	(void)e;
	return 0;
}

static struct engine_vm *handle_new(struct loop *loop, struct world *w,
				    const struct engine_events *events,
				    void *ctx)
{
	struct engine_vm *vm = calloc(1, sizeof(*vm));

	must(vm);
	vm->loop = loop;
	vm->world = w;
	vm->events = events;
	vm->ctx = ctx;
	vm->fault = fake_fault;
	loop_timer_init(loop, &vm->step, on_step, vm);
	w->handle = vm;
	return vm;
}

static int fake_start(struct loop *loop, const struct vm_launch *launch,
		      const struct engine_events *events, void *ctx,
		      struct engine_vm **ret, struct err *e)
{
	const char *const argv[] = { program, "1000", NULL };
	struct jail_environment environment;
	struct process_spec spec = { .argv = argv,
				     .envp = jail_environment(launch->run_path,
							      &environment),
				     .cwd = launch->run_path,
				     .new_session = true };
	struct vm_process p = { .role = "fake" };
	struct world *w = world_find(launch->id);
	struct process_exit end;
	int log;

	fake_starts++;
	(void)snprintf(fake_cmdline, sizeof(fake_cmdline), "%s",
		       launch->cmdline);
	if (fake_fault == FAKE_START_REFUSED)
		return err_set(e, ERR_UNAVAILABLE, "fake_refused", 0,
			       "the fake engine refuses");
	if (!w)
		w = world_free();
	/* Somebody else may have ended it, by its pid. */
	if (w && w->alive && !w->handle &&
	    process_wait(&w->process, 500, &end) == 0) {
		process_close(&w->process);
		w->alive = false;
	}
	must(w && !w->alive && access(launch->kernel_path, R_OK) == 0);
	(void)snprintf(w->id, sizeof(w->id), "%s", launch->id);
	w->has_end = false;
	if (process_spawn(&spec, &w->process, e) < 0)
		return -EIO;
	w->alive = true;
	log = openat(launch->run_dirfd, "console.log",
		     O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	must(log >= 0 && write(log, "first line\nlast line\n", 21) == 21);
	close_fd(&log);
	*ret = handle_new(loop, w, events, ctx);
	p.pid = w->process.pid;
	p.start_time = w->process.start_time;
	events->process(ctx, &p);
	loop_timer_arm(&(*ret)->step, 0);
	return 0;
}

static int fake_adopt(struct loop *loop, const char *id, int run_dirfd,
		      const char *run_path, const struct vm_process *processes,
		      size_t count, const struct engine_events *events,
		      void *ctx, struct engine_vm **ret, enum vm_end *ret_end,
		      struct err *e)
{
	struct world *w = world_find(id);

	(void)run_dirfd;
	(void)run_path;
	if (fake_fault == FAKE_ADOPT_FAILS)
		return err_set(e, ERR_PROTOCOL, "fake_confused", EPROTO,
			       "the control socket answers nonsense");
	if (!w || !w->alive) {
		*ret_end = w && w->has_end ? w->end : VM_END_FAILED;
		return -ESRCH;
	}
	must(count == 1 && processes[0].pid == w->process.pid);
	*ret = handle_new(loop, w, events, ctx);
	(*ret)->stage = 2;
	if ((*ret)->fault != FAKE_NEVER_READY)
		loop_timer_arm(&(*ret)->step, 0);
	return 0;
}

static int fake_shutdown(struct engine_vm *vm, struct err *e)
{
	(void)e;
	on_guest_shutdown(vm);
	return 0;
}

static void fake_kill(struct engine_vm *vm)
{
	if (vm->fault == FAKE_SLOW_KILL) {
		vm->killed = true;
		loop_timer_arm(&vm->step, 100);
		return;
	}
	finish(vm, VM_END_KILLED);
}

static void fake_resume(struct engine_vm *vm)
{
	fake_resumes++;
	vm->events->paused(vm->ctx, fake_room ? NULL : "disk full");
}

static ssize_t fake_console_write(struct engine_vm *vm, const void *data,
				  size_t len)
{
	vm->events->console(vm->ctx, data, len); /* a terminal's echo */
	return (ssize_t)len;
}

static void fake_release(struct engine_vm *vm)
{
	loop_timer_disarm(&vm->step);
	fake_agent_free(vm->agent);
	vm->world->handle = NULL;
	free(vm);
}

static void fake_agent_connect(struct engine_vm *vm)
{
	connect_agent(vm);
}

const struct engine_ops fake_engine = {
	.name = "microvm",
	.probe = fake_probe,
	.can_run = fake_can_run,
	.start = fake_start,
	.adopt = fake_adopt,
	.shutdown = fake_shutdown,
	.resume = fake_resume,
	.kill = fake_kill,
	.console_write = fake_console_write,
	.release = fake_release,
	.agent_connect = fake_agent_connect,
};

const struct engine_ops *const fake_engines[] = { &fake_engine, NULL };

int fake_choose(const char *wanted, const struct vm_launch *launch,
		const struct engine_ops **ret, char ret_reason[static 256],
		struct err *e)
{
	(void)launch;
	(void)e;
	*ret = &fake_engine;
	(void)snprintf(ret_reason, 256, "it is a test, wanted was %s", wanted);
	return 0;
}

void fake_pause(const char *id)
{
	struct world *w = world_find(id);

	must(w && w->handle);
	w->handle->events->paused(w->handle->ctx, "disk full");
}

unsigned fake_running(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(worlds); i++)
		n += worlds[i].alive;
	return n;
}

unsigned fake_living(void)
{
	struct process_exit end;
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(worlds); i++)
		n += worlds[i].alive &&
		     process_wait(&worlds[i].process, 500, &end) < 0;
	return n;
}

void fake_end(const char *id, enum vm_end end)
{
	struct world *w = world_find(id);

	must(w && w->alive);
	if (w->handle) {
		finish(w->handle, end);
		return;
	}
	world_kill(w);
	w->has_end = true;
	w->end = end;
}

void fake_print(const char *id, const char *text)
{
	struct world *w = world_find(id);

	must(w && w->handle);
	w->handle->events->console(w->handle->ctx, text, strlen(text));
}

bool fake_has_agent(const char *id)
{
	struct world *w = world_find(id);

	return w && w->handle && w->handle->agent;
}

void fake_lose_agent(const char *id)
{
	struct world *w = world_find(id);

	must(w && w->handle && w->handle->agent);
	fake_agent_free(w->handle->agent);
	w->handle->agent = NULL;
}

void fake_command_ends(const char *id, uint32_t status)
{
	struct world *w = world_find(id);

	must(w && w->handle && w->handle->agent);
	fake_agent_detached(w->handle->agent, 1, status);
}

void fake_reset(void)
{
	for (size_t i = 0; i < ARRAY_LEN(worlds); i++) {
		world_kill(&worlds[i]);
		must(!worlds[i].handle);
	}
	memset(worlds, 0, sizeof(worlds));
	fake_fault = FAKE_OK;
	fake_starts = 0;
	fake_shutdowns = 0;
	fake_detached = 0;
	fake_stdin_bytes = 0;
	fake_dials = 0;
}

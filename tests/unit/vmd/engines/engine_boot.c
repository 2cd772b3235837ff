/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boots one VM through an engine and prints when what happened:
 *
 *   engine_boot [-e ENGINE] [-d DISK] [-m MIB] [-n] [-p] [-a ARGS] [-c COMMAND]
 *               KERNEL INITRD
 *
 * -n: with a network, -p: print the console. The guest
 * runs COMMAND in its shell and is then powered off through the agent. Exit status 0 when
 * the agent was ready, the command exited 0 and the end was a power-off.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/loop.h"
#include "vmd/engines/engine.h"
#include "vmd/guest/agent_session.h"

struct boot {
	struct loop *loop;
	struct engine_vm *vm;
	struct agent_session *session;
	const struct engine_ops *engine;
	uint64_t start_ms;
	const char *command;
	bool print, good;
	size_t console_bytes;
};

static void mark(const struct boot *b, const char *what)
{
	printf("%6llu ms  %s\n",
	       (unsigned long long)(clock_mono_ms() - b->start_ms), what);
	(void)fflush(stdout);
}

static void down_done(void *ctx, uint32_t status, uint32_t signal,
		      const struct err *e)
{
	(void)status;
	(void)signal;
	mark(ctx, e ? e->msg : "shutdown accepted");
}

static void exec_data(void *ctx, enum wire_channel channel, const void *data,
		      size_t len)
{
	(void)ctx;
	(void)channel;
	(void)fwrite(data, 1, len, stdout);
}

static void exec_done(void *ctx, uint32_t status, uint32_t signal,
		      const struct err *e)
{
	static const struct agent_stream_ops down = { .done = down_done };
	struct boot *b = ctx;

	b->good = !e && !status && !signal;
	mark(b, e ? e->msg : "command done");
	(void)agent_session_shutdown(b->session, WIRE_POWEROFF, &down, b, NULL);
}

static void on_ready(void *ctx, const struct agent_info *info)
{
	static const struct agent_stream_ops ops = { .data = exec_data,
						     .done = exec_done };
	static uint8_t items[65536];
	struct wire_cursor c = wire_writer(items, sizeof(items));
	struct boot *b = ctx;
	const struct wire_str argv[] = { wire_str("sh"), wire_str("-c"),
					 wire_str(b->command) };
	const struct wire_exec request = {
		.argv = wire_write_list(&c, argv, 3),
	};

	(void)info;
	mark(b, "agent ready");
	(void)agent_session_exec(b->session, &request, &ops, b, NULL);
}

static void on_detached(void *ctx, uint32_t tag, bool running, uint32_t status,
			uint32_t signal)
{
	(void)ctx;
	(void)tag;
	(void)running;
	(void)status;
	(void)signal;
}

static void on_lost(void *ctx, const struct err *e)
{
	struct boot *b = ctx;

	mark(b, e->msg);
	agent_session_free(b->session);
	b->session = NULL;
}

static const struct agent_session_ops session_ops = { on_ready, on_detached,
						      on_lost };

static void on_process(void *ctx, const struct vm_process *p)
{
	mark(ctx, p->role);
}

static void on_running(void *ctx)
{
	mark(ctx, "running");
}

static void on_agent(void *ctx, int fd)
{
	struct boot *b = ctx;
	struct err e = ERR_INIT;

	mark(b, "agent connected");
	agent_session_free(b->session);
	b->session = agent_session_new(b->loop, fd, &session_ops, b, &e);
}

static void on_console(void *ctx, const void *data, size_t len)
{
	struct boot *b = ctx;

	if (!b->console_bytes)
		mark(b, "first console output");
	b->console_bytes += len;
	if (b->print)
		(void)fwrite(data, 1, len, stdout);
}

static void on_ended(void *ctx, enum vm_end end, const struct err *e)
{
	struct boot *b = ctx;

	mark(b, vm_end_name(end));
	if (e->kind != ERR_NONE)
		printf("%s: %s\n", e->code, e->msg);
	if (end != VM_END_POWEROFF)
		b->good = false;
	b->engine->release(b->vm);
	loop_stop(b->loop, 0);
}

static const struct engine_events events = {
	.process = on_process,
	.running = on_running,
	.agent = on_agent,
	.console = on_console,
	.ended = on_ended,
};

static void on_deadline(struct loop_timer *timer)
{
	struct boot *b = timer->data;

	mark(b, "deadline passed");
	b->good = false;
	b->engine->kill(b->vm);
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/vmd-boot-XXXXXX", reason[256];
	struct boot b = { .start_ms = clock_mono_ms(), .command = "true" };
	struct vm_launch launch = { .uid_slot = 1,
				    .id = "bootbootbootbootbootbootbo",
				    .name = "boot",
				    .vcpus = 1,
				    .memory_bytes = 256u << 20 };
	struct loop_timer deadline;
	const char *engine = "auto";
	struct err e = ERR_INIT;
	int opt;

	while ((opt = getopt(argc, argv, "e:d:m:npa:c:")) != -1) {
		switch (opt) {
		case 'e':
			engine = optarg;
			break;
		case 'd':
			launch.root_path = optarg;
			break;
		case 'm':
			launch.memory_bytes = strtoull(optarg, NULL, 10) << 20;
			break;
		case 'n':
			launch.network = true;
			break;
		case 'p':
			b.print = true;
			break;
		case 'c':
			b.command = optarg;
			break;
		case 'a':
			launch.cmdline = optarg;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 2 || !mkdtemp(dir))
		return 2;
	launch.kernel_path = argv[optind];
	launch.initrd_path = argv[optind + 1];
	launch.run_path = dir;
	launch.run_dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b.loop = loop_new(&e);
	if (!b.loop ||
	    engine_choose(engine, &launch, &b.engine, reason, &e) < 0) {
		printf("%s: %s\n", e.code, e.msg);
		return 1;
	}
	mark(&b, reason);
	b.start_ms = clock_mono_ms();
	if (b.engine->start(b.loop, &launch, &events, &b, &b.vm, &e) < 0) {
		printf("%s: %s\n", e.code, e.msg);
		return 1;
	}
	mark(&b, "start returned");
	loop_timer_init(b.loop, &deadline, on_deadline, &b);
	loop_timer_arm(&deadline, 25000);
	(void)loop_run(b.loop);
	loop_timer_disarm(&deadline);
	agent_session_free(b.session);
	loop_free(b.loop);
	(void)close(launch.run_dirfd);
	(void)file_remove_tree(AT_FDCWD, dir, NULL);
	return b.good ? 0 : 1;
}

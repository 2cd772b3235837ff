/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmd-agent: the host's hand inside a guest.
 *
 *   PID 1 (no arguments)   /init of the initramfs: boots the guest, docs/boot.md
 *   --service              under another init, started by its unit
 *   --fd N                 serves descriptor N and leaves the machine alone
 *
 * One loop: list what is wanted, poll, call back, pump, flush.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"

uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void agent_poll_add(struct agent *a, int fd, short events, poll_fn *fn,
		    void *data)
{
	if (a->poll_count == POLL_MAX)
		return;
	a->poll_fds[a->poll_count] = (struct pollfd){ fd, events, 0 };
	a->poll_slots[a->poll_count++] = (struct poll_slot){ fn, data };
}

/* Until the next deadline; -1 when there is none. */
static int wait_ms(const struct agent *a)
{
	uint64_t next = a->power_at_ms, now = now_ms();

	for (const struct command *c = a->commands; c; c = c->next)
		if (c->kill_at_ms && (!next || c->kill_at_ms < next))
			next = c->kill_at_ms;
	if (!next)
		return -1;
	return next <= now ? 0 : (int)(next - now) + 1;
}

static void one_round(struct agent *a, bool busy)
{
	a->poll_count = 0;
	signals_poll(a);
	channel_poll(a);
	/* Each kind is read first in turn, so that neither starves the other. */
	if (a->turns++ % 2) {
		dials_poll(a);
		commands_poll(a);
	} else {
		commands_poll(a);
		dials_poll(a);
	}
	if (poll(a->poll_fds, a->poll_count, busy ? 0 : wait_ms(a)) < 0)
		return;
	for (size_t i = 0; i < a->poll_count; i++)
		if (a->poll_fds[i].revents)
			a->poll_slots[i].fn(a, a->poll_slots[i].data,
					    a->poll_fds[i].revents);
}

int agent_run(struct agent *a)
{
	bool busy = false;

	while (!a->quit) {
		one_round(a, busy);
		channel_parse(a);
		commands_pump(a);
		busy = pulls_pump(a);
		commands_sweep(a);
		channel_flush(a);
		busy |= channel_busy(a);
		power_step(a);
	}
	/* The answer to SHUTDOWN is still to be taken. */
	channel_flush(a);
	session_end(a);
	return 0;
}

static void machine_init(struct agent *a)
{
	struct boot boot;

	boot_machine(&boot);
	if (boot.agent[0])
		a->channel_wish =
			strcmp(boot.agent, "serial") == 0 ? "serial" : "vsock";
}

/* The console keeps on telling what happened when nobody is connected. */
static void service_init(struct agent *a)
{
	char cmdline[4096];
	struct boot boot = { 0 };
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, cmdline, sizeof(cmdline) - 1);

	if (fd >= 0)
		(void)close(fd);
	cmdline[n > 0 ? n : 0] = 0;
	boot_parse(cmdline, &boot);
	say_verbose = boot.debug;
	if (boot.agent[0])
		a->channel_wish =
			strcmp(boot.agent, "serial") == 0 ? "serial" : "vsock";
}

static int usage(void)
{
	(void)fprintf(stderr,
		      "usage: vmd-agent --service | --fd N [--console PATH] | "
		      "--version\n"
		      "Without arguments it must be process 1 of a guest.\n");
	return 2;
}

static bool parse_arguments(struct agent *a, int argc, char **argv, int *ret_fd)
{
	for (int i = 1; i < argc; i++) {
		bool more = i + 1 < argc;

		if (strcmp(argv[i], "--service") == 0) {
			a->role = ROLE_SERVICE;
		} else if (strcmp(argv[i], "--fd") == 0 && more) {
			char *end;
			long fd = strtol(argv[++i], &end, 10);

			if (*end || fd < 0 || fcntl((int)fd, F_GETFD) < 0)
				return false;
			*ret_fd = (int)fd;
		} else if (strcmp(argv[i], "--console") == 0 && more) {
			a->console = argv[++i];
		} else {
			return false;
		}
	}
	return (*ret_fd >= 0) != (a->role == ROLE_SERVICE);
}

int main(int argc, char **argv)
{
	static struct agent agent;
	struct agent *a = &agent;
	struct timespec ts;
	int fd = -1;

	a->role = getpid() == 1 ? ROLE_INIT : ROLE_PLAIN;
	a->console = "/dev/console";
	TAILQ_INIT(&a->dials);
	channel_init(&a->channel);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("vmd-agent %s\n", VMD_VERSION);
		return 0;
	}
	/* The kernel hands words of its command line to PID 1: not for us. */
	if (a->role == ROLE_INIT)
		machine_init(a);
	else if (!parse_arguments(a, argc, argv, &fd))
		return usage();
	if (a->role == ROLE_SERVICE)
		service_init(a);
	a->signals = signals_open();
	if (a->signals < 0) {
		say("no signalfd: %s", strerror(errno));
		return 1;
	}
	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	a->ready_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	if (fd >= 0)
		channel_use_fd(a, fd);
	else
		channel_open(a);
	return agent_run(a);
}

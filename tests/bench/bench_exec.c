/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times whole commands, two of them in turns so that both see the same machine:
 *
 *   bench-exec RUNS COMMAND A ... --- COMMAND B ...
 *
 * For each: p50 and p99 of the time from vfork+exec to the first byte on its
 * standard output and to its end, and the peak of its resident memory. Prints one
 * JSON object. The commands may end with any exit status, but always the same.
 *
 * A command that begins with --jail CONFIG KERNEL is a monitor, started in its
 * jail with the two files as descriptors 7 and 3 and KVM's as 8, as the daemon
 * does; the time is then that of base/process.h with everything in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "vmd/priv/jails.h"
#include "vmd/priv/user.h"

enum {
	RUNS_MAX = 5000
};

extern char **environ;

struct series {
	char **argv;
	double first_ms[RUNS_MAX], exit_ms[RUNS_MAX];
	long peak_kib;
	int status;
};

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench-exec: %s: %s\n", what, why);
	exit(1);
}

/* Reads to the end; returns when the first byte came (0: none). */
static uint64_t drain(int fd)
{
	uint64_t first = 0;
	char bytes[4096];

	for (;;) {
		ssize_t n = read(fd, bytes, sizeof(bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return first;
		if (!first)
			first = clock_mono_ns();
	}
}

/* As the daemon starts a monitor. */
static pid_t spawn_jailed(const struct series *s, int out)
{
	struct jail_environment environment;
	struct process p = PROCESS_INIT;
	struct err e = ERR_INIT;
	struct jail_spec jail;
	struct process_fd fds[] = {
		{ out, 1 },
		{ open(s->argv[2], O_RDONLY | O_CLOEXEC), 3 },
		{ open(s->argv[1], O_RDONLY | O_CLOEXEC), 7 },
		{ open("/dev/kvm", O_RDWR | O_CLOEXEC), 8 },
	};
	struct process_spec spec = {
		.argv = (const char *const *)(s->argv + 3),
		.envp = jail_environment("/run/vmd/vms/bench", &environment),
		.fds = fds,
		.fd_count = 4,
		.jail = &jail,
		.new_session = true,
	};

	jail_of(JAIL_MONITOR, "bench", PRIV_UID_FIRST + 1, &jail);
	if (process_spawn(&spec, &p, &e) < 0)
		die("jail", e.msg);
	process_close(&p);
	for (int i = 1; i < 4; i++)
		(void)close(fds[i].from);
	return p.pid;
}

static void run_once(struct series *s, int index)
{
	posix_spawn_file_actions_t actions;
	struct rusage usage;
	int pipe_fds[2], status = 0, rc;
	uint64_t start, first;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		die("pipe", strerror(errno));
	if (posix_spawn_file_actions_init(&actions) ||
	    posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1) ||
	    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY,
					     0) ||
	    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY,
					     0))
		die("spawn", "cannot prepare");
	start = clock_mono_ns();
	rc = 0;
	if (strcmp(s->argv[0], "--jail") == 0)
		pid = spawn_jailed(s, pipe_fds[1]);
	else
		rc = posix_spawnp(&pid, s->argv[0], &actions, NULL, s->argv,
				  environ);
	if (rc)
		die(s->argv[0], strerror(rc));
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pipe_fds[1]);
	first = drain(pipe_fds[0]);
	if (wait4(pid, &status, 0, &usage) < 0)
		die("wait", strerror(errno));
	s->exit_ms[index] = (double)(clock_mono_ns() - start) / 1e6;
	s->first_ms[index] = first ? (double)(first - start) / 1e6 : 0;
	(void)close(pipe_fds[0]);
	if (index && status != s->status)
		die(s->argv[0], "ended with another status than before");
	s->status = status;
	if (usage.ru_maxrss > s->peak_kib)
		s->peak_kib = usage.ru_maxrss;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(double *v, int n, int percent)
{
	int at = n * percent / 100;

	qsort(v, (size_t)n, sizeof(*v), compare);
	return v[at < n ? at : n - 1];
}

static void print_series(const char *name, struct series *s, int runs)
{
	printf("\"%s\":{\"status\":%d,\"first_p50_ms\":%.3f,"
	       "\"first_p99_ms\":%.3f,\"exit_p50_ms\":%.3f,"
	       "\"exit_p99_ms\":%.3f,\"peak_kib\":%ld}",
	       name, WIFEXITED(s->status) ? WEXITSTATUS(s->status) : -1,
	       percentile(s->first_ms, runs, 50),
	       percentile(s->first_ms, runs, 99),
	       percentile(s->exit_ms, runs, 50),
	       percentile(s->exit_ms, runs, 99), s->peak_kib);
}

int main(int argc, char **argv)
{
	static struct series a, b;
	int runs = argc > 1 ? atoi(argv[1]) : 0;

	if (runs < 1 || runs > RUNS_MAX || argc < 3)
		die("usage", "bench-exec RUNS COMMAND ... [--- COMMAND ...]");
	a.argv = argv + 2;
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "---") == 0) {
			argv[i] = NULL;
			b.argv = argv + i + 1;
			break;
		}
	}
	for (int i = 0; i < runs; i++) {
		run_once(&a, i);
		if (b.argv)
			run_once(&b, i);
	}
	printf("{\"runs\":%d,", runs);
	print_series("a", &a, runs);
	if (b.argv) {
		printf(",");
		print_series("b", &b, runs);
	}
	printf("}\n");
	return 0;
}

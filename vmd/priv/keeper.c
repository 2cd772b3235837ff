/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/priv/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"

enum {
	LIFE_MIN_MS = 1000
};

/* Waits for the child's end and passes on what we are told; true when we were. */
static bool await_end(pid_t pid, const sigset_t *signals, int *ret_status)
{
	bool told = false;

	for (;;) {
		int sig = sigwaitinfo(signals, NULL);

		/* Our child until waitpid(): its number is nobody else's. */
		if (sig == SIGTERM || sig == SIGINT) {
			told = true;
			(void)kill(pid, sig);
		}
		if (waitpid(pid, ret_status, WNOHANG) == pid)
			return told;
	}
}

int priv_keep(int (*serve)(void *ctx, bool again), void *ctx, int *fd)
{
	sigset_t signals, before;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, &before);
	for (bool again = false;; again = true) {
		uint64_t begin = clock_mono_ms();
		struct process_exit end = { .known = true };
		int status = 0;
		char how[128];
		bool told;
		pid_t pid = fork();

		if (pid < 0) {
			log_error("vmd-priv cannot be started: %s",
				  strerror(errno));
			return 1;
		}
		if (pid == 0) {
			(void)sigprocmask(SIG_SETMASK, &before, NULL);
			exit(serve(ctx, again));
		}
		close_fd(fd);
		told = await_end(pid, &signals, &status);
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		end.signal = WTERMSIG(status);
		log_error("vmd-priv %s: VMs go on",
			  process_exit_text(&end, how));
		if (told || clock_mono_ms() - begin < LIFE_MIN_MS)
			return 1;
		log_info("starting vmd-priv again");
	}
}

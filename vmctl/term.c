/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal. The saved settings are global: there is one terminal. */
#include "vmctl/term.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/checked.h"
#include "vmctl/text.h"

static struct termios saved;
static volatile sig_atomic_t raw;
static bool line_shown;

void term_restore(void)
{
	if (!raw)
		return;
	raw = 0;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
}

/* tcsetattr() is async-signal-safe; then the signal does its work. */
static void on_death(int sig)
{
	if (raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	raw = 0;
	(void)raise(sig); /* SA_RESETHAND: the default now */
}

int term_raw(void)
{
	static const int deadly[] = { SIGTERM, SIGHUP,	SIGQUIT,
				      SIGSEGV, SIGABRT, SIGBUS };
	struct sigaction sa = { .sa_handler = on_death,
				.sa_flags = (int)SA_RESETHAND };
	static bool registered;
	struct termios t;

	if (raw)
		return 0;
	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return -errno;
	if (!registered && atexit(term_restore) == 0)
		registered = true;
	for (size_t i = 0; i < ARRAY_LEN(deadly); i++)
		(void)sigaction(deadly[i], &sa, NULL);
	t = saved;
	cfmakeraw(&t);
	raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &t) < 0) {
		raw = 0;
		return -errno;
	}
	return 0;
}

void term_size(uint16_t *ret_rows, uint16_t *ret_columns)
{
	static const int fds[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };
	struct winsize w;

	*ret_rows = 24;
	*ret_columns = 80;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		if (ioctl(fds[i], TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
			continue;
		*ret_rows = w.ws_row;
		*ret_columns = w.ws_col;
		return;
	}
}

void progress_show(const char *step, uint64_t done, uint64_t total)
{
	static const char spinner[] = "|/-\\";
	static unsigned turn;
	char line[160];

	if (!isatty(STDERR_FILENO))
		return;
	if (total > 0)
		(void)snprintf(line, sizeof(line), "%c %.100s %3u%%",
			       spinner[turn++ % 4], step,
			       (unsigned)(done >= total
						  ? 100
						  : (double)done * 100 /
							    (double)total));
	else
		(void)snprintf(line, sizeof(line), "%c %.120s",
			       spinner[turn++ % 4], step);
	(void)fputs("\r\033[K", stderr);
	print_safe(stderr, line, 0);
	(void)fflush(stderr);
	line_shown = true;
}

void progress_clear(void)
{
	if (!line_shown)
		return;
	(void)fputs("\r\033[K", stderr);
	(void)fflush(stderr);
	line_shown = false;
}

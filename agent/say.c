/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent tells a person: lines on the console, failures to the host. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"

bool say_verbose;

__attribute__((format(printf, 1, 0))) static void say_line(const char *fmt,
							   va_list args)
{
	char line[400] = "vmd-agent: ";
	size_t len = strlen(line);
	int n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);

	if (n < 0)
		return;
	len += (size_t)n;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	/* One write: lines of the kernel do not get between. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_line(fmt, args);
	va_end(args);
}

void say_debug(const char *fmt, ...)
{
	va_list args;

	if (!say_verbose)
		return;
	va_start(args, fmt);
	say_line(fmt, args);
	va_end(args);
}

void failure_set(struct failure *f, int sys, const char *code, const char *fmt,
		 ...)
{
	va_list args;
	size_t len;

	f->sys = (uint32_t)sys;
	f->code = code;
	va_start(args, fmt);
	(void)vsnprintf(f->msg, sizeof(f->msg), fmt, args);
	va_end(args);
	len = strlen(f->msg);
	if (sys)
		(void)snprintf(f->msg + len, sizeof(f->msg) - len, ": %s",
			       strerror(sys));
}

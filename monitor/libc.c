/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the monitor is linked with musl: what libjansson.a, which was compiled
 * against glibc, wants of its C library and musl has not (functions that know
 * how large their buffer is), and an end by a broken assertion with a call that
 * lock-down allows: musl's raises the signal by a thread id alone, which could
 * be another process's.
 *
 * Names and arguments are glibc's (Linux Standard Base, "Interface Definitions
 * for libc", __snprintf_chk and so on).
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library's own names, which no header of musl declares. */
int __snprintf_chk(char *to, size_t len, int flag, size_t room,
		   const char *format, ...);
int __vsnprintf_chk(char *to, size_t len, int flag, size_t room,
		    const char *format, va_list args);
char *__strncpy_chk(char *to, const char *from, size_t len, size_t room);
_Noreturn void __assert_fail(const char *what, const char *file, int line,
			     const char *function);

static _Noreturn void end(const char *why)
{
	(void)fprintf(stderr, "vmd-monitor: %s\n", why);
	(void)syscall(SYS_tgkill, getpid(), gettid(), SIGABRT);
	_exit(127);
}

static void check(size_t len, size_t room)
{
	if (len > room)
		end("a buffer would have overflowed");
}

int __vsnprintf_chk(char *to, size_t len, int flag, size_t room,
		    const char *format, va_list args)
{
	(void)flag; /* musl refuses no %n; jansson's formats are constants */
	check(len, room);
	return vsnprintf(to, len, format, args);
}

int __snprintf_chk(char *to, size_t len, int flag, size_t room,
		   const char *format, ...)
{
	va_list args;
	int rc;

	va_start(args, format);
	rc = __vsnprintf_chk(to, len, flag, room, format, args);
	va_end(args);
	return rc;
}

char *__strncpy_chk(char *to, const char *from, size_t len, size_t room)
{
	check(len, room);
	return strncpy(to, from, len);
}

void __assert_fail(const char *what, const char *file, int line,
		   const char *function)
{
	char why[256];

	(void)snprintf(why, sizeof(why), "%s:%d: %s: this must hold: %s", file,
		       line, function, what);
	end(why);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The last words after SIGBUS; see bus_error.h. */
#include "monitor/bus_error.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "monitor/config/config.h"
#include "monitor/layout.h"
#include "monitor/status.h"

static struct {
	const char *name;
	uintptr_t at;
	size_t len;
	uint64_t base;
} regions[BUS_ERROR_REGIONS_MAX];
static size_t region_count;
static int record_fd = -1;
static bool initialised;

enum {
	STACKS = VCPUS_MAX + CONFIG_DRIVES_MAX + 1, /* the last: the loop's */
	STACK_BYTES = 16 * 1024, /* room for AVX-512 registers */
};
static char stacks[STACKS][STACK_BYTES]; /* no page of it before it is used */
static atomic_uint stacks_used;

struct words {
	char text[400];
	size_t len;
};

static void say(struct words *w, const char *text)
{
	while (*text && w->len < sizeof(w->text))
		w->text[w->len++] = *text++;
}

static void say_hex(struct words *w, uint64_t value)
{
	char digits[19] = "0x";
	size_t at = 2;

	for (int shift = 60; shift >= 0; shift -= 4) {
		unsigned digit = (unsigned)(value >> shift) & 15;

		if (digit || at > 2 || shift == 0)
			digits[at++] = "0123456789abcdef"[digit];
	}
	digits[at] = '\0';
	say(w, digits);
}

static void say_where(struct words *w, uintptr_t address)
{
	for (size_t i = 0; i < region_count; i++)
		if (address >= regions[i].at &&
		    address - regions[i].at < regions[i].len) {
			say(w, regions[i].name);
			say(w, " at ");
			say_hex(w, regions[i].base + (address - regions[i].at));
			return;
		}
	say(w, "the monitor's own memory at ");
	say_hex(w, address);
}

static const char *reason(int code)
{
	switch (code) {
	case BUS_MCEERR_AR:
	case BUS_MCEERR_AO:
		return ": the host's memory is broken there (hardware error)";
	case BUS_ADRERR:
		return ": the file behind it was cut, or the host has no page "
		       "left for it";
	default:
		return ": bus error";
	}
}

static void write_all(int fd, const struct words *w)
{
	ssize_t n = write(fd, w->text, w->len);

	(void)n; /* there is nobody left to tell */
}

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
	struct words log = { .len = 0 }, record = { .len = 0 };
	uintptr_t address = (uintptr_t)info->si_addr;

	(void)signal;
	(void)context;
	say(&log, "vmd-monitor: error: lost ");
	say_where(&log, address);
	say(&log, reason(info->si_code));
	say(&log, " (memory_lost)\n");
	write_all(STDERR_FILENO, &log);
	if (record_fd >= 0) {
		say(&record, "{\"reason\":\"error\",\"status\":1,\"error\":{"
			     "\"code\":\"memory_lost\",\"message\":\"lost ");
		say_where(&record, address);
		say(&record, reason(info->si_code));
		say(&record, "\"}}");
		write_all(record_fd, &record);
	}
	_exit(EXIT_HOST_ERROR);
}

int bus_error_init(int status_fd, struct err *e)
{
	struct sigaction action = { .sa_sigaction = on_bus_error,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK |
						(int)SA_RESETHAND };
	sigset_t set;
	int rc;

	static_assert(EXIT_HOST_ERROR == 1, "as in the record");
	record_fd = status_fd;
	initialised = true;
	(void)sigfillset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, NULL) != 0)
		return err_sys(e, errno, "sigaction");
	/* A parent that blocks it leaves that to us; threads inherit it. */
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGBUS);
	rc = pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return rc ? err_sys(e, rc, "sigmask") : 0;
}

void bus_error_watch(const char *name, const void *at, size_t len,
		     uint64_t base)
{
	assert(region_count < BUS_ERROR_REGIONS_MAX);
	regions[region_count].name = name;
	regions[region_count].at = (uintptr_t)at;
	regions[region_count].len = len;
	regions[region_count].base = base;
	region_count++;
}

void bus_error_unwatch(void)
{
	region_count = 0;
}

int bus_error_enter(void)
{
	unsigned own = atomic_fetch_add(&stacks_used, 1);
	stack_t stack = { .ss_sp = stacks[own % STACKS],
			  .ss_size = STACK_BYTES };

	if (!initialised)
		return 0;
	assert(own < STACKS);
	return sigaltstack(&stack, NULL) < 0 ? -errno : 0;
}

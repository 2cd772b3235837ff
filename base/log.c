/* SPDX-License-Identifier: Apache-2.0 */
/* See log.h. */
#include "base/log.h"

#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	LOG_LINE_MAX = 2048
};

/* Set once by log_init() before threads start, then read only. */
static const char *log_program = "";
static bool may_lose;
static atomic_uint lost;
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_as_json;
static log_sink_fn *log_sink;

static const char *const level_names[] = { "error", "warn", "info", "debug" };

void log_init(const char *program, enum log_level level, enum log_format format)
{
	log_program = program;
	log_max = level;
	log_as_json = format == LOG_FORMAT_JSON ||
		      (format == LOG_FORMAT_AUTO && !isatty(STDERR_FILENO));
}

void log_set_sink(log_sink_fn *sink)
{
	log_sink = sink;
}

bool log_enabled(enum log_level level)
{
	return level <= log_max;
}

bool log_level_from_name(const char *name, enum log_level *ret_level)
{
	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_never_wait(void)
{
	may_lose = true;
}

/* Writable means room for PIPE_BUF: what is longer is lost where it counts. */
static bool room_for(size_t len)
{
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };

	return len <= PIPE_BUF && poll(&out, 1, 0) != 0;
}

static void write_line(const char *line, size_t len)
{
	char told[96];
	unsigned n_lost;

	if (may_lose && !room_for(len + sizeof(told))) {
		(void)atomic_fetch_add(&lost, 1);
		return;
	}
	n_lost = may_lose ? atomic_exchange(&lost, 0) : 0;
	if (n_lost) {
		int n_told = snprintf(told, sizeof(told),
				      "%s: %u records were lost: nobody read "
				      "them\n",
				      log_program, n_lost);

		(void)!write(STDERR_FILENO, told, (size_t)n_told);
	}
	/* One write per record keeps records of several threads apart; when
	 * stderr is gone there is nobody left to tell. */
	ssize_t n = write(STDERR_FILENO, line, len);

	(void)n;
}

static void log_text(enum log_level level, const char *vm, const char *message)
{
	char line[LOG_LINE_MAX + 256];
	int n = snprintf(line, sizeof(line), "%s: %s: %s%s%s\n", log_program,
			 level_names[level], vm ? vm : "", vm ? ": " : "",
			 message);

	if (n > 0)
		write_line(line, (size_t)n < sizeof(line) ? (size_t)n
							  : sizeof(line) - 1);
}

static void log_json(enum log_level level, const char *vm, const char *message)
{
	char when[32];
	json_t *record =
		json_pack("{s:s, s:s, s:s, s:s*, s:s#}", "time",
			  clock_format_rfc3339(clock_wall_ms(), when), "level",
			  level_names[level], "program", log_program, "vm", vm,
			  "message", message, (int)strlen(message));
	char *text = record ? json_dumps(record, JSON_COMPACT) : NULL;

	json_decref(record);
	if (!text) {
		/* Not UTF-8 (a guest's bytes) or no memory: still say it. */
		log_text(level, vm, message);
		return;
	}
	char *line = NULL;
	int n = asprintf(&line, "%s\n", text);

	if (n > 0)
		write_line(line, (size_t)n);
	free(line);
	free(text);
}

void log_write(enum log_level level, const char *vm, const char *fmt, ...)
{
	char message[LOG_LINE_MAX];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	for (char *p = message; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	}
	if (log_sink)
		log_sink(level, vm, message);
	else if (log_as_json)
		log_json(level, vm, message);
	else
		log_text(level, vm, message);
}

bool log_rate_ok(struct log_rate *rate)
{
	uint64_t now = clock_mono_ms();

	if (now - rate->window_ms >= 1000 || !rate->window_ms) {
		rate->window_ms = now ? now : 1;
		rate->in_window = 0;
	}
	if (rate->in_window < rate->burst) {
		rate->in_window++;
		return true;
	}
	rate->dropped++;
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured logging to stderr: text on a terminal, JSON lines elsewhere, or a
 * sink that the program installs (vmd: the journal). Library code logs at debug
 * only; each error is logged once, at the boundary where it stops travelling.
 * Thread-safe: one write(2) per record.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};
enum log_format {
	LOG_FORMAT_AUTO,
	LOG_FORMAT_TEXT,
	LOG_FORMAT_JSON
};

/* vm is the VM's id, or NULL when the record is about no VM. */
typedef void log_sink_fn(enum log_level level, const char *vm,
			 const char *message);

/* program is kept by reference. Before threads start; the last call counts. */
void log_init(const char *program, enum log_level level,
	      enum log_format format);
void log_set_sink(log_sink_fn *sink);
/*
 * For a loop that must not wait: a record for which a pipe or terminal that nobody
 * reads has no room is lost; how many is said before the next one.
 */
void log_never_wait(void);
bool log_enabled(enum log_level level);

/* "error", "warn", "info", "debug" to a level; false for anything else. */
bool log_level_from_name(const char *name, enum log_level *ret_level);

void log_write(enum log_level level, const char *vm, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(...)	       log_write(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warn(...)	       log_write(LOG_LEVEL_WARN, NULL, __VA_ARGS__)
#define log_info(...)	       log_write(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_debug(...)	       log_write(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)
#define log_vm(level, vm, ...) log_write(level, vm, __VA_ARGS__)

/*
 * A rate limit for records that a guest or a peer can provoke: at most `burst`
 * per second; log_rate_ok() returns false for the rest and counts them.
 */
struct log_rate {
	uint64_t window_ms;
	uint32_t in_window;
	uint32_t burst;
	uint64_t dropped;
};
#define LOG_RATE_INIT(n)     \
	{                    \
		.burst = (n) \
	}
bool log_rate_ok(struct log_rate *rate);

#endif

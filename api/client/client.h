/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP side of the client library: calls over the daemon's unix socket, by
 * libcurl. Blocking, one thread. What the daemon sends is bounded and parsed
 * strictly; a problem object becomes a struct err.
 *
 * Error codes of our own: daemon_not_running, daemon_busy, socket_permission, bad_answer,
 * interrupted (the interrupt function said so).
 */
#ifndef API_CLIENT_H
#define API_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct api_client;

/* socket_path is kept by copy; nothing is connected yet. */
struct api_client *api_client_new(const char *socket_path, struct err *e);
void api_client_free(struct api_client *c);
const char *api_client_socket(const struct api_client *c);

/* fn is asked about once a second during a call; true ends the call. */
void api_client_set_interrupt(struct api_client *c, bool (*fn)(void *ctx),
			      void *ctx);

/*
 * One call. path has its query. body may be NULL; key is the Idempotency-Key or
 * NULL. *ret (may be NULL) is a new reference, or NULL when the answer was empty.
 */
int api_client_call(struct api_client *c, const char *method, const char *path,
		    const json_t *body, const char *key, json_t **ret,
		    struct err *e);

/* Gives up to room bytes: count, 0 at the end, negative errno with *e set. */
typedef ssize_t api_source_fn(void *ctx, void *data, size_t room,
			      struct err *e);
/* Takes all len bytes: 0, or negative errno with *e set (ends the call). */
typedef int api_sink_fn(void *ctx, const void *data, size_t len, struct err *e);

/* GET of a stream; the sink gets the body of a successful answer only. */
int api_client_download(struct api_client *c, const char *path,
			api_sink_fn *sink, void *ctx, struct err *e);
/* PUT of a stream of unknown length, of type application/x-tar. */
int api_client_upload(struct api_client *c, const char *path,
		      api_source_fn *source, void *ctx, struct err *e);

/* What the last download or upload left out, or "". */
const char *api_client_left_out(const struct api_client *c);

/*
 * A daemon that is there but busy: its queue is full (EAGAIN), or it answers 503
 * with Retry-After. It is tried again for a while, and the person told once.
 */
enum {
	API_BUSY_MS = 30000
};
struct api_patience {
	unsigned limit_ms; /* 0: API_BUSY_MS */
	bool (*interrupt)(void *ctx); /* or NULL; true: no more of it */
	void *ctx;
	uint64_t end_ms; /* 0 before the first wait */
};
/* fn (or NULL) tells a person that it is being waited. Before other threads. */
void api_set_busy_notice(void (*fn)(const char *text));
/* A connected non-blocking socket. */
int api_connect(const char *socket_path, struct api_patience *p, int *ret_fd,
		struct err *e);
/* Waits; false: it was long enough, or interrupted. */
bool api_patience_wait(struct api_patience *p, unsigned ms);

/* The text with everything but unreserved characters as %XX; malloc'd. */
char *api_percent_encode(const char *text);

/* The error of a failed connect to the daemon, in words a person can act on. */
int api_connect_error(const char *socket_path, int sys, struct err *e);

#endif

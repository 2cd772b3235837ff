/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a relayed TCP connection: a client's socket. The far end is the
 * owner's (a stream of the guest's agent, a WebSocket): it says how much it takes,
 * so that nothing is read from the client that would have to be kept; what is for
 * the client and does not fit into its socket is kept here, and the owner hears when
 * it has gone, to let the far end send more.
 *
 * A FIN of either side is passed on and the other direction lives. What is not an
 * end of both (a reset, an error, the loss of the far end) is a reset.
 *
 * Loop thread only. closed() is the last call and may free the owner; it comes from
 * within any function below that says so.
 */
#ifndef BASE_RELAY_H
#define BASE_RELAY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/loop.h"

enum {
	RELAY_PIECE = 32752 /* most bytes of one write() */
};

struct relay_ops {
	/* Bytes that write() takes now; 0: relay_wake() follows. */
	size_t (*room)(void *ctx);
	/* From the client; len is within room. false: the far end is broken. */
	bool (*write)(void *ctx, const void *data, size_t len);
	/* The client sends no more. */
	void (*write_end)(void *ctx);
	/* The client took len bytes of relay_put(). */
	void (*taken)(void *ctx, size_t len);
	/* The socket is closed. */
	void (*closed)(void *ctx);
};

struct relay {
	const struct relay_ops *ops;
	void *ctx;
	struct loop_source source;
	int fd; /* owned; -1: closed */
	struct buf out; /* for the client */
	bool in_end; /* the client's end was passed on */
	bool out_end; /* nothing more comes for the client */
	bool out_shut; /* ... and it was told so */
	bool finished; /* both have ended: closed when all is out */
};

/* Takes fd (connected, non-blocking), also on failure: 0 or -errno. At most
 * limit bytes are kept for the client. Reads after the first relay_wake(). */
int relay_open(struct relay *r, struct loop *loop, int fd, size_t limit,
	       const struct relay_ops *ops, void *ctx);
/* The far end may have room. May close. */
void relay_wake(struct relay *r);
/* Bytes for the client. false: closed (it has gone, or they are over the limit). */
bool relay_put(struct relay *r, const void *data, size_t len);
/* Nothing more comes for the client. May close. */
void relay_put_end(struct relay *r);
/* The far end is done, all is well: closes when the client has everything. */
void relay_finish(struct relay *r);
/* Resets the client: closes, without closed(). Harmless when closed. */
void relay_reset(struct relay *r);

#endif

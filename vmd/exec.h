/* SPDX-License-Identifier: Apache-2.0 */
/* An exec connection: what exec.c (waiting, ending) and exec_stream.c (the
 * bytes) share. */
#ifndef VMD_EXEC_H
#define VMD_EXEC_H

#include "base/buf.h"
#include "vmd/handlers.h"

enum {
	EXEC_REQUEST_MS = 10000, /* for the client's first message */
	EXEC_AGENT_MS = 60000, /* for a running guest's agent to come back */
	EXEC_INPUT_MAX = 2 * WS_MESSAGE_MAX,
};

struct exec {
	struct daemon *daemon;
	char vm_id[ID_LEN + 1];
	struct ws *ws;
	struct watch watch;
	struct loop_timer timer;
	json_t *request; /* validated; NULL until it came and when it runs */
	size_t large; /* of the daemon's share for long requests */
	struct agent_stream *stream;
	bool attached, asked, running, over;
	char told[160]; /* the last progress */
	/* Stdin that the guest has not taken yet. */
	struct buf input;
	bool input_open, input_eof;
	/* Output given to the socket and not yet written, by channel. */
	size_t unwritten[2];
};

extern const struct agent_stream_ops exec_stream_ops;

/* One text message; takes over the reference. */
void exec_tell(struct exec *x, json_t *steal_message);
/* The last message, then the close. */
void exec_fail(struct exec *x, const struct err *e);
void exec_finish(struct exec *x, json_t *steal_message);
/* Starts the command when the guest is ready. */
void exec_try(struct exec *x);

/* A binary message of the client. */
void exec_input(struct exec *x, const uint8_t *data, size_t len);
void exec_push_input(struct exec *x);
/* A text message after the first. */
void exec_control(struct exec *x, const uint8_t *data, size_t len);
/* The socket has written: the guest may send more. */
void exec_drained(struct exec *x);

#endif

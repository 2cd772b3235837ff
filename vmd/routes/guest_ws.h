/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket that leads to a stream of a guest's agent: a command (exec.c) or a
 * connection to one of its ports (dial.c). It waits for the guest, however long
 * its start takes, then bridges, with back-pressure both ways: the guest gets new
 * credit when the socket has written its output, the socket is read when the guest
 * has taken the input. Neither side can make the daemon grow beyond one window and
 * two messages.
 */
#ifndef VMD_GUEST_WS_H
#define VMD_GUEST_WS_H

#include "base/buf.h"
#include "vmd/routes/handlers.h"

enum {
	GUEST_AGENT_MS = 60000, /* for a running guest's agent to come back */
	GUEST_INPUT_MAX = 2 * WS_MESSAGE_MAX,
};

/* Embedded as the first member of its owner. */
struct guest_ws {
	struct daemon *daemon;
	char vm_id[ID_LEN + 1];
	struct ws *ws;
	struct watch watch;
	struct loop_timer timer;
	struct agent_stream *stream;
	/* The guest is ready: opens x->stream, or says why not in *e. */
	void (*open)(struct guest_ws *g, struct vm *vm, struct err *e);
	const char *purpose; /* "to run commands in it" */
	bool asked; /* the client has said what it wants */
	bool running, over;
	char told[160]; /* the last progress */
	/* Input that the guest has not taken yet. */
	struct buf input;
	bool input_open, input_eof;
	/* Output given to the socket and not yet written, by channel. */
	size_t unwritten[2];
};

/* The socket follows later. */
void guest_ws_init(struct guest_ws *g, struct daemon *d, const struct vm *vm);
/* Everything but the socket; the stream is closed. */
void guest_ws_done(struct guest_ws *g);

/* The client has asked: opens the stream when the guest is ready. */
void guest_ws_ask(struct guest_ws *g);
/* The time for the guest to become ready has passed. */
void guest_ws_late(struct guest_ws *g);

/* One text message; takes over the reference. */
void guest_ws_tell(struct guest_ws *g, json_t *steal_message);
/* The last message (or none), then the close. */
void guest_ws_finish(struct guest_ws *g, json_t *steal_message);
void guest_ws_fail(struct guest_ws *g, const struct err *e);
/* A failure by the client: ERR_INVALID. */
void guest_ws_refuse(struct guest_ws *g, const char *code, const char *text);

/* Bytes of the client, and their end. */
void guest_ws_input(struct guest_ws *g, const uint8_t *data, size_t len);
void guest_ws_input_end(struct guest_ws *g);
/* agent_stream_ops: writable. */
void guest_ws_writable(void *ctx);
/* Output of the guest as one binary message, behind prefix when it is >= 0. */
void guest_ws_output(struct guest_ws *g, int prefix, enum wire_channel channel,
		     const void *data, size_t len);
/* ws_ops: the socket has written, the guest may send more. */
void guest_ws_drained(void *ctx);

#endif

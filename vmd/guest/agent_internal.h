/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What agent_session.c (connection, handshake, frames), agent_stream.c (what
 * comes on streams), agent_flow.c (what goes out on them) and agent_request.c
 * (requests) share; nobody else includes it.
 *
 * Lifetime: callbacks may close streams and free the session. So `busy` counts
 * the calls of ours that are on the stack above a callback; the memory of the
 * session goes when it drops to zero, and a stream is never touched after a
 * callback of its own.
 */
#ifndef VMD_AGENT_INTERNAL_H
#define VMD_AGENT_INTERNAL_H

#include <sys/queue.h>

#include "base/buf.h"
#include "vmd/guest/agent_session.h"

enum {
	/* Queued towards the guest: above SOFT no data, so that what is not data
	 * has room whatever is copied, and whoever comes has little before it;
	 * datagrams, which cannot wait, are dropped above DATAGRAM only; above OPEN
	 * no new streams and no signals, at HARD the guest has stopped reading and
	 * the session ends. */
	OUT_SOFT_BYTES = 32 * 1024,
	OUT_DATAGRAM_BYTES = 256 * 1024,
	OUT_OPEN_BYTES = 512 * 1024,
	OUT_HARD_BYTES = 1024 * 1024,
	/* The socket's own; the kernel counts twice as much, with its overhead. */
	OUT_SOCKET_BYTES = 32 * 1024,
	/* Bytes of earlier sessions to skip while waiting for HELLO_ACK. */
	STALE_MAX_BYTES = 8 * 1024 * 1024,
	/* Credit is handed back in pieces of the window, not for each read. */
	CREDIT_PARTS = 4,
	/* What a stream may send in one turn while others wait for theirs. */
	TURN_BYTES = 32 * 1024,
	TURNS_MAX = 16, /* then the rest of the daemon has its own */
	STREAM_BUCKETS = 64,
	/* Slots that clients' commands and transfers leave to the daemon's own
	 * requests: a shutdown, the time. */
	STREAMS_RESERVED = 2,
	GUEST_SIGNAL_MAX = 64,
};

enum stream_kind {
	STREAM_EXEC,
	STREAM_PUSH,
	STREAM_PULL,
	STREAM_PLAIN, /* TIME, SHUTDOWN: a RESULT and nothing else */
	STREAM_DIAL,
};

/* Connections on one side, everything else on the other: each has its limit and
 * its half of the way to the guest. */
enum stream_class {
	CLASS_REQUEST,
	CLASS_DIAL,
	CLASS_COUNT
};

struct agent_stream {
	struct agent_session *session;
	uint32_t id;
	struct agent_stream *next; /* in its bucket */
	TAILQ_ENTRY(agent_stream) waiting; /* for its turn to send */
	enum stream_kind kind;
	enum stream_class class;
	uint32_t window; /* what in_credit may reach */
	uint32_t out_window; /* what the guest may have on the way to us */
	bool grown; /* counted in agent_session.grown */
	const struct agent_stream_ops *ops;
	void *ctx;
	bool detached;
	bool started;
	bool closing; /* CLOSE sent, owner gone, RESULT awaited */
	bool takes_in; /* WIRE_IN may be sent */
	bool want_write;
	bool queued; /* in the list of those who wait for their turn */
	bool resize_pending;
	/* DIAL of UDP: pieces of a datagram, with the length before it. */
	bool datagrams;
	struct buf pieces;
	uint16_t rows, columns;
	char left_out[256]; /* by a push or pull that was done */
	/* An EXEC over one frame: sent in pieces as there is room. */
	uint8_t *request;
	size_t request_len, request_at;
	uint32_t signal_pending; /* came before the last piece; 0: none */
	bool eof_pending; /* likewise */
	uint32_t in_credit; /* what we may still send on WIRE_IN */
	/* Per received channel (WIRE_OUT, WIRE_ERR minus one). */
	uint32_t out_credit[2]; /* what the guest may still send */
	uint32_t unconsumed[2]; /* delivered, not yet passed on */
	uint32_t to_give[2]; /* consumed, credit not yet handed back */
	bool out_eof[2];
};

struct agent_session {
	struct loop *loop;
	struct loop_source source;
	int fd;
	struct loop_timer fail_timer;
	const struct agent_session_ops *ops;
	void *ctx;
	uint8_t nonce[WIRE_NONCE_LEN];
	bool framed; /* our HELLO_ACK was found: frames only from there */
	bool ready;
	bool dead; /* failed or freed: no more I/O */
	bool freed; /* release the memory when busy drops to 0 */
	bool wants_out;
	unsigned int busy;
	uint32_t next_id;
	uint16_t version; /* of the agent's protocol */
	struct agent_stream *sending; /* its request is partly sent */
	uint64_t stale;
	struct err failure;
	struct agent_stream *streams[STREAM_BUCKETS];
	unsigned int count[CLASS_COUNT];
	unsigned int grown; /* connections with a large out_window */
	TAILQ_HEAD(, agent_stream) waiting[CLASS_COUNT];
	enum stream_class turn;
	struct buf out;
	struct wire_parser parser;
	size_t early; /* bytes in `in` kept from before HELLO_ACK */
	uint8_t in[65536];
	uint8_t scratch[WIRE_PAYLOAD_MAX];
};

/* agent_session.c */

/* Queues a frame; a full queue fails the session soon. */
void agent_send(struct agent_session *s, enum wire_type type, uint8_t channel,
		uint32_t stream, const void *payload, size_t len);
/* Writes what the socket takes and watches for room if some is left. */
void agent_flush(struct agent_session *s);
void agent_busy_end(struct agent_session *s);
/* Printable ASCII copy of a guest string, cut to size - 1 characters. */
void agent_copy_text(char *out, size_t size, struct wire_str raw_text);

/* Whether an error waits to be told: nothing is sent any more. */
bool agent_failing(const struct agent_session *s);

/* agent_stream.c */

/* A frame for a stream. false: the guest broke the protocol (session over). */
bool agent_stream_frame(struct agent_session *s, const struct wire_header *h,
			const uint8_t *payload, struct err *e);
/* Forgets a stream of which nothing was sent. */
void agent_stream_discard(struct agent_stream *st);
/* Ends every stream with e. */
void agent_stream_end_all(struct agent_session *s, const struct err *e);
/* The guest broke the rules of one stream; the others go on. st is gone. */
void agent_stream_break(struct agent_stream *st, const char *what);

/* agent_flow.c */

/* Lets streams that wait have their turns, while there is room. */
void agent_flow_room(struct agent_session *s);
bool agent_flow_waits(const struct agent_session *s);
/* It got credit, or has something to send: it waits for its turn, if it may. */
void agent_flow_queue(struct agent_stream *st);
/* Sends pieces of the stream's request while there is room, or queues it. */
void agent_flow_request(struct agent_stream *st);
/* It is about to be freed. */
void agent_flow_forget(struct agent_stream *st);
/* DATA of a stream with datagrams: whole ones go to its owner. false: st is
 * gone. */
bool agent_flow_datagrams(struct agent_stream *st, const uint8_t *payload,
			  size_t len);

#endif

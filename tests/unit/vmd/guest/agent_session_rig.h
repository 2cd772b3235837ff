/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session of vmd/guest/agent_session.c over a socket pair. The test is its owner and
 * plays the agent's end, honestly or not.
 */
#ifndef TESTS_UNIT_VMD_ENGINES_AGENT_SESSION_RIG_H
#define TESTS_UNIT_VMD_ENGINES_AGENT_SESSION_RIG_H

#include "tests/unit/until.h"
#include "vmd/guest/agent_session.h"

struct session_rig {
	struct loop *loop;
	struct agent_session *session;
	int fd; /* the agent's end */
	struct wire_parser parser;
	uint8_t nonce[WIRE_NONCE_LEN];
	/* What the agent saw last. */
	struct wire_header last;
	uint8_t payload[WIRE_PAYLOAD_MAX];
	unsigned int frames, closes, signals;
	unsigned int dials;
	uint64_t in_bytes, before_dial, credit_given;
	bool in_eof;
	/* What the owner saw. */
	struct agent_info info;
	struct err lost, done_err;
	unsigned int ready, lost_count, done, started, writable, detached;
	uint32_t status, signal, tag, detached_status;
	unsigned int data_calls;
	uint64_t data_bytes;
	char data[64];
	bool hold; /* do not consume */
	bool free_in_lost;
	struct agent_stream *stream;
};

/* cmocka: HELLO has arrived; the session is ready; the end. */
int session_setup(void **state);
int session_setup_ready(void **state);
int session_teardown(void **state);
#define SESSION_TEST(setup, name) \
	cmocka_unit_test_setup_teardown(name, setup, session_teardown)

/* For streams of the test's own; ctx is the rig. */
extern const struct agent_stream_ops session_stream_ops;
/* Opens an EXEC that the agent has accepted; the id of its stream. */
uint32_t session_exec(struct session_rig *f, uint32_t flags);

/* Takes what the session sent. */
void agent_read(struct session_rig *f);
/* Sends bytes, a frame, a frame of count numbers, HELLO_ACK. */
void agent_raw(struct session_rig *f, const void *data, size_t len);
void agent_say(struct session_rig *f, uint8_t type, uint8_t channel,
	       uint32_t stream, const void *payload, size_t len);
void agent_u32s(struct session_rig *f, uint8_t type, uint8_t channel,
		uint32_t stream, uint32_t a, uint32_t b, size_t count);
void agent_ack(struct session_rig *f, uint16_t version);

/* Runs both sides until cond holds; the deadline makes a hang a failure. */
#define RUN_UNTIL(f, cond) \
	UNTIL(10000, cond, (loop_run_once((f)->loop, 1), agent_read(f)))

#endif

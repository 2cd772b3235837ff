/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole daemon in a temporary directory with the fake engine, its HTTP server
 * on a real unix socket, and a client in the same loop.
 */
#ifndef RIG_H
#define RIG_H

#include <jansson.h>

#include "api/schema.h"
#include "fake_engine.h"
#include "tests/unit/until.h"
#include "vmd/http/http.h"
#include "vmd/vm/vm.h"

struct rig {
	char dir[64], state[96], run[96], script[96];
	struct daemon_config config;
	struct loop *loop;
	struct daemon d;
	struct http *http;
	bool open;
};

extern uint64_t rig_memory; /* what the host has available */

/* cmocka setup and teardown; *state is the rig. */
int rig_setup(void **state);
int rig_teardown(void **state);
#define RIG_TEST(name) \
	cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

/* A file that tells the image program how to behave: "mode" with ok, fail,
 * crash or hang, which makes "hangs" when it has a child; "sweep-hangs". */
void rig_file(const struct rig *r, const char *name, const char *text);

/* The daemon goes (as after kill -9: no VM is told) and a new one comes. */
void rig_drop(struct rig *r);
void rig_start(struct rig *r);

/* Runs the loop until cond holds. */
#define RIG_UNTIL(r, cond) UNTIL(10000, cond, loop_run_once((r)->loop, 5))
/* Nothing is being swept: neither image store nor trash, nor after a build. */
bool rig_swept(const struct rig *r);
/* Runs the loop until it has nothing to do. */
void rig_settle(struct rig *r);
/* Lets time pass: to see that something does not happen in it. */
void rig_spin(struct rig *r, unsigned ms);

struct answer {
	int status;
	char *head, *body;
	size_t body_len;
	json_t *json; /* NULL when it is not JSON */
};

/* body may be NULL; headers "A: b\r\n" or "". */
void rig_call(struct rig *r, const char *method, const char *path,
	      const char *headers, const char *body, struct answer *ret);
/* Sends raw bytes and reads until the server closes or 3 s. */
void rig_raw(struct rig *r, const void *data, size_t len, struct answer *ret);
/* Takes the malloc'd text. */
struct answer rig_parse(char *text, size_t len);
void answer_done(struct answer *a);
/* A string or number member by dotted path, for assertions. */
const char *answer_text(const struct answer *a, const char *path);
const char *answer_code(const struct answer *a);

/* A request without headers whose answer has this text at that path. */
void rig_expect(struct rig *r, const char *method, const char *path,
		const char *body, const char *what, const char *want);

/* The answer is one that the served OpenAPI document lists for the route: status,
 * type of content, schema. rig_call() looks at every answer so. */
void rig_assert_listed(const char *method, const char *path,
		       const struct answer *a);

/* The body is such an object. */
void rig_assert_valid(const struct api_object *object, const struct answer *a);

int rig_connect(struct rig *r);
/* A port of 127.0.0.1 that nobody listens on, neither TCP nor UDP. */
uint16_t rig_free_port(void);
/* Creates a VM ("tiny", extra members like "\"ephemeral\":true") and waits for
 * the operation; the VM's id. */
char *rig_create(struct rig *r, const char *extra, struct answer *ret);
size_t rig_entries(const struct rig *r, const char *sub); /* of a directory */
size_t rig_rows(struct rig *r, const char *sql); /* SELECT count(*) ... */
/* No VM, nor anything that belonged to one. */
void rig_assert_nothing_left(struct rig *r);
size_t rig_open_fds(void);

/* A WebSocket client. */
struct wsc {
	int fd;
	uint8_t in[1 << 20];
	size_t len;
	int status; /* of the handshake */
	uint64_t out_bytes; /* of channel 1 */
	char text[65536]; /* all text messages, one per line */
	char data[65536]; /* the first bytes of channel 1 or the console */
	size_t data_len;
	unsigned messages, empty_messages; /* binary ones */
	int close_code; /* 0: no close frame came */
	bool eof, stalled; /* stalled: do not read */
};

struct wsc *wsc_open(struct rig *r, const char *path);
void wsc_send(struct wsc *c, int opcode, const void *data, size_t len,
	      bool masked);
void wsc_text(struct wsc *c, const char *text);
void wsc_poll(struct wsc *c);
void wsc_free(struct wsc *c);
/* Until the text messages contain that, or the connection ends. */
void wsc_until(struct rig *r, struct wsc *c, const char *text);
void wsc_until_closed(struct rig *r, struct wsc *c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent protocol: many streams over one byte stream, which is a vsock
 * connection (microVM monitor) or a virtio-serial port (QEMU). No dependency:
 * the codec is linked into the static guest agent and into vmd.
 *
 * Frame: a 16-byte little-endian header, then `length` payload bytes.
 *
 *   0 magic u32   4 type u8   5 channel u8   6 reserved u16 (0)
 *   8 stream u32  12 length u32 (at most WIRE_PAYLOAD_MAX)
 *
 * Opening. The host speaks first: WIRE_SYNC_LEN zero bytes (a serial port may
 * hold half a frame of an earlier host: the zeros complete and outlive it), then
 * HELLO with a fresh nonce. The agent, on HELLO at any time, ends every stream
 * of the earlier session (commands that were not detached get SIGHUP, then
 * SIGKILL) and answers HELLO_ACK with the same nonce. The host discards all
 * bytes until it sees a HELLO_ACK with its nonce. On a bad magic each side looks
 * for the next valid header byte by byte; the host counts that and gives up on
 * the connection, the agent goes on until a HELLO.
 *
 * Streams. The host chooses ids (non-zero, never reused in a session) and opens
 * with EXEC, PUSH, PULL, DIAL, TIME, NET, SHUTDOWN or STATUS. Exactly one RESULT (or
 * EXIT for EXEC that started) ends a stream; after it the id is dead and late
 * frames for it are dropped silently. An EXEC longer than a frame comes in pieces:
 * EXEC_PART frames and, with the last piece, EXEC; the pieces of two are never
 * mixed. A DETACHED exec gets STARTED and at once
 * RESULT 0: how it ends comes as DETACHED. A frame that is malformed or of a
 * type that has no business on the stream ends it with RESULT bad_request.
 * EXIT comes right behind the EOF of the outputs, except after CLOSE. A session also
 * ends when the byte stream is lost (vsock closed, serial port hung up).
 *
 * Flow control. DATA consumes credit of its (stream, channel); each direction
 * starts with WIRE_WINDOW bytes and the receiver gives more with WINDOW when it
 * has passed the bytes on. Sending over the credit is a protocol error and ends
 * the stream. So a command that prints 1 GiB holds at most one window of memory
 * in every process on the way. Version 3: a DIAL of TCP that moves much may get more
 * with WINDOW than it has used, up to WIRE_WINDOW in all; each receiver gives that
 * to WIRE_GROWN_MAX of them.
 *
 * Connections. DIAL makes the agent connect to a port of its own machine (see
 * agent/dial.c for which address); CONNECTED says that there is one. The host may
 * send DATA on WIRE_IN before that. An EOF of either side is a half-close: the
 * other direction goes on. After both, RESULT 0; RESULT with an errno instead is
 * a refused or reset connection. CLOSE resets it. UDP: what goes on WIRE_IN and
 * WIRE_OUT is a sequence of datagrams, each behind its length as a u16, cut into
 * DATA frames as it comes; there is no EOF and no RESULT 0.
 *
 * Trust: vmd treats everything from the agent as hostile; the agent trusts the
 * host but still checks bounds. Integers are little-endian, strings are a u32
 * length and the bytes, lists a u32 count and the items.
 */
#ifndef AGENT_WIRE_H
#define AGENT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	WIRE_VERSION = 3,
	/* vmd still speaks to: 1 has no EXEC_PART, 2 no credit beyond the first
	 * (WIRE_GROWN_MAX). */
	WIRE_VERSION_MIN = 1,
	WIRE_MAGIC = 0x31414d56, /* "VMA1" */
	WIRE_HEADER_LEN = 16,
	WIRE_PAYLOAD_MAX = 32768,
	/* What a sender puts into one DATA: with its header 32 KiB, as much as a
	 * virtio-serial port takes in one piece. */
	WIRE_DATA_MAX = WIRE_PAYLOAD_MAX - 16,
	WIRE_SYNC_LEN = WIRE_PAYLOAD_MAX + WIRE_HEADER_LEN,
	WIRE_WINDOW = 262144,
	WIRE_NONCE_LEN = 16,
	WIRE_STREAMS_MAX = 64, /* open at once; one more is refused */
	/* The same for connections (DIAL), which are counted apart: many of them
	 * must not keep a command out. */
	WIRE_DIALS_MAX = 512,
	/* First credit of a connection, both ways: a table full of them must fit
	 * into a small guest. Two datagrams of the largest size need the second. */
	WIRE_DIAL_WINDOW = 65536,
	WIRE_DIAL_UDP_WINDOW = 131072,
	/* So many connections of TCP, each way, get WIRE_WINDOW once they move much. */
	WIRE_GROWN_MAX = 32,
	WIRE_DATAGRAM_MAX = 65535, /* IPv4 can carry 65507 */
	/* The agent listens here, the host calls. Below 1024: in the guest only
	 * root may bind it (LAST_RESERVED_PORT of Linux's vsock). */
	WIRE_VSOCK_PORT = 1000,
};

/* Name of the virtio-serial port on QEMU. */
#define WIRE_PORT_NAME "org.vmd.agent.0"

enum wire_type {
	/* host to agent */
	WIRE_HELLO = 1, /* u16 version, nonce[16] */
	WIRE_EXEC = 2, /* struct wire_exec */
	WIRE_SIGNAL = 3, /* u32 signal: to the command's process group */
	WIRE_RESIZE = 4, /* u16 rows, u16 columns */
	WIRE_CLOSE =
		5, /* empty: host lost interest; end it and say RESULT/EXIT */
	WIRE_PUSH = 6, /* string path, u8 flags (version 2; may be missing): a
			  tar stream follows as DATA, then EOF. RESULT 0 of
			  both may have a message: what was left out */
	WIRE_PULL = 7, /* string path: agent sends a tar stream, then RESULT */
	WIRE_TIME = 8, /* i64 ns since the epoch */
	WIRE_NET = 9, /* struct wire_net */
	WIRE_SHUTDOWN = 10, /* u8 enum wire_shutdown */
	WIRE_STATUS = 11, /* empty: RESULT 0 says that the agent is alive */
	WIRE_REAP =
		12, /* u32 tag: forget the exit record of a detached command */
	WIRE_EXEC_PART = 13, /* a piece of an EXEC that follows; version 2 */
	WIRE_DIAL =
		16, /* struct wire_dial: a connection to a port of the guest */
	/* agent to host */
	WIRE_HELLO_ACK = 32, /* struct wire_hello_ack */
	WIRE_STARTED = 33, /* u32 guest pid: EXEC has a process */
	WIRE_EXIT = 34, /* u32 exit status, u32 signal (0: exited) */
	WIRE_RESULT = 35, /* u32 errno (0: done), string code, string message */
	WIRE_DETACHED = 36, /* stream 0: u32 tag, u8 running, u32 status, u32
				signal; sent when one ends and, after
				HELLO_ACK, once for each that is known */
	WIRE_CONNECTED = 40, /* empty: the DIAL found who listens */
	/* both ways */
	WIRE_DATA = 64, /* channel: 0 in (stdin, tar in), 1 out, 2 err */
	WIRE_EOF = 65, /* channel: no more DATA on it */
	WIRE_WINDOW_ADD = 66, /* channel, u32 bytes of new credit */
};

enum wire_channel {
	WIRE_IN = 0,
	WIRE_OUT = 1,
	WIRE_ERR = 2
};

enum wire_shutdown {
	WIRE_POWEROFF = 0,
	WIRE_REBOOT = 1
};

enum wire_exec_flags {
	WIRE_EXEC_TTY = 1, /* a pty; stdout and stderr come on WIRE_OUT */
	WIRE_EXEC_STDIN = 2, /* host will send WIRE_IN; else /dev/null */
	WIRE_EXEC_DETACHED =
		4, /* survives the session; output to the console */
};

enum wire_protocol {
	WIRE_TCP = 0,
	WIRE_UDP = 1
};

/* RESULT codes of a DIAL. */
#define WIRE_CODE_REFUSED "connection_refused" /* nothing listens there */
#define WIRE_CODE_RESET	  "connection_reset"

enum wire_push_flags {
	WIRE_PUSH_AT = 1, /* as cp(1): path is what the one tree becomes, or the
			     directory it goes into */
};

/* RESULT codes of an EXEC that did not start. */
#define WIRE_CODE_NOT_FOUND   "command_not_found" /* vmctl: 127 */
#define WIRE_CODE_NOT_EXEC    "command_not_executable" /* vmctl: 126 */
#define WIRE_CODE_BAD_REQUEST "bad_request"
#define WIRE_CODE_BUSY	      "too_many_streams"
#define WIRE_CODE_NO_USER     "user_not_found"
#define WIRE_CODE_IO	      "io_error"
/* Of a PUSH or PULL: the archive is wrong; a pipe, device or socket was named. */
#define WIRE_CODE_BAD_ARCHIVE "bad_archive"
#define WIRE_CODE_SPECIAL     "special_file"

/* A view into a payload: not NUL-terminated. */
struct wire_str {
	const char *ptr;
	uint32_t len;
};

/*
 * What Linux takes: MAX_ARG_STRLEN with the NUL, and a quarter of the usual
 * stack for all strings, each with its NUL and a pointer. On the wire a string
 * has 4 bytes more than its text, so that whatever Linux takes fits, with the
 * path and the user.
 */
enum {
	WIRE_ARG_BYTES_MAX = 131071,
	WIRE_ARGS_BYTES_MAX = 2097152,
	WIRE_ARG_COST = 9, /* of each string, beside its text */
	WIRE_EXEC_MAX = WIRE_ARGS_BYTES_MAX + 8192,
};

/* Strings one behind the other as they are on the wire, checked by decode. */
struct wire_list {
	const uint8_t *at;
	size_t len;
	uint32_t count;
};

struct wire_exec {
	uint32_t flags;
	uint32_t tag; /* DETACHED: the host's name for it, unique per VM */
	uint16_t rows, columns;
	struct wire_str cwd; /* empty: "/" */
	struct wire_str user; /* empty: root; "name" or "uid" or "uid:gid" */
	struct wire_list argv; /* at least one */
	struct wire_list envp; /* "NAME=value", over the default */
};

struct wire_net {
	struct wire_str interface; /* empty: first Ethernet interface */
	struct wire_str address; /* "10.0.2.15/24" */
	struct wire_str gateway; /* may be empty */
	struct wire_str dns; /* may be empty */
	uint32_t mtu; /* 0: leave */
};

struct wire_dial {
	uint8_t protocol; /* enum wire_protocol */
	uint16_t port; /* not 0 */
};

struct wire_hello_ack {
	uint16_t version;
	uint8_t nonce[WIRE_NONCE_LEN];
	uint64_t boot_ns; /* CLOCK_BOOTTIME when the agent became ready */
	struct wire_str release; /* uname -r */
	struct wire_str agent; /* version string of the agent */
};

struct wire_header {
	uint8_t type;
	uint8_t channel;
	uint32_t stream;
	uint32_t length;
};

/* Writes the 16 bytes of a header. length is at most WIRE_PAYLOAD_MAX. */
void wire_put_header(uint8_t out[static WIRE_HEADER_LEN],
		     const struct wire_header *h);
/* false: bad magic, reserved not 0, or too long. */
bool wire_get_header(const uint8_t in[static WIRE_HEADER_LEN],
		     struct wire_header *ret);

/*
 * A cursor over a payload being built or read. Overflow sets `bad` and sticks;
 * check once at the end with wire_cursor_ok() / wire_cursor_done() (read: also
 * nothing left over).
 */
struct wire_cursor {
	uint8_t *at;
	uint8_t *end;
	bool bad;
};

struct wire_cursor wire_writer(uint8_t *out, size_t room);
struct wire_cursor wire_reader(const void *data, size_t len);
bool wire_cursor_ok(const struct wire_cursor *c);
bool wire_cursor_done(const struct wire_cursor *c);
void wire_write_u8(struct wire_cursor *c, uint8_t v);
void wire_write_u16(struct wire_cursor *c, uint16_t v);
void wire_write_u32(struct wire_cursor *c, uint32_t v);
void wire_write_u64(struct wire_cursor *c, uint64_t v);
void wire_write_bytes(struct wire_cursor *c, const void *data, size_t len);
void wire_write_str(struct wire_cursor *c, struct wire_str s);
uint8_t wire_read_u8(struct wire_cursor *c);
uint16_t wire_read_u16(struct wire_cursor *c);
uint32_t wire_read_u32(struct wire_cursor *c);
uint64_t wire_read_u64(struct wire_cursor *c);
void wire_read_bytes(struct wire_cursor *c, void *data, size_t len);
struct wire_str wire_read_str(struct wire_cursor *c);

/*
 * Whole messages. encode: bytes written into out (room for WIRE_PAYLOAD_MAX
 * where it is not said), or 0 when it does not fit. decode: false when malformed; results point into in.
 */
size_t wire_encode_exec(const struct wire_exec *m, uint8_t *out, size_t room);
bool wire_decode_exec(const uint8_t *in, size_t len, struct wire_exec *ret);
/* Bytes that wire_encode_exec() needs. */
size_t wire_exec_len(const struct wire_exec *m);
/* Writes the strings at the cursor; the list points there. */
struct wire_list wire_write_list(struct wire_cursor *c,
				 const struct wire_str *items, uint32_t count);
/* Takes the first string off; false: none is left. */
bool wire_list_next(struct wire_list *list, struct wire_str *ret);
size_t wire_encode_net(const struct wire_net *m, uint8_t *out);
bool wire_decode_net(const uint8_t *in, size_t len, struct wire_net *ret);
size_t wire_encode_dial(const struct wire_dial *m, uint8_t *out);
bool wire_decode_dial(const uint8_t *in, size_t len, struct wire_dial *ret);
size_t wire_encode_hello_ack(const struct wire_hello_ack *m, uint8_t *out);
bool wire_decode_hello_ack(const uint8_t *in, size_t len,
			   struct wire_hello_ack *ret);
size_t wire_encode_result(uint32_t sys, const char *code, const char *message,
			  uint8_t *out);
bool wire_decode_result(const uint8_t *in, size_t len, uint32_t *ret_sys,
			struct wire_str *ret_code, struct wire_str *ret_msg);

/* The credit a stream of DIAL begins with. */
static inline uint32_t wire_dial_window(uint8_t protocol)
{
	return protocol == WIRE_UDP ? WIRE_DIAL_UDP_WINDOW : WIRE_DIAL_WINDOW;
}

static inline struct wire_str wire_str(const char *s)
{
	struct wire_str v = { s, s ? (uint32_t)__builtin_strlen(s) : 0 };

	return v;
}

/*
 * The receiving parser: feed bytes in any pieces, frames come out whole.
 * Holds at most one frame. `resync` counts bytes skipped to find a header.
 */
struct wire_parser {
	uint8_t frame[WIRE_HEADER_LEN + WIRE_PAYLOAD_MAX];
	size_t have;
	uint64_t resync;
	bool stop;
};

typedef void wire_frame_fn(void *ctx, const struct wire_header *h,
			   const uint8_t *payload);

void wire_parser_reset(struct wire_parser *p);
/*
 * Calls fn for each complete frame; a payload points into data when all of the frame
 * is there. fn may call wire_parser_reset(p), or wire_parser_stop(p) to get no more
 * frames for now. Returns how many bytes of data were taken: all, if not stopped.
 */
size_t wire_parser_feed(struct wire_parser *p, const uint8_t *data, size_t len,
			wire_frame_fn *fn, void *ctx);
static inline void wire_parser_stop(struct wire_parser *p)
{
	p->stop = true;
}

#endif

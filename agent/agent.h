/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the guest agent: one process, one thread, one poll() loop.
 *
 * Data flows   host fd -> wire_parser -> session -> command stdin / tar reader
 * and back     command stdout / tar writer -> outq -> host fd.
 *
 * Memory is bounded by construction: the output queue has a fixed size and
 * commands are only read while it has room *and* their stream has credit; the
 * host's DATA is bounded by the credit that was given. A slow host therefore
 * stops the commands (their pipes fill), never the loop.
 *
 * Trust: the host may do anything to the guest anyway, but lengths, ids and
 * counts are checked, so that a confused host cannot corrupt the agent.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "agent/tar.h"
#include "agent/wire.h"

enum {
	OUTQ_SIZE = 262144,
	/* Below: commands and tar writers are read. One frame fits above. */
	OUTQ_DATA_LEVEL = 65536,
	/* Below: what the host sent is parsed. Replies to a frame fit above. */
	OUTQ_INPUT_LEVEL = 98304,
	/* Read from the host in one turn; parsed while OUTQ_INPUT_LEVEL allows.
	 * In pieces, for the port of QEMU gives one page with each. */
	HOST_READ_MAX = 65536,
	HOST_PIECE = 4096,
	OUTQ_REPLY_MAX = 300,
	STREAM_BUCKETS = 64,
	DETACHED_MAX = 256, /* records kept until REAP */
	KILL_AFTER_MS = 1000, /* between SIGHUP and SIGKILL */
	/* Requests first, then connections: each kind has its own limit. */
	STREAM_SLOTS = WIRE_STREAMS_MAX + WIRE_DIALS_MAX,
	POLL_MAX = 8 + 3 * WIRE_STREAMS_MAX + WIRE_DIALS_MAX,
};

/* Why a request failed: becomes a RESULT. */
/*
 * systemd's SIGRTMIN+3 to +5. Its SIGRTMIN is glibc's, 34; that of the C library
 * we are built with may be another.
 */
enum {
	SYSTEMD_HALT = 34 + 3,
	SYSTEMD_POWEROFF = 34 + 4,
	SYSTEMD_REBOOT = 34 + 5,
};

struct failure {
	uint32_t sys;
	const char *code;
	char msg[200];
};

void failure_set(struct failure *f, int sys, const char *code, const char *fmt,
		 ...) __attribute__((format(printf, 4, 5)));

/* One line on the console: "vmd-agent: ...". debug: only with vmd.debug=1. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
extern bool say_verbose;

/* ---- outq.c: frames on their way to the host -------------------------- */
struct outq {
	uint8_t data[OUTQ_SIZE];
	size_t start, end;
	size_t frame_left; /* unsent bytes of the frame being sent */
	bool overflow; /* a frame did not fit: the session is lost */
};

static inline size_t outq_len(const struct outq *q)
{
	return q->end - q->start;
}

void outq_frame(struct outq *q, uint8_t type, uint8_t channel, uint32_t stream,
		const void *payload, size_t len);
/* Room for WIRE_PAYLOAD_MAX bytes of DATA; NULL over OUTQ_DATA_LEVEL. */
uint8_t *outq_data_begin(struct outq *q);
void outq_data_commit(struct outq *q, uint8_t channel, uint32_t stream,
		      size_t len);
void outq_sent(struct outq *q, size_t len);
/* Drops the frames of which no byte was sent: the stream stays aligned. */
void outq_drop_unsent(struct outq *q);
void outq_clear(struct outq *q);

/* ---- streams and commands --------------------------------------------- */
enum stream_kind {
	STREAM_FREE,
	STREAM_EXEC,
	STREAM_PUSH,
	STREAM_PULL,
	STREAM_DIAL
};

struct stream {
	enum stream_kind kind;
	uint32_t id;
	struct stream *next; /* in its bucket */
	uint32_t out_credit[3]; /* by channel: what we may send */
	uint32_t in_credit; /* what the host may send on WIRE_IN */
	uint32_t in_passed; /* passed on, not given back as credit yet */
	uint32_t window; /* what in_credit and what is kept may reach */
	bool grown; /* counted in agent.grown */
	struct command *command;
	struct tar_reader *reader;
	struct tar_writer *writer;
	struct dial *dial;
};

/* A child that EXEC started. Freed by command_sweep() at the end of a round. */
struct command {
	struct command *next;
	pid_t pid;
	struct stream *stream; /* NULL: detached, or the host lost interest */
	int in, out, err; /* -1: closed; a tty has in == out */
	int slave; /* of a tty, held so that reading never ends before it */
	bool tty, exited, dead, ending;
	bool in_eof; /* close stdin once `pending` is written */
	uint8_t *pending; /* stdin that the pipe did not take; WIRE_WINDOW */
	size_t pending_start, pending_end;
	uint64_t kill_at_ms; /* 0: no */
	uint32_t status, signal;
};

/* A connection to a port of this machine; owned by its stream. */
struct dial {
	TAILQ_ENTRY(dial) link; /* behind those that were served before it */
	struct stream *stream;
	bool udp;
	uint16_t port;
	unsigned int candidate; /* which of our addresses is tried */
	int fd;
	bool connecting;
	bool in_eof; /* the host sends no more */
	bool in_shut; /* ... and the service was told so, or is gone */
	bool out_eof; /* the service sends no more; the host was told so */
	bool reset; /* writing failed: what can be read is read, then the end */
	uint8_t *pending; /* what the service did not take yet; one window */
	size_t pending_start, pending_end;
	/* UDP: kept until somebody answers, for the next address. */
	bool answered;
	uint8_t *last;
	size_t last_len;
};

/* An exit record of a detached command, kept until REAP. */
struct detached {
	bool used, running, forget;
	uint32_t tag, status, signal;
	pid_t pid;
};

enum agent_role {
	ROLE_PLAIN, /* --fd: tests; never touches the machine */
	ROLE_SERVICE, /* under another init */
	ROLE_INIT, /* PID 1 */
};

enum channel_kind {
	CHANNEL_NONE,
	CHANNEL_FD,
	CHANNEL_VSOCK,
	CHANNEL_SERIAL
};

struct channel {
	enum channel_kind kind;
	int fd; /* the byte stream to the host; -1 */
	int listener; /* vsock */
	int uevents; /* netlink: told when a port or vsock appears */
	int wait; /* epoll, edge: told when a serial host connects */
	bool host_away; /* serial: opened, nobody at the other end */
	/* Read from the host, not parsed yet. */
	uint8_t in[HOST_READ_MAX];
	size_t in_start, in_end;
};

struct agent {
	enum agent_role role;
	const char *console; /* output of detached commands */
	const char *channel_wish; /* "vsock", "serial" or NULL */
	uint64_t ready_ns;

	struct channel channel;
	bool session; /* a HELLO was answered on this channel */
	uint16_t version; /* of the protocol, in this session */
	unsigned int grown; /* connections with a large window */
	struct wire_parser parser;
	struct outq out;
	struct stream streams[STREAM_SLOTS];
	struct stream *found; /* the last one: frames come in runs */
	struct stream *by_id[STREAM_BUCKETS];
	size_t next_slot[2]; /* where a free one is likely; [1]: of dials */
	TAILQ_HEAD(dial_list, dial) dials;
	struct request_parts {
		uint32_t stream; /* 0: none is being sent */
		uint8_t *data;
		size_t len, room;
	} parts; /* of the one long EXEC on its way */
	struct command *commands;
	struct detached detached[DETACHED_MAX];

	int signals; /* signalfd */
	bool power_wanted, quit;
	enum wire_shutdown power_how;
	uint64_t power_at_ms; /* SIGKILL and the end; 0: not yet begun */
	unsigned int turns; /* rounds of the loop */
	unsigned int turn; /* which command is read first: fairness */

	struct pollfd poll_fds[POLL_MAX];
	struct poll_slot {
		void (*fn)(struct agent *a, void *data, short revents);
		void *data;
	} poll_slots[POLL_MAX];
	size_t poll_count;
};

typedef void poll_fn(struct agent *a, void *data, short revents);
void agent_poll_add(struct agent *a, int fd, short events, poll_fn *fn,
		    void *data);
int agent_run(struct agent *a);
uint64_t now_ms(void);

/* ---- channel.c ---------------------------------------------------------- */
void channel_init(struct channel *c);
/* Looks for a channel; waits for one through uevents when there is none. */
void channel_open(struct agent *a);
void channel_use_fd(struct agent *a, int fd);
void channel_poll(struct agent *a);
/* Parses what was read, as far as there is room for the replies. */
void channel_parse(struct agent *a);
/* What was read waits, and there is room. */
bool channel_busy(const struct agent *a);
/* Writes what the host takes now. */
void channel_flush(struct agent *a);
/* Port of virtio-serial by name; returns an open fd or -1. */
int serial_open(const char *name);
int uevents_open(void);

/* ---- session.c ---------------------------------------------------------- */
wire_frame_fn session_frame; /* ctx: struct agent */
/* The host is gone or a new one says HELLO. */
void session_end(struct agent *a);
void session_result(struct agent *a, uint32_t id, uint32_t sys,
		    const char *code, const char *msg);
/* RESULT, and everything of the stream is ended. */
void stream_fail(struct agent *a, struct stream *st, const struct failure *f);
void stream_done(struct agent *a, struct stream *st);
struct stream *stream_find(struct agent *a, uint32_t id);
void stream_free(struct agent *a, struct stream *st);
/* len bytes of WIRE_IN were passed on: gives the credit back in batches. */
void stream_passed(struct agent *a, struct stream *st, size_t len);
void detached_report(struct agent *a, const struct detached *d);

/* ---- exec.c, spawn.c: commands ------------------------------------------ */
void exec_open(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len);
/* A piece of the EXEC that the host will send on this stream. */
void exec_part(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len);
/* The pieces are of no use any more. */
void exec_parts_drop(struct agent *a);
void command_input(struct agent *a, struct command *c, const uint8_t *data,
		   size_t len);
void command_input_eof(struct command *c);
void command_resize(struct command *c, uint16_t rows, uint16_t columns);
/* Nobody listens any more: SIGHUP now, SIGKILL later. Detaches the stream. */
void command_abandon(struct command *c);
/* CLOSE: the same, but the stream still gets its EXIT. */
void command_end(struct command *c);
void commands_poll(struct agent *a);
/* After the callbacks: output of exited commands, deadlines, freeing. */
void commands_pump(struct agent *a);
void commands_sweep(struct agent *a);
void command_exited(struct agent *a, pid_t pid, uint32_t status,
		    uint32_t signal);
/* Before the reaping: the rest of an abandoned process group. */
void command_about_to_reap(struct agent *a, pid_t pid);

/* Forks and execs; fills c->pid and the fds. false with *f set. The strings of
 * req get a NUL each, over the byte that follows on the wire. */
bool spawn_command(struct agent *a, const struct wire_exec *req,
		   struct command *c, struct failure *f);

/* user.c: "name", "uid", "uid:gid" or "" */
enum {
	USER_GROUPS_MAX = 64
};
struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX];
	size_t group_count;
	char name[128], home[256], shell[256];
};
bool user_find(const char *text, struct user *ret);

/* ---- files.c: PUSH and PULL --------------------------------------------- */
void push_open(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len);
void push_input(struct agent *a, struct stream *st, const uint8_t *data,
		size_t len);
void push_eof(struct agent *a, struct stream *st);
void pull_open(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len);
/* Returns true when more could be sent at once. */
bool pulls_pump(struct agent *a);

/* ---- dial.c, dial_udp.c, dial_address.c: connections to our own ports ----- */
void dial_open(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len);
void dial_input(struct agent *a, struct dial *d, const uint8_t *data,
		size_t len);
void dial_input_eof(struct agent *a, struct dial *d);
/* Resets the connection if it has not ended. NULL is fine. */
void dial_free(struct agent *a, struct dial *d);
void dials_poll(struct agent *a);
/* A datagram socket on d->candidate. false: there is no such address. */
bool dial_udp_open(struct dial *d);
/* The whole datagrams of d->pending go out. */
void dial_udp_write(struct agent *a, struct dial *d);
/* One datagram to the host, if there is credit and room. */
void dial_udp_read(struct agent *a, struct dial *d);
/* The k-th address under which a service of this machine may listen; false when
 * there are no more. ret has room for any address. */
bool dial_address(unsigned int k, uint16_t port, struct sockaddr_storage *ret,
		  socklen_t *ret_len);

/* Nobody listened, and the kernel has given us the very port that we look for: we
 * are connected to ourselves. */
bool dial_is_self(int fd, uint16_t port);

/* ---- net.c --------------------------------------------------------------- */
/* Loopback up. */
void net_loopback(void);
/*
 * Address, route, MTU, resolv.conf. false with *f set. window: the largest one
 * that TCP announces, in bytes; 0: the kernel's choice.
 */
bool net_setup(const struct wire_net *n, uint32_t window, struct failure *f);
/* IFACE,ADDR/PREFIX,GATEWAY,DNS[,MTU] */
bool net_parse(const char *text, struct wire_net *ret);

/* ---- hostname.c ------------------------------------------------------------ */
/* The VM's name, unless a person has given the guest another. */
void hostname_set(const char *given);
/* Its part in the directory etc: hostname and hosts. ret_name: the guest's name.
 * may_cover: what cannot be replaced gets a file mounted over it. */
void hostname_files(const char *etc, const char *given, bool ipv6,
		    bool may_cover, char ret_name[static 65]);

/* ---- init.c, mounts.c: the boot ------------------------------------------ */
struct boot {
	char root[64], rootfs[16], net[256], hostname[65], agent[16];
	uint32_t window; /* vmd.window, or 0 */
	bool system, debug, read_only;
};
void boot_parse(char *cmdline, struct boot *ret);
/* As PID 1: up to the point where the guest is ready. May exec /sbin/init. */
void boot_machine(struct boot *ret);
bool boot_in_initramfs(void);
void mounts_early(void);
void mounts_late(bool initramfs_is_root);
void modules_load(const char *dir);
/* Moves to /newroot, which is mounted, and deletes the initramfs. */
bool root_switch(void);

/* ---- power.c, reap.c ------------------------------------------------------ */
void power_begin(struct agent *a, enum wire_shutdown how);
/* Called each round; ends the machine when it is time. */
void power_step(struct agent *a);
void power_now(enum wire_shutdown how);
/* Collects every ended child. Returns false when there are no children. */
bool reap_children(struct agent *a);
int signals_open(void);
void signals_reset(void); /* in a child, before exec */
void signals_poll(struct agent *a);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device's own state, and how its files divide the work:
 *
 *   vsock.c       creation, life cycle, configuration, event queue
 *   vsock_conn.c  slots, table, what each connection waits for, deadlines
 *   vsock_host.c  unix sockets: listener, CONNECT line, bytes to the host
 *   vsock_tx.c    packets from the guest
 *   vsock_rx.c    packets to the guest
 *
 * Life of a slot:
 *
 *   FREE -> LINE -> REQUESTED -> OPEN     a client of the host
 *   FREE -> OPEN                          a socket of the guest
 *   OPEN -> CLOSING -> FREE               the host closed; the guest answers
 *   OPEN -> DRAINING -> FREE              the guest closed; bytes still leave
 *   any -> RESET -> FREE                  only an RST is left to be sent
 *
 * What we owe the guest is a set of bits per slot and a ring of fixed size for
 * packets that belong to no slot: a guest that never takes its packets cannot
 * make us remember more than that.
 */
#ifndef VIRTIO_VSOCK_INTERNAL_H
#define VIRTIO_VSOCK_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/vsock/vsock.h"
#include "virtio/vsock/vsock_wire.h"

enum {
	VSOCK_LINE_MAX = 32,
	/* With NUL; "_", ten digits and NUL still fit into a sun_path. */
	VSOCK_BASE_MAX = 97,
	VSOCK_HASH = 256, /* buckets; a power of two */
	VSOCK_ORPHANS = 64, /* resets owed to packets without a slot */
	VSOCK_BUDGET = 256 /* packets per turn and direction */
};

enum vsock_state {
	VSOCK_FREE,
	VSOCK_LINE,
	VSOCK_REQUESTED,
	VSOCK_OPEN,
	VSOCK_CLOSING,
	VSOCK_DRAINING,
	VSOCK_RESET
};

/* Packets owed to the guest, in the order in which they are sent. */
enum {
	VSOCK_OWE_RST = 1u << 0,
	VSOCK_OWE_REQUEST = 1u << 1,
	VSOCK_OWE_RESPONSE = 1u << 2,
	VSOCK_OWE_SHUTDOWN = 1u << 3,
	VSOCK_OWE_CREDIT_UPDATE = 1u << 4,
	VSOCK_OWE_CREDIT_REQUEST = 1u << 5
};

struct vsock;

struct vsock_conn {
	struct vsock *vs;
	struct loop_source source;
	struct loop_timer timer;
	struct vsock_conn *next_hash; /* or the next free slot */
	struct vsock_conn *prev_ready, *next_ready;
	enum vsock_state state;
	int fd; /* owned; -1 once the host side is closed */
	uint32_t guest_port, host_port;

	unsigned owed; /* VSOCK_OWE_* */
	unsigned host_shut; /* VSOCK_SHUT_*, told or owed to the guest */
	unsigned guest_shut; /* VSOCK_SHUT_*, as the guest said */
	uint32_t peer_alloc; /* the guest's buf_alloc */
	uint32_t peer_fwd; /* the guest's fwd_cnt */
	uint32_t sent; /* bytes to the guest, modulo 2^32 */
	uint32_t received; /* bytes from the guest */
	uint32_t forwarded; /* of those, handed to the host */
	uint32_t forwarded_told; /* as the guest knows it */

	uint32_t buf_start, buf_len;
	uint8_t *buf; /* VIRTIO_VSOCK_BUF_LEN bytes of the device's area */
	bool buf_used; /* pages were touched */

	bool by_guest;
	bool hashed;
	bool in_ready;
	bool readable; /* the host's socket has bytes or its end */
	bool hup; /* both ways closed by the host: off the loop */
	bool credit_asked; /* CREDIT_REQUEST since the last credit */
	uint8_t line_len;
	char line[VSOCK_LINE_MAX];
};

struct vsock_orphan {
	uint64_t src_cid; /* as the answer will say */
	uint32_t src_port, dst_port;
	uint16_t type;
};

struct vsock {
	struct virtio_device dev;
	struct vsock_space space;
	int listen_fd;
	struct loop_source listener;
	struct loop_timer listen_again; /* after accept() failed */
	struct loop_timer again; /* continues a turn */
	int (*connect)(void *ctx, uint32_t port, int *ret_fd); /* or NULL */
	void *connect_ctx;
	int dir_fd;
	char base[VSOCK_BASE_MAX]; /* empty: the guest is refused */
	uint64_t connect_timeout_ms, linger_timeout_ms;
	bool event_owed; /* TRANSPORT_RESET waits for a buffer */
	bool rx_kicks; /* the driver was asked to kick the rx queue */
	bool tx_stalled; /* until an orphan is sent */
	uint32_t next_host_port;
	unsigned guest_conns;
	struct virtio_vsock_stats stats;
	struct vsock_conn *free_slots;
	struct vsock_conn *ready_head, *ready_tail;
	struct vsock_conn *hash[VSOCK_HASH];
	unsigned orphan_first, orphan_count;
	struct vsock_orphan orphans[VSOCK_ORPHANS];
	uint8_t *area; /* the buffers of all slots, one mapping */
	struct vsock_conn *slots;
	struct virtq_chain rx_chain, tx_chain; /* too large for the stack */
};

/* vsock_conn.c */

/* Slots, table and buffers. 0 or -ENOMEM; done accepts a half-made device. */
int vsock_conns_init(struct vsock *vs);
void vsock_conns_done(struct vsock *vs);
/* A slot with fd (owned) watched by the loop, or NULL when all are taken. */
struct vsock_conn *vsock_conn_new(struct vsock *vs, int fd, bool by_guest);
/* Frees the slot at once; the guest is not told. */
void vsock_conn_release(struct vsock_conn *c);
void vsock_conns_release_all(struct vsock *vs);
/* Closes the host side; an RST to the guest frees the slot later. */
void vsock_conn_reset(struct vsock_conn *c);
/* The host can neither send nor receive any more. */
void vsock_conn_host_closed(struct vsock_conn *c);
void vsock_conn_insert(struct vsock_conn *c);
void vsock_conn_unhash(struct vsock_conn *c);
struct vsock_conn *vsock_conn_find(const struct vsock *vs, uint32_t guest_port,
				   uint32_t host_port);
/* Bytes the guest can take now. */
uint32_t vsock_conn_credit(const struct vsock_conn *c);
/* Whether a packet for the guest can be made now. */
bool vsock_conn_has_work(const struct vsock_conn *c);
/* After any change: queues the connection for the pump, adjusts the loop. */
void vsock_conn_update(struct vsock_conn *c);
void vsock_ready_remove(struct vsock_conn *c);
/* Owes the guest an RST for a packet without a slot; false: ring full. */
bool vsock_orphan_add(struct vsock *vs, const struct vsock_hdr *hdr);

/* vsock_host.c */

void vsock_host_accept(struct loop_source *source, uint32_t events);
void vsock_host_event(struct loop_source *source, uint32_t events);
/* Connects to <base>_<port>; -errno when nobody is there. */
int vsock_host_connect(struct vsock *vs, uint32_t port, int *ret_fd);
/* The guest accepted: tells the client. False: the client is gone. */
bool vsock_host_confirm(struct vsock_conn *c);
/* Passes bytes on: part of chain from its byte `offset`, len of them. */
void vsock_host_write(struct vsock_conn *c, struct virtq_chain *chain,
		      size_t offset, uint32_t len);
/* Writes what is buffered; may free the slot of a drained connection. */
void vsock_host_flush(struct vsock_conn *c);
/* The guest receives no more: the host's writes fail from now on. */
void vsock_host_refuse(struct vsock_conn *c);
/* The listener watches again unless there are no slots. */
void vsock_host_listen(struct vsock *vs);

/* vsock_tx.c and vsock_rx.c */

void vsock_tx_run(struct vsock *vs);
void vsock_rx_run(struct vsock *vs);
/* Both, in the order that lets answers leave at once. */
void vsock_run(struct vsock *vs);

/*
 * The parts of an iovec list that hold bytes [offset, offset + len), in place.
 * Returns their number; *ret_first is the first.
 */
size_t vsock_iov_cut(struct iovec *iov, size_t count, size_t offset, size_t len,
		     struct iovec **ret_first);

#endif

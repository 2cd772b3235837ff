/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wire format of the socket device: VIRTIO 1.2, section 5.10. All fields are
 * little-endian, as are the guests and hosts we run on (x86-64).
 */
#ifndef VIRTIO_VSOCK_WIRE_H
#define VIRTIO_VSOCK_WIRE_H

#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <stdint.h>

static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "wire structs are used as is");

enum {
	VIRTIO_VSOCK_DEVICE_ID = 19
};

/* 5.10.2 */
enum {
	VSOCK_QUEUE_RX = 0,
	VSOCK_QUEUE_TX = 1,
	VSOCK_QUEUE_EVENT = 2,
	VSOCK_QUEUE_COUNT = 3
};

/* 5.10.4 */
struct vsock_space {
	uint64_t guest_cid; /* the upper 32 bits are reserved and zero */
};
static_assert(sizeof(struct vsock_space) == 8, "5.10.4");

enum {
	VSOCK_CID_HOST = 2,
	VSOCK_CID_GUEST_MIN = 3
};

/* 5.10.6; packed: 44 bytes are no multiple of the alignment of a u64. */
struct vsock_hdr {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len;
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
} __attribute__((packed));
static_assert(sizeof(struct vsock_hdr) == 44, "5.10.6");
static_assert(offsetof(struct vsock_hdr, op) == 30, "5.10.6");

enum {
	VSOCK_TYPE_STREAM = 1
};

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7
};

/* 5.10.6.5: flags of SHUTDOWN. */
enum {
	VSOCK_SHUT_RCV = 1, /* the sender will receive no more */
	VSOCK_SHUT_SEND = 2, /* the sender will send no more */
	VSOCK_SHUT_BOTH = 3
};

/* 5.10.6.7 */
struct vsock_event {
	uint32_t id;
};
enum {
	VSOCK_EVENT_TRANSPORT_RESET = 0
};

#endif

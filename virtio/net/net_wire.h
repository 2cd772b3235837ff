/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wire format of the network device: VIRTIO 1.2, section 5.1. All fields are
 * little-endian, as are the guests and hosts we run on (x86-64).
 */
#ifndef VIRTIO_NET_WIRE_H
#define VIRTIO_NET_WIRE_H

#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <stdint.h>

static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "wire structs are used as is");

enum {
	VIRTIO_NET_DEVICE_ID = 1
};

/* 5.1.2: virtqueues without multiqueue and control queue. */
enum {
	NET_QUEUE_RX = 0,
	NET_QUEUE_TX = 1,
	NET_QUEUE_COUNT = 2
};

/* 5.1.3: feature bits. */
enum {
	NET_F_CSUM = 0,
	NET_F_GUEST_CSUM = 1,
	NET_F_MTU = 3,
	NET_F_MAC = 5,
	NET_F_GUEST_TSO4 = 7,
	NET_F_GUEST_TSO6 = 8,
	NET_F_GUEST_ECN = 9,
	NET_F_HOST_TSO4 = 11,
	NET_F_HOST_TSO6 = 12,
	NET_F_HOST_ECN = 13,
	NET_F_MRG_RXBUF = 15,
	NET_F_STATUS = 16
};

/* 5.1.4: device configuration layout, as far as our features reach. */
struct net_space {
	uint8_t mac[6];
	uint16_t status;
	uint16_t max_virtqueue_pairs;
	uint16_t mtu;
};
static_assert(sizeof(struct net_space) == 12, "5.1.4");
static_assert(offsetof(struct net_space, mtu) == 10, "5.1.4");

enum {
	NET_S_LINK_UP = 1
};

/* 5.1.6: the header before every frame, both ways. */
enum {
	NET_HDR_F_NEEDS_CSUM = 1,
	NET_HDR_F_DATA_VALID = 2
};
enum {
	NET_GSO_NONE = 0,
	NET_GSO_TCPV4 = 1,
	NET_GSO_TCPV6 = 4,
	NET_GSO_ECN = 0x80
};
struct net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};
static_assert(sizeof(struct net_hdr) == 12, "5.1.6");
static_assert(offsetof(struct net_hdr, num_buffers) == 10, "5.1.6");

enum {
	NET_ETH_HDR_LEN = 14,
	NET_VLAN_LEN = 4,
	/* The largest IP packet behind an Ethernet header with a VLAN tag. */
	NET_FRAME_MAX = 65535 + NET_ETH_HDR_LEN + NET_VLAN_LEN,
	/* RFC 791: what every link must carry; 5.1.4.1. */
	NET_MTU_MIN = 68,
	NET_MTU_MAX = 65521
};

#endif

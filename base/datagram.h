/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams of a socket that many peers send to, bound to any address: an answer
 * leaves from the address that its peer had asked. For sockets of port_bind().
 */
#ifndef BASE_DATAGRAM_H
#define BASE_DATAGRAM_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Who sent it, and to which address of ours. */
struct datagram_peer {
	struct sockaddr_storage address;
	union {
		struct in_pktinfo four;
		struct in6_pktinfo six;
	} ours;
};

/* Bytes, or -errno (-EAGAIN: there is none). Does not wait. */
ssize_t datagram_recv(int fd, void *data, size_t size,
		      struct datagram_peer *ret_peer);
bool datagram_same_peer(const struct datagram_peer *a,
			const struct datagram_peer *b);
/* Sends it or loses it. */
void datagram_send(int fd, const struct datagram_peer *peer, const void *data,
		   size_t len);

#endif

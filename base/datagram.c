/* SPDX-License-Identifier: Apache-2.0 */
/* See datagram.h. Source: ip(7), ipv6(7). */
#include "base/datagram.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

union control {
	char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct cmsghdr align;
};

/* The interface it came in by is not kept: the way back is the routing table's
 * business, but for addresses that mean nothing without one. */
static void read_ours(struct msghdr *msg, struct datagram_peer *peer)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		struct in_pktinfo info;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			peer->ours.four.ipi_spec_dst = info.ipi_addr;
		} else if (c->cmsg_level == IPPROTO_IPV6 &&
			   c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&peer->ours.six, CMSG_DATA(c),
			       sizeof(peer->ours.six));
			if (!IN6_IS_ADDR_LINKLOCAL(&peer->ours.six.ipi6_addr))
				peer->ours.six.ipi6_ifindex = 0;
		}
	}
}

ssize_t datagram_recv(int fd, void *data, size_t size,
		      struct datagram_peer *ret_peer)
{
	union control control;
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct msghdr msg = { .msg_name = &ret_peer->address,
			      .msg_namelen = sizeof(ret_peer->address),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n;

	memset(ret_peer, 0, sizeof(*ret_peer));
	n = recvmsg(fd, &msg, MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	read_ours(&msg, ret_peer);
	return n;
}

bool datagram_same_peer(const struct datagram_peer *a,
			const struct datagram_peer *b)
{
	const void *one = a, *two = b;

	/* Cleared before they were filled: what pads them is equal too. */
	return memcmp(one, two, sizeof(*a)) == 0;
}

void datagram_send(int fd, const struct datagram_peer *peer, const void *data,
		   size_t len)
{
	struct datagram_peer to = *peer;
	bool six = to.address.ss_family == AF_INET6;
	size_t info = six ? sizeof(to.ours.six) : sizeof(to.ours.four);
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data,
			     .iov_len = len };
	union control control;
	struct msghdr msg = { .msg_name = &to.address,
			      .msg_namelen = six ? sizeof(struct sockaddr_in6)
						 : sizeof(struct sockaddr_in),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = CMSG_SPACE(info) };
	struct cmsghdr *c;

	memset(&control, 0, sizeof(control));
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = six ? IPPROTO_IPV6 : IPPROTO_IP;
	c->cmsg_type = six ? IPV6_PKTINFO : IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(info);
	memcpy(CMSG_DATA(c), &to.ours, info);
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

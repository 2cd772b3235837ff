/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a service of this machine may listen. The loopback first: it is where
 * most do, and what is bound to any address is there too. A service that is bound
 * to the address of an interface only is found under that address.
 */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/agent.h"

enum {
	LOOPBACKS = 2
};

/* An address that a service can be bound to without naming an interface too. */
static bool usable(const struct ifaddrs *i)
{
	const struct sockaddr_in6 *six = (const void *)i->ifa_addr;

	if (!six || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK))
		return false;
	return six->sin6_family == AF_INET ||
	       (six->sin6_family == AF_INET6 &&
		!IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr));
}

static bool interface_address(unsigned int k, struct sockaddr_storage *ret)
{
	struct ifaddrs *all, *i;

	if (getifaddrs(&all) < 0)
		return false;
	for (i = all; i; i = i->ifa_next)
		if (usable(i) && k-- == 0)
			break;
	if (i)
		memcpy(ret, i->ifa_addr,
		       i->ifa_addr->sa_family == AF_INET
			       ? sizeof(struct sockaddr_in)
			       : sizeof(struct sockaddr_in6));
	freeifaddrs(all);
	return i != NULL;
}

bool dial_address(unsigned int k, uint16_t port, struct sockaddr_storage *ret,
		  socklen_t *ret_len)
{
	struct sockaddr_in *four = (void *)ret;
	struct sockaddr_in6 *six = (void *)ret;

	memset(ret, 0, sizeof(*ret));
	if (k == 0) {
		four->sin_family = AF_INET;
		four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else if (k == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_addr = in6addr_loopback;
	} else if (!interface_address(k - LOOPBACKS, ret)) {
		return false;
	}
	if (ret->ss_family == AF_INET)
		four->sin_port = htons(port);
	else
		six->sin6_port = htons(port);
	*ret_len = ret->ss_family == AF_INET ? sizeof(*four) : sizeof(*six);
	return true;
}

/* The port of ours tells almost always, and is at the same place in both families. */
bool dial_is_self(int fd, uint16_t port)
{
	struct sockaddr_storage ours, theirs;
	socklen_t len = sizeof(ours), their_len = sizeof(theirs);

	/* Zeros where a family has no bytes. */
	memset(&ours, 0, sizeof(ours));
	memset(&theirs, 0, sizeof(theirs));
	if (getsockname(fd, (struct sockaddr *)&ours, &len) < 0 ||
	    ((const struct sockaddr_in *)(const void *)&ours)->sin_port !=
		    htons(port))
		return false;
	return getpeername(fd, (struct sockaddr *)&theirs, &their_len) == 0 &&
	       memcmp(&ours, &theirs, sizeof(ours)) == 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One interface, one address, one default route, one name server: what a
 * user-mode or routed network of a VM needs, for IPv4 and IPv6, by rtnetlink.
 *
 * Source: rtnetlink(7).
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"

enum {
	RCVBUF_DEFAULT = 131072 /* Linux's own */
};

struct request {
	struct nlmsghdr head;
	uint8_t body[256];
};

/* Appends bytes, padded to four. The callers' sizes are constant and small. */
static void put(struct request *r, const void *data, size_t len)
{
	uint8_t *at = (uint8_t *)r + r->head.nlmsg_len;

	memcpy(at, data, len);
	r->head.nlmsg_len += (uint32_t)((len + 3) & ~(size_t)3);
}

static void put_attribute(struct request *r, uint16_t type, const void *data,
			  size_t len)
{
	const uint16_t head[2] = { (uint16_t)(len + 4), type };

	put(r, head, sizeof(head));
	put(r, data, len);
}

static void begin(struct request *r, uint16_t type, uint16_t flags,
		  const void *body, size_t len)
{
	memset(r, 0, sizeof(*r));
	r->head.nlmsg_len = sizeof(r->head);
	r->head.nlmsg_type = type;
	r->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	put(r, body, len);
}

/* Sends and takes the kernel's answer: 0 or an errno. */
static int transact(const struct request *r)
{
	struct {
		struct nlmsghdr head;
		int32_t error;
		uint8_t rest[512];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int sys = 0;
	ssize_t n = -1;

	if (fd >= 0 && send(fd, r, r->head.nlmsg_len, 0) >= 0)
		n = recv(fd, &answer, sizeof(answer), 0);
	if (n < 0)
		sys = errno;
	else if ((size_t)n < sizeof(answer.head) + sizeof(answer.error) ||
		 answer.head.nlmsg_type != NLMSG_ERROR)
		sys = EPROTO;
	else
		sys = -answer.error;
	if (fd >= 0)
		(void)close(fd);
	return sys;
}

static int link_up(unsigned int index, uint32_t mtu)
{
	const struct ifinfomsg body = { .ifi_index = (int)index,
					.ifi_flags = IFF_UP,
					.ifi_change = IFF_UP };
	struct request r;

	begin(&r, RTM_NEWLINK, 0, &body, sizeof(body));
	if (mtu)
		put_attribute(&r, IFLA_MTU, &mtu, sizeof(mtu));
	return transact(&r);
}

void net_loopback(void)
{
	int sys = link_up(if_nametoindex("lo"), 0);

	if (sys)
		say("cannot bring lo up: %s", strerror(sys));
}

struct address {
	uint8_t family;
	uint8_t prefix;
	uint8_t len;
	uint8_t bytes[16];
};

/* "10.0.2.15/24", "fd00::2/64"; without a prefix the whole length. */
static bool parse_address(struct wire_str s, struct address *ret)
{
	char text[64], *slash, *end;
	unsigned long prefix;

	if (s.len == 0 || s.len >= sizeof(text))
		return false;
	memcpy(text, s.ptr, s.len);
	text[s.len] = 0;
	slash = strchr(text, '/');
	if (slash)
		*slash++ = 0;
	ret->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	ret->len = ret->family == AF_INET ? 4 : 16;
	ret->prefix = (uint8_t)(ret->len * 8);
	if (inet_pton(ret->family, text, ret->bytes) != 1)
		return false;
	if (!slash)
		return true;
	prefix = strtoul(slash, &end, 10);
	if (*slash < '0' || *slash > '9' || *end || prefix > ret->prefix)
		return false;
	ret->prefix = (uint8_t)prefix;
	return true;
}

static int add_address(unsigned int index, const struct address *at)
{
	const struct ifaddrmsg body = { .ifa_family = at->family,
					.ifa_prefixlen = at->prefix,
					.ifa_flags = IFA_F_NODAD,
					.ifa_index = index };
	struct request r;

	begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body,
	      sizeof(body));
	put_attribute(&r, IFA_LOCAL, at->bytes, at->len);
	put_attribute(&r, IFA_ADDRESS, at->bytes, at->len);
	return transact(&r);
}

static int add_default_route(unsigned int index, const struct address *gateway)
{
	const struct rtmsg body = { .rtm_family = gateway->family,
				    .rtm_table = RT_TABLE_MAIN,
				    .rtm_protocol = RTPROT_STATIC,
				    .rtm_scope = RT_SCOPE_UNIVERSE,
				    .rtm_type = RTN_UNICAST,
				    /* The gateway may be out of our prefix. */
				    .rtm_flags = RTNH_F_ONLINK };
	struct request r;

	begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body,
	      sizeof(body));
	put_attribute(&r, RTA_GATEWAY, gateway->bytes, gateway->len);
	put_attribute(&r, RTA_OIF, &index, sizeof(index));
	return transact(&r);
}

/*
 * TCP's buffers, of which half is window. Not as the metric of a route: buffers
 * that grow leave that behind, the field in the header is full, and what is meant
 * as a larger window looks like a duplicate acknowledgement.
 */
static void limit_window(uint32_t window)
{
	char text[64];
	uint32_t most = 2 * window;
	int n = snprintf(text, sizeof(text), "4096 %u %u\n",
			 most < RCVBUF_DEFAULT ? most : RCVBUF_DEFAULT, most);
	int fd = open("/proc/sys/net/ipv4/tcp_rmem", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, (size_t)n) != n)
		say("cannot limit the TCP window: %s", strerror(errno));
	if (fd >= 0)
		(void)close(fd);
}

/*
 * One datagram to the gateway's discard port. A user-mode network learns our
 * MAC from our first frame; until then what it sends to us is a broadcast, which
 * TCP ignores: the first connection to a published port would hang.
 */
static void announce(const struct address *gateway)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd;

	if (gateway->family != AF_INET)
		return;
	memcpy(&to.sin_addr, gateway->bytes, gateway->len);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, "", 0, 0, (const struct sockaddr *)&to, sizeof(to));
	(void)close(fd);
}

/* ARPHRD_ETHER with a device behind it (so no bridge, no dummy). */
static bool is_ethernet(const char *name)
{
	char path[300], type[8] = "";
	int fd;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%.64s/device", name);
	if (access(path, F_OK) < 0)
		return false;
	(void)snprintf(path, sizeof(path), "/sys/class/net/%.64s/type", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (read(fd, type, sizeof(type) - 1) < 0)
			type[0] = 0;
		(void)close(fd);
	}
	return strcmp(type, "1\n") == 0;
}

/* The interface that was named, or the Ethernet one with the lowest index. */
static unsigned int find_interface(struct wire_str s)
{
	char name[IF_NAMESIZE] = "";
	unsigned int best = 0;
	const struct dirent *d;
	DIR *dir;

	if (s.len >= sizeof(name))
		return 0;
	if (s.len) {
		memcpy(name, s.ptr, s.len);
		name[s.len] = 0;
		return if_nametoindex(name);
	}
	dir = opendir("/sys/class/net");
	while (dir && (d = readdir(dir))) {
		unsigned int index;

		if (d->d_name[0] == '.' || !is_ethernet(d->d_name))
			continue;
		index = if_nametoindex(d->d_name);
		if (index && (!best || index < best))
			best = index;
	}
	if (dir)
		(void)closedir(dir);
	return best;
}

/* By rename: a link to systemd-resolved's file is replaced, not followed. */
static bool write_resolver(struct wire_str dns)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "nameserver %.*s\n",
			 (int)(dns.len < 64 ? dns.len : 64), dns.ptr);
	int fd = open("/etc/resolv.conf.vmd",
		      O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC |
			      O_NONBLOCK,
		      0644);
	bool ok = fd >= 0 && write(fd, line, (size_t)n) == n;

	if (fd >= 0)
		(void)close(fd);
	return ok && rename("/etc/resolv.conf.vmd", "/etc/resolv.conf") == 0;
}

bool net_setup(const struct wire_net *n, uint32_t window, struct failure *f)
{
	struct address at, gateway = { 0 };
	unsigned int index = find_interface(n->interface);
	int sys;

	if (!index) {
		failure_set(
			f, ENODEV, WIRE_CODE_IO, "no network interface %.*s",
			(int)(n->interface.len < 16 ? n->interface.len : 16),
			n->interface.ptr);
		return false;
	}
	if (!parse_address(n->address, &at) ||
	    (n->gateway.len && !parse_address(n->gateway, &gateway))) {
		failure_set(f, 0, WIRE_CODE_BAD_REQUEST,
			    "malformed address or gateway");
		return false;
	}
	sys = link_up(index, n->mtu);
	if (sys)
		failure_set(f, sys, WIRE_CODE_IO,
			    "cannot bring the interface up");
	if (!sys && (sys = add_address(index, &at)) != 0)
		failure_set(f, sys, WIRE_CODE_IO, "cannot set the address");
	if (!sys && n->gateway.len &&
	    (sys = add_default_route(index, &gateway)) != 0)
		failure_set(f, sys, WIRE_CODE_IO, "cannot set the route");
	if (!sys && window)
		limit_window(window);
	if (!sys && n->gateway.len)
		announce(&gateway);
	if (!sys && n->dns.len && !write_resolver(n->dns)) {
		sys = errno;
		failure_set(f, sys, WIRE_CODE_IO,
			    "cannot write /etc/resolv.conf");
	}
	return sys == 0;
}

static struct wire_str next_field(const char **at)
{
	size_t len = strcspn(*at, ",");
	struct wire_str s = { *at, (uint32_t)len };

	*at += len;
	if (**at)
		(*at)++;
	return s;
}

bool net_parse(const char *text, struct wire_net *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->interface = next_field(&text);
	if (ret->interface.len == 1 && ret->interface.ptr[0] == '-')
		ret->interface.len = 0;
	ret->address = next_field(&text);
	ret->gateway = next_field(&text);
	ret->dns = next_field(&text);
	if (*text) {
		char *end;
		unsigned long mtu = strtoul(text, &end, 10);

		if (*end || mtu < 68 || mtu > 65535)
			return false;
		ret->mtu = (uint32_t)mtu;
	}
	return ret->address.len > 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services of a guest for tests/bench/ports.py, so small that what is measured is
 * the way to them: static, one process each.
 *
 *   7  gives back what it gets (one process for all connections)
 *   9  takes everything up to the client's end, then says how many bytes (u64,
 *      little endian)
 *  19  takes a u64 and sends as many bytes
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CLIENTS_MAX = 600
};

static char data[262144];

static int listen_on(uint16_t port)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
					.sin_port = htons(port) };
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(fd, CLIENTS_MAX) < 0) {
		perror("port-services");
		_exit(1);
	}
	return fd;
}

static void serve_one_by_one(int listener, void (*serve)(int fd))
{
	if (fork() != 0) {
		(void)close(listener);
		return;
	}
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		serve(fd);
		(void)close(fd);
	}
}

static void take(int fd)
{
	uint64_t sum = 0;
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0)
		sum += (uint64_t)n;
	(void)!write(fd, &sum, sizeof(sum));
}

static void give(int fd)
{
	uint64_t left;

	if (read(fd, &left, sizeof(left)) != sizeof(left))
		return;
	while (left) {
		size_t most = left < sizeof(data) ? (size_t)left : sizeof(data);
		ssize_t n = write(fd, data, most);

		if (n <= 0)
			return;
		left -= (uint64_t)n;
	}
}

static void echo(int listener)
{
	static struct pollfd fds[CLIENTS_MAX + 1];
	const int on = 1;
	nfds_t count = 1;

	fds[0] = (struct pollfd){ listener, POLLIN, 0 };
	for (;;) {
		(void)poll(fds, count, -1);
		for (nfds_t i = count - 1; i > 0; i--) {
			ssize_t n;

			if (!fds[i].revents)
				continue;
			n = read(fds[i].fd, data, sizeof(data));
			if (n > 0 && write(fds[i].fd, data, (size_t)n) == n)
				continue;
			(void)close(fds[i].fd);
			fds[i] = fds[--count];
		}
		if (fds[0].revents && count <= CLIENTS_MAX) {
			int fd = accept(listener, NULL, NULL);

			if (fd < 0)
				continue;
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
					 sizeof(on));
			fds[count++] = (struct pollfd){ fd, POLLIN, 0 };
		}
	}
}

int main(void)
{
	int listener = listen_on(7);

	(void)signal(SIGPIPE, SIG_IGN);
	serve_one_by_one(listen_on(9), take);
	serve_one_by_one(listen_on(19), give);
	(void)puts("serving");
	(void)fflush(stdout);
	(void)close(0);
	(void)close(1);
	(void)close(2);
	if (fork() == 0)
		echo(listener);
	return 0;
}

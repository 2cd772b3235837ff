/* SPDX-License-Identifier: Apache-2.0 */
/* Published ports: real clients on the host, the agent's services played. */
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fake_agent.h"
#include "fake_engine.h"
#include "rig.h"
#include "vmd/ports/vm_ports_internal.h"

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

/* A VM "web" whose service is published at the port; its id. */
static char *publish(struct rig *r, uint16_t port, int service,
		     const char *more)
{
	struct answer a;
	char extra[300], *id;

	(void)snprintf(extra, sizeof(extra),
		       "\"name\":\"web\",\"network\":{\"mode\":\"none\","
		       "\"ports\":[{\"host_port\":%u,\"guest_port\":%d%s}]}",
		       port, service, more);
	id = rig_create(r, extra, &a);
	if (!id)
		fail_msg("%s", a.body);
	answer_done(&a);
	return id;
}

static void serve(struct rig *r, uint16_t port, int service, const char *more)
{
	free(publish(r, port, service, more));
}

static int dial(const char *address, uint16_t port, int type)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET,
				   .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(port) };
	bool six = strchr(address, ':') != NULL;
	int fd = socket(six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(six ? AF_INET6 : AF_INET, address,
				   six ? (void *)&in6.sin6_addr
				       : &in4.sin_addr),
			 1);
	if (connect(fd, six ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4,
		    six ? sizeof(in6) : sizeof(in4)) < 0)
		fail_msg("connect %s:%u: %s", address, port, strerror(errno));
	return fd;
}

static int client(uint16_t port)
{
	return dial("127.0.0.1", port, SOCK_STREAM);
}

/* What recv() says when it does not have to wait any more. */
static ssize_t take(struct rig *r, int fd, void *buf, size_t len)
{
	ssize_t n = 0;

	RIG_UNTIL(r, (n = recv(fd, buf, len, MSG_DONTWAIT)) >= 0 ||
			     errno != EAGAIN);
	return n;
}

static void expect(struct rig *r, int fd, const char *text)
{
	char got[100];
	size_t len = 0;

	while (len < strlen(text)) {
		ssize_t n = take(r, fd, got + len, sizeof(got) - len);

		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_int_equal(len, strlen(text));
	assert_memory_equal(got, text, len);
}

static void expect_reset(struct rig *r, int fd)
{
	char byte;
	ssize_t n;

	while ((n = take(r, fd, &byte, 1)) > 0)
		;
	if (n == 0)
		fail_msg("an end where a reset was due");
	assert_int_equal(errno, ECONNRESET);
}

static void test_service_speaks_first(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_GREETS, "");
	AUTO(fd) int fd = client(port);

	expect(r, fd, "220 ready\r\n");
	assert_int_equal(send(fd, "QUIT", 4, 0), 4);
	expect(r, fd, "QUIT");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(take(r, fd, (char[1]){ 0 }, 1), 0);
	RIG_UNTIL(r, fake_dials == 0);
}

/* Client's half-close with all its bytes before, the answer after it. */
static void test_half_close_carries_some_mib(void **state)
{
	enum {
		TOTAL = 3 << 20
	};
	static uint8_t out[TOTAL], in[TOTAL + 1];
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_ECHO, "");
	AUTO(fd) int fd = client(port);
	size_t sent = 0, got = 0;

	for (size_t i = 0; i < TOTAL; i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
	while (got < TOTAL) {
		ssize_t n = sent < TOTAL ? send(fd, out + sent, TOTAL - sent,
						MSG_DONTWAIT)
					 : 0;

		sent += n > 0 ? (size_t)n : 0;
		if (n > 0 && sent == TOTAL)
			assert_int_equal(shutdown(fd, SHUT_WR), 0);
		(void)loop_run_once(r->loop, 1);
		n = recv(fd, in + got, sizeof(in) - got, MSG_DONTWAIT);
		assert_true(n > 0 || (n < 0 && errno == EAGAIN));
		got += n > 0 ? (size_t)n : 0;
	}
	assert_memory_equal(in, out, TOTAL);
	assert_int_equal(take(r, fd, in, 1), 0);
	RIG_UNTIL(r, fake_dials == 0);
}

/* What the client's side takes until nothing moves any more. */
static size_t send_until_stuck(struct rig *r, int fd, const uint8_t *data,
			       size_t len)
{
	size_t sent = 0;

	for (int idle = 0; idle < 100 && sent < len;) {
		ssize_t n = send(fd, data + sent, len - sent, MSG_DONTWAIT);

		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		(void)loop_run_once(r->loop, 1);
	}
	return sent;
}

/* The guest stands still for seconds: its connections wait, and lose nothing; who
 * comes meanwhile waits too; the daemon goes on. */
static void test_connections_outlive_a_pause(void **state)
{
	enum {
		TOTAL = 24 << 20
	};
	static uint8_t out[TOTAL], in[TOTAL];
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	AUTO(free) char *id = publish(r, port, FAKE_ECHO, "");
	AUTO(fd) int fd = client(port), late = -1;
	size_t sent, got = 0;

	for (size_t i = 0; i < TOTAL; i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	expect(r, fd, "x");
	fake_room = false;
	fake_agents_still = true;
	fake_pause(id);
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "paused");
	sent = send_until_stuck(r, fd, out, TOTAL);
	assert_in_range(sent, 1, TOTAL - 1); /* nobody keeps all of it */
	late = client(port);
	assert_int_equal(send(late, "late", 4, 0), 4);
	rig_spin(r, 2500);
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "paused");
	fake_agents_still = false;
	fake_room = true;
	RIG_UNTIL(r, vm_find_id(&r->d, id)->row.state == API_VM_READY);
	while (got < TOTAL) {
		ssize_t n = send(fd, out + sent, TOTAL - sent, MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		(void)loop_run_once(r->loop, 1);
		n = recv(fd, in + got, TOTAL - got, MSG_DONTWAIT);
		assert_true(n > 0 || (n < 0 && errno == EAGAIN));
		got += n > 0 ? (size_t)n : 0;
	}
	assert_memory_equal(in, out, TOTAL);
	expect(r, late, "late");
}

/* Places, streams and descriptors of those that have ended serve again. */
static void test_many_short_connections_leave_nothing(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	unsigned before;
	serve(r, port, FAKE_GREETS, "");

	before = count_fds();
	for (int i = 0; i < 2000; i++) {
		AUTO(fd) int fd = client(port);

		expect(r, fd, "220 ready\r\n");
		if (i % 2)
			assert_int_equal(shutdown(fd, SHUT_WR), 0);
		if (i % 4 == 3)
			assert_int_equal(take(r, fd, (char[1]){ 0 }, 1), 0);
	}
	/* Fewer, when what made the VM has closed the rest meanwhile. */
	RIG_UNTIL(r, fake_dials == 0 && count_fds() <= before);
}

static void test_refused_and_reset_reset_the_client(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	AUTO(free) char *id = publish(r, port, FAKE_REFUSES, "");
	AUTO(fd) int fd = client(port);

	expect_reset(r, fd);
	rig_expect(r, "DELETE", "/v1/vms/web?force=true&wait=10", NULL, "state",
		   "succeeded");
	free(id);
	id = publish(r, port, FAKE_RESETS, "");
	close_fd(&fd);
	fd = client(port);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	expect_reset(r, fd);
	RIG_UNTIL(r, fake_dials == 0);
}

static void test_reset_of_the_client_ends_it_in_the_guest(void **state)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_HOLDS, "");
	AUTO(fd) int fd = client(port);
	static uint8_t zeros[1 << 20];

	/* The guest takes one window: then we do not read, and still see it. */
	while (send(fd, zeros, sizeof(zeros), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		rig_spin(r, 5);
	RIG_UNTIL(r, fake_dials == 1);
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_fd(&fd);
	RIG_UNTIL(r, fake_dials == 0);
}

/* The service has said all and reads no more; then the client ends, with bytes
 * that nobody takes. Its hang-up is reported by the kernel whatever is watched:
 * the daemon must not run in circles over it. */
static void test_end_that_cannot_be_passed_on_costs_nothing(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_ENDS, "");
	AUTO(fd) int fd = client(port);
	static const uint8_t zeros[4096];
	size_t left = WIRE_DIAL_WINDOW + sizeof(zeros);
	char end;

	RIG_UNTIL(r, recv(fd, &end, 1, MSG_DONTWAIT) == 0);
	while (left) {
		ssize_t n = send(fd, zeros, sizeof(zeros), MSG_DONTWAIT);

		if (n > 0)
			left -= (size_t)n;
		rig_spin(r, 1);
	}
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	rig_settle(r);
	assert_int_equal(fake_dials, 1);
}

static void test_many_connections_at_once(void **state)
{
	enum {
		COUNT = 200
	};
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_ECHO, "");
	size_t before = rig_open_fds();
	int fds[COUNT];
	char text[16];
	struct wsc *c;

	for (int i = 0; i < COUNT; i++)
		fds[i] = client(port);
	RIG_UNTIL(r, fake_dials == COUNT);
	for (int i = 0; i < COUNT; i++) {
		int len = snprintf(text, sizeof(text), "number %d", i);

		assert_int_equal(send(fds[i], text, (size_t)len, 0), len);
	}
	/* Beside them a command. */
	c = wsc_open(r, "/v1/vms/web/exec");
	wsc_text(c, "{\"command\":[\"echo\",\"still here\"]}");
	wsc_until(r, c, "exit");
	assert_non_null(memmem(c->data, c->data_len, "still here", 10));
	wsc_free(c);
	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(text, sizeof(text), "number %d", i);
		expect(r, fds[i], text);
		close_fd(&fds[i]);
	}
	RIG_UNTIL(r, fake_dials == 0);
	RIG_UNTIL(r, rig_open_fds() <= before);
}

/* More than are let in: the rest waits in the kernel, and comes later. */
static void test_too_many_connections_wait(void **state)
{
	enum {
		COUNT = PORT_CONNECTIONS_MAX + 20
	};
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_GREETS, "");
	int fds[COUNT];

	for (int i = 0; i < COUNT; i++)
		fds[i] = client(port);
	RIG_UNTIL(r, fake_dials == PORT_CONNECTIONS_MAX);
	rig_spin(r, 50);
	assert_int_equal(fake_dials, PORT_CONNECTIONS_MAX);
	for (int i = 0; i < COUNT; i++) {
		expect(r, fds[i], "220 ready\r\n");
		close_fd(&fds[i]);
	}
	RIG_UNTIL(r, fake_dials == 0);
}

static void test_ipv6_loopback_and_wildcards(void **state)
{
	static const struct {
		const char *listen, *connect;
	} cases[] = {
		{ "::1", "::1" },
		{ "::", "::1" },
		{ "0.0.0.0", "127.0.0.1" },
		{ "127.0.0.3", "127.0.0.3" },
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint16_t port = rig_free_port();
		char more[64];
		AUTO(free) char *id = NULL;
		AUTO(fd) int fd = -1;

		(void)snprintf(more, sizeof(more), ",\"host_address\":\"%s\"",
			       cases[i].listen);
		id = publish(r, port, FAKE_GREETS, more);
		fd = dial(cases[i].connect, port, SOCK_STREAM);
		expect(r, fd, "220 ready\r\n");
		rig_expect(r, "DELETE", "/v1/vms/web?force=true&wait=10", NULL,
			   "state", "succeeded");
	}
}

static void test_udp_answers(void **state)
{
	static const size_t sizes[] = { 1, 1400, 0, 9000, 60000, 65507 };
	static const char *const addresses[][2] = {
		{ "127.0.0.1", "127.0.0.1" },
		{ "::1", "::1" },
		/* Asked under another address than the first: answers from it. */
		{ "0.0.0.0", "127.0.0.77" },
	};
	static uint8_t out[65507], in[65536];
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 13 + i / 256);
	for (size_t a = 0; a < 3; a++) {
		uint16_t port = rig_free_port();
		char more[80];
		AUTO(free) char *id = NULL;
		AUTO(fd) int fd = -1;

		(void)snprintf(more, sizeof(more),
			       ",\"protocol\":\"udp\",\"host_address\":\"%s\"",
			       addresses[a][0]);
		id = publish(r, port, FAKE_ECHO, more);
		fd = dial(addresses[a][1], port, SOCK_DGRAM);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			assert_int_equal(send(fd, out, sizes[i], 0), sizes[i]);
			assert_int_equal(take(r, fd, in, sizeof(in)), sizes[i]);
			assert_memory_equal(in, out, sizes[i]);
		}
		rig_expect(r, "DELETE", "/v1/vms/web?force=true&wait=10", NULL,
			   "state", "succeeded");
		RIG_UNTIL(r, fake_dials == 0);
	}
}

/* Each client has a flow; the oldest makes room for one more. */
static void test_udp_flows_are_bounded(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_ECHO, ",\"protocol\":\"udp\"");
	int fds[PORT_FLOWS_MAX + 30];
	char byte;

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		fds[i] = dial("127.0.0.1", port, SOCK_DGRAM);
		assert_int_equal(send(fds[i], "x", 1, 0), 1);
		assert_int_equal(take(r, fds[i], &byte, 1), 1);
	}
	RIG_UNTIL(r, fake_dials == PORT_FLOWS_MAX);
	/* One that lost its flow gets a new one. */
	assert_int_equal(send(fds[0], "y", 1, 0), 1);
	assert_int_equal(take(r, fds[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close_fd(&fds[i]);
}

static void test_guest_that_breaks_the_rules(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_CHEATS, "");
	AUTO(fd) int fd = client(port);

	expect_reset(r, fd);
	RIG_UNTIL(r, fake_dials == 0);
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "ready");
}

/* A client that does not read holds a window of ours, and nobody up. */
static void test_client_that_does_not_read(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_FLOOD, "");
	AUTO(fd) int lazy = client(port);
	AUTO(fd) int busy = client(port);
	static uint8_t in[1 << 20];
	size_t got = 0;

	(void)lazy;
	while (got < 64u << 20)
		got += (size_t)take(r, busy, in, sizeof(in));
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "ready");
}

static void test_lost_agent_resets_then_serves_again(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	AUTO(free) char *id = publish(r, port, FAKE_GREETS, "");
	AUTO(fd) int fd = client(port);
	AUTO(fd) int waits = -1;

	expect(r, fd, "220 ready\r\n");
	fake_lose_agent(id);
	expect_reset(r, fd);
	/* Who comes now waits until the agent is back. */
	waits = client(port);
	expect(r, waits, "220 ready\r\n");
}

static void test_new_daemon_listens_again(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_GREETS, "");
	AUTO(fd) int before = client(port);
	AUTO(fd) int after = -1;

	expect(r, before, "220 ready\r\n");
	rig_drop(r);
	rig_start(r);
	after = client(port);
	expect(r, after, "220 ready\r\n");
}

/* Somebody took the port while no daemon was there. */
static void test_port_taken_meanwhile_is_told_and_tried_again(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	AUTO(free) char *id = publish(r, port, FAKE_GREETS, "");
	struct port_spec spec = { .host_address = "127.0.0.1",
				  .host_port = port };
	AUTO(fd) int other = -1;
	AUTO(fd) int fd = -1;
	struct vm *vm;

	rig_drop(r);
	assert_int_equal(port_bind(&spec, &other, NULL), 0);
	rig_start(r);
	vm = vm_find_id(&r->d, id);
	RIG_UNTIL(r, strstr(vm->row.reason, "is in use"));
	assert_int_equal(vm->row.state, API_VM_READY);
	close_fd(&other);
	RIG_UNTIL(r, vm->row.reason[0] == '\0');
	fd = client(port);
	expect(r, fd, "220 ready\r\n");
}

static void test_port_is_free_when_the_vm_has_stopped(void **state)
{
	struct rig *r = *state;
	uint16_t port = rig_free_port();
	serve(r, port, FAKE_GREETS, "");
	struct port_spec spec = { .host_address = "127.0.0.1",
				  .host_port = port };
	AUTO(fd) int fd = client(port);
	AUTO(fd) int other = -1;

	expect(r, fd, "220 ready\r\n");
	rig_expect(r, "POST", "/v1/vms/web/stop?wait=10", "{\"force\":true}",
		   "state", "succeeded");
	expect_reset(r, fd);
	assert_int_equal(port_bind(&spec, &other, NULL), 0);
	/* Now it is another's: the start says so, before anything runs. */
	rig_expect(r, "POST", "/v1/vms/web/start?wait=10", "", "error.code",
		   "port_in_use");
	close_fd(&other);
	rig_expect(r, "POST", "/v1/vms/web/start?wait=10", "", "state",
		   "succeeded");
	close_fd(&fd);
	fd = client(port);
	expect(r, fd, "220 ready\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_service_speaks_first),
		RIG_TEST(test_half_close_carries_some_mib),
		RIG_TEST(test_connections_outlive_a_pause),
		RIG_TEST(test_many_short_connections_leave_nothing),
		RIG_TEST(test_refused_and_reset_reset_the_client),
		RIG_TEST(test_reset_of_the_client_ends_it_in_the_guest),
		RIG_TEST(test_end_that_cannot_be_passed_on_costs_nothing),
		RIG_TEST(test_many_connections_at_once),
		RIG_TEST(test_too_many_connections_wait),
		RIG_TEST(test_ipv6_loopback_and_wildcards),
		RIG_TEST(test_udp_answers),
		RIG_TEST(test_udp_flows_are_bounded),
		RIG_TEST(test_guest_that_breaks_the_rules),
		RIG_TEST(test_client_that_does_not_read),
		RIG_TEST(test_lost_agent_resets_then_serves_again),
		RIG_TEST(test_new_daemon_listens_again),
		RIG_TEST(test_port_taken_meanwhile_is_told_and_tried_again),
		RIG_TEST(test_port_is_free_when_the_vm_has_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

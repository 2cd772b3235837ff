/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/priv/server.c: every operation, right and with what it must refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/tmpdir.h"
#include "tests/unit/until.h"
#include "vmd/priv/client.h"
#include "vmd/priv/server.h"
#include "vmd/priv/wire.h"

#define VM_ID "abcdefghijklmnopqrstuvwxyz"

struct box {
	struct tmpdir dir;
	struct loop *loop;
	struct priv_server server;
	struct priv_reply reply;
	int run_dir; /* of VM_ID */
};

static int setup(void **state)
{
	struct box *b = test_calloc(1, sizeof(*b));

	tmpdir_init(&b->dir);
	b->loop = loop_new(NULL);
	assert_non_null(b->loop);
	priv_server_init(&b->server);
	b->server.loop = b->loop;
	b->server.run_vms_fd = b->dir.fd;
	b->server.no_jail = true; /* it is not what is tested here */
	b->server.programs[PRIV_ROLE_PASST] = "/bin/sh";
	b->server.programs[PRIV_ROLE_MONITOR] = "/bin/sh";
	(void)strcpy(b->server.hello.version, "1");
	assert_int_equal(mkdirat(b->dir.fd, VM_ID, 0700), 0);
	b->run_dir = openat(b->dir.fd, VM_ID, O_RDONLY | O_DIRECTORY);
	assert_true(b->run_dir >= 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct box *b = *state;

	priv_server_done(&b->server);
	loop_free(b->loop);
	(void)close(b->run_dir);
	tmpdir_done(&b->dir);
	test_free(b);
	return 0;
}

static int handle(struct box *b, const void *data, size_t len, const int *fds,
		  size_t fd_count, int *ret_fd)
{
	priv_server_handle(&b->server, 0, data, len, fds, fd_count, &b->reply,
			   ret_fd);
	return b->reply.rc;
}

static const size_t sizes[PRIV_OP_COUNT] = {
	[PRIV_HELLO] = sizeof(struct priv_hello),
	[PRIV_SPAWN] = sizeof(struct priv_spawn),
	[PRIV_SIGNAL] = sizeof(struct priv_signal),
	[PRIV_REAP] = sizeof(struct priv_reap),
	[PRIV_STRAYS] = sizeof(struct priv_strays),
	[PRIV_TASK_END] = sizeof(struct priv_task_end),
	[PRIV_PORT_BIND] = sizeof(struct priv_port),
	[PRIV_CGROUP_END] = sizeof(struct priv_cgroup_end),
};

static void
test_handle_every_operation_of_another_length_is_refused(void **state)
{
	struct box *b = *state;
	char data[PRIV_REQUEST_MAX + 1];
	struct priv_head head = { .magic = PRIV_MAGIC };
	int fd;

	for (uint32_t op = 0; op < PRIV_OP_COUNT + 3; op++) {
		size_t right = op < PRIV_OP_COUNT ? sizeof(head) + sizes[op]
						  : SIZE_MAX;

		head.op = op;
		memset(data, 0, sizeof(data));
		memcpy(data, &head, sizeof(head));
		for (size_t len = 0; len < 400; len++) {
			if (len == right || (op == PRIV_SPAWN && len > right))
				continue;
			assert_int_equal(handle(b, data, len, NULL, 0, &fd),
					 -EPROTO);
			assert_int_equal(fd, -1);
		}
		assert_int_equal(handle(b, data, sizeof(data), NULL, 0, &fd),
				 -EPROTO);
	}
	assert_false(b->server.quit);
	/* Another protocol. */
	head = (struct priv_head){ .magic = 1, .op = PRIV_QUIT };
	assert_int_equal(handle(b, &head, sizeof(head), NULL, 0, &fd), -EPROTO);
	assert_false(b->server.quit);
}

static void test_handle_descriptors_where_none_belong_are_refused(void **state)
{
	struct box *b = *state;
	const int fds[] = { b->run_dir };
	struct priv_request r = { .head.magic = PRIV_MAGIC };
	int fd;

	for (uint32_t op = 0; op < PRIV_OP_COUNT; op++) {
		if (op == PRIV_SPAWN)
			continue;
		r.head.op = op;
		assert_int_equal(handle(b, &r, sizeof(r.head) + sizes[op], fds,
					1, &fd),
				 -EPROTO);
	}
	assert_false(b->server.quit);
}

/* A right request: passt's place, with its output in fds[1]. */
struct message {
	struct priv_head head;
	struct priv_spawn spawn;
	char args[64];
};

static struct message right_spawn(const char *script)
{
	struct message m = { .head = { PRIV_MAGIC, PRIV_SPAWN },
			     .spawn = { .role = PRIV_ROLE_PASST,
					.argc = 3,
					.fd_count = 1,
					.slot = 7,
					.id = VM_ID,
					.targets = { 1 } } };

	memcpy(m.args, "-c", 3);
	(void)snprintf(m.args + 3, sizeof(m.args) - 3, "%s", script);
	m.spawn.arg_bytes = (uint32_t)(3 + strlen(script) + 1);
	return m;
}

static int spawn(struct box *b, const struct message *m, const int *fds,
		 size_t n, int *ret_fd)
{
	return handle(b, m, offsetof(struct message, args) + m->spawn.arg_bytes,
		      fds, n, ret_fd);
}

#define REFUSED(change)                                               \
	do {                                                          \
		struct message m = right_spawn("exit 0");             \
		change;                                               \
		assert_int_equal(spawn(b, &m, fds, 2, &fd), -EPROTO); \
		assert_int_equal(fd, -1);                             \
	} while (0)

static void test_spawn_every_bad_field_is_refused(void **state)
{
	struct box *b = *state;
	int out[2], fd;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	int fds[] = { b->run_dir, out[1] };

	REFUSED(m.spawn.role = PRIV_ROLE_COUNT);
	REFUSED(m.spawn.role = UINT32_MAX);
	REFUSED(m.spawn.role = PRIV_ROLE_SWEEP); /* has no id */
	REFUSED(m.spawn.id[0] = '/');
	REFUSED(m.spawn.id[25] = '\0');
	REFUSED(m.spawn.id[31] = 'x');
	REFUSED(memcpy(m.spawn.id, "../../../../../etc/passwdx", 26));
	REFUSED(m.spawn.slot = 0);
	REFUSED(m.spawn.slot = PRIV_SLOT_LAST + 1);
	REFUSED(m.spawn.slot = UINT32_MAX);
	REFUSED(m.spawn.flags = 4);
	REFUSED(m.spawn.argc = 0);
	REFUSED(m.spawn.argc = 2); /* a string more than it says */
	REFUSED(m.spawn.argc = 4);
	REFUSED(m.spawn.argc = UINT32_MAX);
	REFUSED(m.spawn.arg_bytes--); /* the last has no end */
	REFUSED(m.spawn.fd_count = 0);
	REFUSED(m.spawn.fd_count = 2);
	REFUSED(m.spawn.fd_count = UINT32_MAX);
	REFUSED(m.spawn.boot_count = 1); /* of QEMU only */
	REFUSED(m.spawn.boot_count = UINT32_MAX);
	REFUSED(m.spawn.targets[0] = -1);
	REFUSED(m.spawn.targets[0] = PRIV_TARGET_MAX);
	/* Who joins a VM has no limits of its own. */
	REFUSED(m.spawn.memory_max = PRIV_MEMORY_MIN);
	REFUSED(m.spawn.memory_high = 1);
	REFUSED(m.spawn.swap_max = 1);
	REFUSED(m.spawn.pids_max = 1);
	REFUSED(m.spawn.cpu_percent = 1);
	/* The bytes that came are not those that it says. */
	struct message m = right_spawn("exit 0");

	m.spawn.arg_bytes = PRIV_ARG_BYTES_MAX;
	assert_int_equal(handle(b, &m, sizeof(m), fds, 2, &fd), -EPROTO);
	m = right_spawn("exit 0");
	assert_int_equal(spawn(b, &m, fds, 1, &fd), -EPROTO);
	/* Another directory, and none. */
	fds[0] = b->dir.fd;
	assert_int_equal(spawn(b, &m, fds, 2, &fd), -EPROTO);
	fds[0] = out[0];
	assert_int_equal(spawn(b, &m, fds, 2, &fd), -EPROTO);
	(void)close(out[0]);
	(void)close(out[1]);
	assert_true(LIST_EMPTY(&b->server.children));
}

static struct message right_monitor(const char *script)
{
	struct message m = right_spawn(script);

	m.spawn.role = PRIV_ROLE_MONITOR;
	m.spawn.memory_max = m.spawn.memory_high = 256 << 20;
	m.spawn.pids_max = 49;
	m.spawn.cpu_percent = 200;
	return m;
}

#define LIMITS_REFUSED(change)                                        \
	do {                                                          \
		struct message m = right_monitor("exit 0");           \
		change;                                               \
		assert_int_equal(spawn(b, &m, fds, 2, &fd), -EPROTO); \
		assert_int_equal(fd, -1);                             \
	} while (0)

static void test_spawn_limits_that_are_none_are_refused(void **state)
{
	struct box *b = *state;
	int out[2], fd;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	const int fds[] = { b->run_dir, out[1] };

	LIMITS_REFUSED(m.spawn.memory_max = 0);
	LIMITS_REFUSED(m.spawn.memory_max = PRIV_MEMORY_MIN - 1);
	LIMITS_REFUSED(m.spawn.memory_max = UINT64_MAX);
	LIMITS_REFUSED(m.spawn.memory_high = 0);
	LIMITS_REFUSED(m.spawn.memory_high = m.spawn.memory_max + 1);
	LIMITS_REFUSED(m.spawn.swap_max = UINT64_MAX);
	LIMITS_REFUSED(m.spawn.pids_max = 0);
	LIMITS_REFUSED(m.spawn.pids_max = PRIV_PIDS_MAX + 1);
	LIMITS_REFUSED(m.spawn.cpu_percent = 0);
	LIMITS_REFUSED(m.spawn.cpu_percent = PRIV_CPU_PERCENT_MAX + 1);
	(void)close(out[0]);
	(void)close(out[1]);
	assert_true(LIST_EMPTY(&b->server.children));
}

static int ask(struct box *b, uint32_t op, const void *part, size_t size)
{
	struct priv_request r = { .head = { PRIV_MAGIC, op } };
	int fd;

	memcpy(&r.u, part, size);
	return handle(b, &r, sizeof(r.head) + size, NULL, 0, &fd);
}

static void test_spawn_signal_and_reap_tell_how_it_ended(void **state)
{
	struct box *b = *state;
	struct message m = right_spawn("echo $VMD_RUN; pwd; exec sleep 100");
	struct priv_signal s = { .signal = SIGKILL };
	struct priv_reap r = { 0 };
	char text[512] = "", path[256];
	int out[2], fd;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	const int fds[] = { b->run_dir, out[1] };

	assert_int_equal(spawn(b, &m, fds, 2, &fd), 0);
	(void)close(out[1]);
	s.pid = r.pid = b->reply.u.spawn.pid;
	s.start_time = r.start_time = b->reply.u.spawn.start_time;
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	(void)snprintf(path, sizeof(path), "%s/" VM_ID "\n", b->dir.path);
	assert_true(strncmp(text, path, strlen(path)) == 0);
	assert_int_equal(ask(b, PRIV_REAP, &r, sizeof(r)), 0);
	assert_int_equal(b->reply.u.reap.ended, 0);
	/* Another start time: another process. */
	s.start_time++;
	assert_int_equal(ask(b, PRIV_SIGNAL, &s, sizeof(s)), -ESRCH);
	s.start_time--;
	s.signal = SIGUSR1;
	assert_int_equal(ask(b, PRIV_SIGNAL, &s, sizeof(s)), -EPROTO);
	s.signal = SIGKILL;
	assert_int_equal(ask(b, PRIV_SIGNAL, &s, sizeof(s)), 0);
	/* Reaped by the loop; who asks later is told all the same. */
	UNTIL(20000, b->server.ended_count == 1, loop_run_once(b->loop, 10));
	assert_int_equal(ask(b, PRIV_SIGNAL, &s, sizeof(s)), -ESRCH);
	assert_int_equal(ask(b, PRIV_REAP, &r, sizeof(r)), 0);
	assert_int_equal(b->reply.u.reap.known, 1);
	assert_int_equal(b->reply.u.reap.signal, SIGKILL);
	assert_true(LIST_EMPTY(&b->server.children));
	/* Once. */
	assert_int_equal(ask(b, PRIV_REAP, &r, sizeof(r)), 0);
	assert_int_equal(b->reply.u.reap.ended, 1);
	assert_int_equal(b->reply.u.reap.known, 0);
	(void)close(fd);
	(void)close(out[0]);
}

/* In a real tree, without controllers: what runs there is in the right group. */
static bool real_cgroups(struct box *b, char path[static PATH_MAX])
{
	char mount[PATH_MAX], root[PATH_MAX];
	struct priv_cgroups *c = &b->server.cgroups;

	if (cgroup_mount(mount, root) < 0) {
		print_message("SKIP: no cgroup v2 on this host\n");
		return false;
	}
	(void)snprintf(path, PATH_MAX, "%.4000s/vmd-unit-%d", mount, getpid());
	if (mkdir(path, 0755) < 0) {
		print_message("SKIP: %s: %s\n", path, strerror(errno));
		return false;
	}
	c->base_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(c->base_fd, "run", 0755), 0);
	assert_int_equal(cgroup_open(c->base_fd, "run", &c->fd), 0);
	(void)strcpy(c->name, "run");
	return true;
}

/* What a process says that was started so. */
static void said(struct box *b, const struct message *m, char *text,
		 size_t size)
{
	int out[2], fd = -1;
	size_t n = 0;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	const int fds[] = { b->run_dir, out[1] };

	memset(text, 0, size);
	assert_int_equal(spawn(b, m, fds, 2, &fd), 0);
	(void)close(out[1]);
	while (!strstr(text, "0::/")) {
		ssize_t got = read(out[0], text + n, size - 1 - n);

		assert_true(got > 0);
		n += (size_t)got;
	}
	(void)close(out[0]);
	(void)close(fd);
}

#define IN_GROUP "/run/" VM_ID "\n"
#define ASK_END(b)                                                        \
	ask(b, PRIV_CGROUP_END, &(struct priv_cgroup_end){ .id = VM_ID }, \
	    sizeof(struct priv_cgroup_end))

static void test_cgroup_is_made_joined_replaced_and_removed(void **state)
{
	struct box *b = *state;
	struct message monitor =
		right_monitor("cat /proc/self/cgroup; sleep 100");
	struct message passt = right_spawn("cat /proc/self/cgroup; sleep 100");
	char path[PATH_MAX], text[2048];
	struct priv_signal outside = { .signal = SIGKILL };
	struct priv_reply none = { 0 };

	if (!real_cgroups(b, path))
		skip();
	/* passt of a VM that was started without. */
	said(b, &passt, text, sizeof(text));
	assert_null(strstr(text, VM_ID));
	outside.pid = b->reply.u.spawn.pid;
	outside.start_time = b->reply.u.spawn.start_time;
	said(b, &monitor, text, sizeof(text));
	assert_non_null(strstr(text, IN_GROUP));
	said(b, &passt, text, sizeof(text));
	assert_non_null(strstr(text, IN_GROUP));
	/* A start finds what an earlier run left, and nobody of it stays. */
	said(b, &monitor, text, sizeof(text));
	assert_non_null(strstr(text, IN_GROUP));
	UNTIL(20000, b->server.ended_count == 2, loop_run_once(b->loop, 10));
	/* It holds one: a sweep leaves it alone, and what bears no id. */
	assert_int_equal(mkdirat(b->server.cgroups.fd, "other", 0755), 0);
	assert_int_equal(mkdirat(b->server.cgroups.fd,
				 "zbcdefghijklmnopqrstuvwxyz", 0755),
			 0);
	assert_int_equal(ask(b, PRIV_CGROUP_SWEEP, &none, 0), 0);
	assert_int_equal(faccessat(b->server.cgroups.fd, VM_ID, F_OK, 0), 0);
	assert_int_equal(faccessat(b->server.cgroups.fd, "other", F_OK, 0), 0);
	assert_int_equal(faccessat(b->server.cgroups.fd,
				   "zbcdefghijklmnopqrstuvwxyz", F_OK, 0),
			 -1);
	assert_int_equal(unlinkat(b->server.cgroups.fd, "other", AT_REMOVEDIR),
			 0);
	UNTIL(20000, ASK_END(b) == 0 && b->reply.u.cgroup_end.gone,
	      loop_run_once(b->loop, 10));
	UNTIL(20000, b->server.ended_count == 3, loop_run_once(b->loop, 10));
	assert_int_equal(faccessat(b->server.cgroups.fd, VM_ID, F_OK, 0), -1);
	assert_int_equal(ASK_END(b), 0);
	assert_int_equal(b->reply.u.cgroup_end.gone, 1);
	assert_int_equal(b->reply.u.cgroup_end.oom_killed, 0);
	priv_cgroups_close(&b->server.cgroups);
	/* Its own level went, too. */
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(ask(b, PRIV_SIGNAL, &outside, sizeof(outside)), 0);
	UNTIL(20000, b->server.ended_count == 4, loop_run_once(b->loop, 10));
}

static void
test_signal_of_a_process_that_is_none_of_ours_is_refused(void **state)
{
	struct box *b = *state;
	struct priv_signal s = { .pid = getpid(), .signal = SIGKILL };

	assert_int_equal(process_start_time(getpid(), &s.start_time), 0);
	assert_int_equal(ask(b, PRIV_SIGNAL, &s, sizeof(s)), -EPERM);
	s.pid = 1;
	assert_int_equal(ask(b, PRIV_SIGNAL, &s, sizeof(s)), -EPROTO);
	s.pid = -1;
	assert_int_equal(ask(b, PRIV_SIGNAL, &s, sizeof(s)), -EPROTO);
	s.pid = getpid();
	s.group = 2;
	assert_int_equal(ask(b, PRIV_SIGNAL, &s, sizeof(s)), -EPROTO);
}

static void test_other_operations_refuse_bad_fields(void **state)
{
	struct box *b = *state;
	struct priv_hello hello = { .version = "2" };
	struct priv_task_end task = { .id = "../" };
	struct priv_port port = { .port = 0 };

	assert_int_equal(ask(b, PRIV_HELLO, &hello, sizeof(hello)), -EPROTO);
	hello = b->server.hello;
	hello.run_ino++;
	assert_int_equal(ask(b, PRIV_HELLO, &hello, sizeof(hello)), -EXDEV);
	assert_int_equal(ask(b, PRIV_TASK_END, &task, sizeof(task)), -EPROTO);
	assert_int_equal(ask(b, PRIV_CGROUP_END, &task,
			     sizeof(struct priv_cgroup_end)),
			 -EPROTO);
	assert_int_equal(ask(b, PRIV_PORT_BIND, &port, sizeof(port)), -EPROTO);
	port = (struct priv_port){ .port = 1, .ipv6 = 2 };
	assert_int_equal(ask(b, PRIV_PORT_BIND, &port, sizeof(port)), -EPROTO);
	port = (struct priv_port){ .port = 1, .udp = 2 };
	assert_int_equal(ask(b, PRIV_PORT_BIND, &port, sizeof(port)), -EPROTO);
	/* It was given none to make. */
	assert_int_equal(ask(b, PRIV_API_SOCKET, &port, 0), -ENOTSUP);
	/* Another vmd needs it. */
	b->server.client_count = 2;
	assert_int_equal(ask(b, PRIV_QUIT, &port, 0), -EBUSY);
	assert_false(b->server.quit);
}

/* The host's node is root's to arrange: whoever may open it gets it as it is. */
static void test_kvm_is_opened_and_its_node_stays_as_it_is(void **state)
{
	struct box *b = *state;
	const struct priv_head head = { .magic = PRIV_MAGIC,
					.op = PRIV_KVM_OPEN };
	struct stat before, after, st;
	int fd, rc;

	if (stat("/dev/kvm", &before) < 0) {
		print_message("SKIP: no /dev/kvm\n");
		skip();
	}
	rc = handle(b, &head, sizeof(head), NULL, 0, &fd);
	assert_int_equal(stat("/dev/kvm", &after), 0);
	assert_int_equal(after.st_mode, before.st_mode);
	assert_int_equal(after.st_uid, before.st_uid);
	assert_int_equal(after.st_gid, before.st_gid);
	assert_int_equal(after.st_ctim.tv_sec, before.st_ctim.tv_sec);
	assert_int_equal(after.st_ctim.tv_nsec, before.st_ctim.tv_nsec);
	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		assert_int_equal(rc, -errno);
		assert_int_equal(fd, -1);
		return;
	}
	assert_int_equal(rc, 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_rdev, before.st_rdev);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	(void)close(fd);
}

static void test_recv_too_many_descriptors_are_closed(void **state)
{
	int pair[2], fds[1], many[] = { 0, 1, 2 };
	size_t n = 1;
	char data[8];

	(void)state;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(priv_send(pair[0], "x", 1, many, 3), 0);
	assert_int_equal(priv_recv(pair[1], data, sizeof(data), fds, &n),
			 -EMSGSIZE);
	assert_int_equal(n, 0);
	/* A message that is too long, with one. */
	n = 1;
	assert_int_equal(priv_send(pair[0], "123456789", 9, many, 1), 0);
	assert_int_equal(priv_recv(pair[1], data, sizeof(data), fds, &n),
			 -EMSGSIZE);
	assert_int_equal(n, 0);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* One that hangs keeps the first of many requests waiting, and nobody after it. */
static void test_client_hung_server_is_asked_once(void **state)
{
	struct box *b = *state;
	struct priv_client c = { .remote = true,
				 .run_dirfd = b->dir.fd,
				 .fd = -1,
				 .answer_ms = 200 };
	struct priv_request r = { .head.op = PRIV_SIGNAL };
	struct err e = ERR_INIT;
	uint64_t begin = clock_mono_ms();
	int fd = -1;

	assert_int_equal(priv_listen(b->dir.fd, PRIV_SOCKET, &fd, &e), 0);
	for (int i = 0; i < 50; i++) {
		assert_true(priv_client_call(&c, &r, sizeof(r.u.signal), NULL,
					     0, NULL, 0, &b->reply, NULL,
					     &e) < 0);
		assert_string_equal(e.code, "priv_gone");
		assert_non_null(strstr(e.msg, i ? "did not answer a moment ago"
						: "does not answer"));
	}
	assert_in_range(clock_mono_ms() - begin, 190, 600);
	/* Later it is tried again, and found. */
	while (clock_mono_ms() < c.hung_until_ms)
		assert_int_equal(usleep(1000), 0);
	assert_true(priv_client_call(&c, &r, sizeof(r.u.signal), NULL, 0, NULL,
				     0, &b->reply, NULL, &e) < 0);
	assert_non_null(strstr(e.msg, "does not answer"));
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_handle_every_operation_of_another_length_is_refused),
		TEST(test_handle_descriptors_where_none_belong_are_refused),
		TEST(test_spawn_every_bad_field_is_refused),
		TEST(test_spawn_limits_that_are_none_are_refused),
		TEST(test_cgroup_is_made_joined_replaced_and_removed),
		TEST(test_spawn_signal_and_reap_tell_how_it_ended),
		TEST(test_signal_of_a_process_that_is_none_of_ours_is_refused),
		TEST(test_other_operations_refuse_bad_fields),
		TEST(test_kvm_is_opened_and_its_node_stays_as_it_is),
		TEST(test_client_hung_server_is_asked_once),
		cmocka_unit_test(test_recv_too_many_descriptors_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

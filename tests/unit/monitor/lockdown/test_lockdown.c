/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter of each role, in a child that ends by it. What is tried would work
 * without the filter, or at least come back: only SIGSYS is a refusal.
 */
#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor/lockdown/lockdown.h"

static int pipe_fds[2];

static void try_open(void)
{
	(void)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
}

static void try_rename(void)
{
	(void)syscall(SYS_renameat2, AT_FDCWD, "/no/a", AT_FDCWD, "/no/b", 0);
}

static void try_unlink(void)
{
	(void)syscall(SYS_unlinkat, AT_FDCWD, "/no/a", 0);
}

static void try_socket_unix(void)
{
	(void)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
}

static void try_socket_inet(void)
{
	(void)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

static void try_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	(void)syscall(SYS_connect, pipe_fds[0], &addr, sizeof(addr));
}

static void try_accept(void)
{
	(void)syscall(SYS_accept4, pipe_fds[0], NULL, NULL, 0);
}

static void try_kill(void)
{
	(void)syscall(SYS_kill, getppid(), 0);
}

static void try_kick_self(void)
{
	(void)syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
}

static void try_kick_other(void)
{
	(void)syscall(SYS_tgkill, 1, 1, SIGUSR1);
}

static void try_term_self(void)
{
	(void)syscall(SYS_tgkill, getpid(), gettid(), SIGURG);
}

static void try_clone(void)
{
	if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
		_exit(0);
}

static void try_exec_memory(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_memory(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_stat_path(void)
{
	char st[256];

	(void)syscall(SYS_newfstatat, AT_FDCWD, "/", st, 0);
}

static void try_fcntl_owner(void)
{
	(void)syscall(SYS_fcntl, pipe_fds[0], F_SETOWN, getppid());
}

static void try_tty_input(void)
{
	(void)syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x");
}

static void try_receive(void)
{
	char byte;

	(void)syscall(SYS_recvfrom, pipe_fds[0], &byte, 1, MSG_DONTWAIT, NULL,
		      NULL);
}

static void try_sync(void)
{
	(void)syscall(SYS_fdatasync, pipe_fds[1]);
}

static void try_write_at(void)
{
	(void)syscall(SYS_pwrite64, pipe_fds[1], "x", 1, 0);
}

static void try_ring(void)
{
	(void)syscall(SYS_io_uring_enter, pipe_fds[0], 0, 0, 0, NULL, 0);
}

static void try_ring_that_waits(void)
{
	(void)syscall(SYS_io_uring_enter, pipe_fds[0], 0, 0, 1, NULL, 0);
}

static void try_new_ring(void)
{
	(void)syscall(SYS_io_uring_setup, 0, NULL);
}

static void try_register(void)
{
	(void)syscall(SYS_io_uring_register, pipe_fds[0], 0, NULL, 0);
}

static void try_write(void)
{
	(void)syscall(SYS_write, pipe_fds[1], "x", 1);
}

static void try_disk_size(void)
{
	uint64_t bytes;

	(void)syscall(SYS_ioctl, pipe_fds[0], BLKGETSIZE64, &bytes);
}

static void try_registers(void)
{
	struct kvm_sregs sregs;

	(void)syscall(SYS_ioctl, pipe_fds[0], KVM_GET_SREGS, &sregs);
}

static void try_end(void)
{
	(void)syscall(SYS_exit_group, 0);
}

enum {
	LOOP = 1 << LOCKDOWN_LOOP,
	BROKER = 1 << LOCKDOWN_BROKER,
	VCPU = 1 << LOCKDOWN_VCPU,
	DISK = 1 << LOCKDOWN_DISK,
	RING = 1 << LOCKDOWN_RING
};

static const struct {
	const char *name;
	void (*run)(void);
	int allowed; /* set of roles */
} tries[] = {
	{ "open", try_open, 0 },
	{ "rename", try_rename, 0 },
	{ "unlink", try_unlink, 0 },
	{ "unix socket", try_socket_unix, BROKER },
	{ "inet socket", try_socket_inet, 0 },
	{ "connect", try_connect, BROKER },
	{ "accept", try_accept, LOOP },
	{ "kill", try_kill, 0 },
	{ "kick of an own thread", try_kick_self, LOOP },
	{ "kick of another process", try_kick_other, 0 },
	{ "another signal to itself", try_term_self, 0 },
	{ "clone", try_clone, 0 },
	{ "executable memory", try_exec_memory, 0 },
	{ "memory", try_memory, LOOP | VCPU | DISK | RING },
	{ "stat of a path", try_stat_path, 0 },
	{ "owner of a descriptor's signals", try_fcntl_owner, 0 },
	{ "input for a terminal", try_tty_input, 0 },
	{ "write", try_write, LOOP | VCPU | DISK | RING },
	{ "size of a disk", try_disk_size, LOOP | VCPU },
	{ "registers", try_registers, VCPU },
	{ "end of the process", try_end, LOOP | BROKER | VCPU | DISK | RING },
	{ "receive", try_receive, LOOP | BROKER | VCPU },
	{ "sync of a file", try_sync, DISK },
	{ "write into a file", try_write_at, DISK },
	{ "ring", try_ring, RING },
	{ "ring with flags", try_ring_that_waits, 0 },
	{ "new ring", try_new_ring, 0 },
	{ "registering with a ring", try_register, 0 },
};

struct attempt {
	enum lockdown_role role;
	void (*run)(void);
};

static void *attempt_main(void *data)
{
	struct attempt *a = data;

	if (lockdown_enter(a->role, NULL) != 0)
		_exit(3);
	a->run();
	/* It has no threads, nor the calls by which one ends. */
	if (a->role == LOCKDOWN_BROKER)
		_exit(0);
	return NULL;
}

static void on_kick(int sig)
{
	(void)sig;
}

/* True when the process ended by the filter. */
static bool refused(enum lockdown_role role, void (*run)(void))
{
	struct attempt a = { role, run };
	pthread_t thread;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)signal(SIGUSR1, on_kick);
		if (lockdown_process(NULL) != 0 ||
		    pthread_create(&thread, NULL, attempt_main, &a) != 0)
			_exit(3);
		(void)pthread_join(thread, NULL);
		/* This thread has no filter: each has its own. */
		_exit(getppid() > 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGSYS);
		return true;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	return false;
}

static void test_enter_refuses_what_the_role_has_no_need_of(void **state)
{
	static const char *const roles[] = { "loop", "vCPU", "broker", "disk",
					     "ring" };

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
		for (int role = 0; role < LOCKDOWN_ROLES; role++) {
			bool want = !(tries[i].allowed & 1 << role);
			bool got =
				refused((enum lockdown_role)role, tries[i].run);

			if (got != want)
				fail_msg("%s on the %s thread: %s",
					 tries[i].name, roles[role],
					 got ? "refused" : "allowed");
		}
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
}

/* Before the filter, and for threads that have none. */
static void test_process_gives_up_paths_and_privilege(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

		if (lockdown_process(NULL) != 0)
			_exit(1);
		if (prctl(PR_GET_DUMPABLE) != 0)
			_exit(2);
		if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
			_exit(3);
		/* Where there is no landlock the filter stands alone. */
		if (abi > 0 &&
		    (open("/dev/null", O_RDONLY) >= 0 || errno != EACCES))
			_exit(5);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_enter_refuses_what_the_role_has_no_need_of),
		cmocka_unit_test(test_process_gives_up_paths_and_privilege),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

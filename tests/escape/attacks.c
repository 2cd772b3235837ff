/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See attacks.h. System calls by number where the C library would refuse or
 * replace something; no libraries, no locks: this also runs in the monitor.
 */
#include "attacks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/kvm.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"

enum {
	MANY_THREADS = 700, /* more than any jail allows */
	MANY_FILES = 5000,
	MANY_PROCESSES = 300, /* fewer than the jail's own limit */
	HOARD = 256 << 20,
	PAGE = 4096
};

/* A path below the directory of the targets. */
static const char *beside(const struct escape_target *t, const char *name)
{
	static char path[128];
	size_t len = strlen(t->dir);

	memcpy(path, t->dir, len);
	path[len] = '/';
	memcpy(path + len + 1, name, strlen(name) + 1);
	return path;
}

static int answer(long rc)
{
	return rc < 0 ? -errno : 0;
}

/* The path of the victim in /proc. */
static const char *proc_of(const struct escape_target *t, const char *what)
{
	static char path[64];
	char digits[16];
	size_t n = 0, len = 6;
	pid_t pid = t->victim;

	memcpy(path, "/proc/", 7);
	do {
		digits[n++] = (char)('0' + pid % 10);
		pid /= 10;
	} while (pid);
	while (n)
		path[len++] = digits[--n];
	path[len++] = '/';
	memcpy(path + len, what, strlen(what) + 1);
	return path;
}

static int opened(const char *path, int flags)
{
	long fd = syscall(SYS_openat, AT_FDCWD, path, flags, 0600);

	return answer(fd);
}

/* --- files --- */

static int file_open(const struct escape_target *t)
{
	return opened(t->file, O_RDONLY);
}

static int file_openat2(const struct escape_target *t)
{
	struct open_how how = { .flags = O_RDONLY };

	return answer(
		syscall(SYS_openat2, AT_FDCWD, t->file, &how, sizeof(how)));
}

static int file_open_write(const struct escape_target *t)
{
	return opened(t->file, O_RDWR);
}

static int file_create(const struct escape_target *t)
{
	return opened(beside(t, "made"), O_WRONLY | O_CREAT);
}

static int file_rename(const struct escape_target *t)
{
	int rc = answer(syscall(SYS_renameat2, AT_FDCWD, t->file, AT_FDCWD,
				beside(t, "moved"), 0));

	if (rc == 0) /* the next one needs it, too */
		(void)rename(beside(t, "moved"), t->file);
	return rc;
}

static int file_link(const struct escape_target *t)
{
	return answer(syscall(SYS_linkat, AT_FDCWD, t->file, AT_FDCWD,
			      beside(t, "linked"), 0));
}

static int file_symlink(const struct escape_target *t)
{
	return answer(
		syscall(SYS_symlinkat, "/", AT_FDCWD, beside(t, "symlink")));
}

static int file_unlink(const struct escape_target *t)
{
	return answer(syscall(SYS_unlinkat, AT_FDCWD, beside(t, "victim"), 0));
}

static int file_truncate(const struct escape_target *t)
{
	return answer(syscall(SYS_truncate, t->file, 1));
}

static int file_chmod(const struct escape_target *t)
{
	return answer(syscall(SYS_fchmodat, AT_FDCWD, t->file, 0666));
}

static int file_chown(const struct escape_target *t)
{
	return answer(
		syscall(SYS_fchownat, AT_FDCWD, t->file, 12345, 12345, 0));
}

static int dir_make(const struct escape_target *t)
{
	return answer(
		syscall(SYS_mkdirat, AT_FDCWD, beside(t, "made.d"), 0700));
}

static int device_make(const struct escape_target *t)
{
	/* /dev/mem */
	return answer(syscall(SYS_mknodat, AT_FDCWD, beside(t, "mem"),
			      S_IFCHR | 0600, 1 << 8 | 1));
}

static int fd_reopen(const struct escape_target *t)
{
	(void)t;
	return opened("/proc/self/fd/34", O_RDWR);
}

static int fd_by_handle(const struct escape_target *t)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + 128];
	} handle = { .head = { .handle_bytes = 128 } };
	int mount_id;

	(void)t;
	if (syscall(SYS_name_to_handle_at, ESCAPE_FD_FILE, "", &handle,
		    &mount_id, AT_EMPTY_PATH) < 0)
		return -errno;
	return answer(syscall(SYS_open_by_handle_at, ESCAPE_FD_FILE, &handle,
			      O_RDWR));
}

static int fd_chmod(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_fchmod, ESCAPE_FD_FILE, 0666));
}

/* --- sockets --- */

static int unix_connect(const char *name, size_t len, size_t skip)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	long fd = syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0)
		return -errno;
	memcpy(addr.sun_path + skip, name, len);
	return answer(
		syscall(SYS_connect, (int)fd, &addr,
			offsetof(struct sockaddr_un, sun_path) + skip + len));
}

static int api_connect(const struct escape_target *t)
{
	return unix_connect(t->api, strlen(t->api) + 1, 0);
}

static int other_vm_connect(const struct escape_target *t)
{
	return unix_connect(t->control, strlen(t->control) + 1, 0);
}

static int abstract_connect(const struct escape_target *t)
{
	return unix_connect(t->abstract, strlen(t->abstract), 1);
}

static int tcp_connect(const struct escape_target *t)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(t->tcp_port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return -errno;
	return answer(syscall(SYS_connect, (int)fd, &addr, sizeof(addr)));
}

static int socket_of(int family, int type, int protocol)
{
	return answer(syscall(SYS_socket, family, type, protocol));
}

static int raw_socket(const struct escape_target *t)
{
	(void)t;
	return socket_of(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static int packet_socket(const struct escape_target *t)
{
	(void)t;
	return socket_of(AF_PACKET, SOCK_RAW, 0);
}

static int netlink_socket(const struct escape_target *t)
{
	(void)t;
	return socket_of(AF_NETLINK, SOCK_RAW, 0);
}

static int vsock_socket(const struct escape_target *t)
{
	(void)t;
	return socket_of(AF_VSOCK, SOCK_STREAM, 0);
}

static int crypto_socket(const struct escape_target *t)
{
	(void)t;
	return socket_of(AF_ALG, SOCK_SEQPACKET, 0);
}

/* --- other processes --- */

static int kill_victim(const struct escape_target *t)
{
	return answer(syscall(SYS_kill, t->victim, SIGCONT));
}

static int kill_all(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_kill, -1, SIGCONT));
}

static int tgkill_victim(const struct escape_target *t)
{
	return answer(syscall(SYS_tgkill, t->victim, t->victim, SIGCONT));
}

static long victim_pidfd(const struct escape_target *t)
{
	return syscall(SYS_pidfd_open, t->victim, 0);
}

static int pidfd_signal(const struct escape_target *t)
{
	long fd = victim_pidfd(t);

	if (fd < 0)
		return -errno;
	return answer(
		syscall(SYS_pidfd_send_signal, (int)fd, SIGCONT, NULL, 0));
}

static int pidfd_steal(const struct escape_target *t)
{
	long fd = victim_pidfd(t);

	if (fd < 0)
		return -errno;
	return answer(syscall(SYS_pidfd_getfd, (int)fd, 0, 0));
}

static int signal_owner(const struct escape_target *t)
{
	return answer(
		syscall(SYS_fcntl, ESCAPE_FD_TARGET, F_SETOWN, t->victim));
}

static int trace(const struct escape_target *t)
{
	int rc = answer(syscall(SYS_ptrace, PTRACE_SEIZE, t->victim, 0, 0));

	if (rc == 0)
		(void)syscall(SYS_ptrace, PTRACE_DETACH, t->victim, 0, 0);
	return rc;
}

static int memory_read(const struct escape_target *t)
{
	char byte;
	struct iovec local = { &byte, 1 }, remote = { &byte, 1 };
	int rc;

	/* Unmapped there: the right comes before the address. */
	rc = answer(syscall(SYS_process_vm_readv, t->victim, &local, 1, &remote,
			    1, 0));
	return rc == -EFAULT ? 0 : rc;
}

static int proc_memory(const struct escape_target *t)
{
	return opened(proc_of(t, "mem"), O_RDWR);
}

static int proc_environ(const struct escape_target *t)
{
	return opened(proc_of(t, "environ"), O_RDONLY);
}

static int proc_root(const struct escape_target *t)
{
	return opened(proc_of(t, "root/etc"), O_RDONLY);
}

static int priority(const struct escape_target *t)
{
	return answer(syscall(SYS_setpriority, PRIO_PROCESS, t->victim, 5));
}

static int real_time(const struct escape_target *t)
{
	struct sched_param param = { .sched_priority = 1 };

	(void)t;
	return answer(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &param));
}

/* --- namespaces and mounts --- */

static int mount_tmpfs(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_mount, "x", "/", "tmpfs", 0, NULL));
}

static int mount_writable(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_mount, NULL, "/", NULL, MS_REMOUNT | MS_BIND,
			      NULL));
}

static int mount_fsopen(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_fsopen, "tmpfs", 0));
}

static int mount_tree(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE));
}

static int unmount(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_umount2, "/proc", MNT_DETACH));
}

static int change_root(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_chroot, "/"));
}

/* Its place is checked after the right to do it at all. */
static int pivot(const struct escape_target *t)
{
	int rc = answer(syscall(SYS_pivot_root, "/", "/"));

	(void)t;
	return rc == -EBUSY || rc == -EINVAL ? 0 : rc;
}

static int unshare_user(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_unshare, CLONE_NEWUSER));
}

static int unshare_mount(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_unshare, CLONE_NEWNS));
}

static int join_namespace(const struct escape_target *t)
{
	long fd = syscall(SYS_openat, AT_FDCWD, proc_of(t, "ns/net"), O_RDONLY);

	if (fd < 0)
		return -errno;
	return answer(syscall(SYS_setns, (int)fd, CLONE_NEWNET));
}

static int join_pidfd(const struct escape_target *t)
{
	long fd = victim_pidfd(t);

	if (fd < 0)
		return -errno;
	return answer(syscall(SYS_setns, (int)fd, CLONE_NEWUTS));
}

static int clone_user(const struct escape_target *t)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	(void)t;
	if (pid == 0)
		_exit(0);
	return answer(pid);
}

static int host_name(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_sethostname, "owned", 5));
}

/* --- privilege --- */

static int become_root(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_setresuid, 0, 0, 0));
}

static int take_groups(const struct escape_target *t)
{
	gid_t group = 0;

	(void)t;
	return answer(syscall(SYS_setgroups, 1, &group));
}

static int take_capabilities(const struct escape_target *t)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2] = {
		{ .effective = 1u << CAP_SYS_ADMIN,
		  .permitted = 1u << CAP_SYS_ADMIN }
	};

	(void)t;
	return answer(syscall(SYS_capset, &header, data));
}

static int exec_in_child(long (*run)(void))
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	int status = 0;

	if (pid == 0) {
		(void)run();
		_exit(errno == ENOENT ? 2 : 1);
	}
	if (pid < 0)
		return -errno;
	if (syscall(SYS_wait4, pid, &status, 0, NULL) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EACCES;
}

static long exec_true(void)
{
	char *argv[] = { (char[]){ "true" }, NULL };

	return syscall(SYS_execve, "/usr/bin/true", argv, NULL);
}

static int exec_program(const struct escape_target *t)
{
	(void)t;
	return exec_in_child(exec_true);
}

/* The smallest program: exit(0). */
static long exec_from_memory(void)
{
	static const char script[] = "#!/usr/bin/true\n";
	char *argv[] = { (char[]){ "x" }, NULL };
	long fd = syscall(SYS_memfd_create, "x", 0);

	if (fd < 0)
		return -1;
	(void)!write((int)fd, script, sizeof(script) - 1);
	return syscall(SYS_execveat, (int)fd, "", argv, NULL, AT_EMPTY_PATH);
}

static int exec_memfd(const struct escape_target *t)
{
	(void)t;
	return exec_in_child(exec_from_memory);
}

static int fork_once(const struct escape_target *t)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	(void)t;
	if (pid == 0)
		_exit(0);
	return answer(pid);
}

static int executable_memory(const struct escape_target *t)
{
	long at = syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)t;
	return at == -1 ? -errno : 0;
}

/* --- the kernel's rarer sides --- */

static int bpf_load(const struct escape_target *t)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY,
				.key_size = 4,
				.value_size = 4,
				.max_entries = 1 };

	(void)t;
	return answer(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static int perf_events(const struct escape_target *t)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
					.size = sizeof(attr),
					.config = PERF_COUNT_SW_CPU_CLOCK };

	(void)t;
	return answer(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static int uring(const struct escape_target *t)
{
	struct io_uring_params params = { .flags = 0 };

	(void)t;
	return answer(syscall(SYS_io_uring_setup, 2, &params));
}

static int fault_handler(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_userfaultfd, O_CLOEXEC));
}

static int key_add(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_add_key, "user", "x", "y", 1,
			      KEY_SPEC_PROCESS_KEYRING));
}

static int key_session(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
}

static int module_load(const struct escape_target *t)
{
	int rc = answer(syscall(SYS_init_module, "", 1, ""));

	(void)t;
	return rc == -ENOEXEC || rc == -EINVAL ? 0 : rc;
}

static int kexec(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_kexec_load, 0, 0, NULL, 0));
}

static int restart(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1,
			      LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF,
			      NULL));
}

static int set_clock(const struct escape_target *t)
{
	struct timex x = { .modes = 0 };

	(void)t;
	if (syscall(SYS_adjtimex, &x) < 0)
		return -errno;
	x.modes = ADJ_FREQUENCY; /* what it is already */
	return answer(syscall(SYS_adjtimex, &x));
}

static int kernel_log(const struct escape_target *t)
{
	static char text[256];

	(void)t;
	return answer(syscall(SYS_syslog, 3, text, sizeof(text)));
}

static int accounting(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_acct, NULL));
}

static int swap_off(const struct escape_target *t)
{
	int rc = answer(syscall(SYS_swapoff, "/dev/null"));

	(void)t;
	return rc == -EINVAL || rc == -ENOENT || rc == -ENOTBLK ? 0 : rc;
}

static int io_ports(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_iopl, 3));
}

static int shared_memory(const struct escape_target *t)
{
	return answer(syscall(SYS_shmget, t->ipc_key, 0, 0));
}

static int message_queue(const struct escape_target *t)
{
	return answer(syscall(SYS_msgget, t->ipc_key, 0));
}

static int semaphores(const struct escape_target *t)
{
	return answer(syscall(SYS_semget, t->ipc_key, 0, 0));
}

static int posix_queue(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_mq_open, "x", O_CREAT | O_RDWR, 0600, NULL));
}

/* --- devices --- */

static int terminal_input(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_ioctl, ESCAPE_FD_TTY, TIOCSTI, "x"));
}

static int terminal_take(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_ioctl, ESCAPE_FD_TTY, TIOCSCTTY, 1));
}

static int another_vm(const struct escape_target *t)
{
	(void)t;
	return answer(syscall(SYS_ioctl, ESCAPE_FD_KVM, KVM_CREATE_VM, 0));
}

static int device_mem(const struct escape_target *t)
{
	(void)t;
	return opened("/dev/mem", O_RDONLY);
}

static int device_tun(const struct escape_target *t)
{
	(void)t;
	return opened("/dev/net/tun", O_RDWR);
}

static int device_kvm(const struct escape_target *t)
{
	(void)t;
	return opened("/dev/kvm", O_RDWR);
}

static int sysrq(const struct escape_target *t)
{
	(void)t;
	return opened("/proc/sysrq-trigger", O_WRONLY);
}

static int core_pattern(const struct escape_target *t)
{
	(void)t;
	return opened("/proc/sys/kernel/core_pattern", O_WRONLY);
}

static int cgroup_write(const struct escape_target *t)
{
	return t->cgroup[0] ? opened(t->cgroup, O_WRONLY) : -ENOENT;
}

/* --- more than one's share --- */

static int raise_limit(int what, rlim_t value)
{
	struct rlimit limit = { value, value };

	return answer(syscall(SYS_prlimit64, 0, what, &limit, NULL));
}

static int core_size(const struct escape_target *t)
{
	(void)t;
	return raise_limit(RLIMIT_CORE, 1 << 20);
}

static int more_processes(const struct escape_target *t)
{
	(void)t;
	return raise_limit(RLIMIT_NPROC, 5000);
}

static int more_files(const struct escape_target *t)
{
	(void)t;
	return raise_limit(RLIMIT_NOFILE, MANY_FILES + 100);
}

static int oom_immune(const struct escape_target *t)
{
	long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj",
			  O_WRONLY);
	int rc;

	(void)t;
	if (fd < 0)
		return -errno;
	rc = answer(write((int)fd, "-1000", 5));
	(void)close((int)fd);
	return rc;
}

static int file_flood(const struct escape_target *t)
{
	(void)t;
	for (int i = 0; i < MANY_FILES; i++)
		if (syscall(SYS_dup, ESCAPE_FD_TARGET) < 0)
			return -errno;
	return 0;
}

/* Threads: a jailed program may have some, so that is how to be many. They do
 * nothing but wait for the end of the process, on stacks of one page. */
static int thread_flood(const struct escape_target *t)
{
	enum {
		STACK = 4096
	};
	static char stacks[MANY_THREADS][STACK];
	const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES |
				    CLONE_SIGHAND | CLONE_THREAD |
				    CLONE_SYSVSEM;

	(void)t;
	for (int i = 0; i < MANY_THREADS; i++) {
		long rc;

		__asm__ volatile("syscall\n\t"
				 "test %%rax, %%rax\n\t"
				 "jnz 1f\n"
				 /* poll(NULL, 0, -1): for ever */
				 "2:\tmov $7, %%eax\n\t"
				 "xor %%edi, %%edi\n\t"
				 "xor %%esi, %%esi\n\t"
				 "mov $-1, %%rdx\n\t"
				 "syscall\n\t"
				 "jmp 2b\n"
				 "1:"
				 : "=a"(rc)
				 : "a"((long)SYS_clone), "D"(flags),
				   "S"(stacks[i] + STACK), "d"(0L)
				 : "rcx", "r11", "memory", "r10", "r8");
		if (rc < 0)
			return (int)rc;
	}
	return 0;
}

/* Without a system call: nothing but the cgroup can stand in its way. */
static int memory_bomb(const struct escape_target *t)
{
	static char hoard[HOARD];

	(void)t;
	for (size_t i = 0; i < HOARD; i += PAGE) {
		hoard[i] = 1;
		__asm__ volatile("" : : "r"(hoard) : "memory");
	}
	return 0;
}

static int fork_bomb(const struct escape_target *t)
{
	(void)t;
	for (int i = 0; i < MANY_PROCESSES; i++) {
		long rc = syscall(SYS_fork);

		if (rc < 0)
			return -errno;
		if (rc == 0)
			for (;;)
				(void)pause();
	}
	return 0;
}

const struct attack attacks[] = {
	{ "open another VM's file", file_open, 0 },
	{ "openat2 of another VM's file", file_openat2, 0 },
	{ "open it for writing", file_open_write, 0 },
	{ "create a file", file_create, 0 },
	{ "rename a file", file_rename, 0 },
	{ "hard link to a file", file_link, 0 },
	{ "symbolic link", file_symlink, 0 },
	{ "unlink a file", file_unlink, 0 },
	{ "truncate by path", file_truncate, 0 },
	{ "chmod", file_chmod, 0 },
	{ "chown", file_chown, 0 },
	{ "make a directory", dir_make, 0 },
	{ "make a device node", device_make, 0 },
	{ "reopen a read-only descriptor for writing", fd_reopen, 0 },
	{ "the same by file handle", fd_by_handle, ATTACK_MAYBE },
	{ "chmod through a descriptor", fd_chmod, 0 },
	{ "connect to the API", api_connect, 0 },
	{ "connect to another VM's socket", other_vm_connect, 0 },
	{ "connect to an abstract socket", abstract_connect, 0 },
	{ "connect to the host's loopback", tcp_connect, 0 },
	{ "raw socket", raw_socket, 0 },
	{ "packet socket", packet_socket, ATTACK_MAYBE },
	{ "netlink socket", netlink_socket, ATTACK_CALL },
	{ "vsock socket", vsock_socket, ATTACK_MAYBE | ATTACK_CALL },
	{ "AF_ALG socket", crypto_socket, ATTACK_MAYBE },
	{ "kill a process", kill_victim, 0 },
	{ "kill all processes", kill_all, ATTACK_APART },
	{ "tgkill a process", tgkill_victim, 0 },
	{ "pidfd_send_signal", pidfd_signal, 0 },
	{ "pidfd_getfd", pidfd_steal, 0 },
	{ "signals by F_SETOWN", signal_owner, 0 },
	{ "ptrace", trace, 0 },
	{ "process_vm_readv", memory_read, 0 },
	{ "/proc/PID/mem", proc_memory, 0 },
	{ "/proc/PID/environ", proc_environ, 0 },
	{ "/proc/PID/root", proc_root, 0 },
	{ "priority of a process", priority, 0 },
	{ "real-time scheduling", real_time, ATTACK_MAYBE },
	{ "mount", mount_tmpfs, ATTACK_APART },
	{ "remount / writable", mount_writable, ATTACK_APART },
	{ "fsopen", mount_fsopen, ATTACK_APART },
	{ "open_tree", mount_tree, ATTACK_APART },
	{ "umount", unmount, ATTACK_APART },
	{ "chroot", change_root, ATTACK_APART },
	{ "pivot_root", pivot, ATTACK_APART },
	{ "unshare a user namespace", unshare_user, ATTACK_CALL },
	{ "unshare a mount namespace", unshare_mount, 0 },
	{ "setns by /proc", join_namespace, 0 },
	{ "setns by pidfd", join_pidfd, 0 },
	{ "clone with a user namespace", clone_user, ATTACK_CALL },
	{ "sethostname", host_name, ATTACK_APART },
	{ "setuid 0", become_root, 0 },
	{ "setgroups", take_groups, 0 },
	{ "raise capabilities", take_capabilities, 0 },
	{ "execve", exec_program, ATTACK_CALL },
	{ "exec from a memfd", exec_memfd, ATTACK_CALL },
	{ "fork", fork_once, ATTACK_CALL },
	{ "executable memory", executable_memory, ATTACK_NOT_QEMU },
	{ "bpf", bpf_load, ATTACK_MAYBE },
	{ "perf_event_open", perf_events, ATTACK_MAYBE },
	{ "io_uring", uring, ATTACK_MAYBE | ATTACK_CALL },
	{ "userfaultfd", fault_handler, ATTACK_MAYBE },
	{ "add_key", key_add, ATTACK_MAYBE | ATTACK_CALL },
	{ "session keyring", key_session, ATTACK_MAYBE | ATTACK_CALL },
	{ "init_module", module_load, ATTACK_MAYBE },
	{ "kexec_load", kexec, ATTACK_MAYBE },
	{ "reboot", restart, 0 },
	{ "set the clock", set_clock, 0 },
	{ "read the kernel's log", kernel_log, 0 },
	{ "acct", accounting, ATTACK_APART | ATTACK_MAYBE },
	{ "swapoff", swap_off, ATTACK_MAYBE },
	{ "iopl", io_ports, ATTACK_MAYBE },
	{ "SysV shared memory", shared_memory, 0 },
	{ "SysV message queue", message_queue, 0 },
	{ "SysV semaphores", semaphores, 0 },
	{ "POSIX message queue", posix_queue, ATTACK_APART | ATTACK_MAYBE },
	{ "TIOCSTI", terminal_input, ATTACK_MAYBE },
	{ "TIOCSCTTY", terminal_take,
	  ATTACK_APART | ATTACK_MAYBE | ATTACK_CALL },
	{ "create another VM", another_vm, ATTACK_MAYBE | ATTACK_NOT_QEMU },
	{ "/dev/mem", device_mem, ATTACK_MAYBE },
	{ "/dev/net/tun", device_tun, ATTACK_MAYBE },
	{ "/dev/kvm", device_kvm, ATTACK_MAYBE | ATTACK_NOT_QEMU },
	{ "sysrq", sysrq, ATTACK_MAYBE },
	{ "core_pattern", core_pattern, ATTACK_MAYBE },
	{ "write to a cgroup", cgroup_write, ATTACK_MAYBE },
	{ "raise the size of core dumps", core_size, 0 },
	{ "raise the number of processes", more_processes, 0 },
	{ "raise the number of files", more_files, 0 },
	{ "escape the OOM killer", oom_immune, ATTACK_MAYBE },
	{ "flood of descriptors", file_flood, 0 },
	{ "flood of threads", thread_flood, 0 },
	{ "flood of processes", fork_bomb, ATTACK_APART | ATTACK_CGROUP },
	{ "take 256 MiB of memory", memory_bomb, ATTACK_CGROUP },
};
const size_t attack_count = ARRAY_LEN(attacks);

void attack_run_told(void)
{
	struct escape_target t;
	struct escape_report report;

	if (read(ESCAPE_FD_TARGET, &t, sizeof(t)) != (ssize_t)sizeof(t) ||
	    t.attack >= attack_count)
		return;
	report.attack = t.attack;
	report.result = attacks[t.attack].run(&t);
	(void)!write(ESCAPE_FD_REPORT, &report, sizeof(report));
}

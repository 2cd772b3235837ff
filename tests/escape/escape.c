/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every attack of attacks.c from within every jail, in system and in rootless
 * mode, each in a process of its own:
 *
 *   escape MONITOR STANDIN GUEST [NAME]
 *
 * MONITOR is the test build of vmd-monitor (hook.c), STANDIN is in QEMU's place;
 * NAME: only attacks with that in their name.
 * Before, each attack is tried without a jail, where it must succeed (the
 * control), or its failure would say nothing. Prints TAP, then a table. Exit
 * status 0: no attack succeeded.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attacks.h"
#include "base/cgroup.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/process.h"
#include "base/sock.h"
#include "vmd/priv/cgroups.h"
#include "vmd/priv/jails.h"
#include "vmd/priv/user.h"

enum {
	DEADLINE_MS = 20000,
	ATTACKS_MAX = 128,
	NOBODY = 65534,
	UID = PRIV_UID_FIRST + 1,
	FILES_WANTED = 10000,
	END_TRIES = 2000, /* of a millisecond each */
};

#define CGROUP_ID "abcdefghijklmnopqrstuvwxyz"

/* As those of a small guest on the monitor. */
static const struct cgroup_limits cgroup_limits = {
	.memory_max = 128 << 20,
	.memory_high = 120 << 20,
	.pids_max = 49,
	.cpu_percent = 200,
};

/* Who attacks. */
enum context {
	CONTROL,
	MONITOR_LOOP,
	MONITOR_VCPU,
	QEMU,
	JAIL_ALONE, /* QEMU's without any list of system calls */
	CONTEXTS
};
enum mode {
	SYSTEM,
	ROOTLESS,
	MODES
};

static const char *const context_names[] = { "control", "monitor's loop",
					     "monitor's vCPU", "QEMU",
					     "jail alone" };
static const char *const mode_names[] = { "system", "rootless" };

struct cell {
	bool done;
	char text[24];
};

/* Shared with the child that plays the ordinary user. */
struct results {
	int tests, failed, skipped;
	struct cell cells[ATTACKS_MAX][MODES][CONTEXTS];
};

static struct {
	const char *monitor, *standin, *guest;
	struct escape_target target;
	int kvm_fd, tty_fd, file_fd, config_fd, guest_fd;
	struct results *results;
	struct priv_cgroups cgroups;
	const char *wanted; /* NULL: all */
} world;

static void die(const char *what)
{
	(void)fprintf(stderr, "escape: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* --- what there is to be attacked --- */

static void put_file(const char *name)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", world.target.dir, name);
	(void)unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 || fchmod(fd, 0666) < 0 || write(fd, "secret\n", 7) != 7)
		die(path);
	(void)close(fd);
}

/* As before the last attack. */
static void renew_files(void)
{
	static const char *const made[] = { "made", "linked", "symlink",
					    "mem",  "moved",  "victim" };
	char path[160];

	for (size_t i = 0; i < ARRAY_LEN(made); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", world.target.dir,
			       made[i]);
		(void)unlink(path);
	}
	(void)snprintf(path, sizeof(path), "%s/made.d", world.target.dir);
	(void)rmdir(path);
	if (access(world.target.file, F_OK) < 0)
		put_file("file");
	put_file("victim");
}

static int listen_at(char *path, size_t size, const char *name)
{
	int fd = -1;
	struct err e = ERR_INIT;

	(void)snprintf(path, size, "%s/%s", world.target.dir, name);
	if (sock_listen_unix(AT_FDCWD, path, 0666, &fd, &e) < 0)
		die(e.msg);
	return fd;
}

static void listen_elsewhere(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(world.target.abstract, sizeof(world.target.abstract),
		       "vmd-escape-%d", (int)getpid());
	(void)memcpy(un.sun_path + 1, world.target.abstract,
		     strlen(world.target.abstract));
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&un,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			     strlen(world.target.abstract))) < 0 ||
	    listen(fd, 100) < 0)
		die("abstract socket");
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 ||
	    listen(fd, 100) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &len) < 0)
		die("TCP socket");
	world.target.tcp_port = ntohs(in.sin_port);
}

static int ipc_ids[3] = { -1, -1, -1 };

static void make_ipc(void)
{
	world.target.ipc_key = (int32_t)(0x564d0000 | (getpid() & 0xffff));
	ipc_ids[0] = shmget(world.target.ipc_key, 4096, IPC_CREAT | 0666);
	ipc_ids[1] = msgget(world.target.ipc_key, IPC_CREAT | 0666);
	ipc_ids[2] = semget(world.target.ipc_key, 1, IPC_CREAT | 0666);
	if (ipc_ids[0] < 0 || ipc_ids[1] < 0 || ipc_ids[2] < 0)
		die("System V IPC");
}

/* A process of the same user as the attackers of this mode. */
static void start_victim(enum mode mode)
{
	uid_t uid = mode == SYSTEM ? UID : geteuid();
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (mode == SYSTEM && (setresgid(uid, uid, uid) < 0 ||
				       setresuid(uid, uid, uid) < 0))
			_exit(1);
		(void)prctl(PR_SET_DUMPABLE, 1);
		for (;;)
			(void)pause();
	}
	world.target.victim = pid;
}

static void end_victim(void)
{
	(void)kill(world.target.victim, SIGKILL);
	(void)waitpid(world.target.victim, NULL, 0);
}

static void find_cgroup(void)
{
	static const char *const places[] = {
		"/sys/fs/cgroup/cgroup.procs",
		"/sys/fs/cgroup/unified/cgroup.procs",
		"/sys/fs/cgroup/pids/cgroup.procs"
	};

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (!world.target.cgroup[0] && access(places[i], F_OK) == 0)
			(void)snprintf(world.target.cgroup,
				       sizeof(world.target.cgroup), "%s",
				       places[i]);
}

static void open_tty(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		die("terminal");
	world.tty_fd = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static void make_config(void)
{
	static const char text[] =
		"{\"boot-source\":{\"kernel_image_path\":\"fd:3\"},"
		"\"machine-config\":{\"vcpu_count\":1,\"mem_size_mib\":32}}";
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/vm.json", world.target.dir);
	world.config_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (world.config_fd < 0 ||
	    write(world.config_fd, text, sizeof(text) - 1) < 0)
		die("vm.json");
	world.guest_fd = open(world.guest, O_RDONLY | O_CLOEXEC);
	world.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
}

static void make_world(void)
{
	struct escape_target *t = &world.target;

	(void)umask(0);
	(void)snprintf(t->dir, sizeof(t->dir), "/tmp/vmd-escape-XXXXXX");
	if (!mkdtemp(t->dir) || chmod(t->dir, 0777) < 0)
		die(t->dir);
	(void)snprintf(t->file, sizeof(t->file), "%.90s/file", t->dir);
	put_file("file");
	world.file_fd = open(t->file, O_RDONLY | O_CLOEXEC);
	(void)listen_at(t->api, sizeof(t->api), "api.sock");
	(void)listen_at(t->control, sizeof(t->control), "control.sock");
	listen_elsewhere();
	make_ipc();
	find_cgroup();
	open_tty();
	make_config();
}

static void remove_world(void)
{
	static const char *const names[] = { "file", "victim", "api.sock",
					     "control.sock", "vm.json" };
	char path[160];

	renew_files();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", world.target.dir,
			       names[i]);
		(void)unlink(path);
	}
	(void)rmdir(world.target.dir);
	(void)shmctl(ipc_ids[0], IPC_RMID, NULL);
	(void)msgctl(ipc_ids[1], IPC_RMID, NULL);
	(void)semctl(ipc_ids[2], 0, IPC_RMID);
}

/* --- the control --- */

static void place_fd(int fd, int number)
{
	if (fd >= 0 && dup2(fd, number) < 0)
		_exit(254);
}

static void __attribute__((noreturn)) control_child(size_t index)
{
	struct rlimit files = { FILES_WANTED, FILES_WANTED };
	int rc;

	if (attacks[index].flags & ATTACK_APART) {
		/* Somebody to be killed. */
		if (fork() == 0)
			for (;;)
				(void)pause();
		(void)setsid();
	}
	(void)setrlimit(RLIMIT_NOFILE, &files);
	place_fd(world.tty_fd, ESCAPE_FD_TTY);
	place_fd(world.kvm_fd, ESCAPE_FD_KVM);
	place_fd(world.file_fd, ESCAPE_FD_FILE);
	place_fd(world.file_fd, ESCAPE_FD_TARGET);
	rc = attacks[index].run(&world.target);
	_exit(rc == 0 ? 0 : rc > -250 ? -rc : 250);
}

/* 0, or the errno with which it failed. */
static int control(size_t index)
{
	bool apart = attacks[index].flags & ATTACK_APART;
	pid_t pid = fork(), inner;
	int status = 0;

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (!apart)
			control_child(index);
		if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
			    CLONE_NEWPID) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(253);
		inner = fork();
		if (inner == 0)
			control_child(index);
		(void)waitpid(inner, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 252);
	}
	(void)waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 251;
}

/* --- the attack --- */

static size_t pass(struct process_fd *fds, size_t n, int from, int to)
{
	if (from < 0)
		return n;
	fds[n] = (struct process_fd){ from, to };
	return n + 1;
}

static int spawn(enum context context, int target_fd, int report_fd,
		 int cgroup_fd, struct process *ret, struct err *e)
{
	const char *monitor[] = { world.monitor, "--config", "fd:7",
				  "--kvm",	 "fd:8",     NULL };
	const char *standin[] = { world.standin, NULL };
	const char *alone[] = { world.standin, "--no-sandbox", NULL };
	bool monitor_runs = context == MONITOR_LOOP || context == MONITOR_VCPU;
	struct jail_environment environment;
	struct process_fd fds[16];
	struct jail_spec jail;
	size_t n = 0;

	n = pass(fds, n, target_fd, ESCAPE_FD_TARGET);
	n = pass(fds, n, report_fd, ESCAPE_FD_REPORT);
	n = pass(fds, n, world.tty_fd, ESCAPE_FD_TTY);
	n = pass(fds, n, world.kvm_fd, ESCAPE_FD_KVM);
	n = pass(fds, n, world.file_fd, ESCAPE_FD_FILE);
	if (monitor_runs) {
		n = pass(fds, n, world.guest_fd, 3);
		n = pass(fds, n, world.config_fd, 7);
		n = pass(fds, n, world.kvm_fd, 8);
	}
	struct process_spec spec = {
		.argv = monitor_runs	  ? monitor
			: context == QEMU ? standin
					  : alone,
		.envp = jail_environment("/run/vmd/vms/escape", &environment),
		.fds = fds,
		.fd_count = n,
		.new_session = true,
		.cgroup_fd = cgroup_fd,
		.jail = &jail,
	};

	jail_of(monitor_runs ? JAIL_MONITOR : JAIL_QEMU, "escape", UID, &jail);
	if (!monitor_runs)
		jail.devices |= JAIL_DEV_KVM;
	if (context == JAIL_ALONE)
		jail.filter = NULL;
	(void)lseek(world.config_fd, 0, SEEK_SET);
	return process_spawn(&spec, ret, e);
}

/* True when a report came before the end. */
static bool await_report(int fd, struct escape_report *ret)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	/* The writer's end closes it, too. */
	return poll(&ready, 1, DEADLINE_MS) > 0 &&
	       read(fd, ret, sizeof(*ret)) == (ssize_t)sizeof(*ret);
}

/* For an attack that a cgroup holds; 0: for others. */
static int enter_cgroup(size_t index)
{
	struct err e = ERR_INIT;
	int fd = 0;

	if ((attacks[index].flags & ATTACK_CGROUP) &&
	    priv_cgroups_enter(&world.cgroups, CGROUP_ID, &cgroup_limits, &fd,
			       &e) < 0) {
		(void)fprintf(stderr, "escape: %s\n", e.msg);
		exit(2);
	}
	return fd;
}

/* True when the kernel ended it for want of memory. */
static bool leave_cgroup(int fd)
{
	struct cgroup_oom oom;

	if (!fd)
		return false;
	cgroup_oom(fd, &oom);
	(void)close(fd);
	for (int i = 0; i < END_TRIES; i++) {
		struct cgroup_oom none;

		if (priv_cgroups_end(&world.cgroups, CGROUP_ID, &none) == 0)
			break;
		(void)usleep(1000);
	}
	return oom.limit && oom.killed;
}

/* Fills text with what became of it; true when the attack failed. */
static bool attack(enum context context, size_t index, char text[static 24])
{
	struct escape_report report = { .attack = UINT32_MAX };
	struct process p = PROCESS_INIT;
	struct process_exit end;
	struct err e = ERR_INIT;
	int target[2], told[2], rc;
	bool reported, starved;
	int cgroup = enter_cgroup(index);

	renew_files();
	if (pipe2(target, O_CLOEXEC) < 0 || pipe2(told, O_CLOEXEC) < 0)
		die("pipe");
	world.target.attack = (uint32_t)index;
	if (context == MONITOR_LOOP || context == MONITOR_VCPU)
		(void)!write(target[1], context == MONITOR_VCPU ? "v" : "l", 1);
	(void)!write(target[1], &world.target, sizeof(world.target));
	if (spawn(context, target[0], told[1], cgroup, &p, &e) < 0) {
		(void)fprintf(stderr, "escape: %s\n", e.msg);
		exit(2);
	}
	(void)close(target[0]);
	(void)close(target[1]);
	(void)close(told[1]);
	reported = await_report(told[0], &report);
	(void)close(told[0]);
	if (reported)
		(void)process_signal(&p, SIGKILL);
	rc = process_wait(&p, DEADLINE_MS, &end);
	starved = leave_cgroup(cgroup);
	if (rc < 0)
		(void)snprintf(text, 24, "it hangs");
	else if (reported && report.result == 0)
		(void)snprintf(text, 24, "SUCCEEDED");
	else if (reported)
		(void)snprintf(text, 24, "%s", strerrorname_np(-report.result));
	else if (end.signal == SIGSYS)
		(void)snprintf(text, 24, "killed");
	else if (starved)
		(void)snprintf(text, 24, "out of memory");
	else if (end.signal)
		(void)snprintf(text, 24, "signal %d?", end.signal);
	else
		(void)snprintf(text, 24, "no report: %d?", end.status);
	process_close(&p);
	return reported ? report.result != 0 : starved || end.signal == SIGSYS;
}

/* --- what is told --- */

static void tell(bool ok, enum mode mode, enum context context, size_t index,
		 const char *text, const char *skip)
{
	struct results *r = world.results;
	struct cell *cell = &r->cells[index][mode][context];

	cell->done = true;
	(void)snprintf(cell->text, sizeof(cell->text), "%s", text);
	r->tests++;
	r->failed += !ok;
	r->skipped += skip != NULL;
	(void)printf("%sok %d %s, %s: %s (%s)%s%s\n", ok ? "" : "not ",
		     r->tests, mode_names[mode], context_names[context],
		     attacks[index].name, text, skip ? " # SKIP " : "",
		     skip ? skip : "");
	(void)fflush(stdout);
}

static void run_control(enum mode mode, size_t index)
{
	char text[24], why[64];
	int sys;

	renew_files();
	sys = control(index);
	if (sys == 0) {
		tell(true, mode, CONTROL, index, "succeeds", NULL);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s",
		       strerrorname_np(sys) ? strerrorname_np(sys) : "?");
	(void)snprintf(why, sizeof(why),
		       "not possible on this host without a jail either");
	tell(attacks[index].flags & ATTACK_MAYBE, mode, CONTROL, index, text,
	     attacks[index].flags & ATTACK_MAYBE ? why : NULL);
}

static bool concerns(enum context context, unsigned flags)
{
	if (context == QEMU)
		return !(flags & ATTACK_NOT_QEMU);
	if (context == JAIL_ALONE)
		return !(flags & (ATTACK_NOT_QEMU | ATTACK_CALL));
	return world.kvm_fd >= 0;
}

static bool is_wanted(size_t index)
{
	return !world.wanted || strstr(attacks[index].name, world.wanted);
}

static void run_mode(enum mode mode)
{
	start_victim(mode);
	for (size_t i = 0; i < attack_count; i++) {
		if (!is_wanted(i))
			continue;
		/* Not a user's without any of their own. */
		if ((attacks[i].flags & ATTACK_CGROUP) &&
		    (mode == ROOTLESS || world.cgroups.fd < 0))
			continue;
		/* Only root can do, or try, everything. */
		if (geteuid() == 0)
			run_control(mode, i);
		for (enum context c = MONITOR_LOOP; c < CONTEXTS; c++) {
			char text[24] = "";

			if (!concerns(c, attacks[i].flags))
				continue;
			tell(attack(c, i, text), mode, c, i, text, NULL);
		}
	}
	end_victim();
}

static void run_rootless(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (geteuid() == 0 && (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
				       setresuid(NOBODY, NOBODY, NOBODY) < 0))
			_exit(2);
		run_mode(ROOTLESS);
		_exit(0);
	}
	(void)waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		exit(2);
}

static void print_table(enum mode mode)
{
	(void)printf("\n# %s mode\n# %-42s %-12s %-15s %-15s %-15s %s\n",
		     mode_names[mode], "attack", "without", "monitor's loop",
		     "monitor's vCPU", "QEMU", "jail alone");
	for (size_t i = 0; i < attack_count; i++) {
		const struct cell *c = world.results->cells[i][mode];

		if (!is_wanted(i))
			continue;
		(void)printf("# %-42s", attacks[i].name);
		for (int k = 0; k < CONTEXTS; k++)
			(void)printf(" %-*s", k == CONTROL ? 12 : 15,
				     c[k].done ? c[k].text : "-");
		(void)printf("\n");
	}
}

static void find_cgroups(bool root)
{
	int fd = open(world.target.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	priv_cgroups_init(&world.cgroups);
	if (root)
		priv_cgroups_open(&world.cgroups, fd);
	(void)close(fd);
	if (world.cgroups.fd < 0)
		(void)printf("# SKIP what a cgroup holds: %s\n",
			     root ? world.cgroups.text : "not root");
}

int main(int argc, char **argv)
{
	struct rlimit files = { FILES_WANTED, FILES_WANTED };
	bool root = geteuid() == 0;

	if (argc != 4 && argc != 5) {
		(void)fprintf(stderr,
			      "usage: escape MONITOR STANDIN GUEST [NAME]\n");
		return 2;
	}
	world.monitor = argv[1];
	world.standin = argv[2];
	world.guest = argv[3];
	world.wanted = argv[4];
	world.results =
		mmap(NULL, sizeof(*world.results), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (world.results == MAP_FAILED || attack_count > ATTACKS_MAX)
		die("memory");
	(void)setrlimit(RLIMIT_NOFILE, &files);
	make_world();
	(void)atexit(remove_world);
	find_cgroups(root);
	if (world.kvm_fd < 0)
		(void)printf("# SKIP the monitor: /dev/kvm: %s\n",
			     strerror(errno));
	if (root)
		run_mode(SYSTEM);
	else
		(void)printf("# SKIP system mode and controls: not root\n");
	run_rootless();
	for (enum mode m = root ? SYSTEM : ROOTLESS; m < MODES; m++)
		print_table(m);
	priv_cgroups_close(&world.cgroups);
	(void)printf("\n# %zu attacks, %d tries: %d failed as they must, %d "
		     "did not, %d not possible here\n1..%d\n",
		     attack_count, world.results->tests,
		     world.results->tests - world.results->failed -
			     world.results->skipped,
		     world.results->failed, world.results->skipped,
		     world.results->tests);
	return world.results->failed ? 1 : 0;
}

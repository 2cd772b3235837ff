/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program sees in a jail, told by a shell in it. Root tries both ways,
 * an ordinary user the rootless one.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/jail.h"
#include "base/process.h"

enum {
	WAIT_MS = 20000,
	JAIL_UID = 1879048999,
	NOBODY = 65534,
};

static const struct process_identity *identity; /* of run() */
static bool as_somebody; /* in the child of as_user() */

static struct jail_spec shell_jail(void)
{
	return (struct jail_spec){
		.name = "inside",
		.uid = JAIL_UID,
		.gid = JAIL_UID,
		.libraries = true,
		.proc = true,
		.devices = JAIL_DEV_NULL | JAIL_DEV_ZERO,
		.limits = { .files = 100, .processes = 50 },
		.oom_score_adj = 300,
	};
}

/* Runs a script in the jail; its output and exit status. */
static int run(const struct jail_spec *jail, const char *script, char *out,
	       size_t size)
{
	const char *argv[] = { "/usr/bin/dash", "-c", script, NULL };
	const char *envp[] = { "PATH=/usr/bin", NULL };
	struct process p = PROCESS_INIT;
	struct process_exit x;
	struct err e = ERR_INIT;
	int pipe_fds[2];
	size_t have = 0;
	ssize_t n;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	const struct process_fd fds[] = { { pipe_fds[1], 1 },
					  { pipe_fds[1], 2 } };
	const struct process_spec spec = { .argv = argv,
					   .envp = envp,
					   .fds = fds,
					   .fd_count = 2,
					   .identity = identity,
					   .jail = jail };

	if (process_spawn(&spec, &p, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		return -1;
	}
	(void)close(pipe_fds[1]);
	while ((n = read(pipe_fds[0], out + have, size - 1 - have)) > 0)
		have += (size_t)n;
	out[have] = '\0';
	(void)close(pipe_fds[0]);
	assert_int_equal(process_wait(&p, WAIT_MS, &x), 0);
	process_close(&p);
	return x.known && !x.signal ? x.status : -1;
}

static void expect(const struct jail_spec *jail, const char *script,
		   const char *want)
{
	char out[4096];
	int status = run(jail, script, out, sizeof(out));

	if (status == 0 && strcmp(out, want) == 0)
		return;
	(void)fprintf(stderr, "%s: status %d, \"%s\" instead of \"%s\"\n",
		      script, status, out, want);
	if (as_somebody)
		_exit(1);
	fail();
}

/* An ordinary user of this test, in a child, when it is root. */
static void as_user(void (*test)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (getuid() == 0 && (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
				      setresuid(NOBODY, NOBODY, NOBODY) < 0))
			_exit(2);
		as_somebody = true;
		test();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* True of both ways. */
static void check_jail(void)
{
	struct jail_spec jail = shell_jail();

	expect(&jail, "ls / | grep -v ^lib", "dev\netc\nproc\nusr\n");
	expect(&jail, "cd /dev; echo *; : >/dev/null; echo $$",
	       "null zero\n1\n");
	expect(&jail, "uname -n", "inside\n");
	expect(&jail, "cd /proc; echo [0-9]*", "1\n");
	expect(&jail, "ulimit -n; ulimit -c; ulimit -p 2>/dev/null || :",
	       "100\n0\n50\n");
	expect(&jail, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '",
	       "lo\n");
	expect(&jail, "cat /proc/self/oom_score_adj", "300\n");
	expect(&jail, "env", "PATH=/usr/bin\nPWD=/\n");
	expect(&jail, "grep -E '^(Cap|NoNew)' /proc/self/status | tr -d '\\t'",
	       "CapInh:0000000000000000\nCapPrm:0000000000000000\n"
	       "CapEff:0000000000000000\nCapBnd:0000000000000000\n"
	       "CapAmb:0000000000000000\nNoNewPrivs:1\n");
	/* Nothing can be made, or changed. */
	expect(&jail,
	       "for f in /a /dev/a /usr/a /etc/a /proc/a; do "
	       "( : >$f ) 2>/dev/null && echo $f; done; echo none",
	       "none\n");
}

static void check_rootless(void)
{
	struct jail_spec jail = shell_jail();
	char want[32];

	check_jail();
	/* The one id there is. */
	(void)snprintf(want, sizeof(want), "%u\n", (unsigned)getuid());
	expect(&jail, "id -u", want);
	(void)snprintf(want, sizeof(want), "%u %u 1\n", (unsigned)getuid(),
		       (unsigned)getuid());
	expect(&jail, "read a b c </proc/self/uid_map; echo $a $b $c", want);
}

static void test_rootless_jail_holds_its_files_only(void **state)
{
	(void)state;
	as_user(check_rootless);
}

static void test_system_jail_holds_its_files_only(void **state)
{
	struct jail_spec jail = shell_jail();

	(void)state;
	if (geteuid() != 0) {
		print_message("SKIP: only root has a jail with another user\n");
		skip();
	}
	check_jail();
	expect(&jail, "id -u; id -g; id -G",
	       "1879048999\n1879048999\n1879048999\n");
	/* Not even its own user looks into it. */
	expect(&jail, "stat -c %u /proc/$$/environ", "1879048999\n");
	jail.undumpable_gid = JAIL_UID + 1;
	expect(&jail, "stat -c %u /proc/$$/environ; id -u; id -rg",
	       "0\n1879048999\n1879048999\n");
	jail.undumpable_gid = 0;
	jail.uid = 0; /* forgotten: never root */
	assert_int_equal(run(&jail, "id -u", (char[64]){ "" }, 64), -1);
}

static void check_binds(void)
{
	struct jail_spec jail = shell_jail();
	char dir[] = "/tmp/vmd-jail-XXXXXX", ro[64], rw[64], other[64];
	int fd;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0711), 0);
	(void)snprintf(ro, sizeof(ro), "%s/ro", dir);
	(void)snprintf(rw, sizeof(rw), "%s/rw", dir);
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	fd = open(ro, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	assert_int_equal(write(fd, "hello\n", 6), 6);
	assert_int_equal(fchmod(fd, 0666), 0);
	assert_int_equal(mkdir(rw, 0777), 0);
	assert_int_equal(chmod(rw, 0777), 0);
	const struct jail_bind binds[] = {
		{ .source = ro, .target = "in/file", .fd = fd },
		{ .source = rw,
		  .target = "in/dir",
		  .fd = -1,
		  .writable = true },
		{ .source = "/no/such",
		  .target = "absent",
		  .fd = -1,
		  .optional = true },
	};

	jail.binds = binds;
	jail.bind_count = 3;
	expect(&jail,
	       "cat /in/file; (echo x >/in/file) 2>/dev/null || echo no; "
	       "echo x >/in/dir/new && echo yes; ls /absent 2>/dev/null || :",
	       "hello\nno\nyes\n");
	/* Another file has taken its place. */
	assert_int_equal(rename(ro, other), 0);
	assert_int_equal(close(open(ro, O_WRONLY | O_CREAT, 0666)), 0);
	assert_int_equal(run(&jail, "cat /in/file", (char[64]){ "" }, 64), -1);
	(void)close(fd);
	(void)unlink(ro);
	(void)unlink(other);
	(void)strcat(rw, "/new");
	(void)unlink(rw);
	rw[strlen(rw) - 4] = '\0';
	(void)rmdir(rw);
	assert_int_equal(rmdir(dir), 0);
}

static void test_binds_are_what_was_named(void **state)
{
	(void)state;
	if (geteuid() == 0)
		check_binds();
	as_user(check_binds);
}

/* Root's files and none of its power. */
static void test_kept_user_has_files_and_no_privilege(void **state)
{
	struct jail_spec jail = shell_jail();
	char path[] = "/tmp/vmd-jail-XXXXXX";
	char want[32];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	const struct jail_bind binds[] = {
		{ .source = path, .target = "file", .fd = fd, .writable = true }
	};

	jail.keep_user = true;
	jail.uid = 0;
	jail.binds = binds;
	jail.bind_count = 1;
	(void)snprintf(want, sizeof(want), "%u\n", (unsigned)getuid());
	expect(&jail, "id -u", want);
	expect(&jail, "echo written >/file; cat /file", "written\n");
	expect(&jail, "grep -E '^Cap(Eff|Bnd)' /proc/self/status | tr -d '\\t'",
	       "CapEff:0000000000000000\nCapBnd:0000000000000000\n");
	expect(&jail,
	       "mount -t tmpfs x /usr 2>/dev/null || chroot / id 2>/dev/null "
	       "|| echo no",
	       "no\n");
	(void)close(fd);
	assert_int_equal(unlink(path), 0);
}

/* Root of a namespace with a range of ids, whoever starts it. */
static void test_inside_root_has_its_capabilities_only(void **state)
{
	const struct process_identity ids = { .uid = JAIL_UID,
					      .gid = JAIL_UID,
					      .sub_first = JAIL_UID + 1,
					      .sub_count = 99 };
	struct jail_spec jail = shell_jail();
	char path[] = "/tmp/vmd-jail-XXXXXX";

	(void)state;
	if (geteuid() != 0) {
		print_message("SKIP: only root has ids to give\n");
		skip();
	}
	/* Nobody else's to enter: it is looked up before the ids change. */
	assert_non_null(mkdtemp(path));
	const struct jail_bind binds[] = {
		{ .source = path, .target = "d", .fd = -1, .writable = true }
	};

	assert_int_equal(chown(path, JAIL_UID, JAIL_UID), 0);
	jail.inside_root = true;
	jail.capabilities = 1 << 0 | 1 << 7; /* CAP_CHOWN, CAP_SETUID */
	jail.programs = true;
	jail.cwd = "/d";
	jail.binds = binds;
	jail.bind_count = 1;
	identity = &ids;
	expect(&jail, "id -u; id -g; pwd; cat /proc/self/uid_map | tr -s ' '",
	       "0\n0\n/d\n 0 1879048999 1\n 1 1879049000 99\n");
	expect(&jail, "grep -E '^(Cap|NoNew)' /proc/self/status | tr -d '\\t'",
	       "CapInh:0000000000000000\nCapPrm:0000000000000081\n"
	       "CapEff:0000000000000081\nCapBnd:0000000000000081\n"
	       "CapAmb:0000000000000000\nNoNewPrivs:1\n");
	expect(&jail,
	       ": >f; chown 5 f; stat -c %u f; rm f; cat /etc/shadow "
	       "2>/dev/null; mount -t tmpfs x /d 2>/dev/null || echo no",
	       "5\nno\n");
	identity = NULL;
	assert_int_equal(rmdir(path), 0);
	/* Without a range 0 is who starts it, and there is nobody else. */
	jail.binds = NULL;
	jail.bind_count = 0;
	jail.cwd = NULL;
	jail.capabilities = 0;
	expect(&jail, "id -u; cat /proc/self/uid_map | tr -s ' '",
	       "0\n 0 0 1\n");
}

static void test_program_by_descriptor_needs_no_file(void **state)
{
	/* Static: nothing in the root is needed for it. */
	const char *argv[] = { "/bin/busybox", "ls", "-a", "/", NULL };
	struct jail_spec jail = { .name = "x",
				  .uid = JAIL_UID,
				  .gid = JAIL_UID,
				  .limits = { .files = 20, .processes = 5 } };
	struct process p = PROCESS_INIT;
	struct process_exit x;
	char out[64] = "";
	int fds[2];

	(void)state;
	if (access(argv[0], X_OK) < 0) {
		print_message("SKIP: no /bin/busybox\n");
		skip();
	}
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	const struct process_fd pass[] = { { fds[1], 1 } };
	const struct process_spec spec = {
		.argv = argv, .fds = pass, .fd_count = 1, .jail = &jail
	};

	assert_int_equal(process_spawn(&spec, &p, NULL), 0);
	(void)close(fds[1]);
	assert_int_equal(process_wait(&p, WAIT_MS, &x), 0);
	assert_true(read(fds[0], out, sizeof(out) - 1) > 0);
	assert_string_equal(out, ".\n..\n");
	(void)close(fds[0]);
	process_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_system_jail_holds_its_files_only),
		cmocka_unit_test(test_rootless_jail_holds_its_files_only),
		cmocka_unit_test(test_binds_are_what_was_named),
		cmocka_unit_test(test_kept_user_has_files_and_no_privilege),
		cmocka_unit_test(test_inside_root_has_its_capabilities_only),
		cmocka_unit_test(test_program_by_descriptor_needs_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
